"""relprop as a backend of ONNX: what `onnx.backend.test` runs, on pyref or on relprop's kernels.

python tests/onnx_backend.py                           prints what passed, was claimed, is excluded and why
python tests/onnx_backend.py README.md docs/onnx.md    writes it between the marks in files
"""

import re
import sys
import warnings
from collections import Counter
from functools import cache
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.backend.base import Backend, BackendRep

import pyref
from relprop.models.onnx import Graph, Value
from relprop.models.onnx_operators import FOLDED, OPERATORS, SHAPES

GROUPS = ("node", "simple", "pytorch-converted", "pytorch-operator")
# Operators whose inputs may all be what the network computes, and not the first alone.
JOINT = {"Add", "Sub", "Mul", "Div", "Sum", "Mean", "Concat"}
# Outputs beside the one that a network goes on with. Networks here have none of them: they are not compared.
ASIDE = {"LayerNormalization": 1, "MaxPool": 1, "Dropout": 1, "LSTM": 2}
INTEGERS = (2, 3, 4, 5, 6, 7, 9, 12, 13)


class RelpropBackend(Backend):
    """Runs a model's forward pass. What the suite passes as inputs, but networks hold as weights, is bound first."""

    module = pyref

    @classmethod
    def prepare(cls, model, device="CPU", **kwargs):
        return Rep(model, cls.module)

    @classmethod
    def supports_device(cls, device):
        return device == "CPU"


class Rep(BackendRep):
    def __init__(self, model, module):
        self.model, self.module = model, module
        self.bound = parameters(model)

    def run(self, inputs, **kwargs):
        """The outputs as ONNX lays them out; None for one that networks do not have."""
        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        arrays = dict(zip(self.names(), inputs, strict=False))
        for name in self.bound & set(arrays):
            model.graph.initializer.append(numpy_helper.from_array(np.asarray(arrays.pop(name)), name))
        aside = {name for node in model.graph.node for name in node.output[ASIDE.get(node.op_type, 99) :] if name}
        kept = [o for o in model.graph.output if o.name not in aside]
        del model.graph.output[:]
        model.graph.output.extend(kept)
        graph = Graph("model", model)
        axes = {name: axis for name, axis in time_first(model).items() if name in arrays}
        network, outputs = graph.network(batch_axis=axes)
        feed = {n: np.moveaxis(v, axes.get(n, 0), 0) for n, v in arrays.items() if network and n in network.inputs}
        record = network.forward(feed, self.module) if network else {}
        answers = {
            name: np.moveaxis(record[v.ref], 0, v.batch) if isinstance(v, Value) else v for name, v in outputs.items()
        }
        return [answers.get(o.name) for o in self.model.graph.output]

    def names(self):
        given = {t.name for t in self.model.graph.initializer}
        return [i.name for i in self.model.graph.input if i.name not in given]


def time_first(model):
    """{input: 1} of inputs that a recurrent layer reads with its time before its batch."""
    return {
        node.input[0]: 1
        for node in model.graph.node
        if node.op_type in ("LSTM", "GRU") and not any(a.name == "layout" and a.i for a in node.attribute)
    }


def parameters(model):
    """Names of the inputs that are parameters of a layer, or shape arithmetic."""
    given = {t.name for t in model.graph.initializer}
    kinds = {i.name: i.type.tensor_type for i in model.graph.input if i.name not in given}
    shape = {n: tuple(d.dim_value for d in k.shape.dim) for n, k in kinds.items()}
    bound = set()
    for node in model.graph.node:
        attributes = {a.name: a.i for a in node.attribute}
        first, ids = next((n for n in node.input if n), None), set()
        if node.op_type == "Gather" and attributes.get("axis", 0) == 0 and len(shape.get(node.input[0], ())) == 2:
            bound.add(first)
            ids = set(node.input[1:2])
        if node.op_type in ("LSTM", "GRU"):
            ids = set(node.input[4:5])
        for name in kinds:
            like = shape.get(first, shape[name])
            joint = node.op_type in JOINT and len(shape[name]) == len(like) and shape[name][:1] == like[:1]
            integer = kinds[name].elem_type in INTEGERS and node.op_type in FOLDED
            folded = node.op_type not in OPERATORS and node.op_type not in SHAPES
            reads = name in node.input and name not in ids
            if reads and (integer or folded or (name != first and not joint)):
                bound.add(name)
    return bound


