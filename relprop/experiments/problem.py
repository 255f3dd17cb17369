"""The images that experiments are run on, by the name of their source, scaled as the networks read them."""

from dataclasses import dataclass
from functools import cache

import numpy as np

from pyref.check import nearest

__all__ = ["Problem", "open_problem"]


@dataclass(frozen=True, eq=False)
class Problem:
    """Labelled images: those that networks are trained on, and those held out, which are explained.

    images, labels              held out: (n, c, h, w) float64, (n,)
    train_images, train_labels  may be None where nothing can be trained
    classes                     their names
    black                       what a black pixel is in `images`
    """

    name: str
    images: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    black: float
    train_images: np.ndarray | None = None
    train_labels: np.ndarray | None = None


@cache
def open_problem(source):
    """The problem of a data source: its name, and a path after a colon where it lies in files.

    Raises
        ValueError  no such source, a path that is missing, or files that are damaged.
    """
    name, _, path = source.partition(":")
    if name not in OPENERS:
        raise ValueError(f"there is no data source {name!r}; {nearest(name, OPENERS)}")
    return OPENERS[name](path)


def _digits(path):
    from relprop.data import digits

    images, labels = digits()
    return Problem("digits", images, labels, tuple("0123456789"), -1.0)


OPENERS = {"digits": _digits}
