"""F-d: turning an 8 into a 3 by removing what speaks for the 8. [srinivas2019]"""

import numpy as np

import pyref
from relprop.experiments.charts import Curve, curves_figure, panel_maps, panels_figure
from relprop.experiments.experiment import Expectation, Experiment, Picture, Piece, Table
from relprop.experiments.models import model_pieces
from relprop.experiments.ordering import mean_error, more
from relprop.experiments.problem import open_problem, sources

SOURCE, GOAL = 8, 3
PSI = {"ψ signed": "signed", "ψ abs": "mnist", "ψ rescaled abs": "paper"}
OTHERS = {"integrated gradients": "integrated_gradients", "gradient × input": "gradient_times_input"}
FRACTIONS = tuple(k / 50 for k in range(1, 11))


def pieces(run):
    return [*model_pieces(run, "cnn"), Piece("curves", _curves)]


def chosen(run):
    """Held-out images of the class, and of it those that the network knows."""
    problem = open_problem(run.settings.data)
    images = problem.images[problem.labels == SOURCE]
    right = run["cnn"](images, run.backend).argmax(axis=1) == SOURCE
    return images[right][: run.samples]


def difference_maps(run, images):
    """{label: map of S_8 - S_3}: for FullGrad the map of one class minus that of the other."""
    network, maps = run["cnn"], {}
    for label, psi in PSI.items():
        parts = [run.explain(network, images, "fullgrad", target, psi=psi).values for target in (SOURCE, GOAL)]
        maps[label] = parts[0] - parts[1]
    target = pyref.class_difference(SOURCE, GOAL)
    for label, method in OTHERS.items():
        steps = {"quadrature": "right", "m": 50} if method == "integrated_gradients" else {}
        maps[label] = run.explain(network, images, method, target, **steps).values
    return maps


def _curves(run):
    images = chosen(run)
    maps = difference_maps(run, images)
    rng = run.rng("random")
    found = pyref.digit_flip(
        run["cnn"], images, {**maps, "random": rng.normal(size=images.shape)}, source=SOURCE, goal=GOAL,
        baseline=open_problem(run.settings.data).black, fractions=FRACTIONS, backend=run.backend,
    )  # fmt: skip
    return {
        **{f"change {k}": v for k, v in found.values.items()},
        **{f"map {k}": v for k, v in maps.items()},
        "images": images,
    }


def numbers(run):
    piece = run["curves"]
    return {"fractions": FRACTIONS, "change": {k[7:]: v for k, v in piece.items() if k.startswith("change ")}}


def _last(n, name):
    return np.array(n["change"][name])[:, -1]


def _signed(n):
    return more(_last(n, "ψ signed"), _last(n, "ψ abs"), ("change of log-odds by ψ signed", "ψ abs"))


def _not_chance(n):
    return more(_last(n, "ψ signed"), _last(n, "random"), ("change of log-odds by ψ signed", "random"))


def pictures(run, n):
    percent = [100 * f for f in n["fractions"]]
    curves = {name: Curve(percent, *mean_error(v)) for name, v in n["change"].items()}
    images = run["curves"]["images"]
    figure = curves_figure(
        {"": curves}, "% of pixels removed", "change of log-odds, 8 against 3", height=3.2, zero=True,
        note=f"Mean and standard error over {len(images)} eights.",
    )  # fmt: skip
    titles = ("8", *PSI, *OTHERS)
    rows = {
        f"image {k}": [("input", images[k]), *(run["curves"][f"map {name}"][k] for name in titles[1:])]
        for k in range(min(4, len(images)))
    }
    return [
        Picture("digit-flip", "How far an 8 moves to a 3 when what speaks for the 8 is painted over.", figure),
        Picture(
            "maps", "Maps of S_8 - S_3.", panels_figure(rows, len(titles), titles=titles), panel_maps(rows, titles)
        ),
    ]


def tables(run, n):
    rows = [[name, *map(float, mean_error(_last(n, name)))] for name in n["change"]]
    return [Table("digit-flip", "At a fifth of the pixels", ("map", "change of log-odds", "standard error"), rows)]


EXPERIMENT = Experiment(
    id="F-d",
    name="digit-flip",
    title="Flipping digits needs a post-processing that keeps signs",
    paper="srinivas2019",
    figure="Section 6",
    claim="On the task of flipping an 8 to a 3 by removing up to a fifth of the pixels, FullGrad with a ψ that "
    "keeps signs changes the log-odds more than with an absolute value: what ψ should be depends on the task.",
    expectations=(
        Expectation("change of log-odds at a fifth of the pixels: ψ signed > ψ abs", _signed),
        Expectation("ψ signed > pixels at random", _not_chance),
    ),
    sources=sources("digits", "mnist"),
    samples=(100, 20),
    pieces=pieces,
    numbers=numbers,
    pictures=pictures,
    tables=tables,
)
