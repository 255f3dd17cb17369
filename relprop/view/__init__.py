"""Pictures of attributions. Figures are made without pyplot: no window, no global state, any thread."""

from relprop.view.figure import attribution_figure, new_figure, save_figure
from relprop.view.grid import Row, grid_figure
from relprop.view.heatmap import CHANNELS, DIVERGING, Scale, aggregate, draw_heatmap, draw_input, scale, symmetric_limit
from relprop.view.page import page_text, write_page

__all__ = [
    "CHANNELS",
    "DIVERGING",
    "Row",
    "Scale",
    "aggregate",
    "attribution_figure",
    "draw_heatmap",
    "draw_input",
    "grid_figure",
    "new_figure",
    "page_text",
    "save_figure",
    "scale",
    "symmetric_limit",
    "write_page",
]
