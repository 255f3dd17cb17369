"""Coverage-guided fuzzing of what reads files: any bytes are a network or one ValueError, in bounded time and memory.

python tests/fuzz.py onnx|native [--seconds 300] [--found FOLDER] [--seed 0]
python tests/fuzz.py corpus     writes tests/corpus anew

libFuzzer, through atheris (the extra `fuzz`), keeps inputs that reach new branches of the readers. It starts from
tests/corpus. Half of the mutations are its own, of bytes; the other half knows the format: fields of a protocol
buffer, entries of the graph in JSON with the digest made right again. At the end one line tells of executions,
inputs kept and branches reached; the first input that breaks a promise is written to the folder, and ends the run.
"""

import argparse
import gc
import hashlib
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tracemalloc
import types
from pathlib import Path

import numpy as np

CORPUS = Path(__file__).parent / "corpus"
LENGTH = 2**14  # bytes of an input, at the most
SECONDS = 10  # for one input, on a busy machine; most take milliseconds
LARGE = (-(2**63), -1, 0, 1, 2, 3, 7, 255, 2**20, 2**31, 2**40, 2**63 - 1)


# ── what is promised ───────────────────────────────────────────────────────────────────────────────────


class Reader:
    """One reader under test: `read` must give a network or a ValueError that names the file."""

    def __init__(self, suffix):
        self.file = Path(tempfile.mkdtemp()) / f"model{suffix}"
        self.read = self.refused = 0
        self.slowest = self.most = 0.0

    def __call__(self, data):
        from pyref import Network
        from relprop.models import load

        self.file.write_bytes(data)
        tracemalloc.start()
        began = time.process_time()
        try:
            assert isinstance(load(self.file), Network), "what is read is no network"
            self.read += 1
        except ValueError as error:
            assert str(self.file) in str(error), f"the file is not named: {error}"
            self.refused += 1
        finally:
            seconds, used = time.process_time() - began, tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        self.slowest, self.most = max(self.slowest, seconds), max(self.most, used)
        assert seconds < SECONDS, f"{seconds:.1f} s"
        assert used < memory_cap(len(data)), f"{used} bytes"


def memory_cap(size):
    """What docs/onnx.md states: constants fold to 256 MiB and four times the file, twice while one is made."""
    from relprop.models.onnx import FOLD_BYTES, FOLD_FACTOR

    return 2 * (FOLD_BYTES + FOLD_FACTOR * size) + 2**24


# ── mutations that know the format ─────────────────────────────────────────────────────────────────────


def mutate_onnx(data, draw):
    """A field of a message exchanged, removed, doubled, or taken from another message."""
    import onnx
    from google.protobuf.message import DecodeError

    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError:
        return None
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        try:
            mutate_message(draw.choice(list(messages(model)) or [model]), model, draw)
        except UnicodeDecodeError:  # names that are no text, which only the parser lets in
            return None
    return model.SerializeToString()


def messages(message):
    """The message and all that lie in it, from outside in."""
    stack = [message]
    while stack:
        message = stack.pop()
        yield message
        for field, value in message.ListFields():
            if field.message_type is not None:
                stack.extend(value if is_repeated(field) else [value])


def is_repeated(field):
    return field.is_repeated if hasattr(field, "is_repeated") else field.label == field.LABEL_REPEATED


def mutate_message(message, model, draw):
    fields = list(message.DESCRIPTOR.fields)
    field = draw.choice([f for f, _ in message.ListFields()] or fields) if draw.random() < 0.8 else draw.choice(fields)
    values = getattr(message, field.name)
    if draw.random() < 0.1:
        message.ClearField(field.name)
    elif field.message_type is not None:
        others = [m for m in messages(model) if m.DESCRIPTOR is field.message_type] or [None]
        other = draw.choice(others)
        if not is_repeated(field):
            if other is not None:
                copy = type(other)()
                copy.CopyFrom(other)
                values.CopyFrom(copy)
        elif len(values) and draw.random() < 0.4:
            del values[draw.randrange(len(values))]
        elif other is not None:
            copy = type(other)()
            copy.CopyFrom(other)
            values.add().CopyFrom(copy)
    elif not is_repeated(field):
        setattr(message, field.name, scalar(field, values, model, draw))
    elif len(values) and draw.random() < 0.3:
        del values[draw.randrange(len(values))]
    elif len(values) and draw.random() < 0.7:
        values[draw.randrange(len(values))] = scalar(field, values[0], model, draw)
    else:
        values.append(scalar(field, None, model, draw))


