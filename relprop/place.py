"""Where a call of explain computes: arrays go there when it begins, and its results come back when it ends."""

from collections.abc import Callable, Mapping
from contextlib import contextmanager
from copy import copy
from dataclasses import replace
from functools import partial
from inspect import signature
from types import SimpleNamespace
from typing import Any

import numpy as np

import pyref
from pyref.check import check_finite
from relprop.arrays import check_on_host, is_foreign
from relprop.cuda import KERNELS, library_of, stream_of

__all__ = ["Bounds", "Device", "placed"]

# Relevance functions that take a rule for x; recurrent layers have bounds for their states besides.
BOXED = tuple(
    name
    for name in KERNELS
    if name.endswith("_relevance") and {"rule", "w_h"} & signature(getattr(pyref, name)).parameters.keys() == {"rule"}
)

# Options of methods that may hold arrays of the kind of x, or functions of such.
HOLDERS = ("baseline", "fill", "inject", "path", "patterns")


@contextmanager
def placed(name, module, guests):
    """The place where a backend computes, for one call whose inputs are `guests`."""
    if name != "cuda":
        yield Host(module)
        return
    device = Device(module, guests)
    try:
        yield device
    except BaseException as error:
        device.leave(error)
        raise
    device.leave()


class Host:
    """In host memory everything is where it should be."""

    def __init__(self, backend):
        self.backend = backend

    def network(self, network):
        return network

    def arrays(self, guests):
        return {name: guest.array for name, guest in guests.items()}

    def target(self, target):
        check_on_host("target", target)
        return target

    def options(self, options):
        for name in HOLDERS:
            check_on_host(name, options.get(name))
        return options

    def back(self, guest):
        return guest.back

    def finished(self, result):
        return result

    read = None


class Bounds:
    """The bounds of boxes in device memory: each is copied there once."""

    def __init__(self, compiled):
        self._compiled, self._known = compiled, {}

    def there(self, bound, shape, dtype):
        """A number as it is, or a bound of a sample of that shape as an array of ours."""
        if isinstance(bound, int | float | self._compiled.Array):
            return bound
        key = id(bound), shape, dtype
        if key not in self._known:  # the bound is held, so that its id stays its own
            spread = np.ascontiguousarray(np.broadcast_to(bound, shape), dtype)
            self._known[key] = bound, self._compiled.lasting([spread])[0]
        return self._known[key][1]


