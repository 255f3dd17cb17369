"""Perturbation curves on models where they are known, step by step."""

from fractions import Fraction as F
from itertools import permutations

import numpy as np
import pytest
from exact import assert_equal, fractions
from models import linear, mixed, permuted

import pyref


@pytest.mark.parametrize("seed", range(3))
def test_linear_curves_are_sums_of_sorted_contributions(seed):
    network, x, _, R = linear(seed=seed)
    got = pyref.morf_lerf(network, x, R, orders=3)
    zero = np.zeros((3, 1), dtype=int)
    assert_equal(got["MoRF"], np.concatenate([zero + F(0), -np.cumsum(np.sort(R)[:, ::-1], axis=1)], axis=1))
    assert_equal(got["LeRF"], np.concatenate([zero + F(0), -np.cumsum(np.sort(R), axis=1)], axis=1))
    for name in got.series:
        assert_equal(got[name][:, -1], -R.sum(axis=1))


def test_no_order_is_below_morf_or_above_lerf_on_a_linear_model():
    network, x, _, R = linear(n=1, N=4)
    got = pyref.morf_lerf(network, x, R)
    for order in permutations(range(4)):
        curve = -np.cumsum(R[0, list(order)])
        assert (got["MoRF"][0, 1:] <= curve).all() and (curve <= got["LeRF"][0, 1:]).all()


def test_statistics_are_those_of_the_curve():
    network = pyref.Network.sequential([pyref.Dense(fractions([[1], [1], [1], [1]]))])
    got = pyref.morf_lerf(network, fractions([[4, -2, 1, 3]]), fractions([[4, -2, 1, 3]]), orders=0)
    assert_equal(got["MoRF"], fractions([[0, -4, -7, -8, -6]]))
    of_morf = {what: by["MoRF"].tolist() for what, by in got.statistics.items()}
    assert of_morf == {"mean": [F(-25, 4)], "initial slope": [-4], "total variation": [10], "AOPC": [5]}
    by_two = pyref.morf_lerf(network, fractions([[4, -2, 1, 3]]), fractions([[4, -2, 1, 3]]), orders=0, step=2, most=3)
    assert by_two.at.tolist() == [0, 2, 3]
    assert_equal(by_two["MoRF"], fractions([[0, -7, -8]]))
    assert by_two.statistics["initial slope"]["MoRF"].tolist() == [F(-7, 2)]


def test_by_absolute_value():
    network, x, _, R = linear()
    signed = pyref.morf_lerf(network, x, np.abs(R), orders=0)
    absolute = pyref.morf_lerf(network, x, R, orders=0, rank="absolute")
    for name in ("MoRF", "LeRF"):
        assert_equal(absolute[name], signed[name])


# ---- ties ----


def stable_by_definition(R, descending):
    """Indices by value, ties by index, by sorting tuples."""
    return [i for _, i in sorted((-v if descending else v, i) for i, v in enumerate(R))]


def test_ties_keep_the_order_of_indices():
    """Digits are full of them. Reversing an ascending order, or a sort that is not stable, fails here."""
    random = np.random.default_rng(0)
    R = random.integers(0, 4, size=(30, 50)).astype(float)
    for order, descending in (("descending", True), ("ascending", False)):
        want = [stable_by_definition(r, descending) for r in R]
        assert pyref.removal_order(R, order).tolist() == want
    reversed_ascending = np.argsort(R, axis=1, kind="stable")[:, ::-1]
    unstable = np.argsort(-R, axis=1, kind="heapsort")
    want = np.array([stable_by_definition(r, True) for r in R])
    assert (reversed_ascending != want).any() and (unstable != want).any()
    assert (pyref.removal_order(np.array([[0.0, -0.0, 0.0]])) == [0, 1, 2]).all()


