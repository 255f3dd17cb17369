"""What becomes of each operation of PyTorch: the table of ATen operations that layers compute.

An entry gets the operation at hand and its arguments, and gives its value: nodes are added on the way.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import pyref

__all__ = ["FILLED", "OPERATIONS", "Call", "Refused", "States", "Value", "operation_name", "states_whole"]

OPERATIONS: dict[str, Callable] = {}  # ATen operation → how it becomes nodes
FREE = ("clone", "alias", "detach", "contiguous", "lift_fresh_copy", "detach_", "_to_copy", "to")
FILLED = ("new_zeros", "new_ones", "new_full", "zeros_like", "ones_like", "full_like")


class Refused(ValueError):
    """An operation, or a use of one, that no layer computes."""


@dataclass(frozen=True)
class Value:
    """A tensor of the module: where it is in the network, its shape in PyTorch, and the axis of its samples there."""

    ref: tuple[str, int]
    shape: tuple[int, ...]
    batch: int = 0

    @property
    def inner(self):
        """The shape of one sample."""
        return self.shape[: self.batch] + self.shape[self.batch + 1 :]

    def axis(self, a):
        """An axis in PyTorch as one in the network, where samples come first."""
        a = a % len(self.shape)
        if a == self.batch:
            raise Refused("works along the axis of samples")
        return a + 1 if a < self.batch else a

    def at(self, ref, inner):
        """A value with the samples on the same axis."""
        shape = (*inner[: self.batch], self.shape[self.batch], *inner[self.batch :])
        return Value(ref, shape, self.batch)


@dataclass(frozen=True)
class States:
    """The last states of a recurrent layer, (layers · directions, n, h): made into nodes where they are read."""

    layer: Any
    source: Value
    name: str


def operation_name(node):
    target = node.target
    packet = getattr(target, "_schema", None)
    return packet.name.partition("::")[2] if packet is not None else getattr(target, "__name__", str(target))


class Call:
    """One operation at hand: its arguments by name, and the nodes that it becomes."""

    def __init__(self, reading, node, args, kwargs):
        self.reading, self.torch = reading, reading.torch
        self.overload = getattr(node.target, "_overloadname", "")
        schema = node.target._schema.arguments
        defaults = {a.name: a.default_value for a in schema if a.has_default_value()}
        self.given = {**defaults, **dict(zip((a.name for a in schema), args, strict=False)), **kwargs}
        value = node.meta.get("val")
        values = value if isinstance(value, tuple | list) else [value]
        self.shapes = [tuple(v.shape) if isinstance(v, self.torch.Tensor) else None for v in values]

    def __getitem__(self, name):
        return self.given.get(name)

    def add(self, layer, *values, suffix="", stem=None):
        return self.reading.add(layer, *values, suffix=suffix, stem=stem)

    def same(self, layer, value, suffix=""):
        """The value after a layer that keeps shape and axes."""
        return replace(value, ref=self.add(layer, value, suffix=suffix))

    def array(self, name, required=False):
        """A parameter as an array that shares its memory; None stays None."""
        value = self.given.get(name)
        if value is None and not required:
            return None
        return self.constant(name, value)

    def constant(self, name, value):
        if isinstance(value, Value):
            raise Refused(f"computes its {name} from the input")
        return self.as_array(name, value)

    def as_array(self, name, tensor):
        if tensor.dtype not in (self.torch.float32, self.torch.float64):
            if tensor.dtype.is_floating_point:
                raise Refused(f"has a {name} of dtype {tensor.dtype}: use module.float()")
            tensor = tensor.to(self.torch.get_default_dtype())
        return tensor.detach().cpu().numpy()

    def image(self, value):
        """A value that an image layer reads: samples, channels, and as many axes as its name says, or any number."""
        name = operation_name(self.reading.here)
        rank = next((k for k in (1, 2, 3) if f"{k}d" in name), max(1, len(value.shape) - 2))
        if value.batch != 0 or len(value.shape) != rank + 2:
            where = f"with samples on axis {value.batch}"
            raise Refused(f"reads shape {value.shape} {where}, expected (n, c) and {rank} more")
        return value


def operation(*names):
    """Enter a function for operations into the table."""

    def enter_table(function):
        for name in names:
            OPERATIONS[name] = function
        return function

    return enter_table


# ── linear maps ────────────────────────────────────────────────────────────────────────────────────────


def _dense(call, x, w, b, suffix=""):
    """x @ w + b over the last axis."""
    if x.batch == len(x.shape) - 1:
        raise Refused("works along the axis of samples")
    ref = call.add(pyref.Dense(w, b), x, suffix=suffix)
    return x.at(ref, (*x.inner[:-1], w.shape[1]))


@operation("linear")
def _linear(call, x, *_):
    return _dense(call, x, call.array("weight", required=True).T, call.array("bias"))


@operation("matmul", "mm")
def _matmul(call, x, y):
    if not isinstance(x, Value) or isinstance(y, Value):
        raise Refused("multiplies matrices of which the second is not constant")
    w = call.as_array("matrix", y)
    if w.ndim != 2 or len(x.shape) < 2:
        raise Refused(f"multiplies by a constant of shape {tuple(w.shape)}, expected a matrix")
    return _dense(call, x, w, None)


@operation("addmm")
def _addmm(call, bias, x, y):
    if call["beta"] != 1 or call["alpha"] != 1 or isinstance(bias, Value) or not isinstance(x, Value):
        raise Refused("has factors or a bias that is not constant")
    w, b = call.constant("matrix", y), call.constant("bias", bias)
    return _dense(call, x, w, np.reshape(b, (-1,)) if b.size == w.shape[1] else None)


@operation("conv1d", "conv2d", "conv3d", "convolution", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
def _conv(call, x, *_):
    x, w = call.image(x), call.array("weight", required=True)
    rank = w.ndim - 2
    padding, dilation = call["padding"], _per_axis(call["dilation"], rank)
    if padding == "valid":
        padding = 0
    elif padding == "same":  # one more behind where it is odd
        total = [d * (k - 1) for d, k in zip(dilation, w.shape[2:], strict=True)]
        padding = tuple((t // 2, t - t // 2) for t in total)
    else:
        padding = _per_axis(padding, rank)
    stride, groups = _per_axis(call["stride"], rank), int(call["groups"])
    transposed = call["transposed"] if "transposed" in call.given else "output_padding" in call.given
    if transposed:
        extra = _per_axis(call["output_padding"], rank)
        layer: Any = pyref.ConvTranspose(w, call.array("bias"), stride, padding, extra, dilation, groups)
    else:
        layer = pyref.Conv(w, call.array("bias"), stride, padding, dilation, groups)
    return Value(call.add(layer, x), call.shapes[0])


def _per_axis(value, rank):
    numbers = tuple(int(v) for v in (value if isinstance(value, tuple | list) else (value,)))
    return numbers * rank if len(numbers) == 1 else numbers


@operation("embedding")
def _embedding(call, table, ids, *_):
    if not isinstance(ids, Value):
        raise Refused("looks up constant ids")
    table = call.constant("table", table)
    return ids.at(call.add(pyref.Embedding(table), ids), (*ids.inner, table.shape[1]))


# ── normalisation ──────────────────────────────────────────────────────────────────────────────────────


@operation("batch_norm", "_native_batch_norm_legit_no_training", "cudnn_batch_norm", "native_batch_norm")
def _batch_norm(call, x, *_):
    if call["training"] or call["running_mean"] is None:
        raise Refused("normalises with the statistics of the batch")
    value = _from_statistics(call, x)
    return value if call.shapes[1:] == [] else (value, *(Refused("is for training"),) * 2)


@operation("_native_batch_norm_legit", "_native_batch_norm_legit_functional")
def _batch_statistics(call, x, *_):
    raise Refused("normalises with the statistics of the batch")


def _from_statistics(call, x):
    if x.batch != 0:
        raise Refused("works along the axis of samples")
    arrays = [call.array(n) for n in ("running_mean", "running_var", "weight", "bias")]
    return call.same(pyref.BatchNorm.from_statistics(*arrays, call["eps"]), x)


@operation("instance_norm")
def _instance_norm(call, x, *_):
    x = call.image(x)
    if not call["use_input_stats"]:
        return _from_statistics(call, x)
    return call.same(pyref.InstanceNorm(call.array("weight"), call.array("bias"), call["eps"]), x)


@operation("group_norm")
def _group_norm(call, x, *_):
    if x.batch != 0:
        raise Refused("works along the axis of samples")
    return call.same(pyref.GroupNorm(int(call["num_groups"]), call.array("weight"), call.array("bias"), call["eps"]), x)


@operation("layer_norm", "native_layer_norm")
def _layer_norm(call, x, *_):
    rank = len(call["normalized_shape"])
    if x.batch >= len(x.shape) - rank:
        raise Refused("works along the axis of samples")
    weight, bias = call.array("weight"), call.array("bias")
    if weight is None and bias is not None:
        weight = np.ones_like(bias)
    value = call.same(pyref.LayerNorm(weight, bias, call["eps"], rank), x)
    return value if call.shapes[1:] == [] else (value, *(Refused("is for training"),) * 2)


# ── pooling and size ───────────────────────────────────────────────────────────────────────────────────


def _window(call, x):
    rank = len(x.shape) - 2
    kernel = _per_axis(call["kernel_size"], rank)
    stride = _per_axis(call["stride"], rank) if call["stride"] else kernel
    return kernel, stride, _per_axis(call["padding"], rank)


@operation("max_pool1d", "max_pool2d", "max_pool3d", "max_pool2d_with_indices", "max_pool3d_with_indices")
def _max_pool(call, x, *_):
    x = call.image(x)
    dilation = _per_axis(call["dilation"], len(x.shape) - 2)
    layer = pyref.MaxPool(*_window(call, x), dilation, bool(call["ceil_mode"]))
    return _with_indices(call, Value(call.add(layer, x), call.shapes[0]))


def _with_indices(call, value):
    return value if len(call.shapes) == 1 else (value, Refused("hands on the positions of maxima"))


@operation("avg_pool1d", "avg_pool2d", "avg_pool3d")
def _avg_pool(call, x, *_):
    x = call.image(x)
    if call["divisor_override"]:
        raise Refused("has a divisor_override")
    layer = pyref.AvgPool(*_window(call, x), bool(call["ceil_mode"]), bool(call["count_include_pad"]))
    return Value(call.add(layer, x), call.shapes[0])


@operation("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d", "_adaptive_avg_pool2d")
def _adaptive_avg_pool(call, x, *_):
    x, size = call.image(x), call.shapes[0][2:]
    layer = pyref.GlobalAvgPool() if set(size) == {1} else pyref.AdaptiveAvgPool(size)
    return Value(call.add(layer, x), call.shapes[0])


@operation("adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d")
def _adaptive_max_pool(call, x, *_):
    x, size = call.image(x), call.shapes[0][2:]
    lengths = x.shape[2:]
    if set(size) == {1}:
        layer: Any = pyref.GlobalMaxPool()
    elif all(h % s == 0 for h, s in zip(lengths, size, strict=True)):
        layer = pyref.MaxPool(tuple(h // s for h, s in zip(lengths, size, strict=True)))
    else:
        raise Refused(f"pools {lengths} to {size}, which does not divide it")
    return _with_indices(call, Value(call.add(layer, x), call.shapes[0]))


@operation("amax", "max")
def _amax(call, x, *_):
    """The maximum over axes, which become the axes of an image for it: (n, the others, those)."""
    if "dim" not in call.given or call["dim"] == []:
        raise Refused("works along the axis of samples, or compares two tensors")
    dims = call["dim"] if isinstance(call["dim"], list | tuple) else [call["dim"]]
    dims = sorted(x.axis(a) for a in dims)
    kept = [a for a in range(1, len(x.shape)) if a not in dims]
    lengths = (None, *x.inner)
    ref: Any = x
    if [*kept, *dims] != list(range(1, len(x.shape))):
        ref = call.add(pyref.Transpose((*kept, *dims)), ref, suffix=".turned")
    if len(kept) != 1 or len(dims) < 1:
        shape = (math.prod(lengths[a] for a in kept), *(lengths[a] for a in dims))
        ref = call.add(pyref.Reshape(shape), ref, suffix=".image")
    ref = call.add(pyref.GlobalMaxPool(), ref)
    inner = tuple(1 if a in dims else lengths[a] for a in range(1, len(x.shape)))
    if not call["keepdim"]:
        inner = tuple(lengths[a] for a in kept)
    if kept != [1] or not call["keepdim"]:
        ref = call.add(pyref.Reshape(inner), ref, suffix=".shape")
    batch = x.batch if call["keepdim"] else x.batch - sum(a <= x.batch for a in dims)
    return _with_indices(call, Value(ref, call.shapes[0], batch))


@operation(
    "upsample_nearest1d",
    "upsample_nearest2d",
    "upsample_nearest3d",
    "upsample_linear1d",
    "upsample_bilinear2d",
    "upsample_trilinear3d",
)
def _upsample(call, x, *_):
    x = call.image(x)
    nearest = "align_corners" not in call.given
    mode = "nearest" if nearest else "bilinear"
    layer = pyref.Upsample(size=call.shapes[0][2:], mode=mode, align_corners=bool(call["align_corners"]))
    return Value(call.add(layer, x), call.shapes[0])


@operation("mean", "sum")
def _reduce(call, x, *_):
    if call["dim"] is None or call["dim"] == []:
        raise Refused("works along the axis of samples")
    dims = call["dim"] if isinstance(call["dim"], list | tuple) else [call["dim"]]
    axes = tuple(sorted(x.axis(a) for a in dims))
    kind = pyref.Mean if _own_name(call) == "mean" else pyref.Sum
    ref = call.add(kind(axes, bool(call["keepdim"])), x)
    batch = x.batch if call["keepdim"] else x.batch - sum(a <= x.batch for a in axes)
    return Value(ref, call.shapes[0], batch)


def _own_name(call):
    return operation_name(call.reading.here)


@operation("pad", "constant_pad_nd")
def _pad(call, x, *_):
    if call["mode"] not in (None, "constant"):
        raise Refused(f"pads by mode {call['mode']!r}, expected 'constant'")
    numbers = [int(p) for p in call["pad"]]
    pairs = list(zip(numbers[::2], numbers[1::2], strict=True))[::-1]
    if any(p < 0 for p in numbers):
        raise Refused("pads by less than 0")
    first = len(x.shape) - len(pairs)
    by_axis = {x.axis(first + k): pair for k, pair in enumerate(pairs) if pair != (0, 0)}
    if not by_axis:
        return x
    least = min(by_axis)
    pairs = [by_axis.get(a, (0, 0)) for a in range(least, len(x.shape))]
    value = call["value"] or 0
    return Value(call.add(pyref.Pad(tuple(pairs), value), x), call.shapes[0], x.batch)


# ── activations ────────────────────────────────────────────────────────────────────────────────────────

ACTIVATIONS: dict[str, Callable] = {
    "relu": lambda call: pyref.ReLU(),
    "relu6": lambda call: pyref.ReLU6(),
    "leaky_relu": lambda call: pyref.LeakyReLU(call["negative_slope"]),
    "elu": lambda call: _elu(call),
    "selu": lambda call: pyref.SELU(),
    "silu": lambda call: pyref.SiLU(),
    "gelu": lambda call: pyref.GELU(call["approximate"]),
    "tanh": lambda call: pyref.Tanh(),
    "sigmoid": lambda call: pyref.Sigmoid(),
    "hardsigmoid": lambda call: pyref.HardSigmoid(),
    "softplus": lambda call: pyref.Softplus(call["beta"]),
    "hardtanh": lambda call: pyref.Clip(call["min_val"], call["max_val"]),
    "clamp": lambda call: _clip(call["min"], call["max"]),
    "clamp_min": lambda call: _clip(call["min"], None),
    "clamp_max": lambda call: _clip(None, call["max"]),
    "dropout": lambda call: _dropout(call),
    "native_dropout": lambda call: _dropout(call),
    "feature_dropout": lambda call: _dropout(call),
}


def _elementwise(call, x, *_):
    return call.same(ACTIVATIONS[_own_name(call)](call), x)


for _name in ACTIVATIONS:
    OPERATIONS[_name] = _elementwise


def _elu(call):
    if call["scale"] != 1 or call["input_scale"] != 1:
        raise Refused("has scales other than 1")
    return pyref.ELU(call["alpha"])


def _clip(low, high):
    if any(hasattr(v, "shape") and tuple(getattr(v, "shape", ())) for v in (low, high)):
        raise Refused("has bounds that are tensors")
    return pyref.Clip(-math.inf if low is None else float(low), math.inf if high is None else float(high))


def _dropout(call):
    if call["train"]:
        raise Refused("drops at random: functional dropout needs training=self.training")
    return pyref.Dropout(call["p"])


@operation("celu")
def _celu(call, x, *_):
    """alpha · ELU(x / alpha)."""
    alpha = call["alpha"]
    if alpha == 1:
        return call.same(pyref.ELU(1.0), x)
    inner = call.add(pyref.ELU(1.0), call.add(pyref.Scale(1 / alpha), x, suffix=".scaled"), suffix=".elu")
    return replace(x, ref=call.add(pyref.Scale(alpha), inner))


@operation("log_sigmoid", "log_sigmoid_forward")
def _log_sigmoid(call, x):
    """-softplus(-x)."""
    inner = call.add(pyref.Softplus(), call.add(pyref.Scale(-1), x, suffix=".negated"), suffix=".softplus")
    value = replace(x, ref=call.add(pyref.Scale(-1), inner))
    return value if len(call.shapes) == 1 else (value, Refused("is for training"))


@operation("threshold")
def _threshold(call, x, *_):
    if call["threshold"] != call["value"]:
        raise Refused("jumps at its threshold")
    return call.same(pyref.ReLU() if call["value"] == 0 else _clip(call["value"], None), x)


@operation("prelu", "_prelu_kernel")
def _prelu(call, x, weight):
    slope = np.reshape(call.constant("slope", weight), (-1,))
    if slope.size > 1 and x.batch != 0:
        raise Refused("works along the axis of samples")
    return call.same(pyref.PReLU(slope), x)


@operation("hardswish")
def _hardswish(call, x):
    """x · hard_sigmoid(x)."""
    return replace(x, ref=call.add(pyref.Multiply(), x, call.add(pyref.HardSigmoid(), x, suffix=".gate")))


@operation("mish")
def _mish(call, x):
    """x · tanh(softplus(x))."""
    gate = call.add(pyref.Tanh(), call.add(pyref.Softplus(), x, suffix=".softplus"), suffix=".gate")
    return replace(x, ref=call.add(pyref.Multiply(), x, gate))


@operation("glu")
def _glu(call, x, *_):
    """One half times the sigmoid of the other."""
    axis = x.axis(call["dim"])
    half = x.shape[call["dim"]] // 2
    halves = call.add(pyref.Split((half, half), axis), x, suffix=".halves")
    gate = call.add(pyref.Sigmoid(), (halves[0], 1), suffix=".gate")
    return Value(call.add(pyref.Multiply(), halves, gate), call.shapes[0], x.batch)


@operation("softmax", "_softmax", "log_softmax", "_log_softmax")
def _softmax(call, x, *_):
    kind = pyref.LogSoftmax if "log" in _own_name(call) else pyref.Softmax
    return call.same(kind(x.axis(call["dim"])), x)


# ── sums and products ──────────────────────────────────────────────────────────────────────────────────


def _joined(call, x, y):
    """Two values with as many axes each, samples on the same one; and that axis."""
    if len(x.shape) - x.batch != len(y.shape) - y.batch:
        raise Refused(f"joins shapes {x.shape} and {y.shape}, whose samples lie on different axes")
    rank = max(len(x.shape), len(y.shape))

    def widened(v):
        missing = rank - len(v.shape)
        if not missing:
            return v
        inner = (1,) * missing + v.inner
        return Value(call.add(pyref.Reshape(inner), v, suffix=".axes"), (1,) * missing + v.shape, v.batch + missing)

    return widened(x), widened(y)


def _beside(call, x, constant):
    """A constant as it is added to or multiplied with x: a number, or an array for one sample; and x with its axes."""
    if not isinstance(constant, call.torch.Tensor):
        return x, constant
    if constant.numel() == 1 and constant.ndim <= len(x.shape):
        return x, constant.item()
    array = call.as_array("constant", constant)
    missing = array.ndim - len(x.shape)
    if missing > 0:
        ref = call.add(pyref.Reshape((1,) * missing + x.inner), x, suffix=".axes")
        x = Value(ref, (1,) * missing + x.shape, x.batch + missing)
    array = np.reshape(array, (1,) * (len(x.shape) - array.ndim) + array.shape)
    if array.shape[x.batch] > 1:
        first = np.take(array, [0], axis=x.batch)
        if (array != first).any():
            raise Refused("has a constant that differs from sample to sample")
        array = first
    return x, np.moveaxis(array, x.batch, 0)


def _binary(layer, with_constant):
    def both(call, *_):
        x, y = call["self"], call["other"]
        scale = call["alpha"] if call["alpha"] is not None else 1
        if isinstance(x, Value) and isinstance(y, Value):
            if scale != 1:
                y = call.same(pyref.Scale(scale), y, suffix=".scaled")
            x, y = _joined(call, x, y)
            return Value(call.add(layer(), x, y), call.shapes[0], x.batch)
        x, c = _beside(call, x, y) if isinstance(x, Value) else _beside(call, y, x)
        ref = with_constant(call, x, c, scale, isinstance(call["self"], Value))
        return Value(ref, call.shapes[0], x.batch)

    return both


def _add_constant(call, x, c, scale, first):
    if not first and scale != 1:
        x, scale = call.same(pyref.Scale(scale), x, suffix=".scaled"), 1
    return call.add(pyref.Shift(c * scale if first else c), x)


def _subtract_constant(call, x, c, scale, first):
    if first:
        return call.add(pyref.Shift(-c * scale), x)
    return call.add(pyref.Shift(c), call.add(pyref.Scale(-scale), x, suffix=".negated"))


def _multiply_constant(call, x, c, scale, first):
    return call.add(pyref.Scale(c), x)


def _divide_constant(call, x, c, scale, first):
    if call["rounding_mode"] is not None:
        raise Refused("rounds")
    if first:
        return call.add(pyref.Scale(1 / c), x)
    return call.add(pyref.Scale(c), _reciprocal(call, x).ref)


OPERATIONS["add"] = _binary(pyref.Add, _add_constant)
OPERATIONS["sub"] = _binary(pyref.Subtract, _subtract_constant)
OPERATIONS["mul"] = _binary(pyref.Multiply, _multiply_constant)
OPERATIONS["div"] = _binary(pyref.Divide, _divide_constant)


@operation("rsub")
def _rsub(call, x, y, *_):
    if isinstance(y, Value):
        x, y = _joined(call, x, y)
        return Value(call.add(pyref.Subtract(), y, x), call.shapes[0], x.batch)
    x, c = _beside(call, x, y)
    return Value(_subtract_constant(call, x, c, call["alpha"], False), call.shapes[0], x.batch)


@operation("neg")
def _neg(call, x):
    return call.same(pyref.Scale(-1), x)


@operation("reciprocal")
def _reciprocal(call, x):
    """1 / x, the numerator being 0 · x + 1."""
    one = call.add(pyref.Shift(1), call.add(pyref.Scale(0), x, suffix=".zero"), suffix=".one")
    return replace(x, ref=call.add(pyref.Divide(), one, x, suffix=".reciprocal"))


@operation("pow")
def _pow(call, x, exponent):
    if not isinstance(x, Value) or exponent not in (1, 2, 3):
        raise Refused("has an exponent other than 2 or 3")
    ref = x.ref
    for _ in range(int(exponent) - 1):
        ref = call.add(pyref.Multiply(), ref, x)
    return replace(x, ref=ref)


@operation("square")
def _square(call, x):
    return _pow(call, x, 2)


# ── structure ──────────────────────────────────────────────────────────────────────────────────────────


@operation(*FREE)
def _unchanged(call, x, *_):
    node = call.reading.here
    before, after = node.args[0].meta["val"].dtype, node.meta["val"].dtype
    if before != after:
        raise Refused(f"converts {before} to {after}")
    return x


def _reshaped(call, x, shape):
    """x in another shape, in which the samples keep an axis of their own."""
    shape = tuple(shape)
    n, before = x.shape[x.batch], math.prod(x.shape[: x.batch])
    places = [b for b in range(len(shape)) if shape[b] == n and math.prod(shape[:b]) == before]
    if not places:
        raise Refused(f"reshapes {x.shape}, with samples on axis {x.batch}, to {shape}, which mixes them")
    batch = places[-1]
    value = Value(x.ref, shape, batch)
    if value.inner == x.inner:
        return value
    layer = pyref.Flatten() if len(value.inner) == 1 else pyref.Reshape(value.inner)
    return replace(value, ref=call.add(layer, x))


@operation("view", "reshape", "_unsafe_view", "flatten", "unflatten", "squeeze", "unsqueeze", "view_copy", "ravel")
def _reshape(call, x, *_):
    return _reshaped(call, x, call.shapes[0])


def _permuted(call, x, order):
    """Axes in another order; the network's stay where they are but for the order among those of a sample."""
    order = [a % len(x.shape) for a in order]
    value = Value(x.ref, tuple(x.shape[a] for a in order), order.index(x.batch))
    axes = tuple(x.axis(a) for a in order if a != x.batch)
    if axes == tuple(range(1, len(order))):
        return value
    return replace(value, ref=call.add(pyref.Transpose(axes), x))


