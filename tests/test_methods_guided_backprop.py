"""Guided Backpropagation and Deconvnet, by explicit loops on small nets."""

import numpy as np
import pytest
from exact import assert_equal, fractions

import pyref
from pyref.theorems.draw import SeededDraw

METHODS = {"guided_backprop": pyref.guided_backprop, "deconvnet": pyref.deconvnet}


def deep(seed, draw=None):
    draw = draw or SeededDraw(seed, "guided")
    weights = [(draw.fractions(s), draw.fractions(s[1])) for s in ((3, 4), (4, 4), (4, 2))]
    layers = [pyref.Dense(*weights[0]), pyref.ReLU(), pyref.Dense(*weights[1]), pyref.ReLU(), pyref.Dense(*weights[2])]
    return pyref.Network.sequential(layers), weights, draw.fractions((3, 3))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("seed", range(8))
def test_by_hand(method, seed):
    network, ((w1, b1), (w2, b2), (w3, _)), x = deep(seed)
    for n in range(3):
        z1 = [sum(x[n, i] * w1[i, j] for i in range(3)) + b1[j] for j in range(4)]
        z2 = [sum(max(z1[i], 0) * w2[i, j] for i in range(4)) + b2[j] for j in range(4)]

        def through(G, z):
            return [max(g, 0) if method == "deconvnet" or v > 0 else 0 for g, v in zip(G, z, strict=True)]

        G2 = through([w3[i, 1] for i in range(4)], z2)
        G1 = through([sum(w2[i, j] * G2[j] for j in range(4)) for i in range(4)], z1)
        G0 = [sum(w1[i, j] * G1[j] for j in range(4)) for i in range(3)]
        a = METHODS[method](network, x[n : n + 1], 1)
        assert_equal(a.values, fractions([G0]))
        assert_equal(METHODS[method](network, x[n : n + 1], 1, absolute=True).values, abs(fractions([G0])))


@pytest.mark.parametrize("method", METHODS)
def test_figure_14(method):
    """x_2 receives nothing, although the function depends on it; for both of its networks."""
    one, two, relu, dense = fractions([[1, 0], [0, 1]]), fractions([[1], [-1]]), pyref.ReLU, pyref.Dense
    f = pyref.Network.sequential([dense(one), relu(), dense(two, fractions([-1])), relu()])
    g = pyref.Network.sequential([dense(one, fractions([-1, 0])), relu(), dense(two), relu()])
    for network in (f, g):
        assert_equal(METHODS[method](network, fractions([[3, 1]])).values, fractions([[1, 0]]))


@pytest.mark.parametrize("method", METHODS)
def test_positively_homogeneous_and_not_linear(method):
    network, _, x = deep(1)

    def at(t):
        return METHODS[method](network, x, lambda S: 0 * S + t).values

    assert_equal(at(3), 3 * at(1))
    assert (at(-1) != -at(1)).any()


def test_deconvnet_ignores_the_input_without_pooling():
    network, _, x = deep(2)
    values = pyref.deconvnet(network, x, 0).values
    assert (values == values[:1]).all()
    assert (pyref.guided_backprop(network, x, 0).values != values).any()


@pytest.mark.parametrize("method", METHODS)
def test_pooling_goes_to_its_winner(method):
    layers = [pyref.MaxPool(2), pyref.ReLU(), pyref.Flatten(), pyref.Dense(fractions([[2], [-1]]))]
    network = pyref.Network.sequential(layers)
    a = METHODS[method](network, fractions([[[1, 3, -1, -2]]]))
    assert_equal(a.values, fractions([[[0, 2, 0, 0]]]))


@pytest.mark.parametrize("method", METHODS)
def test_other_activations(method):
    """Refused by name; or f′(z) and the positive part of the gradient."""
    w = np.array([[1.0, -1.0]])
    network = pyref.Network.sequential([pyref.Dense(w), ("bend", pyref.Tanh()), pyref.Dense(np.array([[1.0], [1.0]]))])
    x = np.array([[0.5]])
    with pytest.raises(ValueError, match="is defined for ReLU, but node 'bend' is Tanh; activation='derivative'"):
        METHODS[method](network, x)
    G = pyref.Tanh().derivative(x)
    assert_equal(fractions(METHODS[method](network, x, activation="derivative").values), fractions(G * 1 + G * -1))
    same = pyref.Network.sequential([pyref.Identity(), pyref.Dense(np.array([[-1.0]]))])
    assert METHODS[method](same, x).values == -1
    with pytest.raises(ValueError, match="activation is 'relu', expected one of"):
        METHODS[method](network, x, activation="relu")


@pytest.mark.parametrize("method", METHODS)
def test_recurrent_layers_are_refused_by_name(method):
    lstm = pyref.LSTM(np.ones((1, 4)), np.ones((1, 4)), np.ones(4))
    network = pyref.Network.sequential([("memory", lstm), pyref.Flatten(), pyref.Dense(np.ones((3, 1)))])
    with pytest.raises(ValueError, match="does not go through recurrent layers: node 'memory'"):
        METHODS[method](network, np.ones((1, 3, 1)))
