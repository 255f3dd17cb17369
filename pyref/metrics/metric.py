"""One row of the table of metrics."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["Metric"]


@dataclass(frozen=True)
class Metric:
    """A metric as the table says it.

    function  what to call
    equation  in the letters of its docstring
    source    keys of pyref/REFERENCES.md
    better    what a better attribution gives
    takes     its third argument: "attributions" (arrays), "methods" (which it runs itself), or "nothing"
    """

    function: Callable[..., Any]
    equation: str
    source: str
    better: str
    takes: str = "attributions"

    @property
    def name(self):
        """The function's name, which is that of its file."""
        return self.function.__name__

    @property
    def what(self):
        """The first line of what the function says about itself."""
        return (inspect.getdoc(self.function) or "").partition("\n")[0]
