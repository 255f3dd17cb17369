"""Parts of an attribution that are made when somebody reads them."""

from collections.abc import Callable
from functools import cached_property, partial
from typing import Any

from pyref.attribution import Attribution, NotKept

__all__ = ["PARTS", "Later", "filled"]

PARTS = ("expected", "signals", "biases", "ledger")


class Later:
    """The attribution again, with all its parts, once something is asked for that was not kept.

    make  computes it
    """

    def __init__(self, make: Callable[[], Attribution]):
        self._make = make

    @cached_property
    def _made(self):
        return self._make()

    def parts(self, names=PARTS) -> dict[str, Callable[[], Any]]:
        """{name: function without arguments}, as `pyref.Attribution` takes its fields."""
        return {name: partial(self._read, name) for name in names}

    def _read(self, name):
        return getattr(self._made, name)


def filled(result, prepare):
    """A result with what `inner=False` did not keep: prepare() returns the function that makes it."""
    missing = [name for name in PARTS if isinstance(vars(result)[name], NotKept)]
    if not missing:
        return result
    made = object.__new__(type(result))  # dataclasses.replace would read what is made when it is first read
    vars(made).update(vars(result) | Later(prepare()).parts(missing))
    return made
