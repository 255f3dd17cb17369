"""Occlusion against its definition, one replaced part at a time."""

from dataclasses import dataclass, field
from fractions import Fraction as F

import numpy as np
import pytest
from exact import assert_equal, fractions

import pyref
from pyref.theorems.draw import SeededDraw
from pyref.theorems.networks import any_network, input_for, target_for


def image_network(seed=0, c=2, h=4, w=3):
    draw = SeededDraw(seed, "occlusion")
    layers = [
        pyref.Conv(draw.fractions((3, c, 2, 2)), draw.fractions(3)),
        pyref.ReLU(),
        pyref.Flatten(),
        pyref.Dense(draw.fractions((3 * (h - 1) * (w - 1), 2)), draw.fractions(2)),
    ]
    return pyref.Network.sequential(layers, shape=(c, h, w)), draw.fractions((2, c, h, w))


def losses(network, x, c, parts, v):
    """S_c(x) - S_c(x with a part replaced by v), for each part, (n, parts)."""
    out = []
    for part in parts:
        covered = x.copy()
        covered[(slice(None), *part)] = (0 * x + v)[(slice(None), *part)]
        out.append(network(x)[:, c] - network(covered)[:, c])
    return np.stack(out, axis=1)


@pytest.mark.parametrize("case", range(15))
def test_features_one_at_a_time(case):
    draw = SeededDraw(case, "occlusion of features")
    network = any_network(draw)
    x = input_for(draw, network)
    x = np.concatenate([x, draw.fractions(x.shape)])
    c, v = target_for(draw, network, x), draw.choice((0, F(1, 2)))
    a = pyref.occlusion(network, x, c, fill=v, batch_size=draw.integer(1, 7))
    assert_equal(a.values, losses(network, x, c, np.ndindex(*x.shape[1:]), v).reshape(x.shape))
    assert a.settings["covered"]["x"].all() and a.expected is None


def test_figure_14():
    dense, one = pyref.Dense, fractions([[1, 0], [0, 1]])
    f = [dense(one), pyref.ReLU(), dense(fractions([[1], [-1]]), fractions([-1])), pyref.ReLU()]
    assert_equal(pyref.occlusion(pyref.Network.sequential(f), fractions([[3, 1]])).values, fractions([[1, -1]]))


def test_pixels_cover_all_channels():
    network, x = image_network()
    a = pyref.occlusion(network, x, 1, unit="pixel", fill=F(1, 3))
    parts = [(slice(None), i, j) for i in range(4) for j in range(3)]
    assert_equal(a.values, losses(network, x, 1, parts, F(1, 3)).reshape(2, 1, 4, 3))


