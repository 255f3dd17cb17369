"""Order: which feature comes first, and what happens where several have the same value."""

import math

import numpy as np

from pyref.check import check_choice
from pyref.methods.noise import generator
from pyref.metrics.correlation import pearson
from pyref.numerics import number_like, zeros_like

__all__ = ["removal_order", "random_order", "tie_fraction", "ranks", "rank_correlation", "quantile"]


def removal_order(R, order="descending", rank="value"):
    """The features of each sample in the order of removal, (n, N) → (n, N) integers.

    Features of equal value keep the order of their indices, in both directions: so "ascending" is the reverse of
    "descending" only where no two are equal.

    Parameters
        order  "descending", the most relevant first, or "ascending"
        rank   by "value", or by "absolute" value
    """
    check_choice("order", order, ("descending", "ascending"))
    check_choice("rank", rank, ("value", "absolute"))
    by = np.abs(R) if rank == "absolute" else R
    return np.argsort(by if order == "ascending" else -by, axis=-1, kind="stable")


def random_order(N, seed, index, k):
    """The k-th random order of N features for the sample of that index: uniform over all N! orders."""
    return generator(seed, 0, index, k).permutation(N)


def tie_fraction(R):
    """The fraction of each sample's features that share their value with another one, (n, N) → (n,).

    There a ranking, and everything that follows it, is an accident of the features' indices.
    """
    ordered = np.sort(R, axis=-1)
    same = ordered[:, 1:] == ordered[:, :-1]
    edge = np.zeros((len(R), 1), dtype=bool)
    return np.mean(np.concatenate([edge, same], axis=1) | np.concatenate([same, edge], axis=1), axis=1)


def ranks(v):
    """Ranks from 1 along the last axis; equal values share the mean of their ranks, so that halves appear."""
    ordered = np.sort(v, axis=-1)
    flat, sorted_rows = np.reshape(v, (-1, v.shape[-1])), np.reshape(ordered, (-1, v.shape[-1]))
    below = [np.searchsorted(s, row, side="left") for row, s in zip(flat, sorted_rows, strict=True)]
    upto = [np.searchsorted(s, row, side="right") for row, s in zip(flat, sorted_rows, strict=True)]
    doubled = np.reshape(np.array(below) + np.array(upto) + 1, v.shape)
    return (zeros_like(v) + doubled) / 2


def rank_correlation(a, b):
    """Spearman's ρ along the last axis: `pearson` of the ranks, where equal values share the mean of their ranks.

    Returns
        (ρ, whether it is 0/0 because one side is constant), as `pearson` does
    """
    return pearson(ranks(a), ranks(b))


def quantile(v, q):
    """The q-quantile along the last axis, interpolated linearly between the sorted values v₀ ≤ … ≤ v_(m-1).

    place = q (m - 1),   k = ⌊place⌋:   v_k + (place - k)(v_(k+1) - v_k)
    """
    ordered = np.sort(v, axis=-1)
    place = q * (v.shape[-1] - 1)
    k = min(math.floor(place), v.shape[-1] - 1)
    low, high = ordered[..., k], ordered[..., min(k + 1, v.shape[-1] - 1)]
    return low + number_like(v, place - k) * (high - low)
