"""Pooling: the maximum or the average of each window, per channel."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from pyref.check import check_choice, check_shape
from pyref.layers.affine import Term, affine_forward, affine_relevance
from pyref.layers.layer import AffineLayer, Layer
from pyref.layers.window import Windows, image_rank, padding_pairs, per_axis, window_count
from pyref.numerics import ones_like, safe_divide, zeros_like

__all__ = [
    "MaxPool",
    "GlobalMaxPool",
    "AvgPool",
    "AdaptiveAvgPool",
    "GlobalAvgPool",
    "max_pool_forward",
    "max_pool_gradient",
    "max_pool_tangent",
    "max_pool_relevance",
    "max_pool_multiplier",
    "max_pool_ray",
    "avg_pool_forward",
    "avg_pool_gradient",
    "avg_pool_tangent",
    "avg_pool_relevance",
    "adaptive_avg_pool_forward",
    "adaptive_avg_pool_gradient",
    "adaptive_avg_pool_tangent",
    "adaptive_avg_pool_relevance",
]

TIES = ("first", "split", "all")
MAX_POOL_MODES = ("xmax", "gradient")


# ── maximum ────────────────────────────────────────────────────────────────────────────────────────────


def max_pool_forward(x, kernel, stride=None, padding=0, dilation=1, ceil_mode=False):
    """The maximum of each window. Padding never wins.

        y[p] = max over taps k of x[p · stride + k · dilation - before]        taps that lie inside the image

    A NaN in the window is its maximum, as in NumPy.

    Source
        [dumoulin2016] ch. 3.
    Shapes
        x (n, c, *axes)   →   y (n, c, *positions), their number as `pyref.layers.window.window_count` says.
        kernel, stride (None: the kernel), dilation: a number or one per axis; padding also (before, after) pairs.
    Raises
        ValueError  the kernel's span exceeds the padded input; a window without any input; a parameter out of range.
    """
    windows = max_pool_windows(x, kernel, stride, padding, dilation, ceil_mode)
    return _maximum(*_looks(x, windows))


def max_pool_gradient(x, G, kernel, stride=None, padding=0, dilation=1, ceil_mode=False, ties="first"):
    """Gradient at the input: each window hands G to its winner, and windows that share a winner add up.

        ties="first"   the first maximum in row-major order of the window takes G
        ties="split"   all m maxima take G / m
        ties="all"     all maxima take G: no subgradient, and nothing is conserved where m > 1

    Shapes
        G (n, c, *positions)   →   (n, c, *axes)
    Raises
        ValueError  as `max_pool_forward`; G has another shape than y; unknown ties.
    """
    windows = max_pool_windows(x, kernel, stride, padding, dilation, ceil_mode)
    check_shape("G", G, (*x.shape[:2], *windows.counts))
    return windows.scatter(_to_winners(G, *_winners(x, windows, ties)))


def max_pool_tangent(x, dx, kernel, stride=None, padding=0, dilation=1, ceil_mode=False, ties="first"):
    """Change of y along dx: dx at each window's winner, the adjoint of `max_pool_gradient`.

    Shapes
        dx (n, c, *axes)   →   dy (n, c, *positions)
    Raises
        ValueError  as `max_pool_forward`; dx has another shape than x; unknown ties.
    """
    check_shape("dx", dx, x.shape)
    windows = max_pool_windows(x, kernel, stride, padding, dilation, ceil_mode)
    hits, winners = _winners(x, windows, ties)
    change = zip(hits, windows.look(dx), strict=True)
    dy = sum(np.where(hit, seen, zeros_like(seen)) for hit, seen in change)
    return dy if winners is None else dy / winners


def max_pool_relevance(x, R, kernel, stride=None, padding=0, dilation=1, ceil_mode=False, ties="first", account=None):
    """Relevance of the input, winner takes all: R goes unchanged to where G would; no rule and no ε takes part.

    Source
        [montavon2019] sec. 10.3, winner-take-all.
    Shapes
        R (n, c, *positions)   →   r (n, c, *axes)
    Laws
        Σ r = Σ R under "first" and "split". Under "all" a window with m winners passes m R, and the account
        books the surplus (1 - m) R as dropped.
    Raises
        ValueError  as `max_pool_gradient`.
    """
    windows = max_pool_windows(x, kernel, stride, padding, dilation, ceil_mode)
    check_shape("R", R, (*x.shape[:2], *windows.counts))
    hits, winners = _winners(x, windows, ties)
    if account is not None and ties == "all":
        beyond_first = sum(np.where(hit, R, zeros_like(R)) for hit in hits) - R
        account.add_kept(zeros_like(R), -beyond_first)
    return windows.scatter(_to_winners(R, hits, winners))


def max_pool_multiplier(
    x, x0, M, kernel, stride=None, padding=0, dilation=1, ceil_mode=False, ties="first", max_pool="xmax"
):
    """DeepLIFT multipliers of the input, M_x, from those of the output, with the baseline x0.

        max_pool="xmax"      a window with maxima y and y0, at k for x and at k0 for x0, hands
                             (max(y, y0) - y0) / (x_k - x0_k) · M to k and (y - max(y, y0)) / (x_k0 - x0_k0) · M to k0;
                             where x = x0 in all of the window, M goes to its winner.
        max_pool="gradient"  M goes to the winners of x, as in `max_pool_gradient`.

    Source
        [shrikumar2017] sec. 3.2 for multipliers; [ancona2017] sec. 4 for "gradient"; "xmax" by
        splitting Δy at max(y, y0), so that each part belongs to one input.
    Shapes
        x and x0 (n, c, *axes); x0 may have n = 1   M (n, c, *positions)   →   M_x (n, c, *axes)
    Laws
        "xmax": Σ M_x (x - x0) = Σ M (y - y0), and each factor lies in [0, 1]: at most one of the two is not 0.
        "gradient" has no such law where the winner moves. ties="all" breaks it too.
    Raises
        ValueError  as `max_pool_gradient`; an unknown mode.
    """
    check_choice("max_pool", max_pool, MAX_POOL_MODES)
    if max_pool == "gradient":
        return max_pool_gradient(x, M, kernel, stride, padding, dilation, ceil_mode, ties)
    x0 = zeros_like(x) + x0
    check_shape("x0", x0, x.shape)
    windows = max_pool_windows(x, kernel, stride, padding, dilation, ceil_mode)
    check_shape("M", M, (*x.shape[:2], *windows.counts))
    seen, inside = _looks(x - x0, windows)
    y, y0 = _maximum(*_looks(x, windows)), _maximum(*_looks(x0, windows))
    top = np.maximum(y, y0)
    still = True
    for change, is_in in zip(seen, inside, strict=True):
        still = still & (~is_in | (change == 0))
    hits, winners = _winners(x, windows, ties)
    hits0, winners0 = _winners(x0, windows, ties)
    rise = list(_to_winners(top - y0, hits, winners))
    fall = list(_to_winners(y - top, hits0, winners0))
    passed = list(_to_winners(M, hits, winners))

    def part(t):
        # where neither maximum is, there is nothing to divide and nothing to hand on
        at_winner = (rise[t] != 0) | (fall[t] != 0)
        change, arrived = (np.where(at_winner, v, zeros_like(v)) for v in (seen[t], M))
        return np.where(still, passed[t], safe_divide(rise[t] + fall[t], change) * arrived)

    return windows.scatter(part(t) for t in range(len(seen)))


def max_pool_ray(x, dx, kernel, stride=None, padding=0, dilation=1, ceil_mode=False):
    """The maximum along x + t dx from t = 0: where it goes, and for how long it goes there.

        dy = dx at the lexicographic maximum of (x, dx): among tied inputs the one that rises fastest
        t  = min over taps with dx_k > dy of (y - x_k) / (dx_k - dy): the first time a rival overtakes

    Shapes
        dx (n, c, *axes)   →   dy (n, c, *positions), t (n,) with inf for a sample without a rival, or None where
        there is nothing to pool.
    Laws
        max_pool(x + t' dx) = y + t' dy for every t' in [0, t].
    Raises
        ValueError  as `max_pool_tangent`.
    """
    check_shape("dx", dx, x.shape)
    windows = max_pool_windows(x, kernel, stride, padding, dilation, ceil_mode)
    seen, inside = _looks(x, windows)
    change = list(windows.look(dx))
    y = _maximum(seen, inside)
    tied = [is_in & _is_maximum(v, y) for v, is_in in zip(seen, inside, strict=True)]
    dy = _maximum(change, tied)
    never = zeros_like(y) + math.inf
    t = never
    for v, dv, is_in in zip(seen, change, inside, strict=True):
        overtakes = is_in & (dv > dy)  # and so v < y: dy is the largest among the tied
        lead = np.where(overtakes, y - v, zeros_like(y))
        gain = np.where(overtakes, dv - dy, ones_like(y))
        t = np.minimum(t, np.where(overtakes, lead / gain, never))
    if y.size == 0:
        return dy, None
    return dy, np.min(np.reshape(t, (t.shape[0], -1)), axis=1)


def max_pool_windows(x, kernel, stride, padding, dilation, ceil_mode):
    """The checked geometry of a max pooling of x."""
    rank = image_rank(x)
    kernel = per_axis("kernel", kernel, rank)
    stride = kernel if stride is None else per_axis("stride", stride, rank)
    dilation, pairs, lengths = per_axis("dilation", dilation, rank), padding_pairs(padding, rank), tuple(x.shape[2:])
    counts = tuple(
        window_count(*axis, ceil_mode) for axis in zip(lengths, kernel, stride, pairs, dilation, strict=True)
    )
    windows = Windows(lengths, counts, kernel, stride, pairs, dilation)
    if windows.wholly_in_padding():
        raise ValueError(f"padding {padding!r} is so wide that a window of kernel {kernel} lies wholly inside it")
    return windows


def _looks(x, windows):
    """What each tap sees, and where that lies inside the image (which broadcasts over samples and channels)."""
    image = np.ones_like(x, dtype=bool, shape=(1, 1, *windows.lengths))
    return list(windows.look(x)), list(windows.look(image))


def _maximum(seen, accepted):
    """The maximum over taps of seen, among those accepted; a NaN wins and stays."""
    y, found = seen[0], accepted[0]
    for v, take in zip(seen[1:], accepted[1:], strict=True):
        y = np.where(take & (~found | (v > y) | (v != v)), v, y)
        found = found | take
    return y


def _is_maximum(v, y):
    """Where v is the maximum y, NaN like NaN."""
    return (v == y) | ((v != v) & (y != y))


def _winners(x, windows, ties):
    """(per tap, where it is a winner; the number of winners of a window among whom a value is split, or None)."""
    check_choice("ties", ties, TIES)
    seen, inside = _looks(x, windows)
    y = _maximum(seen, inside)
    hits = [is_in & _is_maximum(v, y) for v, is_in in zip(seen, inside, strict=True)]
    if ties == "first":
        taken = hits[0]
        for t, hit in enumerate(hits[1:], start=1):
            hits[t], taken = hit & ~taken, taken | hit
    one, zero = ones_like(y), zeros_like(y)
    return hits, sum(np.where(hit, one, zero) for hit in hits) if ties == "split" else None


def _to_winners(value, hits, winners):
    """value at each tap that won, 0 at the others."""
    share = value if winners is None else value / winners
    return (np.where(hit, share, zeros_like(share)) for hit in hits)


# ── average ────────────────────────────────────────────────────────────────────────────────────────────


def avg_pool_forward(x, kernel, stride=None, padding=0, ceil_mode=False, count_include_pad=True):
    """The average of each window: an affine map with weights 1 / n.

        y[p] = (1 / n[p]) Σ_k x[p · stride + k - before]        x = 0 in the padding

    n[p] counts the taps inside the padded image under count_include_pad, else those inside the image. What a
    window of ceil_mode reaches beyond the padding is never counted.

    Source
        [dumoulin2016] ch. 3.
    Shapes
        x (n, c, *axes)   →   y (n, c, *positions), their number as `pyref.layers.window.window_count` says.
        kernel, stride (None: the kernel): a number or one per axis; padding also (before, after) pairs.
    Raises
        ValueError  the kernel exceeds the padded input; a window without any input; a parameter out of range.
    """
    return affine_forward(avg_pool_terms(x, kernel, stride, padding, ceil_mode, count_include_pad))


def avg_pool_gradient(x, G, kernel, stride=None, padding=0, ceil_mode=False, count_include_pad=True):
    """Gradient at the input, the adjoint of `avg_pool_forward`: every input of a window receives G / n.

    Shapes
        G (n, c, *positions)   →   (n, c, *axes)
    Laws
        Σ y G = Σ x G_x, exactly in exact arithmetic.
    Raises
        ValueError  as `avg_pool_forward`; G has another shape than y.
    """
    return _average_gradient(avg_pool_terms(x, kernel, stride, padding, ceil_mode, count_include_pad), G)


def avg_pool_tangent(x, dx, kernel, stride=None, padding=0, ceil_mode=False, count_include_pad=True):
    """Change of y along dx: `avg_pool_forward` of dx.

    Shapes
        dx (n, c, *axes)   →   dy (n, c, *positions)
    Raises
        ValueError  as `avg_pool_forward`; dx has another shape than x.
    """
    check_shape("dx", dx, x.shape)
    return avg_pool_forward(dx, kernel, stride, padding, ceil_mode, count_include_pad)


def avg_pool_relevance(
    x, R, rule, kernel, stride=None, padding=0, ceil_mode=False, count_include_pad=True, z=None, account=None
):
    """Relevance of the input of an average pooling under a rule, its weights being 1 / n.

        r_i = Σ_p input(p, x_i) · Σ_o weight(p, 1 / n_o) · s_p,o          s = split(R, z): see `pyref.Rule`

    Shapes
        R (n, c, *positions)   →   r (n, c, *axes)
        z: the known output, computed again when omitted.
    Laws
        Σ r = Σ R minus what `account` says stays behind; a window that sums to 0 drops its R.
    Raises
        ValueError  as `avg_pool_forward`; R has another shape than y.
    """
    terms = avg_pool_terms(x, kernel, stride, padding, ceil_mode, count_include_pad)
    return _average_relevance(terms, R, rule, z, account)


def adaptive_avg_pool_forward(x, output_size=1):
    """The average of windows that tile an axis of length h into m, overlapping where m does not divide h.

        y[j] = mean of x[⌊j h / m⌋ … ⌈(j + 1) h / m⌉ - 1]        on every axis; output_size 1 is global pooling

    Shapes
        x (n, c, *axes)   →   y (n, c, *output_size), output_size being a number or one per axis
    Raises
        ValueError  output_size below 1 or for another number of axes; an empty axis.
    """
    return affine_forward(adaptive_avg_pool_terms(x, output_size))


def adaptive_avg_pool_gradient(x, G, output_size=1):
    """Gradient at the input, the adjoint of `adaptive_avg_pool_forward`.

    Shapes
        G (n, c, *output_size)   →   (n, c, *axes)
    Laws
        Σ y G = Σ x G_x, exactly in exact arithmetic.
    Raises
        ValueError  as `adaptive_avg_pool_forward`; G has another shape than y.
    """
    return _average_gradient(adaptive_avg_pool_terms(x, output_size), G)


def adaptive_avg_pool_tangent(x, dx, output_size=1):
    """Change of y along dx: `adaptive_avg_pool_forward` of dx.

    Shapes
        dx (n, c, *axes)   →   dy (n, c, *output_size)
    Raises
        ValueError  as `adaptive_avg_pool_forward`; dx has another shape than x.
    """
    check_shape("dx", dx, x.shape)
    return adaptive_avg_pool_forward(dx, output_size)


def adaptive_avg_pool_relevance(x, R, rule, output_size=1, z=None, account=None):
    """Relevance of the input of an adaptive average pooling under a rule: `avg_pool_relevance` with its windows.

    Shapes
        R (n, c, *output_size)   →   r (n, c, *axes)
        z: the known output, computed again when omitted.
    Laws
        Σ r = Σ R minus what `account` says stays behind; a window that sums to 0 drops its R.
    Raises
        ValueError  as `adaptive_avg_pool_forward`; R has another shape than y.
    """
    return _average_relevance(adaptive_avg_pool_terms(x, output_size), R, rule, z, account)


def avg_pool_terms(x, kernel, stride=None, padding=0, ceil_mode=False, count_include_pad=True):
    """The layer as a bilinear map, for the rule algebra: its weights are 1 / n, one per window."""
    return _average_terms(x, *avg_pool_boxes(x, kernel, stride, padding, ceil_mode, count_include_pad))


def adaptive_avg_pool_terms(x, output_size=1):
    """The layer as a bilinear map, for the rule algebra: its weights are 1 / n, one per window."""
    return _average_terms(x, *adaptive_avg_pool_boxes(x, output_size))


def avg_pool_boxes(x, kernel, stride, padding, ceil_mode, count_include_pad):
    """(per axis the (start, stop) of each window, per axis how many places each counts), checked."""
    rank = image_rank(x)
    kernel = per_axis("kernel", kernel, rank)
    stride = kernel if stride is None else per_axis("stride", stride, rank)
    spans, sizes = [], []
    for length, k, s, (before, after) in zip(x.shape[2:], kernel, stride, padding_pairs(padding, rank), strict=True):
        count = window_count(length, k, s, (before, after), ceil_mode=ceil_mode)
        starts = [p * s - before for p in range(count)]
        spans.append([(max(start, 0), min(start + k, length)) for start in starts])
        if any(start >= stop for start, stop in spans[-1]):
            raise ValueError(f"padding {padding!r} is so wide that a window of kernel {kernel} lies wholly inside it")
        counted = [(start, min(start + k, length + after)) for start in starts] if count_include_pad else spans[-1]
        sizes.append([stop - start for start, stop in counted])
    return spans, sizes


def adaptive_avg_pool_boxes(x, output_size):
    """(per axis the (start, stop) of each window, per axis how many places each counts), checked."""
    rank = image_rank(x)
    if 0 in x.shape[2:]:
        raise ValueError(f"x has shape {tuple(x.shape)}, expected no empty axis after the first two")
    spans = [
        [(j * h // m, -(-(j + 1) * h // m)) for j in range(m)]
        for h, m in zip(x.shape[2:], per_axis("output_size", output_size, rank), strict=True)
    ]
    return spans, [[stop - start for start, stop in axis] for axis in spans]


def _average_terms(x, spans, sizes):
    """Averages over boxes, as `avg_pool_boxes` has them."""
    rank, n = len(spans), ones_like(x, (1,) * x.ndim)
    for axis, axis_sizes in enumerate(sizes):
        numbers = zeros_like(x, (len(axis_sizes),))
        for p, size in enumerate(axis_sizes):
            numbers[p] = numbers[p] + size
        n = n * np.reshape(numbers, (-1,) + (1,) * (rank - 1 - axis))
    lengths = tuple(x.shape[2:])
    return (
        Term(
            x,
            1 / n,
            forward=lambda x, w: _box_sums(x, spans) * w,
            transpose=lambda u, w: _spread_over_boxes(u * w, spans, lengths),
        ),
    )


def _box_sums(x, spans):
    """The sum of x over each box, one axis after the other."""
    for axis, windows in enumerate(spans, start=2):
        x = np.stack([np.sum(x[_on(axis, start, stop)], axis=axis) for start, stop in windows], axis=axis)
    return x


def _spread_over_boxes(u, spans, lengths):
    """The adjoint of `_box_sums`: u of each box at every place in it."""
    for axis, windows in enumerate(spans, start=2):
        spread = zeros_like(u, (*u.shape[:axis], lengths[axis - 2], *u.shape[axis + 1 :]))
        for p, (start, stop) in enumerate(windows):
            spread[_on(axis, start, stop)] += u[_on(axis, p, p + 1)]
        u = spread
    return u


def _on(axis, start, stop):
    return (*(slice(None),) * axis, slice(start, stop))


def _average_gradient(terms, G):
    (t,) = terms
    check_shape("G", G, (*t.x.shape[:2], *t.w.shape[2:]))
    return t.transpose(G, t.w)


def _average_relevance(terms, R, rule, z, account):
    (t,) = terms
    check_shape("R", R, (*t.x.shape[:2], *t.w.shape[2:]))
    return affine_relevance(terms, None, R, rule, z, account)[0]


# ── nodes ──────────────────────────────────────────────────────────────────────────────────────────────


def _check_window(kernel, stride, padding, dilation=1):
    """Parameters of a node that does not know its rank yet: what is given per axis must agree."""
    given = [v for v in (kernel, stride, padding, dilation) if isinstance(v, tuple | list)]
    rank = len(given[0]) if given else 1
    per_axis("kernel", kernel, rank)
    if stride is not None:
        per_axis("stride", stride, rank)
    padding_pairs(padding, rank)
    per_axis("dilation", dilation, rank)


class _Maximum(Layer):
    """What the two maximum layers share."""

    kind: ClassVar[str] = "pool"
    piecewise_linear: ClassVar[bool] = True
    ties: str

    def _settings(self, x):
        """(kernel, stride, padding, dilation, ceil_mode) for x."""
        raise NotImplementedError

    def forward(self, backend, x):
        return backend.max_pool_forward(x, *self._settings(x))

    def gradient(self, backend, x, y, G):
        return (backend.max_pool_gradient(x[0], G, *self._settings(x[0]), self.ties),)

    def tangent(self, backend, x, y, dx):
        return backend.max_pool_tangent(x[0], dx[0], *self._settings(x[0]), self.ties)

    def relevance(self, backend, x, y, R, rule, gate="all", account=None):
        return (backend.max_pool_relevance(x[0], R, *self._settings(x[0]), self.ties, account),)

    def multiplier(self, backend, x, y, x0, y0, M, product="symmetric", max_pool="xmax"):
        return (backend.max_pool_multiplier(x[0], x0[0], M, *self._settings(x[0]), self.ties, max_pool),)

    def ray(self, backend, x, y, dx):
        return backend.max_pool_ray(x[0], dx[0], *self._settings(x[0]))


@dataclass(frozen=True)
class MaxPool(_Maximum):
    """The maximum of each window: `max_pool_forward`."""

    kernel: Any
    stride: Any = None
    padding: Any = 0
    dilation: Any = 1
    ceil_mode: bool = False
    ties: str = "first"

    def __post_init__(self):
        _check_window(self.kernel, self.stride, self.padding, self.dilation)
        check_choice("ties", self.ties, TIES)

    def _settings(self, x):
        return self.kernel, self.stride, self.padding, self.dilation, self.ceil_mode


@dataclass(frozen=True)
class GlobalMaxPool(_Maximum):
    """The maximum of each channel: one window over the whole image, y (n, c, 1, …)."""

    ties: str = "first"

    def __post_init__(self):
        check_choice("ties", self.ties, TIES)

    def _settings(self, x):
        return tuple(x.shape[2:]), None, 0, 1, False


@dataclass(frozen=True)
class AvgPool(AffineLayer):
    """The average of each window: `avg_pool_forward`."""

    kind: ClassVar[str] = "pool"

    kernel: Any
    stride: Any = None
    padding: Any = 0
    ceil_mode: bool = False
    count_include_pad: bool = True

    def __post_init__(self):
        _check_window(self.kernel, self.stride, self.padding)

    @property
    def _settings(self):
        return self.kernel, self.stride, self.padding, self.ceil_mode, self.count_include_pad

    def forward(self, backend, x):
        return backend.avg_pool_forward(x, *self._settings)

    def gradient(self, backend, x, y, G):
        return (backend.avg_pool_gradient(x[0], G, *self._settings),)

    def tangent(self, backend, x, y, dx):
        return backend.avg_pool_tangent(x[0], dx[0], *self._settings)

    def relevance(self, backend, x, y, R, rule, gate="all", account=None):
        return (backend.avg_pool_relevance(x[0], R, rule, *self._settings, z=y, account=account),)

    def terms(self, x):
        return avg_pool_terms(x[0], *self._settings)


class _AdaptiveAverage(AffineLayer):
    """What the two adaptive layers share."""

    kind: ClassVar[str] = "pool"

    @property
    def _size(self):
        raise NotImplementedError

    def forward(self, backend, x):
        return backend.adaptive_avg_pool_forward(x, self._size)

    def gradient(self, backend, x, y, G):
        return (backend.adaptive_avg_pool_gradient(x[0], G, self._size),)

    def tangent(self, backend, x, y, dx):
        return backend.adaptive_avg_pool_tangent(x[0], dx[0], self._size)

    def relevance(self, backend, x, y, R, rule, gate="all", account=None):
        return (backend.adaptive_avg_pool_relevance(x[0], R, rule, self._size, z=y, account=account),)

    def terms(self, x):
        return adaptive_avg_pool_terms(x[0], self._size)


@dataclass(frozen=True)
class AdaptiveAvgPool(_AdaptiveAverage):
    """Averages over windows that give the output a fixed size: `adaptive_avg_pool_forward`."""

    output_size: Any = 1

    def __post_init__(self):
        rank = len(self.output_size) if isinstance(self.output_size, tuple | list) else 1
        per_axis("output_size", self.output_size, rank)

    @property
    def _size(self):
        return self.output_size


@dataclass(frozen=True)
class GlobalAvgPool(_AdaptiveAverage):
    """The average of each channel: adaptive average pooling to size 1, y (n, c, 1, …)."""

    @property
    def _size(self):
        return 1
