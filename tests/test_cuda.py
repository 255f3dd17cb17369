"""The CUDA backend as a module: its names, errors, arrays and bits. Kernels run on the emulated device here.

Emulated are the sources of the kernels, line by line. What a real device adds, streams that run ahead of the host
foremost, is not shown by this file.
"""

import inspect
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType

import emulated
import numpy as np
import pytest
from parity import assert_relevance, widened
from test_cpu import REFUSED, arrays

import pyref
import relprop.cuda
from pyref.layers.dense import dense_terms
from relprop import _core
from relprop.backends import resolve

EXTENSION = emulated.compiled()
CUDA, MISSING = emulated.backend()
on_the_emulated_device = pytest.mark.skipif(CUDA is None, reason=f"cuda-emulated: {MISSING}")

X, W, B, R = arrays()


# ---- names ----


def test_it_has_every_name_of_pyref():
    for name in pyref.__all__:
        assert hasattr(relprop.cuda, name)
    assert set(relprop.cuda.KERNELS) <= set(pyref.__all__)


@on_the_emulated_device
def test_the_list_of_kernels_is_what_is_compiled():
    assert set(relprop.cuda.KERNELS) == set(pyref.__all__) & set(dir(EXTENSION))


@on_the_emulated_device
def test_signatures_and_docstrings_are_the_textbooks():
    for name in relprop.cuda.KERNELS:
        mine, theirs = getattr(CUDA, name), getattr(pyref, name)
        assert mine is not theirs
        assert inspect.signature(mine) == inspect.signature(theirs)
        assert mine.__doc__ == theirs.__doc__


# ---- where there are no kernels, or no device ----


def test_a_build_without_cuda_says_how_to_get_it():
    if _core.cuda is not None:
        pytest.skip("this build has CUDA kernels")
    for call in (lambda: relprop.cuda.dense_forward(X, W), relprop.cuda.devices, lambda: relprop.cuda.to_device(X)):
        with pytest.raises(RuntimeError, match=r"no CUDA kernels.*RELPROP_CUDA=on") as error:
            call()
        assert _core.cuda_build in str(error.value) and "\n" not in str(error.value)
    with pytest.raises(RuntimeError, match=r"this build of relprop has no backend 'cuda'.*built: pyref, cpu") as error:
        resolve("cuda")
    assert _core.cuda_build in str(error.value)


@on_the_emulated_device
def test_a_machine_without_a_device_says_so(monkeypatch):
    monkeypatch.setenv("RELPROP_EMULATE_DEVICES", "0")
    assert CUDA.devices() == []
    with pytest.raises(RuntimeError, match="no device"):
        CUDA.dense_forward(X, W)
    monkeypatch.delenv("RELPROP_EMULATE_DEVICES")
    assert CUDA.devices()[0]["name"] == "emulated"
    assert np.array_equal(CUDA.dense_forward(X, W), CUDA.dense_forward(X, W))


@on_the_emulated_device
def test_a_function_without_a_kernel_is_an_error_that_names_it(monkeypatch):
    others = tuple(name for name in relprop.cuda.KERNELS if name != "softmax_forward")
    monkeypatch.setattr(relprop.cuda, "KERNELS", others)
    without = ModuleType("without")
    relprop.cuda.mirror(vars(without), EXTENSION, "")
    assert without.dense_forward(X, W).shape == R.shape
    with pytest.raises(RuntimeError, match=r"softmax_forward has no CUDA kernel.*numpy's ndarray"):
        without.softmax_forward(X)


# ---- errors ----


@on_the_emulated_device
@pytest.mark.parametrize("what", REFUSED)
def test_errors_are_pyrefs_word_for_word(what):
    with pytest.raises((ValueError, TypeError)) as theirs:
        REFUSED[what](pyref)
    with pytest.raises(type(theirs.value)) as mine:
        REFUSED[what](CUDA)
    assert str(mine.value) == str(theirs.value)


@on_the_emulated_device
@pytest.mark.parametrize("bad", [X.astype(np.float16), X.astype(int), X > 0, X + 0j, X.tolist(), None, 3])
def test_dtypes_are_refused_in_pyrefs_words(bad):
    with pytest.raises(TypeError) as theirs:
        pyref.check.check_float("x", bad)
    with pytest.raises(TypeError) as mine:
        CUDA.dense_forward(bad, W)
    assert str(mine.value) == str(theirs.value)


