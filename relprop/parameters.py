"""The parameters of a network's layers, and the same network with others in their place."""

from dataclasses import fields, is_dataclass, replace

import numpy as np

import pyref

__all__ = ["flat", "with_parameters"]


def with_parameters(network, exchanged):
    """The network with exchanged([all parameters]) in their places. Where layers share an array, so do theirs."""
    parameters = {name: dict(_parameters(node.layer)) for name, node in network.nodes.items()}
    arrays = {id(v): v for own in parameters.values() for value in own.values() for v in flat([value]) if v is not None}
    there = dict(zip(arrays, exchanged(list(arrays.values())), strict=True))

    def moved(value):
        return tuple(map(moved, value)) if isinstance(value, tuple | list) else there.get(id(value))

    return network.with_layers(
        {
            name: replace(network.nodes[name].layer, **{field: moved(value) for field, value in own.items()})
            for name, own in parameters.items()
            if own
        }
    )


def _parameters(layer):
    """(field, array or tuple of arrays) of each of a layer's parameters."""
    numbers = np.floating if isinstance(layer, pyref.Shift | pyref.Scale) else ()  # a constant with a dtype is an array
    for field in fields(layer) if is_dataclass(layer) else ():
        arrays = [v for v in flat([getattr(layer, field.name)]) if v is not None]
        if arrays and all(
            (isinstance(v, np.ndarray) and v.dtype.kind == "f") or isinstance(v, numbers) for v in arrays
        ):
            yield field.name, getattr(layer, field.name)


def flat(values):
    """What lies in nested tuples and lists."""
    for v in values:
        yield from flat(v) if isinstance(v, tuple | list) else (v,)
