"""Batch normalisation at inference: a scale and a shift per channel."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from pyref.check import check_shape
from pyref.layers.affine import Term, affine_relevance
from pyref.layers.layer import AffineLayer
from pyref.numerics import zeros_like

__all__ = ["BatchNorm", "batchnorm_forward", "batchnorm_gradient", "batchnorm_tangent", "batchnorm_relevance"]


def batchnorm_forward(x, scale, shift=None):
    """Batch normalisation with known statistics.

        y_c = scale_c x_c + shift_c          scale = weight / sqrt(variance + eps),  shift = bias - mean · scale

    Shapes
        x (n, c, ...)   scale, shift (c,), shift may be None   →   y (n, c, ...)
    Raises
        ValueError  a shape does not fit.
    """
    _check(x, scale, shift)
    y = x * per_channel(scale, x)
    return y if shift is None else y + per_channel(shift, x)


def batchnorm_gradient(x, scale, shift, G):
    """Gradient at the input: G_x,c = scale_c G_c.

    Shapes
        G (n, c, ...)   →   (n, c, ...)
    """
    check_shape("G", G, x.shape)
    return batchnorm_forward(G, scale)


def batchnorm_tangent(x, scale, shift, dx):
    """Change of y along dx: dy_c = scale_c dx_c.

    Shapes
        dx (n, c, ...)   →   dy (n, c, ...)
    """
    check_shape("dx", dx, x.shape)
    return batchnorm_forward(dx, scale)


def batchnorm_relevance(x, scale, shift, R, rule, z=None, account=None):
    """Relevance of the input of batch normalisation as an affine node of its own, with diagonal weights.

        r_i = Σ_p input(p, x_i) · weight(p, scale_c) · s_p,i         s = split(R, z): see `pyref.Rule`

    Every unit has one input, so rules that share by sign (z⁺, αβ) let R through only where the one contribution
    has their sign: merge the node into the linear layer beside it before such rules (`pyref.merge_batchnorm`).

    Shapes
        x, R (n, c, ...)   scale, shift (c,)   →   r (n, c, ...)
        z: the known output, computed again when omitted.
    Laws
        under Epsilon(0), as merged: r = R · scale x / (scale x + shift).
        Σ r = Σ R minus what `account` says stays behind.
    Raises
        ValueError  a shape does not fit.
    """
    _check(x, scale, shift)
    check_shape("R", R, x.shape)
    bias = None if shift is None else per_channel(shift, x)
    return affine_relevance(batchnorm_terms(x, scale), bias, R, rule, z, account)[0]


def batchnorm_terms(x, scale):
    """The layer as a bilinear map, for the rule algebra."""
    return (Term(x, per_channel(scale, x), forward=lambda x, w: x * w, transpose=lambda u, w: u * w),)


def per_channel(v, x):
    """v (c,) in the shape (1, c, 1, …), which broadcasts against x (n, c, ...)."""
    return np.reshape(v, (1, -1) + (1,) * (x.ndim - 2))


def _check(x, scale, shift):
    check_shape("scale", scale, x.shape[1:2])
    if shift is not None:
        check_shape("shift", shift, x.shape[1:2])


@dataclass(frozen=True, eq=False)
class BatchNorm(AffineLayer):
    """y = scale x + shift per channel (axis 1), with scale (c,) and shift (c,)."""

    kind: ClassVar[str] = "batchnorm"

    scale: Any
    shift: Any

    def __post_init__(self):
        check_shape("scale", self.scale, (None,))
        check_shape("shift", self.shift, self.scale.shape)

    @classmethod
    def from_statistics(cls, mean, variance, weight=None, bias=None, eps=1e-5):
        """From running statistics (c,): scale = weight / sqrt(variance + eps), shift = bias - mean · scale."""
        scale = 1 / np.sqrt(variance + eps)
        if weight is not None:
            check_shape("weight", weight, mean.shape)
            scale = weight * scale
        if bias is None:
            bias = zeros_like(scale)
        check_shape("variance", variance, mean.shape)
        check_shape("bias", bias, mean.shape)
        return cls(scale, bias - mean * scale)

    def forward(self, backend, x):
        return backend.batchnorm_forward(x, self.scale, self.shift)

    def gradient(self, backend, x, y, G):
        return (backend.batchnorm_gradient(x[0], self.scale, self.shift, G),)

    def tangent(self, backend, x, y, dx):
        return backend.batchnorm_tangent(x[0], self.scale, self.shift, dx[0])

    def relevance(self, backend, x, y, R, rule, gate="all", account=None):
        return (backend.batchnorm_relevance(x[0], self.scale, self.shift, R, rule, y, account),)

    def terms(self, x):
        return batchnorm_terms(x[0], self.scale)
