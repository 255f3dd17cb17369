"""Trained models that ship inside the package; CARD.md beside this file says what they are.

    digits-mlp-*    64-64-64-10                                                        relu, tanh, sigmoid, softplus
    digits-cnn-*    conv 3×3×16, conv 3×3×32, max pool 2, dense 64, dense 10           relu, tanh, sigmoid, softplus
    digits-lstm     reads a digit row by row, 8 steps of 8 pixels: LSTM 64, dense 10

All take an image (n, 1, 8, 8) in [-1, 1], as `relprop.data.digits` gives it, and end in ten logits.
"""

from importlib.resources import as_file, files

import numpy as np

from pyref.check import nearest
from relprop.models import native

__all__ = ["NAMES", "card", "load", "names"]

ACTIVATIONS = ("relu", "tanh", "sigmoid", "softplus")
NAMES = (*(f"digits-{kind}-{act}" for kind in ("mlp", "cnn") for act in ACTIVATIONS), "digits-lstm")


def names():
    """The names of the shipped models."""
    return NAMES


def load(name, dtype=np.float64):
    """A shipped model as a network.

    The weights were trained in float32. By default they come as float64, like the digits, so that identities
    hold to its rounding; dtype="float32" gives them as they are.

    Raises
        ValueError  no model of this name, with the nearest.
    Example
        >>> import relprop
        >>> images, labels = relprop.digits()
        >>> logits = relprop.zoo("digits-cnn-relu")(images[17:18])
        >>> int(logits.argmax()), int(labels[17])
        (0, 0)
    """
    with _path(name) as path:
        return native.load(path, dtype)


def card(name):
    """What is known about a shipped model, {title: value}: data, split, accuracy, seed.

    Raises
        ValueError  no model of this name, with the nearest.
    """
    with _path(name) as path:
        return native.read_card(path)


def _path(name):
    if name not in NAMES:
        raise ValueError(f"no shipped model is called {name!r}; {nearest(name, NAMES)}")
    return as_file(files(__name__) / f"{name}.safetensors")
