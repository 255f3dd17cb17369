"""Pictures of attributions. Figures are made without pyplot: no window, no global state, any thread."""

from relprop.view.figure import attribution_figure, new_figure, save_figure
from relprop.view.grid import Row, grid_figure
from relprop.view.heatmap import CHANNELS, DIVERGING, aggregate, draw_heatmap, draw_input, symmetric_limit

__all__ = [
    "CHANNELS",
    "DIVERGING",
    "Row",
    "aggregate",
    "attribution_figure",
    "draw_heatmap",
    "draw_input",
    "grid_figure",
    "new_figure",
    "save_figure",
    "symmetric_limit",
]
