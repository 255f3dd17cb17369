"""Tests of orderings on samples: each can come out against the paper, or leave the question open."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["DIFFERS", "HOLDS", "UNDECIDED", "Outcome", "all_of", "is_so", "mean_error", "more"]

HOLDS, DIFFERS, UNDECIDED = "holds", "does not hold", "not decided"
ERRORS = 2  # standard errors by which a difference counts


@dataclass(frozen=True)
class Outcome:
    """What a test came to: `holds`, `does not hold` or `not decided`, and the numbers that say so."""

    verdict: str
    found: str


def is_so(condition, found):
    """An outcome from a plain condition."""
    return Outcome(HOLDS if condition else DIFFERS, found)


def more(larger, smaller, names, effect=0.0):
    """Whether the first is larger than the second by more than `effect`, on average over the same samples.

    It holds, or does not, where the mean difference is two standard errors beyond `effect`; else it is not decided.
    """
    difference = np.asarray(larger, float) - np.asarray(smaller, float)
    mean, error = mean_error(difference)
    a, b = (float(np.mean(v)) for v in (larger, smaller))
    found = f"{names[0]} {a:.3g}, {names[1]} {b:.3g}: difference {mean:+.2g} ± {error:.1g}"
    if mean > effect + ERRORS * error:
        return Outcome(HOLDS, found)
    return Outcome(DIFFERS if mean <= effect - ERRORS * error or error == 0 else UNDECIDED, found)


def all_of(outcomes: Sequence[Outcome]):
    """All of them: it holds where each does, and fails where one does."""
    verdicts = [o.verdict for o in outcomes]
    verdict = DIFFERS if DIFFERS in verdicts else UNDECIDED if UNDECIDED in verdicts else HOLDS
    return Outcome(verdict, "; ".join(o.found for o in outcomes))


def mean_error(values, axis=0):
    """(mean, standard error of the mean)."""
    values = np.asarray(values, float)
    n = values.shape[axis]
    spread = values.std(axis=axis, ddof=1) if n > 1 else np.zeros_like(values.mean(axis=axis))
    return values.mean(axis=axis), spread / np.sqrt(n)
