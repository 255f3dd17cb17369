"""S-c, S-d: gradients at scaled-down inputs, and what they add up to. [sundararajan2016]"""

import numpy as np

from pyref.methods.interior_gradients import ALPHAS
from relprop.experiments.charts import Curve, curves_figure, panel_maps, panels_figure
from relprop.experiments.experiment import Expectation, Experiment, Picture, Piece, Table
from relprop.experiments.models import model_pieces, with_softmax
from relprop.experiments.ordering import mean_error, more
from relprop.experiments.problem import open_problem, sources

SHOWN = 3  # images whose maps are drawn
BATCH = 20
BLANK = (
    "on digits the network was shown no brightnesses: it takes a blank sheet for a 1, as surely as any image, and "
    "its gradients are small at both ends; the one for photographs was"
)
OUTPUTS = ("probability", "logit")


def kind(run):
    """What reads the images of a source: the shipped network where there is one."""
    return "cnn" if run.settings.data.partition(":")[0] in ("digits", "mnist") else "deep"


def pieces(run):
    return [
        *model_pieces(run, kind(run)),
        *(Piece(f"gradients-{k}", _gradients(k)) for k in range(0, run.samples, BATCH)),
    ]


def _gradients(first):
    def make(run):
        problem = open_problem(run.settings.data)
        images = problem.images[first : min(first + BATCH, run.samples)]
        network = run[kind(run)]
        target = network(images, run.backend).argmax(axis=1)
        found = {"target": target, "images": images}
        for output, explained in (("probability", with_softmax(network)), ("logit", network)):
            options = {"target": target, "softmax": "keep", "baseline": problem.black}
            interior = run.explain(explained, images, "interior_gradients", alphas=ALPHAS, **options)
            found[f"{output}-importance"] = np.abs(interior.values).sum(axis=2)  # over the channels: P(α)
        path = {"baseline": problem.black, "quadrature": "right", "m": 50}
        whole = run.explain(explained, images, "integrated_gradients", target, **path)
        return found | {"integrated": whole.values}

    return make


def gathered(run, name, axis=0):
    return np.concatenate([run[f"gradients-{k}"][name] for k in range(0, run.samples, BATCH)], axis=axis)


def numbers(run):
    sizes = {o: gathered(run, f"{o}-importance", axis=1).mean(axis=(2, 3)).T for o in OUTPUTS}  # (n, α)
    return {"alphas": ALPHAS, "mean_importance": sizes}


def _small_at_the_input(output, part):
    def test(n):
        values = np.array(n["mean_importance"][output])
        low = [k for k, a in enumerate(n["alphas"]) if a <= 0.1]
        name = "mean |P| at α ≤ 0.1" if part == 1 else f"{part:g} of mean |P| at α ≤ 0.1"
        return more(values[:, low].mean(axis=1) * part, values[:, -1], (name, "at α = 1"))

    return test


def pictures(run, n):
    panels = {
        f"of the {output}": {"mean |P(α)|": Curve(n["alphas"], *mean_error(n["mean_importance"][output]))}
        for output in OUTPUTS
    }
    curve = curves_figure(
        panels, "α, the factor on the input", "mean importance of a pixel", share=False,
        note=f"Band: ± one standard error over {run.samples} images.",
    )  # fmt: skip
    importance, images = gathered(run, "probability-importance", axis=1), gathered(run, "images")
    whole = gathered(run, "integrated")
    shown = _classes_apart(gathered(run, "target"))
    rows = {}
    for s in shown:
        rows[f"image {s}"] = [("input", images[s]), *(importance[a, s] for a in range(len(ALPHAS))), whole[s]]
    titles = ("input", *(f"α = {a:g}" for a in ALPHAS), "integrated")
    maps = panels_figure(
        rows, len(ALPHAS) + 2, titles=titles, size=0.95,
        note="Each panel has its own scale: importance is without sign; integrated gradients are signed, red for.",
    )  # fmt: skip
    return [
        Picture("importance", "Mean importance of a pixel along the scaling of the input.", curve),
        Picture(
            "interior-gradients",
            "Pixel importance P(α) along the path, and integrated gradients.",
            maps,
            panel_maps(rows, titles),
        ),
    ]


def _classes_apart(target):
    """The first images of different classes."""
    _, first = np.unique(target, return_index=True)
    return sorted(first)[:SHOWN]


def tables(run, n):
    mean = {o: mean_error(n["mean_importance"][o]) for o in OUTPUTS}
    rows = [[a, *(float(v[k]) for o in OUTPUTS for v in mean[o])] for k, a in enumerate(n["alphas"])]
    head = ("α", *(word for o in OUTPUTS for word in (f"mean |P| of the {o}", "standard error")))
    return [Table("importance", "Mean importance of a pixel", head, rows)]


EXPERIMENT = Experiment(
    id="S-c, S-d",
    name="interior-gradients",
    title="Interior gradients are large where the input is scaled down, and small at the input itself",
    paper="sundararajan2016",
    figure="Figures 3 and 4",
    claim="Along the path from a black image to the image the gradients are significantly larger at low α than at "
    "the image itself, where they are nearly zero: the network has saturated. What the interior gradients add"
    " up to, integrated gradients, shows the important features better than the gradient at the image.",
    expectations=(
        Expectation(
            "gradients of the probability: mean importance at α ≤ 0.1 > at α = 1",
            _small_at_the_input("probability", 1),
            BLANK,
        ),
        Expectation(
            "at α = 1 it is less than half of that at α ≤ 0.1: nearly zero",
            _small_at_the_input("probability", 0.5),
            BLANK,
        ),
    ),
    sources=sources("photographs", "digits", "mnist", "cifar10", "imagenet"),
    samples=(200, 40),
    pieces=pieces,
    numbers=numbers,
    pictures=pictures,
    tables=tables,
    trains=True,
)