def test_the_tie_fraction_counts_features_that_share_a_value():
    R = fractions([[1, 2, 2, 3], [1, 2, 3, 4], [0, 0, 0, 0], [1, 1, 2, 2]])
    assert pyref.tie_fraction(R).tolist() == [0.5, 0, 1, 1]
    network, x, _, _ = linear(n=4, N=4)
    got = pyref.morf_lerf(network, x, R, orders=0)
    assert got.notes["ties"]["MoRF"].tolist() == [0.5, 0, 1, 1]
    with_signs = pyref.morf_lerf(network, x, fractions([[1, -1, 2, 3]] * 4), orders=0, rank="absolute")
    assert with_signs.notes["ties"]["LeRF"].tolist() == [0.5] * 4
    assert "ties" in str(got)


# ---- random orders, batches, symmetry ----


def test_random_orders_are_the_sample_s_own():
    network, x = mixed()
    R = pyref.gradient_times_input(network, x, 1).values
    whole = pyref.morf_lerf(network, x, R, target=1, orders=3, batch=7)
    for k in range(len(x)):
        one = pyref.morf_lerf(network, x[k : k + 1], R[k : k + 1], target=1, orders=3, indices=[k], batch=1)
        for name in whole.series:
            assert_equal(one[name][0], whole[name][k])
    twins = pyref.morf_lerf(network, x[[0, 0]], R[[0, 0]], target=1, orders=3)
    assert (twins["random"][0] != twins["random"][1]).any() and (twins["MoRF"][0] == twins["MoRF"][1]).all()
    other = pyref.morf_lerf(network, x, R, target=1, orders=3, seed=1)
    assert (other["random"] != whole["random"]).any() and (other["MoRF"] == whole["MoRF"]).all()
    assert "random" not in pyref.morf_lerf(network, x, R, target=1, orders=0).series


def test_random_orders_are_uniform():
    """The mean over all orders of a linear curve falls on the straight line; few orders scatter around it."""
    network, x, _, R = linear(n=1, N=5)
    got = pyref.morf_lerf(network, x, R, orders=400)["random"][0].astype(float)
    line = -float(R.sum()) * np.arange(6) / 5
    spread = float(np.abs(R).max()) * np.sqrt(5) / np.sqrt(400)
    assert (np.abs(got - line) < 6 * spread).all()
    assert sorted(pyref.random_order(9, 0, 0, 0).tolist()) == list(range(9))


def test_scale_and_order_of_features_do_not_matter():
    network, x = mixed(4)
    R = pyref.integrated_gradients(network, x, 0).values
    R = R + fractions(np.arange(6)) / 1000  # no ties: their order is that of the indices
    want = pyref.morf_lerf(network, x, R, target=0, orders=0)
    assert not want.notes["ties"]["MoRF"].any()
    order = [5, 2, 0, 1, 4, 3]
    moved = pyref.morf_lerf(permuted(network, order), x[:, order], R[:, order], target=0, orders=0)
    scaled = pyref.morf_lerf(network, x, F(5, 2) * R, target=0, orders=0)
    for name in want.series:
        assert_equal(moved[name], want[name])
        assert_equal(scaled[name], want[name])


def test_methods_side_by_side_share_the_random_orders():
    network, x = mixed(5)
    given = {"gi": pyref.gradient_times_input(network, x, 2), "occlusion": pyref.occlusion(network, x, 2)}
    got = pyref.morf_lerf(network, x, given, target=2, orders=2)
    assert got.series == ("gi MoRF", "gi LeRF", "occlusion MoRF", "occlusion LeRF", "random")
    alone = pyref.morf_lerf(network, x, given["occlusion"], target=2, orders=2)
    assert_equal(got["occlusion MoRF"], alone["MoRF"])
    assert_equal(got["random"], alone["random"])
    rows = got.rows()
    assert [row["series"] for row in rows] == list(got.series) and rows[-1].get("ties") is None
    assert len(got.points()) == 7 and got.points()[0]["random from"] == 0


def test_progress_wraps_the_batches():
    network, x, _, R = linear()
    seen = []
    pyref.morf_lerf(network, x, R, orders=2, batch=10, progress=lambda steps: seen.extend(steps) or steps)
    assert seen == list(range(0, 3 * 4 * 6, 10))
