"""ONNX models as networks: the graph is read operator by operator, never traced and never hooked.

What a network's input does not reach is a constant: weights, and the arithmetic on shapes that exporters write.
Constants are folded; the rest becomes pyref's layers, by the one table `OPERATORS`. An ONNX graph has its batch
where it pleases, pyref's layers have it first: every value remembers at which axis ONNX has the batch, and a node
that reaches across it (a reduction over the batch, a softmax over it, a constant per sample) is refused by name.

Lengths that the file leaves open are tried with two different numbers. Where a layer comes out the same, it holds
for any length; where it does not, the node is named and the length has to be fixed.
"""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

import pyref
from pyref.check import nearest
from relprop.models.onnx_file import attributes, dtype_of, read_model, read_tensor
from relprop.models.onnx_operators import FOLDED, OPERATORS, SHAPES

__all__ = ["Graph", "OPERATORS", "load"]

DOMAINS = ("", "ai.onnx")
OLDEST = 6
TRIED = ((1009, 1013, 1019, 1021, 1031), (1487, 1489, 1493, 1499, 1511))  # primes, for lengths that are open
FOLD_BYTES, FOLD_FACTOR = 2**28, 4  # constants may grow to 256 MiB and four times the file
WEIGHT_BYTES = 2**31  # of weights that a file does not hold but states by a formula
WORK = 2**20  # what a forward pass of no samples loops over: windows of poolings, and the taps of kernels 16-fold


def load(path, *, shapes=None, batch_axis=0):
    """Read a network from an ONNX file, opset 6 or later.

    Parameters
        shapes      {input: its lengths}, batch included, None for any; in place of what the file says
        batch_axis  where the inputs have their samples: an axis, or {input: axis}. Recurrent layers of ONNX have
                    time first, so a file that begins with one has 1. The network itself is batch first always.
    Returns
        `pyref.Network`, with the nodes' names of the file. Weights are float32 or float64 as they are in the file.
    Raises
        ImportError  the package onnx is not installed.
        ValueError   no ONNX file, or a damaged one; operators that there are no layers for, all of them in one
                     message, before any weight is read; a node that reaches across the batch; half precision.
        OSError      a file that cannot be read.
    """
    path = Path(path)
    graph = Graph(path, read_model(path), path.parent)
    network, outputs = graph.network(shapes, batch_axis)
    constant = [name for name, value in outputs.items() if not isinstance(value, Value)]
    if constant:
        raise ValueError(f"{path}: the output {constant[0]!r} does not depend on any input")
    return network


@dataclass(frozen=True)
class Value:
    """What a network computes, as ONNX sees it: its shape, and at which axis it has the batch.

    pyref has the same axes in the same order, but for the batch, which comes first.
    """

    ref: tuple[str, int]
    shape: tuple[int, ...]
    batch: int
    dtype: np.dtype

    @property
    def sample(self):
        """The shape of one sample."""
        return self.shape[: self.batch] + self.shape[self.batch + 1 :]

    @property
    def rank(self):
        return len(self.shape)


