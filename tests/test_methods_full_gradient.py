"""The full gradient: nothing is left over, whatever the layers; and FullGrad's map against its definition."""

from fractions import Fraction as F

import numpy as np
import pytest
from bound import rounding
from exact import assert_equal, assert_exact, fractions

import pyref
from pyref.theorems.draw import SeededDraw
from pyref.theorems.networks import RATIONAL, any_network, gated, input_for, recurrent_cell, target_for


def all_parts(a):
    values = a.values if isinstance(a.values, dict) else {"x": a.values}
    return [*values.values(), *a.biases.values()]


@pytest.mark.parametrize("case", range(30))
def test_nothing_is_left_over(case):
    """Σ r + Σ biases = S_c with ==, for saturating activations and products too."""
    draw = SeededDraw(0, "full gradient", case)
    maker = draw.choice((any_network, gated, recurrent_cell))
    network = maker(draw, RATIONAL)
    x = input_for(draw, network)
    c = target_for(draw, network, x)
    a = pyref.full_gradient(network, x, c)
    assert_exact(*all_parts(a))
    assert sum(pyref.sum_samples(part) for part in all_parts(a)) == network(x)[:, c]
    assert (a.delta == 0).all()


@pytest.mark.parametrize("case", range(15))
def test_without_biases_the_input_takes_all(case):
    """A piecewise linear network without biases is ∇S · x."""
    draw = SeededDraw(1, "full gradient", case)
    network = any_network(draw, bias=False)
    x = input_for(draw, network)
    a = pyref.full_gradient(network, x, 0)
    assert a.biases == {}
    assert_equal(a.total, network(x)[:, 0])
    assert_equal(a.values, pyref.gradient_times_input(network, x, 0).values)


def test_saturation():
    """f = a - ReLU(b - x), a = b = 1."""
    w, one = fractions([[-1]]), fractions([1])
    nodes = [("inner", pyref.Dense(w, one)), ("relu", pyref.ReLU()), ("outer", pyref.Dense(w, one))]
    network = pyref.Network.sequential(nodes)
    a = pyref.full_gradient(network, fractions([[2], ["1/2"]]))
    assert_equal(a.values, fractions([[0], ["1/2"]]))
    assert_equal(a.biases["outer"], fractions([[1], [1]]))
    assert_equal(a.biases["inner"], fractions([[0], [-1]]))


def test_figure_14():
    """Two networks for one function: the same input part, the bias at different places. [sundararajan2016]"""
    one, two, relu, dense = fractions([[1, 0], [0, 1]]), fractions([[1], [-1]]), pyref.ReLU, pyref.Dense
    f = pyref.Network.sequential([("in", dense(one)), relu(), ("out", dense(two, fractions([-1]))), relu()])
    g = pyref.Network.sequential([("in", dense(one, fractions([-1, 0]))), relu(), ("out", dense(two)), relu()])
    for network, holder in ((f, "out"), (g, "in")):
        a = pyref.full_gradient(network, fractions([[3, 1]]))
        assert_equal(a.values, fractions([[3, -1]]))
        assert list(a.biases) == [holder] and a.biases[holder].sum() == -1


def test_a_bias_moves_its_own_part_only():
    w = fractions([[1, -1], [2, 1]])

    def parts(t):
        layers = [
            ("one", pyref.Dense(w, fractions([1, 2]))),
            pyref.ReLU(),
            ("two", pyref.Dense(w, fractions([1, 1]) + t)),
        ]
        return pyref.full_gradient(pyref.Network.sequential(layers), fractions([[1, 1]]), 0)

    before, after = parts(0), parts(F(5, 2))
    assert_equal(after.values, before.values)
    assert_equal(after.biases["one"], before.biases["one"])
    assert_equal(after.biases["two"], before.biases["two"] + fractions([["5/2", 0]]))


