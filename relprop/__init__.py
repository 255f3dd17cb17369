"""relprop: attribution methods for neural networks on compiled kernels. `pyref` is the same as a textbook."""

from pathlib import Path

__all__ = ["__version__"]

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
