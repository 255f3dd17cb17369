"""Figures of `relprop.Attribution`, and how any figure is made and written."""

from pathlib import Path

from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from relprop.view.heatmap import aggregate, draw_heatmap, draw_input

__all__ = ["SCALE_NOTE", "attribution_figure", "new_figure", "save_figure"]

SCALE_NOTE = "Each panel has its own scale, symmetric about zero: blue negative, white zero, red positive."
SUFFIXES = (".png", ".svg", ".pdf")


def new_figure(width, height):
    """An empty figure of width × height inches that pyplot does not know of."""
    figure = Figure(figsize=(width, height), facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure, path):
    """Write a figure as .png, .svg or .pdf; the same figure gives the same bytes.

    Raises
        ValueError  another suffix.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise ValueError(f"{path.name} ends in {path.suffix!r}, expected one of {', '.join(SUFFIXES)}")
    no_date = {".png": {"Software": None}, ".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
    with rc_context({"svg.hashsalt": "relprop"}):
        figure.savefig(path, dpi=160, metadata=no_date[path.suffix])
    return path


def attribution_figure(attribution, samples=4, channels="sum"):
    """Inputs above, heatmaps below, one column a sample; one row of heatmaps for each input or node explained."""
    values = attribution.result.values
    by_name = values if isinstance(values, dict) else {"": values}
    inputs = attribution.x if isinstance(attribution.x, dict) else {"": attribution.x}
    columns = max(1, min(samples, len(attribution.result.output)))
    pairs = [(name, inputs.get(name, next(iter(inputs.values()))), v) for name, v in by_name.items()]
    figure = new_figure(0.4 + 2.1 * columns, 0.7 + 4.5 * len(pairs))
    grid = figure.subplots(2 * len(pairs), columns, squeeze=False)
    for row, (name, x, value) in enumerate(pairs):
        for sample in range(columns):
            above, below = grid[2 * row][sample], grid[2 * row + 1][sample]
            draw_input(above, x[sample])
            picture, ground = aggregate(value[sample], channels), aggregate(x[sample])
            limit = draw_heatmap(below, picture, ground)
            output = float(attribution.result.output[sample])
            above.set_title(f"{name + ': ' if name else ''}output {output:.4g}", fontsize=9)
            below.set_xlabel(f"± {limit:.3g}", fontsize=8)
    figure.suptitle(f"{attribution.method} of {attribution.network}", fontsize=10)
    figure.supxlabel(SCALE_NOTE, fontsize=6.5 if columns > 1 else 4, color="#555555")
    figure.tight_layout()
    return figure
