"""Level 2 of softmax, embedding and aggregation over a graph: kernels against pyref within derived bounds."""

import numpy as np
import pytest
from bound import rounding, sum_bound
from hypothesis import given
from hypothesis import strategies as st
from parity import DTYPES, assert_relevance, assert_within, generators, kinds, layouts, lengths, values, widened
from test_formula import corners
from test_parity import RULES
from test_parity_merge import SIGNALS, shapes, within

import pyref
from pyref.layers.aggregate import aggregate_terms

# ── softmax ────────────────────────────────────────────────────────────────────────────────────────────

EXP = 8  # units in the last place that an exponential may be off: test_formula_activation


@st.composite
def softmax_cases(draw, dtype):
    """(x, G, axis), with an axis that is not empty."""
    shape, axis = draw(shapes()), draw(st.integers(1, 3))
    axis = min(axis, len(shape) - 1)
    shape = (*shape[:axis], max(1, shape[axis]), *shape[axis + 1 :])
    rng, layout = draw(generators), draw(layouts)
    x = values(draw(st.sampled_from(["normal", "zeros_and_ties"])), shape, dtype, rng) * dtype(
        draw(st.sampled_from([1, 30]))
    )
    signed = draw(st.sampled_from([axis, axis - len(shape)]))
    return layout(x), layout(values(draw(SIGNALS), shape, dtype, rng)), signed


def softmax_bounds(x, G, axis, dtype):
    """Bounds of p, y, and the answers to G, from the rounding of x - max, of exp, and of the sums.

    exp magnifies the rounding of d = max - x by d; a share p carries its own and that of the total, Σ p d.
    """
    x, G = widened(x, dtype), np.abs(widened(G, dtype))
    p = pyref.softmax_forward(x, axis)
    d = np.max(x, axis=axis, keepdims=True) - x
    m, total = x.shape[axis], np.sum(p * d, axis=axis, keepdims=True)
    of_total = rounding(1, total + m + 2 * EXP, dtype)
    tiny = float(np.finfo(dtype).tiny) * m
    of_p = p * (rounding(1, d + 2 * EXP + 4, dtype) + of_total) + tiny
    dot, dp_dot = np.sum(p * G, axis=axis, keepdims=True), np.sum(of_p * G, axis=axis, keepdims=True)
    sums = np.sum(G, axis=axis, keepdims=True)
    return {
        "softmax_forward": of_p,
        "log_softmax_forward": rounding(4, d + np.log(m) + 1, dtype) + of_total + tiny,
        "softmax_gradient": of_p * (G + dot) + p * dp_dot + rounding(m + 4, p * (G + dot), dtype) + tiny,
        "log_softmax_gradient": of_p * sums + rounding(m + 4, G + p * sums, dtype) + tiny,
        "log_softmax_tangent": dp_dot + rounding(m + 4, G + dot, dtype) + tiny,
    }


@pytest.mark.parametrize("dtype", DTYPES)
@given(data=st.data())
def test_softmax(backend, dtype, data):
    x, G, axis = data.draw(softmax_cases(dtype))
    bounds = softmax_bounds(x, G, axis, dtype)
    bounds["softmax_tangent"] = bounds["softmax_gradient"]
    for name, bound in bounds.items():
        signals = () if name.endswith("forward") else (G,)
        want = getattr(pyref, name)(widened(x, dtype), *(widened(s, dtype) for s in signals), axis)
        assert_within(getattr(backend, name)(x, *signals, axis), want, bound, dtype, name)


@pytest.mark.parametrize("dtype", DTYPES)
@given(rng=generators)
def test_softmax_of_corners(backend, dtype, rng):
    """Infinity and NaN come out where they do in pyref."""
    x = rng.choice(corners(dtype), size=(30, 3, 2))
    for axis in (1, 2):
        with np.errstate(all="ignore"):
            got, want = (m.softmax_forward(x, axis) for m in (backend, pyref))
            log_got, log_want = (m.log_softmax_forward(x, axis) for m in (backend, pyref))
        np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
        np.testing.assert_array_equal(np.isnan(log_got), np.isnan(log_want))
        np.testing.assert_array_equal(log_got == -np.inf, log_want == -np.inf)


def test_long_softmax(backend):
    x = np.random.default_rng(0).normal(size=(3, 5003)).astype(np.float32)
    for of in (x, np.ascontiguousarray(x.T)[None]):
        p = backend.softmax_forward(of, 1)
        bound = softmax_bounds(of, of, 1, np.float32)["softmax_forward"]
        assert_within(p, pyref.softmax_forward(widened(of, np.float32), 1), bound, np.float32, "softmax_forward")


# ── embedding ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("dtype", DTYPES)
@given(data=st.data())
def test_embedding(backend, dtype, data):
    rng, v, e = data.draw(generators), data.draw(lengths), data.draw(lengths)
    shape = data.draw(st.sampled_from([(0,), (3,), (2, 5), (2, 0), (1, 3, 2)])) if v else (2, 0)
    kind = data.draw(st.sampled_from([np.int8, np.int32, np.int64, np.uint16, np.uint64]))
    ids = data.draw(layouts)(rng.integers(0, max(1, v), size=shape).astype(kind))
    table = data.draw(layouts)(values("normal", (v, e), dtype, rng))
    got = backend.embedding_forward(ids, table)
    want = pyref.embedding_forward(ids, table)
    assert got.dtype == want.dtype
    np.testing.assert_array_equal(got, want)


