"""Where branches meet and part: sums, products, quotients, concatenation, splitting.

Functions of several inputs take the tuple x of them, as a node does. Inputs broadcast against each other, axis
by axis, all with the same number of axes and samples; a signal that returns is summed where its input was spread.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from pyref.check import check_shape
from pyref.layers.affine import Term, affine_relevance
from pyref.layers.layer import AffineLayer, Layer
from pyref.layers.recurrent import product_multiplier, product_relevance
from pyref.numerics import number_like, ones_like, pos, zeros_like

__all__ = [
    "add_forward",
    "add_rectified",
    "add_gradient",
    "add_tangent",
    "add_relevance",
    "subtract_forward",
    "subtract_gradient",
    "subtract_tangent",
    "subtract_relevance",
    "shift_forward",
    "shift_gradient",
    "shift_tangent",
    "shift_relevance",
    "scale_forward",
    "scale_gradient",
    "scale_tangent",
    "scale_relevance",
    "multiply_forward",
    "multiply_gradient",
    "multiply_tangent",
    "multiply_relevance",
    "multiply_multiplier",
    "divide_forward",
    "divide_gradient",
    "divide_tangent",
    "divide_relevance",
    "divide_multiplier",
    "concat_forward",
    "concat_gradient",
    "concat_tangent",
    "concat_relevance",
    "split_forward",
    "split_gradient",
    "split_tangent",
    "split_relevance",
    "Add",
    "Subtract",
    "Shift",
    "Scale",
    "Multiply",
    "Divide",
    "Concat",
    "Split",
]


# ── broadcasting ───────────────────────────────────────────────────────────────────────────────────────


def joint_shape(*shapes):
    """The shape that inputs broadcast to.

    Raises
        ValueError  they differ in the number of axes or of samples, or do not broadcast.
    """
    fits = all(len(s) == len(shapes[0]) and s[:1] == shapes[0][:1] for s in shapes)
    columns = [set(lengths) - {1} for lengths in zip(*shapes, strict=False)]
    if not fits or any(len(c) > 1 for c in columns):
        raise ValueError(f"inputs have shapes {' and '.join(map(str, map(tuple, shapes)))}, which do not broadcast")
    return tuple(c.pop() if c else 1 for c in columns)


def unbroadcast(u, shape):
    """The adjoint of broadcasting: u summed over the axes along which `shape` was spread."""
    axes = tuple(a for a, length in enumerate(shape) if length == 1 and u.shape[a] != 1)
    return np.sum(u, axis=axes, keepdims=True) if axes else u


def _constant(x, value):
    """A constant as an array with as many axes as x: a number in x's arithmetic, or an array that broadcasts."""
    if not hasattr(value, "shape"):
        one = ones_like(x, shape=(1,) * x.ndim)
        return one * number_like(x, value)
    if value.ndim > x.ndim:
        raise ValueError(f"a constant of shape {tuple(value.shape)} has more axes than x with {tuple(x.shape)}")
    value = np.reshape(value, (1,) * (x.ndim - value.ndim) + tuple(value.shape))
    joint_shape((1, *value.shape[1:]), (1, *x.shape[1:]))
    return value


# ── sums ───────────────────────────────────────────────────────────────────────────────────────────────


def add_forward(x):
    """z = Σ_k x_k.

    Shapes
        x: a tuple of arrays (n, ...) that broadcast   →   z (n, ...)
    Raises
        ValueError  the inputs do not broadcast.
    """
    joint_shape(*(v.shape for v in x))
    return sum(x[1:], x[0])


def add_rectified(x):
    """max(z, 0) of `add_forward`: a sum and the ReLU behind it, compiled as one pass over memory."""
    return pos(add_forward(x))


def add_gradient(x, G):
    """Gradient at each input: G_k = G, summed where x_k was spread.

    Shapes
        G in the shape of z   →   a tuple with one array per input
    """
    return _sum_gradient(x, (1,) * len(x), G)


def add_tangent(x, dx):
    """Change of z along dx: dz = Σ_k dx_k."""
    return add_forward(dx)


