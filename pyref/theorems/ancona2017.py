"""[ancona2017]: ε-LRP and DeepLIFT as modified chain rules, and what follows from it."""

from fractions import Fraction
from math import log
from typing import Any

import numpy as np

import pyref
from pyref.layers.activation import ELU, GELU, ReLU, Sigmoid, SiLU, Softplus, Tanh
from pyref.layers.affine import affine_relevance
from pyref.methods.method import baselines, start
from pyref.numerics import is_exact, safe_divide, stabilize
from pyref.rules import Epsilon
from pyref.theorems.chain_rule import (
    has_removable_singularity,
    lipschitz,
    magnitude,
    modified_gradient,
    naive_quotient,
    output_size,
    path_sum,
    rounding_count,
    slope_size,
)
from pyref.theorems.networks import (
    COMPLETE,
    HOMOGENEOUS,
    RATIONAL,
    SMOOTH,
    VECTORS,
    RationalTanh,
    any_network,
    array,
    averaging,
    chain,
    concatenated,
    dense,
    gated,
    input_for,
    max_pooled,
    mlp,
    recurrent_cell,
    residual,
    target_for,
)
from pyref.theorems.theorem import UNIT, Case, Outcome, Theorem, at_most, close, equal, worst

__all__ = ["THEOREMS"]


# ── what the statements share ──────────────────────────────────────────────────────────────────────────


def drawn(draw, network, exact=True):
    """(x, c, run): a drawn input and class, and the forward pass."""
    x = input_for(draw, network, exact)
    c = target_for(draw, network, x)
    return x, c, start(network, x, c)


def at_input(run, signals):
    """The signal at the only input."""
    ((_, ref),) = run.leaves.items()
    return signals[ref]


def compare(left, right, run, size, detail=""):
    """`equal` in exact arithmetic; else `close` with Σ|terms| = size() and n the roundings of the run."""
    if is_exact(left):
        return equal(left, right, detail)
    return close(left, right, rounding_count(run), size(), detail)


def argument(run, node):
    """z, what an activation reads."""
    return run.record[node.inputs[0]]


def activations_of(run):
    """The activation nodes of a run."""
    return [n for n in run.network.nodes.values() if n.layer.kind == "activation"]


# ── A0: the chain rule itself ──────────────────────────────────────────────────────────────────────────


def _a0_on(draw, network, product=None):
    _, _, run = drawn(draw, network)
    factors = {n.name: draw.fractions(run.record[n.name].shape) for n in activations_of(run)}

    def g(run, node):
        return factors[node.name]

    return equal(at_input(run, modified_gradient(run, g)), path_sum(run, g, product))


A0 = Theorem(
    "A0",
    "The modified chain rule, a sum over all paths of weights times factors g, is reverse mode with g in place of f'.",
    "[ancona2017] eq. (5)",
    "exact",
    lambda draw: _a0_on(draw, draw.choice((mlp, residual, concatenated, averaging))(draw)),
    falsifiers=(
        Case(
            "a product whose gate is constant along paths: it needs multipliers",
            lambda draw: _a0_on(draw, gated(draw), lambda run, node: (None, run.record.inputs(node)[0])),
        ),
    ),
    examples=(
        Case(
            "a network of 3-3-3-1 units",
            lambda draw: _a0_on(draw, mlp(draw, depth=2, inputs=3, width=3, outputs=1)),
        ),
    ),
)


# ── A1: ε-LRP ──────────────────────────────────────────────────────────────────────────────────────────


def lrp_signals(run, epsilon=0, product=None):
    """{reference: G} with x ⊙ G = ε-LRP: g = f(z)/z at activations; with ε > 0 also z/σ_ε(z) at every affine node."""

    def g(run, node):
        return node.layer.ratio(argument(run, node))

    def scale(run, node):
        z = run.record[node.name]
        return safe_divide(z, stabilize(z, epsilon))

    return modified_gradient(run, g, product, scale if epsilon else None)


def assume_no_pole(draw, run):
    """f(z)/z is defined: no z = 0 where f(0) ≠ 0."""
    draw.assume(all(n.layer.zero_at_zero or np.all(argument(run, n) != 0) for n in activations_of(run)))


