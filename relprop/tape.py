"""A computation that is written down while it runs, so that it runs again on other numbers without being decided again.

pyref computes with whatever speaks NumPy's protocols, and so with `Traced`: an array that tells a `Tape` what was made
of it. What follows from the inputs becomes a step of the tape, each with arrays of its own that every run writes anew;
what does not is a constant. Kernels of the backend become links of one chain in the extension, which runs them one
after the other. A computation whose course depends on its numbers cannot be recorded, and says so.
"""

from dataclasses import is_dataclass
from functools import partial
from types import SimpleNamespace

import numpy as np

import pyref
from relprop import _core

__all__ = ["CannotRecord", "Tape", "Traced", "unaccounted"]

_BY_SHAPE = (np.zeros_like, np.ones_like, np.empty_like)  # what they make depends on no number
_WITH_OUT: tuple = (np.sum, np.prod, np.max, np.min, np.amax, np.amin, np.mean, np.any, np.all, np.argmax, np.argmin)
_WITH_OUT += (np.take, np.concatenate, np.stack, np.cumsum, np.clip)


class CannotRecord(Exception):
    """The computation looks at a number, or does what the tape has no step for; the message says which."""


class _Memory:
    """Memory of its own that arrays are views of; it moves where its numbers follow from the inputs.

    read    whether a step reads it
    theirs  whether it is the caller's, who changes it when he likes
    """

    def __init__(self, array, moves, theirs=False):
        self.array, self.moves, self.read, self.theirs = array, moves, False, theirs


class Traced(np.lib.mixins.NDArrayOperatorsMixin):
    """An array whose numbers are those of this run, and of every later one."""

    def __init__(self, tape, array, memory):
        self._tape, self._array, self._memory = tape, array, memory

    shape = property(lambda self: self._array.shape)
    dtype = property(lambda self: self._array.dtype)
    ndim = property(lambda self: self._array.ndim)
    size = property(lambda self: self._array.size)
    nbytes = property(lambda self: self._array.nbytes)
    T = property(lambda self: self._tape.apply(np.transpose, (self,)))

    def __len__(self):
        return len(self._array)

    def __array__(self, *args, **kwargs):
        raise CannotRecord("an array is read as it is now")

    def _now(self, kind):
        if self._memory.moves:
            raise CannotRecord(f"the course depends on a number ({kind.__name__})")
        return kind(self._array)

    def __bool__(self):
        return self._now(bool)

    def __int__(self):
        return self._now(int)

    def __float__(self):
        return self._now(float)

    def __getitem__(self, key):
        return self._tape.apply(np.ndarray.__getitem__, (self, key))

    def __setitem__(self, key, value):
        self._tape.write(self, np.ndarray.__setitem__, (self, key, value))

    def astype(self, dtype):
        return self._tape.apply(np.ndarray.astype, (self, dtype))

    def sum(self, *args, **kwargs):
        return self._tape.apply(np.sum, (self, *args), kwargs)

    def any(self, *args, **kwargs):
        return self._tape.apply(np.any, (self, *args), kwargs)

    def all(self, *args, **kwargs):
        return self._tape.apply(np.all, (self, *args), kwargs)

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **kwargs):
        function = ufunc if method == "__call__" else getattr(ufunc, method)
        if out is None:
            return self._tape.apply(function, inputs, kwargs, with_out=method in ("__call__", "reduce"))
        (written,) = out
        self._tape.write(written, function, inputs, kwargs | {"out": written})
        return written

    def __array_function__(self, function, types, args, kwargs):
        return self._tape.apply(function, args, kwargs, with_out=function in _WITH_OUT)


