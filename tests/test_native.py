"""The model file: what is written comes back, and nothing else comes in."""

import json
import pickle
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load as read_tensors
from safetensors.numpy import save as write_tensors

import pyref
from pyref import Network
from relprop.models import native

RNG = np.random.default_rng(0)


def array(*shape):
    return RNG.standard_normal(shape)


# one instance of every layer with the shapes of one sample of its inputs; parameters away from their defaults
LAYERS = {
    "Dense": (pyref.Dense(array(4, 3), array(3)), (4,)),
    "Conv": (pyref.Conv(array(4, 1, 3, 2), None, (2, 1), ((0, 1), (1, 1)), (1, 2), 2), (2, 6, 7)),
    "ConvTranspose": (pyref.ConvTranspose(array(2, 3, 2, 2), array(3), stride=2, output_padding=1), (2, 4, 4)),
    "MaxPool": (pyref.MaxPool((2, 3), stride=(1, 2), ceil_mode=True, ties="split"), (1, 4, 6)),
    "GlobalMaxPool": (pyref.GlobalMaxPool("split"), (2, 3, 4)),
    "AvgPool": (pyref.AvgPool(2, padding=1, count_include_pad=False), (2, 3, 4)),
    "AdaptiveAvgPool": (pyref.AdaptiveAvgPool((2, 1)), (2, 3, 4)),
    "GlobalAvgPool": (pyref.GlobalAvgPool(), (2, 3, 4)),
    "ReLU": (pyref.ReLU(), (3,)),
    "LeakyReLU": (pyref.LeakyReLU(0.3), (3,)),
    "PReLU": (pyref.PReLU(array(3)), (3,)),
    "Clip": (pyref.Clip(-np.inf, 2.5), (3,)),
    "ReLU6": (pyref.ReLU6(), (3,)),
    "HardSigmoid": (pyref.HardSigmoid(0.2), (3,)),
    "Identity": (pyref.Identity(), (3,)),
    "ELU": (pyref.ELU(0.5), (3,)),
    "SELU": (pyref.SELU(), (3,)),
    "SiLU": (pyref.SiLU(), (3,)),
    "GELU": (pyref.GELU("tanh"), (3,)),
    "Tanh": (pyref.Tanh(), (3,)),
    "Sigmoid": (pyref.Sigmoid(), (3,)),
    "Softplus": (pyref.Softplus(2.0), (3,)),
    "Softmax": (pyref.Softmax(-1), (3,)),
    "LogSoftmax": (pyref.LogSoftmax(-1), (3,)),
    "Aggregate": (pyref.Aggregate(array(3, 3)), (3, 2)),
    "BatchNorm": (pyref.BatchNorm(array(3), array(3)), (3, 2, 2)),
    "LayerNorm": (pyref.LayerNorm(array(4), array(4), eps=1e-3), (2, 4)),
    "GroupNorm": (pyref.GroupNorm(2, array(4), array(4)), (4, 3)),
    "InstanceNorm": (pyref.InstanceNorm(array(4), None), (4, 3)),
    "LocalResponseNorm": (pyref.LocalResponseNorm(3, beta=0.5), (4, 3)),
    "Dropout": (pyref.Dropout(0.25), (3,)),
    "Embedding": (pyref.Embedding(array(9, 4)), (5,)),
    "LSTM": (pyref.LSTM((array(3, 8), array(3, 8)), (array(2, 8), array(2, 8)), bidirectional=True), (4, 3)),
    "GRU": (pyref.GRU(array(3, 6), array(2, 6), array(6), output="last", masked=True), (4, 3), ()),
    "Add": (pyref.Add(), (3,), (3,)),
    "Subtract": (pyref.Subtract(), (3,), (3,)),
    "Multiply": (pyref.Multiply(1), (3,), (3,)),
    "Divide": (pyref.Divide(), (3,), (3,)),
    "Shift": (pyref.Shift(array(3)), (3,)),
    "Scale": (pyref.Scale(2.5), (3,)),
    "Concat": (pyref.Concat(-1), (3,), (4,)),
    "Split": (pyref.Split((1, 2), 1), (3,)),
    "Sum": (pyref.Sum((1,)), (3, 2)),
    "Mean": (pyref.Mean((1, 2), True), (3, 2)),
    "Flatten": (pyref.Flatten(), (3, 2)),
    "Reshape": (pyref.Reshape((2, -1)), (6,)),
    "Transpose": (pyref.Transpose((2, 1)), (3, 2)),
    "Pad": (pyref.Pad(((1, 2),), 0.5), (3,)),
    "Slice": (pyref.Slice((1,), (0,), (None,), (2,)), (5,)),
    "Upsample": (pyref.Upsample(scale=2, mode="bilinear"), (1, 3, 2)),
}


