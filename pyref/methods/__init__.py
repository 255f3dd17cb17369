"""The attribution methods, one file each; METHODS is the one table of them."""

from pyref.methods.deeplift import deeplift
from pyref.methods.full_gradient import full_gradient
from pyref.methods.fullgrad import fullgrad
from pyref.methods.grad_cam import grad_cam
from pyref.methods.gradient import gradient
from pyref.methods.gradient_times_input import gradient_times_input
from pyref.methods.integrated_gradients import integrated_gradients
from pyref.methods.interior_gradients import interior_gradients
from pyref.methods.lrp import lrp
from pyref.methods.method import Run, baselines, start
from pyref.methods.occlusion import occlusion
from pyref.methods.saliency import saliency
from pyref.methods.smoothgrad import smoothgrad

__all__ = ["METHODS", "Run", "baselines", "start"]

METHODS = {
    method.__name__: method
    for method in (
        gradient,
        saliency,
        gradient_times_input,
        interior_gradients,
        integrated_gradients,
        smoothgrad,
        lrp,
        deeplift,
        occlusion,
        full_gradient,
        fullgrad,
        grad_cam,
    )
}

__all__ += list(METHODS)
