"""Errors at the door: one line per argument, the same words on every backend."""

import difflib

import numpy as np

__all__ = ["check_shape", "check_float", "check_finite", "nearest", "check_choice"]


def check_shape(name, array, expected):
    """Raise ValueError unless array.shape fits `expected`, in which None stands for any length."""
    if not _fits(array.shape, expected):
        shown = tuple("any" if e is None else e for e in expected)
        text = "(" + ", ".join(map(str, shown)) + ("," if len(shown) == 1 else "") + ")"
        raise ValueError(f"{name} has shape {tuple(array.shape)}, expected {text}")


def _fits(shape, expected):
    if len(shape) != len(expected):
        return False
    for s, e in zip(shape, expected, strict=True):
        if e is not None and e != s:
            return False
    return True


def check_float(name, array, cast="{}.astype('{}')"):
    """Raise TypeError unless array is float32, float64, or an object array (exact arithmetic).

    cast  how the caller's library converts, for the message: a format of the array's name and a dtype
    """
    dtype = getattr(array, "dtype", None)
    if dtype is None:
        raise TypeError(f"{name} is a {type(array).__name__}, expected an array")
    if dtype == np.float16:
        raise TypeError(f"{name} has dtype float16, too narrow to divide by; use {cast.format(name, 'float32')}")
    if dtype not in (np.float32, np.float64, object):
        raise TypeError(f"{name} has dtype {dtype}, expected float32 or float64; use {cast.format(name, 'float64')}")


def check_finite(name, array):
    """Raise ValueError where array holds NaN or infinity, with their number and the first index.

    Methods ask it of their backend, which may wait with the answer.
    """
    if array.dtype == object or array.dtype.kind in "iub":
        return
    finite = np.isfinite(array)
    if not finite.all():
        bad = ~finite
        count = int(bad.sum())
        flat = int(np.argmax(np.reshape(bad, (-1,))))
        index = tuple(int(i) for i in np.unravel_index(flat, array.shape))
        raise ValueError(
            f"{name} holds {count} non-finite value{'s' if count > 1 else ''}, the first at index {index}; "
            "pass allow_nonfinite=True to let them through"
        )


def nearest(word, words):
    """' Did you mean …?' with the closest of words, or the whole list."""
    close = difflib.get_close_matches(str(word), list(words), n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else "known: " + ", ".join(sorted(words))


def check_choice(name, value, choices):
    """Raise ValueError unless value is one of choices."""
    if value not in choices:
        raise ValueError(f"{name} is {value!r}, expected one of {', '.join(map(repr, choices))}")
