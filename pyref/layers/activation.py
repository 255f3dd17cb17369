"""Elementwise activations a = f(z): value, derivative, and the factors that the methods put in its place.

    derivative  f′(z)                                      gradients
    ratio       g(z) = f(z) / σ_ε(z)                       the ε-LRP factor of the modified chain rule
    quotient    q(z, z0) = (f(z) - f(z0)) / (z - z0)       DeepLIFT Rescale

The quotients are closed forms that hold for every gap, z = z0 included: no threshold, no cancellation.
At a kink f′ is the slope on the side where the unit is switched off or cut: ReLU′(0) = 0, ReLU6′(6) = 0.
"""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from pyref.check import check_choice, check_shape
from pyref.layers.layer import Layer
from pyref.numerics import neg, number_like, ones_like, pos, safe_divide, stabilize, zeros_like

__all__ = [
    "activation_forward",
    "activation_gradient",
    "activation_tangent",
    "activation_relevance",
    "activation_ratio",
    "activation_quotient",
    "activation_multiplier",
    "ReLU",
    "LeakyReLU",
    "PReLU",
    "Clip",
    "ReLU6",
    "HardSigmoid",
    "Identity",
    "ELU",
    "SELU",
    "SiLU",
    "GELU",
    "Tanh",
    "Sigmoid",
    "Softplus",
    "ACTIVATIONS",
]


# ── on arrays ──────────────────────────────────────────────────────────────────────────────────────────


def activation_forward(z, activation):
    """a = f(z), elementwise.

    Shapes
        z (n, ...)   →   a (n, ...)
    """
    return activation.value(z)


def activation_gradient(z, activation, G):
    """Gradient at z: f′(z) · G.

    Shapes
        z, G (n, ...)   →   (n, ...)
    Raises
        ValueError  G has another shape than z.
    """
    check_shape("G", G, z.shape)
    return activation.derivative(z) * G


def activation_tangent(z, activation, dz):
    """Change of f(z) along dz: f′(z) · dz.

    Shapes
        z, dz (n, ...)   →   (n, ...)
    Raises
        ValueError  dz has another shape than z.
    """
    check_shape("dz", dz, z.shape)
    return activation.derivative(z) * dz


def activation_relevance(z, activation, R):
    """Relevance passes an elementwise activation unchanged: r = R. It is the identity, not a mask.

    Source
        [bach2015] sec. 2.4: relevance belongs to a unit, not to its pre- or post-activation. Where the next
        node hands out relevance in proportion to a, an inactive unit (a = 0) already has R = 0.
    Shapes
        z, R (n, ...)   →   r (n, ...)
    Raises
        ValueError  R has another shape than z.
    """
    check_shape("R", R, z.shape)
    return R


def activation_ratio(z, activation, epsilon=0):
    """The factor by which ε-LRP replaces f′ in the chain rule.

        g(z) = f(z) / σ_ε(z)           with ε = 0: g(0) = f′(0) where f(0) = 0

    Source
        [ancona2017] eq. (5), prop. 1. Departure: the value at 0 of ReLU, which has no two-sided limit, is 0.
    Shapes
        z (n, ...)   →   g (n, ...)
    Raises
        ValueError  ε = 0, f(0) ≠ 0 and a z that is 0: a pole.
    """
    return activation.ratio(z, epsilon)


def activation_quotient(z, z0, activation):
    """The factor by which DeepLIFT Rescale replaces f′ in the chain rule.

        q(z, z0) = (f(z) - f(z0)) / (z - z0)           q(z, z) = f′(z)

    Source
        [shrikumar2017] eq. (7) and sec. 3.5.1; [ancona2017] prop. 2.
    Shapes
        z, z0 (n, ...)   →   q (n, ...)
    Numerics
        A few units in the last place at every gap.
    """
    return activation.quotient(z, z0)


def activation_multiplier(z, z0, activation, M):
    """DeepLIFT Rescale of an activation: M_z = M · q(z, z0), with the factor of `activation_quotient`.

    Source
        [shrikumar2017] eq. (7).
    Shapes
        z, M (n, ...); z0 in the shape of z, or of one sample   →   (n, ...)
    Laws
        M_z · (z - z0) = M · (f(z) - f(z0)).
    Raises
        ValueError  M has another shape than z.
    """
    q = activation.quotient(z, z0)
    check_shape("M", M, q.shape)
    return M * q