@on_the_emulated_device
def test_out_of_memory_says_what_was_needed_and_the_next_call_works(monkeypatch):
    before = EXTENSION.allocated()
    monkeypatch.setenv("RELPROP_EMULATE_MEMORY", str(before + 1000))
    with pytest.raises(MemoryError, match=r"dense_forward: needs 1\.44 kB of device memory; .* of .*B are free"):
        CUDA.dense_forward(X, W)
    monkeypatch.delenv("RELPROP_EMULATE_MEMORY")
    assert EXTENSION.allocated() == before
    CUDA.dense_forward(X, W)


@on_the_emulated_device
def test_an_error_of_cuda_names_the_operation_and_the_next_call_works():
    before = EXTENSION.allocated()
    EXTENSION.fail_next(1)
    with pytest.raises(RuntimeError, match=r"dense_forward: invalid argument \(cudaErrorInvalidValue\)"):
        CUDA.dense_forward(X, W)
    CUDA.dense_forward(X, W)
    assert EXTENSION.allocated() == before


@on_the_emulated_device
def test_a_device_that_there_is_no_code_for_says_so_and_the_next_call_works():
    EXTENSION.fail_next(209)
    with pytest.raises(RuntimeError, match=r"dense_forward: this build has no code for the device; .* 8.0 and later"):
        CUDA.dense_forward(X, W)
    CUDA.dense_forward(X, W)


@on_the_emulated_device
def test_every_launch_is_waited_for_on_request(monkeypatch):
    """So that what goes wrong in a kernel is told of the operation that started it, and not of a later one."""
    x, w, b, r = map(CUDA.to_device, (X, W, B, R))

    def costs():
        CUDA.reset_counters()
        CUDA.dense_relevance(x, w, b, r, pyref.AlphaBeta())
        return CUDA.counters()

    assert costs()["launches"] > 1 and costs()["waits"] == 0
    monkeypatch.setenv("RELPROP_CUDA_SYNC", "1")
    assert costs()["waits"] == costs()["launches"]


@on_the_emulated_device
def test_a_fault_of_the_device_says_that_the_context_is_lost():
    EXTENSION.fail_next(700, sticky=True)
    try:
        with pytest.raises(RuntimeError, match=r"illegal memory access.*context is lost.*RELPROP_CUDA_SYNC=1"):
            CUDA.dense_forward(X, W)
        relprop.cpu.dense_forward(X, W)
    finally:
        EXTENSION.fail_next(0, sticky=True)
    CUDA.dense_forward(X, W)


# ---- arrays ----


class Foreign:
    """An array of another library: a view of device memory with strides of its own, through one protocol."""

    def __init__(self, array, protocol, strides=None, shape=None):
        self.array, self.protocol, self.strides, self.shape = array, protocol, strides, shape or array.shape
        self.dtype, self.ndim = array.dtype, len(self.shape)

    def __getattr__(self, name):
        if name == "__cuda_array_interface__" and self.protocol == name:
            about = dict(self.array.__cuda_array_interface__)
            return about | {"shape": self.shape, "strides": self.strides, "stream": None}
        if name in ("__dlpack__", "__dlpack_device__") and self.protocol == "__dlpack__":
            return getattr(self.array, name)
        raise AttributeError(name)


PROTOCOLS = ["__cuda_array_interface__", "__dlpack__"]


@pytest.fixture
def library(monkeypatch):
    """A module `foreign` with from_dlpack, as CuPy has."""
    module = ModuleType("foreign")
    module.from_dlpack = lambda array: Foreign(EXTENSION.to_device(Capsuled(array)), PROTOCOLS[1])
    monkeypatch.setitem(sys.modules, "foreign", module)
    monkeypatch.setattr(Foreign, "__module__", "foreign")
    return module


class Capsuled:
    """An array that only speaks DLPack."""

    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


@on_the_emulated_device
def test_what_comes_from_the_device_stays_there():
    x, w, b = map(CUDA.to_device, (X, W, B))
    z = CUDA.dense_forward(x, w, b)
    assert isinstance(z, EXTENSION.Array) and z.shape == (6, 9) and z.dtype == X.dtype and z.device == 0
    assert np.array_equal(CUDA.to_host(z), CUDA.dense_forward(X, W, B))
    mine, theirs = CUDA.Account(), CUDA.Account()
    CUDA.dense_relevance(x, w, b, CUDA.to_device(R), pyref.ZPlus(), z, mine)
    CUDA.dense_relevance(X, W, B, R, pyref.ZPlus(), CUDA.to_host(z), theirs)
    assert np.array_equal(CUDA.to_host(mine.bias), theirs.bias)
    assert np.array_equal(CUDA.to_host(mine.stabilizer), theirs.stabilizer)


