"""Dropout at inference: the identity."""

from dataclasses import dataclass
from typing import ClassVar

from pyref.check import check_shape
from pyref.layers.layer import Layer

__all__ = ["Dropout", "dropout_forward", "dropout_gradient", "dropout_tangent", "dropout_relevance"]


def dropout_forward(x):
    """y = x: at inference nothing is dropped.

    Shapes
        x (n, ...)   →   y (n, ...)
    """
    return x


def dropout_gradient(x, G):
    """Gradient at x: G."""
    check_shape("G", G, x.shape)
    return G


def dropout_tangent(x, dx):
    """Change along dx: dx."""
    check_shape("dx", dx, x.shape)
    return dx


def dropout_relevance(x, R):
    """Relevance of x: R, whatever the rule."""
    check_shape("R", R, x.shape)
    return R


@dataclass(frozen=True)
class Dropout(Layer):
    """y = x. `rate` is kept for the record: what training dropped."""

    kind: ClassVar[str] = "dropout"
    cheap: ClassVar[bool] = True
    linear: ClassVar[bool] = True
    piecewise_linear: ClassVar[bool] = True

    rate: float = 0.5

    def forward(self, backend, x):
        return backend.dropout_forward(x)

    def gradient(self, backend, x, y, G):
        return (backend.dropout_gradient(x[0], G),)

    def tangent(self, backend, x, y, dx):
        return backend.dropout_tangent(x[0], dx[0])

    def relevance(self, backend, x, y, R, rule, gate="all", account=None):
        return (backend.dropout_relevance(x[0], R),)

    def multiplier(self, backend, x, y, x0, y0, M, product="symmetric", max_pool="xmax"):
        return self.gradient(backend, x, y, M)
