"""LSTM and GRU against PyTorch: stacked, bidirectional, packed. Skipped where PyTorch is not installed."""

import numpy as np
import pytest
from bound import rounding

import pyref

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.peers


def weights_of(module):
    """pyref's tuples from a PyTorch module: gates stay in order (i f g o, r z n), the matrices are transposed."""
    tuples = {"w_x": [], "w_h": [], "b_ih": [], "b_hh": []}
    for layer in range(module.num_layers):
        for suffix in ("", "_reverse"):
            for name, key in (("weight_ih", "w_x"), ("weight_hh", "w_h"), ("bias_ih", "b_ih"), ("bias_hh", "b_hh")):
                tuples[key].append(getattr(module, f"{name}_l{layer}{suffix}").detach().numpy().T)
    return tuples


def lstm():
    module = torch.nn.LSTM(3, 4, num_layers=2, batch_first=True, bidirectional=True, dtype=torch.float64)
    w = weights_of(module)
    b = [p + q for p, q in zip(w["b_ih"], w["b_hh"], strict=True)]
    return module, lambda output: pyref.LSTM(w["w_x"], w["w_h"], b, bidirectional=True, output=output, masked=True)


def gru():
    """PyTorch's two biases: both count for r and z; that of the recurrent n stands inside the reset product."""
    module = torch.nn.GRU(3, 4, num_layers=2, batch_first=True, bidirectional=True, dtype=torch.float64)
    w = weights_of(module)
    b = [p + np.concatenate((q[:8], 0 * q[8:])) for p, q in zip(w["b_ih"], w["b_hh"], strict=True)]
    b_n = [q[8:] for q in w["b_hh"]]
    options = {"bidirectional": True, "masked": True}
    return module, lambda output: pyref.GRU(w["w_x"], w["w_h"], b, b_n, output=output, **options)


@pytest.mark.parametrize("make", [lstm, gru])
def test_forward_and_gradient_agree_with_torch(make):
    torch.manual_seed(0)
    module, layer_of = make()
    x, lengths = torch.randn(3, 5, 3, dtype=torch.float64, requires_grad=True), torch.tensor([5, 2, 4])
    packed = torch.nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    out, h_n = module(packed)
    h, _ = torch.nn.utils.rnn.pad_packed_sequence(out, batch_first=True)
    h_n = h_n[0] if isinstance(h_n, tuple) else h_n
    last = torch.cat((h_n[-2], h_n[-1]), dim=1)
    inputs = x.detach().numpy(), lengths.numpy()
    for output, want in (("sequence", h), ("last", last)):
        layer = layer_of(output)
        y = layer.forward(pyref, *inputs)
        (G_want,) = torch.autograd.grad((want * want).sum(), x, retain_graph=True)
        G, _ = layer.gradient(pyref, inputs, y, 2 * y)
        for got, other in ((y, want.detach().numpy()), (G, G_want.numpy())):
            assert np.abs(got - other).max() <= rounding(1000, np.abs(other).max())
