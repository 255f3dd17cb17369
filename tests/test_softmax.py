"""Softmax and log-softmax: values, derivatives by the complex step, and the refusals."""

import mpmath
import numpy as np
import pytest
from bound import rounding

import pyref

RNG = np.random.default_rng(3)
X, G, DX = RNG.normal(size=(3, 2, 5, 4)) * 3


@pytest.mark.parametrize("axis", [1, 2, -1])
@pytest.mark.parametrize("layer", [pyref.Softmax, pyref.LogSoftmax], ids=lambda c: c.__name__)
def test_derivatives(layer, axis):
    layer = layer(axis)
    y = layer.forward(pyref, X)
    h = 1e-100  # Im f(x + i h dx) / h is the derivative, with an error of h²
    want = layer.forward(pyref, X + 1j * h * DX).imag / h
    n = 8 * X.shape[axis]
    size = np.max(np.abs(DX))
    dy = layer.tangent(pyref, (X,), y, (DX,))
    assert np.all(np.abs(dy - want) <= rounding(n, 2 * size))
    (g,) = layer.gradient(pyref, (X,), y, G)
    assert abs(np.sum(g * DX) - np.sum(G * dy)) <= rounding(n * X.size, np.max(np.abs(G)) * size * 2)
    total = np.sum(g, axis=axis)
    assert np.all(np.abs(total) <= rounding(n, np.sum(np.abs(G), axis=axis) * 2))


def test_values_far_out():
    x = np.array([[1000.0, 0.0, -1000.0]])
    assert pyref.softmax_forward(x).tolist() == [[1, 0, 0]]
    assert pyref.log_softmax_forward(x).tolist() == [[0, -1000, -2000]]
    x = np.array([[0.5, -1.25, 3.0]])
    with mpmath.workdps(40):
        e = [mpmath.exp(v) for v in x[0]]
        for got, log, term in zip(pyref.softmax_forward(x)[0], pyref.log_softmax_forward(x)[0], e, strict=True):
            p = term / sum(e)
            assert abs(got - p) <= rounding(8, float(p))
            assert abs(log - mpmath.log(p)) <= rounding(8, 3 - float(mpmath.log(p)))
    assert pyref.softmax_forward(x.astype(np.float32)).dtype == np.float32


@pytest.mark.parametrize("layer", [pyref.Softmax(), pyref.LogSoftmax()], ids=str)
def test_it_refuses_what_has_no_meaning(layer):
    x = np.ones((1, 3))
    name = type(layer).__name__
    with pytest.raises(ValueError, match=f"{name} has no relevance rule: attribute to the logits"):
        layer.relevance(pyref, (x,), x, x, pyref.Epsilon())
    with pytest.raises(ValueError, match=f"{name} is not elementwise.*attribute to the logits"):
        layer.multiplier(pyref, (x,), x, (x,), x, x)
    with pytest.raises(ValueError, match="axis is 0, expected an axis after the batch"):
        type(layer)(0).forward(pyref, x)
    assert layer.kind == "softmax"
