"""Sensitivity-n and completeness on models where the right value is known."""

from fractions import Fraction as F

import numpy as np
import pytest
from bound import rounding
from exact import assert_equal, assert_exact, fractions
from models import additive, linear, mixed, permuted

import pyref


@pytest.mark.parametrize("seed", range(4))
def test_linear_models_have_correlation_one_for_every_n(seed):
    network, x, _, R = linear(seed=seed)
    got = pyref.sensitivity_n(network, x, R, sizes=range(1, 7), subsets=5, seed=seed)
    assert_exact(got["attribution"])
    assert (got["attribution"] == 1).all()
    assert (got.notes["0/0"]["attribution"][:, -1]).all()  # n = N: one subset, nothing varies, and both sides agree
    assert got.mean["attribution"].tolist() == [1] * 6


def test_additive_models_too_from_any_baseline():
    x = fractions([[1, 2, 3, 4, 5]])
    R = x * x - F(1, 4)
    got = pyref.sensitivity_n(additive, x, R, sizes=[1, 2, 4], baseline=F(1, 2))
    assert (got["attribution"] == 1).all()
    assert_equal(pyref.completeness(additive, x, R, baseline=F(1, 2))["attribution"], fractions([0]))
    assert_equal(pyref.completeness(additive, x, R)["attribution"], fractions(["-5/4"]))


def test_wrong_attributions_are_seen():
    """Without signs, without the input, in another order, and with the bias dropped from the wrong side."""
    network, x, w, R = linear(N=7)
    wrong = {"unsigned": np.abs(R), "gradient": np.broadcast_to(w, x.shape), "shifted": np.roll(R, 1, axis=1)}
    got = pyref.sensitivity_n(network, x, wrong | {"opposite": -R}, sizes=[2, 3])
    assert all((got[name] < F(999, 1000)).all() for name in wrong)
    assert (got["opposite"] == -1).all()


def correlation_over_samples(network, x, R, n):
    """What Quantus 0.5's SensitivityN does in outline: the n most relevant of each sample, correlated over samples
    with the output itself: not subsets, not a loss."""
    order = np.argsort(-R.astype(float), axis=1)[:, :n]
    removed = x.copy()
    np.put_along_axis(removed, order, F(0), axis=1)
    sums = np.take_along_axis(R, order, axis=1).sum(axis=1).astype(float)
    return np.corrcoef(sums, network(removed)[:, 0].astype(float))[0, 1]


def test_the_measure_over_samples_is_not_the_definition():
    network, x, _, R = linear(n=40, N=8)
    assert (pyref.sensitivity_n(network, x, R, sizes=[4], subsets=10)["attribution"] == 1).all()
    assert abs(correlation_over_samples(network, x, R, 4)) < 0.9


def test_zero_variance_is_defined_and_said():
    x = fractions([[1, 2, 3]])
    constant = pyref.Network.sequential([pyref.Dense(fractions([[0], [0], [0]]), fractions([7]))])
    given = {"nothing": 0 * x, "something": x, "the same everywhere": 0 * x + 1}
    got = pyref.sensitivity_n(constant, x, given, sizes=[1, 2, 3])
    assert {name: got[name].tolist() for name in given} == {
        "nothing": [[1, 1, 1]],
        "something": [[0, 0, 0]],
        "the same everywhere": [[0, 0, 0]],
    }
    assert all(v.all() for v in got.notes["0/0"].values())
    assert "0/0" in str(got)


def test_rounding_is_no_variance():
    """A sum over all features differs by rounding with the order of summation; a correlation of that means nothing."""
    a = np.array([0.1 + 0.2, 0.3, 0.30000000000000004])
    rho, degenerate = pyref.pearson(a, np.array([1.0, 2.0, 3.0]))
    assert (rho, degenerate) == (0, True)
    rho, degenerate = pyref.pearson(a, a + 1e-17)
    assert (rho, degenerate) == (1, True)


def test_pearson_is_numpys():
    random = np.random.default_rng(0)
    a, b = random.normal(size=(2, 5, 20))
    rho, degenerate = pyref.pearson(a, b)
    want = [np.corrcoef(u, v)[0, 1] for u, v in zip(a, b, strict=True)]
    assert (np.abs(rho - want) <= rounding(40, 1)).all() and not degenerate.any()
    huge, _ = pyref.pearson(a * 1e300, b * 1e-300)
    assert (np.abs(huge - rho) <= rounding(40, 1)).all()
    exact, _ = pyref.pearson(fractions([[0, 0, 1, 1]]), fractions([[0, 1, 1, 1]]))
    assert abs(float(exact[0]) - np.corrcoef([0, 0, 1, 1], [0, 1, 1, 1])[0, 1]) <= rounding(8, 1)


