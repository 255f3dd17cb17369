"""The same call gives the same bits, run after run, for every layer on the kernels of the CPU.

Those of a device add in an order of their own making too: test_cuda.py runs their blocks and threads backwards, and
here no source of theirs holds an atomic sum.
"""

import re
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

import pyref
import relprop
from relprop.support import EXAMPLES

SAMPLES = 300  # several chunks of the loops
CUDA = sorted(p for p in Path(__file__).parent.parent.joinpath("csrc").rglob("*.cu*"))


def results(name, module):
    """The arrays of a layer by every question that it answers."""
    layer, *shapes = EXAMPLES[name]
    inputs = {f"x{k}": shape for k, shape in enumerate(shapes)}
    network = pyref.Network([("layer", layer, tuple(inputs))], inputs, outputs=["layer"])
    rng = np.random.default_rng(1)
    x = {
        k: rng.integers(0, 5, (SAMPLES, 3)) if shape is None else rng.normal(size=(SAMPLES, *shape)).astype(np.float32)
        for k, shape in inputs.items()
    }
    explained = []
    for method, options in (
        ("gradient", {}),
        ("lrp", {"rule": pyref.AlphaBeta()}),
        ("lrp", {"rule": pyref.Epsilon(0.1, stabilizer="rms")}),
        ("deeplift", {"baseline": 0.5}),
    ):
        with suppress(ValueError):  # the layer has no answer to this one
            explained.append(pyref.METHODS[method](network, x, np.ones_like, softmax="keep", backend=module, **options))
    assert explained
    arrays = []
    for a in explained:
        arrays += [a.output, *(a.values.values() if isinstance(a.values, dict) else [a.values])]
        arrays += [np.asarray(v) for row in a.ledger or () for v in (row.bias, row.stabilizer, row.dropped)]
    return [np.ascontiguousarray(v).tobytes() for v in arrays]


@pytest.mark.parametrize("name", pyref.LAYERS)
def test_the_same_bits_run_after_run(name):
    assert results(name, relprop.cpu) == results(name, relprop.cpu)


TOGETHER = ("Dense", "LSTM", "GRU")  # samples share matrix products, which round by their number


@pytest.mark.parametrize("name", [name for name in pyref.LAYERS if name not in TOGETHER])
def test_a_sample_has_its_own_bits(name):
    """Whatever its neighbours allow or forbid: signed values, none below zero, zeros."""
    layer, *shapes = EXAMPLES[name]
    inputs = {f"x{k}": shape for k, shape in enumerate(shapes)}
    network = pyref.Network([("layer", layer, tuple(inputs))], inputs, outputs=["layer"])
    rng, n = np.random.default_rng(2), 5
    x = {k: rng.integers(0, 5, (n, 3)) if s is None else rng.normal(size=(n, *s)) for k, s in inputs.items()}
    for v in x.values():
        v[1:3], v[3] = np.abs(v[1:3]), name == "Divide"
    R = rng.normal(size=(n, *network(x, relprop.cpu).shape[1:]))
    answered = 0
    for rule in (pyref.AlphaBeta(), pyref.ZPlus(), pyref.Gamma(), pyref.Gamma(2), pyref.Epsilon(stabilizer="rms")):

        def arrays(some, rule=rule):
            given = {k: v[some] for k, v in x.items()}
            a = pyref.lrp(network, given, lambda S: R[some], rule=rule, softmax="keep", backend=relprop.cpu)
            kept = [
                np.broadcast_to(v, len(R[some])) for row in a.ledger for v in (row.bias, row.stabilizer, row.dropped)
            ]
            return [*(a.values.values() if len(x) > 1 else [a.values]), *kept]

        with suppress(ValueError):  # the layer has no answer to this one
            together = arrays(slice(0, n))
            for k in range(n):
                alone = arrays(slice(k, k + 1))
                for one, of_all in zip(alone, together, strict=True):
                    assert np.array_equal(one, of_all[k : k + 1], equal_nan=True)
            answered += 1
    assert answered or name in ("Softmax", "LogSoftmax")


def test_no_kernel_adds_floats_in_an_order_of_chance():
    """Atomic sums would do so on a device, where the emulated one cannot show it."""
    assert len(CUDA) > 5
    assert [p.name for p in CUDA if re.search(r"atomic(Add|Sub|Max|Min|CAS|Exch)|red\.global", p.read_text())] == []


def test_a_kernel_that_depends_on_the_order_is_seen():
    """The harness bites: a backend that adds something else each time."""
    module, count = type("Drifting", (), {})(), iter(range(10**6))
    module.__class__.__getattr__ = lambda self, name: getattr(pyref, name)
    module.scale_forward = lambda x, factor: pyref.scale_forward(x, factor) + np.float32(next(count))
    assert results("Scale", module) != results("Scale", module)
