"""Attributions as maps: one number for each place of an image."""

from collections.abc import Mapping

import numpy as np

from pyref.check import check_choice, check_finite
from pyref.metrics.removal import on_host

__all__ = ["saliency_maps", "box_mask"]


def flat_values(attribution):
    """All values of an attribution, (n, …) with several leaves side by side."""
    attribution = getattr(attribution, "result", attribution)
    values = attribution if isinstance(attribution, Mapping) else getattr(attribution, "values", attribution)
    parts = [on_host(v) for v in (values.values() if isinstance(values, Mapping) else [values])]
    return np.concatenate([np.reshape(v, (v.shape[0], -1)) for v in parts], axis=1)


def saliency_maps(attribution, channels="sum"):
    """One map (n, h, w) of an attribution (n, c, h, w) or (n, h, w).

        sum     Σ_c R       absolute  Σ_c |R|       largest  max_c |R|       positive  (Σ_c R)⁺

    Raises
        TypeError   no array; several leaves.
        ValueError  a shape that is no image; NaN or infinity; an unknown way with channels.
    """
    check_choice("channels", channels, ("sum", "absolute", "largest", "positive"))
    attribution = getattr(attribution, "result", attribution)
    values = getattr(attribution, "values", attribution)
    if not hasattr(values, "dtype"):
        raise TypeError(f"attributions are a {type(values).__name__}, expected an array or an Attribution of one image")
    values = on_host(values)
    check_finite("attributions", values)
    if values.ndim == 3:
        values = values[:, None]
    if values.ndim != 4:
        raise ValueError(f"attributions have shape {values.shape}, expected images (n, c, h, w) or (n, h, w)")
    if channels == "absolute":
        return np.sum(np.abs(values), axis=1)
    if channels == "largest":
        return np.max(np.abs(values), axis=1)
    total = np.sum(values, axis=1)
    return np.maximum(total, 0 * total) if channels == "positive" else total


def box_mask(boxes, shape):
    """(n, h, w) booleans, True inside.

    Parameters
        boxes  a boolean array (n, h, w); an integer array (n, 4); or a list with the boxes of each sample, a box
               being (top, left, bottom, right) with bottom and right outside of it. Several boxes are united.
        shape  (n, h, w) of the maps
    Raises
        ValueError  boxes for another number of samples, outside of the image, or empty.
    """
    n, h, w = shape
    if isinstance(boxes, np.ndarray) and boxes.dtype.kind == "b":
        if boxes.shape != tuple(shape):
            raise ValueError(f"boxes have shape {boxes.shape}, expected {tuple(shape)}")
        inside = np.array(boxes)
    else:
        if len(boxes) != n:
            raise ValueError(f"there are boxes for {len(boxes)} samples, expected {n}")
        inside = np.zeros(shape, dtype=bool)
        for sample, given in enumerate(boxes):
            for top, left, bottom, right in np.reshape(np.asarray(given, dtype=int), (-1, 4)):
                if not (0 <= top < bottom <= h and 0 <= left < right <= w):
                    raise ValueError(
                        f"box {(int(top), int(left), int(bottom), int(right))} of sample {sample} does not lie in an "
                        f"image of {h} × {w}: expected (top, left, bottom, right) with bottom and right outside of it"
                    )
                inside[sample, top:bottom, left:right] = True
    empty = [int(k) for k in np.flatnonzero(~inside.any(axis=(1, 2)))]
    if empty:
        raise ValueError(f"the samples {empty} have no box")
    return inside
