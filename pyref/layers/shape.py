"""Layers that only move values about: flatten, reshape, transpose, pad, slice.

Gradient, multiplier and relevance travel back the way the values came: by the adjoint of the rearrangement, which
has weights 0 and 1. No rule and no ε applies, and nothing is lost, but for what reaches a padding.
"""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from pyref.check import check_shape
from pyref.layers.layer import Layer
from pyref.numerics import number_like, zeros_like

__all__ = [
    "reshape_forward",
    "reshape_gradient",
    "reshape_tangent",
    "reshape_relevance",
    "transpose_forward",
    "transpose_gradient",
    "transpose_tangent",
    "transpose_relevance",
    "pad_forward",
    "pad_gradient",
    "pad_tangent",
    "pad_relevance",
    "slice_forward",
    "slice_gradient",
    "slice_tangent",
    "slice_relevance",
    "Flatten",
    "Reshape",
    "Transpose",
    "Pad",
    "Slice",
]


# ── reshape ────────────────────────────────────────────────────────────────────────────────────────────


def reshape_forward(x, shape):
    """The values of each sample in another shape, in row-major order.

    Shapes
        x (n, ...)   shape: of one sample, at most one length -1   →   (n, *shape)
    Raises
        ValueError  the sizes do not agree.
    """
    return np.reshape(x, (x.shape[0], *_full_shape(x, shape)))


def reshape_gradient(x, shape, G):
    """Gradient at x: G in the shape of x."""
    check_shape("G", G, (x.shape[0], *_full_shape(x, shape)))
    return np.reshape(G, x.shape)


def reshape_tangent(x, shape, dx):
    """Change along dx: dx in the new shape."""
    check_shape("dx", dx, x.shape)
    return reshape_forward(dx, shape)


def reshape_relevance(x, shape, R):
    """Relevance of x: R in the shape of x. Σ r = Σ R exactly."""
    return reshape_gradient(x, shape, R)


