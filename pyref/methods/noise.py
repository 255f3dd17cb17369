"""Gaussian noise that belongs to a sample, not to the batch it travels in."""

import math
from fractions import Fraction

import numpy as np

from pyref.numerics import is_exact, number_like

__all__ = ["generator", "normal", "noisy", "check_indices", "check_noise"]


def generator(seed, stream, index, k=0):
    """A generator of its own for the k-th draw of one sample, whatever batch the sample is in.

    Counter-based: Philox keyed by (seed, stream), its counter starting at (k, index of the sample). [salmon2011]
    """
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= seed < 2**63:
        raise ValueError(f"seed is {seed!r}, expected a whole number >= 0")
    return np.random.Generator(np.random.Philox(key=[int(seed), stream], counter=[0, 0, k, index]))


def normal(random, like, shape=None):
    """N(0, 1) in like's kind and dtype, and its shape unless another is given; Fractions in exact arithmetic."""
    shape = like.shape if shape is None else shape
    xi = random.standard_normal(shape)
    if is_exact(like):
        xi = np.reshape(np.array([Fraction(v) for v in np.ravel(xi)] + [None], dtype=object)[:-1], shape)
    return np.asarray(xi.astype(like.dtype), like=like)


def check_indices(n, indices=None):
    """The index of each of n samples, from `indices` or in order.

    Raises
        ValueError  indices of another length than the batch, or negative.
    """
    indices = list(range(n) if indices is None else map(int, indices))
    if len(indices) != n or any(i < 0 for i in indices):
        raise ValueError(f"indices is {indices}, expected one number >= 0 for each of {n} samples")
    return indices


def check_noise(run, samples, level, indices):
    """The index of each sample of the batch, from `indices` or in order.

    Raises
        ValueError  samples < 1; level < 0 or not finite; indices of another length than the batch, or negative.
    """
    if int(samples) != samples or samples < 1:
        raise ValueError(f"samples is {samples}, expected a whole number, at least 1")
    if not (level >= 0 and math.isfinite(level)):
        raise ValueError(f"level is {level}, expected a number >= 0")
    return check_indices(run.output.shape[0], indices)


def noisy(run, k, level, seed, indices):
    """{leaf: x + σ ξ_k}: the k-th noisy copy of every sample, σ = level · (max x - min x) of the sample's leaf.

    ξ ~ N(0, 1) is drawn by the counter-based generator Philox from (seed, leaf, index of the sample, k): the same
    sample gets the same noise whatever batch it is in. [salmon2011]
    """
    values = {}
    for leaf, (name, x) in enumerate(run.leaf_values.items()):
        copies = []
        for row, index in enumerate(indices):
            one = x[row]
            sigma = number_like(one, level) * (np.max(one) - np.min(one))
            copies.append(one + sigma * normal(generator(seed, leaf, index, k), one))
        values[name] = np.stack(copies)
    return values
