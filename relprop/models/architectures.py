"""Architectures by name, with the parameter names of torchvision, so that a downloaded state dict fits.

An architecture is a function that draws its nodes on a `_Draft`, which notes the name and shape of every parameter;
the layers are made when their values are known, from a file or from a seeded generator. Nodes are called after
torchvision's modules (`layer1.0.conv1`), a parameter after its node (`layer1.0.conv1.weight`).
"""

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np

import pyref
from pyref.check import nearest

__all__ = ["ARCHITECTURES", "build", "parameter_shapes", "read_state"]

UNUSED = ("*.num_batches_tracked", "AuxLogits.*", "aux1.*", "aux2.*")  # of training alone
ACTIVATIONS = {"relu": pyref.ReLU, "tanh": pyref.Tanh, "sigmoid": pyref.Sigmoid, "softplus": pyref.Softplus}


def build(name, weights=None, *, seed=0, dtype="float32", **options):
    """A network of a known architecture, with weights from a file or random ones.

        vgg16, vgg16_bn [simonyan2015]   resnet50 [he2016]   inception_v3 [szegedy2016]   googlenet [szegedy2015]
        mnist_mlp, mnist_cnn, cifar10_cnn, imdb_mlp, imdb_lstm: the networks of [ancona2017]
        cifar10_sixt: the network of [sixt2020]

    Parameters
        weights  a state dict: a `.safetensors` file, a `.pth` or `.pt` file (read by PyTorch with
                 weights_only=True), or {name: array}; None for random weights from `seed`
        options  those of the architecture: `classes`, `size` of the image, `width` (a factor of the number of
                 channels), `activation`; `transform_input=False` for weights of googlenet and inception_v3
                 that were trained on inputs scaled otherwise than torchvision's
    Raises
        ValueError  no architecture of this name; names in `weights` that are missing or not expected, shapes
                    that do not fit, values that are not finite: all in one message
        TypeError   an option that the architecture does not have
    Example
        >>> import relprop
        >>> relprop.build("mnist_cnn", activation="tanh").nodes["conv2"].layer.w.shape
        (64, 32, 3, 3)
    """
    draft = _draft(name, options)
    if weights is None:
        state = _random_state(draft.shapes, np.random.default_rng(seed), dtype)
    else:
        where = str(weights) if isinstance(weights, str | Path) else "weights"
        state = weights if isinstance(weights, Mapping) else read_state(weights)
        state = _checked(where, name, state, draft.shapes, dtype)
    nodes = [pyref.Node(node, make(state), inputs) for node, make, inputs in draft.nodes]
    return pyref.Network(nodes, {"x": draft.shape}, name=name)


def parameter_shapes(name, **options):
    """{parameter name: shape} that `build` asks of a state dict. Raises as `build` does."""
    return dict(_draft(name, options).shapes)


def read_state(path):
    """A state dict as {name: array}, from a safetensors file or one of PyTorch's without any code in it.

    Raises
        ValueError   another suffix; a file that is damaged or holds what is no tensor
        ImportError  a file of PyTorch's where that is not installed
    """
    path = Path(path)
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        try:
            return load_file(path)
        except (SafetensorError, KeyError, TypeError) as error:  # KeyError, TypeError: bfloat16, which NumPy has not
            raise ValueError(f"{path} cannot be read: {error}; expected float16, float32 or float64") from error
    if path.suffix not in (".pth", ".pt"):
        raise ValueError(f"{path} ends in {path.suffix!r}, expected .safetensors, .pth or .pt")
    try:
        import torch
    except ImportError as error:
        raise ImportError(f"{path} needs PyTorch to be read; pip install 'relprop[torch]'") from error
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # of pickle, of zipfile, of torch, whose words tell how to run the code in it
        kind = type(error).__name__
        raise ValueError(
            f"{path} is not a state dict that torch.load reads with weights_only=True ({kind}); save model.state_dict()"
        ) from error
    if not isinstance(state, Mapping) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise ValueError(f"{path} holds other things than tensors by name; save model.state_dict()")
    wide = {n: v.float() if v.dtype in (torch.float16, torch.bfloat16) else v for n, v in state.items()}
    return {n: v.detach().numpy() for n, v in wide.items()}


