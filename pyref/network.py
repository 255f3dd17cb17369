"""The graph: named nodes with explicit edges, a forward pass, and the one backward walk of every method."""

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from pyref.check import check_shape, nearest
from pyref.layers import Layer, ReLU
from pyref.layers.layer import Inputs
from pyref.numerics import zeros_like

__all__ = ["Node", "Network", "Record", "Ref"]

Ref = tuple[str, int]  # the k-th output of a node; a network input is (name, 0)


@dataclass(frozen=True)
class Node:
    """One operation of a network: `layer` applied to the outputs that `inputs` name.

    An input is given as the name of a node or of a network input, or as (name, k) for the k-th output of a
    node; `inputs` holds them as (name, k).
    """

    name: str
    layer: Layer
    inputs: tuple[Ref, ...]

    def __post_init__(self):
        alone = isinstance(self.inputs, str) or (len(self.inputs) == 2 and isinstance(self.inputs[1], int))
        object.__setattr__(self, "inputs", tuple(map(_ref, (self.inputs,) if alone else self.inputs)))

    @cached_property
    def refs(self) -> tuple[Ref, ...]:
        """References to its outputs."""
        return tuple((self.name, k) for k in range(self.layer.outputs))


class Record(Mapping):
    """What a forward pass leaves behind: every value, by reference. Backward passes read it and compute nothing again.

    record["conv1"] or record["split", 1]; `record.inputs(node)` and `record.output(node)` as a layer wants them.
    `layers` are the layers that made it, by node, `backend` the module whose functions did.

    A lean record lets go of values, to hold less memory. One that is read all the same is computed again, from what is
    left; where its shape is enough, `hollow` stands for it. Of the nodes in `rectified`, which only a ReLU reads, it
    has max(z, 0) in place of z, and the ReLU puts out the same array.
    """

    def __init__(
        self,
        values: dict[Ref, Any],
        nodes: Sequence[Node] = (),
        inputs: dict[str, Inputs] | None = None,
        backend: Any = None,
        lean: bool = False,
        rectified: Set[str] = frozenset(),
    ):
        self._values = values
        self._nodes = nodes
        self._inputs = {} if inputs is None else inputs
        self.backend = backend or _pyref()
        self._gone: dict[Ref, Any] = {}  # zeros without memory of their own, in the shape and dtype of the value
        self._hollows: dict[Any, Any] = {}  # the same, by shape and dtype
        self.layers = {node.name: node.layer for node in nodes}
        self.lean = lean
        self._rectified = rectified

    def __getitem__(self, key):
        ref = _ref(key)
        if ref in self._gone:
            self._compute_again(ref[0])
        return self._values[ref]

    def __iter__(self):
        return iter(self._values)

    def __len__(self):
        return len(self._values)

    def inputs(self, node):
        """The tuple of the node's inputs, with what its layer kept where the record holds that."""
        known = self._inputs.get(node.name)
        return tuple(self[i] for i in node.inputs) if known is None else known

    def output(self, node):
        """The node's output, a tuple if the layer has several."""
        values = self if self._gone else self._values
        if len(node.refs) == 1:
            return values[node.refs[0]]
        return tuple(values[ref] for ref in node.refs)

    def hollow(self, key):
        """The value, or zeros in its shape where the record let go of it."""
        ref = _ref(key)
        return self._gone[ref] if ref in self._gone else self._values[ref]

    def read(self, node, linear=False):
        """(x, y) of a node for a backward walk. What its answer does not look at is hollow if the record let go of it:
        y of a node that is cheap to compute again, and x and y of a linear one where answers are linear."""
        shapes = linear and node.layer.linear
        x = tuple(map(self.hollow, node.inputs)) if shapes else self.inputs(node)
        if not (shapes or node.layer.cheap):
            return x, self.output(node)
        return x, self.hollow(node.refs[0]) if len(node.refs) == 1 else tuple(map(self.hollow, node.refs))

    def copies(self, sample, count):
        """The record of copies of one of its samples: views, which take no memory of their own. What layers kept beside
        their outputs they make again when they are asked."""

        def copied(value):
            return np.broadcast_to(value[sample : sample + 1], (count, *value.shape[1:]))

        values = {ref: copied(self[ref]) for ref in self}
        inputs = {node.name: Inputs([values[i] for i in node.inputs]) for node in self._nodes}
        return Record(values, self._nodes, inputs, self.backend)

    def let_go(self, refs):
        """Hold these values no longer, if the record is lean."""
        for ref in refs if self.lean else ():
            self._inputs.pop(ref[0], None)
            if ref not in self._gone:
                value = self._values[ref]
                like = tuple(value.shape), value.dtype
                if like not in self._hollows:
                    self._hollows[like] = np.broadcast_to(zeros_like(value, ()), value.shape)
                self._gone[ref] = self._hollows[like]
                self._values[ref] = None

    def evaluate(self, node, x):
        """The node's output, given its inputs."""
        if node.name in self._rectified:
            return node.layer.rectified(self.backend, *x)
        if node.inputs[0][0] in self._rectified:
            return x[0]
        return node.layer.run(self.backend, x)

    def _compute_again(self, name):
        missing = {name}
        for node in reversed(self._nodes):
            if node.name in missing:
                missing.update(i[0] for i in node.inputs if i in self._gone)
        for node in self._nodes:
            if node.name in missing:
                y = self.evaluate(node, Inputs(self.inputs(node)))
                for ref, part in zip(node.refs, y if len(node.refs) > 1 else (y,), strict=True):
                    if self._gone.pop(ref, None) is not None:
                        self._values[ref] = part


