"""X-c: whether what arrives at the input still depends on what was sent from above. [sixt2020]"""

from functools import partial

import numpy as np

import pyref
from relprop.experiments import modified_backprop as bp
from relprop.experiments.charts import Curve, curves_figure
from relprop.experiments.experiment import Expectation, Experiment, Picture, Piece, Table
from relprop.experiments.models import model_pieces
from relprop.experiments.ordering import is_so
from relprop.experiments.problem import open_problem, sources

LABELS = [name for name in bp.METHODS if name not in ("SmoothGrad", "DeepLIFT")]  # neither sends a vector down
PANELS = {
    "gradient and its rectified kin": ("gradient", "guided backprop", "deconvnet"),
    "LRP, from z to α10β9": ("LRP-z", *bp.RATIOS),
    "z on top, αβ below": ("LRP-z", *bp.CMP, "deep Taylor"),
}
VECTORS = 5


def pieces(run):
    return [*model_pieces(run, "deep"), *(Piece(f"method-{k}", partial(_converge, k)) for k in range(len(LABELS)))]


def _converge(k, run):
    problem, network = open_problem(run.settings.data), pyref.merge_batchnorm(run["deep"])
    found = pyref.cosine_convergence(
        network,
        problem.images[: run.samples],
        {LABELS[k]: bp.method(LABELS[k], network, problem)},
        vectors=VECTORS,
        seed=run.settings.seed,
        backend=run.backend,
    )
    return {
        "cosine": found[LABELS[k]],
        "layers": np.array(found.at),
        "chance": np.array([found.chance[layer] for layer in found.at]),
    }


def numbers(run):
    first = run["method-0"]
    return {
        "layers": first["layers"],  # from the output down to the input
        "chance": first["chance"],
        "median": {name: np.nanmedian(run[f"method-{k}"]["cosine"], axis=0) for k, name in enumerate(LABELS)},
        "quartiles": {
            name: np.nanquantile(run[f"method-{k}"]["cosine"], (0.25, 0.75), axis=0) for k, name in enumerate(LABELS)
        },
    }


def _at_input(n, *names):
    return {name: n["median"][name][-1] for name in names}


def _said(found):
    return "median |cos| at the input: " + ", ".join(f"{name} {value:.3f}" for name, value in found.items())


def _converges(*names):
    def test(n):
        found = _at_input(n, *names)
        return is_so(min(found.values()) > 0.9, _said(found))

    return test


def _not_converged(n):
    found, converged = _at_input(n, "gradient", "LRP-z"), _at_input(n, *bp.CONVERGED)
    return is_so(max(found.values()) < 0.9 and max(found.values()) < min(converged.values()), _said(found | converged))


def _ratio(n):
    found = _at_input(n, "α5β4", "α2β1")
    return is_so(found["α5β4"] < found["α2β1"] - 0.1, _said(found))


def _after_the_switch(n):
    """How many layers below the last of the z rule |cos| of CMP reaches 0.9."""
    found = {}
    for name in bp.CMP:
        below = n["median"][name][bp.TOP - 1 :]
        steps = [k for k, v in enumerate(below) if v is not None and v > 0.9]
        found[name] = steps[0] if steps else None
    said = ", ".join(f"{name} {'never' if k is None else f'{k} layers below'}" for name, k in found.items())
    return is_so(all(k is not None and k <= 5 for k in found.values()), f"|cos| > 0.9: {said}")


def pictures(run, n):
    layers = list(range(len(n["layers"])))
    panels = {}
    for title, names in PANELS.items():
        panels[title] = {name: Curve(layers, n["median"][name]) for name in names}
        panels[title]["random"] = Curve(layers, n["chance"])
    figure = curves_figure(
        panels, "layers down from the top", "|cos|, median", columns=3, height=3.2,
        note="Read where each weighted layer takes its input; the last is the network's input. random: E|cos| of "
        f"independent vectors. {run.samples} images, {VECTORS} vectors each.",
    )  # fmt: skip
    return [Picture("csc", "Cosine similarity convergence: 1 is a matrix of rank 1 between the top and here.", figure)]


def tables(run, n):
    rows = [[name, *n["median"][name]] for name in LABELS] + [["chance", *n["chance"]]]
    return [Table("csc", "Median |cos| by layer, the input last", ("method", *n["layers"]), rows)]


EXPERIMENT = Experiment(
    id="X-c",
    name="cosine-convergence",
    title="Relevance that goes through αβ, deep Taylor or rectified gradients forgets where it came from",
    paper="sixt2020",
    figure="Figure 3",
    claim="All investigated modified backpropagation rules converge: random relevance vectors that are set at a "
    "layer become parallel on their way to the input, for α1β0, α2β1, deep Taylor, guided backpropagation and"
    " deconvnet, and for CMP within 3 to 5 layers after it changes from z to αβ; gradient and LRP-z do not "
    "converge, and α5β4 less.",
    expectations=(
        Expectation("α1β0 and deep Taylor reach |cos| > 0.9 at the input", _converges("α1β0", "deep Taylor")),
        Expectation(
            "α2β1, guided backprop and deconvnet reach |cos| > 0.9",
            _converges("α2β1", "guided backprop", "deconvnet"),
            "this network is shallower than VGG-16",
        ),
        Expectation("gradient and LRP-z stay below all of them", _not_converged),
        Expectation("α5β4 converges less than α2β1", _ratio),
        Expectation(
            "CMP converges within 5 layers after the switch from z to αβ",
            _after_the_switch,
            "with α2β1 the rate depends on the fan-in, which is smaller here than in VGG-16",
        ),
    ),
    sources=sources("digits", "photographs", "mnist", "imagenet"),
    samples=(200, 40),
    pieces=pieces,
    numbers=numbers,
    pictures=pictures,
    tables=tables,
    trains=True,
)
