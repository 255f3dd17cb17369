"""Normalisation by each sample's own statistics: layer, group, instance and local response normalisation.

All multiply by a scale that depends on the sample. Gradients go through it. Relevance does not: the scale is a gate,
whose signal takes everything, and with the scale held constant what remains is affine. DeepLIFT splits the product
of signal and scale symmetrically, and goes through the scale by difference quotients, so that it is complete.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from pyref.check import check_shape
from pyref.layers.affine import Term, affine_relevance
from pyref.layers.batchnorm import per_channel
from pyref.layers.layer import Layer
from pyref.layers.recurrent import product_multiplier
from pyref.numerics import safe_divide, zeros_like

__all__ = [
    "layer_norm_forward",
    "layer_norm_gradient",
    "layer_norm_tangent",
    "layer_norm_relevance",
    "layer_norm_multiplier",
    "group_norm_forward",
    "group_norm_gradient",
    "group_norm_tangent",
    "group_norm_relevance",
    "group_norm_multiplier",
    "local_response_norm_forward",
    "local_response_norm_gradient",
    "local_response_norm_tangent",
    "local_response_norm_relevance",
    "local_response_norm_multiplier",
    "LayerNorm",
    "GroupNorm",
    "InstanceNorm",
    "LocalResponseNorm",
]


# ── over groups of m values each ───────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, eq=False)
class _Grouped:
    """Normalisation of runs of m consecutive values: y = w s u + b, with weight and bias broadcast against x.

    u = x - mean x,     v = mean u²,     s = 1 / sqrt(v + eps)          statistics of each run
    """

    m: int
    weight: Any
    bias: Any
    eps: float

    def mean(self, v):
        """The mean of each run, in the shape of v."""
        runs = np.reshape(v, (-1, self.m))
        mean = np.sum(runs, axis=1, keepdims=True) / self.m
        return np.reshape(np.broadcast_to(mean, runs.shape), v.shape)

    def weigh(self, v):
        return v if self.weight is None else v * self.weight

    def parts(self, x):
        """(u, s), in the shape of x."""
        u = x - self.mean(x)
        return u, 1 / np.sqrt(self.mean(u * u) + self.eps)

    def forward(self, x):
        u, s = self.parts(x)
        y = self.weigh(u * s)
        return y if self.bias is None else y + self.bias

    def gradient(self, x, G):
        check_shape("G", G, x.shape)
        u, s = self.parts(x)
        return self._jacobian(u * s, s, self.weigh(G))

    def tangent(self, x, dx):
        check_shape("dx", dx, x.shape)
        u, s = self.parts(x)
        return self.weigh(self._jacobian(u * s, s, dx))

    def _jacobian(self, normal, s, v):
        """s (v - mean v - n mean(n v)), n = s u: the derivative of s u, a symmetric matrix."""
        return s * (v - self.mean(v) - normal * self.mean(normal * v))

    def relevance(self, x, R, rule, z, account):
        """With s a constant: y_o = Σ_i w_o s (δ_io - 1/m) x_i + b_o, an affine map, to which the rule applies."""
        check_shape("R", R, x.shape)
        _, s = self.parts(x)
        w = self.weigh(s)

        # The weights of a run are w_o s (1 - 1/m) for itself and -w_o s / m for the others: two numbers per
        # output in place of a matrix. A rule that changes each weight changes these two.
        def forward(x, w):
            own, other = w
            return own * x + other * (self.mean(x) * self.m - x)

        def transpose(u, w):
            own, other = w
            return own * u + self.mean(other * u) * self.m - other * u

        term = Term(x, (w * (self.m - 1) / self.m, -w / self.m), forward, transpose)
        bias = None if self.bias is None else zeros_like(x[:1]) + self.bias
        return affine_relevance((term,), bias, R, rule, z, account)[0]

    def multiplier(self, x, x0, M, product):
        """Through y = w u s:

        M_u  = M w (s + s̄)/2 + M_v (u + ū)/m        m_u = (s + s̄)/2, m_s = (u + ū)/2  (symmetric)
        M_v  = Σ M w m_s · (s - s̄)/(v - v̄)          (s - s̄)/(v - v̄) = -s² s̄² / (s + s̄)
        M_x  = M_u - mean M_u
        """
        check_shape("M", M, x.shape)
        (u, s), (u0, s0) = self.parts(x), self.parts(x0)
        m_s, m_u = product_multiplier(s, u, s0, u0, product)
        H = self.weigh(M)
        M_v = -self.mean(H * m_s) * self.m * (s * s) * (s0 * s0) / (s + s0)
        M_u = H * m_u + M_v * (u + u0) / self.m
        return M_u - self.mean(M_u)


# ── layer normalisation ────────────────────────────────────────────────────────────────────────────────


def layer_norm_forward(x, weight=None, bias=None, eps=1e-5, rank=1):
    """Layer normalisation over the last `rank` axes.

        u = x - mean x,   v = mean u²,   y = weight · u / sqrt(v + eps) + bias

    Source
        [ba2016] eq. (4).
    Shapes
        x (n, ...)   weight, bias: None, or the shape of the last `rank` axes   →   y (n, ...)
    Raises
        ValueError  a shape does not fit; rank leaves no batch.
    """
    return _layer(x, weight, bias, eps, rank).forward(x)


def layer_norm_gradient(x, weight, bias, G, eps=1e-5, rank=1):
    """Gradient at x, with H = weight · G, s = 1 / sqrt(v + eps), n = s u.

        G_x = s (H - mean H - n mean(n H))

    Shapes
        G (n, ...)   →   (n, ...)
    """
    return _layer(x, weight, bias, eps, rank).gradient(x, G)


def layer_norm_tangent(x, weight, bias, dx, eps=1e-5, rank=1):
    """Change of y along dx: dy = weight · s (dx - mean dx - n mean(n dx)).

    Shapes
        dx (n, ...)   →   dy (n, ...)
    """
    return _layer(x, weight, bias, eps, rank).tangent(x, dx)


def layer_norm_relevance(x, weight, bias, R, rule, eps=1e-5, rank=1, z=None, account=None):
    """Relevance of x, the scale s = 1 / sqrt(v + eps) being a gate: a constant of the sample.

        y_o = Σ_i weight_o s (δ_io - 1/m) x_i + bias_o         an affine map over the m normalised values

    and the rule acts on that map.

    Source
        a composition; gates as in [arras2017]: the signal takes all.
    Shapes
        R (n, ...), z the known output or None   →   r (n, ...)
    Laws
        Σ r = Σ R minus what `account` says stays behind.
    Raises
        ValueError  a shape does not fit.
    """
    return _layer(x, weight, bias, eps, rank).relevance(x, R, rule, z, account)


def layer_norm_multiplier(x, x0, weight, bias, M, eps=1e-5, rank=1, product="symmetric"):
    """DeepLIFT multiplier of x: the product u s split symmetrically, s by its difference quotient in v.

        m_u = (s + s̄)/2,   m_s = (u + ū)/2,   (s - s̄)/(v - v̄) = -s² s̄² / (s + s̄),   v - v̄ = mean((u + ū) Δu)

    Laws
        Σ M_x Δx = Σ M Δy with product="symmetric".
    """
    return _layer(x, weight, bias, eps, rank).multiplier(x, x0, M, product)


def _layer(x, weight, bias, eps, rank):
    if not 1 <= rank < x.ndim:
        raise ValueError(f"rank is {rank}, expected 1 to {x.ndim - 1} for x with shape {tuple(x.shape)}")
    for name, v in (("weight", weight), ("bias", bias)):
        if v is not None:
            check_shape(name, v, x.shape[-rank:])
    m = 1
    for length in x.shape[-rank:]:
        m *= length
    return _Grouped(m, weight, bias, eps)


# ── group normalisation ────────────────────────────────────────────────────────────────────────────────


def group_norm_forward(x, weight=None, bias=None, groups=1, eps=1e-5):
    """Group normalisation: over all positions of each of `groups` equal runs of channels.

        u = x - mean x,   v = mean u²,   y = weight_c u / sqrt(v + eps) + bias_c

    With as many groups as channels it is instance normalisation.

    Source
        [wu2018] eq. (1), (2), (6).
    Shapes
        x (n, c, ...)   weight, bias (c,) or None   →   y (n, c, ...)
    Raises
        ValueError  a shape does not fit; groups does not divide the channels.
    """
    return _group(x, weight, bias, groups, eps).forward(x)


def group_norm_gradient(x, weight, bias, G, groups=1, eps=1e-5):
    """Gradient at x, as in `layer_norm_gradient`, over the values of a group."""
    return _group(x, weight, bias, groups, eps).gradient(x, G)


def group_norm_tangent(x, weight, bias, dx, groups=1, eps=1e-5):
    """Change of y along dx, as in `layer_norm_tangent`, over the values of a group."""
    return _group(x, weight, bias, groups, eps).tangent(x, dx)


def group_norm_relevance(x, weight, bias, R, rule, groups=1, eps=1e-5, z=None, account=None):
    """Relevance of x with the scale as a gate, as in `layer_norm_relevance`, over the values of a group."""
    return _group(x, weight, bias, groups, eps).relevance(x, R, rule, z, account)


def group_norm_multiplier(x, x0, weight, bias, M, groups=1, eps=1e-5, product="symmetric"):
    """DeepLIFT multiplier of x, as in `layer_norm_multiplier`, over the values of a group."""
    return _group(x, weight, bias, groups, eps).multiplier(x, x0, M, product)


def _group(x, weight, bias, groups, eps):
    channels = x.shape[1]
    if groups < 1 or channels % groups:
        raise ValueError(f"groups is {groups}, expected a divisor of the {channels} channels of x")
    for name, v in (("weight", weight), ("bias", bias)):
        if v is not None:
            check_shape(name, v, (channels,))
    m = channels // groups
    for length in x.shape[2:]:
        m *= length
    weight, bias = (None if v is None else per_channel(v, x) for v in (weight, bias))
    return _Grouped(m, weight, bias, eps)


# ── local response normalisation ───────────────────────────────────────────────────────────────────────


def local_response_norm_forward(x, size, alpha=1e-4, beta=0.75, k=1.0):
    """Local response normalisation across channels.

        y_c = x_c g_c,   g_c = D_c^-β,   D_c = k + (α / size) Σ_{c'} x_c'²       c - ⌊size/2⌋ ≤ c' < c + ⌈size/2⌉

    Channels that do not exist count as zero. For an even size the window leans to lower channels.

    Source
        [krizhevsky2012] sec. 3.3. Departure: α is divided by size, as PyTorch and ONNX do.
    Shapes
        x (n, c, ...)   →   y (n, c, ...)
    """
    return x * _denominator(x, size, alpha, k) ** -beta


def local_response_norm_gradient(x, G, size, alpha=1e-4, beta=0.75, k=1.0):
    """Gradient at x: G_x,j = g_j G_j - (2 α β / size) x_j Σ_{c sees j} G_c x_c D_c^-(β+1).

    Shapes
        G (n, c, ...)   →   (n, c, ...)
    """
    check_shape("G", G, x.shape)
    D = _denominator(x, size, alpha, k)
    seen = _window_sum(G * x * D ** -(beta + 1), (size - 1) // 2, size // 2)
    return D**-beta * G - (2 * alpha * beta / size) * x * seen


def local_response_norm_tangent(x, dx, size, alpha=1e-4, beta=0.75, k=1.0):
    """Change of y along dx: dy_c = g_c dx_c - (2 α β / size) x_c D_c^-(β+1) Σ_{c'} x_c' dx_c'.

    Shapes
        dx (n, c, ...)   →   dy (n, c, ...)
    """
    check_shape("dx", dx, x.shape)
    D = _denominator(x, size, alpha, k)
    sees = _window_sum(x * dx, size // 2, (size - 1) // 2)
    return D**-beta * dx - (2 * alpha * beta / size) * x * D ** -(beta + 1) * sees


def local_response_norm_relevance(x, R):
    """Relevance of x: R. The scale g is a gate, and x, the signal, takes all.

    Source
        [arras2017], for gates.
    """
    check_shape("R", R, x.shape)
    return R


def local_response_norm_multiplier(x, x0, M, size, alpha=1e-4, beta=0.75, k=1.0, product="symmetric"):
    """DeepLIFT multiplier of x: the product x g split symmetrically, g by its difference quotient in D.

        m_x = (g + ḡ)/2,   m_g = (x + x̄)/2,   Δg/ΔD = D̄^-β expm1(-β log1p(ΔD/D̄)) / ΔD,   ΔD = (α/size) Σ (x + x̄) Δx

    Laws
        Σ M_x Δx = Σ M Δy with product="symmetric".
    """
    check_shape("M", M, x.shape)
    D, D0 = _denominator(x, size, alpha, k), _denominator(x0, size, alpha, k)
    m_g, m_x = product_multiplier(D**-beta, x, D0**-beta, x0, product)
    change = D - D0
    quotient = np.where(
        change == 0, -beta * D0 ** -(beta + 1), safe_divide(D0**-beta * np.expm1(-beta * np.log1p(change / D0)), change)
    )
    M_square = _window_sum(M * m_g * quotient, (size - 1) // 2, size // 2) * (alpha / size)
    return M * m_x + M_square * (x + x0)


def _check_size(size):
    if size < 1:
        raise ValueError(f"size is {size}, expected a whole number >= 1")


def _denominator(x, size, alpha, k):
    _check_size(size)
    return k + (alpha / size) * _window_sum(x * x, size // 2, (size - 1) // 2)


def _window_sum(v, before, after):
    """Σ of v over the channels c - before … c + after. Its adjoint has before and after exchanged."""
    total = zeros_like(v)
    channels = v.shape[1]
    for offset in range(-min(before, channels - 1), min(after, channels - 1) + 1):
        first, last = max(0, -offset), min(channels, channels - offset)
        total[:, first:last] = total[:, first:last] + v[:, first + offset : last + offset]
    return total


# ── as layers ──────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, eq=False)
class LayerNorm(Layer):
    """Layer normalisation over the last axes, as many as weight has, or `rank` where there is no weight."""

    kind: ClassVar[str] = "norm"

    weight: Any = None
    bias: Any = None
    eps: float = 1e-5
    rank: int = 1

    def __post_init__(self):
        if self.weight is not None:
            object.__setattr__(self, "rank", self.weight.ndim)
            if self.bias is not None:
                check_shape("bias", self.bias, self.weight.shape)

    def forward(self, backend, x):
        return backend.layer_norm_forward(x, self.weight, self.bias, self.eps, self.rank)

    def gradient(self, backend, x, y, G):
        return (backend.layer_norm_gradient(x[0], self.weight, self.bias, G, self.eps, self.rank),)

    def tangent(self, backend, x, y, dx):
        return backend.layer_norm_tangent(x[0], self.weight, self.bias, dx[0], self.eps, self.rank)

    def relevance(self, backend, x, y, R, rule, gate="all", account=None):
        options = (self.eps, self.rank, y, account)
        return (backend.layer_norm_relevance(x[0], self.weight, self.bias, R, rule, *options),)

    def multiplier(self, backend, x, y, x0, y0, M, product="symmetric", max_pool="xmax"):
        options = (self.eps, self.rank, product)
        return (backend.layer_norm_multiplier(x[0], x0[0], self.weight, self.bias, M, *options),)


class _GroupNorm(Layer):
    """Normalisation per group of channels; a subclass says how many groups."""

    kind: ClassVar[str] = "norm"
    weight: Any
    bias: Any
    eps: float

    def _groups(self, x):
        raise NotImplementedError

    def _check(self):
        if self.weight is not None:
            check_shape("weight", self.weight, (None,))
            if self.bias is not None:
                check_shape("bias", self.bias, self.weight.shape)

    def forward(self, backend, x):
        return backend.group_norm_forward(x, self.weight, self.bias, self._groups(x), self.eps)

    def gradient(self, backend, x, y, G):
        return (backend.group_norm_gradient(x[0], self.weight, self.bias, G, self._groups(x[0]), self.eps),)

    def tangent(self, backend, x, y, dx):
        return backend.group_norm_tangent(x[0], self.weight, self.bias, dx[0], self._groups(x[0]), self.eps)

    def relevance(self, backend, x, y, R, rule, gate="all", account=None):
        options = (self._groups(x[0]), self.eps, y, account)
        return (backend.group_norm_relevance(x[0], self.weight, self.bias, R, rule, *options),)

    def multiplier(self, backend, x, y, x0, y0, M, product="symmetric", max_pool="xmax"):
        options = (self._groups(x[0]), self.eps, product)
        return (backend.group_norm_multiplier(x[0], x0[0], self.weight, self.bias, M, *options),)


@dataclass(frozen=True, eq=False)
class GroupNorm(_GroupNorm):
    """Normalisation over `groups` equal runs of channels (axis 1), with weight and bias (c,) or None."""

    groups: int
    weight: Any = None
    bias: Any = None
    eps: float = 1e-5

    def __post_init__(self):
        self._check()

    def _groups(self, x):
        return self.groups


@dataclass(frozen=True, eq=False)
class InstanceNorm(_GroupNorm):
    """Normalisation of each channel by itself, over its positions, with weight and bias (c,) or None.

    Source
        [ulyanov2016] eq. (3).
    """

    weight: Any = None
    bias: Any = None
    eps: float = 1e-5

    def __post_init__(self):
        self._check()

    def _groups(self, x):
        return x.shape[1]


@dataclass(frozen=True)
class LocalResponseNorm(Layer):
    """y_c = x_c / (k + (alpha / size) Σ x_c'²)^beta over `size` neighbouring channels."""

    kind: ClassVar[str] = "norm"

    size: int
    alpha: float = 1e-4
    beta: float = 0.75
    k: float = 1.0

    def __post_init__(self):
        _check_size(self.size)

    def _options(self):
        return self.size, self.alpha, self.beta, self.k

    def forward(self, backend, x):
        return backend.local_response_norm_forward(x, *self._options())

    def gradient(self, backend, x, y, G):
        return (backend.local_response_norm_gradient(x[0], G, *self._options()),)

    def tangent(self, backend, x, y, dx):
        return backend.local_response_norm_tangent(x[0], dx[0], *self._options())

    def relevance(self, backend, x, y, R, rule, gate="all", account=None):
        return (backend.local_response_norm_relevance(x[0], R),)

    def multiplier(self, backend, x, y, x0, y0, M, product="symmetric", max_pool="xmax"):
        return (backend.local_response_norm_multiplier(x[0], x0[0], M, *self._options(), product),)
