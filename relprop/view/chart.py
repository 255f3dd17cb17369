"""Curves with bands, intervals and bars, in colours that the colour-blind tell apart, and dashes."""

import textwrap
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from pyref.check import check_choice
from relprop.view.figure import QUIET, add_note, new_figure, note_room

__all__ = [
    "Curve",
    "bars_figure",
    "convergence_figure",
    "curves_figure",
    "measurement_figure",
    "scores_figure",
    "style",
]

# Okabe and Ito's colours, and black; dashes tell what is left
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#8a6d00", "#7a7a7a")
DASHES = ("-", "--", ":", "-.")
MANY = 12  # bars from which they lie down, so that their names have room
DECADES = 2.5  # of a logarithmic axis, below which its numbers are written out
FIXED = {"random": ("#7a7a7a", ":"), "chance": ("#7a7a7a", ":")}


@dataclass(frozen=True)
class Curve:
    """One curve and its band, each (k,): where, the mean, and ± `error` or from `low` to `high`.

    x  numbers, or names, which are set at equal distances
    """

    x: Any
    y: Any
    error: Any = None
    low: Any = None
    high: Any = None

    @property
    def band(self):
        """(low, high), or None."""
        if self.error is not None:
            y, error = np.asarray(self.y, float), np.asarray(self.error, float)
            return y - error, y + error
        return None if self.low is None else (np.asarray(self.low, float), np.asarray(self.high, float))


