"""Upsampling by nearest neighbour or linear interpolation, along any number of axes."""

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np

from pyref.check import check_choice, check_shape
from pyref.layers.affine import Term, affine_forward, affine_relevance
from pyref.layers.layer import AffineLayer
from pyref.numerics import number_like, ones_like, zeros_like

__all__ = [
    "Upsample",
    "upsample_forward",
    "upsample_gradient",
    "upsample_tangent",
    "upsample_relevance",
]

MODES = ("nearest", "bilinear")


def upsample_forward(x, size, mode="nearest", align_corners=False):
    """x stretched to other lengths: an affine map with separable weights ≥ 0 that sum to 1.

        y[p] = Σ_q Π_a W_a[p_a, q_a] x[q]

        nearest    output p reads input ⌊p h / H⌋                    h, H: lengths before and after
        bilinear   output p reads between the neighbours of max(0, (p + ½) h/H - ½),
                   with align_corners of p (h - 1) / (H - 1)

    "bilinear" is the name for any number of axes.

    Shapes
        x (n, c, *axes)   size: the lengths after, one per axis   →   (n, c, *size)
    Raises
        ValueError  a length below 1; another number of them than x has axes; an empty axis; an unknown mode.
    """
    return affine_forward(upsample_terms(x, size, mode, align_corners))


def upsample_gradient(x, size, G, mode="nearest", align_corners=False):
    """Gradient at x: G gathered by the transposed weights.

    Shapes
        G (n, c, *size)   →   (n, c, *axes)
    """
    (term,) = upsample_terms(x, size, mode, align_corners)
    check_shape("G", G, (*x.shape[:2], *size))
    return term.transpose(G, term.w)


def upsample_tangent(x, size, dx, mode="nearest", align_corners=False):
    """Change along dx: dx stretched alike."""
    check_shape("dx", dx, x.shape)
    return upsample_forward(dx, size, mode, align_corners)


def upsample_relevance(x, size, R, rule, z=None, mode="nearest", align_corners=False, account=None):
    """Relevance of x under a rule, with the interpolation weights as weights.

    Shapes
        R (n, c, *size), z the known output or None   →   r (n, c, *axes)
    Laws
        nearest: r = Σ R of the outputs that read the input, under Epsilon(0) and where x ≠ 0.
        Σ r = Σ R minus what `account` says stays behind.
    Raises
        ValueError  R has another shape than the output.
    """
    check_shape("R", R, (*x.shape[:2], *size))
    return affine_relevance(upsample_terms(x, size, mode, align_corners), None, R, rule, z, account)[0]


def upsample_terms(x, size, mode="nearest", align_corners=False):
    """The layer as a bilinear map with one matrix of weights per axis, for the rule algebra.

    A rule changes each matrix by itself; that is the rule on their product, because no weight is negative.
    """
    rows = upsample_rows(x, size, mode, align_corners)
    w = tuple(_matrix(x, r, h) for r, h in zip(rows, x.shape[2:], strict=True))
    support = tuple(np.where(v != 0, ones_like(v), zeros_like(v)) for v in w)

    def forward(x, w):
        for axis, (v, connected) in enumerate(zip(w, support, strict=True), start=2):
            x = _along(x, (v * connected).T, axis)
        return x

    def transpose(u, w):
        for axis, (v, connected) in enumerate(zip(w, support, strict=True), start=2):
            u = _along(u, v * connected, axis)
        return u

    return (Term(x, w, forward, transpose),)


def upsample_rows(x, size, mode, align_corners):
    """For each axis after (n, c) what each of its outputs reads: ((input, weight), …), exactly."""
    check_choice("mode", mode, MODES)
    if len(size) != x.ndim - 2 or any(s < 1 for s in size):
        raise ValueError(f"size is {tuple(size)}, expected {x.ndim - 2} lengths >= 1 for x with shape {tuple(x.shape)}")
    if 0 in x.shape[2:]:
        raise ValueError(f"x has shape {tuple(x.shape)}, expected axes after (n, c) that are not empty")
    return tuple(_rows(h, big, mode, align_corners) for h, big in zip(x.shape[2:], size, strict=True))


def _along(x, matrix, axis):
    """x times a matrix along one axis."""
    return np.moveaxis(np.moveaxis(x, axis, -1) @ matrix, -1, axis)


@lru_cache(maxsize=64)
def _rows(h, big, mode, align_corners):
    if mode == "nearest":
        return tuple(((p * h // big, Fraction(1)),) for p in range(big))
    rows = []
    for p in range(big):
        if align_corners:
            at = Fraction(p * (h - 1), big - 1) if big > 1 else Fraction(0)
        else:
            at = max(Fraction(0), Fraction((2 * p + 1) * h, 2 * big) - Fraction(1, 2))
        below = min(int(at), h - 1)
        above, part = min(below + 1, h - 1), at - below
        rows.append(((below, 1 - part), (above, part)) if below != above else ((below, Fraction(1)),))
    return tuple(rows)


def _matrix(x, rows, h):
    w = zeros_like(x, shape=(len(rows), h))
    for p, row in enumerate(rows):
        for q, weight in row:
            w[p, q] = number_like(x, weight)
    return w


@dataclass(frozen=True)
class Upsample(AffineLayer):
    """Stretch the axes after (n, c), by whole factors `scale` or to lengths `size`; a number or one per axis.

    mode "nearest", or "bilinear" over any number of axes, with or without align_corners.
    """

    kind: ClassVar[str] = "upsample"

    scale: Any = None
    size: Any = None
    mode: str = "nearest"
    align_corners: bool = False

    def __post_init__(self):
        check_choice("mode", self.mode, MODES)
        if (self.scale is None) == (self.size is None):
            raise ValueError("Upsample needs one of scale and size")
        given = self.size if self.scale is None else self.scale
        numbers = given if isinstance(given, tuple | list) else (given,)
        if not all(isinstance(v, int) and v >= 1 for v in numbers):
            raise ValueError(f"{'size' if self.scale is None else 'scale'} is {given}, expected whole numbers >= 1")

    def lengths(self, x):
        """The lengths after, one per axis."""
        given = self.size if self.scale is None else self.scale
        numbers = tuple(given) if isinstance(given, tuple | list) else (given,) * (x.ndim - 2)
        return numbers if self.scale is None else tuple(s * h for s, h in zip(numbers, x.shape[2:], strict=True))

    def forward(self, backend, x):
        return backend.upsample_forward(x, self.lengths(x), self.mode, self.align_corners)

    def gradient(self, backend, x, y, G):
        return (backend.upsample_gradient(x[0], self.lengths(x[0]), G, self.mode, self.align_corners),)

    def tangent(self, backend, x, y, dx):
        return backend.upsample_tangent(x[0], self.lengths(x[0]), dx[0], self.mode, self.align_corners)

    def relevance(self, backend, x, y, R, rule, gate="all", account=None):
        size = self.lengths(x[0])
        return (backend.upsample_relevance(x[0], size, R, rule, y, self.mode, self.align_corners, account),)

    def terms(self, x):
        return upsample_terms(x[0], self.lengths(x[0]), self.mode, self.align_corners)
