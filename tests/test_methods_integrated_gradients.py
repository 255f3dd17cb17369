"""Integrated Gradients: the exact form against independent constructions, the quadratures against their orders."""

from dataclasses import dataclass
from fractions import Fraction as F
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from bound import rounding
from exact import assert_equal, assert_exact, fractions

import pyref
from pyref.methods.piecewise import straight_ends
from pyref.methods.quadrature import QUADRATURES, quadrature_nodes
from pyref.theorems.draw import SeededDraw
from pyref.theorems.networks import any_network, input_for, mlp, target_for

CASES = range(25)


def size(values):
    """Σ |values|, to which rounding is relative."""
    return float(np.sum(np.abs(values)))


def smooth_network(sizes=(5, 7, 6, 3), activation=None, seed=0):
    rng = np.random.default_rng(seed)
    layers = []
    for i, o in pairwise(sizes):
        layers += [pyref.Dense(rng.normal(size=(i, o)), rng.normal(size=o)), activation or pyref.Softplus()]
    return pyref.Network.sequential(layers[:-1]), rng.normal(size=(4, sizes[0]))


# ── exact ──────────────────────────────────────────────────────────────────────────────────────────────


def figure_14():
    """Two networks that compute the same function, [sundararajan2016] Fig. 14, and its input."""
    one, two = fractions([[1, 0], [0, 1]]), fractions([[1], [-1]])
    relu, dense = pyref.ReLU, pyref.Dense
    f = pyref.Network.sequential([dense(one), relu(), dense(two, fractions([-1])), relu()])
    g = pyref.Network.sequential([dense(one, fractions([-1, 0])), relu(), dense(two), relu()])
    return f, g, fractions([[3, 1]])


@pytest.mark.parametrize("which", [0, 1])
def test_figure_14(which):
    """The paper prints (2, -1); the integral is (3/2, -1/2), for both."""
    network, x = figure_14()[which], figure_14()[2]
    a = pyref.integrated_gradients(network, x)
    assert_equal(a.values, fractions([["3/2", "-1/2"]]))
    assert a.quadrature == f"exact, {which + 2} pieces" and a.settings["pieces"] == [which + 2]
    assert_equal(a.delta, fractions([0]))


def test_saturation():
    """f = 1 - ReLU(1 - x) at 2: the gradient is 0, the integral 1."""
    w = fractions([[-1]])
    network = pyref.Network.sequential([pyref.Dense(w, fractions([1])), pyref.ReLU(), pyref.Dense(w, fractions([1]))])
    assert_equal(pyref.integrated_gradients(network, fractions([[2]])).values, fractions([[1]]))
    assert_equal(pyref.gradient(network, fractions([[2]])).values, fractions([[0]]))


@dataclass(frozen=True)
class ExampleOne(pyref.Layer):
    """x_1 + 3 x_2 where both ≤ 1, 3 x_1 + x_2 where both > 1, else 0. [srinivas2019] Example 1: not continuous."""

    def slopes(self, x):
        low, high = np.all(x <= 1, axis=1, keepdims=True), np.all(x > 1, axis=1, keepdims=True)
        return np.where(low, fractions([[1, 3]]), np.where(high, fractions([[3, 1]]), fractions([[0, 0]])))

    def forward(self, backend, x):
        return np.sum(self.slopes(x) * x, axis=1, keepdims=True)

    def gradient(self, backend, x, y, G):
        return (self.slopes(x[0]) * G,)

    def tangent(self, backend, x, y, dx):
        return np.sum(self.slopes(x[0]) * dx[0], axis=1, keepdims=True)


@pytest.mark.parametrize(("x", "m", "worked"), [("4 4", 4, "10 6"), ("3/2 3/2", 3, "5/2 7/2"), ("2 2", 2, "4 4")])
def test_example_1_of_fullgrad(x, m, worked):
    """Cells that end where the function bends make the midpoint rule exact."""
    network = pyref.Network.sequential([ExampleOne()])
    a = pyref.integrated_gradients(network, fractions([x.split()]), quadrature="midpoint", m=m)
    assert_equal(a.values, fractions([worked.split()]))
    assert_equal(a.delta, fractions([0]))


