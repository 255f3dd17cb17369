"""The charts of the experiments: curves with bands, bars and panels of images, in colours fit for the colour-blind."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from relprop.view import aggregate, draw_heatmap, draw_input, new_figure
from relprop.view.page import Heatmap, Heatmaps

__all__ = ["Curve", "bars_figure", "curves_figure", "panel_maps", "panels_figure", "style"]

# Okabe and Ito's colours, and black; dashes tell what is left
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#8a6d00", "#7a7a7a")
DASHES = ("-", "--", ":", "-.")
FIXED = {"random": ("#7a7a7a", ":")}


@dataclass(frozen=True)
class Curve:
    """One curve: where, the mean, and the standard error that its band shows."""

    x: Any
    y: Any
    error: Any = None


def style(names):
    """{name: (colour, dash)} for names that share a chart."""
    names = [n for n in names if n not in FIXED]
    free = {n: (COLORS[k % len(COLORS)], DASHES[k // len(COLORS) % len(DASHES)]) for k, n in enumerate(names)}
    return {**free, **FIXED}


def curves_figure(panels, xlabel, ylabel, *, columns=3, log=(), share=True, zero=False, note="", height=2.7):
    """Panels {title: {name: Curve}} side by side, one legend below; bands are ± one standard error.

    log   which axes are logarithmic: "x", "y"
    zero  draw the line y = 0
    """
    names = list(dict.fromkeys(name for curves in panels.values() for name in curves))
    styles = style(names)
    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    legend = 0.25 * -(-len(names) // max(2, int(1.5 * columns))) + (0.25 if note else 0)
    figure = new_figure(0.8 + 3.3 * columns, 0.4 + height * rows + legend)
    grid = figure.subplots(rows, columns, squeeze=False, sharey=share)
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    for k, (title, curves) in enumerate(panels.items()):
        axes = grid.flat[k]
        if zero:
            axes.axhline(0, color="#c4c4c4", linewidth=0.8, zorder=0)
        for name, curve in curves.items():
            color, dash = styles[name]
            y = np.asarray(curve.y, float)
            axes.plot(curve.x, y, dash, color=color, linewidth=1.5, marker="." if len(y) < 12 else None, label=name)
            if curve.error is not None:
                error = np.asarray(curve.error, float)
                axes.fill_between(curve.x, y - error, y + error, color=color, alpha=0.18, linewidth=0)
        if "x" in log:
            axes.set_xscale("log")
        if "y" in log:
            axes.set_yscale("log")
        axes.set_title(title, fontsize=9.5)
        if k + columns >= len(panels):
            axes.set_xlabel(xlabel, fontsize=8.5)
        if k % columns == 0 or not share:
            axes.set_ylabel(ylabel, fontsize=8.5)
        _quiet(axes)
    _legend(figure, grid.flat[: len(panels)], max(2, int(1.5 * columns)), legend, note)
    return figure


def bars_figure(groups, ylabel, *, errors=None, note=""):
    """Bars {group: {name: value}}: one cluster a group, one colour a name."""
    names = list(dict.fromkeys(name for bars in groups.values() for name in bars))
    styles = style(names)
    width = 0.8 / len(names)
    legend = 0.25 * -(-len(names) // 4) + (0.25 if note else 0)
    figure = new_figure(max(4.5, 1.2 + 0.28 * len(names) * len(groups) + 0.5 * len(groups)), 3.2 + legend)
    axes = figure.subplots()
    for k, name in enumerate(names):
        at = [g + (k - (len(names) - 1) / 2) * width for g, bars in enumerate(groups.values()) if name in bars]
        error = [errors[g][name] for g in groups if name in groups[g]] if errors else None
        values = [bars[name] for bars in groups.values() if name in bars]
        axes.bar(at, values, width, yerr=error, color=styles[name][0], label=name, error_kw={"linewidth": 0.8})
    axes.axhline(0, color="#595959", linewidth=0.8)
    axes.set_xticks(range(len(groups)), list(groups))
    axes.set_ylabel(ylabel, fontsize=8.5)
    _quiet(axes)
    _legend(figure, [axes], 4, legend, note)
    return figure


def panels_figure(rows, columns, *, titles=(), note="", size=1.25):
    """A table of pictures: rows {name: [picture or None, …]} under the column titles.

    A picture is a plain array, drawn as a signed heatmap of its own scale, or ("input", array), drawn as an image.
    """
    left = 1.5
    figure = new_figure(left + size * 1.1 * columns, 0.55 + size * 1.1 * len(rows) + (0.3 if note else 0))
    width, height = figure.get_size_inches()
    for j, (name, pictures) in enumerate(rows.items()):
        top = 0.45 + j * size * 1.1
        figure.text((left - 0.12) / width, 1 - (top + size / 2) / height, name, ha="right", va="center", fontsize=8.5)
        for k, picture in enumerate(pictures):
            if picture is None:
                continue
            box = (
                (left + k * size * 1.1) / width,
                1 - (top + size) / height,
                size / width,
                size / height,
            )
            axes = figure.add_axes(box)
            if isinstance(picture, tuple):
                draw_input(axes, picture[1])
            else:
                draw_heatmap(axes, aggregate(np.asarray(picture)))
            if j == 0 and k < len(titles):
                axes.set_title(titles[k], fontsize=8.5)
    if note:
        figure.text(0.01, 0.06 / height, note, fontsize=7.5, color="#595959")
    return figure


def panel_maps(rows, titles):
    """The panels of `panels_figure` as maps whose values can be read, for `Picture.maps`."""
    return [
        Heatmaps(
            [
                Heatmap(p[1], title, kind="input") if isinstance(p, tuple) else Heatmap(p, title)
                for p, title in zip(pictures, titles, strict=True)
                if p is not None
            ],
            name,
        )
        for name, pictures in rows.items()
    ]


def _quiet(axes):
    axes.tick_params(labelsize=8)
    axes.grid(True, color="#ececec", linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _legend(figure, axes, columns, room, note):
    handles = {label: h for a in axes for h, label in zip(*a.get_legend_handles_labels(), strict=True)}
    height = figure.get_figheight()
    figure.tight_layout(rect=(0, room / height, 1, 1))
    figure.legend(
        handles.values(), handles.keys(), loc="lower center", ncols=columns, fontsize=8, frameon=False,
        bbox_to_anchor=(0.5, 0.2 / height if note else 0),
    )  # fmt: skip
    if note:
        figure.text(0.01, 0.06 / height, note, fontsize=7.5, color="#595959")
