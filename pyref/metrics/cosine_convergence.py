"""Cosine similarity convergence: whether what arrives below still depends on what was sent from above."""

import math
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np

from pyref.check import check_choice
from pyref.methods.method import start as begin
from pyref.methods.noise import check_indices, generator, normal
from pyref.metrics.correlation import square_root
from pyref.metrics.explainer import explainers
from pyref.metrics.measurement import Curves, median, series
from pyref.metrics.ranking import quantile
from pyref.metrics.removal import on_host
from pyref.network import Network, show, weighted
from pyref.numerics import is_exact, number_like, ones_like, zeros_like
from pyref.rewrite import merge_batchnorm as merge

__all__ = ["cosine_convergence", "Convergence", "alignment", "chance_alignment"]


@dataclass(frozen=True)
class Convergence(Curves):
    """|cos| between what started as independent random vectors, values {series: (samples, layers)}; `at` names layers.

    distance  {series: 1 - |cos|}, computed without cancellation: what a logarithmic axis should show
    chance    {layer: the mean of |cos| between independent random vectors of that many channels}
    notes     "dropped": the fraction of places where a vector was zero, which have no cosine
    """

    distance: dict[str, Any] = field(default_factory=dict)
    chance: dict[str, float] = field(default_factory=dict)

    @property
    def median(self):
        """{series: (layers,)}: the median over samples of their medians over places and pairs."""
        return {name: median(v) for name, v in self.values.items()}


def cosine_convergence(
    network,
    x,
    methods,
    *,
    start=None,
    at=None,
    vectors=5,
    inject="all",
    per_location=True,
    channel_axis=None,
    merge_batchnorm=True,
    seed=0,
    indices=None,
    batch=32,
    progress=None,
    **options,
):
    """How parallel random vectors become on their way down through the backward pass of a method.

        R_start := v_k ~ N(0, I), k = 1 … V;    r_k = what arrives at a layer below
        |cos(r_k, r_l)| over channels, at every place;  median over places and pairs k < l, per sample

    It is 1 where the matrices that relevance goes through have become rank 1: then the picture below is the same
    whatever the network decided above.

    Source
        [sixt2020] sec. 3. Departures: the absolute value, which their formula lacks and their code has (a rank-1 chain
        gives ±1 with equal chance); the median over places and pairs is taken within each sample first.
    Parameters
        methods      as `pyref.explainers` takes them: a name, (name, options), a callable, {label: any of these}; each
                     must hand `inject`, `output` and `record` on to `pyref.start`, as the methods of pyref do
        start        node or nodes whose relevance is set, the output by default
        at           references where the cosine is read; by default what each layer with weights below a start reads
        vectors      V
        inject       "all" entries are random, or only "active" ones, where the value at the start is not 0
        per_location cosine over the channels at every place; False: over all of a sample's values at once
        channel_axis of values with more than two axes; by default the last of what recurrent layers and embeddings read
                     and give, else axis 1
        merge_batchnorm  first, so that all methods see the same layers, and one forward pass serves them all
        seed, indices    the vectors of a sample depend on the seed, the start and its index alone
        batch        samples that go through the network together; all vectors of a sample come back together
        progress     wraps the loop over batches, as tqdm does
        options      those of `pyref.start`
    Returns
        `Convergence`, a series for each method, "method from node" where there are several starts. A layer that a
        start does not reach has NaN.
    Laws
        1 below a value of one channel, and wherever the chain has rank 1, with == in exact arithmetic. One forward pass
        a batch, whatever the number of methods, starts and vectors. Unchanged when the backward pass is scaled.
    Raises
        TypeError   a network that is a plain function.
        ValueError  an unknown node, a start that no weighted layer lies below, fewer than 2 vectors.
    """
    check_choice("inject", inject, ("all", "active"))
    if not isinstance(network, Network):
        raise TypeError(f"the model is a {type(network).__name__}, expected a pyref.Network with layers to start at")
    if int(vectors) != vectors or vectors < 2:
        raise ValueError(f"vectors is {vectors}, expected a whole number, at least 2")
    if int(batch) != batch or batch < 1:
        raise ValueError(f"batch is {batch}, expected a whole number, at least 1")
    network = merge(network) if merge_batchnorm else network
    explain = explainers(methods)
    inputs = network.input_arrays(x)
    indices = check_indices(len(next(iter(inputs.values()))), indices)
    found: dict[str, list] = {}
    for first in (progress or (lambda steps: steps))(range(0, len(indices), batch)):
        part = _samples(inputs, slice(first, first + batch))
        run = begin(network, part, zeros_like, **options)  # the target is not asked for
        starts = _starts(run, start)
        places = _places(run.network, starts) if at is None else [network.reference(r) for r in _several(at)]
        for i, index in enumerate(indices[first : first + batch]):
            record = run.record.copies(i, vectors)  # of a sample all vectors go back together
            one = {name: record[name] for name in inputs}
            for position, s in enumerate(starts):
                V = _draw(run.record[s][i], vectors, position, seed, index, inject)
                for label, method in explain.items():
                    asked = {**options, "inject": V, "output": s, "record": record, "indices": [index] * vectors}
                    signals = method(run.network, one, **asked).signals
                    seen = [_aligned(run, signals.get(ref), ref, per_location, channel_axis) for ref in places]
                    name = series(label, "" if len(starts) == 1 else f"from {show(s)}")
                    found.setdefault(name, []).append([np.array(numbers) for numbers in zip(*seen, strict=True)])
    cosine, distance, dropped = (
        {name: np.stack([numbers[k] for numbers in samples]) for name, samples in found.items()} for k in range(3)
    )
    sizes = {show(ref): _vectors(run, run.record[ref], ref, per_location, channel_axis).shape[-1] for ref in places}
    return Convergence(
        "cosine_convergence",
        cosine,
        unit="|cos|",
        notes={"dropped": dropped},
        settings={"vectors": vectors, "inject": inject, "per_location": per_location, "seed": seed},
        at=list(sizes),
        axis="layer",
        distance=distance,
        chance={name: chance_alignment(channels) for name, channels in sizes.items()},
    )


