"""The networks that experiments explain: shipped, trained by the run, or the user's own."""

from functools import partial

import pyref
from relprop.experiments.experiment import Piece

__all__ = ["model_pieces", "with_softmax"]


def model_pieces(run, *names):
    """A piece for each network: its name is kind or kind-activation, such as cnn, mlp-tanh or lstm."""
    return [Piece(name, partial(_network, name)) for name in names]


def _network(name, run):
    from relprop.models import zoo

    kind, _, activation = name.partition("-")
    return zoo.load("digits-lstm" if kind == "lstm" else f"digits-{kind}-{activation or 'relu'}", "float32")


def with_softmax(network):
    """The network with a softmax over its logits, for what is asked of probabilities."""
    nodes = [*network.nodes.values(), pyref.Node("softmax", pyref.Softmax(), network.outputs)]
    return pyref.Network(nodes, network.inputs, "softmax", network.name)