# ── shared by the activations ──────────────────────────────────────────────────────────────────────────


def _sigmoid(z):
    """σ(z) = 1 / (1 + exp(-z)), without overflow and with full relative accuracy in both tails."""
    e = np.exp(-np.abs(z))
    return np.where(z >= 0, ones_like(e), e) / (1 + e)


def _phi(d):
    """ϕ(d) = (1 - exp(-d)) / d for d ≥ 0, ϕ(0) = 1: the mean of exp(-t) over 0 ≤ t ≤ d."""
    return np.where(d == 0, ones_like(d), safe_divide(-np.expm1(-d), d))


def _ordered(z, z0):
    """(hi, lo, d): the larger, the smaller, and their distance d = hi - lo ≥ 0."""
    hi, lo = np.maximum(z, z0), np.minimum(z, z0)
    return hi, lo, hi - lo


def _bounded(z):
    """z within ±64, beyond which Gaussian tails have long vanished: no overflow in powers of z."""
    return np.minimum(np.maximum(z, -64), 64)


def _bell(z):
    """exp(-z² / 2). exp would magnify the rounding of the square, so it is split into an exact part and a rest."""
    u = np.minimum(np.abs(z), 64)
    head = np.floor(16 * u) / 16
    return np.exp(-head * head / 2) * np.exp(-(u - head) * (u + head) / 2)


_STEP = 5 / 8
_GAUSSIAN = tuple((n * _STEP, math.exp(-((n * _STEP) ** 2) / 2)) for n in range(1, 16))


def _normal_cdf(z):
    """Φ(z), the normal distribution function, from NumPy's functions alone.

        |z| < 3/4   ½ + z exp(-z²/2)/√(2π) · (1 + z²/3 + z⁴/(3·5) + z⁶/(3·5·7) + …)
        else        1 - Q(z), and Q(-z) below zero:
                    Q(z) = z exp(-z²/2)/π · ∫₀^∞ exp(-s²/2) / (s² + z²) ds
                         = z exp(-z²/2)/π · h (1/(2 z²) + Σ_n exp(-n² h²/2) / (n² h² + z²)) - 1 / (exp(2π z/h) - 1)

    Source
        [abramowitz1964] 26.2.11 for the series; 7.4.11 for the integral, by the trapezoidal rule with step h. The pole
        s = iz adds the last term, where z < 2π/h; what is left is of the order exp(-2π²/h²), 1e-22 for h = 5/8.
        [hunter1972]
    Numerics
        Every sum is of positive terms; a few units in the last place, in both tails.
    """
    bell, u = _bell(z), np.maximum(np.minimum(np.abs(z), 64), 3 / 4)
    near = np.minimum(np.maximum(z, -3 / 4), 3 / 4)
    square = near * near
    series = ones_like(z)
    for odd in range(25, 1, -2):
        series = 1 + square / odd * series
    middle = 1 / 2 + near * bell * series / math.sqrt(2 * math.pi)
    total = 1 / (2 * u * u)
    for s, weight in _GAUSSIAN:
        total = total + weight / (s * s + u * u)
    pole = np.exp(-2 * math.pi / _STEP * u)
    pole = np.where(u < 2 * math.pi / _STEP, pole / (1 - pole), zeros_like(u))
    tail = u * bell * total * (_STEP / math.pi) - pole
    return np.where(np.abs(z) < 3 / 4, middle, np.where(z > 0, 1 - tail, tail))


