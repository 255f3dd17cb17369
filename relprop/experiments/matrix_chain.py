"""X-d: chains of random matrices of the widths of VGG-16, and how fast they align what goes through. [sixt2020]"""

from functools import partial

import numpy as np

import pyref
from relprop.experiments.charts import Curve, curves_figure
from relprop.experiments.experiment import Expectation, Experiment, Picture, Piece, Table
from relprop.experiments.ordering import is_so

PLAIN = ("vanilla", "relu", "non_negative", "positive", "stochastic")
MIXED = ((1, 0), (2, 1), (3, 2), (4, 3), (5, 4), (7, 6), (10, 9))
FLOOR = 1e-17  # where a logarithmic axis draws a distance that is smaller, or that rounding has made 0
FAN_IN = 512  # what most matrices of the chain have, and the most that a quick run has


def label(kind):
    if kind == "relu":
        return "ReLU"
    return kind.replace("_", "-") if isinstance(kind, str) else f"α{kind[0]} β{kind[1]}"


def pieces(run):
    return [Piece(f"chain-{k}", partial(_chain, kind)) for k, kind in enumerate((*PLAIN, *MIXED))]


def _chain(kind, run):
    widths = [min(m, FAN_IN) for m in pyref.VGG16_CHAIN] if run.quick else pyref.VGG16_CHAIN
    found = pyref.matrix_chain({label(kind): kind}, widths=widths, repeats=run.samples, seed=run.settings.seed)
    return {"cosine": found[label(kind)], "distance": found.distance[label(kind)]}


def numbers(run):
    distance = {label(k): run[f"chain-{n}"]["distance"] for n, k in enumerate((*PLAIN, *MIXED))}
    rates = {label(k): float(pyref.noise_to_signal(*k, FAN_IN)) for k in MIXED}
    return {"distance": distance, "noise_to_signal": rates, "products": len(pyref.VGG16_CHAIN) - 1}


def _at(n, name, k):
    return float(np.mean(np.array(n["distance"][name])[:, k]))


def _converge(n):
    found = {name: _at(n, name, 7) for name in ("positive", "stochastic", "non-negative")}
    return is_so(max(found.values()) < 1e-9, _said(found))


def _vanilla(n):
    last = n["products"] - 1  # the last product leaves three channels, where chance alone gives |cos| = 1/2
    found = {name: _at(n, name, last) for name in ("vanilla", "ReLU", "positive")}
    return is_so(found["vanilla"] > 0.5 and found["vanilla"] > found["ReLU"] > found["positive"], _said(found))


def _small_beta(n):
    found = {label(k): _at(n, label(k), n["products"]) for k in MIXED if k[1] < 4}
    return is_so(max(found.values()) < 1e-3, _said(found))


def _threshold(n):
    """Were there a threshold at β = 4, α5β4 would be no nearer to convergence than chance is."""
    found = {label(k): _at(n, label(k), n["products"]) for k in MIXED if k[1] >= 4}
    rates = ", ".join(f"{label(k)} {n['noise_to_signal'][label(k)]:.2f}" for k in MIXED if k[1] >= 4)
    return is_so(min(found.values()) > 0.1, f"{_said(found)}; ρ per matrix of fan-in {FAN_IN}: {rates}")


def _slower(n):
    left = [_at(n, label(k), n["products"]) for k in MIXED[1:]]
    return is_so(left == sorted(left) and left[-1] > 100 * left[0], " < ".join(f"{v:.1e}" for v in left))


def _said(found):
    return "1 - |cos|: " + ", ".join(f"{name} {value:.1e}" for name, value in found.items())


def pictures(run, n):
    panels = {}
    for title, kinds in (("kinds of matrices", PLAIN), ("αW⁺ + βW⁻", MIXED)):
        panels[title] = {
            label(k): Curve(range(n["products"] + 1), np.maximum(np.mean(n["distance"][label(k)], axis=0), FLOOR))
            for k in kinds
        }
    figure = curves_figure(
        panels, "matrices multiplied", "1 - |cos|, mean over pairs", columns=2, log=("y",), height=3.4,
        note=f"{run.samples} chains each. Drawn at {FLOOR:g} where no more is left.",
    )  # fmt: skip
    return [Picture("chains", "How far from parallel random vectors are after each matrix.", figure)]


def tables(run, n):
    rows = [
        [
            name,
            *(float(np.mean(np.array(v)[:, k])) for k in (1, 3, 5, 7, n["products"])),
            n["noise_to_signal"].get(name),
        ]
        for name, v in n["distance"].items()
    ]
    head = ("matrices", *(f"1 - |cos| after {k}" for k in (1, 3, 5, 7, n["products"])), f"ρ at fan-in {FAN_IN}")
    return [Table("chains", "How fast chains converge", head, rows)]


EXPERIMENT = Experiment(
    id="X-d",
    name="matrix-chain",
    title="Chains of non-negative matrices converge to rank 1 exponentially fast",
    paper="sixt2020",
    figure="Figure 4",
    claim="Positive, stochastic and non-negative matrices converge exponentially fast, to floating-point precision "
    "after 7 multiplications; matrices αW⁺ + βW⁻ still converge for small enough β, below 4.",
    expectations=(
        Expectation("positive, stochastic and non-negative chains converge within 7 products", _converge),
        Expectation("without a sign constraint they do not: vanilla > ReLU > positive", _vanilla),
        Expectation("αW⁺ + βW⁻ converges within 16 products for β < 4", _small_beta),
        Expectation("the larger β, the slower", _slower),
        Expectation(
            "chains with β ≥ 4 do not converge",
            _threshold,
            "there is no threshold at β = 4: each matrix leaves a fraction ρ of what is not common to all vectors, and "
            "ρ < 1 is convergence, however slow. What the figure shows is that 16 matrices are few.",
        ),
    ),
    sources={"random": "Nothing is read: matrices are drawn."},
    samples=(10, 2),
    pieces=pieces,
    numbers=numbers,
    pictures=pictures,
    tables=tables,
)