# ── aggregation ────────────────────────────────────────────────────────────────────────────────────────


@st.composite
def graphs(draw, dtype):
    """(x, A with edges missing, R)."""
    rng, layout = draw(generators), draw(layouts)
    n, nodes, after, channels = draw(st.integers(0, 3)), draw(lengths), draw(lengths), draw(lengths)
    A = values(draw(SIGNALS), (after, nodes), dtype, rng) * (rng.random((after, nodes)) < 0.7)
    x, R = (
        values(draw(kinds), (n, nodes, channels), dtype, rng),
        values(draw(SIGNALS), (n, after, channels), dtype, rng),
    )
    return layout(x), layout(A.astype(dtype)), layout(R)


@pytest.mark.parametrize("dtype", DTYPES)
@given(data=st.data())
def test_aggregate(backend, dtype, data):
    x, A, G = data.draw(graphs(dtype))
    cases = {"forward": ((x, A), x.shape[1]), "gradient": ((x, A, G), A.shape[0]), "tangent": ((x, A, x), x.shape[1])}
    for name, (arguments, n) in cases.items():
        got = getattr(backend, f"aggregate_{name}")(*arguments)
        want = getattr(pyref, f"aggregate_{name}")(*(widened(a, dtype) for a in arguments))
        size = getattr(pyref, f"aggregate_{name}")(*(np.abs(widened(a, dtype)) for a in arguments))
        assert_within(got, want, sum_bound(n, size, dtype), dtype, f"aggregate_{name}")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [name for name in pyref.RULES if name != "pass_"])
@given(data=st.data())
def test_aggregate_relevance(backend, name, dtype, data):
    x, A, R = data.draw(graphs(dtype))
    rule = data.draw(st.sampled_from(RULES[name]))
    x = within(rule, x)
    arguments = {"x": x, "adjacency": A, "R": R, "rule": rule}
    if data.draw(st.booleans()):
        arguments["z"] = pyref.aggregate_forward(widened(x, dtype), widened(A, dtype)).astype(dtype)
    terms = aggregate_terms(widened(x, dtype), widened(A, dtype))
    label = f"aggregate {name}"
    assert_relevance("aggregate_relevance", backend, arguments, terms, None, widened(R, dtype), rule, dtype, label)


X = np.ones((2, 3, 4))
IDS = np.array([[0, 3, 1]])
REFUSED = {
    "softmax axis": lambda m: m.softmax_forward(X, 0),
    "no such axis": lambda m: m.log_softmax_forward(X, 3),
    "an empty axis": lambda m: m.softmax_forward(X[:, :0]),
    "softmax G": lambda m: m.softmax_gradient(X, X[:1]),
    "softmax dx": lambda m: m.softmax_tangent(X, X[:1]),
    "log softmax G": lambda m: m.log_softmax_gradient(X, X[0]),
    "log softmax dx": lambda m: m.log_softmax_tangent(X, X[0]),
    "ids": lambda m: m.embedding_forward(IDS, X[0]),
    "negative ids": lambda m: m.embedding_forward(IDS - 1, np.ones((3, 2))),
    "vast ids": lambda m: m.embedding_forward(np.array([2**64 - 1], np.uint64), X[0]),
    "x": lambda m: m.aggregate_forward(X[0], X[0]),
    "adjacency": lambda m: m.aggregate_forward(X, X[0]),
    "G": lambda m: m.aggregate_gradient(X, np.ones((2, 3)), X),
    "dx": lambda m: m.aggregate_tangent(X, np.ones((2, 3)), X[0]),
    "R": lambda m: m.aggregate_relevance(X, np.ones((2, 3)), X, pyref.Epsilon()),
}


@pytest.mark.parametrize("what", REFUSED)
def test_errors_are_pyrefs_word_for_word(backend, what):
    with pytest.raises(ValueError) as theirs:
        REFUSED[what](pyref)
    with pytest.raises(ValueError) as mine:
        REFUSED[what](backend)
    assert str(mine.value) == str(theirs.value)


@pytest.mark.parametrize("ids", [IDS + 0.5, IDS > 0])
def test_ids_are_integers(backend, ids):
    with pytest.raises(TypeError) as theirs:
        pyref.embedding_forward(ids, X[0])
    with pytest.raises(TypeError) as mine:
        backend.embedding_forward(ids, X[0])
    assert str(mine.value) == str(theirs.value)


def test_the_bound_of_softmax_bites(backend):
    """A relative error of 1e-9 in float64 is seen."""
    x = np.linspace(-1, 1, 12).reshape(3, 4)
    bound = softmax_bounds(x, x, 1, np.float64)["softmax_forward"]
    assert (np.abs(backend.softmax_forward(x * (1 + 1e-9), 1) - backend.softmax_forward(x, 1)) > bound).any()
