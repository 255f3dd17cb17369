"""Convolution and its transpose on the CPU backend: errors, passes, the edges of its tiles, threads and bits."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from bound import sum_bound
from hypothesis import given, settings
from hypothesis import strategies as st
from parity import DTYPES, assert_relevance, assert_within, generators, values, widened
from test_cpu import PASSES
from test_parity import RULES

import pyref
import relprop.cpu as cpu
from pyref.layers.conv import conv_terms, conv_windows
from relprop import _core


def arrays(n=2, c=4, o=6, axes=(9, 8), kernel=(3, 3), groups=1, dtype=np.float64, kind="normal"):
    """x, w, b, R of a convolution with padding to x's axes."""
    rng = np.random.default_rng(3)
    x, w = values(kind, (n, c, *axes), dtype, rng), values("normal", (o, c // groups, *kernel), dtype, rng)
    return x, w, values("normal", (o,), dtype, rng), values("normal", (n, o, *axes), dtype, rng)


# ---- errors ----

X, W, B, R = arrays()
WT = W.swapaxes(0, 1)

REFUSED = {  # what: the call of a backend, refused by both in the same words
    "no axis": lambda m: m.conv_forward(X[0, 0], W),
    "w's rank": lambda m: m.conv_forward(X, W[..., 0]),
    "w empty": lambda m: m.conv_forward(X, W[..., :0]),
    "w's channels": lambda m: m.conv_forward(X, W[:, :3]),
    "b": lambda m: m.conv_forward(X, W, B[:3], padding=1),
    "groups do not divide": lambda m: m.conv_forward(X, W, groups=4),
    "groups too many": lambda m: m.conv_forward(X, W, groups=2),
    "groups 0": lambda m: m.conv_forward(X, W, groups=0),
    "groups not whole": lambda m: m.conv_forward(X, W, groups=1.0),
    "stride 0": lambda m: m.conv_forward(X, W, stride=0),
    "stride not whole": lambda m: m.conv_forward(X, W, stride=(1, 1.5)),
    "stride per axis": lambda m: m.conv_forward(X, W, stride=(1, 1, 1)),
    "stride is a bool": lambda m: m.conv_forward(X, W, stride=True),
    "dilation": lambda m: m.conv_forward(X, W, dilation=(0, 1)),
    "padding negative": lambda m: m.conv_forward(X, W, padding=-1),
    "padding per axis": lambda m: m.conv_forward(X, W, padding=(1,)),
    "padding in threes": lambda m: m.conv_forward(X, W, padding=((1, 1, 1), (0, 0, 0))),
    "kernel too large": lambda m: m.conv_forward(X, W, dilation=5),
    "G": lambda m: m.conv_gradient(X, W, B, R),
    "dx": lambda m: m.conv_tangent(X, W, B, R),
    "relevance: w": lambda m: m.conv_relevance(X, W[:, :3], B, R, pyref.Epsilon(), padding=1),
    "relevance: R": lambda m: m.conv_relevance(X, W, B, R, pyref.Epsilon()),
    "relevance: b": lambda m: m.conv_relevance(X, W, B[:3], R, pyref.Epsilon(), padding=1),
    "relevance: z": lambda m: m.conv_relevance(X, W, B, R, pyref.Epsilon(), padding=1, z=R[:1]),
    "a box too small": lambda m: m.conv_relevance(X, W, B, R, pyref.ZBox(-0.5, 0.5), padding=1),
    "pass": lambda m: m.conv_relevance(X, W, B, R, pyref.Pass(), padding=1),
    "argument missing": lambda m: m.conv_relevance(X, W, B),
    "argument unknown": lambda m: m.conv_forward(X, W, pad=1),
    "four axes": lambda m: m.conv_forward(X[:, :, None, None], W[:, :3, None, None]),
    "transpose: w's channels": lambda m: m.conv_transpose_forward(X, W),
    "transpose: w's rank": lambda m: m.conv_transpose_forward(X, WT[0]),
    "transpose: b": lambda m: m.conv_transpose_forward(X, WT, B[:3]),
    "transpose: groups": lambda m: m.conv_transpose_forward(X, WT, groups=3),
    "transpose: padding leaves nothing": lambda m: m.conv_transpose_forward(X, WT, padding=9),
    "transpose: output_padding": lambda m: m.conv_transpose_forward(X, WT, output_padding=1),
    "transpose: output_padding negative": lambda m: m.conv_transpose_forward(X, WT, output_padding=-1),
    "transpose: empty axis": lambda m: m.conv_transpose_forward(X[..., :0], WT),
    "transpose: G": lambda m: m.conv_transpose_gradient(X, WT, B, R),
    "transpose: dx": lambda m: m.conv_transpose_tangent(X, WT, B, R),
    "transpose: R": lambda m: m.conv_transpose_relevance(X, WT, B, R[..., 1:], pyref.Epsilon(), padding=1),
    "transpose: z": lambda m: m.conv_transpose_relevance(X, WT, B, R, pyref.Epsilon(), padding=1, z=R[:1]),
}


@pytest.mark.parametrize("what", REFUSED)
def test_errors_are_pyrefs_word_for_word(what):
    with pytest.raises((ValueError, TypeError)) as theirs:
        REFUSED[what](pyref)
    with pytest.raises(type(theirs.value)) as mine:
        REFUSED[what](cpu)
    assert str(mine.value) == str(theirs.value)


@pytest.mark.parametrize("name", ["x", "w", "b", "R", "z"])
def test_dtypes_are_refused(name):
    arguments = {"x": X, "w": W, "b": B, "R": R, "z": R, "rule": pyref.Epsilon(), "padding": 1}
    with pytest.raises(TypeError, match=f"{name} has dtype int64, expected float32 or float64"):
        cpu.conv_relevance(**arguments | {name: arguments[name].astype(int)})


def test_whatever_pyref_takes_for_whole_numbers_is_taken():
    want = pyref.conv_forward(X, W, stride=2, padding=((1, 2), (0, 3)))
    got = cpu.conv_forward(X, W, stride=np.int64(2), padding=[(np.int32(1), 2), (0, np.int64(3))], groups=np.int8(1))
    assert np.allclose(got, want)
    want = pyref.conv_transpose_forward(X, WT, stride=2, output_padding=(1, 0))
    got = cpu.conv_transpose_forward(X, WT, stride=[np.int64(2), 2], output_padding=[1, 0], groups=np.int64(1))
    assert np.allclose(got, want)


def test_more_than_three_axes_are_pyrefs():
    x, w, b, R = arrays(2, 2, 3, (3, 2, 3, 2), (3, 1, 1, 1))
    options = {"padding": ((1, 1), 0, 0, 0)}
    assert (cpu.conv_forward(x, w, b, **options) == pyref.conv_forward(x, w, b, **options)).all()
    account = pyref.Account()
    got = cpu.conv_relevance(x, w, b, R, pyref.ZPlus(), **options, account=account)
    assert (got == pyref.conv_relevance(x, w, b, R, pyref.ZPlus(), **options)).all()
    assert account.bias is not None


# ---- passes ----


@pytest.mark.parametrize("kind", ["conv", "conv_transpose"])
@pytest.mark.parametrize(("rule", "sign", "is_known", "forward", "back"), PASSES, ids=str)
def test_passes(kind, rule, sign, is_known, forward, back):
    x, w, b, R = arrays(2, 24, 24, (10, 10), dtype=np.float32, kind=sign)
    z = getattr(pyref, f"{kind}_forward")(x, w, b, padding=1)
    _core.reset_counters()
    getattr(cpu, f"{kind}_relevance")(x, w, b, R, rule, padding=1, z=z if is_known else None)
    assert _core.counters()["flops"] == (forward + back) * 2 * R.size * w[0].size


@pytest.mark.parametrize("options", [{"stride": 2}, {"stride": (3, 1), "dilation": 2}, {"groups": 4}], ids=str)
def test_a_gradient_costs_what_its_forward_costs(options):
    """Back through a stride no product meets a zero that the stride put there."""
    x, w, b, _ = arrays(2, 8, 8, (12, 12), groups=options.get("groups", 1))
    _core.reset_counters()
    z = cpu.conv_forward(x, w, b, **options)
    forward = _core.counters()["flops"]
    assert forward == 2 * z.size * w[0].size
    _core.reset_counters()
    cpu.conv_gradient(x, w, b, z, **options)
    assert _core.counters()["flops"] <= 2 * x.size * w[:, 0].size / groups_and_strides(options)
    _core.reset_counters()
    cpu.conv_tangent(x, w, b, x, **options)
    assert _core.counters()["flops"] == forward


def groups_and_strides(options):
    return options.get("groups", 1) * np.prod(np.broadcast_to(options.get("stride", 1), 2))


def test_workspace_does_not_grow_with_the_image():
    """No temporary of the size of an image, let alone one for each of its taps."""
    most = []
    for length in (64, 128):
        x, w, b, G = arrays(1, 16, 16, (length, length), dtype=np.float32)
        _core.reset_counters()
        cpu.conv_forward(x, w, b, padding=1)
        cpu.conv_gradient(x, w, b, G, padding=1)
        most.append(_core.counters()["bytes_at_once"])
    assert most[0] == most[1]


@pytest.mark.parametrize(
    "rule", [pyref.Epsilon(), pyref.ZPlus(), pyref.Gamma(), pyref.AlphaBeta(), pyref.ZBox(-9, 9)], ids=str
)
def test_workspace_does_not_grow_with_the_batch(rule):
    most = []
    for n in (4, 8):
        x, w, b, R = arrays(n, 16, 16, (128, 128), dtype=np.float32)
        _core.reset_counters()
        cpu.conv_relevance(x, w, b, R, rule, padding=1, z=R)
        most.append(_core.counters()["bytes_at_once"])
    assert most[0] == most[1]


# ---- the edges of tiles, in whole numbers that every dtype holds ----


def whole(shape, dtype, seed):
    return np.random.default_rng(seed).integers(-3, 4, size=shape).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("rows", "channels", "kernel", "places"),
    [
        *((r, 2, 1, 5) for r in (1, 2, 3, 5, 7, 8, 9, 15, 257, 521)),
        *((9, c, 1, 5) for c in (287, 288, 289, 577)),
        *((9, c, 5, 5) for c in (57, 58, 115)),
        *((2, 2, k, 5) for k in (287, 288, 289, 600)),
        *((9, 2, 3, p) for p in (15, 16, 17, 23, 24, 25, 47, 48, 49, 119, 120, 121, 239, 240, 241, 481)),
    ],
)
def test_tiles_meet_without_gap_or_overlap(rows, channels, kernel, places, dtype):
    x = whole((2, channels, places + kernel - 1), dtype, 0)
    w, b = whole((rows, channels, kernel), dtype, 1), whole((rows,), dtype, 2)
    z = pyref.conv_forward(x, w, b)
    assert np.abs(z).max() < 2**24
    assert (cpu.conv_forward(x, w, b) == z).all()
    G = whole(z.shape, dtype, 3)
    assert (cpu.conv_gradient(x, w, b, G) == pyref.conv_gradient(x, w, b, G)).all()
    y = whole((2, rows, places), dtype, 4)
    assert (cpu.conv_transpose_forward(y, w) == pyref.conv_transpose_forward(y, w)).all()


@pytest.mark.parametrize("axes", [(1, 60), (60, 1), (7, 7), (5, 31), (2, 3, 41)], ids=str)
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("groups", [1, 2, 6])
def test_images_of_every_form(axes, stride, groups):
    """Tiles go over rows, planes and samples."""
    kernel = (3,) * len(axes)
    x = whole((5, 6, *axes), np.float32, 0)
    w = whole((12, 6 // groups, *kernel), np.float32, 1)
    options = {"stride": stride, "padding": ((2, 1),) * len(axes), "groups": groups}
    z = pyref.conv_forward(x, w, None, **options)
    assert (cpu.conv_forward(x, w, None, **options) == z).all()
    assert (cpu.conv_gradient(x, w, None, z, **options) == pyref.conv_gradient(x, w, None, z, **options)).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("axes", [(16, 16), (15, 16), (7, 61), (3, 5, 31), (1, 122)], ids=str)
@pytest.mark.parametrize(
    ("rows", "channels", "kernel", "stride"),
    [
        (3, 64, 7, 2),
        (1, 19, 4, 4),
        (131, 5, 3, 2),
        (17, 73, 3, 2),
        (7, 4, 5, (3, 2)),
        (5, 3, 2, 3),
        (9, 1, 18, 1),
        (2, 1, 18, 2),
    ],
    ids=str,
)
def test_phases_of_a_stride_share_what_they_see(rows, channels, kernel, stride, axes, dtype):
    """Whether as many of their places fit into the image or not, with kernels wider and narrower than the stride."""
    rank = len(axes)
    strides = (1,) * (rank - 2) + (stride if isinstance(stride, tuple) else (stride, stride))
    kernels = tuple(min(kernel, length + 2) for length in axes)
    w = whole((channels, rows, *kernels), dtype, 1)
    options = {"stride": strides, "padding": 1}
    x = np.zeros((2, rows, *axes), dtype)
    G = whole(pyref.conv_forward(x[:, :1], w[:, :1], **options).shape, dtype, 3)
    want = pyref.conv_gradient(x, w, None, G, **options)
    assert np.abs(want).max(initial=0) < 2**24
    assert (cpu.conv_gradient(x, w, None, G, **options) == want).all()
    for n in range(2):
        one = slice(n, n + 1)
        assert (cpu.conv_gradient(x[one], w, None, G[one], **options) == want[one]).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("rows", "channels"), [(1, 8), (3, 9), (4, 64)])
@pytest.mark.parametrize(
    ("axes", "kernel", "options"),
    [
        ((31, 5), (3, 3), {"padding": 1}),
        ((97, 17), (3, 2), {"padding": ((2, 0), (0, 3)), "stride": (3, 1)}),
        ((4, 530), (2, 3), {"padding": 2, "stride": (1, 3)}),
        ((66, 40), (5, 4), {"dilation": (2, 3), "stride": 2}),
        ((481,), (7,), {"stride": 4, "padding": 3}),
        ((35, 33), (1, 2), {"stride": 4}),
    ],
    ids=str,
)
def test_products_before_taps_where_an_image_has_few_channels(rows, channels, axes, kernel, options, dtype):
    """Bands and lines of windows meet without gap or overlap, whatever the stride."""
    x, w = whole((2, rows, *axes), dtype, 0), whole((channels, rows, *kernel), dtype, 1)
    G = whole(pyref.conv_forward(x, w, None, **options).shape, dtype, 2)
    want = pyref.conv_gradient(x, w, None, G, **options)
    assert (cpu.conv_gradient(x, w, None, G, **options) == want).all()
    assert (cpu.conv_gradient(x[1:], w, None, G[1:], **options) == want[1:]).all()
    _core.reset_counters()
    cpu.conv_gradient(x, w, None, G, **options)
    assert _core.counters()["flops"] == 2 * G.size * w[0].size


def test_what_windows_never_see_has_no_gradient():
    """A stride over the kernel, and an end that no window reaches."""
    x, w, b, _ = arrays(1, 2, 3, (9, 11), (1, 2))
    z = cpu.conv_forward(x, w, b, stride=4)
    G_x = cpu.conv_gradient(x, w, b, np.ones_like(z), stride=4)
    seen = np.zeros((9, 11), bool)
    seen[::4, 0::4] = seen[::4, 1::4] = True
    assert ((G_x != 0) == seen).all()
    assert (np.signbit(G_x) & ~seen).sum() == 0


# ---- threads and bits ----


@pytest.fixture
def two_threads():
    before = cpu.threads()
    cpu.set_threads(2)
    yield
    cpu.set_threads(before)


def all_at_once():
    x, w, b, R = arrays(3, 12, 16, (25, 23), groups=2, dtype=np.float32)
    rules = [pyref.RULES[name]() for name in pyref.RULES if name not in ("pass_", "z_box")]
    options = {"padding": 1, "groups": 2}
    calls = [lambda rule=rule: cpu.conv_relevance(x, w, b, R, rule, **options).tobytes() for rule in rules]
    calls.append(lambda: cpu.conv_forward(x, w, b, **options).tobytes())
    return [*calls, lambda: cpu.conv_gradient(x, w, b, R, **options).tobytes()]


def test_the_number_of_threads_does_not_change_a_bit(two_threads):
    calls = all_at_once()
    with_two = [call() for call in calls]
    for threads in (1, 3, 16):
        cpu.set_threads(threads)
        assert with_two == [call() for call in calls]


def test_calls_from_several_threads_say_the_same_to_the_bit(two_threads):
    calls = all_at_once() * 4
    alone = [call() for call in calls]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda call: call(), calls)) == alone


