"""The images that experiments are run on, by the name of their source, scaled as the networks read them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np

from pyref.check import nearest

__all__ = ["SOURCES", "Problem", "open_problem", "sources"]

WHITE = 255
PHOTOS = 1000  # of ImageNet's, that are read
SIGNED = 127.5  # grey levels that [-1, 1] takes on either side of its middle


@dataclass(frozen=True, eq=False)
class Problem:
    """Labelled images: those that networks are trained on, and those held out, which are explained.

    images, labels  held out: (n, c, h, w) float64, (n,)
    classes         their names
    black           what a black pixel is in `images`, (c, 1, 1)
    train           () → (images, labels) to train on; None where networks come from elsewhere
    boxes           masks (n, h, w) of where the object is, where that is known
    """

    name: str
    images: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    black: np.ndarray
    train: Callable[[], tuple[np.ndarray, np.ndarray]] | None = None
    boxes: np.ndarray | None = None


@cache
def open_problem(source):
    """The problem of a data source: its name, and a path after a colon where it lies in files.

    Raises
        ValueError   no such source, a path that is missing, or files that are damaged.
        ImportError  the source comes with a distribution that is not installed.
    """
    name, colon, path = source.partition(":")
    if name not in SOURCES:
        raise ValueError(f"there is no data source {name!r}; {nearest(name, SOURCES)}")
    _, opener, in_files = SOURCES[name]
    if in_files and not path:
        raise ValueError(f"data source {name} lies in files of yours: --data {name}:FOLDER")
    if colon and not in_files:
        raise ValueError(f"data source {name} comes with the package: it takes no path")
    return opener(path) if in_files else opener()


def sources(*names):
    """{source: what it is} for the table of experiments."""
    return {name: SOURCES[name][0] for name in names}


def _digits():
    from relprop.data import digits

    images, labels = digits()
    return Problem("digits", images, labels, tuple("0123456789"), _level(-1, 1), _digits_to_train_on)


def _digits_to_train_on():
    """Those of scikit-learn's digits that do not ship, with the networks' scale."""
    from sklearn.datasets import load_digits

    from relprop.data import source_indices

    bunch = load_digits()
    rest = np.setdiff1d(np.arange(len(bunch.target)), source_indices())
    return bunch.images[rest][:, None] / 8 - 1, bunch.target[rest].astype(np.int64)


def _photographs():
    from relprop.data.photographs import PHOTOGRAPHS, crops

    images, labels = crops(60, "test")
    return Problem("photographs", images, labels, PHOTOGRAPHS, _level(0, 3), lambda: crops(400, "train"))


def _textures():
    from relprop.data.photographs import TEXTURES, texture_crops

    images, labels = texture_crops(100, "test")
    return Problem("textures", images, labels, TEXTURES, _level(0, 1), lambda: texture_crops(500, "train"))


def _mosaics():
    from relprop.data.photographs import OBJECTS, mosaics

    images, labels, boxes = mosaics(200, "test")
    return Problem("mosaics", images, labels, OBJECTS, _level(0, 1), lambda: mosaics(1000, "train")[:2], boxes)


def _mnist(folder):
    from relprop.data.idx import mnist

    (x, y), (u, v) = mnist(folder)
    return Problem("mnist", u / SIGNED - 1, v, tuple("0123456789"), _level(-1, 1), lambda: (x / SIGNED - 1, y))


def _cifar10(folder):
    from relprop.data.cifar import CIFAR10_CLASSES, cifar10

    (x, y), (u, v) = cifar10(folder)
    return Problem("cifar10", u / SIGNED - 1, v, CIFAR10_CLASSES, _level(-1, 3), lambda: (x / SIGNED - 1, y))


def _cifar100(folder):
    from relprop.data.cifar import cifar100

    (x, y), (u, v) = cifar100(folder)
    names = tuple(map(str, range(100)))
    return Problem("cifar100", u / SIGNED - 1, v, names, _level(-1, 3), lambda: (x / SIGNED - 1, y))


def _imagenet(path):
    """Up to PHOTOS images, evenly from all classes; their boxes where there are any."""
    from relprop.data.imagenet import imagenet, read_photo
    from relprop.source import PREPROCESSING

    folder, _, size = path.rpartition(":")
    if not (folder and size.isdigit()):
        folder, size = path, "224"
    photos, names = imagenet(folder)
    chosen = [photos[k] for k in np.unique(np.linspace(0, len(photos) - 1, PHOTOS).round().astype(int))]
    read = [read_photo(photo, int(size)) for photo in chosen]
    mean, std = (np.reshape(v, (3, 1, 1)) for v in (PREPROCESSING["imagenet"].mean, PREPROCESSING["imagenet"].std))
    images = (np.stack([pixels for pixels, _ in read]) / WHITE - mean) / std
    boxes = np.stack([mask for _, mask in read]) if all(photo.boxes for photo in chosen) else None
    return Problem("imagenet", images, np.array([p.label for p in chosen]), names, -mean / std, None, boxes)


def _level(value, channels):
    return np.full((channels, 1, 1), float(value))


SOURCES: dict[str, tuple[str, Callable, bool]] = {
    "digits": ("200 held-out digits of 8 × 8 pixels (UCI), and networks that ship.", _digits, False),
    "photographs": (
        "Crops of 32 × 32 pixels of six photographs that scikit-image and scikit-learn carry; a network with batch "
        "normalisation is trained to tell which photograph a crop is from, on images of all brightnesses.",
        _photographs,
        False,
    ),
    "textures": ("Crops of 24 × 24 pixels of brick, grass and gravel, which scikit-image carries.", _textures, False),
    "mosaics": (
        "Mosaics of 40 × 40 pixels: a patch of grass or gravel on bricks, with its exact box; a network is trained to "
        "tell which, on images of all brightnesses.",
        _mosaics,
        False,
    ),
    "mnist": ("MNIST, from your idx files.", _mnist, True),
    "cifar10": ("CIFAR-10, from your binary files.", _cifar10, True),
    "imagenet": (
        "ImageNet, from your folders, for the network that --model names; imagenet:FOLDER:299 where it reads 299.",
        _imagenet,
        True,
    ),
    "cifar100": ("CIFAR-100, from your binary files.", _cifar100, True),
}