class Activation(Layer):
    """An elementwise function: a layer and its mathematics in one.

        value(z)   derivative(z)   ratio(z, epsilon=0)   quotient(z, z0)

    Relevance passes unchanged; the multiplier is the quotient.
    """

    kind: ClassVar[str] = "activation"
    cheap: ClassVar[bool] = True
    name: ClassVar[str]

    @property
    def zero_at_zero(self) -> bool:
        """True where f(0) = 0: then f(z)/z has a limit at 0."""
        return True

    def value(self, z):
        """f(z)."""
        raise NotImplementedError

    def derivative(self, z):
        """f′(z), at a kink the slope of the switched-off side."""
        raise NotImplementedError

    def quotient(self, z, z0):
        """(f(z) - f(z0)) / (z - z0), and f′(z) where z = z0."""
        raise NotImplementedError

    def ratio(self, z, epsilon=0):
        """f(z) / σ_ε(z), and f′(0) at 0 / 0."""
        denominator = stabilize(z, number_like(z, epsilon))
        pole = denominator == 0
        if not self.zero_at_zero and np.any(pole):
            raise ValueError(
                f"f(z)/z of {type(self).__name__} has a pole at z = 0, which {int(np.sum(pole))} values are; "
                "use epsilon > 0"
            )
        return np.where(pole, self.derivative(z), safe_divide(self.value(z), denominator))

    def forward(self, backend, x):
        return backend.activation_forward(x, self)

    def gradient(self, backend, x, y, G):
        return (backend.activation_gradient(x[0], self, G),)

    def tangent(self, backend, x, y, dx):
        return backend.activation_tangent(x[0], self, dx[0])

    def relevance(self, backend, x, y, R, rule, gate="all", account=None):
        return (backend.activation_relevance(x[0], self, R),)

    def multiplier(self, backend, x, y, x0, y0, M, product="symmetric", max_pool="xmax"):
        return (backend.activation_multiplier(x[0], x0[0], self, M),)


class PiecewiseLinear(Activation):
    """An activation that is linear between its kinks k_1 < … < k_m, with slopes s_0 … s_m.

    q(z, z0) = Σ_j s_j · (length of [lo, hi] in piece j) / (hi - lo)       lo, hi = min, max of z and z0
    """

    piecewise_linear: ClassVar[bool] = True

    def pieces(self, z):
        """((k_1 … k_m), (s_0 … s_m)) in z's arithmetic; a slope may be an array that broadcasts against z."""
        raise NotImplementedError

    def quotient(self, z, z0):
        hi, lo, d = _ordered(z, z0)
        kinks, slopes = self.pieces(z)
        q = zeros_like(z)
        for j, slope in enumerate(slopes):
            start = lo if j == 0 else np.maximum(lo, kinks[j - 1])
            end = hi if j == len(kinks) else np.minimum(hi, kinks[j])
            q = q + slope * safe_divide(pos(end - start), d)
        return np.where(d == 0, self.derivative(z), q)

    def ray(self, backend, x, y, dx):
        """The one-sided slope times dz, which at a kink is decided by the sign of dz; and the next kink."""
        z, dz = x[0], dx[0]
        kinks, slopes = self.pieces(z)
        slope = zeros_like(z) + slopes[0]
        never = zeros_like(z) + math.inf
        t = never
        for kink, right in zip(kinks, slopes[1:], strict=True):
            beyond = (z > kink) | ((z == kink) & (dz > 0))
            slope = np.where(beyond, right, slope)
            distance = kink - z
            meets = ((distance > 0) & (dz > 0)) | ((distance < 0) & (dz < 0))
            time = safe_divide(np.where(meets, distance, zeros_like(z)), dz)
            t = np.minimum(t, np.where(meets, time, never))
        if not kinks or z.size == 0:
            return slope * dz, None
        return slope * dz, np.min(np.reshape(t, (t.shape[0], -1)), axis=1)


# ── piecewise linear ───────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class ReLU(PiecewiseLinear):
    """f(z) = max(z, 0); f′(0) = 0."""

    name: ClassVar[str] = "relu"

    def value(self, z):
        return pos(z)

    def derivative(self, z):
        return np.where(z > 0, ones_like(z), zeros_like(z))

    def pieces(self, z):
        return (number_like(z, 0),), (number_like(z, 0), number_like(z, 1))


@dataclass(frozen=True)
class LeakyReLU(PiecewiseLinear):
    """f(z) = z where z > 0, else slope · z; f′(0) = slope."""

    name: ClassVar[str] = "leaky_relu"

    slope: Any = 0.01

    def value(self, z):
        return np.where(z > 0, z, number_like(z, self.slope) * z)

    def derivative(self, z):
        return np.where(z > 0, ones_like(z), zeros_like(z) + number_like(z, self.slope))

    def pieces(self, z):
        return (number_like(z, 0),), (number_like(z, self.slope), number_like(z, 1))


