"""A line on the terminal while work takes longer than two seconds."""

import sys
from functools import wraps

from tqdm import tqdm

__all__ = ["Counted", "bar"]

PATIENCE = 2.0  # seconds before a line appears


def bar(steps=None, *, total=None, label="", shown=True, unit=" steps"):
    """A tqdm bar on stderr, around a loop or to be updated, that appears after two seconds.

    Where stderr is not a terminal nothing is shown.
    """
    return tqdm(steps, total=total, desc=label, unit=unit, delay=PATIENCE, disable=None if shown else True, leave=False)


class Counted:
    """A backend whose calls are counted on a bar: it tells how far any method is, without asking the method."""

    def __init__(self, module, label, shown=True):
        self._module = module
        self._bar = bar(label=label, unit=" layer calls") if shown and sys.stderr.isatty() else None

    def __enter__(self):
        """The counted backend, or the backend itself where nobody looks."""
        return self if self._bar is not None else self._module

    def __exit__(self, *error):
        if self._bar is not None:
            self._bar.close()

    def __getattr__(self, name):
        value = getattr(self._module, name)
        if not callable(value) or isinstance(value, type):
            return value

        @wraps(value)
        def counted(*args, **options):
            self._bar.update()
            return value(*args, **options)

        setattr(self, name, counted)
        return counted
