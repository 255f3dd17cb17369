"""Products on tensor cores, in each precision that relprop.cuda names, within the bound that its unit roundoff gives.

The emulated device runs them as a real one does: the same fragments in the same lanes (csrc/machine/cuda/tensor.cuh).
"""

import os
import subprocess
import sys
from contextlib import contextmanager

import emulated
import numpy as np
import pytest
from bound import factors_rounded_by, sum_bound
from hypothesis import given, settings
from hypothesis import strategies as st
from parity import assert_relevance, assert_within, generators, kinds, layouts, values, widened
from test_parity import RULES, window_cases, window_terms

import pyref
from pyref.layers.dense import dense_terms
from relprop.cuda import PRECISIONS

F = np.float32
TENSOR = [name for name in PRECISIONS if name != "plain"]

few = settings(max_examples=max(1, settings().max_examples // 4))


@pytest.fixture(scope="module", params=["cuda-emulated", "cuda"])
def backend(request):
    return emulated.for_parity(request.param)


@contextmanager
def products(backend, precision):
    """Within it float products are formed so, and the bounds know."""
    backend.set_precision(precision)
    try:
        with factors_rounded_by(PRECISIONS[precision]):
            yield
    finally:
        backend.set_precision("plain")


@st.composite
def dense_cases(draw):
    """x, w, b, R: sums of one step, of several, and of part of one; rows and columns past one tile."""
    rng = draw(generators)
    n, i, o = (
        draw(st.sampled_from(lengths)) for lengths in ((1, 3, 16, 130), (0, 1, 7, 8, 16, 17, 40), (1, 5, 64, 129))
    )
    x = values(draw(kinds), (n, i), F, rng)
    w = values(draw(st.sampled_from(["normal", "zeros_and_ties"])), (i, o), F, rng)
    layout = draw(layouts)
    return layout(x), layout(w), values("normal", (o,), F, rng), values("normal", (n, o), F, rng)


@pytest.mark.parametrize("precision", PRECISIONS)
@few
@given(case=dense_cases())
def test_dense(backend, precision, case):
    x, w, b, G = case
    wide_x, wide_w, wide_b, wide_G = (widened(a, F) for a in case)
    with products(backend, precision):
        bound = sum_bound(w.shape[0] + 1, np.abs(wide_x) @ np.abs(wide_w) + np.abs(wide_b), F)
        want = pyref.dense_forward(wide_x, wide_w, wide_b)
        assert_within(backend.dense_forward(x, w, b), want, bound, F, f"dense in {precision}")
        bound = sum_bound(w.shape[1], np.abs(wide_G) @ np.abs(wide_w).T, F)
        want = pyref.dense_gradient(wide_x, wide_w, wide_b, wide_G)
        assert_within(backend.dense_gradient(x, w, b, G), want, bound, F, f"dense gradient in {precision}")


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", [name for name in RULES if name != "pass_"])
@settings(max_examples=max(1, settings().max_examples // 10))
@given(case=dense_cases(), data=st.data())
def test_dense_relevance(backend, precision, name, case, data):
    x, w, b, R = case
    rule = data.draw(st.sampled_from(RULES[name]))
    if name == "z_box" and rule.out_of_range == "raise":
        x = np.clip(x, F(rule.low), F(rule.high))
    terms = dense_terms(widened(x, F), widened(w, F))
    arguments = {"x": x, "w": w, "b": b, "R": R, "rule": rule}
    with products(backend, precision):
        label = f"dense {name} in {precision}"
        assert_relevance("dense_relevance", backend, arguments, terms, widened(b, F), widened(R, F), rule, F, label)


@pytest.mark.parametrize("precision", TENSOR)
@few
@given(case=window_cases("conv", F), name=st.sampled_from(list(RULES)[:6]), data=st.data())
def test_conv(backend, precision, case, name, data):
    x, w, b, R, options = case
    rule = data.draw(st.sampled_from(RULES[name]))
    wide_x, wide_w, wide_b, wide_R = (widened(a, F) for a in (x, w, b, R))
    bias = None if b is None else wide_b.reshape(-1, *(1,) * (x.ndim - 2))
    (sizes,) = window_terms("conv", np.abs(wide_x), np.abs(wide_w), options)
    terms = window_terms("conv", wide_x, wide_w, options)
    arguments = {"x": x, "w": w, "b": b, "R": R, "rule": rule, **options}
    with products(backend, precision):
        count = np.max(sizes.forward(np.ones_like(wide_x), np.ones_like(wide_w)), initial=0)
        bound = sum_bound(count + 1, sizes.forward(sizes.x, sizes.w) + (0 if b is None else np.abs(bias)), F)
        want = pyref.conv_forward(wide_x, wide_w, wide_b, **options)
        assert_within(backend.conv_forward(x, w, b, **options), want, bound, F, f"conv in {precision}")
        label = f"conv {name} in {precision}"
        assert_relevance("conv_relevance", backend, arguments, terms, bias, wide_R, rule, F, label)


# ---- what each precision is ----


@pytest.mark.parametrize(("precision", "bits"), [("bf16", 8), ("tf32", 11), ("float32", 11)])
def test_numbers_that_fit_are_exact(backend, precision, bits):
    """Integers of so many bits: every product and every sum below 2²⁴ is right to the last digit."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 2**bits, size=(37, 24)).astype(F)
    w = rng.integers(-3, 4, size=(24, 41)).astype(F)
    with products(backend, precision):
        assert (backend.dense_forward(x, w, None) == x @ w).all()


def test_each_precision_is_as_far_off_as_it_says(backend):
    """And no nearer: a mode that fell back to another would be seen."""
    rng = np.random.default_rng(1)
    x, w = rng.normal(size=(64, 96)).astype(F), rng.normal(size=(96, 64)).astype(F)
    size = np.abs(widened(x, F)) @ np.abs(widened(w, F))
    off = {}
    for precision in PRECISIONS:
        with products(backend, precision):
            off[precision] = float(
                np.max(np.abs(backend.dense_forward(x, w, None) - widened(x, F) @ widened(w, F)) / size)
            )
    assert off["plain"] < 2.0**-22 and off["float32"] < 2.0**-21
    assert 2.0**-17 < off["tf32"] < 2.0**-10
    assert 2.0**-14 < off["bf16"] < 2.0**-7


@pytest.mark.parametrize("precision", TENSOR)
@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_what_is_not_finite_comes_out_where_it_should(backend, precision, value):
    rng = np.random.default_rng(2)
    x, w = rng.uniform(1, 2, size=(20, 17)).astype(F), rng.normal(size=(17, 9)).astype(F)
    x[3, 5] = value
    with products(backend, precision), np.errstate(invalid="ignore"):
        got, want = backend.dense_forward(x, w, None), x @ w
    assert (np.isnan(got) == np.isnan(want)).all() and (np.isinf(got) == np.isinf(want)).all()
    assert (np.sign(got[np.isinf(got)]) == np.sign(want[np.isinf(want)])).all()


def test_the_largest_number_is_not_taken_for_infinity(backend):
    x, w = np.full((2, 1), np.finfo(F).max), np.full((1, 3), 0.5, F)
    for precision in ("float32", "tf32"):
        with products(backend, precision):
            assert np.isfinite(backend.dense_forward(x, w, None)).all()


@pytest.mark.parametrize(("wish", "precision"), [("", "float32"), ("1", "plain")])
def test_how_products_are_formed_unless_said_otherwise(backend, wish, precision):
    """Tensor cores, but for RELPROP_CUDA_PLAIN=1: of a process of its own."""
    module = "relprop._cuda_emulated" if backend.__name__ == "cuda-emulated" else "relprop.cuda"
    ask = f"import importlib; print(importlib.import_module({module!r}).precision())"
    run = subprocess.run(
        [sys.executable, "-c", ask], env=os.environ | {"RELPROP_CUDA_PLAIN": wish}, capture_output=True, text=True
    )
    assert run.stdout.split() == [precision], run.stderr


def test_an_unknown_precision_is_refused(backend):
    with pytest.raises(ValueError, match="name is 'tf23', expected one of 'plain', 'float32', 'tf32', 'bf16'"):
        backend.set_precision("tf23")
    assert backend.precision() == "plain"
