"""Pearson's correlation, with its 0/0 said aloud."""

import math
from fractions import Fraction

import numpy as np

from pyref.numerics import is_exact, ones_like, zeros_like

__all__ = ["pearson", "square_root"]


def pearson(a, b, size_a=None, size_b=None):
    """Correlation along the last axis, and where it is 0/0.

        ρ = Σ (a - ā)(b - b̄) / sqrt(Σ (a - ā)² · Σ (b - b̄)²)

    Where a side does not vary, ρ is 0/0. It is then 1 if a and b are equal everywhere and 0 if not, and the second
    array says that it was so. A side counts as constant where its spread is within the rounding of what it was
    computed from: spread ≤ 16 u · size, with the unit roundoff u of its dtype, and exactly 0 in exact arithmetic; equal
    means that they differ by no more than the two together.

    Parameters
        size_a, size_b  the size of the numbers that each side is a sum or difference of, by default its largest |value|
    Returns
        (ρ, is 0/0), each in the shape of a without its last axis; in exact arithmetic a Fraction where the root is one
    """
    noise_a, noise_b = (_noise(v, size) for v, size in ((a, size_a), (b, size_b)))
    constant = (_spread(a) <= noise_a) | (_spread(b) <= noise_b)
    equal = np.max(np.abs(a - b), axis=-1) <= noise_a + noise_b
    da, db = _centred(a), _centred(b)
    cross, square = np.sum(da * db, axis=-1), np.sum(da * da, axis=-1) * np.sum(db * db, axis=-1)
    degenerate = constant | (square == 0)
    one, zero = ones_like(cross), zeros_like(cross)
    size = square_root(np.asarray(cross * cross / np.where(degenerate, one, square), dtype=cross.dtype))
    rho = np.where(cross < 0, -size, size)
    return np.where(degenerate, np.where(equal, one, zero), np.maximum(np.minimum(rho, one), -one)), degenerate


def _centred(v):
    """v minus its mean, scaled to at most 1 in floats, so that squares neither overflow nor underflow."""
    centred = v - np.sum(v, axis=-1, keepdims=True) / v.shape[-1]
    if is_exact(v):
        return centred
    size = np.max(np.abs(centred), axis=-1, keepdims=True)
    return centred / np.where(size == 0, 1, size)


def _spread(v):
    return np.max(v, axis=-1) - np.min(v, axis=-1)


def _noise(v, size):
    if is_exact(v):
        return zeros_like(v, v.shape[:-1])
    size = np.max(np.abs(v), axis=-1) if size is None else size
    return 8 * float(np.finfo(v.dtype).eps) * size


def square_root(v):
    """√v. In exact arithmetic a Fraction where the root is rational, and a float elsewhere."""
    if not is_exact(v):
        return np.sqrt(v)
    roots = zeros_like(v)
    for index in np.ndindex(v.shape):
        q = Fraction(v[index])
        top, bottom = math.isqrt(q.numerator), math.isqrt(q.denominator)
        exact = top * top == q.numerator and bottom * bottom == q.denominator
        roots[index] = Fraction(top, bottom) if exact else math.sqrt(q)
    return roots if v.shape else roots[()]