def add_relevance(x, R, rule, z=None, account=None):
    """Relevance of the inputs of a sum, an affine node whose weights are 1.

        r_k = x_k / σ_ε(z) · R          under Norm and Epsilon; other rules by their parts, with w = 1

    Shapes
        R and z (the known sum, or None) in the shape of the output   →   a tuple with one array per input
    Laws
        Σ_k Σ r_k = Σ R minus what `account` says stays behind. Where z = 0 and ε = 0, R is dropped.
    Raises
        ValueError  R has another shape than z; the rule is Pass.
    """
    return _sum_relevance(x, (1,) * len(x), R, rule, z, account)


def subtract_forward(x):
    """z = x_0 - x_1.

    Shapes
        x: a tuple of two arrays (n, ...) that broadcast   →   z (n, ...)
    Raises
        ValueError  the inputs do not broadcast.
    """
    joint_shape(*(v.shape for v in x))
    return x[0] - x[1]


def subtract_gradient(x, G):
    """Gradient at each input: (G, -G), summed where an input was spread."""
    return _sum_gradient(x, (1, -1), G)


def subtract_tangent(x, dx):
    """Change of z along dx: dz = dx_0 - dx_1."""
    return subtract_forward(dx)


def subtract_relevance(x, R, rule, z=None, account=None):
    """Relevance of the inputs of a difference, an affine node with weights 1 and -1.

    Shapes and laws as in `add_relevance`.
    """
    return _sum_relevance(x, (1, -1), R, rule, z, account)


def sum_terms(x, signs):
    """Σ_k sign_k x_k as bilinear maps, for the rule algebra."""
    return tuple(_scaling(v, ones_like(v, shape=(1,) * v.ndim) * sign) for v, sign in zip(x, signs, strict=True))


def _scaling(x, w):
    """x_i w_i, with broadcasting both ways."""
    return Term(x, w, forward=lambda x, w: x * w, transpose=lambda u, w: unbroadcast(u * w, x.shape))


def _sum_gradient(x, signs, G):
    check_shape("G", G, joint_shape(*(v.shape for v in x)))
    return tuple(unbroadcast(G if sign > 0 else -G, v.shape) for v, sign in zip(x, signs, strict=True))


def _sum_relevance(x, signs, R, rule, z, account):
    check_shape("R", R, joint_shape(*(v.shape for v in x)))
    return affine_relevance(sum_terms(x, signs), None, R, rule, z, account)


class _Sum(AffineLayer):
    """Σ_k sign_k x_k."""

    kind: ClassVar[str] = "add"

    def _signs(self, x):
        raise NotImplementedError

    def terms(self, x):
        return sum_terms(x, self._signs(x))


@dataclass(frozen=True)
class Add(_Sum):
    """z = x_0 + x_1 + …, any number of inputs: residual connections. Under LRP it shares by contribution."""

    arity: ClassVar[int | None] = None
    cheap: ClassVar[bool] = True

    def _signs(self, x):
        return (1,) * len(x)

    def forward(self, backend, *x):
        return backend.add_forward(x)

    def rectified(self, backend, *x):
        return backend.add_rectified(x)

    def gradient(self, backend, x, y, G):
        return backend.add_gradient(x, G)

    def tangent(self, backend, x, y, dx):
        return backend.add_tangent(x, dx)

    def relevance(self, backend, x, y, R, rule, gate="all", account=None):
        return backend.add_relevance(x, R, rule, None, account)


@dataclass(frozen=True)
class Subtract(_Sum):
    """z = x_0 - x_1."""

    arity: ClassVar[int | None] = 2

    def _signs(self, x):
        return (1, -1)

    def forward(self, backend, *x):
        return backend.subtract_forward(x)

    def gradient(self, backend, x, y, G):
        return backend.subtract_gradient(x, G)

    def tangent(self, backend, x, y, dx):
        return backend.subtract_tangent(x, dx)

    def relevance(self, backend, x, y, R, rule, gate="all", account=None):
        return backend.subtract_relevance(x, R, rule, y, account)


