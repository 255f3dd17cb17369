"""The CUDA backends of the tests: the kernels on an emulated device, and on a real one where there is one."""

import importlib
import sys
from contextlib import contextmanager
from dataclasses import replace
from types import ModuleType

import pytest

import pyref
import relprop.cuda
from relprop import _core
from relprop.backends import BACKENDS


def compiled():
    """The extension on the emulated device, or None where it was not built."""
    try:
        return importlib.import_module("relprop._cuda_emulated")
    except ModuleNotFoundError:
        return None


def backend():
    """(the backend "cuda-emulated" as a module, None) or (None, why there is none)."""
    extension = compiled()
    if extension is None:
        return None, "not built (CMAKE_ARGS=-DRELPROP_CUDA_EMULATE=ON pip install -e .)"
    if extension.source_digest != _core.source_digest:
        return None, "built from other sources: install again"
    module = ModuleType("cuda-emulated")
    relprop.cuda.mirror(vars(module), extension, "")
    return module, None


def device():
    """(the backend "cuda", None) or (None, why it cannot run)."""
    if _core.cuda is None:
        return None, _core.cuda_build
    return (relprop.cuda, None) if _core.cuda.devices() else (None, f"no device ({_core.cuda.no_device()})")


def _running(name):
    """A CUDA backend with plain products (test_parity_precision has the others); skips the test where it cannot run."""
    module, missing = backend() if name == "cuda-emulated" else device()
    if missing:
        pytest.skip(f"{name}: {missing}")
    module.set_precision("plain")
    return module


@contextmanager
def in_place(name):
    """A CUDA backend that stands behind the name "cuda"; the test is skipped where it cannot run."""
    module = _running(name)
    before, called = BACKENDS["cuda"], f"behind {name}"
    sys.modules[called] = module
    BACKENDS["cuda"] = replace(before, module=called, missing="")
    try:
        yield module
    finally:
        BACKENDS["cuda"] = before


def for_parity(name):
    """A CUDA backend for tests that every backend runs: they are skipped where it cannot run, or has no kernel yet."""
    module = _running(name)
    lenient = ModuleType(name)
    vars(lenient).update(vars(module))
    for function in pyref.__all__:
        if relprop.cuda.LAYER_FUNCTION.search(function) and function not in relprop.cuda.KERNELS:
            setattr(lenient, function, lambda *_, of=function, **__: pytest.skip(f"{of} has no CUDA kernel"))
    return lenient
