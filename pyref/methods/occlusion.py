"""Occlusion: what the output loses when a feature, a pixel, a token or a patch is covered."""

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np

from pyref.attribution import Attribution
from pyref.check import check_choice
from pyref.layers.window import per_axis
from pyref.methods.method import baselines, channel_mean, check_batch_size, start
from pyref.numerics import is_exact, zeros_like

__all__ = ["occlusion"]


def occlusion(
    network,
    x,
    target=None,
    *,
    unit=None,
    shape=None,
    stride=1,
    fill=0,
    aggregate="mean",
    batch_size=None,
    progress=None,
    **options,
):
    """The loss of output when a part of the input is replaced.

        δ_P = S_c(x) - S_c(x with x_P := v)
        mean      r_i = Σ_{P ∋ i} δ_P / (number of P that cover i)
        per_area  r_i = Σ_{P ∋ i} δ_P / |P| / (number of P that cover i)
        map       δ_P itself, on the grid of patches;      score     S_c(x with x_P := v) on that grid

    Source
        [zeiler2014] sec. 4.2; one feature at a time [ancona2017] Table 1.
    Parameters
        unit        what is covered at once: "feature", one number; "pixel", all channels (axis 1) at one position;
                    "token", all of the last axis at one position; "patch", all channels in a window over the other
                    axes. By default tokens where ids are embedded, else features
        shape, stride   of the windows: a number or one per axis
        fill        v: a number, an array that broadcasts to the input, {name: either}, or "mean": of each channel
                    over its image, of each sample's features otherwise
        aggregate   "mean", "per_area", "map" or "score"; all but patches cover each place once
        batch_size  copies that are evaluated together, by default 256, or fewer that would hold sixteen million values
        progress    wraps the loop over batches of copies, as tqdm does
        options     those of every method: `pyref.start`. With at= the units of those nodes are covered.
    Shapes
        (n, c, *axes) → (n, 1, *axes) for pixels and patches, (n, 1, *grid) for a map; (n, t, 1) for tokens
        ((n, t) where ids are embedded); the shape of x for features
    Laws
        Sensitivity-1: with features, r_i is what removing x_i changes. x_P = v gives exactly 0, without evaluation.
    Returns
        Attribution; it promises no sum. settings["covered"] marks the places that some patch covers: r is 0 elsewhere.
    Raises
        ValueError  a window that does not fit the image; an unknown unit; a stride without patches.
    """
    check_choice("unit", unit, (None, "feature", "pixel", "token", "patch"))
    check_choice("aggregate", aggregate, ("mean", "per_area", "map", "score"))
    if unit != "patch" and (shape is not None or stride != 1):
        raise ValueError("shape and stride belong to unit='patch'")
    check_batch_size(batch_size)
    run = start(network, x, target, **options)
    covers = {name: _cover(run, name, unit, shape, stride) for name in run.leaves}
    fills = _fills(run, fill)
    scores = _evaluate(run, covers, fills, batch_size or 2 * run.fitting, progress or (lambda steps: steps))
    maps = {run.leaves[name]: _gather(run, cover, scores[name], aggregate) for name, cover in covers.items()}
    return Attribution(
        "occlusion",
        run.collect(lambda ref, value: maps[ref]),
        run.output,
        signals=maps,
        settings={
            "unit": {name: cover.unit for name, cover in covers.items()},
            "aggregate": aggregate,
            "covered": {name: cover.counts() > 0 for name, cover in covers.items()},
        },
    )


@dataclass(frozen=True)
class _Cover:
    """The parts P of one sample that are covered in turn, as index tuples, and the grid they form."""

    unit: str
    place: tuple[int, ...]  # shape of one sample's result: places that parts cover
    grid: tuple[int, ...]  # shape of the parts' own arrangement
    parts: list[Any]  # index of each part in a sample
    places: list[Any]  # index of each part in `place`
    area: int  # places per part

    def counts(self):
        """How many parts cover each place."""
        counts = np.zeros(self.place, dtype=int)
        for place in self.places:
            counts[place] += 1
        return counts


