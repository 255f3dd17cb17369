"""What `relprop.explain` returns: pyref's attribution in the caller's kind of array, with pictures and files."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

import pyref
from pyref.trace import Account, Ledger, LedgerRow

__all__ = ["Attribution"]


@dataclass(frozen=True, repr=False)
class Attribution:
    """The attributions of one batch, in the kind, dtype and device of the input.

    result   the `pyref.Attribution` it was made from, in the precision that was computed in: in NumPy, or with arrays
             in device memory
    x        the input likewise, {name: array} for several
    back     {input name: function to the caller's kind of array}
    read     function to NumPy, where arrays lie in device memory
    network  name of the network
    backend  what computed it
    preset   whose settings were taken, if anyone's
    seconds  how long that took
    """

    result: pyref.Attribution
    x: Any
    back: dict[str, Callable] = field(default_factory=dict)
    read: Callable[[Any], Any] | None = None
    network: str = "network"
    backend: str = "pyref"
    preset: str | None = None
    seconds: float = 0.0

    def _give(self, value, name=None):
        if isinstance(value, tuple):
            return tuple(self._give(v, name) for v in value)
        back = self.back.get((name or "").partition(":")[0]) or next(iter(self.back.values()), None)
        return value if value is None or back is None or not hasattr(value, "dtype") else back(value)

    @cached_property
    def in_numpy(self):
        """The same in host memory, for pictures and files; inner nodes stay where they are until they are read."""
        if self.read is None:
            return self
        result = self.result
        found = {name: _read(self.read, getattr(result, name)) for name in ("values", "output", "expected", "biases")}
        result = replace(result, ledger=self.ledger, **found)
        return replace(self, result=result, x=_read(self.read, self.x), back={"": self.read}, read=None)

    @property
    def method(self):
        """The method's name."""
        return self.result.method

    @property
    def values(self):
        """In the shape of the input; {name: array} for several inputs or several nodes in `at`."""
        values = self.result.values
        if isinstance(values, dict):
            return {name: self._give(value, name) for name, value in values.items()}
        return self._give(values)

    @property
    def output(self):
        """The explained number, per sample."""
        return self._give(self.result.output)

    @property
    def expected(self):
        """What Σ values should be, per sample; None where the method promises nothing."""
        return self._give(self.result.expected)

    @property
    def total(self):
        """Σ values over all inputs, per sample."""
        return self._give(self.result.total)

    @property
    def delta(self):
        """Completeness residual, Σ values - expected, per sample; None where the method promises nothing."""
        return self._give(self.result.delta)

    @property
    def biases(self):
        """{node: attribution of its bias} where the method has any."""
        return {name: self._give(value) for name, value in self.result.biases.items()}

    @property
    def ledger(self):
        """Where relevance went, node by node, in NumPy; empty unless the method carries relevance."""
        ledger, read = self.result.ledger, self.read
        return ledger if read is None else Ledger({row.node: _read_row(read, row) for row in ledger})

    @property
    def quadrature(self):
        """How an integral was computed, where there was one."""
        return self.result.quadrature

    @property
    def settings(self):
        """Everything else that was asked for or chosen."""
        return self.result.settings

    @property
    def alphas(self):
        """Of interior gradients: the α of each array along a first axis, which values then have; else None."""
        return self.result.settings.get("alphas")

    def at(self, name, k=0):
        """The attribution of an inner node's output (its k-th), or of a network input.

        Raises
            ValueError  the walk did not reach it.
        """
        return self._give(self.result.at(name, k), name)

    def plot(self, samples=4, channels="sum", overlay=False, clip=None):
        """A matplotlib figure: inputs and heatmaps of the first samples, one symmetric scale a panel.

        Parameters
            samples   how many of the batch
            channels  how channels become one: "sum", "abs" (sum of sizes), "max" (largest size) or "l2"
            overlay   draw the heatmaps over the input
            clip      a percentile of |value| at which the scales end; the panels say how many values that clips
        """
        from relprop.view import attribution_figure

        return attribution_figure(self.in_numpy, samples, channels, overlay, clip)

    def save(self, path):
        """Write the values: `.npy` for one array, `.npz` for all of it (values, output, expected, biases, settings).

        Raises
            ValueError  another suffix, or `.npy` for the values of several inputs.
        """
        path, here = Path(path), self.in_numpy
        values = here.result.values
        if path.suffix == ".npy":
            if isinstance(values, dict):
                raise ValueError(f"{path.name} holds one array, but there are {len(values)}: use .npz")
            np.save(path, _plain(values), allow_pickle=False)
        elif path.suffix == ".npz":
            np.savez(path, **here._arrays())
        else:
            raise ValueError(f"{path.name} ends in {path.suffix!r}, expected .npy or .npz")
        return path

    def _arrays(self):
        values = self.result.values if isinstance(self.result.values, dict) else {"": self.result.values}
        arrays = {f"values/{name}".rstrip("/"): _plain(value) for name, value in values.items()}
        arrays |= {f"bias/{name}": _plain(value) for name, value in self.result.biases.items()}
        arrays["output"] = _plain(self.result.output)
        if self.result.expected is not None:
            arrays["expected"] = _plain(self.result.expected)
        about = {"method": self.method, "network": self.network, "backend": self.backend, "preset": self.preset}
        about |= {"quadrature": self.quadrature, "settings": {k: str(v) for k, v in self.settings.items()}}
        arrays["about"] = np.array(json.dumps(about))
        return arrays

    def __repr__(self):
        values = self.result.values
        shapes = {n: v.shape for n, v in values.items()} if isinstance(values, dict) else values.shape
        return f"Attribution(method={self.method!r}, network={self.network!r}, values {shapes})"

    def __str__(self):
        result, rows = self.in_numpy.result, []
        for sample in range(min(len(result.output), 8)):
            line = f"  {sample}: output {_number(result.output, sample)}"
            if self.alphas is None:
                line += f", Σ values {_number(result.total, sample)}"
            if result.expected is not None:
                line += f", expected {_number(result.expected, sample)}, residual {_number(result.delta, sample)}"
            rows.append(line)
        if len(result.output) > 8:
            rows.append(f"  … and {len(result.output) - 8} more")
        how = f", {self.quadrature}" if self.quadrature else ""
        return "\n".join([f"{self.method} of {self.network} on {self.backend}{how}, {self.seconds:.2f} s", *rows])


def _read(read, value):
    """What is in a value, in NumPy."""
    if isinstance(value, dict):
        return {k: _read(read, v) for k, v in value.items()}
    return tuple(_read(read, v) for v in value) if isinstance(value, tuple) else read(value)


def _read_row(read, row):
    """A row of the ledger in NumPy: its columns are summed where they lie, and only then read."""
    account = Account()
    account.bias, account.state = _read(read, row.bias_shares), read(row.state)
    account.stabilizer, account.dropped = read(row.stabilizer), read(row.dropped)
    return LedgerRow(row.node, read(row.arrived), (read(row.passed),), account)


def _number(values, sample):
    return f"{float(np.broadcast_to(values, np.shape(values) or (sample + 1,))[sample]):.6g}"


def _plain(array):
    """Exact arrays as float64: a file holds no Python objects."""
    return array.astype(np.float64) if array.dtype == object else array
