"""Random logit: whether the explanation of another class looks any different."""

import numpy as np

from pyref.methods.method import start
from pyref.methods.noise import check_indices, generator
from pyref.metrics.explainer import explainers
from pyref.metrics.measurement import Scores, series
from pyref.metrics.parameter_randomization import per_method, sliced
from pyref.metrics.removal import as_network, on_host
from pyref.metrics.similarity import similarity

__all__ = ["random_logit", "other_classes"]

_STREAM = 2**34


def random_logit(
    network,
    x,
    methods,
    *,
    target=None,
    measures=("ssim", "rank"),
    channels="sum",
    flip=True,
    window=5,
    level=0.99,
    seed=0,
    indices=None,
    batch=32,
    progress=None,
    **options,
):
    """How alike the attributions of the explained class and of a random other class are.

        similarity( R for class c ,  R for class c′ ),      c′ ≠ c uniform

    Source
        [sixt2020] sec. 3, fig. 2 (a).
    Parameters
        methods        as `pyref.explainers` takes them
        target         the class c, or one per sample; the arg-max by default
        measures       of `pyref.similarity`; channels, flip and window are for it, channels also as {label: …}
        level          of the bootstrap intervals
        seed, indices  the other class of a sample depends on the seed and on its index alone
        batch          samples that are explained together
        progress       wraps the loop over batches, as tqdm does
        options        those of `pyref.start`
    Returns
        `Scores`, series "label ssim", "label rank"; notes["0/0"] marks correlations of constant maps
    Laws
        1 for a method that does not look at the class, and for the gradient of a model whose classes have parallel
        weights.
    Raises
        ValueError  an output that is not (n, classes) with two classes or more; what `pyref.start` refuses.
    """
    model, explain = as_network(network, x), explainers(methods)
    inputs = model.input_arrays(x)
    indices = check_indices(len(next(iter(inputs.values()))), indices)
    found: dict[str, list] = {}
    undefined: dict[str, list] = {}
    for first in (progress or (lambda steps: steps))(range(0, len(indices), batch)):
        which = slice(first, first + batch)
        part = sliced(inputs, which)
        run = start(model, part, target if target is None or np.ndim(target) == 0 else list(target)[which], **options)
        chosen, other = other_classes(on_host(run.v), seed, indices[which])
        for label, method in explain.items():
            a, b = (method(network, part, c, indices=indices[which], **options) for c in (chosen, other))
            for measure in measures:
                how = {"channels": per_method(channels, label), "flip": flip, "window": window}
                value, degenerate = similarity(a, b, measure, **how)
                found.setdefault(series(label, measure), []).append(value)
                undefined.setdefault(series(label, measure), []).append(degenerate)
    return Scores(
        "random_logit",
        {name: np.concatenate(parts) for name, parts in found.items()},
        unit="similarity",
        notes={"0/0": {name: np.concatenate(parts) for name, parts in undefined.items()}},
        settings={"measures": tuple(measures), "flip": flip, "window": window, "seed": seed},
        level=level,
    )


def other_classes(v, seed, indices):
    """(the class of each sample, a random other one) from target weights v (n, classes), as lists.

    Raises
        ValueError  weights that do not name one class of several.
    """
    if v.ndim != 2 or v.shape[1] < 2 or not all(np.sum(row != 0) == 1 for row in v):
        raise ValueError(
            f"the output has shape {tuple(v.shape)}: expected two classes or more, and one of them explained"
        )
    chosen = [int(np.argmax(row != 0)) for row in v]
    steps = [int(generator(seed, _STREAM, index).integers(1, v.shape[1])) for index in indices]
    return chosen, [(c + step) % v.shape[1] for c, step in zip(chosen, steps, strict=True)]