def test_subsets_are_uniform_and_all_of_them_where_they_are_few():
    few = np.stack(list(pyref.random_subsets(5, 2, 100, 0, 0)))
    assert len(few) == 10 == len(np.unique(few, axis=0)) and (few.sum(axis=1) == 2).all()
    drawn = np.stack(list(pyref.random_subsets(20, 6, 4000, 3, 0)))
    assert (drawn.sum(axis=1) == 6).all()
    spread = np.sqrt(0.3 * 0.7 / 4000)
    assert (np.abs(drawn.mean(axis=0) - 0.3) < 6 * spread).all()
    again = np.stack(list(pyref.random_subsets(20, 6, 4000, 3, 0)))
    other = np.stack(list(pyref.random_subsets(20, 6, 4000, 4, 0)))
    assert (drawn == again).all() and (drawn != other).any()
    elsewhere = np.stack(list(pyref.random_subsets(20, 6, 4000, 3, 1)))
    assert (elsewhere != drawn).any()  # another sample, other subsets
    assert pyref.log_sizes(64)[0] == 1 and pyref.log_sizes(64)[-1] == 51 and pyref.log_sizes(1) == [1]


def test_a_batch_is_its_samples():
    network, x = mixed()
    R = pyref.gradient_times_input(network, x, 1).values
    whole = pyref.sensitivity_n(network, x, R, target=1, sizes=[1, 2, 4], subsets=8, batch=5)
    for k in range(len(x)):
        one = pyref.sensitivity_n(
            network, x[k : k + 1], R[k : k + 1], target=1, sizes=[1, 2, 4], subsets=8, indices=[k], batch=3
        )
        assert (one["attribution"][0] == whole["attribution"][k]).all()


def test_scale_and_order_of_features_do_not_matter():
    network, x = mixed(1)
    R = pyref.integrated_gradients(network, x, 0).values
    all_subsets = {"target": 0, "sizes": [2, 3], "subsets": 20}  # every subset of 6 features: order cannot matter
    want = pyref.sensitivity_n(network, x, R, **all_subsets)["attribution"]
    assert (pyref.sensitivity_n(network, x, F(7, 3) * R, **all_subsets)["attribution"] == want).all()
    order = [3, 1, 5, 0, 2, 4]
    moved = pyref.sensitivity_n(permuted(network, order), x[:, order], R[:, order], **all_subsets)
    assert (moved["attribution"] == want).all()


def test_occlusion_satisfies_sensitivity_one():
    network, x = mixed(2)
    a = pyref.occlusion(network, x, 2)
    assert (pyref.sensitivity_n(network, x, a, target=2, sizes=[1])["attribution"] == 1).all()


def test_completeness():
    network, x, _, R = linear()
    got = pyref.completeness(network, x, {"right": R, "twice": 2 * R}, baseline="zero")
    assert_equal(got["right"], fractions([0, 0, 0]))
    assert_equal(got["twice"], R.sum(axis=1))
    against = pyref.completeness(network, x, R, against="output")
    assert_equal(against["attribution"], fractions([-5, -5, -5]))  # the bias
    deep, x = mixed(3)
    a = pyref.integrated_gradients(deep, x, 1, baseline=F(1, 5), quadrature="exact")
    assert (pyref.completeness(deep, x, a, target=1, baseline=F(1, 5))["attribution"] == 0).all()
    assert (pyref.completeness(deep, x, a, target=1)["attribution"] != 0).any()


def test_intervals_cover_and_say_what_they_are():
    random = np.random.default_rng(5)
    hits = 0
    for k in range(200):
        low, high = pyref.bootstrap_interval(random.exponential(size=40), resamples=200, seed=k)
        hits += low <= 1 <= high
    assert 0.85 < hits / 200 < 0.99  # 95 % nominal, less for skewed values and few samples
    assert all(np.isnan(pyref.bootstrap_interval(np.array([3.0]))))
    low, high = pyref.bootstrap_interval(np.array([[1.0, np.nan], [1.0, 2.0], [1.0, 4.0]]))
    assert low[0] == high[0] == 1 and 2 <= low[1] < high[1] <= 4
    with pytest.raises(ValueError, match="level is 1, expected"):
        pyref.bootstrap_interval(np.ones(3), level=1)
    one_far = np.array([0.0] * 20 + [1e6])
    assert pyref.bootstrap_interval(one_far, of="median") == (0, 0)  # which half of the samples would have to move
    assert pyref.bootstrap_interval(one_far)[1] > 1e4
    low, high = pyref.bootstrap_interval(np.array([[1.0, np.nan], [1.0, 2.0], [1.0, 4.0]]), of="median")
    assert low[0] == high[0] == 1 and 2 <= low[1] < high[1] <= 4
    with pytest.raises(ValueError, match="of is 'mode', expected one of 'mean', 'median'"):
        pyref.bootstrap_interval(np.ones(3), of="mode")
    values = fractions([1, 2, 6])
    summary = pyref.Scores("m", {"a": values}).summary("a")
    assert summary.mean == 3 and isinstance(summary.mean, F) and summary.count == 3
    assert abs(summary.standard_error - np.sqrt(7 / 3)) <= rounding(8, 2)
