"""How far rounding alone may move a result: the one place where tolerances come from."""

import numpy as np


def unit(dtype):
    """u, the unit roundoff of a float dtype; 0 for exact arithmetic."""
    return 0.0 if np.dtype(dtype) == object else float(np.finfo(dtype).eps) / 2


def rounding(n, magnitude, dtype=np.float64):
    """n · u · magnitude: n rounded operations on terms whose absolute values sum to `magnitude`."""
    return n * unit(dtype) * magnitude
