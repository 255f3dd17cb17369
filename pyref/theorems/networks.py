"""Random networks for the statements, drawn through the `Draw` interface: tiny, and exact where they can be.

Every maker takes `exact` (Fractions, else float64), `bias`, and `activations`, the layers among which each
nonlinearity is chosen; batches have one sample. The same few parameters draw every kind of graph: chains,
residual sums, concatenations, convolutions with pooling.
"""

from dataclasses import dataclass, fields, replace
from fractions import Fraction
from itertools import pairwise
from typing import ClassVar

import numpy as np

from pyref.layers import (
    ELU,
    GELU,
    AvgPool,
    Conv,
    Dense,
    LeakyReLU,
    MaxPool,
    ReLU,
    Sigmoid,
    SiLU,
    Softplus,
    Tanh,
)
from pyref.layers.activation import Activation
from pyref.network import Network
from pyref.numerics import ones_like, safe_divide, sign

__all__ = [
    "RationalTanh",
    "RationalSigmoid",
    "HOMOGENEOUS",
    "RATIONAL",
    "RATIONAL_ZERO",
    "SMOOTH",
    "SMOOTH_ZERO",
    "mlp",
    "residual",
    "concatenated",
    "convolutional",
    "any_network",
    "input_for",
    "dense",
    "array",
    "without_biases",
    "chain",
]


# ── saturating activations in exact arithmetic ─────────────────────────────────────────────────────────


@dataclass(frozen=True)
class RationalTanh(Activation):
    """f(z) = z / (1 + |z|): saturates like tanh, f(0) = 0, and rational at rational z.

    f′ = 1 / (1 + |z|)²      f(z)/z = 1 / (1 + |z|)
    q = 1 / ((1 + |z|)(1 + |z0|)) where z z0 ≥ 0, else the quotient of differences
    """

    name: ClassVar[str] = "rational_tanh"

    def value(self, z):
        return z / (1 + np.abs(z))

    def derivative(self, z):
        return ones_like(z) / ((1 + np.abs(z)) * (1 + np.abs(z)))

    def quotient(self, z, z0):
        one_side = ones_like(z) / ((1 + np.abs(z)) * (1 + np.abs(z0)))
        across = safe_divide(self.value(z) - self.value(z0), z - z0)
        return np.where(sign(z) * sign(z0) > 0, one_side, across)


@dataclass(frozen=True)
class RationalSigmoid(Activation):
    """f(z) = (1 + z / (1 + |z|)) / 2: saturates like the sigmoid, f(0) = 1/2, and rational at rational z."""

    name: ClassVar[str] = "rational_sigmoid"
    zero_at_zero: ClassVar[bool] = False

    def value(self, z):
        return (1 + RationalTanh().value(z)) / 2

    def derivative(self, z):
        return RationalTanh().derivative(z) / 2

    def quotient(self, z, z0):
        return RationalTanh().quotient(z, z0) / 2


HOMOGENEOUS = (ReLU(), LeakyReLU(Fraction(1, 4)))
"""Positively homogeneous: f(tz) = t f(z) for t ≥ 0."""

RATIONAL_ZERO = (*HOMOGENEOUS, RationalTanh())
"""Exact, with f(0) = 0."""

RATIONAL = (*RATIONAL_ZERO, RationalSigmoid())
"""Exact."""

SMOOTH_ZERO = (Tanh(), ELU(), SiLU(), GELU("tanh"))
"""Smooth, with f(0) = 0."""

SMOOTH = (*SMOOTH_ZERO, Sigmoid(), Softplus())
"""Smooth, in float64."""


# ── arrays and single layers ───────────────────────────────────────────────────────────────────────────


def array(values):
    """An exact array of numbers written as ints, Fractions or strings ("3/2"), nested lists for axes."""
    plain = np.array(values, dtype=object)
    exact = np.empty(plain.shape, dtype=object)
    for index in np.ndindex(plain.shape):
        exact[index] = Fraction(plain[index])
    return exact


def dense(draw, i, o, exact=True, bias=True):
    """A dense layer of i inputs and o outputs; bias False gives None."""
    return Dense(draw.numbers((i, o), exact), draw.numbers(o, exact) if bias else None)


