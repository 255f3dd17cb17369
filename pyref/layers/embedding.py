"""Embedding: integer ids become rows of a table. Attribution starts at the rows."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from pyref.check import check_shape
from pyref.layers.layer import Layer
from pyref.numerics import zeros_like

__all__ = ["Embedding", "embedding_forward"]


def embedding_forward(ids, table):
    """y_t = table[id_t].

    Shapes
        ids (n, ...) integers   table (v, e)   →   y (n, ..., e)
    Raises
        TypeError   ids are not integers.
        ValueError  an id outside 0 … v - 1.
    """
    if ids.dtype.kind not in "iu":
        raise TypeError(f"ids has dtype {ids.dtype}, expected integers")
    outside = (ids < 0) | (ids >= table.shape[0])
    if np.any(outside):
        raise ValueError(f"ids holds {int(np.sum(outside))} values outside 0 to {table.shape[0] - 1}")
    return np.take(table, ids, axis=0)


@dataclass(frozen=True, eq=False)
class Embedding(Layer):
    """Rows of a table (v, e), by integer ids.

    Ids carry no signal: they cannot change by a little, and every answer for them is None. The rows that were
    looked up are the input that methods attribute to; relevance that a walk takes further stays with the table.
    """

    kind: ClassVar[str] = "embedding"
    piecewise_linear: ClassVar[bool] = True

    table: Any

    def __post_init__(self):
        check_shape("table", self.table, (None, None))

    def forward(self, backend, ids):
        return backend.embedding_forward(ids, self.table)

    def gradient(self, backend, x, y, G):
        return (None,)

    def tangent(self, backend, x, y, dx):
        return zeros_like(y)

    def relevance(self, backend, x, y, R, rule, gate="all", account=None):
        if account is not None:
            account.add_bias(R)
        return (None,)

    def multiplier(self, backend, x, y, x0, y0, M, product="symmetric", max_pool="xmax"):
        return (None,)
