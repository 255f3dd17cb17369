"""ROAR and KAR: remove, or keep, what an attribution ranks first, train again, and see what is left to learn from."""

import numpy as np

from pyref.methods.noise import check_indices
from pyref.metrics.measurement import Curves
from pyref.metrics.morf_lerf import prefixes
from pyref.metrics.ranking import random_order, removal_order, tie_fraction
from pyref.metrics.removal import on_host, removal, silent

__all__ = ["roar", "degraded"]


def roar(
    train,
    x,
    attributions,
    *,
    labels,
    test,
    fractions=(0.1, 0.3, 0.5, 0.7, 0.9),
    keep=False,
    mask=None,
    baseline="mean",
    rank="value",
    runs=3,
    random=True,
    seed=0,
    progress=None,
):
    """Accuracy of models that were trained again on inputs from which a fraction of the features was removed.

        x′ = x with the k features of greatest R := x̄, in training and in test data;   k = fraction · N
        ROAR removes them; KAR (keep=True) keeps them and removes all others

    Source
        [hooker2019] sec. 3, and its "keep and retrain"; [srinivas2019] sec. 5.2.
    Parameters
        train         train(x, labels, x_test, labels_test, seed) → accuracy: fits a fresh model and tests it
        x, labels     the training data
        attributions  of x, for each of its samples: an array, an `Attribution`, or {label: either}
        test          (x_test, attributions of it with the same labels, labels_test)
        fractions     of the N features, each rounded; 0, the data as they are, is always trained first
        keep          False for ROAR, True for KAR
        baseline      what a removed feature becomes, "mean" by default: of each channel over its image. For the mean
                      over the data set pass that as an array
        mask, rank    as for `morf_lerf`
        runs          models for each point, with seeds seed, seed + 1, …
        random        with a ranking at random as control
        progress      wraps the loop over models, as tqdm does
    Returns
        `Curves` whose samples are the runs, a series for each label, and "random"; notes: ties in the training data
    Laws
        What train is given at a fraction depends on the ranking of R alone. Where the features that carry the label
        are ranked first, removing them all leaves chance, and keeping them all loses nothing.
    Raises
        ValueError  attributions of x and of the test data under different labels; labels for another number of
                    samples; a fraction outside (0, 1]; runs < 1.
    """
    x_test, attributions_test, labels_test = test
    if int(runs) != runs or runs < 1:
        raise ValueError(f"runs is {runs}, expected a whole number, at least 1")
    sets = [_ranked(x, attributions, mask, baseline), _ranked(x_test, attributions_test, mask, baseline)]
    if set(sets[0][1]) != set(sets[1][1]):
        raise ValueError(
            f"attributions are of {', '.join(sets[0][1])}, those of the test data of {', '.join(sets[1][1])}"
        )
    for name, known, (subject, _) in (("labels", labels, sets[0]), ("labels_test", labels_test, sets[1])):
        if len(known) != len(subject.output):
            raise ValueError(f"{name} has {len(known)} entries for {len(subject.output)} samples")
    fractions = [float(f) for f in fractions]
    if not all(0 < f <= 1 for f in fractions):
        raise ValueError(f"fractions is {fractions}, expected numbers above 0, at most 1")
    names = [*sets[0][1], *(["random"] if random else [])]
    plan = [(name, f, r) for name in names for f in fractions for r in range(runs)]
    plain = [(None, 0.0, r) for r in range(runs)]
    accuracy = {}
    for name, f, r in (progress or (lambda steps: steps))(plain + plan):
        given = (x, x_test)
        if name is not None:
            given = tuple(
                degraded(subject, found.get(name), f, keep=keep, rank=rank, seed=(seed + r) * 2 + part)
                for part, (subject, found) in enumerate(sets)
            )
        accuracy[name, f, r] = float(train(given[0], labels, given[1], labels_test, seed + r))
    values = {
        name: np.array([[accuracy[name if f else None, f, r] for f in (0.0, *fractions)] for r in range(runs)])
        for name in names
    }
    ties = {name: tie_fraction(np.abs(R) if rank == "absolute" else R) for name, R in sets[0][1].items()}
    return Curves(
        "kar" if keep else "roar",
        values,
        unit="accuracy",
        notes={"ties": ties},
        settings={"keep": keep, "baseline": baseline, "mask": mask, "rank": rank, "runs": runs, "seed": seed},
        at=np.array([0.0, *fractions]),
        axis="fraction kept" if keep else "fraction removed",
        statistics={"mean": {name: np.mean(v[:, 1:], axis=1) for name, v in values.items()}},
    )


def degraded(subject, R, fraction, *, keep=False, rank="value", seed=0, indices=None):
    """The inputs of a `Removal` without the features that R ranks first, or with keep=True without all others.

    R of None is a ranking at random, of each sample its own. k = fraction · N is rounded.
    """
    n, N = len(subject.output), subject.features
    k = round(fraction * N)
    if R is None:
        order = np.stack([random_order(N, seed, index, 0) for index in check_indices(n, indices)])
    else:
        order = removal_order(R, rank=rank)
    first = np.stack([next(prefixes(row, [k])) for row in order])
    values = subject.masked(np.arange(n), ~first if keep else first)
    found = {name: on_host(value) for name, value in values.items()}
    return found if len(found) > 1 else next(iter(found.values()))


def _ranked(x, attributions, mask, baseline):
    """(the `Removal` of x, {label: R}): no model is asked, so one that says nothing stands in for it."""
    subject = removal(silent, x, mask=mask, baseline=baseline)
    return subject, {label or "attribution": R for label, R in subject.attributed(attributions).items()}
