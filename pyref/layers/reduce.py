"""Sums and means over axes of a sample."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pyref.check import check_shape
from pyref.layers.affine import Term, affine_relevance
from pyref.layers.layer import AffineLayer
from pyref.numerics import ones_like

__all__ = [
    "sum_forward",
    "sum_gradient",
    "sum_tangent",
    "sum_relevance",
    "mean_forward",
    "mean_gradient",
    "mean_tangent",
    "mean_relevance",
    "Sum",
    "Mean",
]


def sum_forward(x, axes, keepdims=False):
    """z = Σ x over axes after the batch; keepdims leaves them with length 1.

    Shapes
        x (n, ...)   axes: a number or a tuple   →   z (n, ...)
    Raises
        ValueError  an axis is the batch, does not exist, or is named twice.
    """
    return np.sum(x, axis=sample_axes(x, axes), keepdims=keepdims)


def sum_gradient(x, axes, G, keepdims=False):
    """Gradient at x: G, spread over the summed axes.

    Shapes
        G in the shape of z   →   (n, ...)
    """
    check_shape("G", G, reduced_shape(x, axes, keepdims))
    return _spread(x, axes, G)


def sum_tangent(x, axes, dx, keepdims=False):
    """Change of z along dx: the sum of dx."""
    check_shape("dx", dx, x.shape)
    return sum_forward(dx, axes, keepdims)


def sum_relevance(x, axes, R, rule, z=None, keepdims=False, account=None):
    """Relevance of x in a sum, an affine node whose weights are 1.

        r_i = x_i / σ_ε(z_o) · R_o          under Norm and Epsilon; other rules by their parts, with w = 1

    Shapes
        R and z (the known sum, or None) in the shape of the output   →   r (n, ...)
    Laws
        Σ r = Σ R minus what `account` says stays behind. Where z = 0 and ε = 0, R is dropped.
    Raises
        ValueError  R has another shape than z.
    """
    check_shape("R", R, reduced_shape(x, axes, keepdims))
    return affine_relevance(reduce_terms(x, axes, keepdims, mean=False), None, R, rule, z, account)[0]


def mean_forward(x, axes, keepdims=False):
    """z = (1/m) Σ x over axes after the batch, with m their joint length; keepdims leaves them with length 1.

    Shapes
        x (n, ...)   axes: a number or a tuple   →   z (n, ...)
    Raises
        ValueError  an axis is the batch, does not exist, or is named twice.
    """
    return sum_forward(x, axes, keepdims) / _count(x, axes)


def mean_gradient(x, axes, G, keepdims=False):
    """Gradient at x: G / m, spread over the averaged axes.

    Shapes
        G in the shape of z   →   (n, ...)
    """
    return sum_gradient(x, axes, G / _count(x, axes), keepdims)


def mean_tangent(x, axes, dx, keepdims=False):
    """Change of z along dx: the mean of dx."""
    check_shape("dx", dx, x.shape)
    return mean_forward(dx, axes, keepdims)


def mean_relevance(x, axes, R, rule, z=None, keepdims=False, account=None):
    """Relevance of x in a mean, an affine node with weights 1/m. Shapes, laws and errors as in `sum_relevance`."""
    check_shape("R", R, reduced_shape(x, axes, keepdims))
    return affine_relevance(reduce_terms(x, axes, keepdims, mean=True), None, R, rule, z, account)[0]


def reduce_terms(x, axes, keepdims, mean):
    """Sum or mean as a bilinear map, for the rule algebra."""
    w = ones_like(x, shape=(1,) * x.ndim)
    return (
        Term(
            x,
            w / _count(x, axes) if mean else w,
            forward=lambda x, w: sum_forward(x * w, axes, keepdims),
            transpose=lambda u, w: _spread(x, axes, u) * w,
        ),
    )


def sample_axes(x, axes):
    """axes as a tuple counted from 0; none may be the batch."""
    given = axes if isinstance(axes, tuple | list) else (axes,)
    counted = tuple(a + x.ndim if a < 0 else a for a in given)
    if len(set(counted)) != len(counted) or not all(1 <= a < x.ndim for a in counted):
        raise ValueError(f"axes is {axes}, expected different axes after the batch of x with shape {tuple(x.shape)}")
    return counted


def _count(x, axes):
    count = 1
    for a in sample_axes(x, axes):
        count *= x.shape[a]
    return count


def reduced_shape(x, axes, keepdims=False):
    """The shape of the sum of x over axes."""
    axes = sample_axes(x, axes)
    return tuple(1 if a in axes else length for a, length in enumerate(x.shape) if keepdims or a not in axes)


def _spread(x, axes, u):
    return np.broadcast_to(np.reshape(u, reduced_shape(x, axes, keepdims=True)), x.shape)


@dataclass(frozen=True)
class Sum(AffineLayer):
    """z = Σ x over axes after the batch."""

    kind: ClassVar[str] = "add"

    axes: tuple[int, ...]
    keepdims: bool = False

    def forward(self, backend, x):
        return backend.sum_forward(x, self.axes, self.keepdims)

    def gradient(self, backend, x, y, G):
        return (backend.sum_gradient(x[0], self.axes, G, self.keepdims),)

    def tangent(self, backend, x, y, dx):
        return backend.sum_tangent(x[0], self.axes, dx[0], self.keepdims)

    def relevance(self, backend, x, y, R, rule, gate="all", account=None):
        return (backend.sum_relevance(x[0], self.axes, R, rule, y, self.keepdims, account),)

    def terms(self, x):
        return reduce_terms(x[0], self.axes, self.keepdims, mean=False)


@dataclass(frozen=True)
class Mean(AffineLayer):
    """z = the mean of x over axes after the batch."""

    kind: ClassVar[str] = "add"

    axes: tuple[int, ...]
    keepdims: bool = False

    def forward(self, backend, x):
        return backend.mean_forward(x, self.axes, self.keepdims)

    def gradient(self, backend, x, y, G):
        return (backend.mean_gradient(x[0], self.axes, G, self.keepdims),)

    def tangent(self, backend, x, y, dx):
        return backend.mean_tangent(x[0], self.axes, dx[0], self.keepdims)

    def relevance(self, backend, x, y, R, rule, gate="all", account=None):
        return (backend.mean_relevance(x[0], self.axes, R, rule, y, self.keepdims, account),)

    def terms(self, x):
        return reduce_terms(x[0], self.axes, self.keepdims, mean=True)
