"""One call for every method, model and kind of array."""

import inspect
from collections.abc import Mapping
from copy import deepcopy
from functools import cache, partial
from time import perf_counter
from typing import Any

import numpy as np

import pyref
from pyref.check import nearest
from relprop.arrays import check_on_host, enter, enter_options
from relprop.attribution import Attribution
from relprop.backends import BACKENDS, resolve
from relprop.later import filled
from relprop.memory import value_bytes, within
from relprop.place import placed
from relprop.progress import bar, counted
from relprop.recorded import MOST, kept, key_of, names_classes, record

__all__ = ["attributed", "by_name", "checked", "explain", "method_options"]

_signature = cache(inspect.signature)  # of a dozen functions


def explain(
    network, x, method="lrp", target=None, backend="auto", *, preset=None, progress=True, memory=None, **options
):
    """Which inputs, neurons and biases an output of the network is due to.

    Parameters
        network   `relprop.load("model.safetensors")`, `relprop.zoo("digits-cnn-relu")` or a `pyref.Network`
        x         a batch: NumPy, torch, JAX, CuPy or anything that speaks DLPack or `__cuda_array_interface__`,
                  float32 or float64; {input name: array} for several inputs, all of them in host memory or all on
                  one device
        method    a name of `pyref.METHODS`, the table that `relprop methods` prints
        target    None for the arg-max class of each sample, a class, one class per sample, a tuple for a
                  structured output, or a callable: `pyref.target_weights`
        backend   "auto": "cuda" where x lies in device memory, else "cpu" ("pyref" for Fractions); or one of these
                  names. On "cuda" arrays of the host are copied to the device once, and results back; a network's
                  parameters are copied at its first call and stay there as long as the network does; nothing waits
                  before the end, but for methods that look at numbers on their way: exact and adaptive integrals,
                  full gradients, Excitation Backprop (whether inputs are negative), boxes of z^B that are arrays
        preset    name of a library or paper whose settings are taken where `options` says nothing:
                  `pyref.PRESETS`
        memory    a cap, "1GB" or a number of bytes, on what is held beyond model and input while it is explained;
                  it bounds how many copies are evaluated together. What is made when it is first read comes on top
        progress  show a line where the work takes longer than two seconds, on a terminal
        options   those of the method, and those that all methods share (`pyref.start`): `at`, `output`,
                  `softmax`, `allow_nonfinite`; options of a rule that is given by name may stand beside it.
                  `inner=True` keeps what inner nodes and biases receive, and the ledger. Without it, where values take
                  more than 8 MB of host memory, they are computed when one of them is first read, by the network as
                  it is then: a third of the memory while nobody asks, and the method once more for who does
    Returns
        `relprop.Attribution`, whose values are of the kind, dtype and device of x
    Raises
        TypeError     x is no array or has a dtype that is refused; an option that the method does not have
        ValueError    shapes, an unknown name, a target out of range, NaN or infinity in x, an empty batch; a cap
                      that the batch does not fit under
        RuntimeError  a backend that is not in this build, an array on a device that it does not reach, arrays that lie
                      in different places
        MemoryError   the device has less memory than is needed: both are named
    Example
        >>> import relprop
        >>> images, labels = relprop.digits()
        >>> a = relprop.explain(relprop.zoo("digits-cnn-relu"), images[:2], rule="epsilon", epsilon=0.01)
        >>> a.values.shape
        (2, 1, 8, 8)
    """
    if not isinstance(network, pyref.Network):
        raise TypeError(
            f"network is a {type(network).__name__}, expected a pyref.Network; relprop.load and relprop.zoo make one"
        )
    if method not in pyref.METHODS:
        raise ValueError(f"there is no method {method!r}; {nearest(method, pyref.METHODS)}")
    began = perf_counter()
    target = _target(target)
    key = None
    if memory is None and names_classes(target):
        key = key_of(method, target is None, backend, preset, options)
    guests = {name: enter(name, array) for name, array in by_name(network, x).items()}
    on_device = [name for name, guest in guests.items() if guest.on_device]
    found = None
    if key is not None and not on_device and backend in ("auto", "cpu"):
        sizes = tuple((name, guest.array.shape, guest.array.dtype) for name, guest in guests.items())

        def make():
            decided = checked(method, preset, options)
            arrays = {name: guest.array for name, guest in guests.items()}
            return record(method, resolve("cpu")[1], network, arrays, target, decided)

        found = kept(network, (key, sizes), make)
    if found is not None:
        result = found(network, {name: guest.array for name, guest in guests.items()}, target)
        if result is not None:
            return attributed(result, guests, network, "cpu", preset, began, isinstance(x, Mapping))
    backend_name, module = resolve(backend)
    options = checked(method, preset, options)
    if backend == "auto" and on_device and BACKENDS["cuda"].built:
        backend_name, module = resolve("cuda")
    elif backend == "auto":
        exact = any(pyref.is_exact(guest.array) for guest in guests.values() if not guest.on_device)
        backend_name, module = resolve(backend, exact)
    if backend_name != "cuda":
        for name in on_device:
            check_on_host(name, guests[name].array)
    inner = options["inner"] = options.get("inner", _keeps(network, guests, backend_name, options, memory))
    if memory is not None:
        options |= within(memory, method, network, {name: guest.shaped for name, guest in guests.items()}, options)
    label = f"{method} on {network.name}"
    if _has_loop(method):
        options["progress"] = partial(bar, label=label, shown=progress)
        progress = False
    with placed(backend_name, module, guests) as place:
        arrays = place.arrays(guests)
        given = arrays if isinstance(x, Mapping) else next(iter(arrays.values()))
        options, target = place.options(options), place.target(target)
        with counted(place.backend, label, shown=progress) as heard:
            result = pyref.METHODS[method](place.network(network), given, target, backend=heard, **options)
        result = place.finished(result)
    if not inner:
        result = filled(result, lambda: _again(network, given, method, target, module, options))
    shown = arrays if on_device else {name: guest.array for name, guest in guests.items()}
    return Attribution(
        result,
        x=shown if isinstance(x, Mapping) else next(iter(shown.values())),
        back={name: place.back(guest) for name, guest in guests.items()},
        read=place.read,
        network=network.name,
        backend=backend_name,
        preset=preset,
        seconds=perf_counter() - began,
    )