# ── constants ──────────────────────────────────────────────────────────────────────────────────────────


def shift_forward(x, constant):
    """z = x + constant.

    Shapes
        x (n, ...)   constant: a number, or an array that broadcasts against one sample   →   z (n, ...)
    Raises
        ValueError  the constant does not broadcast.
    """
    return x + _constant(x, constant)


def shift_gradient(x, constant, G):
    """Gradient at x: G, summed where x was spread."""
    check_shape("G", G, _spread(x, constant))
    return unbroadcast(G, x.shape)


def shift_tangent(x, constant, dx):
    """Change of z along dx: dx, spread to the shape of z."""
    check_shape("dx", dx, x.shape)
    return dx + zeros_like(_constant(x, constant))


def shift_relevance(x, constant, R, rule, z=None, account=None):
    """Relevance of x in x + constant: an affine node with weights 1, whose bias is the constant.

    Laws
        Σ r = Σ R minus what `account` says stays behind: the constant keeps its share as a bias does.
    """
    check_shape("R", R, _spread(x, constant))
    return affine_relevance(shift_terms(x, constant), _constant(x, constant), R, rule, z, account)[0]


def shift_terms(x, constant):
    """x as it appears in x + constant, spread to its shape, as a bilinear map for the rule algebra."""
    spread = zeros_like(_constant(x, constant))
    w = ones_like(x, shape=(1,) * x.ndim)
    return (Term(x, w, forward=lambda x, w: x * w + spread, transpose=lambda u, w: unbroadcast(u * w, x.shape)),)


def scale_forward(x, factor):
    """z = factor · x.

    Shapes
        x (n, ...)   factor: a number, or an array that broadcasts against one sample   →   z (n, ...)
    Raises
        ValueError  the factor does not broadcast.
    """
    return x * _constant(x, factor)


def scale_gradient(x, factor, G):
    """Gradient at x: factor · G, summed where x was spread."""
    check_shape("G", G, _spread(x, factor))
    return unbroadcast(G * _constant(x, factor), x.shape)


def scale_tangent(x, factor, dx):
    """Change of z along dx: factor · dx."""
    check_shape("dx", dx, x.shape)
    return scale_forward(dx, factor)


def scale_relevance(x, factor, R, rule, z=None, account=None):
    """Relevance of x in factor · x: an affine node with diagonal weights and no bias.

    Laws
        r = R under Epsilon(0), where z ≠ 0; Σ r = Σ R minus what `account` says stays behind.
    """
    check_shape("R", R, _spread(x, factor))
    return affine_relevance((_scaling(x, _constant(x, factor)),), None, R, rule, z, account)[0]


def _spread(x, constant):
    """The shape of x with a constant."""
    inner = joint_shape((1, *_constant(x, constant).shape[1:]), (1, *x.shape[1:]))[1:]
    return (x.shape[0], *inner)


@dataclass(frozen=True, eq=False)
class Shift(AffineLayer):
    """z = x + constant, a number or an array that broadcasts against one sample. It acts as a bias."""

    kind: ClassVar[str] = "add"

    constant: Any

    def forward(self, backend, x):
        return backend.shift_forward(x, self.constant)

    def gradient(self, backend, x, y, G):
        return (backend.shift_gradient(x[0], self.constant, G),)

    def tangent(self, backend, x, y, dx):
        return backend.shift_tangent(x[0], self.constant, dx[0])

    def relevance(self, backend, x, y, R, rule, gate="all", account=None):
        return (backend.shift_relevance(x[0], self.constant, R, rule, y, account),)

    def terms(self, x):
        return shift_terms(x[0], self.constant)


@dataclass(frozen=True, eq=False)
class Scale(AffineLayer):
    """z = factor · x, a number or an array that broadcasts against one sample. Divide by c with factor = 1 / c."""

    kind: ClassVar[str] = "scale"

    factor: Any

    def forward(self, backend, x):
        return backend.scale_forward(x, self.factor)

    def gradient(self, backend, x, y, G):
        return (backend.scale_gradient(x[0], self.factor, G),)

    def tangent(self, backend, x, y, dx):
        return backend.scale_tangent(x[0], self.factor, dx[0])

    def relevance(self, backend, x, y, R, rule, gate="all", account=None):
        return (backend.scale_relevance(x[0], self.factor, R, rule, y, account),)

    def terms(self, x):
        return (_scaling(x[0], _constant(x[0], self.factor)),)