@on_the_emulated_device
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_another_librarys_arrays_go_in_and_come_out(library, protocol):
    x, w = (Foreign(CUDA.to_device(v), protocol) for v in (X, W))
    z = CUDA.dense_forward(x, w)
    assert isinstance(z, Foreign)
    assert np.array_equal(CUDA.to_host(z.array), CUDA.dense_forward(X, W))


@on_the_emulated_device
def test_any_strides(library):
    """Transposed, reversed and spread views of device memory, read where they lie."""
    for wide in (np.float32, np.float64):
        w = CUDA.to_device(np.ascontiguousarray(W.T.astype(wide)))
        size = w.dtype.itemsize
        transposed = Foreign(w, PROTOCOLS[0], strides=(size, size * W.shape[0]), shape=W.shape)
        x = CUDA.to_device(np.repeat(X, 2, axis=1))
        every_other = Foreign(x, PROTOCOLS[0], strides=(2 * 8 * X.shape[1], 16), shape=X.shape)
        z = CUDA.dense_forward(every_other, transposed)
        assert np.array_equal(CUDA.to_host(z.array), CUDA.dense_forward(X, W.astype(wide)))


@on_the_emulated_device
def test_memory_lives_as_long_as_somebody_holds_it():
    """A view keeps its producer, and nothing is held once nobody needs it."""
    before = EXTENSION.allocated()
    view = EXTENSION.to_device(Capsuled(CUDA.to_device(X)))  # the producer's name is gone
    assert EXTENSION.allocated() == before + X.nbytes
    assert np.array_equal(CUDA.to_host(view), X)
    unread = view.__dlpack__()
    del view
    assert EXTENSION.allocated() == before + X.nbytes
    del unread
    assert EXTENSION.allocated() == before
    CUDA.dense_relevance(X, W, B, R, pyref.Gamma())
    assert EXTENSION.allocated() == before


@on_the_emulated_device
def test_host_and_device_do_not_meet_in_a_call():
    with pytest.raises(RuntimeError, match="dense_forward: w is in host memory and x is on device 0; move one"):
        CUDA.dense_forward(CUDA.to_device(X), W)


INTEGERS = [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64]


@on_the_emulated_device
def test_device_arrays_are_refused_by_the_host_by_name(library):
    with pytest.raises(RuntimeError, match="w is a foreign array in device memory, which needs the backend 'cuda'"):
        relprop.cpu.dense_forward(X, Foreign(CUDA.to_device(W), PROTOCOLS[1]))


@on_the_emulated_device
@pytest.mark.parametrize("kind", INTEGERS)
def test_ids_of_any_kind_are_read_where_they_lie(kind):
    ids, table = np.array([[3, 0], [7, 19]], kind), CUDA.to_device(W)
    assert np.array_equal(CUDA.to_host(CUDA.embedding_forward(CUDA.to_device(ids), table)), W[ids])
    with pytest.raises(ValueError, match="ids holds 1 values outside 0 to 19"):
        CUDA.embedding_forward(CUDA.to_device(ids + kind(1)), table)
    with pytest.raises(TypeError, match="ids has dtype f8, expected integers"):
        CUDA.embedding_forward(table, table)


@on_the_emulated_device
def test_an_array_of_numpys_goes_there_once():
    """However often a call reads it: the rule looks at x, too."""
    for call, arrays_of_it in (
        (lambda: CUDA.dense_relevance(X, W, B, R, pyref.Epsilon()), 4),
        (lambda: CUDA.dense_relevance(X, W, B, R, pyref.ZBox(-9, 9)), 4),
        (lambda: CUDA.add_relevance((X, 2 * X), X, pyref.AlphaBeta()), 2),
        (lambda: CUDA.multiply_gradient((X, X), X), 1),
        (lambda: CUDA.dense_relevance(X.astype(np.float32), W, B, R, pyref.Epsilon()), 4),
    ):
        call()  # what is made once is there
        CUDA.reset_counters()
        call()
        assert CUDA.counters()["uploads"] == arrays_of_it


@on_the_emulated_device
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bounds_of_a_box_that_are_arrays_are_each_their_own(dtype):
    """Both are spread to a sample in a call, in memory that the second may find where the first was."""
    x, w, b, r = (v.astype(dtype) for v in (X, W, B, R))
    low, high = np.arange(-29, -9.0), np.arange(9.0, 29)
    for bounds in ((low, high), (low.astype(np.float32), np.float32(9)), (-9, high.tolist())):
        rule = pyref.ZBox(*(np.asarray(v) if isinstance(v, list) else v for v in bounds))
        spread = pyref.ZBox(*(np.broadcast_to(v, 20).astype(dtype) for v in (rule.low, rule.high)))
        terms = dense_terms(widened(x, dtype), widened(w, dtype))
        wide_b, wide_r = widened(b, dtype), widened(r, dtype)
        arguments = {"x": x, "w": w, "b": b, "R": r, "rule": rule}
        assert_relevance(
            "dense_relevance", CUDA, arguments, terms, wide_b, wide_r, spread, dtype, "dense z_box, arrays"
        )


