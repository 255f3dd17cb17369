"""Plans on a GPU: what explain puts on the device, recorded once as a CUDA graph and launched as a whole."""

from collections.abc import Mapping
from contextlib import contextmanager
from threading import RLock
from time import perf_counter

import numpy as np

import pyref
from relprop.arrays import Guest, enter
from relprop.attribution import Attribution
from relprop.backends import resolve
from relprop.explain import by_name, checked
from relprop.later import Later
from relprop.place import Bounds, Device, placed
from relprop.plan import Plan
from relprop.recorded import names_classes
from relprop.tape import unaccounted

__all__ = ["GraphPlan"]


class GraphPlan(Plan):
    """A plan whose call fills fixed places of device memory, launches what was recorded, and reads what it left.

    All that the recorded kernels read is kept: the network's parameters and the options in device memory. What they
    write lies in memory of the graph. Calls from several threads take turns.
    """

    @property
    def recorded(self):
        return True

    def __init__(self, network, x, method, target, backend, preset, options):
        self._begin(network, method, target, backend, preset, options)
        first = super()._explain(x, self._target)
        if first.backend != "cuda":
            raise ValueError(f"graph=True needs the backend 'cuda', and this is {first.backend!r}")
        self.why, self._lock, self._backend = "", RLock(), "cuda"
        self._about = {"method": method, "quadrature": first.quadrature}
        self._settings = first.settings
        self._module = resolve("cuda")[1]
        self._compiled = self._module.compiled
        self._bounds = Bounds(self._compiled)
        guests = self._guests(x)
        self._sizes = {name: (guest.shaped.shape, guest.shaped.dtype) for name, guest in guests.items()}
        with placed("cuda", self._module, guests) as place:
            self.device = place.device
            zeros = [np.zeros(shape, dtype) for shape, dtype in self._sizes.values()]
            self._inputs = dict(zip(self._sizes, self._compiled.lasting(zeros), strict=True))
            for name, array in place.arrays(guests).items():
                self._compiled.fill(self._inputs[name], array)
            named = target is not None and names_classes(self._target)
            self._weights = _Weights(self._compiled, self._target) if named else None
            self._made_of = (
                place.network(network),
                self._weights or place.target(self._target),
                place.options(checked(method, preset, options)),
            )
            self._module.synchronize()
        with self._on_the_device():
            self._record()

    def _record(self):
        self._run()  # what is made once is made now, and not by the graph
        self._graph = self._compiled.Graph()
        self._graph.begin()
        try:
            result, looked_at = self._run()
            self._graph.end()
        except RuntimeError as error:
            raise RuntimeError(
                f"{self._method} of {self._network.name} cannot be recorded as a CUDA graph: {error}"
            ) from None
        finally:
            self._graph.abandon()
        settled = self._compiled.settled  # they are there whenever the graph has run
        self._values, self._output = _each(settled, result.values), settled(result.output)
        self._looked_at = [(settled(is_well), complain) for is_well, complain in looked_at]

    def _run(self):
        """The method on the fixed inputs, and what it looked at."""
        network, target, options = self._made_of
        guests = {name: Guest(a, lambda given: given, "relprop", on_device=True) for name, a in self._inputs.items()}
        device = Device(self._module, guests, self._bounds)
        vars(device.backend).update(
            {name: _unaccounted(f) for name, f in vars(device.backend).items() if name.endswith("_relevance")}
        )
        try:
            given = self._inputs if len(self._inputs) > 1 else next(iter(self._inputs.values()))
            result = pyref.METHODS[self._method](network, given, target, backend=device.backend, **options)
        finally:
            device.leave()
        return result, device.looked_at

    @contextmanager
    def _on_the_device(self):
        before = self._compiled.use_device(self.device)
        try:
            yield
        finally:
            self._compiled.use_device(before)

    def _guests(self, x):
        return {name: enter(name, array) for name, array in by_name(self._network, x).items()}

    def __call__(self, x, target=None):
        """The `relprop.Attribution` of a batch, as `Plan.__call__`.

        Raises
            RuntimeError  x on another device than what the plan was compiled with
        """
        began = perf_counter()
        guests = self._guests(x)
        shaped = {name: guest.shaped for name, guest in guests.items()}
        self._check(shaped)
        self._network.input_arrays(shaped)  # raises where one is missing, or unknown
        chosen = self._chosen(target)
        if target is not None and not (self._weights and names_classes(chosen)):
            raise ValueError("target is given, but a graph takes classes in place of classes, and no functions")
        is_on_device = next(iter(guests.values())).on_device
        with self._lock, placed("cuda", self._module, guests) as place:
            if place.device != self.device:
                raise RuntimeError(
                    f"{next(iter(guests))} is on device {place.device}, but the plan was compiled for {self.device}"
                )
            self._graph.follow()
            if self._weights is not None:
                self._weights.put(None if target is None else chosen)
            for name, there in self._inputs.items():
                self._compiled.fill(there, guests[name].array)
            self._graph.launch()
            values, output, arrays = self._values, self._output, {name: g.array for name, g in guests.items()}
            if is_on_device:  # else the copies are made in host memory
                values, output, arrays = _each(_copy, values), _copy(output), _each(_copy, self._inputs)
            kept = arrays if is_on_device else _each(_copy, arrays)
            whole = Later(lambda: self._explain(kept, chosen).result)  # a graph writes over it at its next launch
            result = object.__new__(pyref.Attribution)
            vars(result).update(
                self._about, values=values, output=output, settings=dict(self._settings), **whole.parts()
            )
            place.looked_at = list(self._looked_at)
            result = place.finished(result)
            self._graph.done()
            return Attribution(
                result,
                x=arrays if isinstance(x, Mapping) else next(iter(arrays.values())),
                back={name: place.back(guest) for name, guest in guests.items()},
                read=place.read,
                network=self._network.name,
                backend="cuda",
                preset=self._preset,
                seconds=perf_counter() - began,
            )

    def _explain(self, arrays, target):
        with self._on_the_device():
            return super()._explain(arrays, target)


class _Weights:
    """Classes that are explained, as a target in a fixed place of device memory."""

    def __init__(self, compiled, target):
        self._compiled, self._target, self._is_own = compiled, target, True

    def __call__(self, S):
        if not hasattr(self, "there"):
            self._like = np.zeros(S.shape, S.dtype)
            (self.there,) = self._compiled.lasting([self._of(self._target)])
        return self.there

    def _of(self, target):
        return pyref.target_weights(target, self._like)

    def put(self, target):
        """Puts a call's target there, or the plan's where the call has none."""
        if target is not None or not self._is_own:
            self._compiled.fill(self.there, self._of(self._target if target is None else target))
        self._is_own = target is None


def _copy(array):
    return array.copy()


def _unaccounted(relevance):
    def without(*args, **options):
        args, options = unaccounted(args, options)
        return relevance(*args, **options)

    return without


def _each(function, value):
    return {name: function(v) for name, v in value.items()} if isinstance(value, dict) else function(value)
