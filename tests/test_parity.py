"""Level 2: every rule on every layer that has kernels, against pyref in wider arithmetic, within its own bound.

What is drawn: shapes with empty and single axes, memory layouts, signs, zeros of both signs, magnitudes, whether z is
known; R is independent of z, or there where z > 0 alone, as behind a ReLU. The worst error/bound of each rule is
printed at the end of the run.
"""

import numpy as np
import pytest
from bound import sum_bound
from hypothesis import given, settings
from hypothesis import strategies as st
from parity import (
    DTYPES,
    assert_relevance,
    assert_within,
    first_repeated,
    generators,
    kinds,
    layouts,
    lengths,
    values,
    widened,
)
from test_formula import VARIANTS

import pyref
from pyref.layers.conv import conv_terms, conv_windows
from pyref.layers.conv_transpose import conv_transpose_terms, conv_transpose_windows
from pyref.layers.dense import dense_terms
from pyref.numerics import pos
from relprop import cpu

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


def where_active(R, z):
    """R as it comes through a ReLU that alone reads z."""
    return np.where(z > 0, R, R.dtype.type(0))


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
    repeats = data.draw(st.booleans())
    if repeats:
        x = first_repeated(x)
    if name != "pass_" and data.draw(st.booleans()):
        R = where_active(R, pyref.dense_forward(x, w, b))
    arguments = {"x": x, "w": w, "b": b, "R": R, "rule": rule}
    if data.draw(st.booleans()):
        z = pyref.dense_forward(*(widened(a, dtype) for a in (x, w, b))).astype(dtype)
        arguments["z"] = first_repeated(z) if repeats else z
    terms = dense_terms(widened(x, dtype), widened(w, dtype))
    wide_b, wide_R = widened(b, dtype), widened(R, dtype)
    assert_relevance("dense_relevance", backend, arguments, terms, wide_b, wide_R, rule, dtype, f"dense {name}")


# ---- convolution and its transpose ----


