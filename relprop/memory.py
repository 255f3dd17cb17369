"""How much memory an explanation takes beyond its input and model, and how many copies fit below a cap.

It is counted before anything is computed: from the sizes of all values of one sample, which an empty batch tells,
and from how many of them a method holds at a time.
"""

import math
import re
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from pyref.methods.interior_gradients import ALPHAS
from relprop import _core

__all__ = ["Need", "fitting", "in_bytes", "needed", "value_bytes", "within"]

UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
ROOM = 16 * 10**6  # of the libraries themselves: buffers of threads, code that is loaded when it is first called
_TASK = 500  # of a part of a sample that occlusion will cover, before it is

# How often a method holds all values of a sample in its dtype. Most hold the record, the signals, what biases take of
# them, and a reference or what is made of the signals; those that sum in float64 hold two of each sum while they add.
_USUAL = 4
# Without inner values, of all that takes memory of its own: the record, and DeepLIFT's second.
_LEAN = dict.fromkeys(("gradient", "saliency", "gradient_times_input", "guided_backprop", "deconvnet", "lrp"), 1)
_LEAN |= dict.fromkeys(("excitation_backprop", "contrastive_excitation_backprop", "deep_taylor"), 1)
_LEAN |= {"pattern_net": 1, "pattern_attribution": 1, "deeplift": 2, "smoothgrad": 2}
_HELD = {"smoothgrad": 14, "fullgrad": 6, "full_gradient": 6}
_COPIED = {"integrated_gradients": 3, "occlusion": 3}  # and for each copy of a sample


@dataclass(frozen=True)
class Need:
    """Bytes: whatever the batch, for each of its samples, and for each copy that is evaluated beside it."""

    fixed: int
    sample: int
    copy: int


def in_bytes(memory):
    """Bytes of a number, or of words such as "500MB" and "1.5 GiB".

    Raises
        ValueError  anything else.
    """
    if isinstance(memory, int | float) and memory > 0:
        return int(memory)
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMG]i?B)\s*", memory) if isinstance(memory, str) else None
    if found is None:
        raise ValueError(f"memory is {memory!r}, expected a number of bytes or words such as '500MB' and '2GB'")
    return int(float(found[1]) * UNITS[found[2]])


def needed(method, network, inputs, options=None) -> Need:
    """What a method needs for samples like those of inputs {name: array}."""
    options = options or {}
    sizes = value_bytes(network, inputs)
    values, largest = sum(sizes), max(sizes)
    entering = sum(math.prod(array.shape[1:]) for array in inputs.values())
    wide = 8 * entering  # a float64 of each number that enters
    held = _LEAN.get(method) if options.get("inner") is False else None
    held = held or _HELD.get(method, _USUAL)
    if method == "interior_gradients":
        held += len(options.get("alphas", ALPHAS))
    sample = held * values + 4 * largest + 4 * wide
    if method == "occlusion":
        sample += _TASK * entering
    if method == "integrated_gradients" and options.get("quadrature") == "adaptive":
        sample += wide * (options.get("m") or 1000)
    copy = _COPIED[method] * values + 3 * largest + 2 * wide if method in _COPIED else 0
    weights = max((sum(a.nbytes for a in _arrays(node.layer)) for node in network.nodes.values()), default=0)
    return Need(ROOM + weights, sample, copy)


def value_bytes(network, inputs):
    """Bytes of each value of one sample like those of inputs {name: array}."""

    def sizes():
        record = network.forward({name: array[:0] for name, array in inputs.items()})
        return [math.prod(record[ref].shape[1:]) * record[ref].dtype.itemsize for ref in record]

    about = [(name, tuple(array.shape[1:]), array.dtype) for name, array in inputs.items()]
    return network.remember("value_bytes", about, sizes)


def within(memory, method, network, inputs, options):
    """The options that keep a method below a cap: the number of copies that it evaluates together, where it has one.

    Raises
        ValueError  the batch does not fit, whatever the options; the message says how much it needs, and how many
                    samples would fit.
    """
    cap, need = in_bytes(memory), needed(method, network, inputs, options)
    _core.release_memory()  # what earlier calls left counts too
    n = len(next(iter(inputs.values())))
    every = n if method == "integrated_gradients" else min(1, need.copy)  # it takes a copy of each sample at least
    left = cap - need.fixed - n * need.sample
    if left < every * need.copy:
        one = need.sample + (need.copy if every == n else 0)
        fit = max(0, (cap - need.fixed - (0 if every == n else need.copy)) // one)
        least = need.fixed + n * need.sample + every * need.copy
        advice = f"{fit} at once would fit" if fit else "not even one fits"
        raise ValueError(
            f"memory is {_shown(cap)}, but {method} of {n} sample{'s' if n > 1 else ''} of {network.name} needs "
            f"{_shown(least)}; {advice}"
        )
    if not need.copy:
        return {}
    return {"batch_size": min(left // need.copy, options.get("batch_size") or left)}


def fitting(memory, network, x):
    """How many copies of samples of x a metric may evaluate together under a cap: its option `batch`.

    Raises
        ValueError  as `relprop.explain(..., memory=)`.
    Example
        >>> import relprop
        >>> images, labels = relprop.digits()
        >>> relprop.fitting("100MB", relprop.zoo("digits-cnn-relu"), images[:8]) > 64
        True
    """
    return within(memory, "occlusion", network, network.input_arrays(x), {})["batch_size"]


def _shown(count):
    return f"{count / 1e9:.3g} GB" if count >= 1e9 else f"{count / 1e6:.3g} MB"


def _arrays(layer):
    for f in fields(layer) if is_dataclass(layer) else ():
        value: Any = getattr(layer, f.name)
        yield from (v for v in (value if isinstance(value, tuple) else (value,)) if hasattr(v, "nbytes"))
