"""DeepLIFT: both rules from their definitions by loops in Fractions, hand-worked numbers, completeness."""

import itertools
from fractions import Fraction as F

import numpy as np
import pytest
from bound import rounding
from exact import assert_equal, fractions

import pyref
from pyref import AvgPool, BatchNorm, Conv, Dense, Dropout, Flatten, MaxPool, Network, ReLU, Tanh

# min(x_1, x_2) = x_1 - relu(x_1 - x_2)
MINIMUM = Network(
    [
        ("gap", Dense(fractions([[1], [-1]])), "x"),
        ("relu", ReLU(), "gap"),
        ("first", Dense(fractions([[1], [0]])), "x"),
        ("min", pyref.Subtract(), ("first", "relu")),
    ]
)


def some(rng, *shape):
    """Fractions k/4, |k| ≤ 8."""
    return fractions(rng.integers(-8, 9, size=shape)) / 4


def chain(rng, *widths):
    """Dense layers with biases and ReLUs between them."""
    layers = []
    for i, o in itertools.pairwise(widths):
        layers += [Dense(some(rng, i, o), some(rng, o)), ReLU()]
    return Network.sequential(layers[:-1])


def quotient(z, z0):
    """(relu(z) - relu(z0)) / (z - z0), and the derivative where they are equal."""
    return F(int(z > 0)) if z == z0 else (max(z, F(0)) - max(z0, F(0))) / (z - z0)


def of_unit(layer, dx, z, z0, o, rule):
    """(m⁺, m⁻) of unit o of a dense layer before its ReLU."""
    if rule == "rescale":
        return quotient(z, z0), quotient(z, z0)
    terms = [d * w for d, w in zip(dx, layer.w[:, o], strict=True)]
    up, down = sum((t for t in terms if t > 0), F(0)), sum((t for t in terms if t < 0), F(0))
    return (
        (quotient(z0 + up, z0) + quotient(z0 + down + up, z0 + down)) / 2,
        (quotient(z0 + down, z0) + quotient(z0 + up + down, z0 + up)) / 2,
    )


def oracle(network, x, x0, c, rule):
    """M_i Δx_i of one sample of a chain of dense layers and ReLUs, term by term."""
    layers = [node.layer for node in network.nodes.values() if isinstance(node.layer, Dense)]
    v, v0, below = x, x0, []
    for layer in layers:
        z, z0 = v @ layer.w + layer.b, v0 @ layer.w + layer.b
        below.append((v - v0, z, z0))
        v, v0 = np.maximum(z, F(0)), np.maximum(z0, F(0))
    units = layers[-1].w.shape[1]
    pairs = [(F(int(o == c)),) * 2 for o in range(units)]
    for layer, (dx, _, _) in zip(reversed(layers), reversed(below), strict=True):
        M = []
        for i, row in enumerate(layer.w):
            total = F(0)
            for w, (up, down) in zip(row, pairs, strict=True):
                total += w * (up if dx[i] * w > 0 else down if dx[i] * w < 0 else (up + down) / 2)
            M.append(total)
        if layer is not layers[0]:
            k = layers.index(layer) - 1
            dx_below, z, z0 = below[k]
            factors = [of_unit(layers[k], dx_below, z[o], z0[o], o, rule) for o in range(len(M))]
            pairs = [(m * up, m * down) for m, (up, down) in zip(M, factors, strict=True)]
    return np.array([m * d for m, d in zip(M, x - x0, strict=True)], dtype=object)


@pytest.mark.parametrize("rule", ["rescale", "reveal_cancel"])
@pytest.mark.parametrize("seed", range(12))
def test_both_rules_are_their_definitions_and_complete(rule, seed):
    rng = np.random.default_rng(seed)
    network, x, x0 = chain(rng, 4, 5, 4, 3), some(rng, 3, 4), some(rng, 4)
    a = pyref.deeplift(network, x, [2, 0, 1], baseline=x0, rule=rule)
    assert (a.delta == 0).all()
    for n, c in enumerate((2, 0, 1)):
        assert_equal(a.values[n], oracle(network, x[n], x0, c, rule))
    for node in network.nodes:  # complete at every cut
        assert_equal(pyref.sum_samples(a.at(node)), a.expected)