def lrp_against_chain_rule(draw, network, exact, epsilon=0, bias="neuron"):
    """ε-LRP by its rule against x ⊙ ∂^g S."""
    x, c, run = drawn(draw, network, exact)
    assume_no_pole(draw, run)
    G = lrp_signals(run, epsilon)
    draw.assume(epsilon > 0 or not has_removable_singularity(run, G))
    r = pyref.lrp(network, x, c, rule=Epsilon(epsilon, bias)).values

    def size():
        ratio = magnitude(run, lambda run, node: np.abs(node.layer.ratio(argument(run, node))))
        return np.abs(x) * at_input(run, ratio)

    return compare(r, x * at_input(run, G), run, size, f"ε = {epsilon}")


def _a1(draw):
    exact = not draw.boolean()
    network = any_network(draw, RATIONAL if exact else SMOOTH, exact)
    return lrp_against_chain_rule(draw, network, exact, draw.choice((0, Fraction(1, 128) if exact else 2.0**-7)))


def _a1_epsilon_at_activations_only(draw):
    network = mlp(draw, RATIONAL)
    x, c, run = drawn(draw, network)
    assume_no_pole(draw, run)
    epsilon: Any = Fraction(1, 100)
    rule, gradient = (pyref.lrp(network, x, c, rule=Epsilon(epsilon), form=form) for form in ("rule", "gradient"))
    return equal(rule.values, gradient.values)


def _a1_at_zero(_):
    network, x = chain(array([[1], [-1]]), RationalTanh(), array([[1]])), array([[1, 1]])
    run = start(network, x)
    extension = x * at_input(run, lrp_signals(run))
    outcome = equal(pyref.lrp(network, x, rule=Epsilon(0)).values, extension)
    return worst(outcome, equal(extension, array([[1, -1]]))) if outcome.holds else outcome


WORKED = array([[2, -1], [1, 1], [-1, 2]]), array([1, -2]), array([[1, -2, 3]]), array([[1, 2]])
"""w, b, x and R of one worked dense layer; z = (-2, 1)."""


def _a1_worked(_):
    w, b, x, R = WORKED
    z = pyref.dense_forward(x, w, b)
    expected = array([[-3, -3, "27/2"]])
    return worst(
        equal(pyref.dense_relevance(x, w, b, R, Epsilon(0)), expected, "rule form"),
        equal(x * pyref.dense_gradient(x, w, b, R / z), expected, "gradient form"),
    )


A1 = Theorem(
    "A1",
    "ε-LRP is x times the modified gradient with g = f(z)/z, if biases are neurons, no node is a product and "
    "nothing is 0/0; with ε > 0 every affine node also carries the factor z/(z ± ε).",
    "[ancona2017] Prop. 1, corrected: ε > 0 also acts at layers without activation; eq. (2) misprints the bias",
    "both",
    _a1,
    falsifiers=(
        Case(
            "the bias ignored",
            lambda draw: lrp_against_chain_rule(draw, mlp(draw, RATIONAL), exact=True, bias="ignore"),
        ),
        Case("ε > 0 in every layer, against ε at the activations only", _a1_epsilon_at_activations_only),
    ),
    counterexamples=(Case("z = 0 and f'(0) = 1: the rule hands out (0, 0), the gradient form (1, -1)", _a1_at_zero),),
    examples=(Case("a worked layer: (-3, -3, 27/2)", _a1_worked),),
)


# ── A2, A3: DeepLIFT ───────────────────────────────────────────────────────────────────────────────────


def drawn_pair(draw, network, exact=True):
    """(x, x̄, c, run at x, run at x̄)."""
    x, c, run = drawn(draw, network, exact)
    x0 = input_for(draw, network, exact)
    return x, x0, c, run, run.moved(baselines(run, x0)[0])


def secant(reference):
    """Prop. 2's g as it is written, (f(z) - f(z̄)) / (z - z̄)."""

    def g(run, node):
        a, a0 = run.record[node.name], reference.record[node.name]
        z, z0 = argument(run, node), argument(reference, node)
        return naive_quotient(z, z0, a, a0, node.layer.derivative(z))

    return g


def secant_size(reference):
    """A factor that exceeds |g| of `secant` and its rounding, in closed form and as written."""

    def factor(run, node):
        z, z0 = argument(run, node), argument(reference, node)
        both = lipschitz(z) + lipschitz(z0)
        return both + both / np.where(z == z0, np.ones_like(z), np.abs(z - z0))

    return factor


