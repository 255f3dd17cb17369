"""Run statements on seeded cases and say which hold: the evidence behind `relprop verify`."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from pyref.check import nearest
from pyref.theorems.draw import Discarded, SeededDraw
from pyref.theorems.theorem import Case, Outcome, Theorem, worst

__all__ = ["CaseRow", "Row", "Report", "verify", "select", "check_theorem"]

ATTEMPTS = 20
"""How many draws are made for one case before the hypotheses are called too narrow."""

TRIES = 50
"""How many draws a falsifier has to bite, whatever the number of cases."""


@dataclass(frozen=True)
class CaseRow:
    """One falsifier, counterexample or example: what it is, whether it did what it must, and on which case."""

    description: str
    ok: bool
    residual: float
    bound: float
    case: int
    detail: str = ""


@dataclass(frozen=True)
class Row:
    """One statement: what was tried and how it went.

    cases       tried within the hypotheses; `discarded` more fell outside them
    residual, bound, detail, case   of the case that is furthest from holding (bound 0: exact, residual 0)
    falsifiers, counterexamples     ok where one bites; examples: ok where they hold
    error       what a check raised, if it did
    """

    id: str
    statement: str
    source: str
    arithmetic: str
    cases: int
    discarded: int
    residual: float
    bound: float
    ratio: float
    detail: str
    case: int
    falsifiers: tuple[CaseRow, ...]
    counterexamples: tuple[CaseRow, ...]
    examples: tuple[CaseRow, ...]
    holds: bool
    error: str = ""

    @property
    def falsified(self):
        """Every falsifier and counterexample violated the equation: the check was seen to bite."""
        return all(f.ok for f in (*self.falsifiers, *self.counterexamples))

    @property
    def ok(self):
        """The statement and its examples hold and the check bites."""
        return self.holds and self.falsified

    @property
    def problem(self):
        """One line that says what is wrong, empty if nothing is."""
        if self.error:
            return self.error
        if not self.holds:
            failed = next((e for e in self.examples if not e.ok), None)
            if failed is not None:
                return f"worked example fails: {failed.description}: off by {failed.residual:.3g}"
            if self.cases == 0:
                return f"no case within the hypotheses in {self.discarded} draws"
            return f"case {self.case}: residual {self.residual:.3g} > bound {self.bound:.3g}; {self.detail}"
        lame = [f.description for f in (*self.falsifiers, *self.counterexamples) if not f.ok]
        return f"falsifier does not bite: {lame[0]}" if lame else ""


@dataclass(frozen=True)
class Report:
    """The rows of a run, and how to repeat it.

    exit_status  0 if every statement holds and every falsifier bites, else 1
    """

    rows: tuple[Row, ...]
    seed: int
    cases: int

    @property
    def ok(self):
        return all(row.ok for row in self.rows)

    @property
    def exit_status(self):
        return 0 if self.ok else 1

    def __iter__(self):
        return iter(self.rows)

    def __getitem__(self, id):
        return next(row for row in self.rows if row.id == id)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON: no infinities, no Fractions."""
        return {"seed": self.seed, "cases": self.cases, "ok": self.ok, "rows": [_plain(row) for row in self.rows]}


def verify(
    only: Iterable[str] | str | None = None,
    cases: int = 20,
    seed: int = 0,
    progress: Callable[[Row, int, int], None] | None = None,
    theorems: dict[str, Theorem] | None = None,
) -> Report:
    """Check statements on `cases` seeded draws each, with their examples, falsifiers and counterexamples.

    Parameters
        only      ids ("A1") or families ("A": every id A0, A1, …), one or several; all by default
        cases     draws per statement, at least 1
        seed      the same seed draws the same networks everywhere
        progress  called after each statement with (its row, how many are done, how many there are)
        theorems  the table to run, `pyref.theorems.THEOREMS` by default
    Raises
        ValueError  an unknown id; cases < 1; a negative seed.
    """
    if cases < 1:
        raise ValueError(f"cases is {cases}, expected at least 1")
    if seed < 0:
        raise ValueError(f"seed is {seed}, expected a number >= 0")
    chosen = select(only, theorems)
    rows = []
    for theorem in chosen:
        rows.append(check_theorem(theorem, cases, seed))
        if progress is not None:
            progress(rows[-1], len(rows), len(chosen))
    return Report(tuple(rows), seed, cases)


