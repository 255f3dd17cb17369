"""PyTorch modules as networks: forward equal, gradients equal to autograd, and the laws of every method hold."""

import os
import sys
from functools import cache

import numpy as np
import pytest

import pyref
import relprop
from relprop.models import torch as importer
from relprop.models import torch_operations

torch = pytest.importorskip("torch", reason="needs PyTorch, which the extra `torch` installs")

import modules  # noqa: E402
from bound import completeness_bound  # noqa: E402
from nearby import close  # noqa: E402
from outside import array, randomize, tensor  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

pytestmark = pytest.mark.peers

LONG = (
    os.environ.get("RELPROP_LONG") == "1"
)  # torch.export takes up to seconds: the plain suite leaves out what repeats


def small(channels):
    return max(1, channels // 32)


IMAGES = {
    "vgg16": lambda: (modules.vgg16(1 / 32, 5), (3, 32, 32)),
    "vgg16_bn": lambda: (modules.vgg16(1 / 32, 5, batchnorm=True), (3, 32, 32)),
    "resnet": lambda: (modules.ResNet50(1 / 16, 5, blocks=(2, 1, 1)), (3, 32, 32)),
    "densenet": lambda: (modules.DenseNet(), (3, 8, 8)),
    "googlenet block": lambda: (modules.GoogLeNetBlock(3, 2, 2, 3, 1, 2, 2), (3, 5, 5)),
    "inception branch": lambda: (modules.InceptionA(3, small, 32), (3, 6, 6)),
    "functional": lambda: (modules.Functional(), (3, 8, 8)),
}
READERS = {  # kind, batch first, layers, bidirectional, last states
    "lstm": (nn.LSTM, True, 1, False, True),
    "lstm, time first": (nn.LSTM, False, 1, False, False),
    "lstm, stacked": (nn.LSTM, True, 2, False, True),
    "lstm, both ways": (nn.LSTM, False, 2, True, True),
    "gru": (nn.GRU, False, 1, False, True),
    "gru, both ways": (nn.GRU, True, 2, True, False),
}


class Summed(nn.Module):
    """A module whose output is an image, as one with two classes."""

    def __init__(self, body):
        super().__init__()
        self.body = body

    def forward(self, x):
        y = self.body(x)
        return y if y.ndim == 2 else torch.stack([y[:, 0].sum((1, 2)), y.mean((1, 2, 3))], dim=1)


@cache
def case(name):
    """(module, its network, two samples) in float64, so that what is left over is rounding and nothing else."""
    rng = np.random.default_rng(3)
    if name in IMAGES:
        module, shape = IMAGES[name]()
        module = Summed(module)
    else:
        module, shape = modules.Sequences(*READERS[name]), (4, 4)
    randomize(module, 7)
    x = rng.normal(size=(2, *shape))
    return module, relprop.from_torch(module, tensor(x)), x


SHORT = ["vgg16_bn", *list(IMAGES)[2:], "lstm, time first", "lstm, both ways", "gru, both ways"]


@pytest.fixture(scope="module", params=[*IMAGES, *READERS] if LONG else SHORT)
def imported(request):
    return case(request.param)


# ── the laws ───────────────────────────────────────────────────────────────────────────────────────────


def test_forward_is_equal(imported):
    module, net, x = imported
    with torch.no_grad():
        close(array(module(tensor(x))), lambda net, x, *_: net(x), net, x)


def test_gradient_is_equal_to_autograd(imported):
    module, net, x = imported
    leaf = tensor(x).requires_grad_()
    module(leaf)[:, 1].sum().backward()
    close(array(leaf.grad), lambda net, x, *_: pyref.gradient(net, x, 1).values, net, x)


def test_deeplift_and_full_gradient_are_complete(imported):
    _, net, x = imported
    x0 = np.random.default_rng(5).normal(size=x.shape)
    for a in (pyref.deeplift(net, x, 1, baseline=x0), pyref.full_gradient(net, x, 1)):
        assert (np.abs(a.delta) <= completeness_bound(net, a)).all(), a.method


def test_the_ledger_of_lrp_closes(imported):
    _, net, x = imported
    a = pyref.lrp(net, x, 1, rule=pyref.Epsilon(1e-3))
    assert (np.abs(a.delta) <= completeness_bound(net, a)).all()
    for row in a.ledger:
        assert (np.abs(row.residual) <= completeness_bound(net, a)).all(), row.node


@pytest.mark.parametrize("name", ["inception branch", "googlenet block", "densenet"])
def test_exact_integrated_gradients_are_complete(name):
    _, net, x = case(name)
    a = pyref.integrated_gradients(net, x[:1], 1, quadrature="exact")
    assert (np.abs(a.delta) <= completeness_bound(net, a)).all()


@pytest.mark.parametrize("name", ["lstm, time first", "gru, both ways"])
def test_integrated_gradients_of_recurrent_layers_are_complete(name):
    """Analytic along the line, so that the error of Gauss-Legendre vanishes faster than any power of m."""
    _, net, x = case(name)
    a = pyref.integrated_gradients(net, x, 1, quadrature="gauss_legendre", m=64)
    assert (np.abs(a.delta) <= completeness_bound(net, a)).all()


# ── ids, several inputs, sharing ───────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", READERS if LONG else ["lstm, stacked", "gru"])
def test_ids_are_read(name):
    module = randomize(modules.Reader(*READERS[name]), 2)
    ids = torch.tensor([[0, 1, 6, 2, 2], [3, 3, 5, 4, 0]])
    net = relprop.from_torch(module, ids)
    with torch.no_grad():
        close(array(module(ids)), lambda net, x, *_: net(ids.numpy()), net, np.zeros((2, 1)))
    rows = relprop.attribute(module, ids, "deeplift", 0, at="embedding")
    assert rows.shape == (2, 5, 4)


def test_several_inputs_come_back_as_they_went_in():
    module = randomize(modules.TwoInputs(), 1)
    x = tensor(np.random.default_rng(1).normal(size=(2, 3))), tensor(np.random.default_rng(2).normal(size=(2, 2)))
    image, context = relprop.attribute(module, x, "gradient", np.ones_like)
    net = relprop.from_torch(module, x)
    want = torch.autograd.grad(module(*(leaves := [t.clone().requires_grad_() for t in x])).sum(), leaves)
    close(array(image), lambda net, _: want[0].numpy(), net, np.zeros((2, 1)))
    close(array(context), lambda net, _: want[1].numpy(), net, np.zeros((2, 1)))
    named = relprop.attribute(module, {"image": x[0], "context": x[1]}, "gradient", np.ones_like)
    assert torch.equal(named["context"], context)


def test_tensors_are_explained_on_the_device(cuda):
    """Those of the host are copied there and back; on a real device its own stay there."""
    module = randomize(nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)), 1)
    x = tensor(np.random.default_rng(1).normal(size=(2, 3)))
    there = x if hasattr(cuda.compiled, "fail_next") else x.cuda()
    got = relprop.attribute(module, there, "deeplift", 0, baseline=0.5, backend="cuda")
    assert got.device == there.device and got.dtype == there.dtype
    close(
        array(got.cpu()),
        lambda n, v: pyref.deeplift(n, v, 0, baseline=0.5).values,
        relprop.from_torch(module, x),
        array(x),
    )


