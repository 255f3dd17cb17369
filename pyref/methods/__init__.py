"""The attribution methods, one file each; METHODS is the one table of them."""

from pyref.methods.deconvnet import deconvnet
from pyref.methods.deep_taylor import deep_taylor
from pyref.methods.deeplift import deeplift
from pyref.methods.excitation_backprop import contrastive_excitation_backprop, excitation_backprop
from pyref.methods.full_gradient import full_gradient
from pyref.methods.fullgrad import fullgrad
from pyref.methods.grad_cam import grad_cam
from pyref.methods.gradient import gradient
from pyref.methods.gradient_times_input import gradient_times_input
from pyref.methods.guided_backprop import guided_backprop
from pyref.methods.integrated_gradients import integrated_gradients
from pyref.methods.interior_gradients import interior_gradients
from pyref.methods.lrp import lrp
from pyref.methods.method import Run, baselines, copied_output, start
from pyref.methods.occlusion import occlusion
from pyref.methods.pattern_attribution import pattern_attribution
from pyref.methods.pattern_net import pattern_net
from pyref.methods.patterns import Patterns, fit_patterns
from pyref.methods.presets import PRESETS, preset_options
from pyref.methods.saliency import saliency
from pyref.methods.smoothgrad import smoothgrad
from pyref.methods.support import SUPPORT, supports

__all__ = [
    "METHODS",
    "gradient",
    "saliency",
    "gradient_times_input",
    "interior_gradients",
    "integrated_gradients",
    "smoothgrad",
    "lrp",
    "deeplift",
    "occlusion",
    "guided_backprop",
    "deconvnet",
    "excitation_backprop",
    "contrastive_excitation_backprop",
    "deep_taylor",
    "pattern_net",
    "pattern_attribution",
    "full_gradient",
    "fullgrad",
    "grad_cam",
    "PRESETS",
    "SUPPORT",
    "Patterns",
    "Run",
    "baselines",
    "fit_patterns",
    "preset_options",
    "start",
    "copied_output",
    "supports",
]

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
        guided_backprop,
        deconvnet,
        excitation_backprop,
        contrastive_excitation_backprop,
        deep_taylor,
        pattern_net,
        pattern_attribution,
        full_gradient,
        fullgrad,
        grad_cam,
    )
}
