"""The CPU backend as a module: its names, errors, passes, threads and bits."""

import gc
import inspect
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from pathlib import Path
from threading import Event, Thread
from time import sleep
from types import SimpleNamespace

import numpy as np
import pytest
from parity import assert_relevance, first_repeated, values, widened
from test_explain import Foreign

import pyref
import relprop
import relprop.cpu as cpu
from pyref.layers.dense import dense_terms
from relprop import _core


def arrays(n=6, i=20, o=9, dtype=np.float64, kind="normal", seed=0):
    rng = np.random.default_rng(seed)
    x, w = values(kind, (n, i), dtype, rng), values("normal", (i, o), dtype, rng)
    return x, w, values("normal", (o,), dtype, rng), values("normal", (n, o), dtype, rng)


# ---- names ----


def test_it_has_every_name_of_pyref():
    for name in pyref.__all__:
        assert hasattr(cpu, name)
    assert set(cpu.KERNELS) <= set(pyref.__all__)
    assert {n for n in dir(_core.cpu) if not n.startswith("_")} == set(cpu.KERNELS)


@pytest.mark.parametrize("name", cpu.KERNELS)
def test_signatures_and_docstrings_are_the_textbooks(name):
    mine, theirs = getattr(cpu, name), getattr(pyref, name)
    assert mine is not theirs
    assert inspect.signature(mine) == inspect.signature(theirs)
    assert mine.__doc__ == theirs.__doc__


def test_what_has_no_kernel_is_pyrefs_own():
    shorter = {"copied_output"}  # in Python, by a shorter way: test_copies.py
    for name in set(pyref.__all__) - set(cpu.KERNELS) - shorter:
        assert getattr(cpu, name) is getattr(pyref, name)


# ---- errors ----

X, W, B, R = arrays()

REFUSED = {  # what: the call of a backend, refused by both in the same words
    "w": lambda m: m.dense_forward(X, W[:3]),
    "w's rank": lambda m: m.dense_forward(X, W[0]),
    "b": lambda m: m.dense_forward(X, W, B[:3]),
    "b's rank": lambda m: m.dense_forward(X, W, R),
    "G": lambda m: m.dense_gradient(X, W, B, R[:3]),
    "dx": lambda m: m.dense_tangent(X, W, B, X[:, :3]),
    "relevance: w": lambda m: m.dense_relevance(X, W[:3], B, R, pyref.Epsilon()),
    "relevance: b": lambda m: m.dense_relevance(X, W, B[:3], R, pyref.Epsilon()),
    "relevance: R": lambda m: m.dense_relevance(X, W, B, R[:3], pyref.Epsilon()),
    "relevance: z": lambda m: m.dense_relevance(X, W, B, R, pyref.Epsilon(), R[:3]),
    "a box too small": lambda m: m.dense_relevance(X, W, B, R, pyref.ZBox(-0.5, 0.5)),
    "pass": lambda m: m.dense_relevance(X, W, B, R, pyref.Pass()),
    "argument missing": lambda m: m.dense_relevance(X, W, B),
    "argument unknown": lambda m: m.dense_forward(X, W, bias=B),
    "argument twice": lambda m: m.dense_forward(X, W, B, x=X),
}


@pytest.mark.parametrize("what", REFUSED)
def test_errors_are_pyrefs_word_for_word(what):
    with pytest.raises((ValueError, TypeError)) as theirs:
        REFUSED[what](pyref)
    with pytest.raises(type(theirs.value)) as mine:
        REFUSED[what](cpu)
    assert str(mine.value) == str(theirs.value)


@pytest.mark.parametrize("bad", [X.astype(np.float16), X.astype(int), X > 0, X + 0j, X.tolist(), None, 3])
def test_dtypes_are_refused_in_pyrefs_words(bad):
    with pytest.raises(TypeError) as theirs:
        pyref.check.check_float("x", bad)
    with pytest.raises(TypeError) as mine:
        cpu.dense_forward(bad, W)
    assert str(mine.value) == str(theirs.value)


