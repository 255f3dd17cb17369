"""What pyref's own lines ask of an array, for arrays in device memory: NumPy's protocols, on kernels.

pyref says `v * S`, `np.where(z >= 0, z + e, z - e)` or `R[:, 2:4]`, and never asks whose array it is. A view costs
nothing, whatever computes is one kernel, and nothing waits for the device but what needs a number on the host:
`float(a)`, `int(a)`, `if a`. As with CuPy, a NumPy array does not become one in device memory without being asked, nor
the other way round.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

__all__ = ["speak_numpy"]


def speak_numpy(compiled):
    """Give the array type of an extension with CUDA kernels what NumPy's arrays have and pyref uses."""
    arithmetic = Arithmetic(compiled)
    for name, operator in vars(np.lib.mixins.NDArrayOperatorsMixin).items():
        if callable(operator):
            setattr(compiled.Array, name, operator)
    for name, its_name in METHODS.items():
        setattr(compiled.Array, name, _method(getattr(arithmetic, its_name)))
    compiled.Array.T = property(arithmetic.transpose)


# Of an array: {its method: the method of Arithmetic, which takes the array as its first argument}.
METHODS = {
    "__array__": "refuse",
    "__array_ufunc__": "ufunc",
    "__array_function__": "function",
    "__getitem__": "get",
    "__setitem__": "put",
    "__iter__": "rows",
    "__bool__": "as_bool",
    "__int__": "as_int",
    "__index__": "as_index",
    "__float__": "as_float",
    "get": "on_host",  # as CuPy calls it
} | {name: name for name in ("astype", "copy", "reshape", "sum", "any", "all")}


def _method(function):
    return lambda self, *args, **options: function(self, *args, **options)


@cache
def _loop(ufunc, kinds):
    """(dtype that is computed in, dtype of the result), as NumPy promotes: numbers of Python widen nothing."""
    dtypes = ufunc.resolve_dtypes((*kinds, *(None,) * ufunc.nout))
    return dtypes[0], dtypes[-1]


def _kind(v):
    """What NumPy's promotion goes by: a dtype, or a type of Python."""
    if hasattr(v, "dtype"):
        return v.dtype
    return np.dtype(bool) if isinstance(v, bool) else int if isinstance(v, int) else float


# NumPy's functions on whole arrays that are one kernel, but under another name.
SAME = {"abs": "absolute", "invert": "logical_not", "bitwise_and": "logical_and", "bitwise_or": "logical_or"}


