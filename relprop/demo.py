"""Table 1 of Ancona et al. on a real digit: six methods, four activations, and what the numbers say."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pyref.numerics import sum_samples
from relprop.explain import explain
from relprop.progress import bar

__all__ = ["ACTIVATIONS", "METHODS", "Cell", "Table", "make_table", "write_table"]

ACTIVATIONS = {"relu": "ReLU", "tanh": "tanh", "sigmoid": "sigmoid", "softplus": "softplus"}
REFERENCE = "integrated_gradients"
METHODS = {  # method: (title, formula)
    "saliency": ("Saliency", "|∂S/∂x|"),
    "gradient_times_input": ("Gradient × input", "x · ∂S/∂x"),
    "lrp": ("ε-LRP", "x · ∂ᵍS/∂x,  g = f(z)/z"),
    "deeplift": ("DeepLIFT (Rescale)", "Δx · ∂ᵍS/∂x,  g = Δf/Δz"),
    "integrated_gradients": ("Integrated gradients", "Δx · ∫ ∂S/∂x"),
    "occlusion": ("Occlusion-1", "S(x) − S(x with xᵢ = 0)"),
}
QUADRATURE = {"mlp": {}, "cnn": {"quadrature": "midpoint", "m": 50}}  # exact takes seconds a digit on the CNN
COUNT = {"mlp": 100, "cnn": 30}  # digits that fit into half a minute
DEPARTS = 0.8  # a signed method whose median correlation is lower is said to depart


@dataclass(frozen=True)
class Cell:
    """One method on one network.

    values       of the digit that is shown
    correlations with integrated gradients, per digit
    residuals    Σ values - what the method promises, per digit; None where it promises nothing
    gaps         (Σ values - ΔS) / ΔS per digit, with ΔS = S(x) - S(0): what completeness asks of any method
    """

    values: np.ndarray
    correlations: np.ndarray
    residuals: np.ndarray | None
    gaps: np.ndarray

    @property
    def correlation(self):
        """Median over the digits."""
        return float(np.median(self.correlations))

    @property
    def residual(self):
        """Largest size over the digits."""
        return None if self.residuals is None else float(np.abs(self.residuals).max())

    @property
    def gap(self):
        """Median size over the digits."""
        return float(np.median(np.abs(self.gaps)))


@dataclass(frozen=True)
class Table:
    """Cells by (method, activation), and the digit that is shown."""

    kind: str
    index: int
    label: int
    x: np.ndarray
    count: int
    predictions: dict[str, tuple[int, float]]
    cells: dict[tuple[str, str], Cell]
    quadratures: dict[str, str]
    same_under_relu: float

    def row(self, method):
        """{activation: cell} of a method."""
        return {activation: self.cells[method, activation] for activation in ACTIVATIONS}


def make_table(index=37, kind="mlp", count=None, progress=True):
    """Explain the digit of this index, and others up to `count` for the numbers, by every method on every network.

    Each network explains the class that it predicts, its largest logit. The baseline is zero, as in the paper.

    Raises
        ValueError  no digit of this index; a count below 1.
    """
    images, labels = _digits()
    count = COUNT[kind] if count is None else count
    if not 0 <= index < len(images):
        raise ValueError(f"digit is {index}, expected a number from 0 to {len(images) - 1}")
    if not 1 <= count <= len(images):
        raise ValueError(f"count is {count}, expected a number from 1 to {len(images)}")
    others = [i for i in range(len(images)) if i != index][: count - 1]
    x = images[[index, *others]]
    cells, predictions, quadratures = {}, {}, {}
    with bar(total=len(ACTIVATIONS) * len(METHODS), label="demo", shown=progress, unit=" maps") as line:
        for activation in ACTIVATIONS:
            network = _network(kind, activation)
            logits, at_zero = network(x), network(np.zeros_like(x))
            target = logits.argmax(axis=1)
            chosen = np.arange(len(x)), target
            change = logits[chosen] - at_zero[chosen]
            predictions[activation] = int(target[0]), float(logits[0, target[0]])
            results = {}
            for method in METHODS:
                options = QUADRATURE[kind] if method == REFERENCE else {}
                results[method] = explain(network, x, method, target=target, progress=False, **options)
                line.update()
            quadratures[activation] = results[REFERENCE].quadrature
            reference = results[REFERENCE].values
            for method, result in results.items():
                cells[method, activation] = Cell(
                    result.values[0],
                    _correlations(result.values, reference),
                    result.delta,
                    (sum_samples(result.values) - change) / change,
                )
            if activation == "relu":
                same = _typical_difference(results["lrp"].values, results["gradient_times_input"].values)
    return Table(kind, index, int(labels[index]), x[0], count, predictions, cells, quadratures, same)


def _correlations(values, reference):
    """Pearson's correlation per sample; 0 where one of the two is constant."""
    a, b = (np.reshape(v, (len(v), -1)) for v in (values, reference))
    a, b = a - a.mean(axis=1, keepdims=True), b - b.mean(axis=1, keepdims=True)
    scale = np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    return (a * b).sum(axis=1) / np.where(scale > 0, scale, 1)


