"""The light models in onnx's wheel, ResNet-50 and others without their weights, filled with seeded random ones.

python tests/light.py [name ...]   compares our forward pass with ONNX's reference evaluator, all of them by default
"""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
import onnx.backend.test
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

import relprop

DATA = Path(onnx.backend.test.__file__).parent / "data" / "light"
NAMES = tuple(sorted(p.stem.removeprefix("light_") for p in DATA.glob("light_*.onnx")))


class LRN(OpRun):
    """As ONNX defines it: the evaluator's own (1.23) takes the number of samples for that of channels."""

    def _run(self, x, alpha, beta, bias, size):
        total = np.zeros_like(x)
        for c in range(x.shape[1]):
            total[:, c] = (x[:, max(0, c - (size - 1) // 2) : c + size // 2 + 1] ** 2).sum(axis=1)
        return (x / (bias + (alpha / size) * total) ** beta,)


class BatchNormalization(OpRun):
    """As ONNX defines it for one output: the evaluator's own (1.23) trains before opset 14."""

    def _run(self, x, scale, bias, mean, var, epsilon, **training):
        scale, bias, mean, var = (v.reshape(-1, *(1,) * (x.ndim - 2)) for v in (scale, bias, mean, var))
        return (scale * (x - mean) / np.sqrt(var + epsilon) + bias,)


def path(name):
    return DATA / f"light_{name}.onnx"


def filled(name, dtype=np.float64, seed=0):
    """The model with random weights of a scale that signals survive, in the given precision."""
    model = onnx.load(path(name))
    draw = np.random.default_rng(seed)
    kinds = {np.float32: onnx.TensorProto.FLOAT, np.float64: onnx.TensorProto.DOUBLE}
    shapes = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    readers = {}
    for node in model.graph.node:
        for k, source in enumerate(node.input):
            readers.setdefault(source, (node, k))
    nodes = [n for n in model.graph.node if n.op_type != "ConstantOfShape"]
    made = []
    for node in model.graph.node:
        if node.op_type == "ConstantOfShape":
            reader, k = readers.get(node.output[0], (node, 0))
            if reader.op_type == "Unsqueeze":
                reader, k = readers[reader.output[0]][0], 9
            value = _draw(draw, tuple(int(n) for n in shapes[node.input[0]]), reader.op_type, k)
            made.append(numpy_helper.from_array(value.astype(dtype), node.output[0]))
    if nodes[-1].op_type == "Softmax":  # left out: it saturates, and would hide what differs before it
        model.graph.output[0].name = nodes.pop().input[0]
    known = {t.name for t in made}
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    read = {source for node in nodes for source in node.input}
    kept = [t for t in model.graph.initializer if t.name in read and t.name not in known]
    kept = [
        numpy_helper.from_array(numpy_helper.to_array(t).astype(dtype), t.name) if t.data_type == 1 else t for t in kept
    ]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept + made)
    held = {t.name for t in model.graph.initializer}
    inputs = [i for i in model.graph.input if i.name not in held and i.name in read]
    del model.graph.input[:], model.graph.value_info[:]
    for entry in [*inputs, *model.graph.output]:
        lengths = [d.dim_value for d in entry.type.tensor_type.shape.dim] if entry in inputs else None
        entry.CopyFrom(helper.make_tensor_value_info(entry.name, kinds[dtype], lengths))
    model.graph.input.extend(inputs)
    return model


def _draw(draw, shape, operator, k):
    if operator in ("BatchNormalization", "Mul"):
        if k in (1, 4, 9):
            return draw.uniform(0.5, 1.5, shape)
        return 0.1 * draw.normal(size=shape)
    if len(shape) > 1:
        return draw.normal(size=shape) * np.sqrt(2 / np.prod(shape[1:]))
    return 0.1 * draw.normal(size=shape)


def network(name):
    """(the network, one random image, the number of terms that its longest sums have one after the other)."""
    model = filled(name)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        onnx.save(model, file)
        read = relprop.load(file)
    (shape,) = read.inputs.values()
    terms = sum(n.layer.w[0].size if n.layer.kind == "conv" else 10 for n in read.nodes.values())
    terms += sum(len(n.layer.w) for n in read.nodes.values() if n.layer.kind == "dense")
    return read, np.random.default_rng(1).normal(size=(1, *shape)), terms


def outputs(name):
    """(ours, the evaluator's, the network's record, terms as in `network`, seconds) of one image, in float64."""
    model = filled(name)
    read, x, terms = network(name)
    began = time.perf_counter()
    record = read.forward(x)
    seconds = time.perf_counter() - began
    (theirs,) = ReferenceEvaluator(model, new_ops=[LRN, BatchNormalization]).run(None, {model.graph.input[0].name: x})
    return record[read.outputs[0]], theirs, record, terms, seconds


if __name__ == "__main__":
    for name in sys.argv[1:] or NAMES:
        ours, theirs, _, terms, seconds = outputs(name)
        difference, largest = float(np.abs(ours - theirs).max()), float(np.abs(theirs).max())
        print(f"{name:<16} |difference| <= {difference:.1e}, |output| <= {largest:.1e}, {seconds:.1f} s", flush=True)