def scalar(field, old, model, draw):
    """Another value that the field can have."""
    from relprop.models.onnx_operators import FOLDED, OPERATORS

    kind = field.cpp_type
    if kind == field.CPPTYPE_STRING:
        if field.name == "op_type":
            return draw.choice(sorted({*OPERATORS, *FOLDED}))
        names = [n for node in model.graph.node for n in (*node.input, *node.output)]
        names += [a.name for node in model.graph.node for a in node.attribute]
        names += ["", "axis", "axes", "keepdims", "pads", "kernel_shape", "strides", "group", "perm", "to", "mode"]
        word = draw.choice(names)
        return word if field.type == field.TYPE_STRING else word.encode()
    if kind in (field.CPPTYPE_FLOAT, field.CPPTYPE_DOUBLE):
        return draw.choice([0.0, -1.0, 0.5, 1e30, float("inf"), float("nan")])
    if kind == field.CPPTYPE_ENUM:
        return draw.choice(field.enum_type.values).number
    if kind == field.CPPTYPE_BOOL:
        return not old
    bits = 32 if kind in (field.CPPTYPE_INT32, field.CPPTYPE_UINT32) else 64
    unsigned = kind in (field.CPPTYPE_UINT32, field.CPPTYPE_UINT64)
    low, high = (0, 2**bits - 1) if unsigned else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    return max(low, min(high, draw.choice([*LARGE, draw.randrange(-8, 24)])))


def mutate_native(data, draw):
    """An entry of the graph in JSON exchanged, removed, doubled or taken from elsewhere; the digest is right again."""
    from relprop.models.native import KEY

    try:
        length = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + length])
        graph = json.loads(header["__metadata__"][KEY])
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        root = graph if draw.random() < 0.8 else header
        mutate_json(root, draw)
    metadata = header.get("__metadata__")
    if isinstance(metadata, dict):
        metadata[KEY] = json.dumps(graph, separators=(",", ":"))
    return with_digest(json.dumps(header, separators=(",", ":")).encode(), data[8 + length :])


def places(value):
    """(container, key) of everything that lies in a JSON value."""
    stack = [value]
    while stack:
        container = stack.pop()
        for key in list(container) if isinstance(container, dict) else range(len(container)):
            yield container, key
            if isinstance(container[key], dict | list):
                stack.append(container[key])


def mutate_json(root, draw):
    from pyref import LAYERS

    found = list(places(root))
    if not found:
        return
    container, key = draw.choice(found)
    if type(container[key]) is int and draw.random() < 0.7:
        container[key] += draw.randrange(-2, 3)
        return
    other, from_key = draw.choice(found)
    match draw.randrange(6):
        case 0:
            del container[key]
        case 1:
            container[key] = json.loads(json.dumps(other[from_key]))
        case 2 if isinstance(container, list):
            container.append(json.loads(json.dumps(container[key])))
        case 3:
            container[key] = draw.choice(sorted(LAYERS))
        case _:
            container[key] = draw.choice([*LARGE, 0.5, -1e300, None, True, "", "x", [], {}, {"float": "inf"}])


def with_digest(header, rest):
    """A safetensors file of such a header and data, with the sha256 that the reader asks for."""
    from relprop.models.native import DIGEST, ZEROS

    data = len(header).to_bytes(8, "little") + header + rest
    found = DIGEST.search(data, 8, 8 + len(header))
    if found is None:
        return data
    start, end = found.span(1)
    digest = hashlib.sha256(data[:start] + ZEROS + data[end:]).hexdigest().encode()
    return data[:start] + digest + data[end:]


def mend_native(data):
    """The digest made right again, so that the fuzzer's bytes are looked at."""
    length = int.from_bytes(data[:8], "little")
    return with_digest(data[8 : 8 + length], data[8 + length :]) if length < len(data) else data


# name: (suffix, mutation that knows the format, what makes bytes of the fuzzer's acceptable)
FORMATS = {"onnx": (".onnx", mutate_onnx, bytes), "native": (".relprop", mutate_native, mend_native)}