@dataclass(frozen=True, eq=False)
class PReLU(PiecewiseLinear):
    """f(z) = z where z > 0, else slope_c · z, with one slope per channel (axis 1), or one for all.

    Source
        [he2015] eq. (1).
    Shapes
        slope (c,) or (1,)   z (n, c, ...)
    """

    name: ClassVar[str] = "prelu"

    slope: Any

    def __post_init__(self):
        check_shape("slope", self.slope, (None,))

    def _slope(self, z):
        if self.slope.shape != (1,):
            check_shape("slope", self.slope, z.shape[1:2])
        return np.reshape(self.slope, ((1, -1) + (1,) * (z.ndim - 2))[-z.ndim :])

    def value(self, z):
        return np.where(z > 0, z, self._slope(z) * z)

    def derivative(self, z):
        return np.where(z > 0, ones_like(z), zeros_like(z) + self._slope(z))

    def pieces(self, z):
        return (number_like(z, 0),), (self._slope(z), number_like(z, 1))


@dataclass(frozen=True)
class Clip(PiecewiseLinear):
    """f(z) = min(max(z, low), high); f′ = 0 at both kinks. A bound may be infinite."""

    name: ClassVar[str] = "clip"

    low: float
    high: float

    def __post_init__(self):
        if not self.low <= self.high:
            raise ValueError(f"low is {self.low} and high is {self.high}, expected low <= high")

    @property
    def zero_at_zero(self):
        return self.low <= 0 <= self.high

    def value(self, z):
        return np.minimum(np.maximum(z, number_like(z, self.low)), number_like(z, self.high))

    def derivative(self, z):
        return np.where((z > self.low) & (z < self.high), ones_like(z), zeros_like(z))

    def pieces(self, z):
        return (number_like(z, self.low), number_like(z, self.high)), (
            number_like(z, 0),
            number_like(z, 1),
            number_like(z, 0),
        )


@dataclass(frozen=True)
class ReLU6(Clip):
    """f(z) = min(max(z, 0), 6)."""

    name: ClassVar[str] = "relu6"

    low: ClassVar[float] = 0  # type: ignore[misc]
    high: ClassVar[float] = 6  # type: ignore[misc]


@dataclass(frozen=True)
class HardSigmoid(PiecewiseLinear):
    """f(z) = min(max(slope · z + offset, 0), 1), slope > 0; f′ = 0 at both kinks.

    The default slope 1/6 is PyTorch's; ONNX's default and Keras before version 3 have 1/5.
    """

    name: ClassVar[str] = "hard_sigmoid"

    slope: float = 1 / 6
    offset: float = 0.5

    def __post_init__(self):
        if not self.slope > 0:
            raise ValueError(f"slope is {self.slope}, expected a number > 0")

    @property
    def zero_at_zero(self):
        return self.offset <= 0

    def value(self, z):
        return np.minimum(pos(number_like(z, self.slope) * z + number_like(z, self.offset)), number_like(z, 1))

    def derivative(self, z):
        (first, last), _ = self.pieces(z)
        return np.where((z > first) & (z < last), zeros_like(z) + number_like(z, self.slope), zeros_like(z))

    def pieces(self, z):
        slope, offset = number_like(z, self.slope), number_like(z, self.offset)
        return (-offset / slope, (1 - offset) / slope), (number_like(z, 0), slope, number_like(z, 0))


@dataclass(frozen=True)
class Identity(PiecewiseLinear):
    """f(z) = z."""

    linear: ClassVar[bool] = True
    name: ClassVar[str] = "identity"

    def value(self, z):
        return z

    def derivative(self, z):
        return ones_like(z)

    def pieces(self, z):
        return (), (number_like(z, 1),)


# ── smooth ─────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class ELU(Activation):
    """f(z) = z where z > 0, else alpha · (exp(z) - 1); f′(0) = alpha.

        q = 1                            both ≥ 0
            alpha exp(hi) ϕ(hi - lo)     both ≤ 0
            (hi - f(lo)) / (hi - lo)     else: a sum of two positive terms

    Source
        [clevert2016] eq. (15).
    """

    name: ClassVar[str] = "elu"

    alpha: float = 1.0

    def value(self, z):
        return np.where(z > 0, z, self.alpha * np.expm1(neg(z)))

    def derivative(self, z):
        return np.where(z > 0, ones_like(z), self.alpha * np.exp(neg(z)))

    def quotient(self, z, z0):
        hi, lo, d = _ordered(z, z0)
        below = self.alpha * np.exp(neg(hi)) * _phi(d)
        across = safe_divide(hi - self.alpha * np.expm1(neg(lo)), d)
        return np.where(hi <= 0, below, np.where(lo >= 0, ones_like(d), across))


