"""Affine layers of any kind, restated as one dense matrix: the oracle for every rule on them."""

import numpy as np
from exact import assert_equal, assert_exact
from test_dense import RULES, shares

import pyref

__all__ = ["check_adjoint", "check_rules", "jacobian"]


def _flat(arrays):
    """The inputs of each sample as one row."""
    return np.concatenate([a.reshape(a.shape[0], -1) for a in arrays], axis=1)


def jacobian(layer, x):
    """J (inputs, outputs) of an affine layer, column by column from unit directions; x gives the shapes."""
    one = tuple(pyref.zeros_like(v, (1, *v.shape[1:])) for v in x)
    y = layer.forward(pyref, *one)
    rows = []
    for k, v in enumerate(one):
        for at in np.ndindex(v.shape):
            unit = tuple(pyref.zeros_like(u) for u in one)
            unit[k][at] = unit[k][at] + 1
            rows.append(layer.tangent(pyref, one, y, unit).reshape(-1))
    return np.stack(rows), y.reshape(-1)


def check_rules(layer, x, R, connected=None):
    """Under every rule, relevance is that of the matrix of shares, r_i = Σ_o q_io R_o, and the ledger closes.

    connected (inputs, outputs): which input meets which output, by default where the matrix is not zero.
    """
    J, b = jacobian(layer, x)
    connected = J != 0 if connected is None else connected
    y = layer.forward(pyref, *x)
    for rule in RULES:
        account = pyref.Account()
        r = layer.relevance(pyref, x, y, R, rule, account=account)
        assert all(a.shape == v.shape for a, v in zip(r, x, strict=True))
        assert_equal(_flat(r), _matrix_relevance(J, b, connected, _flat(x), R.reshape(R.shape[0], -1), rule))
        assert (pyref.LedgerRow("node", R, r, account).residual == 0).all()


def _matrix_relevance(J, b, connected, x, R, rule):
    r = pyref.zeros_like(x)
    for n in range(len(x)):
        for o in range(J.shape[1]):
            i = connected[:, o]
            if i.any() and R[n, o] != 0:
                r[n, i] = r[n, i] + shares(rule, x[n, i], J[i, o : o + 1], b[o : o + 1])[:, 0] * R[n, o]
    return r


def check_adjoint(layer, x, dx, G):
    """The tangent is the change of y, and the gradient its adjoint, exactly; the multiplier is complete."""
    y = layer.forward(pyref, *x)
    dy = layer.tangent(pyref, x, y, dx)
    moved = tuple(v + d for v, d in zip(x, dx, strict=True))
    y_moved = layer.forward(pyref, *moved)
    assert_equal(dy, y_moved - y)
    assert_equal(dy, pyref.affine_forward(layer.terms(dx)))
    G_x = layer.gradient(pyref, x, y, G)
    assert all(g.shape == v.shape for g, v in zip(G_x, x, strict=True))
    assert_exact(*G_x)
    assert sum((g * d).sum() for g, d in zip(G_x, dx, strict=True)) == (G * dy).sum()
    for m, g in zip(layer.multiplier(pyref, moved, y_moved, x, y, G), G_x, strict=True):
        assert_equal(m, g)