def _ref(key) -> Ref:
    return (key, 0) if isinstance(key, str) else (key[0], int(key[1]))


def show(ref: Ref) -> str:
    """A reference as a person writes it: conv1, or split:1."""
    return ref[0] if ref[1] == 0 else f"{ref[0]}:{ref[1]}"


class Network:
    """An immutable directed acyclic graph of layers.

    Residual sums, concatenations, a layer used twice and several inputs and outputs need nothing special:
    edges are explicit, and signals that meet at a node are added.

    Parameters
        nodes    Node objects, or (name, layer, input or inputs) tuples, in any order.
        inputs   names of the network's inputs, or {name: shape of one sample}, where None is any length.
        outputs  names of the outputs; by default the last node in topological order.
        name     shown in errors and results.
    Raises
        ValueError  a name used twice or unknown, a cycle, a wrong number of inputs, a node that leads to
                    no output, an output that no input reaches.
    """

    def __init__(
        self,
        nodes: Sequence[Any],
        inputs: Mapping[str, tuple | None] | Sequence[str] | str = "x",
        outputs: Sequence[str | Ref] | str | None = None,
        name: str = "network",
    ):
        names = [inputs] if isinstance(inputs, str) else list(inputs)
        shapes = inputs if isinstance(inputs, Mapping) else {}
        self.name = name
        self.inputs: dict[str, tuple | None] = {n: None if (s := shapes.get(n)) is None else tuple(s) for n in names}
        given = [_node(n) for n in nodes]
        self._check_names(given)
        self.nodes: dict[str, Node] = {
            node.name: node for node in _topological(given, set(self.inputs), self._describe)
        }
        if outputs is None:
            if not self.nodes:
                raise ValueError(f"{name} has no nodes")
            outputs = [next(reversed(self.nodes))]
        self.outputs: tuple[Ref, ...] = tuple(_ref(o) for o in ([outputs] if isinstance(outputs, str) else outputs))
        self._check_connected()
        self._remembered: dict[str, tuple[Any, Any]] = {}
        # Says what `pyref.merge_batchnorm` makes of it: set by who made a copy whose parameters cannot change.
        self.merged: Callable[[Network], Network] | None = None

    # ---- construction -------------------------------------------------------------------------------

    @classmethod
    def sequential(cls, layers, input="x", shape=None, name="network"):
        """A chain of layers, or of (name, layer) pairs; unnamed ones are called after their class: dense1, relu1, …"""
        nodes: list[Node] = []
        counts: dict[str, int] = {}
        previous = input
        for item in layers:
            if isinstance(item, Layer):
                stem = type(item).__name__.lower()
                counts[stem] = counts.get(stem, 0) + 1
                item = (f"{stem}{counts[stem]}", item)
            nodes.append(Node(item[0], item[1], ((previous, 0),)))
            previous = item[0]
        return cls(nodes, {input: shape}, name=name)

    def with_layers(self, layers: Mapping[str, Layer]):
        """The same graph with the layers of some nodes exchanged."""
        for n in layers:
            self._known(n)
        nodes = [replace(node, layer=layers.get(node.name, node.layer)) for node in self.nodes.values()]
        return Network(nodes, self.inputs, self.outputs, self.name)

    def up_to(self, *outputs):
        """The part of the network that leads to the given outputs; inputs that lead nowhere are left out."""
        refs = tuple(_ref(o) for o in outputs)
        return self.remember("up_to", refs, lambda: self._up_to(refs))

    def _up_to(self, refs):
        keep = self.ancestors(refs)
        nodes = [node for node in self.nodes.values() if node.name in keep]
        inputs = {n: s for n, s in self.inputs.items() if n in keep}
        return Network(nodes, inputs, refs, self.name)

    def canonize(self):
        """(the network in its simplest form, what was rewritten): `pyref.canonize`."""
        from pyref.rewrite import canonize

        return canonize(self)

    def remember(self, what, key, make):
        """make(), unless the last call for `what` had the same key: the graph does not change, and what follows from it
        and the key need not be found again for every batch."""
        known = self._remembered.get(what)
        if known is None or known[0] != key:
            known = self._remembered[what] = key, make()
        return known[1]

    # ---- questions about the graph --------------------------------------------------------------------

    def consumers(self, ref):
        """The nodes that read a value."""
        ref = _ref(ref)
        return [node for node in self.nodes.values() if ref in node.inputs]

    def ancestors(self, refs):
        """Names of all nodes and inputs that lead to the given references, themselves included."""
        keep = {r[0] for r in map(_ref, refs)}
        for node in reversed(self.nodes.values()):
            if node.name in keep:
                keep.update(i[0] for i in node.inputs)
        return keep

    def first_affine(self):
        """Names of the weighted affine nodes that an input reaches without passing another one."""
        fresh, first = set(self.inputs), set()
        for node in self.nodes.values():
            if any(i[0] in fresh for i in node.inputs):
                if weighted(node.layer):
                    first.add(node.name)
                else:
                    fresh.add(node.name)
        return first

    def producers(self, names, accept):
        """Nearest ancestors of the named nodes, and themselves, for which accept(node) holds."""
        found, stack, seen = [], list(names), set()
        while stack:
            name = stack.pop()
            if name in seen or name not in self.nodes:
                continue
            seen.add(name)
            if accept(self.nodes[name]):
                found.append(name)
            else:
                stack.extend(i[0] for i in self.nodes[name].inputs)
        return found

    @property
    def piecewise_linear(self):
        """True where every node is: then exact Integrated Gradients exist."""
        return all(node.layer.piecewise_linear for node in self.nodes.values())

    def __repr__(self):
        lines = [f"Network {self.name!r}: {', '.join(f'{n} {s}' for n, s in self.inputs.items())}"]
        for node in self.nodes.values():
            lines.append(f"  {node.name:<16} {type(node.layer).__name__:<16} ← {', '.join(map(show, node.inputs))}")
        return "\n".join(lines)

    def __str__(self):
        """The table of `pyref.summarize`: name, layer, output shape, parameters, operations."""
        from pyref.summary import show

        return show(self)

    # ---- forward --------------------------------------------------------------------------------------

    @cached_property
    def rectifiable(self) -> dict[str, str]:
        """{node: the ReLU that alone reads it}, of nodes that can put out max(z, 0) at once."""
        readers: dict[Ref, list[Node]] = {}
        for node in self.nodes.values():
            for ref in node.inputs:
                readers.setdefault(ref, []).append(node)
        found = {}
        for node in self.nodes.values():
            those = readers.get(node.refs[0], [])
            by_relu = len(those) == 1 and type(those[0].layer) is ReLU and node.refs[0] not in self.outputs
            if by_relu and node.layer.rectifies:
                found[node.name] = those[0].name
        return found

    def forward(self, x, backend=None, given=None, let_go=None, rectified=frozenset()) -> Record:
        """Evaluate every node; the Record holds every value.

        x      an array, or {input name: array} for several inputs
        given  {reference: value}: values put in place of what a node would compute (for a path that starts
               at an inner node). Nodes that only feed such values are not evaluated.
        let_go whether to hold a node's output, let_go(node), only until its last reader has run; the network's inputs
               and outputs stay. A record of that kind is lean
        rectified  names of nodes, of `rectifiable`, whose record is to be max(z, 0) in place of z
        """
        backend = backend or _pyref()
        given = {_ref(k): v for k, v in (given or {}).items()}
        values: dict[Ref, Any] = dict(given)
        needed = self.needed(given) if given else None
        for name, array in self.input_arrays(x, needed, given).items():
            values[name, 0] = array
        nodes = [node for node in self.nodes.values() if needed is None or node.name in needed]
        inputs: dict[str, Inputs] = {}
        rectified = {name for name in rectified if (name, 0) not in given and (self.rectifiable[name], 0) not in given}
        record = Record(values, nodes, inputs, backend, let_go is not None, rectified)
        readers = self._last_readers(nodes, values, let_go) if let_go else {}
        for node in nodes:
            arrays = Inputs([values[i] for i in node.inputs])
            y = record.evaluate(node, arrays)
            for ref, part in zip(node.refs, y if len(node.refs) > 1 else (y,), strict=True):
                values.setdefault(ref, part)
            if not let_go or (vars(arrays) and not let_go(node)):  # else the record would hold on to them
                inputs[node.name] = arrays
            if node.name in readers:
                record.let_go(readers[node.name])
        return record

    def _last_readers(self, nodes, given, let_go):
        """{node: values to let go of that nothing reads after it}."""
        going = {ref for node in nodes if let_go(node) for ref in node.refs} - set(self.outputs) - set(given)
        last = {i: node.name for node in nodes for i in node.inputs if i in going}
        found: dict[str, list[Ref]] = {}
        for ref, name in last.items():
            found.setdefault(name, []).append(ref)
        return found

    def __call__(self, x, backend=None):
        """The output, or a tuple of them."""
        record = self.forward(x, backend, let_go=lambda node: True, rectified=self.rectifiable)
        out = tuple(record[o] for o in self.outputs)
        return out[0] if len(out) == 1 else out

    def tangent(self, record, dx, backend=None):
        """The change of every value along dx, {reference: direction}; values that dx does not reach are absent."""
        backend = backend or _pyref()
        change = {_ref(k): v for k, v in dx.items()}
        for node in self.nodes.values():
            reached = any(i in change for i in node.inputs) and (node.name, 0) in record
            if reached and (node.name, 0) not in change:
                x = record.inputs(node)
                parts = tuple(change[i] if i in change else _still(v) for i, v in zip(node.inputs, x, strict=True))
                dy = node.layer.tangent(backend, x, record.output(node), parts)
                for k, part in enumerate(dy if node.layer.outputs > 1 else (dy,)):
                    change[node.name, k] = part
        return change

    def input_arrays(self, x, needed=None, given=()):
        """{name: array} of the inputs, checked against the declared shapes."""
        names = [n for n in self.inputs if (needed is None or n in needed) and (n, 0) not in given]
        if not isinstance(x, dict | Mapping):
            if len(self.inputs) != 1:
                raise ValueError(f"{self.name} has inputs {', '.join(self.inputs)}; pass a dict by name")
            x = {next(iter(self.inputs)): x}
        for n in x:
            if n not in self.inputs:
                raise ValueError(f"{self.name} has no input {n!r}; {nearest(n, self.inputs)}")
        for n in names:
            if n not in x:
                raise ValueError(f"input {n!r} of {self.name} is missing")
            shape = self.inputs[n]
            if shape is not None:
                check_shape(n, x[n], (None, *shape))
        return {n: x[n] for n in names}

    # ---- backward -------------------------------------------------------------------------------------

    def backward(
        self,
        record: Record,
        seeds: Mapping[Any, Any],
        answer: Callable[[Node, tuple, Any, Any], tuple],
        stop: Sequence[Any] = (),
        keep: bool = True,
        linear: bool = False,
        beside: Sequence[Record] = (),
    ) -> dict[Ref, Any]:
        """Walk from the seeds to the inputs: the one backward pass of every method.

        answer(node, x, y, S) gets the node's inputs, its output and the signal that reached it, and returns
        one signal per input (None for an input that carries none). Signals that meet are added. The walk does
        not go below the references in `stop`. Returns the signal at every reference that it reached.

        keep    False: the walk lets go of signals, and lean records of values, once it is past them, except at `stop`
        linear  the answers of linear layers depend on the shapes of x and y alone, as those of the gradient do
        beside  records that the answers read too
        """
        signals = {_ref(k): v for k, v in seeds.items()}
        stops = {_ref(s) for s in stop}
        add = record.backend.add_forward
        for node in reversed(self.nodes.values()):
            S = _arrived(node, record, signals, stops)
            if S is None:
                continue
            x, y = record.read(node, linear) if record.lean else (record.inputs(node), record.output(node))
            parts = answer(node, x, y, S)
            for i, part in zip(node.inputs, parts, strict=True):
                if part is not None:
                    signals[i] = add((signals[i], part)) if i in signals else part
            if not keep:
                behind = [ref for ref in node.refs if ref not in stops and ref not in self.outputs]
                for each in (record, *beside):
                    each.let_go(behind)
                for ref in behind:
                    signals.pop(ref, None)
        return signals

    # ---- checks ---------------------------------------------------------------------------------------

    def _describe(self):
        return f"network {self.name!r}" if self.name != "network" else "the network"

    def _known(self, name):
        if name not in self.nodes and name not in self.inputs:
            raise ValueError(f"{self._describe()} has no node {name!r}; {nearest(name, [*self.nodes, *self.inputs])}")

    def reference(self, key) -> Ref:
        """A checked reference: the name of a node or an input, or (name, k)."""
        ref = _ref(key)
        self._known(ref[0])
        count = self.nodes[ref[0]].layer.outputs if ref[0] in self.nodes else 1
        if not 0 <= ref[1] < count:
            raise ValueError(f"node {ref[0]!r} has {count} output{'s' if count > 1 else ''}, not an output {ref[1]}")
        return ref

    def _check_names(self, nodes):
        seen = set(self.inputs)
        for node in nodes:
            if node.name in seen:
                raise ValueError(f"{self._describe()} has two nodes or inputs called {node.name!r}")
            seen.add(node.name)
        for node in nodes:
            for source, _ in node.inputs:
                if source not in seen:
                    raise ValueError(
                        f"node {node.name!r} reads {source!r}, which does not exist; {nearest(source, seen)}"
                    )
            arity = node.layer.arity
            if (arity is not None and arity != len(node.inputs)) or not node.inputs:
                raise ValueError(
                    f"node {node.name!r} ({type(node.layer).__name__}) has {len(node.inputs)} inputs, "
                    f"expected {arity or 'at least 1'}"
                )

    def _check_connected(self):
        for ref in self.outputs:
            self.reference(ref)
        for node in self.nodes.values():
            for i in node.inputs:
                self.reference(i)
        needed = self.ancestors(self.outputs)
        loose = [n for n in [*self.nodes, *self.inputs] if n not in needed]
        if loose:
            raise ValueError(f"{', '.join(map(repr, loose))} of {self._describe()} lead to no output; remove them")

    def needed(self, given):
        """Names of nodes and inputs whose values must be known beside those that are given, by reference."""
        needed = {r[0] for r in self.outputs}
        for node in reversed(self.nodes.values()):
            if node.name in needed:
                if all((node.name, k) in given for k in range(node.layer.outputs)):
                    needed.discard(node.name)
                else:
                    needed.update(i[0] for i in node.inputs if i not in given)
        return needed


