"""Deconvnet: signals rectified on the way back, whatever the units did on the way up."""

import numpy as np

from pyref.attribution import Attribution, Derived
from pyref.methods import lean
from pyref.methods.guided_backprop import positive_gradients
from pyref.methods.method import start

__all__ = ["deconvnet"]


def deconvnet(network, x, target=None, *, activation="raise", absolute=False, **options):
    """The gradient with its negative part removed at every ReLU, in place of the ReLU's own mask.

        G_z = G_a⁺         elsewhere the plain gradient; max pooling by its switches

    Source
        [zeiler2014] sec. 2.1.
    Parameters
        activation  of other activations: "raise", or "derivative": G_z = f′(z) · G_a⁺
        absolute    |G|
        options     those of every method: `pyref.start`.
    Laws
        Positively homogeneous in the seed, not linear. Without max pooling the same for every x.
    Returns
        Attribution; it promises no sum.
    Raises
        ValueError  an activation that is not ReLU, by default; a recurrent layer.
    """
    run = start(network, x, target, hold=lean.gradients, **options)
    G = positive_gradients(run, "Deconvnet", activation, masked=False)
    signals = Derived(G, lambda ref, g: np.abs(g)) if absolute else G
    values = run.collect(lambda ref, value: signals[ref])
    settings = {"activation": activation, "absolute": absolute}
    return Attribution("deconvnet", values, run.output, settings=settings, **run.kept(signals=signals))
