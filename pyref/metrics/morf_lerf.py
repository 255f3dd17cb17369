"""Perturbation curves: features are removed one after the other, most relevant first and least relevant first."""

from dataclasses import dataclass

import numpy as np

from pyref.methods.noise import check_indices
from pyref.metrics.measurement import Curves, series
from pyref.metrics.ranking import random_order, removal_order, tie_fraction
from pyref.metrics.removal import masked_scores, removal

__all__ = ["morf_lerf", "PerturbationCurves", "curve_statistics", "removal_steps", "prefixes"]


@dataclass(frozen=True)
class PerturbationCurves(Curves):
    """Change of the output by features removed, values {series: (samples, steps + 1)}; `at` counts the features.

    statistics  those of `curve_statistics`
    notes       "ties": the fraction of features whose place in the order is an accident of their index
    output      S_c(x), per sample
    """

    output: np.ndarray | None = None

    @property
    def between(self):
        """{label: (n,)}, the mean of LeRF - MoRF: how well the order is told at both ends together."""
        mean = self.statistics["mean"]
        pairs = {name.removesuffix("MoRF").strip(): name for name in self.values if name.endswith("MoRF")}
        return {label: mean[series(label, "LeRF")] - mean[name] for label, name in pairs.items()}


def morf_lerf(
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
    """What the output does while features are removed in the order of their relevance, both ways, and at random.

        π sorts R once;   x^0 = x,   x^j = x with x_π(1) … x_π(k_j) := x̄;   curve_j = S_c(x^j) - S_c(x)
        MoRF: R descending      LeRF: R ascending      random: the mean over `orders` random orders

    Source
        [ancona2017] sec. 4, fig. 4; [samek2017] sec. III. The order is fixed at x and not computed again on the way.
    Parameters
        attributions  an array, an `Attribution`, or {label: either}; the random orders are shared
        step          features removed at a time
        most          features removed at the end; all of them by default
        orders        of the random baseline; 0 leaves it out
        rank          order by "value" or by "absolute" value
        seed, indices a sample's random orders depend on the seed and on its index alone
        batch         inputs that are evaluated together
        progress      wraps the loop over batches of masked inputs, as tqdm does
        target, mask, baseline, options  `pyref.removal`
    Returns
        `PerturbationCurves`, series "MoRF", "LeRF" and "random", or "label MoRF" where attributions have labels
    Laws
        Features of equal relevance keep the order of their indices; notes["ties"] says how many there are. On an
        affine model with R_i = w_i (x_i - x̄_i) no order of removal lies below MoRF or above LeRF at any step.
        All curves of a sample end at the same value where all features are removed.
    Raises
        ValueError  step < 1; most outside 1 … N; what `pyref.removal` refuses.
    """
    subject = removal(network, x, target, mask=mask, baseline=baseline, **options)
    found = subject.attributed(attributions)
    steps = removal_steps(subject.features, step, most)
    planned = {
        series(label, part): removal_order(R, order, rank)
        for label, R in found.items()
        for part, order in (("MoRF", "descending"), ("LeRF", "ascending"))
    }
    ties = {
        series(label, part): tie_fraction(np.abs(R) if rank == "absolute" else R)
        for label, R in found.items()
        for part in ("MoRF", "LeRF")
    }
    settings = {"step": step, "orders": orders, "rank": rank, "seed": seed, "baseline": baseline, "mask": mask}
    return perturbed("morf_lerf", subject, planned, steps, orders, seed, indices, batch, progress, ties, settings)


def perturbed(metric, subject, planned, steps, orders, seed, indices, batch, progress, ties, settings):
    """`PerturbationCurves` along the planned orders {series: (n, N)} and the mean of random ones."""
    n, N = len(subject.output), subject.features
    indices = check_indices(n, indices)
    rows = [list(planned[name]) for name in planned]

    def masks(row):
        of_sample = [order[row] for order in rows]
        of_sample += [random_order(N, seed, indices[row], k) for k in range(orders)]
        for order in of_sample:
            yield from prefixes(order, steps[1:])

    count = (len(rows) + orders) * (len(steps) - 1)
    scores = masked_scores(subject, masks, count, batch, progress)
    change = np.reshape(scores - np.reshape(subject.output, (-1, 1)), (n, len(rows) + orders, len(steps) - 1))
    change = np.concatenate([0 * change[:, :, :1], change], axis=2)
    values = {name: change[:, k] for k, name in enumerate(planned)}
    if orders:
        values["random"] = np.sum(change[:, len(rows) :], axis=1) / orders
    return PerturbationCurves(
        metric,
        values,
        unit="change of the output",
        notes={"ties": ties},
        settings=settings,
        at=np.array(steps),
        axis="features removed",
        statistics=curve_statistics(values, steps),
        output=subject.output,
    )


def curve_statistics(values, steps):
    """{statistic: {series: (n,)}} of curves of S_c(x^j) - S_c(x), j = 0 … J, where k_j features are removed.

        mean             1/J Σ_{j≥1} curve_j
        initial slope    curve_1 / k_1
        total variation  Σ_{j≥1} |curve_j - curve_(j-1)|
        AOPC             1/(J + 1) Σ_{j≥0} (S_c(x) - S_c(x^j))

    Source
        mean, initial slope and total variation after [ancona2017] sec. 4; AOPC [samek2017] eq. (12).
    Shapes
        curves (n, J + 1); the total variation of "random" is that of the mean of its orders
    """
    J = len(steps) - 1
    return {
        "mean": {name: np.sum(v[:, 1:], axis=1) / J for name, v in values.items()},
        "initial slope": {name: v[:, 1] / int(steps[1]) for name, v in values.items()},
        "total variation": {name: np.sum(np.abs(v[:, 1:] - v[:, :-1]), axis=1) for name, v in values.items()},
        "AOPC": {name: -np.sum(v, axis=1) / (J + 1) for name, v in values.items()},
    }


def removal_steps(N, step=1, most=None):
    """How many features are removed at each step: 0, step, 2 step, … up to `most`, which comes last in any case."""
    most = N if most is None else int(most)
    if int(step) != step or step < 1:
        raise ValueError(f"step is {step}, expected a whole number of features, at least 1")
    if not 1 <= most <= N:
        raise ValueError(f"most is {most}, expected a number of features from 1 to {N}")
    return [*range(0, most, int(step)), most]


def prefixes(order, steps):
    """The masks of an order: its first k features, for every k of `steps`."""
    removed = np.zeros(len(order), dtype=bool)
    done = 0
    for k in steps:
        removed[order[done:k]] = True
        done = k
        yield removed.copy()
