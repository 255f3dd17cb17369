"""Sums and means over axes: every rule against the dense matrix, exactly."""

import numpy as np
import pytest
from exact import assert_equal, fraction_arrays, fractions
from hypothesis import given, settings
from hypothesis import strategies as st
from linear import check_adjoint, check_rules

import pyref

LAYERS = [
    (pyref.Mean((1,)), (2, 3)),
    (pyref.Mean((2, 3)), (1, 2, 2, 2)),
    (pyref.Mean((-1,), keepdims=True), (2, 2, 3)),
    (pyref.Sum((1, 2)), (2, 2, 2)),
    (pyref.Sum(1, keepdims=True), (1, 3, 2)),
]


@pytest.mark.parametrize(("layer", "shape"), LAYERS, ids=str)
@settings(max_examples=5)
@given(data=st.data())
def test_every_rule_is_its_matrix_of_shares(layer, shape, data):
    x = data.draw(fraction_arrays(shape))
    R = data.draw(fraction_arrays(layer.forward(pyref, x).shape))
    check_rules(layer, (x,), R)


@pytest.mark.parametrize(("layer", "shape"), LAYERS, ids=str)
@given(data=st.data())
def test_gradient_is_the_adjoint_of_the_tangent(layer, shape, data):
    x, dx = (data.draw(fraction_arrays(shape)) for _ in range(2))
    check_adjoint(layer, (x,), (dx,), data.draw(fraction_arrays(layer.forward(pyref, x).shape)))


def test_worked_numbers():
    x = fractions([[[1, 2], [3, 6]]])
    assert_equal(pyref.mean_forward(x, 2), fractions([["3/2", "9/2"]]))
    assert_equal(pyref.sum_forward(x, (1, -1)), fractions([12]))
    r = pyref.mean_relevance(x, 2, fractions([[3, 9]]), pyref.Norm(0))
    assert_equal(r, fractions([[[1, 2], [3, 6]]]))


def test_errors_and_dtype():
    x = np.ones((2, 3), np.float32)
    for axes in (0, (1, -1), 2):
        with pytest.raises(ValueError, match="expected different axes after the batch"):
            pyref.mean_forward(x, axes)
    with pytest.raises(ValueError, match=r"G has shape \(2, 1\), expected \(2,\)"):
        pyref.mean_gradient(x, 1, np.ones((2, 1)))
    y = pyref.mean_forward(x, 1)
    assert y.dtype == pyref.mean_relevance(x, 1, y, pyref.Norm()).dtype == np.float32
