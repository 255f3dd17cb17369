"""Digit flipping: how far an image moves from one class to another when the pixels that decide between them go."""

import numpy as np

from pyref.metrics.measurement import Curves
from pyref.metrics.morf_lerf import prefixes
from pyref.metrics.pixel_perturbation import counts_of
from pyref.metrics.ranking import removal_order, tie_fraction
from pyref.metrics.removal import is_removal, masked_scores, removal
from pyref.numerics import ones_like, zeros_like

__all__ = ["digit_flip", "class_difference"]


def class_difference(source, goal):
    """The target S_source - S_goal: weights e_source - e_goal, of two classes or of two for each sample."""

    def weights(S):
        n = S.shape[0]
        v = zeros_like(S)
        one = ones_like(S)
        rows = np.arange(n)
        for classes, sign in ((source, 1), (goal, -1)):
            chosen = np.broadcast_to(np.asarray(classes), (n,))
            if np.any((chosen < 0) | (chosen >= S.shape[1])):
                raise ValueError(f"class {chosen.tolist()} is outside 0 … {S.shape[1] - 1}")
            v[rows, chosen] = v[rows, chosen] + sign * one[rows, chosen]
        return v

    return weights


def digit_flip(
    network,
    x,
    attributions,
    *,
    source,
    goal,
    mask=None,
    baseline="zero",
    fractions=(0.02, 0.04, 0.06, 0.08, 0.1, 0.12, 0.14, 0.16, 0.18, 0.2),
    batch=512,
    progress=None,
    **options,
):
    """The change of the log-odds between two classes when the features that speak most for one of them are removed.

        D = S_source - S_goal, which is log p_source - log p_goal for logits S
        D(x) - D(x with the k features of greatest R := x̄),       R an attribution of D

    Source
        [shrikumar2017] sec. 4.1; [srinivas2019] sec. 6, from 8 to 3.
    Parameters
        attributions  of D: compute them with target=class_difference(source, goal), or, where a method is linear in its
                      target, as the difference of two maps. Features with R ≤ 0 are removed too when their turn comes
        source, goal  class, or one per sample: from which, to which
        fractions     of the N features that are removed, each rounded, at least 1
        others        as for `morf_lerf`
    Returns
        `Curves` over the fractions; the statistic is the change at the last one
    Laws
        On an affine model with R_i = (w_source - w_goal)_i (x_i - x̄_i) no other k features change D more.
    Raises
        ValueError  an unknown class; fractions as for `pixel_perturbation`.
    """
    target = None if is_removal(network) else class_difference(source, goal)
    subject = removal(network, x, target, mask=mask, baseline=baseline, **options)
    found = subject.attributed(attributions)
    counts = counts_of(fractions, subject.features)
    planned = [removal_order(R) for R in found.values()]

    def masks(row):
        for order in planned:
            yield from prefixes(order[row], counts)

    scores = masked_scores(subject, masks, len(planned) * len(counts), batch, progress)
    change = np.reshape(subject.output, (-1, 1, 1)) - np.reshape(scores, (len(scores), len(planned), len(counts)))
    values = {label or "attribution": change[:, k] for k, label in enumerate(found)}
    return Curves(
        "digit_flip",
        values,
        unit="change of the log-odds",
        notes={"ties": {label or "attribution": tie_fraction(R) for label, R in found.items()}},
        settings={"source": source, "goal": goal, "baseline": baseline, "mask": mask},
        at=np.array(counts) / subject.features,
        axis="fraction removed",
        statistics={"change": {name: v[:, -1] for name, v in values.items()}},
    )
