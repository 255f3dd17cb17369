"""The dense layer and every rule on it: numbers worked by hand, and the rules restated as one dense matrix."""

from fractions import Fraction as F

import numpy as np
import pytest
from exact import assert_equal, assert_exact, fraction_arrays, fractions
from hypothesis import given
from hypothesis import strategies as st

import pyref

W = fractions([[2, -1], [1, 1], [-1, 2]])
B = fractions([1, -2])
R = fractions([[1, 2]])
X = fractions([[1, -2, 3]])  # z = (-2, 1)

WORKED = [
    (pyref.Epsilon(0), "-3 -3 27/2"),
    (pyref.Epsilon(F(1, 10)), "-640/231 -620/231 950/77"),
    (pyref.Epsilon(0, bias="ignore"), "-4/3 -2/3 5"),
    (pyref.Epsilon(0, bias="uniform"), "-9/2 -9/2 12"),
    (pyref.Epsilon(0, bias="proportional"), "-226/63 -254/63 223/21"),
    (pyref.ZPlus(0), "2/3 0 2"),
    (pyref.AlphaBeta(1, 0, 0), "2/3 0 2"),
    (pyref.AlphaBeta(2, 1, 0), "14/15 -6/5 17/5"),
    (pyref.ZPlus(0, bias="ignore"), "1 0 2"),
    (pyref.AlphaBeta(2, 1, 0, bias="ignore"), "4/3 -26/15 17/5"),
    (pyref.Gamma(F(1, 4), 0, form="weight"), "-17/7 -15/14 129/14"),
    (pyref.Gamma(F(1, 4), 0), "-92/65 -54/65 93/13"),
    (pyref.WSquare(0), "1 1/2 3/2"),
    (pyref.Flat(0), "1 1 1"),
    (pyref.ZBox(-3, 4, 0), "47/40 9/40 8/5"),
    (pyref.Norm(0), "-3 -3 27/2"),
]


@pytest.mark.parametrize(("rule", "worked"), WORKED, ids=[str(r) for r, _ in WORKED])
def test_worked_layer(rule, worked):
    """A 3 × 2 layer done by hand; zennit, where it has the rule, gives the same numbers."""
    assert_equal(pyref.dense_relevance(X, W, B, R, rule), fractions([worked.split()]))


def test_bias_is_counted_once():
    """W = (1, -1), b = -1, x = (1, 1), R = z = -1: libraries that add the signed bias to z⁺ divide by zero here."""
    x, w, b, relevance = fractions([[1, 1]]), fractions([[1], [-1]]), fractions([-1]), fractions([[-1]])
    assert_equal(pyref.dense_relevance(x, w, b, relevance, pyref.AlphaBeta(1, 0, 0)), fractions([[-1, 0]]))
    assert_equal(pyref.dense_relevance(x, w, b, relevance, pyref.AlphaBeta(2, 1, 0)), fractions([[-2, "1/2"]]))


def test_alpha_beta_passes_alpha_or_minus_beta_where_one_sign_is_missing():
    x, w = fractions([[1, 2]]), fractions([[1, -1, 1], [2, -1, -1]])
    passed = [
        pyref.dense_relevance(x, w, None, fractions([np.eye(3, dtype=int)[j]]), pyref.AlphaBeta(2, 1, 0)).sum()
        for j in range(3)
    ]
    assert passed == [2, -1, 1]
    rule = pyref.AlphaBeta(2, 1, 0, renormalize=True)
    passed = [pyref.dense_relevance(x, w, None, fractions([np.eye(3, dtype=int)[j]]), rule).sum() for j in range(3)]
    assert passed == [1, 0, 1]


# ---- the same rules as matrices of shares, one output at a time: written from the papers, not from the parts ----


def shares(rule, x, w, b):
    """q_io with r_i = Σ_o q_io R_o, for one sample; 0/0 is 0."""
    n = len(x)
    q = np.empty(w.shape, dtype=object)
    for o in range(w.shape[1]):
        z = [x[i] * w[i, o] for i in range(n)]
        bias = b[o] if getattr(rule, "bias", "neuron") != "ignore" else 0
        up, down = [max(v, 0) for v in z], [min(v, 0) for v in z]
        e = rule.epsilon

        def over(numerator, d, e=e):
            d = d + e if d >= 0 else d - e
            return F(0) if d == 0 else F(numerator) / d

        match rule:
            case pyref.Epsilon(bias="uniform"):
                extra = bias + (e if sum(z) + bias >= 0 else -e) if rule.absorb_epsilon else bias
                q[:, o] = [over(v + F(extra) / n, sum(z) + bias) for v in z]
            case pyref.Epsilon(bias="proportional"):
                size = sum(abs(v) for v in z)
                part = [F(abs(v)) / size if size else F(1, n) for v in z]
                q[:, o] = [over(v + bias * p, sum(z) + bias) for v, p in zip(z, part, strict=True)]
            case pyref.Epsilon() | pyref.Norm(mode="signed"):
                q[:, o] = [over(v, sum(z) + bias) for v in z]
            case pyref.Norm():
                q[:, o] = [over(abs(v), sum(abs(v) for v in z) + abs(bias)) for v in z]
            case pyref.ZPlus():
                q[:, o] = [over(v, sum(up) + max(bias, 0)) for v in up]
            case pyref.AlphaBeta():
                p, m = sum(up) + max(bias, 0), sum(down) + min(bias, 0)
                a, c = rule.alpha, rule.beta
                if rule.renormalize:
                    a, c = (0, 0) if p == 0 else (1, 0) if m == 0 else (a, c)
                minus = [F(0) if m - e == 0 else F(v) / (m - e) for v in down]
                q[:, o] = [a * over(u, p) - c * d for u, d in zip(up, minus, strict=True)]
            case pyref.Gamma(form="weight"):
                wide = [v + rule.gamma * x[i] * max(w[i, o], 0) for i, v in enumerate(z)]
                q[:, o] = [over(v, sum(wide) + bias + rule.gamma * max(bias, 0)) for v in wide]
            case pyref.Gamma():
                total = sum(z) + bias
                part = max if total > 0 else min
                wide = [v + rule.gamma * part(v, 0) if total else F(0) for v in z]
                q[:, o] = [over(v, sum(wide) + bias + rule.gamma * part(bias, 0)) for v in wide]
            case pyref.WSquare():
                q[:, o] = [over(w[i, o] ** 2, sum(w[:, o] ** 2)) for i in range(n)]
            case pyref.Flat():
                q[:, o] = [over(1, n)] * n
            case pyref.ZBox():
                t = [(x[i] - rule.low) * max(w[i, o], 0) + (x[i] - rule.high) * min(w[i, o], 0) for i in range(n)]
                q[:, o] = [over(v, sum(t)) for v in t]
    return q


