"""Which method goes through which layer."""

from collections.abc import Callable

from pyref.check import nearest
from pyref.layers.activation import Activation, Identity, ReLU
from pyref.layers.conv import Conv
from pyref.layers.layer import Layer

__all__ = ["SUPPORT", "supports"]

Refusal = Callable[[type[Layer]], str | None]  # why a layer class is refused; None where it is not


def _recurrent(layer):
    return "it does not go through recurrent layers" if layer.kind == "recurrent" else None


def _softmax(layer):
    return "there is no relevance of a softmax: attribute to the logits" if layer.kind == "softmax" else None


def _only_relu(layer):
    if issubclass(layer, Activation) and not issubclass(layer, ReLU | Identity):
        return "it is defined for ReLU; activation='derivative' uses f′"
    return None


def _no_pattern(layer):
    if issubclass(layer, ReLU | Identity | Conv) or layer.kind in ("dense", "embedding"):
        return None
    if layer.kind == "batchnorm":  # it is merged where its neighbours allow
        return None
    passes = layer.kind in ("pool", "shape", "dropout", "add", "upsample", "aggregate")
    return None if passes else "there is no pattern for it"


SUPPORT: dict[str, tuple[Refusal, ...]] = {
    "gradient": (),
    "saliency": (),
    "gradient_times_input": (),
    "interior_gradients": (),
    "integrated_gradients": (),
    "smoothgrad": (),
    "lrp": (_softmax,),
    "deeplift": (_softmax,),
    "occlusion": (),
    "guided_backprop": (_recurrent, _only_relu),
    "deconvnet": (_recurrent, _only_relu),
    "excitation_backprop": (_recurrent, _softmax),
    "contrastive_excitation_backprop": (_recurrent, _softmax),
    "deep_taylor": (_softmax,),
    "pattern_net": (_no_pattern,),
    "pattern_attribution": (_no_pattern,),
    "full_gradient": (),
    "fullgrad": (),
    "grad_cam": (),
}


def supports(method, layer):
    """Whether a method goes through a layer class, by default options: True, or the reason why not.

    Batch normalisation counts as merged; the exact form of Integrated Gradients needs `layer.piecewise_linear`.

    Raises
        ValueError  an unknown method.
    """
    if method not in SUPPORT:
        raise ValueError(f"there is no method {method!r}; {nearest(method, SUPPORT)}")
    return next((reason for refusal in SUPPORT[method] if (reason := refusal(layer))), True)
