"""Arithmetic of arrays in device memory: NumPy's functions say the same of them as of NumPy's arrays."""

import operator

import numpy as np
import pytest
from bound import unit
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

DTYPES = [np.float64, np.float32, np.int64, np.bool_]
SPECIAL = np.array([0.0, -0.0, 1.5, -2.25, 1e-310, np.inf, -np.inf, np.nan, 3.0])


def same(got, want, cuda):
    """Equal to the bit, but for the sign of NaN; of the same shape and dtype."""
    here, want = cuda.to_host(got), np.asarray(want)
    assert here.shape == want.shape and here.dtype == want.dtype
    if want.dtype.kind == "f":
        is_nan = np.isnan(want)
        assert np.array_equal(np.isnan(here), is_nan)
        assert np.array_equal(np.signbit(here[~is_nan]), np.signbit(want[~is_nan]))
    assert np.array_equal(here, want, equal_nan=want.dtype.kind == "f")


def values(dtype, shape=(3, 4), seed=0):
    rng = np.random.default_rng(seed)
    v = rng.integers(-3, 4, size=shape) / (2 if np.dtype(dtype).kind == "f" else 1)
    return v.astype(dtype)


BINARY = [np.add, np.subtract, np.multiply, np.divide, np.maximum, np.minimum]
COMPARISONS = [np.less, np.less_equal, np.greater, np.greater_equal, np.equal, np.not_equal]


@pytest.mark.parametrize("f", [*BINARY, *COMPARISONS], ids=lambda f: f.__name__)
@pytest.mark.parametrize(("left", "right"), [(a, b) for a in DTYPES[:3] for b in DTYPES[:3]])
def test_two_arrays(cuda, f, left, right):
    a, b = values(left), values(right, (4,), 1)
    if f is np.divide:
        b[b == 0] = 1
    with np.errstate(all="ignore"):
        same(f(cuda.to_device(a), cuda.to_device(b)), f(a, b), cuda)


@pytest.mark.parametrize("dtype", DTYPES[:2])
@pytest.mark.parametrize("f", [*BINARY, *COMPARISONS], ids=lambda f: f.__name__)
def test_special_values(cuda, f, dtype):
    a = SPECIAL.astype(dtype)[:, None]
    b = SPECIAL.astype(dtype)
    if f in (np.maximum, np.minimum):  # which zero wins is not said
        a, b = np.abs(a), np.abs(b)
    with np.errstate(all="ignore"):
        same(f(cuda.to_device(a), cuda.to_device(b)), f(a, b), cuda)


UNARY = [np.negative, np.abs, np.sqrt, np.floor, np.isfinite, np.isnan, np.sign, np.positive]


@pytest.mark.parametrize("dtype", DTYPES[:2])
@pytest.mark.parametrize("f", UNARY, ids=lambda f: f.__name__)
def test_one_array(cuda, f, dtype):
    a = np.concatenate((SPECIAL, values(np.float64, (20,)))).astype(dtype)
    with np.errstate(all="ignore"):
        same(f(cuda.to_device(a)), f(a), cuda)


@pytest.mark.parametrize("dtype", DTYPES[:2])
@pytest.mark.parametrize("f", [np.exp, np.expm1, np.log, np.log1p, np.tanh], ids=lambda f: f.__name__)
def test_functions_that_round(cuda, f, dtype):
    """Eight units, as the scalar functions of csrc/math are held to."""
    a = np.geomspace(1e-6, 20, 50).astype(dtype)
    want = f(a.astype(np.float64 if dtype is np.float32 else np.longdouble))
    got = cuda.to_host(f(cuda.to_device(a)))
    assert got.dtype == dtype
    assert (np.abs(got - want) <= 16 * unit(dtype) * np.abs(want)).all()


@pytest.mark.parametrize("dtype", DTYPES[:2])
def test_powers(cuda, dtype):
    a, b = np.geomspace(1e-3, 20, 50).astype(dtype), np.linspace(-3, 3, 50).astype(dtype)
    want = a.astype(np.longdouble) ** b
    got = cuda.to_host(cuda.to_device(a) ** cuda.to_device(b))
    assert got.dtype == dtype
    assert (np.abs(got - want) <= 16 * unit(dtype) * want).all()


@pytest.mark.parametrize("number", [2, 0.5, -0.0, np.float32(0.1), np.float64(0.1), True, np.inf])
@pytest.mark.parametrize("dtype", DTYPES[:2])
def test_numbers_widen_as_numpys_do(cuda, dtype, number):
    a = values(dtype)
    there = cuda.to_device(a)
    with np.errstate(invalid="ignore"):
        same(there * number, a * number, cuda)
        same(number - there, number - a, cuda)
    same(np.where(there > 0, there, number), np.where(a > 0, a, number), cuda)


