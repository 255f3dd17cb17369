"""What a checkable statement is, and how two sides of an equation are compared."""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from numbers import Rational
from typing import Any

import numpy as np

from pyref.check import check_choice
from pyref.theorems.draw import Draw

__all__ = [
    "Outcome",
    "Case",
    "Theorem",
    "NotExact",
    "UNIT",
    "BITE",
    "equal",
    "close",
    "at_most",
    "worst",
    "assert_exact",
]

UNIT = 2.0**-53
"""u, the unit roundoff of float64: fl(a ∘ b) = (a ∘ b)(1 + δ), |δ| ≤ u."""

BITE = 2**10
"""A falsifier bites where its residual exceeds 2¹⁰ times what rounding could leave: seen, not suspected."""


class NotExact(TypeError):
    """A check in exact arithmetic met a value that is no rational number."""


@dataclass(frozen=True)
class Outcome:
    """One comparison: how far apart the two sides are, and how far rounding alone could bring them.

    residual  largest |left - right|, or its value where residual / bound is largest
    bound     0 in exact arithmetic; else n · u · Σ|terms|
    detail    which part of the statement, or which numbers: shown when it fails
    """

    residual: Any
    bound: Any = 0
    detail: str = ""

    @property
    def holds(self):
        """residual ≤ bound; False for NaN."""
        return bool(self.residual <= self.bound)

    @property
    def bites(self):
        """Violated beyond any rounding: residual > 2¹⁰ · bound, which in exact arithmetic is residual > 0."""
        return bool(self.residual > BITE * self.bound)

    @property
    def exact(self):
        """Both numbers are rational and the bound is zero: holds means `==`."""
        return isinstance(self.residual, Rational) and isinstance(self.bound, Rational) and self.bound == 0

    @property
    def ratio(self):
        """residual / bound as a float: at most 1 where it holds, 0 for 0/0, infinite where the bound is 0."""
        if self.residual == 0:
            return 0.0
        if self.bound == 0 or self.residual != self.residual:
            return float("inf")
        return float(self.residual / self.bound)


@dataclass(frozen=True)
class Case:
    """Something that a check is run on, by name: a falsifier, a counterexample or a worked example.

    check(draw) → Outcome of the theorem's equation there; a deterministic one ignores draw.
    """

    description: str
    check: Callable[[Draw], Outcome]


@dataclass(frozen=True)
class Theorem:
    """A statement that can be checked, together with the evidence that the check can fail.

    id              as in the table: A1, S3, X6, F8, N2
    statement       one sentence, with its hypotheses
    source          [key] and number; says so where the paper's own wording is corrected
    arithmetic      "exact" (Fractions, compared with ==), "float64", or "both" (a case is one or the other)
    check           check(draw) draws a network within the hypotheses and returns the Outcome; it holds
                    on every draw. draw.assume(condition) discards what lies outside the hypotheses.
    falsifiers      cases outside the hypotheses: each must violate the equation (`Outcome.bites`) at least
                    once in a run, which shows that the check bites
    counterexamples cases *within* the hypotheses as the paper prints them, which violate what it prints
    examples        worked numbers, which hold
    """

    id: str
    statement: str
    source: str
    arithmetic: str
    check: Callable[[Draw], Outcome]
    falsifiers: tuple[Case, ...]
    counterexamples: tuple[Case, ...] = ()
    examples: tuple[Case, ...] = ()

    def __post_init__(self):
        check_choice("arithmetic", self.arithmetic, ("exact", "float64", "both"))
        if not self.falsifiers:
            raise ValueError(f"theorem {self.id} names no falsifier: nothing shows that its check bites")

    def run(self, case, draw):
        """Outcome of the statement itself (case None), or of one of its examples, falsifiers or counterexamples.

        Raises
            NotExact  the statement promises exact arithmetic and the outcome is a float. What lies outside
                      the hypotheses (a sigmoid, say) may be a float.
        """
        outcome = (self.check if case is None else case.check)(draw)
        promised = case is None or case in self.examples
        if promised and self.arithmetic == "exact" and not outcome.exact:
            raise NotExact(f"{self.id} is stated in exact arithmetic, but its residual is {outcome.residual!r}")
        return outcome


def assert_exact(*arrays):
    """Raise NotExact unless every entry of every array is a rational number: a float would compare only nearly."""
    for array in arrays:
        for value in np.asarray(array, dtype=object).flat:
            if not isinstance(value, Rational):
                raise NotExact(f"exact arithmetic met a {type(value).__name__}: {value!r}")


def equal(left, right, detail=""):
    """Compare in exact arithmetic: residual = max |left - right|, bound = 0.

    Shapes
        left, right: arrays of Fractions (or ints) of one shape, or single ones
    Raises
        NotExact    a value that is no rational number.
        ValueError  two shapes.
    """
    _same_shape(left, right)
    assert_exact(left, right)
    gaps = [abs(a - b) for a, b in zip(_flat(left), _flat(right), strict=True)]
    return Outcome(max(gaps, default=Fraction(0)), 0, detail)


def close(left, right, n, magnitude, detail=""):
    """Compare in float64: |left - right| ≤ n · u · Σ|terms| for every entry; the worst one is returned.

    n          number of roundings that a term goes through, on both sides together
    magnitude  Σ|terms|, in the shape of the sides or a number: the size of what was added, not of the sum
    Raises
        ValueError  two shapes.
    """
    _same_shape(left, right)
    gap = np.abs(np.asarray(left, dtype=float) - np.asarray(right, dtype=float))
    bound = np.broadcast_to(n * UNIT * np.asarray(magnitude, dtype=float), gap.shape)
    return worst(*(Outcome(float(g), float(b), detail) for g, b in zip(gap.flat, bound.flat, strict=True)))


def at_most(left, right, slack=0, detail=""):
    """The inequality left ≤ right: residual = max (left - right)⁺, bound = slack, the rounding of either side."""
    _same_shape(left, right)
    excess = [
        max(a - b, Fraction(0) if isinstance(a - b, Rational) else 0.0)
        for a, b in zip(_flat(left), _flat(right), strict=True)
    ]
    return Outcome(max(excess, default=Fraction(0)), slack, detail)


def worst(*outcomes):
    """The outcome that is furthest from holding: of several parts of a statement, the one to report."""
    if not outcomes:
        return Outcome(Fraction(0))
    # A float part that holds must not hide that another part was exact, nor the other way round: the
    # ratio decides, and among ties the first float one, which says that the arithmetic was not exact.
    return max(outcomes, key=lambda o: (not o.holds, o.ratio, not o.exact))


def _flat(value):
    return list(np.asarray(value, dtype=object).flat)


def _same_shape(left, right):
    if np.shape(left) != np.shape(right):
        raise ValueError(f"left has shape {np.shape(left)} and right has shape {np.shape(right)}")
