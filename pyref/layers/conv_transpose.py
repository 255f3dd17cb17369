"""Transposed convolution: the adjoint of a convolution, as a layer of its own."""

from dataclasses import dataclass
from typing import Any, ClassVar

from pyref.check import check_shape
from pyref.layers.affine import Term, affine_relevance
from pyref.layers.conv import channel_bias, check_weights, correlate, correlate_adjoint
from pyref.layers.layer import AffineLayer
from pyref.layers.window import Windows, image_rank, padding_pairs, per_axis

__all__ = [
    "ConvTranspose",
    "conv_transpose_forward",
    "conv_transpose_gradient",
    "conv_transpose_tangent",
    "conv_transpose_relevance",
]


def conv_transpose_forward(x, w, b=None, stride=1, padding=0, output_padding=0, dilation=1, groups=1):
    """Pre-activation of a transposed convolution: `conv_gradient` with x for G, and a bias.

        z_o[q] = Σ_c Σ_{p, k: p · stride + k · dilation - before = q} x_c[p] w_co[k] + b_o

    padding takes away from the output, and output_padding adds to its end, so that

        length = (axis - 1) · stride + (kernel - 1) · dilation + 1 - before - after + output_padding.

    Source
        [dumoulin2016] ch. 4.
    Shapes
        x (n, c, *axes)   w (c, o / groups, *kernel)   b (o,) or None   →   z (n, o, *lengths)
    Raises
        ValueError  a shape does not fit; padding leaves no output; a parameter out of range.
    """
    windows = conv_transpose_windows(x, w, stride, padding, output_padding, dilation, groups)
    if b is not None:
        check_shape("b", b, (w.shape[1] * groups,))
    z = correlate_adjoint(x, w, windows, groups)
    return z if b is None else z + channel_bias(b, z.ndim)


def conv_transpose_gradient(x, w, b, G, stride=1, padding=0, output_padding=0, dilation=1, groups=1):
    """Gradient at the input, the adjoint of `conv_transpose_forward` in x: a convolution of G with w.

        G_c[p] = Σ_o Σ_k w_co[k] G_o[p · stride + k · dilation - before]

    Shapes
        G (n, o, *lengths)   →   (n, c, *axes)
    Laws
        Σ z G = Σ x G_x where b = 0, exactly in exact arithmetic.
    Raises
        ValueError  as `conv_transpose_forward`; G has another shape than z.
    """
    windows = conv_transpose_windows(x, w, stride, padding, output_padding, dilation, groups)
    check_shape("G", G, (x.shape[0], w.shape[1] * groups, *windows.lengths))
    return correlate(G, w, windows, groups)


def conv_transpose_tangent(x, w, b, dx, stride=1, padding=0, output_padding=0, dilation=1, groups=1):
    """Change of z along dx: `conv_transpose_forward` of dx without bias.

    Shapes
        dx (n, c, *axes)   →   dz (n, o, *lengths)
    Raises
        ValueError  as `conv_transpose_forward`; dx has another shape than x.
    """
    check_shape("dx", dx, x.shape)
    return conv_transpose_forward(dx, w, None, stride, padding, output_padding, dilation, groups)


def conv_transpose_relevance(
    x, w, b, R, rule, stride=1, padding=0, output_padding=0, dilation=1, groups=1, z=None, account=None
):
    """Relevance of a transposed convolution's inputs under a rule.

        r_c[p] = Σ_p input(p, x_c[p]) · Σ_o Σ_k weight(p, w_co[k]) · s_p,o[…]      s = split(R, z): see `pyref.Rule`

    An output that no input reaches, as there are where the stride exceeds the kernel, has its bias only.

    Shapes
        x (n, c, *axes)   w (c, o / groups, *kernel)   b (o,) or None   R (n, o, *lengths)   →   r (n, c, *axes)
        z: the known pre-activation, computed again when omitted.
    Laws
        Equal to the same rule on the dense layer of each output's own inputs.
        Σ r = Σ R minus what `account` says stays behind.
    Raises
        ValueError  as `conv_transpose_forward`; R has another shape than z, or a z that is given than R.
    """
    windows = conv_transpose_windows(x, w, stride, padding, output_padding, dilation, groups)
    check_shape("R", R, (x.shape[0], w.shape[1] * groups, *windows.lengths))
    bias = None
    if b is not None:
        check_shape("b", b, (w.shape[1] * groups,))
        bias = channel_bias(b, R.ndim)
    if z is not None:
        check_shape("z", z, R.shape)
    return affine_relevance(conv_transpose_terms(x, w, windows, groups), bias, R, rule, z, account)[0]