def test_a_sample_has_its_own_bits():
    """Where tiles end depends on the batch; a sample's numbers do not."""
    x, w, b, G = arrays(5, 6, 8, (11, 13), dtype=np.float32)
    z, G_x = cpu.conv_forward(x, w, b, padding=1), cpu.conv_gradient(x, w, b, G, padding=1)
    r = cpu.conv_relevance(x, w, b, G, pyref.Epsilon(), padding=1)
    for n in range(5):
        one = slice(n, n + 1)
        assert (cpu.conv_forward(x[one], w, b, padding=1) == z[one]).all()
        assert (cpu.conv_gradient(x[one], w, b, G[one], padding=1) == G_x[one]).all()
        assert (cpu.conv_relevance(x[one], w, b, G[one], pyref.Epsilon(), padding=1) == r[one]).all()


@pytest.mark.parametrize("kind", ["signed", "nonnegative"])
def test_each_sample_goes_the_way_that_it_allows(kind):
    """Samples share no product: what one of them forbids costs the others nothing, and moves no bit of theirs."""
    x, w, b, R = arrays(6, 24, 24, (10, 10), dtype=np.float32)
    if kind == "signed":  # a unit whose contributions have one sign is not had as a difference
        rule, least, most = pyref.AlphaBeta(), 1 + 2, 4 + 4
        w[3], R[:, 3] = np.abs(w[3]), 0
        x[2, :, :5], R[2, 3, 2, 2] = np.abs(x[2, :, :5]), 1
        z = pyref.conv_forward(x, w, b, padding=1)
    else:  # relevance arrives where z < 0
        rule, least, most, x = pyref.Gamma(), 1 + 1, 1 + 2, np.abs(x)
        z = pyref.conv_forward(x, w, b, padding=1)
        R[[0, 1, 3, 4, 5]] *= z[[0, 1, 3, 4, 5]] > 0
    _core.reset_counters()
    r = cpu.conv_relevance(x, w, b, R, rule, padding=1, z=z)
    assert _core.counters()["flops"] == (5 * least + most) * 2 * R[0].size * w[0].size
    for n in range(6):
        one = slice(n, n + 1)
        assert (cpu.conv_relevance(x[one], w, b, R[one], rule, padding=1, z=z[one]) == r[one]).all()


