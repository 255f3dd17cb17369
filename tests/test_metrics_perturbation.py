"""Insertion, deletion, pixel perturbation, digit flipping, infidelity, max-sensitivity: where values are known."""

from fractions import Fraction as F

import numpy as np
import pytest
from bound import rounding
from exact import assert_equal, assert_exact, fractions
from models import additive, linear, mixed, permuted

import pyref


def two_classes(n=3, N=6, seed=0):
    """(affine network of two outputs, x, w of their difference)"""
    random = np.random.default_rng([seed, 11])
    w = fractions(random.integers(-6, 7, size=(N, 2)))
    x = fractions(random.integers(1, 9, size=(n, N))) / 2
    return pyref.Network.sequential([pyref.Dense(w, fractions([1, -2]))], shape=(N,)), x, w[:, 0] - w[:, 1]


# ---- insertion and deletion ----


def test_insertion_and_deletion_on_an_additive_model():
    network, x, _, R = linear()
    got = pyref.insertion_deletion(network, x, R, orders=2)
    S, S0 = network(x), network(0 * x)
    down = np.cumsum(np.concatenate([R[:, :1] * 0, np.sort(R)[:, ::-1]], axis=1), axis=1)
    assert_equal(got["deletion"], S - down)
    assert_equal(got["insertion"], S0 + down)
    for kind in ("", "random "):
        assert_equal(got[f"{kind}deletion"] + got[f"{kind}insertion"], np.broadcast_to(S + S0, (3, 7)).copy())
    other, x = mixed()
    R = pyref.gradient_times_input(other, x, 0).values
    curves = pyref.insertion_deletion(other, x, R, target=0, orders=0)
    assert (curves["deletion"] + curves["insertion"] != (other(x) + other(0 * x))[:, :1]).any()  # interactions


def test_area_under_a_curve():
    assert pyref.area_under(fractions([[4, 2, 0], [1, 1, 1]]), [0, 1, 2]).tolist() == [2, 1]
    assert pyref.area_under(fractions([[0, 3, 3]]), [0, 2, 3]).tolist() == [F(6, 3)]
    network, x, _, R = linear(n=1)
    got = pyref.insertion_deletion(network, x, {"a": R}, orders=0)
    assert got.statistics["AUC"]["a deletion"][0] == sum(got["a deletion"][0][1:] + got["a deletion"][0][:-1]) / 12


# ---- pixel perturbation ----


def test_what_does_not_count_may_be_removed():
    w = fractions([[3], [0], [0], [5], [0]])
    network = pyref.Network.sequential([pyref.Dense(w)])
    x = fractions([[1, 2, 3, 4, 5]])
    got = pyref.pixel_perturbation(network, x, x * w[:, 0], fractions=(0.2, 0.4, 0.6, 0.8, 1), orders=4)
    assert_equal(got["attribution"], fractions([[0, 0, 0, "3/23", 1]]))
    assert got.notes["ties"]["attribution"].tolist() == [3 / 5]
    assert (got["random"][0, :3] > 0).any() and got["random"][0, -1] == 1
    first = pyref.pixel_perturbation(network, x, x * w[:, 0], fractions=(0.2,), order="descending", orders=0)
    assert_equal(first["attribution"], fractions([["20/23"]]))


def test_least_salient_means_smallest_in_size():
    network = pyref.Network.sequential([pyref.Dense(fractions([[-9], [1], [20]]))])
    x = fractions([[1, 1, 1]])
    R = fractions([[-9, 1, 20]])
    by = {
        rank: pyref.pixel_perturbation(network, x, R, fractions=(1 / 3,), orders=0, rank=rank)["attribution"][0, 0]
        for rank in ("absolute", "value")
    }
    assert by == {"absolute": F(1, 12), "value": F(9, 12)}


def test_no_output_has_no_relative_change():
    network = pyref.Network.sequential([pyref.Dense(fractions([[1], [-1]]))])
    with pytest.raises(ValueError, match=r"S_c\(x\) is 0 for the samples \[1\]"):
        pyref.pixel_perturbation(network, fractions([[1, 2], [2, 2]]), fractions([[1, 2], [2, 2]]))
    with pytest.raises(ValueError, match=r"fractions is \[0.5, 0.1\], expected growing"):
        pyref.pixel_perturbation(network, fractions([[1, 2]]), fractions([[1, 2]]), fractions=(0.5, 0.1))


