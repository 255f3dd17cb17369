"""pyref's names on C++ kernels, for arrays in host memory.

Every name of `pyref.__all__` is here. Those in `KERNELS` are compiled; the others are pyref's own functions.
Kernels take float32 and float64, mixed as NumPy mixes them, in any memory layout: C order is read in place, as
are transposed weights; other layouts are copied first. Arrays of another library that speaks DLPack are read where
they lie, and the answers are arrays of that library. Weights are expected to be finite; NaN and infinity in
data come out in the same places as in pyref. What a compiled function does not know, an activation that is not
pyref's own or maxima of windows over more than three axes, it hands to pyref's function.
"""

import pyref
from relprop import _core
from relprop._mirror import fill
from relprop.copies import copied_output

KERNELS = fill(globals(), _core.cpu, copied_output=copied_output)

__all__ = [*pyref.__all__, "KERNELS", "release_memory", "set_threads", "threads"]


def threads():
    """The number of threads that a call may use.

    It is OpenBLAS's own number: OMP_NUM_THREADS and OPENBLAS_NUM_THREADS set it before the first import,
    `set_threads` and threadpoolctl afterwards. Calls from several Python threads are safe.
    """
    return _core.threads()


def set_threads(n):
    """Let later calls use n threads, in matrix products and in every other loop.

    Raises
        ValueError  n < 1
    """
    _core.set_threads(n)


def release_memory():
    """Give memory back to the system that is kept for later calls.

    Arrays of 64 KiB and more come from blocks that are used again: a system fills fresh memory with zeros, which
    takes up to a fifth of a pass. What is kept and what is in use are together at most an eighth or 8 MiB more than
    was in use at one time, and at rest 320 MiB are kept at most.
    """
    _core.release_memory()
