"""LRP through an LSTM by PyTorch's autograd: the cell unrolled, gates held constant, shares as gradients."""

from bench.measure import Unavailable
from bench.torch_ import need

try:
    import torch
except ImportError:
    torch = None

NAME = "PyTorch, unrolled"


def _shared(value, z, epsilon):
    """value, with value / σ_ε(z) for its derivative by z."""
    stable = torch.where(z >= 0, z + epsilon, z - epsilon)
    factor = torch.where(stable == 0, 0, value / stable)
    return value.detach() + (z - z.detach()) * factor.detach()


def prepare(row):
    need("torch", torch)
    if row.method != "lrp" or row.options["rule"] != "epsilon":
        raise Unavailable("it is written for the epsilon rule")
    network = row.build()
    x = torch.from_numpy(row.input(network))
    target = torch.from_numpy(row.target(network, x))[:, None]
    lstm, dense = (node.layer for node in network.nodes.values())
    w_x, w_h, b = (torch.from_numpy(v[0]) for v in (lstm.w_x, lstm.w_h, lstm.b))
    w, bias = torch.from_numpy(dense.w), torch.from_numpy(dense.b)
    epsilon = row.options["rule_options"]["epsilon"]

    def run():
        given = x.detach().clone().requires_grad_()
        n, d = len(x), w_h.shape[0]
        h, c = (torch.zeros(n, d, dtype=x.dtype) for _ in range(2))
        for t in range(x.shape[1]):
            z = given[:, t] @ w_x + h @ w_h + b
            i, f, z_g, o = z[:, :d].sigmoid(), z[:, d : 2 * d].sigmoid(), z[:, 2 * d : 3 * d], z[:, 3 * d :].sigmoid()
            g = _shared(z_g.tanh(), z_g, epsilon)
            c = f.detach() * c + i.detach() * g
            c = _shared(c, c, epsilon)  # the sum keeps its ε's share
            h = _shared(o * c.tanh(), c, 0)
        out = h @ w + bias
        chosen = _shared(out.detach(), out, epsilon).gather(1, target).sum()
        (gradient,) = torch.autograd.grad(chosen, given)
        return gradient * given.detach()

    return lambda: run().numpy()
