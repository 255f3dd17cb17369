"""Srinivas, Fleuret, "Full-gradient representation": what a map over the inputs cannot say, and what the biases add.

Corrected: the impossibility needs continuity; Example 1 is not continuous, hence no ReLU network; and that a
parameter moves the full gradient exactly when it moves the output holds in one direction only.
"""

from fractions import Fraction
from functools import partial
from itertools import product

import numpy as np

import pyref
from pyref.layers import BatchNorm, Dense, ReLU
from pyref.network import Network
from pyref.rules import Epsilon
from pyref.theorems.counterexamples import TwoSlopes, one_neuron, saturated_with
from pyref.theorems.networks import (
    HOMOGENEOUS,
    RATIONAL,
    RationalSigmoid,
    RationalTanh,
    any_network,
    array,
    chain,
    convolutional,
    input_for,
    mlp,
)
from pyref.theorems.theorem import Case, Theorem, equal, worst

__all__ = ["THEOREMS"]


def total(a, nodes=None):
    """Σ of the input part and of the bias parts of some nodes (all), per sample."""
    parts = [pyref.sum_samples(b) for name, b in a.biases.items() if nodes is None or name in nodes]
    return sum(parts, pyref.sum_samples(a.values))


def representation(network, x):
    """(∇S, {node: bias part}) flattened: the full gradient, without the factor x."""
    G = pyref.gradient(network, x, 0).values
    a, record = pyref.full_gradient(network, x, 0), network.forward(x)
    biases = [a.biases.get(name, record[name] * 0) for name in network.nodes]
    return np.concatenate([np.reshape(v, (v.shape[0], -1)) for v in (G, *biases)], axis=1)


GRADIENTS = {
    "gradient": lambda n, x: pyref.gradient(n, x, 0).values,
    "Guided Backprop": lambda n, x: pyref.guided_backprop(n, x, 0).values,
    "Deconv": lambda n, x: pyref.deconvnet(n, x, 0).values,
}


# ── F1: impossibility ──────────────────────────────────────────────────────────────────────────────────


def affine(draw):
    """f = w·x + b, an input, and another offset."""
    w, b = draw.fractions((draw.integer(1, 4), 1)), draw.fractions(1)
    return w, b, draw.fractions((1, w.shape[0])), draw.fractions(1, 1, 3)


def blind_to_offset(draw, methods=None):
    """Maps that are the same for every x of an affine function are the same for w·x + b and w·x + b + t."""
    w, b, x, t = affine(draw)
    methods = methods or GRADIENTS
    f, g = chain(Dense(w, b)), chain(Dense(w, b + t))
    differ = equal(g(x) - f(x), t[None, :], "the outputs differ by t")
    return worst(differ, *(equal(m(f, x), m(g, x), name) for name, m in methods.items()))


def constant_on_affine(method):
    """Weak dependence of a complete map: it must fail, as IG, DeepLIFT and ε-LRP change with x."""

    def check(draw):
        w = array([[1], [-2]])
        f = chain(Dense(w))
        return equal(method(f, array([[1, 1]])), method(f, array([[2, 1]])))

    return check


def packed(draw):
    """The paper's claim without continuity: pack w and b into one number, and both can be read off it again."""
    missed = 0
    for w, b in product(range(-6, 7), repeat=2):
        code = Fraction(w) + Fraction(b + 50, 1000)  # |b| < 50: a digit string behind the point
        missed += (code.__floor__(), int((code - code.__floor__()) * 1000) - 50) != (w, b)
    return equal(Fraction(int(missed > 0)), Fraction(1), "every (w, b) is recovered from one number")