def test_example_1_is_incomplete_off_the_diagonal():
    network = pyref.Network.sequential([ExampleOne()])
    a = pyref.integrated_gradients(network, fractions([[3, 2]]), quadrature="midpoint", m=6)
    assert_equal(a.values, fractions([["11/2", "3"]]))
    assert_equal(a.expected, fractions([11]))


@pytest.mark.parametrize("case", CASES)
def test_exact_form_is_complete(case):
    """Σ r = ΔS with == for any graph, baseline and target; at inner cuts too."""
    draw = SeededDraw(0, "IG", case)
    network = any_network(draw)
    x, baseline = input_for(draw, network), input_for(draw, network)
    if draw.boolean():
        baseline = 0 * baseline
    c = target_for(draw, network, x)
    a = pyref.integrated_gradients(network, x, c, baseline=baseline)
    assert_exact(a.values, a.expected)
    assert a.quadrature.startswith("exact")
    assert (a.expected == network(x)[:, c] - network(baseline)[:, c]).all()
    assert (a.delta == 0).all()
    assert not a.values[x == baseline].any()
    last = next(reversed(network.nodes.values())).inputs[0][0]
    assert (pyref.sum_samples(a.at(last)) == a.expected).all()


def knots(function):
    """α at which a scalar piecewise linear function of α, {α: value}, is given."""
    return sorted(function)


def value_at(function, alpha):
    points = knots(function)
    for p, q in pairwise(points):
        if p <= alpha <= q:
            return function[p] + (function[q] - function[p]) * (alpha - p) / (q - p)
    raise AssertionError(alpha)


def bends(network, x, baseline):
    """Every α where some unit of a chain of dense layers and ReLUs bends, by carrying each unit as a graph over α."""
    units = [{F(0): baseline[0, i], F(1): x[0, i]} for i in range(x.shape[1])]
    for node in network.nodes.values():
        if isinstance(node.layer, pyref.Dense):
            grid = sorted({alpha for u in units for alpha in u})
            w, b = node.layer.w, node.layer.b
            units = [
                {
                    a: sum(value_at(u, a) * w[i, o] for i, u in enumerate(units)) + (b[o] if b is not None else 0)
                    for a in grid
                }
                for o in range(w.shape[1])
            ]
        else:
            after = []
            for u in units:
                points = set(u)
                for p, q in pairwise(knots(u)):
                    if u[p] * u[q] < 0:
                        points.add(p + (q - p) * u[p] / (u[p] - u[q]))
                slope = node.layer.slope if isinstance(node.layer, pyref.LeakyReLU) else 0
                after.append({a: v if (v := value_at(u, a)) > 0 else slope * v for a in points})
            units = after
    return sorted({alpha for u in units for alpha in u})


@pytest.mark.parametrize("case", CASES)
def test_exact_form_is_the_sum_over_pieces_found_by_hand(case):
    draw = SeededDraw(1, "IG", case)
    network = mlp(draw)
    x, baseline = input_for(draw, network), input_for(draw, network)
    c = target_for(draw, network, x)
    want = 0 * x
    for p, q in pairwise(bends(network, x, baseline)):
        middle = baseline + (p + q) / 2 * (x - baseline)
        want = want + (q - p) * pyref.gradient(network, middle, c).values * (x - baseline)
    assert_equal(pyref.integrated_gradients(network, x, c, baseline=baseline).values, want)


@pytest.mark.parametrize("case", CASES)
def test_one_hidden_layer_has_a_closed_form(case):
    """r_i = Δx_i Σ_h w_ih q(z_h, z̄_h) v_h: what DeepLIFT Rescale says, and Integrated Gradients for one layer."""
    draw = SeededDraw(2, "IG", case)
    network = mlp(draw, depth=1)
    x, baseline = input_for(draw, network), input_for(draw, network)
    c = target_for(draw, network, x)
    a = pyref.integrated_gradients(network, x, c, baseline=baseline)
    assert_equal(a.values, pyref.deeplift(network, x, c, baseline=baseline).values)