def _full_shape(x, shape):
    """shape with its -1 replaced."""
    size, known = math.prod(x.shape[1:]), math.prod(s for s in shape if s != -1)
    full = tuple(size // known if s == -1 and known else s for s in shape)
    if sum(s == -1 for s in shape) > 1 or math.prod(full) != size:
        raise ValueError(f"shape is {tuple(shape)}, which does not hold a sample of shape {tuple(x.shape[1:])}")
    return full


# ── transpose ──────────────────────────────────────────────────────────────────────────────────────────


def transpose_forward(x, axes):
    """The axes of each sample in another order; axes of x are numbered with the batch as 0, which stays first.

        transpose_forward(x, (2, 1)):  (n, t, c)  →  (n, c, t)

    Shapes
        x (n, ...)   axes: a permutation of 1 … x.ndim - 1   →   (n, ...)
    Raises
        ValueError  axes is no such permutation.
    """
    _check_permutation(x, axes)
    return np.transpose(x, (0, *axes))


def transpose_gradient(x, axes, G):
    """Gradient at x: G with its axes in the old order."""
    _check_permutation(x, axes)
    check_shape("G", G, (x.shape[0], *(x.shape[a] for a in axes)))
    return np.transpose(G, (0, *(1 + tuple(axes).index(a) for a in range(1, x.ndim))))


def transpose_tangent(x, axes, dx):
    """Change along dx: dx with its axes in the new order."""
    check_shape("dx", dx, x.shape)
    return transpose_forward(dx, axes)


def transpose_relevance(x, axes, R):
    """Relevance of x: R with its axes in the old order. Σ r = Σ R exactly."""
    return transpose_gradient(x, axes, R)


def _check_permutation(x, axes):
    if sorted(axes) != list(range(1, x.ndim)):
        raise ValueError(f"axes is {tuple(axes)}, expected a permutation of 1 to {x.ndim - 1}: the batch stays first")


# ── pad ────────────────────────────────────────────────────────────────────────────────────────────────


def pad_forward(x, pairs, value=0):
    """x with a border of a constant value.

    Shapes
        x (n, ...)   pairs: (before, after) for each of the last axes   →   (n, ...)
    Raises
        ValueError  more pairs than axes after the batch; a negative number.
    """
    inside, shape = _inside(x, pairs)
    y = zeros_like(x, shape=shape) + number_like(x, value)
    y[inside] = x
    return y


def pad_gradient(x, pairs, G):
    """Gradient at x: the inside of G."""
    inside, shape = _inside(x, pairs)
    check_shape("G", G, shape)
    return G[inside]


def pad_tangent(x, pairs, dx):
    """Change along dx: dx with a border of zeros."""
    check_shape("dx", dx, x.shape)
    return pad_forward(dx, pairs)


def pad_relevance(x, pairs, R, value=0, account=None):
    """Relevance of x: the inside of R.

    What reaches the border stays there: booked as the share of a bias where the border has a value, and as
    dropped where it is zero, which sensible rules leave without relevance.

    Laws
        Σ r = Σ R minus what `account` says stays behind.
    """
    r = pad_gradient(x, pairs, R)
    if account is not None:
        border = R + zeros_like(R)
        border[_inside(x, pairs)[0]] = zeros_like(r)
        if value != 0:
            account.add_bias(border)
        else:
            account.add_kept(zeros_like(R), border)
    return r


def _inside(x, pairs):
    """(where x lies within the padded array, the padded array's shape)."""
    if len(pairs) >= x.ndim or any(p < 0 for pair in pairs for p in pair):
        raise ValueError(f"pairs is {tuple(pairs)}, expected (before, after) >= 0 for at most {x.ndim - 1} axes of x")
    every = ((0, 0),) * (x.ndim - len(pairs)) + tuple(pairs)
    inside = tuple(slice(before, before + s) for s, (before, _) in zip(x.shape, every, strict=True))
    return inside, tuple(before + s + after for s, (before, after) in zip(x.shape, every, strict=True))


# ── slice ──────────────────────────────────────────────────────────────────────────────────────────────


def slice_forward(x, axes, start, stop, step=None):
    """x[..., start:stop:step, ...] along each of the axes, with the meaning that Python gives to slices.

    Shapes
        x (n, ...)   axes, start, stop, step: tuples of the same length; step None is 1 everywhere, and an entry
        of start or stop may be None   →   (n, ...)
    Raises
        ValueError  an axis is the batch, does not exist, or is named twice; the lengths differ; a step is 0.
    """
    return x[_slices(x, axes, start, stop, step)]


def slice_gradient(x, axes, start, stop, G, step=None):
    """Gradient at x: G where it came from, zero elsewhere."""
    cut = _slices(x, axes, start, stop, step)
    check_shape("G", G, tuple(len(range(*c.indices(s))) for c, s in zip(cut, x.shape, strict=True)))
    out = zeros_like(G, shape=x.shape)
    out[cut] = G
    return out


def slice_tangent(x, axes, start, stop, dx, step=None):
    """Change along dx: the same slice of dx."""
    check_shape("dx", dx, x.shape)
    return slice_forward(dx, axes, start, stop, step)


def slice_relevance(x, axes, start, stop, R, step=None):
    """Relevance of x: R where it came from, zero elsewhere. Σ r = Σ R exactly."""
    return slice_gradient(x, axes, start, stop, R, step)


def _slices(x, axes, start, stop, step):
    step = (1,) * len(axes) if step is None else step
    counted = tuple(a + x.ndim if a < 0 else a for a in axes)
    if not len(axes) == len(start) == len(stop) == len(step):
        raise ValueError(f"axes, start, stop, step are {axes}, {start}, {stop}, {step}, expected equal lengths")
    if 0 in step:
        raise ValueError(f"step is {tuple(step)}, expected no 0")
    if len(set(counted)) != len(counted) or not all(1 <= a < x.ndim for a in counted):
        raise ValueError(f"axes is {axes}, expected different axes after the batch of x with shape {tuple(x.shape)}")
    cut = [slice(None)] * x.ndim
    for a, begin, end, stride in zip(counted, start, stop, step, strict=True):
        cut[a] = slice(begin, end, stride)
    return tuple(cut)


# ── as layers ──────────────────────────────────────────────────────────────────────────────────────────


class _Rearrangement(Layer):
    """All signals travel back by the adjoint."""

    kind: ClassVar[str] = "shape"
    cheap: ClassVar[bool] = True
    linear: ClassVar[bool] = True
    piecewise_linear: ClassVar[bool] = True

    def multiplier(self, backend, x, y, x0, y0, M, product="symmetric", max_pool="xmax"):
        return self.gradient(backend, x, y, M)


class _Reshape(_Rearrangement):
    def _shape(self, x):
        raise NotImplementedError

    def forward(self, backend, x):
        return backend.reshape_forward(x, self._shape(x))

    def gradient(self, backend, x, y, G):
        return (backend.reshape_gradient(x[0], self._shape(x[0]), G),)

    def tangent(self, backend, x, y, dx):
        return backend.reshape_tangent(x[0], self._shape(x[0]), dx[0])

    def relevance(self, backend, x, y, R, rule, gate="all", account=None):
        return (backend.reshape_relevance(x[0], self._shape(x[0]), R),)


@dataclass(frozen=True)
class Flatten(_Reshape):
    """All axes from `start` on as one, the batch being axis 0: (n, c, h, w) → (n, c · h · w)."""

    start: int = 1

    def __post_init__(self):
        if self.start < 1:
            raise ValueError(f"start is {self.start}, expected an axis after the batch, >= 1")

    def _shape(self, x):
        return (*x.shape[1 : self.start], math.prod(x.shape[self.start :]))


@dataclass(frozen=True)
class Reshape(_Reshape):
    """Each sample in another shape: `shape` is that of one sample, and may hold one -1."""

    shape: tuple[int, ...]

    def _shape(self, x):
        return self.shape


@dataclass(frozen=True)
class Transpose(_Rearrangement):
    """The axes of each sample in another order: a permutation of 1, 2, …, the batch staying at 0."""

    axes: tuple[int, ...]

    def __post_init__(self):
        if sorted(self.axes) != list(range(1, len(self.axes) + 1)):
            raise ValueError(
                f"axes is {self.axes}, expected a permutation of 1 to {len(self.axes)}; the batch stays first"
            )

    def forward(self, backend, x):
        return backend.transpose_forward(x, self.axes)

    def gradient(self, backend, x, y, G):
        return (backend.transpose_gradient(x[0], self.axes, G),)

    def tangent(self, backend, x, y, dx):
        return backend.transpose_tangent(x[0], self.axes, dx[0])

    def relevance(self, backend, x, y, R, rule, gate="all", account=None):
        return (backend.transpose_relevance(x[0], self.axes, R),)


@dataclass(frozen=True)
class Pad(_Rearrangement):
    """A border of a constant value, (before, after) for each of the last axes. A value other than 0 is a bias."""

    pairs: tuple[tuple[int, int], ...]
    value: float = 0

    def forward(self, backend, x):
        return backend.pad_forward(x, self.pairs, self.value)

    def gradient(self, backend, x, y, G):
        return (backend.pad_gradient(x[0], self.pairs, G),)

    def tangent(self, backend, x, y, dx):
        return backend.pad_tangent(x[0], self.pairs, dx[0])

    def relevance(self, backend, x, y, R, rule, gate="all", account=None):
        return (backend.pad_relevance(x[0], self.pairs, R, self.value, account),)


@dataclass(frozen=True)
class Slice(_Rearrangement):
    """x[..., start:stop:step, ...] along each of the axes, the batch being axis 0. What is cut off receives zero."""

    axes: tuple[int, ...]
    start: tuple[Any, ...]
    stop: tuple[Any, ...]
    step: tuple[int, ...] | None = None

    def forward(self, backend, x):
        return backend.slice_forward(x, self.axes, self.start, self.stop, self.step)

    def gradient(self, backend, x, y, G):
        return (backend.slice_gradient(x[0], self.axes, self.start, self.stop, G, self.step),)

    def tangent(self, backend, x, y, dx):
        return backend.slice_tangent(x[0], self.axes, self.start, self.stop, dx[0], self.step)

    def relevance(self, backend, x, y, R, rule, gate="all", account=None):
        return (backend.slice_relevance(x[0], self.axes, self.start, self.stop, R, self.step),)