def test_several_baselines_go_in_as_the_inputs_do():
    """In the order of the arguments, as Captum's users write them, or by name; tensors that hang on a graph too."""
    module = randomize(modules.TwoInputs(), 1)
    x = tensor(np.random.default_rng(1).normal(size=(2, 3))), tensor(np.random.default_rng(2).normal(size=(2, 2)))
    zero = torch.ones(3, dtype=x[0].dtype, requires_grad=True), torch.zeros(2, 2, dtype=x[0].dtype)
    image, context = relprop.attribute(module, x, "deeplift", 0, baseline=zero)
    named = relprop.attribute(module, {"context": x[1], "image": x[0]}, "deeplift", 0, baseline={"image": zero[0]})
    assert torch.equal(named["image"], image) and torch.equal(named["context"], context)
    assert torch.equal(relprop.attribute(module, x, "deeplift", 0, baseline=(1, 0))[0], image)
    assert not torch.equal(relprop.attribute(module, x, "deeplift", 0)[0], image)
    one = relprop.attribute(nn.Tanh(), x[0], "deeplift", 0, baseline=(zero[0],))
    assert torch.equal(one, relprop.attribute(nn.Tanh(), x[0], "deeplift", 0, baseline=zero[0]))
    with pytest.raises(ValueError, match="baseline has 1 entries, expected one for each of image, context"):
        relprop.attribute(module, x, "deeplift", 0, baseline=zero[:1])