def test_a_batch_is_its_samples():
    draw = SeededDraw(3)
    network = mlp(draw, depth=3, inputs=3, width=4)
    x = draw.fractions((4, 3))
    together = pyref.integrated_gradients(network, x, 0)
    for n in range(4):
        alone = pyref.integrated_gradients(network, x[n : n + 1], 0)
        assert_equal(alone.values, together.values[n : n + 1])
        assert alone.settings["pieces"] == together.settings["pieces"][n : n + 1]
    adaptive = pyref.integrated_gradients(network, x, 0, quadrature="adaptive", m=20)
    alone = pyref.integrated_gradients(network, x[1:2], 0, quadrature="adaptive", m=20)
    assert_equal(alone.values, adaptive.values[1:2])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_exact_form_in_floats(dtype):
    network, x = smooth_network((6, 20, 15, 2), pyref.ReLU())
    network = network.with_layers(
        {
            name: pyref.Dense(node.layer.w.astype(dtype), node.layer.b.astype(dtype))
            for name, node in network.nodes.items()
            if isinstance(node.layer, pyref.Dense)
        }
    )
    x = x.astype(dtype)
    a = pyref.integrated_gradients(network, x, 1)
    assert a.values.dtype == dtype and a.quadrature.startswith("exact")
    record = network.forward(x)
    terms = sum(size(record[name]) for name in network.nodes) * 20
    assert np.max(np.abs(a.delta)) <= rounding(6 + 20 + 15, terms, dtype)
    fine = pyref.integrated_gradients(network, x, 1, quadrature="midpoint", m=1000)
    assert np.max(np.abs(fine.values - a.values)) <= max(a.settings["pieces"]) / 1000 * size(a.values)


def test_exact_form_cuts_where_pooling_changes_its_winner():
    """max(x_1, x_2) from (1, 0) to (0, 2): x_1 wins on the first third."""
    network = pyref.Network.sequential([pyref.MaxPool(2)])
    x, baseline = fractions([[[0, 2]]]), fractions([[[1, 0]]])
    a = pyref.integrated_gradients(network, x, lambda S: 0 * S + 1, baseline=baseline)
    assert_equal(a.values, fractions([[["-1/3", "4/3"]]]))
    assert a.settings["pieces"] == [2]


# ── quadratures ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("quadrature", QUADRATURES)
@pytest.mark.parametrize("m", [2, 3, 50, 97])
def test_weights_sum_to_one(quadrature, m):
    nodes, weights = quadrature_nodes(quadrature, m)
    assert len(nodes) == len(weights) == m and nodes == sorted(nodes) and 0 <= nodes[0] <= nodes[-1] <= 1
    if quadrature == "gauss_legendre":
        assert abs(sum(weights) - 1) <= rounding(m, 1)
    else:
        assert sum(weights) == 1 and isinstance(sum(weights), F)


@pytest.mark.parametrize(
    ("quadrature", "order"), [("left", 1), ("right", 1), ("midpoint", 2), ("trapezoid", 2)], ids=str
)
def test_orders_of_convergence(quadrature, order):
    """Doubling m divides the residual by 2^order, up to higher orders of 1/m."""
    network, x = smooth_network()
    residuals = [
        np.abs(pyref.integrated_gradients(network, x, 0, quadrature=quadrature, m=m).delta)
        for m in ((64, 128) if quadrature != "trapezoid" else (65, 129))
    ]
    assert np.max(np.abs(residuals[0] / residuals[1] / 2**order - 1)) < 1 / 16


def test_gauss_legendre_converges_on_smooth_networks():
    network, x = smooth_network()
    a = pyref.integrated_gradients(network, x, 0)
    assert a.quadrature == "gauss_legendre, 64 nodes"
    record = network.forward(x)
    assert np.max(np.abs(a.delta)) <= rounding(64, sum(size(record[n]) for n in network.nodes))


