"""Where the networks and inputs of a statement come from: one small interface, for a seed and for a search.

`SeededDraw` repeats a case exactly from three numbers. The tests bring another one, over Hypothesis, that
searches for a failure and shrinks it. A statement sees only `Draw`.
"""

import zlib
from fractions import Fraction

import numpy as np

__all__ = ["Discarded", "Draw", "SeededDraw"]


class Discarded(Exception):
    """What was drawn lies outside the hypotheses of the statement: draw again."""


class Draw:
    """Random choices. A subclass answers `integers`, `floats`, `choice` and `assume`; the rest follows.

    Ranges include both ends.
    """

    def integers(self, shape, low, high):
        """An integer array of the shape (an int, or a tuple)."""
        raise NotImplementedError

    def floats(self, shape, low=-2, high=2):
        """A float64 array of the shape; each value is 0 or at least 2⁻¹⁰ in size, so that nothing underflows."""
        raise NotImplementedError

    def choice(self, options):
        """One of a sequence, the simplest first."""
        raise NotImplementedError

    def assume(self, condition):
        """Discard the case unless the condition holds: a hypothesis of the statement."""
        if not condition:
            raise Discarded

    def integer(self, low, high):
        """One int."""
        return int(self.integers(1, low, high)[0])

    def boolean(self):
        """False or True."""
        return self.choice((False, True))

    def fractions(self, shape, low=-2, high=2, denominators=(1, 2, 3, 4)):
        """An object array of Fractions k/d, with one d for all of it. Zeros and ties are common, on purpose."""
        d = self.choice(denominators)
        numerators = self.integers(shape, low * d, high * d)
        array = np.empty(numerators.shape, dtype=object)
        array[...] = Fraction(0)
        for index in np.ndindex(numerators.shape):
            array[index] = Fraction(int(numerators[index]), d)
        return array

    def numbers(self, shape, exact=True, low=-2, high=2):
        """`fractions` in exact arithmetic, else `floats`."""
        return self.fractions(shape, low, high) if exact else self.floats(shape, low, high)


class SeededDraw(Draw):
    """The case number `case` of the statement `id`: the same three arguments draw the same numbers everywhere."""

    def __init__(self, seed, id="", case=0):
        words = np.random.SeedSequence([seed, zlib.crc32(id.encode()), case])
        self._random = np.random.Generator(np.random.Philox(words))

    def integers(self, shape, low, high):
        return self._random.integers(low, high, size=shape, endpoint=True)

    def floats(self, shape, low=-2, high=2):
        v = self._random.uniform(low, high, size=shape)
        return np.where(np.abs(v) < 2.0**-10, 0.0, v)

    def choice(self, options):
        options = tuple(options)
        return options[self.integer(0, len(options) - 1)]