def test_exact_arrays_are_for_pyref():
    with pytest.raises(TypeError, match="w has dtype object, expected float32 or float64"):
        cpu.dense_forward(X, W.astype(object))


def test_dtypes_mix_as_numpy_mixes_them():
    for x, w in ((X.astype(np.float32), W), (X, W.astype(np.float32)), (X.astype(np.float32), W.astype(np.float32))):
        assert cpu.dense_forward(x, w).dtype == pyref.dense_forward(x, w).dtype == np.result_type(x, w)


# ---- arrays of other libraries ----


def through_another_library(name, *arguments, **options):
    """What a kernel answers to arrays that only speak DLPack, as NumPy's, and whether all of it was theirs."""

    def theirs(v):
        if isinstance(v, tuple):
            return tuple(map(theirs, v))
        if isinstance(v, pyref.LSTMRecord):
            return replace(v, **{f.name: theirs(getattr(v, f.name)) for f in fields(v)})
        return Foreign(v) if isinstance(v, np.ndarray) else v

    def ours(v):
        if isinstance(v, tuple):
            return tuple(map(ours, v))
        if isinstance(v, pyref.LSTMRecord):
            return {f.name: ours(getattr(v, f.name)) for f in fields(v)}
        assert isinstance(v, Foreign | bool) or v is None
        return getattr(v, "values", v)

    return ours(getattr(cpu, name)(*map(theirs, arguments), **{k: theirs(v) for k, v in options.items()}))


def test_arrays_of_another_library_go_in_and_come_out():
    rng = np.random.default_rng(0)
    image, steps = rng.normal(size=(2, 3, 6, 6)), rng.normal(size=(2, 4, 3))
    lstm = steps, rng.normal(size=(3, 8)), rng.normal(size=(2, 8)), rng.normal(size=8)
    record = cpu.lstm_forward(*lstm)[1]
    for name, arguments, options in (
        ("dense_forward", (X, W, B), {}),
        ("dense_relevance", (X[:, ::2], W[::2], None, R[::-1], pyref.AlphaBeta()), {}),
        ("conv_relevance", (image, image[:, :, :3, :3], None, image[:, :2], pyref.Gamma()), {"padding": 1}),
        ("add_gradient", ((X, X[:, :1]), X), {}),
        ("max_pool_forward", (image, 2), {}),
        ("embedding_forward", (np.array([[0, 2]]), X), {}),
        ("lstm_gradient", (*lstm, record.h), {"record": record}),
        ("activation_forward", (X.astype(np.float32), pyref.GELU()), {}),
    ):
        got, want = through_another_library(name, *arguments, **options), getattr(cpu, name)(*arguments, **options)
        pairs = zip(got, want, strict=True) if isinstance(want, tuple) else [(got, want)]
        assert all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in pairs)
    h, states = through_another_library("lstm_forward", *lstm)
    assert np.array_equal(h, record.h) and np.array_equal(states["c_prev"], record.c_prev)
    account, want, told = SimpleNamespace(), pyref.Account(), {}
    account.add_bias = lambda share: told.update(bias=share)
    account.add_kept = lambda stabilizer, dropped: told.update(stabilizer=stabilizer, dropped=dropped)
    cpu.dense_relevance(*(Foreign(v) for v in (X, W, B, R)), pyref.Epsilon(), account=account)
    cpu.dense_relevance(X, W, B, R, pyref.Epsilon(), account=want)
    assert all(np.array_equal(told[column].values, getattr(want, column)) for column in told) and len(told) == 3


