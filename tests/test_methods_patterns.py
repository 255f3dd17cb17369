"""Patterns from their definitions, in one pass, and the two methods that walk along them."""

from fractions import Fraction as F

import numpy as np
import pytest
from bound import rounding
from exact import assert_equal, assert_exact, fractions

import pyref
from pyref.methods.patterns import _Moments
from pyref.theorems.draw import SeededDraw


def dense_network(seed=0):
    draw = SeededDraw(seed, "patterns")
    layers = [
        ("one", pyref.Dense(draw.fractions((3, 4)), draw.fractions(4))),
        ("relu1", pyref.ReLU()),
        ("two", pyref.Dense(draw.fractions((4, 3)), draw.fractions(3) + 1)),
        ("relu2", pyref.ReLU()),
        ("out", pyref.Dense(draw.fractions((3, 2)), draw.fractions(2))),
    ]
    return pyref.Network.sequential(layers), draw.fractions((9, 3))


def mean(values):
    return sum(values, F(0)) / len(values) if len(values) else F(0)


def pattern(X, w, b, estimator, regime="positive"):
    """The pattern of one unit, from lists: the definitions, word by word."""
    y = [sum(p * q for p, q in zip(x, w, strict=True)) for x in X]
    if estimator == "linear":
        chosen = range(len(X))
    else:
        chosen = [s for s, v in enumerate(y) if (v + b > 0) == (regime == "positive")]
    n = []
    for i in range(len(w)):
        product = mean([X[s][i] * y[s] for s in chosen])
        n.append(product - mean([X[s][i] for s in chosen]) * mean(y) if len(chosen) else F(0))
    scale = sum(p * q for p, q in zip(w, n, strict=True))
    return [v / scale if scale else F(0) for v in n]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("estimator", "regime"), [("linear", "positive"), ("two_component", "positive"), ("two_component", "negative")]
)
def test_dense_patterns_are_their_definitions(estimator, regime, seed):
    network, x = dense_network(seed)
    patterns = pyref.fit_patterns(network, [x[:2], x[2:3], x[3:]], estimator, regime=regime)
    assert patterns.estimators == {"one": estimator, "two": estimator, "out": "linear"}
    assert patterns.samples == 9
    record = network.forward(x)
    for name, source in (("one", "x"), ("two", "relu1"), ("out", "relu2")):
        layer, X = network.nodes[name].layer, record[source]
        want = [
            pattern(X.tolist(), layer.w[:, o].tolist(), layer.b[o], patterns.estimators[name], regime)
            for o in range(layer.w.shape[1])
        ]
        assert_equal(patterns.by_node[name], fractions(want).T)
        response = (layer.w * patterns.by_node[name]).sum(axis=0)
        assert set(response) <= {F(0), F(1)} and (response == patterns.responses[name]).all()


