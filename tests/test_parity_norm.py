"""Level 2 of normalisations and upsampling: kernels against pyref within derived bounds."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from bound import sum_bound
from hypothesis import given
from hypothesis import strategies as st
from near import Near
from parity import DTYPES, assert_relevance, assert_within, generators, kinds, layouts, values, widened
from test_parity import RULES
from test_parity_merge import SIGNALS, shapes, within

import pyref
from pyref.layers.affine import Term
from pyref.layers.norm import _group, _layer
from pyref.layers.upsample import upsample_terms

# ── over groups ────────────────────────────────────────────────────────────────────────────────────────

STEMS = {"layer": _layer, "group": _group}


class Case:
    """Arguments of a normalisation, drawn; `settings` are those after weight, bias and signal."""

    def __init__(self, draw, stem, dtype):
        self.stem, self.dtype = stem, dtype
        rng, layout = draw(generators), draw(layouts)
        shape = draw(shapes())
        shape = (shape[0], *(max(1, length) for length in shape[1:]))  # a group has values
        if stem == "layer":
            self.parameter = draw(st.integers(1, len(shape) - 1))
            of_weight, m = shape[-self.parameter :], int(np.prod(shape[-self.parameter :]))
        else:
            self.parameter = draw(st.sampled_from([g for g in range(1, shape[1] + 1) if shape[1] % g == 0]))
            of_weight, m = shape[1:2], int(np.prod(shape[1:])) // self.parameter
        self.eps = draw(st.sampled_from([2.0**-17, 0.125]))
        self.x = layout(values(draw(st.sampled_from(["normal", "after_relu", "positive"])), shape, dtype, rng))
        self.weight, self.bias = (
            values(draw(SIGNALS), of_weight, dtype, rng) if draw(st.booleans()) else None for _ in range(2)
        )
        self.terms = m
        self.signal = layout(values(draw(SIGNALS), shape, dtype, rng))

    @property
    def settings(self):
        order = (self.eps, self.parameter)
        return order if self.stem == "layer" else order[::-1]

    def name(self, question):
        return f"{self.stem}_norm_{question}"

    def near(self, v):
        return Near.exact(widened(v, self.dtype), self.dtype, self.terms) if isinstance(v, np.ndarray) else v

    def assert_near(self, backend, question, *arguments, **options):
        got = getattr(backend, self.name(question))(*arguments, *self.settings, **options)
        want = getattr(pyref, self.name(question))(*map(self.near, arguments), *self.settings, **options)
        assert_within(got, want.value, want.error, self.dtype, self.name(question))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("stem", STEMS)
@given(data=st.data())
def test_norm(backend, stem, dtype, data):
    case = Case(data.draw, stem, dtype)
    parameters = (case.weight, case.bias)
    case.assert_near(backend, "forward", case.x, *parameters)
    case.assert_near(backend, "gradient", case.x, *parameters, case.signal)
    case.assert_near(backend, "tangent", case.x, *parameters, case.signal)
    x0 = values("normal", case.x.shape, dtype, data.draw(generators))[: data.draw(st.sampled_from([None, 1]))]
    product = data.draw(st.sampled_from(pyref.PRODUCTS))
    case.assert_near(backend, "multiplier", case.x, x0, *parameters, case.signal, product=product)


@dataclass(frozen=True)
class Subtracting(Term):
    """A term that takes numbers from a sum again: what is rounded are the numbers, not what is left."""

    rounded: Any


def affine(case):
    """(the terms of the affine map that a rule sees, its bias, how far off its weights may be) in wide arithmetic."""
    x = widened(case.x, case.dtype)
    weight, bias = widened(case.weight, case.dtype), widened(case.bias, case.dtype)
    grouped = STEMS[case.stem](x, weight, bias, *case.settings)
    _, s = grouped.parts(case.near(case.x))
    w, m = grouped.weigh(s.value), grouped.m

    def term(sign):  # of the one that is taken from the total, as norm.py has it; or all sizes added
        def forward(x, w):
            own, other = w
            return own * x + other * (grouped.mean(x) * m + sign * x)

        def transpose(u, w):
            own, other = w
            return own * u + grouped.mean(other * u) * m + sign * other * u

        return Subtracting(x, (w * (m - 1) / m, -w / m), forward, transpose, term(1) if sign < 0 else None)

    bias = None if grouped.bias is None else np.zeros_like(x[:1]) + grouped.bias
    return (term(-1),), bias, s.error / s.value


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("stem", STEMS)
@pytest.mark.parametrize("name", pyref.RULES)
@given(data=st.data())
def test_norm_relevance(backend, name, stem, dtype, data):
    case = Case(data.draw, stem, dtype)
    rule = data.draw(st.sampled_from(RULES[name]))
    case.x = within(rule, case.x)
    arguments = {"x": case.x, "weight": case.weight, "bias": case.bias, "R": case.signal, "rule": rule}
    arguments |= {"eps": case.eps, "rank" if stem == "layer" else "groups": case.parameter}
    if data.draw(st.booleans()):
        exact = (widened(v, dtype) for v in (case.x, case.weight, case.bias))
        arguments["z"] = getattr(pyref, case.name("forward"))(*exact, *case.settings).astype(dtype)
    terms, bias, off = affine(case)
    label, R = f"{stem} norm {name}", widened(case.signal, dtype)
    assert_relevance(case.name("relevance"), backend, arguments, terms, bias, R, rule, dtype, label, off)


# ── over neighbouring channels ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("dtype", DTYPES)
@given(data=st.data())
def test_local_response_norm(backend, dtype, data):
    rng, layout, shape = data.draw(generators), data.draw(layouts), data.draw(shapes())
    if data.draw(st.booleans()):
        shape = shape[:2]
    x, signal = (layout(values(data.draw(SIGNALS), shape, dtype, rng)) for _ in range(2))
    x0 = values("normal", shape, dtype, rng)[: data.draw(st.sampled_from([None, 1]))]
    if data.draw(st.booleans()):
        x0 = np.where(rng.random(shape) < 0.5, x, x0).astype(dtype)  # no change of some
    options = {
        "size": data.draw(st.integers(1, 9)),
        "alpha": data.draw(st.sampled_from([2.0**-13, 0.5, 2.0])),
        "beta": data.draw(st.sampled_from([0.5, 0.75, 1.0])),
        "k": data.draw(st.sampled_from([1.0, 2.0])),
    }
    product = {"product": data.draw(st.sampled_from(pyref.PRODUCTS))}
    calls = {
        "forward": ((x,), {}),
        "gradient": ((x, signal), {}),
        "tangent": ((x, signal), {}),
        "multiplier": ((x, x0, signal), product),
    }
    for question, (arguments, more) in calls.items():
        name = f"local_response_norm_{question}"
        got = getattr(backend, name)(*arguments, **options, **more)
        near = (Near.exact(widened(v, dtype), dtype, options["size"]) for v in arguments)
        want = getattr(pyref, name)(*near, **options, **more)
        assert_within(got, want.value, want.error, dtype, name)
    np.testing.assert_array_equal(backend.local_response_norm_relevance(x, signal), signal)


@pytest.mark.parametrize("dtype", DTYPES)
@given(data=st.data())
def test_without_change_the_multiplier_is_the_gradient(backend, dtype, data):
    """Δg / ΔD at ΔD = 0 is the derivative, which the bound of a quotient says nothing about."""
    x, M = (values("normal", (2, 5, 3), dtype, data.draw(generators)) for _ in range(2))
    size = data.draw(st.integers(1, 7))
    got = backend.local_response_norm_multiplier(x, x, M, size, 0.5)
    bound = pyref.local_response_norm_gradient(*(Near.exact(widened(v, dtype), dtype, size) for v in (x, M)), size, 0.5)
    assert_within(got, bound.value, 2 * bound.error, dtype, "local_response_norm_multiplier of no change")


# ── upsampling ─────────────────────────────────────────────────────────────────────────────────────────


@st.composite
def stretches(draw, dtype):
    """(x, the lengths after, mode, align_corners, R) over one to three axes."""
    rng, layout = draw(generators), draw(layouts)
    axes = tuple(draw(st.integers(1, 5)) for _ in range(draw(st.integers(1, 3))))
    x = values(draw(kinds), (draw(st.integers(0, 2)), draw(st.integers(0, 3)), *axes), dtype, rng)
    size = tuple(draw(st.sampled_from([h, 2 * h, draw(st.integers(1, 8))])) for h in axes)
    mode, corners = draw(st.sampled_from([("nearest", False), ("bilinear", False), ("bilinear", True)]))
    return layout(x), size, mode, corners, layout(values(draw(SIGNALS), (*x.shape[:2], *size), dtype, rng))


@pytest.mark.parametrize("dtype", DTYPES)
@given(data=st.data())
def test_upsample(backend, dtype, data):
    x, size, mode, corners, G = data.draw(stretches(dtype))
    (term,) = upsample_terms(widened(x, dtype), size, mode, corners)
    taps, readers = (
        float(np.max(f(np.ones_like(v), tuple(map(np.ones_like, term.w))), initial=0))
        for f, v in ((term.forward, term.x), (term.transpose, widened(G, dtype)))
    )
    calls = {"forward": ((x, size), taps), "tangent": ((x, size, x), taps), "gradient": ((x, size, G), readers)}
    for question, (arguments, n) in calls.items():
        name = f"upsample_{question}"
        got = getattr(backend, name)(*arguments, mode=mode, align_corners=corners)
        exact = tuple(widened(v, dtype) for v in arguments)
        want = getattr(pyref, name)(*exact, mode=mode, align_corners=corners)
        sizes = tuple(np.abs(v) if isinstance(v, np.ndarray) else v for v in exact)
        magnitude = getattr(pyref, name)(*sizes, mode=mode, align_corners=corners)
        assert_within(got, want, sum_bound(n, magnitude, dtype), dtype, name)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [name for name in pyref.RULES if name != "pass_"])
@given(data=st.data())
def test_upsample_relevance(backend, name, dtype, data):
    x, size, mode, corners, R = data.draw(stretches(dtype))
    rule = data.draw(st.sampled_from(RULES[name]))
    x = within(rule, x)
    arguments = {"x": x, "size": size, "R": R, "rule": rule, "mode": mode, "align_corners": corners}
    if data.draw(st.booleans()):
        arguments["z"] = pyref.upsample_forward(widened(x, dtype), size, mode, corners).astype(dtype)
    terms = upsample_terms(widened(x, dtype), size, mode, corners)
    label = f"upsample {name}"
    assert_relevance("upsample_relevance", backend, arguments, terms, None, widened(R, dtype), rule, dtype, label)


@pytest.mark.parametrize("name", [name for name in pyref.RULES if name != "pass_"])
def test_rules_see_the_product_of_the_weights_of_two_axes(backend, name):
    x, R = (values("positive", shape, np.float64, np.random.default_rng(0)) for shape in ((2, 2, 3, 2), (2, 2, 5, 4)))
    for rule in RULES[name]:
        given = within(rule, x)
        arguments = {"x": given, "size": R.shape[2:], "R": R, "rule": rule, "mode": "bilinear"}
        terms = upsample_terms(widened(given, np.float64), R.shape[2:], "bilinear")
        label = f"upsample {name}"
        assert_relevance("upsample_relevance", backend, arguments, terms, None, R, rule, np.float64, label)


@pytest.mark.parametrize("mode, corners", [("nearest", False), ("bilinear", False), ("bilinear", True)])
def test_every_place_reads_its_neighbours(backend, mode, corners):
    """The weights of each pair of lengths, both ways, and that nothing else is connected."""
    for before in range(1, 8):
        for after in range(1, 10):
            one, R = np.eye(before)[None], np.eye(after)[None]
            (w,) = upsample_terms(widened(one, np.float64), (after,), mode, corners)[0].w
            bound = sum_bound(1, w, np.float64)
            there = backend.upsample_forward(one, (after,), mode, corners)[0]
            back = backend.upsample_gradient(np.empty((1, after, before)), (after,), R, mode, corners)[0]
            assert_within(there, w.T, bound.T, np.float64, "upsample_forward of one")
            assert_within(back, w, bound, np.float64, "upsample_gradient of one")
            np.testing.assert_array_equal(there != 0, w.T != 0)
            np.testing.assert_array_equal(back != 0, w != 0)


# ── errors ─────────────────────────────────────────────────────────────────────────────────────────────

X, V = np.ones((2, 4, 3)), np.ones(3)
E = pyref.Epsilon()
REFUSED = {
    "rank": lambda m: m.layer_norm_forward(X, rank=3),
    "rank 0": lambda m: m.layer_norm_gradient(X, None, None, X, rank=0),
    "weight": lambda m: m.layer_norm_forward(X, np.ones(4)),
    "bias": lambda m: m.layer_norm_tangent(X, V, np.ones((4, 3)), X),
    "nothing": lambda m: m.layer_norm_forward(X[..., :0]),
    "layer G": lambda m: m.layer_norm_gradient(X, V, V, X[0]),
    "layer dx": lambda m: m.layer_norm_tangent(X, V, V, X[0]),
    "layer R": lambda m: m.layer_norm_relevance(X, V, V, X[0], E),
    "layer M": lambda m: m.layer_norm_multiplier(X, X, V, V, X[0]),
    "layer x0": lambda m: m.layer_norm_multiplier(X, X[:, :3], V, V, X),
    "layer product": lambda m: m.layer_norm_multiplier(X, X, V, V, X, product="most"),
    "layer box": lambda m: m.layer_norm_relevance(X, V, V, X, pyref.ZBox(0, 0.5)),
    "groups": lambda m: m.group_norm_forward(X, groups=3),
    "groups 0": lambda m: m.group_norm_forward(X, groups=0),
    "group weight": lambda m: m.group_norm_forward(X, V),
    "group bias": lambda m: m.group_norm_gradient(X, None, V, X),
    "group R": lambda m: m.group_norm_relevance(X, None, None, X[0], E),
    "size": lambda m: m.local_response_norm_forward(X, 0),
    "local G": lambda m: m.local_response_norm_gradient(X, X[0], 3),
    "local dx": lambda m: m.local_response_norm_tangent(X, X[0], 3),
    "local R": lambda m: m.local_response_norm_relevance(X, X[0]),
    "local M": lambda m: m.local_response_norm_multiplier(X, X, X[0], 3),
    "local product": lambda m: m.local_response_norm_multiplier(X, X, X, 3, product="most"),
    "lengths": lambda m: m.upsample_forward(X, (4, 4)),
    "no length": lambda m: m.upsample_forward(X, (0,)),
    "nothing to stretch": lambda m: m.upsample_forward(X[..., :0], (2,)),
    "mode": lambda m: m.upsample_forward(X, (4,), "cubic"),
    "upsample G": lambda m: m.upsample_gradient(X, (6,), X),
    "upsample dx": lambda m: m.upsample_tangent(X, (6,), X[0]),
    "upsample R": lambda m: m.upsample_relevance(X, (6,), X, E),
    "upsample pass": lambda m: m.upsample_relevance(X, (6,), np.ones((2, 4, 6)), pyref.Pass()),
}


@pytest.mark.parametrize("what", REFUSED)
def test_errors_are_pyrefs_word_for_word(backend, what):
    with pytest.raises(ValueError) as theirs:
        REFUSED[what](pyref)
    with pytest.raises(ValueError) as mine:
        REFUSED[what](backend)
    assert str(mine.value) == str(theirs.value)
