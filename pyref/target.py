"""Which number is explained: the target as weights v on the output, S_c = ⟨v, S⟩."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pyref.check import check_shape
from pyref.numerics import sum_samples, zeros_like

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
    v = zeros_like(S)
    if len(classes) == 0 or all(k == 1 for k in classes):
        if target not in (None, 0):
            raise ValueError(f"target is {target}, but the output is a single number: expected None or 0")
        return v + 1
    if isinstance(target, tuple):
        if len(target) != len(classes) or not all(-k <= t < k for t, k in zip(target, classes, strict=False)):
            raise ValueError(f"target is {target}, expected an index into an output of shape {classes} per sample")
        v[(slice(None), *target)] = 1 + v[(slice(None), *target)]
        return v
    if len(classes) != 1:
        raise ValueError(f"the output has shape {classes} per sample: target must be a tuple, or a callable")
    if target is None:
        target = np.argmax(S, axis=1)
    chosen = [target] * n if np.ndim(target) == 0 else list(target)
    if len(chosen) != n:
        raise ValueError(f"target names {len(chosen)} classes for {n} samples")
    for sample, c in enumerate(chosen):
        if int(c) != c or not 0 <= c < classes[0]:
            raise ValueError(f"target is {c}, expected a class from 0 to {classes[0] - 1}")
        v[sample, int(c)] = v[sample, int(c)] + 1
    return v


def target_value(v, S):
    """S_c = ⟨v, S⟩, one number per sample."""
    return sum_samples(v * S)
