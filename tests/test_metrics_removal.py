"""Features, baselines, labels: what every metric that removes features begins with."""

from fractions import Fraction as F

import numpy as np
import pytest
from exact import assert_equal, fractions
from models import additive, linear, mixed

import pyref
from pyref.metrics.removal import masked_scores


def image(seed=0):
    random = np.random.default_rng(seed)
    x = fractions(random.integers(-3, 4, size=(2, 2, 2, 3)))
    w = fractions(random.integers(-3, 4, size=(12, 2)))
    return pyref.Network.sequential([pyref.Flatten(), pyref.Dense(w)], shape=(2, 2, 3)), x


def test_scores_are_the_network_with_features_replaced():
    network, x = mixed()
    subject = pyref.removal(network, x, 1, baseline=F(1, 2))
    random = np.random.default_rng(0)
    rows, removed = random.integers(4, size=40), random.random((40, 6)) < 0.5
    want = network(np.where(removed, 0 * x[:1] + F(1, 2), x[rows]))[:, 1]
    assert_equal(subject.scores(rows, removed), want)
    assert_equal(subject.baseline_output, network(0 * x + F(1, 2))[:, 1])


def test_what_changes_nothing_is_not_evaluated():
    seen = []

    def f(x):
        seen.append(len(x))
        return additive(x)

    x = np.array([[0.0, 1.0, 2.0], [0.0, 0.0, 0.1]])
    subject = pyref.removal(f, x)
    removed = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 0], [1, 1, 0]], dtype=bool)
    got = subject.scores(np.array([0, 0, 0, 1, 1]), removed)
    assert seen == [2, 1]  # x itself; then one of the five masks, which the third repeats
    assert got.tolist() == [5.0, 4.0, 4.0, subject.output[1], subject.output[1]]


def test_the_same_mask_of_another_sample_is_another_question():
    x = np.array([[1.0, 2.0], [3.0, 4.0]])
    both = np.ones((2, 2), dtype=bool) & np.array([True, False])
    assert pyref.removal(additive, x).scores(np.array([0, 1]), both).tolist() == [4.0, 16.0]


@pytest.mark.parametrize(
    ("mask", "count", "whole"), [("feature", 12, (1, 1, 1)), ("pixel", 6, (2, 1, 1)), ("token", 4, (1, 1, 3))]
)
def test_named_masks(mask, count, whole):
    network, x = image()
    subject = pyref.removal(network, x, 0, mask=mask)
    assert subject.features == count
    values = fractions(np.arange(24).reshape(2, 2, 2, 3))
    R = subject.attributed(values)[""]
    axes = tuple(1 + k for k, s in enumerate(whole) if s > 1)
    assert_equal(R, values.sum(axis=axes).reshape(2, count) if axes else values.reshape(2, count))
    reduced = values.sum(axis=axes, keepdims=True)
    assert_equal(subject.attributed(reduced)[""], R)
    one = np.eye(count, dtype=bool)
    changed = subject.masked(np.zeros(count, dtype=int), one)["x"] != x[:1]
    assert all((changed[k] <= (subject.labels["x"] == k)).all() for k in range(count))


def test_a_mask_of_numbers_and_several_inputs():
    nodes = [("sum", pyref.Subtract(), ("a", "b")), ("out", pyref.Dense(fractions([[1], [2], [4]])), "sum")]
    network = pyref.Network(nodes, {"a": (3,), "b": (3,)})
    x = {"a": fractions([[1, 2, 3]]), "b": fractions([[1, 1, 1]])}
    subject = pyref.removal(network, x, mask={"a": np.array([7, 7, 2])})
    assert subject.features == 5
    assert subject.labels["a"].tolist() == [1, 1, 0] and subject.labels["b"].tolist() == [2, 3, 4]
    assert_equal(subject.attributed(x)[""], fractions([[3, 3, 1, 1, 1]]))
    removed = np.array([[False, True, False, False, True]])
    assert_equal(subject.scores(np.array([0]), removed), fractions([12 - 1 - 2]))


@pytest.mark.parametrize(
    ("baseline", "want"),
    [("zero", 0), ("black", -4), ("white", 5), (F(1, 3), F(1, 3)), ([F(1), F(2), F(3)], [1, 2, 3]), ("mean", 1)],
)
def test_baselines(baseline, want):
    network = pyref.Network.sequential([pyref.Dense(fractions([[1], [1], [1]]))])
    subject = pyref.removal(network, fractions([[-4, 2, 5]]), baseline=baseline)
    assert_equal(subject.fills["x"], fractions([[0, 0, 0]]) + np.array(want, dtype=object))


def test_the_mean_of_an_image_is_that_of_each_channel():
    network, x = image()
    fills = pyref.removal(network, x, 0, baseline="mean").fills["x"]
    assert_equal(fills, np.broadcast_to(x.sum(axis=(2, 3), keepdims=True) / F(6), x.shape).copy())


