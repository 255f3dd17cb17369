"""Activations: against mpmath, finite differences, exact arithmetic, and the numbers of statement A8."""

from fractions import Fraction

import mpmath
import numpy as np
import pytest
from bound import rounding
from hypothesis import given
from hypothesis import strategies as st

import pyref
from pyref import ACTIVATIONS

F = Fraction
ROOT2PI = mpmath.sqrt(2 * mpmath.pi)


def sigma(z):
    return 1 / (1 + mpmath.exp(-z))


def elu(z):
    return z if z > 0 else mpmath.expm1(z)


def elu_slope(z):
    return mpmath.mpf(1) if z > 0 else mpmath.exp(z)


def gelu_argument(z):
    return 2 * mpmath.sqrt(2 / mpmath.pi) * (z + mpmath.mpf("0.044715") * z**3)


def gelu_tanh_slope(z):
    v = gelu_argument(z)
    rise = 2 * mpmath.sqrt(2 / mpmath.pi) * (1 + 3 * mpmath.mpf("0.044715") * z * z)
    return sigma(v) * (1 + z * sigma(-v) * rise)


def phi(z):
    return mpmath.erfc(-z / mpmath.sqrt(2)) / 2


# f, f' in mpmath; by how much an argument's rounding is magnified; the terms of z h(z), which may cancel
def _one(z):
    return 1.0


def _cubic(z):
    return 1.0 + float(gelu_argument(min(abs(z), 40.0)))


ORACLES = {
    "tanh": (pyref.Tanh(), mpmath.tanh, lambda z: 1 / mpmath.cosh(z) ** 2, _one, None),
    "sigmoid": (pyref.Sigmoid(), sigma, lambda z: sigma(z) * sigma(-z), _one, None),
    "softplus": (pyref.Softplus(), lambda z: mpmath.log1p(mpmath.exp(z)), sigma, _one, None),
    "softplus, beta 2": (
        pyref.Softplus(beta=2),
        lambda z: mpmath.log1p(mpmath.exp(2 * z)) / 2,
        lambda z: sigma(2 * z),
        _one,
        None,
    ),
    "elu": (pyref.ELU(), elu, elu_slope, _one, None),
    "silu": (pyref.SiLU(), lambda z: z * sigma(z), lambda z: sigma(z) * (1 + z * sigma(-z)), _one, sigma),
    "gelu": (
        pyref.GELU(),
        lambda z: z * phi(z),
        lambda z: phi(z) + z * mpmath.exp(-z * z / 2) / ROOT2PI,
        _one,
        phi,
    ),
    "gelu, tanh": (
        pyref.GELU("tanh"),
        lambda z: z * sigma(gelu_argument(z)),
        gelu_tanh_slope,
        _cubic,
        lambda z: sigma(gelu_argument(z)),
    ),
}
ULPS = 8
SIZES = (1e-12, 1e-6, 1e-3, 0.2, 0.8, 1.2784645, 3.0, 8.0, 19.0, 21.0, 80.0, 300.0)
POINTS = np.array([s * m for m in SIZES for s in (1, -1)])
SMALLEST = 1e-280  # below it, intermediate results are subnormal


def _error_bound(name, true, z, gate_at):
    """8 ulp of the result, and of the two terms that make it up where they may cancel."""
    magnify, gate = ORACLES[name][3:]
    terms = abs(true) if gate is None else abs(true) + gate(mpmath.mpf(gate_at)) * (1 + min(abs(z), 40))
    return rounding(2 * ULPS * magnify(z), float(terms))


@pytest.fixture
def precise():
    with mpmath.workdps(320):
        yield


@pytest.mark.parametrize("name", ORACLES)
def test_value_derivative_and_ratio_are_accurate_everywhere(name, precise):
    layer, f, slope, *_ = ORACLES[name]
    value, derivative, ratio = layer.value(POINTS), layer.derivative(POINTS), layer.ratio(POINTS)
    for i, z in enumerate(POINTS):
        at = mpmath.mpf(z)
        for got, true in ((value[i], f(at)), (derivative[i], slope(at)), (ratio[i], f(at) / at)):
            if abs(true) > SMALLEST:
                assert abs(got - true) <= _error_bound(name, true, z, z), (z, got)


