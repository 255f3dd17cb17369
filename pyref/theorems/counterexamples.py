"""The small networks that the papers argue with, and two functions that are not continuous."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pyref.layers import BatchNorm, Dense, ReLU
from pyref.layers.activation import Activation
from pyref.layers.layer import Layer
from pyref.network import Network
from pyref.numerics import ones_like, zeros_like
from pyref.theorems.networks import array

__all__ = ["Step", "TwoSlopes", "pair", "saturated", "saturated_with", "one_neuron"]


def pair():
    """(f, g) of [sundararajan2016] Fig. 14, equal everywhere and built differently.

    f = ReLU(h), h = ReLU(x₁) - 1 - ReLU(x₂);      g = ReLU(k), k = ReLU(x₁ - 1) - ReLU(x₂)
    """
    one, difference = array([1, 1]), array([[1], [-1]])

    def build(name, inner, outer):  # the first node is a shift of each input, so each has one input
        return Network.sequential(
            [("inner", BatchNorm(one, array(inner))), ReLU(), ("outer", Dense(difference, array([outer]))), ReLU()],
            shape=(2,),
            name=name,
        )

    f, g = build("f", [0, 0], -1), build("g", [-1, 0], 0)
    return f, g


def saturated():
    """S(x) = 1 - ReLU(1 - x), flat for x ≥ 1: [sundararajan2016] sec. 2.3."""
    return saturated_with(array([1])[0], array([1])[0])


def saturated_with(a, b):
    """S(x) = a - ReLU(b - x): [srinivas2019] sec. 4.1."""
    return Network.sequential([Dense(array([[-1]]), array([b])), ReLU(), Dense(array([[-1]]), array([a]))], shape=(1,))


def one_neuron(w0, b0, w1, b1):
    """S(x) = w₁ ReLU(w₀ x + b₀) + b₁: [srinivas2019] Example 2."""
    return Network.sequential(
        [Dense(array([[w0]]), array([b0])), ReLU(), Dense(array([[w1]]), array([b1]))], shape=(1,)
    )


@dataclass(frozen=True)
class Step(Activation):
    """f(z) = 1 for z > ½, else 0: differentiable almost everywhere, and not continuous."""

    name: ClassVar[str] = "step"
    piecewise_linear: ClassVar[bool] = True

    def value(self, z):
        return np.where(2 * z > 1, ones_like(z), zeros_like(z))

    def derivative(self, z):
        return zeros_like(z)

    def ray(self, backend, x, y, dx):
        return zeros_like(x[0]), None


@dataclass(frozen=True)
class TwoSlopes(Layer):
    """f(x₁, x₂) = x₁ + 3x₂ where both ≤ 1, 3x₁ + x₂ where both > 1, else 0: [srinivas2019] Example 1.

    Linear in pieces, and not continuous at their borders off the diagonal: no ReLU network computes it.
    """

    kind: ClassVar[str] = "example"
    piecewise_linear: ClassVar[bool] = True

    def _slopes(self, below, above):
        """The gradient (n, 2) of each sample, given where every coordinate is below or above 1."""
        low, high = below.all(axis=1, keepdims=True), above.all(axis=1, keepdims=True)
        return np.where(low, array([[1, 3]]), np.where(high, array([[3, 1]]), array([[0, 0]])))

    def forward(self, backend, x):
        return (self._slopes(x <= 1, x > 1) * x).sum(axis=1, keepdims=True)

    def gradient(self, backend, x, y, G):
        return (self._slopes(x[0] <= 1, x[0] > 1) * G,)

    def tangent(self, backend, x, y, dx):
        return (self._slopes(x[0] <= 1, x[0] > 1) * dx[0]).sum(axis=1, keepdims=True)

    def ray(self, backend, x, y, dx):
        at = x[0] == 1
        above = (x[0] > 1) | (at & (dx[0] > 0))
        dy = (self._slopes(~above, above) * dx[0]).sum(axis=1, keepdims=True)
        moving = np.where(dx[0] == 0, ones_like(dx[0]), dx[0])
        t = np.where(dx[0] == 0, -ones_like(dx[0]), (1 - x[0]) / moving)
        return dy, np.min(np.where(t > 0, t, np.inf), axis=1)
