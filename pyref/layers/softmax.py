"""Softmax and its logarithm, over one axis. Neither has a relevance: attribute to the logits they receive."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pyref.check import check_shape
from pyref.layers.layer import Layer

__all__ = [
    "softmax_forward",
    "softmax_gradient",
    "softmax_tangent",
    "log_softmax_forward",
    "log_softmax_gradient",
    "log_softmax_tangent",
    "Softmax",
    "LogSoftmax",
]


def softmax_forward(x, axis=1):
    """Softmax over one axis.

        p_c = exp(x_c - max x) / Σ_k exp(x_k - max x)

    Shapes
        x (n, ...)   →   p (n, ...)
    Raises
        ValueError  the axis is the batch, or does not exist.
    """
    _check_axis(x, axis)
    e = np.exp(x - np.max(x, axis=axis, keepdims=True))
    return e / np.sum(e, axis=axis, keepdims=True)


def softmax_gradient(x, G, axis=1):
    """Gradient at x: G_x,c = p_c (G_c - Σ_k p_k G_k).

    Shapes
        x, G (n, ...)   →   (n, ...)
    Laws
        Σ_c G_x,c = 0: a constant added to every logit changes nothing.
    """
    check_shape("G", G, x.shape)
    p = softmax_forward(x, axis)
    return p * (G - np.sum(p * G, axis=axis, keepdims=True))


def softmax_tangent(x, dx, axis=1):
    """Change of p along dx: dp_c = p_c (dx_c - Σ_k p_k dx_k). The Jacobian is symmetric.

    Shapes
        x, dx (n, ...)   →   dp (n, ...)
    """
    check_shape("dx", dx, x.shape)
    return softmax_gradient(x, dx, axis)


def log_softmax_forward(x, axis=1):
    """Logarithm of softmax, without underflow.

        y_c = (x_c - max x) - log Σ_k exp(x_k - max x)

    Shapes
        x (n, ...)   →   y (n, ...)
    Raises
        ValueError  the axis is the batch, or does not exist.
    """
    _check_axis(x, axis)
    shifted = x - np.max(x, axis=axis, keepdims=True)
    return shifted - np.log(np.sum(np.exp(shifted), axis=axis, keepdims=True))


def log_softmax_gradient(x, G, axis=1):
    """Gradient at x: G_x,c = G_c - p_c Σ_k G_k.

    Shapes
        x, G (n, ...)   →   (n, ...)
    """
    check_shape("G", G, x.shape)
    return G - softmax_forward(x, axis) * np.sum(G, axis=axis, keepdims=True)


def log_softmax_tangent(x, dx, axis=1):
    """Change of y along dx: dy_c = dx_c - Σ_k p_k dx_k.

    Shapes
        x, dx (n, ...)   →   dy (n, ...)
    """
    check_shape("dx", dx, x.shape)
    return dx - np.sum(softmax_forward(x, axis) * dx, axis=axis, keepdims=True)


def _check_axis(x, axis):
    if not (1 <= axis < x.ndim or -x.ndim < axis < 0):
        raise ValueError(f"axis is {axis}, expected an axis after the batch of x with shape {tuple(x.shape)}")


@dataclass(frozen=True)
class Softmax(Layer):
    """p = softmax(x) over one axis."""

    kind: ClassVar[str] = "softmax"

    axis: int = 1

    def forward(self, backend, x):
        return backend.softmax_forward(x, self.axis)

    def gradient(self, backend, x, y, G):
        return (backend.softmax_gradient(x[0], G, self.axis),)

    def tangent(self, backend, x, y, dx):
        return backend.softmax_tangent(x[0], dx[0], self.axis)

    def relevance(self, backend, x, y, R, rule, gate="all", account=None):
        raise ValueError(f"{type(self).__name__} has no relevance rule: attribute to the logits, which are its input")

    def multiplier(self, backend, x, y, x0, y0, M, product="symmetric", max_pool="xmax"):
        raise ValueError(
            f"{type(self).__name__} is not elementwise, so that no DeepLIFT multiplier of it is complete: "
            "attribute to the logits, which are its input"
        )


@dataclass(frozen=True)
class LogSoftmax(Softmax):
    """y = log softmax(x) over one axis."""

    def forward(self, backend, x):
        return backend.log_softmax_forward(x, self.axis)

    def gradient(self, backend, x, y, G):
        return (backend.log_softmax_gradient(x[0], G, self.axis),)

    def tangent(self, backend, x, y, dx):
        return backend.log_softmax_tangent(x[0], dx[0], self.axis)