class TwoTables(nn.Module):
    """Ids that are looked up twice, as in matrix factorisation."""

    def __init__(self):
        super().__init__()
        self.one, self.other, self.last = nn.Embedding(7, 3), nn.Embedding(7, 2), nn.Linear(5, 2)

    def forward(self, ids):
        return self.last(torch.tanh(torch.cat([self.one(ids), self.other(ids)], 2).sum(1)))


def test_ids_that_are_looked_up_twice_have_the_sum_of_both():
    module, ids = randomize(TwoTables(), 3), torch.tensor([[0, 4, 6], [2, 2, 1]])
    values = relprop.attribute(module, ids, "deeplift", 1)
    assert values.shape == ids.shape
    a = relprop.explain(relprop.from_torch(module, ids), ids, "deeplift", 1)
    assert torch.equal(values, sum(a.values.values()))


def test_values_are_tensors_of_the_inputs_dtype_and_device():
    module = randomize(modules.vgg16(1 / 32, 3), 0).float()
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    values = relprop.attribute(module, x, "lrp", torch.tensor([0, 2]), rule="epsilon")
    assert type(values) is torch.Tensor
    assert (values.shape, values.dtype, values.device) == (x.shape, x.dtype, x.device)


def test_the_module_stays_as_it_was_and_weights_share_its_memory():
    module = modules.ResNet50(1 / 16, 5, blocks=(1,))
    module.bn1.eval()
    module.sizes = sizes = [1, {"a": [2]}]
    modes = [m.training for m in module.modules()]
    before = {n: v.clone() for n, v in module.state_dict().items()}
    net = relprop.from_torch(module, torch.zeros(1, 3, 16, 16))
    assert [m.training for m in module.modules()] == modes and any(modes) and not all(modes)
    assert module.sizes is sizes
    assert all(torch.equal(v, before[n]) for n, v in module.state_dict().items())
    assert all(not m._forward_hooks and not m._backward_hooks for m in module.modules())
    for node, parameter in (("conv1", module.conv1.weight), ("fc", module.fc.weight)):
        assert np.shares_memory(net.nodes[node].layer.w, parameter.detach().numpy())


def test_constants_are_made_where_the_module_is():
    """Here on the device that holds no values: up to where those are asked for, nothing leaves it."""
    module = Function(lambda x: x + torch.zeros_like(x) * module.weight)
    module.weight = nn.Parameter(torch.ones(3))
    exported = importer._export(torch, module.to("meta"), (torch.zeros(2, 3, device="meta"),), {})
    with pytest.raises(NotImplementedError, match="Cannot copy out of meta tensor"):
        importer._Import(torch, exported, "Function").network()


def test_nodes_are_called_after_modules():
    net = relprop.from_torch(modules.ResNet50(1 / 16, 5, blocks=(1,)), torch.zeros(1, 3, 16, 16))
    assert {"conv1", "layer1.0.relu", "layer1.0.relu_1", "layer1.0.relu_2", "layer1.0.add", "fc"} <= set(net.nodes)
    assert net.inputs == {"x": (3, 16, 16)}


# ── other operations ───────────────────────────────────────────────────────────────────────────────────


