"""Level 2 of pooling, and of sums and means over axes: kernels against pyref.

Which number wins is decided alike, so whatever only looks or compares has pyref's bits; sums are held to their bound.
"""

import numpy as np
import pytest
from bound import sum_bound
from hypothesis import given
from hypothesis import strategies as st
from parity import DTYPES, assert_relevance, assert_within, generators, kinds, layouts, values, widened
from test_formula import corners
from test_parity import RULES
from test_parity_merge import SIGNALS, shapes, within
from test_pool import cases as windows

import pyref
from pyref.layers.pool import TIES, adaptive_avg_pool_terms, avg_pool_terms
from pyref.layers.reduce import reduce_terms, reduced_shape

ties_of_kinds = st.sampled_from(["zeros_and_ties", "after_relu", "normal", "far_apart"])


@st.composite
def pooled(draw, dtype, dilated):
    """(x, settings, a signal in the shape of the output, draw another array like x)."""
    shape, settings, axes = draw(windows(dilated=dilated))
    shape = (draw(st.integers(0, 3)), draw(st.integers(0, 2)), *shape[2:])
    layout = draw(layouts)

    def array(kind, of):
        return layout(values(kind, of, dtype, draw(generators)))

    signal = array(draw(SIGNALS), (*shape[:2], *map(len, axes)))
    return array(draw(ties_of_kinds), shape), settings, signal, lambda: array(draw(ties_of_kinds), shape)


def size_of(settings):
    return int(np.prod(settings["kernel"]))


def wide_answer(name, *arguments, **settings):
    dtype = arguments[0].dtype
    return getattr(pyref, name)(*(widened(a, dtype) for a in arguments), **settings)


@pytest.mark.parametrize("dtype", DTYPES)
@given(data=st.data())
def test_maximum(backend, dtype, data):
    x, settings, G, another = data.draw(pooled(dtype, dilated=True))
    ties, taps = data.draw(st.sampled_from(TIES)), size_of(settings)
    np.testing.assert_array_equal(backend.max_pool_forward(x, **settings), pyref.max_pool_forward(x, **settings))

    def check(name, *arguments, absolute, label=None, **options):
        got = getattr(backend, name)(*arguments, **settings, ties=ties, **options)
        size = wide_answer(name, *absolute, **settings, ties=ties, **options)
        want = wide_answer(name, *arguments, **settings, ties=ties, **options)
        assert_within(got, want, sum_bound(taps, size, dtype), dtype, label or name)

    dx, x0 = another(), another()
    check("max_pool_gradient", x, G, absolute=(x, np.abs(G)))
    check("max_pool_tangent", x, dx, absolute=(x, np.abs(dx)))
    check("max_pool_relevance", x, G, absolute=(x, np.abs(G)))
    for mode in ("xmax", "gradient"):
        for baseline in (x0, x0[:1]) if x.shape[0] else (x0,):
            check("max_pool_multiplier", x, baseline, G, absolute=(x, baseline, np.abs(G)), max_pool=mode)
    mine, theirs = pyref.Account(), pyref.Account()
    backend.max_pool_relevance(x, G, **settings, ties=ties, account=mine)
    size = np.abs(pyref.max_pool_relevance(widened(x, dtype), np.abs(widened(G, dtype)), **settings, ties=ties))
    pyref.max_pool_relevance(widened(x, dtype), widened(G, dtype), **settings, ties=ties, account=theirs)
    kept, sizes = np.asarray(theirs.dropped), pyref.sum_samples(size) + pyref.sum_samples(np.abs(G))
    bound = sum_bound(size.size + G.size, sizes if kept.ndim else 0, dtype)
    assert_within(np.asarray(mine.dropped), kept, bound, np.asarray(mine.dropped).dtype, f"max_pool {ties}, dropped")


@pytest.mark.parametrize("dtype", DTYPES)
@given(data=st.data())
def test_the_maximum_along_a_ray(backend, dtype, data):
    x, settings, _, another = data.draw(pooled(dtype, dilated=True))
    dx = another()
    (dy, t), (want, when) = (m.max_pool_ray(x, dx, **settings) for m in (backend, pyref))
    np.testing.assert_array_equal(dy, want)
    assert (t is None) == (when is None)
    if t is not None:
        np.testing.assert_array_equal(t, when)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("ties", TIES)
