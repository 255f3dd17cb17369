"""Localisation: how much of an attribution lies on the object."""

import numpy as np

from pyref.metrics.maps import box_mask, saliency_maps
from pyref.metrics.measurement import Scores, labelled

__all__ = ["localization"]


def localization(network, x, attributions, *, boxes, channels="absolute"):
    """The share of an attribution that lies inside the boxes of the object.

        Σ_{places in a box} P / Σ_{places} P,        P = Σ_c |R| by default

    Source
        [sundararajan2016] sec. 2.7, localization.
    Parameters
        network, x    not used: the measure is of the map alone; None will do
        attributions  images (n, c, h, w) or (n, h, w), an `Attribution`, or {label: either}
        boxes         `pyref.box_mask`
        channels      what P is: `pyref.saliency_maps`; with "sum" its absolute value
    Returns
        `Scores`; notes hold the share of the area, which a uniform map scores. NaN where a map is zero everywhere,
        which notes["no attribution"] marks.
    Laws
        The share of the area for a constant map; 1 for a map inside the boxes. Unchanged when R is scaled.
    Raises
        ValueError  boxes that do not fit.
    """
    values, empty, area = {}, {}, {}
    for label, given in labelled(attributions, lambda given: False).items():
        P = np.abs(saliency_maps(given, channels))
        inside = box_mask(boxes, P.shape)
        total = np.sum(P, axis=(1, 2))
        zero = total == 0
        share = np.sum(np.where(inside, P, 0 * P), axis=(1, 2)) / np.where(zero, 1 + 0 * total, total)
        name = label or "attribution"
        values[name] = np.where(zero, np.nan, share)
        empty[name], area[name] = zero, np.mean(inside, axis=(1, 2))
    return Scores(
        "localization",
        values,
        unit="share inside",
        notes={"area": area, "no attribution": empty},
        settings={"channels": channels},
    )
