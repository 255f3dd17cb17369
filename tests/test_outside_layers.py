"""Activations, norms and upsampling against PyTorch, where it is installed: values and gradients."""

import numpy as np
import pytest
from bound import rounding

import pyref

torch = pytest.importorskip("torch")
nn = torch.nn
F = nn.functional
pytestmark = pytest.mark.peers

RNG = np.random.default_rng(2)
X, G = RNG.normal(size=(2, 3, 4, 5, 6)) * 2
W, B = RNG.normal(size=(2, 4))
MEAN, VARIANCE = RNG.normal(size=4), RNG.uniform(0.5, 2, size=4)
LAST = RNG.normal(size=(2, 5, 6))


def t(v):
    return torch.tensor(v)


CASES = {
    "relu": (pyref.ReLU(), F.relu),
    "leaky": (pyref.LeakyReLU(0.1), lambda x: F.leaky_relu(x, 0.1)),
    "prelu": (pyref.PReLU(W), lambda x: F.prelu(x, t(W))),
    "relu6": (pyref.ReLU6(), F.relu6),
    "clip": (pyref.Clip(-1, 0.5), lambda x: F.hardtanh(x, -1, 0.5)),
    "hard sigmoid": (pyref.HardSigmoid(), F.hardsigmoid),
    "elu": (pyref.ELU(0.7), lambda x: F.elu(x, 0.7)),
    "selu": (pyref.SELU(), F.selu),
    "silu": (pyref.SiLU(), F.silu),
    "gelu": (pyref.GELU(), F.gelu),
    "gelu tanh": (pyref.GELU("tanh"), lambda x: F.gelu(x, approximate="tanh")),
    "tanh": (pyref.Tanh(), torch.tanh),
    "sigmoid": (pyref.Sigmoid(), torch.sigmoid),
    "softplus": (pyref.Softplus(2), lambda x: F.softplus(x, 2, threshold=1000)),
    "softmax": (pyref.Softmax(), lambda x: F.softmax(x, 1)),
    "log softmax": (pyref.LogSoftmax(-1), lambda x: F.log_softmax(x, -1)),
    "batch norm": (
        pyref.BatchNorm.from_statistics(MEAN, VARIANCE, W, B, 1e-3),
        lambda x: F.batch_norm(x, t(MEAN), t(VARIANCE), t(W), t(B), eps=1e-3),
    ),
    "layer norm": (pyref.LayerNorm(*LAST), lambda x: F.layer_norm(x, (5, 6), t(LAST[0]), t(LAST[1]))),
    "group norm": (pyref.GroupNorm(2, W, B), lambda x: F.group_norm(x, 2, t(W), t(B))),
    "instance norm": (pyref.InstanceNorm(W, B), lambda x: F.instance_norm(x, weight=t(W), bias=t(B))),
    "local response": (pyref.LocalResponseNorm(3, 0.5, 0.6, 1.5), lambda x: F.local_response_norm(x, 3, 0.5, 0.6, 1.5)),
    "local response, even": (pyref.LocalResponseNorm(2, 0.5), lambda x: F.local_response_norm(x, 2, 0.5)),
    "nearest": (pyref.Upsample((2, 3)), lambda x: F.interpolate(x, scale_factor=(2, 3))),
    "nearest to a size": (pyref.Upsample(size=(7, 4)), lambda x: F.interpolate(x, (7, 4))),
    "bilinear": (pyref.Upsample(size=(7, 4), mode="bilinear"), lambda x: F.interpolate(x, (7, 4), mode="bilinear")),
    "bilinear corners": (
        pyref.Upsample(2, mode="bilinear", align_corners=True),
        lambda x: F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True),
    ),
    "pad": (pyref.Pad(((1, 0), (2, 3)), 0.5), lambda x: F.pad(x, (2, 3, 1, 0), value=0.5)),
}


@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients(name):
    layer, function = CASES[name]
    x = torch.tensor(X, requires_grad=True)
    want = function(x)
    y = layer.forward(pyref, X)
    assert y.shape == tuple(want.shape)
    seed = np.resize(G, y.shape)
    want.backward(torch.tensor(seed))
    (g,) = layer.gradient(pyref, (X,), y, seed)
    size = (1 + np.max(np.abs(X))) ** 2 * max(1, np.max(np.abs(seed)))
    assert np.all(np.abs(y - want.detach().numpy()) <= rounding(4 * X.size, size))
    # torch multiplies by 1/6 as a float32 in the backward pass of hardsigmoid, also where all else is float64
    bound = rounding(1, np.abs(seed), np.float32) if name == "hard sigmoid" else rounding(4 * X.size, size)
    assert np.all(np.abs(g - x.grad.numpy()) <= bound)
