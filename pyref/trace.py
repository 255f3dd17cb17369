"""The ledger: where relevance went, node by node, each amount from its own formula."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from pyref.numerics import sum_samples

__all__ = ["Account", "Ledger", "LedgerRow"]


class Account:
    """What one node keeps of the relevance that reaches it. Relevance functions write into it.

    bias        share of the bias, array in the shape of the node's output, per bias unit and position
    stabilizer  what the stabiliser ε keeps, per sample
    dropped     relevance of units with nothing to share by (denominator 0), per sample
    state       relevance left in the initial state of a recurrent layer, per sample
    """

    def __init__(self) -> None:
        self.bias: Any = None
        self.stabilizer: Any = 0
        self.dropped: Any = 0
        self.state: Any = 0

    def add_bias(self, share):
        """Add a bias share, elementwise over the node's output."""
        self.bias = share if self.bias is None else self.bias + share

    def add_kept(self, stabilizer, dropped):
        """Add what a rule's `kept` returns, elementwise over any shape with the batch first."""
        self.stabilizer = self.stabilizer + sum_samples(stabilizer)
        self.dropped = self.dropped + sum_samples(dropped)

    def add_state(self, relevance):
        """Add relevance that stays in an initial state."""
        self.state = self.state + sum_samples(relevance)


@dataclass(frozen=True, eq=False)
class LedgerRow:
    """One node's balance, each column one number per sample, added up when it is first read.

    arrived = passed + bias + stabilizer + dropped + state, up to rounding; `residual` is the difference.

    Parameters
        R        what reached the node: an array, or a tuple of one per output
        parts    what it handed on, one array per input, None where that carries none
        account  what it kept
    """

    node: str
    R: Any
    parts: tuple
    account: Account

    @cached_property
    def arrived(self):
        arrays = self.R if isinstance(self.R, tuple) else (self.R,)
        return sum(sum_samples(a) for a in arrays)

    @cached_property
    def passed(self):
        return sum((sum_samples(p) for p in self.parts if p is not None), 0)

    @cached_property
    def bias(self):
        return 0 if self.bias_shares is None else sum_samples(self.bias_shares)

    @property
    def bias_shares(self):
        """The bias column before summing: the share of each bias, in the output's shape; None without a bias."""
        return self.account.bias

    @property
    def stabilizer(self):
        return self.account.stabilizer

    @property
    def dropped(self):
        return self.account.dropped

    @property
    def state(self):
        return self.account.state

    @property
    def kept(self):
        """Everything that does not go on to the node's inputs."""
        return self.bias + self.stabilizer + self.dropped + self.state

    @property
    def residual(self):
        """arrived - passed - kept: zero up to rounding where the rule conserves what it says it does."""
        return self.arrived - self.passed - self.kept


@dataclass(frozen=True)
class Ledger:
    """The rows of a backward walk, from the output to the inputs. Print it for a table of the first sample."""

    rows: dict[str, LedgerRow] = field(default_factory=dict)

    def __getitem__(self, node):
        return self.rows[node]

    def __iter__(self):
        return iter(self.rows.values())

    def __len__(self):
        return len(self.rows)

    def total(self, what):
        """Sum over nodes of one column: "bias", "stabilizer", "dropped", "state" or "kept"; one number per sample."""
        return sum((getattr(row, what) for row in self), 0)

    def table(self, sample=0):
        """Rows (node, arrived, passed, bias, stabilizer, dropped, state, residual) of one sample, as floats."""
        columns = ("arrived", "passed", "bias", "stabilizer", "dropped", "state", "residual")
        return [(row.node, *(_of_sample(getattr(row, c), sample) for c in columns)) for row in self]

    def __str__(self):
        head = ("node", "arrived", "passed", "bias", "stabilizer", "dropped", "state", "residual")
        lines = [f"{head[0]:<20}" + "".join(f"{h:>12}" for h in head[1:])]
        for name, *numbers in self.table():
            lines.append(f"{name:<20}" + "".join(f"{v:>12.4g}" for v in numbers))
        return "\n".join(lines)


def _of_sample(value, sample):
    return float(value[sample]) if hasattr(value, "shape") and value.shape else float(value)
