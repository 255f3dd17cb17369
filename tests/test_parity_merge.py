"""Level 2 of batch normalisation and of the places where branches meet: kernels against pyref within derived bounds."""

import numpy as np
import pytest
from bound import rounding, wide
from hypothesis import given
from hypothesis import strategies as st
from parity import DTYPES, assert_relevance, assert_within, generators, kinds, layouts, lengths, values, widened
from test_parity import RULES

import pyref
from pyref.layers.batchnorm import batchnorm_terms, per_channel
from pyref.layers.merge import shift_terms, sum_terms
from pyref.layers.recurrent import GATES, PRODUCTS
from pyref.numerics import pos

SIGNALS = st.sampled_from(["normal", "zeros_and_ties"])


@st.composite
def shapes(draw):
    """(n, c, ...) with a length that is drawn."""
    shape = draw(st.sampled_from([(2, 3), (3, 5, 7), (2, 3, 2, 5), (1, 2, 1, 1)]))
    axis = draw(st.integers(0, len(shape) - 1))
    return (*shape[:axis], draw(lengths), *shape[axis + 1 :])


def within(rule, x):
    """x inside the rule's box, if it insists."""
    return np.clip(x, rule.low, rule.high).astype(x.dtype) if getattr(rule, "out_of_range", "") == "raise" else x


def operations(name, *wide_arguments):
    """pyref's answer in wide arithmetic."""
    return getattr(pyref, name)(*wide_arguments)


def assert_rounded(backend, name, arguments, n, magnitude, dtype):
    """A kernel that is a sum of n rounded products: within n · u · magnitude of pyref."""
    got = getattr(backend, name)(*arguments)
    want = getattr(pyref, name)(*(widened(a, dtype) for a in arguments))
    for g, w, m in zip(*((v if isinstance(v, tuple) else (v,)) for v in (got, want, magnitude)), strict=True):
        underflow = n * float(np.finfo(dtype).tiny) * (np.abs(m) != 0)
        assert_within(g, w, rounding(n, np.abs(m), dtype) + underflow, dtype, name)


# ── batch normalisation ────────────────────────────────────────────────────────────────────────────────


@st.composite
def batchnorm_cases(draw, dtype):
    """x, scale, shift or None, R."""
    rng, shape, layout = draw(generators), draw(shapes()), draw(layouts)
    x, R = values(draw(kinds), shape, dtype, rng), values(draw(SIGNALS), shape, dtype, rng)
    scale = values(draw(SIGNALS), shape[1:2], dtype, rng)
    shift = values(draw(SIGNALS), shape[1:2], dtype, rng) if draw(st.booleans()) else None
    return layout(x), scale, shift, layout(R)


