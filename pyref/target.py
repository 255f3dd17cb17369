"""Which number is explained: the target as weights v on the output, S_c = ⟨v, S⟩."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pyref.check import check_shape
from pyref.numerics import ones_like, sum_samples, zeros_like

__all__ = ["target_weights", "target_value"]

Target = None | int | Sequence[int] | tuple | Callable[[Any], Any]


def target_weights(target, S):
    """Weights v in the shape of the output S, so that the explained number is ⟨v, S⟩ per sample.

        None       the arg-max class of each sample, or the only output
        c          class c; or one class per sample: a list or an integer array of length n
        (c, i, …)  one entry of a structured output, such as a class at a pixel
        callable   v = target(S), held constant: any direction of the output

    Raises
        ValueError  a class out of range, or of the wrong number of samples, or a callable's wrong shape.
    """
    n, classes = S.shape[0], S.shape[1:]
    if callable(target):
        v = target(S)
        check_shape("target(output)", v, S.shape)
        return v
    if len(classes) == 0 or all(k == 1 for k in classes):
        if target not in (None, 0):
            raise ValueError(f"target is {target}, but the output is a single number: expected None or 0")
        return ones_like(S)
    if isinstance(target, tuple):
        if len(target) != len(classes) or not all(-k <= t < k for t, k in zip(target, classes, strict=False)):
            raise ValueError(f"target is {target}, expected an index into an output of shape {classes} per sample")
        v = zeros_like(S)
        v[(slice(None), *target)] = 1 + v[(slice(None), *target)]
        return v
    if len(classes) != 1:
        raise ValueError(f"the output has shape {classes} per sample: target must be a tuple, or a callable")
    numbered = np.arange(classes[0], like=S)
    if target is None:
        chosen = np.argmax(S, axis=1)[:, None]
    elif np.ndim(target) == 0:
        chosen = _class(target, classes[0])
    else:
        named = [_class(c, classes[0]) for c in target]
        if len(named) != n:
            raise ValueError(f"target names {len(named)} classes for {n} samples")
        chosen = np.asarray(named, like=numbered)[:, None]
    return np.where(numbered == chosen, ones_like(S), zeros_like(S))


def _class(c, classes):
    if int(c) != c or not 0 <= c < classes:
        raise ValueError(f"target is {c}, expected a class from 0 to {classes - 1}")
    return int(c)


def target_value(v, S):
    """S_c = ⟨v, S⟩, one number per sample."""
    return sum_samples(v * S)
