"""Sensitivity-n: whether attributions add up to what the output loses, over subsets of n features."""

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from pyref.methods.noise import check_indices, generator
from pyref.metrics.correlation import pearson
from pyref.metrics.measurement import Curves
from pyref.metrics.removal import masked_scores, removal

__all__ = ["sensitivity_n", "SubsetCorrelations", "random_subsets", "log_sizes"]


@dataclass(frozen=True)
class SubsetCorrelations(Curves):
    """Correlation with what subsets of size n lose, values {series: (samples, sizes)}; `at` holds the sizes n.

    notes["0/0"] marks where a side does not vary over the subsets, so that the value is set by definition.
    """


def sensitivity_n(
    network,
    x,
    attributions,
    *,
    target=None,
    mask=None,
    baseline="zero",
    sizes=None,
    subsets=100,
    seed=0,
    indices=None,
    batch=512,
    progress=None,
    **options,
):
    """How well sums of attributions over random subsets of n features predict what the output loses without them.

        for subsets P with |P| = n:   ρ_n = Pearson over P of ( Σ_{i∈P} R_i ,  S_c(x) - S_c(x with x_P := x̄) )

    R satisfies Sensitivity-n if the two sides are equal for every P of that size.

    Source
        [ancona2018] sec. 4, Sensitivity-n. Departure: where there are no more than `subsets` subsets of a size, each
        of them is taken once in place of a draw.
    Parameters
        attributions  an array, an `Attribution`, or {label: either}: all labels share subsets and evaluations
        sizes         the n, from 1 to the number N of features; by default `log_sizes(N)`
        subsets       K, drawn uniformly for each sample and n
        seed, indices a sample's subsets depend on the seed and on its index (its place in the batch by default) alone
        batch         inputs that are evaluated together
        progress      wraps the loop over batches of masked inputs, as tqdm does
        target, mask, baseline, options  `pyref.removal`
    Returns
        `SubsetCorrelations`
    Laws
        1 for every n where the model is affine and R_i = w_i (x_i - x̄_i). Unchanged when R is scaled by t > 0 or the
        model's output is, and when features change places (their subsets with them).
    Numerics
        ρ is 0/0 where a side does not vary over the subsets (n = N always; models or attributions that are constant):
        then it is 1 if the two sides are equal on every subset and 0 if not, and notes["0/0"] says so: `pyref.pearson`.
    Raises
        ValueError  a size outside 1 … N; what `pyref.removal` refuses.
    """
    subject = removal(network, x, target, mask=mask, baseline=baseline, **options)
    n, N = len(subject.output), subject.features
    sizes = log_sizes(N) if sizes is None else [int(s) for s in sizes]
    if any(not 1 <= s <= N for s in sizes):
        raise ValueError(f"sizes is {sizes}, expected numbers of features from 1 to {N}")
    if int(subsets) != subsets or subsets < 2:
        raise ValueError(f"subsets is {subsets}, expected a whole number, at least 2")
    indices = check_indices(n, indices)
    found = subject.attributed(attributions)
    counts = [min(subsets, math.comb(N, s)) for s in sizes]

    def masks(row):
        for size in sizes:
            yield from random_subsets(N, size, subsets, seed, indices[row])

    scores = masked_scores(subject, masks, sum(counts), batch, progress)
    loss = np.reshape(subject.output, (-1, 1)) - scores
    size_of_loss = np.maximum(np.max(np.abs(scores), axis=1), np.abs(subject.output))
    values, degenerate = {}, {}
    parts = np.split(np.arange(sum(counts)), np.cumsum(counts)[:-1])
    sums_of = _sums(found, masks)
    for label, R in found.items():
        sums = sums_of[label]
        each = [pearson(sums[:, k], loss[:, k], np.sum(np.abs(R), axis=1), size_of_loss) for k in parts]
        values[label or "attribution"] = np.stack([rho for rho, _ in each], axis=1)
        degenerate[label or "attribution"] = np.stack([undefined for _, undefined in each], axis=1)
    return SubsetCorrelations(
        "sensitivity_n",
        values,
        unit="correlation",
        notes={"0/0": degenerate},
        settings={"subsets": subsets, "seed": seed, "features": N, "baseline": baseline, "mask": mask},
        at=np.array(sizes),
        axis="n",
        statistics={"mean over n": {label: np.sum(v, axis=1) / len(sizes) for label, v in values.items()}},
    )


def _sums(found, masks):
    """{label: Σ_{i∈P} R_i for each sample and P, (n, K)}."""
    sums: dict[str, list] = {label: [] for label in found}
    for row in range(len(next(iter(found.values())))):
        plan = list(masks(row))
        for label, R in found.items():
            sums[label].append(np.stack([np.sum(R[row][mask]) for mask in plan]))
    return {label: np.stack(rows) for label, rows in sums.items()}


def random_subsets(N, size, subsets, seed, index):
    """Masks (N,) of subsets of one size for the sample of that index: drawn uniformly, or all if they are no more."""
    if math.comb(N, size) <= subsets:
        chosen: Iterable[Any] = map(list, itertools.combinations(range(N), size))
    else:
        random = generator(seed, size, index)
        chosen = (random.choice(N, size, replace=False) for _ in range(subsets))
    for members in chosen:
        mask = np.zeros(N, dtype=bool)
        mask[members] = True
        yield mask


def log_sizes(N, points=12):
    """Subset sizes from 1 to 4N/5, evenly on a logarithmic scale, each once."""
    last = max(1, 4 * N // 5)
    return [int(n) for n in np.unique(np.round(np.geomspace(1, last, points)))]
