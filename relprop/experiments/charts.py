"""The charts of the experiments are those of `relprop.view`; here their panels become maps of a page."""

from relprop.view.chart import Curve, bars_figure, curves_figure, style
from relprop.view.page import Heatmap, Heatmaps
from relprop.view.panels import panels_figure

__all__ = ["Curve", "bars_figure", "curves_figure", "panel_maps", "panels_figure", "style"]


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