def test_arrays_of_another_library_are_not_copied_and_may_be_let_go():
    mine = R.copy()
    answer = cpu.dense_relevance(Foreign(R), Foreign(np.eye(9)), None, Foreign(mine), pyref.Pass())
    assert np.shares_memory(answer.values, mine)
    answer = cpu.dense_forward(Foreign(X.copy()), Foreign(W.copy()))
    gc.collect()
    assert np.array_equal(answer.values, cpu.dense_forward(X, W))


def test_arrays_of_another_library_are_refused_in_pyrefs_words():
    with pytest.raises(ValueError) as theirs:
        pyref.dense_forward(X, W[:3])
    with pytest.raises(ValueError) as mine:
        cpu.dense_forward(Foreign(X), Foreign(W[:3]))
    assert str(mine.value) == str(theirs.value)
    with pytest.raises(TypeError, match="w has dtype float16, too narrow to divide by"):
        cpu.dense_forward(Foreign(X), Foreign(W.astype(np.float16)))


def test_tensors_are_read_where_they_lie():
    torch = pytest.importorskip("torch")
    z = cpu.dense_forward(torch.tensor(X, requires_grad=True), torch.tensor(W))
    assert isinstance(z, torch.Tensor) and z.dtype == torch.float64
    assert np.array_equal(z.numpy(), cpu.dense_forward(X, W))


# ---- passes ----

POSITIVE, SIGNED, BALANCED = "positive", "normal", "normal"

# Passes over the weights per call, in units of one matrix product of the layer: what 1 C or 1 T costs.
PASSES = [
    # rule, input, is z known, extra forward passes, transposed passes
    (pyref.Epsilon(), SIGNED, True, 0, 1),
    (pyref.Epsilon(bias="uniform"), SIGNED, True, 0, 1),
    (pyref.Epsilon(), SIGNED, False, 1, 1),
    (pyref.Norm(), SIGNED, True, 0, 1),
    (pyref.ZPlus(), POSITIVE, True, 1, 1),
    (pyref.ZPlus(), SIGNED, True, 2, 2),
    (pyref.AlphaBeta(1, 0), POSITIVE, True, 1, 1),
    (pyref.AlphaBeta(), BALANCED, True, 1, 2),
    (pyref.Gamma(form="weight"), POSITIVE, True, 1, 1),
    (pyref.Gamma(), POSITIVE, True, 1, 2),
    (pyref.Gamma(), SIGNED, True, 1, 2),
    (pyref.WSquare(), SIGNED, True, 0, 1),
    (pyref.Flat(), SIGNED, True, 0, 0),
    (pyref.ZBox(-9, 9), SIGNED, True, 2, 2),
    (pyref.Pass(), SIGNED, True, 0, 0),
]


@pytest.mark.parametrize(("rule", "kind", "is_known", "forward", "back"), PASSES, ids=str)
def test_passes(rule, kind, is_known, forward, back):
    n, i, o = (8, 300, 300) if isinstance(rule, pyref.Pass) else (8, 300, 40)
    x, w, b, R = arrays(n, i, o, np.float32, kind)
    z = pyref.dense_forward(x, w, b)
    _core.reset_counters()
    cpu.dense_relevance(x, w, b, R, rule, z if is_known else None)
    assert _core.counters()["flops"] == (forward + back) * 2 * n * i * o


@pytest.mark.parametrize(("rule", "kind", "is_known", "forward", "back"), PASSES, ids=str)
def test_one_x_for_many_relevances_is_summed_up_once(rule, kind, is_known, forward, back):
    n, i, o = (8, 300, 300) if isinstance(rule, pyref.Pass) else (8, 300, 40)
    x, w, b, R = arrays(n, i, o, np.float32, kind)
    x = first_repeated(x)
    z = first_repeated(pyref.dense_forward(x, w, b)) if is_known else None
    _core.reset_counters()
    cpu.dense_relevance(x, w, b, R, rule, z)
    assert _core.counters()["flops"] == (forward + n * back) * 2 * i * o


