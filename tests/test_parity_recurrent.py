"""Level 2 for recurrent layers: their kernels against pyref in wider arithmetic, within a bound of its own making.

A forward pass is checked step by step from the states that the kernel itself computed. The way back is linear in the
signal: whole recurrences run on `Near` arrays, from the same record, R independent of it. Where rounding decides on
a pole nothing can be said of the steps before; longer sequences are held to laws.
"""

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from near import Near
from parity import DTYPES, assert_within, generators, kinds, layouts, values, widened
from test_parity import RULES

import pyref

LENGTHS = st.sampled_from([1, 1, 2, 3, 5])
FEWER = settings(max_examples=settings.default.max_examples // 3)  # a whole recurrence each
SIZES = st.sampled_from([0, 1, 2, 3, 5, 7, 17])
GATES, SIGNED = st.sampled_from(pyref.GATES), st.sampled_from(["normal", "zeros_and_ties"])


class Case:
    """Arguments of the functions of a recurrent layer, drawn; `exact` are those that pyref takes."""

    def __init__(self, draw, stem, dtype, gates, states):
        self.stem, self.dtype = stem, dtype
        rng, layout = draw(generators), draw(layouts)
        n, t, c, h = draw(st.sampled_from([0, 1, 2, 3, 5])), draw(LENGTHS), draw(SIZES), draw(SIZES)
        of = {"x": (n, t, c), "w_x": (c, gates * h), "w_h": (h, gates * h), "b": (gates * h,)}
        self.weights = {k: layout(values(draw(kinds if k == "x" else SIGNED), s, dtype, rng)) for k, s in of.items()}
        if draw(st.booleans()):
            self.weights["b"] = None
        self.shapes = {"x": (n, t, c), "h": (n, t, h), "state": (n, h)}
        self.states = {}
        for name in states:
            self.states[name] = self.draw(draw, "state") if draw(st.booleans()) else None
        lengths = rng.integers(0, t + 1, n) if draw(st.booleans()) else None
        self.options = {"lengths": lengths, "reverse": draw(st.booleans())}
        self.terms = c + gates * h + t

    def draw(self, draw, shape):
        return draw(layouts)(values(draw(SIGNED), self.shapes[shape], self.dtype, draw(generators)))

    def call(self, module, question, weights, **more):
        return getattr(module, f"{self.stem}_{question}")(**weights, **more, **self.options)

    def near(self, v):
        """An argument for the bound: exact numbers."""
        if isinstance(v, dict):
            return {k: self.near(a) for k, a in v.items()}
        return Near.exact(widened(v, self.dtype), self.dtype, self.terms) if isinstance(v, np.ndarray) else v

    def record(self, weights):
        """pyref's record of a forward pass, in the kernel's dtype."""
        exact = {k: widened(v, self.dtype) for k, v in weights.items()}
        states = {k: widened(v, self.dtype) for k, v in self.states.items()}
        record = self.call(pyref, "forward", exact, **states)[1]
        return _with_arrays(record, lambda v: v.astype(self.dtype))

    def assert_back(self, backend, question, weights, signals, words, record, label):
        """A function that runs a signal through a record: each of its results within the bound."""
        names = [k for k in weights if k in ("x", "w_x", "w_h", "b", "b_n")]
        order = {k: weights[k] for k in names}
        got = self.call(backend, question, order, **signals, **words, **record)
        exact = {k: _with_arrays(v, self.near) for k, v in record.items()}
        want = self.call(pyref, question, self.near(order), **self.near(signals), **words, **exact)
        for g, w in zip(got, want, strict=True):
            assert_within(g, w.value, w.error, self.dtype, label)


def _with_arrays(record, change):
    """A record with all its arrays changed."""
    return replace(record, **{f.name: change(getattr(record, f.name)) for f in fields(record) if f.name != "reverse"})


def lstm(draw, dtype):
    return Case(draw, "lstm", dtype, 4, ("h0", "c0"))


@pytest.mark.parametrize("dtype", DTYPES)
@given(data=st.data())
def test_lstm_forward(backend, dtype, data):
    """Every step from the states that the kernel says it started from, which are those it says it left."""
    case = lstm(data.draw, dtype)
    h, record = case.call(backend, "forward", case.weights, **case.states)
    want, _ = case.call(pyref, "forward", case.weights, **case.states)
    assert isinstance(record, pyref.LSTMRecord) and h.shape == want.shape
    order, zeros = list(record.order), np.zeros(case.shapes["state"], dtype)
    for name in ("h", "c"):
        states, before = getattr(record, name), getattr(record, f"{name}_prev")
        given = case.states[f"{name}0"]
        np.testing.assert_array_equal(before[:, order[0]], zeros if given is None else given)
        np.testing.assert_array_equal(before[:, order[1:]], states[:, order[:-1]])
    weights = {k: case.near(v) for k, v in case.weights.items() if k != "x"}
    for t in order:
        at = record.at(t)
        _, step = pyref.lstm_forward(
            case.near(at.x[:, None]), **weights, h0=case.near(at.h_prev), c0=case.near(at.c_prev)
        )
        valid = np.ones(len(h), bool) if case.options["lengths"] is None else case.options["lengths"] > t
        for name in ("z", "i", "f", "g", "o", "c", "h"):
            one, got = getattr(step.at(0), name), getattr(at, name)
            rows = valid if name in "ch" else slice(None)
            assert_within(got[rows], one.value[rows], one.error[rows], dtype, f"lstm forward {name}")
        for name in ("c", "h"):
            np.testing.assert_array_equal(getattr(at, name)[~valid], getattr(at, f"{name}_prev")[~valid])
        np.testing.assert_array_equal(h[:, t], np.where(valid[:, None], at.h, 0))
        np.testing.assert_array_equal(at.x, np.where(valid[:, None], case.weights["x"][:, t], 0))


@pytest.mark.parametrize("dtype", DTYPES)
@given(data=st.data())
def test_lstm_signals(backend, dtype, data):
    """Gradient, tangent and DeepLIFT."""
    case = lstm(data.draw, dtype)
    record = {"record": case.record(case.weights)}
    G, last = case.draw(data.draw, "h"), case.draw(data.draw, "state") if data.draw(st.booleans()) else None
    case.assert_back(backend, "gradient", case.weights, {"G": G, "G_last": last}, {}, record, "lstm gradient")
    changes = {"dx": case.draw(data.draw, "x"), "dh0": last, "dc0": case.draw(data.draw, "state")}
    case.assert_back(backend, "tangent", case.weights, changes, {}, record, "lstm tangent")
    x0 = values(data.draw(SIGNED), case.shapes["x"], dtype, data.draw(generators))
    record["record0"] = case.record(case.weights | {"x": x0})
    words = {"product": data.draw(st.sampled_from(pyref.PRODUCTS))}
    signals = {"x0": x0, "M": G, "M_last": last}
    case.assert_back(backend, "multiplier", case.weights, signals, words, record, "lstm multiplier")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [name for name in pyref.RULES if name != "pass_"])
