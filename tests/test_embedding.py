"""Embedding: ids become rows, and carry no signal."""

import numpy as np
import pytest
from exact import assert_equal, fractions

import pyref

TABLE = fractions([[1, 2], [3, 4], [5, 6]])


def test_rows_are_looked_up():
    ids = np.array([[2, 0, 2], [1, 1, 0]])
    layer = pyref.Embedding(TABLE)
    y = layer.forward(pyref, ids)
    assert_equal(y[0], fractions([[5, 6], [1, 2], [5, 6]]))
    assert y.shape == (2, 3, 2)
    assert layer.gradient(pyref, (ids,), y, y) == layer.multiplier(pyref, (ids,), y, (ids,), y, y) == (None,)
    assert_equal(layer.tangent(pyref, (ids,), y, (None,)), y * 0)


def test_relevance_that_goes_further_stays_with_the_table():
    ids = np.array([[2, 0]])
    layer, account = pyref.Embedding(TABLE), pyref.Account()
    y = layer.forward(pyref, ids)
    parts = layer.relevance(pyref, (ids,), y, y, pyref.Epsilon(), account=account)
    assert parts == (None,)
    assert_equal(account.bias, y)
    assert (pyref.LedgerRow("embedding", y, parts, account).residual == 0).all()


def test_ids_are_checked():
    with pytest.raises(TypeError, match="ids has dtype float64, expected integers"):
        pyref.embedding_forward(np.ones((1, 2)), TABLE)
    with pytest.raises(ValueError, match="ids holds 2 values outside 0 to 2"):
        pyref.embedding_forward(np.array([[3, -1, 0]]), TABLE)
    with pytest.raises(ValueError, match=r"table has shape \(3,\), expected \(any, any\)"):
        pyref.Embedding(TABLE[:, 0])
