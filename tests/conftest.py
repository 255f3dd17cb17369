"""Hypothesis profiles: `ci` is the default and repeats itself; HYPOTHESIS_PROFILE=thorough searches anew each time,
`sanitize` draws few, for slow machinery around a kernel.
"""

import os
import sys

if "PYTEST_XDIST_WORKER" in os.environ:  # workers share the cores: threads of BLAS that wait for each other spin
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import emulated
import pytest
from hypothesis import HealthCheck, settings

from relprop.backends import resolve

# Drawing an array of Fractions is slow by nature, not by mistake.
_slow = [HealthCheck.too_slow, HealthCheck.data_too_large]

settings.register_profile("ci", max_examples=40, derandomize=True, deadline=None, suppress_health_check=_slow)
settings.register_profile("thorough", max_examples=1000, deadline=None, suppress_health_check=_slow)
settings.register_profile("sanitize", max_examples=4, derandomize=True, deadline=None, suppress_health_check=_slow)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


@pytest.fixture(scope="session", params=["cpu", "cuda-emulated", "cuda"])
def backend(request):
    """Each backend that has kernels, as a module."""
    return resolve("cpu")[1] if request.param == "cpu" else emulated.for_parity(request.param)


@pytest.fixture(scope="session", params=["cuda-emulated", "cuda"])
def cuda(request):
    """Each device as the backend "cuda" of relprop.explain, as a module."""
    with emulated.in_place(request.param) as module:
        yield module


_worst: dict[str, float] = {}  # error/bound of each kernel and rule, of this process or of all that `-n` made


def _gather(worst):
    for label, of_one in worst.items():
        _worst[label] = max(_worst.get(label, 0.0), of_one)


def pytest_sessionfinish(session):
    _gather(getattr(sys.modules.get("parity"), "WORST", {}))
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["worst"] = _worst


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    _gather(getattr(node, "workeroutput", {}).get("worst", {}))


def pytest_terminal_summary(terminalreporter):
    """The worst error/bound of each kernel and rule that this run compared."""
    if _worst:
        terminalreporter.write_sep("-", "worst error / bound")
    for label, worst in sorted(_worst.items()):
        terminalreporter.write_line(f"{worst:8.3f}  {label}")