_SELU_SCALE = 1.0507009873554804934193349852946
_SELU_ALPHA = 1.6732632423543772848170429916717


@dataclass(frozen=True)
class SELU(Activation):
    """f(z) = 1.0507… · ELU(z) with alpha = 1.6732…

    Source
        [klambauer2017] eq. (2), constants of its eq. (14).
    """

    name: ClassVar[str] = "selu"

    def value(self, z):
        return _SELU_SCALE * ELU(_SELU_ALPHA).value(z)

    def derivative(self, z):
        return _SELU_SCALE * ELU(_SELU_ALPHA).derivative(z)

    def quotient(self, z, z0):
        return _SELU_SCALE * ELU(_SELU_ALPHA).quotient(z, z0)


@dataclass(frozen=True)
class Tanh(Activation):
    """f(z) = tanh(z) = 2 σ(2z) - 1.

    f′ = 4 σ(2z) σ(-2z)          q = 4 σ(2 hi) σ(-2 lo) ϕ(2 (hi - lo))
    """

    name: ClassVar[str] = "tanh"

    def value(self, z):
        return np.tanh(z)

    def derivative(self, z):
        return 4 * _sigmoid(2 * z) * _sigmoid(-2 * z)

    def quotient(self, z, z0):
        hi, lo, d = _ordered(z, z0)
        return 4 * _sigmoid(2 * hi) * _sigmoid(-2 * lo) * _phi(2 * d)


@dataclass(frozen=True)
class Sigmoid(Activation):
    """f(z) = σ(z) = 1 / (1 + exp(-z)). f(0) = 1/2, so f(z)/z has a pole at 0.

    f′ = σ(z) σ(-z)              q = σ(hi) σ(-lo) ϕ(hi - lo)
    """

    name: ClassVar[str] = "sigmoid"

    @property
    def zero_at_zero(self):
        return False

    def value(self, z):
        return _sigmoid(z)

    def derivative(self, z):
        return _sigmoid(z) * _sigmoid(-z)

    def quotient(self, z, z0):
        hi, lo, d = _ordered(z, z0)
        return _sigmoid(hi) * _sigmoid(-lo) * _phi(d)


@dataclass(frozen=True)
class Softplus(Activation):
    """f(z) = log(1 + exp(beta z)) / beta. f(0) = log(2) / beta, so f(z)/z has a pole at 0.

    With u = beta z, f = (u⁺ + l(u)) / beta and l(u) = log1p(exp(-|u|)):

        q = log1p(σ(lo) expm1(d)) / d                d = hi - lo < 20 (in u)
            ((hi⁺ - lo⁺) + (l(hi) - l(lo))) / d      else
    """

    name: ClassVar[str] = "softplus"

    beta: float = 1.0

    def __post_init__(self):
        if not self.beta > 0:
            raise ValueError(f"beta is {self.beta}, expected a number > 0")

    @property
    def zero_at_zero(self):
        return False

    def value(self, z):
        u = self.beta * z
        return (pos(u) + np.log1p(np.exp(-np.abs(u)))) / self.beta

    def derivative(self, z):
        return _sigmoid(self.beta * z)

    def quotient(self, z, z0):
        hi, lo, d = _ordered(self.beta * z, self.beta * z0)
        near = safe_divide(np.log1p(_sigmoid(lo) * np.expm1(np.minimum(d, 20))), d)
        rest = np.log1p(np.exp(-np.abs(hi))) - np.log1p(np.exp(-np.abs(lo)))
        far = safe_divide((pos(hi) - pos(lo)) + rest, d)
        return np.where(d == 0, _sigmoid(hi), np.where(d < 20, near, far))


def _gated_quotient(hi, lo, d, v_hi, v_lo, rise, value):
    """Quotient of f(z) = z σ(v(z)), where v rises by rise · d over the gap d.

        q = σ(v_hi) · (1 + lo · σ(-v_lo) · ϕ(rise d) · rise)

    It cancels only far below zero over a wide gap; there f(hi) - f(lo) does not.
    """
    near = _sigmoid(v_hi) * (1 + lo * _sigmoid(-v_lo) * _phi(rise * d) * rise)
    return np.where((lo >= 0) | (d < 1), near, safe_divide(value(hi) - value(lo), d))


