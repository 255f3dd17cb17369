"""The project's own model file: a safetensors file that also holds the graph. Data only: no pickle, no code.

The metadata key "relprop" holds JSON, the tensors are named after it:

    {"sha256": digest, "format": 1, "name": …, "inputs": {name: shape of one sample, null for any length},
     "outputs": [node, or [node, k] for its k-th output], "card": {…},
     "nodes": [{"name", "layer": class name, "inputs": [as outputs], "fields": {field: value}}]}

    a field's value: a number, string, boolean or null; a list, which stands for a tuple;
    {"tensor": name}, by convention "<node>.<field>" or "<node>.<field>.<k>" in a tuple; {"float": "inf" or "-inf"}

The digest is that of the whole file with 64 zeros in its place, so that a file with any bit changed is refused.
It tells damage, not forgery: who changes a file on purpose can make its digest anew, and the checks of the
graph are written for such files.
"""

import hashlib
import json
import math
import os
import re
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from reprlib import repr as shown
from typing import Any

import numpy as np
from safetensors import SafetensorError, deserialize
from safetensors.numpy import save as serialize

import pyref
from pyref.check import nearest

__all__ = ["load", "read_card", "save"]

KEY, FORMAT = "relprop", 1
DTYPES: dict[str, np.dtype] = {"F32": np.dtype("<f4"), "F64": np.dtype("<f8")}
LOOP_LIMIT = 2**16
HEADER_LIMIT = 100_000_000  # bytes: what the safetensors format allows
ZEROS = b"0" * 64
DIGEST = re.compile(rb'\\"sha256\\":\\"([0-9a-f]{64})\\"')  # as it stands in the header: JSON in a JSON string
GRAPH = {"sha256": str, "format": int, "name": str, "inputs": dict, "outputs": list, "card": dict, "nodes": list}
NODE = {"name": str, "layer": str, "inputs": list, "fields": dict}


# ── writing ────────────────────────────────────────────────────────────────────────────────────────────


def save(network, path, card=None):
    """Write a network to a file: its graph, its weights in their own precision, and its card.

    Parameters
        card    what is known about the model, {title: JSON value}: data, accuracy, licence.
    Raises
        ValueError  a layer that is not in `pyref.LAYERS`; a parameter that is neither a plain value nor a
                    finite float32 or float64 array. The file is not touched then.
    """
    path = Path(path)
    tensors: dict[str, np.ndarray] = {}
    names: dict[int, str] = {}
    nodes = [
        {
            "name": node.name,
            "layer": _class_name(path, node),
            "inputs": [_write_ref(ref) for ref in node.inputs],
            "fields": {
                f.name: _encode(path, node, f.name, getattr(node.layer, f.name), tensors, names)
                for f in fields(node.layer)
                if f.init
            },
        }
        for node in network.nodes.values()
    ]
    graph = {
        "format": FORMAT,
        "name": network.name,
        "inputs": {n: s and [None if k is None else int(k) for k in s] for n, s in network.inputs.items()},
        "outputs": [_write_ref(ref) for ref in network.outputs],
        "card": card or {},
        "nodes": nodes,
    }
    _write(path, graph, tensors)


def _write(path, graph, tensors):
    """Write a graph and its tensors with their digest, by way of a second file: a reader never meets half of one."""
    try:
        text = json.dumps({"sha256": ZEROS.decode(), **graph}, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: the card is not plain JSON: {error}") from error
    data = serialize(tensors, metadata={KEY: text})
    start, end = DIGEST.search(data).span(1)  # type: ignore[union-attr]  # always there: it was just written
    part = path.with_name(path.name + ".part")
    part.write_bytes(data[:start] + _digest(data, start, end) + data[end:])
    os.replace(part, path)


def _class_name(path, node):
    name = type(node.layer).__name__
    if pyref.LAYERS.get(name) is not type(node.layer) or not is_dataclass(node.layer):
        raise ValueError(f"{path}: node {node.name!r} has the layer {name}, which is not in pyref.LAYERS")
    return name


def _write_ref(ref):
    return ref[0] if ref[1] == 0 else list(ref)


def _encode(path, node, name, value, tensors, names):
    """A field's value as JSON; arrays go to `tensors`, one that is shared only once (`names`, by identity)."""
    if isinstance(value, np.ndarray):
        if id(value) not in names:
            tensor = f"{node.name}.{name}"
            _check_array(f"{path}: node {node.name!r} ({type(node.layer).__name__}): {name}", value)
            tensors[tensor] = np.ascontiguousarray(value)
            names[id(value)] = tensor
        return {"tensor": names[id(value)]}
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, tuple | list):
        return [_encode(path, node, f"{name}.{k}", v, tensors, names) for k, v in enumerate(value)]
    if isinstance(value, float) and np.isinf(value):
        return {"float": "inf" if value > 0 else "-inf"}
    if value is None or (isinstance(value, bool | int | float | str) and value == value):
        return value
    raise ValueError(
        f"{path}: node {node.name!r} ({type(node.layer).__name__}): {name} is {value!r}, "
        "expected a number, string, boolean, tuple or array"
    )


