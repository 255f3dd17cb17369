"""Layer, group, instance and local response normalisation: definitions, derivatives, gates, completeness."""

import numpy as np
import pytest
from bound import rounding
from exact import assert_equal, fraction_arrays, fractions
from hypothesis import given, settings
from hypothesis import strategies as st
from test_dense import RULES, shares

import pyref
from pyref.layers import norm

RNG = np.random.default_rng(5)


def r(*shape):
    return RNG.normal(size=shape)


LAYERS = {
    "layer": (pyref.LayerNorm(r(5), r(5)), (3, 5)),
    "layer, two axes": (pyref.LayerNorm(r(3, 4), r(3, 4)), (2, 2, 3, 4)),
    "layer, plain": (pyref.LayerNorm(rank=2), (2, 3, 2)),
    "layer, weight only": (pyref.LayerNorm(r(4)), (2, 3, 4)),
    "group": (pyref.GroupNorm(2, r(4), r(4)), (2, 4, 3)),
    "group, one": (pyref.GroupNorm(1), (2, 4)),
    "instance": (pyref.InstanceNorm(r(3), r(3)), (2, 3, 2, 2)),
    "local response": (pyref.LocalResponseNorm(3, alpha=0.5, beta=0.75, k=2.0), (2, 5, 2)),
    "local response, even": (pyref.LocalResponseNorm(4, alpha=2.0, beta=0.5), (2, 5)),
    "local response, wide": (pyref.LocalResponseNorm(9, alpha=1.0), (2, 3, 1, 2)),
}


@pytest.fixture(params=LAYERS)
def case(request):
    layer, shape = LAYERS[request.param]
    rng = np.random.default_rng(7)
    return layer, *(rng.normal(size=shape) for _ in range(3))


def size(layer, *arrays):
    """A bound on every sum of terms on the way: values and scales stay below these."""
    largest = max(np.max(np.abs(a)) for a in arrays)
    weights = [np.max(np.abs(v)) for v in (getattr(layer, "weight", None),) if v is not None]
    x = arrays[0]
    spread = [1.0]
    if layer.__class__.__name__ != "LocalResponseNorm":
        flat = x.reshape(x.shape[0], -1)
        spread.append(1 / np.sqrt(layer.eps) if flat.shape[1] == 1 else 10.0)
    return (1 + largest) ** 3 * max([1.0, *weights]) * max(spread) ** 3


def test_tangent_is_the_derivative_and_gradient_its_adjoint(case):
    layer, x, dx, G = case
    y = layer.forward(pyref, x)
    h = 1e-100  # Im f(x + i h dx) / h is the derivative, with an error of h²
    want = layer.forward(pyref, x + 1j * h * dx).imag / h
    dy = layer.tangent(pyref, (x,), y, (dx,))
    assert np.all(np.abs(dy - want) <= rounding(8 * x.size, size(layer, x, dx)))
    (g,) = layer.gradient(pyref, (x,), y, G)
    assert abs(np.sum(g * dx) - np.sum(G * dy)) <= rounding(8 * x.size, x.size * size(layer, x, dx, G))


def test_multiplier_is_complete_and_has_the_gradient_as_its_limit(case):
    layer, x, x0, M = case
    y, y0 = layer.forward(pyref, x), layer.forward(pyref, x0)
    (m,) = layer.multiplier(pyref, (x,), y, (x0,), y0, M)
    gap = np.sum(m * (x - x0)) - np.sum(M * (y - y0))
    assert abs(gap) <= rounding(8 * x.size, x.size * size(layer, x, x0, M))
    (limit,) = layer.multiplier(pyref, (x,), y, (x,), y, M)
    (g,) = layer.gradient(pyref, (x,), y, M)
    assert np.all(np.abs(limit - g) <= rounding(8 * x.size, size(layer, x, M)))
    (through,) = layer.multiplier(pyref, (x,), y, (x0,), y0, M, product="gradient")
    assert abs(np.sum(through * (x - x0)) - np.sum(M * (y - y0))) > 1e-3  # as said: not complete


def by_definition(layer, x):
    """Loops over runs, from the papers."""
    out = np.empty_like(x)
    for n in range(len(x)):
        if isinstance(layer, pyref.LocalResponseNorm):
            for c in range(x.shape[1]):
                first, last = c - layer.size // 2, c + (layer.size - 1) // 2
                squares = sum(x[n, k] ** 2 for k in range(max(0, first), min(x.shape[1], last + 1)))
                out[n, c] = x[n, c] / (layer.k + layer.alpha / layer.size * squares) ** layer.beta
        elif isinstance(layer, pyref.LayerNorm):
            lead = x.shape[1 : x.ndim - layer.rank]
            for at in np.ndindex(*lead):
                v = x[(n, *at)]
                out[(n, *at)] = (v - v.mean()) / np.sqrt(v.var() + layer.eps)
            out[n] = out[n] * (1 if layer.weight is None else layer.weight)
            out[n] = out[n] + (0 if layer.bias is None else layer.bias)
        else:
            groups = layer._groups(x)
            for run in np.split(np.arange(x.shape[1]), groups):
                v = x[n, run]
                out[n, run] = (v - v.mean()) / np.sqrt(v.var() + layer.eps)
            for c in range(x.shape[1]):
                w = 1 if layer.weight is None else layer.weight[c]
                out[n, c] = out[n, c] * w + (0 if layer.bias is None else layer.bias[c])
    return out


