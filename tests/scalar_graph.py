"""Networks of scalars, one node an operation, walked by brute force: an oracle for layers of many operations.

It knows four operations and, for each way of walking back, what one operation does. Numbers may be Fractions.
"""

from fractions import Fraction

import numpy as np
from bound import rounding
from exact import fractions

import pyref


def apply(f, *numbers):
    """f of arrays of one number each, as a number."""
    dtype = object if any(isinstance(v, Fraction) for v in numbers) else float
    return f(*(np.array([v], dtype=dtype) for v in numbers))[0]


class Scalar:
    """One value: an input, Σ parents · weights + bias, f(parent), or gate · signal."""

    def __init__(self, op, value, parents=(), weights=(), bias=0, f=None):
        self.op, self.value, self.parents, self.weights, self.bias, self.f = op, value, parents, weights, bias, f
        self.depth = 1 + max((p.depth for p in parents), default=0)

    @property
    def magnitude(self):
        """Σ |terms|: what the rounding of this node is relative to."""
        return sum(abs(p.value * w) for p, w in zip(self.parents, self.weights, strict=True)) + abs(self.bias)


class Graph:
    def __init__(self):
        self.nodes = []

    def _add(self, *args, **kwargs):
        self.nodes.append(Scalar(*args, **kwargs))
        return self.nodes[-1]

    def input(self, value):
        return self._add("input", value)

    def affine(self, parents, weights, bias=0, op="affine"):
        value = sum((p.value * w for p, w in zip(parents, weights, strict=True)), bias)
        return self._add(op, value, tuple(parents), tuple(weights), bias)

    def sum(self, parents, signs=None, constant=0):
        """A sum of states, which shares by Norm whatever the rule of affine nodes."""
        return self.affine(parents, signs or [1] * len(parents), constant, op="sum")

    def activation(self, f, z):
        return self._add("activation", apply(f.value, z.value), (z,), (1,), f=f)

    def product(self, gate, signal):
        return self._add("product", gate.value * signal.value, (gate, signal), (signal.value, 0))

    def walk(self, seeds, local):
        """{node: signal}, given {node: signal at the output} and local(node, S), what S becomes at each parent."""
        signal = dict.fromkeys(self.nodes, 0)
        signal.update(seeds)
        for node in reversed(self.nodes):
            if node.parents:
                for parent, part in zip(node.parents, local(node, signal[node]), strict=True):
                    signal[parent] = signal[parent] + part
        return signal

    def kept(self, signal, op, epsilon):
        """What the bias of each sum of that kind keeps under the epsilon rule: b R / σ_ε(z), in order."""
        nodes = [node for node in self.nodes if node.op == op]
        bare = [Scalar(op, node.value, (Scalar("input", 1),), (node.bias,)) for node in nodes]
        local = relevance("all", epsilon)
        return [local(one, signal[node])[0] for one, node in zip(bare, nodes, strict=True)]

    def rounding(self, seeds, local):
        """First-order bound on what rounding does to Σ seeds · outputs, and to Σ inputs · signals, in float64.

        Each path from a node to the outputs is a product of at most depth · (fan-in + 8) rounded numbers (an
        activation, its slope and a quotient are good to 8 units); the terms of a node are off by as much.
        """
        size = self.walk({k: abs(v) for k, v in seeds.items()}, lambda node, S: [abs(v) for v in local(node, S)])
        n = max(node.depth for node in self.nodes) * (max(len(node.parents) for node in self.nodes) + 8)
        return rounding(n, sum(size[v] * (v.magnitude + abs(v.value)) for v in self.nodes))


# ── what an operation does to a signal on its way back ─────────────────────────────────────────────────


def gradient(node, G):
    if node.op == "activation":
        return [apply(node.f.derivative, node.parents[0].value) * G]
    if node.op == "product":
        gate, signal = node.parents
        return [signal.value * G, gate.value * G]
    return [w * G for w in node.weights]


def modified_chain(share):
    """f(z)/z for f′; product multipliers (share · signal, (1 - share) · gate): gates are constants for share 0."""

    def local(node, G):
        if node.op == "activation":
            return [node.value / node.parents[0].value * G]
        if node.op == "product":
            gate, signal = node.parents
            return [signal.value * G * share, gate.value * G * (1 - share)]
        return [w * G for w in node.weights]

    return local


def multiplier(graph, graph0, product="symmetric"):
    """DeepLIFT between two graphs of the same structure."""
    at_baseline = dict(zip(graph.nodes, graph0.nodes, strict=True))

    def local(node, M):
        if node.op == "activation":
            return [apply(node.f.quotient, node.parents[0].value, at_baseline[node.parents[0]].value) * M]
        if node.op == "product":
            gate, signal = node.parents
            if product == "gradient":
                return [signal.value * M, gate.value * M]
            gate0, signal0 = at_baseline[gate], at_baseline[signal]
            return [(signal.value + signal0.value) * M / 2, (gate.value + gate0.value) * M / 2]
        return [w * M for w in node.weights]

    return local


def relevance(gate, epsilon=0):
    """The epsilon rule with the bias as a neuron on sums; the identity on activations; the gate's split on products."""

    def local(node, R):
        if node.op == "activation":
            return [R]
        if node.op == "product":
            p, q = (parent.value for parent in node.parents)
            if gate == "abs":
                p, q = abs(p), abs(q)
            if gate in ("prop", "abs"):
                return [0, 0] if p + q == 0 else [R * p / (p + q), R * q / (p + q)]
            return {"all": [0, R], "half": [R / 2, R / 2], "gradient": [R, R]}[gate]
        z = node.value + epsilon if node.value >= 0 else node.value - epsilon
        return [0 if z == 0 else p.value * w * R / z for p, w in zip(node.parents, node.weights, strict=True)]

    return local


# ── around the graph ───────────────────────────────────────────────────────────────────────────────────


def values(nodes, signal=None):
    """Nested lists of nodes as an array of their values, or of the signals at them."""
    read = (lambda v: v.value) if signal is None else signal.__getitem__
    return np.array([[read(v) for v in row] for row in nodes])


def seeds_of(nodes, array):
    return {node: v for row, line in zip(nodes, array, strict=True) for node, v in zip(row, line, strict=True)}


def stack(parts):
    return fractions(np.stack(parts))


def assert_close(a, b):
    """Equal up to the order in which a matrix product of another batch size adds."""
    assert np.abs(a - b).max() <= rounding(1000, np.abs(b).max())


# Rules that stay rational, with every way to treat a bias and a zero.
RULES = (
    pyref.Epsilon(epsilon=0),
    pyref.Epsilon(epsilon=Fraction(1, 10), bias="ignore"),
    pyref.Epsilon(epsilon=Fraction(1, 10), bias="uniform"),
    pyref.Epsilon(epsilon=0, bias="proportional", stabilizer="clip"),
    pyref.Gamma(gamma=Fraction(1, 4), epsilon=Fraction(1, 10)),
    pyref.AlphaBeta(alpha=2, beta=1, epsilon=0),
    pyref.ZPlus(epsilon=Fraction(1, 10)),
    pyref.WSquare(epsilon=0),
    pyref.Flat(epsilon=0),
)
