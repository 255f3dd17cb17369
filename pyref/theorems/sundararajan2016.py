"""Sundararajan, Taly, Yan, "Gradients of counterfactuals": what Integrated Gradients satisfy, and others do not.

Corrected: completeness needs more than differentiability almost everywhere; Fig. 14 prints (2, -1) where the
integral is (3/2, -1/2); and its LRP column is that of the rule without bias.
"""

from fractions import Fraction
from typing import Any

import numpy as np

import pyref
from pyref.layers import Add, Dense, Multiply, ReLU
from pyref.network import Network
from pyref.rules import Epsilon
from pyref.theorems.counterexamples import Step, TwoSlopes, pair, saturated
from pyref.theorems.networks import (
    HOMOGENEOUS,
    RationalSigmoid,
    RationalTanh,
    any_network,
    array,
    input_for,
    mlp,
)
from pyref.theorems.theorem import Case, Theorem, equal, worst

__all__ = ["THEOREMS"]


def integrated(network, x, baseline=None, path=None):
    """Exact Integrated Gradients of output 0."""
    return pyref.integrated_gradients(network, x, 0, baseline=baseline, path=path, quadrature="exact").values


def complete(network, x, points):
    """Σ r = S(γ(1)) - S(γ(0)) along straight lines through the points."""
    path = np.stack(points)
    r = integrated(network, x, path=path)
    return equal(pyref.sum_samples(r), (network(points[-1]) - network(points[0]))[:, 0])


# ── S1: completeness ───────────────────────────────────────────────────────────────────────────────────


def path_completeness(draw):
    network = any_network(draw, HOMOGENEOUS)
    points = [input_for(draw, network) for _ in range(draw.integer(2, 4))]
    return complete(network, points[-1], points)


def over_a_jump(draw):
    network = Network.sequential([Step()], shape=(1,))
    return complete(network, array([[1]]), [array([[0]]), array([[1]])])


def over_borders(draw):
    network = Network.sequential([TwoSlopes()], shape=(2,))
    x = array([draw.choice((["2", "1/2"], ["3", "2"]))])
    return complete(network, x, [x * 0, x])


def integral_of_the_second(draw):
    """(2, ½): r = (1, ¾), though S does not change; (3, 2): r = (11/2, 3), and S changes by 11."""
    network = Network.sequential([TwoSlopes()], shape=(2,))
    x = array([["2", "1/2"], ["3", "2"]])
    return equal(integrated(network, x), array([["1", "3/4"], ["11/2", "3"]]))


S1 = Theorem(
    "S1",
    "Integrated Gradients of a continuous piecewise linear network sum to the change of its output, along any path in "
    "straight lines, kinks and ties included.",
    "[sundararajan2016] Prop. 1, corrected: S∘γ must be absolutely continuous, not differentiable a.e.",
    "exact",
    path_completeness,
    (
        Case("S = 1[x > ½] from 0 to 1", over_a_jump),
        Case("two slopes off the diagonal", over_borders),
    ),
    (Case("differentiable almost everywhere, not continuous", over_a_jump),),
    (Case("the integral of two slopes at (2, ½) and (3, 2)", integral_of_the_second),),
)


# ── S2: sensitivity ────────────────────────────────────────────────────────────────────────────────────


def one_variable(draw):
    """IG, DeepLIFT and Occlusion of a function of one variable are the change itself."""
    network = mlp(draw, HOMOGENEOUS, inputs=1, outputs=1)
    x = input_for(draw, network)
    change = network(x) - network(x * 0)
    return worst(
        equal(integrated(network, x), change, "Integrated Gradients"),
        equal(pyref.deeplift(network, x, 0).values, change, "DeepLIFT"),
        equal(pyref.occlusion(network, x, 0).values, change, "Occlusion-1"),
    )


def insensitive(method):
    """A method on S = 1 - ReLU(1 - x) at x = 2, which is 0 although S changed by 1."""

    def check(draw):
        network = saturated()
        return equal(method(network, array([[2]])), array([[1]]))

    return check


def gradients_vanish(draw):
    """x = 2 lies where S is flat: everything that looks at the gradient there is 0."""
    network, x, none = saturated(), array([[2]]), array([[0]])
    return worst(
        equal(pyref.gradient(network, x, 0).values, none, "gradient"),
        equal(pyref.guided_backprop(network, x, 0).values, none, "Guided Backprop"),
        equal(pyref.gradient_times_input(network, x, 0).values, none, "gradient × input"),
        equal(pyref.lrp(network, x, 0, rule=Epsilon(0)).values, none, "ε-LRP: the biases keep everything"),
    )