@pytest.mark.parametrize("m", [2, 5, 50])
def test_without_biases_rules_that_sample_the_baseline_come_out_low(m):
    """At α = 0 every unit sits at its kink, where the gradient is 0; elsewhere it is constant on the segment."""
    draw = SeededDraw(4)
    network = mlp(draw, (pyref.ReLU(),), bias=False, depth=2, inputs=3, width=4)
    x = draw.fractions((2, 3))
    true = pyref.integrated_gradients(network, x, 0)
    assert true.settings["pieces"] == [1, 1] and true.values.any()
    assert_equal(true.values, pyref.gradient_times_input(network, x, 0).values)
    factor = {"left": F(m - 1, m), "right": F(1), "midpoint": F(1), "trapezoid": 1 - F(1, 2 * (m - 1))}
    for quadrature, share in factor.items():
        got = pyref.integrated_gradients(network, x, 0, quadrature=quadrature, m=m).values
        assert_equal(got, share * true.values)


@pytest.mark.parametrize("quadrature", ["left", "right", "midpoint", "trapezoid", "gauss_legendre"])
def test_a_straight_line_is_the_weighted_sum_of_gradients(quadrature):
    network, x = smooth_network()
    baseline = np.linspace(-1, 1, x.shape[1])
    a = pyref.integrated_gradients(network, x, 2, baseline=baseline, quadrature=quadrature, m=7)
    terms = [
        v * pyref.gradient(network, baseline + float(alpha) * (x - baseline), 2).values * (x - baseline)
        for alpha, v in zip(*quadrature_nodes(quadrature, 7), strict=True)
    ]
    want = sum(np.asarray(t, dtype=float) for t in terms)
    assert np.max(np.abs(a.values - want)) <= rounding(100, sum(size(t.astype(float)) for t in terms))


def test_adaptive_reports_a_bound_of_its_residual():
    network, x = smooth_network((4, 6, 6, 1), pyref.ReLU())
    a = pyref.integrated_gradients(network, x, quadrature="adaptive", tolerance=1e-3)
    error = a.settings["error"]
    assert (error <= 1e-3).all()
    assert (np.abs(a.delta) <= error + rounding(1000, size(a.values))).all()
    exact = pyref.integrated_gradients(network, x)
    assert np.max(np.abs(a.values - exact.values)) < 1e-2 < np.max(np.abs(exact.values))
    starved = pyref.integrated_gradients(network, x, quadrature="adaptive", tolerance=1e-9, m=12)
    assert starved.settings["gradients"] <= 12 * len(x) and (starved.settings["error"] > 1e-9).any()


# ── paths ──────────────────────────────────────────────────────────────────────────────────────────────


def product():
    return pyref.Network(
        [("a", pyref.Slice((1,), (0,), (1,)), "x"), ("b", pyref.Slice((1,), (1,), (2,)), "x"),
         ("ab", pyref.Multiply(), ("a", "b"))],
        {"x": (2,)},
    )  # fmt: skip


def test_the_path_matters():
    """S = x_1 x_2 at (1, 1): the straight line shares equally, an axis path gives all to the second step."""
    x, origin = fractions([[1, 1]]), fractions([[0, 0]])
    straight = pyref.integrated_gradients(product(), x, quadrature="midpoint", m=3)
    assert_equal(straight.values, fractions([["1/2", "1/2"]]))
    axis = pyref.integrated_gradients(product(), x, path=[origin, fractions([[1, 0]]), x], quadrature="trapezoid", m=2)
    assert_equal(axis.values, fractions([[0, 1]]))
    as_array = pyref.integrated_gradients(
        product(), x, path=fractions([[0, 0], [1, 0], [1, 1]]), quadrature="left", m=1
    )
    assert_equal(as_array.values, fractions([[0, 1]]))
    for a in (straight, axis, as_array):
        assert_equal(a.expected, fractions([1]))