def test_the_minimum_of_two():
    """Rescale gives all to the smaller one; RevealCancel sees that both matter."""
    x = fractions([[3, 5], [5, 3]])
    assert_equal(pyref.deeplift(MINIMUM, x).values, fractions([[3, 0], [0, 3]]))
    assert_equal(pyref.deeplift(MINIMUM, x, rule="reveal_cancel").values, fractions([["3/2", "3/2"]] * 2))


def test_several_baselines_are_averaged():
    rng = np.random.default_rng(0)
    network, x, many = chain(rng, 3, 4, 2), some(rng, 2, 3), [some(rng, 3), some(rng, 3), F(1, 2)]
    each = [pyref.deeplift(network, x, 0, baseline=b) for b in many]
    together = pyref.deeplift(network, x, 0, baseline=many)
    assert_equal(together.values, sum(a.values for a in each) / 3)
    assert (together.delta == 0).all()


class Counting:
    """pyref, with the number of samples that each forward function was given; a product of signals is none of them."""

    def __init__(self):
        self.samples = []

    def __getattr__(self, name):
        function = getattr(pyref, name)
        if not name.endswith("_forward") or name == "multiply_forward":
            return function

        def counted(x, *args, **options):
            self.samples.append(len(x))
            return function(x, *args, **options)

        return counted


SEQUENCES = Network.sequential([pyref.LSTM(np.ones((2, 12)) / 3, np.eye(3, 12), output="last"), Dense(np.eye(3))])
PADDED = Network(
    [("lstm", pyref.LSTM(np.ones((2, 12)) / 3, np.eye(3, 12), masked=True), ("x", "lengths"))],
    inputs=["x", "lengths"],
)


@pytest.mark.parametrize("rule", ["rescale", "reveal_cancel"])
@pytest.mark.parametrize("shared", [None, F(1, 2), "one sample"])
def test_a_baseline_that_all_samples_share_costs_one_sample(rule, shared):
    """And says what a copy for each sample says, also where it is one of several."""
    rng = np.random.default_rng(6)
    network, x = chain(rng, 4, 5, 2), some(rng, 3, 4)
    if isinstance(shared, str):
        shared = some(rng, 4)
    counting = Counting()
    one = pyref.deeplift(network, x, 1, baseline=shared, rule=rule, backend=counting)
    assert sorted(counting.samples) == [1] * 3 + [3] * 3
    copies = np.zeros_like(x) + (0 if shared is None else shared)
    assert_equal(one.values, pyref.deeplift(network, x, 1, baseline=copies, rule=rule).values)
    assert_equal(one.at("relu1"), pyref.deeplift(network, x, 1, baseline=copies, rule=rule).at("relu1"))
    both = pyref.deeplift(network, x, 1, baseline=[shared, x[::-1]], rule=rule)
    assert_equal(both.values, pyref.deeplift(network, x, 1, baseline=[copies, x[::-1]], rule=rule).values)
    assert_equal(both.delta, 0 * both.delta)


def test_a_shared_baseline_goes_through_a_recurrent_layer():
    x, counting = np.random.default_rng(7).normal(size=(3, 5, 2)), Counting()
    one = pyref.deeplift(SEQUENCES, x, 1, backend=counting)
    assert sorted(counting.samples) == [1, 1, 3, 3]
    np.testing.assert_array_equal(one.values, pyref.deeplift(SEQUENCES, x, 1, baseline=np.zeros_like(x)).values)


def test_a_baseline_is_a_copy_for_each_sample_where_samples_differ_in_what_it_does_not_replace():
    x, counting = np.random.default_rng(8).normal(size=(3, 5, 2)), Counting()
    given = {"x": x, "lengths": np.array([5, 2, 3])}
    pyref.deeplift(PADDED, given, lambda S: np.ones_like(S), backend=counting)
    assert counting.samples == [3, 3]