F1 = Theorem(
    "F1",
    "A map over the inputs that is constant on each affine function (weak dependence) cannot be complete: it does not "
    "see the offset. Gradient, Guided Backprop and Deconv are such; IG, DeepLIFT and ε-LRP depend on x.",
    "[srinivas2019] Prop. 1, corrected: the map must be continuous; as bare sets R^D holds D + 1 numbers.",
    "exact",
    blind_to_offset,
    (
        Case("FullGrad sees the offset", lambda draw: blind_to_offset(draw, {"full gradient": representation})),
        Case(
            "Integrated Gradients depend on x",
            constant_on_affine(lambda n, x: pyref.integrated_gradients(n, x, 0, quadrature="exact").values),
        ),
        Case("DeepLIFT depends on x", constant_on_affine(lambda n, x: pyref.deeplift(n, x, 0).values)),
        Case("ε-LRP depends on x", constant_on_affine(lambda n, x: pyref.lrp(n, x, 0, rule=Epsilon(0)).values)),
    ),
    (Case("a map that packs w and b into one number", packed),),
)


# ── F2: Example 1 ──────────────────────────────────────────────────────────────────────────────────────


def two_slopes(x):
    network = Network.sequential([TwoSlopes()], shape=(2,))
    return network, pyref.integrated_gradients(network, x, 0, quadrature="exact").values


def along_the_diagonal(draw):
    """IG(t, t) = (3t - 2, t + 2) for t > 1, where f = 3x₁ + x₂ throughout."""
    t = 1 + draw.fractions(1, 1, 4)[0]
    x = array([[t, t]])
    network, r = two_slopes(x)
    return worst(equal(r, array([[3 * t - 2, t + 2]])), equal(r.sum(axis=1), network(x)[:, 0], "complete"))


def off_the_diagonal(draw):
    network, r = two_slopes(array([[3, 2]]))
    return equal(r.sum(axis=1), network(array([[3, 2]]))[:, 0])


def printed_points(draw):
    _, r = two_slopes(array([[4, 4], ["3/2", "3/2"], [2, 2]]))
    return equal(r, array([[10, 6], ["5/2", "7/2"], [4, 4]]))


F2 = Theorem(
    "F2",
    "Integrated Gradients of one linear region change with x: for f = x₁ + 3x₂ up to 1 and 3x₁ + x₂ above, they are "
    "(3t - 2, t + 2) at (t, t), t > 1.",
    "[srinivas2019] Example 1, which is not continuous off the diagonal: completeness fails there.",
    "exact",
    along_the_diagonal,
    (Case("(3, 2), off the diagonal: completeness", off_the_diagonal),),
    (),
    (Case("IG at (4, 4), (3/2, 3/2) and (2, 2) as printed", printed_points),),
)


# ── F3, F4: completeness ───────────────────────────────────────────────────────────────────────────────


def gradient_recovers_output(draw, activations=HOMOGENEOUS, bias=False):
    network = any_network(draw, activations, bias=bias)
    x = input_for(draw, network)
    return equal(pyref.sum_samples(pyref.gradient_times_input(network, x, 0).values), network(x)[:, 0])


F3 = Theorem(
    "F3",
    "A network of ReLU (or leaky ReLU), pooling and sums, without biases, is its gradient times its input: S = ∇S·x.",
    "[srinivas2019] Prop. 2",
    "exact",
    gradient_recovers_output,
    (
        Case("biases", lambda draw: gradient_recovers_output(draw, bias=True)),
        Case("an activation that saturates", lambda draw: gradient_recovers_output(draw, (RationalTanh(),))),
        Case("an activation with f(0) ≠ 0", lambda draw: gradient_recovers_output(draw, (RationalSigmoid(),))),
    ),
)


def normalised(draw, activations=RATIONAL):
    """Dense, batch normalisation, activation, dense."""
    i, h = draw.integer(1, 3), draw.integer(1, 3)
    return chain(
        Dense(draw.fractions((i, h)), draw.fractions(h)),
        BatchNorm(draw.fractions(h), draw.fractions(h)),
        draw.choice(activations),
        Dense(draw.fractions((h, 1)), draw.fractions(1)),
        shape=(i,),
    )


def full_gradient_completes(draw):
    network = normalised(draw) if draw.boolean() else any_network(draw, RATIONAL)
    x = input_for(draw, network)
    return equal(total(pyref.full_gradient(network, x, 0)), network(x)[:, 0])