def rescale_relevance(run, reference):
    """Eq. (4): ΔS handed back in proportion to Δz_ij, {reference: r}; None where it is 0/0 or has a max pooling."""
    change = {ref: run.record[ref] - reference.record[ref] for ref in run.record}
    undefined = []

    def answer(node, x, y, R):
        if node.layer.kind == "activation":
            return (R,)
        if not node.layer.affine:
            undefined.append(node.layer.kind == "pool")
            return node.layer.gradient(run.backend, x, y, R)
        terms = node.layer.terms(tuple(change[i] for i in node.inputs))
        undefined.append(bool(np.any((change[node.name, 0] == 0) & (change_size(terms) != 0))))
        return affine_relevance(terms, None, R, Epsilon(0))

    r = run.walk(run.v * change[run.output_ref], answer)
    return None if any(undefined) else r


def change_size(terms):
    """Σ_i |Δx_i w_io|."""
    return sum(
        t.forward(np.abs(t.x), tuple(map(np.abs, t.w)) if isinstance(t.w, tuple) else np.abs(t.w)) for t in terms
    )


def deeplift_against_chain_rule(draw, network, exact=True, **options):
    """DeepLIFT against (x - x̄) ⊙ ∂^g S, and against eq. (4) where that is defined."""
    x, x0, c, run, reference = drawn_pair(draw, network, exact)
    r = pyref.deeplift(network, x, c, baseline=x0, **options).values
    G = at_input(run, modified_gradient(run, secant(reference)))

    def size():
        return np.abs(x - x0) * at_input(run, magnitude(run, secant_size(reference)))

    outcome = compare(r, (x - x0) * G, run, size, "multipliers")
    relevance = rescale_relevance(run, reference) if exact and not options.get("product") else None
    return outcome if relevance is None else worst(outcome, equal(r, at_input(run, relevance), "eq. (4)"))


def _a2(draw):
    exact = not draw.boolean()
    network = any_network(draw, RATIONAL if exact else SMOOTH, exact)
    return deeplift_against_chain_rule(draw, network, exact, max_pool="gradient")


A2 = Theorem(
    "A2",
    "DeepLIFT Rescale is x - x̄ times the modified gradient with g = Δa/Δz, max pooling routed as at x; where no "
    "Δz is 0 it is eq. (4).",
    "[ancona2017] Prop. 2 and eq. (4), which is 0/0 where Δz = 0",
    "both",
    _a2,
    falsifiers=(
        Case("a product, with its symmetric multipliers", lambda draw: deeplift_against_chain_rule(draw, gated(draw))),
        Case(
            "max pooling in the complete mode 'xmax'",
            lambda draw: deeplift_against_chain_rule(draw, max_pooled(draw), max_pool="xmax"),
        ),
    ),
)


def deeplift_completeness(draw, network, exact=True, **options):
    """Σ r against S(x) - S(x̄)."""
    x, x0, c, run, reference = drawn_pair(draw, network, exact)
    total = pyref.deeplift(network, x, c, baseline=x0, **options).total
    size = 0 if exact else max(output_size(r, secant_size(o)) for r, o in ((run, reference), (reference, run)))
    return compare(total, run.output - reference.output, run, lambda: size)


def _a3(draw):
    exact = not draw.boolean()
    makers = (*COMPLETE, max_pooled, gated, recurrent_cell) if exact else COMPLETE
    return deeplift_completeness(draw, _of_kind(draw, draw.choice(makers), RATIONAL if exact else SMOOTH, exact), exact)


def _of_kind(draw, maker, activations, exact=True):
    """A network of a maker; those of products keep their own gates and activations."""
    return maker(draw) if maker in (gated, recurrent_cell) else maker(draw, activations, exact)


A3 = Theorem(
    "A3",
    "DeepLIFT Rescale is complete, Σ r = S(x) - S(x̄), with closed-form secants, 'xmax' pooling and symmetric products.",
    "[ancona2017] sec. 2.2; [shrikumar2017] sec. 3.1",
    "both",
    _a3,
    falsifiers=(
        Case(
            "max pooling routed as at x",
            lambda draw: deeplift_completeness(draw, max_pooled(draw), max_pool="gradient"),
        ),
        Case(
            "products by the gradient",
            lambda draw: deeplift_completeness(draw, recurrent_cell(draw), product="gradient"),
        ),
    ),
)


# ── A7: Occlusion-1 as an integral ─────────────────────────────────────────────────────────────────────


