"""Level 1: every scalar function of csrc/math against pyref, on every corner of special values.

Corners are enumerated, not sampled: a stabiliser that trusts the sign bit differs from pyref at -0.0 only.
Contraction to fused operations is off, so the two statements agree to 1 ulp; NaN and infinities agree in
kind and sign. Signs of zero are not compared where a zero comes out: nothing divides by one.
"""

from dataclasses import fields
from itertools import product

import numpy as np
import pytest

import pyref
from pyref.rules.rule import STABILIZERS
from relprop import _core

DTYPES = (np.float32, np.float64)

# Every option of every field, by name. A field that is missing here fails the collection: say what it takes.
OPTIONS = {
    "epsilon": (0, 0.5, 1e-6),
    "stabilizer": STABILIZERS,
    "bias": ("neuron", "ignore", "uniform", "proportional"),
    "absorb_epsilon": (False, True),
    "renormalize": (False, True),
    "alpha": (1, 2),
    "beta": (0, 1),
    "gamma": (0, 0.25),
    "form": ("generalised", "weight"),
    "mode": ("signed", "abs"),
    "low": (-0.5, 0),
    "high": (0, 1),
    "out_of_range": ("raise", "clip"),
}


def variants(rule):
    """Every combination of options that the dataclass accepts."""
    names = [f.name for f in fields(rule)]
    for values in product(*(OPTIONS[n] for n in names)):
        try:
            yield rule(**dict(zip(names, values, strict=True)))
        except (ValueError, TypeError):
            continue


VARIANTS = [v for rule in pyref.RULES.values() for v in variants(rule) if v.parts]


def corners(dtype, few=False):
    """±0, ±subnormal, ±tiny, ±1/2 (a tie with ε and with low), ±1, ±max/4, ±inf, NaN; or a few of each kind."""
    info = np.finfo(dtype)
    if few:
        values = [-0.0, info.smallest_subnormal, 0.5, -1, info.max / 4, -np.inf, np.nan]
    else:
        positive = [0.0, info.smallest_subnormal, info.tiny, 0.5, 1, info.max / 4, np.inf]
        values = [*positive, *(-v for v in positive), np.nan]
    return np.array(values, dtype=dtype)


def grid(dtype, n):
    """n columns (units, 1) that together hold every combination of corners; n > 3 makes do with few."""
    values = corners(dtype, few=n > 3)
    return [c.reshape(-1, 1) for c in np.meshgrid(*[values] * n, indexing="ij")]


def assert_same(got, want):
    """Same kind everywhere, and values within 1 ulp."""
    assert got.dtype == want.dtype and got.shape == want.shape
    with np.errstate(all="ignore"):
        close = np.abs(got - want) <= np.spacing(np.maximum(np.abs(got), np.abs(want)))
    same = (got == want) | (np.isnan(got) & np.isnan(want)) | (np.isfinite(got) & np.isfinite(want) & close)
    assert same.all(), f"{got[~same][:3]} instead of {want[~same][:3]}, in {np.count_nonzero(~same)} cases"


def squares(rule, denominators):
    """The mean squares that "rms" asks for, of samples as pyref sees them."""
    if rule.stabilizer != "rms":
        return ()
    size = denominators[0][0].size
    return [np.broadcast_to((pyref.sum_samples(d * d) / size)[:, None], d.shape) for d in denominators]


@pytest.fixture(autouse=True)
def corners_overflow():
    with np.errstate(all="ignore"):
        yield


@pytest.mark.parametrize("dtype", DTYPES)
def test_numerics(dtype):
    v, other = grid(dtype, 2)
    for name in ("pos", "neg", "sign"):
        assert_same(getattr(_core, f"numerics_{name}")(v), getattr(pyref, name)(v))
    assert_same(_core.numerics_safe_divide(v, other), pyref.safe_divide(v, other))
    for name, epsilon, mode in product(("stabilize", "stabilizer_excess"), OPTIONS["epsilon"], STABILIZERS):
        got = getattr(_core, f"numerics_{name}")(v, epsilon, mode, v * v)
        assert_same(got, getattr(pyref, name)(v, epsilon, mode))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rule", VARIANTS, ids=str)
