"""Rewrites of a network that leave what it computes unchanged, and say what they did."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pyref.layers.activation import Identity
from pyref.numerics import zeros_like

__all__ = ["merge_batchnorm"]


def merge_batchnorm(network):
    """Batch normalisation merged into the layer before it, or into the dense layer or unpadded convolution after it.

        after a linear layer    w' = w k,      b' = b k + shift        k = scale, per output channel
        before a linear layer   w' = k w,      b' = b + F_w(shift)     not under zero padding: the border differs

    The node stays, as an Identity, so that names keep their meaning. Where neither neighbour can take it
    (the value is read by others too, or has another number of channels) it stays as it is.

    Laws
        the network's outputs are unchanged, up to rounding.
    Raises
        ValueError  when run, where values between a dense layer and a merged node turn out to have more than the
                    axes (n, c): then axis 1, which is normalised, is not the one that the dense layer mixes.
    """
    changed: dict[str, Any] = {}
    for node in network.nodes.values():
        if node.layer.kind != "batchnorm":
            continue
        before = network.nodes.get(node.inputs[0][0])
        if before is not None and _takes_from_after(before.layer, node.layer) and _only_reader(network, node.inputs[0]):
            layer = changed.get(before.name, before.layer)
            changed[before.name] = _merge_after(layer, node.layer)
            changed[node.name] = _left_behind(layer)
            continue
        readers = network.consumers(node.name)
        if len(readers) == 1 and _only_reader(network, (node.name, 0)):
            after = changed.get(readers[0].name, readers[0].layer)
            if _takes_from_before(after, node.layer):
                changed[readers[0].name] = _merge_before(node.layer, after)
                changed[node.name] = _left_behind(after)
    return network.with_layers(changed) if changed else network


def _only_reader(network, ref):
    return len(network.consumers(ref)) == 1 and ref not in network.outputs


@dataclass(frozen=True)
class _Merged(Identity):
    """What is left of a batch normalisation in a dense layer beside it."""

    def forward(self, backend, x):
        if x.ndim != 2:
            raise ValueError(
                f"batch normalisation of values of shape {tuple(x.shape)} cannot be merged into a dense layer, "
                "which mixes the last axis, not axis 1"
            )
        return super().forward(backend, x)


def _left_behind(layer):
    return _Merged() if layer.kind == "dense" else Identity()


def _takes_from_after(layer, batchnorm):
    if layer.kind == "dense":
        return layer.w.shape[1] == batchnorm.scale.shape[0]
    return layer.kind == "conv"


def _takes_from_before(layer, batchnorm):
    if layer.kind == "dense":
        return layer.w.shape[0] == batchnorm.scale.shape[0]
    return type(layer).__name__ == "Conv" and not np.any(np.array(layer.padding))


def _output_axis(layer):
    """The axis of w that runs over output channels: dense (i, o), conv (o, i, …), conv_transpose (i, o, …)."""
    return 1 if layer.kind == "dense" or type(layer).__name__ == "ConvTranspose" else 0


def _merge_after(layer, batchnorm):
    k, shift = batchnorm.scale, batchnorm.shift
    axis = _output_axis(layer)
    if type(layer).__name__ == "ConvTranspose" and layer.groups > 1:
        per_group = np.reshape(k, (layer.groups, -1))  # w is (in, out/groups, …): each group has its own channels
        rows = np.repeat(per_group, layer.w.shape[0] // layer.groups, axis=0)
        scale = np.reshape(rows, (*rows.shape, *(1,) * (layer.w.ndim - 2)))
    else:
        scale = np.reshape(k, tuple(-1 if a == axis else 1 for a in range(layer.w.ndim)))
    b = zeros_like(shift) if layer.b is None else layer.b
    return replace(layer, w=layer.w * scale, b=b * k + shift)


def _merge_before(batchnorm, layer):
    k, shift = batchnorm.scale, batchnorm.shift
    if layer.kind == "dense":
        w, through = layer.w * np.reshape(k, (-1, 1)), shift @ layer.w
    else:
        per_input = np.reshape(k, (layer.groups, -1))  # w is (o, in/groups, …)
        rows = np.repeat(per_input, layer.w.shape[0] // layer.groups, axis=0)
        shape = (*rows.shape, *(1,) * (layer.w.ndim - 2))
        shifts = np.reshape(
            np.repeat(np.reshape(shift, (layer.groups, -1)), layer.w.shape[0] // layer.groups, axis=0), shape
        )
        w = layer.w * np.reshape(rows, shape)
        through = np.sum(np.reshape(layer.w * shifts, (layer.w.shape[0], -1)), axis=1)
    return replace(layer, w=w, b=through if layer.b is None else layer.b + through)
