"""Max-sensitivity: how far an attribution moves when its input moves a little."""

from fractions import Fraction

import numpy as np

from pyref.methods.method import start
from pyref.methods.noise import check_indices, generator
from pyref.metrics.correlation import square_root
from pyref.metrics.explainer import explainers
from pyref.metrics.maps import flat_values
from pyref.metrics.measurement import Scores
from pyref.metrics.removal import as_network
from pyref.numerics import is_exact, number_like, sum_samples

__all__ = ["max_sensitivity"]

_STREAM = 2**33


def max_sensitivity(
    network, x, methods, *, target=None, radius=0.02, samples=10, seed=0, indices=None, progress=None, **options
):
    """The largest relative change of an attribution over random points of a small cube around the input.

        max_k ‖R(y_k) - R(x)‖ / ‖R(x)‖,      y_k uniform in {y : |y_i - x_i| ≤ radius}

    Source
        [yeh2019] def. 3.1 and sec. 3; a Monte Carlo maximum, so it grows with `samples`.
    Parameters
        methods        as `pyref.explainers` takes them; the target is settled at x and held
        radius         in the unit of x
        samples        points y_k
        seed, indices  the points of a sample depend on the seed and on its index alone
        progress       wraps the loop over points, as tqdm does
        options        those of `pyref.start`
    Returns
        `Scores`; NaN where R(x) = 0, which notes["R(x) = 0"] marks: there is nothing to be relative to
    Laws
        0 for the gradient of an affine model, exactly in exact arithmetic. Unchanged when the model is scaled.
    Raises
        ValueError  radius ≤ 0; samples < 1; what `pyref.start` refuses.
    """
    if not radius > 0:
        raise ValueError(f"radius is {radius}, expected a number above 0")
    if int(samples) != samples or samples < 1:
        raise ValueError(f"samples is {samples}, expected a whole number, at least 1")
    model = as_network(network, x)
    run = start(model, x, target, **options)
    indices = check_indices(len(run.output), indices)
    explain = explainers(methods)

    def held(S):
        return run.v

    at_x = {
        label: flat_values(method(network, x, held, indices=indices, **options)) for label, method in explain.items()
    }
    size = {label: sum_samples(R * R) for label, R in at_x.items()}
    largest = {label: 0 * square for label, square in size.items()}
    for k in (progress or (lambda steps: steps))(range(samples)):
        moved = {}
        for position, (name, leaf) in enumerate(run.inputs.items()):
            moved[name] = leaf if leaf.dtype.kind in "iu" else _moved(leaf, radius, seed, position, indices, k)
        y = moved if len(moved) > 1 else next(iter(moved.values()))
        for label, method in explain.items():
            away = flat_values(method(network, y, held, indices=indices, **options)) - at_x[label]
            largest[label] = np.maximum(largest[label], sum_samples(away * away))
    values = {}
    for label, square in size.items():
        zero = square == 0
        ratio = square_root(np.asarray(largest[label] / np.where(zero, 1, square), dtype=square.dtype))
        values[label] = np.where(zero, np.nan, ratio)
    return Scores(
        "max_sensitivity",
        values,
        unit="relative change",
        notes={"R(x) = 0": {label: square == 0 for label, square in size.items()}},
        settings={"radius": radius, "samples": samples, "seed": seed},
    )


def _moved(x, radius, seed, position, indices, k):
    rows = []
    for row, index in enumerate(indices):
        u = 2 * generator(seed, _STREAM + position, index, k).random(x[row].shape) - 1
        if is_exact(x):
            u = np.reshape(np.array([Fraction(v) for v in np.ravel(u)] + [None], dtype=object)[:-1], u.shape)
        rows.append(x[row] + number_like(x, radius) * np.asarray(u.astype(x.dtype), like=x[row]))
    return np.stack(rows)