@pytest.mark.parametrize("quadrature", ["left", "right", "midpoint", "trapezoid"])
def test_riemann_forms_on_a_curve(quadrature):
    """Each gradient times the step of γ over its cell; the trapezoid rule averages neighbouring gradients."""
    m = 5
    x = fractions([[2, "1/3"]])

    def gamma(alpha):
        return np.stack([x[:, 0] * alpha * alpha, x[:, 1] * alpha], axis=1)

    def G(alpha):
        return pyref.gradient(product(), gamma(alpha)).values

    def step(a, b):
        return gamma(b) - gamma(a)

    want = {
        "left": lambda: sum(G(F(k, m)) * step(F(k, m), F(k + 1, m)) for k in range(m)),
        "right": lambda: sum(G(F(k, m)) * step(F(k - 1, m), F(k, m)) for k in range(1, m + 1)),
        "midpoint": lambda: sum(G(F(2 * k + 1, 2 * m)) * step(F(k, m), F(k + 1, m)) for k in range(m)),
        "trapezoid": lambda: sum(
            (G(F(k, m - 1)) + G(F(k + 1, m - 1))) / 2 * step(F(k, m - 1), F(k + 1, m - 1)) for k in range(m - 1)
        ),
    }[quadrature]()
    assert_equal(pyref.integrated_gradients(product(), x, path=gamma, quadrature=quadrature, m=m).values, want)


def test_a_curve_with_its_derivative():
    """γ = (α² x_1, α x_2) on S = x_1 x_2: ∫ α x_2 · 2 α x_1 dα = 2/3 S, the rest is x_2's."""
    x = np.array([[2.0, 3.0]])

    def gamma(alpha):
        return np.stack([x[:, 0] * alpha**2, x[:, 1] * alpha], axis=1)

    def velocity(alpha):
        return np.stack([2 * alpha * x[:, 0], x[:, 1]], axis=1)

    a = pyref.integrated_gradients(product(), x, path=(gamma, velocity), quadrature="gauss_legendre", m=4)
    assert np.max(np.abs(a.values - [[4.0, 2.0]])) <= rounding(20, 6)


def test_exact_form_on_a_polyline():
    draw = SeededDraw(5)
    network = mlp(draw, depth=2, inputs=3, width=4)
    points = [draw.fractions((2, 3)) for _ in range(4)]
    a = pyref.integrated_gradients(network, points[-1], 0, path=points)
    assert a.quadrature.startswith("exact")
    assert_equal(a.expected, network(points[-1])[:, 0] - network(points[0])[:, 0])
    assert (a.delta == 0).all()
    legs = sum(pyref.integrated_gradients(network, q, 0, baseline=p).values for p, q in pairwise(points))
    assert_equal(a.values, legs)


def test_several_baselines_are_averaged():
    draw = SeededDraw(6)
    network = mlp(draw, depth=2, inputs=3)
    x, one, two = (draw.fractions((2, 3)) for _ in range(3))
    both = pyref.integrated_gradients(network, x, 0, baseline=[one, two])
    apart = [pyref.integrated_gradients(network, x, 0, baseline=b) for b in (one, two)]
    assert_equal(both.values, (apart[0].values + apart[1].values) / 2)
    assert (both.delta == 0).all()


# ── axioms, exactly ────────────────────────────────────────────────────────────────────────────────────


def test_axioms():
    """Dummy, additivity, affine reparametrisation with the baseline mapped, proportionality of H(Σ x_i)."""
    draw = SeededDraw(7)
    w1, b1, w2 = draw.fractions((3, 5)), draw.fractions(5), draw.fractions((5, 2))
    w1[2] = F(0) * w1[2]  # the third input is a dummy
    layers = [pyref.Dense(w1, b1), pyref.ReLU(), pyref.Dense(w2)]
    x, baseline = draw.fractions((3, 3)), draw.fractions((3, 3))
    each = [
        pyref.integrated_gradients(pyref.Network.sequential(layers), x, c, baseline=baseline).values for c in (0, 1)
    ]
    assert not each[0][:, 2].any()
    added = [*layers, pyref.Dense(fractions([[2], [-3]]))]
    total = pyref.integrated_gradients(pyref.Network.sequential(added), x, baseline=baseline).values
    assert_equal(total, 2 * each[0] - 3 * each[1])
    scale, shift = fractions([2, -3, "1/2"]), fractions([1, -1, 4])
    moved = pyref.Network.sequential([pyref.BatchNorm(1 / scale, -shift / scale), *layers])
    again = pyref.integrated_gradients(moved, x * scale + shift, 0, baseline=baseline * scale + shift)
    assert_equal(again.values, each[0])
    ridge = [
        pyref.Dense(fractions([[1, 2]] * 3), fractions([-1, 1])),
        pyref.ReLU(),
        pyref.Dense(fractions([[3], [-1]])),
    ]
    x = np.abs(x) + 1
    r = pyref.integrated_gradients(pyref.Network.sequential(ridge), x).values
    assert_equal(r * np.sum(x, axis=1, keepdims=True), x * np.sum(r, axis=1, keepdims=True))


