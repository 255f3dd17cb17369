"""Outputs of copies of samples that differ from them in a few places: only what a change reaches is computed again.

Occlusion and the perturbation metrics ask for thousands of copies of an image in which a feature or a patch is
replaced. A convolution carries the change of a window into a window that is a kernel larger; a dense layer adds what
the change is worth, (x' - x) W over the changed entries alone. Every value elsewhere is that of the sample itself,
which the forward pass recorded. Where an image goes through a chain of layers to a dense one, a kernel carries windows
all the way, and convolutions add what a change is worth too; other networks go layer by layer.

Where features go one after the other a copy differs from the one before it in one place, and from the sample in many:
then copies that follow each other are walked, several walks side by side, and each step is a change of the step before.
"""

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

import pyref
from pyref.layers.conv import conv_windows
from pyref.layers.pool import max_pool_windows
from pyref.layers.window import padding_pairs, per_axis, window_count
from pyref.target import target_value
from relprop import _core

__all__ = ["copied_output"]

# Layers that leave nothing in a record but their output, which a walk may write into.
_WALKED = {pyref.Conv, pyref.MaxPool, pyref.AvgPool, pyref.Flatten, pyref.Dense, pyref.BatchNorm, pyref.Dropout}
_WALKED |= {pyref.Add, pyref.Concat, *pyref.ACTIVATIONS.values()}
_SAME_PLACES = ("activation", "batchnorm", "dropout")  # kinds whose output at a place reads that place alone
_KNOWN_ACTIVATIONS = {*pyref.ACTIVATIONS.values()} - {pyref.PReLU}
MOST = 0.6  # the share of an image, or of the products of a pass, from which on all of it is computed
SPREAD = 24  # how many times a window a part may be whose zeros are multiplied too
ROWS = 2**20  # bytes of weights up to which the rows of one copy's entries are read for it alone
TURNED = 2**26  # bytes of weights up to which they are kept a second time, row after row
WALKS = 32  # walks side by side, layer by layer
STEPS = 64  # the most of a walk that goes through a chain of layers at once
FOLLOWING = 0.75  # the share of copies from which on walks pay


@dataclass(frozen=True)
class Whole:
    """Every value of every copy, (b, ...)."""

    values: Any


@dataclass(frozen=True)
class Window:
    """The values (b, c, *size) of every copy in a window of its own, whose first place is start (b, axes)."""

    values: Any
    start: Any

    @property
    def size(self):
        return self.values.shape[2:]


@dataclass(frozen=True)
class Entries:
    """The values (b, m) of every copy at m entries of its own, places (b, m), of values (b, f).

    window  where they are a flattened image's: (start, size) of `Window`, and the image's shape (c, *axes)
    """

    values: Any
    places: Any
    window: Any = None


