"""X-c: whether what arrives at the input still depends on what was sent from above. [sixt2020]"""

from functools import partial

import numpy as np

import pyref
from relprop.experiments import modified_backprop as bp
from relprop.experiments.charts import Curve, curves_figure
from relprop.experiments.experiment import Expectation, Experiment, Picture, Piece, Table
from relprop.experiments.models import model_pieces
from relprop.experiments.ordering import UNDECIDED, Outcome, is_so
from relprop.experiments.problem import sources

LABELS = [name for name in bp.METHODS if name not in ("SmoothGrad", "DeepLIFT")]  # neither sends a vector down
PANELS = {
    "gradient and its rectified kin": ("gradient", "guided backprop", "deconvnet"),
    "LRP, from z to α10β9": ("LRP-z", *bp.RATIOS),
    "z on top, αβ below; others": ("LRP-z", *bp.CMP, "deep Taylor", *bp.PATTERNS, "contrastive EBP"),
}
CONVERGED = ("α1β0", "α2β1", "deep Taylor", "guided backprop")  # in the paper's eyes; deconvnet stands apart
FREE = ("gradient", "LRP-z")
FEW = 0.3  # |cos| that independent vectors have where there are fewer than eight channels
VECTORS = 5
STARTS = 4
FAR = 5  # layers between a start and the input, from which convergence is expected


def pieces(run):
    methods = [Piece(f"method-{k}", partial(_converge, k)) for k in range(len(LABELS))]
    return [*model_pieces(run, "deep"), *bp.pattern_pieces(run), *methods]


def starts(network):
    """Layers with weights whose relevance is set: the output, and others down to a third of the way, in turn."""
    layers = [n.name for n in network.nodes.values() if pyref.network.weighted(n.layer)]
    return [
        layers[k] for k in np.unique(np.linspace(len(layers) // 3, len(layers) - 1, STARTS).round().astype(int))[::-1]
    ]


def _converge(k, run):
    problem, network = bp.opened(run)
    sent = starts(network)
    found = pyref.cosine_convergence(
        network,
        problem.images[: run.samples],
        {LABELS[k]: bp.method(LABELS[k], run, network)},
        start=sent,
        vectors=VECTORS,
        seed=run.settings.seed,
        backend=run.backend,
    )
    return {
        "cosine": np.stack([found[f"{LABELS[k]} from {start}"] for start in sent]),
        "starts": np.array(sent),
        "layers": np.array(found.at),
        "chance": np.array([found.chance[layer] for layer in found.at]),
    }


def numbers(run):
    """median and quartiles are those of vectors sent from the output; "from" has the medians of all starts."""
    first, found = run["method-0"], {name: run[f"method-{k}"]["cosine"] for k, name in enumerate(LABELS)}
    return {
        "layers": first["layers"],  # from the output down to the input
        "chance": first["chance"],
        "median": {name: np.nanmedian(cosine[0], axis=0) for name, cosine in found.items()},
        "quartiles": {name: np.nanquantile(cosine[0], (0.25, 0.75), axis=0) for name, cosine in found.items()},
        "from": {
            str(start): {name: _median(cosine[s]) for name, cosine in found.items()}
            for s, start in enumerate(first["starts"])
        },
    }


def _median(cosine):
    """Over samples; NaN for layers that a start does not reach."""
    return [np.nan if np.isnan(layer).all() else np.nanmedian(layer) for layer in cosine.T]


def _at_input(n, *names):
    return {name: n["median"][name][-1] for name in names}


def _said(found):
    return f"median |cos| at the input: {_listed(found)}"


def _listed(found):
    return ", ".join(f"{name} {value:.3f}" for name, value in found.items())


def _converges(*names):
    def test(n):
        found = _at_input(n, *names)
        return is_so(min(found.values()) > 0.9, _said(found))

    return test


def _from_any_layer(n):
    """Starts with FAR layers or more below them; a layer that a start does not reach is null."""
    found = {}
    for start, by_name in n["from"].items():
        reached = [v for v in by_name["α1β0"] if v is not None]
        if len(reached) >= FAR:
            found |= {f"{name} from {start}": by_name[name][-1] for name in ("α1β0", "deep Taylor")}
    if not found:
        return Outcome(UNDECIDED, f"no start has {FAR} layers below it")
    return is_so(min(found.values()) > 0.9, _said(found))


def _not_converged(n):
    """At the lowest layer where independent vectors are not alike by chance; the three channels of an image are few."""
    place = max(k for k, chance in enumerate(n["chance"]) if chance < FEW)
    found, converged = ({name: n["median"][name][place] for name in names} for names in (FREE, CONVERGED))
    said = _listed(found | converged)
    return is_so(
        max(found.values()) < 0.9 and max(found.values()) < min(converged.values()),
        f"median |cos| at {n['layers'][place]}, where chance has {n['chance'][place]:.2f}: {said}",
    )


def _patterns(n):
    found = _at_input(n, *bp.PATTERNS)
    return is_so(min(found.values()) > 0.9, _said(found))


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
    by_start = {
        name: {f"from layer {start}": Curve(layers, by_name[name]) for start, by_name in n["from"].items()}
        | {"random": Curve(layers, n["chance"])}
        for name in ("α1β0", "α2β1", "PatternAttribution", "guided backprop", "LRP-z", "gradient")
    }
    lower = curves_figure(
        by_start, "layers down from the top", "|cos|, median", columns=3, height=2.6,
        note="The same vectors, set at inner layers.",
    )  # fmt: skip
    return [
        Picture("csc", "Cosine similarity convergence: 1 is a matrix of rank 1 between the top and here.", figure),
        Picture("starts", "Convergence from several layers.", lower),
    ]


def tables(run, n):
    rows = [[name, *n["median"][name]] for name in LABELS] + [["chance", *n["chance"]]]
    lower = [[start, name, *by_name[name]] for start, by_name in n["from"].items() for name in LABELS]
    return [
        Table("csc", "Median |cos| by layer, the input last", ("method", *n["layers"]), rows),
        Table("starts", "Median |cos| from each start", ("start", "method", *n["layers"]), lower),
    ]


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
            "α2β1 and guided backprop reach |cos| > 0.9",
            _converges("α2β1", "guided backprop"),
            "this network is shallower than VGG-16",
        ),
        Expectation(
            "deconvnet reaches |cos| > 0.9",
            _converges("deconvnet"),
            bp.NEED_NOT,
        ),
        Expectation("PatternNet and PatternAttribution reach |cos| > 0.9", _patterns, bp.SHALLOW),
        Expectation("set at inner layers, 5 or more above the input, α1β0 and deep Taylor reach it", _from_any_layer),
        Expectation("gradient and LRP-z stay below 0.9 and below those, deconvnet aside", _not_converged),
        Expectation("α5β4 converges less than α2β1", _ratio),
        Expectation(
            "CMP converges within 5 layers after the switch from z to αβ",
            _after_the_switch,
            "with α2β1 the rate depends on the fan-in, which is smaller here than in VGG-16",
        ),
    ),
    sources=sources("photographs", "digits", "mnist", "cifar10", "imagenet"),
    samples=(200, 10),
    pieces=pieces,
    numbers=numbers,
    pictures=pictures,
    tables=tables,
    trains=True,
)
