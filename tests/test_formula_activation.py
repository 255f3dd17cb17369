"""Level 1 of activations, products and pooling: csrc/math against pyref on every corner, and against mpmath.

Rational functions agree with pyref to 1 ulp. The others stay within 8 ulp of mpmath, of the terms that cancel and
of what a rounded argument is magnified by; at corners they agree with pyref in kind.
"""

from itertools import product

import mpmath
import numpy as np
import pytest
from bound import rounding
from test_activation import ORACLES, POINTS, ULPS
from test_formula import DTYPES, assert_same, corners, grid

import pyref
from pyref import ACTIVATIONS
from pyref.layers.recurrent import GATES, PRODUCTS
from relprop import _core

# Every activation under the options that make a difference. One that is missing here fails the collection.
OPTIONS = {
    "relu": ({},),
    "leaky_relu": ({}, {"slope": 0.25}, {"slope": -0.5}),
    "prelu": ({"slope": np.array([0.25])},),
    "clip": tuple({"low": a, "high": b} for a, b in ((-0.5, 1), (-np.inf, 0.5), (0.5, np.inf), (1, 1))),
    "relu6": ({},),
    "hard_sigmoid": ({}, {"slope": 0.5, "offset": 0}),
    "identity": ({},),
    "elu": ({}, {"alpha": 0.5}),
    "selu": ({},),
    "silu": ({},),
    "gelu": ({}, {"approximate": "tanh"}),
    "tanh": ({},),
    "sigmoid": ({},),
    "softplus": ({}, {"beta": 2}),
}
VARIANTS = [cls(**options) for name, cls in ACTIVATIONS.items() for options in OPTIONS[name]]
RATIONAL = [a for a in VARIANTS if a.piecewise_linear]
SMOOTH = [a for a in VARIANTS if not a.piecewise_linear]


def of(activation, dtype):
    """The activation with its array in that dtype."""
    return pyref.PReLU(activation.slope.astype(dtype)) if activation.name == "prelu" else activation


def pairs(dtype):
    """(z, z0): all pairs of corners and of their neighbours, gaps of one ulp and ties among them."""
    v = corners(dtype)
    v = np.concatenate([v, np.nextafter(v, dtype(np.inf)), np.nextafter(v, dtype(-np.inf))])
    return [c.reshape(-1, 1) for c in np.meshgrid(v, v)]


def answers(activation, z, z0):
    """(name, compiled, pyref's) of every question; z0 stands for any second argument."""
    yield "value", _core.activation_value(activation, z), activation.value(z)
    yield "derivative", _core.activation_derivative(activation, z), activation.derivative(z)
    yield "quotient", _core.activation_quotient(activation, z, z0), activation.quotient(z, z0)
    for epsilon in (0, 1e-6, 0.5):
        if epsilon or activation.zero_at_zero:
            yield f"ratio {epsilon}", _core.activation_ratio(activation, z, epsilon), activation.ratio(z, epsilon)
    G = z0
    yield "guided", _core.activation_guided(activation, z, G), activation.derivative(z) * pyref.pos(G)
    rectified = pyref.pos(G) if activation.name == "relu" else activation.derivative(z) * pyref.pos(G)
    yield "rectified", _core.activation_rectified(activation, z, G), rectified


@pytest.fixture(autouse=True)
def corners_overflow():
    with np.errstate(all="ignore"):
        yield


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", RATIONAL, ids=str)
def test_rational_activations(activation, dtype):
    activation = of(activation, dtype)
    for _, got, want in answers(activation, *pairs(dtype)):
        assert_same(got, want)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", SMOOTH, ids=str)
def test_smooth_activations_agree_in_kind(activation, dtype):
    """NaN where pyref has NaN, the same infinities; values and slopes close even at corners."""
    z, z0 = pairs(dtype)
    for name, got, want in answers(activation, z, z0):
        assert got.dtype == dtype
        same = (np.isnan(got) & np.isnan(want)) | (got == want) | (np.isfinite(got) & np.isfinite(want))
        assert same.all(), (name, z[~same][:3], z0[~same][:3], got[~same][:3], want[~same][:3])
        if name in ("value", "derivative"):
            finite = np.isfinite(want) & np.isfinite(z)
            size = np.abs(want[finite]).astype(float) + np.finfo(dtype).tiny
            gap = np.abs(got[finite].astype(float) - want[finite])
            assert np.all(gap <= rounding(4 * ULPS, size, dtype)), name


# ── against mpmath ─────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def precise():
    with mpmath.workdps(320):
        yield


def selu(f):
    """SELU of a function of ELU with its alpha: what holds below zero is scaled."""
    scale, alpha = mpmath.mpf("1.0507009873554804934193349852946"), mpmath.mpf("1.6732632423543772848170429916717")
    return lambda z: scale * (f(z) if z > 0 else alpha * f(z))


_elu, _elu_slope, _one = ORACLES["elu"][1:4]
SCALARS = ORACLES | {"selu": (pyref.SELU(), selu(_elu), selu(_elu_slope), _one, None)}


def allowed(name, true, z, gate_at, dtype):
    """8 ulp of the result, and of the two terms that make it up where they may cancel."""
    magnify, gate = SCALARS[name][3:]
    terms = abs(true) if gate is None else abs(true) + gate(mpmath.mpf(gate_at)) * (1 + min(abs(z), 40))
    return rounding(2 * ULPS * magnify(z), float(terms), dtype)


def points(dtype):
    """The points of pyref's own test, and 60 more in between."""
    more = np.random.default_rng(0).normal(size=60) * np.logspace(-4, 1.5, 60)
    return np.concatenate([POINTS, more]).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", SCALARS)
