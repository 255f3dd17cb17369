"""Upsampling: worked numbers, every rule against the dense matrix, exactly."""

from fractions import Fraction as F

import numpy as np
import pytest
from exact import assert_equal, fraction_arrays, fractions
from hypothesis import given, settings
from hypothesis import strategies as st
from linear import check_adjoint, check_rules

import pyref

LAYERS = [
    (pyref.Upsample(2), (1, 1, 2, 2)),
    (pyref.Upsample((3, 1)), (1, 2, 1, 2)),
    (pyref.Upsample(size=5), (2, 1, 3)),
    (pyref.Upsample(2, mode="bilinear"), (1, 1, 2, 2)),
    (pyref.Upsample(size=(3, 5), mode="bilinear"), (1, 1, 2, 3)),
    (pyref.Upsample(size=(3, 4), mode="bilinear", align_corners=True), (1, 1, 2, 2)),
    (pyref.Upsample(size=2, mode="bilinear"), (1, 2, 3)),
]


@pytest.mark.parametrize(("layer", "shape"), LAYERS, ids=str)
@settings(max_examples=3)
@given(data=st.data())
def test_every_rule_is_its_matrix_of_shares(layer, shape, data):
    x = data.draw(fraction_arrays(shape))
    check_rules(layer, (x,), data.draw(fraction_arrays(layer.forward(pyref, x).shape)))


@pytest.mark.parametrize(("layer", "shape"), LAYERS, ids=str)
@settings(max_examples=10)
@given(data=st.data())
def test_gradient_is_the_adjoint_of_the_tangent(layer, shape, data):
    x, dx = (data.draw(fraction_arrays(shape)) for _ in range(2))
    check_adjoint(layer, (x,), (dx,), data.draw(fraction_arrays(layer.forward(pyref, x).shape)))


def along(values, size, **options):
    return pyref.upsample_forward(fractions([[values]]), (size,), **options)[0, 0].tolist()


def test_worked_numbers():
    assert along([1, 2], 5) == [1, 1, 1, 2, 2]
    assert along([1, 5], 4, mode="bilinear") == [1, 2, 4, 5]
    assert along([1, 4], 4, mode="bilinear", align_corners=True) == [1, 2, 3, 4]
    assert along([3, 1], 1, mode="bilinear", align_corners=True) == [3]
    assert along([1, 2, 4], 2, mode="bilinear") == [F(5, 4), F(7, 2)]


def test_nearest_hands_each_input_what_its_copies_received():
    x, R = fractions([[[2, -3]]]), fractions([[[1, 2, 4, 8]]])
    assert_equal(pyref.upsample_relevance(x, (4,), R, pyref.Epsilon(0)), fractions([[[3, 12]]]))


@settings(max_examples=10)
@given(
    mode=st.sampled_from(["nearest", "bilinear"]), corners=st.booleans(), size=st.integers(1, 7), h=st.integers(1, 4)
)
def test_a_constant_stays_constant(mode, corners, size, h):
    x = fractions([[[7] * h]])
    assert set(along([7] * h, size, mode=mode, align_corners=corners)) == {7}
    floats = pyref.upsample_forward(x.astype(np.float32), (size,), mode, corners)
    assert floats.dtype == np.float32 and floats.shape == (1, 1, size)


def test_errors():
    with pytest.raises(ValueError, match="needs one of scale and size"):
        pyref.Upsample()
    with pytest.raises(ValueError, match="scale is 0, expected whole numbers >= 1"):
        pyref.Upsample(0)
    with pytest.raises(ValueError, match="mode is 'cubic', expected one of 'nearest', 'bilinear'"):
        pyref.Upsample(2, mode="cubic")
    with pytest.raises(ValueError, match=r"size is \(2,\), expected 2 lengths >= 1 for x with shape \(1, 1, 2, 2\)"):
        pyref.upsample_forward(np.ones((1, 1, 2, 2)), (2,))
