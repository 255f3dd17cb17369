"""Infidelity: how far attributions miss what random perturbations do to the output."""

import numpy as np

from pyref.check import check_choice
from pyref.methods.noise import check_indices, generator, normal
from pyref.metrics.measurement import Scores
from pyref.metrics.removal import is_removal, masked_scores, on_host, removal
from pyref.numerics import number_like, safe_divide

__all__ = ["infidelity"]

_SUBSET, _NOISE = 2**32, 2**32 + 1  # streams of their own beside those of random orders and subsets


def infidelity(
    network,
    x,
    attributions,
    *,
    target=None,
    mask=None,
    baseline="zero",
    perturb="subset",
    samples=100,
    level=0.1,
    scaled=False,
    seed=0,
    indices=None,
    batch=512,
    progress=None,
    **options,
):
    """The mean squared difference between what attributions predict of a perturbation and what it does.

        subset   1/m Σ_P ( Σ_{i∈P} R_i - (S_c(x) - S_c(x with x_P := x̄)) )²      i ∈ P with chance ½ each
        noise    1/m Σ_I ( Σ_i I_i G_i - (S_c(x) - S_c(x - I)) )²                I ~ N(0, σ²)

    σ = level · (max x - min x) of the sample.

    Source
        [yeh2019] def. 2.1; perturbations sec. 2.1. "subset" asks what gradient × input and its kin promise, in the unit
        of the output; "noise" what gradients promise, in output per input.
    Parameters
        perturb  "subset" or "noise"
        samples  m
        scaled   β R in place of R, with the β of each sample that fits best: so that only directions count
        others   as for `sensitivity_n`; mask and baseline belong to "subset"
    Returns
        `Scores`; notes hold the mean square of what the perturbations do, which is what R = 0 misses
    Laws
        0 on affine models: for R_i = w_i (x_i - x̄_i), and for G = w. t R for the model t S gives t² times as much.
    Raises
        ValueError  an unknown perturbation; samples < 1.
    """
    check_choice("perturb", perturb, ("subset", "noise"))
    if int(samples) != samples or samples < 1:
        raise ValueError(f"samples is {samples}, expected a whole number, at least 1")
    if perturb == "noise" and is_removal(network):
        raise ValueError("perturb='noise' moves every entry of x: it needs the model itself, not a Removal of it")
    if perturb == "noise":  # which moves every entry by itself
        mask, baseline = "feature", "zero"
    subject = removal(network, x, target, mask=mask, baseline=baseline, **options)
    indices = check_indices(len(subject.output), indices)
    found = subject.attributed(attributions)
    if perturb == "subset":
        predicted, lost = _by_subsets(subject, found, samples, seed, indices, batch, progress)
    else:
        predicted, lost = _by_noise(subject, found, samples, level, seed, indices, batch, progress)
    values = {}
    for label, expected in predicted.items():
        if scaled:
            beta = safe_divide(np.sum(expected * lost, axis=1), np.sum(expected * expected, axis=1))
            expected = np.reshape(beta, (-1, 1)) * expected
        values[label or "attribution"] = np.sum((expected - lost) * (expected - lost), axis=1) / samples
    size = np.sum(lost * lost, axis=1) / samples
    return Scores(
        "infidelity",
        values,
        unit="output²",
        notes={"of R = 0": dict.fromkeys(values, size)},
        settings={"perturb": perturb, "samples": samples, "scaled": scaled, "seed": seed},
    )


def _by_subsets(subject, found, samples, seed, indices, batch, progress):
    """({label: Σ_P R (n, m)}, what the output loses (n, m))."""

    def masks(row):
        return (
            generator(seed, _SUBSET, indices[row], k).integers(2, size=subject.features) == 1 for k in range(samples)
        )

    scores = masked_scores(subject, masks, samples, batch, progress)
    sums = {
        label: np.stack([[np.sum(R[row][mask]) for mask in masks(row)] for row in range(len(R))])
        for label, R in found.items()
    }
    return sums, np.reshape(subject.output, (-1, 1)) - scores


def _by_noise(subject, found, samples, level, seed, indices, batch, progress):
    """({label: Σ I G (n, m)}, what the output loses (n, m)); `subject` has one feature for each entry."""
    run, n = subject.run, len(indices)
    plan = [(row, k) for row in range(n) for k in range(samples)]
    lost, sums = [], {label: [] for label in found}
    for first in (progress or (lambda steps: steps))(range(0, len(plan), batch)):
        rows = [row for row, _ in plan[first : first + batch]]
        values, flat = {}, []
        for position, (name, leaf) in enumerate(run.leaf_values.items()):
            noise = []
            for row, k in plan[first : first + batch]:
                sigma = number_like(leaf, level) * (np.max(leaf[row]) - np.min(leaf[row]))
                noise.append(sigma * normal(generator(seed, _NOISE + position, indices[row], k), leaf[row]))
            values[name] = np.take(leaf, rows, axis=0) - np.stack(noise)
            flat.append(on_host(np.reshape(np.stack(noise), (len(rows), -1))))
        moved = np.concatenate(flat, axis=1)
        lost.append(subject.output[rows] - on_host(run.scores(rows, values)))
        for label, G in found.items():
            sums[label].append(np.sum(moved * G[rows], axis=1))
    shaped = {label: np.reshape(np.concatenate(parts), (n, samples)) for label, parts in sums.items()}
    return shaped, np.reshape(np.concatenate(lost), (n, samples))
