"""A table of heatmaps: methods down, networks across, numbers under each panel, a sentence at the end of each row."""

import textwrap
from dataclasses import dataclass, field

from relprop.view.figure import SCALE_NOTE, new_figure
from relprop.view.heatmap import INK, draw_heatmap, draw_input

__all__ = ["Row", "grid_figure"]

LABEL, PANEL, GAP, REMARK, MARGIN = 2.1, 1.3, 0.42, 3.35, 0.35  # inches
HEAD, NOTE, FOOT = 1.75, 0.52, 0.75
QUIET = "#666666"


@dataclass(frozen=True)
class Row:
    """One row: a name, a formula or explanation under it, one picture and its notes per column, a remark.

    warnings  indices of columns whose notes are set in red
    """

    name: str
    about: str
    pictures: list
    notes: list
    remark: str = ""
    warnings: frozenset = field(default_factory=frozenset)


def grid_figure(title, subtitle, x, columns, rows, notes_about):
    """The table as a figure.

    x            one sample of the input, drawn at the top left and as a contour over each panel
    columns      (name, what it says about x) per column
    notes_about  what the numbers under the panels are
    """
    width = MARGIN + LABEL + len(columns) * (PANEL + GAP) + REMARK + MARGIN
    height = HEAD + len(rows) * (PANEL + NOTE) + FOOT
    figure = new_figure(width, height)

    def text(left, top, words, **style):
        style = {"fontsize": 9, "color": INK, "ha": "left", "va": "top", **style}
        return figure.text(left / width, 1 - top / height, words, **style)

    def panel(left, top, size):
        return figure.add_axes((left / width, 1 - (top + size) / height, size / width, size / height))

    text(MARGIN, 0.28, title, fontsize=16, weight="bold")
    text(MARGIN, 0.64, subtitle, fontsize=9.5, color=QUIET)
    draw_input(panel(MARGIN, 1.0, 0.92), x)
    text(MARGIN + 1.05, 1.36, "the input", color=QUIET, fontsize=8.5)
    outline = x[0] if x.ndim == 3 and x.shape[0] == 1 else None
    remark_left = MARGIN + LABEL + len(columns) * (PANEL + GAP)
    for k, (name, says) in enumerate(columns):
        middle = MARGIN + LABEL + k * (PANEL + GAP) + PANEL / 2
        text(middle, 1.24, name, ha="center", weight="bold", fontsize=11.5)
        text(middle, 1.48, says, ha="center", color=QUIET, fontsize=8)
    text(remark_left, 1.24, "What to notice", weight="bold", fontsize=11.5)
    for j, row in enumerate(rows):
        top = HEAD + j * (PANEL + NOTE) + 0.06
        text(MARGIN, top + 0.36, row.name, weight="bold", fontsize=11)
        text(MARGIN, top + 0.60, row.about, color=QUIET, fontsize=9)
        for k, (picture, note) in enumerate(zip(row.pictures, row.notes, strict=True)):
            left = MARGIN + LABEL + k * (PANEL + GAP)
            draw_heatmap(panel(left, top, PANEL), picture, outline)
            color = "#a4161a" if k in row.warnings else INK
            text(left + PANEL / 2, top + PANEL + 0.05, note, ha="center", fontsize=7.6, color=color)
        text(remark_left, top + 0.3, textwrap.fill(row.remark, 46), fontsize=9.3, linespacing=1.35)
    foot = "\n".join(textwrap.fill(line, 190) for line in (SCALE_NOTE, notes_about))
    text(MARGIN, height - FOOT + 0.1, foot, fontsize=8.2, color=QUIET, linespacing=1.4)
    return figure
