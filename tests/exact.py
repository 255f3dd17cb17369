"""Exact arrays for tests: object arrays of Fractions, drawn by Hypothesis or written down."""

from fractions import Fraction
from numbers import Rational

import numpy as np
from hypothesis import strategies as st


def fractions(values):
    """An object array of Fractions from nested lists of numbers or of strings such as '-2/3'."""
    return np.vectorize(Fraction, otypes=[object])(np.array(values, dtype=object))


@st.composite
def fraction_arrays(draw, shape, largest=24, denominator=8):
    """Arrays of k/denominator with |k| ≤ largest: few enough values that zeros and ties are common."""
    size = int(np.prod(shape))
    numerators = draw(st.lists(st.integers(-largest, largest), min_size=size, max_size=size))
    out = np.empty(size, dtype=object)
    out[:] = [Fraction(k, denominator) for k in numerators]
    return out.reshape(shape)


def assert_exact(*arrays):
    """Every entry is a rational number: nothing on the way turned into a float."""
    for array in arrays:
        assert array.dtype == object
        assert all(isinstance(v, Rational) for v in array.flat)


def assert_equal(got, want):
    """Exactly equal, and exact."""
    assert_exact(got, want)
    assert got.shape == want.shape
    assert (got == want).all(), f"{got}\n!=\n{want}"