def chain(*layers, shape=None, name="network"):
    """A Network of layers in a row; an exact weight matrix stands for a dense layer without bias."""
    made = [layer if not isinstance(layer, np.ndarray) else Dense(layer) for layer in layers]
    return Network.sequential(made, shape=shape, name=name)


# ── networks ───────────────────────────────────────────────────────────────────────────────────────────


def mlp(draw, activations=HOMOGENEOUS, exact=True, bias=True, depth=None, inputs=None, outputs=None):
    """Dense layers with activations between them: `depth` hidden layers (1 to 3), each of 1 to 4 units."""
    depth = draw.integer(1, 3) if depth is None else depth
    widths = [draw.integer(1, 4) if inputs is None else inputs]
    widths += [draw.integer(1, 4) for _ in range(depth)]
    widths += [draw.integer(1, 3) if outputs is None else outputs]
    layers = []
    for i, o in pairwise(widths):
        layers += [dense(draw, i, o, exact, bias), draw.choice(activations)]
    return Network.sequential(layers[:-1], shape=(widths[0],))


def residual(draw, activations=HOMOGENEOUS, exact=True, bias=True):
    """A block y = h + F(h) with its own activations, between two dense layers."""
    from pyref.layers import Add

    i, h, m, o = draw.integer(1, 4), draw.integer(1, 3), draw.integer(1, 3), draw.integer(1, 3)
    return Network(
        [
            ("first", dense(draw, i, h, exact, bias), "x"),
            ("a1", draw.choice(activations), "first"),
            ("inner", dense(draw, h, m, exact, bias), "a1"),
            ("a2", draw.choice(activations), "inner"),
            ("outer", dense(draw, m, h, exact, bias), "a2"),
            ("sum", Add(), ("a1", "outer")),
            ("a3", draw.choice(activations), "sum"),
            ("last", dense(draw, h, o, exact, bias), "a3"),
        ],
        {"x": (i,)},
    )


def concatenated(draw, activations=HOMOGENEOUS, exact=True, bias=True):
    """Two branches from one input, one of them read twice, concatenated."""
    from pyref.layers import Concat

    i, left, right, o = draw.integer(1, 4), draw.integer(1, 3), draw.integer(1, 3), draw.integer(1, 3)
    return Network(
        [
            ("left", dense(draw, i, left, exact, bias), "x"),
            ("a1", draw.choice(activations), "left"),
            ("right", dense(draw, left, right, exact, bias), "a1"),
            ("a2", draw.choice(activations), "right"),
            ("join", Concat(), ("a1", "a2", "x")),
            ("last", dense(draw, left + right + i, o, exact, bias), "join"),
        ],
        {"x": (i,)},
    )


def convolutional(draw, activations=HOMOGENEOUS, exact=True, bias=True, pools=("max", "average")):
    """Convolution, activation, pooling (overlapping windows among them), a dense layer: images of 1 or 2 channels."""
    from pyref.layers import Flatten

    c, o = draw.integer(1, 2), draw.integer(1, 2)
    height, width = draw.integer(3, 4), draw.integer(3, 4)
    padding = draw.integer(0, 1)
    w = draw.numbers((o, c, 2, 2), exact)
    conv = Conv(w, draw.numbers(o, exact) if bias else None, padding=padding)
    stride = draw.integer(1, 2)
    pool = {"max": MaxPool, "average": AvgPool}[draw.choice(pools)](2, stride=stride)
    rows, columns = ((n + 2 * padding - 1 - 2) // stride + 1 for n in (height, width))
    return Network.sequential(
        [
            conv,
            draw.choice(activations),
            pool,
            Flatten(),
            dense(draw, o * rows * columns, draw.integer(1, 3), exact, bias),
        ],
        shape=(c, height, width),
    )


MAKERS = (mlp, residual, concatenated, convolutional)


def any_network(draw, activations=HOMOGENEOUS, exact=True, bias=True, makers=MAKERS):
    """One of the makers' networks."""
    return draw.choice(makers)(draw, activations, exact, bias)


def input_for(draw, network, exact=True):
    """One sample in the shape that the network declares."""
    (shape,) = network.inputs.values()
    return draw.numbers((1, *shape), exact)


def without_biases(network):
    """The same network with every bias removed."""
    changed = {}
    for node in network.nodes.values():
        if any(f.name == "b" for f in fields(node.layer)):
            changed[node.name] = replace(node.layer, b=None)
    return network.with_layers(changed)
