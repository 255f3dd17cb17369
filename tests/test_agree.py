"""Whole networks: each shipped model under each method says on kernels what the textbook says.

How far apart they may be is what rounding does to the textbook itself: it is run again with every array that a layer
answers moved by as many units of roundoff as the longest sum of the network has terms.
"""

import numpy as np
import pytest
from bound import longest_sum, unit
from nearby import close
from test_cuda_network import CASES, NETWORKS, TARGET, inputs, shown, textbook

import pyref
import relprop
from relprop.cuda import LAYER_FUNCTION
from relprop.models import zoo

RUNS = 3
FEWER = {"integrated_gradients": {"quadrature": "midpoint", "m": 10}, "smoothgrad": {"samples": 5}}  # passes of a run
X = relprop.digits()[0][37:38]


class Rounded:
    """pyref as a backend whose layers round up or down, by n units of roundoff."""

    def __init__(self, n, seed):
        self.n, self.rng = n, np.random.default_rng(seed)

    def __getattr__(self, name):
        value = getattr(pyref, name)
        return (lambda *a, **k: self.moved(value(*a, **k))) if LAYER_FUNCTION.search(name) else value

    def moved(self, v):
        if isinstance(v, tuple):
            return tuple(map(self.moved, v))
        if not isinstance(v, np.ndarray) or v.dtype.kind != "f":
            return v
        return (v * (1 + self.n * unit(v.dtype) * self.rng.choice([-1, 1], v.shape))).astype(v.dtype)


def answers(network, method, backend, options):
    """The values, or in what words they are refused."""
    try:
        return relprop.explain(network, X, method, 3, backend, progress=False, **options).values
    except ValueError as refused:
        return str(refused)


@pytest.mark.parametrize("method", pyref.METHODS)
@pytest.mark.parametrize("model", zoo.names())
def test_kernels_agree_with_the_textbook(model, method):
    network, options = relprop.zoo(model), dict(FEWER.get(method, {}))
    if method.startswith("pattern"):
        if model.startswith("digits-lstm"):
            pytest.skip("there are no patterns of recurrent layers")
        options["patterns"] = pyref.fit_patterns(network, [relprop.digits()[0][:50]])
    got, want = (answers(network, method, backend, options) for backend in ("cpu", "pyref"))
    if isinstance(want, str):
        assert got == want
        return
    runs = [
        pyref.METHODS[method](network, X, 3, backend=Rounded(longest_sum(network), seed), **options).values
        for seed in range(RUNS)
    ]
    spread = max(np.max(np.abs(run - want)) for run in runs)
    assert got.dtype == want.dtype and np.max(np.abs(got - want)) <= spread


@pytest.mark.parametrize(("net", "method", "options"), CASES, ids=[f"{n}-{m}-{shown(o)}" for n, m, o in CASES])
def test_graphs_of_every_form_agree_with_the_textbook(net, method, options):
    """What is walked on the device, test_cuda_network.py, is walked here too: sums, branches, products, constants."""
    network, x = NETWORKS[net], inputs(net)
    got = relprop.explain(network, x, method, TARGET, backend="cpu", **options)
    assert got.backend == "cpu" and got.values.dtype == x.dtype
    close(got.values, textbook(method, options), network, x)
    close(got.output, textbook(method, options, lambda a: a.output), network, x)


def test_a_kernel_that_is_wrong_is_seen(monkeypatch):
    """One weight in a thousandth off."""
    network = relprop.zoo("digits-mlp-relu")
    want = answers(network, "lrp", "pyref", {})
    spread = np.max(np.abs(pyref.lrp(network, X, 3, backend=Rounded(longest_sum(network), 0)).values - want))
    right = relprop.cpu.dense_relevance
    monkeypatch.setattr(relprop.cpu, "dense_relevance", lambda *a, **k: right(*a, **k) * np.float32(1.001))
    assert np.max(np.abs(answers(network, "lrp", "cpu", {}) - want)) > spread
