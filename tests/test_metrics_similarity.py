"""SSIM, normalisation, ranks and correlations of maps, against definitions and against other libraries."""

from fractions import Fraction as F

import numpy as np
import pytest
from bound import rounding
from exact import assert_equal, assert_exact, fractions

import pyref


def ssim_by_definition(a, b, w):
    """Window by window, with the covariance of NumPy."""
    found = []
    for i in range(a.shape[0] - w + 1):
        for j in range(a.shape[1] - w + 1):
            u, v = a[i : i + w, j : j + w].ravel(), b[i : i + w, j : j + w].ravel()
            (vu, uv), (_, vv) = np.cov(u, v)
            mu, mv = u.mean(), v.mean()
            found.append((2 * mu * mv + 1e-4) * (2 * uv + 9e-4) / ((mu * mu + mv * mv + 1e-4) * (vu + vv + 9e-4)))
    return np.mean(found)


def test_ssim_is_its_definition():
    random = np.random.default_rng(0)
    a, b = random.random((2, 3, 8, 9))
    for w in (3, 5, 7):
        want = [ssim_by_definition(u, v, w) for u, v in zip(a, b, strict=True)]
        # variances lose w² u to cancellation, and are divided by at least C₂ = 9e-4
        assert (np.abs(pyref.ssim(a, b, w) - want) <= rounding(8 * w * w, 1 / 9e-4)).all()


def test_ssim_is_that_of_scikit_image():
    metrics = pytest.importorskip("skimage.metrics")
    a, b = np.random.default_rng(1).random((2, 4, 12, 10))
    want = [metrics.structural_similarity(u, v, win_size=5, data_range=1.0) for u, v in zip(a, b, strict=True)]
    assert (np.abs(pyref.ssim(a, b) - want) <= rounding(200, 1 / 9e-4)).all()


def test_ssim_of_a_map_with_itself_is_one_exactly():
    a = fractions(np.random.default_rng(2).integers(0, 9, size=(2, 6, 6))) / 8
    assert_equal(pyref.ssim(a, a), fractions([1, 1]))
    other = a.copy()
    other[0, 3, 3] = other[0, 3, 3] / 2 + F(1, 3)
    got = pyref.ssim(a, other)
    assert_exact(got)
    assert got[0] < 1 and got[1] == 1
    assert_equal(got, pyref.ssim(other, a))
    constant = fractions(np.ones((1, 5, 5), dtype=int))
    c1 = F(1, 100) ** 2
    assert_equal(pyref.ssim(constant, 0 * constant), fractions([c1 / (1 + c1)]))  # only the means differ


def test_percentile_normalisation():
    v = np.random.default_rng(3).normal(size=(2, 20, 30))
    low, high = np.percentile(v, (0.5, 99.5), axis=(1, 2), keepdims=True)
    want = np.clip((v - low) / (high - low), 0, 1)
    assert (np.abs(pyref.percentile_normalize(v) - want) <= rounding(16, 4)).all()
    exact = fractions(np.arange(201).reshape(1, 3, 67))
    got = pyref.percentile_normalize(exact)
    assert_exact(got)
    assert (got.min(), got.max()) == (0, 1) and got.ravel()[1] == 0 and got.ravel()[2] == F(1, 198)
    assert_equal(pyref.percentile_normalize(0 * exact + 7), 0 * exact)
    assert_equal(pyref.percentile_normalize(3 * exact + 5), got)
    assert_equal(pyref.percentile_normalize(-exact), 1 - got)


def test_quantiles_are_numpys():
    v = np.random.default_rng(4).normal(size=(3, 17))
    for q in (0, 0.1, 0.5, 0.77, 1):
        assert (np.abs(pyref.quantile(v, q) - np.quantile(v, q, axis=-1)) <= rounding(8, 4)).all()
    assert pyref.quantile(fractions([[1, 2, 4, 8]]), F(1, 2)).tolist() == [3]


def test_ranks_share_ties():
    assert_equal(pyref.ranks(fractions([[3, 1, 3, 2], [5, 5, 5, 5]])), fractions([["7/2", 1, "7/2", 2], ["5/2"] * 4]))
    stats = pytest.importorskip("scipy.stats")
    a, b = np.random.default_rng(5).integers(0, 6, size=(2, 30)).astype(float)
    assert abs(pyref.rank_correlation(a, b)[0] - stats.spearmanr(a, b)[0]) <= rounding(300, 1)


def test_rank_correlation_sees_order_only():
    a = fractions([[1, 5, 2, 9, 7]])
    assert pyref.rank_correlation(a, a * a)[0].tolist() == [1]
    assert pyref.rank_correlation(a, -a)[0].tolist() == [-1]
    rho, degenerate = pyref.rank_correlation(a, 0 * a)
    assert rho.tolist() == [0] and degenerate.tolist() == [True]
    # ranks by argsort of argsort break ties by index, and give a constant map a correlation
    index_ranks = np.argsort(np.argsort(np.zeros(5), kind="stable")).astype(float)
    assert abs(np.corrcoef(index_ranks, [1, 5, 2, 9, 7])[0, 1]) > 0.5


@pytest.mark.parametrize("measure", pyref.SIMILARITIES)
def test_similarity(measure):
    a = np.random.default_rng(6).normal(size=(2, 1, 7, 7))
    same, _ = pyref.similarity(a, 4 * a, measure)
    turned, _ = pyref.similarity(a, -a, measure)
    assert (np.abs(same - 1) <= rounding(1000, 1)).all()
    assert (np.abs(turned - 1) <= rounding(1000, 1 / 9e-4)).all()
    strict, _ = pyref.similarity(a, -a, measure, flip=False)
    assert measure == "rank_absolute" or (strict < 0.9).all()
    other = np.random.default_rng(7).normal(size=a.shape)
    assert (pyref.similarity(a, other, measure)[0] < 0.6).all()


def test_the_cosine_of_nothing_is_said():
    a, zero = fractions([[3, 4], [1, 2], [0, 0]]), fractions([[4, 3], [0, 0], [0, 0]])
    got, degenerate = pyref.similarity(a, zero, "cosine")
    assert_equal(got, fractions(["24/25", 0, 1]))
    assert degenerate.tolist() == [False, True, True]
    assert_equal(pyref.similarity(a[:1], -zero[:1], "cosine", flip=False)[0], fractions(["-24/25"]))


def test_errors():
    flat, image = np.ones((2, 9)), np.ones((2, 4, 4))
    for error, match, call in (
        (ValueError, r"expected images \(n, c, h, w\)", lambda: pyref.similarity(flat, flat)),
        (ValueError, "measure is 'mse', expected one of", lambda: pyref.similarity(flat, flat, "mse")),
        (ValueError, "a window of 5 does not fit into maps of 4 × 4", lambda: pyref.ssim(image, image)),
        (ValueError, "window is 4, expected an odd number", lambda: pyref.ssim(image, image, 4)),
        (ValueError, r"maps have shapes \(2, 4, 4\) and \(1, 4, 4\)", lambda: pyref.ssim(image, image[:1])),
    ):
        with pytest.raises(error, match=match):
            call()