@pytest.mark.parametrize("name", ORACLES)
def test_quotient_is_accurate_at_every_gap(name, precise):
    layer, f, slope, *_ = ORACLES[name]
    known = {z: f(mpmath.mpf(z)) for z in POINTS}
    near = (lambda z: z, lambda z: z * (1 + 1e-9), lambda z: z * 1.001, lambda z: z + 0.1, lambda z: z - 1.01)
    pairs = [(z, z0) for z in POINTS for z0 in POINTS[:: 2 if "gelu" in name else 1]]
    pairs += [(z, g(z)) for z in POINTS for g in near] + [(z, np.nextafter(z, 9e9)) for z in POINTS]
    z, z0 = np.array(pairs).T
    got = layer.quotient(z, z0)
    for i, (a, b) in enumerate(pairs):
        exact = mpmath.mpf(a), mpmath.mpf(b)
        if a == b:
            true = slope(exact[0])
        else:
            true = (known[a] - (known[b] if b in known else f(exact[1]))) / (exact[0] - exact[1])
        if abs(true) > SMALLEST:
            assert abs(got[i] - true) <= _error_bound(name, true, max(a, b, key=abs), max(a, b)), (a, b, got[i])
    assert np.array_equal(got, layer.quotient(z0, z))


def _default(name, exact=False):
    if name == "prelu":
        return pyref.PReLU(np.array([F(1, 4), F(-1, 3)], dtype=object) if exact else np.array([0.25, -0.5]))
    if name == "clip":
        return pyref.Clip(-1, 2)
    if exact and name in ("leaky_relu", "hard_sigmoid"):
        return ACTIVATIONS[name](slope=F(1, 5))
    return ACTIVATIONS[name]()


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_is_kept_and_huge_values_stay_finite(name, dtype):
    layer = _default(name)
    if name == "prelu":
        layer = pyref.PReLU(layer.slope.astype(dtype))
    huge = np.finfo(dtype).max / 16
    z = np.array([[-huge, -100, -1, -1e-30], [1e-30, 1, 100, huge]], dtype).reshape(2, 2, 2)
    for got in (
        layer.value(z),
        layer.derivative(z),
        layer.ratio(z),
        layer.ratio(z, 0.1),
        layer.quotient(z, z),
        layer.quotient(z, -z),
        pyref.activation_gradient(z, layer, z * 0 + 1),
        pyref.activation_tangent(z, layer, z * 0 + 1),
    ):
        assert got.dtype == dtype and np.all(np.isfinite(got))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_derivative_agrees_with_finite_differences(name):
    layer = _default(name)
    z = np.linspace(-8.03, 8.07, 102).reshape(17, 2, 3)  # no kink within h of any point
    h = 1e-5
    slope = (layer.value(z + h) - layer.value(z - h)) / (2 * h)
    third_derivative = 4  # at most 3.4, that of selu at 0-
    bound = third_derivative * h * h / 6 + rounding(4, 10 / h)
    assert np.max(np.abs(slope - layer.derivative(z))) <= bound
    assert np.max(np.abs(layer.quotient(z + h, z - h) - slope)) <= rounding(40, 10 / h)


def test_kinks_take_the_slope_of_the_switched_off_side():
    assert pyref.ReLU().derivative(np.array([0.0, -0.0])).tolist() == [0, 0]
    assert pyref.LeakyReLU(0.25).derivative(np.array([0.0])).tolist() == [0.25]
    assert pyref.ReLU6().derivative(np.array([0.0, 6.0, 5.0])).tolist() == [0, 0, 1]
    assert pyref.HardSigmoid(slope=0.25).derivative(np.array([-2.0, 2.0, 1.0])).tolist() == [0, 0, 0.25]
    assert pyref.ELU(alpha=2.0).derivative(np.array([0.0])).tolist() == [2]


def test_ratio_at_zero_is_the_derivative_or_a_named_pole():
    zero = np.array([[0.0, -0.0, 1.0]])
    assert pyref.ReLU().ratio(zero).tolist() == [[0, 0, 1]]
    assert pyref.Tanh().ratio(zero)[0, :2].tolist() == [1, 1]
    assert pyref.GELU().ratio(zero)[0, 0] == pyref.SiLU().ratio(zero)[0, 0] == 0.5
    for layer in (pyref.Sigmoid(), pyref.Softplus(), pyref.HardSigmoid(), pyref.Clip(1, 2)):
        with pytest.raises(ValueError, match=rf"of {type(layer).__name__} has a pole at z = 0, which 2 values are"):
            layer.ratio(zero)
    assert pyref.Sigmoid().ratio(zero, epsilon=0.25).tolist()[0][:2] == [2, 2]


def test_worked_numbers_of_statement_a8():
    z = np.array([[1 - 0.9]])
    sigmoid, softplus, tanh = pyref.Sigmoid(), pyref.Softplus(), pyref.Tanh()
    assert round(float(sigmoid.ratio(z)[0, 0]), 6) == 5.249792
    assert round(float(sigmoid.quotient(z, 0 * z)[0, 0]), 6) == 0.249792
    assert round(float(sigmoid.derivative(z)[0, 0]), 6) == 0.249376
    assert round(float(softplus.ratio(z)[0, 0]), 6) == 7.443967
    assert round(float(softplus.quotient(z, 0 * z)[0, 0]), 6) == 0.512495
    assert round(float(tanh.ratio(z)[0, 0]), 6) == 0.996680


