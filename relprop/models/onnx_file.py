"""ONNX files as data that nobody vouches for: the protocol buffer, its tensors, and the limits that hold for both.

A tensor is read only when something asks for it, and only after its declared size was found in the file: a file of
a kilobyte that claims a gigabyte is refused before anything is allocated.
"""

import math
import os
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["MAX_NODES", "attributes", "read_model", "read_tensor"]

MAX_NODES = 100_000
MAX_BYTES = 2**31 - 1  # what a protocol buffer may hold
MAX_RANK = 32

# The number of a TensorProto's data type: (dtype, the field that holds the values where raw_data does not).
DTYPES: dict[int, tuple[Any, str]] = {
    1: ("<f4", "float_data"),
    2: ("u1", "int32_data"),
    3: ("i1", "int32_data"),
    4: ("<u2", "int32_data"),
    5: ("<i2", "int32_data"),
    6: ("<i4", "int32_data"),
    7: ("<i8", "int64_data"),
    9: ("?", "int32_data"),
    11: ("<f8", "double_data"),
    12: ("<u4", "uint64_data"),
    13: ("<u8", "uint64_data"),
}
NAMES = {8: "string", 10: "float16", 14: "complex64", 15: "complex128", 16: "bfloat16"}


def onnx_package():
    """The package onnx.

    Raises
        ImportError  it is not installed.
    """
    try:
        import onnx
    except ModuleNotFoundError as error:
        raise ImportError("ONNX files are read by the package onnx: pip install 'relprop[onnx]'") from error
    return onnx


def read_model(path):
    """The file as a ModelProto.

    Raises
        ImportError  the package onnx is not installed.
        ValueError   it is no ONNX file, or truncated or damaged; it has no graph, or too many nodes.
        OSError      it cannot be read.
    """
    onnx = onnx_package()
    size = os.stat(path).st_size
    if size > MAX_BYTES:
        raise ValueError(f"{path} has {size} bytes, more than an ONNX file can: keep weights as external data")
    model = onnx.ModelProto()
    try:
        model.ParseFromString(Path(path).read_bytes())
    except Exception as error:  # DecodeError, whose place differs from release to release
        raise ValueError(f"{path} is truncated, damaged or no ONNX file: {error}") from error
    if not model.HasField("graph") or not model.graph.output:
        raise ValueError(f"{path} holds no ONNX graph")
    if len(model.graph.node) > MAX_NODES:
        raise ValueError(f"{path} has {len(model.graph.node)} nodes, more than {MAX_NODES}")
    return model


def dtype_of(number, what):
    """The NumPy type of a TensorProto's number, where pyref can calculate with it.

    Raises
        ValueError  it has no such type: half precision, strings, complex numbers, what is not known.
    """
    if number in DTYPES:
        return np.dtype(DTYPES[number][0])
    if number in (10, 16):
        raise ValueError(
            f"{what} has dtype {NAMES[number]}, expected float32 or float64: export the model in float32 "
            "(in PyTorch: model.float())"
        )
    raise ValueError(f"{what} has dtype {NAMES.get(number, f'no. {number}')}, expected float32 or float64")


def read_tensor(tensor, what, folder):
    """A TensorProto as a read-only array; without a copy where it is raw data.

    Parameters
        what    names it in errors
        folder  of the model: external data may lie there, and nowhere else. None: there can be none.
    Raises
        ValueError  a dtype that is not read; the declared size is not that of the data; external data that is
                    missing, too short, or outside of the folder.
    """
    dtype = dtype_of(tensor.data_type, what)
    if tensor.HasField("segment"):
        raise ValueError(f"{what} is stored in segments, which are not read")
    shape = tuple(tensor.dims)
    if len(shape) > MAX_RANK or any(n < 0 for n in shape):
        raise ValueError(f"{what} has shape {shape[:MAX_RANK]}, expected up to {MAX_RANK} lengths >= 0")
    size = math.prod(shape)
    if tensor.data_location == 1:
        return _shaped(_external(tensor, what, folder, dtype, size), what, shape)
    if tensor.HasField("raw_data"):
        raw = tensor.raw_data
        if len(raw) != size * dtype.itemsize:
            raise ValueError(f"{what} claims {size} values of {dtype.itemsize} bytes, and holds {len(raw)} bytes")
        return _shaped(np.frombuffer(raw, dtype), what, shape)
    field = getattr(tensor, DTYPES[tensor.data_type][1])
    if len(field) != size:
        raise ValueError(f"{what} claims {size} values, and holds {len(field)}")
    array = _shaped(np.array(field, dtype=dtype), what, shape)
    array.flags.writeable = False
    return array


def _shaped(values, what, shape):
    try:
        return values.reshape(shape)
    except ValueError as error:  # of no values, lengths that NumPy cannot hold beside a 0
        raise ValueError(f"{what} has shape {shape}: {error}") from None


def _external(tensor, what, folder, dtype, size):
    """The values in another file of the model's folder: mapped, and not read unless they lie across words."""
    where = {entry.key: entry.value for entry in tensor.external_data}
    location = where.get("location", "")
    if folder is None or not location:
        raise ValueError(f"{what} is external data without a place")
    home = Path(folder).resolve()
    try:
        target = (home / location).resolve()
        inside = home in target.parents and not Path(location).is_absolute()
        there = inside and target.is_file()
    except (OSError, RuntimeError, ValueError) as error:  # too long a name, links in a circle, a zero byte
        raise ValueError(f"{what} is external data in {location[:80]!r}, which is no place: {error}") from None
    if not inside:
        raise ValueError(f"{what} is external data at {location!r}, outside of the model's folder")
    if not there:
        raise ValueError(f"{what} is external data in {location!r}, which is not there")
    try:
        offset = int(where.get("offset") or 0)
        length = int(where.get("length") or size * dtype.itemsize)
    except ValueError:
        raise ValueError(f"{what} is external data whose offset or length is no number") from None
    if offset < 0 or length != size * dtype.itemsize or offset + length > target.stat().st_size:
        raise ValueError(
            f"{what} claims {size} values of {dtype.itemsize} bytes, which {location!r} does not hold "
            f"from byte {offset}"
        )
    if size == 0:
        return np.zeros(0, dtype)
    values = np.asarray(np.memmap(target, np.uint8, "r", offset, (length,))).view(dtype)
    return values if values.flags.aligned else values.copy()


def attributes(node, what):
    """{name: value} of a node's attributes; tensors as TensorProto, texts as str.

    Raises
        ValueError  a kind of attribute that no operator here has: a graph, a sparse tensor, a reference.
    """
    found: dict[str, Any] = {}
    for a in node.attribute:
        kind = a.type or _kind(a)
        match kind:
            case 1:
                found[a.name] = a.f
            case 2:
                found[a.name] = a.i
            case 3:
                found[a.name] = a.s.decode("utf-8", "replace")
            case 4:
                found[a.name] = a.t
            case 6:
                found[a.name] = list(a.floats)
            case 7:
                found[a.name] = list(a.ints)
            case 8:
                found[a.name] = [s.decode("utf-8", "replace") for s in a.strings]
            case _:
                raise ValueError(f"{what}: the attribute {a.name!r} is of a kind that is not read")
    return found


def _kind(a):
    """The kind of an attribute of the oldest files, which do not say it."""
    for number, field in ((4, "t"), (3, "s"), (1, "f"), (2, "i")):
        if a.HasField(field):
            return number
    return 6 if a.floats else 7 if a.ints else 8 if a.strings else 0