def copied_output(run, rows, leaf_values):
    """S_c of copies of samples: what `run.repeated(rows, leaf_values).output` is.

    Shapes
        rows b whole numbers; leaf_values {leaf: (b, ...)}   →   (b,)
    Numerics
        Equal in exact arithmetic. A dense layer that reads a change, and a convolution of a chain, round as adding it
        to what was recorded does, and in a walk as so many additions as it has steps.
    """
    rows = np.asarray(rows, np.int64)
    if any(array.dtype.kind in "iuO" for array in run.inputs.values()):
        return run.repeated(rows.tolist(), leaf_values).output
    changed = {run.leaves[name]: _change(run.record[run.leaves[name]], rows, v) for name, v in leaf_values.items()}
    changed = {ref: change for ref, change in changed.items() if change is not None}
    turned = vars(run).setdefault("_turned", {})  # as long as the run, in which weights stay what they are
    found = _chained(run, rows, leaf_values, changed, turned)
    if found is not None:
        changed = found
    elif any(isinstance(change, Whole) for change in changed.values()):
        if len(rows) >= 4 * WALKS:
            scores = _walked(run, rows, leaf_values, turned)
            if scores is not None:
                return scores
        most = max(1, run.fitting // 2)  # less: what one node puts out is in the caches when the next reads it
        if len(rows) > most:
            parts = [slice(k, k + most) for k in range(0, len(rows), most)]
            return np.concatenate(
                [copied_output(run, rows[p], {n: v[p] for n, v in leaf_values.items()}) for p in parts]
            )
    readers = Counter(i for node in run.network.nodes.values() for i in node.inputs)
    readers[run.output_ref] += 1

    def forget(node):
        readers.subtract(node.inputs)
        for i in node.inputs:
            if not readers[i]:  # nobody needs it any more, and its memory is still in the caches
                changed.pop(i, None)

    _carry(run, changed, rows, turned, forget)
    S = changed.get(run.output_ref)
    return target_value(np.take(run.v, rows, axis=0), _whole(S, run.record[run.output_ref], rows))


def _carry(run, changed, rows, turned, done=lambda node: None):
    """Carry the changes {reference: change} of the leaves to every value that they reach.

    turned  {layer: its weights, row after row}, which the steps of a call share
    """
    given = set(run.leaves.values())
    for node in run.network.nodes.values():
        if (node.name, 0) not in given and any(i in changed for i in node.inputs):
            y = _through(run, node, [changed.get(i) for i in node.inputs], rows, turned)
            changed |= zip(node.refs, y if isinstance(y, tuple) else (y,), strict=True)
        done(node)


# ── layers in one go ───────────────────────────────────────────────────────────────────────────────────


def _chained(run, rows, leaf_values, changed, turned):
    """{dense layer: its output} where one kernel carries the change of an image to it; None where none does.

    Copies that differ from their samples in a window are walks of one step.
    """
    if len(changed) != 1:
        return None
    ((leaf, change),) = changed.items()
    chain = None if isinstance(change, Entries) else _chain(run, leaf)
    if chain is None:
        return None
    head = chain[-1]
    if isinstance(change, Window):
        y = _go(run.record, chain, turned, rows, np.arange(len(rows) + 1), change)
    else:
        y = _go_on(run, chain, turned, rows, leaf_values)
    return None if y is None else {(head.name, 0): Whole(y)}


def _chain(run, leaf):
    """The nodes from a leaf to the first dense layer, where they are a chain that the kernel knows; else None."""
    if not 3 <= run.record[leaf].ndim <= 5 or run.record[leaf].dtype not in (np.float32, np.float64):
        return None
    given, at, chain, is_flat = set(run.leaves.values()), leaf, [], False
    while True:
        readers = [node for node in run.network.nodes.values() if at in node.inputs]
        if len(readers) != 1 or at == run.output_ref or len(readers[0].inputs) != 1 or readers[0].refs[0] in given:
            return None
        (node,) = readers
        chain.append(node)
        at, layer = node.refs[0], node.layer
        match layer:
            case pyref.Dense() if is_flat:
                return chain if layer.w.flags.c_contiguous or layer.w.nbytes <= TURNED else None
            case pyref.Flatten(start=1):
                is_flat = True
            case pyref.Dropout():
                pass
            case pyref.AdaptiveAvgPool() if run.record.hollow(node.inputs[0]).shape == run.record.hollow(at).shape:
                pass
            case pyref.Conv(groups=1) | pyref.MaxPool() if not is_flat:
                pass
            case _ if type(layer) in _KNOWN_ACTIVATIONS and not is_flat:
                pass
            case _:
                return None


def _go(record, chain, turned, rows, first, change):
    """What the dense layer at the end of a chain puts out for walks from samples of a record; None where a change is
    not finite, or takes most of the products of a whole pass.

    rows, first  walk k begins at sample rows[k], and is copies first[k] to first[k + 1] of the change
    """
    (*nodes, head) = chain
    x, y = (np.ascontiguousarray(array) for array in (record[nodes[0].inputs[0]], record.output(head)))
    layers: list[tuple] = []
    seen = x
    for node in nodes:
        layer, out = node.layer, np.ascontiguousarray(record.output(node))
        match layer:
            case pyref.Conv():
                windows = conv_windows(seen, layer.w, layer.stride, layer.padding, layer.dilation, layer.groups)
                layers.append(("conv", windows, np.ascontiguousarray(layer.w), out))
            case pyref.MaxPool():
                of = layer.kernel, layer.stride, layer.padding, layer.dilation, layer.ceil_mode
                layers.append(("max_pool", max_pool_windows(seen, *of), out))
            case pyref.Flatten() | pyref.Dropout() | pyref.AdaptiveAvgPool():
                continue
            case _:
                layers.append(("activation", layer, out))
        seen = out
    w = _in_rows(turned, head.layer)
    if any(array.dtype != x.dtype for array in (y, w, change.values, *(a for layer in layers for a in layer[2:]))):
        return None
    start = np.ascontiguousarray(change.start, np.int64)
    return _core.copied_forward(x, layers, w, y, rows, first, start, change.values, MOST)


def _go_on(run, chain, turned, rows, leaf_values):
    """The same for copies of which most differ from the one before in one place: they are cut into walks,
    whose first copies are evaluated wholly."""
    if len(leaf_values) != 1:
        return None
    ((name, values),) = leaf_values.items()
    follows, place = _following(rows, values)
    if follows.mean() < FOLLOWING:
        return None
    begins, since = np.flatnonzero(~follows), np.arange(len(rows))
    since -= np.repeat(begins, np.diff(np.append(begins, len(rows))))
    follows &= since % STEPS > 0
    begins, steps = np.flatnonzero(~follows), np.flatnonzero(follows)
    now = run.repeated(rows[begins].tolist(), {name: values[begins]})
    start = place[steps]
    window = _gather(values, steps, start, (1,) * start.shape[1])
    first = np.searchsorted(steps, np.append(begins, len(rows)))
    found = _go(now.record, chain, turned, np.arange(len(begins)), first, Window(window, start))
    if found is None:
        return None
    y = np.empty((len(rows), found.shape[1]), found.dtype)
    y[begins], y[steps] = now.record.output(chain[-1]), found
    return y


def _following(rows, values):
    """Whether each copy differs from the one before in one place at most, and in which: (b,) and (b, axes)."""
    low, high = _core.window_bounds(values, values, np.maximum(np.arange(len(rows)) - 1, 0))
    return np.append(False, rows[1:] == rows[:-1]) & (high - low <= 1).all(axis=1), low


# ── layers one by one ──────────────────────────────────────────────────────────────────────────────────


def _walked(run, rows, leaf_values, turned):
    """The same for copies that differ from the one before in one place of an image; None where they do not.

    The copies are cut into walks of equal length. The first of each is evaluated wholly, and its record becomes that of
    the second by the changes of a window, and so on.
    """
    if len(leaf_values) != 1 or any(type(node.layer) not in _WALKED for node in run.network.nodes.values()):
        return None
    ((name, values),) = leaf_values.items()
    if values.ndim != 4 or _following(rows, values)[0].mean() < FOLLOWING:
        return None
    steps = -(-len(rows) // WALKS)
    index = np.minimum(np.arange(WALKS)[:, None] * steps + np.arange(steps), len(rows) - 1)
    ref, walks = run.leaves[name], np.arange(WALKS)
    values = np.ascontiguousarray(values)
    now = run.repeated(rows[index[:, 0]].tolist(), {name: values[index[:, 0]]})
    scores = np.empty(len(rows), now.output.dtype)
    scores[index[:, 0]] = now.output
    for step in range(1, steps):
        here, before = index[:, step], index[:, step - 1]
        change = _change(now.record[ref], walks, values[here])
        if (rows[here] != rows[before]).any() or isinstance(change, Whole):  # a walk goes over to another order
            now = run.repeated(rows[here].tolist(), {name: values[here]})
        elif change is not None:
            changed = {ref: change}
            _carry(now, changed, walks, turned)
            for at, what in changed.items():
                _write(now.record[at], what)
        scores[here] = now.output
    return scores


def _write(base, change):
    """Put the changes of all copies into the values that they are changes of."""
    match change:
        case Whole():
            np.copyto(base, change.values)
        case Entries():
            np.put_along_axis(base, change.places, change.values, axis=1)
        case Window():
            _put(base, change)


def _change(base, rows, values):
    """What differs from the samples: a window of an image, entries of a vector, all, or nothing (None)."""
    if 3 <= base.ndim <= 5:
        low, high = _core.window_bounds(values, base, rows)
        size = (high - low).max(axis=0)
        if not size.any():
            return None
        if np.prod(size) > MOST * np.prod(base.shape[2:]):
            return Whole(values)
        start = np.minimum(low, np.array(base.shape[2:]) - size)
        return Window(_gather(values, np.arange(len(rows)), start, size), start)
    if base.ndim == 2:
        low, high = _core.window_bounds(values[:, None], base[:, None], rows)
        if (high - low).max() == 1:
            return Entries(np.take_along_axis(values, low, axis=1), low)
    differs = values != np.take(base, rows, axis=0)
    if not differs.any():
        return None
    m = int(differs.reshape(len(rows), -1).sum(axis=1).max())
    if base.ndim != 2 or m > MOST * base.shape[1]:
        return Whole(values)
    places = np.argsort(~differs, axis=1, kind="stable")[:, :m]
    return Entries(np.take_along_axis(values, places, axis=1), places)


# ── one node ───────────────────────────────────────────────────────────────────────────────────────────


def _through(run, node, x, rows, turned):
    """What a change of some inputs of a node makes of its output."""
    layer, backend = node.layer, run.backend
    bases = run.record.inputs(node)
    if len(x) == 1:
        (change,), (base,) = x, bases
        if isinstance(change, Window):
            if layer.kind in _SAME_PLACES:
                return Window(layer.forward(backend, change.values), change.start)
            windowed = _windowed(layer, base.ndim - 2)
            if windowed is not None:
                found = _slide(backend, windowed, change, base, rows)
                if found is not None:
                    return found
            if isinstance(layer, pyref.Flatten) and layer.start == 1:
                return _entries(change, base)
        if isinstance(change, Entries):
            if layer.kind in ("activation", "dropout") and not isinstance(layer, pyref.PReLU):
                return replace(change, values=layer.forward(backend, change.values))
            if isinstance(layer, pyref.Dense):
                by = change.values - base[rows[:, None], change.places]
                if np.isfinite(by).all():
                    y = np.take(run.record.output(node), rows, axis=0)
                    return Whole(_add_change(turned, layer, by, change, y))
    elif isinstance(layer, pyref.Add | pyref.Concat) and all(c is None or isinstance(c, Window) for c in x):
        found = _together(backend, layer, x, bases, rows)
        if found is not None:
            return found
    whole = [_whole(change, base, rows) for change, base in zip(x, bases, strict=True)]
    y = layer.forward(backend, *whole)
    return tuple(map(Whole, y)) if layer.outputs > 1 else Whole(y)


def _whole(change, base, rows):
    """Every value of every copy (b, ...): the change put into the samples that the rows name."""
    if isinstance(change, Whole):
        return change.values
    base = np.take(base, rows, axis=0)
    match change:
        case Entries():
            np.put_along_axis(base, change.places, change.values, axis=1)
        case Window():
            _put(base, change)
    return base


def _put(base, window):
    """Write each copy's window into its base."""
    _core.window_paste(base, np.ascontiguousarray(window.start, np.int64), window.values)


def _gather(base, rows, start, size, outside=0.0):
    """base (n, c, *axes) in a window of its own for each row: (b, c, *size); beyond its edges `outside`."""
    return _core.window_crop(base, rows, np.ascontiguousarray(start, np.int64), tuple(map(int, size)), outside)


def _open(index):
    """[(b,), (c,), (b, s_1), …] as arrays that broadcast to (b, c, s_1, …)."""
    rank = len(index)
    opened = []
    for axis, places in enumerate(index):
        shape = [1] * rank
        if places.ndim == 2:
            shape[0] = places.shape[0]
        shape[axis] = places.shape[-1]
        opened.append(places.reshape(shape))
    return tuple(opened)


# ── layers with windows of their own ───────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class _Sliding:
    """A layer that looks through a kernel: itself without padding, and what its padding holds."""

    layer: Any
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...]
    outside: float


_looking: WeakKeyDictionary = WeakKeyDictionary()  # {layer: how it slides, None where it does not}


def _windowed(layer, rank):
    if layer not in _looking:
        _looking[layer] = {}
    known = _looking[layer]
    if rank not in known:
        known[rank] = _sliding(layer, rank)
    return known[rank]


def _sliding(layer, rank):
    match layer:
        case pyref.Conv():
            kernel, outside = layer.w.shape[2:], 0.0
        case pyref.MaxPool(ceil_mode=False):
            kernel, outside = per_axis("kernel", layer.kernel, rank), -np.inf
        case pyref.AvgPool(ceil_mode=False, count_include_pad=True):
            kernel, outside = per_axis("kernel", layer.kernel, rank), 0.0
        case _:
            return None
    stride = per_axis("stride", kernel if layer.stride is None else layer.stride, rank)
    dilation = per_axis("dilation", getattr(layer, "dilation", 1), rank)
    return _Sliding(replace(layer, padding=0), kernel, stride, padding_pairs(layer.padding, rank), dilation, outside)


def _slide(backend, sliding, change, base, rows):
    """The window of outputs that read the changed window; None where they are most of the output."""
    start, size, read, begin = [], [], [], []
    for axis, length in enumerate(base.shape[2:]):
        k, stride, dilation = sliding.kernel[axis], sliding.stride[axis], sliding.dilation[axis]
        before = sliding.padding[axis][0]
        reach = (k - 1) * dilation
        outputs = window_count(length, k, stride, sliding.padding[axis], dilation)
        size.append(min(outputs, (change.size[axis] - 1 + reach) // stride + 1))
        first = -((reach - before - change.start[:, axis]) // stride)  # ⌈(start + before - reach) / stride⌉
        start.append(np.clip(first, 0, outputs - size[-1]))
        begin.append(start[-1] * stride - before)  # where the outputs begin to read
        read.append((size[-1] - 1) * stride + reach + 1)
    if np.prod(read) > MOST * np.prod(base.shape[2:]):
        return None
    begins = np.stack(begin, axis=1)
    crop = _gather(base, rows, begins, read, sliding.outside)
    _put(crop, Window(change.values, change.start - begins))
    return Window(sliding.layer.forward(backend, crop), np.stack(start, axis=1))


def _together(backend, layer, x, bases, rows):
    """A sum, or channels side by side, in the smallest windows that hold all changes; None where they are large."""
    changes = [change for change in x if change is not None]
    if (isinstance(layer, pyref.Concat) and layer.axis != 1) or any(base.ndim != bases[0].ndim for base in bases):
        return None
    shape = bases[0].shape[2:]
    if any(base.shape[2:] != shape for base in bases):
        return None
    first = np.min([c.start for c in changes], axis=0)
    last = np.max([c.start + np.array(c.size) for c in changes], axis=0)
    size = (last - first).max(axis=0)
    if np.prod(size) > MOST * np.prod(shape):
        return None
    start = np.minimum(first, np.array(shape) - size)
    parts = []
    for change, base in zip(x, bases, strict=True):
        part = _gather(base, rows, start, size)
        if change is not None:
            _put(part, Window(change.values, change.start - start))
        parts.append(part)
    return Window(layer.forward(backend, *parts), start)


# ── vectors ────────────────────────────────────────────────────────────────────────────────────────────


def _entries(change, base):
    """The entries of a flattened image that a window covers."""
    b = len(change.start)
    places = np.zeros((1,) * base.ndim, dtype=int)
    along = [change.start[:, k, None] + np.arange(s) for k, s in enumerate(change.size)]
    index = _open([np.zeros(1, int), np.arange(base.shape[1]), *along])
    for axis, part in enumerate(index[1:], 1):
        places = places * base.shape[axis] + part
    window = change.start, change.size, base.shape[1:]
    return Entries(change.values.reshape(b, -1), places.reshape(b, -1), window)


def _in_rows(turned, layer):
    """The weights of a dense layer with each row in one piece; they may lie transposed, as PyTorch has them."""
    if layer.w.flags.c_contiguous:
        return layer.w
    if layer not in turned:
        turned[layer] = _core.turned(layer.w)
    return turned[layer]


def _add_change(turned, layer, by, change, y):
    """y + (x' - x) W over the changed entries, in place. Copies whose entries are the same share a matrix product.

    Where all copies change windows of one part of an image it is one product over that part: many factors are 0, but a
    large product takes less time than many small ones with the same numbers.
    """
    places, w = change.places, layer.w
    small = places.shape[1] * w.shape[1] * w.itemsize <= ROWS and w.nbytes <= TURNED
    if small and w.dtype == by.dtype == y.dtype and by.dtype in (np.float32, np.float64):
        _core.dense_update(y, _in_rows(turned, layer), np.ascontiguousarray(places, np.int64), by)
        return y
    if places.shape[1] == 1:
        y += by * w[places[:, 0]]
        return y
    if change.window is not None:
        start, size, (c, *axes) = change.window
        low, high = start.min(axis=0), start.max(axis=0) + size
        if np.prod(high - low) <= SPREAD * np.prod(size):
            part = np.zeros((len(by), c, *(high - low)), by.dtype)
            _put(part, Window(by.reshape(len(by), c, *size), start - low))
            of = (slice(None), *map(slice, low, high))
            y += part.reshape(len(by), -1) @ w.reshape(c, *axes, -1)[of].reshape(part[0].size, -1)
            return y
        group = places[:, 0]
    else:
        _, group = np.unique(places, axis=0, return_inverse=True)
    order = np.argsort(group, kind="stable")
    for members in np.split(order, np.flatnonzero(np.diff(group[order])) + 1):
        y[members] += by[members] @ w[places[members[0]]]
    return y
