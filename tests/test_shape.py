"""Flatten, reshape, transpose, pad, slice, dropout: what goes forth comes back, exactly."""

import numpy as np
import pytest
from exact import assert_equal, fraction_arrays, fractions
from hypothesis import given, settings
from hypothesis import strategies as st

import pyref

LAYERS = {
    "flatten": (pyref.Flatten(), (2, 2, 3), (2, 6)),
    "flatten from 2": (pyref.Flatten(2), (2, 2, 3, 2), (2, 2, 6)),
    "reshape": (pyref.Reshape((3, -1)), (2, 2, 3), (2, 3, 2)),
    "transpose": (pyref.Transpose((2, 3, 1)), (2, 1, 2, 3), (2, 2, 3, 1)),
    "pad": (pyref.Pad(((1, 0), (0, 2))), (2, 2, 2, 1), (2, 2, 3, 3)),
    "slice": (pyref.Slice((1, -1), (1, None), (3, None), (1, -2)), (2, 3, 5), (2, 2, 3)),
    "slice plain": (pyref.Slice((2,), (0,), (2,)), (2, 1, 3), (2, 1, 2)),
    "dropout": (pyref.Dropout(), (2, 3), (2, 3)),
}


@pytest.mark.parametrize("name", LAYERS)
@settings(max_examples=15)
@given(data=st.data())
def test_signals_travel_back_by_the_adjoint(name, data):
    layer, shape, after = LAYERS[name]
    x, G = data.draw(fraction_arrays(shape)), data.draw(fraction_arrays(after))
    y = layer.forward(pyref, x)
    assert y.shape == after
    assert_equal(layer.tangent(pyref, (x,), y, (x,)), y)  # each is linear, so that it is its own tangent
    (g,) = layer.gradient(pyref, (x,), y, G)
    assert g.shape == shape and (g * x).sum() == (G * y).sum()
    assert_equal(layer.multiplier(pyref, (x,), y, (x,), y, G)[0], g)
    account = pyref.Account()
    (r,) = layer.relevance(pyref, (x,), y, G, pyref.Epsilon(1), account=account)
    assert_equal(r, g)
    assert (pyref.LedgerRow("node", G, (r,), account).residual == 0).all()
    assert layer.ray(pyref, (x,), y, (x,))[1] is None and layer.piecewise_linear


def test_positions_by_hand():
    x = fractions(np.arange(1, 7).reshape(1, 2, 3))
    assert_equal(pyref.transpose_forward(x, (2, 1)), fractions([[[1, 4], [2, 5], [3, 6]]]))
    assert_equal(pyref.reshape_forward(x, (3, 2)), fractions([[[1, 2], [3, 4], [5, 6]]]))
    assert_equal(pyref.slice_forward(x, (1, 2), (0, 1), (1, 3)), fractions([[[2, 3]]]))
    assert_equal(
        pyref.slice_gradient(x, (1, 2), (0, 1), (1, 3), fractions([[[8, 9]]])), fractions([[[0, 8, 9], [0, 0, 0]]])
    )
    assert_equal(pyref.pad_forward(x[:, :, :1], ((1, 2),), value=7), fractions([[[7, 1, 7, 7], [7, 4, 7, 7]]]))


def test_what_reaches_a_border_is_booked():
    x, R = fractions([[5]]), fractions([[1, 2, 4]])
    y = fractions([[3, 5, 3]])
    account = pyref.Account()
    (r,) = pyref.Pad(((1, 1),), value=3).relevance(pyref, (x,), y, R, None, account=account)
    assert_equal(r, fractions([[2]]))
    assert_equal(account.bias, fractions([[1, 0, 4]]))
    account = pyref.Account()
    pyref.Pad(((1, 1),)).relevance(pyref, (x,), y, R, None, account=account)
    assert account.bias is None and account.dropped.tolist() == [5]


ERRORS = [
    (lambda x: pyref.reshape_forward(x, (4,)), r"shape is \(4,\), which does not hold a sample of shape \(2, 3\)"),
    (lambda x: pyref.reshape_forward(x, (-1, -1)), "does not hold a sample"),
    (lambda x: pyref.transpose_forward(x, (0, 1)), "expected a permutation of 1 to 2: the batch stays first"),
    (lambda x: pyref.Transpose((2, 3)), r"axes is \(2, 3\), expected a permutation"),
    (lambda x: pyref.Flatten(0), "start is 0, expected an axis after the batch, >= 1"),
    (lambda x: pyref.pad_forward(x, ((-1, 0),)), r"expected \(before, after\) >= 0 for at most 2 axes"),
    (lambda x: pyref.pad_forward(x, ((1, 0),) * 3), "for at most 2 axes"),
    (lambda x: pyref.slice_forward(x, (0,), (0,), (1,)), "expected different axes after the batch"),
    (lambda x: pyref.slice_forward(x, (1, 1), (0, 0), (1, 1)), "expected different axes after the batch"),
    (lambda x: pyref.slice_forward(x, (1,), (0, 0), (1,)), "expected equal lengths"),
    (lambda x: pyref.slice_forward(x, (1,), (0,), (1,), (0,)), r"step is \(0,\), expected no 0"),
    (lambda x: pyref.reshape_gradient(x, (6,), x), r"G has shape \(1, 2, 3\), expected \(1, 6\)"),
    (lambda x: pyref.dropout_gradient(x, x[0]), r"G has shape \(2, 3\), expected \(1, 2, 3\)"),
]


@pytest.mark.parametrize(("call", "words"), ERRORS, ids=[w for _, w in ERRORS])
def test_errors(call, words):
    with pytest.raises(ValueError, match=words):
        call(np.ones((1, 2, 3)))


def test_float_border_keeps_the_dtype():
    assert pyref.pad_forward(np.ones((1, 2), np.float32), ((1, 1),), 0.1).dtype == np.float32
