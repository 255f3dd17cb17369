"""Pieces over samples: a few at a time, so that an interrupted run loses little."""

import numpy as np

from relprop.experiments.experiment import Piece

__all__ = ["chunk_pieces", "gathered"]


def chunk_pieces(run, name, work, count=None, size=10):
    """Pieces name-0, name-10, …: work(run, slice) → {key: array, sample first}."""
    count = run.samples if count is None else count

    def piece(first):
        return Piece(f"{name}-{first}", lambda run: work(run, slice(first, min(first + size, count))))

    return [piece(first) for first in range(0, count, size)]


def gathered(run, name, key, count=None, size=10):
    """An array of all chunks."""
    count = run.samples if count is None else count
    return np.concatenate([run[f"{name}-{first}"][key] for first in range(0, count, size)])
