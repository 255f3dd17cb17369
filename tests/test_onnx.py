"""ONNX models: what they become, what is refused by name, and that broken files are an error and nothing else."""

import sys

import numpy as np
import pytest
from bound import rounding

import pyref
import relprop

onnx = pytest.importorskip("onnx", reason="the extra `onnx` is not installed")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from onnx.reference import ReferenceEvaluator  # noqa: E402

F32, F64, I64 = TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.INT64
node = helper.make_node


def weights(*shape, seed=0, dtype=np.float64):
    return np.random.default_rng(seed + sum(shape)).normal(size=shape).astype(dtype)


def model(nodes, inputs, outputs=("y",), constants=None, opset=21, kind=F64):
    """A ModelProto: inputs {name: shape}, with ids given as (shape, element type)."""
    entries = [
        helper.make_tensor_value_info(n, *((s[1], s[0]) if isinstance(s, tuple) else (kind, s)))
        for n, s in inputs.items()
    ]
    tensors = [numpy_helper.from_array(np.asarray(v), n) for n, v in (constants or {}).items()]
    results = [helper.make_tensor_value_info(n, kind, None) for n in outputs]
    graph = helper.make_graph(nodes, "graph", entries, results, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


@pytest.fixture
def load(tmp_path):
    def read(proto, **options):
        path = tmp_path / "model.onnx"
        path.write_bytes(proto if isinstance(proto, bytes) else proto.SerializeToString())
        return relprop.load(path, **options)

    return read


def layers(network):
    return [type(n.layer).__name__ for n in network.nodes.values()]


def assert_same(load, proto, feed, axes=None, outputs=None, **options):
    """Our outputs are those of ONNX's evaluator, up to the rounding of sums over all that the inputs hold."""
    network = load(proto, batch_axis=axes or 0, **options)
    theirs = ReferenceEvaluator(proto).run(None, feed)
    axes = axes or {}
    record = network.forward({n: np.moveaxis(v, axes.get(n, 0), 0) for n, v in feed.items()})
    for k, (ref, expected) in enumerate(zip(network.outputs, theirs, strict=True)):
        ours = np.moveaxis(record[ref], 0, (outputs or {}).get(k, 0))
        size = 1 + max(np.abs(v).max() for v in record.values()) ** 2
        assert ours.shape == expected.shape
        assert np.abs(ours - expected).max() <= rounding(1000, size)
    return network


# ── what a graph becomes ───────────────────────────────────────────────────────────────────────────────


def mlp(batch="n", kind=F64):
    w = weights(5, 4), weights(5), weights(5, 3), weights(3)
    w = [v.astype(np.float32) for v in w] if kind == F32 else w
    nodes = [
        node("Gemm", ["x", "w1", "b1"], ["z"], "first", transB=1),
        node("Relu", ["z"], ["a"], "relu"),
        node("MatMul", ["a", "w2"], ["p"], "second"),
        node("Add", ["p", "b2"], ["y"], "bias"),
    ]
    return model(nodes, {"x": [batch, 4]}, constants=dict(zip(("w1", "b1", "w2", "b2"), w, strict=True)), kind=kind)


@pytest.mark.parametrize("batch", ["n", None, 1, 7])
def test_the_batch_may_be_open_or_fixed_and_is_free_afterwards(load, batch):
    network = load(mlp(batch))
    assert layers(network) == ["Dense", "ReLU", "Dense"]
    assert list(network.nodes) == ["first", "relu", "second"]
    assert network.inputs == {"x": (4,)}
    assert network(weights(3, 4)).shape == (3, 3)


def test_weights_keep_their_precision(load):
    network = load(mlp(kind=F32))
    assert network(weights(2, 4, dtype=np.float32)).dtype == np.float32


def test_values_are_those_of_the_reference(load):
    assert_same(load, mlp(), {"x": weights(6, 4)})


def test_a_residual_block_with_shape_arithmetic(load):
    """What exporters write: Shape, Gather and Concat for a Flatten; the sum has two readers of one value."""
    nodes = [
        node("Conv", ["x", "w", "b"], ["c"], "conv", pads=[1, 1, 1, 1]),
        node("BatchNormalization", ["c", "s", "o", "m", "v"], ["n"], "norm", epsilon=2.0**-10),
        node("Relu", ["n"], ["r"], "relu"),
        node("Add", ["r", "x"], ["a"], "add"),
        node("Shape", ["a"], ["shape"]),
        node("Gather", ["shape", "zero"], ["batch"]),
        node("Unsqueeze", ["batch", "axis"], ["batch1"]),
        node("Concat", ["batch1", "rest"], ["target"], axis=0),
        node("Reshape", ["a", "target"], ["y"], "flat"),
    ]
    constants = {
        "w": weights(2, 2, 3, 3), "b": weights(2), "s": weights(2), "o": weights(2), "m": weights(2),
        "v": weights(2) ** 2, "zero": np.int64(0), "axis": np.array([0]), "rest": np.array([-1]),
    }  # fmt: skip
    proto = model(nodes, {"x": ["batch", 2, 5, 5]}, constants=constants)
    network = assert_same(load, proto, {"x": weights(3, 2, 5, 5)})
    assert layers(network) == ["Conv", "BatchNorm", "ReLU", "Add", "Flatten"]


def test_open_lengths_pass_where_no_layer_depends_on_them(load):
    nodes = [
        node("Conv", ["x", "w"], ["c"]),
        node("GlobalAveragePool", ["c"], ["g"]),
        node("Flatten", ["g"], ["y"]),
    ]
    proto = model(nodes, {"x": ["n", 1, "h", "w"]}, constants={"w": weights(2, 1, 3, 3)})
    network = assert_same(load, proto, {"x": weights(2, 1, 6, 9)})
    assert network.inputs == {"x": (1, None, None)}


def test_a_layer_that_depends_on_an_open_length_is_named(load):
    nodes = [
        node("Conv", ["x", "w"], ["c"]),
        node("Shape", ["c"], ["s"], start=2),
        node("ReduceProd", ["s"], ["p"], keepdims=1),
        node("Cast", ["p"], ["q"], to=F64),
        node("Div", ["c", "q"], ["y"], "scaled"),
    ]
    constants = {"w": weights(2, 1, 3, 3)}
    proto = model(nodes, {"x": ["n", 1, "h", "w"]}, constants=constants)
    with pytest.raises(ValueError, match=r"'scaled' \(Scale\) depends on a length .* h, n, w: fix it with shapes="):
        load(proto)
    assert load(proto, shapes={"x": (None, 1, 5, 5)}).inputs == {"x": (1, 5, 5)}


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("cell", ["LSTM", "GRU", "GRU1"])
def test_recurrent_layers_batch_first_as_pytorch_writes_them(load, cell, direction):
    d, gates = (2 if direction == "bidirectional" else 1), 4 if cell == "LSTM" else 3
    options = {"linear_before_reset": 1} if cell == "GRU1" else {}
    nodes = [
        node("Transpose", ["x"], ["t"], perm=[1, 0, 2]),
        node(cell[:4].strip("1"), ["t", "w", "r", "b"], ["s"], "rnn", hidden_size=3, direction=direction, **options),
        node("Transpose", ["s"], ["st"], perm=[0, 2, 1, 3]),
        node("Reshape", ["st", "shape"], ["f"]),
        node("Transpose", ["f"], ["y"], perm=[1, 0, 2]),
    ]
    constants = {
        "w": weights(d, 3 * gates, 2), "r": weights(d, 3 * gates, 3), "b": weights(d, 6 * gates),
        "shape": np.array([0, 0, -1]),
    }  # fmt: skip
    proto = model(nodes, {"x": ["n", "t", 2]}, constants=constants)
    network = assert_same(load, proto, {"x": weights(4, 5, 2)})
    assert layers(network) == [cell[:4].strip("1")]
    assert network.inputs == {"x": (None, 2)}


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
def test_recurrent_layers_time_first_with_lengths_and_both_outputs(load, direction):
    d = 2 if direction == "bidirectional" else 1
    nodes = [node("GRU", ["x", "w", "r", "b", "lengths"], ["y", "h"], "rnn", hidden_size=3, direction=direction)]
    constants = {"w": weights(d, 9, 2), "r": weights(d, 9, 3), "b": weights(d, 18)}
    proto = model(nodes, {"x": [5, "n", 2], "lengths": (["n"], TensorProto.INT32)}, ("y", "h"), constants)
    network = load(proto, batch_axis={"x": 1})
    x, lengths = weights(4, 5, 2), np.array([5, 3, 1, 4], np.int32)
    y, h = network({"x": x, "lengths": lengths})
    for s, n in enumerate(lengths):  # the evaluator does not know lengths: each sequence alone, cut
        proto.graph.node[0].input[4] = ""
        one = ReferenceEvaluator(proto).run(None, {"x": x[s, :n, None], "lengths": lengths[:1]})
        assert np.abs(y[s, :n] - one[0][:, :, 0]).max() <= rounding(1000, 1)
        assert np.abs(h[s] - one[1][:, 0]).max() <= rounding(1000, 1)
        assert not y[s, n:].any()


def test_token_ids_are_looked_up(load):
    nodes = [node("Gather", ["table", "ids"], ["e"], "words"), node("ReduceMean", ["e", "axes"], ["y"], keepdims=0)]
    proto = model(nodes, {"ids": (["n", "t"], I64)}, constants={"table": weights(9, 3), "axes": np.array([1])})
    network = assert_same(load, proto, {"ids": np.array([[1, 2, 8], [0, 0, 3]])})
    assert layers(network) == ["Embedding", "Mean"]


def test_old_broadcasting_by_axis(load):
    """Before opset 7 a constant met the axes from `axis` on."""
    proto = model(
        [node("Mul", ["x", "c"], ["y"], broadcast=1, axis=1)], {"x": [2, 3, 4]}, constants={"c": weights(3)}, opset=6
    )
    x = weights(2, 3, 4)
    assert (load(proto)(x) == x * weights(3)[:, None]).all()


@pytest.mark.parametrize("shape", [(4,), (1, 4), (3, 4), ()], ids=str)
@pytest.mark.parametrize("operator, inputs", [("Sum", "xcxd"), ("Sum", "cx"), ("Mean", "xcd"), ("Div", "cx")])
def test_constants_stand_at_any_place(load, operator, inputs, shape):
    constants = {"c": weights(*shape), "d": weights(4, seed=1)}
    nodes = [node(operator, list(inputs), ["y"], "last")]
    proto = model(nodes, {"x": ["n", 3, 4]}, constants={n: v for n, v in constants.items() if n in inputs})
    network = assert_same(load, proto, {"x": weights(2, 3, 4)})
    assert list(network.nodes)[-1] == "last"


def test_a_reciprocal_is_one_over_it(load):
    x = weights(3, 4)
    network = assert_same(load, model([node("Reciprocal", ["x"], ["y"], "turned")], {"x": ["n", 4]}), {"x": x})
    a = relprop.explain(network, x, "deeplift", 1, baseline=1.0)
    assert np.abs(a.delta).max() <= rounding(1000, 1 + np.abs(1 / x).max())


def test_a_saved_import_is_the_same_network(load, tmp_path):
    network = load(mlp())
    relprop.save(network, tmp_path / "again.safetensors")
    x = weights(3, 4)
    assert (relprop.load(tmp_path / "again.safetensors")(x) == network(x)).all()


def test_contributions_are_complete(load):
    """DeepLIFT on an imported network: the values sum to the change of the output."""
    a = relprop.explain(load(mlp()), weights(3, 4), "deeplift", target=1)
    assert np.abs(a.delta).max() <= rounding(1000, 1 + np.abs(a.output).max())


# ── what is refused ────────────────────────────────────────────────────────────────────────────────────


def test_one_error_lists_all_operators_before_a_weight_is_read(load):
    proto = mlp()
    proto.graph.initializer[0].ClearField("raw_data")  # which would be an error of its own
    proto.graph.node.insert(1, node("Erf", ["z"], ["e"], "erf"))
    proto.graph.node.insert(2, node("Sin", ["e"], ["s"], "wave"))
    proto.graph.node.insert(3, node("Thing", ["s"], ["t"], "mine", domain="acme"))
    with pytest.raises(ValueError, match=r"3 of its operators: Erf: 'erf'; Sin: 'wave'; acme\.Thing: 'mine'"):
        load(proto)


@pytest.mark.parametrize(
    "operator, shape, options, words",
    [
        ("Softmax", ["n", 3], {"axis": 0}, "reaches across the batch, axis 0"),
        ("ReduceMean", ["n", 3], {}, "reaches across the batch"),
        ("Flatten", [4, 3, 2], {"axis": 2}, "reaches across the batch"),
        ("Transpose", ["n", 3], {"perm": [0, 0]}, "permutation of 2 axes"),
        ("MaxPool", ["n", 1, 4, 4], {"kernel_shape": [2]}, "expected 2 lengths"),
        ("MaxPool", ["n", 1, 4, 4], {"kernel_shape": [9, 9]}, "larger than its padded input"),
        ("MaxPool", ["n", 1, 4, 4], {"kernel_shape": [2, 2], "auto_pad": "ODD"}, "auto_pad is 'ODD'"),
        ("LRN", ["n", 4, 2, 2], {"size": 4}, "expected an odd number"),
        ("Relu", ["n", 3], {"slope": 2.0}, "the attribute 'slope' is not supported"),
    ],
)
def test_a_node_that_no_layer_answers_is_named(load, operator, shape, options, words):
    with pytest.raises(ValueError, match=rf"node 'bad' \({operator}\): .*{words}"):
        load(model([node(operator, ["x"], ["y"], "bad", **options)], {"x": shape}))


def test_half_precision_is_refused_with_the_way_out(load):
    proto = model([node("Relu", ["x"], ["y"])], {"x": ["n", 3]}, kind=TensorProto.FLOAT16)
    with pytest.raises(ValueError, match=r"input 'x' has dtype float16, .* export the model in float32"):
        load(proto)


def test_a_constant_output_is_refused(load):
    with pytest.raises(ValueError, match="output 's' does not depend on any input"):
        load(model([node("Shape", ["x"], ["s"]), node("Relu", ["x"], ["y"])], {"x": ["n", 3]}, ("y", "s")))


def test_opsets_before_6_are_refused(load):
    with pytest.raises(ValueError, match="opset 5, expected 6 or later"):
        load(model([node("Relu", ["x"], ["y"])], {"x": ["n", 3]}, opset=5))


def test_without_the_package_the_error_says_what_to_install(load, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r"pip install 'relprop\[onnx\]'"):
        load(mlp())


def test_a_file_is_known_by_its_first_bytes_too(tmp_path):
    (tmp_path / "model").write_bytes(mlp().SerializeToString())
    assert isinstance(relprop.load(tmp_path / "model"), pyref.Network)