# ---- digit flipping ----


def test_the_log_odds_fall_by_the_sum_of_the_largest_differences():
    network, x, w = two_classes()
    R = x * w
    got = pyref.digit_flip(network, x, {"R": R, "size": np.abs(R)}, source=0, goal=1, fractions=(1 / 6, 0.5, 1))
    largest = np.sort(R)[:, ::-1]
    want = np.stack([largest[:, :k].sum(axis=1) for k in (1, 3, 6)], axis=1)
    assert_equal(got["R"], want)
    assert (got["size"] <= got["R"]).all() and (got["size"] < got["R"]).any()  # signs matter
    a = pyref.gradient_times_input(network, x, target=pyref.class_difference(0, 1))
    assert_equal(a.values, R)
    back = pyref.digit_flip(network, x, -R, source=[1, 1, 1], goal=0, fractions=(1,))
    assert_equal(back["attribution"], -want[:, 2:])
    with pytest.raises(ValueError, match=r"class \[2, 2, 2\] is outside 0 … 1"):
        pyref.digit_flip(network, x, R, source=0, goal=2)


# ---- infidelity ----


@pytest.mark.parametrize("perturb", ["subset", "noise"])
def test_affine_models_have_no_infidelity(perturb):
    network, x, w, R = linear()
    right = R if perturb == "subset" else np.broadcast_to(w, x.shape).copy()
    got = pyref.infidelity(network, x, {"right": right, "twice": 2 * right, "none": 0 * x}, perturb=perturb, samples=8)
    assert_exact(got["right"])
    assert (got["right"] == 0).all()
    assert_equal(got["none"], got.notes["of R = 0"]["none"])
    assert_equal(got["twice"], got["none"])  # off by as much as it predicts
    best = pyref.infidelity(network, x, 2 * right, perturb=perturb, samples=8, scaled=True)
    assert (best["attribution"] == 0).all()


def test_infidelity_is_quadratic_and_by_sample():
    network, x = mixed()
    R = pyref.gradient_times_input(network, x, 1).values
    want = pyref.infidelity(network, x, R, target=1, samples=12, batch=5)["attribution"]
    singles = [
        pyref.infidelity(network, x[k : k + 1], R[k : k + 1], target=1, samples=12, indices=[k])["attribution"][0]
        for k in range(4)
    ]
    assert want.tolist() == singles and (want > 0).any()
    layer = network.nodes["dense2"].layer
    tripled = network.with_layers({"dense2": pyref.Dense(3 * layer.w)})
    assert_equal(pyref.infidelity(tripled, x, 3 * R, target=1, samples=12)["attribution"], 9 * want)
    noisy = pyref.infidelity(network, x, R, target=1, perturb="noise", samples=4, batch=3)["attribution"]
    single = pyref.infidelity(network, x[2:3], R[2:3], target=1, perturb="noise", samples=4, indices=[2])
    assert noisy[2] == single["attribution"][0]


def test_subsets_of_infidelity_take_every_feature_half_the_time():
    seen = []

    def f(x):
        seen.append(x)
        return additive(x)

    pyref.infidelity(f, np.ones((1, 8)), np.ones((1, 8)), samples=2000, batch=4000)
    removed = (seen[1] == 0).mean(axis=0)
    assert (np.abs(removed - 0.5) < 6 * 0.5 / np.sqrt(2000)).all()


# ---- max-sensitivity ----


def test_the_gradient_of_an_affine_model_does_not_move():
    network, x, _, _ = linear()
    got = pyref.max_sensitivity(network, x, ["gradient", "gradient_times_input"], samples=4)
    assert (got["gradient"] == 0).all()
    assert (got["gradient_times_input"] > 0).all()
    wider = pyref.max_sensitivity(network, x, "gradient_times_input", samples=4, radius=F(1, 5))
    ratio = wider["gradient_times_input"].astype(float) / got["gradient_times_input"].astype(float)
    assert (np.abs(ratio - 10) <= rounding(64, 10)).all()  # R is linear in x: ten times the radius


