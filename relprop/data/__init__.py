"""Data that ships inside the package: 200 handwritten digits that none of the shipped models was trained on.

They are from E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning
Repository, CC BY 4.0, https://doi.org/10.24432/C50P49, in scikit-learn's copy; ATTRIBUTION.md beside this file.
"""

from functools import cache
from importlib.resources import files

import numpy as np

__all__ = ["digits", "source_indices"]


def digits(scale=True):
    """200 held-out digits, 20 of each class.

        image = pixel / 8 - 1          pixels are counts 0 … 16 of ink, so paper is -1 and full ink +1

    Parameters
        scale   False gives the counts 0 … 16.
    Shapes
        →   images (200, 1, 8, 8) float64, labels (200,) integers 0 … 9: fresh copies, yours to change.
    Note
        A zero image is an even grey, not paper.
    Example
        >>> images, labels = digits()
        >>> images.shape, float(images.min()), float(images.max())
        ((200, 1, 8, 8), -1.0, 1.0)
    """
    stored = _stored()
    images = stored["images"][:, None].astype(np.float64)
    return images / 8 - 1 if scale else images, stored["labels"].astype(np.int64)


def source_indices():
    """Where the 200 digits stand among the 1797 of `sklearn.datasets.load_digits`."""
    return _stored()["indices"].astype(np.int64)


@cache
def _stored():
    with (files(__name__) / "digits.npz").open("rb") as file, np.load(file) as stored:
        return {name: stored[name] for name in ("images", "labels", "indices")}
