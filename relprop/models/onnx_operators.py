"""What each ONNX operator becomes: OPERATORS, where the network's input reaches it, and FOLDED, where it does not.

A builder takes the node as an `Op` and answers with a Value, or with an array where it is constant after all; a
list of them for several outputs. What changed from opset to opset is dealt with where it is read.
"""

import math
from typing import Any

import numpy as np

import pyref

__all__ = ["FOLDED", "OPERATORS", "SHAPES"]

SHAPES = ("Shape", "Size")  # constant even of what is computed


# ── elementwise ────────────────────────────────────────────────────────────────────────────────────────


def activation(make):
    """A builder of an elementwise layer; make(op) is the layer."""
    return lambda op: op.emit(make(op), op.data())


def leaky_relu(op):
    return pyref.LeakyReLU(op.attribute("alpha", 0.01))


def hard_sigmoid(op):
    return pyref.HardSigmoid(op.attribute("alpha", 0.2), op.attribute("beta", 0.5))


def elu(op):
    return pyref.ELU(op.attribute("alpha", 1.0))


def selu(op):
    alpha, gamma = op.attribute("alpha", 1.6732632423543772), op.attribute("gamma", 1.0507009873554805)
    if abs(alpha - 1.6732632) > 1e-4 or abs(gamma - 1.0507009) > 1e-4:
        return _scaled_elu(op, alpha, gamma)
    return op.emit(pyref.SELU(), op.data())


def _scaled_elu(op, alpha, gamma):
    return op.emit(pyref.Scale(gamma), op.emit(pyref.ELU(alpha), op.data(), part="elu"))


def celu(op):
    """α ELU(x / α)."""
    alpha = op.attribute("alpha", 1.0)
    if alpha == 1:
        return op.emit(pyref.ELU(1.0), op.data())
    inner = op.emit(pyref.Scale(1 / alpha), op.data(), part="scale")
    return op.emit(pyref.Scale(alpha), op.emit(pyref.ELU(1.0), inner, part="elu"))


def hard_swish(op):
    x = op.data()
    return op.emit(pyref.Multiply(), x, op.emit(pyref.HardSigmoid(1 / 6, 0.5), x, part="gate"))


def mish(op):
    x = op.data()
    inner = op.emit(pyref.Softplus(), x, part="softplus")
    return op.emit(pyref.Multiply(), x, op.emit(pyref.Tanh(), inner, part="gate"))


def swish(op):
    """x σ(α x)."""
    x, alpha = op.data(), op.attribute("alpha", 1.0)
    if alpha == 1:
        return op.emit(pyref.SiLU(), x)
    inner = op.emit(pyref.Scale(alpha), x, part="scale")
    return op.emit(pyref.Multiply(), x, op.emit(pyref.Sigmoid(), inner, part="gate"))


def prelu(op):
    x, slope = op.data(), op.weight(1)
    if slope.size == 1:
        return op.emit(pyref.PReLU(slope.reshape(1)), x)
    channels = x.shape[1] if x.rank > 1 else 0
    wanted = [(channels, *(1,) * (x.rank - 2))] + [(channels,)] * (op.opset < 7 or x.rank == 2)
    while slope.ndim > x.rank - 1 and slope.shape[0] == 1:
        slope = slope[0]
    if x.batch != 0 or slope.shape not in wanted:
        op.refuse(f"its slope has shape {slope.shape}, expected one per channel, {wanted[0]}, or a single one")
    return op.emit(pyref.PReLU(slope.reshape(-1)), x)


def clip(op):
    if op.opset < 11:
        low, high = op.attribute("min", -np.inf), op.attribute("max", np.inf)
    else:
        low, high = op.number(1, -np.inf), op.number(2, np.inf)
    low, high = (None if abs(v) >= np.finfo(np.float32).max else v for v in (low, high))
    bounds = (-math.inf if low is None else low, math.inf if high is None else high)
    return op.emit(pyref.ReLU() if bounds == (0, math.inf) else pyref.Clip(*bounds), op.data())


def extremum(low):
    """Max (low) or Min of one value and a number."""

    def build(op):
        numbers = [v for v in op.inputs if isinstance(v, np.ndarray)]
        if len(op.inputs) == 1:
            return op.data()
        if len(numbers) != 1 or len(op.inputs) != 2 or numbers[0].size != 1 or numbers[0].ndim > 1:
            op.refuse("there is a layer for one input and one constant number only")
        bound = numbers[0].reshape(()).item()
        x = op.data(1 if isinstance(op.inputs[0], np.ndarray) else 0)
        layer = pyref.ReLU() if low and bound == 0 else pyref.Clip(*((bound, math.inf) if low else (-math.inf, bound)))
        return op.emit(layer, x)

    return build


def gelu(op):
    return pyref.GELU(op.expect("approximate", "none", "tanh"))


def identity(op):
    return op.input(0)


def cast(op):
    to, x = op.attribute("to"), op.input(0)
    op.attribute("saturate"), op.attribute("round_mode")
    kinds = {1: np.float32, 11: np.float64, 6: np.int32, 7: np.int64}
    if to not in kinds:
        op.refuse(f"it casts to the data type {to}, expected float32, float64, int32 or int64")
    wanted = np.dtype(kinds[to])
    if isinstance(x, np.ndarray):
        op.count_bytes(x.size)
        return x.astype(wanted)
    if wanted == x.dtype or (wanted.kind == "i" and x.dtype.kind in "iu"):
        return x
    return op.refuse(f"it casts {x.dtype} to {wanted}, which no layer does")


# ── sums and products ──────────────────────────────────────────────────────────────────────────────────


def aligned(op, x, rank, part):
    """x with axes of length 1 before its own."""
    return op.reshape(x, (1,) * (rank - x.rank) + x.shape, part) if x.rank < rank else x


def together(op, values):
    """Values with as many axes each, and the batch at the same one."""
    rank = max(v.rank for v in values)
    values = [aligned(op, v, rank, f"align{k}") for k, v in enumerate(values)]
    if len({v.batch for v in values}) > 1:
        op.refuse(
            f"its inputs have shapes {' and '.join(str(v.shape) for v in values)} with the batch at different axes"
        )
    return values


def per_sample(op, x, k):
    """The constant at input k as it meets one sample of x: (x with axes enough, a number or an array)."""
    c = op.weight(k)
    if op.opset < 7 and op.attribute("broadcast") and (axis := op.attribute("axis")) is not None:
        c = c.reshape(c.shape + (1,) * max(0, x.rank - op.counted(axis, x.rank) - c.ndim))
    if c.size == 1 and c.ndim <= x.rank:
        return x, c.reshape(()).item()
    x = aligned(op, x, c.ndim, "align")
    c = c.reshape((1,) * (x.rank - c.ndim) + c.shape)
    if c.shape[x.batch] != 1:
        rows = np.moveaxis(c, x.batch, 0)
        if x.shape[x.batch] != len(rows) or len(rows) == 0 or not (rows == rows[:1]).all():
            op.refuse(f"its constant {op.names[k]!r} has shape {c.shape}, with one value for each sample of {x.shape}")
        return x, rows[0]
    return x, np.moveaxis(c, x.batch, 0)[0]


