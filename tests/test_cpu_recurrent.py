"""Recurrent kernels of the CPU backend: errors, passes, laws of long sequences, threads."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest
from bound import rounding

import pyref
import relprop.cpu as cpu
from relprop import _core

GATES = {"lstm": 4, "gru": 3}
MORE = {"lstm": ("b",), "gru": ("b", "b_n")}


def arrays(layer, n=4, t=60, c=5, h=7, dtype=np.float64, seed=0):
    """(x, w_x, w_h, b …), of a size that keeps gates open, and a signal at h."""
    rng = np.random.default_rng(seed)
    gates = GATES[layer]
    shapes = [(n, t, c), (c, gates * h), (h, gates * h), (gates * h,), (h,)][: 3 + len(MORE[layer])]
    scales = [1, c**-0.5, h**-0.5, 0.1, 0.1]
    given = [(rng.normal(size=s) * k).astype(dtype) for s, k in zip(shapes, scales, strict=False)]
    return given, rng.normal(size=(n, t, h)).astype(dtype)


# ---- errors ----

(X, W_X, W_H, B), R = arrays("lstm", t=3)
(_, V_X, V_H, V, V_N), _ = arrays("gru", t=3)
STATE, LENGTHS, RULE = R[:, 0], np.array([3, 2, 1, 0]), pyref.Epsilon()

REFUSED = {  # what: the call of a backend, refused by both in the same words
    "x's rank": lambda m: m.lstm_forward(X[0], W_X, W_H, B),
    "no steps": lambda m: m.lstm_forward(X[:, :0], W_X, W_H, B),
    "w_x": lambda m: m.lstm_forward(X, W_X[:3], W_H, B),
    "w_x's width": lambda m: m.lstm_forward(X, W_X[:, :5], W_H, B),
    "w_h": lambda m: m.lstm_forward(X, W_X, W_H[:, :5], B),
    "b": lambda m: m.lstm_forward(X, W_X, W_H, B[:5]),
    "h0": lambda m: m.lstm_forward(X, W_X, W_H, B, STATE[:2]),
    "c0": lambda m: m.lstm_forward(X, W_X, W_H, B, STATE, STATE[:, :2]),
    "lengths": lambda m: m.lstm_forward(X, W_X, W_H, B, lengths=LENGTHS[:2]),
    "lengths are no integers": lambda m: m.lstm_forward(X, W_X, W_H, B, lengths=LENGTHS / 2),
    "a length too long": lambda m: m.lstm_forward(X, W_X, W_H, B, lengths=LENGTHS + 1),
    "G": lambda m: m.lstm_gradient(X, W_X, W_H, B, R[:2]),
    "G_last": lambda m: m.lstm_gradient(X, W_X, W_H, B, R, G_last=STATE[:2]),
    "dx": lambda m: m.lstm_tangent(X, W_X, W_H, B, X[:, :2]),
    "dh0": lambda m: m.lstm_tangent(X, W_X, W_H, B, X, dh0=STATE[:2]),
    "R": lambda m: m.lstm_relevance(X, W_X, W_H, B, R[:2], RULE),
    "R_last": lambda m: m.lstm_relevance(X, W_X, W_H, B, R, RULE, R_last=STATE[:2]),
    "gate": lambda m: m.lstm_relevance(X, W_X, W_H, B, R, RULE, "most"),
    "pass": lambda m: m.lstm_relevance(X, W_X, W_H, B, R, pyref.Pass()),
    "a box too small for x": lambda m: m.lstm_relevance(X, W_X, W_H, B, R, pyref.ZBox(-1, 1)),
    "a box too small for h": lambda m: m.lstm_relevance(0 * X, W_X, W_H, B, R, pyref.ZBox(-0.01, 0.01)),
    "x0": lambda m: m.lstm_multiplier(X, W_X, W_H, B, X[:2], R),
    "M": lambda m: m.lstm_multiplier(X, W_X, W_H, B, X, R[:2]),
    "product": lambda m: m.lstm_multiplier(X, W_X, W_H, B, X, R, "most"),
    "argument missing": lambda m: m.lstm_relevance(X, W_X, W_H, B, R),
    "argument unknown": lambda m: m.lstm_forward(X, W_X, W_H, bias=B),
    "gru: w_h": lambda m: m.gru_forward(X, V_X, W_H, V),
    "gru: b_n": lambda m: m.gru_forward(X, V_X, V_H, V, V_N[:2]),
    "gru: b_n in the other form": lambda m: m.gru_forward(X, V_X, V_H, V, V_N, linear_before_reset=False),
    "gru: h0": lambda m: m.gru_forward(X, V_X, V_H, V, V_N, STATE[:2]),
    "gru: G": lambda m: m.gru_gradient(X, V_X, V_H, V, V_N, R[:2]),
    "gru: dx": lambda m: m.gru_tangent(X, V_X, V_H, V, V_N, X[:2]),
    "gru: gate": lambda m: m.gru_relevance(X, V_X, V_H, V, V_N, R, RULE, 1),
    "gru: pass": lambda m: m.gru_relevance(X, V_X, V_H, V, V_N, R, pyref.Pass()),
    "gru: a box too small": lambda m: m.gru_relevance(0 * X, V_X, V_H, V, V_N, R, pyref.ZBox(-0.001, 0.001)),
    "gru: x0": lambda m: m.gru_multiplier(X, V_X, V_H, V, V_N, X[:2], R),
    "gru: product": lambda m: m.gru_multiplier(X, V_X, V_H, V, V_N, X, R, "most"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_errors_are_pyrefs_word_for_word(what):
    with pytest.raises((ValueError, TypeError)) as theirs:
        REFUSED[what](pyref)
    with pytest.raises(type(theirs.value)) as mine:
        REFUSED[what](cpu)
    assert str(mine.value) == str(theirs.value)


def test_a_record_that_does_not_fit_is_refused():
    record = pyref.lstm_forward(X[:2], W_X, W_H, B)[1]
    with pytest.raises(ValueError, match=r"record.x has shape \(2, 3, 5\), expected \(4, 3, 5\)"):
        cpu.lstm_gradient(X, W_X, W_H, B, R, record=record)


# ---- passes ----

# Products of x's relevance and on the way from step to step, in blocks of width² and width · inputs a step.
PASSES = [("lstm", "all", 1), ("lstm", "half", 4), ("lstm", "gradient", 4), ("gru", "half", 3)]


@pytest.mark.parametrize(("layer", "gate", "blocks"), PASSES)
def test_passes(layer, gate, blocks):
    """LRP-all multiplies by the block g alone: a quarter of what the gradient costs."""
    given, R = arrays(layer, t=11)
    n, t, c = given[0].shape
    h = R.shape[-1]
    record = getattr(cpu, f"{layer}_forward")(*given)[1]
    _core.reset_counters()
    getattr(cpu, f"{layer}_relevance")(*given, R, RULE, gate, record=record)
    assert _core.counters()["flops"] == 2 * n * t * blocks * h * (h + c)
    _core.reset_counters()
    getattr(cpu, f"{layer}_gradient")(*given, R, record=record)
    assert _core.counters()["flops"] == 2 * n * t * GATES[layer] * h * (h + c)


@pytest.mark.parametrize("layer", GATES)
def test_forward_takes_no_workspace_but_packed_weights(layer):
    given, _ = arrays(layer)
    most = []
    for t in (50, 100):
        _core.reset_counters()
        getattr(cpu, f"{layer}_forward")(np.concatenate([given[0], given[0]], axis=1)[:, :t], *given[1:])
        most.append(_core.counters()["bytes_at_once"])
    assert most[0] == most[1]


# ---- laws of long sequences ----


def results(module, layer, given, R, **options):
    """What every function says, on a sequence and its baseline."""
    call = {name: getattr(module, f"{layer}_{name}") for name in ("gradient", "tangent", "relevance", "multiplier")}
    x = given[0]
    return [
        *call["gradient"](*given, R, **options),
        *call["tangent"](*given, x[:, ::-1], **options),
        *call["relevance"](*given, R, pyref.Epsilon(0.1), "half", **options),
        *call["multiplier"](*given, x / 2, R, **options),
    ]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("layer", GATES)
def test_a_record_that_is_made_and_one_that_is_given_are_the_same(layer, dtype):
    given, R = arrays(layer, dtype=dtype)
    record = getattr(cpu, f"{layer}_forward")(*given)[1]
    for question in ("gradient", "relevance"):
        rule = (RULE,) if question == "relevance" else ()
        call = partial(getattr(cpu, f"{layer}_{question}"), *given, R, *rule)
        for mine, theirs in zip(call(), call(record=record), strict=True):
            np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("layer", GATES)
def test_whole_sequences_lie_in_the_spread_of_perturbed_ones(layer):
    """Where pyref moves by as much when its inputs are rounded otherwise, a kernel may be as far from it."""
    given, R = arrays(layer)
    want = results(pyref, layer, given, R)
    rng, spread = np.random.default_rng(1), [np.zeros_like(w) for w in want]
    for _ in range(5):
        moved = [v * (1 + rng.choice([-1, 1], v.shape) * rounding(1, 1)) for v in given]
        spread = [
            np.maximum(s, np.abs(w - m)) for s, w, m in zip(spread, want, results(pyref, layer, moved, R), strict=True)
        ]
    for got, w, s in zip(results(cpu, layer, given, R), want, spread, strict=True):
        assert np.max(np.abs(got - w)) <= 10 * np.max(s) + rounding(100, np.max(np.abs(w)))


@pytest.mark.parametrize("gate", ["all", "half", "prop", "abs"])
@pytest.mark.parametrize("layer", GATES)
def test_what_leaves_and_what_stays_is_what_arrived(layer, gate):
    """Over a long sequence; of the terms, not of their sum, speaks the bound."""
    given, R = arrays(layer)
    account = pyref.Account()
    signals = getattr(cpu, f"{layer}_relevance")(*given, R, pyref.Epsilon(0.1), gate, account=account)
    kept = pyref.sum_samples(account.bias) + account.stabilizer + account.dropped + account.state
    size = sum(pyref.sum_samples(np.abs(v)) for v in (R, signals[0], account.bias)) + np.abs(account.stabilizer)
    left = pyref.sum_samples(R) - pyref.sum_samples(signals[0]) - kept
    assert (np.abs(left) <= rounding(20 * R[0].size, size)).all()


@pytest.mark.parametrize("layer", GATES)
def test_relevance_is_homogeneous_in_R(layer):
    given, R = arrays(layer, dtype=np.float32)
    call = partial(getattr(cpu, f"{layer}_relevance"), *given)
    for one, four in zip(call(R, RULE), call(4 * R, RULE), strict=True):
        np.testing.assert_array_equal(four, 4 * one)


@pytest.mark.parametrize("layer", GATES)
def test_deeplift_is_complete(layer):
    given, M = arrays(layer)
    x0 = given[0][::-1]
    forward = getattr(cpu, f"{layer}_forward")
    dh = forward(*given)[0] - forward(x0, *given[1:])[0]
    M_x = getattr(cpu, f"{layer}_multiplier")(*given, x0, M)[0]
    terms = M_x * (given[0] - x0)
    size = pyref.sum_samples(np.abs(terms)) + pyref.sum_samples(np.abs(M * dh))
    left = pyref.sum_samples(terms) - pyref.sum_samples(M * dh)
    assert (np.abs(left) <= rounding(20 * M[0].size, size)).all()


@pytest.mark.parametrize("layer", GATES)
def test_a_sample_does_not_see_the_others(layer):
    """NaN in one sample stays there; and the recurrence of a sample is the same bits in any batch."""
    given, R = arrays(layer)
    alone = results(cpu, layer, [given[0][:2], *given[1:]], R[:2])
    given[0][3, 5] = np.nan
    for whole, part in zip(results(cpu, layer, given, R), alone, strict=True):
        assert np.isnan(whole[3]).any() and np.isfinite(whole[:3]).all()
        assert np.max(np.abs(whole[:2] - part)) <= rounding(1000, np.max(np.abs(part)))


# ---- threads ----


@pytest.mark.parametrize("layer", GATES)
def test_calls_from_several_threads_say_the_same_to_the_bit(layer):
    before = cpu.threads()
    cpu.set_threads(2)
    try:
        given, R = arrays(layer, n=9, h=33, dtype=np.float32)

        def call(_=None):
            return [v.tobytes() for v in results(cpu, layer, given, R)]

        alone = call()
        assert alone == call(), "the same call, the same bits"
        with ThreadPoolExecutor(4) as pool:
            assert all(said == alone for said in pool.map(call, range(8)))
    finally:
        cpu.set_threads(before)