# ── drawing ────────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class _Draft:
    """The nodes and parameters of a network that has no values yet.

    nodes   (name, state dict → layer, inputs)       shapes   {parameter name: shape}
    """

    shape: tuple[int, ...]
    width: float = 1
    nodes: list = field(default_factory=list)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    channels: dict[str, int] = field(default_factory=dict)

    def __post_init__(self):
        self.channels["x"] = self.shape[0]

    def wide(self, channels):
        """A number of channels, times the width."""
        return max(1, round(channels * self.width))

    def add(self, name, layer, *inputs, channels=None):
        """A node without parameters, which keeps the number of channels unless told another."""
        return self._node(name, lambda state: layer, inputs, channels or self.channels[inputs[0]])

    def _node(self, name, make, inputs, channels):
        self.nodes.append((name, make, inputs))
        self.channels[name] = channels
        return name

    def _parameter(self, name, *shape):
        self.shapes[name] = shape
        return name

    def conv(self, name, x, out, kernel, stride=1, padding=0, bias=True):
        kernel = kernel if isinstance(kernel, tuple) else (kernel, kernel)
        w = self._parameter(f"{name}.weight", out, self.channels[x], *kernel)
        b = self._parameter(f"{name}.bias", out) if bias else None
        return self._node(name, lambda s: pyref.Conv(s[w], b and s[b], stride, padding), (x,), out)

    def batchnorm(self, name, x, eps=1e-5):
        c = self.channels[x]
        names = [self._parameter(f"{name}.{n}", c) for n in ("weight", "bias", "running_mean", "running_var")]

        def make(state):
            weight, bias, mean, variance = (state[n] for n in names)
            return pyref.BatchNorm.from_statistics(mean, variance, weight, bias, eps)

        return self._node(name, make, (x,), c)

    def linear(self, name, x, out):
        w = self._parameter(f"{name}.weight", out, self.channels[x])
        b = self._parameter(f"{name}.bias", out)
        return self._node(name, lambda s: pyref.Dense(s[w].T, s[b]), (x,), out)

    def embedding(self, name, x, words, features):
        table = self._parameter(f"{name}.weight", words, features)
        return self._node(name, lambda s: pyref.Embedding(s[table]), (x,), features)

    def lstm(self, name, x, hidden):
        """The last state of an LSTM, with the two biases of PyTorch."""
        w_x = self._parameter(f"{name}.weight_ih_l0", 4 * hidden, self.channels[x])
        w_h = self._parameter(f"{name}.weight_hh_l0", 4 * hidden, hidden)
        b, b_h = (self._parameter(f"{name}.bias_{k}_l0", 4 * hidden) for k in ("ih", "hh"))
        return self._node(name, lambda s: pyref.LSTM(s[w_x].T, s[w_h].T, s[b] + s[b_h], output="last"), (x,), hidden)

    def concat(self, name, *inputs):
        return self.add(name, pyref.Concat(1), *inputs, channels=sum(self.channels[i] for i in inputs))

    def flatten(self, x, positions, name="flatten"):
        return self.add(name, pyref.Flatten(), x, channels=self.channels[x] * positions)

    def chain(self, x, *steps):
        """(function, name, …) one after the other, each reading the last."""
        for function, name, *rest in steps:
            x = function(name, x, *rest)
        return x

    def basic(self, name, x, out, kernel, stride=1, padding=0):
        """torchvision's BasicConv2d: a convolution without bias, batch normalisation with eps 0.001, ReLU."""
        x = self.conv(f"{name}.conv", x, self.wide(out), kernel, stride, padding, bias=False)
        return self.add(f"{name}.relu", pyref.ReLU(), self.batchnorm(f"{name}.bn", x, 0.001))

    def rescaled(self, x):
        """Inputs scaled by ImageNet's mean and deviation as inputs in [-1, 1], as torchvision's weights want them."""
        mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])

        def make(state):
            dtype = next(iter(state.values())).dtype
            return pyref.BatchNorm((deviation / 0.5).astype(dtype), ((mean - 0.5) / 0.5).astype(dtype))

        return self._node("transform_input", make, (x,), 3)