# ── exact ──────────────────────────────────────────────────────────────────────────────────────────────

PIECEWISE = [name for name in ACTIVATIONS if ACTIVATIONS[name].piecewise_linear]
rationals = st.builds(F, st.integers(-30, 30), st.integers(1, 4))


def fractions(values, shape):
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array.reshape(shape)


def all_fractions(array):
    return all(isinstance(v, F) for v in array.reshape(-1))


@pytest.mark.parametrize("name", PIECEWISE)
@given(data=st.data())
def test_exact_arithmetic_stays_exact(name, data):
    layer = _default(name, exact=True)
    z, z0, dz = (fractions(data.draw(st.lists(rationals, min_size=6, max_size=6)), (3, 2)) for _ in range(3))
    value, value0, q = layer.value(z), layer.value(z0), layer.quotient(z, z0)
    assert np.array_equal(q * (z - z0), value - value0)
    assert np.array_equal(q[z == z0], layer.derivative(z)[z == z0])
    if layer.zero_at_zero:
        g = layer.ratio(z)
        assert np.array_equal(g * z, value) and all_fractions(g)
    dy, t = layer.ray(pyref, (z,), value, (dz,))
    assert all_fractions(value) and all_fractions(q) and all_fractions(dy)
    assert all_fractions(layer.derivative(z)) and all_fractions(layer.ratio(z, F(1, 10)))
    # dy is the true one-sided derivative up to the next kink, and no further unless nothing bends
    for n in range(3):
        step = F(1) if t is None or t[n] == np.inf else t[n]
        assert step > 0
        for part in (F(1, 1000), F(1, 2), F(1)):
            moved = layer.value(z[n : n + 1] + part * step * dz[n : n + 1])
            assert np.array_equal(moved - value[n : n + 1], part * step * dy[n : n + 1])
        if t is not None and t[n] != np.inf:
            at = z[n : n + 1] + step * dz[n : n + 1]
            beyond, _ = layer.ray(pyref, (at,), layer.value(at), (dz[n : n + 1],))
            assert not np.array_equal(beyond, dy[n : n + 1])


def test_ray_at_a_kink_goes_by_the_direction():
    z, dz = np.array([[0.0], [0.0], [6.0], [-1.0]]), np.array([[1.0], [-1.0], [1.0], [0.0]])
    dy, t = pyref.ReLU6().ray(pyref, (z,), None, (dz,))
    assert dy.tolist() == [[1], [0], [0], [0]] and t.tolist() == [6, np.inf, np.inf, np.inf]


# ── as a layer ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_layer_answers(name):
    layer = _default(name)
    rng = np.random.default_rng(1)
    x, x0, R = (rng.normal(size=(2, 2, 3)) for _ in range(3))
    y = layer.forward(pyref, x)
    assert layer.relevance(pyref, (x,), y, R, None)[0] is R
    assert np.array_equal(layer.gradient(pyref, (x,), y, R)[0], layer.tangent(pyref, (x,), y, (R,)))
    (m,) = layer.multiplier(pyref, (x,), y, (x0,), layer.forward(pyref, x0), R)
    gap = np.sum(m * (x - x0)) - np.sum(R * (y - layer.forward(pyref, x0)))
    assert abs(gap) <= rounding(40 + x.size, np.sum(np.abs(R) * (np.abs(y) + np.abs(x) + np.abs(x0))))
    assert layer.kind == "activation" and pyref.LAYERS[type(layer).__name__] is type(layer)


def test_bad_parameters_are_named():
    with pytest.raises(ValueError, match=r"low is 2 and high is 1, expected low <= high"):
        pyref.Clip(2, 1)
    with pytest.raises(ValueError, match="beta is 0, expected a number > 0"):
        pyref.Softplus(beta=0)
    with pytest.raises(ValueError, match="slope is -1, expected a number > 0"):
        pyref.HardSigmoid(slope=-1)
    with pytest.raises(ValueError, match="approximate is 'erf', expected one of 'none', 'tanh'"):
        pyref.GELU("erf")
    with pytest.raises(ValueError, match=r"slope has shape \(3,\), expected \(2,\)"):
        pyref.PReLU(np.ones(3)).value(np.ones((1, 2)))
    with pytest.raises(ValueError, match=r"G has shape \(2, 1\), expected \(1, 2\)"):
        pyref.activation_gradient(np.ones((1, 2)), pyref.ReLU(), np.ones((2, 1)))
