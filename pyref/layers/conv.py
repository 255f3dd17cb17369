"""Convolution over any number of axes, in the sense of neural networks: a cross-correlation."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from pyref.check import check_shape
from pyref.layers.affine import Term, affine_relevance
from pyref.layers.layer import AffineLayer
from pyref.layers.window import Windows, image_rank, padding_pairs, per_axis, window_count
from pyref.numerics import pos

__all__ = ["Conv", "conv_forward", "conv_rectified", "conv_gradient", "conv_tangent", "conv_relevance"]


def conv_forward(x, w, b=None, stride=1, padding=0, dilation=1, groups=1):
    """Pre-activation of a convolution; w's rank says over how many axes.

        z_o[p] = Σ_c Σ_k x_c[p · stride + k · dilation - before] w_oc[k] + b_o        x = 0 in the padding

    Output channel o meets only the input channels c of its group.

    Source
        [dumoulin2016] ch. 2.
    Shapes
        x (n, c, *axes)   w (o, c / groups, *kernel)   b (o,) or None   →   z (n, o, *positions)
        stride and dilation: a number or one per axis; padding also (before, after) pairs, one per axis.
    Raises
        ValueError  a shape does not fit; the kernel's span exceeds the padded input; a parameter out of range.
    """
    windows = conv_windows(x, w, stride, padding, dilation, groups)
    if b is not None:
        check_shape("b", b, (w.shape[0],))
    z = correlate(x, w, windows, groups)
    return z if b is None else z + channel_bias(b, z.ndim)


def conv_rectified(x, w, b=None, stride=1, padding=0, dilation=1, groups=1):
    """max(z, 0) of `conv_forward`: a convolution and the ReLU behind it, compiled as one pass over memory.

    Shapes, Raises
        as `conv_forward`
    """
    return pos(conv_forward(x, w, b, stride, padding, dilation, groups))


def conv_gradient(x, w, b, G, stride=1, padding=0, dilation=1, groups=1):
    """Gradient at the input, the adjoint of `conv_forward` in x: G travels back through the taps it came by.

        G_c[q] = Σ_o Σ_{p, k: p · stride + k · dilation - before = q} w_oc[k] G_o[p]

    Shapes
        G (n, o, *positions)   →   (n, c, *axes)
    Laws
        Σ z G = Σ x G_x where b = 0, exactly in exact arithmetic.
    Raises
        ValueError  as `conv_forward`; G has another shape than z.
    """
    windows = conv_windows(x, w, stride, padding, dilation, groups)
    check_shape("G", G, (x.shape[0], w.shape[0], *windows.counts))
    return correlate_adjoint(G, w, windows, groups)


def conv_tangent(x, w, b, dx, stride=1, padding=0, dilation=1, groups=1):
    """Change of z along dx: `conv_forward` of dx without bias.

    Shapes
        dx (n, c, *axes)   →   dz (n, o, *positions)
    Raises
        ValueError  as `conv_forward`; dx has another shape than x.
    """
    check_shape("dx", dx, x.shape)
    return conv_forward(dx, w, None, stride, padding, dilation, groups)


def conv_relevance(x, w, b, R, rule, stride=1, padding=0, dilation=1, groups=1, z=None, account=None):
    """Relevance of a convolution's inputs under a rule.

        r_c[q] = Σ_p input(p, x_c[q]) · Σ_o Σ_k weight(p, w_oc[k]) · s_p,o[…]      s = split(R, z): see `pyref.Rule`

    Whatever a rule puts for x, the padding stays zero: where a rule counts inputs (w², flat, the bias options
    "uniform" and "proportional") it counts the taps that lie inside the image.

    Shapes
        x (n, c, *axes)   w (o, c / groups, *kernel)   b (o,) or None   R (n, o, *positions)   →   r (n, c, *axes)
        z: the known pre-activation, computed again when omitted.
    Laws
        Equal to the same rule on the dense layer of each output position's own inputs.
        Σ r = Σ R minus what `account` says stays behind.
    Raises
        ValueError  as `conv_forward`; R has another shape than z, or a z that is given than R.
    Example
        >>> import numpy as np, pyref
        >>> x, w, R = np.array([[[1.0, 2.0]]]), np.array([[[3.0, 1.0]]]), np.array([[[1.0, 5.0]]])
        >>> pyref.conv_relevance(x, w, None, R, pyref.Epsilon(epsilon=0), padding=((1, 0),))
        array([[[4., 2.]]])
    """
    windows = conv_windows(x, w, stride, padding, dilation, groups)
    check_shape("R", R, (x.shape[0], w.shape[0], *windows.counts))
    bias = None
    if b is not None:
        check_shape("b", b, (w.shape[0],))
        bias = channel_bias(b, R.ndim)
    if z is not None:
        check_shape("z", z, R.shape)
    return affine_relevance(conv_terms(x, w, windows, groups), bias, R, rule, z, account)[0]


def conv_terms(x, w, windows, groups):
    """The layer as a bilinear map, for the rule algebra."""
    return (
        Term(
            x,
            w,
            forward=lambda x, w: correlate(x, w, windows, groups),
            transpose=lambda u, w: correlate_adjoint(u, w, windows, groups),
        ),
    )


def conv_windows(x, w, stride, padding, dilation, groups):
    """The checked geometry of a convolution of x with w."""
    rank = image_rank(x)
    check_weights(w, groups, w.shape[0], "output", rank)
    check_shape("x", x, (None, w.shape[1] * groups, *(None,) * rank))
    kernel, lengths = tuple(w.shape[2:]), tuple(x.shape[2:])
    stride, dilation = per_axis("stride", stride, rank), per_axis("dilation", dilation, rank)
    pairs = padding_pairs(padding, rank)
    counts = tuple(map(window_count, lengths, kernel, stride, pairs, dilation))
    return Windows(lengths, counts, kernel, stride, pairs, dilation)


def check_weights(w, groups, channels, which, rank=None):
    """Raise ValueError unless w is a kernel for `rank` axes whose grouped channels `groups` divides."""
    if w.ndim < 3 or rank not in (None, w.ndim - 2) or 0 in w.shape:
        axes = "one axis or more" if rank is None else f"{rank} ax{'i' if rank == 1 else 'e'}s"
        raise ValueError(f"w has shape {tuple(w.shape)}, expected two channel axes and {axes}, none of them empty")
    (groups,) = per_axis("groups", groups, 1)
    if channels % groups:
        raise ValueError(f"groups is {groups}, expected a divisor of the {channels} {which} channels")


def channel_bias(b, ndim):
    """b (o,) so that it broadcasts against z (n, o, *positions)."""
    return np.reshape(b, (-1,) + (1,) * (ndim - 2))


def correlate(x, w, windows, groups):
    """Σ over taps k of w[:, :, k] times what the windows see through k: bilinear in x and w."""
    return sum(
        mix_channels(w[(..., *k)], seen, groups) for k, seen in zip(windows.taps(), windows.look(x), strict=True)
    )


def correlate_adjoint(u, w, windows, groups):
    """The adjoint of `correlate` in x."""
    return windows.scatter(mix_channels(w[(..., *k)], u, groups, transpose=True) for k in windows.taps())


def mix_channels(matrix, v, groups, transpose=False):
    """Each group's channels of v times its block of matrix (o, c / groups), or of the block's transpose.

    Shapes
        v (n, c, *positions)   →   (n, o, *positions), or from o back to c with transpose.
    """
    per_group = matrix.shape[0] // groups, matrix.shape[1]
    blocks = np.reshape(matrix, (groups, *per_group))
    if transpose:
        blocks, per_group = np.swapaxes(blocks, 1, 2), per_group[::-1]
    n, positions = v.shape[0], v.shape[2:]
    mixed = blocks @ np.reshape(v, (n, groups, per_group[1], math.prod(positions)))
    return np.reshape(mixed, (n, groups * per_group[0], *positions))


@dataclass(frozen=True, eq=False)
class Conv(AffineLayer):
    """Convolution with w (o, c / groups, *kernel) and b (o,) or None: `conv_forward`."""

    kind: ClassVar[str] = "conv"

    w: Any
    b: Any = None
    stride: Any = 1
    padding: Any = 0
    dilation: Any = 1
    groups: int = 1

    def __post_init__(self):
        check_weights(self.w, self.groups, self.w.shape[0], "output")
        rank = self.w.ndim - 2
        if self.b is not None:
            check_shape("b", self.b, (self.w.shape[0],))
        per_axis("stride", self.stride, rank)
        per_axis("dilation", self.dilation, rank)
        padding_pairs(self.padding, rank)

    @property
    def _geometry(self):
        return self.stride, self.padding, self.dilation, self.groups

    def forward(self, backend, x):
        return backend.conv_forward(x, self.w, self.b, *self._geometry)

    def rectified(self, backend, x):
        return backend.conv_rectified(x, self.w, self.b, *self._geometry)

    def gradient(self, backend, x, y, G):
        return (backend.conv_gradient(x[0], self.w, self.b, G, *self._geometry),)

    def tangent(self, backend, x, y, dx):
        return backend.conv_tangent(x[0], self.w, self.b, dx[0], *self._geometry)

    def relevance(self, backend, x, y, R, rule, gate="all", account=None):
        return (backend.conv_relevance(x[0], self.w, self.b, R, rule, *self._geometry, z=y, account=account),)

    def terms(self, x):
        return conv_terms(x[0], self.w, conv_windows(x[0], self.w, *self._geometry), self.groups)