def test_truth(cuda):
    a, b = values(np.float64) > 0, values(np.float64, seed=3) > 0
    there = [cuda.to_device(v) for v in (a, b)]
    for f in (operator.and_, operator.or_):
        same(f(*there), f(a, b), cuda)
    same(~there[0], ~a, cuda)
    assert bool(there[0].any()) and not bool(there[0].all())


SHAPES = [(3, 4), (1, 5), (2, 3, 4), (7,), (2, 1, 3, 2), (3, 200), (1, 40, 33)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("f", [np.sum, np.max, np.min, np.any, np.all, np.argmax, np.argmin], ids=lambda f: f.__name__)
def test_reductions(cuda, f, dtype, shape):
    a = values(dtype, shape)  # halves: sums are exact
    there = cuda.to_device(a)
    several = [(0, -1)] if f not in (np.argmax, np.argmin) and len(shape) > 1 else []
    for axis in (None, *range(-1, len(shape)), *several):
        same(f(there, axis=axis), f(a, axis=axis), cuda)
        same(f(there, axis=axis, keepdims=True), f(a, axis=axis, keepdims=True), cuda)
    transposed = (*range(1, len(shape)), 0)
    same(f(np.transpose(there, transposed), axis=0), f(np.transpose(a, transposed), axis=0), cuda)


@pytest.mark.parametrize("dtype", DTYPES[:2])
def test_sums_are_rounded_once_and_the_same_every_time(cuda, dtype):
    a = np.random.default_rng(0).normal(size=(3, 1000)).astype(dtype)
    there = cuda.to_device(a)
    got, wide = cuda.to_host(np.sum(there, axis=1)), a.astype(np.longdouble)
    bound = unit(dtype) * np.abs(wide.sum(axis=1)) + a.shape[1] * unit(np.float64) * np.abs(wide).sum(axis=1)
    assert (np.abs(got - wide.sum(axis=1)) <= bound).all()
    assert np.array_equal(cuda.to_host(np.sum(there, axis=1)), got)


def test_nan_wins_and_nothing_is_neutral(cuda):
    a = np.array([[1.0, np.nan, 3.0], [np.inf, -np.inf, 0.0]])
    there = cuda.to_device(a)
    for f in (np.max, np.min, np.argmax, np.argmin):
        same(f(there, axis=1), f(a, axis=1), cuda)
    empty = np.zeros((0, 3))
    for f in (np.sum, np.any, np.all):
        same(f(cuda.to_device(empty), axis=0), f(empty, axis=0), cuda)
    for f in (np.max, np.argmax):
        with pytest.raises(ValueError, match=r"zero-size|empty"):
            f(cuda.to_device(empty), axis=0)


VIEWS = {
    "first": lambda a: a[0],
    "last of all": lambda a: a[-1, -1, -1],
    "slices": lambda a: a[:, 1:3],
    "steps": lambda a: a[..., ::-2],
    "new axis": lambda a: a[None, :, None],
    "rows": lambda a: a[[1, 0, 1]],
    "rows evenly": lambda a: a[[0, 1]],
    "rows alike": lambda a: a[[1, 1, 1]],
    "no rows": lambda a: a[[]],
    "take": lambda a: np.take(a, [2, 0, 0], axis=1),
    "take of": lambda a: np.take(a, [[0, 1], [1, 1]], axis=0),
    "transpose": lambda a: np.transpose(a, (2, 0, 1)),
    "T": lambda a: a.T,
    "swapaxes": lambda a: np.swapaxes(a, 0, 2),
    "moveaxis": lambda a: np.moveaxis(a, 0, -1),
    "reshape": lambda a: np.reshape(a, (-1, 2)),
    "reshape of a view": lambda a: np.reshape(np.swapaxes(a, 0, 1), (3, 8)),
    "ravel": np.ravel,
    "expand_dims": lambda a: np.expand_dims(a, 1),
    "squeeze": lambda a: np.squeeze(a[:1]),
    "flip": lambda a: np.flip(a, 1),
    "broadcast_to": lambda a: np.broadcast_to(a[0], (5, 3, 4)),
    "stack": lambda a: np.stack((a, a + 1), axis=1),
    "concatenate": lambda a: np.concatenate((a, a[:, :1]), axis=-2),
    "zeros_like": lambda a: np.zeros_like(a, shape=(2, 2)),
    "ones_like": lambda a: np.ones_like(a),
    "full_like": lambda a: np.full_like(a, 7, shape=3),
    "arange": lambda a: np.arange(5, like=a),
    "mean": lambda a: np.mean(a, axis=(0, 2)),
    "clip": lambda a: np.clip(a, -1, 1),
    "count_nonzero": lambda a: np.count_nonzero(a, axis=0) + 0,
    "astype": lambda a: a.astype(np.float32),
    "iterated": lambda a: np.stack(list(a)),
}


@pytest.mark.parametrize("name", VIEWS)
def test_views_and_pieces(cuda, name):
    a = values(np.float64, (2, 3, 4))
    same(VIEWS[name](cuda.to_device(a)), VIEWS[name](a), cuda)


@given(data=st.data())
def test_indexing_as_numpy_does(cuda, data):
    shape = data.draw(npst.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
    a = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    key = data.draw(npst.basic_indices(shape, allow_newaxis=True))
    same(cuda.to_device(a)[key], a[key], cuda)
    there = cuda.to_device(a)
    there[key] = -1
    a[key] = -1
    same(there, a, cuda)


@given(shapes=npst.mutually_broadcastable_shapes(num_shapes=3, max_dims=4, max_side=3))
def test_broadcasting_as_numpy_does(cuda, shapes):
    a, b, c = (np.arange(np.prod(s), dtype=np.float64).reshape(s) - 3 for s in shapes.input_shapes)
    there = [cuda.to_device(v) for v in (a, b, c)]
    same(there[0] - there[1], a - b, cuda)
    same(np.where(there[0] > 0, there[1], there[2]), np.where(a > 0, b, c), cuda)


def test_what_is_written_is_seen_by_all_views(cuda):
    a = values(np.float64, (4, 5))
    there = cuda.to_device(a)
    view, mine = there[1:3, ::2], a[1:3, ::2]
    view += 10
    mine += 10
    there[[3, 0]] = cuda.to_device(np.ones((2, 5)))
    a[[3, 0]] = 1
    there[0, 1:] = there[0, 1:] * 2
    a[0, 1:] *= 2
    there[:, 0] = cuda.to_device(np.float32([1, 2, 3, 4]))
    a[:, 0] = [1, 2, 3, 4]
    turned, its = there.T, a.T
    turned[[4, 1]] = 7
    its[[4, 1]] = 7
    same(there, a, cuda)


def test_what_is_written_may_overlap_what_is_read(cuda):
    a = values(np.float64, (300,))
    there = cuda.to_device(a)
    there[1:] = there[:-1]
    a[1:] = a[:-1].copy()
    same(there, a, cuda)


MATRICES = [
    *[((2, 3), (3, 4)), ((3,), (3, 4)), ((2, 3), (3,)), ((3,), (3,))],
    *[((5, 2, 3), (3, 4)), ((1, 2, 3), (4, 3, 2)), ((2, 0), (0, 3))],
]


@pytest.mark.parametrize(("left", "right"), MATRICES, ids=str)
@pytest.mark.parametrize("dtype", DTYPES[:2])
def test_matrix_products(cuda, left, right, dtype):
    a, b = values(dtype, left), values(dtype, right, 1)  # halves: exact
    same(cuda.to_device(a) @ cuda.to_device(b), np.asarray(a @ b), cuda)


def test_numbers_on_the_host(cuda):
    one = cuda.to_device(np.array([2.5]))
    assert float(one) == 2.5 and int(one) == 2 and bool(one)
    with pytest.raises(ValueError, match="ambiguous"):
        bool(cuda.to_device(np.ones(2)))


def test_what_is_refused(cuda):
    a = cuda.to_device(np.ones((2, 3)))
    for call, message in (
        (lambda: a + np.ones(3), "a NumPy array met an array in device memory"),
        (lambda: np.asarray(a), r"does not become NumPy's unasked; use relprop\.cuda\.to_host"),
        (lambda: np.linalg.norm(a), "np.norm is not for arrays in device memory"),
        (lambda: np.sin(a), "np.sin is not for arrays in device memory"),
        (lambda: np.add.reduce(a), "np.add with reduce"),
        (lambda: a[a > 0], "indexed by numbers, slices, or a list of rows"),
        (lambda: a + cuda.to_device(np.ones(3, np.uint8)), "uint8, which there is no arithmetic for"),
    ):
        with pytest.raises(TypeError, match=message):
            call()
    with pytest.raises(ValueError, match="broadcast"):
        a + cuda.to_device(np.ones(2))
    with pytest.raises(ValueError, match="broadcast"):
        a[0] = cuda.to_device(np.ones(2))
    for key in (2, (0, 3), [2]):
        with pytest.raises(IndexError):
            a[key]
