"""ONNX files that are broken, or made to break: one ValueError, and little memory."""

import os
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pyref
import relprop
import relprop.models.onnx_operators

onnx = pytest.importorskip("onnx", reason="the extra `onnx` is not installed")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from relprop.models import onnx_file  # noqa: E402

MEMORY = 2**24  # bytes at the most, for files of a few kilobytes whose constants fold to little
RNG = np.random.default_rng(8)


def weights(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def small():
    """A network with a bit of everything that files can be wrong about."""
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "w", "b"], ["c"], "conv", pads=[1, 1, 1, 1], kernel_shape=[3, 3]),
        node("BatchNormalization", ["c", "s", "b", "b", "s"], ["n"], "norm"),
        node("Relu", ["n"], ["r"], "relu"),
        node("MaxPool", ["r"], ["p"], "pool", kernel_shape=[2, 2], strides=[2, 2]),
        node("Shape", ["p"], ["shape"], "shape"),
        node("Gather", ["shape", "zero"], ["batch"], "batch"),
        node("Concat", ["batch", "rest"], ["target"], "target", axis=0),
        node("Reshape", ["p", "target"], ["f"], "flat"),
        node("Gemm", ["f", "v"], ["g"], "dense", transB=1),
        node("Slice", ["g", "zero", "two", "one"], ["y"], "slice"),
    ]
    constants = {
        "w": weights(2, 1, 3, 3), "b": weights(2), "s": np.abs(weights(2)), "v": weights(3, 8),
        "zero": np.array([0]), "one": np.array([1]), "two": np.array([2]), "rest": np.array([-1]),
    }  # fmt: skip
    tensors = [numpy_helper.from_array(v, k) for k, v in constants.items()]
    tensors[3] = helper.make_tensor("v", 1, (3, 8), constants["v"].ravel())  # typed, not raw
    x = helper.make_tensor_value_info("x", 1, ["n", 1, 4, 4])
    y = helper.make_tensor_value_info("y", 1, ["n", 2])
    graph = helper.make_graph(nodes, "small", [x], [y], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


MODEL = small()
DATA = MODEL.SerializeToString()


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("hostile") / "model.onnx"


def answer(place, data):
    """The network, or None where the file is refused in the one way that is right, and cheaply."""
    place.write_bytes(data)
    tracemalloc.start()
    try:
        network = relprop.load(place)
    except ValueError as error:
        assert str(place) in str(error)
        network = None
    finally:
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert used < MEMORY
    return network


def test_the_file_itself_is_read(place):
    assert isinstance(answer(place, DATA), pyref.Network)


def test_every_truncation_is_refused_or_still_a_model(place):
    """A protocol buffer that ends early may end at a seam: then the graph, which comes before the opset, lacks it."""
    for length in range(0, len(DATA) - 1, 7):
        assert answer(place, DATA[:length]) is None


@pytest.mark.parametrize("axis", [2, 3])
def test_a_wide_input_costs_less_than_one_sample(place, axis):
    """Shapes are found with a batch of no samples: a million places of an image need no million numbers."""
    model = onnx.ModelProto()
    model.CopyFrom(MODEL)
    model.graph.input[0].type.tensor_type.shape.dim[axis].dim_value = 2**20
    assert answer(place, model.SerializeToString()) is None


@given(st.data())
def test_flipped_bits_are_a_model_or_one_error(place, data):
    bits = data.draw(st.lists(st.integers(0, len(DATA) * 8 - 1), min_size=1, max_size=8))
    changed = bytearray(DATA)
    for bit in bits:
        changed[bit // 8] ^= 1 << bit % 8
    answer(place, bytes(changed))


LARGE = st.sampled_from([-(2**63), -1, 0, 1, 2, 7, 2**20, 2**31, 2**40, 2**63 - 1])


@given(st.data())
def test_a_changed_structure_is_a_model_or_one_error(place, data):
    """Attributes, dimensions, inputs and operators exchanged for others that a protocol buffer allows."""
    model = onnx.ModelProto()
    model.CopyFrom(MODEL)
    for _ in range(data.draw(st.integers(1, 4))):
        node = data.draw(st.sampled_from(list(model.graph.node)))
        tensor = data.draw(st.sampled_from(list(model.graph.initializer)))
        match data.draw(st.sampled_from(["attribute", "dims", "type", "input", "operator", "value", "shape"])):
            case "attribute":
                name = data.draw(
                    st.sampled_from(["axis", "group", "pads", "strides", "kernel_shape", "dilations", "alpha"])
                )
                for a in [a for a in node.attribute if a.name == name]:
                    node.attribute.remove(a)
                many = data.draw(st.booleans())
                value = data.draw(st.lists(LARGE, max_size=5)) if many else data.draw(LARGE)
                node.attribute.append(helper.make_attribute(name, value, attr_type=7 if many else 2))
            case "dims":
                del tensor.dims[:]
                tensor.dims.extend(data.draw(st.lists(LARGE, max_size=5)))
            case "type":
                tensor.data_type = data.draw(st.integers(0, 30))
            case "input":
                names = [n for other in model.graph.node for n in [*other.input, *other.output]]
                node.input[data.draw(st.integers(0, len(node.input) - 1))] = data.draw(st.sampled_from(names))
            case "operator":
                node.op_type = data.draw(st.sampled_from(KNOWN))
                if data.draw(st.booleans()):
                    del node.attribute[:]
            case "value":
                tensor.CopyFrom(numpy_helper.from_array(np.array(data.draw(st.lists(LARGE, max_size=4))), tensor.name))
            case "shape":
                length = data.draw(st.sampled_from(list(model.graph.input[0].type.tensor_type.shape.dim)))
                length.dim_value = data.draw(LARGE)
    answer(place, model.SerializeToString())


KNOWN = sorted({*relprop.models.onnx_operators.OPERATORS, *relprop.models.onnx_operators.FOLDED})


# ── what files may claim ───────────────────────────────────────────────────────────────────────────────


def claimed(dims, raw=b"\0" * 8, kind=1):
    tensor = TensorProto(data_type=kind, name="w", raw_data=raw)
    tensor.dims.extend(dims)
    return tensor


@pytest.mark.parametrize("dims", [[3], [2**62], [2**62, 2**62], [-1, -2], [1] * 40, [0], [2**62, 0]])
@pytest.mark.parametrize("raw", [True, False])
def test_a_tensor_that_claims_another_size_is_refused_before_allocation(dims, raw):
    tensor = claimed(dims)
    if not raw:
        tensor.ClearField("raw_data")
        tensor.float_data.extend([1.0, 2.0])
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"^w (claims|has shape .*, expected up to 32 lengths)"):
        onnx_file.read_tensor(tensor, "w", None)
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


@pytest.mark.parametrize("stored", ["raw", "typed", "external"])
def test_lengths_beside_a_0_are_refused_by_the_tensor_s_name(stored, tmp_path):
    """It claims no value at all, so that its size is right; NumPy holds no such shape."""
    tensor = claimed([2**62, 0], b"")
    if stored != "raw":
        tensor.ClearField("raw_data")
    if stored == "external":
        tensor = external(location="w.bin")
        tensor.dims[:] = [2**62, 0]
        (tmp_path / "w.bin").write_bytes(bytes(8))
    with pytest.raises(ValueError, match=r"^w has shape \(4611686018427387904, 0\): "):
        onnx_file.read_tensor(tensor, "w", tmp_path)


def external(**entries):
    tensor = TensorProto(data_type=1, name="w", data_location=1)
    tensor.dims.extend([2])
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=value)
    return tensor


