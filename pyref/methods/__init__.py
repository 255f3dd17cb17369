"""The attribution methods, one file each; METHODS is the one table of them."""

from pyref.methods.deeplift import deeplift
from pyref.methods.gradient import gradient
from pyref.methods.gradient_times_input import gradient_times_input
from pyref.methods.integrated_gradients import integrated_gradients
from pyref.methods.interior_gradients import interior_gradients
from pyref.methods.lrp import lrp
from pyref.methods.method import Run, baselines, start
from pyref.methods.saliency import saliency

__all__ = ["METHODS", "Run", "baselines", "start"]

METHODS = {
    method.__name__: method
    for method in (
        gradient,
        saliency,
        gradient_times_input,
        interior_gradients,
        integrated_gradients,
        lrp,
        deeplift,
    )
}

__all__ += list(METHODS)