# ── products and quotients ─────────────────────────────────────────────────────────────────────────────


def multiply_forward(x):
    """y = x_0 ⊙ x_1.

    Shapes
        x: a tuple of two arrays (n, ...) that broadcast   →   y (n, ...)
    Raises
        ValueError  the inputs do not broadcast.
    """
    joint_shape(*(v.shape for v in x))
    return x[0] * x[1]


def multiply_gradient(x, G):
    """Gradient at each factor: (x_1 G, x_0 G), summed where a factor was spread."""
    check_shape("G", G, joint_shape(*(v.shape for v in x)))
    return unbroadcast(x[1] * G, x[0].shape), unbroadcast(x[0] * G, x[1].shape)


def multiply_tangent(x, dx):
    """Change of y along dx: dy = x_1 dx_0 + x_0 dx_1."""
    return x[1] * dx[0] + x[0] * dx[1]


def multiply_relevance(x, R, gate="all", signal=0, account=None):
    """Relevance of the factors of a product, of which x[signal] is the signal and the other one the gate.

    `pyref.product_relevance` has the options of `gate`; the default gives everything to the signal.

    Laws
        Σ r_0 + Σ r_1 = Σ R minus what `account` says is dropped, except under "gradient", which doubles R.
    Raises
        ValueError  R has another shape than y; an unknown gate.
    """
    check_shape("R", R, joint_shape(*(v.shape for v in x)))
    r_gate, r_signal = product_relevance(R, x[1 - signal], x[signal], gate, account)
    parts = (r_gate, r_signal) if signal == 1 else (r_signal, r_gate)
    return tuple(unbroadcast(r, v.shape) for r, v in zip(parts, x, strict=True))


def multiply_multiplier(x, x0, M, product="symmetric"):
    """DeepLIFT multipliers of the factors: `pyref.product_multiplier`, times M, summed where a factor was spread.

    Laws
        Σ_k Σ M_k Δx_k = Σ M Δy with product="symmetric".
    """
    m = product_multiplier(x[0], x[1], x0[0], x0[1], product)
    return tuple(unbroadcast(m_k * M, v.shape) for m_k, v in zip(m, x, strict=True))


def divide_forward(x):
    """y = x_0 / x_1, the product of x_0 and 1 / x_1.

    Shapes
        x: a tuple of two arrays (n, ...) that broadcast   →   y (n, ...)
    Raises
        ValueError  the inputs do not broadcast.
    """
    joint_shape(*(v.shape for v in x))
    return x[0] / x[1]


def divide_gradient(x, G):
    """Gradient: (G / x_1, -G x_0 / x_1²), summed where an input was spread."""
    check_shape("G", G, joint_shape(*(v.shape for v in x)))
    share = G / x[1]
    return unbroadcast(share, x[0].shape), unbroadcast(-share * (x[0] / x[1]), x[1].shape)


def divide_tangent(x, dx):
    """Change of y along dx: dy = (dx_0 - (x_0 / x_1) dx_1) / x_1."""
    return (dx[0] - x[0] / x[1] * dx[1]) / x[1]


def divide_relevance(x, R, gate="all", signal=0, account=None):
    """Relevance through y = x_0 · (1 / x_1), as in `multiply_relevance`: what 1 / x_1 receives is x_1's.

    Raises
        ValueError  R has another shape than y; an unknown gate.
    """
    return multiply_relevance((x[0], 1 / x[1]), R, gate, signal, account)


def divide_multiplier(x, x0, M, product="symmetric"):
    """DeepLIFT multipliers of a quotient, with that of the reciprocal in closed form.

        (1/x - 1/x̄) / (x - x̄) = -1 / (x x̄)

    Laws
        Σ_k Σ M_k Δx_k = Σ M Δy with product="symmetric".
    """
    M_0, M_1 = multiply_multiplier((x[0], 1 / x[1]), (x0[0], 1 / x0[1]), M, product)
    return M_0, -M_1 / (x[1] * x0[1])


