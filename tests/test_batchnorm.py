"""Batch normalisation: every rule against the dense matrix, exactly, and from statistics."""

from fractions import Fraction as F

import numpy as np
import pytest
from bound import rounding
from exact import assert_equal, fraction_arrays, fractions
from hypothesis import given, settings
from hypothesis import strategies as st
from linear import check_adjoint, check_rules

import pyref


@settings(max_examples=20)
@given(data=st.data())
def test_every_rule_is_its_matrix_of_shares(data):
    shape = data.draw(st.sampled_from([(2, 3), (1, 2, 2), (2, 1, 2, 2)]))
    x, R = (data.draw(fraction_arrays(shape)) for _ in range(2))
    scale, shift = (data.draw(fraction_arrays(shape[1:2])) for _ in range(2))
    size = int(np.prod(shape[1:]))
    check_rules(pyref.BatchNorm(scale, shift), (x,), R, connected=np.eye(size, dtype=bool))


@given(data=st.data())
def test_gradient_is_the_adjoint_of_the_tangent(data):
    x, dx, G = (data.draw(fraction_arrays((2, 3, 2))) for _ in range(3))
    layer = pyref.BatchNorm(data.draw(fraction_arrays((3,))), data.draw(fraction_arrays((3,))))
    check_adjoint(layer, (x,), (dx,), G)


def test_worked_numbers():
    layer = pyref.BatchNorm(fractions([2, -1]), fractions([1, 3]))
    x, R = fractions([[1, 2], [-1, 3]]), fractions([[3, 5], [1, 1]])
    y = layer.forward(pyref, x)
    assert_equal(y, fractions([[3, 1], [-1, 0]]))
    account = pyref.Account()
    (r,) = layer.relevance(pyref, (x,), y, R, pyref.Epsilon(0), account=account)
    assert_equal(r, fractions([[2, -10], [2, 0]]))  # R · scale x / y; y = 0 hands nothing on
    assert_equal(account.bias, fractions([[1, 15], [-1, 0]]))
    assert account.dropped.tolist() == [0, 1]


def test_statistics_become_scale_and_shift():
    rng = np.random.default_rng(0)
    x, mean, weight, bias = rng.normal(size=(4, 3, 5)), *rng.normal(size=(3, 3))
    variance, eps = rng.uniform(0.5, 2, size=3), 1e-3
    y = pyref.BatchNorm.from_statistics(mean, variance, weight, bias, eps).forward(pyref, x)
    c = (slice(None), None)
    want = (x - mean[c]) / np.sqrt(variance[c] + eps) * weight[c] + bias[c]
    size = (np.abs(x) + np.abs(mean[c])) / np.sqrt(variance[c]) * np.abs(weight[c]) + np.abs(bias[c])
    assert np.all(np.abs(y - want) <= rounding(16, size))
    plain = pyref.BatchNorm.from_statistics(mean.astype(np.float32), variance.astype(np.float32))
    assert plain.scale.dtype == plain.shift.dtype == plain.forward(pyref, x.astype(np.float32)).dtype == np.float32


def test_shapes_are_checked():
    with pytest.raises(ValueError, match=r"shift has shape \(2,\), expected \(3,\)"):
        pyref.BatchNorm(np.ones(3), np.ones(2))
    with pytest.raises(ValueError, match=r"scale has shape \(3,\), expected \(4,\)"):
        pyref.batchnorm_forward(np.ones((1, 4)), np.ones(3))
    with pytest.raises(ValueError, match=r"R has shape \(1, 2\), expected \(1, 3\)"):
        pyref.batchnorm_relevance(np.ones((1, 3)), np.ones(3), None, np.ones((1, 2)), pyref.Epsilon(F(0)))
