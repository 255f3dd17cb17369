"""Models on which the right value of a metric is known: linear, additive, constant; exact."""

from fractions import Fraction

import numpy as np
from exact import fractions

import pyref

__all__ = ["additive", "linear", "mixed", "permuted"]


def linear(n=3, N=6, seed=0, bias=True):
    """(network, x, w, R = w ⊙ x): one output, Fractions."""
    random = np.random.default_rng([seed, N])
    w = fractions(random.integers(-9, 10, size=(N, 1))) / 4
    x = fractions(random.integers(-9, 10, size=(n, N))) / 3
    layers = [pyref.Dense(w, fractions([5]) if bias else None)]
    return pyref.Network.sequential(layers, shape=(N,)), x, w[:, 0], x * w[:, 0]


def additive(x):
    """S = Σ_i x_i² as a plain function: no interaction between features, and not linear."""
    return np.sum(x * x, axis=1, keepdims=True)


def mixed(seed=0, N=6, classes=3):
    """A ReLU network with interactions, and a batch, in Fractions."""
    random = np.random.default_rng([seed, 7])
    w1, w2 = (fractions(random.integers(-4, 5, size=s)) / Fraction(2) for s in ((N, 5), (5, classes)))
    network = pyref.Network.sequential([pyref.Dense(w1, w1[0] * 0 + 1), pyref.ReLU(), pyref.Dense(w2)], shape=(N,))
    return network, fractions(random.integers(-5, 6, size=(4, N))) / Fraction(3)


def permuted(network, order):
    """The network that reads its features in another order: new input k is old input order[k]."""
    first = next(name for name, node in network.nodes.items() if node.layer.kind == "dense")
    layer = network.nodes[first].layer
    return network.with_layers({first: pyref.Dense(layer.w[order], layer.b)})