# ── the suite ──────────────────────────────────────────────────────────────────────────────────────────


@cache
def claimed():
    """[(name, group, model, data sets, tolerances of the suite)]: the cases all of whose operators are claimed.

    An operator is claimed where OPERATORS has it, and the arithmetic of shapes where nothing else is needed.
    """
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings(action="ignore"):  # its own casts overflow
        load_model_tests(kind="node")
    known = {*OPERATORS, *SHAPES, "Constant", "ConstantOfShape", "Range"}
    found = []
    for group in GROUPS:
        for case in load_model_tests(kind=group):
            model = case.model or onnx.load(Path(case.model_dir) / "model.onnx")
            types = {node.op_type for node in model.graph.node}
            plain = all(node.domain in ("", "ai.onnx") for node in model.graph.node)
            if plain and types and types <= known:
                sets = case.data_sets or [*map(_data_set, sorted(Path(case.model_dir).glob("test_data_set_*")))]
                found.append((case.name, group, model, sets, (case.rtol, case.atol)))
    return found


def _data_set(folder):
    return [
        [
            numpy_helper.to_array(onnx.load_tensor(folder / f"{kind}_{k}.pb"))
            for k in range(len(list(folder.glob(f"{kind}_*.pb"))))
        ]
        for kind in ("input", "output")
    ]


# What is claimed by its operators and refused all the same: (operators, words of the refusal, reason).
EXCLUDED = [
    ("", r"dtype (b?float16|no\. \d+)", "dtype: float16, bfloat16 and the smaller floats are refused"),
    ("Cast", r"casts to the data type", "dtype: a cast to another type than the network's own"),
    ("Cast", r"which no layer does", "dtype: a cast to another type than the network's own"),
    ("Clip Pad MaxPool Pow", r"has dtype u?int", "dtype: integers as what a network computes"),
    ("", r"is no tensor", "dtype: sequences and optional values"),
    (
        "Concat Flatten Gather LayerNormalization LogSoftmax Pad ReduceMean ReduceSum Reshape Slice Softmax Split",
        r"reaches across the batch",
        "axis: it mixes the samples of a batch, axis 0",
    ),
    ("Squeeze", r"it drops", "axis: it mixes the samples of a batch, axis 0"),
    ("Gemm", r"from the side of the batch|one row for each sample", "axis: it mixes the samples of a batch, axis 0"),
    ("Add", r"one value for each sample", "axis: it mixes the samples of a batch, axis 0"),
    ("MatMul", r"expected a matrix of weights", "inputs: a product of two tensors, or a vector without a batch"),
    ("Max Min", r"one constant number only", "inputs: only against a number, which is a clip"),
    ("Pow", r"expected one number", "inputs: only to the power 1, 2 or 3"),
    ("PRelu", r"its slope", "inputs: only a slope per channel"),
    ("Gather", r"its indices", "inputs: only a table's rows, or a run of neighbours"),
    ("Expand", r"it repeats", "inputs: only to a shape of the same size"),
    ("Split", r"sizes", "attribute: a piece of length 0"),
    ("AveragePool", r"dilations", "attribute: dilations"),
    ("BatchNormalization Dropout", r"training_mode", "attribute: training_mode"),
    ("Clip", r"low <= high", "attribute: a minimum above the maximum"),
    ("LSTM", r"peepholes", "attribute: peepholes"),
    ("Pad", r"mode is", "attribute: a mode other than constant"),
    ("Resize", r"", "attribute: interpolation other than whole-factor nearest, or linear with exact ratios"),
]


