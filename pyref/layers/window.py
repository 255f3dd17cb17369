"""Windows that slide over the axes of an image: their lengths, their taps, and the padding around them.

Convolution, its transpose and max pooling all look at x[o · stride + k · dilation - before] from output
position o through tap k, on every axis after (n, c). That sentence is written here once.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from numbers import Integral
from typing import Any

from pyref.numerics import zeros_like

__all__ = ["Windows", "image_rank", "per_axis", "padding_pairs", "window_count"]


def per_axis(name, value, rank, least=1):
    """value as one whole number per axis: given as such, or as one number for all of them.

    Raises
        ValueError  another length than rank; not whole; below `least`.
    """
    numbers = tuple(value) if isinstance(value, tuple | list) else (value,) * rank
    if len(numbers) != rank:
        raise ValueError(f"{name} is {value!r}, expected a number or one for each of {rank} axes")
    if not all(_is_whole(v) and v >= least for v in numbers):
        raise ValueError(f"{name} is {value!r}, expected whole numbers >= {least}")
    return tuple(int(v) for v in numbers)


def padding_pairs(padding, rank):
    """padding as (before, after) per axis: given as one number, one per axis, or one such pair per axis.

    Raises
        ValueError  another length than rank; not whole; negative.
    """
    per = tuple(padding) if isinstance(padding, tuple | list) else (padding,) * rank
    pairs = tuple(tuple(p) if isinstance(p, tuple | list) else (p, p) for p in per)
    if len(pairs) != rank or any(len(p) != 2 for p in pairs):
        raise ValueError(f"padding is {padding!r}, expected a number, one for each of {rank} axes, or pairs of them")
    if not all(_is_whole(v) and v >= 0 for p in pairs for v in p):
        raise ValueError(f"padding is {padding!r}, expected whole numbers >= 0")
    return tuple((int(before), int(after)) for before, after in pairs)


def _is_whole(value):
    return isinstance(value, Integral) and not isinstance(value, bool)


def image_rank(x):
    """Number of axes of an image x (n, c, *axes).

    Raises
        ValueError  x has none.
    """
    if x.ndim < 3:
        raise ValueError(f"x has shape {tuple(x.shape)}, expected (n, c) and one axis or more")
    return x.ndim - 2


def window_count(length, kernel, stride, pair, dilation=1, ceil_mode=False):
    """Number of windows along one axis.

        floor((length + before + after - span) / stride) + 1,    span = (kernel - 1) · dilation + 1

    ceil_mode rounds up: a last window may reach over the end, but must begin inside x or the padding before.

    Source
        [dumoulin2016] relationship 6, with a span for the kernel and each side's padding by itself.
    Raises
        ValueError  the kernel's span exceeds the padded length.
    """
    before, after = pair
    span = (kernel - 1) * dilation + 1
    room = length + before + after - span
    if room < 0:
        raise ValueError(f"a kernel that spans {span} is larger than its padded input of {length + before + after}")
    if not ceil_mode:
        return room // stride + 1
    count = -(-room // stride) + 1
    return count - 1 if (count - 1) * stride >= length + before else count


@dataclass(frozen=True)
class Windows:
    """Windows over the axes of an image, everything per axis.

    lengths    of the image        counts     of the windows
    kernel, stride, dilation, padding (before, after)
    """

    lengths: tuple[int, ...]
    counts: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...]

    def taps(self) -> Iterator[tuple[int, ...]]:
        """The positions k inside a window, in row-major order."""
        return itertools.product(*map(range, self.kernel))

    def _padded_lengths(self):
        """Lengths with the padding, and with what a last window reaches over the end."""
        return tuple(
            max(length + before + after, (count - 1) * s + (k - 1) * d + 1)
            for length, count, k, s, (before, after), d in zip(
                self.lengths, self.counts, self.kernel, self.stride, self.padding, self.dilation, strict=True
            )
        )

    def _inside(self):
        """The image within the padded image."""
        return (
            ...,
            *(slice(before, before + h) for h, (before, _) in zip(self.lengths, self.padding, strict=True)),
        )

    def _seen(self, k):
        """What every window sees through tap k, within the padded image."""
        return (
            ...,
            *(
                slice(tap * d, tap * d + (count - 1) * s + 1, s)
                for tap, count, s, d in zip(k, self.counts, self.stride, self.dilation, strict=True)
            ),
        )

    def look(self, x: Any) -> Iterator[Any]:
        """x through every tap, in the shape of the windows; zero outside of the image."""
        padded = zeros_like(x, (*x.shape[:2], *self._padded_lengths()))
        padded[self._inside()] = x
        return (padded[self._seen(k)] for k in self.taps())

    def scatter(self, parts: Iterator[Any]) -> Any:
        """The adjoint of `look`: parts, one per tap in the shape of the windows, added where they came from."""
        padded: Any = None
        for k, part in zip(self.taps(), parts, strict=True):
            if padded is None:
                padded = zeros_like(part, (*part.shape[:2], *self._padded_lengths()))
            padded[self._seen(k)] += part
        return padded[self._inside()]

    def wholly_in_padding(self) -> bool:
        """True if some window sees nothing of the image."""
        for length, count, k, s, (before, _), d in zip(
            self.lengths, self.counts, self.kernel, self.stride, self.padding, self.dilation, strict=True
        ):
            begins = range(-before, min(count * s - before, 0), s)  # of windows that begin before the image
            # begin % d is the first place from 0 on that a tap could see
            if (count - 1) * s - before >= length or any(b % d >= min(b + k * d, length) for b in begins):
                return True
        return False
