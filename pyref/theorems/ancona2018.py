"""[ancona2018]: when the gradient-based methods agree, and Sensitivity-n."""

from fractions import Fraction
from itertools import combinations

import numpy as np

import pyref
from pyref.layers.activation import ELU, Clip, Identity, ReLU, Sigmoid, Softplus, Tanh
from pyref.layers.dense import Dense
from pyref.rules import Epsilon
from pyref.theorems.ancona2017 import (
    SIGNED,
    UNSIGNED,
    assume_no_pole,
    at_input,
    compare,
    drawn,
    lrp_signals,
)
from pyref.theorems.chain_rule import has_removable_singularity, lipschitz, magnitude
from pyref.theorems.networks import (
    HOMOGENEOUS,
    RATIONAL,
    RATIONAL_ZERO,
    SMOOTH_ZERO,
    VECTORS,
    RationalSigmoid,
    RationalTanh,
    any_network,
    array,
    chain,
    mlp,
)
from pyref.theorems.theorem import Case, Outcome, Theorem, equal, worst

__all__ = ["THEOREMS"]


# ── A4: where ε-LRP meets gradient · input and DeepLIFT ────────────────────────────────────────────────


def _ratio_size(run, node):
    """A factor that exceeds |f'| and |f(z)/z| and their rounding."""
    z = run.record[node.inputs[0]]
    return lipschitz(z) + np.abs(node.layer.ratio(z))


def lrp_against(draw, network, exact, other, detail):
    """ε-LRP(0) against another method."""
    x, c, run = drawn(draw, network, exact)
    assume_no_pole(draw, run)
    draw.assume(not has_removable_singularity(run, lrp_signals(run)))
    r = pyref.lrp(network, x, c, rule=Epsilon(0)).values
    return compare(
        r,
        other(network, x, c).values,
        run,
        lambda: np.abs(x) * at_input(run, magnitude(run, _ratio_size)),
        detail,
    )


def _against_gradient(draw, network, exact=True):
    return lrp_against(draw, network, exact, pyref.gradient_times_input, "(i) gradient · input")


def _against_deeplift(draw, network, exact=True):
    def deeplift(network, x, c):
        return pyref.deeplift(network, x, c, max_pool="gradient")

    return lrp_against(draw, network, exact, deeplift, "(ii) DeepLIFT(0)")


def _a4(draw):
    if draw.boolean():
        return _against_gradient(draw, any_network(draw, HOMOGENEOUS))
    exact = not draw.boolean()
    return _against_deeplift(draw, any_network(draw, RATIONAL_ZERO if exact else SMOOTH_ZERO, exact, bias=False), exact)


def _other_activation(f):
    return Case(
        f"(i) with {type(f).__name__}", lambda draw: _against_gradient(draw, mlp(draw, (f,), exact=False), exact=False)
    )


def _nonzero_at_zero(f):
    return Case(
        f"(ii) without biases, but with {type(f).__name__}",
        lambda draw: _against_deeplift(draw, mlp(draw, (f,), exact=False, bias=False), exact=False),
    )


A4 = Theorem(
    "A4",
    "Where nothing is 0/0, ε-LRP(0) is (i) gradient · input if all activations are ReLU or leaky ReLU, and (ii) "
    "DeepLIFT with a zero baseline if there are no biases and f(0) = 0.",
    "[ancona2018] Prop. 3",
    "both",
    _a4,
    falsifiers=(
        *map(_other_activation, (Tanh(), ELU(), Softplus(), Sigmoid())),
        Case("(ii) with biases", lambda draw: _against_deeplift(draw, mlp(draw, RATIONAL_ZERO))),
        *map(_nonzero_at_zero, (Sigmoid(), Softplus())),
    ),
)


# ── A5, A6: Sensitivity-n ──────────────────────────────────────────────────────────────────────────────


def sensitivity(network, x, c, r, sizes, detail=""):
    """Σ_{i ∈ P} r_i = S(x) - S(x[x_P = 0]) for every subset P of each size n."""
    S = network(x)[0, c]
    outcomes = []
    for n in sizes:
        for subset in combinations(range(x.shape[1]), n):
            covered = x.copy()
            covered[0, list(subset)] = 0 * covered[0, list(subset)]
            total = sum(r[0, i] for i in subset)
            outcomes.append(equal(total, S - network(covered)[0, c], f"{detail} for features {subset}"))
    return worst(*outcomes)


def _every_size(x):
    return range(1, x.shape[1] + 1)


def affine_network(draw):
    """A network of any depth that is affine: every activation is the identity, with biases."""
    return mlp(draw, (Identity(),), depth=draw.integer(0, 3))


def _on_affine(draw, methods):
    network = affine_network(draw)
    x, c, run = drawn(draw, network)
    G = run.gradients()
    draw.assume(not has_removable_singularity(run, G))
    w = at_input(run, G)
    outcomes = []
    for name, method in methods.items():
        r = method(network, x, c).values
        outcomes.append(equal(r, w * x, name))
        outcomes.append(sensitivity(network, x, c, r, _every_size(x), name))
    return worst(*outcomes)


def additive(f, n, shift=0):
    """S = Σ_i f(x_i + shift), as a network."""
    w = array(np.eye(n, dtype=int))
    return chain(Dense(w, array([shift] * n)), f, Dense(array([[1]] * n)), shape=(n,))