GEOMETRIES = {  # layer: its axes, channels of x and of z, w's shape, and what else it is told
    "dense": ((), 12, 130, (12, 130), {}),
    "conv": ((15, 12), 32, 48, (48, 16, 3, 3), {"stride": (2, 1), "dilation": (1, 2), "padding": 1, "groups": 2}),
    "conv_transpose": ((9, 7), 32, 48, (32, 24, 3, 3), {"stride": 2, "padding": 1, "groups": 2}),
}


@pytest.mark.parametrize("layer", GEOMETRIES)
def test_a_look_at_few_units_spares_a_sum_in_vain(layer):
    """Signed contributions are summed by size where units allow it, and not where those looked at do not."""
    axes, inputs, outputs, shape, options = GEOMETRIES[layer]
    rng = np.random.default_rng(5)
    x, w, b = (values("normal", s, np.float32, rng) for s in ((2, inputs, *axes), shape, (outputs,)))
    forward = getattr(pyref, f"{layer}_forward")
    z, size = forward(x, w, b, **options), forward(*map(np.abs, (x, w, b)), **options)
    R = values("normal", z.shape, np.float32, rng)

    def flops(function, *given, **more):
        _core.reset_counters()
        getattr(cpu, f"{layer}_{function}")(*given, **options, **more)
        return _core.counters()["flops"]

    there, back = flops("forward", x, w, b), flops("gradient", x, w, b, R)
    by_size = 2 * np.abs(z) <= 0.99 * size
    assert (R * by_size != 0).any() and (R * (~by_size & (z > 0)) != 0).any()
    for arriving, spent in ((R * by_size, there + 2 * back), (R * (~by_size & (z > 0)), 2 * there + 4 * back)):
        assert flops("relevance", x, w, b, arriving, pyref.AlphaBeta(), z=z) == spent


