"""Backends by name. A backend is a module with pyref's names; BACKENDS is the one table of them."""

import importlib
from dataclasses import dataclass

from pyref.check import nearest
from relprop import _core

__all__ = ["BACKENDS", "Backend", "resolve"]


@dataclass(frozen=True)
class Backend:
    """A backend: what it is, the module that holds it, and why this build has no kernels for it, if so."""

    name: str
    about: str
    module: str
    missing: str = ""

    @property
    def built(self) -> bool:
        return not self.missing


BACKENDS = {
    backend.name: backend
    for backend in (
        Backend("pyref", "the textbook, in NumPy on the host", "pyref"),
        Backend("cpu", "C++ kernels on the host", "relprop.cpu"),
        Backend("cuda", "CUDA kernels on an NVIDIA GPU", "relprop.cuda", "" if _core.cuda else _core.cuda_build),
    )
}


def resolve(name="auto", exact=False):
    """(name, module) of a backend; "auto" is cpu, the fastest for arrays in host memory: others ask for "cuda".

    exact  whether the arrays are: then "auto" is pyref, which alone computes with Fractions

    Raises
        ValueError    no such backend
        RuntimeError  known, but not in this build: another one never takes its place unasked
    """
    if name == "auto":
        backend = BACKENDS["pyref" if exact else "cpu"]
    elif name not in BACKENDS:
        raise ValueError(f"there is no backend {name!r}; {nearest(name, ['auto', *BACKENDS])}")
    else:
        backend = BACKENDS[name]
    if backend.missing:
        built = ", ".join(b.name for b in BACKENDS.values() if b.built)
        raise RuntimeError(f"this build of relprop has no backend {name!r} ({backend.missing}); built: {built}")
    return backend.name, importlib.import_module(backend.module)
