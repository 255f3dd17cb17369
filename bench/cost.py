"""What a row must spend: passes over weights, from the rule and from the signs of what a layer reads.

A pass is one product with the weights, forward or transposed, at 2 FLOP per weight and place. Elementwise work is not
counted: it can ride in the passes. What a row takes beyond this is what there is to win.
"""

from dataclasses import dataclass, replace

import pyref

__all__ = ["Cost", "must"]

_BACKWARD = ("gradient", "saliency", "gradient_times_input", "guided_backprop", "deconvnet", "deeplift", "fullgrad")


@dataclass(frozen=True)
class Cost:
    """flops, the bytes of weights that they read once per pass and of values that are kept between passes, and the
    latter alone: outputs of layers with weights, and of recurrent ones every step's gates, state and output; DeepLIFT's
    at the baseline too."""

    flops: float
    bytes: float
    kept: float


def must(row, network, x):
    """The least that the row's method spends on this network and batch; None where no count is stated."""
    shapes = pyref.output_shapes(network)
    per_node = {r.node: r.flops for r in pyref.summarize(network)}
    weighted = [n for n in network.nodes.values() if n.layer.kind in ("dense", "conv", "recurrent")]
    passes = _passes(row, network, x, weighted)
    if passes is None:
        return None
    flops = sum(passes[n.name] * per_node[n.name] * len(x) for n in weighted)
    size = x.dtype.itemsize
    weights = sum(passes[n.name] * n.layer.w.size * size for n in weighted if hasattr(n.layer, "w"))
    samples = len(x) + (row.method == "deeplift")  # and the baseline, which is one for all
    kept = sum(_kept(n, shapes) for n in weighted) * samples * size
    return Cost(flops, weights + (2 if row.method != "forward" else 1) * kept, kept)


def _kept(node, shapes):
    """Values of one sample that the way back needs of a node."""
    layer = node.layer
    if layer.kind != "recurrent":
        return _count(shapes[node.name, 0])
    steps = shapes[node.inputs[0]][0]
    return steps * sum(w.shape[1] + 2 * w.shape[0] for w in layer.w_h)


def _count(shape):
    total = 1
    for side in shape:
        total *= side
    return total


def _passes(row, network, x, weighted):
    """{node: passes over its weights}."""
    if row.method == "forward":
        return {n.name: 1 for n in weighted}
    if row.method == "relevance":
        whole = _passes(replace(row, method="lrp"), network, x, weighted)
        return {name: passes - 1 for name, passes in whole.items()}
    if row.method == "deeplift":  # the baseline is one sample for the whole batch; of its images only borders differ
        return {n.name: 2 + (n.layer.kind == "dense") / len(x) for n in weighted}
    if row.method in _BACKWARD:
        return {n.name: 2 for n in weighted}
    if row.method == "integrated_gradients" and "m" in row.options:
        m, first = row.options["m"], network.first_affine()
        return {n.name: 3 if n.name in first else 2 * m for n in weighted}
    if row.method == "lrp":
        rules = pyref.assign_rules(row.options["rule"], network, **row.options.get("rule_options", {}))
        record = network.forward(x[:1])
        return {n.name: 1 + _extra(rules[n.name], bool((record.inputs(n)[0] >= 0).all())) for n in weighted}
    return None


def _extra(rule, nonnegative):
    """Passes of a rule beyond the forward pass that every method begins with."""
    match rule:
        case pyref.Epsilon() | pyref.Norm():
            return 1
        case pyref.ZPlus() | pyref.AlphaBeta(alpha=1, beta=0):
            return 2 if nonnegative else 3
        case pyref.AlphaBeta():
            return 4 if nonnegative else 3
        case pyref.Gamma(form="weight"):
            return 2
        case pyref.Gamma():
            return 3
        case pyref.WSquare():
            return 1
        case pyref.ZBox():
            return 2
        case _:
            return 0