# ── everywhere else ────────────────────────────────────────────────────────────────────────────────────


def test_conductance_is_complete_at_every_cut():
    network, x = smooth_network()
    a = pyref.integrated_gradients(network, x, 1)
    for name in network.nodes:
        gap = pyref.sum_samples(a.at(name)) - a.expected
        assert np.max(np.abs(gap)) <= rounding(64 * 7, size(a.at(name)))


def test_at_an_inner_node_the_path_runs_there():
    draw = SeededDraw(8)
    network = mlp(draw, depth=2, inputs=3, width=4)
    x = draw.fractions((2, 3))
    name = list(network.nodes)[1]
    a = pyref.integrated_gradients(network, x, 0, at=name)
    top = pyref.Network([n for k, n in enumerate(network.nodes.values()) if k > 1], inputs={name: None})
    assert_equal(a.values, pyref.integrated_gradients(top, network.forward(x)[name], 0).values)
    first = next(iter(network.nodes))
    behind = pyref.integrated_gradients(network, x, 0, at=[first, name])
    assert not behind.values[first].any()
    assert_equal(behind.values[name], a.values)


def test_several_inputs_and_embedded_ids():
    rng = np.random.default_rng(0)
    network = pyref.Network(
        [
            ("lookup", pyref.Embedding(rng.normal(size=(6, 3))), "ids"),
            ("lstm", pyref.LSTM(rng.normal(size=(3, 8)), rng.normal(size=(2, 8)), rng.normal(size=8)), "lookup"),
            ("flat", pyref.Flatten(), "lstm"),
            ("join", pyref.Concat(), ("flat", "x")),
            ("out", pyref.Dense(rng.normal(size=(4 * 2 + 3, 2)), rng.normal(size=2)), "join"),
        ],
        {"ids": (4,), "x": (3,)},
    )
    x = {"ids": np.array([[1, 2, 0, 5], [3, 3, 4, 0]]), "x": rng.normal(size=(2, 3))}
    a = pyref.integrated_gradients(network, x, 1, baseline={"ids": np.zeros((1, 4), dtype=int), "x": 0.5})
    assert a.values["ids"].shape == (2, 4) and a.values["x"].shape == (2, 3)
    assert a.at("lookup").shape == (2, 4, 3) and a.quadrature.startswith("gauss_legendre")
    assert not a.values["ids"][0, 2] and not a.values["ids"][1, 3]  # the baseline's own id
    assert np.max(np.abs(a.delta)) <= rounding(64 * 30, size(a.at("lookup")) + size(a.values["x"]))


def test_what_auto_chooses():
    x = np.ones((1, 3))
    dense, wide = pyref.Dense(np.ones((3, 2))), pyref.Dense(np.ones((3, 5000)))

    def chosen(*layers, **options):
        a = pyref.integrated_gradients(pyref.Network.sequential(layers), x, 0, **options)
        return a.settings["quadrature"], a.settings["m"]

    assert chosen(dense, pyref.ReLU())[0] == "exact"
    assert chosen(wide, pyref.ReLU()) == ("midpoint", 100)
    assert chosen(dense, pyref.ReLU(), m=10) == ("midpoint", 10)
    assert chosen(dense, pyref.Tanh()) == ("gauss_legendre", 64)
    assert chosen(dense, pyref.Tanh(), pyref.ReLU()) == ("midpoint", 100)
    assert chosen(wide, pyref.ReLU(), at="relu1") == ("exact", 100_000)
    assert chosen(dense, pyref.ReLU(), path=lambda alpha: alpha * x) == ("midpoint", 100)
    assert chosen(dense, pyref.ReLU(), pyref.Softmax(), softmax="keep") == ("midpoint", 100)


