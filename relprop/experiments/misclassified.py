"""S-g: what speaks for the label that a network gives and for the right one, where they differ. [sundararajan2016]"""

import numpy as np

import pyref
from relprop.experiments.aopc import steps
from relprop.experiments.charts import Curve, curves_figure, panel_maps, panels_figure
from relprop.experiments.experiment import Expectation, Experiment, Picture, Piece, Table
from relprop.experiments.models import model_pieces, with_softmax
from relprop.experiments.ordering import is_so, more
from relprop.experiments.problem import open_problem, sources

SHOWN = 5
ALIKE = 0.9  # rank correlation above which the two maps say the same


def pieces(run):
    return [*model_pieces(run, "deep"), Piece("maps", _maps)]


def _maps(run):
    problem, network = open_problem(run.settings.data), run["deep"]
    given = np.concatenate([network(part, run.backend) for part in np.array_split(problem.images, 20)]).argmax(axis=1)
    wrong = np.flatnonzero(given != problem.labels)[: run.samples]
    if len(wrong) < 2:
        raise ValueError(
            f"the network misclassifies {len(wrong)} images of {problem.name}: there is nothing to explain"
        )
    images, found = problem.images[wrong], {}
    score = with_softmax(network)
    for name, target in (("given", given[wrong]), ("right", problem.labels[wrong])):
        path = {"baseline": problem.black, "quadrature": "right", "m": steps(run)}
        a = run.explain(score, images, "integrated_gradients", target, softmax="keep", **path)
        found[name] = np.abs(a.values).sum(axis=1)
        found[f"{name} label"] = target
        found[f"{name} probability"] = np.asarray(a.output)
    alike = pyref.rank_correlation(*(found[k].reshape(len(wrong), -1) for k in ("given", "right")))
    return {**found, "alike": alike[0] if isinstance(alike, tuple) else alike, "images": images, "number": wrong}


def numbers(run):
    piece = run["maps"]
    names = ("alike", "number", "given label", "right label", "given probability", "right probability")
    return {"classes": open_problem(run.settings.data).classes, **{name: piece[name] for name in names}}


def _both_kinds(n):
    alike = np.array(n["alike"])
    low, high = int((alike < ALIKE).sum()), int((alike >= ALIKE).sum())
    return is_so(
        low > 0 and high > 0, f"maps differ on {low} images, and are alike (rank correlation ≥ {ALIKE}) on {high}"
    )


def _related(n):
    return more(n["alike"], np.zeros(len(n["alike"])), ("rank correlation of the two maps", "of unrelated ones"))


def pictures(run, n):
    piece = run["maps"]
    order = np.argsort(n["alike"], kind="stable")
    shown = order[np.unique(np.linspace(0, len(order) - 1, SHOWN).round().astype(int))]
    titles = ("image", "for the label given", "for the right label")
    rows = {
        f"{n['number'][k]}: {n['classes'][n['given label'][k]]}, right {n['classes'][n['right label'][k]]}": [
            ("input", piece["images"][k]), piece["given"][k], piece["right"][k]
        ]
        for k in shown
    }  # fmt: skip
    place = range(1, len(order) + 1)
    curves = {
        "misclassified images": Curve(place, [n["alike"][k] for k in order]),
        f"{ALIKE}: alike from here on": Curve((1, len(order)), (ALIKE, ALIKE)),
    }
    alike = curves_figure(
        {"": curves}, "image, from the most different pair of maps", "rank correlation of its two maps", width=5
    )
    return [
        Picture(
            "maps", "Importance for both labels, from the most different pair of maps to the most alike.",
            panels_figure(rows, 3, titles=titles), panel_maps(rows, titles),
        ),
        Picture("alike", "How alike the two maps of each misclassified image are.", alike),
    ]  # fmt: skip


def tables(run, n):
    keys = ("number", "given label", "given probability", "right label", "right probability", "alike")
    names = {"given label": n["classes"], "right label": n["classes"]}
    rows = [[names[k][n[k][row]] if k in names else n[k][row] for k in keys] for row in range(len(n["alike"]))]
    head = ("image", "label given", "its probability", "right label", "its probability", "rank correlation of the maps")
    return [Table("misclassified", "Misclassified images", head, rows)]


EXPERIMENT = Experiment(
    id="S-g",
    name="misclassified",
    title="Two labels of one image: is the ranking wrong, or what was recognised?",
    paper="sundararajan2016",
    figure="Figure 6",
    claim="For one misclassified image the importance for the given and for the right label emphasises different "
    "objects, so that only their ranking is wrong; for another the two are largely similar, and recognition "
    "itself is.",
    expectations=(
        Expectation(
            "some misclassified images have different maps for both labels, and some similar ones", _both_kinds
        ),
        Expectation("the two maps have something in common: rank correlation > 0", _related),
    ),
    sources=sources("photographs", "cifar10", "imagenet"),
    samples=(60, 20),
    pieces=pieces,
    numbers=numbers,
    pictures=pictures,
    tables=tables,
    trains=True,
)