class Function(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def written(x):
    x = x * 1
    x[:, 1:3] *= 2
    x[:, :, 0] += x[:, :, 1]
    return x


NAMES = "relu relu6 elu selu celu silu gelu tanh sigmoid hardswish hardtanh mish softplus logsigmoid leaky_relu"
FUNCTIONS = {
    **{name: getattr(functional, name) for name in NAMES.split()},
    "gelu, tanh": lambda x: functional.gelu(x, approximate="tanh"),
    "celu 2": lambda x: functional.celu(x, 2.0),
    "clamp": lambda x: x.clamp(-0.5, 0.75),
    "clamp from below": lambda x: x.clamp(min=-0.5),
    "threshold": lambda x: functional.threshold(x, 0.0, 0.0),
    "glu": lambda x: functional.glu(x, 1),
    "softmax": lambda x: functional.softmax(x, dim=1),
    "log softmax": lambda x: functional.log_softmax(x, dim=-1),
    "quotients": lambda x: 2 / (x * x + 1) - x.square() / (1 + x**2),
    "differences": lambda x: torch.sub(3 - x, x, alpha=2) - torch.rsub(x, 1) + torch.add(x, x, alpha=-1),
    "negative": lambda x: -x,
    "constants": lambda x: (x + torch.arange(3.0)) * torch.ones(4, 1) - torch.full((4, 4, 3), 2.0),
    "statistics": lambda x: x.mean((2, 3), keepdim=True) + x.sum(1, keepdim=True) + x.amax((2, 3), keepdim=True),
    "maxima": lambda x: x.max(dim=2)[0] + x.amax(1),
    "pooling": lambda x: functional.adaptive_max_pool2d(x, (2, 1)) + functional.adaptive_avg_pool2d(x, (2, 2)),
    "ceiling": lambda x: functional.avg_pool2d(x, 3, 2, 1, True, False) + functional.max_pool2d(x, 3, 2, 1, 1, True),
    "sizes": lambda x: functional.interpolate(x, scale_factor=2.0, mode="bilinear")[:, :, ::2, 1:5:2],
    "corners": lambda x: functional.interpolate(x, size=(5, 4), mode="bilinear", align_corners=True),
    "pieces": lambda x: torch.cat([torch.stack(x.unbind(1)[:2], 2), x.narrow(1, 1, 2).transpose(1, 2)], 3),
    "axes": lambda x: x.permute(1, 0, 3, 2).flatten(2).transpose(0, 1).unsqueeze(1).squeeze(1),
    "spread": lambda x: x[:, :1].expand(-1, 4, -1, -1) + x.new_zeros(4, 3) + torch.ones_like(x),
    "matrix": lambda x: x @ torch.arange(6.0).reshape(3, 2),
    "layer norm": lambda x: functional.layer_norm(x, (4, 3)),
    "group norm": lambda x: functional.group_norm(x, 2, torch.arange(4.0), torch.ones(4)),
    "instance norm": lambda x: functional.instance_norm(x),
    "one dimension": lambda x: functional.avg_pool1d(functional.max_pool1d(x.flatten(2), 2), 3),
    "three dimensions": lambda x: functional.conv3d(x.unsqueeze(1), torch.ones(2, 1, 2, 2, 2)),
    "grouped": lambda x: functional.conv_transpose2d(x, torch.arange(24.0).reshape(4, 1, 3, 2) - 9, None, 2, 1, 1, 2),
    "written into": written,
    "prelu": lambda x: functional.prelu(x, torch.arange(4.0) / 4),
}


def test_hard_sigmoid_is_imported():
    """PyTorch's derivative of it is 1/6 rounded to float32 even in float64, so that only the values are compared."""
    x = torch.linspace(-4, 4, 20, dtype=torch.float64).reshape(2, 10)
    net = relprop.from_torch(nn.Hardsigmoid(), x)
    close(array(nn.Hardsigmoid()(x)), lambda net, x, *_: net(x), net, x.numpy())


class All(nn.Module):
    """Every function, as an output of its own: they are exported together."""

    def forward(self, x):
        return tuple(function(x) for function in FUNCTIONS.values())


@pytest.fixture(scope="module")
def functions():
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        x = torch.randn(2, 4, 4, 3, generator=torch.Generator().manual_seed(1), requires_grad=True)
        return relprop.from_torch(All(), x), x, All()(x)
    finally:
        torch.set_default_dtype(default)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_operations_and_their_gradients(name, functions):
    whole, x, outputs = functions
    k = list(FUNCTIONS).index(name)
    net, y = whole.up_to(whole.outputs[k]), outputs[k]
    weights = torch.randn(y.shape, generator=torch.Generator().manual_seed(2), dtype=y.dtype)
    (gradient,) = torch.autograd.grad(y, x, weights, retain_graph=True)

    def ours(net, x, *_):
        return pyref.gradient(net, x, lambda y: weights.numpy(), softmax="keep").values

    close(array(gradient), ours, net, array(x))


# ── refusals ───────────────────────────────────────────────────────────────────────────────────────────


class Unknown(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(3, 3), nn.Softsign())

    def forward(self, x):
        return torch.erf(self.inner(x)).sqrt()


class Counter(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        self.calls += 1
        return x * 2


class Projected(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.LSTM(3, 4, proj_size=2)

    def forward(self, x):
        return self.rnn(x.transpose(0, 1))[0]


def batch_norm(x):
    return functional.batch_norm(x, None, None, training=True)


REFUSED = {
    "operations": (Unknown, ["inner.1 (abs) has no layer", "erf (erf) has no layer", "sqrt (sqrt) has no layer"]),
    "functional dropout": (lambda: Function(lambda x: functional.dropout(x, 0.5)), ["drops at random"]),
    "statistics of the batch": (lambda: Function(batch_norm), ["statistics of the batch"]),
    "mean over samples": (lambda: Function(lambda x: x - x.mean()), ["mean (mean) works along the axis of samples"]),
    "mixed samples": (lambda: Function(lambda x: x.reshape(-1)), ["which mixes them"]),
    "samples taken for channels": (
        lambda: Function(lambda x: functional.adaptive_avg_pool2d(x.unsqueeze(2), 1)),
        ["reads shape (2, 3, 1) with samples on axis 0, expected (n, c) and 2 more"],
    ),
    "attention": (lambda: Function(lambda x: x @ x.transpose(0, 1)), ["the second is not constant"]),
    "state of its own": (Counter, ["changes 'calls' when it runs"]),
    "control flow": (lambda: Function(lambda x: x if x.sum() > 0 else -x), ["torch.export cannot follow Function"]),
    "constant": (lambda: Function(lambda x: torch.ones(2)), ["does not depend on its inputs"]),
    "half precision": (
        lambda: nn.Linear(3, 2).bfloat16(),
        ["has a weight of dtype torch.bfloat16: use module.float()"],
    ),
    "another precision": (lambda: nn.Linear(3, 2).double(), ["Linear cannot be run on the example: RuntimeError: "]),
}


@pytest.mark.parametrize(("make", "words"), REFUSED.values(), ids=list(REFUSED))
def test_what_no_layer_computes_is_refused_by_name(make, words):
    module = make()
    with pytest.raises(ValueError) as caught:
        relprop.from_torch(module, torch.zeros(2, 3))
    for part in words:
        assert part in str(caught.value)


def test_a_projected_state_and_a_cell_state_are_refused():
    x = torch.zeros(2, 5, 3)
    with pytest.raises(ValueError, match=r"rnn \(lstm\) projects its state"):
        relprop.from_torch(Projected(), x)
    lstm = nn.LSTM(3, 4, batch_first=True)
    with pytest.raises(ValueError, match=r"lstm \(lstm\) hands on the cell state"):
        relprop.from_torch(Function(lambda x: lstm(x)[1][1]), x)


def test_arguments_are_checked():
    with pytest.raises(TypeError, match=r"module is a int, expected a torch\.nn\.Module"):
        relprop.from_torch(3, torch.zeros(1, 2))
    with pytest.raises(
        TypeError, match=r"dtype torch\.float16, expected float32 or float64: use module\.float\(\) and x"
    ):
        relprop.from_torch(nn.Linear(3, 2).half(), torch.zeros(1, 3).half())
    with pytest.raises(TypeError, match=r"an input is a ndarray, expected a torch\.Tensor"):
        relprop.from_torch(nn.Linear(2, 2), np.zeros((1, 2)))
    with pytest.raises(ValueError, match="along axis 0"):
        relprop.from_torch(modules.TwoInputs(), (torch.zeros(1, 3), torch.zeros(2, 2)))


def test_an_importer_that_errs_is_caught(monkeypatch):
    """The check bites: a slope that is off by a thousandth is more than rounding."""
    monkeypatch.setitem(torch_operations.ACTIVATIONS, "leaky_relu", lambda call: pyref.LeakyReLU(0.1001))
    with pytest.raises(ValueError, match="was imported wrongly"):
        relprop.from_torch(Function(lambda x: functional.leaky_relu(x, 0.1)), torch.tensor([[-1.0, 1.0]]))


def test_torch_is_asked_for_by_name_where_it_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ImportError, match="pip install"):
        relprop.from_torch(None, None)
