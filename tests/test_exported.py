"""A ResNet-50, a GoogLeNet and an LSTM that PyTorch exported to ONNX: right answers at the command line.

The files are small models of tests/exported; RELPROP_LONG=1 exports and explains them in full size.
"""

import os

import numpy as np
import pytest

import relprop

pytest.importorskip("onnx", reason="the extra `onnx` is not installed")

from exported import FOLDER, METHODS, NAMES, explained, full_size, imported, module, samples, values_by
from nearby import close

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


def check(said):
    """The sum is what it should be, and where relevance went adds up."""
    assert (np.abs(said["residual"]) <= said["bound"]).all()
    sums = np.sum(said["values"], axis=tuple(range(1, said["values"].ndim)))
    assert (np.abs(sums) > 1e3 * said["bound"]).all()  # so that a wrong sum does not pass
    for row in said["ledger"]:
        assert abs(row["residual"]) <= said["bound"], row


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("method", METHODS)
def test_the_command_line_explains_what_pytorch_exported(name, method, tmp_path):
    network = relprop.load(FOLDER / f"{name}.onnx")
    x = samples(next(iter(network.inputs.values())))
    said = explained(FOLDER / f"{name}.onnx", x, method, tmp_path)
    assert (said["ledger"] == []) == (method != "lrp")
    check(said)


@pytest.mark.parametrize("name", NAMES)
def test_exported_models_compute_what_the_module_did(name):
    """As PyTorch computed it when the file was written."""
    network = relprop.load(FOLDER / f"{name}.onnx")
    x = samples(next(iter(network.inputs.values())))
    close(np.load(FOLDER / f"{name}.npy"), lambda net, x: net(x), network, x)


@pytest.mark.parametrize("name", NAMES)
def test_the_same_values_come_through_from_torch(name, tmp_path):
    pytest.importorskip("torch", reason="needs PyTorch, which the extra `torch` installs")
    from outside import array, tensor

    made, shape = module(name)
    x, path = samples(shape), FOLDER / f"{name}.onnx"
    network = imported(made, x)
    for method in METHODS:
        said = explained(path, x, method, tmp_path)
        close(said["values"], values_by(method), network, x, draws=2)
    close(array(made(tensor(x))), lambda net, x: net(x), said["network"], x)


@pytest.mark.skipif(os.environ.get("RELPROP_LONG") != "1", reason="minutes: RELPROP_LONG=1")
def test_in_full_size(tmp_path):
    pytest.importorskip("torch", reason="needs PyTorch, which the extra `torch` installs")
    pytest.importorskip("onnxscript", reason="torch.onnx.export needs onnxscript")
    for name, method, said, (off, allowed), _ in full_size(tmp_path):
        check(said)
        assert off <= allowed, (name, method)
