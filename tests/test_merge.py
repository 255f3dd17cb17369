"""Sums, products, quotients, concatenation and splitting: against dense matrices and by hand, exactly."""

from fractions import Fraction as F

import numpy as np
import pytest
from exact import assert_equal, assert_exact, fraction_arrays, fractions
from hypothesis import given, settings
from hypothesis import strategies as st
from linear import check_adjoint, check_rules, jacobian

import pyref

SUMS = {
    "two": (pyref.Add(), [(2, 3), (2, 3)]),
    "three": (pyref.Add(), [(1, 2, 2), (1, 2, 2), (1, 2, 2)]),
    "spread": (pyref.Add(), [(1, 2, 2, 2), (1, 2, 1, 1)]),
    "spread both ways": (pyref.Add(), [(2, 1, 2), (2, 3, 1)]),
    "one": (pyref.Add(), [(2, 2)]),
    "subtract": (pyref.Subtract(), [(2, 3), (2, 3)]),
    "subtract spread": (pyref.Subtract(), [(1, 2, 1), (1, 2, 3)]),
    "shift": (pyref.Shift(fractions([1, F(-1, 2)])), [(2, 3, 2)]),
    "shift by a number": (pyref.Shift(F(2, 3)), [(2, 3)]),
    "shift spreads": (pyref.Shift(fractions([[[1], [-2]]])), [(2, 1, 2)]),
    "scale": (pyref.Scale(fractions([1, F(-1, 2), 0])), [(2, 2, 3)]),
    "scale by a number": (pyref.Scale(-2), [(2, 3)]),
    "scale spreads": (pyref.Scale(fractions([[1], [-2]])), [(2, 1, 2)]),
}


@pytest.mark.parametrize("name", SUMS)
@settings(max_examples=5)
@given(data=st.data())
def test_every_rule_is_its_matrix_of_shares(name, data):
    layer, shapes = SUMS[name]
    x = tuple(data.draw(fraction_arrays(s)) for s in shapes)
    R = data.draw(fraction_arrays(layer.forward(pyref, *x).shape))
    ones = pyref.Scale(np.abs(layer.factor) + 1) if name == "scale" else layer  # what is connected, zeros or not
    check_rules(layer, x, R, connected=jacobian(ones, x)[0] != 0)


@pytest.mark.parametrize("name", SUMS)
@settings(max_examples=10)
@given(data=st.data())
def test_gradient_is_the_adjoint_of_the_tangent(name, data):
    layer, shapes = SUMS[name]
    x, dx = (tuple(data.draw(fraction_arrays(s)) for s in shapes) for _ in range(2))
    check_adjoint(layer, x, dx, data.draw(fraction_arrays(layer.forward(pyref, *x).shape)))


def test_residual_sum_by_hand():
    x, R = (fractions([[3, 1, 2]]), fractions([[1, -1, -1]])), fractions([[8, 5, 6]])
    account = pyref.Account()
    a, b = pyref.add_relevance(x, R, pyref.Norm(0), account=account)
    assert_equal(a, fractions([[6, 0, 12]]))
    assert_equal(b, fractions([[2, 0, -6]]))
    assert account.dropped.tolist() == [5]  # 1 - 1 = 0 has nothing to share by
    a, b = pyref.add_relevance(x, R, pyref.ZPlus(0))
    assert_equal(a, fractions([[6, 5, 6]]))
    assert_equal(b, fractions([[2, 0, 0]]))


def test_a_constant_keeps_its_share():
    account = pyref.Account()
    r = pyref.shift_relevance(fractions([[3]]), 1, fractions([[8]]), pyref.Epsilon(0), account=account)
    assert_equal(r, fractions([[6]]))
    assert_equal(account.bias, fractions([[2]]))


# ── products ───────────────────────────────────────────────────────────────────────────────────────────

PAIRS = [[(2, 3), (2, 3)], [(2, 2, 3), (2, 2, 1)], [(2, 1, 3), (2, 2, 1)]]


def drawn(data, shapes, nonzero=False):
    x = tuple(data.draw(fraction_arrays(s)) for s in shapes)
    return tuple(np.where(v == 0, v + 1, v) for v in x) if nonzero else x


