"""The `Draw` interface of statements over Hypothesis: what it draws, Hypothesis shrinks."""

import hypothesis
import numpy as np
from hypothesis import strategies as st

from pyref.theorems.draw import Draw


class HypothesisDraw(Draw):
    """Draws from `st.data()`."""

    def __init__(self, data):
        self._data = data

    def _array(self, shape, strategy, dtype):
        size = int(np.prod(shape))
        return np.array(self._data.draw(st.lists(strategy, min_size=size, max_size=size)), dtype=dtype).reshape(shape)

    def integers(self, shape, low, high):
        return self._array(shape, st.integers(low, high), np.int64)

    def floats(self, shape, low=-2, high=2):
        v = self._array(shape, st.floats(low, high), np.float64)
        return np.where(np.abs(v) < 2.0**-10, 0.0, v)

    def choice(self, options):
        options = tuple(options)
        return options[self._data.draw(st.integers(0, len(options) - 1))]

    def assume(self, condition):
        hypothesis.assume(bool(condition))