def _check_array(what, array):
    """Refuse what a file cannot hold, or should not."""
    if array.dtype not in DTYPES.values():
        raise ValueError(f"{what} has dtype {array.dtype}, expected float32 or float64")
    bad = ~np.isfinite(array)
    if bad.any():
        first = tuple(int(i) for i in np.argwhere(bad)[0])
        raise ValueError(f"{what} holds {int(bad.sum())} non-finite values, the first at index {first}")


# ── reading ────────────────────────────────────────────────────────────────────────────────────────────


def load(path, dtype=None):
    """Read a network from a file that `save` wrote.

    Parameters
        dtype   of the weights; None keeps what the file holds.
    Raises
        ValueError  a file that is truncated, altered or of another kind; an unknown layer, with the nearest
                    name; a tensor that is missing, left over, of another dtype or not finite; shapes that do
                    not fit. The message names the file and, where there is one, the node.
        OSError     a file that cannot be read.
    """
    path = Path(path)
    graph, tensors = _read(path)
    try:
        return _network(path, graph, tensors, dtype)
    except RecursionError as error:
        raise ValueError(f"{path}: the graph holds lists nested too deeply") from error


def read_card(path):
    """What a file says about its model: {title: JSON value}. Raises as `load` does."""
    return _read(Path(path))[0]["card"]


def _network(path, graph, tensors, dtype):
    if dtype is not None:
        tensors = {name: array.astype(dtype, copy=False) for name, array in tensors.items()}
    unused = set(tensors)
    nodes = [_node(path, entry, tensors, unused) for entry in graph["nodes"]]
    if unused:
        raise ValueError(f"{path}: no node asks for the tensor {min(unused)!r}")
    try:
        outputs = [_ref(r) for r in graph["outputs"]]
        network = pyref.Network(nodes, _shapes(graph["inputs"]), outputs, graph["name"])
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error
    _check_fit(path, network)
    return network


def _read(path):
    """The graph as JSON and the tensors of a file, once its digest is right."""
    with path.open("rb") as file:
        start = file.read(9)
        size, header = os.fstat(file.fileno()).st_size, int.from_bytes(start[:8], "little")
        if start[8:] != b"{" or header > HEADER_LIMIT:  # before reading all of what may be a film
            raise ValueError(f"{path} is not a safetensors file, expected one that relprop.save wrote")
        if size < 8 + header:
            raise ValueError(f"{path} is truncated: its header has {header} bytes, the file {size}")
        data = start + file.read()
    try:
        entries = deserialize(data)
        text = (json.loads(data[8 : 8 + header]).get("__metadata__") or {}).get(KEY)
    except (SafetensorError, ValueError) as error:
        raise ValueError(f"{path} is truncated or damaged: {error}") from error
    found = DIGEST.search(data, 8, 8 + header)
    if text is None or found is None:
        raise ValueError(f"{path} is a safetensors file without a graph, expected one that relprop.save wrote")
    if _digest(data, *found.span(1)) != found[1]:
        raise ValueError(f"{path} was altered or damaged after it was written: its digest (sha256) does not fit")
    return _graph(path, text), {name: _tensor(path, name, entry) for name, entry in entries}


def _digest(data, start, end):
    """sha256 of a file in which the digest stands at start:end, as hexadecimal digits."""
    return hashlib.sha256(data[:start] + ZEROS + data[end:]).hexdigest().encode()


def _graph(path, text):
    """The graph, with every key of the type that the reader relies on."""
    try:
        graph = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: the graph is not JSON: {error}") from error
    version = graph.get("format") if isinstance(graph, dict) else None
    if version != FORMAT:
        raise ValueError(
            f"{path}: the graph has format {shown(version)}, this version of relprop reads format {FORMAT}"
        )
    _check_entry(path, "the graph", graph, GRAPH)
    for k, node in enumerate(graph["nodes"]):
        _check_entry(path, f"node {k}", node, NODE)
    return graph


def _no_constant(name):
    raise ValueError(f"{name} is not a JSON value")


def _check_entry(path, what, entry, expected):
    """Refuse an entry that has not exactly the expected keys and types."""
    if not isinstance(entry, dict):
        raise ValueError(f"{path}: {what} is {shown(entry)}, expected an object with {', '.join(expected)}")
    for key in [*expected, *entry]:
        if key not in entry:
            raise ValueError(f"{path}: {what} has no {key!r}")
        if key not in expected:
            raise ValueError(f"{path}: {what} has a key {key!r}; {nearest(key, expected)}")
        if not isinstance(entry[key], expected[key]):
            raise ValueError(f"{path}: {key!r} of {what} is {shown(entry[key])}, expected a {expected[key].__name__}")