@operation("permute")
def _permute(call, x, dims):
    return _permuted(call, x, dims)


@operation("transpose")
def _transpose(call, x, a, b):
    order = list(range(len(x.shape)))
    order[a], order[b] = order[b], order[a]
    return _permuted(call, x, order)


@operation("t", "numpy_T", "mT")
def _t(call, x):
    return _permuted(call, x, (1, 0))


@operation("cat")
def _cat(call, values, *_):
    values = [v for v in values if not (isinstance(v, call.torch.Tensor) and v.numel() == 0)]
    if not all(isinstance(v, Value) for v in values):
        raise Refused("joins a constant")
    if len({v.batch for v in values}) > 1:
        raise Refused("joins tensors whose samples lie on different axes")
    ref = call.add(pyref.Concat(values[0].axis(call["dim"])), *values)
    return Value(ref, call.shapes[0], values[0].batch)


@operation("stack")
def _stack(call, values, *_):
    if not all(isinstance(v, Value) for v in values) or len({v.batch for v in values}) > 1:
        raise Refused("joins a constant, or tensors whose samples lie on different axes")
    at, first = call["dim"] % len(call.shapes[0]), values[0]
    batch = first.batch + (at <= first.batch)
    shape = (*first.shape[:at], 1, *first.shape[at:])
    wide = [Value(v.ref, shape, batch) for v in values]
    wide = [replace(w, ref=call.add(pyref.Reshape(w.inner), w, suffix=".axes")) for w in wide]
    return Value(call.add(pyref.Concat(wide[0].axis(at)), *wide), call.shapes[0], batch)