def test_parts(rule, dtype):
    """input, weight and bias of every part."""
    count, plain, has_input = _core.rule_parts(rule)
    assert (count, plain) == (rule.parts, rule.plain_part)
    v = corners(dtype)
    x = v[(v >= rule.low) & (v <= rule.high)] if getattr(rule, "out_of_range", "") == "raise" else v
    for p in range(count):
        want = rule.input_part(p, x)
        assert has_input[p] == (want is not None)
        if has_input[p]:
            assert_same(_core.rule_input_part(rule, p, x), want)
            assert_same(_core.rule_weight_part(rule, p, v), rule.weight_part(p, v))
        assert_same(_core.rule_bias_part(rule, p, v), rule.bias_part(p, v))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rule", VARIANTS, ids=str)
def test_split_and_kept(rule, dtype):
    """Shares and what stays behind, R independent of z."""
    R, *z = grid(dtype, 1 + rule.parts)
    mean_squares = squares(rule, _core.rule_denominators(rule, z))
    for got, want in zip(_core.rule_split(rule, R, z, mean_squares), rule.split(R, tuple(z)), strict=True):
        assert_same(got, want)
    for got, want in zip(_core.rule_kept(rule, R, z, mean_squares), rule.kept(R, tuple(z)), strict=True):
        assert_same(got, want)


@pytest.mark.parametrize("rule", VARIANTS, ids=str)
def test_nan_is_not_swallowed(rule):
    """A pre-activation that is NaN hands NaN on: not zeros, and not relevance that is booked as dropped."""
    R, z = np.ones((1, 1)), tuple(np.full((1, 1), np.nan) for _ in range(rule.parts))
    assert np.isnan(np.sum(rule.split(R, z)))
    assert not np.isfinite(rule.kept(R, z)).all() or np.sum(rule.kept(R, z)) == 0


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rule", [v for v in VARIANTS if v.stabilizer == "rms"], ids=str)
def test_rms_over_samples(rule, dtype):
    """Under rms the mean is taken over a sample of several units, not over the batch."""
    rng = np.random.default_rng(0)
    R, *z = (rng.normal(size=(3, 5)).astype(dtype) for _ in range(1 + rule.parts))
    mean_squares = squares(rule, _core.rule_denominators(rule, z))
    for got, want in zip(_core.rule_split(rule, R, z, mean_squares), rule.split(R, tuple(z)), strict=True):
        assert_same(got, want)


def test_the_corners_bite():
    """Two slips that random numbers hardly ever meet: the sign bit for the sign, and z + ε."""
    z = corners(np.float64)
    want = pyref.stabilize(z, 0.5)
    for slip in (z + np.copysign(0.5, z), z + 0.5):
        with pytest.raises(AssertionError):
            assert_same(slip, want)
    with pytest.raises(AssertionError):
        assert_same(np.nextafter(np.nextafter(want, np.inf), np.inf), want)


def test_layout_does_not_matter():
    x = np.arange(24, dtype=np.float32).reshape(2, 3, 4) - 12
    rule = pyref.ZPlus()
    for view in (x[::-1, ::2], x.T, x[:, :0], x[0, 0, 0:1]):
        assert_same(_core.rule_input_part(rule, 0, view), rule.input_part(0, view))


@pytest.mark.parametrize(
    ("error", "words", "call"),
    [
        (TypeError, "x has dtype int64", lambda x: _core.rule_input_part(pyref.ZPlus(), 0, x.astype(int))),
        (ValueError, "p is 2, expected 0 to 1", lambda x: _core.rule_input_part(pyref.ZPlus(), 2, x)),
        (ValueError, "has no parts", lambda x: _core.rule_input_part(pyref.Pass(), 0, x)),
        (ValueError, "z holds 1 arrays, expected 2", lambda x: _core.rule_split(pyref.ZPlus(), x, [x])),
        (ValueError, r"z has shape \(1,\), expected \(2,\)", lambda x: _core.rule_split(pyref.Flat(), x, [x[:1]])),
        (TypeError, "z has another dtype", lambda x: _core.rule_split(pyref.Flat(), x, [x.astype("f")])),
        (ValueError, "mean_squares holds 0", lambda x: _core.rule_split(pyref.Flat(1, "rms"), x, [x])),
        (TypeError, "low is a numpy.ndarray", lambda x: _core.rule_input_part(pyref.ZBox(x, x), 0, x)),
    ],
)
def test_the_door_refuses(error, words, call):
    with pytest.raises(error, match=words):
        call(np.zeros(2))