def test_progress_sees_every_gradient():
    network, x = smooth_network()
    seen = []

    def count(steps):
        for step in steps:
            seen.append(step)
            yield step

    pyref.integrated_gradients(network, x, 0, m=9, batch_size=1, progress=count)
    assert len(seen) == 9 * len(x)


def test_gradients_are_evaluated_together():
    """As many as are asked for, and none is lost at the end; exact arithmetic says that it is the same sum."""
    network = pyref.Network.sequential(
        [pyref.Dense(fractions([[1, -2], [3, 1]])), pyref.ReLU(), pyref.Dense(fractions([[1], [1]]))]
    )
    x = fractions([[2, 5], [-1, 3], [4, 0]])
    forward, sizes = network.forward, []
    network.forward = lambda x, *rest, **more: sizes.append(len(x["x"])) or forward(x, *rest, **more)
    for quadrature in ("midpoint", "trapezoid", "right"):
        want = pyref.integrated_gradients(network, x, quadrature=quadrature, m=5, batch_size=1)
        sizes.clear()
        got = pyref.integrated_gradients(network, x, quadrature=quadrature, m=5, batch_size=7)
        assert sizes == [3, 3, 5, 5, 5]  # at x and at the start; then all nodes of one sample after the other
        assert_equal(got.values, want.values)
        assert_equal(got.at("relu1"), want.at("relu1"))
    curve = {"path": lambda alpha: x * alpha * alpha, "m": 5}
    one, five = (pyref.integrated_gradients(network, x, batch_size=k, **curve) for k in (1, 99))
    assert_equal(one.values, five.values)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("quadrature", ["left", "midpoint", "trapezoid"])
def test_a_straight_line_goes_through_affine_nodes_once_and_nothing_changes(case, quadrature):
    """Σ_k v_k ∂S(γ(α_k)) ⊙ (x - x̄) with == on any graph, from the inputs and from an inner node."""
    draw = SeededDraw(9, "line", case)
    network = any_network(draw)
    x, baseline = input_for(draw, network), input_for(draw, network)
    c = target_for(draw, network, x)
    inner = draw.choice([None, *(n for n in network.nodes if (n, 0) not in network.outputs)])
    start, end = (v if inner is None else network.forward(v)[inner] for v in (baseline, x))

    def gradient(at):
        if inner is None:
            return pyref.gradient(network, at, c).values
        run = pyref.methods.method.start(network, x, c, at=inner)
        return run.moved({inner: at}).gradients()[inner, 0]

    pairs = list(zip(*quadrature_nodes(quadrature, 5), strict=True))
    want = sum(v * gradient(start + alpha * (end - start)) * (end - start) for alpha, v in pairs)
    for size in (1, 3, None):
        options = {"baseline": start, "quadrature": quadrature, "m": 5, "batch_size": size, "at": inner}
        assert_equal(pyref.integrated_gradients(network, x, c, **options).values, want)


def test_where_straight_lines_end():
    rng = np.random.default_rng(0)
    conv, dense = pyref.Conv(rng.normal(size=(3, 2, 3, 3)), padding=1), pyref.Dense(rng.normal(size=(75, 2)))
    nodes = [
        ("conv", conv, "x"), ("pool", pyref.AvgPool(2, padding=0), "conv"), ("relu", pyref.ReLU(), "pool"),
        ("max", pyref.MaxPool(2), "conv"), ("sum", pyref.Add(), ("max", "relu")), ("flat", pyref.Flatten(), "sum"),
        ("out", pyref.Dense(rng.normal(size=(75, 2))), "flat"),
    ]  # fmt: skip
    network, x = pyref.Network(nodes, {"x": (2, 10, 10)}), rng.normal(size=(2, 2, 10, 10))

    def ends(network, **options):
        return {ref[0] for ref in straight_ends(pyref.methods.method.start(network, x, 0, **options))}

    assert ends(network) == {"conv", "pool"}  # the maximum reads one of them, the ReLU the other
    assert ends(network, at="relu") == {"out"}  # what the maximum adds does not move
    assert ends(network, at=["conv", "relu"]) == {"conv", "relu"}
    affine = pyref.Network.sequential([conv, pyref.AvgPool(2), pyref.Flatten(), dense], shape=(2, 10, 10))
    assert ends(affine) == {"dense1"}
    seen = []
    spy = SimpleNamespace(
        **vars(pyref) | {"conv_forward": lambda x, *a, **o: seen.append(len(x)) or pyref.conv_forward(x, *a, **o)}
    )
    a = pyref.integrated_gradients(network, x, 0, m=20, backend=spy)
    assert seen == [2, 2, 2, 2], "the run, the output at the start, and the line's ends; never the nodes between"
    assert a.settings["gradients"] == 20


