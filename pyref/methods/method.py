"""What every method begins with: the network, its forward pass, the target, and where attributions are wanted."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from pyref.attribution import NotKept
from pyref.check import check_choice, check_float, check_shape
from pyref.methods.lean import values
from pyref.network import Network, Record, Ref
from pyref.numerics import zeros_like
from pyref.summary import parameters
from pyref.target import target_value, target_weights

__all__ = ["Run", "start", "baselines", "copied_output"]

log = logging.getLogger("pyref")


@dataclass(frozen=True)
class Run:
    """One forward pass, ready to be explained.

    leaves   {name: reference} where attributions are read: the inputs, the vectors that an embedding
             looked up in place of integer ids, or the nodes of `at`
    embedded names whose reference is an embedding: their values are summed over the embedding axis
    v        target weights in the shape of the output
    injected the signal that starts at the output, where one was given in place of the method's own
    inner    whether what inner values receive is kept
    hold     what a run without inner values holds of them: `pyref.methods.lean`
    """

    network: Network
    backend: Any
    inputs: dict[str, Any]
    record: Record
    output_ref: Ref
    v: Any
    leaves: dict[str, Ref]
    embedded: frozenset[str]
    at: tuple[str, ...] | None
    injected: Any = None
    inner: bool = True
    hold: Any = values

    @property
    def relevance(self):
        """R at the output, from which relevance is handed back: v S, or what was injected in its place."""
        return self.v * self.record[self.output_ref] if self.injected is None else self.injected

    @property
    def output(self):
        """S_c, per sample."""
        return target_value(self.v, self.record[self.output_ref])

    @cached_property
    def fitting(self):
        """How many samples to evaluate together: as many as hold eight million values, at most 128."""
        return self._holding(2**23)

    @cached_property
    def fitting_caches(self):
        """The same for what goes forward and back at once: two million values in NumPy, whose arrays a processor's
        caches then hold until they are read again; eight million of other libraries. Where one sample has more, as many
        as have the values of the network's parameters, at most 4: those are read once for all of them."""
        if not isinstance(self.record[self.output_ref], np.ndarray):
            return self.fitting
        fitting = self._holding(2**21)
        read = sum(parameters(node.layer) for node in self.network.nodes.values())
        return fitting if fitting > 1 else min(4, self._holding(read))

    def _holding(self, most):
        values = sum(int(np.prod(self.record.hollow(ref).shape)) for ref in self.record)
        return max(1, min(128, most * len(self.v) // values))

    @property
    def leaf_values(self):
        """{name: value} at the leaves."""
        return {name: self.record[ref] for name, ref in self.leaves.items()}

    @property
    def is_cut(self):
        """True where every path to the output passes a leaf: then attributions there can be complete."""
        if self.at is None:  # the leaves are all inputs
            return True
        refs, reached = set(self.leaves.values()), {self.output_ref}
        for node in reversed(self.network.nodes.values()):
            if any((node.name, k) in reached - refs for k in range(node.layer.outputs)):
                reached.update(node.inputs)
        return not any((n, 0) in reached - refs and a.dtype.kind not in "iu" for n, a in self.inputs.items())

    @property
    def reads_leaves_alone(self):
        """True where the leaves decide everything above them: no other input is read there."""
        refs = set(self.leaves.values())
        others = [name for name in self.inputs if (name, 0) not in refs]
        return not others or self.network.needed(refs).isdisjoint(others)

    def moved(self, leaf_values, v=None):
        """The same run with other values at the leaves, and the same target; with one sample, `baselines(once=True)`,
        its record is of that sample."""
        given = {self.leaves[name]: value for name, value in leaf_values.items()}
        record = self.network.forward(self.inputs, self.backend, given, **self._held)
        return replace(self, record=record, v=self.v if v is None else v)

    @property
    def _held(self):
        return {} if self.inner else self.hold(self.network, self.leaves)

    def repeated(self, rows, leaf_values):
        """A run whose sample r is a copy of sample rows[r], with other values at the leaves (already one per row)."""
        inputs = {name: np.take(array, rows, axis=0) for name, array in self.inputs.items()}
        given = {self.leaves[name]: value for name, value in leaf_values.items()}
        record = self.network.forward(inputs, self.backend, given, **self._held)
        return replace(self, inputs=inputs, record=record, v=np.take(self.v, rows, axis=0))

    def scores(self, rows, leaf_values):
        """S_c of copies of samples: the output of `repeated`. A backend may know a shorter way: `copied_output`."""
        return self.backend.copied_output(self, rows, leaf_values)

    def gradients(self):
        """∂S_c/∂(every value), the plain backward pass; {reference: G}."""
        return self.walk(self.v, lambda node, x, y, G: node.layer.gradient(self.backend, x, y, G), linear=True)

    def walk(self, seed, answer, linear=False, beside=()):
        """`Network.backward` from the output to the leaves; zero at a leaf that lies behind the others."""
        leaves = tuple(self.leaves.values())
        signals = self.network.backward(
            self.record, {self.output_ref: seed}, answer, leaves, keep=self.inner, linear=linear, beside=beside
        )
        pairs = tuple(seed.shape[: seed.ndim - self.v.ndim])  # RevealCancel's signals are two in one array
        for ref in self.leaves.values():
            if ref not in signals:
                signals[ref] = zeros_like(self.record[ref], (*pairs, *self.record[ref].shape))
        return signals

    def kept(self, **fields):
        """What an `Attribution` holds beside its values and can only make of what inner values received."""
        return fields if self.inner else {name: NotKept(name) for name in fields}

    def collect(self, at_leaf):
        """values for an `Attribution`: at_leaf(reference, value) for each leaf, embeddings summed over their axis."""
        values = {}
        for name, ref in self.leaves.items():
            value = at_leaf(ref, self.record[ref])
            values[name] = self.backend.sum_forward(value, -1) if name in self.embedded else value
        return next(iter(values.values())) if len(values) == 1 else values


def copied_output(run, rows, leaf_values):
    """S_c of copies of samples, each with values of its own at the leaves.

        S_c(x[rows_k] with leaf_values_k in place of its leaves)   for every k

    It stands apart because perturbation methods and metrics spend their time in it: a backend may compute again only
    what the changed values reach.

    Shapes
        rows b whole numbers, leaf_values {leaf: (b, ...)}   →   (b,)
    """
    return run.repeated(rows, leaf_values).output


def start(
    network,
    x,
    target=None,
    *,
    output=None,
    at=None,
    softmax="strip",
    backend=None,
    allow_nonfinite=False,
    inject=None,
    record=None,
    inner=True,
    hold=values,
) -> Run:
    """Forward pass and target, common to all methods.

    Parameters
        x        array, or {input name: array}
        target   `pyref.target_weights`
        output   which output, by name, of a network with several
        at       name or names of inner nodes to attribute to, in place of the inputs; the walk stops there
        softmax  "strip": explain the logit that a final softmax receives; "keep": explain its output
        backend  a module with pyref's names; pyref itself by default
        inject   a signal in the shape of the output, from which the walk starts in place of the target's: a gradient,
                 multiplier or relevance, as the method has it. With output= it starts at any node.
        record   what `network.forward(x)` has left, so that nothing is evaluated again, unless the method rewrites
                 the network: then it is
        inner    False: hold each value and each signal only as long as something needs it, which takes a third of the
                 memory; what inner nodes and biases receive, and the ledger, are then not kept
        hold     what is held without inner values, as methods say by the walk that follows: `pyref.methods.lean`
    Raises
        TypeError   x is not float32, float64 or exact (integers only where an embedding reads them)
        ValueError  shapes, an unknown name, a target out of range, NaN or infinity in x, an empty batch; a record of
                    another x
    """
    check_choice("softmax", softmax, ("strip", "keep"))
    output_ref = _output(network, output)
    if softmax == "strip" and network.nodes.get(output_ref[0]) and network.nodes[output_ref[0]].layer.kind == "softmax":
        log.info("%s ends in %s: its input, the logit, is explained", network.name, output_ref[0])
        output_ref = network.nodes[output_ref[0]].inputs[0]
    if (output_ref,) != network.outputs:
        network = network.up_to(output_ref)
    backend = backend or _pyref()
    inputs = _inputs(network, x, backend, allow_nonfinite)
    names = None if at is None else (at,) if isinstance(at, str) else tuple(at)
    leaves, embedded = _leaves(network, inputs) if names is None else ({n: network.reference(n) for n in names}, [])
    if record is None or not _made_by(record, network, inputs):
        record = network.forward(inputs, backend, **({} if inner else hold(network, leaves)))
    S = record[output_ref]
    if not allow_nonfinite:
        backend.check_finite(f"output {output_ref[0]!r}", S)
    if inject is not None:
        check_shape("inject", inject, S.shape)
    return Run(
        network,
        backend,
        inputs,
        record,
        output_ref,
        target_weights(target, S) if inject is None else inject,
        leaves,
        frozenset(embedded),
        names,
        inject,
        inner,
        hold,
    )


def check_batch_size(batch_size):
    """Raise ValueError unless it is None or a whole number, at least 1."""
    if batch_size is not None and (int(batch_size) != batch_size or batch_size < 1):
        raise ValueError(f"batch_size is {batch_size}, expected a whole number, at least 1")


def baselines(run, baseline=None, called="baseline", *, once=False):
    """The baselines x̄ as a list of {leaf name: array}, each in the shape of the leaf's value.

        None       zero everywhere
        number, or array that broadcasts to the leaf (one sample's shape is enough)
        {name: …}  by leaf; integer ids where the leaf is an embedding
        list       several baselines, over which a method averages
        called     what errors call it
        once       a baseline that is the same for all samples is one sample, (1, ...), where the network reads nothing
                   else that could tell samples apart

    Raises
        ValueError  a shape that does not broadcast; an unknown name; an empty list.
    """
    if isinstance(baseline, list):
        if not baseline:
            raise ValueError(f"{called} is an empty list, expected at least one {called}")
        return [one for b in baseline for one in baselines(run, b, called, once=once)]
    if isinstance(baseline, Mapping):
        unknown = [n for n in baseline if n not in run.leaves]
        if unknown:
            raise ValueError(f"{called} names {unknown[0]!r}, expected among {', '.join(run.leaves)}")
        by_name = dict(baseline)
    else:
        by_name = dict.fromkeys(run.leaves, baseline)
    found = {name: _baseline(run, name, by_name.get(name), called) for name in run.leaves}
    if once and run.reads_leaves_alone and all(len(value) == 1 for value in found.values()):
        return [found]
    return [{name: zeros_like(run.record[run.leaves[name]]) + value for name, value in found.items()}]


def _baseline(run, name, value, called):
    """In the shape of the leaf's value, but of one sample where all have the same."""
    like = run.record[run.leaves[name]]
    nothing = zeros_like(like, shape=(1, *like.shape[1:]))
    if value is None:
        return nothing
    if name in run.embedded and getattr(value, "dtype", np.dtype(float)).kind in "iu":
        node = run.network.nodes[run.leaves[name][0]]
        value = node.layer.forward(run.backend, value)
    try:
        found = (nothing + value).astype(like.dtype)
        fits = found.shape in (nothing.shape, like.shape)
    except ValueError:
        fits = False
    if not fits:
        shape, expected = np.shape(value), tuple(like.shape)
        raise ValueError(f"{called} has shape {shape}, which does not broadcast to {expected}")
    return found


def _made_by(record, network, inputs):
    """Whether a record is of these layers; it must be of these inputs."""
    if any(record.get(name) is not array for name, array in inputs.items()):
        raise ValueError("record was made from other inputs than x")
    return all(record.layers.get(name) is node.layer for name, node in network.nodes.items())


def channel_mean(x):
    """The mean of each channel (axis 1) over its image, of each sample's features where there is no image."""
    axes = tuple(range(2, x.ndim)) if x.ndim > 2 else tuple(range(1, x.ndim))
    count = int(np.prod([x.shape[a] for a in axes]))
    return zeros_like(x) + np.sum(x, axis=axes, keepdims=True) / count


def _output(network, output):
    if output is not None:
        return network.reference(output)
    if len(network.outputs) > 1:
        names = ", ".join(n for n, _ in network.outputs)
        raise ValueError(f"{network.name} has several outputs ({names}); choose one with output=")
    return network.outputs[0]


def _inputs(network, x, backend, allow_nonfinite):
    arrays = network.input_arrays(x)
    for name, array in arrays.items():
        if not hasattr(array, "dtype"):
            raise TypeError(f"{name} is a {type(array).__name__}, expected an array")
        if not array.shape or array.shape[0] == 0:
            raise ValueError(f"{name} has shape {tuple(array.shape)}: the batch is empty")
        if array.dtype.kind in "iu" and _reads_ids(network, name):
            continue
        check_float(name, array)
        if not allow_nonfinite:
            backend.check_finite(name, array)
    sizes = {name: array.shape[0] for name, array in arrays.items()}
    if len(set(sizes.values())) > 1:
        raise ValueError(f"inputs have different batch sizes: {sizes}")
    return arrays


def _reads_ids(network, name):
    return all(node.layer.kind in ("embedding", "recurrent") for node in network.consumers(name))


def _leaves(network, inputs):
    leaves, embedded = {}, []
    for name, array in inputs.items():
        if array.dtype.kind not in "iu":
            leaves[name] = (name, 0)
            continue
        lookups = [node.name for node in network.consumers(name) if node.layer.kind == "embedding"]
        for lookup in lookups:
            leaf = name if len(lookups) == 1 else f"{name}:{lookup}"
            leaves[leaf] = (lookup, 0)
            embedded.append(leaf)
    return leaves, embedded


def _pyref():
    import pyref

    return pyref