@operation("split", "split_with_sizes", "chunk")
def _split(call, x, *_):
    axis, dim = x.axis(call["dim"]), call["dim"]
    sizes = tuple(shape[dim] for shape in call.shapes)
    name = call.add(pyref.Split(sizes, axis), x)[0]
    return [Value((name, k), shape, x.batch) for k, shape in enumerate(call.shapes)]


@operation("unbind")
def _unbind(call, x, *_):
    return [_selected(call, x, call["dim"], k) for k in range(len(call.shapes))]


def _selected(call, x, dim, index):
    """One entry along an axis, which vanishes."""
    axis, length = x.axis(dim), x.shape[dim]
    ref: Any = x
    if length > 1:
        index = index % length
        ref = call.add(pyref.Slice((axis,), (index,), (index + 1,)), x)
    inner = (None, *x.inner)[1:axis] + (None, *x.inner)[axis + 1 :]
    ref = call.add(pyref.Reshape(inner), ref, suffix="" if length == 1 else ".entry")
    dim = dim % len(x.shape)
    return Value(ref, (*x.shape[:dim], *x.shape[dim + 1 :]), x.batch - (dim < x.batch))


@operation("select")
def _select(call, x, *_):
    if isinstance(x, States):
        return _one_state(call, x, call["dim"], call["index"])
    return _selected(call, x, call["dim"], call["index"])


