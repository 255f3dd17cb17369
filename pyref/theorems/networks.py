"""Random networks for the statements, drawn through the `Draw` interface: tiny, and exact where they can be.

Every maker takes `exact` (Fractions, else float64), `bias`, and `activations`, the layers among which each
nonlinearity is chosen; batches have one sample. The same few parameters draw every kind of graph: chains,
residual sums, concatenations, convolutions with pooling.
"""

from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np

from pyref.layers.activation import (
    ELU,
    GELU,
    Activation,
    LeakyReLU,
    ReLU,
    Sigmoid,
    SiLU,
    Softplus,
    Tanh,
)
from pyref.layers.batchnorm import BatchNorm
from pyref.layers.conv import Conv
from pyref.layers.dense import Dense
from pyref.layers.merge import Add, Concat, Multiply
from pyref.layers.pool import AvgPool, MaxPool
from pyref.layers.shape import Flatten
from pyref.network import Network
from pyref.numerics import ones_like, safe_divide, sign, zeros_like

__all__ = [
    "RationalTanh",
    "RationalSigmoid",
    "HOMOGENEOUS",
    "RATIONAL",
    "RATIONAL_ZERO",
    "SMOOTH",
    "SMOOTH_ZERO",
    "MAKERS",
    "VECTORS",
    "COMPLETE",
    "array",
    "dense",
    "chain",
    "mlp",
    "residual",
    "concatenated",
    "convolutional",
    "averaging",
    "max_pooled",
    "gated",
    "recurrent_cell",
    "any_network",
    "input_for",
    "target_for",
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
        exact[index] = Fraction(plain.item(index))
    return exact


def dense(draw, i, o, exact=True, bias=True):
    """A dense layer of i inputs and o outputs; bias False gives None."""
    return Dense(draw.numbers((i, o), exact), draw.numbers(o, exact) if bias else None)


def chain(*layers, shape=None, name="network"):
    """A Network of layers in a row; an exact weight matrix stands for a dense layer without bias."""
    made = [layer if not isinstance(layer, np.ndarray) else Dense(layer) for layer in layers]
    return Network.sequential(made, shape=shape, name=name)


# ── networks ───────────────────────────────────────────────────────────────────────────────────────────


def mlp(draw, activations=HOMOGENEOUS, exact=True, bias=True, depth=None, inputs=None, width=None, outputs=None):
    """Dense layers with activations between them: `depth` hidden layers (1 to 3) of `width` units (1 to 4)."""
    depth = draw.integer(1, 3) if depth is None else depth
    widths = [draw.integer(1, 4) if inputs is None else inputs]
    widths += [draw.integer(1, 4) if width is None else width for _ in range(depth)]
    widths += [draw.integer(1, 3) if outputs is None else outputs]
    layers = []
    for i, o in pairwise(widths):
        layers += [dense(draw, i, o, exact, bias), draw.choice(activations)]
    return Network.sequential(layers[:-1], shape=(widths[0],))


def residual(draw, activations=HOMOGENEOUS, exact=True, bias=True):
    """A block y = h + F(h) with its own activations, between two dense layers."""
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
    """Convolution, at times batch normalisation, activation, pooling (windows may overlap), a dense layer."""
    c, o = draw.integer(1, 2), draw.integer(1, 2)
    height, width = draw.integer(3, 4), draw.integer(3, 4)
    padding = draw.integer(0, 1)
    layers: list[Any] = [
        Conv(draw.numbers((o, c, 2, 2), exact), draw.numbers(o, exact) if bias else None, padding=padding)
    ]
    if draw.boolean():
        shift = draw.numbers(o, exact)
        layers.append(BatchNorm(draw.numbers(o, exact), shift if bias else zeros_like(shift)))
    layers.append(draw.choice(activations))
    stride = draw.integer(1, 2)
    layers.append({"max": MaxPool, "average": AvgPool}[draw.choice(pools)](2, stride=stride))
    rows, columns = ((n + 2 * padding - 1 - 2) // stride + 1 for n in (height, width))
    layers += [Flatten(), dense(draw, o * rows * columns, draw.integer(1, 3), exact, bias)]
    return Network.sequential(layers, shape=(c, height, width))


def averaging(draw, activations=HOMOGENEOUS, exact=True, bias=True):
    """`convolutional` with average pooling only."""
    return convolutional(draw, activations, exact, bias, pools=("average",))


def gated(draw, activations=(RationalTanh(),), exact=True, bias=True, gates=(RationalSigmoid(),)):
    """A gate times a signal, gate(W x + b) ⊙ f(W' x + b'), between dense layers: the product of recurrent cells."""
    i, h, o = draw.integer(1, 3), draw.integer(1, 3), draw.integer(1, 2)
    return Network(
        [
            ("gate_z", dense(draw, i, h, exact, bias), "x"),
            ("gate", draw.choice(gates), "gate_z"),
            ("signal_z", dense(draw, i, h, exact, bias), "x"),
            ("signal", draw.choice(activations), "signal_z"),
            ("product", Multiply(signal=1), ("gate", "signal")),
            ("last", dense(draw, h, o, exact, bias), "product"),
        ],
        {"x": (i,)},
    )


def max_pooled(draw, activations=HOMOGENEOUS, exact=True, bias=True):
    """`convolutional` with max pooling only."""
    return convolutional(draw, activations, exact, bias, pools=("max",))


def recurrent_cell(draw, activations=(RationalTanh(),), exact=True, bias=True, gates=(RationalSigmoid(),)):
    """One step of an LSTM as a graph, from a state that depends on x: c = f ⊙ c₋ + i ⊙ g, h = o ⊙ f(c)."""
    i, h = draw.integer(1, 3), draw.integer(1, 2)
    nodes: list[Any] = [
        ("c_prev", dense(draw, i, h, exact, bias=False), "x"),
        ("h_prev", draw.choice(activations), "c_prev"),
    ]
    for gate in ("i", "f", "g", "o"):
        nodes.append((f"{gate}_x", dense(draw, i, h, exact, bias), "x"))
        nodes.append((f"{gate}_h", dense(draw, h, h, exact, bias=False), "h_prev"))
        nodes.append((f"{gate}_z", Add(), (f"{gate}_x", f"{gate}_h")))
        nodes.append((gate, draw.choice(activations if gate == "g" else gates), f"{gate}_z"))
    nodes += [
        ("write", Multiply(signal=1), ("i", "g")),
        ("keep", Multiply(signal=1), ("f", "c_prev")),
        ("c", Add(), ("write", "keep")),
        ("tanh_c", draw.choice(activations), "c"),
        ("h", Multiply(signal=1), ("o", "tanh_c")),
        ("last", dense(draw, h, 1, exact, bias), "h"),
    ]
    return Network(nodes, {"x": (i,)})


MAKERS = (mlp, residual, concatenated, convolutional)
"""Every maker without products."""

VECTORS = (mlp, residual, concatenated)
"""Every maker whose input is a vector, without products."""

COMPLETE = (mlp, residual, concatenated, averaging)
"""Every maker without products and without max pooling."""


def any_network(draw, activations=HOMOGENEOUS, exact=True, bias=True, makers=MAKERS):
    """One of the makers' networks."""
    return draw.choice(makers)(draw, activations, exact, bias)


def input_for(draw, network, exact=True):
    """One sample in the shape that the network declares."""
    (shape,) = network.inputs.values()
    return draw.numbers((1, *shape), exact)


def target_for(draw, network, x):
    """A class index that the output has."""
    return draw.integer(0, network(x).shape[1] - 1)
