"""Metrics of a model that is not at hand: questions first, answers later."""

from fractions import Fraction as F

import numpy as np
import pytest
from models import linear, mixed

import pyref

METRICS = [
    (pyref.completeness, {}),
    (pyref.sensitivity_n, {"sizes": [1, 3], "subsets": 4}),
    (pyref.morf_lerf, {"orders": 2, "step": 2}),
    (pyref.insertion_deletion, {"orders": 1}),
    (pyref.pixel_perturbation, {"orders": 1, "fractions": (0.2, 0.5)}),
    (pyref.infidelity, {"samples": 5}),
]


@pytest.mark.parametrize(("metric", "options"), METRICS)
def test_answers_given_later_are_as_good_as_a_model(metric, options):
    network, x = mixed()
    R = {"a": pyref.gradient_times_input(network, x, 1).values, "b": x}
    asked = list(pyref.masked_inputs(metric, x, R, baseline=F(1, 3), **options))
    assert len(asked) == 4 and all((a[0] == one).all() for a, one in zip(asked, x, strict=True))
    outputs = np.stack([network(a)[:, 1] for a in asked])  # somewhere else
    got = metric(pyref.given_outputs(outputs, x), x, R, **options)
    want = metric(network, x, R, target=1, baseline=F(1, 3), **options)
    for name in want.series:
        assert (got[name] == want[name]).all()


def test_several_inputs_and_masks():
    x = {"a": np.arange(6.0).reshape(2, 3) + 1, "b": np.ones((2, 2))}
    mask = {"a": np.array([0, 0, 1]), "b": np.array([0, 0])}
    R = {"a": x["a"], "b": x["b"]}
    first, _ = pyref.masked_inputs(pyref.morf_lerf, x, R, mask=mask, orders=0)
    assert first["a"].shape == (7, 3) and first["b"].shape == (7, 2)
    # two features of 3 and one of 2: MoRF removes the last of a (3, by index before its equal), then the pair
    assert first["a"][1].tolist() == [0, 0, 3] and first["a"][2].tolist() == [0, 0, 0]
    f = lambda x: x["a"].sum(axis=1) + 2 * x["b"].sum(axis=1)  # noqa: E731
    outputs = np.stack([f(a) for a in pyref.masked_inputs(pyref.morf_lerf, x, R, mask=mask, orders=0)])
    got = pyref.morf_lerf(pyref.given_outputs(outputs, x, mask=mask), x, R, orders=0)
    want = pyref.morf_lerf(f, x, R, mask=mask, orders=0)
    assert all((got[name] == want[name]).all() for name in want.series)


def test_too_few_answers_are_an_error():
    _, x, _, R = linear()
    with pytest.raises(ValueError, match=r"outputs has shape \(2, 5\), expected \(3, 1 \+ the masked copies\)"):
        pyref.given_outputs(np.zeros((2, 5)), x)
    with pytest.raises(ValueError, match="outputs has 5 columns, but more are asked for"):
        pyref.morf_lerf(pyref.given_outputs(np.zeros((3, 5)), x), x, R)


def test_noise_needs_the_model():
    network, x, _, R = linear()
    with pytest.raises(ValueError, match="perturb='noise' moves every entry"):
        pyref.infidelity(pyref.removal(network, x), x, R, perturb="noise")
    assert (pyref.infidelity(pyref.removal(network, x), x, R)["attribution"] == 0).all()


def test_both_ends_together():
    network, x, _, R = linear()
    got = pyref.morf_lerf(network, x, {"right": R, "wrong": -R}, orders=0)
    assert (got.between["right"] == -got.between["wrong"]).all() and (got.between["right"] > 0).all()
    alone = pyref.morf_lerf(network, x, R)
    assert (alone.between[""] == got.between["right"]).all()