def mutator(mutate, mend, of_bytes):
    """libFuzzer's own mutation for one half, ours for the other."""

    def custom(data, max_size, seed):
        draw = random.Random(seed)
        changed = mutate(bytes(data), draw) if draw.random() < 0.5 else None
        return mend(of_bytes(data, max_size)) if changed is None or len(changed) > max_size else changed

    return custom


# ── where it starts ────────────────────────────────────────────────────────────────────────────────────


def onnx_models():
    """{name: bytes} of ONNX files that have a little of everything."""
    import onnx
    import test_onnx_hostile
    from exported import FOLDER
    from onnx import helper, numpy_helper

    draw = np.random.default_rng(0)

    def model(nodes, shape, **constants):
        tensors = [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()]
        x = helper.make_tensor_value_info("x", 1, shape)
        graph = helper.make_graph(nodes, "g", [x], [helper.make_tensor_value_info("y", 1, None)], tensors)
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
        return made.SerializeToString()

    def weights(*shape):
        return draw.normal(size=shape).astype(np.float32)

    node = helper.make_node
    return {
        "small": test_onnx_hostile.DATA,
        "recurrent": onnx.load(FOLDER / "lstm.onnx").SerializeToString(),
        "images": model(
            [
                node("ConvTranspose", ["x", "w"], ["c"], strides=[2, 2], output_padding=[1, 1], group=2),
                node("Pad", ["c", "pads", "zero"], ["p"]),
                node("InstanceNormalization", ["p", "s", "s"], ["i"]),
                node("AveragePool", ["i"], ["a"], kernel_shape=[2, 2], ceil_mode=1, count_include_pad=1),
                node("Resize", ["a", "", "scales"], ["r"], mode="linear", coordinate_transformation_mode="half_pixel"),
                node("Split", ["r", "sizes"], ["l", "m"], axis=1),
                node("Mul", ["l", "m"], ["q"]),
                node("LRN", ["q"], ["n"], size=3),
                node("ReduceMean", ["n", "axes"], ["t"], keepdims=0),
                node("Softmax", ["t"], ["y"], axis=-1),
            ],
            ["n", 2, 3, 3], w=weights(2, 1, 2, 2), pads=np.array([0, 0, 1, 0, 0, 0, 0, 1]), zero=np.float32(0),
            s=weights(2), scales=np.float32([1, 1, 2, 2]), sizes=np.array([1, 1]), axes=np.array([2, 3]),
        ),
        "sequences": model(
            [
                node("Transpose", ["x"], ["t"], perm=[1, 0, 2]),
                node("GRU", ["t", "w", "r", "b"], ["s", "h"], hidden_size=2, linear_before_reset=1),
                node("Squeeze", ["h", "zero"], ["q"]),
                node("LayerNormalization", ["q", "g"], ["l"]),
                node("Unsqueeze", ["l", "one"], ["u"]),
                node("Expand", ["u", "wide"], ["e"]),
                node("Concat", ["u", "e"], ["c"], axis=1),
                node("Clip", ["c", "low", "high"], ["k"]),
                node("MatMul", ["k", "m"], ["y"]),
            ],
            ["n", 3, 2], w=weights(1, 6, 2), r=weights(1, 6, 2), b=weights(1, 12), zero=np.array([0]), g=weights(2),
            one=np.array([1]), wide=np.array([1, 1, 2]), low=np.float32(-1), high=np.float32(1), m=weights(2, 3),
        ),
    }  # fmt: skip


def native_models():
    """{name: network}"""
    import pyref

    draw = np.random.default_rng(0)

    def w(*shape):
        return draw.normal(size=shape).astype(np.float32)

    image = pyref.Network(
        [
            ("conv", pyref.Conv(w(2, 1, 2, 2), w(2), padding=((1, 0), (0, 1))), "x"),
            ("norm", pyref.BatchNorm(w(2), w(2)), "conv"),
            ("relu", pyref.LeakyReLU(0.1), "norm"),
            ("split", pyref.Split((1, 1), 1), "relu"),
            ("times", pyref.Multiply(), (("split", 0), ("split", 1))),
            ("pool", pyref.MaxPool(2), "times"),
            ("flat", pyref.Flatten(), "pool"),
            ("dense", pyref.Dense(w(4, 2), w(2)), "flat"),
        ],
        {"x": (1, 4, 4)},
    )
    pairs = (w(2, 8), w(2, 8)), (w(2, 8), w(2, 8)), (w(8), w(8))
    lstm = pyref.LSTM(*pairs, output="last", bidirectional=True)
    words = pyref.Network(
        [
            ("rows", pyref.Embedding(w(5, 2)), "ids"),
            ("lstm", lstm, "rows"),
            ("out", pyref.Dense(w(4, 2)), "lstm"),
            ("add", pyref.Add(), ("out", "out")),
            ("probability", pyref.Softmax(1), "add"),
        ],
        {"ids": (3,)},
    )  # fmt: skip
    return {"image": image, "words": words}


