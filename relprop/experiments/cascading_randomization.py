"""X-b: whether the picture changes when layers are given random parameters, from the last to the first. [sixt2020]"""

import numpy as np

import pyref
from relprop.experiments import modified_backprop as bp
from relprop.experiments.charts import Curve, curves_figure
from relprop.experiments.experiment import Expectation, Experiment, Picture, Piece, Table
from relprop.experiments.models import model_pieces
from relprop.experiments.ordering import all_of, is_so, more
from relprop.experiments.problem import sources
from relprop.experiments.random_logit import EFFECT, labels

LEVEL = 0.99  # of the bootstrap intervals of the medians, as in the paper
PANELS = {
    "gradients": ("gradient", "SmoothGrad", "DeepLIFT", "guided backprop", "deconvnet"),
    "LRP": ("LRP-z", *bp.RATIOS),
    "composites and patterns": (*bp.CMP, "deep Taylor", *bp.PATTERNS, "contrastive EBP"),
}


def pieces(run):
    methods = [_piece(k, name) for k, name in enumerate(labels(run))]
    return [*model_pieces(run, "deep"), *bp.pattern_pieces(run), *methods]


def _piece(k, name):
    def make(run):
        problem, network = bp.opened(run)
        found = pyref.parameter_randomization(
            network, problem.images[: run.samples], {name: bp.method(name, run, network)}, measures=("ssim",),
            seed=run.settings.seed, backend=run.backend,
        )  # fmt: skip
        return {"ssim": found[f"{name} ssim"], "layers": np.array([str(layer) for layer in found.at])}

    return Piece(f"method-{k}", make)


def numbers(run):
    found = {name: run[f"method-{k}"] for k, name in enumerate(labels(run))}
    return {
        "layers": found["gradient"]["layers"],
        "ssim": {name: piece["ssim"] for name, piece in found.items()},
        "interval": {
            name: pyref.bootstrap_interval(piece["ssim"], LEVEL, seed=run.settings.seed, of="median")
            for name, piece in found.items()
        },
    }


def medians(n, name):
    return np.nanmedian(np.array(n["ssim"][name], dtype=float), axis=0)


def _invariant(n):
    """Half of the layers randomised."""
    half = len(n["layers"]) // 2
    found = {name: float(medians(n, name)[half]) for name in ("α1β0", "deep Taylor", "guided backprop")}
    return is_so(min(found.values()) > 0.6, f"median SSIM after {half + 1} layers: {_said(found)}")


def _drops(n):
    last = {
        name: np.array(n["ssim"][name], dtype=float)[:, 0] for name in ("α1β0", "guided backprop", "gradient", "LRP-z")
    }
    pairs = [(a, b) for a in ("α1β0", "guided backprop") for b in ("gradient", "LRP-z")]
    return all_of([more(last[a], last[b], (f"SSIM after the last layer: {a}", b)) for a, b in pairs])


def _composites(n):
    last = {name: np.array(n["ssim"][name], dtype=float)[:, 0] for name in (*bp.CMP, "α1β0")}
    return all_of(
        [more(last["α1β0"], last[name], ("SSIM after the last layer: α1β0", name), EFFECT) for name in bp.CMP]
    )


def _keeps(name):
    """After the last layer, of which the paper speaks."""

    def test(n):
        found = {name: float(medians(n, name)[0])}
        return is_so(found[name] > 0.8, f"median SSIM after the last layer: {_said(found)}")

    return test


def _said(found):
    return ", ".join(f"{name} {value:.2f}" for name, value in found.items())


def pictures(run, n):
    at = range(1, len(n["layers"]) + 1)
    panels = {
        title: {
            name: Curve(at, medians(n, name), low=n["interval"][name][0], high=n["interval"][name][1])
            for name in names
            if name in n["ssim"]
        }
        for title, names in PANELS.items()
    }
    figure = curves_figure(
        panels, "layers randomised, from the last", "SSIM, median", height=3.2,
        note=f"{run.samples} images; the largest SSIM of the map and its negative. Bands: {100 * LEVEL:g} % bootstrap "
        "intervals.",
    )  # fmt: skip
    return [Picture("randomization", "Similarity to the original map as layers are randomised.", figure)]


def tables(run, n):
    rows = [[name, *map(float, medians(n, name))] for name in n["ssim"]]
    return [Table("randomization", "Median SSIM by the layer randomised last", ("method", *n["layers"]), rows)]


EXPERIMENT = Experiment(
    id="X-b",
    name="cascading-randomization",
    title="Maps that stay when the last layers are given random parameters",
    paper="sixt2020",
    figure="Figure 2 (b)",
    claim="The maps of SmoothGrad and LRP-z change as soon as the last layer is randomised, while those of αβ, deep"
    " Taylor, PatternAttribution and guided backpropagation remain similar; those of CMP change, in the local"
    " scale.",
    expectations=(
        Expectation("after half of the layers α1β0, deep Taylor and guided backprop keep SSIM > 0.6", _invariant),
        Expectation("after the last layer: α1β0 and guided backprop > gradient and LRP-z", _drops),
        Expectation("after the last layer α2β1 keeps SSIM > 0.8", _keeps("α2β1")),
        Expectation(
            "after the last layer PatternAttribution keeps SSIM > 0.8", _keeps("PatternAttribution"), bp.SHALLOW
        ),
        Expectation(
            "after the last layer CMP has changed more than α1β0, by 0.01",
            _composites,
            "dense layers by αβ forget what z says on top; in the paper's convolutions its scale stays, place by place",
        ),
    ),
    sources=sources("photographs", "digits", "mnist", "cifar10", "imagenet"),
    samples=(200, 20),
    pieces=pieces,
    numbers=numbers,
    pictures=pictures,
    tables=tables,
    trains=True,
)