def float_networks():
    """Layers that exist in floating point only, and those with offsets of unusual kinds."""
    rng = np.random.default_rng(0)

    def w(*shape):
        return rng.normal(size=shape)

    head = [pyref.Flatten(), pyref.Dense(w(48, 3), w(3))]
    for activation in (
        pyref.Sigmoid(),
        pyref.Softplus(),
        pyref.ELU(),
        pyref.GELU(),
        pyref.HardSigmoid(),
        pyref.ReLU6(),
    ):
        yield type(activation).__name__, [pyref.Conv(w(3, 2, 3, 3), w(3), padding=1), activation, *head], (2, 4, 4)
    yield (
        "norms",
        [pyref.GroupNorm(1, w(3), w(3)), pyref.InstanceNorm(w(3), w(3)), pyref.LocalResponseNorm(3), *head],
        (3, 4, 4),
    )
    yield (
        "layer norm",
        [pyref.Dense(w(5, 4), w(4)), pyref.LayerNorm(w(4), w(4)), pyref.Tanh(), pyref.Dense(w(4, 2))],
        (5,),
    )
    yield (
        "padding",
        [pyref.Pad(((0, 0), (1, 1), (1, 0)), value=3.0), pyref.Conv(w(3, 2, 3, 2)), pyref.ReLU(), *head],
        (2, 4, 4),
    )
    yield "shift and scale", [pyref.Shift(w(5)), pyref.Scale(w(5)), pyref.Tanh(), pyref.Dense(w(5, 2), w(2))], (5,)
    lstm = pyref.LSTM((w(3, 8), w(3, 8)), (w(2, 8), w(2, 8)), (w(8), w(8)), bidirectional=True)
    yield "LSTM", [lstm, pyref.Flatten(), pyref.Dense(w(20, 2), w(2))], (5, 3)
    yield "GRU", [pyref.GRU(w(3, 6), w(2, 6), w(6), output="last"), pyref.Dense(w(2, 2), w(2))], (5, 3)
    up = [pyref.Upsample(scale=2, mode="bilinear"), pyref.BatchNorm(w(2), w(2)), pyref.SiLU(), pyref.AvgPool(2)]
    yield "upsample", [*up, pyref.Flatten(), pyref.Dense(w(8, 2), w(2)), pyref.Softmax()], (2, 2, 2)


@pytest.mark.parametrize(("layers", "shape"), [n[1:] for n in float_networks()], ids=[n[0] for n in float_networks()])
def test_nothing_is_left_over_in_floats(layers, shape):
    network = pyref.Network.sequential(layers, shape=shape)
    x = np.random.default_rng(1).normal(size=(3, *shape))
    a = pyref.full_gradient(network, x, 1, softmax="keep")
    record = network.forward(x)
    terms = sum(float(np.sum(np.abs(p))) for p in [*record.values(), *all_parts(a)])
    assert np.max(np.abs(a.delta)) <= rounding(100, terms)
    assert np.max(np.abs(a.delta)) < 2.0**-20 * np.max(np.abs(a.output))


def test_only_a_cut_is_complete():
    network = pyref.Network(
        [("a", pyref.Dense(np.eye(2)), "x"), ("b", pyref.Tanh(), "x"), ("c", pyref.Add(), ("a", "b"))], ["x"]
    )
    x = np.ones((1, 2))
    assert pyref.full_gradient(network, x, 0, at="a").delta is None
    assert np.max(np.abs(pyref.full_gradient(network, x, 0, at=["a", "b"]).delta)) <= rounding(10, 4)


def test_split_and_concat():
    draw = SeededDraw(2)
    network = pyref.Network(
        [
            ("split", pyref.Split((1, 2)), "x"),
            ("a", pyref.Dense(draw.fractions((1, 2)), draw.fractions(2)), ("split", 0)),
            ("b", pyref.Dense(draw.fractions((2, 2)), draw.fractions(2)), ("split", 1)),
            ("join", pyref.Concat(), ("a", "b")),
        ],
        {"x": (3,)},
    )
    x = draw.fractions((2, 3))
    assert (pyref.full_gradient(network, x, 2).delta == 0).all()


# ── FullGrad ───────────────────────────────────────────────────────────────────────────────────────────


def image_network(exact=True):
    draw = SeededDraw(3, "fullgrad")

    def numbers(*shape):
        v = draw.fractions(shape)
        return v if exact else v.astype(float)

    layers = [
        ("conv1", pyref.Conv(numbers(2, 2, 2, 2), numbers(2) + 1)),  # 4 × 5 → 3 × 4
        ("relu1", pyref.ReLU()),
        ("norm", pyref.BatchNorm(numbers(2) + 3, numbers(2) + 5)),
        ("conv2", pyref.Conv(numbers(3, 2, 2, 2))),  # 2 × 3, no bias
        ("tanh", pyref.HardSigmoid(F(1, 4), F(1, 2))),
        ("flat", pyref.Flatten()),
        ("dense", pyref.Dense(numbers(18, 2), numbers(2) + 1)),
    ]
    return pyref.Network.sequential(layers, shape=(2, 4, 5)), numbers(2, 2, 4, 5)


