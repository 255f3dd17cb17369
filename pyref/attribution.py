"""What a method returns."""

from dataclasses import dataclass, field
from typing import Any

from pyref.check import nearest
from pyref.numerics import sum_samples
from pyref.trace import Ledger

__all__ = ["Attribution"]


@dataclass(frozen=True)
class Attribution:
    """The attributions of one batch.

    values      in the shape of the input; {name: array} for several inputs or several nodes in `at`
    output      the explained number S_c, per sample
    expected    what Σ values should be, per sample; None where the method promises nothing
    signals     {reference: attribution there} for every value that the walk reached
    biases      {node: attribution of its bias, in the shape of its output} where the method has any
    ledger      where relevance went, node by node; empty unless the method carries relevance
    quadrature  how an integral was computed
    settings    everything else that was asked for or chosen
    """

    method: str
    values: Any
    output: Any
    expected: Any = None
    signals: dict = field(default_factory=dict, repr=False)
    biases: dict = field(default_factory=dict, repr=False)
    ledger: Ledger = field(default_factory=Ledger, repr=False)
    quadrature: str | None = None
    settings: dict = field(default_factory=dict, repr=False)

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