def _draft(name, options):
    if name not in ARCHITECTURES:
        raise ValueError(f"there is no architecture {name!r}; {nearest(name, ARCHITECTURES)}")
    known = inspect.signature(ARCHITECTURES[name]).parameters
    for option in options:
        if option not in known:
            raise TypeError(f"{name} has no option {option!r}; {nearest(option, known)}")
    return ARCHITECTURES[name](**options)


# ── values ─────────────────────────────────────────────────────────────────────────────────────────────


def _random_state(shapes, rng, dtype):
    """Values by what a parameter is: variance 2 / fan-in for weights, so that activations keep their size."""
    state = {}
    for name, shape in shapes.items():
        fan_in = math.prod(shape[1:]) or 1
        if len(shape) > 1:
            value = rng.standard_normal(shape, dtype=np.float32) * math.sqrt(2 / fan_in)
        elif name.endswith((".running_var", ".weight")):
            value = rng.uniform(0.5, 1.5, shape)
        else:
            value = rng.uniform(-0.1, 0.1, shape)
        state[name] = value.astype(dtype, copy=False)
    return state


def _checked(where, architecture, state, shapes, dtype):
    """The state dict's arrays in order, once all names and shapes are right."""
    expected = {n for n in state if not any(fnmatch(n, pattern) for pattern in UNUSED)}
    missing, extra = [n for n in shapes if n not in state], sorted(expected - set(shapes))
    problems = [f"{_few(missing)} missing"] * bool(missing) + [f"{_few(extra)} not expected"] * bool(extra)
    arrays: dict[str, Any] = {}
    for name, shape in shapes.items():
        if name in missing:
            continue
        value = state[name]
        value = np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
        if tuple(value.shape) != shape:
            problems.append(f"{name} has shape {tuple(value.shape)}, expected {shape}")
        elif value.dtype.kind != "f":
            problems.append(f"{name} has dtype {value.dtype}, expected float16, float32 or float64")
        elif not np.isfinite(value).all():
            problems.append(f"{name} holds non-finite values")
        arrays[name] = value.astype(dtype, copy=False)
    if problems:
        shown = problems[:8] + [f"and {len(problems) - 8} more"] * (len(problems) > 8)
        raise ValueError(f"{where} does not fit {architecture}: " + "; ".join(shown))
    return arrays


def _few(names):
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(map(repr, names[:5])) + more + (" is" if len(names) == 1 else " are")


# ── ImageNet ───────────────────────────────────────────────────────────────────────────────────────────


def vgg16(classes=1000, size=224, width=1, batchnorm=False):
    """[simonyan2015] configuration D."""
    draft, k, x = _Draft((3, size, size), width), 0, "x"
    for channels, convolutions in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(convolutions):
            x = draft.conv(f"features.{k}", x, draft.wide(channels), 3, 1, 1)
            if batchnorm:
                k += 1
                x = draft.batchnorm(f"features.{k}", x)
            x = draft.add(f"features.{k + 1}", pyref.ReLU(), x)
            k += 2
        x = draft.add(f"features.{k}", pyref.MaxPool(2), x)
        k += 1
    x = draft.flatten(draft.add("avgpool", pyref.AdaptiveAvgPool((7, 7)), x), 49)
    for k in (0, 3):
        x = draft.linear(f"classifier.{k}", x, draft.wide(4096))
        x = draft.add(f"classifier.{k + 1}", pyref.ReLU(), x)
        x = draft.add(f"classifier.{k + 2}", pyref.Dropout(0.5), x)
    draft.linear("classifier.6", x, classes)
    return draft


def vgg16_bn(classes=1000, size=224, width=1):
    """[simonyan2015] configuration D with batch normalisation after each convolution."""
    return vgg16(classes, size, width, batchnorm=True)


def resnet50(classes=1000, size=224, width=1):
    """[he2016] table 1, 50 layers, the stride in the 3×3 convolution as in torchvision."""
    draft = _Draft((3, size, size), width)
    x = draft.conv("conv1", "x", draft.wide(64), 7, 2, 3, bias=False)
    x = draft.add("relu", pyref.ReLU(), draft.batchnorm("bn1", x))
    x = draft.add("maxpool", pyref.MaxPool(3, 2, 1), x)
    for stage, (channels, blocks) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3)), start=1):
        for block in range(blocks):
            x = _bottleneck(draft, f"layer{stage}.{block}", x, draft.wide(channels), 2 if block == 0 < stage - 1 else 1)
    x = draft.flatten(draft.add("avgpool", pyref.GlobalAvgPool(), x), 1)
    draft.linear("fc", x, classes)
    return draft


