"""Randomised parameters: whether an explanation notices that the network has forgotten what it learned."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace

import numpy as np

from pyref.check import check_choice
from pyref.methods.method import start
from pyref.methods.noise import check_indices, generator, normal
from pyref.metrics.explainer import explainers
from pyref.metrics.measurement import Curves, series
from pyref.metrics.similarity import similarity
from pyref.network import Network, weighted
from pyref.numerics import is_exact, number_like

__all__ = ["parameter_randomization", "randomized_networks"]

_STREAM = 2**35


def parameter_randomization(
    network,
    x,
    methods,
    *,
    target=None,
    mode="cascading",
    nodes=None,
    draw="normal",
    measures=("ssim", "rank"),
    channels="sum",
    flip=True,
    window=5,
    level=0.99,
    seed=0,
    indices=None,
    batch=32,
    progress=None,
    **options,
):
    """How alike the attributions of a network and of the same network with random parameters are.

        similarity( R of the network ,  R of the network with the parameters of layers 1 … k drawn anew )
        cascading: all from the output down to layer k      independent: layer k alone

    Source
        [adebayo2018b] sec. 3; [sixt2020] sec. 3, fig. 2 (b).
    Parameters
        methods   as `pyref.explainers` takes them
        target    settled on the network as it was, and held
        mode      "cascading" or "independent"
        nodes     names, or tuples of names that go together, in the order of randomisation; by default every layer
                  with weights, the nearest to the output first
        draw      "normal": each array anew from N(μ, σ²) of its own entries; "permute": its entries in a random order;
                  or a callable (array, generator) → array
        measures  of `pyref.similarity`; channels, flip and window are for it, channels also as {label: …}
        level     of the bootstrap intervals
        seed      of the parameters: they are the same for all samples and methods, and in both modes
        indices   the samples' places in the data set, for methods that draw noise
        batch     samples that are explained together
        progress  wraps the loop over batches and randomised networks, as tqdm does
        options   those of `pyref.start`
    Returns
        `Curves` along the layers, series "label ssim", "label rank"; notes["0/0"] marks correlations of constant maps
    Laws
        1 at every layer for a method that reads no parameter, and where `draw` gives back what it got. In both modes
        the first layer gives the same.
    Raises
        TypeError   a network that is a plain function.
        ValueError  an unknown node, or one without parameters; an unknown mode or draw.
    """
    if not isinstance(network, Network):
        raise TypeError(
            f"the model is a {type(network).__name__}, expected a pyref.Network with parameters to randomise"
        )
    explain = explainers(methods)
    steps = randomized_networks(network, mode=mode, nodes=nodes, draw=draw, seed=seed)
    inputs = network.input_arrays(x)
    indices = check_indices(len(next(iter(inputs.values()))), indices)
    found: dict[str, list] = {}
    undefined: dict[str, list] = {}
    plan = [(first, k) for first in range(0, len(indices), batch) for k in range(len(steps))]
    for first, k in (progress or (lambda steps: steps))(plan):
        which = slice(first, first + batch)
        part = sliced(inputs, which)
        if k == 0:
            asked = target if target is None or callable(target) or np.ndim(target) == 0 else target[which]
            v = start(network, part, asked if not isinstance(target, tuple) else target, **options).v
            told = {"indices": indices[which], **options}
            before = {label: method(network, part, lambda S, v=v: v, **told) for label, method in explain.items()}
        for label, method in explain.items():
            after = method(steps[k][1], part, lambda S, v=v: v, **told)
            for measure in measures:
                how = {"channels": per_method(channels, label), "flip": flip, "window": window}
                value, degenerate = similarity(before[label], after, measure, **how)
                name = series(label, measure)
                found.setdefault(name, [[] for _ in steps])[k].append(value)
                undefined.setdefault(name, [[] for _ in steps])[k].append(degenerate)
    return Curves(
        "parameter_randomization",
        {name: np.stack([np.concatenate(parts) for parts in by_step], axis=1) for name, by_step in found.items()},
        unit="similarity",
        notes={
            "0/0": {name: np.stack([np.concatenate(p) for p in by_step], axis=1) for name, by_step in undefined.items()}
        },
        settings={"mode": mode, "measures": tuple(measures), "flip": flip, "window": window, "seed": seed},
        level=level,
        at=[name for name, _ in steps],
        axis="randomised",
    )


def randomized_networks(network, *, mode="cascading", nodes=None, draw="normal", seed=0):
    """[(what was randomised last, the network)] in the order of randomisation; see `parameter_randomization`."""
    check_choice("mode", mode, ("cascading", "independent"))
    if not callable(draw):
        check_choice("draw", draw, ("normal", "permute"))
    if nodes is None:
        nodes = [node.name for node in reversed(network.nodes.values()) if weighted(node.layer)]
    groups = [(group,) if isinstance(group, str) else tuple(group) for group in nodes]
    if not groups:
        raise ValueError("there are no layers with weights to randomise")
    steps, changed = [], {}
    places = {name: k for k, name in enumerate(network.nodes)}
    for group in groups:
        for name in group:
            network.reference(name)
            if name not in network.nodes:
                raise ValueError(f"{name!r} is an input, which has no parameters")
        drawn = {name: _randomized(network.nodes[name], draw, seed, places[name]) for name in group}
        changed = {**changed, **drawn} if mode == "cascading" else drawn
        steps.append((" ".join(group), network.with_layers(changed)))
    return steps


def _randomized(node, draw, seed, place):
    """The layer of a node with every float array among its fields drawn anew."""
    new = {}
    for position, f in enumerate(fields(node.layer) if is_dataclass(node.layer) else ()):
        value = getattr(node.layer, f.name)
        parts = value if isinstance(value, tuple) else (value,)
        if any(_is_parameter(part) for part in parts):
            drawn = tuple(
                _drawn(part, draw, generator(seed, _STREAM + place, position, k)) if _is_parameter(part) else part
                for k, part in enumerate(parts)
            )
            new[f.name] = drawn if isinstance(value, tuple) else drawn[0]
    if not new:
        raise ValueError(f"node {node.name!r} ({type(node.layer).__name__}) has no parameters to randomise")
    return replace(node.layer, **new)


def _is_parameter(value):
    return hasattr(value, "dtype") and getattr(value, "ndim", 0) > 0 and value.dtype.kind in "fO"


def _drawn(array, draw, random):
    if callable(draw):
        return draw(array, random)
    if draw == "permute":
        order = random.permutation(int(np.prod(array.shape))).tolist()
        return np.reshape(np.take(np.reshape(array, (-1,)), order), array.shape)
    count = max(1, int(np.prod(array.shape)))
    mean = np.sum(array) / count
    variance = np.sum((array - mean) * (array - mean)) / count
    spread = number_like(array, float(variance) ** 0.5) if is_exact(array) else np.sqrt(variance)
    return mean + spread * normal(random, array)


def sliced(inputs, which):
    """Some samples of the inputs, as methods take them."""
    part = {name: array[which] for name, array in inputs.items()}
    return part if len(part) > 1 else next(iter(part.values()))


def per_method(choice, label):
    """A setting for all methods, or one of {label: setting}."""
    return choice[label] if isinstance(choice, Mapping) else choice