def test_forward_is_the_definition(case):
    layer, x, *_ = case
    assert np.all(np.abs(layer.forward(pyref, x) - by_definition(layer, x)) <= rounding(8 * x.size, size(layer, x)))


def test_dtype_stays(case):
    layer, x, x0, R = (a.astype(np.float32) if isinstance(a, np.ndarray) else a for a in case)
    if not isinstance(layer, pyref.LocalResponseNorm) and layer.weight is not None:
        changes = {"weight": layer.weight.astype(np.float32)}
        changes["bias"] = None if layer.bias is None else layer.bias.astype(np.float32)
        layer = type(layer)(**{**vars(layer), **changes})
    y, y0 = layer.forward(pyref, x), layer.forward(pyref, x0)
    answers = [y, layer.tangent(pyref, (x,), y, (x0,)), *layer.gradient(pyref, (x,), y, R)]
    answers += [*layer.relevance(pyref, (x,), y, R, pyref.Norm()), *layer.multiplier(pyref, (x,), y, (x0,), y0, R)]
    assert all(a.dtype == np.float32 and a.shape == x.shape for a in answers)


# ── relevance: the scale is a constant of the sample ───────────────────────────────────────────────────


@settings(max_examples=15)
@given(data=st.data())
def test_relevance_is_the_rule_on_the_centred_affine_map(data):
    """Exactly, with a rational scale in place of 1 / sqrt(v + eps), against the dense matrix w_o s (δ - 1/m)."""
    m = data.draw(st.integers(1, 4))
    x, R = (data.draw(fraction_arrays((2, 2, m))) for _ in range(2))
    weight, bias = (data.draw(fraction_arrays((m,))) for _ in range(2))
    weight = np.where(weight == 0, weight + 1, weight)
    s = fractions([[[1], ["1/3"]], [["5/2"], [2]]])

    class Rational(norm._Grouped):
        def parts(self, x):
            return x - self.mean(x), s + pyref.zeros_like(x)

    layer = Rational(m, weight, bias, 0)
    y = layer.forward(x)
    eye = fractions(np.eye(m, dtype=int))
    for rule in RULES:
        account = pyref.Account()
        got = layer.relevance(x, R, rule, y, account)
        for n, t in np.ndindex(2, 2):
            w = (eye - fractions(np.ones((m, m), dtype=int)) / m) * s[n, t, 0] * weight
            assert_equal(got[n, t], shares(rule, x[n, t], w, bias) @ R[n, t])
        assert (pyref.LedgerRow("norm", R, (got,), account).residual == 0).all()


def test_ledger_closes(case):
    layer, x, _, R = case
    account = pyref.Account()
    y = layer.forward(pyref, x)
    (out,) = layer.relevance(pyref, (x,), y, R, pyref.Epsilon(0.25), account=account)
    residual = pyref.LedgerRow("norm", R, (out,), account).residual
    assert np.all(np.abs(residual) <= rounding(8 * x.size, x.size * size(layer, x, R) / 0.25))
    if isinstance(layer, pyref.LocalResponseNorm):
        assert out is R


def test_errors():
    x = np.ones((2, 4, 3))
    with pytest.raises(ValueError, match="groups is 3, expected a divisor of the 4 channels of x"):
        pyref.group_norm_forward(x, groups=3)
    with pytest.raises(ValueError, match=r"weight has shape \(4,\), expected \(3,\)"):
        pyref.layer_norm_forward(x, np.ones(4))
    with pytest.raises(ValueError, match="rank is 3, expected 1 to 2"):
        pyref.layer_norm_forward(x, rank=3)
    with pytest.raises(ValueError, match=r"bias has shape \(2,\), expected \(3,\)"):
        pyref.LayerNorm(np.ones(3), np.ones(2))
    with pytest.raises(ValueError, match=r"bias has shape \(2,\), expected \(3,\)"):
        pyref.GroupNorm(1, np.ones(3), np.ones(2))
    with pytest.raises(ValueError, match="size is 0, expected a whole number >= 1"):
        pyref.LocalResponseNorm(0)
