"""F-b: accuracy of networks that are trained again without the most salient pixels. [srinivas2019]"""

from functools import partial

import numpy as np

import pyref
from relprop.experiments.charts import Curve, curves_figure
from relprop.experiments.experiment import TRAIN, Expectation, Experiment, Picture, Piece, Table
from relprop.experiments.models import accuracy, model_pieces
from relprop.experiments.ordering import all_of, is_so, mean_error, more
from relprop.experiments.pixel_perturbation import FULLGRAD, saliency_maps
from relprop.experiments.problem import open_problem, sources

RUNS, FRACTIONS = 3, (0.1, 0.3, 0.5, 0.7, 0.9)
QUICK_RUNS, QUICK_FRACTIONS = 2, (0.3, 0.7)
TOLD = (
    "a network that is trained again also sees where pixels are missing, as the paper says of this benchmark; in small "
    "images the places alone tell the class (see the table), so that accuracy says little about what was removed"
)
EPOCHS, QUICK_EPOCHS = 15, 10
RANDOM, SQUARED = "random", "SmoothGrad squared"
PLACES = ("FullGrad", RANDOM)  # whose places are also learned without the images
LABELS = (FULLGRAD, "Grad-CAM", "input gradient", SQUARED, "integrated gradients", RANDOM)


def fractions(run):
    return QUICK_FRACTIONS if run.quick else FRACTIONS


def pieces(run):
    return [
        *model_pieces(run, "bn"),
        *(Piece(f"maps-{part}", partial(_maps, part)) for part in ("train", "test")),
        *(Piece(f"accuracy-{k}", partial(_accuracy, label)) for k, label in enumerate(LABELS)),
        *(Piece(f"places-{k}", partial(_accuracy, label, places=True)) for k, label in enumerate(PLACES)),
    ]


def _images(run, part):
    problem = open_problem(run.settings.data)
    images, labels = problem.train() if part == "train" else (problem.images, problem.labels)
    return images[: run.samples], labels[: run.samples]


def _maps(part, run):
    """Maps of every image; those of the class that it is of, as the benchmark has it."""
    images, labels = _images(run, part)
    network, found = run["bn"], []
    for first in range(0, len(images), 100):
        chunk = slice(first, first + 100)
        maps = saliency_maps(run, network, images[chunk], labels[chunk], first)
        squared = run.explain(
            network, images[chunk], "smoothgrad", labels[chunk], samples=10, mode="square", seed=run.settings.seed,
            indices=np.arange(len(images))[chunk],
        )  # fmt: skip
        maps[SQUARED] = squared.values.sum(axis=1, keepdims=True)
        found.append(maps)
    return {label: np.concatenate([maps[label] for maps in found]) for label in LABELS if label != RANDOM}


def _accuracy(label, run, places=False):
    """Of networks trained again; `places`: on white images, which show where pixels are missing and no more."""
    from relprop.experiments.training import classifier

    problem = open_problem(run.settings.data)
    (x, y), (u, v) = (_images(run, part) for part in ("train", "test"))

    def train(x, labels, x_test, labels_test, seed):
        network = classifier("bn", problem, seed=seed, epochs=QUICK_EPOCHS if run.quick else EPOCHS, data=(x, labels))
        return np.mean(network(x_test, run.backend).argmax(axis=1) == labels_test)

    known = [
        {label: run[f"maps-{part}"][label]}
        if label != RANDOM
        else {RANDOM: run.rng(part).normal(size=(n, 1, *x.shape[2:]))}
        for part, n in (("train", len(x)), ("test", len(u)))
    ]
    options: dict = {"runs": QUICK_RUNS if run.quick else RUNS}
    if places:
        x, u, options = np.ones_like(x), np.ones_like(u), {"runs": 1, "baseline": "zero"}
    found = pyref.roar(
        train, x, known[0], labels=y, test=(u, known[1], v), fractions=fractions(run), mask="pixel", random=False,
        seed=run.settings.seed, **options,
    )  # fmt: skip
    return {"accuracy": found[label], "at": found.at}


def numbers(run):
    return {
        "fractions": run["accuracy-0"]["at"],
        "accuracy": {label: run[f"accuracy-{k}"]["accuracy"] for k, label in enumerate(LABELS)},
        "accuracy by places alone": {label: run[f"places-{k}"]["accuracy"] for k, label in enumerate(PLACES)},
        "accuracy of the network explained": accuracy(run["bn"], open_problem(run.settings.data), run.backend),
    }


def _mean(n, label):
    """Over the fractions that were removed, per run."""
    return np.array(n["accuracy"][label])[:, 1:].mean(axis=1)


def _below_random(n):
    return more(_mean(n, RANDOM), _mean(n, FULLGRAD), ("accuracy without random pixels", "without FullGrad's"))


def _lowest(n):
    others = [label for label in LABELS if label not in (FULLGRAD, RANDOM)]
    return all_of([more(_mean(n, label), _mean(n, FULLGRAD), (f"accuracy: {label}", FULLGRAD)) for label in others])


def _learned(n):
    found = float(np.mean(np.array(n["accuracy"][RANDOM])[:, 0]))
    return is_so(found > 0.8, f"accuracy with all pixels {found:.3f}")


def pictures(run, n):
    percent = [100 * f for f in n["fractions"]]
    curves = {label: Curve(percent, *mean_error(values)) for label, values in n["accuracy"].items()}
    runs = len(n["accuracy"][RANDOM])
    figure = curves_figure(
        {"": curves}, "% of pixels removed, most salient first", "accuracy after training again", height=3.2,
        note=f"Mean and standard error over {runs} trainings; lower is better.",
    )  # fmt: skip
    return [Picture("roar", "Accuracy of networks trained again on images without their most salient pixels.", figure)]


def tables(run, n):
    rows = [[label, *map(float, np.mean(values, axis=0))] for label, values in n["accuracy"].items()]
    rows += [
        [f"{label}, its places without the image", *map(float, np.mean(values, axis=0))]
        for label, values in n["accuracy by places alone"].items()
    ]
    head = ("map", *(f"{100 * f:.0f} % removed" for f in n["fractions"]))
    return [Table("roar", "Accuracy, mean over trainings", head, rows)]


EXPERIMENT = Experiment(
    id="F-b",
    name="roar",
    title="Remove and retrain: which maps find the pixels that matter",
    paper="srinivas2019",
    figure="Figure 2 (b)",
    claim="When the most salient pixels are removed from all images and a network is trained again, FullGrad's map "
    "lowers the accuracy most, more than Grad-CAM, input gradient, SmoothGrad squared and integrated "
    "gradients.",
    expectations=(
        Expectation("the networks learn the task with all pixels", _learned),
        Expectation("removing FullGrad's pixels lowers accuracy more than random ones", _below_random, TOLD),
        Expectation(
            "removing FullGrad's pixels lowers accuracy more than those of every other map",
            _lowest,
            TOLD,
        ),
    ),
    sources=sources("digits", "photographs", "cifar100"),
    samples=(1600, 400),
    pieces=pieces,
    numbers=numbers,
    pictures=pictures,
    tables=tables,
    needs=TRAIN,
)