def _arrived(node, record, signals, stops):
    """The signal at a node's output, a tuple if it has several with zeros where nothing arrived; None without any."""
    refs = node.refs
    if len(refs) == 1:
        return None if refs[0] in stops else signals.get(refs[0])
    arrived: list[Any] = [None if r in stops else signals.get(r) for r in refs]
    known = next((k for k, a in enumerate(arrived) if a is not None), None)
    if known is None:
        return None
    pairs = arrived[known].shape[: arrived[known].ndim - record.hollow(refs[known]).ndim]  # two in one: RevealCancel
    return tuple(_still(record.hollow(r), pairs) if a is None else a for r, a in zip(refs, arrived, strict=True))


def weighted(layer) -> bool:
    """True for a layer with weights of its own that mix inputs, to which a composite's "first layer" refers."""
    return layer.kind in ("dense", "conv", "recurrent")


def _node(item) -> Node:
    node = item if isinstance(item, Node) else Node(*item)
    if not isinstance(node.layer, Layer):
        raise ValueError(f"node {node.name!r} has a {type(node.layer).__name__} for a layer, expected a pyref layer")
    return node


def _topological(nodes, available, describe):
    """Nodes in an order in which each comes after what it reads; the given order where that is one already."""
    ready, waiting, ordered = set(available), list(nodes), []
    while waiting:
        later = []
        for node in waiting:
            if all(i[0] in ready for i in node.inputs):
                ordered.append(node)
                ready.add(node.name)
            else:
                later.append(node)
        if len(later) == len(waiting):
            raise ValueError(f"{describe()} has a cycle through {', '.join(repr(n.name) for n in later)}")
        waiting = later
    return ordered


def _still(value, pairs=()):
    """A zero change of a value, with axes before its own; None for integer ids, which cannot change."""
    return None if value.dtype.kind in "iu" else zeros_like(value, (*pairs, *value.shape))


def _pyref():
    import pyref

    return pyref