def _cover(run, name, unit, shape, stride):
    sample = run.record[run.leaves[name]].shape[1:]
    unit = unit or ("token" if name in run.embedded else "feature")
    if name in run.embedded and unit in ("pixel", "patch"):
        raise ValueError(f"unit={unit!r} needs an image, but {name} holds embedded ids; use 'token' or 'feature'")
    if unit == "feature":
        parts = list(np.ndindex(*sample))
        return _Cover(unit, sample, sample, parts, parts, 1)
    if unit == "token":
        if len(sample) < 2:
            raise ValueError(f"{name} has shape {sample} per sample, expected tokens (t, e)")
        place = (*sample[:-1], 1)
        parts = list(np.ndindex(*sample[:-1]))
        return _Cover(unit, place, place, parts, parts, 1)
    if len(sample) < 2:
        raise ValueError(f"{name} has shape {sample} per sample, expected an image (c, *axes)")
    axes = sample[1:]
    if unit == "pixel":
        parts = [(slice(None), *p) for p in np.ndindex(*axes)]
        return _Cover(unit, (1, *axes), (1, *axes), parts, parts, 1)
    if shape is None:
        raise ValueError("unit='patch' needs the shape of a patch")
    window = per_axis("shape", shape, len(axes))
    steps = per_axis("stride", stride, len(axes))
    if any(k > h for k, h in zip(window, axes, strict=True)):
        raise ValueError(f"a patch of shape {window} does not fit into an image of shape {axes}")
    starts = [range(0, h - k + 1, s) for h, k, s in zip(axes, window, steps, strict=True)]
    parts = [
        (slice(None), *(slice(p, p + k) for p, k in zip(corner, window, strict=True)))
        for corner in itertools.product(*starts)
    ]
    return _Cover(unit, (1, *axes), (1, *map(len, starts)), parts, parts, int(np.prod(window)))


def _fills(run, fill):
    """{leaf: v in the shape of the leaf}."""
    if isinstance(fill, str):
        check_choice("fill", fill, ("mean",))
        return {name: channel_mean(v) for name, v in run.leaf_values.items()}
    if isinstance(fill, list):  # one fill, not several
        fill = np.asarray(fill, like=next(iter(run.leaf_values.values())))
    (found,) = baselines(run, fill, called="fill")
    return found


def _evaluate(run, covers, fills, batch_size, progress):
    """{leaf: S_c with each part covered, (n, parts)}; where covering changes nothing, S_c itself."""
    whole = run.leaf_values
    scores = {name: np.stack([run.output] * len(cover.parts), axis=1) for name, cover in covers.items()}
    tasks = [
        (name, sample, index)
        for name, cover in covers.items()
        for sample in range(run.output.shape[0])
        for index, part in enumerate(cover.parts)
        if np.any(whole[name][(sample, *part)] != fills[name][(sample, *part)])
    ]
    for first in progress(range(0, len(tasks), batch_size)):
        batch = tasks[first : first + batch_size]
        rows = [sample for _, sample, _ in batch]
        values = {name: np.take(v, rows, axis=0) for name, v in whole.items()}
        for row, (name, sample, index) in enumerate(batch):
            part = covers[name].parts[index]
            values[name][(row, *part)] = fills[name][(sample, *part)]
        output = run.scores(rows, values)
        for row, (name, sample, index) in enumerate(batch):
            scores[name][sample, index] = output[row]
    return scores


def _gather(run, cover, scores, aggregate):
    """Attribution of one leaf from the scores of its parts."""
    n = scores.shape[0]
    if aggregate == "score":
        return np.reshape(scores, (n, *cover.grid))
    loss = np.reshape(run.output, (-1, 1)) - scores
    if aggregate == "map":
        return np.reshape(loss, (n, *cover.grid))
    total = zeros_like(loss, (n, *cover.place))
    for index, place in enumerate(cover.places):
        where = (slice(None), *place)
        total[where] = total[where] + np.reshape(loss[:, index], (-1,) + (1,) * (total[where].ndim - 1))
    counts = np.maximum(cover.counts(), 1)
    if aggregate == "per_area":
        counts = counts * cover.area
    return total / np.asarray(counts if is_exact(total) else counts.astype(total.dtype), like=total)
