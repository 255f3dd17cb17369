"""Running error analysis: arrays that carry a bound of how far rounding alone may have moved them.

pyref runs on `Near` arrays as it does on any that speak NumPy's protocols, so that the bound of a whole recurrence
comes, operation by operation, from the textbook's own text. A kernel may add in another order and lower a rule
(csrc/math/rules): that is what the constants below leave room for.
"""

import numpy as np
from bound import wide

STEPS = 8  # roundings of an operation: its own, those of a lowering's own steps, or of a function within 4 ulp
LOWERED = 4  # a lowering adds up numbers at most so many times as large as the sum that it stands for (alpha_beta.h)


class Doubt:
    """What a comparison of uncertain numbers says, and where it might say the other."""

    def __init__(self, value, unsure):
        self.value, self.unsure = np.asarray(value), np.asarray(unsure)

    def __or__(self, other):
        return Doubt(self.value | other.value, self.unsure | other.unsure)

    def __array_function__(self, function, types, args, kwargs):
        return FUNCTIONS[function](*args, **kwargs)


class Near(np.lib.mixins.NDArrayOperatorsMixin):
    """Values in wide arithmetic, the bound of their distance from what a kernel of `dtype` holds.

    terms  the most numbers that any sum of the computation adds up, in whatever order
    """

    def __init__(self, value, error, dtype, terms):
        self.value, self.error, self.kernel, self.terms = value, error, dtype, terms

    @classmethod
    def exact(cls, value, dtype, terms):
        """Numbers that the kernel holds as they are."""
        value = np.asarray(value, wide(dtype))
        return cls(value, np.zeros_like(value), np.dtype(dtype), terms)

    shape = property(lambda self: self.value.shape)
    ndim = property(lambda self: self.value.ndim)
    dtype = property(lambda self: self.value.dtype)
    T = property(lambda self: self.like(self.value.T, self.error.T))

    def like(self, value, error):
        return Near(value, error, self.kernel, self.terms)

    def rounded(self, value, error, size=None, count=STEPS):
        """A result with the rounding of the operation itself, on terms of that size."""
        size = np.abs(value) if size is None else size
        info = np.finfo(self.kernel)
        error = error + count * (info.eps / 2 * size + info.tiny * (size != 0))
        return self.like(value, np.where(np.isfinite(value) & ~np.isnan(error), error, np.inf))

    def __getitem__(self, key):
        return self.like(self.value[key], self.error[key])

    def __setitem__(self, key, v):
        v = self.lift(v)
        self.value[key], self.error[key] = v.value, v.error

    def __array_ufunc__(self, ufunc, method, *inputs, **options):
        assert method == "__call__" and not options
        with np.errstate(all="ignore"):  # what is not finite is uncertain without end: see `rounded`
            return UFUNCS[ufunc](self, *map(self.lift, inputs))

    def __array_function__(self, function, types, args, kwargs):
        return FUNCTIONS[function](*args, **kwargs)

    def lift(self, v):
        return v if isinstance(v, Near | Doubt) else Near.exact(v, self.kernel, self.terms)


def _add(near, a, b):
    """In whatever order the numbers come that a and b are sums of; of two exact numbers by one rounding."""
    value, error = a.value + b.value, a.error + b.error
    is_trivial = _is_zero(a) | _is_zero(b)
    size = np.where(is_trivial, 0, np.where(error == 0, np.abs(value), np.abs(a.value) + np.abs(b.value)))
    return near.rounded(value, error, size)


def _is_zero(a):
    return (a.value == 0) & (a.error == 0)


def _multiply(near, a, b):
    value = a.value * b.value
    moved = _times(np.abs(a.value), b.error) + _times(np.abs(b.value), a.error) + _times(a.error, b.error)
    return near.rounded(value, moved)


def _times(size, error):
    """size · error, with 0 · ∞ = 0: what is multiplied by an exact 0 is 0, however uncertain."""
    return np.where((size == 0) | (error == 0), 0, size * error)


def _divide(near, a, b):
    least = np.abs(b.value) - b.error
    value = a.value / b.value
    error = np.where(_is_zero(a), 0, np.where(least > 0, (a.error + np.abs(value) * b.error) / least, np.inf))
    return near.rounded(value, error)


