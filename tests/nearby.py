"""How far rounding may part two libraries: what moving all parameters and inputs by some roundings does."""

from dataclasses import fields, replace

import numpy as np
from bound import longest_sum, unit


def close(got, explain, net, x, disturbed=None, draws=4):
    """got is explain(net, x), but for rounding. Every array has the samples along its first axis.

    Whatever the order of a sum of n products, what comes out is the exact sum of products off by at most n
    roundings each. So all parameters and inputs are moved by so many, and what that does to a sample bounds
    what the roundings of either library do to it. `disturbed(rng, size)` is a backend that adds what else is
    rounded in the other library, by formulas that are worse conditioned than ours; then explain(net, x, backend).
    """
    off, allowed = gap(got, explain, net, x, disturbed, draws)
    assert off <= allowed, f"off by {off}, allowed {allowed}"


def gap(got, explain, net, x, disturbed=None, draws=4):
    """(how far got is off, how far it may be), see `close`, of the sample that is closest to its limit."""
    want = explain(net, x)
    assert got.shape == want.shape
    per_sample = tuple(range(1, want.ndim))
    assert np.max(np.abs(want), axis=per_sample).all(), "there is nothing to compare"
    size = (longest_sum(net) + 16) * unit(x.dtype)  # 16: activations and divisions, a few units each
    rng = np.random.default_rng(0)
    allowed = size * np.max(np.abs(want), axis=per_sample, keepdims=True)
    for _ in range(draws):
        backend = () if disturbed is None else (disturbed(rng, size),)
        moved = explain(_moved(net, rng, size), _wobble(x, rng, size), *backend)
        allowed = np.maximum(allowed, np.max(np.abs(moved - want), axis=per_sample, keepdims=True))
    off = np.max(np.abs(got - want), axis=per_sample, keepdims=True)
    worst = np.argmax(off / allowed)
    return float(off.flat[worst]), 2 * float(allowed.flat[worst])


def differs(got, want, by):
    """got differs from want, in every sample, by at least a share `by` of its largest value: no rounding does that."""
    axes = tuple(range(1, want.ndim))
    return bool((np.max(np.abs(got - want), axis=axes) > by * np.max(np.abs(want), axis=axes)).all())


def _wobble(v, rng, size):
    return v * (1 + size * rng.uniform(-1, 1, size=v.shape))


def _moved(net, rng, size):
    def moved(layer):
        values = {f.name: getattr(layer, f.name) for f in fields(layer)}
        arrays = {k: _wobble(v, rng, size) for k, v in values.items() if isinstance(v, np.ndarray)}
        of_recurrent = {k: v for k, v in values.items() if k in ("w_x", "w_h", "b", "b_n") and isinstance(v, tuple)}
        arrays |= {k: tuple(_wobble(part, rng, size) for part in v) for k, v in of_recurrent.items()}
        return replace(layer, **arrays)

    return net.with_layers({name: moved(node.layer) for name, node in net.nodes.items()})
