"""Occlusion: what the output loses when a feature, a pixel, a token or a patch is covered."""

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np

from pyref.attribution import Attribution
from pyref.check import check_choice
from pyref.layers.window import per_axis
from pyref.methods.method import baselines, channel_mean, check_batch_size, start
from pyref.numerics import is_exact, on_host, zeros_like

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
    run = start(network, x, target, **options | {"inner": True})
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
    """The parts P of one sample that are covered in turn, and the grid they form."""

    unit: str
    place: tuple[int, ...]  # shape of one sample's result: places that parts cover
    grid: tuple[int, ...]  # shape of the parts' own arrangement
    entries: tuple[int, ...]  # shape of the entries at a place, as axes that broadcast against it
    windows: list[Any] | None = None  # index of each part in `place`; None where part k is place k
    area: int = 1  # places per part

    @property
    def parts(self):
        """How many there are."""
        return int(np.prod(self.place)) if self.windows is None else len(self.windows)

    def counts(self):
        """How many parts cover each place."""
        if self.windows is None:
            return np.ones(self.place, dtype=int)
        counts = np.zeros(self.place, dtype=int)
        for window in self.windows:
            counts[window] += 1
        return counts

    def changed(self, differs):
        """Whether covering each part changes a sample: differs (n, *sample) → (n, parts)."""
        along = tuple(1 + axis for axis, (a, p) in enumerate(zip(self.entries, self.place, strict=True)) if a != p)
        at_place = np.any(differs, axis=along, keepdims=True) if along else differs
        if self.windows is None:
            return np.reshape(at_place, (len(differs), -1))
        return np.stack([at_place[(slice(None), *w)].any(axis=tuple(range(1, differs.ndim))) for w in self.windows], 1)

    def covered(self, parts):
        """The places of each of the parts: (b, *place), broadcasting to a sample."""
        if self.windows is None:
            inside = np.arange(self.parts) == parts[:, None]
        else:
            inside = np.zeros((len(parts), *self.place), dtype=bool)
            for row, part in enumerate(parts.tolist()):
                inside[(row, *self.windows[part])] = True
        return np.reshape(inside, (len(parts), *self.place))


def _cover(run, name, unit, shape, stride):
    sample = tuple(run.record[run.leaves[name]].shape[1:])
    unit = unit or ("token" if name in run.embedded else "feature")
    if name in run.embedded and unit in ("pixel", "patch"):
        raise ValueError(f"unit={unit!r} needs an image, but {name} holds embedded ids; use 'token' or 'feature'")
    if unit == "feature":
        return _Cover(unit, sample, sample, sample)
    if unit == "token":
        if len(sample) < 2:
            raise ValueError(f"{name} has shape {sample} per sample, expected tokens (t, e)")
        place = (*sample[:-1], 1)
        return _Cover(unit, place, place, sample)
    if len(sample) < 2:
        raise ValueError(f"{name} has shape {sample} per sample, expected an image (c, *axes)")
    axes = sample[1:]
    if unit == "pixel":
        return _Cover(unit, (1, *axes), (1, *axes), sample)
    if shape is None:
        raise ValueError("unit='patch' needs the shape of a patch")
    window = per_axis("shape", shape, len(axes))
    steps = per_axis("stride", stride, len(axes))
    if any(k > h for k, h in zip(window, axes, strict=True)):
        raise ValueError(f"a patch of shape {window} does not fit into an image of shape {axes}")
    starts = [range(0, h - k + 1, s) for h, k, s in zip(axes, window, steps, strict=True)]
    windows = [
        (slice(None), *(slice(p, p + k) for p, k in zip(corner, window, strict=True)))
        for corner in itertools.product(*starts)
    ]
    return _Cover(unit, (1, *axes), (1, *map(len, starts)), sample, windows, int(np.prod(window)))


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
    changed = {name: cover.changed(on_host(whole[name] != fills[name])) for name, cover in covers.items()}
    tasks = {name: np.nonzero(where) for name, where in changed.items()}
    found: dict[str, list] = {name: [] for name in covers}
    batches = [(name, k) for name, (samples, _) in tasks.items() for k in range(0, len(samples), batch_size)]
    for name, first in progress(batches):
        samples, parts = (each[first : first + batch_size] for each in tasks[name])
        rows = samples.tolist()
        values = {leaf: np.take(v, rows, axis=0) for leaf, v in whole.items() if leaf != name}
        inside = np.asarray(covers[name].covered(parts), like=whole[name])
        values[name] = np.where(inside, _of(fills[name], rows), _of(whole[name], rows))
        found[name].append(run.scores(rows, values))
    scores = {}
    for name, where in changed.items():
        scores[name] = zeros_like(run.output, where.shape) + np.reshape(run.output, (-1, 1))
        if found[name]:
            place = np.maximum(np.cumsum(where) - 1, 0).tolist()
            among = np.reshape(np.take(np.concatenate(found[name]), place, axis=0), where.shape)
            scores[name] = np.where(np.asarray(where, like=among), among, scores[name])
    return scores


def _of(v, rows):
    """These rows of v, or the one that it has, which broadcasts."""
    return v if len(v) == 1 else np.take(v, rows, axis=0)


def _gather(run, cover, scores, aggregate):
    """Attribution of one leaf from the scores of its parts."""
    n = scores.shape[0]
    if aggregate == "score":
        return np.reshape(scores, (n, *cover.grid))
    loss = np.reshape(run.output, (-1, 1)) - scores
    if aggregate == "map":
        return np.reshape(loss, (n, *cover.grid))
    if cover.windows is None:
        return np.reshape(loss, (n, *cover.place))
    total = zeros_like(loss, (n, *cover.place))
    for index, window in enumerate(cover.windows):
        where = (slice(None), *window)
        total[where] = total[where] + np.reshape(loss[:, index], (-1,) + (1,) * (total[where].ndim - 1))
    counts = np.maximum(cover.counts(), 1)
    if aggregate == "per_area":
        counts = counts * cover.area
    return total / np.asarray(counts if is_exact(total) else counts.astype(total.dtype), like=total)
