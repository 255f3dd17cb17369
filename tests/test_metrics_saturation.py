"""Saturation curves of networks whose path is known."""

from fractions import Fraction as F

import numpy as np
import pytest
from bound import rounding
from exact import assert_equal, fractions
from models import linear, mixed

import pyref


def test_homogeneous_networks_do_not_saturate():
    w = fractions([[1, -2, 1], [3, 1, 0]]), fractions([[1, 2], [1, 1], [-1, 4]])
    network = pyref.Network.sequential([pyref.Dense(w[0]), pyref.ReLU(), pyref.Dense(w[1])], shape=(2,))
    x = fractions([[1, 2], [2, 0]])
    alphas = [F(k, 4) for k in range(5)]
    got = pyref.saturation(network, x, target=1, alphas=alphas, nodes=["relu1"])
    S, a = network(x)[:, 1], network.forward(x)["relu1"]
    assert_equal(got["output"], np.outer(S, alphas))
    assert_equal(got["relu1 cosine"], fractions(np.ones((2, 5), dtype=int)))
    assert got.notes["0/0"]["relu1 cosine"].tolist() == [[True] + [False] * 4] * 2
    norms = np.sqrt((a * a).sum(axis=1).astype(float))
    want = np.outer(norms, 1 - np.array(alphas, dtype=float))
    assert (np.abs(got["relu1 distance"].astype(float) - want) <= rounding(16, want.max())).all()
    assert "probability" not in got.series and got.at.tolist() == [0, 0.25, 0.5, 0.75, 1]


def test_saturated_examples():
    """f = 1 - ReLU(1 - x): half of the way up to 2 is flat."""
    network = pyref.Network.sequential(
        [pyref.Dense(fractions([[-1]]), fractions([1])), pyref.ReLU(), pyref.Dense(fractions([[-1]]), fractions([1]))]
    )
    got = pyref.saturation(network, fractions([[2]]), alphas=[F(k, 8) for k in range(9)], nodes=["relu1"])
    assert_equal(got["output"], fractions([[0, "1/4", "1/2", "3/4", 1, 1, 1, 1, 1]]))
    assert_equal(got["relu1 distance"], 1 - got["output"])
    constant = pyref.Network.sequential([pyref.Dense(fractions([[0]]), fractions([3]))])
    assert (pyref.saturation(constant, fractions([[5]]), alphas=(0, 1))["output"] == 3).all()


def test_from_a_baseline_and_with_probabilities():
    network, x = mixed()
    got = pyref.saturation(network, x, target=2, baseline=F(1, 2), alphas=(0, 1))
    assert_equal(got["output"][:, 0], network(0 * x + F(1, 2))[:, 2])
    assert_equal(got["output"][:, 1], network(x)[:, 2])
    floats = pyref.Network.sequential(
        [
            pyref.Dense(node.layer.w.astype(float)) if hasattr(node.layer, "w") else node.layer
            for node in network.nodes.values()
        ]
    )
    x = x.astype(float)
    got = pyref.saturation(floats, x, alphas=(0.5, 1))
    for k, alpha in enumerate((0.5, 1)):
        S = floats(alpha * x)
        p = np.exp(S) / np.exp(S).sum(axis=1, keepdims=True)
        want = p[np.arange(4), np.argmax(floats(x), axis=1)]
        assert (np.abs(got["probability"][:, k] - want) <= rounding(200, 1)).all()
    pair = pyref.saturation(floats, x, target=pyref.class_difference(0, 1), alphas=(1,))
    assert "probability" not in pair.series  # no single class


def test_a_path_through_the_opposite_turns_the_cosine_over():
    network = pyref.Network.sequential([pyref.Dense(fractions([[1, 2], [0, 1]]))], shape=(2,))
    x = fractions([[1, 3]])
    got = pyref.saturation(network, x, target=0, baseline=-x, alphas=(0, F(1, 4), F(1, 2), 1), nodes=["dense1"])
    assert_equal(got["dense1 cosine"], fractions([[-1, -1, 1, 1]]))  # 0/0 in the middle
    assert got.notes["0/0"]["dense1 cosine"].tolist() == [[False, False, True, False]]


def test_a_function_saturates_too_and_unknown_nodes_are_named():
    got = pyref.saturation(lambda x: np.tanh(x.sum(axis=1)), np.array([[3.0, 4.0]]), alphas=(0, 0.5, 1))
    assert got["output"].tolist() == [[0, np.tanh(3.5), np.tanh(7.0)]]
    network, x, _, _ = linear()
    with pytest.raises(ValueError, match="no node 'conv1'"):
        pyref.saturation(network, x, nodes=["conv1"])