class Graph:
    """One ONNX graph, and what was read of it.

    Parameters
        origin  names the model in errors
        model   a ModelProto
        folder  in which external data may lie, or None
    Raises
        ValueError  an opset that is not read; operators without a layer.
    """

    def __init__(self, origin, model, folder=None):
        self.origin, self.graph, self.folder = origin, model.graph, folder
        self.opset = self._opset(model)
        self.tensors = {t.name: t for t in self.graph.initializer}
        self.inputs = {i.name: i for i in self.graph.input if i.name not in self.tensors}
        self.readers = Counter(name for node in self.graph.node for name in node.input)
        self.readers.update(o.name for o in self.graph.output)
        self.read: dict[str, np.ndarray] = {}
        self.model = model
        self._check_operators()

    @cached_property
    def size(self):
        """Bytes of the file, which is asked for where constants are folded."""
        return self.model.ByteSize()

    def fail(self, reason):
        raise ValueError(f"{self.origin}: {reason}")

    # ---- what is refused before any weight is read ------------------------------------------------------

    def _opset(self, model):
        versions = {o.domain: o.version for o in model.opset_import if o.domain in DOMAINS}
        version = max(versions.values(), default=0)
        if version < OLDEST:
            self.fail(f"it has opset {version}, expected {OLDEST} or later: convert it with onnx.version_converter")
        return version

    def _check_operators(self):
        """One error for all operators that cannot be read."""
        reached, unknown = set(self.inputs), {}
        for k, node in enumerate(self.graph.node):
            dynamic = any(name in reached for name in node.input) and node.op_type not in SHAPES
            if node.domain not in DOMAINS:
                unknown.setdefault(f"{node.domain}.{node.op_type}", []).append(_name(node, k))
            elif node.op_type not in (OPERATORS if dynamic else FOLDED):
                what = node.op_type if dynamic else f"{node.op_type} of constants"
                unknown.setdefault(what, []).append(_name(node, k))
            if dynamic:
                reached.update(node.output)
        if self.graph.sparse_initializer:
            unknown["sparse tensors"] = [t.values.name for t in self.graph.sparse_initializer]
        if unknown:
            listed = "; ".join(f"{what}: {', '.join(map(repr, names))}" for what, names in unknown.items())
            self.fail(f"there are no layers for {len(unknown)} of its operators: {listed}")

    # ---- the walk ---------------------------------------------------------------------------------------

    def network(self, shapes=None, batch_axis=0):
        """The network, and {output: Value, or the array that it always is}, in the order of the file."""
        axes = self._axes(batch_axis)
        shapes = self._shapes(shapes or {}, axes)
        walks = [Walk(self, shapes, axes, TRIED[0])]
        if walks[0].open:
            walks.append(Walk(self, shapes, axes, TRIED[1]))
            self._compare(*walks)
        return walks[0].network(), walks[0].outputs

    def _axes(self, batch_axis):
        given = batch_axis if isinstance(batch_axis, Mapping) else dict.fromkeys(self.inputs, batch_axis)
        for name in given:
            if name not in self.inputs:
                raise ValueError(f"{self.origin} has no input {name!r}; {nearest(name, self.inputs)}")
        return {name: given.get(name, 0) for name in self.inputs}

    def _shapes(self, given, axes):
        """{input: lengths, or names where they are open}."""
        for name in given:
            if name not in self.inputs:
                raise ValueError(f"{self.origin} has no input {name!r}; {nearest(name, self.inputs)}")
        shapes: dict[str, list] = {}
        for name, entry in self.inputs.items():
            kind = entry.type.tensor_type
            if not entry.type.HasField("tensor_type"):
                self.fail(f"the input {name!r} is no tensor")
            if name not in given and not kind.HasField("shape"):
                self.fail(f"the input {name!r} has no shape: pass shapes={{{name!r}: (None, …)}}")
            stated = given.get(name) or [
                d.dim_value if d.HasField("dim_value") else d.dim_param for d in kind.shape.dim
            ]
            shapes[name] = [n if isinstance(n, int) and n > 0 else (n or f"{name}.{k}") for k, n in enumerate(stated)]
            if not 0 <= axes[name] < len(shapes[name]) <= 32:
                self.fail(f"the input {name!r} has the shape {tuple(stated)}, without the batch axis {axes[name]}")
        return shapes

    def constant(self, name):
        """An initializer as an array, read once."""
        if name not in self.read:
            what = f"{self.origin}: tensor {name!r}"
            self.read[name] = read_tensor(self.tensors[name], what, self.folder)
        return self.read[name]

    def _compare(self, one, two):
        """Refuse a layer that came out differently when an open length had another value."""
        for a, b in zip(one.nodes.values(), two.nodes.values(), strict=True):
            same = type(a.layer) is type(b.layer) and a.inputs == b.inputs
            for f in fields(a.layer) if same else ():
                same = same and _equal(getattr(a.layer, f.name), getattr(b.layer, f.name))
            if not same:
                self.fail(
                    f"node {a.name!r} ({type(a.layer).__name__}) depends on a length that the file leaves open, one of "
                    f"{', '.join(sorted(one.open))}: fix it with shapes={{input: lengths}}"
                )


def _name(node, k):
    """What a node is called: by itself, or after its output."""
    return node.name or next(filter(None, node.output), f"{node.op_type}.{k}")


def _equal(a, b):
    if isinstance(a, tuple | list) and isinstance(b, tuple | list):
        return len(a) == len(b) and all(map(_equal, a, b))
    if not isinstance(a, np.ndarray) or not isinstance(b, np.ndarray):
        return type(a) is type(b) and a == b
    if a.shape == b.shape and a.strides == b.strides and a.ctypes.data == b.ctypes.data:
        return True
    return np.array_equal(a, b)