def _typical_difference(a, b):
    """Largest difference of a digit's map, relative to the map's largest value; median over the digits."""
    axes = tuple(range(1, a.ndim))
    return float(np.median(np.abs(a - b).max(axis=axes) / np.abs(b).max(axis=axes)))


# ── what to notice ─────────────────────────────────────────────────────────────────────────────────────


def remark(table, method):
    """One sentence about a method's row, from its numbers."""
    row = table.row(method)
    correlations = {a: cell.correlation for a, cell in row.items()}
    low, high = min(correlations.values()), max(correlations.values())
    span = f"{low:.2f}" if f"{low:.2f}" == f"{high:.2f}" else f"{low:.2f} to {high:.2f}"
    gap = max(cell.gap for cell in row.values())
    residual = max((cell.residual or 0) for cell in row.values())
    departed = [a for a, c in correlations.items() if c < DEPARTS]
    if method == "saliency":
        return (
            "Sizes without signs: where the digit is sensitive, not what speaks for or against the class. "
            f"Correlation {span}."
        )
    if method == "gradient_times_input":
        worst = min(correlations, key=lambda a: correlations[a])
        return (
            f"A local answer: farthest from integrated gradients under {worst} ({low:.2f}), and its sum misses "
            f"S(x) − S(0) by up to {gap:.0%} (median of a column)."
        )
    if method == "lrp":
        return _remark_on_lrp(table, correlations, departed)
    if method == "deeplift":
        complete = f"no residual above {_rounded_up(residual)}"
        if departed:
            return f"Complete, {complete}, but departs under {_listed(departed)} ({low:.2f})."
        return (
            f"Follows integrated gradients under every activation ({span}) in one backward pass, and is complete: "
            f"{complete}."
        )
    if method == "integrated_gradients":
        return (
            "The yardstick: averages the gradient on the way from the baseline, and its sum is S(x) − S(0) "
            f"to {_rounded_up(residual)}."
        )
    return (
        f"Asks one pixel at a time, so what pixels do together is missed: the sum is off by up to {gap:.0%} "
        f"(median of a column), while the maps agree ({span})."
        if not departed
        else f"Asks one pixel at a time, so what pixels do together is missed: correlation {span}, "
        f"sum off by up to {gap:.0%}."
    )


def _remark_on_lrp(table, correlations, departed):
    same = "the same numbers as" if table.same_under_relu < 1e-3 else "not the numbers of"
    first = f"Under ReLU {same} gradient × input"
    if not departed:
        return f"{first}; here it follows integrated gradients everywhere."
    poles = [a for a in departed if a in ("sigmoid", "softplus")]
    where = "there" if poles == departed else f"under {_listed(poles)}"
    why = f": {where} f(0) ≠ 0, and f(z)/z has a pole" if poles else ""
    return f"{first}. It departs under {_listed(f'{a} ({correlations[a]:.2f})' for a in departed)}{why}."


