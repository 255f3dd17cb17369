"""Level 2: every rule on every layer that has kernels, against pyref in wider arithmetic, within its own bound.

What is drawn: shapes with empty and single axes, memory layouts, signs, zeros of both signs, magnitudes, whether
z is known; R is independent of z. The worst error/bound of each rule is printed at the end of the run.
"""

import numpy as np
import pytest
from bound import sum_bound
from hypothesis import given
from hypothesis import strategies as st
from parity import (
    DTYPES,
    assert_relevance,
    assert_within,
    generators,
    kinds,
    layouts,
    lengths,
    values,
    widened,
)
from test_formula import VARIANTS

import pyref
from pyref.layers.dense import dense_terms

RULES = {name: [v for v in VARIANTS if v.name == name] for name in pyref.RULES if name != "pass_"}
RULES["pass_"] = [pyref.Pass()]


@st.composite
def dense_cases(draw, dtype):
    """x, w, b or None, R, of any layout; x may have axes between the first and the last."""
    rng, n, i, o = draw(generators), draw(lengths), draw(lengths), draw(lengths)
    between = draw(st.sampled_from([(), (), (), (2,), (3, 2)]))
    x = values(draw(kinds), (n, *between, i), dtype, rng)
    w = values(draw(st.sampled_from(["normal", "zeros_and_ties", "far_apart"])), (i, o), dtype, rng)
    b = values(draw(st.sampled_from(["normal", "zeros_and_ties"])), (o,), dtype, rng) if draw(st.booleans()) else None
    R = values(draw(st.sampled_from(["normal", "zeros_and_ties"])), (n, *between, o), dtype, rng)
    layout = draw(layouts)
    return layout(x), layout(w), b, layout(R)


@pytest.mark.parametrize("dtype", DTYPES)
@given(data=st.data())
def test_dense(backend, dtype, data):
    """Forward, gradient and tangent: sums of products."""
    x, w, b, G = data.draw(dense_cases(dtype))
    wide_x, wide_w, wide_b, wide_G = (widened(a, dtype) for a in (x, w, b, G))
    size = np.abs(wide_x) @ np.abs(wide_w) + (0 if b is None else np.abs(wide_b))
    bound = sum_bound(w.shape[0] + 1, size, dtype)
    assert_within(backend.dense_forward(x, w, b), pyref.dense_forward(wide_x, wide_w, wide_b), bound, dtype, "dense")
    bound = sum_bound(w.shape[1], np.abs(wide_G) @ np.abs(wide_w).T, dtype)
    want = pyref.dense_gradient(wide_x, wide_w, wide_b, wide_G)
    assert_within(backend.dense_gradient(x, w, b, G), want, bound, dtype, "dense gradient")
    bound = sum_bound(w.shape[0], np.abs(wide_x) @ np.abs(wide_w), dtype)
    want = pyref.dense_tangent(wide_x, wide_w, wide_b, wide_x)
    assert_within(backend.dense_tangent(x, w, b, x), want, bound, dtype, "dense tangent")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", pyref.RULES)
@given(data=st.data())
def test_dense_relevance(backend, name, dtype, data):
    x, w, b, R = data.draw(dense_cases(dtype))
    rule = data.draw(st.sampled_from(RULES[name]))
    if name == "pass_":
        w = np.zeros((x.shape[-1], x.shape[-1]), dtype)
        b, R = None, x[..., ::-1]
    if name == "z_box" and rule.out_of_range == "raise":
        x = np.clip(x, dtype(rule.low), dtype(rule.high))
    arguments = {"x": x, "w": w, "b": b, "R": R, "rule": rule}
    if data.draw(st.booleans()):
        arguments["z"] = pyref.dense_forward(*(widened(a, dtype) for a in (x, w, b))).astype(dtype)
    terms = dense_terms(widened(x, dtype), widened(w, dtype))
    wide_b, wide_R = widened(b, dtype), widened(R, dtype)
    assert_relevance("dense_relevance", backend, arguments, terms, wide_b, wide_R, rule, dtype, f"dense {name}")
