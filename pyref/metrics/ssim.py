"""Structural similarity of two maps."""

from fractions import Fraction

import numpy as np

from pyref.metrics.ranking import quantile
from pyref.numerics import number_like, zeros_like

__all__ = ["ssim", "percentile_normalize"]


def ssim(a, b, window=5):
    """The mean over all windows of the similarity of means, contrasts and structure, for maps with values in [0, 1].

        SSIM = (2 μ_a μ_b + C₁)(2 σ_ab + C₂) / ((μ_a² + μ_b² + C₁)(σ_a² + σ_b² + C₂)),   C₁ = (1/100)²,  C₂ = (3/100)²

    Means, variances and the covariance are those of a square window, each value with the same weight, variances with
    the unbiased w² - 1; windows lie inside of the maps.

    Source
        [wang2004] eq. (13), with square windows; constants and conventions as in scikit-image with data_range=1.
    Shapes
        a, b (n, h, w)   →   (n,)
    Laws
        1 where a = b, and only there; symmetric; at most 1.
    Raises
        ValueError  maps of different shapes, or smaller than the window; an even window.
    """
    if a.shape != b.shape or a.ndim != 3:
        raise ValueError(f"maps have shapes {a.shape} and {b.shape}, expected the same (n, h, w)")
    if int(window) != window or window < 3 or window % 2 == 0:
        raise ValueError(f"window is {window}, expected an odd number, at least 3")
    if min(a.shape[1:]) < window:
        raise ValueError(f"a window of {window} does not fit into maps of {a.shape[1]} × {a.shape[2]}")
    c1, c2 = (number_like(a, Fraction(k, 100)) ** 2 for k in (1, 3))
    count = window * window

    def mean(v):
        return np.sum(np.lib.stride_tricks.sliding_window_view(v, (window, window), axis=(1, 2)), axis=(3, 4)) / count

    ma, mb = mean(a), mean(b)
    vaa, vbb, vab = (count * (mean(u * v) - mu * mv) / (count - 1) for u, v, mu, mv in _pairs(a, b, ma, mb))
    similar = (2 * ma * mb + c1) * (2 * vab + c2) / ((ma * ma + mb * mb + c1) * (vaa + vbb + c2))
    return np.sum(similar, axis=(1, 2)) / (similar.shape[1] * similar.shape[2])


def _pairs(a, b, ma, mb):
    return (a, a, ma, ma), (b, b, mb, mb), (a, b, ma, mb)


def percentile_normalize(maps, low=Fraction(1, 200), high=Fraction(199, 200)):
    """Maps stretched so that their `low` quantile becomes 0 and their `high` one 1; what lies outside is clipped.

        (v - q_low) / (q_high - q_low), within [0, 1];      0 everywhere where both quantiles are the same

    Source
        [sixt2020], code: percentiles 0.5 and 99.5.
    Shapes
        (n, h, w) → (n, h, w), each map by itself
    """
    flat = np.reshape(maps, (maps.shape[0], -1))
    q_low, q_high = (np.reshape(quantile(flat, q), (-1, 1, 1)) for q in (low, high))
    span = q_high - q_low
    stretched = (maps - q_low) / np.where(span == 0, 1, span)
    zero = zeros_like(stretched)
    return np.where(span == 0, zero, np.minimum(np.maximum(stretched, zero), zero + 1))