def small():
    """A network with a shared layer, a layer of two outputs, a residual sum and an inner output."""
    shared = pyref.Dense(array(4, 4).astype(np.float32), array(4).astype(np.float32))
    nodes = [
        ("a", shared, "x"),
        ("b", shared, "a"),
        ("both", pyref.Add(), ("a", "b")),
        ("halves", pyref.Split((2, 2), 1), "both"),
        ("out", pyref.Subtract(), (("halves", 1), ("halves", 0))),
    ]
    return Network(nodes, {"x": (4,)}, ["out", "b", ("halves", 1)], "small")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    path = tmp_path_factory.mktemp("native") / "small.safetensors"
    native.save(small(), path, {"note": "a card", "accuracy": 0.5})
    return path


def unpack(path):
    """The graph and the tensors of a file, read without the reader under test."""
    data = path.read_bytes()
    header = json.loads(data[8 : 8 + struct.unpack("<Q", data[:8])[0]])
    graph = json.loads(header["__metadata__"]["relprop"])
    del graph["sha256"]
    return graph, read_tensors(data)


def test_every_layer_has_an_example():
    assert set(LAYERS) == set(pyref.LAYERS)


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_comes_back(name, tmp_path):
    layer, *shapes = LAYERS[name]
    inputs = {f"x{k}": shape for k, shape in enumerate(shapes)}
    outputs = [("node", k) for k in range(layer.outputs)]
    network = Network([("node", layer, tuple(inputs))], inputs, outputs)
    native.save(network, tmp_path / "first")
    again = native.load(tmp_path / "first")
    native.save(again, tmp_path / "second")
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()
    ids = layer.kind == "embedding"
    x = {n: RNG.integers(0, 4, (2, *s)) if ids or s == () else array(2, *s) for n, s in inputs.items()}
    before, after = network.forward(x), again.forward(x)
    for ref in outputs:
        np.testing.assert_array_equal(before[ref], after[ref])


def test_a_graph_comes_back(written):
    network, again = small(), native.load(written)
    assert (again.name, again.inputs, again.outputs) == (network.name, network.inputs, network.outputs)
    assert [(n.name, n.inputs) for n in again.nodes.values()] == [(n.name, n.inputs) for n in network.nodes.values()]
    assert again.nodes["a"].layer.w is again.nodes["b"].layer.w, "shared weights are stored once and stay shared"
    assert again.nodes["a"].layer.w.dtype == np.float32
    assert native.load(written, dtype=np.float64).nodes["a"].layer.w.dtype == np.float64
    assert native.read_card(written) == {"note": "a card", "accuracy": 0.5}


def test_the_file_is_plain_safetensors(written):
    assert sorted(read_tensors(written.read_bytes())) == ["a.b", "a.w"]


# ── what is refused ────────────────────────────────────────────────────────────────────────────────────


def node(graph, name):
    return next(n for n in graph["nodes"] if n["name"] == name)


def fields(name, **values):
    return lambda graph, tensors: node(graph, name)["fields"].update(values)


def tensor(name, value):
    return lambda graph, tensors: tensors.update({name: value})


def put(key, value):
    return lambda graph, tensors: graph.update({key: value})


DEEP = json.loads("[" * 900 + "]" * 900)

