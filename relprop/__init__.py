"""relprop: attribution methods for neural networks on compiled kernels. `pyref` is the same as a textbook."""

import importlib
from pathlib import Path

__all__ = [
    "__version__",
    "Attribution",
    "attribute",
    "build",
    "compile",
    "cpu",
    "digits",
    "explain",
    "fitting",
    "from_torch",
    "load",
    "save",
    "zoo",
]

__version__ = "0.1.0"

try:
    import relprop._core as _core
except ModuleNotFoundError as error:
    if error.name != "relprop._core":
        raise
    raise ImportError(
        f"relprop's compiled extension relprop._core was not found next to {Path(__file__).parent}; "
        "install the project: pip install . , or pip install -e . for development. "
        "(Where relprop is installed already, its source folder hides it: run Python from another folder.)"
    ) from None

if _core.__version__ != __version__:
    raise ImportError(
        f"relprop is version {__version__}, but its compiled extension {_core.__file__} was built "
        f"for {_core.__version__}; install the project again: pip install . , or pip install -e ."
    )

from relprop.explain import explain

_LAZY = {  # names that load when they are first asked for: `import relprop` stays fast
    "Attribution": "relprop.attribution",
    "attribute": "relprop.models.torch",
    "build": "relprop.models.architectures",
    "compile": "relprop.plan",
    "digits": "relprop.data",
    "fitting": "relprop.memory",
    "from_torch": "relprop.models.torch",
    "load": "relprop.models",
    "save": "relprop.models.native",
    "zoo": "relprop.models.zoo",
}


def __getattr__(name):
    if name == "cpu":  # the backend's module itself
        return importlib.import_module("relprop.cpu")
    if name not in _LAZY:
        raise AttributeError(f"module 'relprop' has no attribute {name!r}")
    module = importlib.import_module(_LAZY[name])
    return getattr(module, "load" if name == "zoo" else name)


def __dir__():
    return sorted({*globals(), *_LAZY, "cpu"})
