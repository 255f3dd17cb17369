"""Saliency: the size of the gradient."""

import numpy as np

from pyref.attribution import Attribution, Derived
from pyref.check import check_choice
from pyref.methods import lean
from pyref.methods.method import start

__all__ = ["saliency"]


def saliency(network, x, target=None, *, channels="each", **options):
    """How strongly the target reacts to each input, whatever the direction.

        |∂S_c / ∂x_i|

    Source
        [simonyan2014] (largest over channels); [sundararajan2016] eq. (1) (sum over channels).
    Parameters
        channels  "each": one value per input; "sum", "max" or "l2": one per pixel, over axis 1, kept with length 1.
                  Where ids are embedded, one value per token: over the embedding, by default its sum
        options   those of every method: `pyref.start`.
    Returns
        Attribution, ≥ 0; it promises no sum.
    """
    check_choice("channels", channels, ("each", "sum", "max", "l2"))
    run = start(network, x, target, hold=lean.gradients, **options)
    G = run.gradients()
    size = Derived(G, lambda ref, g: np.abs(g))
    embeddings = {run.leaves[name] for name in run.embedded}
    reduce = {
        "each": lambda v, axis: v,
        "sum": lambda v, axis: np.sum(v, axis=axis, keepdims=True),
        "max": lambda v, axis: np.max(v, axis=axis, keepdims=True),
        "l2": lambda v, axis: np.sqrt(np.sum(v * v, axis=axis, keepdims=True)),
    }[channels]
    values = run.collect(lambda ref, value: reduce(size[ref], -1 if ref in embeddings else 1))
    return Attribution("saliency", values, run.output, settings={"channels": channels}, **run.kept(signals=size))
