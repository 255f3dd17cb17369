"""S-f, S-a: whether importance lies on the object, and whether the object alone keeps the score. [sundararajan2016]"""

import numpy as np

import pyref
from relprop.experiments.aopc import GRADIENT, INTEGRATED, importance
from relprop.experiments.charts import bars_figure, panel_maps, panels_figure
from relprop.experiments.chunks import chunk_pieces, gathered
from relprop.experiments.experiment import Expectation, Experiment, Picture, Table
from relprop.experiments.models import model_pieces, with_softmax
from relprop.experiments.ordering import mean_error, more
from relprop.experiments.problem import open_problem, sources

SHOWN = 4
LARGEST = 2 / 3  # of the area, that boxes may take


def pieces(run):
    return [*model_pieces(run, "deep"), *chunk_pieces(run, "maps", _maps)]


def _maps(run, part):
    """All of it about the probability of the object's class."""
    problem, network = open_problem(run.settings.data), run["deep"]
    if problem.boxes is None:
        raise ValueError(f"{problem.name} has images without boxes: there is no object to look for")
    images, labels, boxes = problem.images[part], problem.labels[part], problem.boxes[part]
    maps = importance(run, network, images, labels)
    score = with_softmax(network)
    rows = np.arange(len(images)), labels
    black = np.broadcast_to(problem.black, images.shape)

    def probability(x):
        return score(x, run.backend)[rows]

    inside = boxes[:, None]
    found = pyref.localization(None, images, maps, boxes=boxes)
    return {
        "whole": probability(images),
        "without the object": probability(np.where(inside, black, images)),
        "the object alone": probability(np.where(inside, images, black)),
        "area": boxes.mean(axis=(1, 2)),
        "images": images,
        **{f"share {label}": found[label] for label in maps},
        **{f"map {label}": values for label, values in maps.items()},
    }


def numbers(run):
    names = ("whole", "without the object", "the object alone", "area", f"share {INTEGRATED}", f"share {GRADIENT}")
    result = {name: gathered(run, "maps", name) for name in names}
    drop = result["whole"] - result["without the object"]
    small = result["area"] < LARGEST
    if not small.any():
        raise ValueError(f"no image has boxes of less than {LARGEST:.2f} of its area")
    return {**result, "chosen": small & (drop >= np.median(drop[small]))}


def _chosen(n, name):
    return np.array(n[name])[np.array(n["chosen"], dtype=bool)]


def _inside(n):
    a, b = _chosen(n, f"share {INTEGRATED}"), _chosen(n, f"share {GRADIENT}")
    outcome = more(a, b, (f"{INTEGRATED}: share in the box", GRADIENT))
    return type(outcome)(outcome.verdict, f"{outcome.found}; higher on {(a > b).sum()} of {len(a)} images")


def _above_area(n):
    share, area = _chosen(n, f"share {INTEGRATED}"), _chosen(n, "area")
    return more(share, area, (f"{INTEGRATED}: share in the box", "share of the area"))


def _alone(n):
    return more(
        _chosen(n, "the object alone"), _chosen(n, "whole") / 2, ("score of the object alone", "half of the whole")
    )


def pictures(run, n):
    shares = {
        name: {"share in the box": float(_chosen(n, key).mean())}
        for name, key in ((INTEGRATED, f"share {INTEGRATED}"), (GRADIENT, f"share {GRADIENT}"), ("the area", "area"))
    }
    scores = {name: {"score": float(np.mean(n[name]))} for name in ("whole", "the object alone", "without the object")}
    images = gathered(run, "maps", "images")
    shown = list(np.flatnonzero(n["chosen"])[:SHOWN]) or [0]
    titles = ("image", INTEGRATED, GRADIENT)
    rows = {
        f"image {k}": [("input", images[k]), *(gathered(run, "maps", f"map {label}")[k] for label in titles[1:])]
        for k in shown
    }
    return [
        Picture("localization", "Share of the importance that lies in the box.", bars_figure(shares, "share")),
        Picture(
            "ablation",
            "Score of the object's class: the image, the object alone, all but it.",
            bars_figure(scores, "p"),
        ),
        Picture("maps", "Importance by both methods.", panels_figure(rows, 3, titles=titles), panel_maps(rows, titles)),
    ]


def tables(run, n):
    names = (f"share {INTEGRATED}", f"share {GRADIENT}", "area", "whole", "the object alone", "without the object")
    rows = [[name, *map(float, mean_error(_chosen(n, name))), int(sum(n["chosen"]))] for name in names]
    return [
        Table(
            "localization",
            "Of the half of the images whose score drops most when the box is blacked out",
            ("what", "mean", "standard error", "images"),
            rows,
        )
    ]


EXPERIMENT = Experiment(
    id="S-f, S-a",
    name="localization",
    title="Integrated gradients lie more on the object than the gradient does",
    paper="sundararajan2016",
    figure="Section 2.7",
    claim="Of 100 images whose boxes are below two thirds of the area and whose score drops when the box is "
    "ablated, integrated gradients put a higher fraction of the attribution into the box on 82, by 8.4 % on "
    "average. Ablating what lies outside of the object leaves the score.",
    expectations=(
        Expectation(
            "share in the box: integrated gradients > gradient at the image",
            _inside,
            "all that tells the classes apart is in the patch, and the bricks around it are smooth: the gradient at "
            "the image lies on the patch already, more than chance by far, and integrated gradients have little to "
            "mend. It is not the network's shallowness: one like VGG, of ten layers, puts 0.62 and 0.69 there",
        ),
        Expectation("integrated gradients put more into the box than its share of the area", _above_area),
        Expectation("the object alone keeps more than half of its score", _alone),
    ),
    sources=sources("mosaics", "imagenet"),
    samples=(100, 60),
    pieces=pieces,
    numbers=numbers,
    pictures=pictures,
    tables=tables,
    trains=True,
)
