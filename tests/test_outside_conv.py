"""Convolution and pooling against PyTorch, where it is installed: whole numbers, so that equal means equal."""

import numpy as np
import pytest
from bound import rounding
from hypothesis import given
from hypothesis import strategies as st

import pyref

torch = pytest.importorskip("torch")
F = torch.nn.functional
pytestmark = pytest.mark.peers


def whole(rng, *shape, most=9):
    """Whole numbers as float64: every sum of their products is exact."""
    return rng.integers(-most, most + 1, size=shape).astype(np.float64)


def gradient(function, x, G):
    """(y, the gradient of Σ y G at x) by torch."""
    x = torch.tensor(x, requires_grad=True)
    y = function(x)
    y.backward(torch.tensor(G(tuple(y.shape))))
    return y.detach().numpy(), x.grad.numpy()


@given(st.data())
def test_convolutions(data):
    rank, groups = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 2))
    stride, padding, dilation = (tuple(data.draw(st.integers(a, 2)) for _ in range(rank)) for a in (1, 0, 1))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    x, w = whole(rng, 2, 4, *(6, 5, 5)[:rank]), whole(rng, 4, 4 // groups, *(3, 2, 2)[:rank])
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    extra = tuple(max(s, d) - 1 for s, d in zip(stride, dilation, strict=True))
    for stem, function, more in (
        ("conv", getattr(F, f"conv{rank}d"), {}),
        ("conv_transpose", getattr(F, f"conv_transpose{rank}d"), {"output_padding": extra}),
    ):
        b = whole(rng, 4)
        weights = [torch.tensor(v) for v in (w, b)]
        G = None

        def draw_G(shape):
            nonlocal G
            G = whole(rng, *shape)
            return G

        y, r = gradient(lambda v: function(v, *weights, **options, **more), x, draw_G)  # noqa: B023
        assert (getattr(pyref, f"{stem}_forward")(x, w, b, **options, **more) == y).all()
        assert (getattr(pyref, f"{stem}_gradient")(x, w, b, G, **options, **more) == r).all()


@given(st.data())
def test_pools(data):
    """Torch on a CPU gives a tie to the first as well; it allows padding up to half of the kernel."""
    rank, ceil_mode = data.draw(st.integers(1, 3)), data.draw(st.booleans())
    kernel = tuple(data.draw(st.integers(1, 3)) for _ in range(rank))
    padding = tuple(data.draw(st.integers(0, k // 2)) for k in kernel)
    stride, dilation = (tuple(data.draw(st.integers(1, 3)) for _ in range(rank)) for _ in range(2))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    x = whole(rng, 2, 3, *(8, 7, 7)[:rank], most=3)
    G = None

    def draw_G(shape):
        nonlocal G
        G = whole(rng, *shape)
        return G

    args = {"padding": padding, "stride": stride, "ceil_mode": ceil_mode}
    function = getattr(F, f"max_pool{rank}d")
    y, r = gradient(lambda v: function(v, kernel, dilation=dilation, **args), x, draw_G)
    assert (pyref.max_pool_forward(x, kernel, dilation=dilation, **args) == y).all()
    assert (pyref.max_pool_gradient(x, G, kernel, dilation=dilation, **args) == r).all()

    include = data.draw(st.booleans())
    function = getattr(F, f"avg_pool{rank}d")
    y, r = gradient(lambda v: function(v, kernel, count_include_pad=include, **args), x, draw_G)
    close(pyref.avg_pool_forward(x, kernel, count_include_pad=include, **args), y, np.abs(x).max())
    overlap = int(np.prod(kernel))
    close(
        pyref.avg_pool_gradient(x, G, kernel, count_include_pad=include, **args), r, overlap * np.abs(G).max(), overlap
    )

    size = tuple(data.draw(st.integers(1, 9)) for _ in range(rank))
    function = getattr(F, f"adaptive_avg_pool{rank}d")
    y, r = gradient(lambda v: function(v, size), x, draw_G)
    close(pyref.adaptive_avg_pool_forward(x, size), y, np.abs(x).max(), 8**rank)
    close(pyref.adaptive_avg_pool_gradient(x, G, size), r, np.abs(G).sum(), G[0, 0].size)


def close(got, want, magnitude, n=1):
    """Sums of n exact terms divided once on either side, in an order of their own: 2 (n + 2) roundings in all."""
    assert got.shape == want.shape
    assert (np.abs(got - want) <= rounding(2 * (n + 2), magnitude)).all()
