"""The array door: what comes in as NumPy, torch, JAX or anything that speaks DLPack goes out as the same kind."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from pyref.check import check_float
from pyref.layers.recurrent import RecurrentRecord
from pyref.network import Record
from relprop import _core
from relprop.parameters import flat

__all__ = ["Guest", "HandedOn", "check_on_host", "enter", "enter_options", "handed_out", "is_foreign", "through_numpy"]

CPU, CUDA, CUDA_MANAGED = 1, 2, 13  # DLPack's devices
LIBRARIES = {"jaxlib": "jax", "jax": "jax", "torch": "torch", "cupy": "cupy"}


@dataclass(frozen=True)
class Guest:
    """An array that came through the door: its values for NumPy, without a copy, and the way back.

    array      NumPy's view of it; in device memory the caller's array itself
    back       makes an array of the caller's kind, dtype and device from one of NumPy's; in device memory it only casts
    kind       the library it came from
    on_device  whether it lies in the memory of a GPU
    """

    array: Any
    back: Callable[[Any], Any]
    kind: str
    on_device: bool = False

    @property
    def shaped(self):
        """NumPy's array of its shape and dtype, for what only these matter to."""
        if not self.on_device:
            return self.array
        return np.broadcast_to(np.zeros((), _dtype_of(self.array)), tuple(self.array.shape))


def is_foreign(x):
    """True for an array that is not NumPy's: it speaks DLPack, or only CUDA's array interface."""
    return not isinstance(x, np.ndarray | np.generic) and (
        hasattr(x, "__dlpack__") or hasattr(x, "__cuda_array_interface__")
    )


def enter(name, x):
    """Let an array in.

    Numbers come back in the dtype of x where that is float32 or float64, whatever the network computed in.
    Torch tensors are detached. Nothing is copied.

    Raises
        TypeError     not an array, a masked one, or a dtype that is not float32, float64, exact or integer
        RuntimeError  it lives on a device that no backend reaches
    """
    if isinstance(x, np.ma.MaskedArray):
        raise TypeError(f"{name} is a masked array, whose mask would be lost; use {name}.filled(value)")
    if isinstance(x, np.ndarray):
        _check_kind(name, x, "{}.astype('{}')")
        return Guest(np.asarray(x), _as_dtype(x.dtype), "numpy")
    if not is_foreign(x):
        raise TypeError(
            f"{name} is a {type(x).__name__}, expected an array: NumPy's, or one that speaks DLPack "
            "(torch, JAX, CuPy); use numpy.asarray(..., dtype='float64')"
        )
    return _enter_foreign(name, x)


def enter_options(name, value):
    """Let in the arrays of an option's value: a baseline may be a tensor, or a list or dict of them."""
    if value is None or isinstance(value, str | float | int | Record):
        return value
    if is_foreign(value):
        return _enter_foreign(name, value, dtypes="any").array
    if isinstance(value, list):
        return [enter_options(name, v) for v in value]
    if isinstance(value, Mapping):
        return {k: enter_options(name, v) for k, v in value.items()}
    return value


# ---- functions of layers ----


def through_numpy(kernel, arguments, device=False):
    """kernel(**arguments) with NumPy's views of other libraries' arrays, and arrays of theirs for answers. No copies.

    None where there is no such array, or with `device`, which says that the kernel reaches it, one in device memory.

    Raises
        TypeError     a dtype that NumPy has not
        RuntimeError  an array in device memory, which the kernel does not reach
    """
    takers = []
    if device and any(_device_of(v) not in (None, CPU) for v in flat(arguments.values())):
        return None

    def let_in(name, value):
        if isinstance(value, tuple | list):
            return type(value)(let_in(name, v) for v in value)
        if isinstance(value, RecurrentRecord):
            arrays = {f.name: getattr(value, f.name) for f in fields(value)}
            return replace(value, **{k: let_in(f"{name}.{k}", v) for k, v in arrays.items()})
        if not is_foreign(value):
            return value
        check_on_host(name, value)
        takers.append(_taker(value, _kind_of(value)))
        return enter(name, value).array

    given = {name: let_in(name, value) for name, value in arguments.items()}
    if not takers:
        return None

    def give(value):
        return takers[0](value if value.flags.writeable else value.copy()) if isinstance(value, np.ndarray) else value

    if given.get("account") is not None:
        given["account"] = HandedOn(given["account"], give)
    return handed_out(kernel(**given), give)


