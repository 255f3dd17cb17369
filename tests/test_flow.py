"""The flow of relevance: what a node hands on and what arrives agree at every value, and nothing is guessed."""

import numpy as np
import pytest
from cases import NETWORK, X

import pyref
import relprop
from relprop.view import flow_figure, save_figure
from relprop.view.flow import flows

RNG = np.random.default_rng(9)


def dense(i, o):
    return pyref.Dense(RNG.normal(size=(i, o)), RNG.normal(size=o))


RESIDUAL = pyref.Network(
    [
        ("d1", dense(6, 8), "x"),
        ("r1", pyref.ReLU(), "d1"),
        ("d2", dense(8, 8), "r1"),
        ("d3", dense(8, 8), "d2"),
        ("add", pyref.Add(), ("d3", "r1")),
        ("d4", dense(8, 3), "add"),
    ],
    {"x": (6,)},
)
TWO_WAYS = pyref.Network(
    [
        ("a", dense(4, 4), "x"),
        ("b", dense(4, 4), "x"),
        ("s", pyref.Add(), ("a", "b")),
        ("t", pyref.Subtract(), ("a", "b")),
        ("m", pyref.Add(), ("s", "t")),
    ],
    {"x": (4,)},
)
INPUT = RNG.normal(size=(3, 6))


def bound(result):
    """Rounding of sums of relevance: a few units of the last place of the largest amount, times the entries summed."""
    largest = max(float(np.max(np.abs(row.arrived))) for row in result.ledger)
    return 64 * len(result.ledger) * np.finfo(float).eps * max(1.0, largest)


@pytest.mark.parametrize("sample", [0, 2])
def test_a_chain_hands_on_what_the_ledger_says(sample):
    a = pyref.lrp(NETWORK, X, rule=pyref.Epsilon(0.1))
    found = flows(NETWORK, a, sample)
    assert [node for node, _ in found] == [row.node for row in a.ledger]
    for row, value in zip(a.ledger, found.values(), strict=True):
        assert abs(value - row.passed[sample]) <= bound(a)


def test_branches_are_told_apart_and_add_up():
    a = pyref.lrp(RESIDUAL, INPUT, rule=pyref.Epsilon(0.1))
    found = flows(RESIDUAL, a, 1)
    assert None not in found.values()
    assert abs(found["add", ("r1", 0)] + found["d2", ("r1", 0)] - a.at("r1")[1].sum()) <= bound(a)
    assert abs(found["add", ("r1", 0)] + found["add", ("d3", 0)] - a.ledger["add"].passed[1]) <= bound(a)
    by_hand = pyref.lrp(RESIDUAL.up_to("add"), INPUT, rule=pyref.Epsilon(0.1), inject=a.at("add"))
    direct = (
        by_hand.at("r1")[1].sum()
        - pyref.lrp(RESIDUAL.up_to("d3"), INPUT, rule=pyref.Epsilon(0.1), inject=a.at("d3")).at("r1")[1].sum()
    )
    assert abs(found["add", ("r1", 0)] - direct) <= bound(a)


def test_ways_that_cannot_be_told_apart_are_not_guessed():
    a = pyref.lrp(TWO_WAYS, X[:, :4], rule=pyref.Epsilon(0.1), target=0)
    found = flows(TWO_WAYS, a)
    assert {edge for edge, value in found.items() if value is None} == {
        (node, (ref, 0)) for node in "st" for ref in "ab"
    }
    dashed = [line for line in flow_figure(TWO_WAYS, a).axes[0].lines if line.get_linestyle() == "--"]
    assert len(dashed) == 4


def test_nodes_that_were_merged_away_are_gone_through():
    norm = pyref.BatchNorm(RNG.normal(size=4) ** 2 + 1, RNG.normal(size=4))
    network = pyref.Network.sequential([dense(6, 4), norm, pyref.ReLU(), dense(4, 2)], shape=(6,))
    a = pyref.lrp(network, INPUT, rule=pyref.ZPlus())
    found = flows(network, a)
    assert all(value is not None for value in found.values())
    assert {node for node, _ in found} == {row.node for row in a.ledger}
    assert flow_figure(network, a).axes


@pytest.mark.parametrize("network", [NETWORK, RESIDUAL], ids=["chain", "residual"])
def test_the_picture_has_a_row_for_each_node_and_input_with_its_numbers(network, tmp_path):
    x = X if network is NETWORK else INPUT
    a = relprop.explain(network, x, rule="epsilon", epsilon=0.1)
    figure = flow_figure(network, a, sample=1)
    flow, kept = figure.axes
    names = [t.get_text() for t in flow.get_yticklabels()]
    assert names == [*(row.node for row in a.ledger), *network.inputs]
    assert [t.get_text() for t in flow.texts][:-1] == [f"{row.arrived[1]:.3g}" for row in a.ledger]
    drawn = sorted(bar.get_width() for bar in kept.patches)
    asked = sorted(v for row in a.ledger for v in (row.bias, row.stabilizer) if np.ndim(v) for v in [v[1]] if v)
    assert len(drawn) == len(asked)
    assert np.max(np.abs(np.subtract(drawn, asked))) <= bound(a.result), "matplotlib adds a bar's width to its left end"
    assert {t.get_text() for t in kept.get_legend().get_texts()} == {"bias", "stabilizer"}
    first, again = (save_figure(flow_figure(network, a), tmp_path / f"{k}.svg").read_bytes() for k in range(2))
    assert first == again


def test_what_has_no_flow_is_refused():
    with pytest.raises(ValueError, match="saliency has no ledger"):
        flow_figure(NETWORK, pyref.saliency(NETWORK, X))
    a = pyref.lrp(NETWORK, X)
    with pytest.raises(ValueError, match=f"sample is 99, expected 0 to {len(X) - 1}"):
        flow_figure(NETWORK, a, 99)
    with pytest.raises(ValueError, match="the ledger has a node 'dense2' that the network 'network' has not"):
        flow_figure(RESIDUAL, a)