def _keeps(network, guests, backend, options, memory):
    """Whether inner values are kept unasked: where they take little, without a cap, and in device memory."""
    if backend == "cuda" or options.get("record") is not None:
        return True
    if memory is not None:
        return False
    shaped = {name: guest.shaped for name, guest in guests.items()}
    n = max((array.shape[0] for array in shaped.values() if array.shape), default=0)
    try:
        return n * sum(value_bytes(network, shaped)) <= MOST
    except (TypeError, ValueError):  # what the method will say of it says more
        return True


def _again(network, given, method, target, module, options):
    """A function that explains once more, and keeps everything. The caller may change his arrays meanwhile."""
    held = {name: value for name, value in options.items() if name in ("patterns", "progress")}
    given, target, options = deepcopy((given, target, {k: v for k, v in options.items() if k not in held}))
    options |= held | {"inner": True}
    return lambda: pyref.METHODS[method](network, given, target, backend=module, **options)


def attributed(result, guests, network, backend, preset, began, by_name):
    """What a caller gets of a result in host memory."""
    arrays = {name: guest.array for name, guest in guests.items()}
    made = object.__new__(Attribution)  # a dataclass's own way takes longer than a small kernel
    vars(made).update(
        result=result,
        x=arrays if by_name else next(iter(arrays.values())),
        back={name: guest.back for name, guest in guests.items()},
        read=None,
        network=network.name,
        backend=backend,
        preset=preset,
        seconds=perf_counter() - began,
    )
    return made


def method_options(method):
    """{option: default} of a method, with those that every method hands on to `pyref.start`."""
    return dict(_known(method))


@cache
def _known(method):
    parameters = _signature(pyref.METHODS[method]).parameters.values()
    own = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        own |= {
            p.name: p.default
            for p in _signature(pyref.start).parameters.values()
            if p.kind is p.KEYWORD_ONLY and p.name not in own
        }
    return {name: default for name, default in own.items() if name not in ("backend", "hold", "progress")}


@cache
def _needed(method):
    """The options without a default."""
    return [name for name, default in _known(method).items() if default is inspect.Parameter.empty]


@cache
def _has_loop(method):
    """Whether a method has a loop that shows how far it is."""
    return "progress" in _signature(pyref.METHODS[method]).parameters


def _with_preset(preset, method, options):
    """The preset's options under those that were given; a rule that was given comes with its own options."""
    if preset is None:
        return options
    chosen = pyref.preset_options(preset, method)
    if "rule" in options:
        chosen.pop("rule_options", None)
    return chosen | options


def checked(method, preset, options):
    """The options with the preset's and with foreign arrays let in, a named rule's own options in `rule_options`."""
    options = _with_preset(preset, method, options)
    known = _known(method)
    rule = options.get("rule", known.get("rule"))
    of_rule = _rule_options(rule) if "rule_options" in known and isinstance(rule, str) else ()
    kept: dict[str, Any] = {}
    for_rule: dict[str, Any] = {}
    for name, value in options.items():
        if name not in known and name not in of_rule:
            raise TypeError(f"{method} has no option {name!r}; {nearest(name, [*known, *of_rule])}")
        (kept if name in known else for_rule)[name] = enter_options(name, value)
    for name in _needed(method):
        if name not in kept:
            how = " (pyref.fit_patterns makes them; on the command line --fit DATA)" if name == "patterns" else ""
            raise TypeError(f"{method} needs the option {name!r}{how}: see help(pyref.{method})")
    if for_rule:
        kept["rule_options"] = {**(kept.get("rule_options") or {}), **for_rule}
    return kept


@cache
def _rule_options(rule):
    """Options of a rule or composite that is given by its name."""
    maker = {**pyref.RULES, **pyref.COMPOSITES}.get(rule)
    return tuple(_signature(maker).parameters) if maker else ()


def by_name(network, x):
    """{input name: array} of what a caller passes for x."""
    if isinstance(x, Mapping):
        return x
    if len(network.inputs) != 1:
        raise ValueError(f"{network.name} has inputs {', '.join(network.inputs)}; pass a dict by name")
    return {next(iter(network.inputs)): x}


def _target(target):
    """Class indices of another library as NumPy's."""
    return target if isinstance(target, np.ndarray) else enter_options("target", target)
