"""Kernels against the textbook: what is drawn, and how results are compared. WORST keeps the worst error/bound."""

from collections import defaultdict

import numpy as np
from bound import relevance_bound, wide
from hypothesis import strategies as st

import pyref

DTYPES = (np.float32, np.float64)
LENGTHS = (0, 1, 2, 3, 5, 7, 8, 13, 17, 33)  # empty, one, primes, one past a tile

WORST: dict[str, float] = defaultdict(float)


# ---- what is drawn ----


def values(kind, shape, dtype, rng):
    """An array of a kind that its name states."""
    if kind == "normal":
        v = rng.normal(size=shape)
    elif kind == "after_relu":
        v = np.maximum(rng.normal(size=shape), 0)
    elif kind == "zeros_and_ties":  # quarters, both zeros
        v = rng.integers(-4, 5, size=shape) / 4
        v = np.where((v == 0) & (rng.random(shape) < 0.5), -0.0, v)
    elif kind == "far_apart":
        v = rng.normal(size=shape) * 10.0 ** rng.uniform(-4, 4, size=shape)
    else:
        assert kind == "positive"
        v = rng.uniform(0, 1, size=shape)
    return v.astype(dtype)


KINDS = ("normal", "after_relu", "zeros_and_ties", "far_apart", "positive")


def c_order(a):
    return np.ascontiguousarray(a)


def fortran_order(a):
    return np.asfortranarray(a)


def every_other(a):
    """The same values with a gap after each: no axis is contiguous."""
    wider = np.zeros(tuple(2 * s for s in a.shape), a.dtype)
    view = wider[tuple(slice(None, None, 2) for _ in a.shape)]
    view[...] = a
    return view


def backwards(a):
    """The same values in memory from the last to the first."""
    return np.ascontiguousarray(a[(slice(None, None, -1),) * a.ndim])[(slice(None, None, -1),) * a.ndim]


def read_only(a):
    a = np.copy(a)
    a.flags.writeable = False
    return a


def first_repeated(a):
    """The first sample as often as there are samples, in the memory of one."""
    return np.broadcast_to(a[:1], a.shape)


layouts = st.sampled_from([c_order, fortran_order, every_other, backwards, read_only])
generators = st.integers(0, 2**32 - 1).map(np.random.default_rng)
kinds = st.sampled_from(KINDS)
lengths = st.sampled_from(LENGTHS)


# ---- how results are compared ----


def assert_within(got, want, bound, dtype, label):
    """Of the dtype and shape of the reference, and off by at most the bound, element by element."""
    assert got.dtype == dtype and got.shape == want.shape, label
    error = np.abs(got.astype(wide(dtype)) - want)
    ok = (error <= bound) | ~np.isfinite(bound)
    assert ok.all(), f"{label}: {got[~ok][:3]} instead of {want[~ok][:3]}, allowed {np.asarray(bound)[~ok][:3]}"
    judged = np.isfinite(bound) & (bound > 0)
    if judged.any():
        WORST[label] = max(WORST[label], float(np.max(error[judged] / bound[judged])))


def widened(a, dtype):
    """An argument as the reference takes it."""
    if isinstance(a, tuple):
        return tuple(widened(v, dtype) for v in a)
    return a.astype(wide(dtype)) if isinstance(a, np.ndarray) and a.dtype.kind == "f" else a


def assert_relevance(name, backend, arguments, terms, bias, R, rule, dtype, label, off=0):
    """The kernel called `name` against pyref's function: r of each input and the whole account.

    Parameters
        arguments  of the function but for `account`, by name, as the kernel gets them
        terms      wide: how the layer's `relevance` calls the rule algebra; bias and R likewise
        off        how far the kernel's weights may be off: `relevance_bound`
    """
    mine, theirs = pyref.Account(), pyref.Account()
    got = getattr(backend, name)(**arguments, account=mine)
    exact = {k: widened(v, dtype) for k, v in arguments.items() if k != "z"}  # z is computed again, unrounded
    want = getattr(pyref, name)(**exact, account=theirs)
    if not rule.parts:
        return assert_within(got, want, np.zeros(want.shape), dtype, label)
    bound = relevance_bound(terms, bias, R, rule, dtype, off)
    parts = (got, want) if isinstance(got, tuple) else ((got,), (want,))
    for g, w, b in zip(*parts, bound.r, strict=True):
        assert_within(g, w, b, dtype, label)
    assert (mine.bias is None) == (theirs.bias is None), label
    if mine.bias is not None:
        assert_within(mine.bias, theirs.bias, bound.bias, dtype, f"{label}, bias")
    for column in ("stabilizer", "dropped"):
        kept = np.asarray(getattr(theirs, column))
        assert_within(np.asarray(getattr(mine, column)), kept, getattr(bound, column), dtype, f"{label}, {column}")