# ---- images that are the same along most of an axis ----

UNIFORM = {  # axes, kernel, which slices of x differ from the rest, options
    "all the same": ((40, 50), (3, 3), (), {"padding": 1}),
    "a frame": ((41, 50), (3, 3), ((2, 0), (2, 40), (3, 1), (3, 49)), {"padding": 1}),
    "along rows": ((40, 50), (3, 3), tuple((3, k) for k in range(50)), {"padding": 1}),
    "along columns": ((40, 50), (3, 3), tuple((2, k) for k in range(40)), {"padding": 1}),
    "strides": ((80, 101), (5, 3), ((2, 0), (3, 100)), {"padding": (2, 1), "stride": (2, 3)}),
    "strides and dilation": ((81, 100), (3, 3), ((2, 1), (3, 98)), {"stride": 2, "dilation": (3, 2)}),
    "groups": ((40, 50), (3, 3), ((2, 3),), {"padding": 1, "groups": 4}),
    "uneven padding": ((40, 50), (3, 4), ((3, 2),), {"padding": ((0, 2), (3, 0))}),
    "one axis": ((3000,), (5,), ((2, 7),), {"padding": 2}),
    "three axes": ((9, 20, 20), (3, 3, 3), ((2, 0), (3, 19)), {"padding": 1}),
    "one by one": ((60, 70), (1, 1), ((2, 4),), {}),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", UNIFORM)
def test_windows_that_see_the_same_are_summed_once(name, dtype):
    """A sample that is even, as a baseline is, costs what its borders differ; those beside it go their way as ever."""
    axes, kernel, slices, options = UNIFORM[name]
    groups, rng = options.get("groups", 1), np.random.default_rng(2)
    x, w, b, _ = arrays(3, 16, 96, axes, kernel, groups, dtype)
    x[1] = rng.normal(size=(16,) + (1,) * len(axes))
    for axis, k in slices:
        at = x[1].swapaxes(0, axis - 1)[k]
        at += rng.normal(
            size=at.shape if len(slices) == 1 else (1,) * at.ndim
        )  # one number, and the other axis stays even
    wide_x, wide_w, wide_b = (widened(a, dtype) for a in (x, w, b))
    size = pyref.conv_forward(abs(wide_x), abs(wide_w), abs(wide_b), **options)
    bound = sum_bound(w[0].size + 1, size, dtype)
    z = cpu.conv_forward(x, w, b, **options)
    assert_within(z, pyref.conv_forward(wide_x, wide_w, wide_b, **options), bound, dtype, f"conv of an image {name}")
    spent = []
    for n in range(3):
        _core.reset_counters()
        assert (cpu.conv_forward(x[n : n + 1], w, b, **options) == z[n : n + 1]).all()
        spent.append(_core.counters()["flops"])
    assert spent[0] == spent[2] == 2 * z[0].size * w[0].size
    assert spent[1] < spent[0] / 2


def test_an_even_image_of_what_is_not_finite():
    x, w, b, _ = arrays(1, 16, 96, (40, 50))
    x[:] = np.inf
    x[0, 3] = np.nan
    with np.errstate(invalid="ignore"):
        want = pyref.conv_forward(x, w, b, padding=1)
    assert np.array_equal(cpu.conv_forward(x, w, b, padding=1), want, equal_nan=True)


# ---- where most sources are zero: value by value ----


def with_zeros(shape, dtype, rng, share=0.8, draw=None):
    """Values of which about such a share is 0."""
    v = rng.normal(size=shape) if draw is None else draw(shape)
    return (v * (rng.random(shape) >= share)).astype(dtype)


def is_met_value_by_value(call):
    """Whether that schedule answered: beside counting zeros it packs the weights and lists what is there."""
    _core.reset_counters()
    call()
    return _core.counters()["allocations"] > 2


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("axes", [(9, 10), (14, 14), (5, 65), (130, 3), (33, 47), (1, 9, 10)], ids=str)
@pytest.mark.parametrize(("c", "o"), [(64, 64), (64, 32), (17, 200), (200, 17)])
def test_what_is_not_zero_meets_its_weights(c, o, axes, dtype):
    """In whole numbers, across the edges of blocks of channels, of tiles and of samples, beside what is dense."""
    rng = np.random.default_rng(0)
    x = with_zeros((3, c, *axes), dtype, rng, draw=lambda shape: rng.integers(-3, 4, size=shape))
    x[1] = whole(x[1].shape, dtype, 1)  # a sample that has few zeros
    w, b = whole((o, c, *(1,) * (len(axes) - 2), 3, 3), dtype, 2), whole((o,), dtype, 3)
    options = {"padding": (0,) * (len(axes) - 2) + (1, 1)}
    z = pyref.conv_forward(x, w, b, **options)
    assert (cpu.conv_forward(x, w, b, **options) == z).all()
    G = with_zeros(z.shape, dtype, rng, draw=lambda shape: rng.integers(-3, 4, size=shape))
    assert (cpu.conv_gradient(x, w, b, G, **options) == pyref.conv_gradient(x, w, b, G, **options)).all()
    if c == 64 and axes != (5, 65):
        assert is_met_value_by_value(lambda: cpu.conv_forward(x[:1], w, b, **options))
        assert is_met_value_by_value(lambda: cpu.conv_gradient(x[:1], w, b, G[:1], **options))
    assert not is_met_value_by_value(lambda: cpu.conv_forward(x[1:2], w, b, **options))


@pytest.mark.parametrize("padding", [0, ((2, 0), (0, 1))], ids=str)
@pytest.mark.parametrize("stride", [1, 3])
def test_what_is_not_zero_travels_back_through_a_stride(stride, padding):
    x = whole((1, 64, 40, 41), np.float32, 0)
    w = whole((64, 64, 3 * stride, 3 * stride), np.float32, 1)
    options = {"stride": stride, "padding": padding}
    rng, z = np.random.default_rng(0), pyref.conv_forward(x, w, None, **options)
    G = with_zeros(z.shape, np.float32, rng, draw=lambda shape: rng.integers(-3, 4, size=shape))
    assert (cpu.conv_gradient(x, w, None, G, **options) == pyref.conv_gradient(x, w, None, G, **options)).all()
    assert is_met_value_by_value(lambda: cpu.conv_gradient(x, w, None, G, **options))


def few(dtype, rng, n=1):
    """x, w, b, R of a convolution in which four values of five are 0."""
    channels = 64 if dtype == np.float32 else 32
    x, R = (with_zeros((n, channels, 9, 10), dtype, rng) for _ in range(2))
    return x, values("normal", (channels, channels, 3, 3), dtype, rng), values("normal", (channels,), dtype, rng), R


@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=5)
@given(rng=generators)
def test_sums_value_by_value(dtype, rng):
    x, w, b, G = few(dtype, rng)
    wide_x, wide_w, wide_b, wide_G = (widened(a, dtype) for a in (x, w, b, G))
    size = pyref.conv_forward(abs(wide_x), abs(wide_w), abs(wide_b), padding=1)
    want, got = pyref.conv_forward(wide_x, wide_w, wide_b, padding=1), cpu.conv_forward(x, w, b, padding=1)
    assert_within(got, want, sum_bound(w[0].size + 1, size, dtype), dtype, "conv, value by value")
    size = pyref.conv_gradient(wide_x, abs(wide_w), None, abs(wide_G), padding=1)
    want, got = pyref.conv_gradient(wide_x, wide_w, None, wide_G, padding=1), cpu.conv_gradient(x, w, b, G, padding=1)
    assert_within(got, want, sum_bound(w[:, 0].size, size, dtype), dtype, "conv gradient, value by value")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [name for name in pyref.RULES if name != "pass_"])