S2 = Theorem(
    "S2",
    "Where a function of one variable changes between baseline and input, Integrated Gradients, DeepLIFT and Occlusion "
    "give the variable exactly that change.",
    "[sundararajan2016] sec. 2.3: its example is flat for x ≥ 1, not at x = 1.",
    "exact",
    one_variable,
    (
        Case("gradient × input, saturated", insensitive(lambda n, x: pyref.gradient_times_input(n, x, 0).values)),
        Case("ε-LRP, saturated", insensitive(lambda n, x: pyref.lrp(n, x, 0, rule=Epsilon(0)).values)),
    ),
    (),
    (
        Case("1 - ReLU(1 - x) at 2: gradients", gradients_vanish),
        Case(
            "1 - ReLU(1 - x) at 2: Integrated Gradients",
            insensitive(lambda n, x: integrated(n, x)),
        ),
    ),
)


# ── S3: implementation invariance ──────────────────────────────────────────────────────────────────────


def rebuilt(draw, network):
    """The same function from other weights: every hidden ReLU scaled by t > 0 and then by 1/t, and units permuted."""
    layers = {}
    names = [n for n, node in network.nodes.items() if node.layer.kind == "dense"]
    order: Any = None
    scale: Any = None
    for name in names:
        layer = network.nodes[name].layer
        w, b = layer.w, layer.b
        if order is not None:
            w = w[order] / scale[:, None]
        if name != names[-1]:
            order = np.argsort(draw.integers(w.shape[1], 0, 99), kind="stable")
            scale = draw.fractions(w.shape[1], 1, 3)
            w, b = w[:, order] * scale, b[order] * scale
        layers[name] = Dense(w, b)
    return network.with_layers(layers)


METHODS_OF_FUNCTIONS = {
    "gradient": lambda n, x: pyref.gradient(n, x, 0).values,
    "Integrated Gradients": integrated,
    "Occlusion-1": lambda n, x: pyref.occlusion(n, x, 0).values,
    "ε-LRP, bias as neuron": lambda n, x: pyref.lrp(n, x, 0, rule=Epsilon(0)).values,
}


def invariance(draw):
    network = mlp(draw, (ReLU(),), depth=draw.integer(1, 2))
    other = rebuilt(draw, network)
    x = input_for(draw, network)
    draw.assume((network(x)[:, 0] != 0).all())
    same = equal(network(x), other(x), "the same function")
    return worst(same, *(equal(m(network, x), m(other, x), name) for name, m in METHODS_OF_FUNCTIONS.items()))


def differs(method):
    """A method on f and g at (3, 1), which are one function."""

    def check(draw):
        f, g = pair()
        x = array([[3, 1]])
        return equal(method(f, x), method(g, x))

    return check


def row(name, method, on_f, on_g):
    """A row of Fig. 14, at (3, 1) with baseline 0."""

    def check(draw):
        f, g = pair()
        x = array([[3, 1]])
        return worst(equal(method(f, x), array([on_f]), "f"), equal(method(g, x), array([on_g]), "g"))

    return Case(f"Fig. 14: {name}", check)


def lrp_with(bias):
    return lambda n, x: pyref.lrp(n, x, 0, rule=Epsilon(0, bias=bias)).values


def full_gradient_parts(network, x):
    """Input part, inner bias and outer bias in one row."""
    a = pyref.full_gradient(network, x, 0)
    inner, outer = (sum(sum(a.biases.get(n, x * 0)[0]) for n in names) for names in (("inner",), ("outer",)))
    return np.concatenate([a.values, array([[inner, outer]])], axis=1)