def _a7_exact(draw, network, fill=0):
    """The integral along each axis from exact pieces."""
    x, c, _ = drawn(draw, network)
    integral = np.stack([_along_axis(network, x, c, i) for i in np.ndindex(x.shape)]).reshape(x.shape)
    return equal(pyref.occlusion(network, x, c, unit="feature", fill=fill).values, integral)


def _along_axis(network, x, c, index):
    """x_i ∫₀¹ ∂_iS(x[x_i = α x_i]) dα for a piecewise linear network."""
    covered = x.copy()
    covered[index] = 0 * x[index]
    return pyref.integrated_gradients(network, x, c, baseline=covered, quadrature="exact").values[index]


def _a7_smooth(draw):
    """The same by Gauss and Legendre in 60 nodes: |z| ≤ 4 keeps their error below 1e-30, see `small_network`."""
    network, x = small_network(draw, (Tanh(), Sigmoid(), Softplus()))
    run = start(network, x, 0)
    outcomes = []
    r = pyref.occlusion(network, x, 0, unit="feature").values
    for index in np.ndindex(x.shape):
        nodes, weights = _gauss_legendre()
        line = np.repeat(x, len(nodes), axis=0)
        line[(slice(None), *index[1:])] = nodes * x[index]
        G = pyref.gradient(network, line, 0).values[(slice(None), *index[1:])]
        covered = x.copy()
        covered[index] = 0.0
        size = output_size(run, slope_size) + output_size(start(network, covered, 0), slope_size)
        outcomes.append(close(r[index], x[index] * np.sum(weights * G), len(nodes) + rounding_count(run), size))
    return worst(*outcomes)


def small_network(draw, activations):
    """(network, x): one hidden layer with |x|, |w|, |b| ≤ 1 and two inputs, so that |z| ≤ 4 between any two inputs.

    There f is analytic within π/2 of the interval that z runs through, and n Gauss-Legendre nodes leave an error of
    the order of 2⁻²ⁿ.
    """
    h = draw.integer(1, 3)
    w, v = draw.floats((2, h), -1, 1), draw.floats((h, 1), -1, 1)
    b, c = draw.floats(h, -1, 1), draw.floats(1, -1, 1)
    network = chain(pyref.Dense(w, b), draw.choice(activations), pyref.Dense(v, c), shape=(2,))
    return network, draw.floats((1, 2), -1, 1)


def _gauss_legendre(n=60):
    t, weights = np.polynomial.legendre.leggauss(n)
    return (t + 1) / 2, weights / 2


def _a7_saturated(_):
    network, x = saturated(), array([[2]])
    r = pyref.occlusion(network, x, unit="feature").values
    return worst(equal(r, array([[1]]), "Occlusion-1"), equal(_along_axis(network, x, None, (0, 0)), 1, "integral"))


def saturated():
    """f = 1 - ReLU(1 - x), flat from x = 1 on."""
    return chain(pyref.Dense(array([[-1]]), array([1])), ReLU(), pyref.Dense(array([[-1]]), array([1])))


A7 = Theorem(
    "A7",
    "Occlusion-1 is x_i times the mean of the partial derivative over the segment from x[x_i = 0] to x.",
    "[ancona2017] Table 1",
    "both",
    lambda draw: _a7_smooth(draw) if draw.boolean() else _a7_exact(draw, any_network(draw, makers=VECTORS)),
    falsifiers=(
        Case("a feature replaced by 1/2, as if by 0", lambda draw: _a7_exact(draw, mlp(draw), fill=Fraction(1, 2))),
    ),
    examples=(Case("f = 1 - ReLU(1 - x) at 2: 1", _a7_saturated),),
)


# ── A8: the limits of g ────────────────────────────────────────────────────────────────────────────────


def _mean_slope(f, z):
    """∫₀¹ f'(tz) dt by 60 Gauss-Legendre nodes: for |z| ≤ 4 their error is below rounding."""
    nodes, weights = _gauss_legendre()
    return sum(w * f.derivative(t * z) for t, w in zip(nodes, weights, strict=True))


def _a8_mean(f, z):
    return close(f.ratio(z), _mean_slope(f, z), 100, lipschitz(z), f"{f.name}: mean slope at z = {z[0]}")