@given(data=st.data())
def test_corners_win_as_in_pyref(backend, ties, dtype, data):
    """Infinities, NaN, both zeros, ties of them; windows that do not overlap, so that nothing is added up."""
    rng, corner = data.draw(generators), corners(dtype)
    stride = data.draw(st.sampled_from([(2, 2), (2, 1), (3, 4)]))
    kernel = tuple(min(2, s) for s in stride)
    x, x0, dx = (rng.choice(corner, size=(2, 2, 7, 9)) for _ in range(3))
    with np.errstate(all="ignore"):
        y = pyref.max_pool_forward(x, kernel, stride)
        np.testing.assert_array_equal(backend.max_pool_forward(x, kernel, stride), y)
        G = rng.choice(corner, size=y.shape)
        got, want = (
            (
                m.max_pool_gradient(x, G, kernel, stride, ties=ties),
                m.max_pool_tangent(x, dx, kernel, stride, ties=ties),
                m.max_pool_multiplier(x, x0, G, kernel, stride, ties=ties),
            )
            for m in (backend, pyref)
        )
    for g, w in zip(got, want, strict=True):
        np.testing.assert_array_equal(g, w)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(2, 2), (3, 3), (4, 5), (5, 9), (2, 17), (7, 24), (6, 32), (2, 33), (9, 66)])
def test_windows_of_two_by_two_in_rows_of_any_length(backend, shape, dtype):
    """Rows are met several windows at a time; their last ones, and what no window sees, like the others."""
    rng, corner = np.random.default_rng(shape), corners(dtype)
    for x in (rng.choice(corner, size=(3, 2, *shape)), rng.integers(0, 3, size=(3, 2, 2, *shape)).astype(dtype)):
        kernel = (1, 2, 2)[-(x.ndim - 2) :]
        y = pyref.max_pool_forward(x, kernel)
        G = rng.choice(corner, size=y.shape)
        np.testing.assert_array_equal(backend.max_pool_forward(x, kernel), y)
        want = pyref.max_pool_gradient(x, G, kernel)
        np.testing.assert_array_equal(backend.max_pool_gradient(x, G, kernel), want)
        other = np.where(rng.random(x.shape) < 0.7, x, rng.permutation(x, axis=-1))
        for x0 in (other, other[:1]):  # of each sample, or of all
            with np.errstate(all="ignore"):
                want = pyref.max_pool_multiplier(x, x0, G, kernel)
            np.testing.assert_array_equal(backend.max_pool_multiplier(x, x0, G, kernel), want)


@pytest.mark.parametrize("dtype", DTYPES)
@given(data=st.data())
def test_average(backend, dtype, data):
    x, settings, G, another = data.draw(pooled(dtype, dilated=False))
    settings["count_include_pad"] = data.draw(st.booleans())
    dx = another()
    for name, arguments in (("forward", (x,)), ("gradient", (x, G)), ("tangent", (x, dx))):
        got = getattr(backend, f"avg_pool_{name}")(*arguments, **settings)
        size = wide_answer(f"avg_pool_{name}", *map(np.abs, arguments), **settings)
        want = wide_answer(f"avg_pool_{name}", *arguments, **settings)
        assert_within(got, want, sum_bound(size_of(settings), size, dtype), dtype, f"avg_pool_{name}")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [name for name in pyref.RULES if name != "pass_"])
@given(data=st.data())
def test_average_relevance(backend, name, dtype, data):
    x, settings, R, _ = data.draw(pooled(dtype, dilated=False))
    rule = data.draw(st.sampled_from(RULES[name]))
    x = within(rule, x)
    settings["count_include_pad"] = data.draw(st.booleans())
    arguments = {"x": x, "R": R, "rule": rule, **settings}
    if data.draw(st.booleans()):
        arguments["z"] = wide_answer("avg_pool_forward", x, **settings).astype(dtype)
    terms = avg_pool_terms(widened(x, dtype), **settings)
    label = f"avg_pool {name}"
    assert_relevance("avg_pool_relevance", backend, arguments, terms, None, widened(R, dtype), rule, dtype, label)


@st.composite
def adapted(draw, dtype):
    """(x without an empty axis, output_size, R)."""
    rank = draw(st.integers(1, 3))
    lengths = draw(st.tuples(*[st.integers(1, 9)] * rank))
    size = draw(st.one_of(st.just(1), st.tuples(*[st.integers(1, 5)] * rank)))
    counts = size if isinstance(size, tuple) else (size,) * rank
    outer = draw(st.sampled_from([(2, 3), (0, 2), (1, 1), (2, 0)]))
    arrays = (values(draw(kinds), (*outer, *of), dtype, draw(generators)) for of in (lengths, counts))
    return *map(draw(layouts), arrays), size