class Walk:
    """One reading of a graph, with numbers in place of the lengths that are open."""

    def __init__(self, graph, shapes, axes, tried):
        self.graph, self.opset, self.fail = graph, graph.opset, graph.fail
        self.nodes: dict[str, pyref.Node] = {}
        self.open: set[str] = set()
        self.folded = self.stated = self.work = 0
        self.inputs: dict[str, tuple] = {}
        self.values: dict[str, Any] = {}
        self.samples: dict[tuple, tuple] = {}
        lengths = self._lengths(shapes, axes, tried)
        for name, shape in shapes.items():
            dtype = dtype_of(graph.inputs[name].type.tensor_type.elem_type, f"{graph.origin}: input {name!r}")
            if dtype.kind not in "fiu":
                self.fail(f"the input {name!r} has dtype {dtype}, expected float32, float64 or integers")
            numbers = tuple(lengths.get(n, n) for n in shape)
            sample = [n if isinstance(n, int) else None for n in shape]
            del sample[axes[name]]
            self.inputs[name] = tuple(sample)
            self.values[name] = value = Value((name, 0), numbers, axes[name], dtype)
            self.samples[value.ref] = value.sample
        for k, node in enumerate(graph.graph.node):
            self._read(node, k)
        self.outputs = {}
        for entry in graph.graph.output:
            if entry.name not in self.values and entry.name not in graph.tensors:
                self.fail(f"no node computes the output {entry.name!r}")
            self.outputs[entry.name] = self.value(entry.name)

    def _lengths(self, shapes, axes, tried):
        """A number for every open length; the batch has one of its own, or what the file says."""
        batches = [shape[axes[name]] for name, shape in shapes.items()]
        fixed = {n for n in batches if isinstance(n, int)}
        if len(fixed) > 1:
            self.fail(f"its inputs have batches of {', '.join(map(str, sorted(fixed)))}")
        self.batch = fixed.pop() if fixed else tried[0]
        lengths: dict[Any, int] = {n: self.batch for n in batches if not isinstance(n, int)}
        others = dict.fromkeys(
            n for shape in shapes.values() for n in shape if not isinstance(n, int) and n not in lengths
        )
        if len(others) >= len(tried):
            self.fail(f"it leaves {len(others)} lengths open, more than {len(tried) - 1}: fix some with shapes=")
        lengths |= dict(zip(others, tried[1:], strict=False))
        self.free = {lengths[n] for n in others}
        self.open = {str(n) for n in lengths}
        return lengths

    def value(self, name):
        """What is known under a name: a Value, or an array."""
        if name in self.values:
            return self.values[name]
        if name in self.graph.tensors:
            return self.graph.constant(name)
        return self.fail(f"a node reads {name!r}, which nothing before it computes")

    def _read(self, node, k):
        op = Op(self, node, _name(node, k))
        if node.op_type in SHAPES or not any(isinstance(v, Value) for v in op.inputs):
            build = FOLDED[node.op_type]
        else:
            build = OPERATORS[node.op_type]
        try:
            with np.errstate(all="ignore"):
                results = build(op)
            op.check_attributes()
        except Refusal as error:
            raise ValueError(str(error)) from None
        except Exception as error:  # what is written for well-formed nodes may fail in any way on others
            raise ValueError(f"{op.where}: {error}") from error
        results = results if isinstance(results, list) else [results]
        for name, result in zip(node.output, results, strict=False):
            if name:
                self.values[name] = result
        for name in list(node.output)[len(results) :]:
            if name and self.graph.readers[name]:
                self.fail(f"node {op.name!r} ({op.type}): its output {name!r} is read, and there is no layer for it")

    def network(self):
        """The network of what leads to the outputs."""
        outputs = [v.ref for v in self.outputs.values() if isinstance(v, Value)]
        if not outputs:
            return None
        nodes = list(self.nodes.values())
        keep = {name for name, _ in outputs}
        for node in reversed(nodes):
            if node.name in keep:
                keep.update(name for name, _ in node.inputs)
        inputs = {name: shape for name, shape in self.inputs.items() if name in keep}
        name = Path(str(self.graph.origin)).stem
        return pyref.Network([n for n in nodes if n.name in keep], inputs, outputs, name)


class Refusal(ValueError):
    """An error whose message is complete."""