def alignment(vectors):
    """|cos| between all pairs of vectors, and 1 - |cos| without cancellation; NaN where a vector is zero.

        |cos| = |⟨u, w⟩| / (‖u‖ ‖w‖)         1 - |cos| = ½ ‖u/‖u‖ ∓ w/‖w‖‖²

    Shapes
        vectors (V, …, c)   →   two arrays (V(V-1)/2, …)
    Numerics
        In exact arithmetic |cos| is a Fraction wherever the root is, so that 1 is 1.
    """
    pairs = list(combinations(range(len(vectors)), 2))
    if is_exact(vectors):
        squares = np.sum(vectors * vectors, axis=-1)
        cosines = []
        for k, m in pairs:
            product, norms = np.sum(vectors[k] * vectors[m], axis=-1), squares[k] * squares[m]
            dead = norms == 0
            root = square_root(np.asarray(product * product / np.where(dead, ones_like(norms), norms), dtype=object))
            cosines.append(np.where(dead, np.nan, root))
        cosine = np.stack(cosines)
        return cosine, 1 - cosine
    size = np.max(np.abs(vectors), axis=-1, keepdims=True)
    unit = vectors / np.where(size == 0, 1, size)
    norm = np.sqrt(np.sum(unit * unit, axis=-1, keepdims=True))
    unit = np.where(norm == 0, np.nan, unit / np.where(norm == 0, 1, norm))
    distance = []
    for k, m in pairs:
        towards, away = unit[k] - unit[m], unit[k] + unit[m]
        distance.append(np.minimum(np.sum(towards * towards, axis=-1), np.sum(away * away, axis=-1)) / 2)
    return 1 - np.stack(distance), np.stack(distance)


def chance_alignment(channels):
    """E |cos| between independent isotropic vectors.

    Γ(c/2) / (√π Γ((c + 1)/2)),   about √(2/(π c));   1 for c = 1, and ½ for c = 3
    """
    return math.exp(math.lgamma(channels / 2) - math.lgamma((channels + 1) / 2)) / math.sqrt(math.pi)


def _several(names):
    return [names] if isinstance(names, str) else list(names)


def _starts(run, start):
    return [run.output_ref] if start is None else [run.network.reference(s) for s in _several(start)]


def _places(network, starts):
    """What the weighted layers below the starts read, the nearest to the output first."""
    below = network.ancestors(starts)
    places: list[Any] = []
    for node in reversed(network.nodes.values()):
        if node.name in below and weighted(node.layer) and node.inputs[0] not in places:
            places.append(node.inputs[0])
    if not places:
        raise ValueError(f"no layer with weights lies below {', '.join(map(show, starts))}; name references in at=")
    return places


def _samples(inputs, chosen):
    part = {name: array[chosen] for name, array in inputs.items()}
    return part if len(part) > 1 else next(iter(part.values()))


def _draw(value, vectors, position, seed, index, inject):
    v = np.stack([normal(generator(seed, position, index, k), value) for k in range(vectors)])
    return np.where(value == 0, zeros_like(v), v) if inject == "active" else v


def _axis(run, ref, channel_axis):
    """The axis of the channels."""
    if channel_axis is not None:
        return channel_axis
    last = ("recurrent", "embedding")
    made = run.network.nodes.get(ref[0])
    read = any(node.layer.kind in last for node in run.network.consumers(ref))
    return -1 if read or (made is not None and made.layer.kind in last) else 1


def _vectors(run, r, ref, per_location, channel_axis):
    """(n, places, channels)"""
    r = on_host(r)
    if r.ndim == 2 or not per_location:
        return np.reshape(r, (r.shape[0], 1, -1))
    r = np.moveaxis(r, _axis(run, ref, channel_axis), -1)
    return np.reshape(r, (r.shape[0], -1, r.shape[-1]))


def _aligned(run, signals, ref, per_location, channel_axis):
    """(median |cos|, median 1 - |cos|, fraction dropped) of the vectors of a sample."""
    if signals is None:
        return np.nan, np.nan, 1.0
    cosine, distance = alignment(_vectors(run, signals, ref, per_location, channel_axis))
    there = cosine == cosine
    return _median(cosine[there]), _median(distance[there]), np.mean(~np.asarray(there, dtype=bool))


def _median(v):
    return quantile(v, number_like(v, 1) / 2) if len(v) else np.nan