@dataclass(frozen=True)
class Multiply(Layer):
    """y = x_0 ⊙ x_1, a gate and a signal; `signal` says which input is the signal.

    Relevance goes by `gate`, to the signal alone by default; DeepLIFT by the symmetric product.
    """

    kind: ClassVar[str] = "product"
    arity: ClassVar[int | None] = 2

    signal: int = 0

    def __post_init__(self):
        if self.signal not in (0, 1):
            raise ValueError(f"signal is {self.signal!r}, expected 0 or 1")

    def forward(self, backend, *x):
        return backend.multiply_forward(x)

    def gradient(self, backend, x, y, G):
        return backend.multiply_gradient(x, G)

    def tangent(self, backend, x, y, dx):
        return backend.multiply_tangent(x, dx)

    def relevance(self, backend, x, y, R, rule, gate="all", account=None):
        return backend.multiply_relevance(x, R, gate, self.signal, account)

    def multiplier(self, backend, x, y, x0, y0, M, product="symmetric", max_pool="xmax"):
        return backend.multiply_multiplier(x, x0, M, product)


@dataclass(frozen=True)
class Divide(Multiply):
    """y = x_0 / x_1: a product with 1 / x_1. `signal` = 0 is the numerator."""

    def forward(self, backend, *x):
        return backend.divide_forward(x)

    def gradient(self, backend, x, y, G):
        return backend.divide_gradient(x, G)

    def tangent(self, backend, x, y, dx):
        return backend.divide_tangent(x, dx)

    def relevance(self, backend, x, y, R, rule, gate="all", account=None):
        return backend.divide_relevance(x, R, gate, self.signal, account)

    def multiplier(self, backend, x, y, x0, y0, M, product="symmetric", max_pool="xmax"):
        return backend.divide_multiplier(x, x0, M, product)


# ── concatenation and splitting ────────────────────────────────────────────────────────────────────────


def concat_forward(x, axis=1):
    """The inputs one after the other along an axis.

    Shapes
        x: a tuple of arrays (n, ...) alike but for that axis   →   (n, ...)
    Raises
        ValueError  the shapes do not fit; the axis is the batch, or does not exist.
    """
    axis = _sample_axis(x[0], axis)
    for k, v in enumerate(x[1:], start=1):
        check_shape(f"input {k}", v, (*x[0].shape[:axis], None, *x[0].shape[axis + 1 :]))
    return np.concatenate(x, axis=axis)


def concat_gradient(x, G, axis=1):
    """Gradient at each input: its piece of G.

    Shapes
        G in the shape of the output   →   a tuple with one array per input
    """
    axis = _sample_axis(x[0], axis)
    sizes = tuple(v.shape[axis] for v in x)
    check_shape("G", G, (*x[0].shape[:axis], sum(sizes), *x[0].shape[axis + 1 :]))
    return split_forward(G, sizes, axis)


def concat_tangent(x, dx, axis=1):
    """Change along dx: the changes one after the other."""
    return concat_forward(dx, axis)


def concat_relevance(x, R, axis=1):
    """Relevance of each input: its piece of R.

    Laws
        Σ r = Σ R exactly.
    """
    return concat_gradient(x, R, axis)


def split_forward(x, sizes, axis=1):
    """x cut into pieces of the given sizes along an axis.

    Shapes
        x (n, ...)   →   a tuple of arrays (n, ...), as many as sizes
    Raises
        ValueError  the sizes do not add up; the axis is the batch, or does not exist.
    """
    axis, pieces, start = _split_axis(x, sizes, axis), [], 0
    for size in sizes:
        pieces.append(x[(slice(None),) * axis + (slice(start, start + size),)])
        start += size
    return tuple(pieces)