class Tape:
    """Steps, in order, and the arrays that they read and write.

    module  the backend; `backend` is the same, for a computation that is being recorded
    most    bytes of arrays from which on it is not worth while: CannotRecord
    """

    def __init__(self, module, most):
        self._most, self._held = most, 0
        self._chain = _core.Chain()
        self._steps: list = []  # functions without arguments, or [first, last] links of the chain
        kernels = {name: partial(self._kernel, getattr(module, name)) for name in module.KERNELS}
        own = {"check_finite": self._check_finite, "copied_output": pyref.copied_output}
        self.backend = SimpleNamespace(**vars(module) | kernels | own)

    def input(self, array):
        """An array whose numbers are given anew to every run."""
        return self._own(np.array(array), moves=True)

    def parameter(self, array):
        """An array of the caller's, which every run reads as it is then."""
        return Traced(self, array, _Memory(_root(array), moves=True, theirs=True))

    def finished(self):
        """A function without arguments that takes all steps."""
        steps = [partial(self._chain.run, *step) if isinstance(step, list) else step for step in self._steps]

        def run():
            for step in steps:
                step()

        return run

    def forget(self):
        """Let go of all arrays, which a tape that is in no use any more would hold until cycles are looked for."""
        self._steps.clear()
        del self._chain, self.backend

    def now(self, traced):
        """The array that holds a value after every run."""
        return traced._array if isinstance(traced, Traced) else traced

    def constant(self, value):
        """A value that holds arrays which are the same in every run."""
        if any(traced._memory.moves for traced in _traced(value)):
            raise CannotRecord("beside its values it tells of the numbers")
        return _plain(value)

    # ---- while it records ----

    def apply(self, function, args, kwargs=None, with_out=False):
        """function(*args, **kwargs), now and, where it reads what moves, at every run."""
        given, options = _plain(args), _plain(kwargs or {})
        sources = list(_traced([args, kwargs]))
        result = function(*given, **options)
        moves = function not in _BY_SHAPE and any(s._memory.moves for s in sources)
        wrapped, fresh = self._wrapped(result, sources, moves)
        if fresh and moves:
            for source in sources:
                source._memory.read = True
            if with_out and len(fresh) == 1 and isinstance(wrapped, Traced):
                self._steps.append(partial(function, *given, **options, out=fresh[0]))
            else:
                self._steps.append(_again(function, given, options, wrapped))
        return wrapped

    def write(self, target, function, args, kwargs=None):
        """A function that writes into an array that is there."""
        if not isinstance(target, Traced):
            raise CannotRecord("what moves is written into an array of the caller")
        memory = target._memory
        if not memory.moves and any(s._memory.moves for s in _traced([args, kwargs])):
            memory.moves = True  # every run begins with what is there now
            self._steps.insert(0, partial(np.copyto, memory.array, memory.array.copy()))
        elif not memory.moves and memory.read:
            raise CannotRecord("a constant changes after it was read")
        step = partial(function, *_plain(args), **_plain(kwargs or {}))
        step()
        if memory.moves:
            self._steps.append(step)

    def _kernel(self, kernel, *args, **options):
        given, options = unaccounted(_plain(args), _plain(options))
        sources = list(_traced(args)) + list(_traced(options))
        moving = [s._array for s in sources if s._memory.moves]
        ours = [s._array for s in sources if s._memory.moves and not s._memory.theirs]
        if not moving:
            return self._wrapped(kernel(*given, **options), sources, False)[0]
        for source in sources:
            source._memory.read = True
        first = len(self._chain)
        looks = any(isinstance(a, pyref.ZBox) and a.out_of_range == "raise" for a in (*given, *options.values()))
        whole = all(a.flags.c_contiguous and a.flags.aligned for a in ours)
        if looks or not whole:
            result, kept = kernel(*given, **options), False
        else:
            result, kept = self._chain.call(kernel, given, options, moving)
        wrapped, fresh = self._wrapped(result, sources, True)
        if kept and fresh and all(a.dtype == f.dtype for a in moving for f in fresh):
            self._linked(first, len(self._chain))
        elif fresh:
            self._steps.append(_again(kernel, given, options, wrapped))
        return wrapped

    def _linked(self, first, last):
        if self._steps and isinstance(self._steps[-1], list) and self._steps[-1][1] == first:
            self._steps[-1][1] = last
        else:
            self._steps.append([first, last])

    def _check_finite(self, name, array):
        array = self.now(array)
        pyref.check_finite(name, array)
        if array.dtype.kind != "f":
            return
        finite = np.empty(array.shape, bool)
        flat, isfinite, every = finite.reshape(-1), np.isfinite, np.logical_and.reduce

        def look():  # pyref's own words take longer than a small kernel: only where there is something to say
            isfinite(array, finite)
            if not every(flat):
                pyref.check_finite(name, array)

        self._steps.append(look)

    def _wrapped(self, result, sources, moves):
        """(the result with its arrays traced, those that are no views of what went in)"""
        fresh: list = []
        return self._wrap(result, sources, moves, fresh), fresh

    def _wrap(self, value, sources, moves, fresh):
        if isinstance(value, np.generic):
            value = np.array(value)
        if isinstance(value, np.ndarray):
            root = _root(value)
            for source in sources:
                if _root(source._array) is root:
                    return Traced(self, value, source._memory)
            fresh.append(value)
            return self._own(value, moves)
        if isinstance(value, tuple | list):
            return type(value)([self._wrap(v, sources, moves, fresh) for v in value])
        if moves and is_dataclass(value):
            raise CannotRecord(f"a {type(value).__name__} holds numbers of this run")
        return value

    def _own(self, array, moves):
        self._held += array.nbytes
        if self._held > self._most:
            raise CannotRecord(f"it takes more than {self._most} bytes")
        return Traced(self, array, _Memory(_root(array), moves))


def unaccounted(args, options):
    """The arguments of a kernel without an account: what a node keeps is for a ledger, which a plan does not have."""
    given = tuple(None if isinstance(a, pyref.trace.Account) else a for a in args)
    return given, {k: None if isinstance(v, pyref.trace.Account) else v for k, v in options.items()}


def _root(array):
    """The array that owns the numbers."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def _traced(value):
    """All traced arrays in a value."""
    if isinstance(value, Traced):
        yield value
    elif isinstance(value, tuple | list):
        for each in value:
            yield from _traced(each)
    elif isinstance(value, dict):
        yield from _traced(list(value.values()))


def _plain(value):
    """A value with the arrays themselves in place of traced ones."""
    if isinstance(value, Traced):
        return value._array
    if type(value) in (tuple, list):
        return type(value)(map(_plain, value))
    if isinstance(value, tuple):  # Inputs
        return tuple(map(_plain, value))
    if type(value) is dict:
        return {k: _plain(v) for k, v in value.items()}
    return value


def _again(function, args, options, wrapped):
    """The step that calls a function and puts its answer where the first one is."""

    def put(into, answer):
        if isinstance(into, Traced):
            np.copyto(into._array, answer)
        elif isinstance(into, tuple | list):
            for one, its_answer in zip(into, answer, strict=True):
                put(one, its_answer)

    return lambda: put(wrapped, function(*args, **options))
