"""The pointing game: whether the greatest attribution is on the object."""

import numpy as np

from pyref.metrics.maps import box_mask, saliency_maps
from pyref.metrics.measurement import Scores, labelled

__all__ = ["pointing_game"]


def pointing_game(network, x, attributions, *, boxes, channels="sum", tolerance=0):
    """Whether the place of the greatest attribution lies in a box, or at most so far from one.

        hit = 1 where min over places q in a box of ‖argmax P - q‖ ≤ tolerance, else 0

    Source
        [zhang2016] sec. 4.1, with a tolerance of 15 pixels. Where several places share the maximum the value is the
        share of them that hit: what picking one of them at random would score.
    Parameters
        network, x    not used; None will do
        attributions  images (n, c, h, w) or (n, h, w), an `Attribution`, or {label: either}
        boxes         `pyref.box_mask`
        channels      `pyref.saliency_maps`
        tolerance     in pixels
    Returns
        `Scores`; notes hold the share of the area and the number of places that share the maximum
    Laws
        The share of the area for a constant map. Unchanged under any increasing function of P.
    Raises
        ValueError  boxes that do not fit; tolerance < 0.
    """
    if not tolerance >= 0:
        raise ValueError(f"tolerance is {tolerance}, expected a number of pixels >= 0")
    values, area, winners = {}, {}, {}
    for label, given in labelled(attributions, lambda given: False).items():
        P = saliency_maps(given, channels)
        inside = box_mask(boxes, P.shape)
        best = P == np.max(P, axis=(1, 2), keepdims=True)
        hits = [_hits(best[k], inside[k], tolerance) for k in range(len(P))]
        name = label or "attribution"
        values[name] = np.array([np.mean(h) for h in hits])
        area[name], winners[name] = np.mean(inside, axis=(1, 2)), np.array([len(h) for h in hits])
    return Scores(
        "pointing_game",
        values,
        unit="hits",
        notes={"area": area, "places at the maximum": winners},
        settings={"channels": channels, "tolerance": tolerance},
    )


def _hits(best, inside, tolerance):
    """For each place at the maximum whether it hits."""
    if tolerance == 0:
        return inside[best]
    object_places = np.argwhere(inside)
    away = [np.min(np.sum((object_places - place) ** 2, axis=1)) for place in np.argwhere(best)]
    return np.array(away) <= tolerance * tolerance