def test_a_look_at_one_x_for_many_relevances_reads_that_one():
    """Units are looked at in each sample of R, and there is one x for all: what lies behind it is another's."""
    n, i, o = 64, 300, 130
    behind, w, b, R = arrays(n, i, o, np.float32, BALANCED)
    behind[1:] = 0  # of which no sum of sizes would be large enough
    x = first_repeated(behind)
    z = first_repeated(pyref.dense_forward(x, w, b))
    _core.reset_counters()
    cpu.dense_relevance(x, w, b, R, pyref.AlphaBeta(), z)
    assert _core.counters()["flops"] == (1 + 2 * n) * 2 * i * o


def test_gamma_behind_a_relu_is_one_pass_each_way():
    """Relevance then arrives only where z > 0, and the two forms of γ are one. Not so where the layer feeds a sum."""
    n, i, o = 8, 300, 40
    x, w, b, R = arrays(n, i, o, np.float32, POSITIVE)
    z = pyref.dense_forward(x, w, b)
    for given, passes in ((np.where(z > 0, R, 0), 1 + 1), (R, 1 + 2)):
        _core.reset_counters()
        cpu.dense_relevance(x, w, b, given, pyref.Gamma(), z)
        assert _core.counters()["flops"] == passes * 2 * n * i * o


def test_alpha_beta_behind_a_relu_sums_one_sign():
    """Where z > 0 the sum of the other sign is what is left of z; elsewhere it may be too little of it."""
    n, i, o = 8, 300, 40
    x, w, b, R = arrays(n, i, o, np.float32, POSITIVE)
    b[7] = -1000
    z = pyref.dense_forward(x, w, b)
    for given, passes in ((np.where(z > 0, R, 0), 1 + 2), (R, 2 + 2)):
        _core.reset_counters()
        cpu.dense_relevance(x, w, b, given, pyref.AlphaBeta(), z)
        assert _core.counters()["flops"] == passes * 2 * n * i * o


# Passes over the weights beside the forward one, of a convolution that sees the input, of one behind a ReLU, and of
# dense layers behind one.
COMPOSITE_PASSES = {
    "epsilon": ((0, 1), (0, 1), (0, 1)),
    "epsilon_plus": ((2, 2), (1, 1), (0, 1)),
    "epsilon_plus_flat": ((0, 0), (1, 1), (0, 1)),
    "epsilon_alpha2_beta1": ((2, 4), (1, 2), (0, 1)),  # 27 contributions: units nearly of one sign, not had by size
    "epsilon_gamma_box": ((2, 2), (1, 1), (0, 1)),
}


@pytest.mark.parametrize("composite", COMPOSITE_PASSES)
def test_passes_of_a_network(composite):
    rng = np.random.default_rng(0)
    shapes = {"first": (8, 3, 3, 3), "second": (8, 8, 3, 3)}
    first, second = (rng.normal(size=shape).astype(np.float32) for shape in shapes.values())
    third, fourth = (rng.normal(size=shape).astype(np.float32) for shape in ((8 * 36, 20), (20, 5)))
    features = [pyref.Conv(first, None, padding=1), pyref.ReLU(), pyref.Conv(second, None, padding=1), pyref.ReLU()]
    classifier = [pyref.MaxPool(2), pyref.Flatten(), pyref.Dense(third, None), pyref.ReLU(), pyref.Dense(fourth, None)]
    network = pyref.Network.sequential(features + classifier)
    x = rng.uniform(-1, 1, size=(2, 3, 12, 12)).astype(np.float32)
    size = [2 * 2 * 144 * first.size, 2 * 2 * 144 * second.size, 2 * 2 * (third.size + fourth.size)]
    low_high = {"low": -1.0, "high": 1.0} if "box" in composite else {}
    _core.reset_counters()
    relprop.explain(network, x, method="lrp", rule=composite, target=1, backend="cpu", **low_high)
    want = sum((1 + sum(passes)) * flops for passes, flops in zip(COMPOSITE_PASSES[composite], size, strict=True))
    assert _core.counters()["flops"] == want