@settings(max_examples=3)
@given(rng=generators, data=st.data())
def test_relevance_value_by_value(name, dtype, rng, data):
    x, w, b, R = few(dtype, rng)
    rule = data.draw(st.sampled_from(RULES[name]))
    if name == "z_box" and rule.out_of_range == "raise":
        x = np.clip(x, dtype(rule.low), dtype(rule.high))
    wide = [widened(a, dtype) for a in (x, w, b, R)]
    terms = conv_terms(wide[0], wide[1], conv_windows(wide[0], wide[1], 1, 1, 1, 1), 1)
    arguments = {"x": x, "w": w, "b": b, "R": R, "rule": rule, "padding": 1}
    if name in ("epsilon", "z_plus", "alpha_beta"):
        assert is_met_value_by_value(lambda: cpu.conv_relevance(**arguments))
    assert_relevance(
        "conv_relevance",
        cpu,
        arguments,
        terms,
        wide[2].reshape(-1, 1, 1),
        wide[3],
        rule,
        dtype,
        f"{name}, value by value",
    )


def test_bits_of_what_is_met_value_by_value(two_threads):
    """They are a sample's own, whatever the threads and the samples beside it."""
    x, w, b, R = few(np.float32, np.random.default_rng(0), n=4)
    x[2] = np.random.default_rng(1).normal(size=x[2].shape)
    calls = [
        lambda rows: cpu.conv_forward(x[rows], w, b, padding=1),
        lambda rows: cpu.conv_gradient(x[rows], w, b, R[rows], padding=1),
        lambda rows: cpu.conv_relevance(x[rows], w, b, R[rows], pyref.Epsilon(), padding=1),
        lambda rows: cpu.conv_relevance(abs(x[rows]), w, b, R[rows], pyref.AlphaBeta(), padding=1),
    ]
    for call in calls:
        together = call(slice(None))
        assert (np.concatenate([call(slice(n, n + 1)) for n in range(4)]) == together).all()
        for threads in (1, 3):
            cpu.set_threads(threads)
            assert (call(slice(None)) == together).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_is_not_zero(bad):
    x, w, b, G = few(np.float32, np.random.default_rng(0), n=2)
    x[1, 3, 4, 5] = G[1, 3, 4, 5] = bad
    with np.errstate(all="ignore"):
        for ask in (lambda m: m.conv_forward(x, w, b, padding=1), lambda m: m.conv_gradient(x, w, b, G, padding=1)):
            want, got = ask(pyref), ask(cpu)
            assert (np.isfinite(got) == np.isfinite(want)).all()
            assert (np.isnan(got) == np.isnan(want)).all()