# what is changed in a sound file (with its digest made anew) and words of the error, which also names the file
FORGERIES = {
    "no nodes": (lambda g, t: g.pop("nodes"), "the graph has no 'nodes'"),
    "format of the future": (put("format", 2), "format 2, this version of relprop reads format 1"),
    "format is true": (put("format", "1"), "format '1'"),
    "a key too many": (put("inptus", 1), "key 'inptus'; did you mean 'inputs'?"),
    "nodes no list": (put("nodes", {}), "'nodes' of the graph is {}, expected a list"),
    "node no object": (lambda g, t: g["nodes"].append("conv"), "node 5 is 'conv'"),
    "node without name": (lambda g, t: g["nodes"][1].pop("name"), "node 1 has no 'name'"),
    "unknown layer": (
        lambda g, t: node(g, "a").update(layer="Dence"),
        "'a' has the unknown layer 'Dence'; did you mean",
    ),
    "a layer's base": (lambda g, t: node(g, "a").update(layer="Layer"), "unknown layer 'Layer'"),
    "unknown field": (fields("halves", size=3), "node 'halves' (Split): it has no field 'size'; did you mean 'sizes'?"),
    "missing field": (lambda g, t: node(g, "halves")["fields"].pop("sizes"), "(Split): the field 'sizes' is missing"),
    "field of a wrong type": (fields("a", w="heavy"), "node 'a' (Dense)"),
    "number for weights": (fields("a", w=3), "node 'a' (Dense)"),
    "strange object": (fields("a", b={"tensor": "a.b", "more": 1}), "node 'a' (Dense): b is"),
    "deep list": (fields("a", w=DEEP), "the graph holds lists nested too deeply"),
    "deep inputs": (lambda g, t: node(g, "a").update(inputs=DEEP), "node 'a' (Dense): a reference is"),
    "tensor missing": (lambda g, t: t.pop("a.w"), "node 'a' (Dense): w: the tensor 'a.w' is missing"),
    "tensor left over": (tensor("c.w", array(2)), "no node asks for the tensor 'c.w'"),
    "tensor of half floats": (tensor("a.w", np.ones((4, 4), np.float16)), "'a.w' has dtype F16, expected F32 or F64"),
    "tensor of integers": (tensor("a.w", np.ones((4, 4), np.int64)), "'a.w' has dtype I64"),
    "tensor of three axes": (tensor("a.w", array(4, 2, 2)), "node 'a' (Dense): w has shape (4, 2, 2)"),
    "shapes that do not fit": (tensor("a.w", array(5, 4)), "node 'a' (Dense): w has shape (5, 4), expected (4, any)"),
    "parts of another whole": (fields("halves", sizes=[1, 2]), "node 'halves' (Split)"),
    "nan weight": (
        tensor("a.b", np.array([0, 1, np.nan, 1])),
        "'a.b' holds 1 non-finite values, the first at index (2,)",
    ),
    "infinite weight": (tensor("a.b", np.array([0, 1, 1, np.inf])), "the first at index (3,)"),
    "input of nowhere": (lambda g, t: node(g, "b").update(inputs=["aa"]), "node 'b' reads 'aa', which does not exist"),
    "a cycle": (lambda g, t: node(g, "a").update(inputs=["b"]), "cycle"),
    "reference of three": (lambda g, t: node(g, "a").update(inputs=[["x", 0, 0]]), "node 'a' (Dense): a reference is"),
    "output of nowhere": (put("outputs", ["outt"]), "'outt'"),
    "output no name": (put("outputs", [1.5]), "a reference is 1.5"),
    "output too many": (put("outputs", [["out", 3]]), "not an output 3"),
    "negative shape": (put("inputs", {"x": [-4]}), "input 'x' has the shape [-4]"),
    "name twice": (lambda g, t: g["nodes"].append(dict(g["nodes"][0])), "two nodes or inputs called 'a'"),
}


