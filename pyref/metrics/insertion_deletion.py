"""Insertion and deletion: how soon the most relevant features make the output, and how soon it falls without them."""

import numpy as np

from pyref.methods.noise import check_indices
from pyref.metrics.measurement import Curves, series
from pyref.metrics.morf_lerf import prefixes, removal_steps
from pyref.metrics.ranking import random_order, removal_order, tie_fraction
from pyref.metrics.removal import masked_scores, removal

__all__ = ["insertion_deletion", "area_under"]


def insertion_deletion(
    network,
    x,
    attributions,
    *,
    target=None,
    mask=None,
    baseline="zero",
    step=1,
    most=None,
    orders=10,
    rank="value",
    seed=0,
    indices=None,
    batch=512,
    progress=None,
    **options,
):
    """The output while the most relevant features are taken away, and while they alone are put back.

        deletion_j  = S_c(x with the first k_j features of the order := x̄)
        insertion_j = S_c(x̄ with the first k_j features of the order := x)       order: R descending, random as control
        AUC = Σ_j (k_j - k_(j-1)) (y_j + y_(j-1)) / 2 / k_J

    Source
        [petsiuk2018] sec. 4.3, where S_c is the probability: with a softmax at the end pass softmax="keep", and for
        insertion into a blurred image give the blurred images as baseline.
    Parameters
        as for `morf_lerf`
    Returns
        `Curves` of outputs, series "deletion", "insertion", "random deletion", "random insertion", or "label deletion"
        …; the statistic is AUC
    Laws
        On an additive model deletion_j + insertion_j = S_c(x) + S_c(x̄) for every order and j.
    Raises
        ValueError  as `morf_lerf`.
    """
    subject = removal(network, x, target, mask=mask, baseline=baseline, **options)
    found = subject.attributed(attributions)
    n, N = len(subject.output), subject.features
    indices, steps = check_indices(n, indices), removal_steps(N, step, most)
    planned = [removal_order(R, rank=rank) for R in found.values()]

    def masks(row):
        of_sample = [order[row] for order in planned]
        of_sample += [random_order(N, seed, indices[row], k) for k in range(orders)]
        for order in of_sample:
            yield from prefixes(order, steps)
            yield from (~removed for removed in prefixes(order, steps))

    scores = masked_scores(subject, masks, (len(planned) + orders) * 2 * len(steps), batch, progress)
    curves = np.reshape(scores, (n, len(planned) + orders, 2, len(steps)))
    parts = ("deletion", "insertion")
    values = {series(label, part): curves[:, k, p] for k, label in enumerate(found) for p, part in enumerate(parts)}
    if orders:
        mean = np.sum(curves[:, len(planned) :], axis=1) / orders
        values |= {f"random {part}": mean[:, p] for p, part in enumerate(parts)}
    ties = {label: tie_fraction(np.abs(R) if rank == "absolute" else R) for label, R in found.items()}
    return Curves(
        "insertion_deletion",
        values,
        unit="output",
        notes={"ties": {series(label, part): v for label, v in ties.items() for part in parts}},
        settings={"step": step, "orders": orders, "rank": rank, "seed": seed, "baseline": baseline, "mask": mask},
        at=np.array(steps),
        axis="features",
        statistics={"AUC": {name: area_under(v, steps) for name, v in values.items()}},
    )


def area_under(curves, steps):
    """AUC of curves (n, J + 1) over k_0 = 0 … k_J by trapezoids, as a fraction of the axis: a mean height."""
    widths = np.diff(np.array(steps))
    return np.sum((curves[:, 1:] + curves[:, :-1]) * widths, axis=1) / (2 * int(steps[-1]))