def stretched(v, height, width):
    """Bilinear, corners on corners: the value of the interpolant at each point, by its four neighbours."""
    h, w = v.shape
    out = np.empty((height, width), dtype=object)
    for i in range(height):
        for j in range(width):
            p, q = F(i * (h - 1), height - 1), F(j * (w - 1), width - 1)
            total = F(0)
            for k in range(h):
                for m in range(w):
                    total += max(F(0), 1 - abs(p - k)) * max(F(0), 1 - abs(q - m)) * v[k, m]
            out[i, j] = total
    return out


def defined(parts, psi, scope, shape):
    """Σ over parts and channels of ψ, sample by sample."""
    n = parts[0].shape[0]
    out = np.full((n, 1, *shape), F(0), dtype=object)
    for part in parts:
        for s in range(n):
            for c in range(part.shape[1]):
                v = part[s, c] if psi == "signed" else abs(part[s, c])
                if psi == "paper":
                    over = abs(part[s, c] if scope == "channel" else part[s])
                    v = (v - over.min()) / (over.max() - over.min() + F(1, 10**6))
                out[s, 0] = out[s, 0] + stretched(v, *shape)
    return out


@pytest.mark.parametrize("psi", ["paper", "signed", "mnist"])
@pytest.mark.parametrize("scope", ["layer", "channel"])
@pytest.mark.parametrize("terms", ["explicit", "all"])
def test_fullgrad_is_its_definition(psi, scope, terms):
    network, x = image_network()
    full = pyref.full_gradient(network, x, 1)
    nodes = ["norm", "conv1"] if terms == "explicit" else ["tanh", "norm", "conv1"]
    a = pyref.fullgrad(network, x, 1, psi=psi, scope=scope, terms=terms)
    assert a.settings["nodes"] == nodes
    assert_equal(a.values, defined([full.values, *(full.biases[n] for n in nodes)], psi, scope, (4, 5)))


def test_simple_fullgrad_leaves_the_biases_out():
    network, x = image_network()
    G = pyref.gradient(network, x, 1).signals
    parts = [pyref.gradient_times_input(network, x, 1).values, G["norm", 0], G["conv1", 0]]
    a = pyref.fullgrad(network, x, 1, variant="simple")
    assert_equal(a.values, defined(parts, "paper", "layer", (4, 5)))


def test_smooth_fullgrad_without_noise_is_fullgrad():
    network, x = image_network(exact=False)
    plain = pyref.fullgrad(network, x, 1, psi="signed").values
    still = pyref.fullgrad(network, x, 1, psi="signed", variant="smooth", level=0, samples=3).values
    assert np.max(np.abs(plain - still)) <= rounding(100, float(np.sum(np.abs(plain))))
    noisy = pyref.fullgrad(network, x, 1, variant="smooth", samples=3)
    again = pyref.fullgrad(network, x[1:], 1, variant="smooth", samples=3, indices=[1])
    assert (noisy.values[1:] == again.values).all()


def test_the_map_sums_to_the_output_only_with_everything_in_it():
    """Without ψ and resizing, input and image terms sum to S_c less the terms of the dense layer."""
    draw = SeededDraw(4, "fullgrad")
    layers = [
        pyref.Conv(draw.fractions((2, 1, 3, 3)), draw.fractions(2) + 1, padding=1),
        pyref.ReLU(),
        pyref.Flatten(),
        ("dense", pyref.Dense(draw.fractions((18, 1)), fractions([3]))),
    ]
    network = pyref.Network.sequential(layers, shape=(1, 3, 3))
    x = draw.fractions((2, 1, 3, 3))
    a = pyref.fullgrad(network, x, psi="signed")
    assert_equal(a.total + 3, network(x)[:, 0])


def test_errors():
    network, x = image_network()
    for options, match in (
        ({"psi": "abs"}, "psi is 'abs', expected one of"),
        ({"scope": "image"}, "scope is 'image'"),
        ({"terms": "some"}, "terms is 'some'"),
        ({"variant": "rough"}, "variant is 'rough'"),
        ({"at": ["conv1", "norm"]}, "there are several inputs: conv1, norm"),
        ({"at": "dense"}, r"dense has shape \(2, 2\), expected an image"),
        ({"variant": "smooth", "samples": 0}, "samples is 0"),
    ):
        with pytest.raises(ValueError, match=match):
            pyref.fullgrad(network, x, 1, **options)