@pytest.mark.parametrize("case", FORGERIES)
def test_a_forged_file_is_refused(case, written, tmp_path):
    change, words = FORGERIES[case]
    graph, tensors = unpack(written)
    change(graph, tensors)
    path = tmp_path / "forged.safetensors"
    native._write(path, graph, tensors)
    with pytest.raises(ValueError) as caught:
        native.load(path)
    assert words in str(caught.value) and str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def header(length, rest=b"{}"):
    return struct.pack("<Q", length) + rest


OTHER_FILES = {
    "empty": (b"", "is not a safetensors file"),
    "short": (b"abc", "is not a safetensors file"),
    "text": (b"# a model\n" * 9, "is not a safetensors file"),
    "pickle": (pickle.dumps({"w": 1}), "is not a safetensors file"),
    "zip": (b"PK\x03\x04" + bytes(99), "is not a safetensors file"),
    "header of 2^63 bytes": (header(2**63), "is not a safetensors file"),
    "header beyond the file": (header(5000), "is truncated: its header has 5000 bytes"),
    "header not JSON": (header(8, b"{abcdefg"), "is truncated or damaged"),
    "no graph": (write_tensors({"w": np.ones(3)}), "without a graph"),
    "graph of another": (write_tensors({"w": np.ones(3)}, {"relprop": "{}"}), "without a graph"),
    "graph a digest only": (write_tensors({}, {"relprop": json.dumps({"sha256": "0" * 64})}), "without a graph"),
}


@pytest.mark.parametrize("case", OTHER_FILES)
def test_another_file_is_refused(case, tmp_path):
    data, words = OTHER_FILES[case]
    path = tmp_path / "other.safetensors"
    path.write_bytes(data)
    with pytest.raises(ValueError) as caught:
        native.load(path)
    assert words in str(caught.value) and str(path) in str(caught.value)


def test_a_missing_file_is_no_value_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        native.load(tmp_path / "nothing.safetensors")


def test_truncation_at_every_byte_is_refused(written, tmp_path):
    data, path = written.read_bytes(), tmp_path / "cut.safetensors"
    for length in range(len(data)):
        path.write_bytes(data[:length])
        with pytest.raises(ValueError, match=r"cut\.safetensors"):
            native.load(path)


def test_a_changed_byte_is_refused(written, tmp_path):
    data, path = written.read_bytes(), tmp_path / "flipped.safetensors"

    @given(st.integers(0, len(data) - 1), st.integers(1, 255))
    def flip(position, bits):
        damaged = bytearray(data)
        damaged[position] ^= bits
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"flipped\.safetensors"):
            native.load(path)

    flip()
    for position in range(len(data)):  # and one bit of each byte
        damaged = bytearray(data)
        damaged[position] ^= 1 << position % 8
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"flipped\.safetensors"):
            native.load(path)


# ── what is not written ────────────────────────────────────────────────────────────────────────────────


class Own(pyref.Identity):
    """A layer of somebody's own."""


UNWRITABLE = {
    "own layer": (Own(), {}, "node 'n' has the layer Own, which is not in pyref.LAYERS"),
    "objects": (pyref.PReLU(np.array([1, 2, 3], object)), {}, "node 'n' (PReLU): slope has dtype object"),
    "integers": (pyref.PReLU(np.array([1, 2, 3])), {}, "(PReLU): slope has dtype int64, expected float32 or float64"),
    "nan in weights": (pyref.PReLU(np.array([1, np.nan, 3])), {}, "slope holds 1 non-finite values"),
    "nan": (pyref.LeakyReLU(np.nan), {}, "node 'n' (LeakyReLU): slope is nan"),
    "card": (pyref.ReLU(), {"who": object()}, "the card is not plain JSON"),
}


@pytest.mark.parametrize("case", UNWRITABLE)
def test_what_cannot_be_written_leaves_no_file(case, tmp_path):
    layer, card, words = UNWRITABLE[case]
    with pytest.raises(ValueError) as caught:
        native.save(Network([("n", layer, "x")], {"x": (3,)}), tmp_path / "bad", card)
    assert words in str(caught.value)
    assert not list(tmp_path.iterdir())
