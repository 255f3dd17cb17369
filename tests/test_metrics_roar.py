"""ROAR and KAR with a model whose accuracy is known from what it is shown."""

import numpy as np
import pytest

import pyref

RANDOM = np.random.default_rng(0)


def data(n, classes=2, noise=7):
    """Feature 0 carries the label, the others nothing; all are zero on average."""
    labels = RANDOM.integers(classes, size=n)
    x = RANDOM.normal(size=(n, noise + 1))
    x[:, 0] = 10.0 * (2 * labels - 1)
    return x, labels


def nearest_mean(x, labels, x_test, labels_test, seed):
    """A model that can be trained by hand: the class with the nearest mean."""
    means = np.stack([x[labels == c].mean(axis=0) for c in range(2)])
    away = ((x_test[:, None] - means) ** 2).sum(axis=2)
    return np.mean(np.argmin(away, axis=1) == labels_test)


TRAIN, TEST = data(200), data(200)
RIGHT = [np.eye(8)[np.zeros(200, dtype=int)] for _ in range(2)]  # only feature 0 is relevant
WRONG = [np.eye(8)[np.ones(200, dtype=int)] for _ in range(2)]


def run(**options):
    given = [{"right": right, "wrong": wrong} for right, wrong in zip(RIGHT, WRONG, strict=True)]
    options = {"fractions": (1 / 8,), "runs": 2, "baseline": "zero"} | options
    return pyref.roar(nearest_mean, TRAIN[0], given[0], labels=TRAIN[1], test=(TEST[0], given[1], TEST[1]), **options)


def test_removing_what_carries_the_label_leaves_chance():
    got = run()
    assert got.at.tolist() == [0, 1 / 8] and got["right"].shape == (2, 2)
    for name in ("right", "wrong", "random"):
        assert (got[name][:, 0] == 1).all()
    assert (np.abs(got["right"][:, 1] - 0.5) < 6 * 0.5 / np.sqrt(200)).all()
    assert (got["wrong"][:, 1] == 1).all()
    assert (got["random"][:, 1] > 0.85).all()  # one in eight loses its label, and half of these are right by chance
    assert got.metric == "roar" and got.notes["ties"]["right"].tolist() == [7 / 8] * 200


def test_keeping_it_loses_nothing():
    got = run(keep=True)
    assert (got["right"][:, 1] == 1).all()
    assert (np.abs(got["wrong"][:, 1] - 0.5) < 6 * 0.5 / np.sqrt(200)).all()
    assert got.metric == "kar" and got.axis == "fraction kept"


def test_what_the_model_is_shown():
    seen = []

    def train(x, labels, x_test, labels_test, seed):
        seen.append((x, x_test, seed))
        return 0.5

    x = np.arange(24.0).reshape(2, 3, 2, 2) + 1
    R = x.sum(axis=1, keepdims=True)
    options = {"labels": [0, 1], "fractions": (0.5,), "runs": 2, "random": False, "mask": "pixel", "seed": 5}
    pyref.roar(train, x, R, test=(x[:1], R[:1], [0]), **options)
    assert [seed for _, _, seed in seen] == [5, 6, 5, 6]
    assert (seen[0][0] == x).all() and (seen[0][1] == x[:1]).all()
    want = x.copy()
    want[:, :, 1] = x.mean(axis=(2, 3))[:, :, None]  # the lower row has the two greatest pixels of every sample
    assert (seen[2][0] == want).all() and (seen[2][1] == want[:1]).all()
    seen.clear()
    pyref.roar(train, x, R, test=(x[:1], R[:1], [0]), **options, keep=True, baseline="zero")
    assert (seen[2][0][:, :, 1] == x[:, :, 1]).all() and (seen[2][0][:, :, 0] == 0).all()


def test_only_the_ranking_counts():
    subject = pyref.removal(lambda x: x.sum(axis=1), RANDOM.normal(size=(5, 9)))
    R = RANDOM.normal(size=(5, 9))
    want = pyref.degraded(subject, R, 0.4)
    assert (pyref.degraded(subject, np.exp(R) - 3, 0.4) == want).all()
    assert (pyref.degraded(subject, R, 0.4, rank="absolute") != want).any()
    kept = pyref.degraded(subject, R, 0.4, keep=True)
    assert (kept + want == subject.run.leaf_values["x"]).all()  # what one leaves out is what the other keeps


def test_random_rankings_are_seeded_and_the_sample_s_own():
    subject = pyref.removal(lambda x: x.sum(axis=1), np.ones((6, 40)))
    a, again, other = (pyref.degraded(subject, None, 0.5, seed=s) for s in (0, 0, 1))
    assert (a == again).all() and (a != other).any() and (a.sum(axis=1) == 20).all()
    assert len(np.unique(a, axis=0)) == 6


def test_errors():
    x, labels = TRAIN

    def refused(match, test=None, **options):
        with pytest.raises(ValueError, match=match):
            pyref.roar(nearest_mean, x, RIGHT[0], labels=labels, test=test or (TEST[0], RIGHT[1], TEST[1]), **options)

    refused("runs is 0", runs=0)
    refused(r"fractions is \[0.0\]", fractions=(0,))
    refused("those of the test data of lrp", test=(TEST[0], {"lrp": RIGHT[1]}, TEST[1]))
    refused("labels_test has 3 entries for 200 samples", test=(TEST[0], RIGHT[1], [0, 1, 0]))
