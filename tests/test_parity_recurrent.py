"""Level 2 for recurrent layers: their kernels against pyref in wider arithmetic, within a bound of its own making.

A forward pass is checked step by step from the states that the kernel itself computed. The way back is linear in the
signal: whole recurrences run on `Near` arrays, from the same record, R independent of it. Where rounding decides on
a pole nothing can be said of the steps before; longer sequences are held to laws.
"""

from dataclasses import fields, replace
from functools import partial

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

    def call(self, module, question, weights, /, **more):
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

    def summed_again(self, record):
        """The record for the bound of a lowering that does not read z and q but sums them again."""
        form = {k: v for k, v in self.options.items() if k == "linear_before_reset"}
        exact, steps = {k: self.near(v) for k, v in self.weights.items() if k != "x"}, []
        for t in range(record.x.shape[1]):
            at = record.at(t)
            start = {name: self.near(getattr(at, f"{name[0]}_prev")) for name in self.states}
            steps.append(getattr(pyref, f"{self.stem}_forward")(self.near(at.x[:, None]), **exact, **start, **form)[1])
        again = {
            name: np.concatenate([getattr(s, name) for s in steps], axis=1)
            for name in ("z", "q")
            if hasattr(steps[0], name)
        }
        return replace(_with_arrays(record, self.near), **again)

    def assert_back(self, backend, question, signals, words, record, label, account=False):
        """A function that runs a signal through a record: each of its results, and of its account, within the bound.

        The bound knows of no largest number: nothing is asked where pyref has no finite one in the kernel's dtype.
        """
        mine, theirs, plain = (pyref.Account() if account else None for _ in range(3))
        kept = [{"account": one} if account else {} for one in (mine, theirs, plain)]
        got = self.call(backend, question, self.weights, **signals, **words, **record, **kept[0])
        by_weight = getattr(words.get("rule"), "form", "") == "weight"
        exact = {k: self.summed_again(v) if by_weight else _with_arrays(v, self.near) for k, v in record.items()}
        weights = self.near(self.weights)
        want = self.call(pyref, question, weights, **self.near(signals), **words, **exact, **kept[1])
        with np.errstate(all="ignore"):
            same = self.call(pyref, question, self.weights, **signals, **words, **record, **kept[2])
        for g, w, s in zip(got, want, same, strict=True):
            assert_within(g, w.value, np.where(np.isfinite(s), w.error, np.inf), self.dtype, label)
        if not account:
            return
        assert (mine.bias is None) == (theirs.bias is None)
        for column in ("bias", "stabilizer", "dropped", "state"):
            g, w, s = (getattr(one, column) for one in (mine, theirs, plain))
            if w is not None:
                error = np.where(np.isfinite(s), w.error, np.inf)
                assert_within(np.asarray(g), w.value, error, self.dtype, f"{label}, {column}")


def _with_arrays(record, change):
    """A record with all its arrays changed."""
    return replace(record, **{f.name: change(getattr(record, f.name)) for f in fields(record) if f.name != "reverse"})


def lstm(draw, dtype):
    return Case(draw, "lstm", dtype, 4, ("h0", "c0"))


def gru(draw, dtype):
    case = Case(draw, "gru", dtype, 3, ("h0",))
    case.options["linear_before_reset"] = draw(st.booleans())
    with_b_n = case.options["linear_before_reset"] and draw(st.booleans())
    b_n = values("normal", case.shapes["state"][1:], dtype, draw(generators))
    case.weights["b_n"] = b_n if with_b_n else None
    return case


LAYERS = {"lstm": lstm, "gru": gru}
GATE_NAMES = {"lstm": "ifgo", "gru": "run"}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layer", LAYERS)
@given(data=st.data())
def test_forward(backend, layer, dtype, data):
    """Every step from the states that the kernel says it started from, which are those it says it left."""
    case = LAYERS[layer](data.draw, dtype)
    states, weights = [name[0] for name in case.states], case.weights
    h, record = case.call(backend, "forward", weights, **case.states)
    want, wanted = case.call(pyref, "forward", weights, **case.states)
    assert type(record) is type(wanted) and h.shape == want.shape
    order, zeros = list(record.order), np.zeros(case.shapes["state"], dtype)
    for name in states:
        after, before = getattr(record, name), getattr(record, f"{name}_prev")
        start = case.states[f"{name}0"]
        np.testing.assert_array_equal(before[:, order[0]], zeros if start is None else start)
        np.testing.assert_array_equal(before[:, order[1:]], after[:, order[:-1]])
    exact = {k: case.near(v) for k, v in weights.items() if k != "x"}
    form = {k: v for k, v in case.options.items() if k == "linear_before_reset"}
    for t in order:
        at = record.at(t)
        start = {f"{name}0": case.near(getattr(at, f"{name}_prev")) for name in states}
        _, step = getattr(pyref, f"{layer}_forward")(case.near(at.x[:, None]), **exact, **start, **form)
        valid = np.ones(len(h), bool) if case.options["lengths"] is None else case.options["lengths"] > t
        for name in ("z", *GATE_NAMES[layer], *states, *("q" if layer == "gru" else "")):
            one, got = getattr(step.at(0), name), getattr(at, name)
            rows = valid if name in states else slice(None)
            assert_within(got[rows], one.value[rows], one.error[rows], dtype, f"{layer} forward {name}")
        for name in states:
            np.testing.assert_array_equal(getattr(at, name)[~valid], getattr(at, f"{name}_prev")[~valid])
        np.testing.assert_array_equal(h[:, t], np.where(valid[:, None], at.h, 0))
        np.testing.assert_array_equal(at.x, np.where(valid[:, None], weights["x"][:, t], 0))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layer", LAYERS)
