"""The papers' statements under Hypothesis, the verification run, and that either can fail."""

import json
import re
from dataclasses import replace
from fractions import Fraction
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
from draws import HypothesisDraw
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import pyref
from pyref import theorems
from pyref.theorems import THEOREMS, Case, Outcome, SeededDraw, Theorem, at_most, close, equal, verify, worst
from pyref.theorems.draw import Discarded
from pyref.theorems.networks import MAKERS, RATIONAL, gated, input_for, mlp, recurrent_cell
from pyref.theorems.theorem import BITE, UNIT, NotExact
from pyref.theorems.verify import TRIES

# ── every statement ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("theorem", THEOREMS.values(), ids=THEOREMS)
@settings(max_examples=settings.default.max_examples // 3, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_statement_holds_wherever_hypothesis_looks(theorem, data):
    outcome = theorem.run(None, HypothesisDraw(data))
    assert outcome.holds, f"{theorem.id}: residual {outcome.residual} > bound {outcome.bound}; {outcome.detail}"


@pytest.mark.parametrize("id", THEOREMS)
def test_statement_holds_and_its_falsifiers_bite(id):
    row = verify(id, cases=5, seed=7)[id]
    assert row.ok, row.problem


def test_table_is_whole():
    """One place per id, in the order of the papers, numbers without gaps; every source is a known reference."""
    made = [t.id for module in theorems._MODULES for t in module.THEOREMS]
    assert sorted(made) == sorted(THEOREMS)
    for _, ids in groupby(THEOREMS, key=lambda id: id[0]):
        numbers = [int(id[1:]) for id in ids]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    known = re.findall(r"^- \[(\w+)\]", (Path(pyref.__file__).parent / "REFERENCES.md").read_text(), re.M)
    for theorem in THEOREMS.values():
        assert theorem.statement.endswith(".")
        assert set(re.findall(r"\[(\w+)\]", theorem.source)) <= set(known)


# ── the run can fail ───────────────────────────────────────────────────────────────────────────────────

WRONG = {
    "relative error 1e-9": lambda r: r * (1 + Fraction(1, 10**9)) if r.dtype == object else r * (1 + 1e-9),
    "an element dropped": lambda r: np.where(np.arange(r.shape[-1]) == 0, 0 * r, r),
    "two elements swapped": lambda r: r[..., ::-1],
}


@pytest.mark.parametrize("defect", WRONG)
@pytest.mark.parametrize(
    ("name", "ids"),
    [
        ("dense_relevance", ["A1", "A4", "N1", "N2", "N5"]),
        ("dense_gradient", ["A0", "A2", "A3", "A10"]),
    ],
)
def test_broken_pyref_is_seen(monkeypatch, name, ids, defect):
    right = getattr(pyref, name)
    monkeypatch.setattr(pyref, name, lambda *a, **k: WRONG[defect](right(*a, **k)))
    report = verify(ids, cases=10)
    assert [row.id for row in report if row.holds] == []
    assert report.exit_status == 1


def _euler(draw, bias=False):
    """Σ x ∂S/∂x = S for homogeneous networks."""
    network = mlp(draw, bias=bias)
    a = pyref.gradient_times_input(network, input_for(draw, network), 0)
    return equal(a.total, a.output)


EULER = Theorem(
    "Z1",
    "Gradient · input is complete without biases.",
    "Euler",
    "exact",
    _euler,
    (Case("biases", lambda draw: _euler(draw, bias=True)),),
)


def run(theorem, **options):
    return verify(theorems={theorem.id: theorem}, **options)


def test_sound_statement_passes():
    report = run(EULER)
    assert (report.ok, report.exit_status, report["Z1"].cases, report["Z1"].problem) == (True, 0, 20, "")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"check": lambda draw: _euler(draw, bias=True)}, "residual"),
        ({"falsifiers": (Case("nothing wrong", _euler),)}, "falsifier does not bite: nothing wrong"),
        ({"counterexamples": (Case("nothing wrong", _euler),)}, "falsifier does not bite: nothing wrong"),
        ({"examples": (Case("2 = 3", lambda draw: equal(2, 3)),)}, "worked example fails: 2 = 3: off by 1"),
        ({"check": lambda draw: Outcome(0.0, 0)}, "NotExact: Z1 is stated in exact arithmetic"),
        ({"check": lambda draw: equal(np.array([0.5]), np.array([0.5]))}, "NotExact: exact arithmetic met a float"),
        ({"check": lambda draw: draw.assume(False)}, "no case within the hypotheses in 400 draws"),
        ({"check": lambda draw: 1 / 0}, "ZeroDivisionError: division by zero"),
        ({"check": lambda draw: Outcome(float("nan"), 1.0), "arithmetic": "float64"}, "residual nan > bound 1"),
        ({"falsifiers": (Case("never drawn", lambda draw: draw.assume(False)),)}, "falsifier does not bite: never"),
    ],
)
def test_unsound_statement_is_reported(change, words):
    report = run(replace(EULER, **change))
    assert words in report["Z1"].problem
    assert report.exit_status == 1


