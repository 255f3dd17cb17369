"""Large arrays come from blocks that are handed out again: what is kept, and that each array has its own numbers."""

import gc
import os
import pickle
import subprocess
import sys
import textwrap
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import pyref
from relprop import _core, cpu

MIB = 2**20
LITTLE, KEPT = 8 * MIB, 320 * MIB
GRAIN = 2 * MIB  # of what is asked of the system


@pytest.fixture(autouse=True)
def _emptied():
    gc.collect()
    cpu.release_memory()
    if made(2 * MIB).size and not _core.blocks()["free"]:
        pytest.skip("this build leaves memory to the C library")
    cpu.release_memory()
    yield
    cpu.release_memory()


def made(size, value=1.0):
    """A new array of so many bytes, from a kernel."""
    return cpu.activation_forward(np.full((1, size // 4), value, np.float32), pyref.Identity())


def held():
    return sum(_core.blocks().values())


def test_a_large_answer_has_a_block_and_a_small_one_has_not():
    before = _core.blocks()["in_use"]
    small = made(MIB // 16 - 4)
    assert _core.blocks()["in_use"] == before
    large = made(5 * MIB)
    assert _core.blocks()["in_use"] == before + 5 * MIB
    view = large[:, 3:]
    del large
    assert _core.blocks()["in_use"] == before + 5 * MIB, "a view keeps it"
    assert (view == 1).all() and small.size
    del view
    assert _core.blocks() == {"in_use": before, "free": 6 * MIB}


def test_what_is_free_is_used_again():
    a = made(10 * MIB)
    place = a.ctypes.data
    del a
    assert made(10 * MIB).ctypes.data == place
    halves = made(5 * MIB), made(5 * MIB, 2)
    assert sorted(h.ctypes.data for h in halves) == [place, place + 5 * MIB]
    assert (halves[0] == 1).all() and (halves[1] == 2).all()
    del halves
    assert made(10 * MIB).ctypes.data == place, "neighbours are joined"


def test_little_more_is_held_than_was_in_use_at_one_time():
    rng = np.random.default_rng(0)
    kept, most = [], 0
    for k in range(300):
        if kept and rng.random() < (0.4 if k < 150 else 0.6):
            kept.pop(rng.integers(len(kept)))
        else:
            kept.append(made(int(rng.integers(1, 25)) * MIB))
        blocks = _core.blocks()
        most = max(most, blocks["in_use"])
        assert held() <= most + max(most // 8, LITTLE) + GRAIN
        assert blocks["free"] <= max(blocks["in_use"], KEPT)
    assert most > KEPT
    kept.clear()
    assert _core.blocks()["in_use"] == 0 and _core.blocks()["free"] <= KEPT
    cpu.release_memory()
    assert held() == 0


def test_every_array_has_its_own_numbers():
    def work(seed):
        rng, mine = np.random.default_rng(seed), []
        for k in range(60):
            if mine and rng.random() < 0.45:
                value, array = mine.pop(rng.integers(len(mine)))
                assert (array == value).all()
            mine.append((seed * 1000 + k, made(int(rng.integers(4, 17)) * MIB // 4, seed * 1000 + k)))
        return all((array == value).all() for value, array in mine)

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(work, range(4)))
    assert _core.blocks()["in_use"] == 0


def test_an_array_is_like_any_other():
    a = made(2 * MIB, 3)
    assert a.flags.writeable and a.flags.c_contiguous
    assert np.array_equal(pickle.loads(pickle.dumps(a)), a)
    assert np.shares_memory(np.from_dlpack(a), a)
    tracemalloc.start()
    try:
        b = made(8 * MIB)
        assert tracemalloc.get_traced_memory()[0] >= b.nbytes
        del b
        assert tracemalloc.get_traced_memory()[0] < MIB
    finally:
        tracemalloc.stop()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_a_forked_process_has_its_own():
    """Also where another thread was amid the blocks when it was forked."""
    code = """
        import os, threading, warnings
        import numpy as np, pyref
        from relprop import _core, cpu
        x, stop = np.ones((1, 2**19), np.float32), threading.Event()
        def work():
            while not stop.is_set():
                cpu.activation_forward(x, pyref.Identity())
        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        warnings.simplefilter("ignore")
        for _ in range(100):
            if not (child := os.fork()):
                _core.release_memory()
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
        stop.set()
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, timeout=60)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_what_is_released_goes_back_to_the_system():
    def resident():
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * 4096

    a = made(60 * MIB)
    del a
    before = resident()
    cpu.release_memory()
    assert before - resident() > 50 * MIB


@pytest.mark.skipif(sys.platform != "linux", reason="limits address space")
def test_without_memory_a_call_fails_and_the_next_works():
    code = """
        import resource, numpy as np, pyref
        from relprop import cpu
        x = np.ones((1, 2**22), np.float32)
        kept = [cpu.activation_forward(x, pyref.Identity()) for _ in range(3)]
        del kept[1]  # free, and too small for what comes
        used = int(open("/proc/self/statm").read().split()[0]) * 4096
        resource.setrlimit(resource.RLIMIT_AS, (used + 2**25,) * 2)
        try:
            cpu.conv_forward(x.reshape(1, 1, 2048, 2048), np.ones((16, 1, 1, 1), np.float32))
        except MemoryError:
            print("refused")
        print(float(cpu.activation_forward(x, pyref.Identity()).sum()) == x.size)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True)
    assert done.stdout.split() == ["refused", "True"], done.stderr
