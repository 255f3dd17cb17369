"""The conventions that every rule shares, said once.

Every function accepts whatever NumPy can add and multiply: float arrays, object arrays of
`fractions.Fraction` (exact arithmetic), and arrays of other libraries that speak NumPy's protocols.
That is why no float literal takes part in arithmetic, and why a zero comes from `zeros_like`.
"""

import math
from fractions import Fraction

import numpy as np

__all__ = [
    "pos",
    "neg",
    "sign",
    "zeros_like",
    "ones_like",
    "sum_samples",
    "stabilize",
    "stabilizer_excess",
    "safe_divide",
    "is_exact",
]


def is_exact(x):
    """True where x is an object array, that is, where arithmetic is exact and `==` is meant."""
    return x.dtype == object


def zeros_like(x, shape=None):
    """Zeros of x's kind and dtype. In exact arithmetic they are Fractions: 0 / 3 of two ints is a float."""
    zeros = np.zeros_like(x, shape=shape)
    if is_exact(zeros):
        zeros[...] = Fraction(0)
    return zeros


def ones_like(x, shape=None):
    """Ones of x's kind and dtype."""
    return zeros_like(x, shape) + 1


def pos(v):
    """v⁺ = max(v, 0)."""
    return np.maximum(v, number_like(v, 0))


def neg(v):
    """v⁻ = min(v, 0). It is signed: v = v⁺ + v⁻ and |v| = v⁺ - v⁻."""
    return np.minimum(v, number_like(v, 0))


def sign(z):
    """s(z) = +1 where z ≥ 0, else -1: both zeros count as positive, so that nothing is divided by 0 + 0."""
    return np.where(z >= 0, ones_like(z), -ones_like(z))


def number_like(x, number):
    """A parameter in x's arithmetic: a Fraction in exact arithmetic, else a float, which never widens x."""
    if not is_exact(x):
        return float(number)
    return Fraction(number) if math.isfinite(number) else float(number)


def sum_samples(v):
    """Sum over every axis but the first: one number per sample."""
    return v if v.ndim == 1 else np.sum(v, axis=tuple(range(1, v.ndim)))


def _epsilon(z, epsilon, stabilizer):
    """The ε that acts on z: itself, or ε · sqrt(mean z²) of each sample in mode "rms"."""
    if stabilizer == "rms":
        size = max(1, int(np.prod(z.shape[1:])))
        mean_square = sum_samples(z * z) / size
        return epsilon * np.reshape(np.sqrt(mean_square), (-1,) + (1,) * (z.ndim - 1))
    return epsilon


def stabilize(z, epsilon, stabilizer="add"):
    """σ_ε(z): z moved away from zero.

        add    z + ε s(z)            clip   s(z) max(|z|, ε)
        rms    add, with ε · sqrt(mean of z² over the sample) for ε

    s(±0) = +1, and never plain z + ε: that would bring z = -ε to zero. ε is in the unit of z, except
    under "rms", where it has none.
    """
    e = _epsilon(z, epsilon, stabilizer)
    if stabilizer == "clip":
        return np.where(np.abs(z) < e, sign(z) * e, z)
    return np.where(z >= 0, z + e, z - e)


def stabilizer_excess(z, epsilon, stabilizer="add"):
    """σ_ε(z) - z from its own formula: the numerator of what a stabiliser keeps of the relevance."""
    e = _epsilon(z, epsilon, stabilizer)
    if stabilizer == "clip":
        return np.where(np.abs(z) < e, sign(z) * e - z, zeros_like(z))
    return sign(z) * e


def safe_divide(numerator, denominator):
    """numerator / denominator, and 0 where the denominator is 0 (a unit that received nothing to share by)."""
    is_zero = denominator == 0
    quotient = numerator / np.where(is_zero, ones_like(denominator), denominator)
    return np.where(is_zero, zeros_like(quotient), quotient)


def on_host(array):
    """An array in NumPy, from whatever library; only what is counted with is brought over."""
    if isinstance(array, np.ndarray):
        return array
    if hasattr(array, "get"):  # CuPy
        return array.get()
    flat = np.reshape(array, (-1,))
    number = {"b": bool, "i": int, "u": int}.get(array.dtype.kind, float)
    found = np.array([number(flat[k]) for k in range(flat.shape[0])], dtype=array.dtype)
    return np.reshape(found, tuple(array.shape))