def test_values_derivatives_and_ratios_are_accurate(name, dtype, precise):
    activation, f, slope, *_ = SCALARS[name]
    z = points(dtype)
    got = [_core.activation_value(activation, z), _core.activation_derivative(activation, z)]
    got += [_core.activation_ratio(activation, z), _core.activation_ratio(activation, z, 0.5)]
    smallest = np.finfo(dtype).tiny * 2.0**28  # below it, intermediate results are subnormal
    for i, v in enumerate(map(float, z)):
        at = mpmath.mpf(v)
        value = f(at)
        true = (value, slope(at), value / at, value / (at + (0.5 if v >= 0 else -0.5)))
        for g, t in zip(got, true, strict=True):
            if abs(t) > smallest:
                assert abs(float(g[i]) - t) <= allowed(name, t, v, v, dtype), (v, g[i])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", SCALARS)
def test_quotients_are_accurate_at_every_gap(name, dtype, precise):
    activation, f, slope, *_ = SCALARS[name]
    z = points(dtype)[:: 1 if name != "gelu" else 3]
    known = {v: f(mpmath.mpf(float(v))) for v in z}
    gaps = (lambda v: v, lambda v: v * dtype(1.001), lambda v: v + dtype(0.1), lambda v: np.nextafter(v, dtype(9e9)))
    both = [(v, z[(7 * i + 3) % len(z)]) for i, v in enumerate(z)] + [(v, g(v)) for v in z for g in gaps]
    both = np.array(both, dtype)
    got = _core.activation_quotient(activation, *np.ascontiguousarray(both.T))
    assert np.array_equal(got, _core.activation_quotient(activation, *both.T[::-1]))
    smallest = np.finfo(dtype).tiny * 2.0**28
    for i, (a, b) in enumerate(both):
        x, y = mpmath.mpf(float(a)), mpmath.mpf(float(b))
        true = slope(x) if a == b else (known[a] - (known[b] if b in known else f(y))) / (x - y)
        if abs(true) > smallest:
            z_size, top = float(max(a, b, key=abs)), float(max(a, b))
            assert abs(float(got[i]) - true) <= allowed(name, true, z_size, top, dtype), (a, b, got[i])


# ── what an activation holds, and what the door refuses ────────────────────────────────────────────────


@pytest.mark.parametrize("activation", VARIANTS, ids=str)
def test_zero_at_zero(activation):
    assert _core.activation_zero_at_zero(of(activation, np.float64)) == activation.zero_at_zero


def test_a_slope_per_channel():
    z = np.arange(-12, 12, dtype=np.float32).reshape(2, 3, 4)
    prelu = pyref.PReLU(np.array([0.5, -1, 2], dtype=np.float32))
    for view in (z, z[::-1, :, ::2], np.ascontiguousarray(z.T).T):
        assert_same(_core.activation_value(prelu, view), prelu.value(view))
        assert_same(_core.activation_quotient(prelu, view, view + 3), prelu.quotient(view, view + 3))
    with pytest.raises(ValueError, match="slope has 3 values, expected 2"):
        _core.activation_value(prelu, z[:, :2])


def test_the_door_refuses():
    x = np.zeros(2)
    with pytest.raises(TypeError, match="z has dtype int64"):
        _core.activation_value(pyref.ReLU(), x.astype(int))
    with pytest.raises(TypeError, match="z0 has another dtype"):
        _core.activation_quotient(pyref.ReLU(), x, x.astype("f"))
    with pytest.raises(ValueError, match="activation 'other' is not compiled"):
        _core.activation_value(type("Other", (), {"name": "other"})(), x)
    with pytest.raises(ValueError, match="gate is 'most', which"):
        _core.product_relevance(x, x, x, "most")


# ── products and pooling ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("gate", GATES)
def test_product_relevance(gate, dtype):
    R, p, q = grid(dtype, 3)
    account = pyref.Account()
    want = pyref.product_relevance(R, p, q, gate, account)
    *got, dropped = _core.product_relevance(R, p, q, gate)
    for g, w in zip(got, want, strict=True):
        assert_same(g, w)
    assert_same(dropped.reshape(-1), np.broadcast_to(account.dropped, R.size).astype(dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("product_rule", PRODUCTS)
def test_product_multiplier(product_rule, dtype):
    p, q, p0, q0 = grid(dtype, 4)
    want = pyref.product_multiplier(p, q, p0, q0, product_rule)
    for g, w in zip(_core.product_multiplier(p, q, p0, q0, product_rule), want, strict=True):
        assert_same(g, w)


@pytest.mark.parametrize("dtype", DTYPES)
def test_pool_multiplier_of_a_window_of_one(dtype):
    """There the input holds both maxima: what pyref hands it, in every combination of corners."""
    v = np.array([c for c in corners(dtype) if np.isfinite(c)], dtype)
    x, x0, M = (c.reshape(-1, 1, 1) for c in np.meshgrid(v, v, corners(dtype)))
    rise, fall, got = _core.pool_multiplier(x, x0, x - x0, M)
    want = pyref.max_pool_multiplier(x, x0, M, 1)
    moved = x != x0  # where nothing moves at all, M goes to the winner: the schedule's business
    assert_same(got[moved], want[moved])
    assert_same(rise, np.maximum(x, x0) - x0)
    assert_same(fall, x - np.maximum(x, x0))


def test_every_word_is_compiled():
    for gate, rule in product(GATES, PRODUCTS):
        x = np.ones(1)
        _core.product_relevance(x, x, x, gate), _core.product_multiplier(x, x, x, x, rule)