@pytest.mark.parametrize("between", [(), (Dropout(),), (AvgPool((1, 2)),)], ids=["nothing", "dropout", "pooling"])
def test_reveal_cancel_sees_merged_batch_normalisation(between):
    """What merging leaves behind must not hide how the sum before it is made up."""
    rng = np.random.default_rng(1)
    w, b, scale, shift = some(rng, 3, 1, 1, 2), some(rng, 3), some(rng, 3), some(rng, 3)
    width = 9 if AvgPool in map(type, between) else 27
    tail = [*between, ReLU(), Flatten(), Dense(some(rng, width, 2))]
    apart = Network.sequential([Conv(w, b), BatchNorm(scale, shift), *tail])
    merged = Network.sequential([Conv(w * scale.reshape(3, 1, 1, 1), b * scale + shift), *tail])
    x = some(rng, 2, 1, 3, 4)
    a, m = (pyref.deeplift(n, x, 0, baseline=F(1, 4), rule="reveal_cancel") for n in (apart, merged))
    assert_equal(a.values, m.values)
    assert (a.delta == 0).all()


def test_max_pooling_in_both_modes():
    """y = max(x_1, x_2) from (0, 2) to (3, 0): Δy = 1. The winner moves, and "gradient" gives it all of its 3."""
    network = Network.sequential([MaxPool((1, 2)), Flatten()])
    x, x0 = fractions([[[[3, 0]]]]), fractions([[[0, 2]]])
    xmax = pyref.deeplift(network, x, baseline=x0)
    assert_equal(xmax.values, fractions([[[[1, 0]]]]))
    assert (xmax.delta == 0).all()
    by_gradient = pyref.deeplift(network, x, baseline=x0, max_pool="gradient")
    assert_equal(by_gradient.values, fractions([[[[3, 0]]]]))
    assert by_gradient.delta == 2


def test_products_are_split_evenly_or_by_the_gradient():
    network = Network([("y", pyref.Multiply(), ("p", "q"))], {"p": (1,), "q": (1,)})
    x, x0 = ({n: fractions([[v]]) for n, v in pair} for pair in ((("p", 3), ("q", 5)), (("p", 1), ("q", 1))))
    symmetric = pyref.deeplift(network, x, baseline=x0)
    assert (symmetric.values["p"], symmetric.values["q"], symmetric.delta) == (6, 8, 0)
    plain = pyref.deeplift(network, x, baseline=x0, product="gradient")
    assert (plain.values["p"], plain.values["q"], plain.delta) == (10, 12, 8)


@pytest.mark.parametrize("rule", ["rescale", "reveal_cancel"])
def test_smooth_networks_are_complete_at_every_gap(rule):
    rng = np.random.default_rng(4)
    layers = [Dense(rng.normal(size=(4, 6)), rng.normal(size=6)), Tanh(), Dense(rng.normal(size=(6, 2)))]
    network, x = Network.sequential(layers), rng.normal(size=(3, 4))
    for gap in (1, 1e-9, 1e-300, 0):
        a = pyref.deeplift(network, x, 0, baseline=x * (1 - gap), rule=rule)
        assert (np.abs(a.delta) <= rounding(100, 40)).all() and np.isfinite(a.values).all()
    G = pyref.gradient(network, x, 0).values
    M = pyref.deeplift(network, x, 0, baseline=x - 2.0**-40, rule=rule).values * 2.0**40
    assert (np.abs(M - G) <= 2.0**-36).all()  # of the order of the gap, times second derivatives


def test_what_deeplift_refuses():
    recurrent = Network.sequential([pyref.LSTM(np.ones((2, 4)), np.ones((1, 4)), output="last")])
    with pytest.raises(ValueError, match=r"RevealCancel does not go through node 'lstm1' \(LSTM\)"):
        pyref.deeplift(recurrent, np.ones((1, 3, 2)), rule="reveal_cancel")
    with pytest.raises(ValueError, match="rule is 'reveal', expected one of 'rescale', 'reveal_cancel'"):
        pyref.deeplift(MINIMUM, fractions([[1, 2]]), rule="reveal")