def conv_transpose_terms(x, w, windows, groups):
    """The layer as a bilinear map, for the rule algebra."""
    return (
        Term(
            x,
            w,
            forward=lambda x, w: correlate_adjoint(x, w, windows, groups),
            transpose=lambda u, w: correlate(u, w, windows, groups),
        ),
    )


def conv_transpose_windows(x, w, stride, padding, output_padding, dilation, groups):
    """The checked geometry: that of the convolution whose adjoint this is, from z's lengths to x's."""
    rank = image_rank(x)
    check_weights(w, groups, w.shape[0], "input", rank)
    check_shape("x", x, (None, w.shape[0], *(None,) * rank))
    kernel, counts = tuple(w.shape[2:]), tuple(x.shape[2:])
    stride, dilation = per_axis("stride", stride, rank), per_axis("dilation", dilation, rank)
    pairs = padding_pairs(padding, rank)
    extra = check_output_padding(output_padding, stride, dilation, rank)
    if 0 in counts:
        raise ValueError(f"x has shape {tuple(x.shape)}, expected no empty axis after the first")
    lengths = tuple(
        (count - 1) * s + (k - 1) * d + 1 - before - after + e
        for count, k, s, (before, after), d, e in zip(counts, kernel, stride, pairs, dilation, extra, strict=True)
    )
    if min(lengths) < 1:
        raise ValueError(f"padding {padding} leaves an output of lengths {lengths}, expected numbers >= 1")
    return Windows(lengths, counts, kernel, stride, pairs, dilation)


def check_output_padding(output_padding, stride, dilation, rank):
    """output_padding per axis; ValueError unless less than the stride or the dilation of its axis."""
    extra = per_axis("output_padding", output_padding, rank, least=0)
    if any(e >= max(s, d) for e, s, d in zip(extra, stride, dilation, strict=True)):
        raise ValueError(f"output_padding is {output_padding!r}, expected less than the stride or the dilation")
    return extra


@dataclass(frozen=True, eq=False)
class ConvTranspose(AffineLayer):
    """Transposed convolution with w (c, o / groups, *kernel) and b (o,) or None: `conv_transpose_forward`."""

    kind: ClassVar[str] = "conv"

    w: Any
    b: Any = None
    stride: Any = 1
    padding: Any = 0
    output_padding: Any = 0
    dilation: Any = 1
    groups: int = 1

    def __post_init__(self):
        check_weights(self.w, self.groups, self.w.shape[0], "input")
        rank = self.w.ndim - 2
        if self.b is not None:
            check_shape("b", self.b, (self.w.shape[1] * self.groups,))
        stride = per_axis("stride", self.stride, rank)
        padding_pairs(self.padding, rank)
        dilation = per_axis("dilation", self.dilation, rank)
        check_output_padding(self.output_padding, stride, dilation, rank)

    @property
    def _geometry(self):
        return self.stride, self.padding, self.output_padding, self.dilation, self.groups

    def forward(self, backend, x):
        return backend.conv_transpose_forward(x, self.w, self.b, *self._geometry)

    def gradient(self, backend, x, y, G):
        return (backend.conv_transpose_gradient(x[0], self.w, self.b, G, *self._geometry),)

    def tangent(self, backend, x, y, dx):
        return backend.conv_transpose_tangent(x[0], self.w, self.b, dx[0], *self._geometry)

    def relevance(self, backend, x, y, R, rule, gate="all", account=None):
        r = backend.conv_transpose_relevance(x[0], self.w, self.b, R, rule, *self._geometry, z=y, account=account)
        return (r,)

    def terms(self, x):
        return conv_transpose_terms(x[0], self.w, conv_transpose_windows(x[0], self.w, *self._geometry), self.groups)
