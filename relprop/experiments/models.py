"""The networks that experiments explain: shipped, trained by the run, or the user's own."""

from functools import cache, partial

import numpy as np

import pyref
from relprop.experiments.experiment import Piece
from relprop.experiments.problem import open_problem

__all__ = ["model_pieces", "with_softmax"]


def model_pieces(run, *names):
    """A piece for each network: its name is kind or kind-activation, such as cnn, mlp-tanh or lstm.

    A network of the user's takes the place of them all; on digits those that ship are taken where there is one; others
    are trained.
    """
    return [Piece(name, partial(_network, name)) for name in names]


def _network(name, run):
    settings = run.settings
    if settings.model:
        from relprop.source import open_model

        network = open_model(settings.model)
        network(
            open_problem(settings.data).images[:1].astype(np.float32)
        )  # a model that reads other shapes is refused here
        return network
    if open_problem(settings.data).train is None:
        raise ValueError(f"nothing can be trained on {settings.data}: name a network by --model")
    kind, _, activation = name.partition("-")
    if settings.data == "digits" and kind in ("mlp", "cnn", "lstm"):
        from relprop.models import zoo

        return zoo.load("digits-lstm" if kind == "lstm" else f"digits-{kind}-{activation or 'relu'}", "float32")
    return _trained(settings.data, kind, activation or "relu", settings.seed)


@cache
def _trained(source, kind, activation, seed):
    """Trained once in a process, for all experiments that ask for the same; a quick run explains the same network."""
    from relprop.experiments.training import classifier

    return classifier(kind, open_problem(source), activation, seed=seed)


def with_softmax(network):
    """The network with a softmax over its logits, for what is asked of probabilities."""
    nodes = [*network.nodes.values(), pyref.Node("softmax", pyref.Softmax(), network.outputs)]
    return pyref.Network(nodes, network.inputs, "softmax", network.name)


def accuracy(network, problem, backend=None, count=None):
    """The fraction of held-out images that a network classifies right."""
    images, labels = problem.images[:count], problem.labels[:count]
    return float(np.mean(network(images, backend).argmax(axis=1) == labels))
