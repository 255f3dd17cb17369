"""Gradient × input."""

from pyref.attribution import Attribution, Derived
from pyref.methods import lean
from pyref.methods.method import start

__all__ = ["gradient_times_input"]


def gradient_times_input(network, x, target=None, **options):
    """The first-order effect of setting an input to zero.

        r_i = x_i · ∂S_c / ∂x_i

    Source
        [ancona2017] Table 1.
    Laws
        Σ_i r_i = S_c where the network is positively homogeneous: ReLU, pooling, sums, and no biases.
    Parameters
        options  those of every method: `pyref.start`.
    Returns
        Attribution; since biases may take a share, it promises no sum.
    """
    run = start(network, x, target, hold=lean.gradients, **options)
    G = run.gradients()
    signals = Derived(G, lambda ref, g: run.record[ref] * g)
    values = run.collect(lambda ref, value: signals[ref])
    return Attribution("gradient_times_input", values, run.output, **run.kept(signals=signals))
