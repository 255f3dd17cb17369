"""Presets: the settings under which other libraries compute, as far as our options reach."""

from pyref.check import nearest

__all__ = ["PRESETS", "preset_options"]

PRESETS: dict[str, dict[str, dict]] = {
    # DeepExplain, with which [ancona2017] was computed: ε at nonlinearities only, one ε in the gradient form.
    # Its DeepLIFT takes f′ at the midpoint where |Δz| ≤ 1e-5; the closed quotient here agrees to rounding.
    "ancona": {
        "gradient_times_input": {},
        "saliency": {},
        "lrp": {"rule": "epsilon", "rule_options": {"epsilon": 1e-4}, "form": "gradient"},
        "integrated_gradients": {"quadrature": "right", "m": 100},
        "deeplift": {"product": "gradient", "max_pool": "gradient"},
        "occlusion": {"aggregate": "per_area"},
    },
    # Captum. Its LRP also applies ε at max pooling, and its trapezoid rule has weights that do not sum to one. Windows
    # of its Occlusion may reach over the end of the image.
    "captum": {
        "saliency": {},
        "gradient_times_input": {},
        "lrp": {"rule": "epsilon", "rule_options": {"epsilon": 1e-9}, "merge_batchnorm": False},
        "integrated_gradients": {"quadrature": "gauss_legendre", "m": 50},
        "deeplift": {"product": "gradient", "max_pool": "xmax"},
        "occlusion": {"aggregate": "mean"},
        "grad_cam": {"relu": False, "upsample": False},
    },
    # zennit. Its SmoothGrad leaves the last of the copies without noise, and its merging of batch normalisation a
    # division by √(1 + eps).
    "zennit": {
        "gradient": {},
        "lrp": {"rule": "epsilon", "rule_options": {"epsilon": 1e-6}, "merge_batchnorm": True},
        "integrated_gradients": {"quadrature": "right", "m": 20},
        "smoothgrad": {"level": 0.1, "samples": 20},
        "excitation_backprop": {"negative": "clip"},
    },
    # iNNvestigate. Its path integrals weigh m nodes from 0 to 1, both ends included, equally; the trapezoid rule
    # has the same nodes and halves the ends. Its deep Taylor also puts w² on every layer without an activation, and
    # hands all of R to each branch of a sum; here branches share.
    "innvestigate": {
        "gradient": {},
        "lrp": {"rule": "epsilon", "rule_options": {"epsilon": 1e-7}, "merge_batchnorm": False},
        "integrated_gradients": {"quadrature": "trapezoid", "m": 64},
        "smoothgrad": {"samples": 64},
        "deep_taylor": {"seed": "output"},
        "pattern_net": {"project": True},
        "pattern_attribution": {},
    },
    # The authors' code for LSTMs [arras2017]: bias_factor 0, which is the bias as a neuron.
    "arras": {
        "lrp": {"rule": "epsilon", "rule_options": {"epsilon": 1e-3}, "gate": "all"},
        "gradient_times_input": {},
    },
    # The authors' code of FullGrad [srinivas2019]. Its Grad-CAM reads the convolution before its activation:
    # name that node with at=.
    "idiap": {
        "fullgrad": {"psi": "paper", "scope": "layer", "terms": "explicit"},
        "grad_cam": {"features": "positive"},
        "smoothgrad": {"samples": 100, "level": 0.15, "absolute": "after"},
        "saliency": {"channels": "sum"},
    },
    # The authors' code of DeepLIFT [shrikumar2017]. Rescale for all layers; f′(z̄) where |Δz| < 1e-7.
    "deeplift": {
        "deeplift": {"rule": "rescale", "max_pool": "gradient"},
        "integrated_gradients": {"quadrature": "midpoint", "m": 10},
    },
}


def preset_options(name, method):
    """The options of a method under a preset: PRESETS[name][method].

    Raises
        ValueError  an unknown preset, or a method that the preset says nothing about.
    """
    if name not in PRESETS:
        raise ValueError(f"there is no preset {name!r}; {nearest(name, PRESETS)}")
    if method not in PRESETS[name]:
        raise ValueError(f"preset {name!r} has no {method!r}; it has {', '.join(PRESETS[name])}")
    return dict(PRESETS[name][method])