@FEWER
@given(data=st.data())
def test_signals(backend, layer, dtype, data):
    """Gradient, tangent and DeepLIFT."""
    case = LAYERS[layer](data.draw, dtype)
    record = {"record": case.record(case.weights)}
    G, last = case.draw(data.draw, "h"), case.draw(data.draw, "state") if data.draw(st.booleans()) else None
    case.assert_back(backend, "gradient", {"G": G, "G_last": last}, {}, record, f"{layer} gradient")
    changes = {"dx": case.draw(data.draw, "x")} | {f"d{k}": case.draw(data.draw, "state") for k in case.states}
    case.assert_back(backend, "tangent", changes, {}, record, f"{layer} tangent")
    x0 = values(data.draw(SIGNED), case.shapes["x"], dtype, data.draw(generators))
    record["record0"] = case.record(case.weights | {"x": x0})
    words = {"product": data.draw(st.sampled_from(pyref.PRODUCTS))}
    signals = {"x0": x0, "M": G, "M_last": last}
    case.assert_back(backend, "multiplier", signals, words, record, f"{layer} multiplier")


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("known", [False, True])
def test_one_baseline_for_all_samples(backend, layer, known):
    """Given as one sample, its record too or not, it says what a copy for each says, bit for bit."""
    rng, gates = np.random.default_rng(5), {"lstm": 4, "gru": 3}[layer]
    shapes = {"x": (3, 4, 5), "w_x": (5, gates * 7), "w_h": (7, gates * 7), "b": (gates * 7,)}
    weights = {k: rng.normal(size=s) for k, s in shapes.items()} | ({"b_n": None} if layer == "gru" else {})
    x0, M = rng.normal(size=(1, 4, 5)), rng.normal(size=(3, 4, 7))
    copies = np.repeat(x0, 3, axis=0)
    for module in (pyref, backend):
        multiplier = partial(getattr(module, f"{layer}_multiplier"), **weights, M=M)
        record = getattr(module, f"{layer}_forward")(**weights | {"x": copies})[1]
        answers = [multiplier(x0=x0), multiplier(x0=copies)]
        if known:
            first = _with_arrays(record, lambda v: v[:1])
            answers = [multiplier(x0=x0, record0=first), multiplier(x0=copies, record0=record)]
        for one, each in zip(*answers, strict=True):
            np.testing.assert_array_equal(one, each)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [name for name in pyref.RULES if name != "pass_"])
@pytest.mark.parametrize("layer", LAYERS)
@FEWER
@given(data=st.data())
def test_relevance(backend, layer, name, dtype, data):
    """And every column of the account."""
    case = LAYERS[layer](data.draw, dtype)
    rule, gate = data.draw(st.sampled_from(RULES[name])), data.draw(GATES)
    if name == "z_box" and rule.out_of_range == "raise":
        rule = replace(rule, low=-1e6, high=1e6)
    signals = {"R": case.draw(data.draw, "h"), "R_last": case.draw(data.draw, "state")}
    record, words = {"record": case.record(case.weights)}, {"rule": rule, "gate": gate}
    case.assert_back(backend, "relevance", signals, words, record, f"{layer} {name}", account=True)


# ---- the harness ----


@pytest.mark.parametrize("slip", ["1e-9", "dropped", "swapped"])
@pytest.mark.parametrize("layer", LAYERS)
def test_the_bound_bites(layer, slip):
    """It refuses a relative error of 1e-9, a step that was left out, and two gates in each other's place."""
    rng = np.random.default_rng(3)
    gates = {"lstm": 4, "gru": 3}[layer]
    shapes = {"x": (3, 4, 5), "w_x": (5, gates * 6), "w_h": (6, gates * 6), "b": (gates * 6,)}
    weights = {k: rng.normal(size=s) for k, s in shapes.items()} | ({"b_n": None} if layer == "gru" else {})
    R, rule = rng.normal(size=(3, 4, 6)), pyref.Epsilon(0.1)
    near = {k: v if v is None else Near.exact(v, np.float64, 40) for k, v in weights.items()}
    want = getattr(pyref, f"{layer}_relevance")(**near, R=Near.exact(R, np.float64, 40), rule=rule, gate="half")[0]
    if slip == "swapped":
        weights["w_x"] = np.roll(weights["w_x"], 6, axis=1)
    got = getattr(pyref, f"{layer}_relevance")(**weights, R=R, rule=rule, gate="half")[0]
    if slip == "dropped":
        got[1, 2] = 0
    got = got * (1 + 1e-9) if slip == "1e-9" else got
    assert np.isfinite(want.error).all()
    with pytest.raises(AssertionError):
        assert_within(got, want.value, want.error, np.float64, f"{layer} {slip}")
