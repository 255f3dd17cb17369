"""LRP through an LSTM as [arras2017] publish it in NumPy: sample by sample, step by step, messages as whole matrices.

Sums go through the same function as weights, by way of identity matrices: so do those of the cell.
"""

import numpy as np

from bench.measure import Unavailable

NAME = "NumPy, a step at a time"


def _sigmoid(z):
    return 1 / (1 + np.exp(-z))


def _messages(x, w, z, R, epsilon):
    """Σ_o x_i w_io / (z_o + ε s(z_o)) R_o with the matrix of messages formed."""
    return (x[:, None] * w / (z + epsilon * np.where(z >= 0, 1, -1))[None, :] * R[None, :]).sum(axis=1)


def _sample(x, lstm, dense, target, epsilon):
    (w_x,), (w_h,), (b,) = lstm.w_x, lstm.w_h, lstm.b
    steps, d = len(x), w_h.shape[0]
    h, c = np.zeros((steps + 1, d), x.dtype), np.zeros((steps + 1, d), x.dtype)
    z, i, f, g = (np.zeros((steps, k), x.dtype) for k in (4 * d, d, d, d))
    for t in range(steps):
        z[t] = x[t] @ w_x + h[t] @ w_h + b
        i[t], f[t], g[t] = _sigmoid(z[t, :d]), _sigmoid(z[t, d : 2 * d]), np.tanh(z[t, 2 * d : 3 * d])
        c[t + 1] = f[t] * c[t] + i[t] * g[t]
        h[t + 1] = _sigmoid(z[t, 3 * d :]) * np.tanh(c[t + 1])
    out = h[steps] @ dense.w + dense.b
    seed = np.where(np.arange(len(out)) == target, out, 0)
    R_h, R_c = _messages(h[steps], dense.w, out, seed, epsilon), np.zeros(d, x.dtype)
    block, eye = slice(2 * d, 3 * d), np.eye(d, dtype=x.dtype)
    R_x = np.zeros_like(x)
    for t in reversed(range(steps)):
        R_c = R_c + R_h
        R_g = _messages(i[t] * g[t], eye, c[t + 1], R_c, epsilon)
        R_c = _messages(f[t] * c[t], eye, c[t + 1], R_c, epsilon)
        R_x[t] = _messages(x[t], w_x[:, block], z[t, block], R_g, epsilon)
        R_h = _messages(h[t], w_h[:, block], z[t, block], R_g, epsilon)
    return R_x


def prepare(row):
    if row.method != "lrp" or row.options["rule"] != "epsilon":
        raise Unavailable("it is written for the epsilon rule")
    network = row.build()
    x = row.input(network)
    target = row.target(network, x)
    lstm, dense = (node.layer for node in network.nodes.values())
    epsilon = row.options["rule_options"]["epsilon"]
    return lambda: np.stack([_sample(x[n], lstm, dense, target[n], epsilon) for n in range(len(x))])
