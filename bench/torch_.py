"""PyTorch: forward passes and plain gradients, and our networks as modules for every library that hooks modules."""

from time import perf_counter

from bench.measure import Unavailable

try:
    import torch
    from torch import nn
except ImportError:
    torch = nn = GlobalAverage = None

import numpy as np

import pyref

NAME = "PyTorch"


def need(library, found):
    if found is None:
        raise Unavailable(f"{library} is not installed")


def module(network, add=None, dtype=None):
    """The network as an nn.Module: a module of its own for each node, so that hooks see every call once.

    add  the class that stands for a sum of two values, for libraries that need one; a plain + otherwise
    """
    need("torch", torch)
    chain = all(len(n.inputs) == 1 for n in network.nodes.values())
    nodes = [(node.name.replace(".", "_"), node, _module(node.layer, add)) for node in network.nodes.values()]
    if chain and all(network.consumers(n)[1:] == [] for n in network.nodes):
        made = nn.Sequential(*(m for _, _, m in nodes))
    else:
        made = _Graph(network, nodes)
    made = made.eval().requires_grad_(False)
    return made if dtype is None else made.to(dtype)


if nn is not None:

    class _Graph(nn.Module):
        """Nodes in order, values by reference, each forgotten after its last use."""

        def __init__(self, network, nodes):
            super().__init__()
            self.layers = nn.ModuleDict({name: m for name, _, m in nodes})
            self.steps = [(name, node.name, [i[0] for i in node.inputs]) for name, node, _ in nodes]
            self.start, self.end = next(iter(network.inputs)), network.outputs[0][0]
            uses = [(source, k) for k, (_, _, sources) in enumerate(self.steps) for source in sources]
            self.last = dict(uses)

        def forward(self, x):
            values = {self.start: x}
            for k, (name, node, sources) in enumerate(self.steps):
                values[node] = self.layers[name](*(values[s] for s in sources))
                for s in sources:
                    if self.last[s] == k:
                        values.pop(s, None)
            return values[self.end]

    class _Add(nn.Module):
        def forward(self, a, b):
            return a + b

    class _Concat(nn.Module):
        def forward(self, *parts):
            return torch.cat(parts, 1)

    class GlobalAverage(nn.Module):
        def forward(self, x):
            return x.mean((2, 3))

    class _LastState(nn.Module):
        """PyTorch's fused LSTM, gates i f g o as ours, with one bias where it has two."""

        def __init__(self, layer):
            super().__init__()
            (w_x,), (w_h,), (b,) = layer.w_x, layer.w_h, layer.b
            self.lstm = nn.LSTM(w_x.shape[0], w_h.shape[0], batch_first=True)
            given = {"weight_ih_l0": w_x.T, "weight_hh_l0": w_h.T, "bias_ih_l0": b, "bias_hh_l0": 0 * b}
            self.lstm.load_state_dict({k: torch.from_numpy(np.ascontiguousarray(v)) for k, v in given.items()})

        def forward(self, x):
            return self.lstm(x)[0][:, -1]


def _module(layer, add):
    match layer:
        case pyref.Dense():
            made = nn.Linear(*layer.w.shape, bias=layer.b is not None)
            return _filled(made, layer.w.T, layer.b)
        case pyref.Conv():
            w = layer.w
            padding = _symmetric(layer.padding)
            groups = layer.groups
            made = nn.Conv2d(
                w.shape[1] * groups,
                w.shape[0],
                w.shape[2:],
                layer.stride,
                padding,
                layer.dilation,
                groups,
                layer.b is not None,
            )
            return _filled(made, w, layer.b)
        case pyref.ReLU():
            return nn.ReLU()
        case pyref.MaxPool():
            return nn.MaxPool2d(layer.kernel, layer.stride, _symmetric(layer.padding))
        case pyref.AdaptiveAvgPool():
            return nn.AdaptiveAvgPool2d(layer.output_size)
        case pyref.GlobalAvgPool():
            return GlobalAverage()
        case pyref.Flatten():
            return nn.Flatten()
        case pyref.Dropout() | pyref.Identity():
            return nn.Identity()
        case pyref.Add():
            return (add or _Add)()
        case pyref.Concat():
            return _Concat()
        case pyref.LSTM(output="last", bidirectional=False, masked=False):
            return _LastState(layer)
    raise Unavailable(f"the bench has no module of PyTorch for {type(layer).__name__}")


def _filled(made, weight, bias):
    with torch.no_grad():
        made.weight.copy_(torch.from_numpy(np.ascontiguousarray(weight)))
        if bias is not None:
            made.bias.copy_(torch.from_numpy(np.ascontiguousarray(bias)))
    return made


def _symmetric(padding):
    """Padding per axis; the same before and after, which is all that PyTorch's modules know."""
    if isinstance(padding, int):
        return padding
    sides = [(p, p) if isinstance(p, int) else tuple(p) for p in padding]
    if any(before != after for before, after in sides):
        raise Unavailable("PyTorch's modules pad both sides alike")
    return tuple(before for before, _ in sides)


def fastest_layout(made, x, run):
    """(module, x) in the layout in which run(module, x) takes the least time: PyTorch has two for images."""
    if x.ndim != 4:
        return made, x
    found = []
    for layout in (torch.contiguous_format, torch.channels_last):
        made, x = made.to(memory_format=layout), x.contiguous(memory_format=layout)
        took = []
        while not took or (len(took) < 2 and took[0] < 3):  # the first run warms up, unless that is lost in its length
            began = perf_counter()
            run(made, x)
            took.append(perf_counter() - began)
        found.append((took[-1], layout))
    layout = min(found, key=lambda pair: pair[0])[1]
    return made.to(memory_format=layout), x.contiguous(memory_format=layout)


def prepare(row):
    need("torch", torch)
    network = row.build()
    x = row.input(network)
    made, given = module(network), torch.from_numpy(x)
    if row.method == "forward":

        def run(made, given):
            with torch.inference_mode():
                return made(given)

    elif row.method == "gradient_times_input":
        target = torch.from_numpy(row.target(network, x))[:, None]

        def run(made, given):
            given = given.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(made(given).gather(1, target).sum(), given)
            return gradient * given

    else:
        raise Unavailable(f"PyTorch has no {row.method}")
    made, given = fastest_layout(made, given, run)
    return lambda: run(made, given).detach().numpy()