def binary(op):
    """(the one input that the network computes, its place) or (None, None) where it computes both."""
    op.attribute("broadcast"), op.attribute("axis"), op.attribute("consumed_inputs")
    if len(op.inputs) != 2 or not op.has(0) or not op.has(1):
        op.refuse(f"it has {len(op.inputs)} inputs, expected 2")
    constants = [k for k in (0, 1) if isinstance(op.inputs[k], np.ndarray)]
    return (op.data(1 - constants[0]), constants[0]) if constants else (None, None)


def both(op):
    x, y = op.data(0), op.data(1)
    if op.opset < 7 and op.attribute("broadcast") and (axis := op.attribute("axis")) is not None:
        y = op.reshape(y, (1,) * axis + y.shape + (1,) * (x.rank - axis - y.rank), "align")
    return together(op, [x, y])


def add(op):
    x, k = binary(op)
    if x is None:
        return op.emit(pyref.Add(), *both(op))
    below = op.layer_of(x)
    x, c = per_sample(op, x, k)
    if isinstance(below, pyref.Dense) and below.b is None and op.fresh(1 - k) and np.shape(c) == below.w.shape[1:]:
        return op.replace(x, pyref.Dense(below.w, c))  # exporters write a dense layer as a product and a sum
    return op.emit(pyref.Shift(c), x)


def subtract(op):
    x, k = binary(op)
    if x is None:
        return op.emit(pyref.Subtract(), *both(op))
    x, c = per_sample(op, x, k)
    if k == 0:
        return op.emit(pyref.Shift(c), op.emit(pyref.Scale(-1.0), x, part="minus"))
    return op.emit(pyref.Shift(-c), x)


def multiply(op):
    x, k = binary(op)
    if x is None:
        return op.emit(pyref.Multiply(), *both(op))
    x, c = per_sample(op, x, k)
    return op.emit(pyref.Scale(c), x)


def divide(op):
    x, k = binary(op)
    if x is None:
        return op.emit(pyref.Divide(), *both(op))
    if k == 0:
        return quotient(op, *per_sample(op, x, k))
    x, c = per_sample(op, x, k)
    if not np.all(c):
        op.refuse(f"it divides by {op.names[k]!r}, which holds zeros")
    return op.emit(pyref.Scale(1 / c), x)


def quotient(op, x, c):
    """c / x, the numerator being 0 · x + c."""
    zero = op.emit(pyref.Scale(0.0), x, part="zero")
    return op.emit(pyref.Divide(), op.emit(pyref.Shift(c), zero, part="numerator"), x)


def reciprocal(op):
    return quotient(op, op.data(), 1.0)


def negate(op):
    return op.emit(pyref.Scale(-1.0), op.data())


def power(op):
    x, n = op.data(0), op.number(1)
    if n not in (1, 2, 3):
        op.refuse(f"its exponent is {n}, expected 1, 2 or 3")
    if n == 1:
        return x
    square = op.emit(pyref.Multiply(), x, x, part=None if n == 2 else "square")
    return square if n == 2 else op.emit(pyref.Multiply(), square, x)


def sum_of(op, part=None):
    """The sum of all inputs, constants one after the other; `part` is what to call it."""
    constants = [k for k, v in enumerate(op.inputs) if isinstance(v, np.ndarray)]
    values = together(op, [op.data(k) for k in range(len(op.inputs)) if k not in constants])
    y = values[0]
    if len(values) > 1:
        y = op.emit(pyref.Add(), *values, part="values" if constants else part)
    for k in constants:
        y, c = per_sample(op, y, k)
        y = op.emit(pyref.Shift(c), y, part=part if k == constants[-1] else f"constant{k}")
    return y


def mean_of(op):
    count = len(op.inputs)
    return op.data() if count == 1 else op.emit(pyref.Scale(1 / count), sum_of(op, "sum"))


# ── weights ────────────────────────────────────────────────────────────────────────────────────────────


def gemm(op):
    x, w = op.data(0), op.weight(1)
    op.attribute("broadcast")
    alpha, beta = op.attribute("alpha", 1.0), op.attribute("beta", 1.0)
    if x.rank != 2 or w.ndim != 2:
        op.refuse(f"its inputs have shapes {x.shape} and {w.shape}, expected matrices")
    if bool(op.attribute("transA", 0)) != (x.batch == 1):
        op.refuse("it multiplies from the side of the batch (transA)")
    w = w.T if op.attribute("transB", 0) else w
    w = w if alpha == 1 else w * w.dtype.type(alpha)
    if not op.has(2) or beta == 0:
        return op.emit(pyref.Dense(w), x, batch=0)
    if not isinstance(op.inputs[2], np.ndarray):
        z = op.emit(pyref.Dense(w), x, part="product", batch=0)
        c = op.data(2)
        c = c if beta == 1 else op.emit(pyref.Scale(beta), c, part="scale")
        return op.emit(pyref.Add(), *together(op, [z, c]))
    c = op.weight(2)
    if c.ndim > 2 or (c.ndim == 2 and len(c) != 1):
        op.refuse(f"its constant {op.names[2]!r} has shape {c.shape}, with one row for each sample")
    b = np.broadcast_to(c.reshape(-1), w.shape[1:])
    return op.emit(pyref.Dense(w, b if beta == 1 else b * b.dtype.type(beta)), x, batch=0)


def matmul(op):
    if all(not isinstance(v, np.ndarray) for v in op.inputs):
        op.refuse("it multiplies two matrices that the network computes, as attention does; there is no layer for it")
    if isinstance(op.inputs[0], np.ndarray):
        a, x = op.weight(0), op.data(1)
        if a.ndim != 2 or x.rank != 3 or x.batch != 0:
            op.refuse(f"it multiplies {a.shape} from the left with {x.shape}, expected a matrix and (n, nodes, c)")
        return op.emit(pyref.Aggregate(a), x)
    x, w = op.data(0), op.weight(1)
    if x.rank < 2 or x.batch == x.rank - 1 or w.ndim not in (1, 2):
        op.refuse(f"it multiplies {x.shape}, with the batch at {x.batch}, by {w.shape}, expected a matrix of weights")
    if w.ndim == 2:
        return op.emit(pyref.Dense(w), x)
    z = op.emit(pyref.Dense(w.reshape(-1, 1)), x, part="product")
    return op.reshape(z, z.shape[:-1])