def _a8(draw):
    z = draw.floats(1, -4, 4)
    draw.assume(np.all(z != 0))
    near = z * 2.0 ** -draw.integer(0, 40)
    outcomes = []
    for f in (Tanh(), ELU(), SiLU(), GELU("tanh")):
        outcomes.append(_a8_mean(f, z))
        gap = np.abs(f.ratio(near) - f.derivative(0 * near))
        outcomes.append(at_most(gap, np.abs(near) / 2, 20 * UNIT, f"{f.name}: |g(z) - f'(0)| ≤ |z|/2"))
    for h, limit in ((Sigmoid(), 0.5), (Softplus(), log(2))):
        gap = np.abs(near * h.ratio(near) - limit)
        outcomes.append(at_most(gap, np.abs(near), 20 * UNIT * float(lipschitz(near)[0]), f"{h.name}: z g(z) → f(0)"))
        # the pole: beside the mean slope g has f(0)/z
        rest = h.ratio(z) - _mean_slope(h, z)
        outcomes.append(close(rest, limit / z, 100, lipschitz(z) + 1 / np.abs(z), f"{h.name}: g - mean f' = f(0)/z"))
    return worst(*outcomes)


def _a8_sigmoid(draw):
    z = draw.floats(1, -4, 4)
    draw.assume(np.all(z != 0))
    return _a8_mean(Sigmoid(), z)


def _a8_printed(_):
    """x = (1, -0.9), w = (1, 1): z = 0.1. Each number to the digits that are given."""
    x, w = np.array([[1.0, -0.9]]), np.ones((2, 1))
    z = x @ w
    rows = (
        (Sigmoid(), 0.524979, 5.249792, (5.249792, -4.724813), 0.249792, 0.249376),
        (Softplus(), 0.744397, 7.443967, (7.443967, -6.699570), 0.512495, None),
        (Tanh(), None, 0.996680, None, None, None),
    )
    outcomes = []
    for f, S, g, R, quotient, slope in rows:
        network = chain(w, f)
        got = {
            "S": (network(x)[0, 0], S),
            "g": (f.ratio(z)[0, 0], g),
            "R": (pyref.lrp(network, x, rule=Epsilon(0)).values[0], R),
            "DeepLIFT g": (f.quotient(z, 0 * z)[0, 0], quotient),
            "DeepLIFT": (
                pyref.deeplift(network, x).values[0],
                None if quotient is None else tuple(quotient * x[0]),
            ),
            "f'": (f.derivative(z)[0, 0], slope),
        }
        for name, (value, printed) in got.items():
            if printed is not None:
                gap = float(np.max(np.abs(np.asarray(value) - np.asarray(printed))))
                outcomes.append(Outcome(gap, 10.0**-6 / 2 + 10 * UNIT, f"{f.name}: {name}"))
    return worst(*outcomes)


A8 = Theorem(
    "A8",
    "If f(0) = 0 then f(z)/z is the mean of f' over [0, z] and tends to f'(0); else it has the pole f(0)/z besides.",
    "[ancona2017] sec. 3, corrected: boundedness as z → 0 needs f(0) = 0, and ReLU has no two-sided limit",
    "float64",
    _a8,
    falsifiers=(Case("sigmoid, as if f(0) were 0", _a8_sigmoid),),
    examples=(Case("z = 0.1 under sigmoid, softplus and tanh, to six digits", _a8_printed),),
)


# ── A9: DeepLIFT and Integrated Gradients ──────────────────────────────────────────────────────────────


def _a9_exact(draw, network):
    x, x0, c, _, _ = drawn_pair(draw, network)
    integral = pyref.integrated_gradients(network, x, c, baseline=x0, quadrature="exact")
    return equal(pyref.deeplift(network, x, c, baseline=x0).values, integral.values)


def _a9_smooth(draw):
    network, x = small_network(draw, (Tanh(), Sigmoid(), Softplus(), SiLU()))
    x0 = draw.floats((1, 2), -1, 1)
    run = start(network, x, 0)
    integral = pyref.integrated_gradients(network, x, 0, baseline=x0, quadrature="gauss_legendre", m=60)
    r = pyref.deeplift(network, x, 0, baseline=x0)
    size = np.abs(x - x0) * at_input(run, magnitude(run, slope_size))
    return close(r.values, integral.values, 60 + rounding_count(run), size)