@st.composite
def window_cases(draw, kind, dtype):
    """x, w, b or None, R, of any layout, and the options: over one to three axes, grouped or one channel to a group.

    Kernels reach over the image, strides over the kernel; an axis may be empty but for its padding. Over one axis
    the places pass one tile of the schedule.
    """
    rng, rank = draw(generators), draw(st.sampled_from([1, 2, 2, 3]))
    most = 5 if rank < 3 else 2
    kernel, stride = ([draw(st.integers(1, most)) for _ in range(rank)] for _ in range(2))
    dilation = [draw(st.integers(1, 3 if rank < 3 else 2)) for _ in range(rank)]
    pads = [(draw(st.integers(0, 3)), draw(st.integers(0, 3))) for _ in range(rank)]
    groups = draw(st.sampled_from([1, 1, 2, 5]))
    near, far = draw(st.sampled_from([(1, 1), (1, 3), (2, 1), (3, 2), (9, 3), (17, 2)])) if groups < 5 else (1, 1)
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    options = {"stride": tuple(stride), "padding": tuple(pads), "dilation": tuple(dilation), "groups": groups}
    if kind == "conv_transpose":
        extra = [draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation, strict=True)]
        options["output_padding"] = tuple(extra)
        least = [
            max(0, -(-(sum(p) + 1 - e - span) // s)) + 1
            for p, e, span, s in zip(pads, extra, spans, stride, strict=True)
        ]
        channels, outputs = groups * near, groups * far
    else:
        least = [max(0, span - sum(p)) for span, p in zip(spans, pads, strict=True)]
        channels, outputs = groups * far, groups * near
    beyond = {1: [0, 1, 2, 7, 50, 245], 2: [0, 1, 2, 5, 8], 3: [0, 1, 2]}[rank]
    axes = [least_of + draw(st.sampled_from(beyond)) for least_of in least]
    n = draw(st.sampled_from([0, 1, 2, 2, 3]))
    x = values(draw(kinds), (n, channels, *axes), dtype, rng)
    of_w = draw(st.sampled_from(["normal", "zeros_and_ties", "far_apart"]))
    w = values(of_w, (groups * near, far, *kernel), dtype, rng)
    of_b = draw(st.sampled_from(["normal", "zeros_and_ties"]))
    b = values(of_b, (outputs,), dtype, rng) if draw(st.booleans()) else None
    z_shape = getattr(pyref, f"{kind}_forward")(x, w, None, **options).shape
    R = values(draw(st.sampled_from(["normal", "zeros_and_ties"])), z_shape, dtype, rng)
    layout = draw(layouts)
    return layout(x), layout(w), b, layout(R), options


def window_terms(kind, x, w, options):
    """The layer as pyref's relevance calls the rule algebra."""
    if kind == "conv":
        return conv_terms(x, w, conv_windows(x, w, **options), options["groups"])
    return conv_transpose_terms(x, w, conv_transpose_windows(x, w, **options), options["groups"])


WINDOW_KINDS = ("conv", "conv_transpose")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", WINDOW_KINDS)
@given(data=st.data())
def test_windows(backend, kind, dtype, data):
    """Forward, gradient and tangent of a convolution and of its transpose: sums of products."""
    x, w, b, G, options = data.draw(window_cases(kind, dtype))
    wide_x, wide_w, wide_b, wide_G = (widened(a, dtype) for a in (x, w, b, G))
    (t,) = window_terms(kind, np.abs(wide_x), np.abs(wide_w), options)
    count, size = np.max(t.forward(np.ones_like(t.x), np.ones_like(t.w)), initial=0), t.forward(t.x, t.w)
    of_b = 0 if b is None else np.abs(wide_b).reshape(-1, *(1,) * (x.ndim - 2))
    for question, arguments, bound in (
        ("forward", (x, w, b), sum_bound(count + 1, size + of_b, dtype)),
        ("rectified", (x, w, b), sum_bound(count + 1, size + of_b, dtype)),
        ("tangent", (x, w, b, x), sum_bound(count, size, dtype)),
        ("gradient", (x, w, b, G), None),
    ):
        if (kind, question) == ("conv_transpose", "rectified"):
            continue
        if question == "gradient":
            count = np.max(t.transpose(np.ones_like(wide_G), np.ones_like(t.w)), initial=0)
            bound = sum_bound(count, t.transpose(np.abs(wide_G), t.w), dtype)
        got = getattr(backend, f"{kind}_{question}")(*arguments, **options)
        want = getattr(pyref, f"{kind}_{question}")(*(widened(a, dtype) for a in arguments), **options)
        assert_within(got, want, bound, dtype, f"{kind} {question}")
        if question == "rectified":
            np.testing.assert_array_equal(got, pos(backend.conv_forward(*arguments, **options)))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", pyref.RULES)
@pytest.mark.parametrize("kind", WINDOW_KINDS)
@settings(max_examples=settings().max_examples // 2)
@given(data=st.data())
def test_windows_relevance(backend, kind, name, dtype, data):
    x, w, b, R, options = data.draw(window_cases(kind, dtype))
    rule = data.draw(st.sampled_from(RULES[name]))
    if name == "pass_":
        x = x if all(x.shape[2:]) else np.ones((2, 3, *(2,) * (x.ndim - 2)), dtype)
        w = np.zeros((x.shape[1],) * 2 + (1,) * (x.ndim - 2), dtype)
        b, R, options = None, x[..., ::-1], {"groups": 1}
    if name == "z_box" and rule.out_of_range == "raise":
        x = np.clip(x, dtype(rule.low), dtype(rule.high))
    repeats = data.draw(st.booleans())
    if repeats:
        x = first_repeated(x)
    if name != "pass_" and data.draw(st.booleans()):
        R = where_active(R, getattr(pyref, f"{kind}_forward")(x, w, b, **options))
    arguments = {"x": x, "w": w, "b": b, "R": R, "rule": rule, **options}
    wide_x, wide_w, wide_b, wide_R = (widened(a, dtype) for a in (x, w, b, R))
    if data.draw(st.booleans()):
        z = getattr(pyref, f"{kind}_forward")(wide_x, wide_w, wide_b, **options).astype(dtype)
        arguments["z"] = first_repeated(z) if repeats else z
    terms = window_terms(kind, wide_x, wide_w, options) if rule.parts else None
    bias = None if b is None else wide_b.reshape(-1, *(1,) * (x.ndim - 2))
    assert_relevance(f"{kind}_relevance", backend, arguments, terms, bias, wide_R, rule, dtype, f"{kind} {name}")


@pytest.mark.parametrize("name", [name for name in pyref.RULES if name != "pass_"])
def test_relevance_of_an_image_of_few_channels(name):
    """Products come before taps there, on the CPU: bands of the image meet, and parts share what they are added to."""
    rng, dtype = np.random.default_rng(3), np.float32
    for shape, options in [
        ((2, 3, 35, 7), {"padding": 1}),
        ((1, 1, 3, 250), {"padding": ((0, 2), (3, 1)), "stride": (1, 2)}),
        ((1, 2, 70, 6), {"stride": (2, 1), "dilation": (3, 2)}),
        ((1, 4, 300), {"stride": 5, "padding": 2}),
    ]:
        x = rng.normal(size=shape).astype(dtype)
        w = rng.normal(size=(9, shape[1], *(3,) * (len(shape) - 2))).astype(dtype)
        options = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1} | options
        (terms,) = window_terms("conv", x.astype(float), w.astype(float), options)
        R = rng.normal(size=terms.forward(terms.x, terms.w).shape).astype(dtype)
        for rule in RULES[name]:
            inside = np.clip(x, dtype(rule.low), dtype(rule.high)) if name == "z_box" else x
            arguments = {"x": inside, "w": w, "b": None, "R": R, "rule": rule, **options}
            terms = window_terms("conv", widened(inside, dtype), widened(w, dtype), options)
            assert_relevance(
                "conv_relevance", cpu, arguments, terms, None, widened(R, dtype), rule, dtype, f"conv {name}"
            )
