"""Identities behind cheaper forms of the rules: what a kernel may compute instead, and where it may not."""

from dataclasses import replace
from fractions import Fraction

import numpy as np

import pyref
from pyref.layers.activation import ReLU
from pyref.layers.affine import affine_reveal_cancel, affine_sign_split
from pyref.layers.conv import Conv
from pyref.layers.dense import Dense
from pyref.layers.merge import Shift
from pyref.methods.lrp import propagate_relevance
from pyref.methods.method import start
from pyref.methods.patterns import Patterns
from pyref.network import Network
from pyref.numerics import neg, pos, safe_divide, stabilize
from pyref.rules import AlphaBeta, Epsilon, Flat, Gamma, WSquare, ZBox, ZPlus
from pyref.rules.composite import assign_rules, deep_taylor
from pyref.theorems.ancona2017 import SIGNED, assume_no_pole, drawn
from pyref.theorems.chain_rule import has_removable_singularity
from pyref.theorems.networks import (
    HOMOGENEOUS,
    RATIONAL,
    RationalTanh,
    any_network,
    array,
    chain,
    dense,
    max_pooled,
    mlp,
    target_for,
)
from pyref.theorems.theorem import Case, Theorem, close, equal, worst

__all__ = ["THEOREMS"]


# ── N1: rules as modified gradients ────────────────────────────────────────────────────────────────────


def gradient_form(run, maps):
    """{layer name: R at its input} of a chain, from signals: G = Σ_k ± T_{W_k}(factor · a / D_k ⊙ G), R = a ⊙ G.

    maps(x, w, b) → [(factor, W_k, D_k)] of a dense layer.
    """
    G, R = run.v, {}
    for node in reversed(run.network.nodes.values()):
        if not isinstance(node.layer, Dense):
            continue
        (x,) = run.record.inputs(node)
        readers = run.network.consumers(node.name)
        a = run.record[(readers[0] if readers else node).name]  # what the layer's activation, if any, makes of z
        pairs = maps(x, node.layer.w, node.layer.b)
        G = sum(factor * (safe_divide(a, D) * G) @ w.T for factor, w, D in pairs)
        R[node.name] = x * G
    return R


def _plain(epsilon):
    return lambda x, w, b: [(1, w, stabilize(x @ w + b, epsilon))]


def _z_plus(x, w, b):
    return [(1, pos(w), x @ pos(w) + pos(b))]


def _alpha_beta(alpha, beta):
    def maps(x, w, b):
        return [(alpha, pos(w), x @ pos(w) + pos(b)), (-beta, neg(w), x @ neg(w) + neg(b))]

    return maps


def _gamma(gamma):
    def maps(x, w, b):
        w, b = w + gamma * pos(w), b + gamma * pos(b)
        return [(1, w, x @ w + b)]

    return maps


def _n1_on(draw, rule, maps, activations, positive):
    """LRP against its gradient form, at the input of every layer."""
    network = mlp(draw, activations)
    x = draw.fractions((1, *network.inputs["x"]), 0 if positive else -2)
    run = start(network, x, target_for(draw, network, x))
    assume_no_pole(draw, run)
    signals, _ = propagate_relevance(run, run.v * run.record[run.output_ref], dict.fromkeys(network.nodes, rule))
    expected = gradient_form(run, maps)
    return worst(
        *(equal(signals[network.nodes[name].inputs[0]], R, f"{rule} at {name}") for name, R in expected.items())
    )


def _n1(draw):
    e, gamma = draw.choice((Fraction(0), Fraction(1, 100))), draw.choice((Fraction(1, 4), Fraction(3)))
    alpha = draw.choice((1, 2, Fraction(5, 2)))
    relu = (ReLU(),)
    return worst(
        _n1_on(draw, Epsilon(e), _plain(e), RATIONAL, positive=False),
        _n1_on(draw, ZPlus(0), _z_plus, relu, positive=True),
        _n1_on(draw, Gamma(gamma, 0, form="weight"), _gamma(gamma), relu, positive=True),
        _n1_on(draw, AlphaBeta(alpha, alpha - 1, 0), _alpha_beta(alpha, alpha - 1), relu, positive=True),
    )