A9 = Theorem(
    "A9",
    "With one hidden layer of elementwise activations and a linear output, DeepLIFT Rescale is Integrated Gradients.",
    "[ancona2017] sec. 3: there one secant is the mean of f' along the path",
    "both",
    lambda draw: _a9_smooth(draw) if draw.boolean() else _a9_exact(draw, mlp(draw, depth=1)),
    falsifiers=(
        Case("two hidden layers", lambda draw: _a9_exact(draw, mlp(draw, HOMOGENEOUS, depth=2, inputs=2, width=3))),
    ),
)


# ── A10: linear models ─────────────────────────────────────────────────────────────────────────────────


SIGNED: dict[str, Any] = {
    "gradient · input": pyref.gradient_times_input,
    "ε-LRP": lambda network, x, c: pyref.lrp(network, x, c, rule=Epsilon(0)),
    "DeepLIFT Rescale": pyref.deeplift,
    "DeepLIFT RevealCancel": lambda network, x, c: pyref.deeplift(network, x, c, rule="reveal_cancel"),
    "Integrated Gradients": lambda network, x, c: pyref.integrated_gradients(network, x, c, quadrature="exact"),
    "Occlusion-1": lambda network, x, c: pyref.occlusion(network, x, c, unit="feature"),
}
"""Every signed method of Table 1 under a zero baseline, and RevealCancel."""


UNSIGNED = {"saliency": pyref.saliency}


def _a10_on(draw, network, methods):
    x, c, run = drawn(draw, network)
    draw.assume(not has_removable_singularity(run, run.gradients()))
    w = pyref.gradient(network, x, c).values
    return worst(*(equal(method(network, x, c).values, w * x, name) for name, method in methods.items()))


def linear_model(draw):
    """S = W x + b."""
    return chain(dense(draw, i := draw.integer(1, 4), draw.integer(1, 3)), shape=(i,))


A10 = Theorem(
    "A10",
    "On a linear model every signed method gives w_i x_i.",
    "[ancona2017] sec. 4",
    "exact",
    lambda draw: _a10_on(draw, linear_model(draw), SIGNED),
    falsifiers=(
        Case("saliency, which has no sign", lambda draw: _a10_on(draw, linear_model(draw), UNSIGNED)),
        Case("one hidden layer of ReLUs", lambda draw: _a10_on(draw, mlp(draw, (ReLU(),), depth=1), SIGNED)),
    ),
)


# ── A11: products ──────────────────────────────────────────────────────────────────────────────────────


def _constant_gate(run, node):
    gate, _ = run.record.inputs(node)
    return None, gate


def _half_gate(run, node):
    gate, signal = run.record.inputs(node)
    return signal / 2, gate / 2


def _a11(draw):
    network = draw.choice((gated, recurrent_cell))(draw)
    x, c, run = drawn(draw, network)
    assume_no_pole(draw, run)
    outcomes = [deeplift_completeness(draw, network)]
    for gate, product in (("all", _constant_gate), ("half", _half_gate)):
        G = lrp_signals(run, product=product)
        draw.assume(not has_removable_singularity(run, G))
        r = pyref.lrp(network, x, c, rule=Epsilon(0), gate=gate)
        outcomes.append(equal(r.values, x * at_input(run, G), f"LRP-{gate} is a modified chain rule"))
        outcomes.append(equal(r.total, r.expected, f"LRP-{gate} loses nothing but what biases keep"))
    return worst(*outcomes)


def _a11_doubling(draw):
    network = recurrent_cell(draw)
    x, c, run = drawn(draw, network)
    assume_no_pole(draw, run)
    r = pyref.lrp(network, x, c, rule=Epsilon(0), gate="gradient")
    return equal(r.total, r.expected)


A11 = Theorem(
    "A11",
    "Through products, symmetric multipliers keep DeepLIFT complete, and LRP that hands all (half) to the signal is "
    "the modified chain rule with the gate constant (both multipliers halved), and conserves relevance.",
    "[ancona2017] sec. 4, corrected: it says that such changes prevent the form of a modified chain rule",
    "exact",
    _a11,
    falsifiers=(
        Case("ε-LRP through raw products, which double relevance", _a11_doubling),
        Case(
            "DeepLIFT through raw products",
            lambda draw: deeplift_completeness(draw, recurrent_cell(draw), product="gradient"),
        ),
    ),
)


THEOREMS = (A0, A1, A2, A3, A7, A8, A9, A10, A11)