def test_a_unit_of_one_sign_sends_alpha_beta_the_accurate_way():
    """Where a sum by sign is small beside the sum of sizes, it is not had as their difference."""
    x, w, b, R = arrays(8, 300, 40, np.float32)
    w[:, 7] = np.sign(x[0]) * np.abs(w[:, 7])
    _core.reset_counters()
    cpu.dense_relevance(x, w, b, R, pyref.AlphaBeta(), pyref.dense_forward(x, w, b))
    assert _core.counters()["flops"] == (1 + 4 + 4) * 2 * x.size * 40
    _core.reset_counters()
    R[:, 7] = 0
    cpu.dense_relevance(x, w, b, R, pyref.AlphaBeta(), pyref.dense_forward(x, w, b))
    assert _core.counters()["flops"] == (1 + 2) * 2 * x.size * 40, "a unit without relevance does not matter"


ONE_SIGN = "every contribution to one unit has the same sign"
NEIGHBOURS = {  # of a sample: what they allow, or do not, to be had at less
    "alpha_beta": (pyref.AlphaBeta(), ("signed", "nonnegative", ONE_SIGN)),
    "gamma": (pyref.Gamma(), ("signed", "nonnegative", "without relevance")),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", NEIGHBOURS)
def test_what_is_in_its_batch_moves_a_sample_by_no_more_than_its_bound(name, dtype):
    """Samples of a dense layer share products, which round by their number, and a cheaper form is taken where all allow
    it: so last bits depend on neighbours. In each company a sample is as near to the textbook as its bound says.
    """
    rule, companies = NEIGHBOURS[name]
    x, w, b, R = arrays(3, 60, 7, dtype)
    if name == "gamma":  # as behind a ReLU
        x[0] = np.abs(x[0])
        R[0] *= pyref.dense_forward(x, w, b)[0] > 0
    ways = set()
    for company in companies:
        x_here, R_here = x.copy(), R.copy()
        if company != "signed":
            x_here[1:] = np.abs(x[1:])
        if company == ONE_SIGN:
            x_here[1] *= np.sign(w[:, 3])
        if company == "without relevance":
            R_here[1:] = 0
        call = {"x": x_here, "w": w, "b": b, "R": R_here, "rule": rule}
        terms = dense_terms(widened(x_here, dtype), widened(w, dtype))
        wide_b, wide_R = widened(b, dtype), widened(R_here, dtype)
        _core.reset_counters()
        assert_relevance("dense_relevance", cpu, call, terms, wide_b, wide_R, rule, dtype, f"dense {name} in company")
        ways.add(_core.counters()["flops"])
    assert len(ways) > 1, "companies go different ways"


def test_gradient_and_forward_are_one_product_and_no_workspace():
    x, w, b, G = arrays(8, 300, 40)
    for call in (
        lambda: cpu.dense_forward(x, w, b),
        lambda: cpu.dense_gradient(x, w, b, G),
        lambda: cpu.dense_tangent(x, w, b, x),
    ):
        _core.reset_counters()
        call()
        assert _core.counters() == {
            "products": 1,
            "flops": 2 * 8 * 300 * 40,
            "allocations": 0,
            "bytes": 0,
            "bytes_at_once": 0,
        }


@pytest.mark.parametrize(
    "rule", [pyref.Epsilon(), pyref.ZPlus(), pyref.Gamma(), pyref.AlphaBeta(), pyref.ZBox(-9, 9)], ids=str
)
def test_workspace_does_not_grow_with_the_batch(rule):
    """Samples are taken as many at once as the caches hold: no temporary is of the size of the activations."""
    most = []
    for n in (1 << 15, 1 << 16):
        x, w, b, R = arrays(n, 64, 64, np.float32)
        _core.reset_counters()
        cpu.dense_relevance(x, w, b, R, rule, R)
        most.append(_core.counters()["bytes_at_once"])
    assert most[0] == most[1]
    assert _core.counters()["allocations"] > 0


@pytest.mark.parametrize("name", [name for name in pyref.RULES if name != "pass_"])
def test_samples_beyond_those_that_are_taken_at_once(name):
    """They are met by their own numbers: values and account of some on either side of each border."""
    at_once, i, o = 1 << 17, 3, 5
    n = 2 * at_once + 3
    x, w, b, R = arrays(n, i, o, np.float32)
    some = np.r_[0:2, at_once - 2 : at_once + 2, 2 * at_once - 2 : n]
    rule = pyref.ZBox(-9, 9) if name == "z_box" else pyref.RULES[name]()

    def of_some(account, **_):
        whole = pyref.Account()
        r = cpu.dense_relevance(x, w, b, R, rule, account=whole)
        if whole.bias is not None:
            account.add_bias(whole.bias[some])
        account.add_kept(whole.stabilizer[some], whole.dropped[some])
        return r[some]

    among = SimpleNamespace(dense_relevance=of_some)
    call = {"x": x[some], "w": w, "b": b, "R": R[some], "rule": rule}
    terms = dense_terms(widened(x[some], np.float32), widened(w, np.float32))
    wide_b, wide_R = widened(b, np.float32), widened(R[some], np.float32)
    assert_relevance(
        "dense_relevance", among, call, terms, wide_b, wide_R, rule, np.float32, f"dense {name} among many"
    )


IMAGE = np.random.default_rng(0).normal(size=(4, 8, 14, 14)).astype(np.float32)
CHANNELS, GRAPH = IMAGE[0, :, 0, 0], IMAGE[0, 0]
ELEMENTWISE = {
    "activation_forward": lambda x: (x, pyref.GELU()),
    "activation_gradient": lambda x: (x, pyref.Tanh(), x),
    "activation_quotient": lambda x: (x, x[:1], pyref.Sigmoid()),
    "activation_multiplier": lambda x: (x, x[:1], pyref.Sigmoid(), x),
    "activation_ratio": lambda x: (x, pyref.ReLU()),
    "add_forward": lambda x: ((x, x, x),),
    "batchnorm_forward": lambda x: (x, CHANNELS, CHANNELS),
    "batchnorm_gradient": lambda x: (x, CHANNELS, CHANNELS, x),
    "divide_gradient": lambda x: ((x, x), x),
    "embedding_forward": lambda x: (np.arange(8), x[0, 0]),
    "log_softmax_gradient": lambda x: (x, x),
    "multiply_multiplier": lambda x: ((x, x), (x, x), x),
    "multiply_relevance": lambda x: ((x, x), x, "prop"),
    "scale_forward": lambda x: (x, CHANNELS[:, None, None]),
    "softmax_forward": lambda x: (x,),
}


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_elementwise_kernels_take_no_workspace(name):
    _core.reset_counters()
    getattr(cpu, name)(*ELEMENTWISE[name](IMAGE))
    assert set(_core.counters().values()) == {0}


RELEVANCES = {  # with the output known: one share per output, beside the rows or windows at hand
    "batchnorm": lambda x, rule: cpu.batchnorm_relevance(x, CHANNELS, CHANNELS, x, rule, x),
    "add": lambda x, rule: cpu.add_relevance((x, x), x, rule, x),
    "scale": lambda x, rule: cpu.scale_relevance(x, 2.0, x, rule, x),
    "avg_pool": lambda x, rule: cpu.avg_pool_relevance(x, x[..., ::2, ::2], rule, 2, z=x[..., ::2, ::2]),
    "mean": lambda x, rule: cpu.mean_relevance(x, (2, 3), x[..., 0, 0], rule, x[..., 0, 0]),
    "max_pool": lambda x, rule: cpu.max_pool_relevance(x, x[..., ::2, ::2], 2),
    "aggregate": lambda x, rule: cpu.aggregate_relevance(x[:, 0], GRAPH, x[:, 0], rule, x[:, 0]),
}


@pytest.mark.parametrize("name", RELEVANCES)
def test_workspace_of_other_layers_does_not_grow_with_the_batch(name):
    threads, most = cpu.threads(), []
    cpu.set_threads(1)
    for n in (1 << 12, 1 << 13):
        x = np.tile(IMAGE, (n // 4, 1, 1, 1))
        _core.reset_counters()
        RELEVANCES[name](x, pyref.Epsilon())
        most.append(_core.counters()["bytes_at_once"])
    cpu.set_threads(threads)
    assert most[0] == most[1] < IMAGE.nbytes / 4 * n / 2
    assert _core.counters()["products"] == (n if name == "aggregate" else 0)


# ---- products with few rows ----


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("inputs", [1, 17, 257, 1023, 1031])
@pytest.mark.parametrize("outputs", [1, 3, 5, 131])
def test_few_rows_are_multiplied_whole(inputs, outputs, transposed, dtype):
    """In whole numbers, on both sides of the number of rows from which on a BLAS is called; half of x is 0."""
    rng = np.random.default_rng(inputs)
    w = rng.integers(-3, 4, size=(outputs, inputs)).astype(dtype)
    w = w.T if transposed else np.ascontiguousarray(w.T)
    for n in (0, 1, 2, 3, 4, 5, 7, 8, 9, 13, 31, 32, 33):
        x, G = (np.maximum(rng.integers(-3, 4, size=(n, k)), 0).astype(dtype) for k in (inputs, outputs))
        assert (cpu.dense_forward(x, w) == x @ w).all()
        assert (cpu.dense_gradient(x, w, None, G) == G @ w.T).all()


def test_few_rows_have_their_own_bits():
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(32, 1031)).astype(np.float32), rng.normal(size=(9, 1031)).astype(np.float32).T
    z = cpu.dense_forward(x, w)
    for n in range(1, 32, 5):
        assert (cpu.dense_forward(x[n:], w) == z[n:]).all()


# ---- threads ----


@pytest.fixture
def two_threads():
    before = cpu.threads()
    cpu.set_threads(2)
    yield
    cpu.set_threads(before)


def test_the_number_of_threads(two_threads):
    assert cpu.threads() == 2
    cpu.set_threads(3)
    assert cpu.threads() == 3
    with pytest.raises(ValueError, match="n is 0, expected at least 1"):
        cpu.set_threads(0)


def test_threadpoolctl_reaches_it(two_threads):
    threadpoolctl = pytest.importorskip("threadpoolctl")
    folder = Path(_core.__file__).parent
    assert [lib for lib in threadpoolctl.threadpool_info() if Path(lib["filepath"]).parent == folder]
    with threadpoolctl.threadpool_limits(1, user_api="blas"):
        assert cpu.threads() == 1
    assert cpu.threads() == 2


def test_the_environment_reaches_it():
    run = subprocess.run(
        [sys.executable, "-c", "import relprop.cpu; print(relprop.cpu.threads())"],
        env={k: v for k, v in os.environ.items() if k != "OPENBLAS_NUM_THREADS"} | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout == "1\n"


def test_a_product_leaves_the_number_of_threads_as_it_is(two_threads):
    """The library's own number is 1 while our threads share a product out; nobody sees that."""
    x, w = np.ones((200, 300), np.float32), np.ones((300, 400), np.float32)
    with ThreadPoolExecutor(3) as pool:
        calls = [pool.submit(cpu.dense_forward, x, w) for _ in range(200)]
        seen = {cpu.threads()}
        while not all(call.done() for call in calls):
            seen.add(cpu.threads())
    assert seen == {2} == {cpu.threads()}
    assert all((call.result() == 300).all() for call in calls)


def all_at_once(n=600, i=70, o=90):
    """Results of every rule on a batch that several threads share."""
    x, w, b, R = arrays(n, i, o, np.float32)
    rules = [pyref.RULES[name]() for name in pyref.RULES if name not in ("pass_", "z_box")]
    return [lambda rule=rule: cpu.dense_relevance(x, w, b, R, rule).tobytes() for rule in rules]


def test_calls_from_several_threads_say_the_same_to_the_bit(two_threads):
    calls = all_at_once() * 4
    alone = [call() for call in calls]
    assert alone == [call() for call in calls], "the same call, the same bits"
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda call: call(), calls)) == alone


LONG = {  # calls of some tenths of a second
    "dense_forward": lambda: (np.ones((700, 2000)), np.ones((2000, 700))),
    "conv_relevance": lambda: (
        np.ones((20, 16, 64, 64)),
        np.ones((16, 16, 3, 3)),
        None,
        np.ones((20, 16, 62, 62)),
        pyref.ZPlus(),
    ),
    "activation_forward": lambda: (np.ones((1 << 24,)), pyref.GELU()),
    "layer_norm_forward": lambda: (np.ones((1 << 14, 1 << 10)),),
}


@pytest.mark.parametrize("name", LONG)
def test_other_threads_of_python_run_while_a_kernel_does(name):
    """The GIL is released: a thread that sleeps and wakes again finds the call still running, more than once."""
    arguments, running, seen = LONG[name](), Event(), 0

    def call():
        running.set()
        getattr(cpu, name)(*arguments)
        running.clear()

    thread = Thread(target=call)
    thread.start()
    while thread.is_alive():
        sleep(0.001)
        seen += running.is_set()
    thread.join()
    assert seen > 3


FORKED = """
import os, sys
sys.path[:0] = {path!r}
import relprop.cpu as cpu
from test_cpu import all_at_once
cpu.set_threads(2)
before = [call() for call in all_at_once()]
child = os.fork()
if child == 0:
    os._exit([call() for call in all_at_once()] != before)
_, status = os.waitpid(child, 0)
sys.exit(os.waitstatus_to_exitcode(status))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_process_computes_on():
    code = FORKED.format(path=[str(Path(__file__).parent)])
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], timeout=60, check=True)


# ---- zeros and what is not finite ----


@pytest.mark.parametrize("stabilizer", ["add", "clip"])
@pytest.mark.parametrize("zero", [0.0, -0.0])
def test_both_zeros_are_positive(zero, stabilizer):
    """s(-0) = +1: seen in what the bias keeps, R b / ε."""
    x, w, b, R = (np.array(v) for v in ([[1.0]], [[2.0]], [-2.0], [[3.0]]))
    account = cpu.Account()
    cpu.dense_relevance(x, w, b, R, pyref.Epsilon(0.5, stabilizer=stabilizer), np.array([[zero]]), account)
    assert account.bias == [[-12.0]]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", pyref.RULES)
@pytest.mark.parametrize("where", ["x", "R"])
def test_what_is_not_finite_goes_through_as_in_pyref(bad, name, where):
    """Not finite in the same places, and other samples are not touched. NaN stays NaN; of an infinity either may
    come, for 0 · ∞ and ∞ - ∞ depend on the way in which a sum is written.
    """
    x, w, b, R = arrays(5, 7, 7)
    {"x": x, "R": R}[where][2, 3] = bad
    rule = pyref.ZBox(-9, 9, out_of_range="clip") if name == "z_box" else pyref.RULES[name]()
    with np.errstate(all="ignore"):
        want, got = (m.dense_relevance(x, w, b, R, rule) for m in (pyref, cpu))
    assert (np.isfinite(got) == np.isfinite(want)).all()
    assert np.isfinite(got[[0, 1, 3, 4]]).all()
    assert not np.isnan(bad) or (np.isnan(got) == np.isnan(want)).all()
