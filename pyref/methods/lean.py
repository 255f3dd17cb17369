"""What a run that keeps no inner values holds of them: functions of (network, leaves), which `start` takes as `hold`.

Each returns options of `Network.forward`. The less a walk asks for, the less is held:

    values      any walk: all but what takes one pass to compute again
    relevance   under given rules: where relevance vanishes with a, max(z, 0) is enough
    shapes      a walk in which linear layers answer by shapes alone: what they alone read is not held
    gradients   the same, and of what a ReLU reads max(z, 0)
    outputs     no walk: the output alone
"""

from functools import partial

from pyref.layers import LAYERS
from pyref.layers.dropout import Dropout
from pyref.layers.layer import AffineLayer
from pyref.layers.merge import Concat
from pyref.layers.pool import GlobalMaxPool, MaxPool
from pyref.layers.shape import Flatten, Reshape, Transpose
from pyref.rules import RULES, Norm

__all__ = ["gradients", "outputs", "relevance", "shapes", "values"]

_RULES = frozenset(RULES.values())  # shares of theirs are 0 where R is
_AFFINE = frozenset(layer for layer in LAYERS.values() if issubclass(layer, AffineLayer))
# Layers whose relevance goes where the values that they handed on came from.
_MOVES = (Concat, Dropout, Flatten, MaxPool, GlobalMaxPool, Reshape, Transpose)


def values(network, leaves):
    """All but activations, sums, and what only rearranges."""
    return {"let_go": lambda node: node.layer.cheap}


def shapes(network, leaves):
    """What layers read that are not linear. What a linear layer puts out for those is held even if it is cheap, since
    what it read itself may be gone."""
    nodes = network.nodes.values()
    read = {ref for node in nodes if not node.layer.linear for ref in (*node.inputs, *node.refs)} | set(leaves.values())
    return {"let_go": lambda node: read.isdisjoint(node.refs) or (node.layer.cheap and not node.layer.linear)}


def gradients(network, leaves):
    """As `shapes`; where z ≤ 0, ReLU′ is 0."""
    return shapes(network, leaves) | {"rectified": _but_leaves(network.rectifiable, leaves)}


def outputs(network, leaves):
    """Nothing but leaves and outputs."""
    held = set(leaves.values())
    return {
        "let_go": lambda node: held.isdisjoint(node.refs),
        "rectified": _but_leaves(network.rectifiable, leaves),
    }


def relevance(rules):
    """As `values`, under {node: rule}.

    A unit with z ≤ 0 has a = 0. Where all that read a hand it relevance in proportion to a, R is 0 there, and so are
    the shares of R that are formed with z; where z > 0, z is a. A rule that acts by the mean square of z asks for all.
    """
    return partial(_relevance, rules)


def _relevance(rules, network, leaves):
    vanishes: dict = {}  # whether R is 0 wherever the value is
    for node in reversed(network.nodes.values()):
        for ref in node.inputs:
            vanishes[ref] = vanishes.get(ref, ref not in network.outputs) and _keeps_zeros(node, rules, vanishes)

    def allows(rule):
        return type(rule) in _RULES and getattr(rule, "stabilizer", "add") != "rms"

    rectified = (
        name
        for name, relu in network.rectifiable.items()
        if vanishes.get((relu, 0), False) and allows(rules.get(name, Norm()))
    )
    return values(network, leaves) | {"rectified": _but_leaves(rectified, leaves)}


def _keeps_zeros(node, rules, vanishes):
    """Whether inputs of a node that are 0 receive relevance 0."""
    if type(node.layer) in _AFFINE:
        return rules.get(node.name, Norm()).keeps_zeros
    return type(node.layer) in _MOVES and vanishes.get(node.refs[0], False)


def _but_leaves(names, leaves):
    return frozenset(names) - {name for name, _ in leaves.values()}
