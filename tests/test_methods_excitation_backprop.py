"""Excitation Backprop and deep Taylor decomposition, against z⁺ and by hand."""

from dataclasses import replace
from fractions import Fraction as F

import numpy as np
import pytest
from exact import assert_equal, assert_exact, fractions

import pyref
from pyref.theorems.draw import SeededDraw
from pyref.theorems.networks import any_network, input_for, target_for

RELU = (pyref.ReLU(),)
Z_PLUS = pyref.ZPlus(epsilon=0, bias="ignore")


def case_of(case, name):
    draw = SeededDraw(case, name)
    network = any_network(draw, RELU)
    x = abs(input_for(draw, network))
    return network, x, target_for(draw, network, x)


def test_by_hand():
    """x = (1, 2), W⁺ = ((1, 0), (1, 3)): unit 0 was won with 1/3 and 2/3, unit 1 by x_2 alone."""
    network = pyref.Network.sequential(
        [pyref.Dense(fractions([[1, -1], [1, 3]])), pyref.ReLU(), pyref.Dense(fractions([[1], [1]]))]
    )
    x = fractions([[1, 2]])  # hidden (3, 5), so that the top hands on (3/8, 5/8)
    assert_equal(pyref.excitation_backprop(network, x).values, fractions([["1/8", "7/8"]]))


@pytest.mark.parametrize("case", range(25))
def test_it_is_z_plus_up_to_the_seed(case):
    network, x, c = case_of(case, "excitation")
    P = pyref.excitation_backprop(network, x, c)
    R = pyref.lrp(network, x, c, rule=Z_PLUS)
    assert_equal(P.values * network(x)[:, c].reshape(-1, *(1,) * (x.ndim - 1)), R.values)
    assert_exact(P.values, P.delta)
    assert (P.delta == 0).all() and (P.values >= 0).all()
    dropped = P.ledger.total("dropped")
    assert (P.total == 1 - dropped).all()


@pytest.mark.parametrize("case", range(25))
def test_contrastive_is_two_walks(case):
    """One walk of the difference is the difference of two: with the top weights, and with them negated."""
    network, x, c = case_of(case, "contrastive")
    a = pyref.contrastive_excitation_backprop(network, x, c)
    top = next(reversed(network.nodes.values()))
    dual = network.with_layers({top.name: replace(top.layer, w=-top.layer.w)})
    one = pyref.excitation_backprop(network, x, c)
    two = pyref.excitation_backprop(dual, x, c)
    assert_equal(a.values, one.values - two.values)
    assert (a.delta == 0).all()
    if one.total[0] == two.total[0] == 1:
        assert a.total[0] == 0
    positive = pyref.contrastive_excitation_backprop(network, x, c, positive=True)
    assert_equal(positive.values, np.maximum(a.values, F(0)))
    assert positive.delta is None


def test_contrastive_below_pooling_of_logits_free_head():
    """Between the output and the top weighted layer there may be reshaping."""
    draw = SeededDraw(0, "head")
    layers = [pyref.Conv(abs(draw.fractions((2, 1, 1, 1)))), pyref.ReLU(), pyref.Conv(draw.fractions((3, 2, 2, 2)))]
    network = pyref.Network.sequential([*layers, pyref.Flatten()], shape=(1, 2, 2))
    x = abs(draw.fractions((2, 1, 2, 2))) + 1
    a = pyref.contrastive_excitation_backprop(network, x, 1)
    assert a.settings["top"] == "conv2" and (a.delta == 0).all()


def test_it_stops_at_an_inner_node():
    network, x, c = case_of(3, "excitation")
    name = next(n for n, node in network.nodes.items() if node.layer.kind == "activation")
    a = pyref.excitation_backprop(network, -x - 1, c, at=name)  # the negative input lies below
    assert a.values.shape == network.forward(-x - 1)[name].shape
    assert pyref.excitation_backprop(network, x, c).at(name).shape == a.values.shape


def test_negative_inputs():
    network = pyref.Network.sequential([("first", pyref.Dense(fractions([[1], [2], [3]])))])
    x = fractions([[-1, 1, 2]])
    with pytest.raises(ValueError, match="needs inputs >= 0, but node 'first' reads 1 below; stop above it with at="):
        pyref.excitation_backprop(network, x)
    clipped = pyref.excitation_backprop(network, x, negative="clip")
    assert_equal(clipped.values, fractions([[0, "1/4", "3/4"]]))
    with pytest.raises(ValueError, match="negative is 'keep', expected one of 'raise', 'clip'"):
        pyref.excitation_backprop(network, x, negative="keep")


def test_refusals():
    lstm = pyref.LSTM(np.ones((1, 4)), np.ones((1, 4)), np.ones(4))
    network = pyref.Network.sequential([("memory", lstm), pyref.Flatten(), pyref.Dense(np.ones((3, 1)))])
    with pytest.raises(ValueError, match="does not go through recurrent layers: node 'memory'"):
        pyref.excitation_backprop(network, np.ones((1, 3, 1)))
    one = pyref.Dense(np.ones((2, 1)))
    two = pyref.Network([("a", one, "x"), ("b", one, "x"), ("c", pyref.Add(), ("a", "b"))], ["x"])
    with pytest.raises(ValueError, match="needs one dense or convolution layer at the top: 'b', 'a'"):
        pyref.contrastive_excitation_backprop(two, np.ones((1, 2)))


# ── deep Taylor ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("case", range(25))
def test_deep_taylor(case):
    """r ≥ 0 and Σ r = S_c⁺ less what the ledger names; the composite from the seed S_c⁺."""
    network, x, c = case_of(case, "deep taylor")
    S = network(x)[:, c]
    for bounds in ({}, {"low": -1000, "high": 1000}):
        a = pyref.deep_taylor(network, x, c, **bounds)
        assert_exact(a.values, a.delta)
        assert (a.values >= 0).all() and (a.delta == 0).all()
        assert (a.total == np.maximum(S, F(0)) - a.ledger.total("kept")).all()
        whole = pyref.lrp(network, x, c, rule="deep_taylor", rule_options=bounds)
        signed = pyref.deep_taylor(network, x, c, seed="output", **bounds)
        assert_equal(signed.values, whole.values)
        assert_equal(a.values, whole.values if S[0] > 0 else 0 * whole.values)


def test_deep_taylor_errors():
    network, x, c = case_of(0, "deep taylor")
    with pytest.raises(ValueError, match="give both, or neither"):
        pyref.deep_taylor(network, x, c, low=0)
    with pytest.raises(ValueError, match="seed is 'logit', expected one of"):
        pyref.deep_taylor(network, x, c, seed="logit")
    with pytest.raises(ValueError, match=r"outside \[low, high\]"):
        pyref.deep_taylor(network, x + 5, c, low=0, high=1)