@pytest.mark.parametrize("dtype", DTYPES)
@given(data=st.data())
def test_adaptive_average(backend, dtype, data):
    x, R, size = data.draw(adapted(dtype))
    n = int(np.prod(x.shape[2:]))
    rule = data.draw(st.sampled_from([rule for all_of in RULES.values() for rule in all_of if rule.parts]))
    for name, arguments in (("forward", (x,)), ("gradient", (x, R)), ("tangent", (x, x))):
        got = getattr(backend, f"adaptive_avg_pool_{name}")(*arguments, size)
        magnitude = wide_answer(f"adaptive_avg_pool_{name}", *map(np.abs, arguments), output_size=size)
        want = wide_answer(f"adaptive_avg_pool_{name}", *arguments, output_size=size)
        assert_within(got, want, sum_bound(n, magnitude, dtype), dtype, f"adaptive_avg_pool_{name}")
    x = within(rule, x)
    arguments = {"x": x, "R": R, "rule": rule, "output_size": size}
    terms, label = adaptive_avg_pool_terms(widened(x, dtype), size), "adaptive_avg_pool"
    assert_relevance(
        "adaptive_avg_pool_relevance", backend, arguments, terms, None, widened(R, dtype), rule, dtype, label
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("stem", ["sum", "mean"])
@given(data=st.data())
def test_over_axes(backend, stem, dtype, data):
    shape = data.draw(shapes())
    axes = tuple(data.draw(st.sets(st.sampled_from(range(1, len(shape))))))
    if stem == "mean" and any(shape[a] == 0 for a in axes):
        axes = ()
    keepdims, rng = data.draw(st.booleans()), data.draw(generators)
    x = values(data.draw(kinds), shape, dtype, rng)
    R = values(data.draw(SIGNALS), reduced_shape(x, axes, keepdims), dtype, rng)
    rule = data.draw(st.sampled_from([rule for all_of in RULES.values() for rule in all_of if rule.parts]))
    x, R = map(data.draw(layouts), (within(rule, x), R))
    n = int(np.prod([shape[a] for a in axes]))
    for name, arguments in (("forward", (x, axes)), ("gradient", (x, axes, R)), ("tangent", (x, axes, x))):
        got = getattr(backend, f"{stem}_{name}")(*arguments, keepdims=keepdims)
        sizes = (np.abs(a) if isinstance(a, np.ndarray) else a for a in arguments)
        magnitude = wide_answer(f"{stem}_{name}", *sizes, keepdims=keepdims)
        want = wide_answer(f"{stem}_{name}", *arguments, keepdims=keepdims)
        assert_within(got, want, sum_bound(n, magnitude, dtype), dtype, f"{stem}_{name}")
    arguments = {"x": x, "axes": axes, "R": R, "rule": rule, "keepdims": keepdims}
    terms = reduce_terms(widened(x, dtype), axes, keepdims, mean=stem == "mean")
    assert_relevance(f"{stem}_relevance", backend, arguments, terms, None, widened(R, dtype), rule, dtype, stem)


def test_long_sums_and_wide_rows(backend):
    """More than one thread's share; a global window; rows that no vector divides."""
    x = np.random.default_rng(0).normal(size=(3, 5, 61, 67)).astype(np.float32)
    bound = sum_bound(61 * 67, pyref.mean_forward(np.abs(x).astype(np.float64), (2, 3), True), np.float32)
    want = pyref.mean_forward(x.astype(np.float64), (2, 3), True)
    assert_within(backend.adaptive_avg_pool_forward(x), want, bound, np.float32, "global average")
    assert_within(backend.mean_forward(x, (2, 3), True), want, bound, np.float32, "global mean")
    for kernel, stride in (((61, 67), None), (3, 2), (3, 1), (2, 3)):
        y = pyref.max_pool_forward(x, kernel, stride)
        np.testing.assert_array_equal(backend.max_pool_forward(x, kernel, stride), y)
    for kernel, stride in ((7, 1), (8, 8), (9, 9), ((40, 1), 3)):
        magnitude = wide_answer("avg_pool_forward", np.abs(x), kernel=kernel, stride=stride)
        bound = sum_bound(81, magnitude, np.float32)
        want = wide_answer("avg_pool_forward", x, kernel=kernel, stride=stride)
        assert_within(backend.avg_pool_forward(x, kernel, stride), want, bound, np.float32, "avg_pool_forward")
    for inner in (67, 5):
        rows = x.reshape(3, -1, inner)
        bound = sum_bound(rows.shape[1], wide_answer("sum_forward", np.abs(rows), axes=1), np.float32)
        assert_within(
            backend.sum_forward(rows, 1), wide_answer("sum_forward", rows, axes=1), bound, np.float32, "long sum"
        )


def test_more_axes_than_kernels_have_run_as_pyref(backend):
    """In host memory; on a device, where that would be silent and slow, they are refused by name."""
    x = np.random.default_rng(0).normal(size=(2, 1, 3, 3, 3, 3))
    if "cuda" in backend.__name__:
        with pytest.raises(RuntimeError, match="4 axes has no CUDA kernel"):
            backend.max_pool_forward(x, 2, 1)
        return
    got, want = (m.max_pool_multiplier(x, -x, m.max_pool_forward(x, 2, 1), 2, 1) for m in (backend, pyref))
    np.testing.assert_array_equal(got, want)


X = np.ones((2, 3, 6))
E = pyref.Epsilon()
REFUSED = {
    "no axes": lambda m: m.max_pool_forward(X[0], 2),
    "kernel": lambda m: m.max_pool_forward(X, 2.0),
    "kernel, one for each": lambda m: m.max_pool_forward(X, (2, 2)),
    "stride": lambda m: m.max_pool_forward(X, 2, 0),
    "padding": lambda m: m.max_pool_forward(X, 2, padding=-1),
    "true is no number": lambda m: m.max_pool_forward(X, True),
    "wide padding": lambda m: m.max_pool_forward(X, 2, padding=3),
    "large kernel": lambda m: m.max_pool_gradient(X, X, 7),
    "G": lambda m: m.max_pool_gradient(X, X, 2),
    "ties": lambda m: m.max_pool_gradient(X, X, 1, ties="last"),
    "dx": lambda m: m.max_pool_tangent(X, X[..., 1:], 2),
    "R": lambda m: m.max_pool_relevance(X, X, 2),
    "M": lambda m: m.max_pool_multiplier(X, X, X, 2),
    "x0": lambda m: m.max_pool_multiplier(X, X[..., :5], X, 1),
    "max_pool": lambda m: m.max_pool_multiplier(X, X, X, 1, max_pool="y"),
    "ray dx": lambda m: m.max_pool_ray(X, X[0], 2),
    "average kernel": lambda m: m.avg_pool_forward(X, 0),
    "average G": lambda m: m.avg_pool_gradient(X, X, 2),
    "average dx": lambda m: m.avg_pool_tangent(X, X[0], 2),
    "average R": lambda m: m.avg_pool_relevance(X, X, E, 2),
    "average padding": lambda m: m.avg_pool_forward(X, 2, padding=2),
    "average pass": lambda m: m.avg_pool_relevance(X, X[..., ::2], pyref.Pass(), 2),
    "adaptive size": lambda m: m.adaptive_avg_pool_forward(X, 0),
    "adaptive, empty": lambda m: m.adaptive_avg_pool_forward(X[..., :0], 1),
    "adaptive G": lambda m: m.adaptive_avg_pool_gradient(X, X, 2),
    "adaptive R": lambda m: m.adaptive_avg_pool_relevance(X, X, E, 2),
    "axes": lambda m: m.sum_forward(X, 0),
    "axes twice": lambda m: m.mean_forward(X, (1, -2)),
    "sum G": lambda m: m.sum_gradient(X, 1, X),
    "mean dx": lambda m: m.mean_tangent(X, 1, X[0]),
    "mean R": lambda m: m.mean_relevance(X, 1, X, E),
}


@pytest.mark.parametrize("what", REFUSED)
def test_errors_are_pyrefs_word_for_word(backend, what):
    with pytest.raises(ValueError) as theirs:
        REFUSED[what](pyref)
    for _ in range(2):  # the second time the geometry is known
        with pytest.raises(ValueError) as mine:
            REFUSED[what](backend)
        assert str(mine.value) == str(theirs.value)
