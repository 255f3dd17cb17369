"""Rewrites of a network that leave what it computes unchanged, and say what they did."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pyref.layers.activation import Identity
from pyref.network import Network, Node
from pyref.numerics import zeros_like
from pyref.summary import output_shapes

__all__ = ["Rewrite", "canonize", "merge_batchnorm"]


@dataclass(frozen=True)
class Rewrite:
    """What was done to one node. Print it for a sentence."""

    node: str
    what: str

    def __str__(self):
        return f"{self.node}: {self.what}"


def canonize(network):
    """The network in its simplest form, and what was rewritten.

        batch normalisation   merged into the layer before or after it, where that is exact: `merge_batchnorm`;
                              into a dense layer only where the declared shapes show values (n, c)
        softmax, log-softmax  at an output: the output is what it read, the logits
        dropout, identity     left out

    Returns
        (Network, a tuple of Rewrite, in the order of evaluation); nothing to do gives (the same network, ())
    Laws
        every output is unchanged but for rounding, or is the logits of a softmax: with == in exact arithmetic.
    """
    merged, done = _merged(network)
    outputs = [_logits(merged, ref, done) for ref in merged.outputs]
    stays = {ref: ref for ref in [*((n, 0) for n in merged.inputs), *_references(merged)]}
    for node in merged.nodes.values():
        source = stays[node.inputs[0]]
        if _passes(node) and not ((node.name, 0) in outputs and source[0] in merged.inputs):
            stays[node.name, 0] = source
            if node.layer.kind == "dropout":
                done[node.name] = "dropout removed"
            else:
                done.setdefault(node.name, "identity removed")
    kept = [n for n in merged.nodes.values() if _passes(n) is False or stays[n.name, 0] == (n.name, 0)]
    nodes = [Node(n.name, n.layer, tuple(stays[i] for i in n.inputs)) for n in kept]
    refs = [stays[r] for r in outputs]
    for ref, old in zip(refs, outputs, strict=True):
        if ref != old:
            done[old[0]] += f"; the output is now {ref[0]!r}"
    if not done:
        return network, ()
    simple = Network(_leading_to(nodes, refs), network.inputs, refs, network.name)
    return simple, tuple(Rewrite(n, done[n]) for n in network.nodes if n in done)


def _merged(network):
    """The network with batch normalisation merged where shapes allow it, and {node: what was done}."""
    merged = merge_batchnorm(network)
    if merged is network:
        return network, {}
    shapes = output_shapes(network)
    undo, done = {}, {}
    for name, node in network.nodes.items():
        new = merged.nodes[name].layer
        if node.layer.kind != "batchnorm" or new is node.layer:
            continue
        beside = [node.inputs[0][0], *(reader.name for reader in network.consumers(name))]
        beside = [n for n in beside if n in network.nodes and merged.nodes[n].layer is not network.nodes[n].layer]
        linear = next(n for n in beside if network.nodes[n].layer.affine and network.nodes[n].layer.kind != "batchnorm")
        if isinstance(new, _Merged) and len(shapes.get((name, 0), ())) != 1:
            undo |= {name: node.layer, linear: network.nodes[linear].layer}
        else:
            done[name] = f"batch normalisation merged into {linear!r}"
    for name, what in list(done.items()):  # what stands on the other side of a dense layer that takes nothing
        if any(what.endswith(f"into {other!r}") for other in undo):
            undo[name] = network.nodes[name].layer
            del done[name]
    return merged.with_layers(undo), done


def _logits(network, ref, done):
    node = network.nodes.get(ref[0])
    if node is None or node.layer.kind != "softmax":
        return ref
    done[node.name] = f"softmax stripped: the output is now {node.inputs[0][0]!r}, the logits"
    return node.inputs[0]


def _passes(node):
    """True for a node that hands on what it reads."""
    return node.layer.kind == "dropout" or isinstance(node.layer, Identity)


def _references(network):
    return [(n.name, k) for n in network.nodes.values() for k in range(n.layer.outputs)]


def _leading_to(nodes, refs):
    """The nodes that lead to the references, in their order."""
    needed, kept = {r[0] for r in refs}, []
    for node in reversed(nodes):
        if node.name in needed:
            kept.append(node)
            needed.update(i[0] for i in node.inputs)
    return kept[::-1]


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
    return _merge(network) if network.merged is None else network.merged(network)


def _merge(network):
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