@dataclass(frozen=True)
class SiLU(Activation):
    """f(z) = z σ(z), also called swish. f(z)/z = σ(z).

        f′ = σ(z) (1 + z σ(-z))      q = σ(hi) (1 + lo σ(-lo) ϕ(hi - lo))

    Source
        [hendrycks2016] sec. 2.
    """

    name: ClassVar[str] = "silu"

    def value(self, z):
        return z * _sigmoid(z)

    def derivative(self, z):
        return _sigmoid(z) * (1 + z * _sigmoid(-z))

    def quotient(self, z, z0):
        hi, lo, d = _ordered(z, z0)
        return _gated_quotient(hi, lo, d, hi, lo, ones_like(d), self.value)


_GELU_CUBIC = 0.044715
_GELU_SCALE = 2 * math.sqrt(2 / math.pi)
_NODES, _NODE_WEIGHTS = (tuple(map(float, v)) for v in np.polynomial.legendre.leggauss(8))


@dataclass(frozen=True)
class GELU(Activation):
    """f(z) = z Φ(z), with Φ the normal distribution function; f(z)/z = Φ(z).

        approximate="none"   Φ(z) itself
        approximate="tanh"   Φ(z) ≈ σ(v),  v = 2 √(2/π) (z + 0.044715 z³)

    The quotient of the tanh form is closed, like SiLU's. That of the exact form is the mean of f′ over
    [lo, hi], by Gauss and Legendre's eight nodes where (hi - lo) · max(1, |z|) < 1/2, which leaves less than
    rounding does; beyond that it is the difference, taken as (hi⁺ - lo⁺) - (t(hi) - t(lo)) with
    t(z) = |z| Φ(-|z|), which does not cancel.

    Source
        [hendrycks2016] eq. (1) and the approximation below it.
    Raises
        ValueError  another word for `approximate`.
    """

    name: ClassVar[str] = "gelu"

    approximate: str = "none"

    def __post_init__(self):
        check_choice("approximate", self.approximate, ("none", "tanh"))

    def value(self, z):
        return z * self._gate(z)

    def derivative(self, z):
        if self.approximate == "tanh":
            v, u = self._argument(z), _bounded(z)
            return _sigmoid(v) * (1 + u * _sigmoid(-v) * _GELU_SCALE * (1 + 3 * _GELU_CUBIC * u * u))
        return self._gate(z) + z * _bell(z) / math.sqrt(2 * math.pi)

    def ratio(self, z, epsilon=0):
        return self._gate(z) if epsilon == 0 else super().ratio(z, epsilon)

    def quotient(self, z, z0):
        hi, lo, d = _ordered(z, z0)
        if self.approximate == "tanh":
            u, v = _bounded(hi), _bounded(lo)
            rise = _GELU_SCALE * (1 + _GELU_CUBIC * (u * u + u * v + v * v))
            return _gated_quotient(hi, lo, d, self._argument(hi), self._argument(lo), rise, self.value)
        mean = zeros_like(d)
        for node, weight in zip(_NODES, _NODE_WEIGHTS, strict=True):
            mean = mean + weight / 2 * self.derivative(lo + (1 + node) / 2 * d)
        tails = np.abs(hi) * self._gate(-np.abs(hi)) - np.abs(lo) * self._gate(-np.abs(lo))
        far = safe_divide((pos(hi) - pos(lo)) - tails, d)
        size = np.maximum(ones_like(d), np.maximum(np.abs(hi), np.abs(lo)))
        return np.where(2 * d < 1 / size, mean, far)

    def _argument(self, z):
        u = _bounded(z)
        return _GELU_SCALE * (u + _GELU_CUBIC * u * u * u)

    def _gate(self, z):
        if self.approximate == "tanh":
            return _sigmoid(self._argument(z))
        return _normal_cdf(z)


ACTIVATIONS = {
    activation.name: activation
    for activation in (
        ReLU,
        LeakyReLU,
        PReLU,
        Clip,
        ReLU6,
        HardSigmoid,
        Identity,
        ELU,
        SELU,
        SiLU,
        GELU,
        Tanh,
        Sigmoid,
        Softplus,
    )
}
