"""Saturation: how the output and the inner layers change while the input is scaled up from the baseline."""

from dataclasses import dataclass

import numpy as np

from pyref.methods.method import start
from pyref.metrics.correlation import square_root
from pyref.metrics.measurement import Curves
from pyref.metrics.removal import as_network, on_host
from pyref.metrics.removal import fills as baseline_values
from pyref.numerics import is_exact, number_like, ones_like, sum_samples

__all__ = ["saturation", "SaturationCurves"]

ALPHAS = (0, 0.02, 0.04, 0.06, 0.08, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1)


@dataclass(frozen=True)
class SaturationCurves(Curves):
    """Curves over α, values {series: (samples, alphas)}: "output", "probability", "node distance", "node cosine".

    notes["0/0"] marks where a cosine has no meaning because a value is zero everywhere: there it is set to 1.
    """


def saturation(network, x, *, target=None, baseline="zero", alphas=ALPHAS, nodes=(), progress=None, **options):
    """The output along the straight line from the baseline to the input, and how far inner layers still have to go.

        γ(α) = x̄ + α (x - x̄)
        output        S_c(γ(α))                         probability   softmax_c of the outputs at γ(α)
        distance      ‖a(α) - a(1)‖                     cosine        ⟨a(α), a(1)⟩ / (‖a(α)‖ ‖a(1)‖)

    Where the curves are flat long before α = 1 the gradient at x says little about how the output came about.

    Source
        [sundararajan2016] sec. 2.2, fig. 2 (outputs) and 12 (inner layers).
    Parameters
        alphas    positions, in any order
        nodes     references of values a whose saturation is wanted
        target    settled at x and held
        progress  wraps the loop over alphas, as tqdm does
        baseline, options  as for `pyref.removal`
    Returns
        `SaturationCurves`; probabilities only for outputs (n, classes) of which one is explained, and in floats
    Laws
        α S_c(x), distance (1 - α) ‖a(1)‖ and cosine 1 in a network of linear layers without bias from a zero baseline;
        the same for networks that are positively homogeneous. At α = 1 the distance is 0 and the cosine 1.
    Raises
        ValueError  an unknown node; what `pyref.removal` refuses.
    """
    model = as_network(network, x)
    run = start(model, x, target, **options)
    refs = [run.network.reference(name) for name in nodes]
    bottom = baseline_values(run, baseline)
    outputs, probabilities = [], []
    distances: dict[str, list] = {ref[0]: [] for ref in refs}
    cosines: dict[str, list] = {ref[0]: [] for ref in refs}
    undefined: dict[str, list] = {ref[0]: [] for ref in refs}
    S, v = on_host(run.record[run.output_ref]), on_host(run.v)
    one_class = S.ndim == 2 and S.shape[1] > 1 and not is_exact(S) and all(np.sum(row != 0) == 1 for row in v)
    for alpha in (progress or (lambda steps: steps))(list(alphas)):
        path = {
            name: value if alpha == 1 else bottom[name] + number_like(value, alpha) * (value - bottom[name])
            for name, value in run.leaf_values.items()
        }
        at = run if alpha == 1 else run.moved(path)
        outputs.append(on_host(at.output))
        if one_class:
            probabilities.append(_softmax(on_host(at.record[run.output_ref]), v))
        for ref in refs:
            a, end = (np.reshape(on_host(r.record[ref]), (len(S), -1)) for r in (at, run))
            distances[ref[0]].append(_root(sum_samples((a - end) * (a - end))))
            cosine, dead = _cosine(a, end)
            cosines[ref[0]].append(cosine)
            undefined[ref[0]].append(dead)
    values = {"output": np.stack(outputs, axis=1)}
    if one_class:
        values["probability"] = np.stack(probabilities, axis=1)
    for name in distances:
        values[f"{name} distance"] = np.stack(distances[name], axis=1)
        values[f"{name} cosine"] = np.stack(cosines[name], axis=1)
    return SaturationCurves(
        "saturation",
        values,
        unit="value at α",
        notes={"0/0": {f"{name} cosine": np.stack(dead, axis=1) for name, dead in undefined.items()}},
        settings={"baseline": baseline, "nodes": tuple(distances)},
        at=np.array([float(alpha) for alpha in alphas]),
        axis="α",
    )


def _softmax(S, v):
    """The probability of the explained class."""
    e = np.exp(S - np.max(S, axis=1, keepdims=True))
    return np.sum(np.where(v != 0, e, 0), axis=1) / np.sum(e, axis=1)


def _root(square):
    return square_root(np.asarray(square, dtype=square.dtype))


def _cosine(a, b):
    """(cosine, whether it is 0/0) of each row."""
    product, squares = sum_samples(a * b), sum_samples(a * a) * sum_samples(b * b)
    dead = squares == 0
    size = _root(product * product / np.where(dead, ones_like(squares), squares))
    return np.where(dead, ones_like(size), np.where(product < 0, -size, size)), dead
