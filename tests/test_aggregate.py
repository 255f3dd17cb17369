"""Aggregation over graph nodes: every rule against the dense matrix over edges, exactly."""

import numpy as np
import pytest
from exact import assert_equal, fraction_arrays, fractions
from hypothesis import given, settings
from hypothesis import strategies as st
from linear import check_adjoint, check_rules

import pyref

EDGES = fractions([[1, "1/2", 0], ["1/2", 0, -1], [0, 0, 0], [2, 0, 1]])  # an isolated node among four


@settings(max_examples=15)
@given(data=st.data())
def test_every_rule_is_its_matrix_of_shares_over_edges(data):
    x, R = data.draw(fraction_arrays((2, 3, 2))), data.draw(fraction_arrays((2, 4, 2)))
    check_rules(pyref.Aggregate(EDGES), (x,), R)


@given(data=st.data())
def test_gradient_is_the_adjoint_of_the_tangent(data):
    x, dx, G = (data.draw(fraction_arrays(s)) for s in ((2, 3, 2), (2, 3, 2), (2, 4, 2)))
    check_adjoint(pyref.Aggregate(EDGES), (x,), (dx,), G)


def test_flat_counts_edges():
    x, R = fractions([[[1], [1], [1]]]), fractions([[[4], [6], [5], [2]]])
    account = pyref.Account()
    r = pyref.aggregate_relevance(x, EDGES, R, pyref.Flat(0), account=account)
    assert_equal(r, fractions([[[6], [2], [4]]]))  # 4/2 + 6/2 + 2/2, 4/2, 6/2 + 2/2
    assert account.dropped.tolist() == [5]


def test_shapes_are_checked():
    with pytest.raises(ValueError, match=r"adjacency has shape \(2, 2\), expected \(any, 3\)"):
        pyref.aggregate_forward(np.ones((1, 3, 1)), np.ones((2, 2)))
    with pytest.raises(ValueError, match=r"x has shape \(1, 3\), expected \(any, any, any\)"):
        pyref.aggregate_forward(np.ones((1, 3)), np.ones((3, 3)))
