"""An explanation compiled once and called many times."""

from collections.abc import Mapping
from time import perf_counter

import numpy as np

from relprop.arrays import enter, enter_options
from relprop.backends import resolve
from relprop.explain import attributed, by_name, checked, explain
from relprop.recorded import Unrecorded, names_classes, record

__all__ = ["Plan", "compile"]


def compile(network, x, method="lrp", target=None, backend="auto", *, graph=False, preset=None, **options):
    """What `relprop.explain` does with these arguments, decided once: a call is then a flat list of kernel calls.

    `explain` does the same by itself from the third call with equal arguments on, for small networks; here it is done
    at once, options may hold arrays (which must stay as they are), and nothing is looked up at a call.

    Parameters
        x        a batch of the shape and dtype of all that will be explained; its numbers do not matter
        target   as `explain`; where classes are named here a call may name others
        graph    on "cuda": record all that the device does as one CUDA graph, which a call launches as a whole. It pays
                 where starting kernels takes longer than they do: small networks and batches. Parameters, and how
                 products are formed (`relprop.cuda.set_precision`), are those of the recording
        network, method, backend, preset, options   as `explain`
    Returns
        `Plan`
    Raises
        as `explain`, and with graph=True
        ValueError    another backend than "cuda"
        RuntimeError  a method that looks at numbers on its way, or draws random ones: the operation is named that
                      cannot be repeated
    Example
        >>> import numpy as np, relprop
        >>> images, labels = relprop.digits()
        >>> network = relprop.zoo("digits-cnn-relu")
        >>> plan = relprop.compile(network, images[:1], "lrp", target=0, rule="epsilon_plus")
        >>> a = plan(images[5:6], target=labels[5:6])
        >>> b = relprop.explain(network, images[5:6], "lrp", labels[5:6], rule="epsilon_plus")
        >>> plan.recorded, bool(np.array_equal(a.values, b.values))
        (True, True)
    """
    if graph:
        from relprop.capture import GraphPlan  # it is a Plan

        return GraphPlan(network, x, method, target, backend, preset, options)
    return Plan(network, x, method, target, backend, preset, options)


class Plan:
    """A compiled explanation: `plan(x)` is `explain(network, x, ...)` with the arguments of `compile`, bit for bit.

    It may be called from several threads. Inner values and the ledger, which a recording leaves out, are computed when
    they are first read.

    recorded  whether calls repeat a recording; else each is a call of `explain`
    why       what stands against a recording, where there is none: another backend than cpu, a target that is a
              function, a method that looks at numbers on its way, or more memory than matters
    """

    def __init__(self, network, x, method, target, backend, preset, options):
        self._begin(network, method, target, backend, preset, options)
        first = self._explain(x, self._target)
        self._sizes = {name: (tuple(a.shape), a.dtype) for name, a in by_name(network, x).items()}
        self._recording, self.why = None, ""
        if first.backend != "cpu":
            self.why = f"calls are recorded on the backend 'cpu', and this is {first.backend!r}"
        elif not names_classes(self._target):
            self.why = "the target is a function"
        else:
            arrays = {name: enter(name, a).array for name, a in by_name(network, x).items()}
            decided = checked(method, preset, options)
            try:
                self._recording = record(method, resolve("cpu")[1], network, arrays, self._target, decided)
            except Unrecorded as why:
                self.why = str(why)

    def _begin(self, network, method, target, backend, preset, options):
        self._network, self._method, self._backend = network, method, backend
        self._preset, self._options = preset, options
        self._target = target if isinstance(target, np.ndarray) else enter_options("target", target)

    @property
    def recorded(self):
        return self._recording is not None

    def __repr__(self):
        sizes = ", ".join(f"{name} {shape} {dtype}" for name, (shape, dtype) in self._sizes.items())
        return f"Plan({self._method!r} of {self._network.name!r}, {sizes}, {'recorded' if self.recorded else self.why})"

    def __call__(self, x, target=None):
        """The `relprop.Attribution` of a batch.

        Parameters
            x       of the shapes and dtypes that the plan was compiled for
            target  classes in place of those it was compiled with
        Raises
            ValueError  another shape; NaN or infinity in x; classes where it was compiled for the arg-max class
            TypeError   another dtype
        """
        began = perf_counter()
        arrays = by_name(self._network, x)
        self._check(arrays)
        target = self._chosen(target)
        if self._recording is not None and names_classes(target) and arrays.keys() == self._sizes.keys():
            guests = {name: enter(name, array) for name, array in arrays.items()}
            if not any(guest.on_device for guest in guests.values()):
                given = {name: guest.array for name, guest in guests.items()}
                result = self._recording(self._network, given, target)
                if result is not None:
                    many = isinstance(x, Mapping)
                    return attributed(result, guests, self._network, "cpu", self._preset, began, many)
        return self._explain(x, target)

    def _explain(self, x, target):
        about = {"preset": self._preset, "progress": False}
        return explain(self._network, x, self._method, target, self._backend, **about, **self._options)

    def _check(self, arrays):
        for name, array in arrays.items():
            shape, dtype = self._sizes.get(name, ((), None))
            if name in self._sizes and tuple(array.shape) != shape:
                raise ValueError(f"{name} has shape {tuple(array.shape)}, but the plan was compiled for {shape}")
            if name in self._sizes and array.dtype != dtype:
                raise TypeError(f"{name} has dtype {array.dtype}, but the plan was compiled for {dtype}")

    def _chosen(self, target):
        """The target of a call."""
        if target is None:
            return self._target
        if self._target is None:
            raise ValueError(
                "target is given, but the plan was compiled for the arg-max class; compile it with a target"
            )
        return target if isinstance(target, np.ndarray) else enter_options("target", target)
