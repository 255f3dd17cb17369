"""relprop itself, as anyone calls it."""

import numpy as np

import pyref
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
    if row.method in pyref.METRICS:
        _, module = resolve(backend)
        return lambda: measured(row, network, x, target, backend=module)
    if row.method == "relevance":  # the walk alone, from a forward pass that is there
        _, module = resolve(backend)
        record = network.forward(x, module)
        return lambda: pyref.lrp(network, x, target, backend=module, record=record, inner=False, **row.options).values
    return lambda: np.asarray(
        relprop.explain(network, x, row.method, target, backend, progress=False, **row.options).values
    )


def measured(row, model, x, target, **options):
    """A metric's values, one row per sample."""
    if row.method == "cosine_convergence":
        found = pyref.cosine_convergence(model, x, **row.options, **options)
        return np.nan_to_num(np.concatenate(list(found.values.values()), axis=1))  # above a start is nothing
    found = getattr(pyref, row.method)(model, x, row.attribution(x), target=target, **row.options, **options)
    return np.concatenate([np.asarray(v, float) for v in found.values.values()], axis=1)