def style(names):
    """{name: (colour, dash)} for names that share a chart."""
    names = [n for n in names if n not in FIXED]
    free = {n: (COLORS[k % len(COLORS)], DASHES[k // len(COLORS) % len(DASHES)]) for k, n in enumerate(names)}
    return {**free, **FIXED}


def curves_figure(
    panels, xlabel, ylabel, *, columns=3, log=(), share=True, zero=False, legend=True, note="", width=3.3, height=2.7
):
    """Panels {title: {name: Curve}} side by side, one legend below.

    A curve that has a name is the wider, the more of those drawn over it say the same, so that all of them are seen.

    xlabel, ylabel  what the axes are, with their units; ylabel may be {title: what} where the panels do not share one
    log             which axes are logarithmic: "x", "y"; what is not positive is then left out, and said
    share           whether the panels have one vertical axis
    zero            draw the line y = 0
    legend          False where single curves need no name
    note            under the legend; it should say what the bands are
    width, height   of a panel, in inches

    Raises
        ValueError  no panel; a curve whose parts have different lengths.
    """
    if not panels:
        raise ValueError("there is nothing to draw: panels is empty")
    for axis in log:
        check_choice("log", axis, ("x", "y"))
    names = list(dict.fromkeys(name for curves in panels.values() for name in curves))
    styles = style(names)
    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    across = 0.8 + width * columns
    per_line = _per_line(names, across)
    hidden = sum(_left_out(curve, log) for curves in panels.values() for curve in curves.values())
    if hidden:
        note = f"{note} {hidden} points that are not positive have no place on a logarithmic axis.".strip()
    room = (0.25 * -(-len(names) // per_line) if legend else 0) + note_room(note, across)
    figure = new_figure(across, 0.4 + height * rows + room)
    grid = figure.subplots(rows, columns, squeeze=False, sharey=share)
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    for k, (title, curves) in enumerate(panels.items()):
        axes = grid.flat[k]
        if zero:
            axes.axhline(0, color="#9a9a9a", linewidth=0.8, zorder=0)
        under = _alike(list(curves.values()), log) if legend else [0] * len(curves)
        for (name, curve), over in zip(curves.items(), under, strict=True):
            _draw_curve(axes, name, curve, styles[name], log, 1.5 + over)
        if "x" in log:
            axes.set_xscale("log")
            low, high = axes.get_xlim()
            if high < 10**DECADES * low:
                axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
                axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
                axes.xaxis.set_minor_formatter(NullFormatter())
        elif all(not isinstance(at, str) and float(at).is_integer() for curve in curves.values() for at in curve.x):
            axes.xaxis.get_major_locator().set_params(integer=True)
        if "y" in log:
            axes.set_yscale("log")
        axes.set_title(title, fontsize=9.5)
        if k + columns >= len(panels):
            axes.set_xlabel(xlabel, fontsize=8.5)
        if k % columns == 0 or not share:
            axes.set_ylabel(ylabel if isinstance(ylabel, str) else ylabel[title], fontsize=8.5)
        _quiet(axes)
    _legend(figure, grid.flat[: len(panels)] if legend else [], per_line, room, note)
    return figure


def _alike(curves, log):
    """How many of the later curves each one lies under: nearly everywhere within a hundredth of what all span."""
    ys = [np.asarray(c.y, float) for c in curves]
    if "y" in log:
        ys = [np.log10(np.where(y > 0, y, np.nan)) for y in ys]
    finite = [v for y in ys for v in y[np.isfinite(y)]]
    near = 0.01 * (max(finite) - min(finite)) if finite else 0.0

    def same(a, b):
        apart = np.abs(ys[a] - ys[b]) if list(curves[a].x) == list(curves[b].x) else np.array([np.inf])
        return bool(np.mean(apart <= near) > 0.8)

    return [sum(same(a, b) for b in range(a + 1, len(ys))) for a in range(len(ys))]


def _draw_curve(axes, name, curve, look, log, wide):
    color, dash = look
    y, x = np.asarray(curve.y, float), list(curve.x)
    shown = np.where(y > 0, y, np.nan) if "y" in log else y
    if len(x) != len(y):
        raise ValueError(f"curve {name!r} has {len(y)} values at {len(x)} places")
    named = any(isinstance(at, str) for at in x)
    places = np.arange(len(x)) if named else np.asarray(x, float)
    axes.plot(
        places,
        shown,
        dash,
        color=color,
        linewidth=wide,
        solid_capstyle="butt",
        marker="." if len(y) < 12 else None,
        label=name,
    )
    if curve.band is not None:
        low, high = curve.band
        if low.shape != y.shape or high.shape != y.shape:
            raise ValueError(f"the band of curve {name!r} has shapes {low.shape} and {high.shape}, expected {y.shape}")
        axes.fill_between(places, low, high, color=color, alpha=0.18, linewidth=0)
    if named:
        axes.set_xticks(places, x, rotation=45 if max(map(len, x)) * len(x) > 30 else 0, ha="right")


def _left_out(curve, log):
    y, x = np.asarray(curve.y, float), list(curve.x)
    gone = (y <= 0) if "y" in log else np.zeros(len(y), bool)
    if "x" in log and not any(isinstance(at, str) for at in x):
        gone |= np.asarray(x, float) <= 0
    return int(gone.sum())


def measurement_figure(measurement, *, log=(), title=None):
    """A `pyref.metrics.Curves`, such as Sensitivity-n, MoRF and LeRF, or saturation: means and their bootstrap bands.

    log    which axes are logarithmic: "x", "y"
    title  by default the metric's name

    Raises
        TypeError  a measurement that holds no curves.
    """
    if not hasattr(measurement, "axis"):
        raise TypeError(f"{type(measurement).__name__} holds no curves: scores_figure draws numbers")
    curves, counts = {}, []
    for name in measurement.series:
        s = measurement.summary(name)
        counts.append(int(np.max(s.count)))
        wide = counts[-1] > 1
        mean, low, high = (np.asarray(v, float) for v in (s.mean, s.low, s.high))
        curves[name or "attribution"] = Curve(measurement.at, mean, low=low if wide else None, high=high)
    band = f"Band: {100 * measurement.level:g} % bootstrap interval of the mean over {max(counts)} samples."
    note = band if max(counts) > 1 else "One sample: no band."
    panels = {title if title is not None else measurement.metric.replace("_", " "): curves}
    zero = any(np.nanmin(np.asarray(c.y, float)) < 0 for c in curves.values())
    return curves_figure(panels, measurement.axis, measurement.unit, log=log, zero=zero, note=note, width=5, height=3.4)


def convergence_figure(convergence, *, distance=False, title=None):
    """A `pyref.metrics.Convergence`: |cos| layer by layer, medians over samples and the middle half of them.

    distance  draw 1 - |cos| on a logarithmic axis: it shows how fast, where |cos| only shows that
    """
    values = convergence.distance if distance else convergence.values
    curves = {}
    for name, v in values.items():
        low, middle, high = np.nanquantile(np.asarray(v, float), (0.25, 0.5, 0.75), axis=0)
        curves[name or "attribution"] = Curve(convergence.at, middle, low=low, high=high)
    if convergence.chance and not distance:
        at = list(convergence.at)
        curves["chance"] = Curve(at, [convergence.chance.get(name, np.nan) for name in at])
    count = len(next(iter(values.values())))
    note = f"Line: median over {count} samples; band: their middle half."
    if "chance" in curves:
        note += " Chance: independent random vectors."
    label = "1 − |cos|" if distance else "|cos| between random vectors"
    panels = {title if title is not None else convergence.metric.replace("_", " "): curves}
    named = any(isinstance(name, str) for name in convergence.at)
    axis = "layer, from the output down" if named else convergence.axis
    figure = curves_figure(panels, axis, label, log=("y",) if distance else (), note=note, width=5, height=3.4)
    if not distance:
        figure.axes[0].set_ylim(-0.03, 1.03)
    return figure


def saturation_figure(attribution):
    """The output and the size of its gradient on the way from the baseline to the input: means over the samples.

    attribution  of `relprop.explain(…, method="interior_gradients")` or pyref's

    Raises
        ValueError  an attribution without α.
    """
    result = getattr(attribution, "result", attribution)
    alphas = result.settings.get("alphas")
    if alphas is None:
        raise ValueError(f"{result.method} has no α: saturation is seen by interior_gradients")
    arrays = result.values.values() if isinstance(result.values, dict) else [result.values]
    outputs = np.asarray([np.asarray(o, float) for o in result.settings["outputs"]])
    sizes = sum(np.abs(np.asarray(v, float)).reshape(*outputs.shape, -1).sum(axis=-1) for v in arrays)
    count, panels = outputs.shape[1], {}
    units = {"output": "unit of the output", "Σ |gradient|": "output per unit of the input"}
    for name, values in zip(units, (outputs, sizes), strict=True):
        error = values.std(axis=1, ddof=1) / np.sqrt(count) if count > 1 else None
        panels[name] = {"mean": Curve(alphas, values.mean(axis=1), error)}
    note = f"Mean over {count} samples; band: ± one standard error." if count > 1 else "One sample: no band."
    label = "α: from the baseline (0) to the input (1)"
    return curves_figure(panels, label, units, share=False, note=note)


def scores_figure(scores, title=None):
    """A `pyref.metrics.Scores`: each sample a dot, and their mean with its bootstrap interval."""
    names = list(scores.series)
    note = f"Dots: samples. Line: {100 * scores.level:g} % bootstrap interval of the mean, the large dot."
    figure = new_figure(6.2, 1.1 + 0.42 * len(names))
    axes = figure.subplots()
    styles = style(names)
    for k, name in enumerate(names):
        v, s = np.asarray(scores[name], float), scores.summary(name)
        color = styles[name][0]
        spread = 0.16 * np.sin(7.0 * np.arange(len(v)))  # so that equal values can be told apart
        axes.plot(v, k + spread, ".", color=color, alpha=0.35, markersize=4, zorder=1)
        axes.plot([float(s.low), float(s.high)], [k, k], "-", color=color, linewidth=2.5, zorder=2)
        axes.plot([float(s.mean)], [k], "o", color=color, markeredgecolor="white", zorder=3)
    axes.set_yticks(range(len(names)), [n or "attribution" for n in names])
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlabel(f"{scores.metric} ({scores.unit})" if scores.unit else scores.metric, fontsize=8.5)
    axes.set_title(title if title is not None else scores.metric.replace("_", " "), fontsize=9.5)
    _quiet(axes)
    figure.tight_layout(rect=(0, note_room(note, 6.2) / figure.get_figheight(), 1, 1))
    add_note(figure, note)
    return figure


def bars_figure(groups, ylabel, *, errors=None, note=""):
    """Bars {group: {name: value}}: one cluster a group, one colour a name; errors alike, drawn as ±. NaN is said.

    Where there are many they lie, groups from top to bottom. A single name has no legend: `ylabel` says what it is.
    """
    names = list(dict.fromkeys(name for bars in groups.values() for name in bars))
    styles = style(names)
    width = 0.8 / len(names)
    lying = len(names) * len(groups) > MANY
    across = 6.5 if lying else max(4.5, 1.2 + 0.28 * len(names) * len(groups) + 0.5 * len(groups))
    per_line = _per_line(names, across)
    legend = (0.25 * -(-len(names) // per_line) if len(names) > 1 else 0) + note_room(note, across)
    figure = new_figure(across, (0.7 + 0.16 * (len(names) + 0.5) * len(groups) if lying else 3.2) + legend)
    axes = figure.subplots()
    for k, name in enumerate(names):
        at = [g + (k - (len(names) - 1) / 2) * width for g, bars in enumerate(groups.values()) if name in bars]
        error = [errors[g][name] for g in groups if name in groups[g]] if errors else None
        values = [bars[name] for bars in groups.values() if name in bars]
        for place, value in zip(at, values, strict=True):
            if not np.isfinite(value):
                words = {"fontsize": 7.5, "color": QUIET}
                if lying:
                    axes.text(0, place, " no value", ha="left", va="center", **words)
                else:
                    axes.text(place, 0, "no value", rotation=90, ha="center", va="bottom", **words)
        look = {"color": styles[name][0], "label": name, "error_kw": {"linewidth": 0.8}}
        if lying:
            axes.barh(at, values, width, xerr=error, **look)
        else:
            axes.bar(at, values, width, yerr=error, **look)
    if lying:
        axes.axvline(0, color=QUIET, linewidth=0.8)
        axes.set_yticks(range(len(groups)), list(groups))
        axes.set_ylim(len(groups) - 0.4, -0.6)
        axes.set_xlabel(ylabel, fontsize=8.5)
    else:
        axes.axhline(0, color=QUIET, linewidth=0.8)
        axes.set_xticks(range(len(groups)), [textwrap.fill(g, 14, break_long_words=False) for g in groups])
        axes.set_ylabel(ylabel, fontsize=8.5)
    _quiet(axes)
    _legend(figure, [axes] if len(names) > 1 else [], per_line, legend, note)
    return figure


def _per_line(names, width):
    """How many names of the legend fit into a line of a figure so many inches wide."""
    return max(1, int(15 * width / (7 + max(map(len, names), default=0))))


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
    if handles:
        legend = figure.legend(
            handles.values(), handles.keys(), loc="lower center", ncols=columns, fontsize=8, frameon=False,
            bbox_to_anchor=(0.5, note_room(note, figure.get_figwidth()) / height),
        )  # fmt: skip
        for line in legend.get_lines():
            line.set_linewidth(1.5)
    if note:
        add_note(figure, note)
