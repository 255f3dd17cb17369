"""A row counts only if its values are right, at the size at which it is timed."""

from dataclasses import fields, replace

import numpy as np

from bench import ours

__all__ = ["check", "gap"]


def gap(got, want):
    """‖got - want‖ / ‖want‖ of the worst sample."""
    got, want = (np.asarray(a, np.float64).reshape(len(a), -1) for a in (got, want))
    return float(np.max(np.linalg.norm(got - want, axis=1) / np.linalg.norm(want, axis=1)))


def check(row, backend="cpu", truth="cpu"):
    """How far float32 is from float64, which must be no more than rounding can do.

    truth is the backend that computes in float64: the reference, or the kernels that the tests hold to it. Rounding
    can do what a change of the weights and inputs by a few units in the last place does: the same values once more
    with those changed, in float64, give the allowance.
    """
    want = ours.prepare(row, truth, "float64")()
    got = ours.prepare(row, backend)()
    allowed = 2 * max(gap(ours.prepare(_Moved(row, seed), truth, "float64")(), want) for seed in (2, 3))
    found = gap(got, want)
    if not found <= allowed:
        raise AssertionError(f"{row.name}: float32 is {found:.2g} from float64, where rounding explains {allowed:.2g}")
    return {"float32": found, "allowed": allowed}


class _Moved:
    """The row with weights and inputs off by rounding."""

    def __init__(self, row, seed):
        self.row, self.rng = row, np.random.default_rng(seed)

    def __getattr__(self, name):
        return getattr(self.row, name)

    def wobble(self, v):
        return v * (1 + 16 * np.finfo(np.float32).eps * self.rng.uniform(-1, 1, size=v.shape))

    def build(self, dtype):
        network = self.row.build(dtype)

        def moved(layer):
            arrays = {f.name: getattr(layer, f.name) for f in fields(layer)}
            arrays = {k: v for k, v in arrays.items() if getattr(getattr(v, "dtype", None), "kind", "") == "f"}
            return replace(layer, **{k: self.wobble(v) for k, v in arrays.items()})

        return network.with_layers({name: moved(node.layer) for name, node in network.nodes.items()})

    def input(self, network, dtype):
        return self.wobble(self.row.input(network, dtype))
