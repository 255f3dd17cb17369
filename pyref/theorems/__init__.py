"""The papers' statements as objects that can be checked; THEOREMS is the one table of them, by id.

A statement draws networks within its hypotheses, evaluates both sides of its equation with the functions of
pyref, in Fractions wherever the mathematics is rational, and names falsifiers: networks outside the
hypotheses on which the equation must fail. One file a paper:

    ancona2017, ancona2018    A   the modified chain rule and what equals what
    sundararajan2016          S   what Integrated Gradients satisfy
    sixt2020                  X   chains of non-negative matrices
    srinivas2019              F   the full gradient
    reformulation             N   the identities that the kernels rest on
"""

from pyref.theorems import ancona2017, ancona2018, reformulation, sixt2020, srinivas2019, sundararajan2016
from pyref.theorems.draw import Discarded, Draw, SeededDraw
from pyref.theorems.theorem import Case, Outcome, Theorem, at_most, close, equal, worst
from pyref.theorems.verify import Report, Row, verify

_MODULES = (ancona2017, ancona2018, sundararajan2016, sixt2020, srinivas2019, reformulation)


def _place(theorem):
    """Where a statement stands in the table: papers by year, numbers within."""
    return "ASXFN".index(theorem.id[0]), int(theorem.id[1:])


THEOREMS: dict[str, Theorem] = {
    theorem.id: theorem for theorem in sorted((t for module in _MODULES for t in module.THEOREMS), key=_place)
}

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