def _matmul(near, a, b):
    size = np.abs(a.value) @ np.abs(b.value)
    finite = [np.where(np.isfinite(v.error), v.error, 0) for v in (a, b)]
    moved = np.abs(a.value) @ finite[1] + finite[0] @ np.abs(b.value) + finite[0] @ finite[1]
    lost = [(~np.isfinite(v.error)).astype(float) for v in (a, b)]
    lost = lost[0] @ (b.value != 0) + (a.value != 0).astype(float) @ lost[1] > 0
    return near.rounded(a.value @ b.value, np.where(lost, np.inf, moved), size, LOWERED * (near.terms + STEPS))


def _monotone(f):
    def moved(near, a):
        value = f(a.value)
        return near.rounded(
            value, np.maximum(np.abs(f(a.value + a.error) - value), np.abs(f(a.value - a.error) - value))
        )

    return moved


def _power(near, a, b):
    value = a.value**b.value  # of a positive number, to an exact exponent
    ends = [np.abs(np.maximum(a.value + side * a.error, 0) ** b.value - value) for side in (-1, 1)]
    return near.rounded(value, np.maximum(*ends))


def _choice(f):
    return lambda near, a, b: near.like(f(a.value, b.value), np.maximum(a.error, b.error))


def _comparison(f):
    def compare(near, a, b):
        error = a.error + b.error
        return Doubt(f(a.value, b.value), (np.abs(a.value - b.value) <= error) & (error > 0))

    return compare


UFUNCS = {
    np.add: _add,
    np.subtract: lambda near, a, b: _add(near, a, -b),
    np.multiply: _multiply,
    np.divide: _divide,
    np.matmul: _matmul,
    np.power: _power,
    np.negative: lambda near, a: near.like(-a.value, a.error),
    np.absolute: lambda near, a: near.like(np.abs(a.value), a.error),
    np.maximum: _choice(np.maximum),
    np.minimum: _choice(np.minimum),
    **{f: _monotone(f) for f in (np.exp, np.expm1, np.log1p, np.tanh)},
    np.sqrt: _monotone(lambda v: np.sqrt(np.maximum(v, 0))),
    **{f: _comparison(f) for f in (np.greater, np.greater_equal, np.less, np.less_equal, np.equal, np.not_equal)},
}


def _where(condition, a, b):
    near = a if isinstance(a, Near) else b
    a, b = near.lift(a), near.lift(b)
    if not isinstance(condition, Doubt):
        return near.like(np.where(condition, a.value, b.value), np.where(condition, a.error, b.error))
    apart = np.abs(a.value - b.value) + np.maximum(a.error, b.error)
    error = np.where(condition.unsure, apart, np.where(condition.value, a.error, b.error))
    return near.like(np.where(condition.value, a.value, b.value), error)


def _sum(a, axis=None, keepdims=False):
    count = a.value.size // max(1, a.shape[0] if a.ndim else 1)
    value, error, size = (np.sum(v, axis=axis, keepdims=keepdims) for v in (a.value, a.error, np.abs(a.value)))
    return a.rounded(value, error, size, count + STEPS)


def _zeros_like(a, shape=None, dtype=None):
    zeros = np.zeros(a.shape if shape is None else shape, dtype)
    return Doubt(zeros, zeros) if dtype is bool else a.lift(zeros)


def _joined(f):
    def join(arrays, axis=0):
        return arrays[0].like(f([a.value for a in arrays], axis=axis), f([a.error for a in arrays], axis=axis))

    return join


FUNCTIONS = {
    np.where: _where,
    np.sum: _sum,
    np.stack: _joined(np.stack),
    np.concatenate: _joined(np.concatenate),
    np.reshape: lambda a, shape: a.like(a.value.reshape(shape), a.error.reshape(shape)),
    np.broadcast_to: lambda a, shape: a.like(np.broadcast_to(a.value, shape), np.broadcast_to(a.error, shape)),
    np.zeros_like: _zeros_like,
    np.any: lambda a: bool(np.any(a.value)),
}
