"""A table of pictures: rows by name, columns by title, with their scales, shared or each its own."""

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize

from pyref.check import check_choice
from relprop.view.figure import QUIET, add_note, new_figure, note_room
from relprop.view.heatmap import DIVERGING, aggregate, draw_heatmap, draw_input, draw_overlay, scale

__all__ = ["panels_figure"]

GAP, UNDER, BAR = 0.1, 0.17, 0.72  # inches
SHARED = ("panel", "row", "all")


def panels_figure(rows, columns=None, *, titles=(), note="", size=1.25, shared="panel", clip=None, unit="attribution"):
    """A table of pictures: rows {name: [picture or None, …]} under the column titles.

    A picture is a plain array, drawn as a signed heatmap; ("input", x), drawn as an image; or ("overlay", array, x), a
    heatmap over the input. Arrays are of one sample: (h, w), (c, h, w), or what `aggregate` makes a picture of.

    columns  how many there are, by default as many as the longest row has
    shared   which heatmaps have one scale: "panel", none, and the scale's end stands under each; "row"; or "all", which
             has a colour bar with the unit
    clip     a percentile of |value| at which the scales end; the figure says how many values that clips
    size     of a picture, in inches

    Raises
        ValueError  no row; more pictures than columns; another `shared`; clip out of range.
    """
    check_choice("shared", shared, SHARED)
    columns = max(map(len, rows.values()), default=0) if columns is None else columns
    if not rows or not columns:
        raise ValueError("there is nothing to draw: rows is empty")
    if longest := [name for name, pictures in rows.items() if len(pictures) > columns]:
        raise ValueError(f"row {longest[0]!r} has {len(rows[longest[0]])} pictures, expected at most {columns}")
    signed = {name: [_signed(p) for p in pictures] for name, pictures in rows.items()}
    everything = [v for values in signed.values() for v in values if v is not None]
    scales = {name: _scales(values, everything, shared, clip) for name, values in signed.items()}
    found = list({v.tobytes(): s for n in rows for v, s in zip(signed[n], scales[n], strict=True) if s}.values())
    clipped, count = sum(s.clipped for s in found), sum(s.count for s in found)
    if clipped:
        note = f"{note} {clipped} of {count} values clipped at the ends of their scales.".strip()
    under = UNDER if shared == "panel" and everything else 0
    left = 0.3 + 0.068 * max(map(len, rows))
    step, pitch = size + GAP, size + GAP + under
    bar = BAR if shared == "all" and everything else 0
    room = note_room(note, left + step * columns) or 0.05
    figure = new_figure(left + step * columns, 0.45 + pitch * len(rows) + room + bar)
    width, height = figure.get_size_inches()
    for j, (name, pictures) in enumerate(rows.items()):
        top = 0.4 + j * pitch
        figure.text((left - 0.12) / width, 1 - (top + size / 2) / height, name, ha="right", va="center", fontsize=8.5)
        for k, picture in enumerate(pictures):
            if picture is None:
                continue
            box = ((left + k * step) / width, 1 - (top + size) / height, size / width, size / height)
            axes = figure.add_axes(box)
            limit = _draw(axes, picture, signed[name][k], scales[name][k])
            if under and limit is not None:
                axes.set_xlabel(f"± {limit:.3g}", fontsize=7, labelpad=2.5, color=QUIET)
        if shared == "row" and (limits := [s.limit for s in scales[name] if s is not None]):
            where = (left - 0.12) / width, 1 - (top + size / 2 + 0.2) / height
            figure.text(*where, f"± {limits[0]:.3g}", ha="right", va="center", fontsize=7, color=QUIET)
    for k, title in enumerate(titles[:columns]):
        figure.text((left + k * step + size / 2) / width, 1 - 0.32 / height, title, ha="center", fontsize=8.5)
    if bar:
        box = (
            left / width,
            (room + 0.42) / height,
            min(3.0, step * columns - GAP) / width,
            0.09 / height,
        )
        mappable = ScalarMappable(Normalize(-found[0].limit, found[0].limit), DIVERGING)
        drawn = figure.colorbar(mappable, cax=figure.add_axes(box), orientation="horizontal")
        drawn.outline.set_linewidth(0.5)
        drawn.ax.tick_params(labelsize=7, width=0.5)
        drawn.set_label(unit, fontsize=7.5)
    if note:
        add_note(figure, note)
    return figure


def _signed(picture):
    """The values of a heatmap or an overlay, None of anything else."""
    if picture is None or (isinstance(picture, tuple) and picture[0] == "input"):
        return None
    return aggregate(np.asarray(picture[1] if isinstance(picture, tuple) else picture))


def _scales(values, everything, shared, clip):
    """The scale of each picture of a row."""
    if shared == "panel":
        return [None if v is None else scale(v, clip) for v in values]
    together = everything if shared == "all" else [v for v in values if v is not None]
    limit = scale(np.concatenate([v.ravel() for v in together]), clip).limit if together else None
    return [None if v is None else scale(v, limit=limit) for v in values]


def _draw(axes, picture, values, found):
    if values is None:
        draw_input(axes, picture[1])
        return None
    if isinstance(picture, tuple):
        return draw_overlay(axes, values, picture[2], limit=found.limit)
    return draw_heatmap(axes, values, limit=found.limit)