def without(kind, make):
    """The sum with the bias parts of one kind of node left out."""

    def check(draw):
        network = make(draw)
        x = input_for(draw, network)
        nodes = [n for n, node in network.nodes.items() if node.layer.kind != kind]
        return equal(total(pyref.full_gradient(network, x, 0), nodes), network(x)[:, 0])

    return check


F4 = Theorem(
    "F4",
    "S = ∇S·x + Σ over all nodes of (gradient there) · (bias there): biases, the shift of batch normalisation, "
    "and the implicit bias f(z) - f′(z) z of an activation.",
    "[srinivas2019] Prop. 3 and sec. 4.2",
    "exact",
    full_gradient_completes,
    (
        Case("implicit biases left out", without("activation", lambda draw: mlp(draw, (RationalTanh(),)))),
        Case(
            "the shift of batch normalisation left out", without("batchnorm", lambda draw: normalised(draw, (ReLU(),)))
        ),
    ),
)


# ── F5: weak dependence ────────────────────────────────────────────────────────────────────────────────


def pattern(network, x):
    """Which units are on, and the sign of those at zero: the linear region of x."""
    record = network.forward(x)
    z = [record[node.inputs[0]] for node in network.nodes.values() if node.layer.kind == "activation"]
    return [tuple(np.sign(v.astype(float)).flat) for v in z]


def inside_one_region(draw, methods=None):
    network = mlp(draw, (ReLU(),))
    x = input_for(draw, network)
    y = x + draw.fractions(x.shape) / Fraction(32)
    signs = pattern(network, x)
    draw.assume(signs == pattern(network, y) and all(s for region in signs for s in region))
    methods = methods or {
        "gradient": GRADIENTS["gradient"],
        "Guided Backprop": GRADIENTS["Guided Backprop"],
        "full gradient": representation,
    }
    same = [equal(m(network, x), m(network, y), name) for name, m in methods.items()]
    anywhere = input_for(draw, network)
    deconv = equal(GRADIENTS["Deconv"](network, x), GRADIENTS["Deconv"](network, anywhere), "Deconv, anywhere")
    return worst(*same, deconv)


DEPENDENT = {
    "Integrated Gradients": lambda n, x: pyref.integrated_gradients(n, x, 0, quadrature="exact").values,
    "DeepLIFT": lambda n, x: pyref.deeplift(n, x, 0).values,
    "ε-LRP": lambda n, x: pyref.lrp(n, x, 0, rule=Epsilon(0)).values,
    "Occlusion-1": lambda n, x: pyref.occlusion(n, x, 0).values,
}

F5 = Theorem(
    "F5",
    "Inside one linear region the gradient, Guided Backprop and the full gradient are constant; without max-pooling "
    "Deconv is constant everywhere.",
    "[srinivas2019] Def. 1 and sec. 3",
    "exact",
    inside_one_region,
    tuple(Case(f"{name} depends on x", partial(inside_one_region, methods={name: m})) for name, m in DEPENDENT.items()),
)


# ── F6, F7, F8: one neuron ─────────────────────────────────────────────────────────────────────────────


def parts_of(network, x):
    """(input part, part of the inner bias, part of the outer bias)."""
    a = pyref.full_gradient(network, x, 0)
    zero = x[:, 0] * 0
    biases = [pyref.sum_samples(a.biases[n]) if n in a.biases else zero for n in ("dense1", "dense2")]
    return np.stack([pyref.sum_samples(a.values), *biases], axis=1)


def saturation(draw, input_only=False):
    """S = a - ReLU(b - x): parts (0, 0, a) where saturated, x > b, and (x, -b, a) where not."""
    a, b = draw.fractions(2)
    x = draw.fractions((1, 1))
    network = saturated_with(a, b)
    if input_only:
        return equal(parts_of(network, x)[:, 0], network(x)[:, 0], "the input part alone")
    want = [0, 0, a] if x[0, 0] >= b else [x[0, 0], -b, a]
    return worst(equal(parts_of(network, x), array([want])), equal(parts_of(network, x).sum(axis=1), network(x)[:, 0]))


def saturation_printed(draw):
    network = saturated_with(1, 1)
    x = array([[2], ["1/2"]])
    return equal(parts_of(network, x), array([[0, 0, 1], ["1/2", -1, 1]]))


