"""What a method returns."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pyref.check import nearest
from pyref.numerics import sum_samples
from pyref.trace import Ledger

__all__ = ["Attribution"]


class _WhenRead:
    """A field that may be given as a function: it is called when the field is first read."""

    def __init__(self, default=None):
        self.default = default

    def __set_name__(self, owner, name):
        self.name = name

    def __get__(self, instance, owner=None):
        if instance is None:
            return self
        value = vars(instance)[self.name]
        if callable(value):
            value = vars(instance)[self.name] = value()
        return value

    def __set__(self, instance, value):
        vars(instance)[self.name] = self.default if value is self else value


class NotKept:
    """In the place of a field that was not kept.

    Raises
        ValueError  when it is read.
    """

    def __init__(self, name):
        self.name = name

    def __call__(self):
        raise ValueError(f"{self.name} is made of what inner values receive, which inner=False does not keep")


class Derived(Mapping):
    """make(reference, signal) for every signal, each when it is first read: most attributions are read at the input."""

    def __init__(self, signals: Mapping, make: Callable[[Any, Any], Any]):
        self._signals, self._make, self._made = signals, make, {}

    def __getitem__(self, ref):
        if ref not in self._made:
            self._made[ref] = self._make(ref, self._signals[ref])
        return self._made[ref]

    def __iter__(self):
        return iter(self._signals)

    def __len__(self):
        return len(self._signals)


@dataclass(frozen=True)
class Attribution:
    """The attributions of one batch.

    values      in the shape of the input; {name: array} for several inputs or several nodes in `at`
    output      the explained number S_c, per sample
    expected    what Σ values should be, per sample; None where the method promises nothing. Methods that must add it
                up, node by node, give a function that does so when it is first read
    signals     {reference: attribution there} for every value that the walk reached, or likewise a function
    biases      {node: attribution of its bias, in the shape of its output} where the method has any; or a function
    ledger      where relevance went, node by node; empty unless the method carries relevance; or a function
    quadrature  how an integral was computed
    settings    everything else that was asked for or chosen
    """

    method: str
    values: Any
    output: Any
    expected: Any = field(default=_WhenRead())
    signals: Any = field(default=_WhenRead(dict), repr=False)
    biases: Any = field(default=_WhenRead(dict), repr=False)
    ledger: Any = field(default=_WhenRead(Ledger), repr=False)
    quadrature: str | None = None
    settings: dict = field(default_factory=dict, repr=False)

    def __getstate__(self):
        made = {}  # other functions cannot be pickled
        for name in ("expected", "signals", "biases", "ledger"):
            if not isinstance(vars(self)[name], NotKept):
                made[name] = dict(self.signals) if name == "signals" else getattr(self, name)
        return vars(self) | made

    @property
    def total(self):
        """Σ values over all inputs, per sample."""
        arrays = self.values.values() if isinstance(self.values, dict) else [self.values]
        return sum(sum_samples(v) for v in arrays)

    @property
    def delta(self):
        """Completeness residual: Σ values - expected, per sample; None where nothing is promised."""
        return None if self.expected is None else self.total - self.expected

    def at(self, name, k=0):
        """The attribution of an inner node's output (its k-th), or of a network input.

        Raises
            ValueError  the walk did not reach it.
        """
        if (name, k) not in self.signals:
            reached = [n for n, _ in self.signals]
            raise ValueError(f"no attribution at {name!r}; {nearest(name, reached)}")
        return self.signals[name, k]
