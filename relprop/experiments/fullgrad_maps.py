"""F-c: how FullGrad's maps look beside those of other methods. [srinivas2019]"""

import numpy as np

from relprop.experiments.charts import bars_figure, panel_maps, panels_figure
from relprop.experiments.chunks import chunk_pieces, gathered
from relprop.experiments.experiment import Expectation, Experiment, Picture, Table
from relprop.experiments.models import model_pieces
from relprop.experiments.ordering import all_of, more
from relprop.experiments.pixel_perturbation import FULLGRAD, saliency_maps
from relprop.experiments.problem import open_problem, sources

SHOWN = 6


def pieces(run):
    return [*model_pieces(run, "deep"), *chunk_pieces(run, "maps", _maps)]


def _maps(run, part):
    problem, network = open_problem(run.settings.data), run["deep"]
    images = problem.images[part]
    target = network(images, run.backend).argmax(axis=1)
    return {"images": images, **saliency_maps(run, network, images, target, part.start)}


def roughness(maps):
    """How much neighbouring pixels differ, of what they sum up to: mean |difference| over mean |value|."""
    across = np.abs(np.diff(maps, axis=-1)).mean(axis=(1, 2, 3))
    down = np.abs(np.diff(maps, axis=-2)).mean(axis=(1, 2, 3))
    size = np.abs(maps).mean(axis=(1, 2, 3))
    return (across + down) / np.where(size > 0, size, 1)


def names(run):
    return [name for name in run["maps-0"] if name != "images"]


def numbers(run):
    return {"roughness": {name: roughness(gathered(run, "maps", name)) for name in names(run)}}


def _between(n):
    rough = n["roughness"]
    noisy = ("input gradient", "SmoothGrad", "integrated gradients")
    return all_of(
        [more(rough[name], rough[FULLGRAD], (f"roughness of {name}", FULLGRAD)) for name in noisy]
        + [more(rough[FULLGRAD], rough["Grad-CAM"], (f"roughness of {FULLGRAD}", "Grad-CAM"))]
    )


def pictures(run, n):
    images = gathered(run, "maps", "images")
    titles = ("image", *names(run))
    maps = {name: gathered(run, "maps", name) for name in names(run)}
    rows = {
        f"image {k}": [("input", images[k]), *(maps[name][k] for name in names(run))]
        for k in range(min(SHOWN, run.samples))
    }
    bars = {name: {"roughness": float(np.mean(v))} for name, v in n["roughness"].items()}
    return [
        Picture(
            "maps",
            "Maps of the explained class; each panel has its own scale.",
            panels_figure(rows, len(titles), titles=titles),
            panel_maps(rows, titles),
        ),
        Picture("roughness", "How much neighbouring pixels of a map differ.", bars_figure(bars, "roughness")),
    ]


def tables(run, n):
    rows = [[name, float(np.mean(v))] for name, v in n["roughness"].items()]
    return [Table("roughness", "Roughness of the maps", ("map", "mean |difference| over mean |value|"), rows)]


EXPERIMENT = Experiment(
    id="F-c",
    name="fullgrad-maps",
    title="FullGrad lies between the grain of input gradients and the blur of Grad-CAM",
    paper="srinivas2019",
    figure="Figure 3",
    claim="Integrated gradients and SmoothGrad produce noisy object boundaries, while Grad-CAM indicates important "
    "regions without adhering to boundaries; FullGrad highlights regions while being confined to objects.",
    expectations=(
        Expectation("roughness: input gradient, SmoothGrad and integrated gradients > FullGrad > Grad-CAM", _between),
    ),
    sources=sources("photographs", "cifar10", "imagenet"),
    samples=(60, 20),
    pieces=pieces,
    numbers=numbers,
    pictures=pictures,
    tables=tables,
    trains=True,
)
