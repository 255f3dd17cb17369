"""F-d: turning an 8 into a 3 by removing what speaks for the 8. [srinivas2019]"""

from functools import partial

import numpy as np

import pyref
from relprop.experiments.charts import Curve, curves_figure, panel_maps, panels_figure
from relprop.experiments.experiment import Expectation, Experiment, Picture, Piece, Table
from relprop.experiments.models import model_pieces
from relprop.experiments.ordering import mean_error, more
from relprop.experiments.problem import open_problem, sources

SOURCE, GOAL = 8, 3
TASKS = ((SOURCE, GOAL), (8, 6), (9, 1), (4, 1))  # [shrikumar2017] fig. 5; the paper's example is the first
PSI = {"ψ signed": "signed", "ψ abs": "mnist", "ψ rescaled abs": "paper"}
OTHERS = {"integrated gradients": "integrated_gradients", "gradient × input": "gradient_times_input"}
FEW = "20 eights are held out: too few to tell a difference of this size"
FRACTIONS = tuple(k / 50 for k in range(1, 11))


def named(source, goal):
    return f"{source} to {goal}"


def pieces(run):
    return [*model_pieces(run, "cnn"), *(Piece(named(*task), partial(_curves, *task)) for task in TASKS)]


def chosen(run, source):
    """Held-out images of the class, and of it those that the network knows."""
    problem = open_problem(run.settings.data)
    images = problem.images[problem.labels == source]
    right = run["cnn"](images, run.backend).argmax(axis=1) == source
    return images[right][: run.samples]


def difference_maps(run, images, source, goal):
    """{label: map of S_source - S_goal}: for FullGrad the map of one class minus that of the other."""
    network, maps = run["cnn"], {}
    for label, psi in PSI.items():
        parts = [run.explain(network, images, "fullgrad", target, psi=psi).values for target in (source, goal)]
        maps[label] = parts[0] - parts[1]
    target = pyref.class_difference(source, goal)
    for label, method in OTHERS.items():
        steps = {"quadrature": "right", "m": 50} if method == "integrated_gradients" else {}
        maps[label] = run.explain(network, images, method, target, **steps).values
    return maps


def _curves(source, goal, run):
    images = chosen(run, source)
    maps = difference_maps(run, images, source, goal)
    rng = run.rng("random" if (source, goal) == (SOURCE, GOAL) else f"random {named(source, goal)}")
    found = pyref.digit_flip(
        run["cnn"], images, {**maps, "random": rng.normal(size=images.shape)}, source=source, goal=goal,
        baseline=open_problem(run.settings.data).black, fractions=FRACTIONS, backend=run.backend,
    )  # fmt: skip
    return {
        **{f"change {k}": v for k, v in found.values.items()},
        **{f"map {k}": v for k, v in maps.items()},
        "images": images,
    }


def numbers(run):
    found = {named(*task): run[named(*task)] for task in TASKS}
    changes = {task: {k[7:]: v for k, v in piece.items() if k.startswith("change ")} for task, piece in found.items()}
    return {"fractions": FRACTIONS, "change": changes}


def _last(n, name, tasks=TASKS[:1]):
    return np.concatenate([np.array(n["change"][named(*task)][name])[:, -1] for task in tasks])


def _signed_beats(other, tasks=TASKS[:1]):
    def test(n):
        return more(_last(n, "ψ signed", tasks), _last(n, other, tasks), ("change of log-odds by ψ signed", other))

    return test


def pictures(run, n):
    percent = [100 * f for f in n["fractions"]]
    panels = {
        f"from {task}": {name: Curve(percent, *mean_error(v)) for name, v in curves.items()}
        for task, curves in n["change"].items()
    }
    piece = run[named(SOURCE, GOAL)]
    images = piece["images"]
    figure = curves_figure(
        panels, "% of pixels removed", "change of the log-odds", columns=2, share=False, zero=True,
        note=f"Mean and standard error over the held-out images of a digit, of which there are {len(images)} eights.",
    )  # fmt: skip
    titles = ("8", *PSI, *OTHERS)
    rows = {
        f"image {k}": [("input", images[k]), *(piece[f"map {name}"][k] for name in titles[1:])]
        for k in range(min(4, len(images)))
    }
    return [
        Picture("digit-flip", "How far a digit moves to another when what speaks for it is painted over.", figure),
        Picture(
            "maps", "Maps of S_8 - S_3.", panels_figure(rows, len(titles), titles=titles), panel_maps(rows, titles)
        ),
    ]


def tables(run, n):
    rows = [
        [f"from {named(*task)}", name, *map(float, mean_error(_last(n, name, [task])))]
        for task in TASKS
        for name in n["change"][named(*task)]
    ]
    head = ("task", "map", "change of log-odds", "standard error")
    return [Table("digit-flip", "At a fifth of the pixels", head, rows)]


EXPERIMENT = Experiment(
    id="F-d",
    name="digit-flip",
    title="Flipping digits needs a post-processing that keeps signs",
    paper="srinivas2019",
    figure="Section 6",
    claim="On the task of flipping an 8 to a 3 by removing up to a fifth of the pixels, FullGrad with a ψ that "
    "keeps signs changes the log-odds more than with an absolute value: what ψ should be depends on the task.",
    expectations=(
        Expectation(
            "8 to 3, change of log-odds: ψ signed > the paper's ψ, rescaled abs",
            _signed_beats("ψ rescaled abs"),
            FEW,
        ),
        Expectation("8 to 3: ψ signed > ψ abs", _signed_beats("ψ abs"), FEW),
        Expectation("over all four tasks: ψ signed > ψ rescaled abs", _signed_beats("ψ rescaled abs", TASKS)),
        Expectation("over all four tasks: ψ signed > ψ abs", _signed_beats("ψ abs", TASKS)),
        Expectation("8 to 3: ψ signed > pixels at random", _signed_beats("random")),
    ),
    sources=sources("digits", "mnist"),
    samples=(100, 20),
    pieces=pieces,
    numbers=numbers,
    pictures=pictures,
    tables=tables,
)
