"""PyTorch modules as pyref networks, layer by layer.

Only tests import this, where PyTorch is installed.
"""

import numpy as np
import torch
from torch import nn

import pyref


class Residual(nn.Module):
    """x + body(x), the sum by a module of its own, join(a, b), as the libraries that hook modules want it."""

    def __init__(self, body, join):
        super().__init__()
        self.body, self.join = body, join

    def forward(self, x):
        return self.join(x, self.body(x))


class Flattened(nn.Module):
    """body(flattened x), for a library that has no rule for a module that flattens."""

    def __init__(self, *body):
        super().__init__()
        self.body = nn.Sequential(*body)

    def forward(self, x):
        return self.body(x.flatten(1))


def tensor(v):
    return torch.tensor(np.asarray(v))


def array(v):
    """A copy of a parameter or a result; None stays None."""
    return None if v is None else v.detach().numpy().copy()


LAYERS = {
    nn.Linear: lambda m: pyref.Dense(array(m.weight).T, array(m.bias)),
    nn.Conv2d: lambda m: pyref.Conv(array(m.weight), array(m.bias), m.stride, m.padding, m.dilation, m.groups),
    nn.ConvTranspose2d: lambda m: pyref.ConvTranspose(
        array(m.weight), array(m.bias), m.stride, m.padding, m.output_padding, m.dilation, m.groups
    ),
    nn.BatchNorm2d: lambda m: pyref.BatchNorm.from_statistics(
        *map(array, (m.running_mean, m.running_var, m.weight, m.bias)), m.eps
    ),
    nn.MaxPool2d: lambda m: pyref.MaxPool(m.kernel_size, m.stride, m.padding, m.dilation, m.ceil_mode),
    nn.AvgPool2d: lambda m: pyref.AvgPool(m.kernel_size, m.stride, m.padding, m.ceil_mode, m.count_include_pad),
    nn.AdaptiveAvgPool2d: lambda m: pyref.AdaptiveAvgPool(m.output_size),
    nn.Flatten: lambda m: pyref.Flatten(),
    nn.Softmax: lambda m: pyref.Softmax(m.dim),
    nn.ReLU: lambda m: pyref.ReLU(),
    nn.LeakyReLU: lambda m: pyref.LeakyReLU(m.negative_slope),
    nn.ELU: lambda m: pyref.ELU(m.alpha),
    nn.Tanh: lambda m: pyref.Tanh(),
    nn.Sigmoid: lambda m: pyref.Sigmoid(),
    nn.Softplus: lambda m: pyref.Softplus(m.beta),
}


def network(module):
    """The pyref network of an `nn.Sequential`; node k is its k-th module, nodes "k.0", "k.1", … those of its body."""
    nodes = []

    def add(modules, prefix, source):
        for k, m in enumerate(modules):
            name = f"{prefix}{k}"
            if isinstance(m, Residual):
                nodes.append((name, pyref.Add(), (source, add(m.body, f"{name}.", source))))
            elif isinstance(m, Flattened):
                nodes.append((name, pyref.Flatten(), source))
                name = add(m.body, f"{name}.", name)
            else:
                nodes.append((name, LAYERS[type(m)](m), source))
            source = name
        return source

    add(module, "", "x")
    return pyref.Network(nodes)


def randomize(module, seed, whole=False):
    """Random parameters and statistics in float64: small whole numbers, so that sums are exact, or normal ones."""
    rng = np.random.default_rng(seed)
    for m in module.modules():
        for name, p in m.named_parameters(recurse=False):
            shape = tuple(p.shape)
            if whole:
                value = rng.integers(-2, 3, size=shape).astype(float)
            elif isinstance(m, nn.BatchNorm2d):
                value = rng.uniform(0.5, 2, size=shape) if name == "weight" else rng.normal(size=shape)
            else:
                value = rng.normal(size=shape) / np.sqrt(max(1, np.prod(shape[1:])))
            p.data = tensor(value)
        if isinstance(m, nn.BatchNorm2d):
            m.running_mean.data = tensor(rng.normal(size=m.num_features))
            m.running_var.data = tensor(rng.uniform(0.5, 2, size=m.num_features))
    return module.double().eval()
