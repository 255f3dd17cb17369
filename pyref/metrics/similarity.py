"""How alike two attributions look: what the randomisation tests compare."""

import numpy as np

from pyref.check import check_choice
from pyref.metrics.correlation import pearson
from pyref.metrics.cosine_convergence import alignment
from pyref.metrics.maps import flat_values, saliency_maps
from pyref.metrics.ranking import rank_correlation
from pyref.metrics.ssim import percentile_normalize, ssim
from pyref.numerics import ones_like, zeros_like

__all__ = ["SIMILARITIES", "similarity"]

SIMILARITIES = ("ssim", "rank", "rank_absolute", "pearson", "cosine")


def similarity(a, b, measure="ssim", *, channels="sum", flip=True, window=5):
    """How alike two attributions of the same inputs are, per sample, and where that is 0/0.

        ssim           `ssim` of the maps after `percentile_normalize`
        rank           Spearman's correlation of all values;     rank_absolute   of their sizes
        pearson        Pearson's correlation of all values;      cosine          ⟨a, b⟩ / (‖a‖ ‖b‖)

    Source
        [sixt2020] sec. 3; [adebayo2018b] sec. 4.
    Parameters
        channels  how an image becomes a map for "ssim": `pyref.saliency_maps`
        flip      the larger of the values for b and for -b: a map whose sign turned over shows the same
        window    of `ssim`
    Returns
        (similarity (n,), booleans (n,)): a correlation is 0/0 where a side is constant, see `pyref.pearson`; a cosine
        where one is zero, and then it is 1 if both are and 0 if not
    Raises
        ValueError  "ssim" of attributions that are no images; an unknown measure.
    """
    check_choice("measure", measure, SIMILARITIES)
    if measure == "ssim":
        first, second = saliency_maps(a, channels), saliency_maps(b, channels)
        return _ssim(first, second, flip, window), np.zeros(len(first), dtype=bool)
    first, second = flat_values(a), flat_values(b)
    if measure == "rank_absolute":
        first, second = np.abs(first), np.abs(second)
    if measure == "cosine":
        return _cosine(first, second, flip)
    found, degenerate = (pearson if measure == "pearson" else rank_correlation)(first, second)
    return (np.abs(found) if flip and measure != "rank_absolute" else found), degenerate


def _cosine(a, b, flip):
    size, _ = alignment(np.stack([a, b]))
    dead = size[0] != size[0]
    both = ~np.any(a != 0, axis=1) & ~np.any(b != 0, axis=1)
    signed = np.where((np.sum(a * b, axis=1) < 0) & (not flip), -size[0], size[0])
    return np.where(dead, np.where(both, ones_like(a[:, 0]), zeros_like(a[:, 0])), signed), dead


def _ssim(a, b, flip, window):
    normal = percentile_normalize(a)
    found = ssim(normal, percentile_normalize(b), window)
    return np.maximum(found, ssim(normal, percentile_normalize(-b), window)) if flip else found
