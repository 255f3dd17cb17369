"""Backends by name. A backend is a module with pyref's names; BACKENDS is the one table of them."""

import importlib
from dataclasses import dataclass

from pyref.check import nearest

__all__ = ["BACKENDS", "Backend", "resolve"]


@dataclass(frozen=True)
class Backend:
    """A backend: what it is, the module that holds it, None where this version has no such module."""

    name: str
    about: str
    module: str | None

    @property
    def built(self) -> bool:
        return self.module is not None


BACKENDS = {
    backend.name: backend
    for backend in (  # slowest first: "auto" takes the last that is built
        Backend("pyref", "the textbook, in NumPy on the host", "pyref"),
        Backend("cpu", "C++ kernels on the host", "relprop.cpu"),
        Backend("cuda", "CUDA kernels on an NVIDIA GPU", None),
    )
}


def resolve(name="auto", exact=False):
    """(name, module) of a backend; "auto" is the fastest that this build has for arrays in host memory.

    exact  whether the arrays are: then "auto" is pyref, which alone computes with Fractions

    Raises
        ValueError    no such backend
        RuntimeError  known, but not in this build: another one never takes its place unasked
    """
    built = [backend for backend in BACKENDS.values() if backend.built]
    if name == "auto":
        backend = BACKENDS["pyref"] if exact else built[-1]
    elif name not in BACKENDS:
        raise ValueError(f"there is no backend {name!r}; {nearest(name, ['auto', *BACKENDS])}")
    else:
        backend = BACKENDS[name]
    if backend.module is None:
        raise RuntimeError(
            f"this build of relprop has no backend {name!r} ({backend.about}); "
            f"built: {', '.join(b.name for b in built)}"
        )
    return backend.name, importlib.import_module(backend.module)
