"""Gradient, saliency and gradient · input: against products of Jacobians in Fractions; channels and tokens."""

import numpy as np
import pytest
from bound import rounding
from exact import assert_equal, fractions

import pyref
from pyref import Dense, Embedding, Flatten, Network, ReLU, Tanh


def some(rng, *shape):
    """Fractions k/4, |k| ≤ 8."""
    return fractions(rng.integers(-8, 9, size=shape)) / 4


@pytest.mark.parametrize("seed", range(5))
def test_the_gradient_is_the_product_of_jacobians(seed):
    rng = np.random.default_rng(seed)
    w1, b1, w2, b2 = some(rng, 4, 5), some(rng, 5), some(rng, 5, 3), some(rng, 3)
    network, x = Network.sequential([Dense(w1, b1), ReLU(), Dense(w2, b2)]), some(rng, 2, 4)
    for n, c in enumerate((2, 0)):
        on = fractions((x[n] @ w1 + b1 > 0).astype(int))
        G = (w1 * on) @ w2[:, c]
        assert_equal(pyref.gradient(network, x, [2, 0]).values[n], G)
        assert_equal(pyref.saliency(network, x, [2, 0]).values[n], np.abs(G))
        assert_equal(pyref.gradient_times_input(network, x, [2, 0]).values[n], x[n] * G)
    v = some(rng, 2, 3)  # any direction of the output, held constant
    by_class = sum(v[:, c : c + 1] * pyref.gradient(network, x, c).values for c in range(3))
    assert_equal(pyref.gradient(network, x, lambda S: v).values, by_class)


def test_saliency_over_channels():
    network = Network.sequential([Flatten(), Dense(fractions([[3], [0], [-4], [1]]))])
    x = fractions(np.ones((1, 2, 1, 2), dtype=int))  # channels (3, 0) and (-4, 1)
    for channels, want in (("each", [[[3, 0]], [[4, 1]]]), ("sum", [[[7, 1]]]), ("max", [[[4, 1]]])):
        assert_equal(pyref.saliency(network, x, channels=channels).values, fractions([want]))
    floats = Network.sequential([Flatten(), Dense(np.array([[3.0], [0], [-4], [1]]))])
    assert (pyref.saliency(floats, np.ones((1, 2, 1, 2)), channels="l2").values == [[[[5, 1]]]]).all()


def test_saliency_of_tokens_is_over_the_embedding():
    rng = np.random.default_rng(0)
    table, w = rng.normal(size=(5, 3)), rng.normal(size=(12, 2))
    network = Network.sequential([Embedding(table), Tanh(), Flatten(), Dense(w)], input="ids")
    ids = np.array([[0, 3, 1, 1], [4, 2, 2, 0]])
    G = (1 - np.tanh(table[ids]) ** 2) * w[:, 1].reshape(4, 3)
    want = {
        "each": np.abs(G).sum(axis=2),
        "sum": np.abs(G).sum(axis=2),
        "max": np.abs(G).max(axis=2),
        "l2": np.sqrt((G * G).sum(axis=2)),
    }
    for channels in want:
        got = pyref.saliency(network, ids, 1, channels=channels).values
        assert got.shape == ids.shape
        assert (np.abs(got - want[channels]) <= rounding(40, want["sum"])).all()
    signed = pyref.gradient(network, ids, 1).values
    assert (np.abs(signed - G.sum(axis=2)) <= rounding(40, want["sum"])).all()