def test_convolution_patterns_run_over_patches():
    draw = SeededDraw(1, "patterns")
    conv = pyref.Conv(
        draw.fractions((4, 1, 2, 2)), draw.fractions(4), stride=(1, 2), padding=((1, 0), (0, 1)), groups=2
    )
    layers = [
        ("conv", conv),
        pyref.MaxPool((1, 2)),
        pyref.ReLU(),
        pyref.Flatten(),
        pyref.Dense(draw.fractions((12, 1))),
    ]
    network = pyref.Network.sequential(layers, shape=(2, 3, 4))
    x = draw.fractions((4, 2, 3, 4))
    patterns = pyref.fit_patterns(network, [x[:1], x[1:]])
    assert patterns.estimators["conv"] == "two_component"
    padded = np.full((4, 2, 4, 5), F(0), dtype=object)
    padded[:, :, 1:, :4] = x
    for o in range(4):
        patches = [
            padded[n, o // 2, i : i + 2, j : j + 2].ravel().tolist() for n in range(4) for i in range(3) for j in (0, 2)
        ]
        want = pattern(patches, conv.w[o].ravel().tolist(), conv.b[o], "two_component")
        assert_equal(patterns.by_node["conv"][o].ravel(), fractions(want))


def test_units_that_are_never_active():
    network, x = dense_network()
    first = network.nodes["one"].layer
    network = network.with_layers({"one": pyref.Dense(first.w, first.b + fractions([0, 0, -1000, 0]))})
    patterns = pyref.fit_patterns(network, [x])
    assert patterns.never_active["one"].tolist() == [False, False, True, False]
    assert not patterns.by_node["one"][:, 2].any() and patterns.responses["one"][2] == 0


def test_a_constant_added_to_every_output_changes_nothing():
    """In the two-component estimator y enters by its deviations only, at fixed regimes."""
    draw = SeededDraw(2, "patterns")
    X, Y = draw.fractions((1, 8, 3)), draw.fractions((1, 8, 2))
    mask = Y > 0
    assert_equal(_Moments.of(X, Y, mask).direction(), _Moments.of(X, Y + 1000, mask).direction())


def test_the_pattern_is_the_signal_and_not_the_filter():
    """x = a s + distractor, y = s regressed on x: the pattern finds a, the weights do not. [haufe2014]"""
    rng = np.random.default_rng(0)
    a, n = np.array([1.0, -2.0, 0.5]), 100_000
    s = rng.normal(size=n)
    x = s[:, None] * a + rng.normal(size=n)[:, None] * np.array([1.0, 1.0, 1.0]) + 0.1 * rng.normal(size=(n, 3))
    w = np.linalg.lstsq(x, s, rcond=None)[0]
    network = pyref.Network.sequential([("unit", pyref.Dense(w[:, None]))])
    found = pyref.fit_patterns(network, np.array_split(x, 7), "linear").by_node["unit"][:, 0]

    def angle(u):
        return np.linalg.norm(u / np.linalg.norm(u) - a / np.linalg.norm(a))

    assert angle(found) < 1 / 100 < 1 / 10 < angle(w)


def test_the_mean_of_the_inputs_costs_no_digits():
    """Moments are taken about running means: an offset of 2²⁰ leaves the covariance its digits."""
    rng = np.random.default_rng(1)
    x = np.round(rng.normal(size=(400, 3)) * 2**20) / 2**20  # exact with the offset too
    w = rng.normal(size=(3, 2))
    network = pyref.Network.sequential([("unit", pyref.Dense(w))])
    near = pyref.fit_patterns(network, np.array_split(x, 5), "linear").by_node["unit"]
    far = pyref.fit_patterns(network, np.array_split(x + 2.0**20, 5), "linear").by_node["unit"]
    # y = w·x is itself rounded at 2²⁰; squares of it would be at 2⁴⁰
    assert np.max(np.abs(near - far)) <= rounding(40, 2.0**20 * np.max(np.abs(w)) * np.max(np.abs(near)))


def test_batch_normalisation_is_merged_first():
    draw = SeededDraw(3, "patterns")
    dense, shift = pyref.Dense(draw.fractions((3, 2)), draw.fractions(2)), draw.fractions(2)
    network = pyref.Network.sequential(
        [dense, pyref.BatchNorm(fractions([2, 3]), shift), pyref.ReLU(), pyref.Dense(draw.fractions((2, 1)))]
    )
    x = draw.fractions((6, 3))
    patterns = pyref.fit_patterns(network, [x])
    merged = pyref.fit_patterns(pyref.merge_batchnorm(network), [x])
    assert_equal(patterns.by_node["dense1"], merged.by_node["dense1"])
    assert patterns.estimators["dense1"] == "two_component"
    assert_exact(pyref.pattern_attribution(network, x, patterns=patterns).values)


# ── the walks ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("mask", [True, False])
@pytest.mark.parametrize("method", ["pattern_net", "pattern_attribution"])
def test_walks_by_hand(method, mask):
    network, x = dense_network(4)
    patterns = pyref.fit_patterns(network, [x])
    record = network.forward(x)

    def through(name, R):
        a, w = patterns.by_node[name], network.nodes[name].layer.w
        return R @ (a if method == "pattern_net" else w * a).T

    R = np.zeros_like(network(x)) + F(0)
    R[:, 1] = network(x)[:, 1]
    R = through("out", R)
    R = through("two", np.where(record["two"] > 0, R, 0 * R) if mask else R)
    R = through("one", np.where(record["one"] > 0, R, 0 * R) if mask else R)
    assert_equal(pyref.METHODS[method](network, x, 1, patterns=patterns, mask=mask).values, R)


def test_attribution_hands_everything_on_where_every_unit_has_a_pattern():
    for seed in range(20):
        network, x = dense_network(seed)
        patterns = pyref.fit_patterns(network, [x])
        if all((r == 1).all() for r in patterns.responses.values()):
            a = pyref.pattern_attribution(network, x, 0, patterns=patterns, mask=False)
            assert_equal(a.total, network(x)[:, 0])
            return
    raise AssertionError("no seed gave every unit a pattern")


def test_projection_bounds_every_layer():
    network, x = dense_network(4)
    patterns = pyref.fit_patterns(network, [x])
    a = pyref.pattern_net(network, x, 1, patterns=patterns, project=True)
    assert set(np.max(abs(a.values), axis=1)) <= {0, 1}


def test_errors():
    network, x = dense_network()
    patterns = pyref.fit_patterns(network, [x])

    def refused(match, call):
        with pytest.raises(ValueError, match=match):
            call()

    refused("was given no samples", lambda: pyref.fit_patterns(network, []))
    refused("estimator is 'quadratic', expected one of", lambda: pyref.fit_patterns(network, [x], "quadratic"))
    other = pyref.Network.sequential([("other", pyref.Dense(fractions([[1], [1], [1]])))])
    refused("no pattern for node 'other'", lambda: pyref.pattern_net(other, x, patterns=patterns))
    wide = pyref.Network([("out", pyref.Dense(fractions([[1], [1], [1]])), "x")])
    refused(
        r"the pattern of node 'out' has shape \(3, 2\), expected \(3, 1\)",
        lambda: pyref.pattern_net(wide, x, patterns=patterns),
    )
    bent = network.with_layers({"relu1": pyref.LeakyReLU(F(1, 2))})
    refused(
        r"patterns do not go through node 'relu1' \(LeakyReLU\)",
        lambda: pyref.pattern_attribution(bent, x, 0, patterns=patterns),
    )
    up = pyref.Network.sequential([pyref.ConvTranspose(np.ones((1, 1, 2, 2)))])
    refused(
        "patterns exist for Dense and Conv, but node 'convtranspose1' is ConvTranspose",
        lambda: pyref.fit_patterns(up, [np.ones((1, 1, 2, 2))]),
    )