def test_external_data_is_read_from_the_model_s_folder(tmp_path):
    values = np.array([1.0, 2.0, 3.0], np.float32)
    (tmp_path / "w.bin").write_bytes(values.tobytes())
    assert (onnx_file.read_tensor(external(location="w.bin", offset="4"), "w", tmp_path) == values[1:]).all()


def test_external_data_that_lies_across_words_is_copied_to_whole_ones(tmp_path):
    """Kernels read numbers at addresses that are multiples of their size."""
    values = np.array([1.5, -2.0], np.float32)
    (tmp_path / "w.bin").write_bytes(b"x" + values.tobytes())
    read = onnx_file.read_tensor(external(location="w.bin", offset="1"), "w", tmp_path)
    assert read.flags.aligned and (read == values).all()


def home(above):
    """A model's folder with what may lie there: zeros inside of it, ones outside."""
    folder = above / "model"
    folder.mkdir()
    (above / "secret").write_bytes(np.ones(2, np.float32).tobytes())
    (folder / "w.bin").write_bytes(bytes(8))
    (folder / "link").symlink_to(above / "secret")
    (folder / "circle").symlink_to(folder / "circle")
    (folder / "up").symlink_to(above)
    os.mkfifo(folder / "pipe")
    return folder


@pytest.mark.parametrize(
    "entries, words",
    [
        ({"location": "../secret"}, "outside of the model's folder"),
        ({"location": "sub/../../secret"}, "outside of the model's folder"),
        ({"location": "/etc/passwd"}, "outside of the model's folder"),
        ({"location": "link"}, "outside of the model's folder"),
        ({"location": "."}, "outside of the model's folder"),
        ({"location": "missing"}, "which is not there"),
        ({}, "without a place"),
        ({"location": "circle"}, "is no place: Symlink loop|which is not there"),
        ({"location": "circle/w.bin"}, "is no place: Symlink loop|which is not there"),
        ({"location": "x" * 300}, "is no place: .*File name too long|which is not there"),
        ({"location": "w.bin\0"}, "is no place: embedded null"),
        ({"location": "up/secret"}, "outside of the model's folder"),
        ({"location": "pipe"}, "which is not there"),
        ({"location": "w.bin", "offset": "8"}, "does not hold"),
        ({"location": "w.bin", "offset": "-4"}, "does not hold"),
        ({"location": "w.bin", "length": "4"}, "does not hold"),
        ({"location": "w.bin", "offset": "x"}, "is no number"),
    ],
)
def test_external_data_stays_in_the_folder_and_in_its_file(tmp_path, entries, words):
    folder = home(tmp_path)
    with pytest.raises(ValueError, match=f"^w .*{words}"):
        onnx_file.read_tensor(external(**entries), "w", folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return home(tmp_path_factory.mktemp("external"))


TEXT = st.text(st.characters(codec="utf-8"), max_size=300)
PARTS = st.sampled_from(
    ["..", ".", "", "/", "model", "w.bin", "secret", "link", "up", "circle", "pipe", "x" * 256, "\0"]
)
NUMBERS = TEXT | st.integers().map(str) | st.sampled_from(["0", "8", " 8", "4e0"])


@given(location=TEXT | st.lists(PARTS, min_size=1, max_size=9).map("/".join), offset=NUMBERS, length=NUMBERS)
def test_whatever_external_data_is_called_it_is_from_the_folder_or_one_error(folder, location, offset, length):
    tensor = external(location=location, offset=offset, length=length)
    try:
        assert not onnx_file.read_tensor(tensor, "w", folder).any()
    except ValueError as error:
        assert str(error).startswith("w ")


def chain(*nodes, constants=(), shape=("n", 3)):
    x = helper.make_tensor_value_info("x", 1, shape)
    y = helper.make_tensor_value_info("y", 1, None)
    tensors = [numpy_helper.from_array(np.asarray(v), k) for k, v in dict(constants).items()]
    graph = helper.make_graph(list(nodes), "chain", [x], [y], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def test_constants_that_grow_are_refused_before_allocation(place):
    node = helper.make_node
    huge = {"n": np.array([2**20, 2**20]), "one": np.float32([1.0]), "k": np.array([2**15, 2**15])}
    filled = node("ConstantOfShape", ["n"], ["f"])
    for op in (node("Add", ["f", "one"], ["g"]), node("Tile", ["one2", "k"], ["g"]), node("Neg", ["f"], ["g"])):
        data = chain(filled, op, node("Add", ["x", "g"], ["y"]), constants={**huge, "one2": np.float32([[1.0]])})
        assert answer(place, data) is None
    weights = chain(filled, node("MatMul", ["x", "f"], ["y"]), constants=huge, shape=("n", 2**20))
    assert answer(place, weights) is None
    steps = {"a": np.int64(0), "b": np.int64(2**60), "c": np.int64(1)}
    assert (
        answer(place, chain(node("Range", ["a", "b", "c"], ["r"]), node("Add", ["x", "r"], ["y"]), constants=steps))
        is None
    )


def test_kernels_and_images_without_end_are_refused(place):
    node = helper.make_node
    shape = ("n", 1, 2**20, 2**20)
    for op in (
        node("MaxPool", ["x"], ["y"], kernel_shape=[2**19, 2**19]),
        node("AveragePool", ["x"], ["y"], kernel_shape=[2**16, 2**16]),
        node("Resize", ["x", "", "s"], ["y"]),
    ):
        assert answer(place, chain(op, constants={"s": np.float32([1, 1, 1024, 1024])}, shape=shape)) is None


def test_the_number_of_nodes_is_bounded(place, monkeypatch):
    monkeypatch.setattr(onnx_file, "MAX_NODES", 5)
    with pytest.raises(ValueError, match="has 10 nodes, more than 5"):
        place.write_bytes(DATA)
        relprop.load(place)


def field(number, data):
    """A field of a protocol buffer: number, length, bytes."""
    length, size = [], len(data)
    while size > 127:
        length.append(size & 127 | 128)
        size >>= 7
    return bytes([number << 3 | 2, *length, size]) + data


@pytest.mark.parametrize("depth", [10, 1000, 20000])
def test_nested_messages_are_refused(place, depth):
    """A graph in an attribute of a node of a graph …: the parser has a limit, and nothing of ours recurs."""
    graph = b""
    for _ in range(depth):
        graph = field(1, field(5, field(6, graph)))
    assert answer(place, field(7, graph)) is None