def write_corpus():
    from relprop.models import native

    CORPUS.mkdir(exist_ok=True)
    for name, data in onnx_models().items():
        (CORPUS / f"onnx-{name}").write_bytes(data)
    for name, network in native_models().items():
        native.save(network, CORPUS / f"native-{name}")


# ── the run ────────────────────────────────────────────────────────────────────────────────────────────


def instrument(atheris):
    """Count the branches of the readers. Not by atheris' import hook, which misses editable installs."""
    import relprop.models.native
    import relprop.models.onnx  # noqa: F401

    gc.collect()
    for found in gc.get_objects():
        if isinstance(found, types.FunctionType) and str(found.__module__).startswith(("relprop.models", "pyref")):
            atheris.instrument_func(found)


def fuzz(name, seconds, seed, found, start):
    """Run libFuzzer in this process, from the inputs in the folder `start`; it ends the process."""
    import atheris

    suffix, mutate, mend = FORMATS[name]
    instrument(atheris)
    reader, told = Reader(suffix), time.time()

    def one(data):
        nonlocal told
        reader(data)
        if time.time() > told + 2:
            told = time.time()
            print(json.dumps({k: v for k, v in vars(reader).items() if k != "file"}), flush=True)

    flags = [f"-max_total_time={seconds}", f"-seed={seed}", f"-max_len={LENGTH}", "-timeout=60", "-rss_limit_mb=4096"]
    flags += [f"-artifact_prefix={found}{os.sep}", "-print_final_stats=1"]
    custom = mutator(mutate, mend, lambda data, size: atheris.Mutate(data, size))  # there is none before Fuzz
    atheris.Setup([sys.argv[0], *flags, str(start)], one, custom_mutator=custom)
    atheris.Fuzz()


def figures(log, counted, begun, seconds):
    """What a run tells of itself, from libFuzzer's log and the reader's own counts."""
    edges, kept, peak = (re.findall(pattern, log)[-1] for pattern in (r"cov: (\d+)", r"corp: (\d+)/", r"rss: (\d+)Mb"))
    executions = re.findall(r"number_of_executed_units: (\d+)|^#(\d+)\t", log, flags=re.M)[-1]
    counts = json.loads(counted.splitlines()[-1])
    return {
        "seconds": round(seconds),
        "executions": int("".join(executions)),
        "of them networks": f"{counts['read'] / (counts['read'] + counts['refused']):.0%}",
        "inputs at the start": begun,
        "at the end": int(kept),
        "edges": int(edges),
        "slowest input": f"{counts['slowest']:.2f} s",
        "most memory": f"{counts['most'] / 2**20:.0f} MiB",
        "peak of the process": f"{peak} MiB",
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("format", choices=[*FORMATS, "corpus"])
    parser.add_argument("--seconds", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--found", type=Path, default=Path("fuzz-found"))
    parser.add_argument("--start", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.format == "corpus":
        return write_corpus()
    if asked.start:
        return fuzz(asked.format, asked.seconds, asked.seed, asked.found, asked.start)
    asked.found.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        start = Path(folder)
        for path in CORPUS.glob(f"{asked.format}-*"):
            shutil.copy(path, start)
        begun, began = len(list(start.iterdir())), time.time()
        ran = subprocess.run([sys.executable, *sys.argv, "--start", start], capture_output=True, text=True)
    if ran.returncode:
        print(ran.stderr[-6000:], file=sys.stderr)
        print(f"{asked.format}: a promise is broken; the input is in {asked.found}", file=sys.stderr)
    else:
        row = figures(ran.stderr, ran.stdout, begun, time.time() - began)
        print(f"{asked.format}: " + ", ".join(f"{k} {v}" for k, v in row.items()))
    return ran.returncode


if __name__ == "__main__":
    sys.exit(main())