def _on_additive(draw, f, methods, shift=0):
    """Every method satisfies Sensitivity-n for all n on Σ f(x_i + shift)."""
    n = draw.integer(2, 3)
    network, x = additive(f, n, shift), draw.fractions((1, n))
    return worst(
        *(sensitivity(network, x, 0, m(network, x, 0).values, _every_size(x), name) for name, m in methods.items())
    )


def _named(*names):
    return {name: SIGNED[name] for name in names}


ALWAYS = _named("DeepLIFT Rescale", "Occlusion-1")


def _a5(draw):
    f = draw.choice((ReLU(), Clip(-1, 1), RationalTanh(), RationalSigmoid()))
    methods = ALWAYS | (_named("Integrated Gradients") if f.piecewise_linear else {})
    shift = draw.fractions(1)[0]
    return worst(_on_affine(draw, SIGNED), _on_additive(draw, f, methods, shift))


def _ignoring_bias(network, x, c):
    return pyref.lrp(network, x, c, rule=Epsilon(0, bias="ignore"))


def _only_if(draw):
    """ "Only if S is linear": the curvature of S, where all five methods satisfy Sensitivity-n for every n."""
    network, x = additive(ReLU(), 2), draw.fractions((1, 2))
    methods = {name: m for name, m in SIGNED.items() if name != "DeepLIFT RevealCancel"}
    satisfied = worst(*(sensitivity(network, x, 0, m(network, x, 0).values, (1, 2), k) for k, m in methods.items()))
    curvature = abs((network(x) + network(-x) - 2 * network(0 * x))[0, 0])
    return Outcome(curvature if satisfied.holds else Fraction(0), 0, "S(x) + S(-x) - 2 S(0)")


A5 = Theorem(
    "A5",
    "If S is affine, at any depth and with biases, every signed method gives w_i x_i and satisfies Sensitivity-n for "
    "all n; if S is a sum of functions of one variable each, IG, DeepLIFT and Occlusion-1 still satisfy it.",
    "[ancona2018] Prop. 4, corrected: satisfying all n at all x means that S is additive, not that it is linear",
    "exact",
    _a5,
    falsifiers=(
        Case("ε-LRP that ignores the bias, on an affine network", lambda draw: _on_affine(draw, {"": _ignoring_bias})),
        Case("saliency, which has no sign", lambda draw: _on_affine(draw, UNSIGNED)),
        Case(
            "gradient · input on a sum of saturating functions",
            lambda draw: _on_additive(draw, RationalTanh(), _named("gradient · input")),
        ),
        Case(
            "ε-LRP on a sum of shifted saturating functions",
            lambda draw: _on_additive(draw, RationalTanh(), _named("ε-LRP"), Fraction(7, 10)),
        ),
    ),
    counterexamples=(Case("'only if S is linear': Σ ReLU(x_i), on which all five methods satisfy it", _only_if),),
)


def _min_network():
    """min(x_1, x_2) = x_1 - ReLU(x_1 - x_2), as ReLU(x_1) - ReLU(-x_1) - ReLU(x_1 - x_2)."""
    return chain(array([[1, -1, 1], [0, 0, -1]]), ReLU(), array([[1], [-1], [-1]]), shape=(2,))


def _a6(draw):
    network = any_network(draw, HOMOGENEOUS, makers=VECTORS)
    x, c, _ = drawn(draw, network)
    one, all_ = (1,), (x.shape[1],)
    saturating = mlp(draw, RATIONAL)
    y, d, _ = drawn(draw, saturating)
    return worst(
        sensitivity(network, x, c, pyref.occlusion(network, x, c).values, one, "Occlusion-1"),
        sensitivity(network, x, c, SIGNED["Integrated Gradients"](network, x, c).values, all_, "Integrated Gradients"),
        sensitivity(network, x, c, pyref.deeplift(network, x, c).values, all_, "DeepLIFT"),
        sensitivity(saturating, y, d, pyref.occlusion(saturating, y, d).values, one, "Occlusion-1"),
        sensitivity(saturating, y, d, pyref.deeplift(saturating, y, d).values, (y.shape[1],), "DeepLIFT"),
    )


def _occlusion_on_min(draw):
    network, x = _min_network(), draw.fractions((1, 2))
    return sensitivity(network, x, 0, pyref.occlusion(network, x, 0).values, (2,), "Occlusion-1")


def _deeplift_on_min(draw):
    network, x = _min_network(), draw.fractions((1, 2))
    return sensitivity(network, x, 0, pyref.deeplift(network, x, 0).values, (1,), "DeepLIFT")


A6 = Theorem(
    "A6",
    "Occlusion-1 satisfies Sensitivity-1, and Integrated Gradients and DeepLIFT with a zero baseline Sensitivity-N, on "
    "every network.",
    "[ancona2018] sec. 4",
    "exact",
    _a6,
    falsifiers=(
        Case("Occlusion-1 and Sensitivity-2, on min(x_1, x_2)", _occlusion_on_min),
        Case("DeepLIFT and Sensitivity-1, on min(x_1, x_2)", _deeplift_on_min),
    ),
)


THEOREMS = (A4, A5, A6)
