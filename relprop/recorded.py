"""Explanations that were recorded: a method on a network for inputs of one shape, decided once and run again."""

import threading
from collections import OrderedDict
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

import pyref
from relprop.later import Later
from relprop.parameters import with_parameters
from relprop.tape import CannotRecord, Tape, Traced

__all__ = ["MOST", "Recorded", "Unrecorded", "key_of", "kept", "names_classes", "record"]

MOST = 2**23  # bytes of arrays up to which a call is so short that what surrounds its kernels counts
EACH = 8  # recordings of one network that are kept, those used last


class Unrecorded(Exception):
    """Why there is no recording."""


class Recorded:
    """A method with its options on a network, for inputs of given shapes and dtypes: a tape and where its answers lie.

    It holds no network, so that it can be kept with one, but its arrays, whose numbers may change: they are inputs too.
    One thread at a time.
    """

    def __init__(self, method, module, network, arrays, target, options):
        self._method, self._module, self._options = method, module, options | {"inner": True}
        self._lock = threading.Lock()
        tape = Tape(module, MOST)
        try:
            self._write_down(tape, network, arrays, target)
        except BaseException:
            tape.forget()
            raise

    def _write_down(self, tape, network, arrays, target):
        inputs = {name: tape.input(array) for name, array in arrays.items()}
        self._single = len(inputs) == 1
        self._inputs = [(name, tape.now(traced)) for name, traced in inputs.items()]
        self._output: Any = None
        self._weights: Any = None
        self._known: dict = {}
        if target is not None:
            target = self._placed(tape, target)
        traced = with_parameters(network, lambda arrays: [_parameter(tape, array) for array in arrays])
        result = self._explained(traced, inputs, target, tape.backend)
        settings = tape.constant(result.settings)
        expected = vars(result)["expected"]
        self._late = callable(expected)
        self._answers = [tape.now(a) for a in (result.output, None if self._late else expected)]
        values = result.values
        self._names = list(values) if isinstance(values, dict) else None
        self._values = [tape.now(v) for v in (values.values() if isinstance(values, dict) else [values])]
        self._about = {"method": result.method, "quadrature": result.quadrature}, settings
        self._run = tape.finished()

    def _placed(self, tape, target):
        """A target as what the method gets: weights on the output that every run is given."""

        def weights(S):
            if not isinstance(S, Traced):
                raise CannotRecord("the output is no number of this run")
            if self._weights is None:
                self._output = np.zeros(S.shape, S.dtype)
                self._weights = tape.input(self._weights_of(target))
            return self._weights

        return weights

    def _weights_of(self, target):
        """`pyref.target_weights`, which depend on the output's shape only."""
        known = _named(target)
        if known not in self._known:
            if len(self._known) >= EACH:
                self._known.clear()
            self._known[known] = pyref.target_weights(target, self._output)
        return self._known[known]

    def _explained(self, network, arrays, target, backend):
        given = next(iter(arrays.values())) if self._single else arrays
        return pyref.METHODS[self._method](network, given, target, backend=backend, **self._options)

    def __call__(self, network, arrays, target):
        """The attribution of arrays, {input name: array}; None where another thread is at it.

        What a recording does not have, inner values and the ledger, is computed when it is first read.
        """
        if not self._lock.acquire(blocking=False):
            return None
        try:
            if target is not None:
                self._weights._array[...] = self._weights_of(target)
            for name, into in self._inputs:
                into[...] = arrays[name]
            self._run()
            values = [v.copy() for v in self._values]
            output, expected = (a if a is None else a.copy() for a in self._answers)
        finally:
            self._lock.release()
        given = {name: arrays[name].copy() for name in arrays}
        later = Later(lambda: self._explained(network, given, target, self._module)).parts()
        about, settings = self._about
        made = object.__new__(pyref.Attribution)  # a dataclass's own way takes longer than a small layer
        vars(made).update(
            about,
            values=values[0] if self._names is None else dict(zip(self._names, values, strict=True)),
            output=output,
            **(later if self._late else later | {"expected": expected}),
            settings=dict(settings),
        )
        return made


def record(method, module, network, arrays, target, options):
    """A recording that was seen to say what the method says, bit for bit, of other numbers than it was made from.

    Raises
        Unrecorded  the method looks at numbers on its way, or takes more memory than a call worth recording; the
                    message says which
    """
    try:
        made = Recorded(method, module, network, arrays, target, options)
        others = {name: _other(array) for name, array in arrays.items()}
        want = made._explained(network, others, target, module)
        got = made(network, others, target)
    except Exception as why:  # whatever it is, the usual way says it in its own words
        raise Unrecorded(str(why)) from why
    if not all(map(_same, _answers(got), _answers(want))):
        raise Unrecorded("it does not repeat itself on other numbers")
    return made


def _parameter(tape, array):
    return tape.parameter(array) if isinstance(array, np.ndarray) else array  # a number of NumPy's does not change


def _other(array):
    """Numbers of an array in another order, and smaller: they stay in a box around zero. Ids in another order."""
    turned = np.ravel(array)[::-1].reshape(array.shape)
    if array.dtype.kind != "f":
        return turned
    shares = np.linspace(0.5, 1, array.size, dtype=array.dtype).reshape(array.shape)
    return turned * shares if turned.any() else shares


def _answers(result):
    values = result.values
    yield from values.values() if isinstance(values, dict) else [values]
    yield result.output
    if not callable(vars(result)["expected"]):
        yield vars(result)["expected"]


def _same(a, b):
    return (a is None and b is None) or (a.dtype == b.dtype and np.array_equal(a, b, equal_nan=True))


def _named(target):
    """Classes as a key of a dict."""
    if isinstance(target, np.ndarray):
        return target.tobytes(), target.dtype, target.shape
    return type(target), target if isinstance(target, int) else tuple(target)


def names_classes(target):
    """Whether a target says by numbers what is explained, if anything, and not by a function."""
    if isinstance(target, np.ndarray):
        return target.dtype.kind in "iu"
    if isinstance(target, tuple | list):
        return all(isinstance(c, int) for c in target)
    return target is None or isinstance(target, int)


# ---- what is kept with a network ----

_kept: WeakKeyDictionary = WeakKeyDictionary()
_lock = threading.Lock()


def key_of(*decisions):
    """What calls have in common that one recording answers, as a key; None where an option may change unseen."""
    try:
        return tuple(map(_frozen, decisions))
    except TypeError:
        return None


_PLAIN = frozenset((str, int, float, bool, type(None)))


def _frozen(value):
    kind = type(value)
    if kind in _PLAIN:
        return kind, value
    if kind is dict:
        return kind, tuple([(k, _frozen(v)) for k, v in value.items()])
    if kind is tuple or kind is list:
        return kind, tuple([_frozen(v) for v in value])
    if isinstance(value, pyref.Rule):
        hash(value)
        return value
    raise TypeError(f"{type(value).__name__} has no value of its own")


def kept(network, key, make):
    """The recording that was kept under a key, made at the key's second use; None where there is none yet, or never."""
    of_network = _kept.get(network)
    if of_network is None:
        with _lock:
            of_network = _kept.setdefault(network, OrderedDict())
    found = of_network.get(key)
    if isinstance(found, Recorded):
        of_network.move_to_end(key)
        return found
    if found is None:
        of_network[key] = "asked for once"
    elif found == "asked for once":
        of_network[key] = "never"  # while it is made, and if it cannot be
        try:
            of_network[key] = found = make()
        except Unrecorded:
            return None
    with _lock:
        while len(of_network) > EACH:
            of_network.popitem(last=False)
    return found if isinstance(found, Recorded) else None