@on_the_emulated_device
def test_to_device_and_back():
    for a in (X, X.astype(np.float32), np.arange(5), np.zeros((0, 3)), np.array(2.5), X[::-2, ::3]):
        there = CUDA.to_device(a)
        back = CUDA.to_host(there)
        assert there.shape == a.shape and back.dtype == a.dtype and np.array_equal(back, a)
    assert repr(CUDA.to_device(X)) == "Array(shape=(6, 20), dtype=float64, device=0)"
    assert len(CUDA.to_device(X)) == 6


# ---- bits ----


def all_rules():
    return [pyref.RULES[name]() for name in pyref.RULES if name not in ("pass_", "z_box")]


@on_the_emulated_device
def test_the_order_of_blocks_and_threads_changes_no_bit(monkeypatch):
    x, w, b, R = arrays(70, 40, 70, np.float32)
    calls = [lambda rule=rule: CUDA.dense_relevance(x, w, b, R, rule).tobytes() for rule in all_rules()]
    for shape in ((2, 1400), (7, 400), (1, 2800, 1), (1, 200, 14), (1, 1400, 2)):  # a team of each size, both ways
        of = x.reshape(shape)
        calls += [lambda of=of: CUDA.softmax_forward(of).tobytes(), lambda of=of: CUDA.sum_forward(of, 1).tobytes()]
    forward = [call() for call in calls]
    monkeypatch.setenv("RELPROP_EMULATE_ORDER", "reverse")
    assert [call() for call in calls] == forward


@on_the_emulated_device
def test_calls_from_several_threads_say_the_same_to_the_bit():
    calls = [lambda rule=rule: CUDA.dense_relevance(X, W, B, R, rule).tobytes() for rule in all_rules()] * 3
    alone = [call() for call in calls]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda call: call(), calls)) == alone


# ---- passes ----

# Products per call, in units of one matrix product of the layer, with z known. Parts of one pass over the weights
# count apart, though they share it.
PASSES = [
    (pyref.Epsilon(), 0, 1),
    (pyref.Norm(), 0, 1),
    (pyref.ZPlus(), 2, 2),
    (pyref.AlphaBeta(), 4, 4),
    (pyref.Gamma(form="weight"), 1, 1),
    (pyref.Gamma(), 1, 2),
    (pyref.WSquare(), 0, 1),
    (pyref.Flat(), 0, 1),
    (pyref.ZBox(-9, 9), 2, 2),
]


@on_the_emulated_device
@pytest.mark.parametrize(("rule", "forward", "back"), PASSES, ids=str)
def test_passes(rule, forward, back):
    x, w, b, R = arrays(8, 300, 40, np.float32)
    z = pyref.dense_forward(x, w, b)
    CUDA.reset_counters()
    CUDA.dense_relevance(x, w, b, R, rule, z)
    once = 2 * 300 * 40 if isinstance(rule, pyref.WSquare | pyref.Flat) else 0  # a sum over weights alone
    assert CUDA.counters()["flops"] == (forward + back) * 2 * 8 * 300 * 40 + once
    spread = 2 * isinstance(rule, pyref.ZBox)  # its bounds, which are numbers: no copies from the host
    assert CUDA.counters()["launches"] - spread <= 2 + isinstance(
        rule, pyref.ZBox
    )  # which looks whether x is in the box


@on_the_emulated_device
@pytest.mark.parametrize("rule", all_rules(), ids=str)
def test_averages_look_at_the_input_no_more_often_than_they_must(rule):
    """One look for the sums of all parts, none where z is known; and one more for what returns."""
    x, R = np.ones((2, 3, 8, 8), np.float32), np.ones((2, 3, 4, 4), np.float32)
    z = CUDA.avg_pool_forward(x, 2)
    CUDA.reset_counters()
    CUDA.avg_pool_relevance(x, R, rule, 2, z=z)
    known = isinstance(rule, pyref.Epsilon | pyref.Norm)
    assert CUDA.counters()["launches"] == (1 if known else 2)


def test_the_module_imports_without_anything_to_run_on():
    code = "import relprop.cuda; assert relprop.cuda.Epsilon and relprop.cuda.dense_forward"
    subprocess.run([sys.executable, "-c", code], check=True)