@FEWER
@given(data=st.data())
def test_lstm_relevance(backend, name, dtype, data):
    case = lstm(data.draw, dtype)
    rule, gate = data.draw(st.sampled_from(RULES[name])), data.draw(GATES)
    if name == "z_box" and rule.out_of_range == "raise":
        rule = replace(rule, low=-1e6, high=1e6)
    record = {"record": case.record(case.weights)}
    signals = {"R": case.draw(data.draw, "h"), "R_last": case.draw(data.draw, "state")}
    accounts = pyref.Account(), pyref.Account()
    words = {"rule": rule, "gate": gate}
    assert_account(case, backend, signals, words, record, *accounts, f"lstm {name}")


def assert_account(case, backend, signals, words, record, mine, theirs, label):
    """Relevance, and every column of the account."""
    got = case.call(backend, "relevance", case.weights, **signals, **words, **record, account=mine)
    exact = {k: _with_arrays(v, case.near) for k, v in record.items()}
    want = case.call(
        pyref, "relevance", case.near(case.weights), **case.near(signals), **words, **exact, account=theirs
    )
    for g, w in zip(got, want, strict=True):
        assert_within(g, w.value, w.error, case.dtype, label)
    assert (mine.bias is None) == (theirs.bias is None)
    for column in ("bias", "stabilizer", "dropped", "state"):
        w, g = getattr(theirs, column), np.asarray(getattr(mine, column))
        if w is not None:
            assert_within(g, w.value, w.error, case.dtype, f"{label}, {column}")