def test_statement_without_falsifier_is_refused():
    with pytest.raises(ValueError, match="theorem Z1 names no falsifier"):
        replace(EULER, falsifiers=())


def test_falsifier_within_rounding_does_not_bite():
    near, far = Outcome(BITE * UNIT, UNIT), Outcome(2 * BITE * UNIT, UNIT)
    assert (near.holds, near.bites, far.bites) == (False, False, True)
    assert not Outcome(float("nan"), UNIT).bites


def test_falsifier_is_drawn_until_it_bites():
    rare = Case("one draw in ten", lambda draw: equal(0, int(draw.integer(0, 9) == 0)))
    row = run(replace(EULER, falsifiers=(rare,)), cases=1)["Z1"]
    assert row.ok and 0 < row.falsifiers[0].case < TRIES


# ── the run itself ─────────────────────────────────────────────────────────────────────────────────────


def test_run_repeats_itself_and_seeds_differ():
    assert verify("A2", cases=3, seed=5) == verify("A2", cases=3, seed=5)
    draws = [SeededDraw(s, id, k).integers(4, 0, 10**9).tolist() for s in (0, 1) for id in ("A1", "A2") for k in (0, 1)]
    assert len(set(map(tuple, draws))) == 8


def test_selection_and_progress():
    seen = []
    report = verify(["A10", "N"], cases=1, progress=lambda row, done, of: seen.append((row.id, done, of)))
    ids = ["A10", *(id for id in THEOREMS if id[0] == "N")]
    assert [row.id for row in report] == ids
    assert seen == [(id, k, len(ids)) for k, id in enumerate(ids, start=1)]
    assert json.loads(json.dumps(report.as_dict(), allow_nan=False))["ok"] is report.ok


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"only": "A99"}, "there is no statement 'A99'; did you mean 'A9'"),
        ({"cases": 0}, "cases is 0, expected at least 1"),
        ({"seed": -1}, "seed is -1, expected a number >= 0"),
    ],
)
def test_wrong_arguments(options, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        verify(**options)


# ── comparing and drawing ──────────────────────────────────────────────────────────────────────────────


def test_comparisons():
    third = Fraction(1, 3)
    assert equal(np.array([third, 1]), np.array([third, Fraction(1)])).exact
    assert equal(np.array([third]), np.array([Fraction(1)])).residual == Fraction(2, 3)
    outcome = close(np.array([1.0, 1.0]), np.array([1.0, 1 + 4 * UNIT]), 2, np.array([1e6, 1.0]))
    assert (outcome.residual, outcome.bound, outcome.holds) == (4 * UNIT, 2 * UNIT, False)
    assert at_most(np.array([1, third]), np.array([1, 1])).holds
    assert at_most(1, third).residual == Fraction(2, 3)
    assert worst(Outcome(third), Outcome(0), Outcome(1.0, 2.0)).residual == third
    with pytest.raises(ValueError, match="shape"):
        equal(np.array([1, 2]), np.array([1]))
    with pytest.raises(NotExact):
        equal(0.5, third)


def test_discarded_draws_are_counted():
    draw = SeededDraw(0)
    with pytest.raises(Discarded):
        draw.assume(False)
    odd = replace(EULER, check=lambda draw: (draw.assume(draw.boolean()), _euler(draw))[1])
    row = run(odd, cases=10)["Z1"]
    assert row.ok and row.cases == 10 and row.discarded > 0


@pytest.mark.parametrize("maker", [*MAKERS, gated, recurrent_cell])
@pytest.mark.parametrize("exact", [True, False])
def test_makers_draw_networks_that_run_in_their_arithmetic(maker, exact):
    for case in range(5):
        draw = SeededDraw(3, maker.__name__, case)
        network = maker(draw, RATIONAL, exact)
        y = network(input_for(draw, network, exact))
        assert y.dtype == (object if exact else np.float64)
        assert not exact or all(isinstance(v, Fraction) for v in y.flat)