FIGURE_14 = (
    row("gradient", METHODS_OF_FUNCTIONS["gradient"], [1, -1], [1, -1]),
    row("Integrated Gradients", integrated, ["3/2", "-1/2"], ["3/2", "-1/2"]),
    row("DeepLIFT Rescale", lambda n, x: pyref.deeplift(n, x, 0).values, ["3/2", "-1/2"], [2, -1]),
    row(
        "DeepLIFT RevealCancel",
        lambda n, x: pyref.deeplift(n, x, 0, rule="reveal_cancel").values,
        ["3/2", "-1/2"],
        ["3/2", "-1/2"],
    ),
    row("ε-LRP, bias as neuron", lrp_with("neuron"), [3, -1], [3, -1]),
    row("gradient × input", lambda n, x: pyref.gradient_times_input(n, x, 0).values, [3, -1], [3, -1]),
    row("LRP, bias ignored", lrp_with("ignore"), ["3/2", "-1/2"], [2, -1]),
    row("LRP, bias uniform", lrp_with("uniform"), ["5/2", "-3/2"], [2, -1]),
    row("LRP, bias proportional", lrp_with("proportional"), ["9/4", "-5/4"], [2, -1]),
    row("Occlusion-1", METHODS_OF_FUNCTIONS["Occlusion-1"], [1, -1], [1, -1]),
    row("Guided Backprop", lambda n, x: pyref.guided_backprop(n, x, 0).values, [1, 0], [1, 0]),
    row("Deconv", lambda n, x: pyref.deconvnet(n, x, 0).values, [1, 0], [1, 0]),
    row("FullGrad: input, inner bias, outer bias", full_gradient_parts, [3, -1, 0, -1], [3, -1, -1, 0]),
)


def printed_integral(draw):
    f, _ = pair()
    return equal(integrated(f, array([[3, 1]])), array([[2, -1]]))


S3 = Theorem(
    "S3",
    "Integrated Gradients depend on the function alone, not on how it is built; on networks of ReLU so do the "
    "gradient, Occlusion, and ε-LRP with the bias as neuron.",
    "[sundararajan2016] sec. 2.4, Fig. 14, corrected: IG there is (3/2, -1/2); the LRP column ignores the bias.",
    "exact",
    invariance,
    (
        Case("DeepLIFT Rescale on f and g", differs(lambda n, x: pyref.deeplift(n, x, 0).values)),
        Case("LRP with bias='ignore' on f and g", differs(lrp_with("ignore"))),
    ),
    (Case("IG of f as printed, (2, -1)", printed_integral),),
    FIGURE_14,
)


# ── S4: the chain rule of quotients ────────────────────────────────────────────────────────────────────


def telescopes(draw):
    """DeepLIFT's multiplier through a chain of single units is Δy/Δx."""
    network = Network.sequential(
        [
            layer
            for _ in range(draw.integer(1, 3))
            for layer in (
                Dense(draw.fractions((1, 1)), draw.fractions(1)),
                draw.choice((*HOMOGENEOUS, RationalTanh(), RationalSigmoid())),
            )
        ]
    )
    x, base = draw.fractions((1, 1)), draw.fractions((1, 1))
    draw.assume((x != base).all())
    total = (network(x) - network(base)) / (x - base)
    contribution = pyref.deeplift(network, x, 0, baseline=base).values
    return equal(contribution, total * (x - base))


def per_coordinate(draw):
    """At g = ReLU(ReLU(x₁ - 1) - ReLU(x₂)), (3, 1), Rescale gives (2, -1), and x₁ alone is worth (3/2, -1/2) by IG."""
    _, g = pair()
    x = array([[3, 1]])
    return equal(pyref.deeplift(g, x, 0).values, integrated(g, x))


S4 = Theorem(
    "S4",
    "For functions of one variable the product of difference quotients along a chain is the total quotient; where a "
    "node has several inputs the chain rule does not hold for each of them.",
    "[sundararajan2016] sec. 2.4, corrected: the displayed scalar equation, said to fail, is an identity.",
    "exact",
    telescopes,
    (Case("a node with two inputs", per_coordinate),),
)


# ── S5: axioms ─────────────────────────────────────────────────────────────────────────────────────────


def axioms(draw):
    return draw.choice((_dummy, _additivity, _affine_scale, _proportionality))(draw)


def _dummy(draw):
    """A variable with zero weights gets nothing."""
    network = mlp(draw, HOMOGENEOUS, inputs=3)
    first = network.nodes["dense1"].layer
    w = np.array(first.w)
    w[1] = Fraction(0)
    network = network.with_layers({"dense1": Dense(w, first.b)})
    x, base = input_for(draw, network), input_for(draw, network)
    r = integrated(network, x, base)
    return equal(r[:, 1], r[:, 1] * 0, "dummy")


