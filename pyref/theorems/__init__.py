"""The papers' statements as objects that can be checked; THEOREMS is the one table of them, by id.

A statement draws networks within its hypotheses, evaluates both sides of its equation with the functions of
pyref, in Fractions wherever the mathematics is rational, and names falsifiers: networks outside the
hypotheses on which the equation must fail. One file a paper:

    ancona2017, ancona2018    A   the modified chain rule and what equals what
    reformulation             N   the identities that the kernels rest on
"""

from pyref.theorems.draw import Discarded, Draw, SeededDraw
from pyref.theorems.theorem import Case, Outcome, Theorem, at_most, close, equal, worst
from pyref.theorems.verify import Report, Row, verify

_MODULES = ()

THEOREMS: dict[str, Theorem] = {theorem.id: theorem for module in _MODULES for theorem in module.THEOREMS}

__all__ = [
    "THEOREMS",
    "Theorem",
    "Case",
    "Outcome",
    "equal",
    "close",
    "at_most",
    "worst",
    "Draw",
    "SeededDraw",
    "Discarded",
    "verify",
    "Report",
    "Row",
]