@operation("slice", "narrow")
def _slice(call, x, *_):
    dim = (call["dim"] or 0) % len(x.shape)
    if call.shapes[0] == x.shape and call["step"] in (None, 1):
        return x
    axis, length = x.axis(dim), x.shape[dim]
    start = call["start"] or 0
    end = start + call["length"] if call["end"] is None and call["length"] is not None else call["end"]
    begin, stop, step = slice(start, end, call["step"]).indices(length)
    return Value(call.add(pyref.Slice((axis,), (begin,), (stop,), (step,)), x), call.shapes[0], x.batch)


@operation("copy")
def _copy(call, x, source, *_):
    """What is written over x."""
    if not isinstance(source, Value) or source.shape != call.shapes[0]:
        raise Refused("writes a constant, or another shape")
    return source


@operation("slice_scatter", "select_scatter")
def _scatter(call, x, part, *_):
    """x with a part of it exchanged, as by writing into a view of x: what lies before it, it, what comes after."""
    if not isinstance(x, Value) or not isinstance(part, Value):
        raise Refused("writes a constant, or into one")
    dim = (call["dim"] or 0) % len(x.shape)
    length = x.shape[dim]
    if call.given.get("index") is not None:
        start = call["index"] % length
        part = _reshaped(call, part, (*x.shape[:dim], 1, *x.shape[dim + 1 :]))
        stop, step = start + 1, 1
    else:
        start, stop, step = slice(call["start"], call["end"], call["step"]).indices(length)
    if part.shape == x.shape:
        return part
    if step != 1 or part.batch != x.batch:
        raise Refused("writes with a step, or with samples on another axis")
    axis, refs = x.axis(dim), [part.ref]
    if start > 0:
        refs.insert(0, call.add(pyref.Slice((axis,), (0,), (start,)), x, suffix=".before"))
    if stop < length:
        refs.append(call.add(pyref.Slice((axis,), (stop,), (length,)), x, suffix=".after"))
    return replace(x, ref=call.add(pyref.Concat(axis), *refs))


