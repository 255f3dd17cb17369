"""relprop itself, as anyone calls it."""

import numpy as np

import relprop
from relprop.backends import resolve

NAME = "relprop"


def prepare(row, backend="cpu", dtype="float32"):
    """A call without arguments that answers the row's question with an array."""
    network = row.build(dtype)
    x = row.input(network, dtype)
    if row.method == "forward":
        _, module = resolve(backend)
        return lambda: network(x, module)
    target = row.target(network, x)
    return lambda: np.asarray(
        relprop.explain(network, x, row.method, target, backend, progress=False, **row.options).values
    )