def _rounded_up(value):
    """To one digit, never below the value."""
    if value == 0:
        return "0"
    exponent = math.floor(math.log10(value))
    return f"{math.ceil(value / 10.0**exponent):d}e{exponent:d}"


def _listed(names):
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


# ── picture and file ───────────────────────────────────────────────────────────────────────────────────


def table_figure(table):
    """The table as a matplotlib figure."""
    from relprop.view import Row, aggregate, grid_figure

    rows = []
    for method, (name, formula) in METHODS.items():
        row = list(table.row(method).values())
        warnings = frozenset(k for k, cell in enumerate(row) if method != "saliency" and cell.correlation < DEPARTS)
        rows.append(
            Row(
                name,
                formula,
                [aggregate(cell.values) for cell in row],
                [_note(method, cell) for cell in row],
                remark(table, method).replace(" − ", "\u00a0−\u00a0"),  # no line ends there
                warnings,
            )
        )
    columns = [(title, "predicts {} (logit {:.1f})".format(*table.predictions[a])) for a, title in ACTIVATIONS.items()]
    return grid_figure(
        "One digit, six attribution methods, four activations",
        f"Table 1 of Ancona et al. (2018) on held-out digit no. {table.index} of the UCI set, {_a(table.label)}: "
        f"which pixels speak for (red) and against (blue) the class that each {table.kind.upper()} predicts",
        table.x,
        columns,
        rows,
        f"corr: Pearson correlation with integrated gradients, median over {table.count} held-out digits. "
        "residual: Σ values minus what the method promises, largest over the same digits. "
        f"Baseline zero (mid-grey, as in the paper); S is the logit. Integrals: {_integrals(table)}.",
    )


def _integrals(table):
    """How the integrals of each network were computed."""
    return "; ".join(f"{ACTIVATIONS[a]} {how.replace('_', '-')}" for a, how in table.quadratures.items())


def _a(label):
    return f"an {label}" if label == 8 else f"a {label}"


def _note(method, cell):
    first = "the yardstick" if method == REFERENCE else f"corr {cell.correlation:.3f}"
    second = "promises no sum" if cell.residual is None else f"residual {cell.residual:.0e}"
    return f"{first}\n{second}"


def as_dict(table) -> dict[str, Any]:
    """The table for JSON."""
    return {
        "source": "Ancona et al. 2018, Table 1",
        "digit": {"index": table.index, "label": table.label},
        "digits": table.count,
        "baseline": 0,
        "networks": {
            f"digits-{table.kind}-{a}": {"predicts": c, "logit": logit, "quadrature": table.quadratures[a]}
            for a, (c, logit) in table.predictions.items()
        },
        "methods": [
            {
                "method": method,
                "title": METHODS[method][0],
                "notice": remark(table, method),
                "cells": {
                    activation: {
                        "correlation": cell.correlation,
                        "residual": cell.residual,
                        "relative_gap": cell.gap,
                        "values": np.squeeze(cell.values).tolist(),
                    }
                    for activation, cell in table.row(method).items()
                },
            }
            for method in METHODS
        ],
    }


def write_table(table, folder):
    """Write demo.png and demo.json into a folder, which is made if missing; return their paths."""
    from relprop.view import save_figure

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    picture, numbers = folder / "demo.png", folder / "demo.json"
    save_figure(table_figure(table), picture)
    numbers.write_text(json.dumps(as_dict(table), indent=1) + "\n", encoding="utf-8")
    return picture, numbers


def _network(kind, activation):
    from relprop.models import zoo

    return zoo.load(f"digits-{kind}-{activation}")


def _digits():
    from relprop.data import digits

    return digits()