@cache
def outcome(module=pyref):
    """({group: Counter}, {reason: Counter of operators}, [what went wrong]) of the claimed cases."""
    from onnx.backend.test.runner import Runner

    class Here(RelpropBackend):
        pass

    Here.module = module
    groups, reasons, wrong = {group: Counter() for group in GROUPS}, {}, []
    for name, group, model, sets, tolerances in claimed():
        groups[group]["claimed"] += 1
        try:
            for inputs, expected in sets:
                found = Here.prepare(model).run(inputs)
                compared = [(e, f) for e, f in zip(expected, found, strict=True) if f is not None]
                Runner.assert_similar_outputs(*map(list, zip(*compared, strict=True)), *tolerances)
                groups[group]["aside"] += len(compared) < len(found)
        except Exception as error:
            if reason := excluded(error):
                groups[group]["excluded"] += 1
                operator = re.search(r"node '.*?' \((\w+)\)", str(error))
                reasons.setdefault(reason, Counter())[operator[1] if operator else "any"] += 1
            else:
                wrong.append(f"{group} {name}: {type(error).__name__}: {error}")
        else:
            groups[group]["passed"] += 1
    return groups, reasons, wrong


def excluded(error):
    """The reason for a refusal, or None for an error that is none, or that no row expects."""
    if not isinstance(error, ValueError) or not str(error).startswith("model: "):
        return None
    for operators, words, reason in EXCLUDED:
        here = not operators or any(f"({o}):" in str(error) for o in operators.split())
        if here and re.search(words, str(error)):
            return reason
    return None


# ── what the README says ───────────────────────────────────────────────────────────────────────────────

COUNTS = "<!-- onnx: python tests/onnx_backend.py README.md docs/onnx.md -->", "<!-- end of onnx -->"
REASONS = (
    "<!-- onnx exclusions: python tests/onnx_backend.py README.md docs/onnx.md -->",
    "<!-- end of onnx exclusions -->",
)


def counts():
    """How many cases pass, as Markdown."""
    groups = outcome()[0]
    total = sum(groups.values(), Counter())
    lines = [
        f"Of the backend test suite of onnx {onnx.__version__}, {total['passed']} cases pass of {total['claimed']} "
        f"whose operators are claimed; {total['excluded']} are refused by name. "
        f"({total['aside']} of those that pass also ask for an output beside the first, a mask or a statistic, "
        "which networks here do not have.)",
        "",
        "| group | passed | claimed | excluded |",
        "| --- | ---: | ---: | ---: |",
    ]
    return "\n".join(lines + [f"| {g} | {c['passed']} | {c['claimed']} | {c['excluded']} |" for g, c in groups.items()])


def reasons():
    """What is excluded, and why, as Markdown."""
    lines = ["| excluded | cases | operators |", "| --- | ---: | --- |"]
    for why, operators in sorted(outcome()[1].items()):
        names = ", ".join(f"`{name}`" if name != "any" else name for name in sorted(operators))
        lines.append(f"| {why} | {sum(operators.values())} | {names} |")
    return "\n".join(lines)


def replace_tables(text):
    """A text with what stands between the marks written anew.

    Raises
        ValueError  there is no pair of marks.
    """
    found = False
    for (begin, end), make in ((COUNTS, counts), (REASONS, reasons)):
        if begin in text and end in text:
            found, before, after = True, text.partition(begin)[0], text.partition(end)[2]
            text = f"{before}{begin}\n\n{make()}\n\n{end}{after}"
    if not found:
        raise ValueError(f"the marks {COUNTS} are missing")
    return text


if __name__ == "__main__":
    outcome()  # takes a while: nothing is read before that others may write meanwhile
    for path in map(Path, sys.argv[1:]):
        path.write_text(replace_tables(path.read_text(encoding="utf-8")), encoding="utf-8")
    if not sys.argv[1:]:
        print(counts(), reasons(), *outcome()[2], sep="\n\n")
