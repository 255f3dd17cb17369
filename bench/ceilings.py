"""What the machine can do, measured in the run that is judged by it."""

from time import perf_counter

import numpy as np

__all__ = ["sgemm", "copy"]


def _best(call, seconds):
    call()
    fastest, end = float("inf"), perf_counter() + seconds
    while perf_counter() < end:
        began = perf_counter()
        call()
        fastest = min(fastest, perf_counter() - began)
    return fastest


def sgemm(n=2048, seconds=2.0):
    """FLOP/s of a float32 matrix product of side n, through the BLAS that the kernels use."""
    import pyref
    from relprop import cpu

    x, w, b = np.ones((n, n), np.float32), np.ones((n, n), np.float32), np.zeros(n, np.float32)
    assert pyref.dense_forward is not cpu.dense_forward
    return 2 * n**3 / _best(lambda: cpu.dense_forward(x, w, b), seconds)


def copy(megabytes=256, seconds=1.0):
    """Bytes per second read and written by a copy that no cache holds (one thread)."""
    source = np.ones(megabytes << 18, np.float32)
    to = np.empty_like(source)
    return 2 * source.nbytes / _best(lambda: np.copyto(to, source), seconds)