class Arithmetic:
    """NumPy's functions on the arrays of one extension."""

    def __init__(self, compiled):
        self._compiled = compiled
        self.Array = compiled.Array

    # ---- protocols ----

    def refuse(self, x, *args, **options):
        raise TypeError("an array in device memory does not become NumPy's unasked; use relprop.cuda.to_host(x)")

    def ufunc(self, x, ufunc, method, *inputs, out=None, **options):
        if method != "__call__" or options:
            raise TypeError(f"np.{ufunc.__name__} with {method}, {options} is not for arrays in device memory")
        if ufunc is np.matmul:
            return self._matmul(*inputs)
        operands = [self._operand(v) for v in inputs]
        computed, answered = _loop(ufunc, tuple(map(_kind, operands)))
        result = self._elementwise(ufunc.__name__, operands, computed, answered, out[0] if out else None)
        return out[0] if out else result

    def function(self, x, function, types, args, options):
        known = FUNCTIONS.get(function)
        if known is None:
            raise TypeError(f"np.{function.__name__} is not for arrays in device memory")
        return known(self, *args, **options)

    def _operand(self, v):
        if isinstance(v, self.Array | np.generic | bool | int | float):
            return v
        if isinstance(v, np.ndarray):
            raise TypeError("a NumPy array met an array in device memory; relprop.cuda.to_device(a) copies it there")
        return float(v)  # a Fraction

    def _elementwise(self, name, operands, computed, answered, out=None):
        shape = np.broadcast_shapes(*(v.shape for v in operands if isinstance(v, self.Array)))
        if out is not None and np.broadcast_shapes(shape, out.shape) != out.shape:
            raise ValueError(f"could not broadcast input array from shape {shape} into shape {out.shape}")
        if out is not None:
            shape = out.shape
        operands = [v if isinstance(v, self.Array) else float(v) for v in operands]
        return self._compiled.elementwise(SAME.get(name, name), operands, shape, computed, np.dtype(answered), out)

    def on_host(self, x):
        return self._compiled.to_host(x)

    # ---- new arrays ----

    def _filled(self, shape, number, dtype):
        shape = (shape,) if isinstance(shape, int) else tuple(map(int, shape))
        dtype = np.dtype(dtype)
        return self._compiled.elementwise("positive", [float(number)], shape, dtype, dtype)

    def full_like(self, x, fill_value, dtype=None, shape=None):
        return self._filled(x.shape if shape is None else shape, fill_value, dtype or x.dtype)

    def zeros_like(self, x, dtype=None, shape=None):
        return self.full_like(x, 0, dtype, shape)

    def ones_like(self, x, dtype=None, shape=None):
        return self.full_like(x, 1, dtype, shape)

    def arange(self, stop):
        return self._compiled.elementwise("index", [], (int(stop),), np.dtype(np.int64), np.dtype(np.int64))

    def asarray(self, a, dtype=None):
        """What is asked for by name may be carried over."""
        return a if isinstance(a, self.Array) else self._compiled.entered(np.asarray(a, dtype))

    def astype(self, x, dtype):
        return self._elementwise("positive", [x], x.dtype, dtype)

    def copy(self, x):
        return self.astype(x, x.dtype)

    # ---- views ----

    def _seen(self, x, change):
        """A view of x. What it would look like NumPy says, of an array of the same layout that is never read."""
        stand_in = np.lib.stride_tricks.as_strided(np.empty(1, x.dtype), x.shape, x.strides)
        seen = change(stand_in)
        places = (v.__array_interface__["data"][0] for v in (seen, stand_in))
        offset = (next(places) - next(places)) // x.dtype.itemsize if seen.size else 0
        return self._compiled.view(x, seen.shape, [s // x.dtype.itemsize for s in seen.strides], offset)

    def reshape(self, x, *shape):
        shape = shape[0] if len(shape) == 1 else shape
        return self._seen(self._compiled.in_c_order(x), lambda v: v.reshape(shape))

    def ravel(self, x):
        return self.reshape(x, -1)

    def transpose(self, x, axes=None):
        return self._seen(x, lambda v: v.transpose(axes))

    def swapaxes(self, x, axis1, axis2):
        return self._seen(x, lambda v: v.swapaxes(axis1, axis2))

    def moveaxis(self, x, source, destination):
        return self._seen(x, lambda v: np.moveaxis(v, source, destination))

    def expand_dims(self, x, axis):
        return self._seen(x, lambda v: np.expand_dims(v, axis))

    def squeeze(self, x, axis=None):
        return self._seen(x, lambda v: np.squeeze(v, axis))

    def flip(self, x, axis=None):
        return self._seen(x, lambda v: np.flip(v, axis))

    def broadcast_to(self, x, shape):
        return self._seen(x, lambda v: np.broadcast_to(v, shape))

    def get(self, x, key):
        rows, key = _rows(key)
        return self.take(x, rows, axis=0) if key is None else self._seen(x, lambda v: v[key])

    def put(self, x, key, value):
        rows, key = _rows(key)
        value = self._operand(value)
        if key is not None:
            into = self._seen(x, lambda v: v[key])
            computed = x.dtype if not hasattr(value, "dtype") else value.dtype
            self._elementwise("positive", [value], computed, x.dtype, into)
            return
        places = self._places(rows, len(x))
        if places is not None and len(places) and x.strides == self._compiled.in_c_order(x).strides:
            shape = (len(places), *x.shape[1:])
            values = self._elementwise("positive", [value], x.dtype, x.dtype, self._filled(shape, 0, x.dtype))
            self._compiled.put(x, self.asarray(places), values)
            return
        for k, place in enumerate(rows):
            x[place] = value[k] if getattr(value, "ndim", 0) == x.ndim else value

    def rows(self, x):
        return (x[k] for k in range(len(x)))

    # ---- rows ----

    def _places(self, rows, length):
        """Rows on the host as whole numbers that exist."""
        places = np.asarray(rows, dtype=np.int64)
        if places.size and not (-length <= places.min() and places.max() < length):
            raise IndexError(f"index {rows} is out of bounds for axis 0 with size {length}")
        return places

    def take(self, x, indices, axis=0):
        """Rows along an axis. Indices in device memory wrap around, as CuPy's do: nobody waits to look at them."""
        if axis % x.ndim:
            return self.moveaxis(self.take(self.moveaxis(x, axis, 0), indices), 0, axis)
        if not isinstance(indices, self.Array):
            places = self._places(indices, len(x))
            steps = set(np.diff(places).tolist()) if places.ndim == 1 else ()
            if places.ndim == 1 and len(steps) <= 1:  # evenly apart, or one row many times: a view
                return self._seen(x, lambda v: _evenly(v, places))
            indices = self.asarray(places)
        elif indices.dtype != np.int64:
            indices = self.astype(indices, np.int64)
        return self._compiled.take(self._compiled.in_c_order(x), self._compiled.in_c_order(indices))

    def concatenate(self, arrays, axis=0):
        arrays = list(arrays)
        dtype = np.result_type(*(a.dtype for a in arrays))
        shape = list(arrays[0].shape)
        axis %= len(shape)
        shape[axis] = sum(a.shape[axis] for a in arrays)
        joined, start = self._filled(shape, 0, dtype), 0
        for a in arrays:
            joined[(slice(None),) * axis + (slice(start, start + a.shape[axis]),)] = a
            start += a.shape[axis]
        return joined

    def stack(self, arrays, axis=0):
        return self.concatenate([self.expand_dims(a, axis) for a in arrays], axis)

    # ---- what computes ----

    def where(self, condition, a, b):
        a, b = self._operand(a), self._operand(b)
        dtype = np.result_type(*(v.dtype if hasattr(v, "dtype") else v for v in (a, b)))
        return self._elementwise("where", [condition, a, b], dtype, dtype)

    def clip(self, x, a_min=None, a_max=None):
        x = x if a_min is None else np.maximum(x, a_min)
        return x if a_max is None else np.minimum(x, a_max)

    def _reduced(self, name, x, axis, keepdims, dtype):
        axes = range(x.ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
        over = [False] * x.ndim
        for a in axes:
            if not -x.ndim <= a < x.ndim:
                raise ValueError(f"axis {a} is out of bounds for array of dimension {x.ndim}")
            over[a] = True
        if name not in ("sum", "any", "all") and 0 in (s for s, o in zip(x.shape, over, strict=True) if o):
            raise ValueError(f"zero-size array to reduction operation {name} which has no identity")
        result = self._compiled.reduce(name, x, over, np.dtype(dtype))
        if keepdims:
            return result
        return self.reshape(result, tuple(s for s, o in zip(x.shape, over, strict=True) if not o))

    def sum(self, x, axis=None, *, keepdims=False):
        return self._reduced("sum", x, axis, keepdims, x.dtype if x.dtype.kind == "f" else np.int64)

    def mean(self, x, axis=None, *, keepdims=False):
        total = self.sum(x, axis, keepdims=keepdims)
        return total / (x.size // max(total.size, 1))

    def max(self, x, axis=None, *, keepdims=False):
        return self._reduced("max", x, axis, keepdims, x.dtype)

    def min(self, x, axis=None, *, keepdims=False):
        return self._reduced("min", x, axis, keepdims, x.dtype)

    def any(self, x, axis=None, *, keepdims=False):
        return self._reduced("any", x, axis, keepdims, bool)

    def all(self, x, axis=None, *, keepdims=False):
        return self._reduced("all", x, axis, keepdims, bool)

    def argmax(self, x, axis=None, *, keepdims=False):
        return self._reduced("argmax", x, axis, keepdims, np.int64)

    def argmin(self, x, axis=None, *, keepdims=False):
        return self._reduced("argmin", x, axis, keepdims, np.int64)

    def count_nonzero(self, x, axis=None, *, keepdims=False):
        return self.sum(x != 0, axis, keepdims=keepdims)

    def _matmul(self, a, b):
        a, b = self._operand(a), self._operand(b)
        left, right = (self.expand_dims(a, 0) if a.ndim == 1 else a), (self.expand_dims(b, 1) if b.ndim == 1 else b)
        if left.shape[-1] != right.shape[-2]:
            raise ValueError(f"matmul: shapes {a.shape} and {b.shape} do not fit")
        before = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
        dtype = np.result_type(a.dtype, b.dtype)
        product = self._compiled.matmul(
            self.broadcast_to(left, (*before, *left.shape[-2:])),
            self.broadcast_to(right, (*before, *right.shape[-2:])),
            dtype,
        )
        shape = (*before, *left.shape[-2 : -1 if a.ndim > 1 else -2], *right.shape[-1 : None if b.ndim > 1 else -1])
        return self.reshape(product, shape)

    # ---- numbers on the host ----

    def _number(self, x):
        if x.size != 1:
            raise ValueError("the truth value of an array with more than one element is ambiguous; use any() or all()")
        return self._compiled.to_host(x).reshape(())[()]

    def as_bool(self, x):
        return bool(self._number(x))

    def as_int(self, x):
        return int(self._number(x))

    def as_index(self, x):
        return self._number(x).__index__()

    def as_float(self, x):
        return float(self._number(x))


def _rows(key):
    """(None, a key that gives a view) or (a list of rows, None)."""
    parts = key if isinstance(key, tuple) else (key,)
    if all(p is None or p is Ellipsis or isinstance(p, slice | int | np.integer) for p in parts):
        return None, parts if Ellipsis in parts else (*parts, ...)
    if isinstance(key, list | range):
        return list(key), None
    raise TypeError(f"an array in device memory is indexed by numbers, slices, or a list of rows, not by {key!r}")


def _evenly(v, places):
    """Rows of v that are evenly apart, as a view; v is not read."""
    if not len(places):
        return v[:0]
    first = v[int(places[0]) % len(v), ...]
    step = int(places[1] - places[0]) if len(places) > 1 else 0
    shape, strides = (len(places), *v.shape[1:]), (step * v.strides[0], *v.strides[1:])
    return np.lib.stride_tricks.as_strided(first, shape, strides)


def _of(name):
    return lambda arithmetic, *args, **options: getattr(arithmetic, name)(*args, **options)


FUNCTIONS: dict[Any, Callable] = {
    getattr(np, name): _of(name)
    for name in (
        "full_like zeros_like ones_like arange asarray copy reshape ravel transpose swapaxes moveaxis expand_dims "
        "squeeze flip broadcast_to take concatenate stack where clip sum mean max min any all argmax argmin "
        "count_nonzero"
    ).split()
} | {
    np.empty_like: _of("zeros_like"),
    np.amax: _of("max"),
    np.amin: _of("min"),
    np.shape: lambda arithmetic, x: x.shape,
    np.ndim: lambda arithmetic, x: x.ndim,
    np.size: lambda arithmetic, x: x.size,
}