@pytest.mark.parametrize("layer", [pyref.Multiply(0), pyref.Multiply(1), pyref.Divide(0), pyref.Divide(1)], ids=str)
@pytest.mark.parametrize("shapes", PAIRS, ids=str)
@settings(max_examples=10)
@given(data=st.data())
def test_products_conserve_and_are_complete(layer, shapes, data):
    x, x0 = drawn(data, shapes, nonzero=True), drawn(data, shapes, nonzero=True)
    y, y0 = layer.forward(pyref, *x), layer.forward(pyref, *x0)
    R = data.draw(fraction_arrays(y.shape))
    for gate in ("all", "half", "prop", "abs", "gradient"):
        account = pyref.Account()
        r = layer.relevance(pyref, x, y, R, None, gate=gate, account=account)
        assert_exact(*r)
        assert all(a.shape == v.shape for a, v in zip(r, x, strict=True))
        row = pyref.LedgerRow("product", R, r, account)
        assert (row.residual == (-row.arrived if gate == "gradient" else 0)).all()
        if gate == "all":
            assert (r[1 - layer.signal] == 0).all()
    M = layer.multiplier(pyref, x, y, x0, y0, R)
    assert_exact(*M)
    assert sum((m * (v - v0)).sum() for m, v, v0 in zip(M, x, x0, strict=True)) == (R * (y - y0)).sum()
    # at the baseline itself the multiplier is the gradient
    for m, g in zip(layer.multiplier(pyref, x, y, x, y, R), layer.gradient(pyref, x, y, R), strict=True):
        assert_equal(m, g)


@pytest.mark.parametrize("layer", [pyref.Multiply(), pyref.Divide()], ids=str)
@pytest.mark.parametrize("shapes", PAIRS, ids=str)
@settings(max_examples=10)
@given(data=st.data())
def test_product_gradient_is_the_derivative(layer, shapes, data):
    x, dx = drawn(data, shapes, nonzero=True), drawn(data, shapes)
    y = layer.forward(pyref, *x)
    G = data.draw(fraction_arrays(y.shape))
    dy = layer.tangent(pyref, x, y, dx)
    assert_exact(dy)
    g = layer.gradient(pyref, x, y, G)
    assert sum((a * d).sum() for a, d in zip(g, dx, strict=True)) == (G * dy).sum()
    t = F(1, 1000)
    moved = layer.forward(pyref, *(v + t * d for v, d in zip(x, dx, strict=True)))
    # what the first order leaves of y(x + t dx) is known exactly
    if isinstance(layer, pyref.Divide):
        assert_equal(moved - y - t * dy, -t * t * dy * dx[1] / (x[1] + t * dx[1]))
    else:
        assert_equal(moved - y - t * dy, t * t * dx[0] * dx[1])


def test_gates_by_hand():
    x, R = (fractions([[3]]), fractions([[1]])), fractions([[8]])
    split = {g: [int(r[0, 0]) for r in pyref.multiply_relevance(x, R, g)] for g in ("all", "half", "prop", "gradient")}
    assert split == {"all": [8, 0], "half": [4, 4], "prop": [6, 2], "gradient": [8, 8]}
    assert [int(r[0, 0]) for r in pyref.multiply_relevance(x, R, signal=1)] == [0, 8]
    assert [int(r[0, 0]) for r in pyref.multiply_relevance((x[0], -x[1]), R, "abs")] == [6, 2]
    account = pyref.Account()
    pyref.multiply_relevance((x[0], -x[0]), R, "prop", account=account)
    assert account.dropped.tolist() == [8]  # the pole p = -q


# ── concatenation ──────────────────────────────────────────────────────────────────────────────────────