@pytest.mark.parametrize(("shape", "stride"), [((2, 2), 1), ((3, 1), (1, 2)), (2, 2), ((4, 3), 1), ((1, 2), (3, 3))])
def test_patches(shape, stride):
    network, x = image_network(1)
    (h, w), (s, t) = ((v, v) if isinstance(v, int) else v for v in (shape, stride))
    corners = [(i, j) for i in range(0, 4 - h + 1, s) for j in range(0, 3 - w + 1, t)]
    parts = [(slice(None), slice(i, i + h), slice(j, j + w)) for i, j in corners]
    delta = losses(network, x, 0, parts, 0)
    total, count = 0 * x[:, :1], np.zeros((1, 4, 3), dtype=int)
    for k, (_, rows, columns) in enumerate(parts):
        total[:, :, rows, columns] += delta[:, k, None, None, None]
        count[:, rows, columns] += 1
    mean = total / np.maximum(count, 1).astype(object)

    def got(aggregate):
        return pyref.occlusion(network, x, 0, unit="patch", shape=shape, stride=stride, aggregate=aggregate)

    assert_equal(got("mean").values, mean)
    assert_equal(got("per_area").values, mean / (h * w))
    grid = (2, 1, (4 - h) // s + 1, (3 - w) // t + 1)
    assert_equal(got("map").values, delta.reshape(grid))
    assert_equal(got("score").values, (network(x)[:, :1] - delta).reshape(grid))
    covered = got("mean").settings["covered"]["x"]
    assert (covered == (count > 0)).all()
    assert not got("mean").values[:, ~covered].any()


def test_mean_fill():
    network, x = image_network(2)
    channel_mean = x.sum(axis=(2, 3), keepdims=True) / 12
    a = pyref.occlusion(network, x, 0, unit="pixel", fill="mean")
    parts = [(slice(None), i, j) for i in range(4) for j in range(3)]
    assert_equal(a.values, losses(network, x, 0, parts, channel_mean).reshape(2, 1, 4, 3))
    flat = pyref.Network.sequential([pyref.Dense(fractions([[1], [2], [4]]))])
    got = pyref.occlusion(flat, fractions([[1, 2, 6]]), fill="mean")
    assert_equal(got.values, fractions([[-2, -2, 12]]))


@dataclass(frozen=True)
class Counting(pyref.Identity):
    """An identity that notes how many rows went through it."""

    rows: list = field(default_factory=list)

    def value(self, z):
        self.rows.append(len(z))
        return z


def test_what_is_already_covered_costs_nothing():
    """x_i = v gives exactly 0 without evaluation, where a second evaluation could differ by rounding."""
    counting = Counting()
    network = pyref.Network.sequential([counting, pyref.Dense(np.ones((4, 1)), np.array([0.1])), pyref.Tanh()])
    x = np.array([[0.0, 1.0, 0.0, 2.0], [3.0, 0.0, 0.0, 0.0]])
    values = pyref.occlusion(network, x, batch_size=2).values
    assert counting.rows == [2, 2, 1]  # x, then three covered copies, two at a time
    assert (values[x == 0] == 0).all() and (values[x != 0] != 0).all()


def test_tokens():
    draw = SeededDraw(3, "occlusion of tokens")
    table, w = draw.fractions((5, 3)), draw.fractions((12, 2))
    layers = [
        pyref.Embedding(table),
        pyref.Flatten(),
        pyref.Dense(w),
        pyref.ReLU(),
        pyref.Dense(draw.fractions((2, 1))),
    ]
    network = pyref.Network.sequential(layers, input="ids")
    ids = np.array([[0, 1, 2, 4], [3, 3, 0, 1]])
    vectors = table[ids]
    top = pyref.Network.sequential(layers[1:])
    parts = [(t,) for t in range(4)]
    a = pyref.occlusion(network, ids)
    assert_equal(a.values, losses(top, vectors, 0, parts, 0))
    assert_equal(pyref.occlusion(top, vectors, unit="token").values, losses(top, vectors, 0, parts, 0)[:, :, None])
    by_entry = pyref.occlusion(network, ids, unit="feature")
    assert_equal(by_entry.values, losses(top, vectors, 0, np.ndindex(4, 3), 0).reshape(2, 4, 3).sum(axis=2))
    with pytest.raises(ValueError, match="ids holds embedded ids"):
        pyref.occlusion(network, ids, unit="pixel")


def test_inner_nodes_and_several_inputs():
    draw = SeededDraw(4, "occlusion")
    nodes = [
        ("sum", pyref.Add(), ("x", "y")),
        ("relu", pyref.ReLU(), "sum"),
        ("out", pyref.Dense(draw.fractions((3, 1))), "relu"),
    ]
    network = pyref.Network(nodes, ["x", "y"])
    x = {name: draw.fractions((2, 3)) for name in "xy"}
    a = pyref.occlusion(network, x)
    for name in "xy":
        for i in range(3):
            covered = {k: v.copy() for k, v in x.items()}
            covered[name][:, i] = F(0)
            assert (a.values[name][:, i] == network(x)[:, 0] - network(covered)[:, 0]).all()
    inner = pyref.occlusion(network, x, at="relu")
    assert_equal(inner.values, network.forward(x)["relu"] * network.nodes["out"].layer.w[:, 0])


def test_errors():
    network, x = image_network()

    def refused(match, **options):
        with pytest.raises(ValueError, match=match):
            pyref.occlusion(network, x, 0, **options)

    refused("shape and stride belong to unit='patch'", shape=2)
    refused("unit='patch' needs the shape of a patch", unit="patch")
    refused(r"a patch of shape \(5, 1\) does not fit into an image of shape \(4, 3\)", unit="patch", shape=(5, 1))
    refused("shape is 0, expected whole numbers >= 1", unit="patch", shape=0)
    refused("unit is 'row', expected one of", unit="row")
    refused("aggregate is 'sum', expected one of", aggregate="sum")
    refused("fill is 'grey', expected one of 'mean'", fill="grey")
    refused("batch_size is 0", batch_size=0)
    refused(r"fill has shape \(7,\), which does not broadcast", fill=np.zeros(7))