def _tensor(path, name, entry: Any):
    """A tensor as a read-only array."""
    if entry["dtype"] not in DTYPES:
        raise ValueError(f"{path}: tensor {name!r} has dtype {entry['dtype']}, expected {' or '.join(DTYPES)}")
    array = np.frombuffer(entry["data"], DTYPES[entry["dtype"]]).reshape(entry["shape"])
    _check_array(f"{path}: tensor {name!r}", array)
    return array


def _ref(value):
    """A reference to a value of the graph: name, or [name, k]."""
    match value:
        case str():
            return value, 0
        case [str() as name, int() as k] if not isinstance(k, bool):
            return name, k
    raise ValueError(f"a reference is {shown(value)}, expected a name, or a name and the number of an output")


def _shapes(inputs):
    """The declared shapes of the inputs: {name: tuple, or None where any is right}."""
    for name, shape in inputs.items():
        lengths = [] if shape is None else shape
        if not isinstance(lengths, list) or any(n is not None and (type(n) is not int or n < 0) for n in lengths):
            raise ValueError(f"input {name!r} has the shape {shown(shape)}, expected a list of lengths")
    return {name: None if shape is None else tuple(shape) for name, shape in inputs.items()}


def _node(path, entry, tensors, unused):
    """One node, its layer checked as far as that goes without its inputs."""
    name, class_name = entry["name"], entry["layer"]
    if class_name not in pyref.LAYERS:
        hint = nearest(class_name, pyref.LAYERS)
        raise ValueError(f"{path}: node {name!r} has the unknown layer {class_name!r}; {hint}")
    where = f"{path}: node {name!r} ({class_name})"
    layer: Any = pyref.LAYERS[class_name]
    known = {f.name: f for f in fields(layer) if f.init}
    for field in entry["fields"]:
        if field not in known:
            raise ValueError(f"{where}: it has no field {field!r}; {nearest(field, known)}")
    for field in known.values():
        if field.name not in entry["fields"] and field.default is MISSING and field.default_factory is MISSING:
            raise ValueError(f"{where}: the field {field.name!r} is missing")
    values = {f: _decode(f"{where}: {f}", v, tensors, unused) for f, v in entry["fields"].items()}
    try:
        return pyref.Node(name, layer(**values), tuple(_ref(r) for r in entry["inputs"]))
    except Exception as error:  # a layer trusts the types of its fields, a file may hold any
        raise ValueError(f"{where}: {error}") from error


def _decode(what, value, tensors, unused):
    """A field's value from JSON."""
    match value:
        case None | bool() | int() | float() | str():
            return value
        case list():
            return tuple(_decode(f"{what}.{k}", v, tensors, unused) for k, v in enumerate(value))
        case {"tensor": str() as name} if len(value) == 1:
            if name not in tensors:
                raise ValueError(f"{what}: the tensor {name!r} is missing")
            unused.discard(name)
            return tensors[name]
        case {"float": "inf" | "-inf" as text} if len(value) == 1:
            return float(text)
    raise ValueError(f"{what} is {shown(value)}, expected a number, string, boolean, null, list or tensor")


def _check_fit(path, network):
    """Send a batch of no samples through the network: what does not fit together fails now, and costs nothing.

    Only where all shapes are declared, and up to a node that would loop for long; there the first forward pass tells.
    """
    values = {}
    for name, shape in network.inputs.items():
        if shape is None or None in shape:
            return
        ids = any(
            node.layer.kind == "embedding" or (node.layer.kind == "recurrent" and node.inputs[0] != (name, 0))
            for node in network.consumers(name)
        )
        values[name, 0] = np.zeros((0, *shape), np.int64 if ids else np.float64)
    for node in network.nodes.values():
        if _loops(node.layer, [values[i] for i in node.inputs]) > LOOP_LIMIT:
            return
        try:
            y = node.layer.forward(pyref, *(values[i] for i in node.inputs))
        except Exception as error:  # as above: wrong types surface as any error
            raise ValueError(f"{path}: node {node.name!r} ({type(node.layer).__name__}): {error}") from error
        values.update({(node.name, k): part for k, part in enumerate(y if node.layer.outputs > 1 else (y,))})


def _loops(layer, read):
    """How often a forward pass of no samples loops, at the most: over steps, windows, or the taps of a kernel."""
    if layer.kind not in ("recurrent", "conv", "pool", "upsample"):
        return 0
    sizes = [getattr(layer, name, 1) for name in ("kernel", "output_size", "size", "scale", "padding", "dilation")]
    most = [math.prod(max(1, abs(n)) for n in _numbers(size)) for size in sizes]
    return max(*most, *(n for array in read for n in array.shape[1:]), 0)


def _numbers(value):
    """All numbers in a field that may be one, or nested tuples of them."""
    if isinstance(value, tuple):
        return [n for part in value for n in _numbers(part)]
    return [value] if isinstance(value, int | float) and math.isfinite(value) else []