def split_gradient(x, sizes, G, axis=1):
    """Gradient at x: the pieces of G one after the other.

    Shapes
        G: a tuple with one array per piece, zeros where nothing arrived   →   (n, ...)
    Raises
        ValueError  as `split_forward`; another number of arrays than sizes, or one of another shape.
    """
    axis = _split_axis(x, sizes, axis)
    if len(G) != len(sizes):
        raise ValueError(f"G has {len(G)} arrays, expected {len(sizes)}, one per piece")
    for k, (g, size) in enumerate(zip(G, sizes, strict=True)):
        check_shape(f"G[{k}]", g, (*x.shape[:axis], size, *x.shape[axis + 1 :]))
    return np.concatenate(tuple(G), axis=axis)


def split_tangent(x, sizes, dx, axis=1):
    """Change of the pieces along dx: the pieces of dx."""
    check_shape("dx", dx, x.shape)
    return split_forward(dx, sizes, axis)


def split_relevance(x, sizes, R, axis=1):
    """Relevance of x: the pieces of R one after the other.

    Laws
        Σ r = Σ R exactly.
    """
    return split_gradient(x, sizes, R, axis)


def _split_axis(x, sizes, axis):
    """The axis counted from 0, whose length the sizes add up to."""
    axis = _sample_axis(x, axis)
    if sum(sizes) != x.shape[axis]:
        raise ValueError(f"sizes {tuple(sizes)} add up to {sum(sizes)}, expected {x.shape[axis]}, axis {axis} of x")
    return axis


def _sample_axis(x, axis):
    """The axis counted from 0, which must not be the batch."""
    counted = axis + x.ndim if axis < 0 else axis
    if not 1 <= counted < x.ndim:
        raise ValueError(f"axis is {axis}, expected an axis after the batch of x with shape {tuple(x.shape)}")
    return counted


@dataclass(frozen=True)
class Concat(Layer):
    """The inputs one after the other along an axis. All signals are cut likewise."""

    kind: ClassVar[str] = "shape"
    arity: ClassVar[int | None] = None
    piecewise_linear: ClassVar[bool] = True

    axis: int = 1

    def forward(self, backend, *x):
        return backend.concat_forward(x, self.axis)

    def gradient(self, backend, x, y, G):
        return backend.concat_gradient(x, G, self.axis)

    def tangent(self, backend, x, y, dx):
        return backend.concat_tangent(x, dx, self.axis)

    def relevance(self, backend, x, y, R, rule, gate="all", account=None):
        return backend.concat_relevance(x, R, self.axis)

    def multiplier(self, backend, x, y, x0, y0, M, product="symmetric", max_pool="xmax"):
        return self.gradient(backend, x, y, M)


@dataclass(frozen=True)
class Split(Layer):
    """x cut into pieces of the given sizes along an axis: a node with several outputs."""

    kind: ClassVar[str] = "shape"
    piecewise_linear: ClassVar[bool] = True

    sizes: tuple[int, ...]
    axis: int = 1

    def __post_init__(self):
        if not self.sizes or any(size < 1 for size in self.sizes):
            raise ValueError(f"sizes is {self.sizes}, expected whole numbers >= 1")

    @property
    def outputs(self):
        return len(self.sizes)

    def forward(self, backend, x):
        return self._answer(backend.split_forward(x, self.sizes, self.axis))

    def gradient(self, backend, x, y, G):
        return (backend.split_gradient(x[0], self.sizes, self._pieces(G), self.axis),)

    def tangent(self, backend, x, y, dx):
        return self._answer(backend.split_tangent(x[0], self.sizes, dx[0], self.axis))

    def relevance(self, backend, x, y, R, rule, gate="all", account=None):
        return (backend.split_relevance(x[0], self.sizes, self._pieces(R), self.axis),)

    def multiplier(self, backend, x, y, x0, y0, M, product="symmetric", max_pool="xmax"):
        return self.gradient(backend, x, y, M)

    # A node with one output hands on an array, not a tuple of one.
    def _answer(self, pieces):
        return pieces if self.outputs > 1 else pieces[0]

    def _pieces(self, signal):
        return signal if self.outputs > 1 else (signal,)
