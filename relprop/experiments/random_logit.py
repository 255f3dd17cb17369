"""X-a: whether the picture changes when another class is explained. [sixt2020]"""

import numpy as np

import pyref
from relprop.experiments import modified_backprop as bp
from relprop.experiments.charts import bars_figure
from relprop.experiments.experiment import Expectation, Experiment, Picture, Piece, Table
from relprop.experiments.models import model_pieces
from relprop.experiments.ordering import all_of, is_so, mean_error, more
from relprop.experiments.problem import sources

MEASURES = {"ssim": "SSIM", "rank": "rank correlation"}
EFFECT = 0.01  # of SSIM, below which no difference can be seen
FREE = ("gradient", "LRP-z", "α5β4")  # what the paper sees change


def labels(run):
    return [name for name in bp.METHODS if not (run.quick and name == "SmoothGrad")]


def pieces(run):
    methods = [_piece(k, name) for k, name in enumerate(labels(run))]
    return [*model_pieces(run, "deep"), *bp.pattern_pieces(run), *methods]


def _piece(k, name):
    def make(run):
        problem, network = bp.opened(run)
        found = pyref.random_logit(
            network, problem.images[: run.samples], {name: bp.method(name, run, network)},
            seed=run.settings.seed, backend=run.backend,
        )  # fmt: skip
        return {measure: found[f"{name} {measure}"] for measure in MEASURES}

    return Piece(f"method-{k}", make)


def numbers(run):
    return {measure: {name: run[f"method-{k}"][measure] for k, name in enumerate(labels(run))} for measure in MEASURES}


def medians(n, measure="ssim"):
    return {name: float(np.nanmedian(np.array(v, dtype=float))) for name, v in n[measure].items()}


def _changes(n):
    found = {name: v for name, v in medians(n).items() if name in FREE}
    return is_so(max(found.values()) < 0.8, _said(found))


def _ordered(n):
    return _above(n, FREE)


def _keep(*names):
    def test(n):
        found = {name: medians(n)[name] for name in names}
        return is_so(min(found.values()) > 0.8, _said(found))

    return test


def _composites(n):
    return _above(n, bp.CMP, EFFECT)


def _above(n, names, effect=0.0):
    return all_of([more(n["ssim"]["α1β0"], n["ssim"][name], ("SSIM of α1β0", name), effect) for name in names])


def _said(found):
    return "median SSIM: " + ", ".join(f"{name} {value:.2f}" for name, value in found.items())


def pictures(run, n):
    bars = {name: {title: medians(n, measure)[name] for measure, title in MEASURES.items()} for name in n["ssim"]}
    figure = bars_figure(bars, "similarity, median", note=f"{run.samples} images; 1: the class makes no difference.")
    return [Picture("random-logit", "Similarity of the maps of the explained class and of a random other.", figure)]


def tables(run, n):
    rows = [
        [
            name,
            *(
                v
                for m in MEASURES
                for v in (medians(n, m)[name], *map(float, mean_error(np.nan_to_num(np.array(n[m][name], float)))))
            ),
        ]
        for name in n["ssim"]
    ]
    head = ("method", *(f"{title}, {what}" for title in MEASURES.values() for what in ("median", "mean", "s.e.")))
    return [Table("random-logit", "Similarity to the map of a random class", head, rows)]


EXPERIMENT = Experiment(
    id="X-a",
    name="random-logit",
    title="Most modified backpropagation methods show the same map whatever class is explained",
    paper="sixt2020",
    figure="Figure 2 (a)",
    claim="Except for α5β4 and CMP, all modified backpropagation methods produce maps that do not depend on the "
    "class that is explained; gradient and LRP-z do.",
    expectations=(
        Expectation(
            "α1β0, deep Taylor, α2β1 and guided backprop keep SSIM > 0.8",
            _keep("α1β0", "α2β1", "deep Taylor", "guided backprop"),
        ),
        Expectation("deconvnet keeps SSIM > 0.8", _keep("deconvnet"), bp.NEED_NOT),
        Expectation("PatternNet and PatternAttribution keep SSIM > 0.8", _keep(*bp.PATTERNS), bp.SHALLOW),
        Expectation("gradient, LRP-z and α5β4 fall below 0.8", _changes),
        Expectation("α1β0 changes less than gradient, LRP-z and α5β4", _ordered),
        Expectation(
            "α1β0 changes less than CMP, by 0.01",
            _composites,
            "dense layers by αβ forget what z says on top; in the paper's convolutions its scale stays, place by place",
        ),
    ),
    sources=sources("photographs", "digits", "mnist", "cifar10", "imagenet"),
    samples=(200, 30),
    pieces=pieces,
    numbers=numbers,
    pictures=pictures,
    tables=tables,
    trains=True,
)
