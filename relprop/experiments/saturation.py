"""S-b: outputs and inner layers along the scaling of the input from nothing to itself. [sundararajan2016]"""

import numpy as np

import pyref
from relprop.experiments.charts import Curve, curves_figure
from relprop.experiments.chunks import chunk_pieces, gathered
from relprop.experiments.experiment import Expectation, Experiment, Picture, Table
from relprop.experiments.models import model_pieces
from relprop.experiments.ordering import all_of, mean_error, more
from relprop.experiments.problem import open_problem, sources

ALPHAS = tuple(k / 20 for k in range(21))
LAYERS = 4  # inner layers that are followed
OUTPUTS = ("probability", "logit")


def pieces(run):
    return [*model_pieces(run, "deep"), *chunk_pieces(run, "curves", _curves)]


def inner(network):
    """Outputs of activations, evenly from a third of the way to the last: the paper's are mixed3b to mixed5b.

    The first layers are almost linear in α by what they are: z = α W x + b.
    """
    found = [n.name for n in network.nodes.values() if n.layer.kind == "activation"]
    return [found[k] for k in np.unique(np.linspace(len(found) // 3, len(found) - 1, LAYERS).round().astype(int))]


def _curves(run, part):
    problem, network = open_problem(run.settings.data), run["deep"]
    found = pyref.saturation(
        network, problem.images[part], baseline=problem.black, alphas=ALPHAS, nodes=inner(network), backend=run.backend
    )
    return {series.replace("output", "logit"): np.asarray(values) for series, values in found.values.items()}


def numbers(run):
    series = list(run["curves-0"])
    return {"alphas": ALPHAS, "curves": {name: gathered(run, "curves", name) for name in series}}


def _flattens(name):
    """The first half of the way changes more than the second."""

    def test(n):
        v, half = np.array(n["curves"][name]), len(n["alphas"]) // 2
        first, second = v[:, half] - v[:, 0], v[:, -1] - v[:, half]
        return more(first, second, (f"{name}: change over α < 1/2", "over α > 1/2"))

    return test


def _inner_flatten(n):
    """A network without saturation goes the same distance in both halves."""
    outcomes = []
    for name, curve in n["curves"].items():
        if "distance" in name:
            v, half = np.array(curve), len(n["alphas"]) // 2
            size = v[:, 0]
            words = f"layer {name.removesuffix(' distance')}: way made by α = 1/2", "left"
            outcomes.append(more((v[:, 0] - v[:, half]) / size, v[:, half] / size, words))
    return all_of(outcomes)


def pictures(run, n):
    panels = {name: {name: Curve(n["alphas"], *mean_error(n["curves"][name]))} for name in OUTPUTS}
    lines = {
        name: {f"image {k}": Curve(n["alphas"], row) for k, row in enumerate(n["curves"][name][:30])}
        for name in OUTPUTS
    }
    each = curves_figure(
        lines, "α, the factor on the input", "score of the top class", columns=2, share=False, legend=False
    )
    note = f"Mean and standard error over {run.samples} images."
    mean = curves_figure(
        panels, "α, the factor on the input", "score, mean", columns=2, share=False, legend=False, note=note
    )
    kinds: dict = {"distance": {}, "cosine": {}}
    for name, curve in n["curves"].items():
        for kind, chart in kinds.items():
            if name not in OUTPUTS and kind in name:
                chart[f"layer {name.replace(kind, '').strip()}"] = Curve(n["alphas"], *mean_error(curve))
    words = {"distance": "Euclidean distance to α = 1", "cosine": "cosine with α = 1"}
    layers = curves_figure(kinds, "α, the factor on the input", words, columns=2, share=False, note=note)
    return [
        Picture("scores", "Score of the top class of each image as the input is scaled.", each),
        Picture("scores-mean", "Their mean, with its standard error.", mean),
        Picture("layers", "Inner layers: distance to, and cosine with, what they are at the input itself.", layers),
    ]


def tables(run, n):
    rows = [[name, *(float(v) for v in np.mean(curve, axis=0)[::5])] for name, curve in n["curves"].items()]
    return [Table("saturation", "Means along the way", ("what", *(f"α = {a:g}" for a in ALPHAS[::5])), rows)]


EXPERIMENT = Experiment(
    id="S-b",
    name="saturation",
    title="Scores saturate long before the input is there",
    paper="sundararajan2016",
    figure="Figures 2 and 12",
    claim="The softmax score of the top class flattens as α increases, for most images from α = 0.2 on; the score "
    "before the softmax saturates too, and so do the outputs of intermediate layers.",
    expectations=(
        Expectation("the probability changes more over α < 1/2 than over α > 1/2", _flattens("probability")),
        Expectation(
            "the logit changes more over α < 1/2 than over α > 1/2",
            _flattens("logit"),
            "this network is small, and piecewise linear in α but for few kinks: its logit grows with the contrast",
        ),
        Expectation("inner layers make more than half of their way by α = 1/2", _inner_flatten),
    ),
    sources=sources("photographs", "digits", "cifar10", "imagenet"),
    samples=(300, 40),
    pieces=pieces,
    numbers=numbers,
    pictures=pictures,
    tables=tables,
    trains=True,
)