def _bottleneck(draft, name, x, channels, stride):
    y = x
    for k, (out, kernel, step) in enumerate(((channels, 1, 1), (channels, 3, stride), (4 * channels, 1, 1)), start=1):
        y = draft.conv(f"{name}.conv{k}", y, out, kernel, step, kernel // 2, bias=False)
        y = draft.batchnorm(f"{name}.bn{k}", y)
        if k < 3:
            y = draft.add(f"{name}.relu" + ("" if k == 1 else "_1"), pyref.ReLU(), y)
    if stride != 1 or draft.channels[x] != 4 * channels:
        x = draft.conv(f"{name}.downsample.0", x, 4 * channels, 1, stride, 0, bias=False)
        x = draft.batchnorm(f"{name}.downsample.1", x)
    return draft.add(f"{name}.relu_2", pyref.ReLU(), draft.add(f"{name}.add", pyref.Add(), y, x))


def googlenet(classes=1000, size=224, width=1, transform_input=True):
    """[szegedy2015] table 1, as torchvision has it: batch normalisation, and 3×3 where the paper has 5×5."""
    draft = _Draft((3, size, size), width)
    x = draft.rescaled("x") if transform_input else "x"
    x = draft.basic("conv1", x, 64, 7, 2, 3)
    x = draft.add("maxpool1", pyref.MaxPool(3, 2, 0, 1, True), x)
    x = draft.basic("conv3", draft.basic("conv2", x, 64, 1), 192, 3, 1, 1)
    pools = {"3a": ("maxpool2", 3), "4a": ("maxpool3", 3), "5a": ("maxpool4", 2)}
    for block, *widths in (
        ("3a", 64, 96, 128, 16, 32, 32),
        ("3b", 128, 128, 192, 32, 96, 64),
        ("4a", 192, 96, 208, 16, 48, 64),
        ("4b", 160, 112, 224, 24, 64, 64),
        ("4c", 128, 128, 256, 24, 64, 64),
        ("4d", 112, 144, 288, 32, 64, 64),
        ("4e", 256, 160, 320, 32, 128, 128),
        ("5a", 256, 160, 320, 32, 128, 128),
        ("5b", 384, 192, 384, 48, 128, 128),
    ):
        if block in pools:
            name, kernel = pools[block]
            x = draft.add(name, pyref.MaxPool(kernel, 2, 0, 1, True), x)
        x = _googlenet_block(draft, f"inception{block}", x, *widths)
    x = draft.flatten(draft.add("avgpool", pyref.GlobalAvgPool(), x), 1)
    draft.linear("fc", draft.add("dropout", pyref.Dropout(0.2), x), classes)
    return draft


def _googlenet_block(draft, name, x, ones, before3, threes, before5, fives, pooled):
    pool = draft.add(f"{name}.branch4.0", pyref.MaxPool(3, 1, 1, 1, True), x)
    return draft.concat(
        f"{name}.cat",
        draft.basic(f"{name}.branch1", x, ones, 1),
        draft.basic(f"{name}.branch2.1", draft.basic(f"{name}.branch2.0", x, before3, 1), threes, 3, 1, 1),
        draft.basic(f"{name}.branch3.1", draft.basic(f"{name}.branch3.0", x, before5, 1), fives, 3, 1, 1),
        draft.basic(f"{name}.branch4.1", pool, pooled, 1),
    )


# A branch of an Inception-V3 block: its convolutions one after the other, (name, channels, kernel, stride, padding).
# A tuple of names at the end stands for convolutions side by side; "max" and "average" for a pooling in front.
WIDE, TALL = ((1, 7), 1, (0, 3)), ((7, 1), 1, (3, 0))


def _inception_a(pooled):
    return (
        [("branch1x1", 64, 1)],
        [("branch5x5_1", 48, 1), ("branch5x5_2", 64, 5, 1, 2)],
        [("branch3x3dbl_1", 64, 1), ("branch3x3dbl_2", 96, 3, 1, 1), ("branch3x3dbl_3", 96, 3, 1, 1)],
        ["average", ("branch_pool", pooled, 1)],
    )


INCEPTION_B: tuple = (
    [("branch3x3", 384, 3, 2)],
    [("branch3x3dbl_1", 64, 1), ("branch3x3dbl_2", 96, 3, 1, 1), ("branch3x3dbl_3", 96, 3, 2)],
    ["max"],
)


def _inception_c(c):
    doubled = ((c, TALL), (c, WIDE), (c, TALL), (192, WIDE))
    return (
        [("branch1x1", 192, 1)],
        [("branch7x7_1", c, 1), ("branch7x7_2", c, *WIDE), ("branch7x7_3", 192, *TALL)],
        [("branch7x7dbl_1", c, 1), *((f"branch7x7dbl_{k}", n, *s) for k, (n, s) in enumerate(doubled, start=2))],
        ["average", ("branch_pool", 192, 1)],
    )


INCEPTION_D: tuple = (
    [("branch3x3_1", 192, 1), ("branch3x3_2", 320, 3, 2)],
    [
        ("branch7x7x3_1", 192, 1),
        ("branch7x7x3_2", 192, *WIDE),
        ("branch7x7x3_3", 192, *TALL),
        ("branch7x7x3_4", 192, 3, 2),
    ],
    ["max"],
)


def _both(stem):
    """Two convolutions side by side, over rows and over columns."""
    return ((f"{stem}a", 384, (1, 3), 1, (0, 1)), (f"{stem}b", 384, (3, 1), 1, (1, 0)))


INCEPTION_E: tuple = (
    [("branch1x1", 320, 1)],
    [("branch3x3_1", 384, 1), _both("branch3x3_2")],
    [("branch3x3dbl_1", 448, 1), ("branch3x3dbl_2", 384, 3, 1, 1), _both("branch3x3dbl_3")],
    ["average", ("branch_pool", 192, 1)],
)


def inception_v3(classes=1000, size=299, width=1, transform_input=True):
    """[szegedy2016] table 1, as torchvision has it."""
    draft = _Draft((3, size, size), width)
    x = draft.rescaled("x") if transform_input else "x"
    x = draft.chain(
        x,
        (draft.basic, "Conv2d_1a_3x3", 32, 3, 2),
        (draft.basic, "Conv2d_2a_3x3", 32, 3),
        (draft.basic, "Conv2d_2b_3x3", 64, 3, 1, 1),
    )
    x = draft.add("maxpool1", pyref.MaxPool(3, 2), x)
    x = draft.chain(x, (draft.basic, "Conv2d_3b_1x1", 80, 1), (draft.basic, "Conv2d_4a_3x3", 192, 3))
    x = draft.add("maxpool2", pyref.MaxPool(3, 2), x)
    for name, branches in (
        ("Mixed_5b", _inception_a(32)),
        ("Mixed_5c", _inception_a(64)),
        ("Mixed_5d", _inception_a(64)),
        ("Mixed_6a", INCEPTION_B),
        ("Mixed_6b", _inception_c(128)),
        ("Mixed_6c", _inception_c(160)),
        ("Mixed_6d", _inception_c(160)),
        ("Mixed_6e", _inception_c(192)),
        ("Mixed_7a", INCEPTION_D),
        ("Mixed_7b", INCEPTION_E),
        ("Mixed_7c", INCEPTION_E),
    ):
        x = draft.concat(f"{name}.cat", *[end for branch in branches for end in _branch(draft, name, x, branch)])
    x = draft.add("dropout", pyref.Dropout(0.5), draft.add("avgpool", pyref.GlobalAvgPool(), x))
    draft.linear("fc", draft.flatten(x, 1), classes)
    return draft


def _branch(draft, block, x, steps):
    """The ends of a branch, of which there are two where it ends side by side."""
    for step in steps:
        if step == "average":
            x = draft.add(f"{block}.avg_pool2d", pyref.AvgPool(3, 1, 1), x)
        elif step == "max":
            x = draft.add(f"{block}.max_pool2d", pyref.MaxPool(3, 2), x)
        elif isinstance(step[0], tuple):
            return [draft.basic(f"{block}.{name}", x, *rest) for name, *rest in step]
        else:
            x = draft.basic(f"{block}.{step[0]}", x, *step[1:])
    return [x]


# ── the networks of the papers ─────────────────────────────────────────────────────────────────────────


def mnist_mlp(classes=10, activation="relu"):
    """[ancona2017]: 784-512-512-10."""
    draft, act = _Draft((784,)), _activation(activation)
    draft.chain(
        "x", (draft.linear, "fc1", 512), (_act(draft, act), "act1"), (draft.linear, "fc2", 512),
        (_act(draft, act), "act2"), (draft.linear, "fc3", classes),
    )  # fmt: skip
    return draft


def mnist_cnn(classes=10, activation="relu"):
    """[ancona2017]: convolutions 3×3×32 and 3×3×64, max pooling 2, dense 128."""
    draft, act = _Draft((1, 28, 28)), _activation(activation)
    x = draft.add("act1", act, draft.conv("conv1", "x", 32, 3))
    x = draft.add("act2", act, draft.conv("conv2", x, 64, 3))
    x = draft.flatten(draft.add("pool", pyref.MaxPool(2), x), 144)
    x = draft.add("act3", act, draft.linear("fc1", x, 128))
    draft.linear("fc2", x, classes)
    return draft


def cifar10_cnn(classes=10, activation="relu"):
    """[ancona2017]: twice two convolutions 3×3 and max pooling 2, dense 256; dropout between them.

    The paper leaves padding open: the first convolution of a pair is padded, as in Keras' example of that time.
    """
    draft, act, x, k = _Draft((3, 32, 32)), _activation(activation), "x", 0
    for pair, channels in enumerate((32, 64), start=1):
        for padding in (1, 0):
            k += 1
            x = draft.add(f"act{k}", act, draft.conv(f"conv{k}", x, channels, 3, 1, padding))
        x = draft.add(f"dropout{pair}", pyref.Dropout(0.25), draft.add(f"pool{pair}", pyref.MaxPool(2), x))
    x = draft.add("act5", act, draft.linear("fc1", draft.flatten(x, 36), 256))
    draft.linear("fc2", draft.add("dropout3", pyref.Dropout(0.5), x), classes)
    return draft


def cifar10_sixt(classes=10):
    """[sixt2020], after the authors' code: convolutions 3×3 32, 64, pool, 128, 128, pool; dense 1024."""
    draft, x, k = _Draft((3, 32, 32)), "x", 0
    for pair, widths in enumerate(((32, 64), (128, 128)), start=1):
        for channels in widths:
            k += 1
            x = draft.add(f"relu{k}", pyref.ReLU(), draft.conv(f"conv{k}", x, channels, 3, 1, 1))
        x = draft.add(f"pool{pair}", pyref.MaxPool(2), x)
    x = draft.add("relu5", pyref.ReLU(), draft.linear("fc1", draft.flatten(x, 64), 1024))
    draft.linear("fc2", x, classes)
    return draft


def imdb_mlp(words=5000, length=500):
    """[ancona2017]: embedding 5000×32, reviews of 500 words, dense 250, one output."""
    draft = _Draft((length,))
    x = draft.flatten(draft.embedding("embedding", "x", words, 32), length)
    x = draft.add("relu", pyref.ReLU(), draft.linear("fc1", x, 250))
    draft.linear("fc2", x, 1)
    return draft


def imdb_lstm(words=5000, length=500):
    """[ancona2017]: embedding 5000×32, LSTM 64, one output."""
    draft = _Draft((length,))
    x = draft.lstm("lstm", draft.embedding("embedding", "x", words, 32), 64)
    draft.linear("fc", x, 1)
    return draft


def _activation(name):
    if name not in ACTIVATIONS:
        raise ValueError(f"there is no activation {name!r}; {nearest(name, ACTIVATIONS)}")
    return ACTIVATIONS[name]()


def _act(draft, layer):
    return lambda name, x: draft.add(name, layer, x)


ARCHITECTURES: dict[str, Callable[..., _Draft]] = {
    function.__name__: function
    for function in (
        vgg16,
        vgg16_bn,
        resnet50,
        googlenet,
        inception_v3,
        mnist_mlp,
        mnist_cnn,
        cifar10_cnn,
        cifar10_sixt,
        imdb_mlp,
        imdb_lstm,
    )
}