class Device:
    """In device memory: NumPy's arrays are copied there and their results back, once; other libraries' arrays are read
    where they lie, on the stream that their library computes on, and so are the results by them.

    Nothing waits before the end. That is why what is not finite, or outside of a box, is judged there: the backend that
    a method gets only begins to look.
    """

    def __init__(self, module, guests, bounds=None):
        self._module, self._compiled = module, module.compiled
        self.bounds = bounds or Bounds(module.compiled)
        self._first, guest = next(iter(guests.items()))
        self._from_host = not guest.on_device
        self.looked_at: list[tuple[Any, Callable[[], Any]]] = []  # (whether all is well, what raises where it is not)
        boxed = {name: self._boxed(getattr(module, name)) for name in BOXED}
        looking = {"check_finite": self._check_finite, "embedding_forward": self._embedding_forward}
        self.backend = SimpleNamespace(**vars(module) | boxed | looking)
        self.device = self._compiled.current_device()
        if self._from_host:
            return
        stream, self._hand_back = None, lambda array: array
        if not isinstance(guest.array, self._compiled.Array):
            library = library_of(guest.array)
            stream, self._hand_back = stream_of(library), library.from_dlpack
        # Where nobody says which stream results are read on, nobody knows when ours is done.
        self._must_wait = stream is None and not isinstance(guest.array, self._compiled.Array)
        if hasattr(guest.array, "__dlpack_device__"):
            self.device = int(guest.array.__dlpack_device__()[1])
        self._before = self._compiled.use_device(self.device), self._compiled.use_stream(stream)

    def leave(self, error=None):
        """Back to the stream and the device before, whatever happened.

        Raises
            ValueError  what was looked at is not well: a better reason than any that came of it.
        """
        try:
            if isinstance(error, ValueError):
                self._judge()
            if not self._from_host:
                self._compiled.own_stream_follows()
                if self._must_wait:
                    self._module.synchronize()
        except RuntimeError:
            if error is None:  # else that one says more
                raise
        finally:
            if not self._from_host:
                device, stream = self._before
                self._compiled.use_stream(stream)
                self._compiled.use_device(device)

    # ---- in ----

    def network(self, network):
        return self._module.prepare(network)

    def arrays(self, guests):
        return {name: self._enter(name, guest.array) for name, guest in guests.items()}

    def options(self, options):
        return {name: self._enter_all(name, value) if name in HOLDERS else value for name, value in options.items()}

    def target(self, target):
        if is_foreign(target):  # classes: they are looked at
            return self._compiled.to_host(self._enter("target", target))
        return self._enter_function("target", target) if callable(target) else target

    def _enter(self, name, array):
        is_host = isinstance(array, np.ndarray)
        if is_host != self._from_host:
            places = ("in host memory", "in device memory")
            here, there = places if is_host else places[::-1]
            raise RuntimeError(f"{name} is {here} and {self._first} is {there}; move one to the other")
        if is_host and array.dtype == object:
            raise TypeError(f"{name} has dtype object, and only the backend 'pyref' computes with Python's objects")
        entered = self._compiled.entered(array)
        if not is_host and entered.size and entered.device != self.device:
            raise RuntimeError(
                f"{name} is on device {entered.device} and {self._first} is on device {self.device}; "
                "move one to the other"
            )
        return entered

    def _enter_all(self, name, value):
        """The arrays inside a value."""
        if isinstance(value, np.ndarray) or is_foreign(value):
            return value if isinstance(value, self._compiled.Array) else self._enter(name, value)
        if isinstance(value, list | tuple):
            return type(value)(self._enter_all(name, v) for v in value)
        if isinstance(value, Mapping):
            return {k: self._enter_all(name, v) for k, v in value.items()}
        if isinstance(value, pyref.Patterns):
            return replace(value, by_node=self._enter_all(name, value.by_node))
        return self._enter_function(name, value) if callable(value) else value

    def _enter_function(self, name, value):
        """A function of the caller's arrays as one of ours."""
        return lambda *given: self._enter_all(name, value(*map(self._hand_out, given)))

    def _hand_out(self, value):
        if not isinstance(value, self._compiled.Array):
            return value
        return self.read(value) if self._from_host else self._hand_back(value)

    # ---- out ----

    def read(self, value):
        """An array in NumPy."""
        return self._module.to_host(value) if isinstance(value, self._compiled.Array) else value

    def back(self, guest):
        """From our arrays to the caller's."""
        if self._from_host:
            return lambda value: guest.back(self.read(value))
        return lambda value: self._hand_back(guest.back(self._module.to_device(value)))

    def _check_finite(self, name, array):
        if array.dtype.kind == "f":
            is_finite = self._compiled.reduce("finite", array, [True] * array.ndim, np.dtype(bool))
            self.looked_at.append((is_finite, lambda: check_finite(name, self.read(array))))

    def _embedding_forward(self, ids, table):
        """Rows of a table, and whether there are such rows is judged later."""
        if table.ndim == 0:
            return self._module.embedding_forward(ids, table)
        y, outside = self._compiled.embedding_looked_up(ids, table)
        self.looked_at.append((outside == 0, lambda: pyref.embedding_forward(self.read(ids), self.read(table))))
        return y

    def _boxed(self, relevance):
        """A relevance function that does not wait to see whether its input lies in the box of z^B."""

        def unless_outside(x, *args, **options):
            at = next((i for i, a in enumerate(args) if isinstance(a, pyref.ZBox)), None)
            if at is None:
                return relevance(x, *args, **options)
            rule = args[at]
            given = x if isinstance(x, tuple | list) else (x,)
            dtype = np.result_type(*(a.dtype for a in (*given, *args) if isinstance(a, self._compiled.Array)))
            shape = np.broadcast_shapes(*(v.shape[1:] for v in given))
            low, high = (self.bounds.there(bound, shape, dtype) for bound in (rule.low, rule.high))
            if rule.out_of_range == "raise":
                for v in given:
                    self.looked_at.append((~((v < low) | (v > high)).any(), partial(self._complain, rule, v)))
            boxed = copy(rule)  # dataclasses.replace would compare the bounds, and wait
            vars(boxed).update(low=low, high=high, out_of_range="clip")
            return relevance(x, *args[:at], boxed, *args[at + 1 :], **options)

        return unless_outside

    def _complain(self, rule, x):
        rule.input_part(0, self.read(x))

    def finished(self, result):
        """The result. NumPy's callers have in host memory what is per input or per sample, after one wait.

        Raises
            ValueError  what was looked at is not finite, or outside of a box.
        """
        kept = {"settings": result.settings}
        if self._from_host:
            kept |= {"values": result.values, "output": result.output, "expected": lambda: self.read(result.expected)}
        arrays = list(self._ours(kept))
        home = dict(zip(map(id, arrays), self._judge(arrays), strict=True))
        finished = object.__new__(type(result))  # dataclasses.replace would read what is made when it is first read
        vars(finished).update(vars(result) | self._swapped(kept, home))
        return finished

    def _judge(self, arrays=()):
        """The arrays in host memory, unless what was looked at is not well."""
        looked_at, self.looked_at = self.looked_at, []
        answers = self._compiled.to_host_together([*(is_well for is_well, _ in looked_at), *arrays])
        for (_, complain), is_well in zip(looked_at, answers, strict=False):
            if not is_well.all():
                complain()
        return answers[len(looked_at) :]

    def _ours(self, value):
        if isinstance(value, self._compiled.Array):
            yield value
        elif isinstance(value, list | tuple | dict):
            for v in value.values() if isinstance(value, dict) else value:
                yield from self._ours(v)

    def _swapped(self, value, home):
        if type(value) in (list, tuple):
            return type(value)(self._swapped(v, home) for v in value)
        if type(value) is dict:
            return {k: self._swapped(v, home) for k, v in value.items()}
        return home.get(id(value), value)