class Op:
    """One node while it is read: its inputs, its attributes, and the layers that it becomes."""

    def __init__(self, walk, node, name):
        self.walk, self.opset, self.type, self.name = walk, walk.opset, node.op_type, name
        self.where = f"{walk.graph.origin}: node {name!r} ({node.op_type})"
        self.names = list(node.input)
        self.outputs = list(node.output)
        self.inputs = [walk.value(n) if n else None for n in node.input]
        self.attributes = attributes(node, self.where)
        self._asked: set[str] = set()

    def refuse(self, reason):
        raise Refusal(f"{self.where}: {reason}")

    # ---- what the node says -----------------------------------------------------------------------------

    def attribute(self, name, default=None):
        """An attribute, or its default, which ONNX rounds to float32 as it does with all floats of attributes."""
        self._asked.add(name)
        default = float(np.float32(default)) if isinstance(default, float) else default
        return self.attributes.get(name, default)

    def expect(self, name, *allowed):
        """Refuse an attribute that is neither absent nor one of the allowed values, the first being the default."""
        value = self.attribute(name, allowed[0])
        if value not in allowed:
            self.refuse(f"{name} is {value!r}, expected {' or '.join(map(repr, allowed))}")
        return value

    def check_attributes(self):
        """Refuse what was not asked for: it would be passed over in silence."""
        for name in self.attributes:
            if name not in self._asked:
                self.refuse(f"the attribute {name!r} is not supported")

    def has(self, k):
        return k < len(self.inputs) and self.inputs[k] is not None

    def input(self, k):
        if not self.has(k):
            self.refuse(f"its input {k} is missing")
        return self.inputs[k]

    def data(self, k=0):
        """An input that the network computes, of floats."""
        value = self.input(k)
        if not isinstance(value, Value):
            self.refuse(f"its input {self.names[k]!r} is a constant, expected what the network computes")
        if value.dtype.kind != "f":
            self.refuse(f"its input {self.names[k]!r} has dtype {value.dtype}, expected float32 or float64")
        return value

    def image(self, k=0):
        """An input (n, c, *axes)."""
        value = self.data(k)
        if value.batch != 0 or value.rank < 3:
            self.refuse(f"its input has shape {value.shape} with the batch at {value.batch}, expected (n, c, axes)")
        return value

    def constant(self, k, default=None):
        """An input that is known now."""
        if not self.has(k):
            if default is None:
                self.refuse(f"its input {k} is missing")
            return default
        value = self.inputs[k]
        if isinstance(value, Value):
            self.refuse(f"its input {self.names[k]!r} depends on the network's input, expected a constant")
        return value

    def weight(self, k):
        """A constant as a parameter of a layer: finite, and of a size that a machine has."""
        value = self.constant(k)
        if value.dtype.kind != "f":
            self.refuse(f"{self.names[k]!r} has dtype {value.dtype}, expected float32 or float64")
        small = value[tuple(slice(0, 1) if s == 0 else slice(None) for s in value.strides)] if value.size else value
        if small.size < value.size:
            self.walk.stated += value.nbytes
            if self.walk.stated > WEIGHT_BYTES:
                self.refuse(
                    f"{self.names[k]!r} brings the weights that the file does not hold over {WEIGHT_BYTES} bytes"
                )
        if not np.isfinite(small).all():
            self.refuse(f"{self.names[k]!r} holds values that are not finite")
        return value

    def number(self, k, default=None):
        """A constant of one element."""
        value = self.constant(k, default)
        if isinstance(value, np.ndarray):
            if value.size != 1:
                self.refuse(f"{self.names[k]!r} has shape {value.shape}, expected one number")
            return value.reshape(()).item()
        return value

    def integers(self, k, name, default=None):
        """Whole numbers, which older opsets have as an attribute and newer ones as input k."""
        if name is not None and (given := self.attribute(name)) is not None:
            return given if isinstance(given, list) else [given]
        if not self.has(k):
            return default
        value = self.constant(k)
        if value.dtype.kind not in "iu" or value.ndim > 1:
            self.refuse(f"{self.names[k]!r} has dtype {value.dtype} and shape {value.shape}, expected whole numbers")
        if value.size > 64:
            self.refuse(f"{self.names[k]!r} holds {value.size} numbers, more than there are axes")
        return [int(v) for v in value.reshape(-1)]

    def is_read(self, k):
        return k < len(self.outputs) and bool(self.outputs[k]) and self.walk.graph.readers[self.outputs[k]] > 0

    def fresh(self, k):
        """True where nobody else reads input k."""
        return self.walk.graph.readers[self.names[k]] == 1

    # ---- axes -------------------------------------------------------------------------------------------

    def counted(self, axis, rank):
        """An axis as ONNX has it, from 0."""
        if not -rank <= axis < rank:
            self.refuse(f"the axis {axis} does not exist in {rank} axes")
        return axis % rank

    def axis(self, x, axis):
        """An axis of ONNX's as pyref counts it; the batch is refused."""
        axis = self.counted(axis, x.rank)
        if axis == x.batch:
            self.refuse(f"it reaches across the batch, axis {axis} of {x.shape}")
        return axis + 1 if axis < x.batch else axis

    # ---- what it becomes --------------------------------------------------------------------------------

    def emit(self, layer, *x, part=None, batch=None, sample=None):
        """A node of the network, and its value (a list of them if it has several).

        Parameters
            part    what to call it, where the node of ONNX becomes several
            batch   at which axis ONNX has the batch afterwards; by default where it was
            sample  the shape of one sample of the output; by default what an empty batch comes out as
        """
        name = f"{self.name}.{part}" if part else self.name
        while name in self.walk.nodes or name in self.walk.inputs:
            name += "_"
        self.walk.nodes[name] = pyref.Node(name, layer, tuple(v.ref for v in x))
        batch = x[0].batch if batch is None else batch
        if sample is not None:
            return self._value((name, 0), tuple(sample), batch, x[0].dtype)
        empty = [np.zeros((0, *v.sample), v.dtype) for v in x]
        y = layer.forward(pyref, *empty)
        if layer.outputs == 1:
            return self._value((name, 0), y.shape[1:], batch, y.dtype)
        return [self._value((name, k), part.shape[1:], batch, part.dtype) for k, part in enumerate(y)]

    def _value(self, ref, sample, batch, dtype):
        self.walk.samples[ref] = tuple(sample)
        shape = (*sample[:batch], self.walk.batch, *sample[batch:])
        return Value(ref, tuple(int(n) for n in shape), batch, dtype)

    def replace(self, x, layer):
        """The layer that computed x, exchanged for another that computes what x now is."""
        node = self.walk.nodes[x.ref[0]]
        self.walk.nodes[node.name] = replace(node, layer=layer)
        return x

    def layer_of(self, x):
        """The layer that computed x, or None."""
        node = self.walk.nodes.get(x.ref[0])
        return node and node.layer

    def count_work(self, steps):
        """Book what a forward pass loops over."""
        self.walk.work += steps
        if self.walk.work > WORK:
            self.refuse("its windows or kernels are too large, or there are too many of them")

    def count_bytes(self, size, itemsize=8):
        """Book memory for a constant that is folded."""
        self.walk.folded += int(size) * itemsize
        if self.walk.folded > FOLD_BYTES + FOLD_FACTOR * self.walk.graph.size:
            self.refuse(f"folding it takes the constants over {FOLD_BYTES} bytes and {FOLD_FACTOR} times the file")

    def _before_reshape(self, x):
        """x before a Reshape that computed it, and the shape of a sample there: two in a row are one."""
        while isinstance(self.layer_of(x), pyref.Flatten | pyref.Reshape):
            (ref,) = self.walk.nodes[x.ref[0]].inputs
            x = replace(x, ref=ref)
        return x, self.walk.samples.get(x.ref, x.sample)

    def reshape_as(self, x, shape, batch):
        """x as it is, under the shape and batch axis that ONNX sees now: one sample is the same."""
        return replace(x, shape=tuple(shape), batch=batch)

    def reshape(self, x, shape, part=None, free=None):
        """x in another shape of ONNX's, which must leave the samples apart.

        Parameters
            free   the axis whose length follows from the others, where the file says so
        """
        shape = tuple(shape)
        inner = math.prod(x.shape[: x.batch])
        places = [k for k, n in enumerate(shape) if n == x.shape[x.batch] and math.prod(shape[:k]) == inner]
        if not places or math.prod(shape) != math.prod(x.shape):
            self.refuse(f"from shape {x.shape} to {shape} it reaches across the batch, axis {x.batch}")
        batch = min(places, key=lambda k: abs(k - x.batch))
        sample = list(shape[:batch] + shape[batch + 1 :])
        if tuple(sample) == x.sample:
            return replace(x, shape=shape, batch=batch)
        x, before = self._before_reshape(x)
        if tuple(sample) == before:
            return replace(x, shape=shape, batch=batch)
        if self.walk.free.intersection(sample):
            unknown = [k for k, n in enumerate(sample) if n in self.walk.free]
            if free is not None and free != batch:
                unknown = [free - (free > batch)]
            sample[unknown[0]] = -1
        layer: Any = pyref.Flatten() if len(sample) == 1 else pyref.Reshape(tuple(sample))
        return self.emit(layer, x, part=part, batch=batch)
