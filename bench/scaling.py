"""How our time grows with the size of the question: a power of it, whose exponent is a slope between logarithms."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bench.measure import measure
from bench.rows import ROWS, Row

__all__ = ["SERIES", "measured"]


@dataclass(frozen=True)
class Series:
    """One row at several sizes.

    what    the size that varies: "batch", or the name of an option of the architecture or of the method
    """

    name: str
    row: Row
    what: str
    sizes: tuple[int, ...]

    def at(self, size):
        """The row at one size."""
        if self.what == "batch":
            return replace(self.row, batch=size)
        place = "shape" if self.what in ("size", "steps") else "options"
        given: dict[str, Any] = getattr(self.row, place) | {self.what: size}
        return replace(self.row, **{place: given})


_NARROW = replace(ROWS["epsilon_plus vgg16 b4"], batch=1, shape={"width": 0.25, "classes": 10})
_STEPS = replace(ROWS["integrated_gradients 50 mnist_cnn b64"], batch=1)

SERIES = (
    Series(
        "EpsilonPlus, mnist_cnn, batch",
        replace(ROWS["occlusion mnist_cnn b1"], method="lrp", options={"rule": "epsilon_plus"}),
        "batch",
        (4, 8, 16, 32, 64),
    ),
    Series("EpsilonPlus, VGG-16 of a quarter of its width, image side", _NARROW, "size", (32, 64, 96, 128, 224)),
    Series("LRP, LSTM(64), batch 16, sequence length", ROWS["lrp lstm64 b16"], "steps", (125, 250, 500, 1000)),
    Series("Integrated Gradients, mnist_cnn, batch 1, steps", _STEPS, "m", (8, 16, 32, 64, 128)),
    Series(
        "Sensitivity-n, mnist_cnn, batch 1, subsets",
        replace(ROWS["sensitivity_n mnist_cnn b8"], batch=1),
        "subsets",
        (16, 32, 64, 128),
    ),
)


def measured(backend="cpu", threads=None, tell=lambda text: None):
    """[{name, seconds: {size: the median}, slope}] of all series, the slope by least squares."""
    found = []
    for series in SERIES:
        seconds = {}
        for size in series.sizes:
            row = replace(series.at(size), name=f"{series.name} {size}")
            ours = measure(row, ("ours",), backend, 5, 1.0, threads, tell, budget=20)["ours"]
            if ours.refused:
                raise RuntimeError(f"{row.name}: {ours.refused}")
            seconds[size] = ours.median
        slope = np.polyfit(np.log(list(seconds)), np.log(list(seconds.values())), 1)[0]
        found.append({"name": series.name, "seconds": seconds, "slope": float(slope)})
    return found
