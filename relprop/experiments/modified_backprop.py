"""The methods that [sixt2020] compares, and the one table of them for the experiments of that paper."""

from collections.abc import Callable

import pyref

__all__ = ["CMP", "CONVERGED", "METHODS", "RATIOS", "method"]

TOP = 3  # weighted layers from the output down that CMP gives to the z rule


def _rule(rule):
    return lambda network, problem: ("lrp", {"rule": rule})


def _cmp(alpha, beta):
    """z on the last layers, αβ below: in the paper the dense layers and the convolutions."""

    def make(network, problem):
        affine = [n for n in network.nodes.values() if n.layer.affine]
        weights = [i for i, n in enumerate(affine) if pyref.network.weighted(n.layer)]

        def choose(layer, index, first):
            return pyref.Epsilon(0) if index >= weights[-TOP] else pyref.AlphaBeta(alpha, beta, 0)

        return ("lrp", {"rule": choose, "merge_batchnorm": False})

    return make


def _deep_taylor(network, problem):
    return ("deep_taylor", {"low": float(problem.images.min()), "high": float(problem.images.max()), "seed": "output"})


METHODS: dict[str, Callable] = {  # label: (network, problem) → what pyref.explainers takes
    "gradient": lambda network, problem: "gradient",
    "SmoothGrad": lambda network, problem: ("smoothgrad", {"samples": 50, "level": 0.15}),
    "LRP-z": _rule(pyref.Epsilon(0)),
    "CMP z + α1β0": _cmp(1, 0),
    "CMP z + α2β1": _cmp(2, 1),
    "α1β0": _rule(pyref.AlphaBeta(1, 0, 0)),
    "α2β1": _rule(pyref.AlphaBeta(2, 1, 0)),
    "α3β2": _rule(pyref.AlphaBeta(3, 2, 0)),
    "α5β4": _rule(pyref.AlphaBeta(5, 4, 0)),
    "α10β9": _rule(pyref.AlphaBeta(10, 9, 0)),
    "deep Taylor": _deep_taylor,
    "guided backprop": lambda network, problem: "guided_backprop",
    "deconvnet": lambda network, problem: "deconvnet",
    "DeepLIFT": lambda network, problem: "deeplift",
}
CONVERGED = ("α1β0", "α2β1", "deep Taylor", "guided backprop", "deconvnet")  # in the paper's eyes
CMP = ("CMP z + α1β0", "CMP z + α2β1")
RATIOS = ("α1β0", "α2β1", "α3β2", "α5β4", "α10β9")


def method(label, network, problem):
    """(name, options) of one method."""
    made = METHODS[label](network, problem)
    return made if isinstance(made, tuple) else (made, {})