def every_rule():
    for e in (0, F(1, 8)):
        for bias in ("neuron", "ignore", "uniform", "proportional"):
            yield pyref.Epsilon(e, bias)
        yield pyref.Epsilon(e, "uniform", absorb_epsilon=True)
        for bias in ("neuron", "ignore"):
            yield pyref.ZPlus(e, bias)
            for renormalize in (False, True):
                yield pyref.AlphaBeta(2, 1, e, bias, renormalize=renormalize)
            for form in ("generalised", "weight"):
                yield pyref.Gamma(F(1, 4), e, bias, form=form)
        for mode in ("signed", "abs"):
            yield pyref.Norm(e, mode)
        yield pyref.WSquare(e)
        yield pyref.Flat(e)
        yield pyref.ZBox(-3, 3, e)


RULES = list(every_rule())


@pytest.mark.parametrize("rule", RULES, ids=str)
@given(data=st.data())
def test_rule_is_its_matrix_of_shares(rule, data):
    n, i, o = (data.draw(st.integers(1, k)) for k in (2, 4, 3))
    x, w, b, relevance = (data.draw(fraction_arrays(s)) for s in ((n, i), (i, o), (o,), (n, o)))
    r = pyref.dense_relevance(x, w, b, relevance, rule)
    want = np.stack([shares(rule, x[k], w, b) @ relevance[k] for k in range(n)])
    assert_equal(r, want)
    z = pyref.dense_forward(x, w, b)
    assert_equal(pyref.dense_relevance(x, w, b, relevance, rule, z=z), want)


@pytest.mark.parametrize("rule", RULES, ids=str)
@given(data=st.data())
def test_nothing_is_lost_unseen(rule, data):
    """R = r + bias + stabiliser + dropped, each from its own formula, in exact arithmetic."""
    x, w, b, relevance = (data.draw(fraction_arrays(s)) for s in ((2, 3), (3, 2), (2,), (2, 2)))
    account = pyref.Account()
    r = pyref.dense_relevance(x, w, b, relevance, rule, account=account)
    row = pyref.LedgerRow("dense", relevance, (r,), account)
    assert (row.residual == 0).all()
    if rule.epsilon == 0:
        assert (row.stabilizer == 0).all()
    if getattr(rule, "bias", "ignore") != "neuron" and rule.name != "norm":
        assert (row.bias == 0).all()


@given(data=st.data())
def test_gradient_is_the_adjoint_of_the_tangent(data):
    n, i, o = (data.draw(st.integers(1, 4)) for _ in range(3))
    x, dx, w, G = (data.draw(fraction_arrays(s)) for s in ((n, i), (n, i), (i, o), (n, o)))
    r, dz = pyref.dense_gradient(x, w, None, G), pyref.dense_tangent(x, w, None, dx)
    assert_exact(r, dz)
    assert (r * dx).sum() == (G * dz).sum()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rule", RULES, ids=str)
def test_dtype_stays(rule, dtype):
    rng = np.random.default_rng(0)
    x, w, b, relevance = (rng.normal(size=s).astype(dtype) for s in ((2, 5), (5, 3), (3,), (2, 3)))
    plain = {f: float(v) if isinstance(v, F) else v for f, v in vars(rule).items()}
    rule = type(rule)(**({**plain, "low": -9, "high": 9} if "low" in plain else plain))
    for mode in ("add", "clip", "rms"):
        if mode != "add" and (getattr(rule, "absorb_epsilon", False) or rule.epsilon == 0):
            continue
        rule = type(rule)(**{**vars(rule), "stabilizer": mode})
        assert pyref.dense_relevance(x, w, b, relevance, rule).dtype == dtype
        assert pyref.dense_relevance(x[:0], w, b, relevance[:0], rule).shape == (0, 5)
    assert pyref.dense_forward(x, w, b).dtype == dtype