N1 = Theorem(
    "N1",
    "A rule r = x T_W'(R / D) is the modified chain rule with weights W' and g = a / D: relevance at every layer is "
    "a times G; the α-β rule is the difference of two such maps.",
    "generalises [ancona2017] Prop. 1",
    "exact",
    _n1,
    falsifiers=(
        Case(
            "bias='uniform', whose shares are not proportional to x",
            lambda draw: _n1_on(draw, Epsilon(0, bias="uniform"), _plain(0), RATIONAL, positive=False),
        ),
        Case(
            "the γ rule's weight form for inputs of any sign, against the generalised rule",
            lambda draw: _n1_on(draw, Gamma(1, 0), _gamma(1), (ReLU(),), positive=False),
        ),
    ),
)


# ── N2: homogeneous networks ───────────────────────────────────────────────────────────────────────────


def _deeplift_at_winner(network, x, c):
    return pyref.deeplift(network, x, c, max_pool="gradient")


COINCIDENT = {
    "ε-LRP(0)": SIGNED["ε-LRP"],
    "DeepLIFT(0)": _deeplift_at_winner,
    "Integrated Gradients(0)": SIGNED["Integrated Gradients"],
    "FullGrad's input part": pyref.full_gradient,
}


def _n2_on(draw, network, methods=COINCIDENT):
    x, c, run = drawn(draw, network)
    assume_no_pole(draw, run)
    draw.assume(not has_removable_singularity(run, run.gradients()))
    expected = pyref.gradient_times_input(network, x, c)
    return worst(
        equal(expected.total, expected.output, "gradient · input is complete"),
        *(equal(method(network, x, c).values, expected.values, name) for name, method in methods.items()),
    )


N2 = Theorem(
    "N2",
    "Without biases, and with ReLU, leaky ReLU, linear layers, pooling, sums and concatenation only, gradient · input, "
    "ε-LRP(0), DeepLIFT(0), Integrated Gradients(0) and FullGrad's input part are one, and complete.",
    "Euler's theorem on homogeneous functions; max pooling in DeepLIFT routed as at x",
    "exact",
    lambda draw: _n2_on(draw, any_network(draw, HOMOGENEOUS, bias=False)),
    falsifiers=(
        Case("biases", lambda draw: _n2_on(draw, mlp(draw, HOMOGENEOUS))),
        Case(
            "a saturating activation",
            lambda draw: _n2_on(draw, mlp(draw, (RationalTanh(),), bias=False), {"DeepLIFT(0)": _deeplift_at_winner}),
        ),
        Case(
            "Occlusion-1",
            lambda draw: _n2_on(draw, mlp(draw, bias=False), {"Occlusion-1": SIGNED["Occlusion-1"]}),
        ),
        Case(
            "DeepLIFT's 'xmax' pooling, where a window has negative values only",
            lambda draw: _n2_on(draw, max_pooled(draw, bias=False), {"DeepLIFT(0)": pyref.deeplift}),
        ),
    ),
)


# ── N3: absolute values instead of signs ───────────────────────────────────────────────────────────────


def _layer(draw):
    """(a dense layer or a convolution, an input for it)."""
    if draw.boolean():
        conv = Conv(draw.fractions((2, 1, 2, 2)), draw.fractions(2), padding=1)
        return conv, draw.fractions((1, 1, 2, 3))
    i = draw.integer(1, 4)
    return dense(draw, i, draw.integer(1, 3)), draw.fractions((1, i))


def _forward(layer, x, w, b=None):
    return replace(layer, w=w, b=b).forward(pyref, x)


def _transpose(layer, x, w, u):
    return replace(layer, w=w, b=None).gradient(pyref, (x,), None, u)[0]


def _relevance(layer, x, R, rule):
    return layer.relevance(pyref, (x,), layer.forward(pyref, x), R, rule)[0]


def absolute_sums(layer, x):
    """(z, A): z = F_W(x) + b, A = F_|W|(|x|) + |b|."""
    w, b = layer.w, layer.b
    return _forward(layer, x, w, b), _forward(layer, np.abs(x), np.abs(w), np.abs(b))


def absolute_alpha_beta(layer, x, R, alpha, beta, z, A):
    """½ [|x| T_|W|(p + q) + x T_W(p - q)],  p = αR/z⁺,  q = βR/z⁻,  z⁺ = (A + z)/2,  z⁻ = (z - A)/2."""
    p, q = safe_divide(alpha * R, (A + z) / 2), safe_divide(beta * R, (z - A) / 2)
    both = np.abs(x) * _transpose(layer, x, np.abs(layer.w), p + q)
    return (both + x * _transpose(layer, x, layer.w, p - q)) / 2