# ---- what is not finite ----


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", pyref.RULES)
@pytest.mark.parametrize("where", ["x", "R"])
def test_what_is_not_finite_goes_through_as_in_pyref(bad, name, where):
    """Not finite in the same places, also beside the padding and back through a stride."""
    if name == "pass_":
        x, w, b, R = arrays(4, 3, 3)
        options = {"padding": 1}
    else:
        x, w, b, _ = arrays(4, 3, 4, (9, 11))
        options = {"stride": (2, 1), "padding": 1}
        R = values("normal", pyref.conv_forward(x, w, b, **options).shape, np.float64, np.random.default_rng(1))
    {"x": x, "R": R}[where][2, 1, 0, 5] = bad
    rule = pyref.ZBox(-9, 9, out_of_range="clip") if name == "z_box" else pyref.RULES[name]()
    with np.errstate(all="ignore"):
        want, got = (m.conv_relevance(x, w, b, R, rule, **options) for m in (pyref, cpu))
        z_want, z_got = (m.conv_forward(x, w, b, **options) for m in (pyref, cpu))
    assert (np.isfinite(got) == np.isfinite(want)).all()
    assert np.isfinite(got[[0, 1, 3]]).all()
    assert not np.isnan(bad) or (np.isnan(got) == np.isnan(want)).all()
    assert (np.isfinite(z_got) == np.isfinite(z_want)).all()
