"""Convolution and its transpose: adjoint to one another, and each the dense layer of its own connections."""

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


def numbers(rng, shape):
    """Few enough different Fractions that zeros, ties and cancelling sums are common; within ZBox(-3, 3)."""
    out = np.empty(int(np.prod(shape)), dtype=object)
    out[:] = [F(int(k), 2) for k in rng.integers(-4, 5, size=out.size)]
    return out.reshape(shape)


@st.composite
def cases(draw, transpose=False):
    """(shape of x, shape of w, channels out, options) of a convolution, or of a transposed one."""
    rank = draw(st.integers(1, 3))
    small, axes = st.integers(1, 2), range(rank)
    kernel = tuple(draw(st.integers(1, 3 if rank < 3 else 2)) for _ in axes)
    dilation = tuple(draw(small) for _ in axes)
    stride = tuple(draw(st.integers(1, 3)) for _ in axes)
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    groups, per_in, per_out = draw(small), draw(small), draw(small)
    pads = [(draw(st.integers(0, 2)), draw(st.integers(0, 2))) for _ in axes]
    options = {"stride": stride, "padding": tuple(pads), "dilation": dilation, "groups": groups}
    if transpose:
        extra = [draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation, strict=True)]
        options["output_padding"] = tuple(extra)
        least = [
            max(0, -(-(sum(p) + 1 - e - span) // s)) + 1
            for p, e, span, s in zip(pads, extra, spans, stride, strict=True)
        ]
        w_shape = (groups * per_in, per_out, *kernel)
    else:
        least = [max(1, span - sum(p)) for span, p in zip(spans, pads, strict=True)]
        w_shape = (groups * per_out, per_in, *kernel)
    lengths = tuple(a + draw(st.integers(0, 2 if rank < 3 else 1)) for a in least)
    return (draw(small), groups * per_in, *lengths), w_shape, groups * per_out, options


def matrix(x_shape, w, options, out_shape, transpose=False):
    """The layer as a dense (inputs, outputs) matrix and the mask of connections, entry by entry."""
    groups, rank = options["groups"], len(x_shape) - 2
    ins, outs = (x_shape[1], *x_shape[2:]), (out_shape[1], *out_shape[2:])
    dense, connected = np.full((*ins, *outs), F(0)), np.zeros((*ins, *outs), dtype=bool)
    wide, narrow = (outs, ins) if transpose else (ins, outs)
    for p in itertools.product(*map(range, narrow[1:])):
        for k in itertools.product(*map(range, w.shape[2:])):
            q = tuple(
                p[a] * options["stride"][a] + k[a] * options["dilation"][a] - options["padding"][a][0]
                for a in range(rank)
            )
            if not all(0 <= i < length for i, length in zip(q, wide[1:], strict=True)):
                continue
            for a, b in itertools.product(range(w.shape[0]), range(w.shape[1])):
                # a counts the narrow side's channels, b the wide side's within a's group
                group = a // (w.shape[0] // groups)
                near, far = (a, *p), (group * w.shape[1] + b, *q)
                entry = (*near, *far) if transpose else (*far, *near)
                dense[entry], connected[entry] = w[(a, b, *k)], True
    size = int(np.prod(ins))
    return dense.reshape(size, -1), connected.reshape(size, -1)


KINDS = {
    "conv": (False, pyref.conv_forward, pyref.conv_gradient, pyref.conv_tangent, pyref.conv_relevance, pyref.Conv),
    "conv_transpose": (
        True,
        pyref.conv_transpose_forward,
        pyref.conv_transpose_gradient,
        pyref.conv_transpose_tangent,
        pyref.conv_transpose_relevance,
        pyref.ConvTranspose,
    ),
}


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_linear_map_is_its_matrix_and_its_adjoint_the_transpose(kind, data):
    transpose, forward, gradient, tangent, _, _ = KINDS[kind]
    x_shape, w_shape, out, options = data.draw(cases(transpose))
    rng = RNG(data.draw(st.integers(0, 999)))
    x, w, b = numbers(rng, x_shape), numbers(rng, w_shape), numbers(rng, (out,))
    z = forward(x, w, b, **options)
    dense, _ = matrix(x_shape, w, options, z.shape, transpose)
    n = x_shape[0]
    spread = np.broadcast_to(b.reshape(-1, *(1,) * (z.ndim - 2)), z.shape)
    assert_equal(z, (x.reshape(n, -1) @ dense).reshape(z.shape) + spread)
    G = numbers(rng, z.shape)
    assert_equal(gradient(x, w, b, G, **options), (G.reshape(n, -1) @ dense.T).reshape(x_shape))
    assert_equal(tangent(x, w, b, x, **options), z - spread)


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_adjoint_exactly_in_integers(kind, data):
    """⟨F(x), u⟩ = ⟨x, T(u)⟩ in 64-bit integers, through the node as a network calls it."""
    transpose, *_, layer = KINDS[kind]
    x_shape, w_shape, _, options = data.draw(cases(transpose))
    rng = RNG(data.draw(st.integers(0, 999)))
    x, w = rng.integers(-9, 10, size=x_shape), rng.integers(-9, 10, size=w_shape)
    node = layer(w, None, **options)
    z = node.forward(pyref, x)
    u = rng.integers(-9, 10, size=z.shape)
    (r,) = node.gradient(pyref, (x,), z, u)
    assert r.dtype == z.dtype == np.int64
    assert (z * u).sum() == (x * r).sum()
    assert (node.tangent(pyref, (x,), z, (x,)) == z).all()
    (t,) = node.terms((x,))
    assert (t.forward(x, w) == z).all() and (t.transpose(u, w) == r).all()


@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=max(1, settings().max_examples // 8))
@given(data=st.data())
def test_any_rule_is_that_rule_on_each_output_of_the_dense_matrix(kind, rule, data):
    """Border outputs have fewer inputs; whatever a rule counts, it counts those that are there."""
    transpose, forward, _, _, relevance, _ = KINDS[kind]
    x_shape, w_shape, out, options = data.draw(cases(transpose))
    rng = RNG(data.draw(st.integers(0, 999)))
    x, w = numbers(rng, x_shape), numbers(rng, w_shape)
    b = data.draw(st.sampled_from((None, numbers(rng, (out,)))))
    z = forward(x, w, b, **options)
    R = numbers(rng, z.shape)
    account = pyref.Account()
    r = relevance(x, w, b, R, rule, **options, account=account)
    assert_exact(r)

    dense, connected = matrix(x_shape, w, options, z.shape, transpose)
    flat_x, flat_R = x.reshape(x_shape[0], -1), R.reshape(x_shape[0], -1)
    want = np.full(flat_x.shape, F(0))
    positions = int(np.prod(z.shape[2:]))
    for o in range(dense.shape[1]):
        i = np.flatnonzero(connected[:, o])
        if i.size:
            bias = None if b is None else b[[o // positions]]
            want[:, i] += pyref.dense_relevance(flat_x[:, i], dense[np.ix_(i, [o])], bias, flat_R[:, [o]], rule)
    assert_equal(r, want.reshape(x_shape))
    assert_equal(relevance(x, w, b, R, rule, **options, z=z), r)
    assert (pyref.LedgerRow(kind, R, (r,), account).residual == 0).all()


def test_a_full_kernel_is_the_dense_layer():
    """The worked 3 × 2 layer, as a convolution over channels and as one over an axis."""
    x, w, b = fractions([[1, -2, 3]]), fractions([[2, -1], [1, 1], [-1, 2]]), fractions([1, -2])
    R, want = fractions([[1, 2]]), fractions([[-3, -3, "27/2"]])
    rule = pyref.Epsilon(0)
    pointwise = pyref.conv_relevance(x[:, :, None], w.T[:, :, None], b, R[:, :, None], rule)
    assert_equal(pointwise, want[:, :, None])
    full = pyref.conv_relevance(x[:, None], w.T[:, None], b, R[:, :, None], rule)
    assert_equal(full, want[:, None])
    turned = pyref.conv_transpose_relevance(x[:, :, None], w[:, :, None], b, R[:, :, None], rule)
    assert_equal(turned, want[:, :, None])


# x = (1, 2), w = (3, 1), one zero before: z = (1, 5) from taps {x0·1} and {x0·3, x1·1 + …}.
BORDER = [
    (pyref.Epsilon(0), None, [4, 2]),  # 1·1/1 + 3·5/5, 2·5/5
    (pyref.Flat(0), None, ["7/2", "5/2"]),  # 1/1 + 5/2, 5/2
    (pyref.WSquare(0), None, ["11/2", "1/2"]),  # 1·1/1 + 5·9/10, 5·1/10
    (pyref.Epsilon(0, bias="uniform"), [1], ["47/12", "25/12"]),  # (1+1)/2 + 5(3+½)/6, 5(2+½)/6
    (pyref.Epsilon(0, bias="proportional"), [1], [4, 2]),  # (1+1)/2 + 5(3+3/5)/6, 5(2+2/5)/6
    (pyref.Epsilon(0, bias="neuron"), [1], [3, "5/3"]),  # 1/2 + 5·3/6, 5·2/6
]


@pytest.mark.parametrize(("rule", "b", "want"), BORDER, ids=lambda v: str(v) if isinstance(v, pyref.Rule) else "")
def test_border_worked(rule, b, want):
    x, w, R = fractions([[[1, 2]]]), fractions([[[3, 1]]]), fractions([[[1, 5]]])
    b = None if b is None else fractions(b)
    assert_equal(pyref.conv_relevance(x, w, b, R, rule, padding=((1, 0),)), fractions([[want]]))


def test_transposed_worked():
    """Stride 2 with a kernel of 1 leaves every second output without an input: its bias keeps its relevance."""
    x, w, b = fractions([[[1, -2]]]), fractions([[[3]]]), fractions([1])
    z = pyref.conv_transpose_forward(x, w, b, stride=2, output_padding=1)
    assert_equal(z, fractions([[[4, 1, -5, 1]]]))
    for bias in ("neuron", "uniform", "proportional"):
        account = pyref.Account()
        rule, R = pyref.Epsilon(0, bias=bias), fractions([[[8, 5, 10, 7]]])
        r = pyref.conv_transpose_relevance(x, w, b, R, rule, stride=2, output_padding=1, account=account)
        assert_equal(r, fractions([[[6, 12]]] if bias == "neuron" else [[[8, 10]]]))
        assert account.bias.ravel().tolist() == ([2, 5, -2, 7] if bias == "neuron" else [0, 5, 0, 7])


@pytest.mark.parametrize("transpose", [False, True])
def test_padding_and_numbers_per_axis_have_three_spellings(transpose):
    _, forward, *_ = KINDS["conv_transpose" if transpose else "conv"]
    x, w = RNG(0).normal(size=(1, 2, 5, 6)), RNG(1).normal(size=(2, 2, 3, 3))
    want = forward(x, w, stride=(2, 2), padding=((1, 1), (1, 1)), dilation=(1, 1))
    for padding in (1, (1, 1), [1, 1], [[1, 1], [1, 1]]):
        assert (forward(x, w, stride=2, padding=padding) == want).all()


@pytest.mark.parametrize("kind", KINDS)
def test_dtype_empty_batch_and_device_arrays(kind):
    _, forward, gradient, tangent, relevance, _ = KINDS[kind]
    rng = RNG(2)
    for dtype in (np.float32, np.float64):
        x, w, b = (rng.normal(size=s).astype(dtype) for s in ((2, 4, 5, 5), (4, 2, 3, 2), (4,)))
        options = {"stride": (2, 1), "padding": ((1, 0), (0, 1)), "groups": 2}
        z = forward(x, w, b, **options)
        for rule in (pyref.Epsilon(bias="uniform"), pyref.AlphaBeta(), pyref.Flat(), pyref.ZBox(-9, 9)):
            r = relevance(x, w, b, z, rule, **options)
            assert r.dtype == z.dtype == gradient(x, w, b, z, **options).dtype == dtype
            assert r.shape == x.shape and tangent(x, w, b, x, **options).dtype == dtype
            assert relevance(x[:0], w, b, z[:0], rule, **options).shape == (0, *x.shape[1:])
            assert (relevance(*map(Duck, (x, w, b, z)), rule, **options)._array == r).all()
        assert forward(x[:0], w, b, **options).shape == (0, *z.shape[1:])


W3 = np.ones((4, 2, 3, 3))
ERRORS = [
    (lambda: pyref.Conv(W3, stride=0), "stride is 0, expected whole numbers >= 1"),
    (lambda: pyref.Conv(W3, stride=(1, 2, 3)), "stride is .*, expected a number or one for each of 2 axes"),
    (lambda: pyref.Conv(W3, padding=-1), "padding is -1, expected whole numbers >= 0"),
    (lambda: pyref.Conv(W3, padding=((1, 2, 3), 1)), "padding is .*, or pairs"),
    (lambda: pyref.Conv(W3, dilation=1.5), "dilation is 1.5, expected whole numbers >= 1"),
    (lambda: pyref.Conv(W3, groups=3), "groups is 3, expected a divisor of the 4 output channels"),
    (lambda: pyref.Conv(W3, np.ones(3)), r"b has shape \(3,\), expected \(4,\)"),
    (lambda: pyref.Conv(np.ones((4, 2))), r"w has shape \(4, 2\), expected two channel axes and one axis or more"),
    (lambda: pyref.Conv(np.ones((4, 2, 0))), r"w has shape \(4, 2, 0\), .*none of them empty"),
    (
        lambda: pyref.conv_forward(np.ones((1, 3, 5, 5)), W3),
        r"x has shape \(1, 3, 5, 5\), expected \(any, 2, any, any\)",
    ),
    (lambda: pyref.conv_forward(np.ones((1, 2, 5)), W3), r"w has shape \(4, 2, 3, 3\), expected .* 1 axis"),
    (lambda: pyref.conv_forward(np.ones((2, 5)), W3), r"x has shape \(2, 5\), expected \(n, c\) and one axis or more"),
    (lambda: pyref.conv_forward(np.ones((1, 2, 2, 5)), W3), "kernel that spans 3 is larger than its padded input of 2"),
    (
        lambda: pyref.conv_gradient(np.ones((1, 2, 5, 5)), W3, None, np.ones((1, 4, 5, 5))),
        r"G has shape \(1, 4, 5, 5\), expected \(1, 4, 3, 3\)",
    ),
    (lambda: pyref.conv_tangent(np.ones((1, 2, 5, 5)), W3, None, np.ones((1, 2, 5, 4))), "dx has shape"),
    (lambda: pyref.conv_relevance(np.ones((1, 2, 5, 5)), W3, None, np.ones((1, 4, 1)), pyref.Flat()), "R has shape"),
    (lambda: pyref.ConvTranspose(W3, groups=3), "groups is 3, expected a divisor of the 4 input channels"),
    (lambda: pyref.ConvTranspose(W3, np.ones(4)), r"b has shape \(4,\), expected \(2,\)"),
    (lambda: pyref.ConvTranspose(W3, stride=2, output_padding=2), "output_padding is 2, expected less than the stride"),
    (lambda: pyref.conv_transpose_forward(np.ones((1, 2, 5, 5)), W3), r"x has shape .*, expected \(any, 4, any, any\)"),
    (
        lambda: pyref.conv_transpose_forward(np.ones((1, 4, 1, 1)), W3, padding=2),
        r"padding 2 leaves an output of lengths \(-1, -1\)",
    ),
]


@pytest.mark.parametrize(("call", "words"), ERRORS, ids=[words for _, words in ERRORS])
def test_errors(call, words):
    with pytest.raises(ValueError, match=words):
        call()