def test_max_sensitivity_is_relative():
    """Scaled by a power of two, model and attribution move together, exactly."""
    network, x = mixed(1)
    last = network.nodes["dense2"].layer
    scaled = network.with_layers({"dense2": pyref.Dense(4 * last.w)})
    got = [pyref.max_sensitivity(n, x, "gradient_times_input", target=0, samples=2) for n in (network, scaled)]
    one, four = (g["gradient_times_input"].astype(float) for g in got)
    assert np.array_equal(one, four, equal_nan=True) and (one > 0).any()


def test_max_sensitivity_by_hand():
    w, x = np.array([[2.0], [1.0]]), np.array([[3.0, 4.0]])
    network = pyref.Network.sequential([pyref.Dense(w)])
    got = pyref.max_sensitivity(network, x, "gradient_times_input", samples=5, radius=0.5, seed=3)
    from pyref.methods.noise import generator

    u = np.stack([0.5 * (2 * generator(3, 2**33, 0, k).random(2) - 1) for k in range(5)])
    want = np.max(np.linalg.norm(u * w[:, 0], axis=1)) / np.linalg.norm(x * w[:, 0])
    assert abs(got["gradient_times_input"][0] - want) <= rounding(32, 1)
    again = pyref.max_sensitivity(
        network, np.repeat(x, 2, axis=0), "gradient_times_input", samples=5, radius=0.5, seed=3
    )
    assert again["gradient_times_input"][0] == got["gradient_times_input"][0] != again["gradient_times_input"][1]


def test_nothing_to_be_relative_to_is_said():
    network = pyref.Network.sequential([pyref.Dense(np.zeros((2, 1)))])
    got = pyref.max_sensitivity(network, np.ones((1, 2)), "gradient", samples=2)
    assert np.isnan(got["gradient"][0]) and got.notes["R(x) = 0"]["gradient"][0]
    assert got.summary("gradient").count == 0 and "–" in str(got)
    assert pyref.max_sensitivity(additive, np.ones((1, 2)), lambda f, x, target: 2 * x, samples=2)["<lambda>"][0] > 0
    with pytest.raises(ValueError, match="radius is 0"):
        pyref.max_sensitivity(network, np.ones((1, 2)), "gradient", radius=0)


def test_the_class_is_settled_at_the_input():
    """Argmax at a moved point may be another class; the explained one must not change."""
    network = pyref.Network.sequential([pyref.Dense(np.array([[1.0, -1.0]]))])
    got = pyref.max_sensitivity(network, np.array([[0.01]]), "gradient", radius=1, samples=20)
    assert got["gradient"].tolist() == [0]


# ---- order of features ----


@pytest.mark.parametrize(
    ("metric", "options"),
    [
        (pyref.insertion_deletion, {"orders": 0, "target": 0}),
        (pyref.pixel_perturbation, {"orders": 0, "target": 0, "fractions": (0.3, 0.6)}),
        (pyref.digit_flip, {"source": 0, "goal": 1, "fractions": (0.3, 0.6)}),
        (pyref.completeness, {"target": 0}),
    ],
)
def test_scale_and_order_of_features_do_not_matter(metric, options):
    network, x = mixed(4)
    R = pyref.integrated_gradients(network, x, 0).values + fractions(np.arange(1, 7)) / 1000
    order = [5, 2, 0, 1, 4, 3]
    want = metric(network, x, R, **options)
    moved = metric(permuted(network, order), x[:, order], R[:, order], **options)
    scaled = metric(network, x, 3 * R, **options)
    for name in want.series:
        assert_equal(moved[name], want[name])
        if metric is not pyref.completeness:
            assert_equal(scaled[name], want[name])


@pytest.mark.parametrize(
    ("metric", "options"),
    [(pyref.insertion_deletion, {"target": 0}), (pyref.pixel_perturbation, {"target": 0, "fractions": (0.3, 0.6)})],
)
def test_a_batch_is_its_samples(metric, options):
    network, x = mixed(5)
    R = pyref.gradient_times_input(network, x, 0).values
    whole = metric(network, x, R, **options, orders=3, batch=7)
    for k in range(len(x)):
        one = metric(network, x[k : k + 1], R[k : k + 1], **options, orders=3, indices=[k], batch=4)
        for name in whole.series:
            assert_equal(one[name][0], whole[name][k])