def _n3(draw):
    layer, x = _layer(draw)
    w, b = layer.w, layer.b
    z, A = absolute_sums(layer, x)
    R = draw.fractions(z.shape)
    up = _forward(layer, pos(x), pos(w)) + _forward(layer, neg(x), neg(w), pos(b))
    down = _forward(layer, pos(x), neg(w)) + _forward(layer, neg(x), pos(w), neg(b))
    gamma = draw.choice((Fraction(1, 4), Fraction(2)))
    return worst(
        equal((A + z) / 2, up, "z⁺ = (A + z)/2"),
        equal((z - A) / 2, down, "z⁻ = (z - A)/2"),
        equal(absolute_alpha_beta(layer, x, R, 2, 1, z, A), _relevance(layer, x, R, AlphaBeta(2, 1, 0)), "α-β"),
        equal(_closed_gamma(layer, x, R, gamma, z, A), _relevance(layer, x, R, Gamma(gamma, 0)), "generalised γ"),
        _z_box(draw, layer, x, R),
        _reveal_cancel(draw, layer, x),
    )


def _closed_gamma(layer, x, R, gamma, z, A):
    """x T_W((1 + γ/2) u) + (γ/2) |x| T_|W|(t u),  u = R / D,  D = (1 + γ/2) z + (γ/2) t A,  t = sign z, 0 at 0."""
    t = np.where(z > 0, z * 0 + 1, np.where(z < 0, z * 0 - 1, z * 0))
    u = safe_divide(R, (1 + gamma / 2) * z + gamma / 2 * (t * A)) * t * t
    plain = x * _transpose(layer, x, layer.w, (1 + gamma / 2) * u)
    return plain + gamma / 2 * (np.abs(x) * _transpose(layer, x, np.abs(layer.w), t * u))


def _z_box(draw, layer, x, R):
    """Three forms of z^B, and the rule."""
    low, high = x - draw.fractions(x.shape, 0, 2), x + draw.fractions(x.shape, 0, 2)
    w = layer.w
    D = _forward(layer, x - low, pos(w)) + _forward(layer, x - high, neg(w))
    u = safe_divide(R, D)

    def T(weights):
        return _transpose(layer, x, weights, u)

    rule = _relevance(layer, x, R, ZBox(low[0], high[0], 0))
    return worst(
        equal((x - low) * T(pos(w)) + (x - high) * T(neg(w)), rule, "z^B, the form without cancellation"),
        equal(x * T(w) - low * T(pos(w)) - high * T(neg(w)), rule, "z^B, three terms"),
        equal((x - high) * T(w) + (high - low) * T(pos(w)), rule, "z^B, two terms"),
    )


def _reveal_cancel(draw, layer, dx):
    """Δz^± and M of RevealCancel by absolute values; layer.b plays no part."""
    terms = layer.terms((dx,))
    dz, A = _forward(layer, dx, layer.w), _forward(layer, np.abs(dx), np.abs(layer.w))
    up, down = affine_sign_split(terms)
    G_up, G_down = draw.fractions(dz.shape), draw.fractions(dz.shape)
    t = np.where(dx > 0, dx * 0 + 1, np.where(dx < 0, dx * 0 - 1, dx * 0))
    M = _transpose(layer, dx, layer.w, G_up + G_down) + t * _transpose(layer, dx, np.abs(layer.w), G_up - G_down)
    return worst(
        equal(up, (dz + A) / 2, "Δz⁺"),
        equal(down, (dz - A) / 2, "Δz⁻"),
        equal(affine_reveal_cancel(terms, G_up, G_down)[0], M / 2, "RevealCancel"),
    )


def _n3_unguarded(draw):
    """float32, a unit whose contributions are all negative, A summed in the opposite order: z⁺ is rounding, not 0."""
    x = np.abs(draw.floats((1, 24), -2, 2)).astype(np.float32)
    layer = Dense(-np.abs(draw.floats((24, 1), -2, 2)).astype(np.float32), np.zeros(1, np.float32))
    z, A = _summed(x, layer.w), _summed(x[:, ::-1], np.abs(layer.w)[::-1])
    R = np.ones((1, 1), np.float32)
    r = _relevance(layer, x, R, AlphaBeta(2, 1, 0))
    bound_in_float32 = 2.0**29 * 2 * x.shape[1]  # u of float32 is 2²⁹ times that of float64
    return close(absolute_alpha_beta(layer, x, R, 2, 1, z, A), r, bound_in_float32, np.abs(r), "α-β in float32")


