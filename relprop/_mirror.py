"""A backend as a module with pyref's names: compiled where there is a kernel, pyref's own function elsewhere."""

import inspect
from functools import wraps

import pyref
from relprop.arrays import through_numpy

__all__ = ["fill"]


def fill(namespace, compiled, device=False, **shorter):
    """Put pyref's names into the namespace of a backend's module, and return those that have kernels.

    compiled  the part of the extension that holds the backend's functions, under pyref's names. Signatures
              and docstrings are pyref's: they are written once.
    device    whether it reaches arrays in device memory; those of other libraries in host memory are read by all
    shorter   functions of Python that come to the same by a shorter way
    """
    kernels = []
    for name in pyref.__all__:
        value = getattr(pyref, name)
        kernel = getattr(compiled, name, None)
        if kernel is not None:
            kernels.append(name)
            value = _mirrored(value, kernel, device)
        namespace[name] = shorter.get(name, value)
    return tuple(kernels)


def _fits(signature, args, options):
    try:
        signature.bind(*args, **options)
    except TypeError:
        return False
    return True


def _mirrored(function, kernel, device):
    signature = inspect.signature(function)

    @wraps(function)
    def mirrored(*args, **options):
        try:
            return kernel(*args, **options)
        except TypeError:
            if not _fits(signature, args, options):
                function(*args, **options)  # raises what Python says of a missing or unknown argument
            if (answer := through_numpy(kernel, signature.bind(*args, **options).arguments, device)) is None:
                raise
            return answer

    return mirrored
