"""Pictures of attributions. Figures are made without pyplot: no window, no global state, any thread.

figure     figures of an attribution, and how any figure is written
heatmap    one heatmap: colours, scale, overlay                panels     tables of them
grid       methods down, networks across, with remarks         token      words on the colour of their relevance
chart      curves with bands, numbers with intervals, bars     flow       the ledger
animation  interior gradients, as GIF or APNG                  page       pages of one file, read value by value
explanation the page of an attribution
"""

from relprop.view.animation import interior_frames, save_animation
from relprop.view.chart import (
    Curve,
    bars_figure,
    convergence_figure,
    curves_figure,
    measurement_figure,
    saturation_figure,
    scores_figure,
)
from relprop.view.explanation import write_explanation
from relprop.view.figure import attribution_figure, new_figure, save_figure
from relprop.view.flow import flow_figure
from relprop.view.grid import Row, grid_figure
from relprop.view.heatmap import (
    CHANNELS,
    DIVERGING,
    Scale,
    aggregate,
    draw_heatmap,
    draw_input,
    draw_overlay,
    scale,
    symmetric_limit,
)
from relprop.view.page import page_text, write_page
from relprop.view.panels import panels_figure
from relprop.view.token import tokens_figure

__all__ = [
    "CHANNELS",
    "Curve",
    "DIVERGING",
    "Row",
    "Scale",
    "aggregate",
    "attribution_figure",
    "bars_figure",
    "convergence_figure",
    "curves_figure",
    "draw_heatmap",
    "draw_input",
    "draw_overlay",
    "flow_figure",
    "grid_figure",
    "interior_frames",
    "measurement_figure",
    "new_figure",
    "page_text",
    "panels_figure",
    "saturation_figure",
    "save_animation",
    "save_figure",
    "scale",
    "scores_figure",
    "symmetric_limit",
    "tokens_figure",
    "write_explanation",
    "write_page",
]
