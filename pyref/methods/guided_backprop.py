"""Guided Backpropagation: gradients that stay positive at every ReLU."""

import numpy as np

from pyref.attribution import Attribution, Derived
from pyref.check import check_choice
from pyref.layers.activation import Identity, ReLU
from pyref.methods import lean
from pyref.methods.method import start
from pyref.numerics import pos

__all__ = ["guided_backprop", "positive_gradients"]


def guided_backprop(network, x, target=None, *, activation="raise", absolute=False, **options):
    """The gradient, stopped at every ReLU where either the unit or the gradient is not positive.

        G_z = 1[z > 0] · G_a⁺         elsewhere the plain gradient

    Source
        [springenberg2015] fig. 1.
    Parameters
        activation  of other activations: "raise", or "derivative": G_z = f′(z) · G_a⁺
        absolute    |G|
        options     those of every method: `pyref.start`.
    Laws
        Positively homogeneous in the seed, not linear. Constant inside one linear region.
    Returns
        Attribution; it promises no sum.
    Raises
        ValueError  an activation that is not ReLU, by default; a recurrent layer.
    """
    run = start(network, x, target, hold=lean.gradients, **options)
    G = positive_gradients(run, "Guided Backpropagation", activation, masked=True)
    signals = Derived(G, lambda ref, g: np.abs(g)) if absolute else G
    values = run.collect(lambda ref, value: signals[ref])
    settings = {"activation": activation, "absolute": absolute}
    return Attribution("guided_backprop", values, run.output, settings=settings, **run.kept(signals=signals))


def positive_gradients(run, name, activation, masked):
    """The backward walk that Guided Backpropagation and Deconvnet share: at a ReLU G_a⁺, masked by z > 0 or not."""
    check_choice("activation", activation, ("raise", "derivative"))

    def answer(node, x, y, G):
        layer = node.layer
        if layer.kind == "recurrent":
            raise ValueError(f"{name} does not go through recurrent layers: node {node.name!r}")
        if layer.kind != "activation" or isinstance(layer, Identity):
            return layer.gradient(run.backend, x, y, G)
        if isinstance(layer, ReLU) and not masked:
            return (pos(G),)
        if not isinstance(layer, ReLU) and activation == "raise":
            raise ValueError(
                f"{name} is defined for ReLU, but node {node.name!r} is {type(layer).__name__}; "
                "activation='derivative' uses f′(z) in place of the mask"
            )
        return layer.gradient(run.backend, x, y, pos(G))

    return run.walk(run.v, answer, linear=True)
