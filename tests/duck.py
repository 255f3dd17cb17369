"""A strict stand-in for a device array: NumPy's protocols and nothing else.

CuPy arrays answer `np.<function>(x)` through NumPy's protocols, refuse to become NumPy arrays without being
asked, and refuse to meet one in an operation. Code that runs on `Duck` keeps to what they allow.
"""

import numpy as np

# What pyref may call on a device array; every name exists in CuPy's namespace with these arguments.
CUPY_FUNCTIONS = frozenset(
    """zeros_like ones_like full_like empty_like where sum prod mean max min amax amin any all argmax argmin reshape
    ravel transpose moveaxis swapaxes expand_dims squeeze broadcast_to broadcast_arrays concatenate stack split take
    take_along_axis pad flip roll repeat tile tensordot dot matmul einsum outer cumsum argsort sort clip copy
    nan_to_num count_nonzero shape ndim size""".split()
)


class Duck(np.lib.mixins.NDArrayOperatorsMixin):
    """An array that only speaks protocols."""

    def __init__(self, array):
        assert type(array) is np.ndarray
        self._array = array

    shape = property(lambda self: self._array.shape)
    dtype = property(lambda self: self._array.dtype)
    ndim = property(lambda self: self._array.ndim)
    size = property(lambda self: self._array.size)
    T = property(lambda self: Duck(self._array.T))

    def __len__(self):
        return len(self._array)

    def __array__(self, *args, **kwargs):
        raise TypeError("implicit conversion of a device array to NumPy")

    def __bool__(self):
        return bool(self._array)

    def __int__(self):
        return int(self._array)

    def __float__(self):
        return float(self._array)

    def __getitem__(self, key):
        return _wrap(self._array[_unwrap(key)])

    def __setitem__(self, key, value):
        self._array[_unwrap(key)] = _unwrap(value)

    def astype(self, dtype):
        return Duck(self._array.astype(dtype))

    def sum(self, *args, **kwargs):
        return _wrap(self._array.sum(*args, **kwargs))

    def any(self, *args, **kwargs):
        return _wrap(self._array.any(*args, **kwargs))

    def all(self, *args, **kwargs):
        return _wrap(self._array.all(*args, **kwargs))

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **kwargs):
        if getattr(np, ufunc.__name__, None) is not ufunc:
            raise TypeError(f"{ufunc.__name__} is no function of NumPy's")
        kwargs = _unwrap(kwargs)
        if out is not None:
            kwargs["out"] = _unwrap(out)
        return _wrap(getattr(ufunc, method)(*map(_unwrap, inputs), **kwargs))

    def __array_function__(self, function, types, args, kwargs):
        if function in (np.asarray, np.arange):  # like=: what is asked for by name may be carried over
            return Duck(function(*args, **kwargs))
        if function.__name__ not in CUPY_FUNCTIONS:
            raise TypeError(f"np.{function.__name__} is not for device arrays")
        return _wrap(function(*_unwrap(args), **_unwrap(kwargs)))


def _wrap(value):
    if isinstance(value, np.ndarray):
        return Duck(value)
    if isinstance(value, np.generic):
        return Duck(np.asarray(value))
    if isinstance(value, tuple | list):
        return type(value)(map(_wrap, value))
    return value


def _unwrap(value):
    if isinstance(value, Duck):
        return value._array
    if isinstance(value, np.ndarray):
        raise TypeError("a NumPy array met a device array")
    if isinstance(value, tuple | list):
        return type(value)(map(_unwrap, value))
    if isinstance(value, dict):
        return {k: _unwrap(v) for k, v in value.items()}
    return value