@given(data=st.data())
def test_concat_and_split_are_inverse_and_adjoint(data):
    axis = data.draw(st.sampled_from([1, 2, -1]))
    shapes = [(2, 2, 3), (2, 2, 3)] if axis == 1 else [(2, 2, 1), (2, 2, 4), (2, 2, 2)]
    x = tuple(data.draw(fraction_arrays(s)) for s in shapes)
    concat, split = pyref.Concat(axis), pyref.Split(tuple(s[axis] for s in shapes), axis)
    y = concat.forward(pyref, *x)
    back = split.forward(pyref, y)
    assert split.outputs == len(shapes)
    for v, b in zip(x, back, strict=True):
        assert_equal(b, v)
    G = data.draw(fraction_arrays(y.shape))
    for answer in (concat.gradient(pyref, x, y, G), concat.relevance(pyref, x, y, G, pyref.Epsilon(1))):
        assert sum((g * v).sum() for g, v in zip(answer, x, strict=True)) == (G * y).sum()
        assert_equal(split.gradient(pyref, (y,), back, answer)[0], G)
        assert_equal(split.relevance(pyref, (y,), back, answer, pyref.Epsilon(1))[0], G)
    assert_equal(concat.tangent(pyref, x, y, x), y)
    assert_equal(split.tangent(pyref, (y,), back, (y,))[0], x[0])
    assert_equal(concat.multiplier(pyref, x, y, x, y, G)[0], concat.gradient(pyref, x, y, G)[0])


def test_a_split_into_one_piece_is_an_array():
    x = np.ones((2, 3))
    layer = pyref.Split((3,))
    assert layer.forward(pyref, x).shape == layer.gradient(pyref, (x,), x, x)[0].shape == (2, 3)


# ── errors and dtypes ──────────────────────────────────────────────────────────────────────────────────


def test_errors():
    a, b = np.ones((2, 3)), np.ones((2, 4))
    with pytest.raises(ValueError, match=r"inputs have shapes \(2, 3\) and \(2, 4\), which do not broadcast"):
        pyref.add_forward((a, b))
    with pytest.raises(ValueError, match="do not broadcast"):
        pyref.multiply_forward((a, a[:1]))
    with pytest.raises(ValueError, match="do not broadcast"):
        pyref.subtract_forward((a, np.ones((2, 3, 1))))
    with pytest.raises(ValueError, match="more axes than x"):
        pyref.shift_forward(a, np.ones((1, 1, 3)))
    with pytest.raises(ValueError, match="do not broadcast"):
        pyref.scale_forward(a, np.ones(4))
    with pytest.raises(ValueError, match=r"input 1 has shape \(2, 4\), expected \(any, 3\)|axis is 0"):
        pyref.concat_forward((a, b), axis=0)
    with pytest.raises(ValueError, match=r"input 1 has shape \(3, 4\), expected \(2, any\)"):
        pyref.concat_forward((a, np.ones((3, 4))))
    with pytest.raises(ValueError, match=r"sizes \(1, 1\) add up to 2, expected 3, axis 1 of x"):
        pyref.split_forward(a, (1, 1))
    with pytest.raises(ValueError, match=r"sizes \(1, 1\) add up to 2, expected 3, axis 1 of x"):
        pyref.split_gradient(a, (1, 1), (a[:, :1], a[:, :1]))
    with pytest.raises(ValueError, match="G has 1 arrays, expected 2, one per piece"):
        pyref.split_gradient(a, (1, 2), (a[:, :1],))
    with pytest.raises(ValueError, match="signal is 2, expected 0 or 1"):
        pyref.Multiply(2)
    with pytest.raises(ValueError, match="rule Pass needs one input"):
        pyref.add_relevance((a, a), a, pyref.Pass())
    with pytest.raises(ValueError, match=r"R has shape \(2, 4\), expected \(2, 3\)"):
        pyref.add_relevance((a, a), b, pyref.Norm())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_stays(dtype):
    a, b = np.ones((2, 3), dtype), np.full((2, 1), 2, dtype)
    for layer in (pyref.Add(), pyref.Subtract(), pyref.Multiply(), pyref.Divide()):
        y = layer.forward(pyref, a, b)
        answers = [y, layer.tangent(pyref, (a, b), y, (a, b))]
        for gate in ("all", "half", "prop", "abs"):
            answers += layer.relevance(pyref, (a, b), y, y, pyref.Norm(), gate=gate)
        answers += layer.multiplier(pyref, (a, b), y, (b, a), y, y) if layer.affine else ()
        assert all(v.dtype == dtype for v in answers)
    for layer in (pyref.Shift(0.3), pyref.Scale(0.3)):
        y = layer.forward(pyref, a)
        assert all(v.dtype == dtype for v in (y, *layer.relevance(pyref, (a,), y, y, pyref.Norm())))
