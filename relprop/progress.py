"""A line on the terminal while work takes longer than two seconds."""

import sys
from contextlib import contextmanager, nullcontext
from functools import wraps

from tqdm import tqdm

__all__ = ["counted", "bar"]

PATIENCE = 2.0  # seconds before a line appears


def bar(steps=None, *, total=None, label="", shown=True, unit=" steps"):
    """A tqdm bar on stderr, around a loop or to be updated, that appears after two seconds.

    Where stderr is not a terminal nothing is shown.
    """
    return tqdm(steps, total=total, desc=label, unit=unit, delay=PATIENCE, disable=None if shown else True, leave=False)


def counted(module, label, shown=True):
    """A backend, in a `with`, whose calls move a bar: it tells how far any method is, without asking the method.

    Where nobody looks it is the backend itself.
    """
    return _counted(module, label) if shown and sys.stderr.isatty() else nullcontext(module)


@contextmanager
def _counted(module, label):
    with bar(label=label, unit=" layer calls") as line:
        yield _Counted(module, line)


class _Counted:
    def __init__(self, module, line):
        self._module = module
        self._line = line

    def __getattr__(self, name):
        value = getattr(self._module, name)
        if not callable(value) or isinstance(value, type):
            return value

        @wraps(value)
        def counted(*args, **options):
            self._line.update()
            return value(*args, **options)

        setattr(self, name, counted)
        return counted