def _additivity(draw):
    """IG of S₁ + S₂ is the sum of theirs."""
    one, two = (mlp(draw, HOMOGENEOUS, inputs=2, outputs=1) for _ in range(2))
    nodes = []
    for prefix, network in (("a", one), ("b", two)):
        for node in network.nodes.values():
            inputs = tuple((i, k) if i == "x" else (prefix + i, k) for i, k in node.inputs)
            nodes.append((prefix + node.name, node.layer, inputs))
    last = [prefix + net.outputs[0][0] for prefix, net in (("a", one), ("b", two))]
    both = Network([*nodes, ("sum", Add(), tuple(last))], {"x": (2,)})
    x, base = input_for(draw, one), input_for(draw, one)
    return equal(integrated(both, x, base), integrated(one, x, base) + integrated(two, x, base), "additivity")


def _affine_scale(draw):
    """S(x) = T(a x + c): IG of S at x is IG of T at a x + c, with the baseline mapped alike."""
    network = mlp(draw, HOMOGENEOUS, inputs=2)
    first = network.nodes["dense1"].layer
    a, c = draw.fractions(2, 1, 3), draw.fractions(2)
    moved = Dense(first.w * a[:, None], first.b + c @ first.w)
    x, base = input_for(draw, network), input_for(draw, network)
    left = integrated(network.with_layers({"dense1": moved}), x, base)
    return equal(left, integrated(network, a * x + c, a * base + c), "affine scale invariance")


def _proportionality(draw, path=None):
    """S = H(Σ x_i): r_i / x_i is the same for all i, for the baseline 0."""
    n = draw.integer(2, 4)
    tail = mlp(draw, HOMOGENEOUS, inputs=1, outputs=1)
    ones = array([[1]] * n)
    network = Network.sequential([("sum", Dense(ones)), *((k, v.layer) for k, v in tail.nodes.items())], shape=(n,))
    x = draw.fractions((1, n))
    r = integrated(network, x, path=None if path is None else path(x))
    return equal(r * x[:, ::-1], r[:, ::-1] * x, "proportionality")


def axis_by_axis(x):
    """The path from 0 to x that moves one coordinate after the other."""
    points = [x * 0]
    for i in range(x.shape[1]):
        points.append(np.concatenate([x[:, : i + 1], points[0][:, i + 1 :]], axis=1))
    return np.stack(points)


def product_of(path):
    """S = x₁ x₂ at (1, 1), symmetric; the gradient is linear along a line, so one midpoint integrates it."""

    def check(draw):
        network = Network([("y", Multiply(), ("a", "b"))], inputs={"a": (1,), "b": (1,)})
        points = path(array([[1, 1]]))
        by_name = {"a": points[:, :, :1], "b": points[:, :, 1:]}
        one = array([[1]])
        values = pyref.integrated_gradients(
            network, {"a": one, "b": one}, path=by_name, quadrature="midpoint", m=1
        ).values
        return equal(values["a"], values["b"])

    return check


S5 = Theorem(
    "S5",
    "Integrated Gradients on the straight line satisfy dummy, additivity, affine scale invariance and, for "
    "S = H(Σ x_i) and baseline 0, proportionality.",
    "[sundararajan2016] Prop. 2; its uniqueness cannot be checked by cases",
    "exact",
    axioms,
    (
        Case("symmetry of x₁ x₂ on an axis-ordered path", product_of(axis_by_axis)),
        Case("proportionality on an axis-ordered path", lambda draw: _proportionality(draw, axis_by_axis)),
    ),
    (),
    (Case("symmetry of x₁ x₂ on the straight line", product_of(lambda x: np.stack([x * 0, x]))),),
)


# ── S6 ─────────────────────────────────────────────────────────────────────────────────────────────────


def never_second(draw, methods=None):
    f, _ = pair()
    x = draw.fractions((1, 2), -5, 5)
    methods = methods or {"Guided Backprop": pyref.guided_backprop, "Deconv": pyref.deconvnet}
    results = {name: method(f, x, 0).values[:, 1] for name, method in methods.items()}
    return worst(*(equal(r, r * 0, name) for name, r in results.items()))


S6 = Theorem(
    "S6",
    "Guided Backprop and Deconv give x₂ nothing at any input of f = ReLU(ReLU(x₁) - 1 - ReLU(x₂)), which needs it.",
    "[sundararajan2016] sec. 2.4",
    "exact",
    never_second,
    (
        Case(
            "gradient × input",
            lambda draw: never_second(draw, {"gradient × input": pyref.gradient_times_input}),
        ),
    ),
)

THEOREMS = (S1, S2, S3, S4, S5, S6)
