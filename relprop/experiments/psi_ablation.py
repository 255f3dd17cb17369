"""F-e: the least salient pixels on digits, under different post-processing. [srinivas2019]"""

import numpy as np

import pyref
from relprop.experiments.charts import Curve, curves_figure
from relprop.experiments.experiment import Expectation, Experiment, Picture, Piece, Table
from relprop.experiments.models import model_pieces
from relprop.experiments.ordering import mean_error, more
from relprop.experiments.pixel_perturbation import FRACTIONS
from relprop.experiments.problem import open_problem, sources

PSI = {"rescaled abs, of a layer": ("paper", "layer"), "rescaled abs, of a channel": ("paper", "channel"),
       "abs": ("mnist", "layer"), "signed": ("signed", "layer")}  # fmt: skip


def pieces(run):
    return [*model_pieces(run, "cnn"), Piece("curves", _curves)]


def _curves(run):
    problem, network = open_problem(run.settings.data), run["cnn"]
    images = problem.images[: run.samples]
    target = network(images, run.backend).argmax(axis=1)
    maps = {
        label: run.explain(network, images, "fullgrad", target, psi=psi, scope=scope).values
        for label, (psi, scope) in PSI.items()
    }
    found = pyref.pixel_perturbation(
        network, images, maps, target=target, baseline=problem.black, fractions=FRACTIONS, rank="absolute",
        seed=run.settings.seed, backend=run.backend,
    )  # fmt: skip
    return dict(found.values)


def numbers(run):
    return {"fractions": FRACTIONS, "change": dict(run["curves"])}


def _mean(n, name):
    return np.mean(np.array(n["change"][name]), axis=1)


def _unsigned(n):
    return more(_mean(n, "signed"), _mean(n, "rescaled abs, of a layer"), ("signed", "rescaled abs"))


def _below_random(n):
    return more(_mean(n, "random"), _mean(n, "rescaled abs, of a layer"), ("random", "rescaled abs"))


def pictures(run, n):
    percent = [100 * f for f in n["fractions"]]
    curves = {name: Curve(percent, *mean_error(v)) for name, v in n["change"].items()}
    figure = curves_figure(
        {"": curves}, "% of pixels removed, least salient first", "|change| / |output|", height=3.2,
        note=f"Mean and standard error over {run.samples} images; lower is better.",
    )  # fmt: skip
    return [Picture("psi", "The least salient pixels of FullGrad, under different ψ.", figure)]


def tables(run, n):
    rows = [[name, *map(float, mean_error(_mean(n, name)))] for name in n["change"]]
    return [Table("psi", "Mean over the fractions", ("ψ", "mean change", "standard error"), rows)]


EXPERIMENT = Experiment(
    id="F-e",
    name="psi-ablation",
    title="For the least salient pixels ψ should drop the sign",
    paper="srinivas2019",
    figure="Section 6",
    claim="The choice of ψ depends on the task: an absolute value serves where unimportant pixels are sought, a "
    "signed map where digits are flipped.",
    expectations=(
        Expectation(
            "removing the least salient changes the output less by rescaled abs than by the signed map", _unsigned
        ),
        Expectation("rescaled abs < random", _below_random),
    ),
    sources=sources("digits", "mnist"),
    samples=(200, 60),
    pieces=pieces,
    numbers=numbers,
    pictures=pictures,
    tables=tables,
)