def _summed(x, w):
    """x @ w, one term after the other."""
    z = x[:, :1] * w[0]
    for i in range(1, x.shape[1]):
        z = z + x[:, i : i + 1] * w[i]
    return z


N3 = Theorem(
    "N3",
    "z⁺ = (A + z)/2 and z⁻ = (z - A)/2 with A = Σ|x w| + |b|; by them the α-β, generalised γ, z^B and RevealCancel "
    "maps take plain and absolute weights instead of signed parts.",
    "(a)^± = (a ± |a|)/2, term by term",
    "exact",
    _n3,
    falsifiers=(
        Case(
            "float32 without a guard, in a unit of no positive contributions, A summed in another order", _n3_unguarded
        ),
    ),
)


# ── N4: linearity ──────────────────────────────────────────────────────────────────────────────────────


def _rules(draw):
    """A rule for every node, by a draw."""
    e = draw.choice((Fraction(0), Fraction(1, 100)))
    bias, gamma = draw.choice(("neuron", "ignore")), draw.choice((Fraction(1, 4), Fraction(2)))
    return draw.choice(
        (
            Epsilon(e, draw.choice(("neuron", "ignore", "uniform", "proportional"))),
            ZPlus(e, bias),
            AlphaBeta(2, 1, e, bias, renormalize=draw.boolean()),
            Gamma(gamma, e, bias),
            Gamma(gamma, e, bias, form="weight"),
            WSquare(e),
            Flat(e),
            deep_taylor(epsilon=e),
            deep_taylor(low=-1000, high=1000, epsilon=e),
        )
    )


def _combined(draw, signal, shape):
    """signal(a R + b R') against a signal(R) + b signal(R'), at every value."""
    R, R_ = draw.fractions(shape), draw.fractions(shape)
    a, b = draw.fractions(2)
    left, right, right_ = signal(a * R + b * R_), signal(R), signal(R_)
    return worst(*(equal(left[ref], a * right[ref] + b * right_[ref], f"at {ref}") for ref in left))


def _lrp_is_linear(draw):
    network = any_network(draw, RATIONAL)
    _, _, run = drawn(draw, network)
    rules = assign_rules(_rules(draw), network)
    return _combined(draw, lambda R: propagate_relevance(run, R, rules)[0], run.v.shape)


def _by_target(method, network, x, **options):
    """Signals of a method whose seed is a weighting of the output."""
    return lambda v: method(network, x, lambda S: v, **options).signals


def _excitation_is_linear(draw):
    network = any_network(draw, (ReLU(),))
    x, _, run = drawn(draw, network)
    return _combined(draw, _by_target(pyref.excitation_backprop, network, x, negative="clip"), run.v.shape)


def _patterns_are_linear(draw):
    network = mlp(draw, (ReLU(),))
    x, _, run = drawn(draw, network)
    weighted = {n.name: n.layer.w for n in network.nodes.values() if isinstance(n.layer, Dense)}
    drawn_patterns = {name: draw.fractions(w.shape) for name, w in weighted.items()}
    patterns = Patterns(drawn_patterns, estimators={}, never_active={}, responses={}, samples=0)
    methods = (pyref.pattern_net, pyref.pattern_attribution)
    return worst(*(_combined(draw, _by_target(m, network, x, patterns=patterns), run.v.shape) for m in methods))


def _rectified(draw, method, scales):
    """method(t v) = t method(v) for the given scales t."""
    network = any_network(draw, (ReLU(),))
    x, _, run = drawn(draw, network)
    signal = _by_target(method, network, x)
    v = draw.fractions(run.v.shape)
    one = signal(v)
    return worst(
        *(equal(s[ref], t * one[ref], f"times {t} at {ref}") for t in scales for s in [signal(t * v)] for ref in s)
    )


def _n4(draw):
    t = draw.fractions(1, 0, 3)[0]
    return worst(
        _lrp_is_linear(draw),
        _excitation_is_linear(draw),
        _patterns_are_linear(draw),
        _rectified(draw, pyref.guided_backprop, (t,)),
        _rectified(draw, pyref.deconvnet, (t,)),
    )


N4 = Theorem(
    "N4",
    "At a fixed forward state every LRP rule, deep Taylor, Excitation Backprop, PatternNet and PatternAttribution are "
    "linear in what arrives; Guided Backprop and Deconvnet are positively homogeneous.",
    "each rule's shares depend on the forward pass alone; [sixt2020] sec. 3",
    "exact",
    _n4,
    falsifiers=(
        Case("Guided Backprop of -v", lambda draw: _rectified(draw, pyref.guided_backprop, (-1,))),
        Case("Deconvnet of -v", lambda draw: _rectified(draw, pyref.deconvnet, (-1,))),
    ),
)