def test_tokens_of_an_embedding():
    table = fractions([[0, 0], [1, 2], [3, 5]])
    layers = [pyref.Embedding(table), pyref.Flatten(), pyref.Dense(fractions([[1], [1], [10], [10]]))]
    network = pyref.Network.sequential(layers, input="ids")
    ids = np.array([[1, 2], [2, 0]])
    subject = pyref.removal(network, ids)
    assert subject.features == 2
    got = masked_scores(subject, lambda row: np.eye(2, dtype=bool), 2, 3, None)
    assert_equal(got, fractions([[80, 3], [0, 8]]))
    a = pyref.gradient_times_input(network, ids)
    assert_equal(subject.attributed(a)[""], a.values)


def test_a_callable_is_a_model_too():
    x = np.array([[1.0, 2.0], [3.0, 4.0]])
    for f in (additive, lambda x: additive(x)[:, 0], lambda x: additive(x).tolist()):
        assert pyref.removal(f, x).output.tolist() == [5.0, 25.0]
    several = pyref.removal(lambda x: x["a"] - 2 * x["b"], {"a": x, "b": x}, target=1)
    assert several.output.tolist() == [-2.0, -4.0]
    with pytest.raises(ValueError, match="a function has no gradient"):
        pyref.gradient(several.run.network, {"a": x, "b": x})


def test_another_backend_evaluates():
    import relprop.cpu

    network, x, _, R = linear()
    floats = pyref.Network.sequential([pyref.Dense(network.nodes["dense1"].layer.w.astype(float))])
    got = pyref.sensitivity_n(floats, x.astype(float), R.astype(float), sizes=[1, 3, 6], backend=relprop.cpu)
    assert np.unique(np.round(got["attribution"], 12)).tolist() == [1.0]


def test_a_removal_is_a_model_that_knows_its_settings():
    network, x, _, R = linear()
    subject = pyref.removal(network, x, baseline=F(1, 2))
    for metric in (pyref.completeness, pyref.sensitivity_n, pyref.morf_lerf):
        want = metric(network, x, R, baseline=F(1, 2))
        assert all((metric(subject, x, R)[name] == want[name]).all() for name in want.series)
    for again in ({"baseline": "mean"}, {"mask": "feature"}, {"target": 0}, {"softmax": "keep"}):
        with pytest.raises(ValueError, match="a Removal has its target, mask, baseline and options already"):
            pyref.morf_lerf(subject, x, R, **again)
    flip = pyref.removal(*mixed(), target=pyref.class_difference(0, 1))
    R = mixed()[1]
    want = pyref.digit_flip(*mixed(), R, source=0, goal=1, fractions=(0.5,))
    assert_equal(pyref.digit_flip(flip, R, R, source=0, goal=1, fractions=(0.5,))["attribution"], want["attribution"])


def test_whole_numbers_and_halves_are_attributions_too():
    network, x, _, _ = linear()
    R = np.arange(18).reshape(3, 6) % 7
    want = pyref.morf_lerf(network, x, R.astype(float), orders=0)
    for dtype in (np.uint8, np.int64, np.float16, np.float32):
        got = pyref.morf_lerf(network, x, R.astype(dtype), orders=0)
        assert all((got[name] == want[name]).all() for name in want.series)
    pyref.morf_lerf(network, x, R > 3, orders=0)


def test_errors():
    network, x, _, R = linear()

    def refused(error, match, model=network, a=R, metric=pyref.sensitivity_n, **options):
        with pytest.raises(error, match=match):
            metric(model, x, a, **options)

    refused(TypeError, "the model is a int, expected a", model=3)
    refused(ValueError, r"attribution has shape \(3, 5\), expected \(3, 6\)", a=R[:, :5])
    refused(ValueError, r"attribution 'lrp' has shape \(2, 6\), expected \(3, 6\)", a={"lrp": R[:2]})
    refused(TypeError, "attribution is a list, expected an array", a=R.tolist())
    refused(ValueError, "attribution holds 1 non-finite value", a=np.where(np.arange(18).reshape(3, 6), 1.0, np.nan))
    refused(ValueError, "attributions is an empty mapping", a={})
    refused(ValueError, "features of the mask are smaller", a=R[:, :1])
    refused(ValueError, "mask is 'row', expected one of", mask="row")
    refused(ValueError, "mask='pixel' needs values with axes", mask="pixel")
    refused(TypeError, "mask of x has dtype float64, expected integers", mask=np.ones(6))
    refused(ValueError, r"mask of x has shape \(5,\), which does not broadcast", mask=np.arange(5))
    refused(ValueError, "baseline is 'grey', expected one of", baseline="grey")
    refused(ValueError, "batch is 0, expected a whole number", batch=0)
    refused(ValueError, r"sizes is \[7\], expected numbers of features from 1 to 6", sizes=[7])
    refused(ValueError, "subsets is 1, expected", subsets=1)
    refused(ValueError, "step is 0, expected", step=0, metric=pyref.morf_lerf)
    refused(ValueError, "most is 9, expected a number of features from 1 to 6", most=9, metric=pyref.morf_lerf)
    refused(ValueError, "indices is", indices=[0])
    refused(ValueError, "seed is -1, expected a whole number >= 0", seed=-1, sizes=[2], subsets=4)
    refused(ValueError, "seed is 0.5, expected a whole number >= 0", seed=0.5, sizes=[2], subsets=4)
