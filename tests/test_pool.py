"""Pooling against windows listed one by one: winners, averages, multipliers, and the way along a ray."""

import itertools
from fractions import Fraction as F

import numpy as np
import pytest
from duck import Duck
from exact import assert_equal, assert_exact, fractions
from hypothesis import given, settings
from hypothesis import strategies as st
from test_dense import RULES

import pyref

RNG = np.random.default_rng


def numbers(rng, shape, most=4):
    """Few enough different Fractions that ties are common; within ZBox(-3, 3)."""
    out = np.empty(int(np.prod(shape)), dtype=object)
    out[:] = [F(int(k), 2) for k in rng.integers(-most, most + 1, size=out.size)]
    return out.reshape(shape)


# ---- windows by brute force: for every output position the list of input positions, row-major ------------


def axis_windows(length, k, s, before, after, d=1, ceil_mode=False):
    """Every window that begins within the padded axis and, unless in ceil mode, also ends there."""
    windows, start = [], -before
    while True:
        last = start + (k - 1) * d
        whole = last < length + after
        reaches_over = ceil_mode and start < length and start - s + (k - 1) * d < length + after - 1
        if not (whole or reaches_over):
            return windows
        windows.append([start + j * d for j in range(k)])
        start += s


def positions(axes, lengths):
    """{output position: input positions inside the image}."""
    out = {}
    for p in itertools.product(*(range(len(a)) for a in axes)):
        taps = itertools.product(*(a[i] for a, i in zip(axes, p, strict=True)))
        out[p] = [q for q in taps if all(0 <= i < n for i, n in zip(q, lengths, strict=True))]
    return out


