"""The light models of onnx's wheel load, and with random weights compute what ONNX's evaluator does."""

import os

import numpy as np
import pytest
from bound import rounding

import relprop

onnx = pytest.importorskip("onnx", reason="the extra `onnx` is not installed")

import light  # noqa: E402

QUICK = ("squeezenet", "shufflenet")
ALL = os.environ.get("RELPROP_LONG") == "1"


@pytest.mark.parametrize("name", light.NAMES)
def test_it_loads_without_memory_for_weights_that_the_file_only_states(name):
    network = relprop.load(light.path(name))
    (shape,) = network.inputs.values()
    assert shape == (3, 224, 224)
    w = [n.layer.w for n in network.nodes.values() if n.layer.kind in ("conv", "dense")]
    assert any(0 in v.strides for v in w)


@pytest.mark.parametrize("name", light.NAMES if ALL else QUICK)
def test_its_outputs_are_those_of_the_evaluator(name):
    """Within the rounding of as many operations as the longest sums of its layers have, one after the other."""
    ours, theirs, record, terms, _ = light.outputs(name)
    largest = max(float(np.abs(v).max()) for v in record.values())
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() <= rounding(terms, largest)
    assert np.abs(theirs).max() > 0


@pytest.mark.parametrize("name", light.NAMES if ALL else QUICK[:1])
def test_deeplift_is_complete_on_it(name):
    """Σ values = S(x) - S(0): the residual is rounding, of all terms that were summed."""
    network, x, terms = light.network(name)
    a = relprop.explain(network, x, "deeplift", target=tuple([0] * (network(x).ndim - 1)), progress=False)
    assert np.abs(a.delta).max() <= rounding(terms, np.abs(a.values * x).sum() + np.abs(a.values).sum())