F6 = Theorem(
    "F6",
    "For S = a - ReLU(b - x) the full gradient gives the input nothing where S is saturated and x elsewhere; the "
    "biases carry the rest.",
    "[srinivas2019] sec. 4.1",
    "exact",
    saturation,
    (Case("the input part alone", lambda draw: saturation(draw, input_only=True)),),
    (),
    (Case("a = b = 1 at x = 2 and x = ½", saturation_printed),),
)


def parameters(draw):
    """(w₀, b₀, w₁, b₁) and x with w₀ x + b₀ ≠ 0."""
    w0, b0, w1, b1 = draw.fractions(4)
    x = draw.fractions((1, 1))
    draw.assume(w0 * x[0, 0] + b0 != 0)
    return w0, b0, w1, b1, x


def blind_to_biases(draw, methods=None):
    w0, b0, w1, b1, x = parameters(draw)
    t, s = draw.fractions(1, 1, 3)[0], draw.fractions(1)[0] / 16
    draw.assume((w0 * x[0, 0] + b0 > 0) == (w0 * x[0, 0] + b0 + s > 0) and w0 * x[0, 0] + b0 + s != 0)
    f, g = one_neuron(w0, b0, w1, b1), one_neuron(w0, b0 + s, w1, b1 + t)
    methods = methods or GRADIENTS
    return worst(*(equal(m(f, x), m(g, x), name) for name, m in methods.items()))


F7 = Theorem(
    "F7",
    "For S = w₁ ReLU(w₀ x + b₀) + b₁ the gradient, Guided Backprop and Deconv do not change with b₁, nor with b₀ "
    "inside a linear region; the full gradient does.",
    "[srinivas2019] Example 2",
    "exact",
    blind_to_biases,
    (Case("the full gradient", lambda draw: blind_to_biases(draw, {"full gradient": representation})),),
)


def same_representation_same_output(draw):
    """Hidden unit scaled by t > 0: other parameters, the same full gradient, hence the same output."""
    w0, b0, w1, b1, x = parameters(draw)
    t = draw.fractions(1, 1, 3)[0]
    f, g = one_neuron(w0, b0, w1, b1), one_neuron(w0 * t, b0 * t, w1 / t, b1)
    return worst(equal(representation(f, x), representation(g, x), "full gradients"), equal(f(x), g(x), "outputs"))


def same_output_same_representation(draw):
    """The converse at w₀ = 2, w₁ = 3, b₀ = 1, x = 0: moving w₀ does not move S, and moves ∇S = w₀ w₁."""
    x = array([[0]])
    f, g = one_neuron(2, 1, 3, 0), one_neuron(3, 1, 3, 0)
    return worst(equal(f(x), g(x), "outputs"), equal(representation(f, x), representation(g, x), "full gradients"))


F8 = Theorem(
    "F8",
    "Where a change of parameters leaves the full gradient at x as it is, it leaves the output.",
    "[srinivas2019] sec. 4, corrected: stated as an equivalence there; the converse is false.",
    "exact",
    same_representation_same_output,
    (Case("the converse", same_output_same_representation),),
    (Case("equivalence as printed", same_output_same_representation),),
)


# ── F9 ─────────────────────────────────────────────────────────────────────────────────────────────────


def spatial_sum(draw, dense=True):
    network = convolutional(draw, (ReLU(),))
    x = input_for(draw, network)
    nodes = None if dense else [n for n, node in network.nodes.items() if node.layer.kind != "dense"]
    return equal(total(pyref.full_gradient(network, x, 0), nodes), network(x)[:, 0])


F9 = Theorem(
    "F9",
    "Without post-processing the full gradient's maps, summed over space, give the output back if the terms of the "
    "input and of dense layers are among them.",
    "[srinivas2019] sec. 4.3: FullGrad's saliency map leaves the dense terms out.",
    "exact",
    spatial_sum,
    (Case("the dense terms left out", lambda draw: spatial_sum(draw, dense=False)),),
)

THEOREMS = (F1, F2, F3, F4, F5, F6, F7, F8, F9)
