"""The methods that [sixt2020] compares, and the one table of them for the experiments of that paper."""

from collections.abc import Callable

import numpy as np

import pyref
from relprop.experiments.experiment import Piece
from relprop.experiments.problem import open_problem

__all__ = ["CMP", "METHODS", "NEED_NOT", "PATTERNS", "RATIOS", "SHALLOW", "method", "opened", "pattern_pieces"]

TOP = 3  # weighted layers from the output down that CMP gives to the z rule


PATTERN_IMAGES, BATCH = 500, 20  # that patterns are estimated from, and at a time


def opened(run):
    """(images, the network with batch normalisation merged, so that all methods see the same layers)."""
    return open_problem(run.settings.data), pyref.merge_batchnorm(run["deep"])


def pattern_pieces(run):
    """The piece that PatternNet and PatternAttribution read."""
    return [Piece("patterns", _patterns)]


def _patterns(run):
    """{node: patterns}, from training images; from those held out where the network is the user's."""
    problem, network = opened(run)
    own = run.settings.model or problem.train is None
    images = problem.images if own else problem.train()[0]
    chosen = images[np.unique(np.linspace(0, len(images) - 1, PATTERN_IMAGES).round().astype(int))]
    parts = [chosen[k : k + BATCH] for k in range(0, len(chosen), BATCH)]
    return dict(pyref.fit_patterns(network, parts, backend=run.backend).by_node)


def _pattern(name):
    return lambda run, network: (name, {"patterns": pyref.Patterns(run["patterns"], {}, {}, {}, 0)})


def _rule(rule):
    return lambda run, network: ("lrp", {"rule": rule})


def _cmp(alpha, beta):
    """z on the last layers, αβ below: in the paper the dense layers and the convolutions."""

    def make(run, network):
        affine = [n for n in network.nodes.values() if n.layer.affine]
        weights = [i for i, n in enumerate(affine) if pyref.network.weighted(n.layer)]

        def choose(layer, index, first):
            return pyref.Epsilon(0) if index >= weights[-TOP] else pyref.AlphaBeta(alpha, beta, 0)

        return ("lrp", {"rule": choose, "merge_batchnorm": False})

    return make


def _deep_taylor(run, network):
    images = open_problem(run.settings.data).images
    return ("deep_taylor", {"low": float(images.min()), "high": float(images.max()), "seed": "output"})


METHODS: dict[str, Callable] = {  # label: (run, network) → what pyref.explainers takes
    "gradient": lambda run, network: "gradient",
    "SmoothGrad": lambda run, network: ("smoothgrad", {"samples": 50, "level": 0.15}),
    "LRP-z": _rule(pyref.Epsilon(0)),
    "CMP z + α1β0": _cmp(1, 0),
    "CMP z + α2β1": _cmp(2, 1),
    "α1β0": _rule(pyref.AlphaBeta(1, 0, 0)),
    "α2β1": _rule(pyref.AlphaBeta(2, 1, 0)),
    "α3β2": _rule(pyref.AlphaBeta(3, 2, 0)),
    "α5β4": _rule(pyref.AlphaBeta(5, 4, 0)),
    "α10β9": _rule(pyref.AlphaBeta(10, 9, 0)),
    "deep Taylor": _deep_taylor,
    "guided backprop": lambda run, network: "guided_backprop",
    "deconvnet": lambda run, network: "deconvnet",
    "PatternNet": _pattern("pattern_net"),
    "PatternAttribution": _pattern("pattern_attribution"),
    "contrastive EBP": lambda run, network: ("contrastive_excitation_backprop", {"negative": "clip"}),
    "DeepLIFT": lambda run, network: "deeplift",
}
NEED_NOT = (  # [sixt2020] sec. 2
    "deconvnet is no chain of non-negative matrices and need not converge: how far it gets changes from one network to "
    "the next, and a narrow one of sixteen layers, as VGG-16 has, trained alike, comes to SSIM 0.52 and |cos| 0.82"
)
SHALLOW = (
    "its matrices have negative entries, and this network has few layers: in a narrow one of sixteen, as VGG-16 has, "
    "trained alike on photographs, PatternAttribution keeps its map, SSIM 1.00 for a random class and after the last "
    "layer, and its |cos| comes to 0.999"
)
PATTERNS = ("PatternNet", "PatternAttribution")
CMP = ("CMP z + α1β0", "CMP z + α2β1")
RATIOS = ("α1β0", "α2β1", "α3β2", "α5β4", "α10β9")


def method(label, run, network):
    """(name, options) of one method for the network of `opened`."""
    made = METHODS[label](run, network)
    return made if isinstance(made, tuple) else (made, {})