@st.composite
def cases(draw, dilated):
    """(shape of x, arguments, windows per axis) of a pooling that has an input in every window."""
    rank = draw(st.integers(1, 3))
    shape, axes, args = [], [], {"kernel": [], "stride": [], "padding": [], "dilation": []}
    ceil_mode = draw(st.booleans())
    for _ in range(rank):
        k, s, d = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 2)) if dilated else 1
        before, after = (draw(st.integers(0, (k - 1) // 2 if d > 1 else k - 1)) for _ in range(2))
        least = max((k - 1) * d + 1 - before - after, d)
        length = draw(st.integers(least, least + (3 if rank < 3 else 1)))
        shape.append(length)
        axes.append(axis_windows(length, k, s, before, after, d, ceil_mode))
        for name, value in (("kernel", k), ("stride", s), ("padding", (before, after)), ("dilation", d)):
            args[name].append(value)
    args = {name: tuple(values) for name, values in args.items() if dilated or name != "dilation"}
    return (draw(st.integers(1, 2)), draw(st.integers(1, 2)), *shape), {**args, "ceil_mode": ceil_mode}, axes


def each(x, windows):
    """(n, c, output position, input positions) of every window."""
    for n, c in itertools.product(range(x.shape[0]), range(x.shape[1])):
        for p, inside in windows.items():
            yield n, c, p, inside


# ---- maximum ----------------------------------------------------------------------------------------------


@given(data=st.data())
@pytest.mark.parametrize("ties", ["first", "split", "all"])
def test_max_pool_by_brute_force(ties, data):
    shape, args, axes = data.draw(cases(dilated=True))
    rng = RNG(data.draw(st.integers(0, 999)))
    x, dx = numbers(rng, shape, most=1), numbers(rng, shape)
    y = pyref.max_pool_forward(x, **args)
    G = numbers(rng, y.shape)
    want, to, along, surplus = (np.full(s, F(0)) for s in (y.shape, x.shape, y.shape, y.shape))
    for n, c, p, inside in each(x, positions(axes, shape[2:])):
        top = max(x[n, c, *q] for q in inside)
        winners = [q for q in inside if x[n, c, *q] == top]
        winners = winners[:1] if ties == "first" else winners
        part = F(1, len(winners)) if ties == "split" else F(1)
        want[n, c, *p] = top
        surplus[n, c, *p] = (part * len(winners) - 1) * G[n, c, *p]
        for q in winners:
            to[n, c, *q] += part * G[n, c, *p]
            along[n, c, *p] += part * dx[n, c, *q]
    assert_equal(y, want)
    assert_equal(pyref.max_pool_gradient(x, G, **args, ties=ties), to)
    assert_equal(pyref.max_pool_tangent(x, dx, **args, ties=ties), along)
    account = pyref.Account()
    node = pyref.MaxPool(**args, ties=ties)
    assert_equal(node.relevance(pyref, (x,), y, G, pyref.ZPlus(), account=account)[0], to)
    row = pyref.LedgerRow("pool", G, (to,), account)
    assert (row.residual == 0).all() and (row.dropped == -pyref.sum_samples(surplus)).all()


@given(data=st.data())
def test_xmax_multipliers_are_complete_and_between_0_and_1(data):
    shape, args, _ = data.draw(cases(dilated=True))
    rng = RNG(data.draw(st.integers(0, 999)))
    x, x0 = numbers(rng, shape, most=2), numbers(rng, shape, most=2)
    y, y0 = pyref.max_pool_forward(x, **args), pyref.max_pool_forward(x0, **args)
    M = numbers(rng, y.shape)
    for ties in ("first", "split"):
        r = pyref.max_pool_multiplier(x, x0, M, **args, ties=ties)
        assert_exact(r)
        assert (pyref.sum_samples(r * (x - x0)) == pyref.sum_samples(M * (y - y0))).all()
        # with M = 1 in a single window, its multipliers themselves
        one = pyref.zeros_like(y)
        one.reshape(-1)[rng.integers(one.size)] = F(1)
        factors = pyref.max_pool_multiplier(x, x0, one, **args, ties=ties)
        assert ((factors >= 0) & (factors <= 1)).all()
        # at the baseline itself it is the gradient
        still = pyref.max_pool_multiplier(x, x, M, **args, ties=ties)
        assert_equal(still, pyref.max_pool_gradient(x, M, **args, ties=ties))
    routed = pyref.max_pool_multiplier(x, x0, M, **args, max_pool="gradient")
    assert_equal(routed, pyref.max_pool_gradient(x, M, **args))


def test_multipliers_worked():
    """The maximum rises from 2 to 5 through the new winner, or falls from 5 to 2 through the old one."""
    x, x0, M = fractions([[[1, 5]]]), fractions([[[2, 1]]]), fractions([[[8]]])
    assert_equal(pyref.max_pool_multiplier(x, x0, M, 2), fractions([[[0, 6]]]))  # 3/4 · 8
    assert_equal(pyref.max_pool_multiplier(x0, x, M, 2), fractions([[[0, 6]]]))
    routed = pyref.max_pool_multiplier(x0, x, M, 2, max_pool="gradient")
    assert_equal(routed, fractions([[[8, 0]]]))
    assert (routed * (x0 - x)).sum() != (M * (2 - 5)).sum()
    node = pyref.MaxPool(2)
    (m,) = node.multiplier(pyref, (x,), fractions([[[5]]]), (x0,), fractions([[[2]]]), M)
    assert_equal(m, fractions([[[0, 6]]]))


@given(data=st.data())
def test_ray_is_straight_until_its_time_and_bends_after(data):
    """pool(x + t dx) = y + t dy up to the time given, and after it some window has another winner."""
    shape, args, _ = data.draw(cases(dilated=True))
    rng = RNG(data.draw(st.integers(0, 999)))
    x, dx = numbers(rng, shape, most=2), numbers(rng, shape, most=2)
    y = pyref.max_pool_forward(x, **args)
    dy, time = pyref.MaxPool(**args).ray(pyref, (x,), y, (dx,))
    assert_exact(dy)
    assert time.shape == (shape[0],)
    for n in range(shape[0]):
        one = slice(n, n + 1)

        def bend(t, one=one):
            return pyref.max_pool_forward(x[one] + t * dx[one], **args) - (y[one] + t * dy[one])

        if time[n] == float("inf"):
            assert (bend(F(10**6)) == 0).all()
        else:
            assert time[n] > 0 and isinstance(time[n], F)
            assert (bend(time[n] / 2) == 0).all() and (bend(time[n]) == 0).all()
            assert (bend(time[n] + F(1, 10**6)) > 0).any()


def test_padding_never_wins_and_nan_does():
    x = np.array([[[-3.0, -1, -2]]])
    assert pyref.max_pool_forward(x, 2, 2, padding=1).tolist() == [[[-3, -1]]]
    integers = np.array([[[-3, -1, -2]]])
    assert pyref.max_pool_forward(integers, 2, 2, padding=1).dtype == np.int64
    x[0, 0, 1] = np.nan
    assert np.isnan(pyref.max_pool_forward(x, 3)).all()
    for ties in ("first", "split", "all"):
        assert pyref.max_pool_gradient(x, np.array([[[4.0]]]), 3, ties=ties).tolist() == [[[0, 4, 0]]]


def test_overlapping_windows_add_up_and_ties_go_to_the_first():
    x, R = fractions([[[1, 2, 2, 0]]]), fractions([[[1, 10, 100]]])
    assert_equal(pyref.max_pool_relevance(x, R, 2, 1), fractions([[[0, 11, 100, 0]]]))
    assert_equal(pyref.max_pool_relevance(x, R, 2, 1, ties="split"), fractions([[[0, 6, 105, 0]]]))
    assert_equal(pyref.max_pool_relevance(x, R, 2, 1, ties="all"), fractions([[[0, 11, 110, 0]]]))
    flat = fractions(np.ones((1, 1, 2, 2), dtype=int))
    assert_equal(pyref.max_pool_gradient(flat, fractions([[[[7]]]]), 2), fractions([[[[7, 0], [0, 0]]]]))


# ---- average ----------------------------------------------------------------------------------------------


def average_matrix(shape, windows, sizes):
    """(inputs, outputs) of one channel, with 1/n at every connection."""
    w = np.full((*shape[2:], len(windows)), F(0))
    for o, (p, inside) in enumerate(windows.items()):
        for q in inside:
            w[(*q, o)] = F(1, sizes[p])
    return w.reshape(-1, len(windows))


@st.composite
def averages(draw):
    """(x's shape, forward, gradient, tangent, relevance, node, matrix of one channel) of any average pooling."""
    kind = draw(st.sampled_from(["plain", "adaptive", "global"]))
    if kind == "plain":
        shape, args, axes = draw(cases(dilated=False))
        args["count_include_pad"] = draw(st.booleans())
        windows = positions(axes, shape[2:])
        if args["count_include_pad"]:
            ends = [length + after for length, (_, after) in zip(shape[2:], args["padding"], strict=True)]
            sizes = {
                p: np.prod([sum(i < end for i in a[j]) for a, j, end in zip(axes, p, ends, strict=True)])
                for p in windows
            }
        else:
            sizes = {p: len(inside) for p, inside in windows.items()}
        node, stem = pyref.AvgPool(**args), "avg_pool"
    else:
        shape = (draw(st.integers(1, 2)), 2, *(draw(st.integers(1, 5)) for _ in range(draw(st.integers(1, 2)))))
        out = tuple(draw(st.integers(1, 4)) for _ in shape[2:]) if kind == "adaptive" else (1,) * len(shape[2:])
        # input i belongs to window j where the intervals (i, i + 1) and (j h / m, (j + 1) h / m) overlap
        axes = [
            [[i for i in range(h) if i < F((j + 1) * h, m) and i + 1 > F(j * h, m)] for j in range(m)]
            for h, m in zip(shape[2:], out, strict=True)
        ]
        windows = positions(axes, shape[2:])
        sizes = {p: len(inside) for p, inside in windows.items()}
        args = {"output_size": out} if kind == "adaptive" else {}
        node, stem = pyref.GlobalAvgPool() if kind == "global" else pyref.AdaptiveAvgPool(out), "adaptive_avg_pool"
    functions = (getattr(pyref, f"{stem}_{f}") for f in ("forward", "gradient", "tangent", "relevance"))
    counts = tuple(len(a) for a in axes)
    sizes = {p: int(size) for p, size in sizes.items()}
    return shape, args, *functions, node, (average_matrix(shape, windows, sizes), windows, counts)


@given(data=st.data())
def test_average_is_its_matrix_and_its_adjoint_the_transpose(data):
    shape, args, forward, gradient, tangent, _, node, (w, _, counts) = data.draw(averages())
    rng = RNG(data.draw(st.integers(0, 999)))
    x, G = numbers(rng, shape), numbers(rng, (*shape[:2], *counts))
    flat = x.reshape(*shape[:2], -1)
    y = forward(x, **args)
    assert_equal(y, (flat @ w).reshape(G.shape))
    assert_equal(tangent(x, x, **args), y)
    r = gradient(x, G, **args)
    assert_equal(r, (G.reshape(*shape[:2], -1) @ w.T).reshape(shape))
    assert_equal(node.forward(pyref, x), y)
    assert_equal(node.gradient(pyref, (x,), y, G)[0], r)
    assert_equal(node.tangent(pyref, (x,), y, (x,)), y)
    (t,) = node.terms((x,))
    assert (t.forward(x, t.w) * G).sum() == (x * t.transpose(G, t.w)).sum()
    # integers: sums and counts in place of averages
    assert (t.forward(x, pyref.ones_like(t.w)) * G).sum() == (x * t.transpose(G, pyref.ones_like(t.w))).sum()


@pytest.mark.parametrize("rule", RULES, ids=str)
@settings(max_examples=max(1, settings().max_examples // 8))
@given(data=st.data())
def test_any_rule_is_that_rule_on_each_window_as_a_dense_unit(rule, data):
    shape, args, forward, _, _, relevance, node, (w, windows, counts) = data.draw(averages())
    rng = RNG(data.draw(st.integers(0, 999)))
    x, R = numbers(rng, shape), numbers(rng, (*shape[:2], *counts))
    account = pyref.Account()
    r = relevance(x, R, rule, **args, account=account)
    flat_x, flat_R = x.reshape(-1, w.shape[0]), R.reshape(-1, w.shape[1])
    want = np.full(flat_x.shape, F(0))
    for o, inside in enumerate(windows.values()):
        i = [np.ravel_multi_index(q, shape[2:]) for q in inside]
        want[:, i] += pyref.dense_relevance(flat_x[:, i], w[i, o : o + 1], None, flat_R[:, [o]], rule)
    assert_equal(r, want.reshape(shape))
    y = forward(x, **args)
    assert_equal(node.relevance(pyref, (x,), y, R, rule)[0], r)
    assert (pyref.LedgerRow("pool", R, (r,), account).residual == 0).all()


def test_average_worked():
    """Five inputs, windows of 3 every 2 with one zero before: {·, 0, 1}, {1, 2, 3}, and in ceil mode {3, 4, -}."""
    x = fractions([[[1, 2, 3, 4, 5]]])
    ceil = {"kernel": 3, "stride": 2, "padding": ((1, 0),), "ceil_mode": True}
    assert_equal(pyref.avg_pool_forward(x, 3, 2, ((1, 0),)), fractions([[[1, 3]]]))
    assert_equal(pyref.avg_pool_forward(x, **ceil), fractions([[[1, 3, "9/2"]]]))  # what reaches over is not counted
    assert_equal(pyref.avg_pool_forward(x, **ceil, count_include_pad=False), fractions([[["3/2", 3, "9/2"]]]))
    # a last window that would begin in the padding after the image is left out
    assert pyref.max_pool_forward(x[..., :3], 2, 2, ((1, 1),), ceil_mode=True).shape[2] == 2
    assert pyref.avg_pool_forward(x, 2, 2, ceil_mode=True).tolist() == [[[F(3, 2), F(7, 2), F(5)]]]
    # 5 → 3 by ⌊5j/3⌋ … ⌈5(j+1)/3⌉: {0, 1}, {1, 2, 3}, {3, 4}
    assert_equal(pyref.adaptive_avg_pool_forward(x, 3), fractions([[["3/2", 3, "9/2"]]]))
    r = pyref.adaptive_avg_pool_relevance(x, fractions([[[15]]]), pyref.Norm(0))
    assert_equal(r, x)


# ---- kinds of arrays, and errors ------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "node",
    [
        pyref.MaxPool(2, padding=1),
        pyref.MaxPool((3, 2), (2, 1), ceil_mode=True, ties="split"),
        pyref.GlobalMaxPool(),
        pyref.AvgPool(3, 2, ((1, 1), (0, 1)), ceil_mode=True),
        pyref.AvgPool(2, count_include_pad=False, padding=1),
        pyref.AdaptiveAvgPool((2, 3)),
        pyref.GlobalAvgPool(),
    ],
    ids=str,
)
def test_dtype_empty_batch_and_device_arrays(node, dtype):
    rng = RNG(3)
    x, x0, dx = (rng.normal(size=(2, 3, 5, 4)).astype(dtype) for _ in range(3))
    for rule in (pyref.Epsilon(bias="uniform"), pyref.AlphaBeta(), pyref.Flat(), pyref.Norm()):
        y, y0 = node.forward(pyref, x), node.forward(pyref, x0)
        answers = [
            y,
            *node.gradient(pyref, (x,), y, y),
            node.tangent(pyref, (x,), y, (dx,)),
            *node.relevance(pyref, (x,), y, y, rule, account=pyref.Account()),
            *node.multiplier(pyref, (x,), y, (x0,), y0, y),
            node.ray(pyref, (x,), y, (dx,))[0],
        ]
        assert all(a.dtype == dtype for a in answers)
        X, Y, X0, Y0, DX = map(Duck, (x, y, x0, y0, dx))
        device = [
            node.forward(pyref, X),
            *node.gradient(pyref, (X,), Y, Y),
            node.tangent(pyref, (X,), Y, (DX,)),
            *node.relevance(pyref, (X,), Y, Y, rule, account=pyref.Account()),
            *node.multiplier(pyref, (X,), Y, (X0,), Y0, Y),
            node.ray(pyref, (X,), Y, (DX,))[0],
        ]
        assert all((d._array == a).all() for d, a in zip(device, answers, strict=True))
    none, nothing = x[:0], y[:0]
    assert node.forward(pyref, none).shape == nothing.shape
    assert node.gradient(pyref, (none,), nothing, nothing)[0].shape == none.shape
    assert node.relevance(pyref, (none,), nothing, nothing, rule, account=pyref.Account())[0].shape == none.shape
    assert node.multiplier(pyref, (none,), nothing, (none,), nothing, nothing)[0].shape == none.shape
    assert node.ray(pyref, (none,), nothing, (none,))[1] is None


def test_global_pools_are_one_window():
    x = numbers(RNG(4), (2, 3, 4, 5))
    assert_equal(pyref.GlobalMaxPool().forward(pyref, x)[..., 0, 0], x.max(axis=(2, 3)))
    assert_equal(pyref.GlobalAvgPool().forward(pyref, x)[..., 0, 0], x.sum(axis=(2, 3)) / 20)


X55 = np.ones((1, 2, 5, 5))
ERRORS = [
    (lambda: pyref.MaxPool(0), "kernel is 0, expected whole numbers >= 1"),
    (lambda: pyref.MaxPool(2, (1, 2, 3), (1, 1)), "padding is .*, expected a number, one for each of 3 axes"),
    (lambda: pyref.MaxPool(2, ties="last"), "ties is 'last', expected one of 'first', 'split', 'all'"),
    (lambda: pyref.GlobalMaxPool(ties=None), "ties is None"),
    (lambda: pyref.AvgPool(2, stride=0), "stride is 0"),
    (lambda: pyref.AdaptiveAvgPool(0), "output_size is 0, expected whole numbers >= 1"),
    (lambda: pyref.max_pool_forward(X55, 6), "kernel that spans 6 is larger than its padded input of 5"),
    (lambda: pyref.avg_pool_forward(X55, (2, 3, 4)), "kernel is .*, expected a number or one for each of 2 axes"),
    (lambda: pyref.max_pool_forward(X55, 2, padding=2), "padding 2 is so wide that a window of kernel .* lies wholly"),
    (lambda: pyref.avg_pool_forward(X55, 2, padding=2), "padding 2 is so wide that a window of kernel .* lies wholly"),
    (lambda: pyref.max_pool_forward(X55[:, :, :1], (2, 1), padding=((1, 1), (0, 0)), dilation=2), "wholly inside"),
    (lambda: pyref.max_pool_forward(np.ones((2, 5)), 2), r"x has shape \(2, 5\), expected"),
    (lambda: pyref.max_pool_gradient(X55, X55, 2), r"G has shape \(1, 2, 5, 5\), expected \(1, 2, 2, 2\)"),
    (lambda: pyref.avg_pool_gradient(X55, X55, 2), r"G has shape \(1, 2, 5, 5\), expected \(1, 2, 2, 2\)"),
    (lambda: pyref.max_pool_relevance(X55, X55, 2), "R has shape"),
    (lambda: pyref.avg_pool_relevance(X55, X55, pyref.Norm(), 2), "R has shape"),
    (lambda: pyref.max_pool_multiplier(X55, X55, X55, 2), "M has shape"),
    (lambda: pyref.max_pool_multiplier(X55, X55, X55, 1, max_pool="min"), "max_pool is 'min', expected one of"),
    (lambda: pyref.max_pool_tangent(X55, X55[:, :1], 2), "dx has shape"),
    (lambda: pyref.max_pool_ray(X55, X55[:, :1], 2), "dx has shape"),
    (lambda: pyref.avg_pool_tangent(X55, X55[:, :1], 2), "dx has shape"),
    (lambda: pyref.adaptive_avg_pool_tangent(X55, X55[:, :1], 2), "dx has shape"),
    (lambda: pyref.adaptive_avg_pool_forward(X55[:, :, :0]), "expected no empty axis after the first two"),
    (lambda: pyref.adaptive_avg_pool_forward(X55, (1, 2, 3)), "output_size is"),
]


@pytest.mark.parametrize(("call", "words"), ERRORS, ids=[words for _, words in ERRORS])
def test_errors(call, words):
    with pytest.raises(ValueError, match=words):
        call()