def test_inner_values_are_integrated_when_they_are_asked_for():
    network, x = smooth_network()
    tangent, asked = network.tangent, []
    network.tangent = lambda *arguments: asked.append(1) or tangent(*arguments)
    a = pyref.integrated_gradients(network, x, 0, m=9, batch_size=1)
    assert not asked
    assert a.at("dense1").shape == (len(x), 7)
    assert len(asked) == 9
    assert np.array_equal(a.at("x"), a.values)
    assert len(asked) == 9


def test_errors():
    network, x = smooth_network()
    relu = pyref.Network.sequential([pyref.Dense(np.eye(5)), pyref.ReLU(), pyref.Dense(np.ones((5, 1)), np.ones(1))])

    def refused(match, of=network, error=ValueError, **options):
        with pytest.raises(error, match=match):
            pyref.integrated_gradients(of, x, 0, **options)

    refused("batch_size is 0, expected a whole number, at least 1", batch_size=0)

    refused(r"node 'softplus1' \(Softplus\) is not piecewise linear; use another quadrature", quadrature="exact")
    refused("quadrature='exact' needs a path of straight lines", relu, quadrature="exact", path=lambda alpha: alpha * x)
    refused("more than 1 linear pieces", relu, quadrature="exact", m=1, baseline=x[:, ::-1] - 1)
    refused("baseline and path are both given", baseline=0, path=lambda alpha: alpha * x)
    refused("tolerance belongs to quadrature='adaptive'", tolerance=1e-3)
    refused("quadrature is 'simpson', expected one of 'auto', 'exact'", quadrature="simpson")
    refused("m is 0, expected a whole number of nodes, at least 1", quadrature="left", m=0)
    refused("m is 1, expected at least 2 nodes", quadrature="trapezoid", m=1)
    refused("needs the derivative of a curve", quadrature="gauss_legendre", path=lambda alpha: alpha * x)
    refused("path has 1 points, expected at least 2", path=[x])
    refused(r"a point of the path has shape \(3,\), which does not broadcast", path=[np.zeros(3), x])
    refused("unexpected keyword argument 'steps'", error=TypeError, steps=3)
    with pytest.raises(ValueError, match="irrational nodes, but x is exact"):
        pyref.integrated_gradients(figure_14()[0], figure_14()[2], quadrature="gauss_legendre")


# ── interior gradients ─────────────────────────────────────────────────────────────────────────────────


def test_interior_gradients_are_what_is_integrated():
    draw = SeededDraw(9)
    network = mlp(draw, depth=2, inputs=3)
    x = draw.fractions((2, 3))
    alphas = [F(k, 5) for k in range(1, 6)]
    family = pyref.interior_gradients(network, x, 0, alphas=alphas)
    assert family.values.shape == (5, 2, 3)
    for k, alpha in enumerate(alphas):
        assert_equal(family.values[k], pyref.gradient(network, alpha * x, 0).values)
        assert_equal(family.settings["outputs"][k], network(alpha * x)[:, 0])
    right = pyref.integrated_gradients(network, x, 0, quadrature="right", m=5)
    assert_equal(right.values, np.sum(family.values, axis=0) / 5 * x)


def test_interior_gradients_default_and_errors():
    network, x = smooth_network()
    assert pyref.interior_gradients(network, x, 0).values.shape == (10, *x.shape)
    with pytest.raises(ValueError, match="expected numbers from 0 to 1"):
        pyref.interior_gradients(network, x, 0, alphas=(0.5, 2))
    with pytest.raises(ValueError, match="interior gradients follow one path"):
        pyref.interior_gradients(network, x, 0, baseline=[0, 1])
