"""Features of an input, and what a model says when some of them are removed."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pyref.check import check_choice, check_finite
from pyref.layers.layer import Layer
from pyref.methods.method import Run, baselines, channel_mean, start
from pyref.metrics.measurement import labelled
from pyref.network import Network
from pyref.numerics import on_host, zeros_like

__all__ = ["Function", "Removal", "removal", "BASELINES"]


@dataclass(frozen=True)
class Function(Layer):
    """Any function as the one layer of a network: f(x) → (n, classes) or (n,). It can be evaluated, and no more.

    names  of several inputs, which f then gets as {name: array}
    """

    f: Any
    names: tuple[str, ...] = ()
    kind = "function"
    arity = None

    def forward(self, backend, *x):
        given = dict(zip(self.names, x, strict=True)) if self.names else x[0]
        S = self.f(given)
        return S if hasattr(S, "__array_function__") else np.asarray(S)

    def _refuse(self, what):
        raise ValueError(f"a function has no {what}: attributions of this kind need a pyref.Network")

    def gradient(self, backend, x, y, G):
        self._refuse("gradient")

    def relevance(self, backend, x, y, R, rule, gate="all", account=None):
        self._refuse("relevance")

    def multiplier(self, backend, x, y, x0, y0, M, product="symmetric", max_pool="xmax"):
        self._refuse("multiplier")

    def tangent(self, backend, x, y, dx):
        self._refuse("tangent")


def as_network(network, x):
    """A Network as it is, any other callable as a network of one layer.

    Raises
        TypeError  neither.
    """
    if isinstance(network, Network):
        return network
    if not callable(network):
        raise TypeError(f"the model is a {type(network).__name__}, expected a pyref.Network or a callable f(x)")
    names = tuple(x) if isinstance(x, Mapping) else ()
    return Network([("f", Function(network, names), names or ("x",))], names or ("x",), name="function")


BASELINES = ("zero", "mean", "black", "white")


@dataclass(frozen=True)
class Removal:
    """A model at one batch, and what it says when features are put to the baseline: all that a metric asks of it.

    What evaluates faster takes the place of this class by answering `scores` alike.

    run       the forward pass at x, with its target
    labels    {leaf: number of the feature that each entry belongs to, in the shape of a sample}
    fills     {leaf: the baseline, in the shape of the batch}
    features  N, their number
    """

    run: Run
    labels: dict[str, Any]
    fills: dict[str, Any]
    features: int
    changes: Any = field(repr=False)  # (n, N): whether removing the feature changes the sample at all

    @property
    def output(self):
        """S_c(x), per sample, in NumPy."""
        return on_host(self.run.output)

    @property
    def baseline_output(self):
        """S_c(x̄), per sample: everything removed."""
        return self.scores(np.arange(len(self.output)), np.ones_like(self.changes))

    def scores(self, rows, removed):
        """S_c of sample rows[k] without the features removed[k], for every k.

        Shapes
            rows (b,) integers   removed (b, N) booleans   →   (b,)
        Laws
            Where removing changes nothing the answer is S_c(x) itself, without evaluation; and masks in a row that
            change the same entries of the same sample are evaluated once: rounding cannot make them differ.
        """
        acts = removed & self.changes[rows]
        any_left = acts.any(axis=1)
        new = any_left.copy()
        new[1:] &= (rows[1:] != rows[:-1]) | (acts[1:] != acts[:-1]).any(axis=1)
        if not new.any():
            return self.output[rows]
        place = np.maximum(np.cumsum(new) - 1, 0)
        return np.where(any_left, self.evaluate(rows[new], acts[new])[place], self.output[rows])

    def evaluate(self, rows, removed):
        """`scores`, every one of them by a forward pass."""
        return on_host(self.run.scores(rows.tolist(), self.masked(rows, removed)))

    def masked(self, rows, removed):
        """{leaf: value of sample rows[k] with the features removed[k] at the baseline, for every k}."""
        values = {}
        for name, x in self.run.leaf_values.items():
            gone = np.asarray(np.take(removed, self.labels[name], axis=1), like=x)
            copies = rows.tolist()
            values[name] = np.where(gone, np.take(self.fills[name], copies, axis=0), np.take(x, copies, axis=0))
        return values

    def attributed(self, attributions):
        """{label: R (n, N)}: what each attribution gives to each feature, the sum over the feature's entries.

        Attributions come as an array, an `Attribution`, {leaf: array} for several leaves, or {label: any of these}.
        An attribution may have been summed over axes along which a feature is whole, such as the channels of a pixel.

        Raises
            TypeError   an attribution that is no array.
            ValueError  shapes that do not fit, NaN or infinity.
        """
        found = labelled(attributions, lambda given: set(given) == set(self.labels))
        return {label: self._of_features(label, value) for label, value in found.items()}

    def _of_features(self, label, attribution):
        attribution = getattr(attribution, "result", attribution)  # what relprop returns holds pyref's
        values = attribution if isinstance(attribution, Mapping) else getattr(attribution, "values", attribution)
        parts = values if isinstance(values, Mapping) else dict.fromkeys(self.labels, values)
        if set(parts) != set(self.labels):
            raise ValueError(f"attributions name {', '.join(map(str, parts))}, expected {', '.join(self.labels)}")
        total: Any = 0
        for name, labels in self.labels.items():
            total = total + self._of_leaf(f"attribution {label!r}" if label else "attribution", parts[name], labels)
        return total

    def _of_leaf(self, what, values, labels):
        if not hasattr(values, "dtype"):
            raise TypeError(f"{what} is a {type(values).__name__}, expected an array or an Attribution")
        values = on_host(values)
        if values.dtype not in (np.float32, np.float64, object):  # integers have no -R, and halves no sums
            values = values.astype(np.float64)
        check_finite(what, values)
        shape = (len(self.output), *labels.shape)
        if values.shape == shape[:-1]:
            values = np.expand_dims(values, -1)
        fits = values.ndim == len(shape) and all(a in (1, b) for a, b in zip(values.shape[1:], shape[1:], strict=True))
        if not fits or values.shape[0] != shape[0]:
            raise ValueError(f"{what} has shape {tuple(values.shape)}, expected {shape}, or 1 where a feature is whole")
        whole = labels
        for axis in range(labels.ndim):
            if values.shape[1 + axis] != labels.shape[axis]:
                whole = np.take(whole, [0], axis=axis)
        if not np.all(labels == whole):
            raise ValueError(f"{what} has shape {tuple(values.shape)}, but the features of the mask are smaller")
        flat = np.reshape(values, (shape[0], -1))
        R = zeros_like(flat, (shape[0], self.features))
        order = np.argsort(np.ravel(whole), kind="stable")
        present, first = np.unique(np.ravel(whole)[order], return_index=True)
        R[:, present] = np.add.reduceat(np.take(flat, order, axis=1), first, axis=1)
        return R


def removal(network, x, target=None, *, mask=None, baseline="zero", **options):
    """The `Removal` that the metrics begin with.

    Parameters
        network   a `pyref.Network`, a callable f(x) → (n, classes) or (n,), or a `Removal`, which is used as it is
        target    `pyref.target_weights`; it is settled at x and held while features are removed
        mask      what a feature is: "feature", each number; "pixel", all channels (axis 1) at one position; "token",
                  all of the last axis at one position; or an integer array that broadcasts to a sample, whose equal
                  entries form one feature; {leaf: any of these}. By default tokens where ids are embedded, else numbers
        baseline  what a removed feature becomes: "zero"; "mean", of each channel over its image, of each sample's
                  features otherwise; "black" or "white", the least or greatest value of the sample; or a number, an
                  array that broadcasts to the input, {leaf: any of these}
        options   those of `pyref.start`: output, at, softmax, backend. What a callable gives is taken as it is.
    The forward pass at x is kept, so give a data set in parts, with the `indices` of each, and join the results:
    `pyref.joined`.
    Raises
        TypeError   a model that is neither; x of a dtype that is refused.
        ValueError  a mask or baseline that does not fit; settings beside a `Removal`; what `pyref.start` refuses.
    """
    if is_removal(network):
        untold = target is None and mask is None and isinstance(baseline, str) and baseline == "zero" and not options
        if not untold:
            raise ValueError("a Removal has its target, mask, baseline and options already: they cannot be given again")
        return network
    run = start(as_network(network, x), x, target, **options)
    labels, features = _labels(run, mask)
    bottom = fills(run, baseline)
    changes = np.zeros((len(run.output), features), dtype=bool)
    for name, value in run.leaf_values.items():
        differs = np.reshape(on_host(value != bottom[name]), (len(changes), -1))
        for k in range(len(changes)):
            changes[k, np.ravel(labels[name])[differs[k]]] = True
    return Removal(run, labels, bottom, features, changes)


def is_removal(network):
    """Whether a model is a `Removal`, or answers in its place."""
    return hasattr(network, "scores") and hasattr(network, "attributed")


def silent(x):
    """A model that says nothing, where only inputs are wanted."""
    first = x if hasattr(x, "shape") else next(iter(x.values()))
    return np.zeros(first.shape[0])


def _labels(run, mask):
    """({leaf: feature numbers in a sample's shape}, N); the features of several leaves are counted on."""
    labels, count = {}, 0
    for name in run.leaves:
        shape = tuple(run.record[run.leaves[name]].shape[1:])
        chosen = mask.get(name) if isinstance(mask, Mapping) else mask
        chosen = ("token" if name in run.embedded else "feature") if chosen is None else chosen
        found = _named_mask(name, chosen, shape) if isinstance(chosen, str) else _mask(name, chosen, shape)
        labels[name] = found + count
        count += int(np.max(found)) + 1
    return labels, count


def _named_mask(name, mask, shape):
    check_choice("mask", mask, ("feature", "pixel", "token"))
    if mask != "feature" and len(shape) < 2:
        raise ValueError(f"mask={mask!r} needs values with axes for channels and places, {name} has {shape} per sample")
    whole = {"feature": (), "pixel": (0,), "token": (len(shape) - 1,)}[mask]
    places = tuple(1 if axis in whole else s for axis, s in enumerate(shape))
    return np.broadcast_to(np.reshape(np.arange(int(np.prod(places))), places), shape)


def _mask(name, mask, shape):
    mask = np.asarray(mask)
    if mask.dtype.kind not in "iub":
        raise TypeError(f"mask of {name} has dtype {mask.dtype}, expected integers: equal numbers form one feature")
    try:
        whole = np.broadcast_to(mask, shape)
    except ValueError:
        raise ValueError(f"mask of {name} has shape {mask.shape}, which does not broadcast to {shape}") from None
    return np.reshape(np.unique(whole, return_inverse=True)[1], shape)


def fills(run, baseline):
    """{leaf: baseline in the shape of the leaf}."""
    if isinstance(baseline, list):  # one baseline, not several
        baseline = np.asarray(baseline, like=next(iter(run.leaf_values.values())))
    given = dict(baseline) if isinstance(baseline, Mapping) else dict.fromkeys(run.leaves, baseline)
    for name, value in given.items():
        if isinstance(value, str) and name in run.leaves:
            check_choice("baseline", value, BASELINES)
            given[name] = _named(value, run.record[run.leaves[name]])
    (found,) = baselines(run, given)
    return found


def _named(name, x):
    if name == "zero":
        return zeros_like(x)
    if name == "mean":
        return channel_mean(x)
    extreme = np.min if name == "black" else np.max
    return zeros_like(x) + extreme(x, axis=tuple(range(1, x.ndim)), keepdims=True)


def masked_scores(subject, masks, count, batch, progress):
    """S_c for every mask of every sample, (n, count).

    masks  a function of the sample's place in the batch that yields its `count` masks (N,), True where removed
    """
    if int(batch) != batch or batch < 1:
        raise ValueError(f"batch is {batch}, expected a whole number, at least 1")
    n = len(subject.output)
    plan = ((row, mask) for row in range(n) for mask in masks(row))
    found = []
    for _ in (progress or (lambda steps: steps))(range(0, n * count, batch)):
        rows, removed = zip(*itertools.islice(plan, batch), strict=True)
        found.append(subject.scores(np.array(rows), np.stack(removed)))
    scores = np.concatenate(found) if found else subject.output[:0]
    return np.reshape(scores, (n, count))
