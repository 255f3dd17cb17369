"""A metric of ours over the forward passes of PyTorch: what the evaluation of copies alone gains."""

from bench.ours import measured
from bench.torch_ import fastest_layout, module, need

try:
    import torch
except ImportError:
    torch = None

NAME = "the same metric, forward passes of PyTorch"


def prepare(row):
    need("torch", torch)
    network = row.build()
    x = row.input(network)
    target = row.target(network, x)

    def forward(made, given):
        with torch.inference_mode():
            return made(given)

    made, _ = fastest_layout(module(network), torch.from_numpy(x), forward)
    return lambda: measured(row, lambda copies: forward(made, torch.from_numpy(copies)).numpy(), x, target)
