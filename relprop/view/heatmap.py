"""One heatmap: negative blue, zero white, positive red, on a scale that is symmetric about zero."""

from dataclasses import dataclass

import numpy as np
from matplotlib.colors import LinearSegmentedColormap

from pyref.check import check_choice

__all__ = [
    "CHANNELS",
    "DIVERGING",
    "aggregate",
    "draw_heatmap",
    "draw_input",
    "draw_overlay",
    "scale",
    "symmetric_limit",
]

# an odd number of colours, so that zero has one to itself: white
DIVERGING = LinearSegmentedColormap.from_list(
    "relprop", ["#0b2f6b", "#2a6fbb", "#92bfe3", "#ffffff", "#f2a889", "#c9372c", "#6b0a1b"], N=257
).with_extremes(bad="#d9d9d9")
GREY, INK = "#c4c4c4", "#222222"

CHANNELS = {
    "sum": lambda v: v.sum(axis=0),
    "abs": lambda v: np.abs(v).sum(axis=0),
    "max": lambda v: np.abs(v).max(axis=0),
    "l2": lambda v: np.sqrt((v * v).sum(axis=0)),
}


def aggregate(values, channels="sum"):
    """One sample's attributions as a picture: (c, h, w) loses its channels, (t, c) stays, anything else is a row.

    channels  "sum" keeps signs, as the papers do for signed methods; "abs", "max" and "l2" do not
    """
    check_choice("channels", channels, tuple(CHANNELS))
    values = np.asarray(values, dtype=np.float64)
    if values.ndim == 3:
        return CHANNELS[channels](values)
    return values if values.ndim == 2 else values.reshape(1, -1)


def symmetric_limit(values):
    """The largest finite |value|: the end of both sides of the scale; 1 where everything is zero."""
    sizes = np.abs(values[np.isfinite(values)])
    return float(sizes.max()) if sizes.size and sizes.max() > 0 else 1.0


@dataclass(frozen=True)
class Scale:
    """A scale from -limit to limit, and how many of a picture's finite values lie beyond it."""

    limit: float
    clipped: int
    count: int

    @property
    def says(self):
        """What a picture with this scale must say about clipping; nothing where there is none."""
        return f"{self.clipped} of {self.count} values clipped" if self.clipped else ""

    def __str__(self):
        return f"± {self.limit:.3g}" + (f", {self.says}" if self.clipped else "")


def scale(values, clip=None, limit=None):
    """The symmetric scale of a picture: up to `limit`, else to a percentile of |value|, else to the largest |value|.

    clip  a percentile, 0 < clip <= 100, interpolated linearly; the scale ends there and the rest is clipped

    Raises
        ValueError  clip out of range.
    """
    if clip is not None and not 0 < clip <= 100:
        raise ValueError(f"clip is {clip}, expected a percentile: above 0, at most 100")
    sizes = np.abs(values[np.isfinite(values)])
    if limit is None:
        limit = float(np.percentile(sizes, clip)) if clip is not None and sizes.size else 0
        limit = limit or symmetric_limit(values)  # where most is zero, the percentile is no scale
    return Scale(float(limit), int(np.count_nonzero(sizes > limit)), sizes.size)


def draw_heatmap(axes, values, outline=None, clip=None, limit=None):
    """Draw a picture's heatmap and return the limit of its scale.

    values   (h, w); what is not finite is grey
    outline  the input in the same shape, whose contour is drawn over it
    clip     a percentile of |value| at which the scale ends: `scale` says how many values that clips, and whoever
             draws the figure must say it
    limit    the end of the scale, where several pictures share one
    """
    limit = scale(values, clip, limit).limit
    axes.imshow(values, cmap=DIVERGING, vmin=-limit, vmax=limit, interpolation="nearest", aspect=_aspect(values))
    if outline is not None and outline.shape == values.shape and min(values.shape) > 1:
        _draw_outline(axes, outline)
    _bare(axes)
    return limit


def _draw_outline(axes, x):
    """The contour half-way between the darkest and the lightest; a rim of the lightest closes it at the border."""
    low, high = float(x.min()), float(x.max())
    if high > low:
        h, w = x.shape
        rows, columns = (np.concatenate(([-0.5], np.arange(k), [k - 0.5])) for k in (h, w))
        rimmed = np.pad(x, 1, constant_values=low)
        axes.contour(columns, rows, rimmed, levels=[(low + high) / 2], colors=INK, linewidths=0.8, alpha=0.5)
        axes.set(xlim=(-0.5, w - 0.5), ylim=(h - 0.5, -0.5))


def draw_input(axes, x):
    """Draw one sample of the input: dark on light; (3, h, w) in colour."""
    x = np.asarray(x, dtype=np.float64)
    low, high = float(x.min()), float(x.max())
    x = (x - low) / (high - low or 1.0)
    if x.ndim == 3 and x.shape[0] == 3:
        axes.imshow(np.moveaxis(x, 0, -1), interpolation="nearest")
    else:
        x = aggregate(x)
        axes.imshow(x, cmap="Greys", interpolation="nearest", aspect=_aspect(x))
    _bare(axes)


def draw_overlay(axes, values, x, clip=None, limit=None):
    """Draw a heatmap over the input and return the limit of its scale: the larger |value|, the less input is seen.

    values  (h, w)
    x       the input, (h, w), (1, h, w) or (3, h, w), drawn in pale grey

    Raises
        ValueError  an input of another size.
    """
    ground = np.asarray(x, dtype=np.float64)
    ground = ground.mean(axis=0) if ground.ndim == 3 else ground
    if ground.shape != values.shape:
        raise ValueError(f"x has shape {np.shape(x)}, expected the values' {values.shape} in its last two axes")
    limit = scale(values, clip, limit).limit
    low, high = float(ground.min()), float(ground.max())
    grey = 0.55 + 0.4 * (ground - low) / (high - low or 1.0)
    if np.asarray(x).ndim < 3 or len(x) == 1:
        grey = 1.5 - grey  # ink is high in one channel: dark on light, as `draw_input` has it
    unit = np.clip(values / limit, -1, 1)
    strength = np.where(np.isfinite(values), np.abs(unit), 1)[..., None] ** 0.6
    colors = DIVERGING((unit + 1) / 2)[..., :3]
    picture = strength * colors + (1 - strength) * grey[..., None]
    axes.imshow(picture, interpolation="nearest", aspect=_aspect(values))
    _bare(axes)
    return limit


def _aspect(picture):
    """Square pixels, but a row or a long sequence fills its panel."""
    h, w = picture.shape
    return "equal" if max(h, w) <= 3 * min(h, w) else "auto"


def _bare(axes):
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set(color=GREY, linewidth=0.6)
