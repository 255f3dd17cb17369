"""Figures of `relprop.Attribution`, and how any figure is made and written."""

import io
import textwrap
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from relprop.view.heatmap import aggregate, draw_heatmap, draw_input, draw_overlay, scale

__all__ = [
    "SCALE_NOTE",
    "attribution_figure",
    "QUIET",
    "add_note",
    "figure_bytes",
    "new_figure",
    "note_room",
    "save_figure",
]

SCALE_NOTE = "Each panel has its own scale, symmetric about zero: blue negative, white zero, red positive."
DPI = 130
QUIET = "#595959"
LINE = 0.145  # inches of a line of a note
SUFFIXES = (".png", ".svg", ".pdf")


def new_figure(width, height):
    """An empty figure of width × height inches that pyplot does not know of."""
    figure = Figure(figsize=(width, height), facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def note_room(note, width):
    """How many inches `add_note` takes at the foot of a figure of that width."""
    return 0.12 + LINE * len(_lines(note, width)) if note else 0


def add_note(figure, note):
    """Write a note at the foot of a figure, in lines that fit."""
    width, height = figure.get_size_inches()
    words = "\n".join(_lines(note, width))
    figure.text(0.08 / width, 0.06 / height, words, fontsize=7.5, color=QUIET, va="bottom", linespacing=1.35)


def _lines(note, width):
    return textwrap.wrap(note, max(20, int(17.5 * width)))


def save_figure(figure, path, dpi=DPI):
    """Write a figure as .png, .svg or .pdf; the same figure gives the same bytes.

    Raises
        ValueError  another suffix.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise ValueError(f"{path.name} ends in {path.suffix!r}, expected one of {', '.join(SUFFIXES)}")
    path.write_bytes(figure_bytes(figure, path.suffix, dpi))
    return path


def figure_bytes(figure, suffix, dpi=DPI):
    """What `save_figure` writes into a file of this suffix."""
    no_date = {".png": {"Software": None}, ".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
    file = io.BytesIO()
    with rc_context({"svg.hashsalt": "relprop"}):
        figure.savefig(file, format=suffix[1:], dpi=dpi, metadata=no_date[suffix])
    return file.getvalue()


def attribution_figure(attribution, samples=4, channels="sum", overlay=False, clip=None):
    """Inputs above, heatmaps below, one column a sample; one row of heatmaps for each input or node explained.

    Interior gradients have a column for each α instead, for the first sample.

    samples   how many of the batch
    channels  how channels become one: "sum", "abs", "max" or "l2"
    overlay   draw the heatmaps over the input, where they have its size
    clip      a percentile of |value| at which each scale ends; each panel says how many of its values that clips

    Raises
        ValueError  another `channels`; clip out of range.
    """
    result, x = attribution.in_numpy.result, attribution.in_numpy.x
    values = result.values if isinstance(result.values, dict) else {"": result.values}
    inputs = x if isinstance(x, dict) else {"": x}
    alphas = attribution.alphas
    columns = len(alphas) if alphas is not None else max(1, min(samples, len(result.output)))
    figure = new_figure(0.4 + 2.1 * columns, 0.7 + 4.5 * len(values))
    grid = figure.subplots(2 * len(values), columns, squeeze=False)
    for row, (name, value) in enumerate(values.items()):
        ground = inputs.get(name, next(iter(inputs.values())))
        for column in range(columns):
            above, below = grid[2 * row][column], grid[2 * row + 1][column]
            sample = column if alphas is None else 0
            title = f"output {float(result.output[sample]):.4g}" if alphas is None else f"α = {alphas[column]}"
            draw_input(above, ground[sample])
            picture = aggregate(value[column] if alphas is None else value[column][sample], channels)
            found = scale(picture, clip)
            if overlay and np.shape(ground[sample])[-2:] == picture.shape:
                draw_overlay(below, picture, ground[sample], limit=found.limit)
            else:
                draw_heatmap(below, picture, aggregate(ground[sample]), limit=found.limit)
            above.set_title(f"{name}: {title}" if name else title, fontsize=9)
            below.set_xlabel(str(found), fontsize=8)
    figure.suptitle(f"{attribution.method} of {attribution.network}", fontsize=10)
    note = textwrap.fill(SCALE_NOTE, int(19 * figure.get_figwidth()))  # characters of this size in an inch
    figure.supxlabel(note, fontsize=6.5, color="#555555")
    figure.tight_layout()
    return figure