def handed_out(result, give):
    """What a kernel answers with give(value) in place of its arrays, in tuples and in records of recurrent layers."""
    if isinstance(result, tuple):
        return tuple(handed_out(r, give) for r in result)
    if isinstance(result, RecurrentRecord):
        arrays = {f.name: getattr(result, f.name) for f in fields(result)}
        return replace(result, **{name: handed_out(v, give) for name, v in arrays.items()})
    return give(result)


class HandedOn:
    """An account that gets give(array) of what a kernel writes for it."""

    def __init__(self, account, give):
        self._account, self._give = account, give

    def add_bias(self, share):
        self._account.add_bias(self._give(share))

    def add_kept(self, stabilizer, dropped):
        self._account.add_kept(self._give(stabilizer), self._give(dropped))

    def add_state(self, relevance):
        self._account.add_state(self._give(relevance))


# ---- libraries and devices ----


def _kind_of(x):
    module = type(x).__module__.partition(".")[0]
    return LIBRARIES.get(module, module)


def _device_of(x):
    """DLPack's number of the kind of device that x lies on; None for NumPy's and what is no array."""
    if not is_foreign(x):
        return None
    return int(x.__dlpack_device__()[0]) if hasattr(x, "__dlpack_device__") else CUDA


def check_on_host(name, value):
    """Raise RuntimeError where an array in a value lies in device memory, for backends that do not reach it."""
    if isinstance(value, list | tuple):
        for v in value:
            check_on_host(name, v)
    elif isinstance(value, Mapping):
        for v in value.values():
            check_on_host(name, v)
    elif _device_of(value) not in (None, CPU):
        kind = _kind_of(value)
        has = "" if _core.cuda else ", and this build has none"
        raise RuntimeError(
            f"{name} is a {kind} array in device memory, which needs the backend 'cuda'{has}; "
            f"move {name} to host memory first ({_to_host(name, kind)})"
        )


def _enter_foreign(name, x, dtypes="float"):
    kind, device = _kind_of(x), _device_of(x)
    if device in (CUDA, CUDA_MANAGED):
        return Guest(x.detach() if kind == "torch" else x, _as_dtype(_dtype_of(x)), kind, on_device=True)
    if device != CPU:
        raise RuntimeError(
            f"{name} is a {kind} array on a device that no backend reaches; "
            f"move {name} to host memory first ({_to_host(name, kind)})"
        )
    if kind == "torch":
        x = x.detach()
    cast = "{}.to(torch.{})" if kind == "torch" else "{}.astype('{}')"
    try:
        array = np.from_dlpack(x)
    except (BufferError, TypeError, RuntimeError) as error:
        raise TypeError(
            f"{name} is a {kind} array of dtype {getattr(x, 'dtype', 'unknown')}, which NumPy cannot read "
            f"({error}); use {cast.format(name, 'float32')}"
        ) from None
    if dtypes == "float":
        _check_kind(name, array, cast)
    cast_back, give = _as_dtype(array.dtype), _giver(x, kind)
    return Guest(array, lambda values: give(cast_back(values)), kind)


def _check_kind(name, array, cast):
    """Integers may be ids for an embedding: that is judged where the network is known."""
    if array.dtype.kind not in "iu":
        check_float(name, array, cast)


def _as_dtype(dtype):
    def back(values):
        if dtype.kind != "f" or values.dtype == dtype:
            return values
        return values.astype(dtype)

    return back


def _dtype_of(x):
    """NumPy's dtype of another library's array: torch.float32 is float32; float64 for what NumPy has no name for."""
    try:
        return np.dtype(str(x.dtype).rpartition(".")[2])
    except TypeError:
        return np.dtype(float)


def _giver(x, kind):
    """How the caller's library takes a NumPy array: through DLPack, from a writable array that nobody else holds."""
    take = _taker(x, kind)
    return lambda values: take(np.array(values))


def _taker(x, kind):
    """The function by which the library of x takes an array through DLPack."""
    if hasattr(x, "__array_namespace__"):
        take = x.__array_namespace__().from_dlpack
    else:
        take = getattr(sys.modules.get(kind), "from_dlpack", None)
    if take is None:
        raise TypeError(f"{kind} arrays can be read, but {kind} has no from_dlpack to give the result back")
    return take


def _to_host(name, kind):
    return {"torch": f"{name}.cpu()", "cupy": f"cupy.asnumpy({name})", "jax": f"jax.device_get({name})"}.get(
        kind, "as a NumPy array"
    )