# ── N5: the bias convention decides implementation invariance ──────────────────────────────────────────


def equal_functions():
    """One function as two networks: ReLU(ReLU(x1) - 1 - ReLU(x2)) and ReLU(ReLU(x1 - 1) - ReLU(x2))."""
    minus = array([[1], [-1]])
    f = chain(ReLU(), Dense(minus, array([-1])), ReLU(), shape=(2,))
    g = chain(Shift(array([-1, 0])), ReLU(), Dense(minus), ReLU(), shape=(2,))
    return f, g


def _n5_on(x, bias):
    f, g = equal_functions()
    r_f, r_g = (pyref.lrp(network, x, 0, rule=Epsilon(0, bias)).values for network in (f, g))
    return worst(equal(f(x), g(x), "one function"), equal(r_f, r_g, f"bias = {bias}"))


def _twin(draw, network):
    """The same function on other weights: each hidden unit scaled by s > 0 and split in two, λ and 1 - λ."""
    layers = [node.layer for node in network.nodes.values()]
    for k in range(0, len(layers) - 2, 2):
        units = layers[k].w.shape[1]
        s = draw.fractions(units, 1, 3)
        share = draw.fractions(units, -1, 2)
        double = np.concatenate([s, s])
        w = np.concatenate([layers[k].w, layers[k].w], axis=1) * double
        b = np.concatenate([layers[k].b, layers[k].b]) * double
        onward = np.concatenate([layers[k + 2].w * (share / s)[:, None], layers[k + 2].w * ((1 - share) / s)[:, None]])
        layers[k], layers[k + 2] = Dense(w, b), Dense(onward, layers[k + 2].b)
    return Network.sequential(layers, shape=network.inputs["x"])


def _n5_twins(draw, bias="neuron"):
    network = mlp(draw, (ReLU(),), depth=draw.integer(1, 2))
    x, c, run = drawn(draw, network)
    twin = _twin(draw, network)
    draw.assume(not has_removable_singularity(run, run.gradients()))
    draw.assume(not has_removable_singularity(other := start(twin, x, c), other.gradients()))
    r, s = (pyref.lrp(n, x, c, rule=Epsilon(0, bias)).values for n in (network, twin))
    return worst(equal(network(x), twin(x), "one function"), equal(r, s, f"bias = {bias}"))


def _n5(draw):
    return worst(_n5_on(draw.fractions((1, 2), -1, 5), "neuron"), _n5_twins(draw))


def _n5_grid(_):
    """The 121 points of [-1, 4]² in steps of 1/2."""
    grid = [array([[Fraction(i, 2), Fraction(j, 2)]]) for i in range(-2, 9) for j in range(-2, 9)]
    return worst(*(_n5_on(x, "neuron") for x in grid))


def _n5_printed(_):
    f, g = equal_functions()
    x = array([[3, 1]])
    table = {
        "neuron": ((3, -1), (3, -1)),
        "ignore": (("3/2", "-1/2"), (2, -1)),
        "uniform": (("5/2", "-3/2"), (2, -1)),
        "proportional": (("9/4", "-5/4"), (2, -1)),
    }
    return worst(
        *(
            equal(pyref.lrp(network, x, 0, rule=Epsilon(0, bias)).values, array([row]), f"{bias}, {name}")
            for bias, rows in table.items()
            for name, network, row in zip("fg", (f, g), rows, strict=True)
        )
    )


def _depends(bias):
    return Case(f"bias='{bias}'", lambda draw: _n5_on(draw.fractions((1, 2), 1, 5), bias))


N5 = Theorem(
    "N5",
    "With bias='neuron' ε-LRP(0) is the same on two ReLU networks of the same function; with the bias ignored or "
    "handed to the inputs it is not.",
    "decides [sundararajan2016] Fig. 14, whose LRP column is bias='ignore'",
    "exact",
    _n5,
    falsifiers=tuple(map(_depends, ("ignore", "uniform", "proportional"))),
    examples=(
        Case("Fig. 14 at (3, 1) under the four conventions", _n5_printed),
        Case("Fig. 14 on a grid of 121 points", _n5_grid),
    ),
)


THEOREMS = (N1, N2, N3, N4, N5)