@operation("expand")
def _expand(call, x, *_):
    """Spread to a shape: the sum with zeros of it."""
    shape = call.shapes[0]
    if shape == x.shape:
        return x
    x, zeros = _beside(call, x, call.torch.zeros(shape))
    return Value(call.add(pyref.Shift(zeros), x), shape, x.batch)


# ── recurrent layers ───────────────────────────────────────────────────────────────────────────────────


@operation("lstm", "gru")
def _recurrent(call, x, *_):
    if call.overload != "input":
        raise Refused("reads packed sequences")
    if call["train"] and call["dropout"]:
        raise Refused("drops at random")
    is_lstm = _own_name(call) == "lstm"
    first, expected = (0, "(n, t, c)") if call["batch_first"] else (1, "(t, n, c)")
    if len(x.shape) != 3 or x.batch != first:
        raise Refused(f"reads shape {x.shape} with samples on axis {x.batch}, expected {expected}")
    per = 4 if call["has_biases"] else 2
    if len(call["params"]) != per * call["num_layers"] * (2 if call["bidirectional"] else 1):
        raise Refused("projects its state")
    parameters = [call.constant("weight", p) for p in call["params"]]
    groups = [parameters[k : k + per] for k in range(0, len(parameters), per)]
    states = call["hx"] if is_lstm else [call["hx"]]
    arrays = {
        "w_x": tuple(g[0].T for g in groups),
        "w_h": tuple(g[1].T for g in groups),
        **(_lstm_biases(groups) if is_lstm else _gru_biases(groups)),
        **dict(zip(("h0", "c0"), (_initial(call, s) for s in states), strict=False)),
    }
    layer = (pyref.LSTM if is_lstm else pyref.GRU)(**arrays, bidirectional=bool(call["bidirectional"]))
    sequence = Value(call.add(layer, x), call.shapes[0], first)
    name = sequence.ref[0]
    h = States(layer, x, name)
    c = Refused("hands on the cell state, which no layer gives")
    return (sequence, h, c) if is_lstm else (sequence, h)


