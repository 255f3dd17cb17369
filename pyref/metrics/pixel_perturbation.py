"""Pixel perturbation: what the output changes when the least salient pixels are removed."""

import numpy as np

from pyref.check import check_choice
from pyref.methods.noise import check_indices
from pyref.metrics.measurement import Curves
from pyref.metrics.morf_lerf import prefixes
from pyref.metrics.ranking import random_order, removal_order, tie_fraction
from pyref.metrics.removal import masked_scores, removal

__all__ = ["pixel_perturbation", "counts_of"]


def pixel_perturbation(
    network,
    x,
    attributions,
    *,
    target=None,
    mask=None,
    baseline="zero",
    fractions=(0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08, 0.09, 0.1),
    order="ascending",
    rank="absolute",
    orders=10,
    seed=0,
    indices=None,
    batch=512,
    progress=None,
    **options,
):
    """The relative change of the output when a fraction of the features is removed, the least salient first.

        |S_c(x) - S_c(x')| / |S_c(x)|,      x' = x with the k features of smallest |R| := x̄

    Source
        [srinivas2019] sec. 5.1: a map is better the less it changes. The most salient ones tell less, because removing
        them brings artefacts that change the output whatever they meant.
    Parameters
        fractions  of the N features, each rounded to a number of features, at least 1
        order      "ascending", the least salient first, or "descending"
        rank       by "absolute" value, which is what saliency means, or by "value"
        others     as for `morf_lerf`; black pixels are baseline="black", or the number that black is
    Returns
        `Curves` over the fractions, a series for each label and "random"; the statistic is the mean over them
    Laws
        0 as long as only features are removed that the output does not depend on. Unchanged when S or R are scaled.
    Raises
        ValueError  S_c(x) = 0, to which no change is relative; a fraction outside (0, 1]; as `morf_lerf`.
    """
    check_choice("order", order, ("ascending", "descending"))
    subject = removal(network, x, target, mask=mask, baseline=baseline, **options)
    found = subject.attributed(attributions)
    n, N = len(subject.output), subject.features
    if np.any(subject.output == 0):
        where = [int(k) for k in np.flatnonzero(subject.output == 0)]
        raise ValueError(f"S_c(x) is 0 for the samples {where}: there is no relative change of it")
    indices, counts = check_indices(n, indices), counts_of(fractions, N)
    planned = [removal_order(R, order, rank) for R in found.values()]

    def masks(row):
        of_sample = [order[row] for order in planned]
        of_sample += [random_order(N, seed, indices[row], k) for k in range(orders)]
        for ordered in of_sample:
            yield from prefixes(ordered, counts)

    scores = masked_scores(subject, masks, (len(planned) + orders) * len(counts), batch, progress)
    S = np.reshape(subject.output, (n, 1, 1))
    change = np.abs(S - np.reshape(scores, (n, len(planned) + orders, len(counts)))) / np.abs(S)
    values = {label or "attribution": change[:, k] for k, label in enumerate(found)}
    if orders:
        values["random"] = np.sum(change[:, len(planned) :], axis=1) / orders
    ties = {label or "attribution": tie_fraction(np.abs(R) if rank == "absolute" else R) for label, R in found.items()}
    return Curves(
        "pixel_perturbation",
        values,
        unit="relative change of the output",
        notes={"ties": ties},
        settings={"order": order, "orders": orders, "rank": rank, "seed": seed, "baseline": baseline, "mask": mask},
        at=np.array(counts) / N,
        axis="fraction removed",
        statistics={"mean": {name: np.sum(v, axis=1) / len(counts) for name, v in values.items()}},
    )


def counts_of(fractions, N):
    """Numbers of features from fractions of N, rounded, at least 1.

    Raises
        ValueError  a fraction outside (0, 1], or fractions that do not grow.
    """
    fractions = [float(f) for f in fractions]
    if not fractions or not all(0 < f <= 1 for f in fractions) or sorted(fractions) != fractions:
        raise ValueError(f"fractions is {fractions}, expected growing numbers above 0, at most 1")
    return [max(1, round(f * N)) for f in fractions]