def windows(op, x, kernel):
    """{stride, padding} and the dilation of a sliding window, with what auto_pad comes to."""
    rank = x.rank - 2
    kernel = tuple(kernel)
    if len(kernel) != rank or any(k < 1 for k in kernel):
        op.refuse(f"kernel_shape is {kernel}, expected {rank} lengths >= 1")
    op.count_work(16 * math.prod(kernel))
    stride = tuple(op.attribute("strides") or (1,) * rank)
    dilation = tuple(op.attribute("dilations") or (1,) * rank)
    auto = op.attribute("auto_pad", "NOTSET") or "NOTSET"
    pads = op.attribute("pads") or [0] * 2 * rank
    if not len(stride) == len(dilation) == len(pads) / 2 == rank or min(*stride, *dilation, 1) < 1:
        op.refuse(f"strides {stride}, dilations {dilation} and pads {tuple(pads)} do not fit {rank} axes")
    if auto == "NOTSET":
        pairs = tuple((pads[k], pads[rank + k]) for k in range(rank))
    elif auto == "VALID":
        pairs = ((0, 0),) * rank
    elif auto in ("SAME_UPPER", "SAME_LOWER"):
        if op.walk.free.intersection(x.shape[2:]):
            op.refuse("auto_pad needs the lengths of the image, which the file leaves open: fix them with shapes=")
        pairs = tuple(_same(*v, auto) for v in zip(x.shape[2:], kernel, stride, dilation, strict=True))
    else:
        op.refuse(f"auto_pad is {auto!r}, which ONNX does not have")
    if any(min(p) < 0 for p in pairs):
        op.refuse(f"pads are {tuple(pads)}, expected numbers >= 0")
    for length, s, p in zip(x.shape[2:], stride, pairs, strict=True):
        if "Pool" in op.type:  # convolutions loop over taps alone
            op.count_work((length + sum(p)) // s)
    return {"stride": stride, "padding": pairs}, dilation


def _same(length, kernel, stride, dilation, auto):
    """(before, after) such that there are as many windows as strides."""
    span = (kernel - 1) * dilation + 1
    total = max((-(-length // stride) - 1) * stride + span - length, 0)
    less, more = total // 2, total - total // 2
    return (less, more) if auto == "SAME_UPPER" else (more, less)


def _kernel(op, w):
    if (stated := op.attribute("kernel_shape")) and tuple(stated) != w.shape[2:]:
        op.refuse(f"kernel_shape is {tuple(stated)}, and the weights have {w.shape[2:]}")
    return w.shape[2:]


def conv(op):
    x, w = op.image(), op.weight(1)
    if w.ndim != x.rank:
        op.refuse(f"its weights have shape {w.shape}, and its input {x.shape}")
    options, dilation = windows(op, x, _kernel(op, w))
    b = op.weight(2) if op.has(2) else None
    return op.emit(pyref.Conv(w, b, **options, dilation=dilation, groups=op.attribute("group", 1)), x)


def conv_transpose(op):
    x, w = op.image(), op.weight(1)
    rank = x.rank - 2
    if w.ndim != x.rank:
        op.refuse(f"its weights have shape {w.shape}, and its input {x.shape}")
    kernel = _kernel(op, w)
    auto, wanted = op.attribute("auto_pad", "NOTSET"), op.attribute("output_shape")
    extra = tuple(op.attribute("output_padding") or (0,) * rank)
    if wanted or auto in ("SAME_UPPER", "SAME_LOWER"):
        options, dilation, extra = _sized_transpose(op, x, kernel, auto, wanted, extra)
    else:
        options, dilation = windows(op, x, kernel)
    b = op.weight(2) if op.has(2) else None
    layer = pyref.ConvTranspose(
        w, b, **options, output_padding=extra, dilation=dilation, groups=op.attribute("group", 1)
    )
    return op.emit(layer, x)


def _sized_transpose(op, x, kernel, auto, wanted, extra):
    """The windows of a transposed convolution whose output length is given."""
    rank = x.rank - 2
    op.attribute("pads")
    op.count_work(16 * math.prod(kernel))
    stride = tuple(op.attribute("strides") or (1,) * rank)
    dilation = tuple(op.attribute("dilations") or (1,) * rank)
    lengths = tuple(wanted)[-rank:] if wanted else tuple(h * s for h, s in zip(x.shape[2:], stride, strict=True))
    pairs, more_at_end = [], []
    for h, k, s, d, more, length in zip(x.shape[2:], kernel, stride, dilation, extra, lengths, strict=True):
        total = s * (h - 1) + more + (k - 1) * d + 1 - length
        more_at_end.append(more - min(total, 0))
        total = max(total, 0)
        before = total // 2 if auto == "SAME_UPPER" else total - total // 2
        pairs.append((before, total - before))
    return {"stride": stride, "padding": tuple(pairs)}, dilation, tuple(more_at_end)


def embedding(op):
    """Rows of a table by ids; or a piece of what the network computes."""
    axis = op.attribute("axis", 0)
    if isinstance(op.inputs[1], np.ndarray):
        return _pick(op, op.data(0), axis, op.inputs[1])
    table, ids = op.weight(0), op.input(1)
    if table.ndim != 2 or op.counted(axis, 2) != 0 or ids.dtype.kind not in "iu":
        op.refuse(
            f"it looks {ids.dtype} up in {table.shape} along axis {axis}, expected integers and the rows of a table"
        )
    return op.emit(pyref.Embedding(table), ids)


def _pick(op, x, axis, index):
    """One element, or a run of them, along an axis."""
    place = op.counted(axis, x.rank)
    inner = op.axis(x, axis)
    if index.dtype.kind not in "iu" or index.ndim > 1 or index.size == 0:
        op.refuse(f"its indices have dtype {index.dtype} and shape {index.shape}, expected whole numbers")
    if index.size > 1 and not (np.diff(index) == 1).all():
        op.refuse("its indices do not follow each other, which no layer takes")
    first, last = int(index.reshape(-1)[0]), int(index.reshape(-1)[-1])
    if not -x.shape[place] <= first <= last < x.shape[place] or (first < 0 <= last):
        op.refuse(f"its indices go from {first} to {last}, along {x.shape[place]}")
    piece = pyref.Slice((inner,), (first,), (last + 1 or None,))
    if index.ndim == 1:
        return op.emit(piece, x)
    y = op.emit(piece, x, part="piece")
    return op.reshape(y, y.shape[:place] + y.shape[place + 1 :])


# ── pooling and normalisation ──────────────────────────────────────────────────────────────────────────


def max_pool(op):
    x = op.image()
    options, dilation = windows(op, x, op.attribute("kernel_shape") or ())
    op.expect("storage_order", 0, 1)
    layer = pyref.MaxPool(
        tuple(op.attribute("kernel_shape")), **options, dilation=dilation, ceil_mode=bool(op.attribute("ceil_mode", 0))
    )
    return op.emit(layer, x)


def average_pool(op):
    x = op.image()
    kernel = tuple(op.attribute("kernel_shape") or ())
    options, dilation = windows(op, x, kernel)
    if any(d != 1 for d in dilation):
        op.refuse(f"dilations are {dilation}, expected 1: average pooling has no gaps")
    lengths = [length + sum(p) for length, p in zip(x.shape[2:], options["padding"], strict=True)]
    op.count_bytes(math.prod(lengths))  # how many pixels a window at the border has
    count, ceil_mode = bool(op.attribute("count_include_pad", 0)), bool(op.attribute("ceil_mode", 0))
    return op.emit(pyref.AvgPool(kernel, **options, ceil_mode=ceil_mode, count_include_pad=count), x)


def global_pool(layer):
    def build(op):
        x = op.image()
        op.count_bytes(sum(x.shape[2:]))
        return op.emit(layer(), x)

    return build


def batchnorm(op):
    x = op.data()
    op.attribute("momentum"), op.attribute("consumed_inputs"), op.attribute("is_test")
    if op.attribute("training_mode", 0) or op.attribute("spatial", 1) != 1:
        op.refuse("it normalises by the batch (training_mode), or not per channel (spatial=0)")
    if x.batch != 0 or x.rank < 2:
        op.refuse(f"its input has shape {x.shape} with the batch at {x.batch}, expected (n, c, …)")
    weight, bias, mean, variance = (op.weight(k).reshape(-1) for k in range(1, 5))
    return op.emit(pyref.BatchNorm.from_statistics(mean, variance, weight, bias, op.attribute("epsilon", 1e-5)), x)


def instance_norm(op):
    op.attribute("consumed_inputs")
    return op.emit(pyref.InstanceNorm(op.weight(1), op.weight(2), op.attribute("epsilon", 1e-5)), op.image())


def layer_norm(op):
    x = op.data()
    op.attribute("stash_type")
    axis = op.counted(op.attribute("axis", -1), x.rank)
    if axis <= x.batch:
        op.refuse(f"it reaches across the batch, axis {x.batch} of {x.shape}")
    shape = x.shape[axis:]
    weight, bias = (np.broadcast_to(op.weight(k), shape) if op.has(k) else None for k in (1, 2))
    return op.emit(pyref.LayerNorm(weight, bias, op.attribute("epsilon", 1e-5), len(shape)), x)


def group_norm(op):
    x, groups = op.image(), op.attribute("num_groups", 0)
    op.attribute("stash_type")
    weight, bias = op.weight(1).reshape(-1), op.weight(2).reshape(-1)
    if op.opset < 21:  # one per group then, one per channel now
        weight, bias = (np.repeat(v, x.shape[1] // max(groups, 1)) for v in (weight, bias))
    return op.emit(pyref.GroupNorm(groups, weight, bias, op.attribute("epsilon", 1e-5)), x)


def lrn(op):
    size = op.attribute("size", 0)
    if size < 1 or size % 2 == 0:
        op.refuse(f"size is {size}, expected an odd number: ONNX leans an even window the other way")
    op.count_work(16 * min(size, op.image().shape[1]))
    values = (op.attribute("alpha", 1e-4), op.attribute("beta", 0.75), op.attribute("bias", 1.0))
    return op.emit(pyref.LocalResponseNorm(size, *values), op.image())


def softmax(layer):
    """Softmax or its logarithm: over one axis, and before opset 13 over all axes from one on."""

    def build(op):
        x = op.data()
        axis = op.counted(op.attribute("axis", -1 if op.opset >= 13 else 1), x.rank)
        if op.opset >= 13 or math.prod(x.shape[axis + 1 :]) == 1:
            return op.emit(layer(op.axis(x, axis)), x)
        if axis <= x.batch:
            op.refuse(f"it reaches across the batch, axis {x.batch} of {x.shape}")
        flat = op.reshape(x, (*x.shape[:axis], math.prod(x.shape[axis:])), "flatten", axis)
        return op.reshape(op.emit(layer(axis), flat, part="softmax"), x.shape)

    return build


def dropout(op):
    op.attribute("seed"), op.attribute("is_test")
    rate = op.attribute("ratio", 0.5) if op.opset < 12 else op.number(1, 0.5)
    if op.opset >= 12 and op.number(2, False):
        op.refuse("it drops at random (training_mode)")
    return op.emit(pyref.Dropout(rate), op.data())


# ── axes ───────────────────────────────────────────────────────────────────────────────────────────────


def reduction(layer):
    def build(op):
        x = op.data()
        axes = op.integers(1, "axes")
        keep, noop = bool(op.attribute("keepdims", 1)), op.attribute("noop_with_empty_axes", 0)
        if not axes:
            if noop:
                return x
            axes = list(range(x.rank))
        inner = tuple(op.axis(x, a) for a in axes)
        gone = {op.counted(a, x.rank) for a in axes}
        batch = x.batch if keep else x.batch - sum(a < x.batch for a in gone)
        return op.emit(layer(inner, keep), x, batch=batch)

    return build


def concat(op):
    axis = op.attribute("axis", 1)
    if any(isinstance(v, np.ndarray) for v in op.inputs):
        op.refuse("it has a constant among its inputs, for which there is no layer")
    values = [op.data(k) for k in range(len(op.inputs))]
    values = together(op, values)
    return values[0] if len(values) == 1 else op.emit(pyref.Concat(op.axis(values[0], axis)), *values)


def split(op):
    x, axis = op.data(), op.attribute("axis", 0)
    sizes, inner = op.integers(1, "split"), op.axis(op.data(), axis)
    length, count = x.shape[op.counted(axis, x.rank)], op.attribute("num_outputs", len(op.outputs))
    if not sizes:
        if not 0 < count <= max(length, 1):
            op.refuse(f"it splits a length of {length} in {count}")
        part = -(-length // count)
        sizes = [part] * (count - 1) + [length - part * (count - 1)]
    if len(sizes) == 1:
        return [x]
    return op.emit(pyref.Split(tuple(sizes), inner), x)


def slices(op, rank):
    """{axis of ONNX: (start, stop, step)}."""
    if op.opset < 10:
        starts, ends = op.integers(1, "starts"), op.integers(2, "ends")
        axes, steps = op.attribute("axes"), None
    else:
        starts, ends, axes, steps = (op.integers(k, None) for k in range(1, 5))
    axes = list(range(len(starts or ()))) if axes is None else axes
    steps = [1] * len(axes) if steps is None else steps
    if starts is None or ends is None or not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps:
        op.refuse("its starts, ends, axes and steps do not belong together")
    counted = [op.counted(a, rank) for a in axes]
    return {a: cut for a, *cut in zip(counted, starts, ends, steps, strict=True)}


def slice_piece(op):
    x = op.data()
    kept = {}
    for axis, (start, stop, step) in slices(op, x.rank).items():
        whole = range(x.shape[axis])[start:stop:step] == range(x.shape[axis])
        if not whole or (axis != x.batch and x.shape[axis] in op.walk.free and (start, step) != (0, 1)):
            kept[op.axis(x, axis)] = (start, None if stop >= 2**31 - 1 else stop, step)
    if not kept:
        return x
    start, stop, step = zip(*kept.values(), strict=True)
    return op.emit(pyref.Slice(tuple(kept), start, stop, step), x)


def pad(op):
    x = op.data()
    op.expect("mode", "constant")
    pads = op.integers(1, "pads") or []
    value = op.attribute("value", 0.0) if op.opset < 11 else op.number(2, 0.0)
    axes = op.integers(3, None) or list(range(x.rank))
    if len(pads) != 2 * len(axes):
        op.refuse(f"pads are {tuple(pads)}, expected two for each of {len(axes)} axes")
    pairs, cuts = [[0, 0] for _ in range(x.rank)], {}
    for k, axis in enumerate(axes):
        pair = [pads[k], pads[len(axes) + k]]
        if any(pair):
            inner = op.axis(x, axis)
            pairs[inner] = [max(p, 0) for p in pair]
            if min(pair) < 0:
                cuts[inner] = (max(-pair[0], 0), min(pair[1], 0) or None)
    bordered = any(map(any, pairs))
    if cuts:
        start, stop = zip(*cuts.values(), strict=True)
        x = op.emit(pyref.Slice(tuple(cuts), start, stop), x, part="cut" if bordered else None)
    if not bordered:
        return x
    least = next(k for k, p in enumerate(pairs) if any(p))
    return op.emit(pyref.Pad(tuple(map(tuple, pairs[least:])), value), x)


def flatten(op):
    x = op.input(0)
    axis = op.attribute("axis", 1)
    axis = x.rank if axis == x.rank else op.counted(axis, x.rank)
    return op.reshape(x, (math.prod(x.shape[:axis]), math.prod(x.shape[axis:])), free=1)


def reshape(op):
    x = op.input(0)
    wanted, zero = op.integers(1, "shape"), op.attribute("allowzero", 0)
    if wanted is None:
        op.refuse("its shape is missing")
    shape, free = full_shape(op, x.shape, wanted, zero)
    return op.reshape(x, shape, free=free)


def full_shape(op, old, wanted, zero):
    """The shape that Reshape asks for without 0 and -1, and where -1 stood."""
    if any(n < -1 for n in wanted) or wanted.count(-1) > 1 or len(wanted) > 32:
        op.refuse(f"its shape is {tuple(wanted)}, expected lengths and at most one -1")
    if not zero and any(n == 0 and k >= len(old) for k, n in enumerate(wanted)):
        op.refuse(f"its shape is {tuple(wanted)}, and {old} has no length to take for each 0")
    shape = [old[k] if n == 0 and not zero else n for k, n in enumerate(wanted)]
    if -1 not in shape:
        return tuple(shape), None
    free, known = shape.index(-1), math.prod(n for n in shape if n != -1)
    if known == 0 or math.prod(old) % known:
        op.refuse(f"its shape is {tuple(wanted)}, which does not hold {old}")
    shape[free] = math.prod(old) // known
    return tuple(shape), free


def squeeze(op):
    x, axes = op.input(0), op.integers(1, "axes")
    if axes is None:
        if x.shape[x.batch] == 1:
            op.refuse("it drops every axis of length 1, the batch too: name the axes")
        axes = [a for a, n in enumerate(x.shape) if n == 1]
    gone = {op.counted(a, x.rank) for a in axes}
    if x.batch in gone or any(x.shape[a] != 1 for a in gone):
        op.refuse(f"it drops the axes {tuple(axes)} of {x.shape}, with the batch at {x.batch}")
    return op.reshape(x, tuple(n for a, n in enumerate(x.shape) if a not in gone))


def unsqueezed(op, shape):
    axes = op.integers(1, "axes") or []
    rank = len(shape) + len(axes)
    fresh, rest = {op.counted(a, rank) for a in axes}, iter(shape)
    if len(fresh) != len(axes) or rank > 32:
        op.refuse(f"its axes are {tuple(axes)}, expected different ones")
    return tuple(1 if a in fresh else next(rest) for a in range(rank))


def unsqueeze(op):
    x = op.input(0)
    return op.reshape(x, unsqueezed(op, x.shape))


def transpose(op):
    x = op.input(0)
    perm = op.attribute("perm") or list(range(x.rank))[::-1]
    if sorted(perm) != list(range(x.rank)):
        op.refuse(f"perm is {tuple(perm)}, expected a permutation of {x.rank} axes")
    batch = perm.index(x.batch)
    order = tuple(a + 1 if a < x.batch else a for a in perm if a != x.batch)
    if order == tuple(range(1, x.rank)):
        return op.reshape_as(x, tuple(x.shape[a] for a in perm), batch)
    return op.emit(pyref.Transpose(order), x, batch=batch)


def expand(op):
    x, wanted = op.input(0), op.integers(1, None)
    rank = max(x.rank, len(wanted))
    shape = np.broadcast_shapes((1,) * (rank - x.rank) + x.shape, tuple(wanted))
    if shape != (1,) * (rank - x.rank) + x.shape:
        op.refuse(f"it repeats {x.shape} to {shape}, for which there is no layer")
    return op.reshape(x, shape)


def depth_to_space(op):
    x, b = op.image(), op.attribute("blocksize", 0)
    mode = op.expect("mode", "DCR", "CRD")
    _, c, h, w = x.shape if x.rank == 4 else op.refuse(f"its input has shape {x.shape}, expected (n, c, h, w)")
    if b < 1 or c % (b * b):
        op.refuse(f"blocksize is {b}, and there are {c} channels")
    inner, order = ((b, b, c // (b * b)), (3, 4, 1, 5, 2)) if mode == "DCR" else ((c // (b * b), b, b), (1, 4, 2, 5, 3))
    y = op.emit(pyref.Reshape((*inner, h, w)), x, part="blocks")
    return op.emit(pyref.Reshape((c // (b * b), h * b, w * b)), op.emit(pyref.Transpose(order), y, part="order"))


def space_to_depth(op):
    x, b = op.image(), op.attribute("blocksize", 0)
    order = (3, 5, 1, 2, 4) if op.expect("mode", "DCR", "CRD") == "DCR" else (1, 3, 5, 2, 4)
    _, c, h, w = x.shape if x.rank == 4 else op.refuse(f"its input has shape {x.shape}, expected (n, c, h, w)")
    if b < 1 or h % b or w % b:
        op.refuse(f"blocksize is {b}, and the image {h} × {w}")
    y = op.emit(pyref.Reshape((c, h // b, b, w // b, b)), x, part="blocks")
    y = op.emit(pyref.Transpose(order), y, part="order")
    return op.emit(pyref.Reshape((c * b * b, h // b, w // b)), y)


def resize(op):
    """Resize, and the older Upsample: whole factors by nearest neighbours, any length by linear interpolation."""
    x = op.image()
    mode = op.attribute("mode", "nearest")
    op.attribute("extrapolation_value"), op.attribute("cubic_coeff_a"), op.attribute("exclude_outside")
    op.expect("antialias", 0)
    op.expect("keep_aspect_ratio_policy", "stretch")
    old = op.type == "Upsample" or op.opset < 11
    rule = op.attribute("coordinate_transformation_mode", "asymmetric" if old else "half_pixel")
    rounding = op.attribute("nearest_mode", "floor" if old else "round_prefer_floor")
    lengths, factors = _lengths(op, x, 1 if old else 2)
    whole = all(f == int(f) and f >= 1 for f in factors)
    if lengths[:2] != x.shape[:2]:
        op.refuse(f"it stretches {x.shape} to {lengths}, the batch or the channels too")
    if any(n < 1 for n in lengths):
        op.refuse(f"it stretches {x.shape} to {lengths}")
    op.count_work(16 * sum(lengths[2:]))
    op.count_bytes(sum(n * h for n, h in zip(lengths[2:], x.shape[2:], strict=True)))
    if mode == "nearest":
        below = rule == "asymmetric" and rounding == "floor"
        centred = rule in ("half_pixel", "pytorch_half_pixel", "half_pixel_symmetric") and rounding.startswith("round")
        if not (below or (centred and whole)):
            op.refuse(f"nearest neighbours by {rule} and {rounding} are not the pixel below")
        if not whole and any(n / h != f for n, h, f in zip(lengths[2:], x.shape[2:], factors, strict=True)):
            op.refuse(f"its scales {factors} are not the ratios of {lengths} and {x.shape}")
        layer: Any = pyref.Upsample(size=lengths[2:])
    elif mode in ("linear", "bilinear"):
        exact = all(n / h == f for n, h, f in zip(lengths[2:], x.shape[2:], factors, strict=True))
        if rule in ("half_pixel", "pytorch_half_pixel", "half_pixel_symmetric") and exact:
            short = rule == "pytorch_half_pixel" and 1 in lengths[2:]
            layer = op.refuse("a length of 1 has another centre in PyTorch") if short else _stretch(lengths, False)
        elif rule == "align_corners" and exact:
            layer = _stretch(lengths, True)
        else:
            op.refuse(f"linear interpolation by {rule} with scales {factors} has no layer")
    else:
        op.refuse(f"mode is {mode!r}, expected 'nearest' or 'linear'")
    if op.walk.free.intersection(x.shape[2:]):
        if not whole or (mode != "nearest" and rule == "align_corners"):
            op.refuse("it needs the lengths of the image, which the file leaves open: fix them with shapes=")
        layer = pyref.Upsample(scale=tuple(map(int, factors)), mode=layer.mode, align_corners=layer.align_corners)
    return op.emit(layer, x, sample=lengths[1:])


def _stretch(lengths, align_corners):
    return pyref.Upsample(size=lengths[2:], mode="bilinear", align_corners=align_corners)


def _lengths(op, x, k):
    """(all lengths afterwards, the factors of the image's axes)."""
    axes = [op.counted(a, x.rank) for a in op.attribute("axes") or range(x.rank)]
    scales = op.attribute("scales")
    if op.type == "Upsample" and scales is None and op.opset < 9:
        op.refuse("its scales are missing")
    if scales is None and op.has(k) and op.constant(k).size:
        scales = [float(v) for v in op.constant(k).reshape(-1)]
    lengths, factors = list(x.shape), [1.0] * x.rank
    sizes = None if scales is not None else op.integers(3, None)
    given = scales if sizes is None else sizes
    if given is None or len(given) != len(axes) or not all(0 < v < 2**31 for v in given):
        op.refuse("it has neither scales nor sizes that fit its input")
    for a, v in zip(axes, given, strict=True):
        lengths[a] = math.floor(x.shape[a] * v) if sizes is None else v
        factors[a] = v if sizes is None else v / x.shape[a]
    return tuple(lengths), tuple(factors[2:])


# ── recurrent ──────────────────────────────────────────────────────────────────────────────────────────


def recurrent(make, gates, order, functions):
    """LSTM or GRU: the gates of ONNX in `order`, by which pyref's blocks are picked.

    Values are (t, n, c) with layout 0, (n, t, c) with layout 1; to pyref both are (n, t, c). Y has an axis of
    directions between t and n, and Y_h begins with it.
    """

    def build(op):
        x = op.data()
        layout = op.attribute("layout", 0)
        if x.rank != 3 or x.batch != (0 if layout else 1):
            op.refuse(
                f"it reads {x.shape} with the batch at {x.batch}, expected (t, n, c) for layout 0 and (n, t, c) for "
                "layout 1: see batch_axis of relprop.load"
            )
        direction = op.expect("direction", "forward", "reverse", "bidirectional")
        dirs = 2 if direction == "bidirectional" else 1
        if (op.attribute("activations") or functions * dirs) != functions * dirs:
            op.refuse(f"its activations are {op.attribute('activations')}, expected {functions * dirs}")
        for name in ("clip", "activation_alpha", "activation_beta"):
            if op.attribute(name):
                op.refuse(f"{name} is not supported")
        op.attribute("output_sequence")
        w, r = op.weight(1), op.weight(2)
        width = op.attribute("hidden_size", r.shape[-1])
        if w.shape != (dirs, gates * width, x.sample[1]) or r.shape != (dirs, gates * width, width):
            op.refuse(f"its weights have shapes {w.shape} and {r.shape}, expected {dirs} × {gates} × {width} rows")
        b = op.weight(3) if op.has(3) else np.zeros((dirs, 2 * gates * width), w.dtype)
        if b.shape != (dirs, 2 * gates * width):
            op.refuse(f"its bias has shape {b.shape}, expected {(dirs, 2 * gates * width)}")
        op.count_bytes(w.size + r.size, w.itemsize)
        steps = x.sample[0]
        lengths = _lengths_of_sequences(op, steps, x.shape[x.batch])
        options = {"bidirectional": dirs == 2, "reverse": direction == "reverse", "masked": lengths is not None}

        def pick(v):  # rows in ONNX's order of gates, as columns in pyref's
            return np.concatenate([v[k * width : (k + 1) * width] for k in order])

        parts = make(op, w, r, b, dirs, width, pick)
        data = (x,) if lengths is None else (x, lengths)
        last, sequence = op.is_read(1), op.is_read(0)
        results = []
        if sequence:
            layer = parts(output="sequence", **options)
            y = op.emit(layer, *data, part="sequence" if last else None, batch=1, sample=(steps, dirs * width))
            results.append(_with_directions(op, y, dirs, width, layout))
        else:
            results.append(None)
        if last:
            h = op.emit(
                parts(output="last", **options),
                *data,
                part="last" if sequence else None,
                batch=0,
                sample=(dirs * width,),
            )
            results.append(_state(op, h, dirs, width, layout))
        return results

    return build


def _with_directions(op, y, dirs, width, layout):
    """pyref's (n, t, directions · h) as Y: (t, directions, n, h), or (n, t, directions, h) with layout 1."""
    t = y.sample[0]
    if dirs > 1:
        y = op.emit(pyref.Reshape((-1 if t in op.walk.free else t, dirs, width)), y, part="directions", batch=0)
    n = op.walk.batch
    shape = (n, t, dirs, width) if layout else (t, dirs, n, width)
    if dirs == 1:
        y = op.emit(pyref.Reshape((-1 if t in op.walk.free else t, 1, width)), y, part="directions", batch=0)
    return op.reshape_as(y, shape, 0 if layout else 2)


def _state(op, h, dirs, width, layout):
    """pyref's (n, directions · h) as Y_h: (directions, n, h), or (n, directions, h) with layout 1."""
    n = op.walk.batch
    y = op.emit(pyref.Reshape((dirs, width)), h, part="directions", batch=0)
    return op.reshape_as(y, (n, dirs, width) if layout else (dirs, n, width), 0 if layout else 1)


def _lengths_of_sequences(op, steps, n):
    """sequence_lens as a value of the network, or None where every sequence is whole."""
    if not op.has(4):
        return None
    value = op.inputs[4]
    if not isinstance(value, np.ndarray):
        return value
    if value.size and (value == steps).all():
        return None
    return op.refuse("its sequence_lens are constant and differ: they belong to samples, make them an input")


def _initial(op, k, dirs, width, layout):
    """A constant state (directions, n, h) that all samples share, per direction; None where it is zero."""
    if not op.has(k):
        return None
    state = op.weight(k)
    state = np.moveaxis(state, 0 if layout else 1, 0) if state.ndim == 3 else state
    if state.ndim != 3 or state.shape[1:] != (dirs, width) or not len(state):
        op.refuse(f"its initial state {op.names[k]!r} has shape {state.shape}")
    if state.strides[0] != 0 and not (state == state[:1]).all():
        op.refuse(f"its initial state {op.names[k]!r} differs from sample to sample")
    return tuple(state[0]) if state[0].any() else None


def lstm_parts(op, w, r, b, dirs, width, pick):
    op.expect("input_forget", 0)
    if op.has(7):
        op.refuse("it has peepholes")
    layout = op.attribute("layout", 0)
    h0, c0 = (_initial(op, k, dirs, width, layout) for k in (5, 6))
    w_x, w_h = (tuple(pick(v[d]).T for d in range(dirs)) for v in (w, r))
    bias = tuple(pick(b[d, : 4 * width] + b[d, 4 * width :]) for d in range(dirs))
    return lambda **options: pyref.LSTM(w_x, w_h, bias, h0, c0, **options)


def gru_parts(op, w, r, b, dirs, width, pick):
    linear = bool(op.attribute("linear_before_reset", 0))
    h0 = _initial(op, 5, dirs, width, op.attribute("layout", 0))
    w_x, w_h = (tuple(pick(v[d]).T for d in range(dirs)) for v in (w, r))
    b_x, b_h = (tuple(pick(b[d, s]) for d in range(dirs)) for s in (slice(3 * width), slice(3 * width, None)))
    kept = [slice(2 * width), slice(2 * width, None)]
    if linear:  # the candidate's recurrent bias is inside of what the reset gate multiplies
        bias = tuple(np.concatenate([x[kept[0]] + h[kept[0]], x[kept[1]]]) for x, h in zip(b_x, b_h, strict=True))
        b_n = tuple(h[kept[1]] for h in b_h)
    else:
        bias, b_n = tuple(x + h for x, h in zip(b_x, b_h, strict=True)), None
    return lambda **options: pyref.GRU(w_x, w_h, bias, b_n, h0, linear_before_reset=linear, **options)


# ── constants ──────────────────────────────────────────────────────────────────────────────────────────


def fold_constant(op):
    from relprop.models.onnx_file import read_tensor

    for name, kind in (("value", None), ("value_float", np.float32), ("value_int", np.int64)):
        if (value := op.attribute(name)) is not None:
            return np.array(value, kind) if kind else read_tensor(value, f"{op.where}: value", op.walk.graph.folder)
    for name, kind in (("value_floats", np.float32), ("value_ints", np.int64)):
        if (value := op.attribute(name)) is not None:
            return np.array(value, kind)
    return op.refuse("it has no value that is read")


def fold_filled(op):
    from relprop.models.onnx_file import read_tensor

    shape, value = op.integers(0, None), op.attribute("value")
    fill = np.zeros(1, np.float32) if value is None else read_tensor(value, f"{op.where}: value", None)
    if fill.size != 1 or any(n < 0 for n in shape):
        op.refuse(f"its shape is {tuple(shape)} and its value has {fill.size} elements")
    return np.broadcast_to(fill.reshape(()), tuple(shape))


def fold_shape(op):
    shape = op.input(0).shape
    return np.array(shape[op.attribute("start", 0) : op.attribute("end", None)], np.int64)


def fold_size(op):
    return np.array(math.prod(op.input(0).shape), np.int64)


def fold_elementwise(function):
    def build(op):
        op.attribute("broadcast"), op.attribute("axis")
        values = [op.constant(k) for k in range(len(op.inputs))]
        op.count_bytes(math.prod(np.broadcast_shapes(*(v.shape for v in values))))
        result = function(*values)
        return result.astype(values[-1].dtype, copy=False) if result.dtype != bool else result

    return build


def _quotient(a, b):
    return a / b if a.dtype.kind == "f" else np.trunc(a / b)


def fold_gather(op):
    x, index, axis = op.constant(0), op.constant(1), op.attribute("axis", 0)
    axis = op.counted(axis, x.ndim)
    op.count_bytes(index.size * math.prod(x.shape[:axis] + x.shape[axis + 1 :]))
    return np.take(x, index, axis)


def fold_concat(op):
    values = [op.constant(k) for k in range(len(op.inputs))]
    op.count_bytes(sum(v.size for v in values))
    return np.concatenate(values, op.attribute("axis", 0))


def fold_slice(op):
    x = op.constant(0)
    cuts = [slice(None)] * x.ndim
    for axis, cut in slices(op, x.ndim).items():
        cuts[axis] = slice(*cut)
    return x[tuple(cuts)]


def fold_reshape(op):
    x = op.constant(0)
    shape, _ = full_shape(op, x.shape, op.integers(1, "shape"), op.attribute("allowzero", 0))
    op.count_bytes(0 if x.flags.c_contiguous else x.size)
    return x.reshape(shape)


def fold_flatten(op):
    x, axis = op.constant(0), op.attribute("axis", 1)
    op.count_bytes(0 if x.flags.c_contiguous else x.size)
    return x.reshape(math.prod(x.shape[:axis]), -1)


def fold_squeeze(op):
    x, axes = op.constant(0), op.integers(1, "axes")
    return np.squeeze(x) if axes is None else np.squeeze(x, tuple(axes))


def fold_unsqueeze(op):
    x = op.constant(0)
    return np.expand_dims(x, tuple(op.integers(1, "axes") or ()))


def fold_transpose(op):
    return np.transpose(op.constant(0), op.attribute("perm"))


def fold_expand(op):
    x = op.constant(0)
    return np.broadcast_to(x, np.broadcast_shapes(x.shape, tuple(op.integers(1, None))))


def fold_tile(op):
    x, repeats = op.constant(0), op.integers(1, None)
    op.count_bytes(x.size * math.prod(max(n, 0) for n in repeats))
    return np.tile(x, repeats)


def fold_range(op):
    start, stop, step = (op.number(k) for k in range(3))
    count = max(0, math.ceil((stop - start) / step))
    op.count_bytes(count)
    return (start + step * np.arange(count)).astype(op.constant(0).dtype)


def fold_product(op):
    x, axes = op.constant(0), op.integers(1, "axes")
    keep = bool(op.attribute("keepdims", 1))
    op.attribute("noop_with_empty_axes")
    return np.asarray(np.prod(x, tuple(axes) if axes else None, dtype=x.dtype, keepdims=keep))


ELEMENTWISE = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": _quotient,
    "Neg": np.negative,
    "Abs": np.abs,
    "Floor": np.floor,
    "Ceil": np.ceil,
    "Sqrt": np.sqrt,
    "Max": lambda *v: np.maximum.reduce(np.broadcast_arrays(*v)),
    "Min": lambda *v: np.minimum.reduce(np.broadcast_arrays(*v)),
    "Mod": np.mod,
    "Equal": np.equal,
    "Greater": np.greater,
    "Less": np.less,
    "Not": np.logical_not,
    "And": np.logical_and,
    "Or": np.logical_or,
    "Where": np.where,
}


# ── the tables ─────────────────────────────────────────────────────────────────────────────────────────

FOLDED = {
    "Constant": fold_constant,
    "ConstantOfShape": fold_filled,
    "Shape": fold_shape,
    "Size": fold_size,
    "Identity": identity,
    "Cast": cast,
    "Gather": fold_gather,
    "Concat": fold_concat,
    "Slice": fold_slice,
    "Reshape": fold_reshape,
    "Flatten": fold_flatten,
    "Squeeze": fold_squeeze,
    "Unsqueeze": fold_unsqueeze,
    "Transpose": fold_transpose,
    "Expand": fold_expand,
    "Tile": fold_tile,
    "Range": fold_range,
    "ReduceProd": fold_product,
    **{name: fold_elementwise(function) for name, function in ELEMENTWISE.items()},
}

OPERATORS = {
    "Add": add,
    "AveragePool": average_pool,
    "BatchNormalization": batchnorm,
    "Cast": cast,
    "Celu": celu,
    "Clip": clip,
    "Concat": concat,
    "Conv": conv,
    "ConvTranspose": conv_transpose,
    "DepthToSpace": depth_to_space,
    "Div": divide,
    "Dropout": dropout,
    "Elu": activation(elu),
    "Expand": expand,
    "Flatten": flatten,
    "GRU": recurrent(gru_parts, 3, (1, 0, 2), ["Sigmoid", "Tanh"]),
    "Gather": embedding,
    "Gelu": activation(gelu),
    "Gemm": gemm,
    "GlobalAveragePool": global_pool(pyref.GlobalAvgPool),
    "GlobalMaxPool": global_pool(pyref.GlobalMaxPool),
    "GroupNormalization": group_norm,
    "HardSigmoid": activation(hard_sigmoid),
    "HardSwish": hard_swish,
    "Identity": identity,
    "InstanceNormalization": instance_norm,
    "LRN": lrn,
    "LSTM": recurrent(lstm_parts, 4, (0, 2, 3, 1), ["Sigmoid", "Tanh", "Tanh"]),
    "LayerNormalization": layer_norm,
    "LeakyRelu": activation(leaky_relu),
    "LogSoftmax": softmax(pyref.LogSoftmax),
    "MatMul": matmul,
    "Max": extremum(low=True),
    "MaxPool": max_pool,
    "Mean": mean_of,
    "Min": extremum(low=False),
    "Mish": mish,
    "Mul": multiply,
    "Neg": negate,
    "PRelu": prelu,
    "Pad": pad,
    "Pow": power,
    "Reciprocal": reciprocal,
    "ReduceMean": reduction(pyref.Mean),
    "ReduceSum": reduction(pyref.Sum),
    "Relu": activation(lambda op: pyref.ReLU()),
    "Reshape": reshape,
    "Resize": resize,
    "Selu": selu,
    "Sigmoid": activation(lambda op: pyref.Sigmoid()),
    "Slice": slice_piece,
    "Softmax": softmax(pyref.Softmax),
    "Softplus": activation(lambda op: pyref.Softplus()),
    "SpaceToDepth": space_to_depth,
    "Split": split,
    "Squeeze": squeeze,
    "Sub": subtract,
    "Sum": sum_of,
    "Swish": swish,
    "Tanh": activation(lambda op: pyref.Tanh()),
    "Transpose": transpose,
    "Unsqueeze": unsqueeze,
    "Upsample": resize,
}
