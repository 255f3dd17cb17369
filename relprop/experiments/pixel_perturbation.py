"""F-a: what the output does when the least salient pixels are removed. [srinivas2019]"""

import numpy as np

import pyref
from relprop.experiments.charts import Curve, curves_figure
from relprop.experiments.chunks import chunk_pieces, gathered
from relprop.experiments.experiment import Expectation, Experiment, Picture, Table
from relprop.experiments.models import model_pieces
from relprop.experiments.ordering import all_of, mean_error, more
from relprop.experiments.problem import open_problem, sources

FULLGRAD = "FullGrad"
GRAINED = ("input gradient", "SmoothGrad", "integrated gradients")
FRACTIONS = tuple(k / 100 for k in range(1, 11))


def saliency_maps(run, network, images, target, index=0):
    """{label: map (n, 1, h, w)} of the methods that [srinivas2019] compares; what has a sign is taken by its size."""
    steps = 10 if run.quick else 50
    noise = {"samples": steps, "seed": run.settings.seed, "indices": np.arange(index, index + len(images))}

    def size(method, **options):
        return np.abs(run.explain(network, images, method, target, **options).values).sum(axis=1, keepdims=True)

    return {
        FULLGRAD: run.explain(network, images, "fullgrad", target).values,
        "Grad-CAM": run.explain(network, images, "grad_cam", target).values,
        "input gradient": size("gradient"),
        "SmoothGrad": size("smoothgrad", **noise),
        "integrated gradients": size("integrated_gradients", quadrature="right", m=steps),
    }


def pieces(run):
    return [*model_pieces(run, "deep"), *chunk_pieces(run, "curves", _curves)]


def _curves(run, part):
    problem, network = open_problem(run.settings.data), run["deep"]
    images = problem.images[part]
    target = network(images, run.backend).argmax(axis=1)
    maps = saliency_maps(run, network, images, target, part.start)
    found = pyref.pixel_perturbation(
        network, images, maps, target=target, mask="pixel", baseline=problem.black, fractions=FRACTIONS,
        orders=2 if run.quick else 5, seed=run.settings.seed, indices=np.arange(len(problem.images))[part],
        backend=run.backend,
    )  # fmt: skip
    return dict(found.values)


def numbers(run):
    names = list(run["curves-0"])
    return {"fractions": FRACTIONS, "change": {name: gathered(run, "curves", name) for name in names}}


def _mean(n, name):
    return np.mean(np.array(n["change"][name]), axis=1)


def _lowest(*others):
    def test(n):
        return all_of([more(_mean(n, name), _mean(n, FULLGRAD), (name, FULLGRAD)) for name in others])

    return test


def _below_random(n):
    return more(_mean(n, "random"), _mean(n, FULLGRAD), ("random", FULLGRAD))


def pictures(run, n):
    percent = [100 * f for f in n["fractions"]]
    curves = {name: Curve(percent, *mean_error(v)) for name, v in n["change"].items()}
    figure = curves_figure(
        {"": curves}, "% of pixels blacked out, least salient first", "|change| / |output|", height=3.2,
        note=f"Mean and standard error over {run.samples} images; lower is better.",
    )  # fmt: skip
    return [Picture("pixel-perturbation", "Fractional change of the output without the least salient pixels.", figure)]


def tables(run, n):
    rows = [[name, *map(float, mean_error(_mean(n, name)))] for name in n["change"]]
    return [Table("pixel-perturbation", "Mean over the fractions", ("map", "mean change", "standard error"), rows)]


EXPERIMENT = Experiment(
    id="F-a",
    name="pixel-perturbation",
    title="Removing the pixels that FullGrad finds least salient changes the output least",
    paper="srinivas2019",
    figure="Figure 2 (a)",
    claim="When the least salient pixels are replaced by black, FullGrad causes the least change of the output of "
    "the maps compared: Grad-CAM, input gradient, SmoothGrad and integrated gradients, and less than random "
    "pixels.",
    expectations=(
        Expectation("FullGrad changes the output less than input gradient, SmoothGrad and IG", _lowest(*GRAINED)),
        Expectation(
            "FullGrad changes the output less than Grad-CAM",
            _lowest("Grad-CAM"),
            "on crops of 32 × 32 pixels the map of Grad-CAM, which is enlarged from 4 × 4, does as well",
        ),
        Expectation("FullGrad changes the output less than random pixels", _below_random),
    ),
    sources=sources("photographs", "cifar10", "cifar100", "imagenet"),
    samples=(100, 30),
    pieces=pieces,
    numbers=numbers,
    pictures=pictures,
    tables=tables,
    trains=True,
)
