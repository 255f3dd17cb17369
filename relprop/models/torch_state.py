"""What a PyTorch module is at a moment, so that a network made from it is used again only while that still holds."""

import functools
import hashlib
import types
from collections import OrderedDict
from weakref import WeakKeyDictionary, ref

import numpy as np

__all__ = ["Remembered", "state_of"]

FORMS_KEPT = 8  # networks of one module, for inputs of different shapes
PLAIN = (int, str, bytes, type(None), type(...), type, range, types.BuiltinFunctionType, types.ModuleType)


class Unknown(Exception):
    """A module holds what cannot be told from what takes its place later."""


class Remembered:
    """Networks by module, for as long as the module lives and holds what it held."""

    def __init__(self):
        self._kept: WeakKeyDictionary = WeakKeyDictionary()

    def get(self, torch, module, form, make):
        """The network for inputs of a form: the one that was made before, else make(), which is kept."""
        try:
            state = state_of(torch, module)
        except (Unknown, RecursionError):
            self._kept.pop(module, None)
            return make()
        before, networks = self._kept.get(module, (None, None))
        if before != state:
            networks = OrderedDict()
        if form not in networks:
            networks[form] = make()
            while len(networks) > FORMS_KEPT:
                networks.popitem(last=False)
        self._kept[module] = state, networks
        return networks[form]


def state_of(torch, module):
    """All that a module holds and what its classes do, as something that can be compared.

    Tensors count by where they are and by a digest of what they hold: neither the address nor `_version` tells what
    is written through `.data` or NumPy. Numbers, texts and containers count by value, functions by their code and
    what they enclose, other objects by identity and attributes. The training mode does not count, because networks
    are those of evaluation mode. What is not in the module, such as global variables, is not seen.

    Raises
        Unknown  it holds what can change without a trace.
    """
    return _Reading(torch).value(module)


class _Reading:
    """One walk over all that a module holds. What is met again is named by when it was met first."""

    def __init__(self, torch):
        self.torch, self.met = torch, {}

    def value(self, v):
        torch = self.torch
        if isinstance(v, PLAIN):
            return type(v), v
        if isinstance(v, float | complex | slice | np.generic | torch.dtype | torch.device | torch.layout):
            return type(v), repr(v)  # in which nan is nan, and -0.0 is not 0.0
        if id(v) in self.met:
            return "met", self.met[id(v)]
        self.met[id(v)] = len(self.met)
        if isinstance(v, torch.Tensor):
            return self.tensor(v)
        if isinstance(v, np.ndarray) and not v.dtype.hasobject:
            return np.ndarray, v.shape, v.dtype.str, hashlib.sha256(np.ascontiguousarray(v).data).digest()
        if isinstance(v, dict):
            return type(v), tuple((self.value(k), self.value(w)) for k, w in v.items())
        if isinstance(v, list | tuple | set | frozenset):  # a set that is left alone keeps its order
            return type(v), tuple(self.value(w) for w in v)
        if isinstance(v, types.FunctionType):
            enclosed = (self.value(c.cell_contents) for c in v.__closure__ or () if _is_filled(c))
            defaults = (self.value(v.__defaults__), self.value(v.__kwdefaults__))
            return "function", Itself(v.__code__), *defaults, *enclosed
        if isinstance(v, ref):
            return "reference", self.value(v())
        if isinstance(v, types.MethodType):
            return "method", self.value(v.__func__), self.value(v.__self__)
        if isinstance(v, functools.partial):
            return "partial", self.value(v.func), self.value(v.args), self.value(v.keywords)
        if not hasattr(v, "__dict__"):
            raise Unknown(type(v).__name__)
        held = {k: w for k, w in vars(v).items() if not (k == "training" and isinstance(v, torch.nn.Module))}
        return Itself(v), self.class_of(v), *((k, self.value(w)) for k, w in held.items())

    def class_of(self, v):
        """A class with its methods, which may be exchanged for others; PyTorch's own are taken as they are."""
        kind = type(v)
        if id(kind) in self.met:
            return kind
        self.met[id(kind)] = len(self.met)
        own = [c for c in kind.__mro__ if not c.__module__.startswith(("torch.", "builtins"))]
        return kind, *(self.value(f) for c in own for f in vars(c).values() if isinstance(f, types.FunctionType))

    def tensor(self, t):
        try:
            where = (t.data_ptr(), t.stride(), str(t.device))
            held = t.detach().cpu().contiguous().reshape(-1).view(self.torch.uint8).numpy()
        except (RuntimeError, TypeError, NotImplementedError) as error:  # sparse, quantised, without memory
            raise Unknown(str(error)) from error
        return type(t), tuple(t.shape), t.dtype, *where, hashlib.sha256(held).digest()


class Itself:
    """An object, which is equal to nothing else once it is gone, although its address may be used again."""

    def __init__(self, value):
        try:
            self.ref = ref(value)
        except TypeError as error:
            raise Unknown(str(error)) from error

    def __eq__(self, other):
        value = self.ref()
        return isinstance(other, Itself) and value is not None and value is other.ref()


def _is_filled(cell):
    """False for a variable that is not assigned yet."""
    try:
        return cell.cell_contents is not None
    except ValueError:
        return False
