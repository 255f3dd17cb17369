"""What holds on every additive model, whatever the features, the baseline and the input: searched by Hypothesis."""

import numpy as np
from draws import HypothesisDraw
from hypothesis import given
from hypothesis import strategies as st

import pyref
from pyref.theorems.networks import any_network, input_for


def affine(draw):
    """(network, x, baseline, mask, R): an affine network of two layers, and its one right attribution."""
    n, N, hidden = draw.integer(1, 3), draw.integer(1, 5), draw.integer(1, 3)
    w1, w2 = draw.fractions((N, hidden)), draw.fractions((hidden, 1))
    network = pyref.Network.sequential([pyref.Dense(w1, draw.fractions(hidden)), pyref.Dense(w2, draw.fractions(1))])
    x, bottom = draw.fractions((n, N)), draw.fractions(N)
    return network, x, bottom, draw.integers(N, 0, 2), (x - bottom) * (w1 @ w2)[:, 0]


@given(st.data())
def test_the_right_attribution_of_an_affine_network_is_right_by_every_metric(data):
    draw = HypothesisDraw(data)
    network, x, bottom, mask, R = affine(draw)
    how = {"mask": mask, "baseline": bottom}
    N = len(np.unique(mask))
    assert (pyref.completeness(network, x, R, **how)["attribution"] == 0).all()
    assert (pyref.sensitivity_n(network, x, R, sizes=range(1, N + 1), subsets=3, **how)["attribution"] == 1).all()
    assert (pyref.infidelity(network, x, R, samples=3, **how)["attribution"] == 0).all()
    curves = pyref.morf_lerf(network, x, R, orders=2, **how)
    assert (curves["MoRF"] <= curves["random"]).all() and (curves["random"] <= curves["LeRF"]).all()
    both = pyref.insertion_deletion(network, x, R, orders=1, **how)
    ends = network(x) + network(0 * x + bottom)
    assert (both["deletion"] + both["insertion"] == ends).all()


@given(st.data())
def test_laws_of_any_network(data):
    draw = HypothesisDraw(data)
    network = any_network(draw)
    x = input_for(draw, network)
    R = draw.fractions(x.shape)
    curves = pyref.morf_lerf(network, x, {"R": R, "turned": -R}, target=0, orders=1)
    ends = {str(curves[name][0, -1]) for name in curves.series}
    assert len(ends) == 1 and all(curves[name][0, 0] == 0 for name in curves.series)
    total, least = (curves.statistics[what]["R MoRF"][0] for what in ("total variation", "mean"))
    assert total >= abs(curves["R MoRF"][0, -1]) and least >= np.min(curves["R MoRF"])
    if curves.notes["ties"]["R MoRF"][0] == 0:
        assert (curves["R MoRF"] == curves["turned LeRF"]).all()
    rho = pyref.sensitivity_n(network, x, R, target=0, sizes=[1], subsets=4)["attribution"]
    turned = pyref.sensitivity_n(network, x, -R, target=0, sizes=[1], subsets=4)
    assert abs(float(rho[0, 0])) <= 1
    if not turned.notes["0/0"]["attribution"].any():
        assert turned["attribution"][0, 0] == -rho[0, 0]
    exact = pyref.occlusion(network, x, 0)
    assert (pyref.sensitivity_n(network, x, exact, target=0, sizes=[1])["attribution"] == 1).all()