def select(only=None, theorems=None) -> list[Theorem]:
    """The statements that `only` names, in the order of the table.

    Raises
        ValueError  an id or family that does not exist; the nearest is suggested.
    """
    if theorems is None:
        from pyref.theorems import THEOREMS as theorems
    if only is None:
        return list(theorems.values())
    wanted = set()
    for name in [only] if isinstance(only, str) else only:
        named = {id for id in theorems if id == name or (name.isalpha() and id.rstrip("0123456789") == name)}
        if not named:
            raise ValueError(f"there is no statement {name!r}; {nearest(name, theorems)}")
        wanted |= named
    return [theorem for id, theorem in theorems.items() if id in wanted]


def check_theorem(theorem: Theorem, cases: int = 20, seed: int = 0) -> Row:
    """The row of one statement. A check that raises does not hold, and the row says what it raised."""
    tally = _Tally()
    error = ""
    examples: list[CaseRow] = []
    violations: dict[str, list[CaseRow]] = {"falsifiers": [], "counterexamples": []}
    try:
        for case, draw in _draws(theorem, cases, seed):
            tally.try_one(case, lambda draw=draw: theorem.run(None, draw))
            if tally.cases == cases:
                break
        examples = [_example(theorem, e, seed) for e in theorem.examples]
        for kind, found in violations.items():
            found.extend(_violation(theorem, f, seed) for f in getattr(theorem, kind))
    except Exception as raised:  # a verification run reports every statement, also after one that is broken
        error = f"{type(raised).__name__}: {raised}"
    return Row(
        theorem.id,
        theorem.statement,
        theorem.source,
        theorem.arithmetic,
        tally.cases,
        tally.discarded,
        float(tally.outcome.residual),
        float(tally.outcome.bound),
        tally.outcome.ratio,
        tally.outcome.detail,
        tally.case,
        tuple(violations["falsifiers"]),
        tuple(violations["counterexamples"]),
        tuple(examples),
        holds=not error and tally.cases > 0 and tally.outcome.holds and all(e.ok for e in examples),
        error=error,
    )


@dataclass
class _Tally:
    """The outcome furthest from holding so far, and how many cases there were."""

    outcome: Outcome = field(default_factory=lambda: worst())
    case: int = 0
    cases: int = 0
    discarded: int = 0

    def try_one(self, case, check):
        try:
            outcome = check()
        except Discarded:
            self.discarded += 1
            return
        self.cases += 1
        if self.cases == 1 or worst(self.outcome, outcome) is outcome:
            self.outcome, self.case = outcome, case


def _draws(theorem, cases, seed, salt=""):
    for case in range(cases * ATTEMPTS):
        yield case, SeededDraw(seed, theorem.id + salt, case)


def _example(theorem, example, seed):
    outcome = theorem.run(example, SeededDraw(seed, theorem.id))
    return _case_row(example, outcome.holds, outcome, 0)


def _violation(theorem, falsifier: Case, seed):
    """Draw until the falsifier bites; its best try if it never does."""
    best, best_case, tried = None, 0, 0
    for case, draw in _draws(theorem, TRIES, seed, falsifier.description):
        try:
            outcome = theorem.run(falsifier, draw)
        except Discarded:
            continue
        tried += 1
        if best is None or outcome.ratio >= best.ratio:
            best, best_case = outcome, case
        if outcome.bites or tried == TRIES:
            break
    if best is None:
        return CaseRow(falsifier.description, False, 0.0, 0.0, 0, "no case could be drawn")
    return _case_row(falsifier, best.bites, best, best_case)


def _case_row(case, ok, outcome, number):
    return CaseRow(case.description, ok, float(outcome.residual), float(outcome.bound), number, outcome.detail)


def _plain(row):
    def number(v):
        return v if v == v and abs(v) != float("inf") else None

    def cases(rows):
        return [
            {"description": r.description, "ok": r.ok, "residual": number(r.residual), "bound": r.bound, "case": r.case}
            for r in rows
        ]

    return {
        "id": row.id,
        "statement": row.statement,
        "source": row.source,
        "arithmetic": row.arithmetic,
        "cases": row.cases,
        "discarded": row.discarded,
        "residual": number(row.residual),
        "bound": number(row.bound),
        "ratio": number(row.ratio),
        "detail": row.detail,
        "case": row.case,
        "holds": row.holds,
        "ok": row.ok,
        "problem": row.problem,
        "falsifiers": cases(row.falsifiers),
        "counterexamples": cases(row.counterexamples),
        "examples": cases(row.examples),
    }