def _lstm_biases(groups):
    return {"b": tuple(g[2] + g[3] for g in groups)} if len(groups[0]) == 4 else {}


def _gru_biases(groups):
    """The candidate's recurrent bias stays apart: the reset gate multiplies it."""
    if len(groups[0]) != 4:
        return {}
    b, b_n = [], []
    for _, _, of_x, of_h in groups:
        width = len(of_h) // 3
        b.append(np.concatenate([of_x[: 2 * width] + of_h[: 2 * width], of_x[2 * width :]]))
        b_n.append(of_h[2 * width :])
    return {"b": tuple(b), "b_n": tuple(b_n)}


def _initial(call, state):
    """The initial states (h,) of all directions, None for zeros: the same for every sample."""
    array = call.constant("initial state", state)
    if not array.any():
        return None
    if (array != array[:, :1]).any():
        raise Refused("has an initial state that differs from sample to sample")
    return tuple(array[:, 0])


def _last(call, states, level):
    """The last hidden states of a layer in the stack: (n, directions · h)."""
    layer = states.layer
    count = (level + 1) * layer.directions
    arrays = {n: v and v[:count] for n in layer.arrays for v in [getattr(layer, n)]}
    ref = call.add(replace(layer, **arrays, output="last"), states.source, suffix=".last", stem=states.name)
    return ref, layer.width(count - 1)


def states_whole(call, states):
    """All last states, (layers · directions, n, h)."""
    directions = states.layer.directions
    n, parts = states.source.shape[states.source.batch], []
    for level in range(len(states.layer.w_x) // directions):
        ref, width = _last(call, states, level)
        parts.append(call.add(pyref.Reshape((directions, width)), ref, suffix=".directions", stem=states.name))
    ref = parts[0] if len(parts) == 1 else call.add(pyref.Concat(1), *parts, suffix=".layers", stem=states.name)
    return Value(ref, (len(parts) * directions, n, width), 1)


def _one_state(call, states, dim, index):
    directions, count = states.layer.directions, len(states.layer.w_x)
    if dim != 0:
        return _selected(call, states_whole(call, states), dim, index)
    level, direction = divmod(index % count, directions)
    ref, width = _last(call, states, level)
    n = states.source.shape[states.source.batch]
    if directions > 1:
        start = direction * width
        ref = call.add(pyref.Slice((1,), (start,), (start + width,)), ref, suffix=".direction")
    return Value(ref, (n, width), 0)
