"""S-e: what the score loses when the most important pixels are blacked out. [sundararajan2016]"""

import numpy as np

import pyref
from relprop.experiments.charts import Curve, curves_figure
from relprop.experiments.chunks import chunk_pieces, gathered
from relprop.experiments.experiment import Expectation, Experiment, Picture, Table
from relprop.experiments.models import model_pieces, with_softmax
from relprop.experiments.ordering import mean_error, more
from relprop.experiments.problem import open_problem, sources

STEPS = 50
LARGEST = 0.1  # of the pixels, that go in the end
INTEGRATED, GRADIENT = "integrated gradients", "gradient at the image"


def pieces(run):
    return [*model_pieces(run, "deep"), *chunk_pieces(run, "curves", _curves)]


def importance(run, network, images, target):
    """{label: P, the sum of |R| over channels} of the probability of the class, from a black image: as in the paper."""
    explained, options = with_softmax(network), {"softmax": "keep"}
    path = {"baseline": open_problem(run.settings.data).black, "quadrature": "right", "m": steps(run)}
    whole = run.explain(explained, images, "integrated_gradients", target, **path, **options)
    here = run.explain(explained, images, "gradient", target, **options)
    return {
        INTEGRATED: np.abs(whole.values).sum(axis=1, keepdims=True),
        GRADIENT: np.abs(here.values).sum(axis=1, keepdims=True),
    }


def steps(run):
    """Gradients along the path."""
    return 20 if run.quick else 50


def _curves(run, part):
    problem, network = open_problem(run.settings.data), run["deep"]
    images = problem.images[part]
    target = network(images, run.backend).argmax(axis=1)
    maps = importance(run, network, images, target)
    most = max(1, round(LARGEST * maps[GRADIENT][0].size))
    found = pyref.morf_lerf(
        with_softmax(network), images, maps, target=target, mask="pixel", baseline=problem.black, softmax="keep",
        step=max(1, most // (STEPS // 2 if run.quick else STEPS)), most=most, orders=2, seed=run.settings.seed,
        indices=np.arange(len(problem.images))[part],
        backend=run.backend,
    )  # fmt: skip
    drops = {}
    for name in (*(f"{label} MoRF" for label in maps), "random"):
        along = [
            pyref.curve_statistics({name: found[name][:, : k + 1]}, found.at[: k + 1])["AOPC"][name]
            for k in range(1, len(found.at))
        ]
        drops[name.removesuffix(" MoRF")] = np.stack([0 * along[0], *along], axis=1)
    return {**drops, "pixels": np.tile(found.at, (len(images), 1))}


def numbers(run):
    return {
        "pixels": gathered(run, "curves", "pixels")[0],
        "aopc": {name: gathered(run, "curves", name) for name in (INTEGRATED, GRADIENT, "random")},
    }


def _more(first, second):
    def test(n):
        a, b = (np.array(n["aopc"][name])[:, -1] for name in (first, second))
        return more(a, b, (first, second))

    return test


def pictures(run, n):
    curves = {name: Curve(n["pixels"], *mean_error(values)) for name, values in n["aopc"].items()}
    figure = curves_figure(
        {"": curves}, "pixels blacked out", "AOPC of the probability", height=3.2,
        note=f"Mean and standard error over {run.samples} images.",
    )  # fmt: skip
    return [Picture("aopc", "Area over the perturbation curve, as pixels are blacked out by importance.", figure)]


def tables(run, n):
    rows = [[name, *(float(v[-1]) for v in mean_error(values))] for name, values in n["aopc"].items()]
    return [Table("aopc", "AOPC at the last step", ("importance", "mean", "standard error"), rows)]


EXPERIMENT = Experiment(
    id="S-e",
    name="aopc",
    title="Blacking out pixels by integrated gradients, and by the gradient at the image",
    paper="sundararajan2016",
    figure="Figure 5",
    claim="Ablating the top pixels that integrated gradients identify leads to a larger score drop than ablating "
    "those identified by gradients at the image.",
    expectations=(
        Expectation("AOPC by integrated gradients > by the gradient at the image", _more(INTEGRATED, GRADIENT)),
        Expectation(
            "AOPC by integrated gradients > at random",
            _more(INTEGRATED, "random"),
            "black pixels at random places leave edges all over a small image, which change the output whatever the "
            "pixels meant ([srinivas2019] sec. 5.1 finds the same); the paper does not draw the random order",
        ),
    ),
    sources=sources("photographs", "digits", "cifar10", "imagenet"),
    samples=(150, 40),
    pieces=pieces,
    numbers=numbers,
    pictures=pictures,
    tables=tables,
    trains=True,
)
