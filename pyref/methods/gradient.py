"""The plain gradient."""

from pyref.attribution import Attribution
from pyref.methods import lean
from pyref.methods.method import start

__all__ = ["gradient"]


def gradient(network, x, target=None, **options):
    """The sensitivity of the target to each input.

        G_i = ∂S_c / ∂x_i

    Source
        [simonyan2014]. ReLU'(0) = 0.
    Parameters
        options  those of every method: `pyref.start`.
    Returns
        Attribution; it promises no sum. Unit: output per input.
    """
    run = start(network, x, target, hold=lean.gradients, **options)
    G = run.gradients()
    return Attribution("gradient", run.collect(lambda ref, value: G[ref]), run.output, **run.kept(signals=G))