@pytest.mark.parametrize("dtype", DTYPES)
@given(data=st.data())
def test_batchnorm(backend, dtype, data):
    x, scale, shift, G = data.draw(batchnorm_cases(dtype))
    wide_x, wide_scale = widened(x, dtype), per_channel(widened(scale, dtype), x)
    size = np.abs(wide_x * wide_scale) + (0 if shift is None else np.abs(per_channel(widened(shift, dtype), x)))
    assert_rounded(backend, "batchnorm_forward", (x, scale, shift), 2, size, dtype)
    size = np.abs(widened(G, dtype) * wide_scale)
    assert_rounded(backend, "batchnorm_gradient", (x, scale, shift, G), 1, size, dtype)
    assert_rounded(backend, "batchnorm_tangent", (x, scale, shift, G), 1, size, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", pyref.RULES)
@given(data=st.data())
def test_batchnorm_relevance(backend, name, dtype, data):
    x, scale, shift, R = data.draw(batchnorm_cases(dtype))
    rule = data.draw(st.sampled_from(RULES[name]))
    x = within(rule, x)
    arguments = {"x": x, "scale": scale, "shift": shift, "R": R, "rule": rule}
    if data.draw(st.booleans()):
        arguments["z"] = pyref.batchnorm_forward(*(widened(a, dtype) for a in (x, scale, shift))).astype(dtype)
    wide_x = widened(x, dtype)
    terms, bias = batchnorm_terms(wide_x, widened(scale, dtype)), shift
    if shift is not None:
        bias = per_channel(widened(shift, dtype), x)
    label = f"batchnorm {name}"
    assert_relevance("batchnorm_relevance", backend, arguments, terms, bias, widened(R, dtype), rule, dtype, label)


# ── sums ───────────────────────────────────────────────────────────────────────────────────────────────


@st.composite
def sum_cases(draw, dtype, count):
    """(inputs that broadcast, R in the shape of the output)."""
    rng, shape = draw(generators), draw(shapes())
    x = []
    for k in range(count):
        spread = draw(st.sampled_from([None, None, *range(1, len(shape))])) if k else None
        of = tuple(1 if a == spread else length for a, length in enumerate(shape))
        x.append(draw(layouts)(values(draw(kinds), of, dtype, rng)))
    return tuple(x), draw(layouts)(values(draw(SIGNALS), shape, dtype, rng))


def spread(v, shape):
    return np.broadcast_to(v, shape)


@pytest.mark.parametrize("dtype", DTYPES)
@given(data=st.data())
def test_sums(backend, dtype, data):
    count = data.draw(st.integers(1, 4))
    x, G = data.draw(sum_cases(dtype, count))
    size = sum(np.abs(widened(v, dtype)) for v in x)
    returned = tuple(np.sum(np.abs(widened(G, dtype))) + np.zeros(v.shape) for v in x)
    assert_rounded(backend, "add_forward", (x,), count, size, dtype)
    assert_rounded(backend, "add_rectified", (x,), count, size, dtype)
    np.testing.assert_array_equal(backend.add_rectified(x), pos(backend.add_forward(x)))
    assert_rounded(backend, "add_tangent", (x, x), count, size, dtype)
    assert_rounded(backend, "add_gradient", (x, G), G.size, returned, dtype)
    if count == 2:
        assert_rounded(backend, "subtract_forward", (x,), count, size, dtype)
        assert_rounded(backend, "subtract_tangent", (x, x), count, size, dtype)
        assert_rounded(backend, "subtract_gradient", (x, G), G.size, returned, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [name for name in pyref.RULES if name != "pass_"])
@given(data=st.data())
def test_sum_relevance(backend, name, dtype, data):
    rule = data.draw(st.sampled_from(RULES[name]))
    subtract = data.draw(st.booleans())
    x, R = data.draw(sum_cases(dtype, 2 if subtract else data.draw(st.integers(1, 3))))
    x = tuple(within(rule, v) for v in x)
    arguments = {"x": x, "R": R, "rule": rule}
    wide_x = widened(x, dtype)
    if data.draw(st.booleans()):
        arguments["z"] = (pyref.subtract_forward if subtract else pyref.add_forward)(wide_x).astype(dtype)
    terms = sum_terms(wide_x, (1, -1) if subtract else (1,) * len(x))
    function = "subtract_relevance" if subtract else "add_relevance"
    assert_relevance(function, backend, arguments, terms, None, widened(R, dtype), rule, dtype, f"sum {name}")


# ── constants ──────────────────────────────────────────────────────────────────────────────────────────


@st.composite
def constant_cases(draw, dtype):
    """(x, a constant, R): a number, or an array that broadcasts against a sample of x, or that x is spread to."""
    (x, other), R = draw(sum_cases(dtype, 2))
    kind = draw(st.sampled_from(["number", "array", "x is spread"]))
    if kind == "number":
        return x, draw(st.sampled_from([0.5, -2, 0])), R
    if kind == "x is spread":
        x, other = other, x
    if other.shape[0] == 0:
        return x, np.zeros(other.shape[1:], dtype), R
    return x, other[0], R


@pytest.mark.parametrize("dtype", DTYPES)
@given(data=st.data())
def test_constants(backend, dtype, data):
    x, constant, G = data.draw(constant_cases(dtype))
    wide_x, wide_constant = widened(x, dtype), widened(constant, dtype)
    assert_rounded(backend, "shift_forward", (x, constant), 1, np.abs(wide_x) + np.abs(wide_constant), dtype)
    assert_rounded(backend, "shift_tangent", (x, constant, x), 0, np.abs(spread(wide_x, G.shape)), dtype)
    assert_rounded(backend, "scale_forward", (x, constant), 1, np.abs(wide_x * wide_constant), dtype)
    assert_rounded(backend, "scale_tangent", (x, constant, x), 1, np.abs(wide_x * wide_constant), dtype)
    returned = np.sum(np.abs(widened(G, dtype))) + np.zeros(x.shape)
    assert_rounded(backend, "shift_gradient", (x, constant, G), G.size, returned, dtype)
    returned = np.sum(np.abs(widened(G, dtype) * wide_constant)) + np.zeros(x.shape)
    assert_rounded(backend, "scale_gradient", (x, constant, G), G.size + 1, returned, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [name for name in pyref.RULES if name != "pass_"])
@given(data=st.data())
def test_constant_relevance(backend, name, dtype, data):
    rule = data.draw(st.sampled_from(RULES[name]))
    x, constant, R = data.draw(constant_cases(dtype))
    x = within(rule, x)
    wide_x, wide_R = widened(x, dtype), widened(R, dtype)
    value = np.asarray(constant, wide(dtype))
    value = value.reshape((1,) * (x.ndim - value.ndim) + value.shape)
    arguments = {"x": x, "constant": constant, "R": R, "rule": rule}
    terms = shift_terms(wide_x, value)
    assert_relevance("shift_relevance", backend, arguments, terms, value, wide_R, rule, dtype, f"shift {name}")
    arguments = {"x": x, "factor": constant, "R": R, "rule": rule}
    terms = pyref.Scale(value).terms((wide_x,))
    assert_relevance("scale_relevance", backend, arguments, terms, None, wide_R, rule, dtype, f"scale {name}")


# ── products and quotients ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("dtype", DTYPES)
@given(data=st.data())
def test_products(backend, dtype, data):
    x, G = data.draw(sum_cases(dtype, 2))
    x0, _ = data.draw(sum_cases(dtype, 2))
    x0 = tuple(spread(v.reshape(-1)[0] if v.size else dtype(1), u.shape) for v, u in zip(x0, x, strict=True))
    p, q, size = (np.abs(widened(v, dtype)) for v in (*x, G))
    p0, q0 = (np.abs(widened(v, dtype)) for v in x0)

    def gathered(*v):
        return tuple(np.sum(u) + np.zeros(w.shape) for u, w in zip(v, x, strict=True))

    assert_rounded(backend, "multiply_forward", (x,), 1, p * q, dtype)
    assert_rounded(backend, "multiply_gradient", (x, G), G.size + 1, gathered(q * size, p * size), dtype)
    assert_rounded(backend, "multiply_tangent", (x, x0), 3, q * p0 + p * q0, dtype)
    for product in PRODUCTS:
        terms = gathered((q + q0) * size, (p + p0) * size)
        assert_rounded(backend, "multiply_multiplier", (x, x0, G, product), G.size + 3, terms, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@given(data=st.data())
def test_quotients(backend, dtype, data):
    x, G = data.draw(sum_cases(dtype, 2))
    x = (x[0], np.where(np.abs(x[1]) < 0.1, dtype(0.5), x[1]))
    x0 = tuple(v + dtype(0.25) * np.sign(v) for v in x)
    p, q, size, p0, q0 = (np.abs(widened(v, dtype)) for v in (*x, G, *x0))

    def gathered(*v):
        return tuple(np.sum(u) + np.zeros(w.shape) for u, w in zip(v, x, strict=True))

    assert_rounded(backend, "divide_forward", (x,), 1, p / q, dtype)
    assert_rounded(backend, "divide_gradient", (x, G), G.size + 3, gathered(size / q, size / q * (p / q)), dtype)
    assert_rounded(backend, "divide_tangent", (x, x0), 4, (p0 + p / q * q0) / q, dtype)
    terms = gathered((1 / q + 1 / q0) * size, (p + p0) * size / (q * q0))
    assert_rounded(backend, "divide_multiplier", (x, x0, G), G.size + 6, terms, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("gate", GATES)
@given(data=st.data())
def test_gates(backend, gate, dtype, data):
    """What is computed element by element is pyref's in the same dtype, to the rounding of its last sum."""
    x, R = data.draw(sum_cases(dtype, 2))
    signal = data.draw(st.sampled_from([0, 1]))
    for name in ("multiply_relevance", "divide_relevance"):
        if name.startswith("divide"):
            x = (x[0], np.where(np.abs(x[1]) < 0.1, dtype(0.5), x[1]))
        mine, theirs = pyref.Account(), pyref.Account()
        got = getattr(backend, name)(x, R, gate, signal, mine)
        want = getattr(pyref, name)(x, R, gate, signal, theirs)
        total = {"gate": gate, "signal": signal}
        apart = getattr(pyref, name)(tuple(spread(v, R.shape) for v in x), R, **total)
        for g, w, parts in zip(got, want, apart, strict=True):
            size = np.sum(np.abs(parts)) + np.zeros(w.shape)
            assert_within(g, w, rounding(2 * R.size + 2, size, dtype), dtype, f"{name} {gate}")
        lost = np.asarray(theirs.dropped)
        sizes = pyref.sum_samples(np.abs(R)) if lost.ndim else 0
        assert_within(np.asarray(mine.dropped), lost, rounding(R.size, sizes, dtype), lost.dtype, f"{gate}, dropped")
        assert np.array_equal(mine.stabilizer, theirs.stabilizer) and mine.bias is None


# ── errors ─────────────────────────────────────────────────────────────────────────────────────────────

X = np.ones((2, 3, 4))
E = pyref.Epsilon()
REFUSED = {
    "scale": lambda m: m.batchnorm_forward(X, X[0, 0]),
    "shift": lambda m: m.batchnorm_forward(X, X[0, :, 0], X[0, 0]),
    "scale of a vector": lambda m: m.batchnorm_forward(X[0, 0], X[0, 0]),
    "batchnorm G": lambda m: m.batchnorm_gradient(X, X[0, :, 0], None, X[0]),
    "batchnorm dx": lambda m: m.batchnorm_tangent(X, X[0, :, 0], None, X[0]),
    "batchnorm R": lambda m: m.batchnorm_relevance(X, X[0, :, 0], None, X[0], E),
    "batchnorm box": lambda m: m.batchnorm_relevance(X, X[0, :, 0], None, X, pyref.ZBox(0, 0.5)),
    "add": lambda m: m.add_forward((X, X[..., :2])),
    "add, axes": lambda m: m.add_forward((X, X[0])),
    "add, samples": lambda m: m.add_forward((X, X[:1])),
    "add G": lambda m: m.add_gradient((X, X), X[..., :1]),
    "add R": lambda m: m.add_relevance((X, X), X[..., :1], E),
    "add pass": lambda m: m.add_relevance((X, X), X, pyref.Pass()),
    "subtract G": lambda m: m.subtract_gradient((X, X), X[0]),
    "shift fits": lambda m: m.shift_forward(X, np.ones(3)),
    "shift axes": lambda m: m.shift_forward(X, np.ones((1, 2, 3, 4))),
    "shift G": lambda m: m.shift_gradient(X, 1, X[0]),
    "shift dx": lambda m: m.shift_tangent(X, 1, X[0]),
    "scale fits": lambda m: m.scale_forward(X, np.ones((2, 4))),
    "scale G": lambda m: m.scale_gradient(X, 1, X[0]),
    "scale dx": lambda m: m.scale_tangent(X, 1, X[0]),
    "scale R": lambda m: m.scale_relevance(X, 1, X[0], E),
    "multiply": lambda m: m.multiply_forward((X, X[..., :2])),
    "multiply G": lambda m: m.multiply_gradient((X, X), X[0]),
    "multiply R": lambda m: m.multiply_relevance((X, X), X[0]),
    "multiply gate": lambda m: m.multiply_relevance((X, X), X, "most"),
    "multiply product": lambda m: m.multiply_multiplier((X, X), (X, X), X, "most"),
    "divide": lambda m: m.divide_forward((X, X[..., :2])),
    "divide G": lambda m: m.divide_gradient((X, X), X[0]),
}


@pytest.mark.parametrize("what", REFUSED)
def test_errors_are_pyrefs_word_for_word(backend, what):
    with pytest.raises(ValueError) as theirs:
        REFUSED[what](pyref)
    with pytest.raises(ValueError) as mine:
        REFUSED[what](backend)
    assert str(mine.value) == str(theirs.value)
