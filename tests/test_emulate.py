"""The emulated CUDA device: right kernels run, and what a GPU leaves undefined is found and said."""

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

CSRC = Path(__file__).parents[1] / "csrc"
EMULATE = CSRC / "machine/cuda/emulate"
SOURCES = [
    Path(__file__).with_name("emulate.cu"),
    *sorted((CSRC / "machine/cuda").glob("*.cu")),
    *sorted(EMULATE.glob("*.cpp")),
]
WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"]

pytestmark = pytest.mark.skipif(not shutil.which("c++"), reason="no C++ compiler")


@pytest.fixture(scope="module")
def emulate(tmp_path_factory):
    """emulate(case, **environment) → what tests/emulate.cu prints."""
    program = tmp_path_factory.mktemp("emulate") / "emulate"
    command = ["c++", "-std=c++17", "-O1", *WARNINGS, f"-I{EMULATE}", f"-I{CSRC}", "-x", "c++", *map(str, SOURCES)]
    run = subprocess.run([*command, "-o", str(program)], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr

    def run_case(*cases, **environment):
        return subprocess.run(
            [program, *cases], env=os.environ | environment, capture_output=True, text=True, timeout=60
        ).stdout

    return run_case


def numbers(text):
    return [float(v) for v in text.split()]


THREADS = 128


def tensor_product(depth):
    """What each kernel tensor_product sums: 1 + 2 A B."""
    row, k, column = np.arange(16)[:, None], np.arange(depth), np.arange(8)
    return (1 + 2 * (((3 * row + 5 * k) % 7 - 3) @ ((2 * k[:, None] + 3 * column) % 5 - 2))).ravel().tolist()


RIGHT = {
    "sums": [sum(range(THREADS)) + 1000 * THREADS * block for block in range(3)],
    "sums_in_static_memory": [sum(range(THREADS))] * 2,
    "tensor_product_tf32": tensor_product(8),
    "tensor_product_bf16": tensor_product(16),
    "half_a_warp": list(range(15, -1, -1)),
    "ordered_in_a_warp": [i ^ 1 for i in range(THREADS)],
    "meets_the_grid": [1, 2, 0],
    "uses_its_stack": [51] * THREADS,
}


@pytest.mark.parametrize("order", ["forward", "reverse"])
@pytest.mark.parametrize("case", RIGHT)
def test_what_is_right_runs(emulate, case, order):
    """In both orders of blocks and threads, and twice alike."""
    first, second = emulate(case, case, RELPROP_EMULATE_ORDER=order).splitlines()
    assert numbers(first) == RIGHT[case] and first == second


def test_shuffles(emulate):
    """Every kind of shuffle, from the definitions."""
    want = []
    for i in range(THREADS):
        first, lane = i - i % 32, i % 32
        down = i + 2 if lane + 2 < 32 else i
        up = i - 3 if lane >= 3 else i
        want.append((i ^ 1) + 10 * down + 100 * up + 1000 * (first + lane // 8 * 8 + 5))
    assert numbers(emulate("shuffles")) == want


WRONG = {
    "missed_barrier": "thread 0 waits at the barrier in emulate.cu:",
    "two_barriers": "waits at the barrier in emulate.cu:",
    "race": "of shared memory that thread",
    "overwritten": "without a barrier",
    "shuffle_is_no_barrier": "without a barrier",
    "beyond_the_tile": "element 128 of a tile of 128",
    "takes_too_much": "takes 2048 bytes of 1024 of shared memory",
    "beyond_the_buffer": "wrote beside an allocation of 1024 bytes",
    "absent_lane": "lane 3 is in the mask of a meeting and is not there",
    "lane_outside_of_its_mask": "a lane is not in the mask that it meets others by",
    "reads_outside_of_the_mask": "lane 0 reads lane 20, which is not in the mask",
    "meets_the_grid_alone": "its launch was not cooperative",
    "throws": "vector",
    "too_much_shared_memory": "cudaErrorInvalidValue",
}


@pytest.mark.parametrize("order", ["forward", "reverse"])
@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said(emulate, case, order):
    """One line that names the kernel; the device works afterwards."""
    said, after = emulate(case, "sums", RELPROP_EMULATE_ORDER=order).splitlines()
    assert WRONG[case] in said
    if case not in ("throws", "too_much_shared_memory"):
        assert said.startswith(f"kernel {case}: ")
    assert numbers(after) == RIGHT["sums"]


def test_what_is_captured_is_done_at_each_launch(emulate):
    """1 before, 4 after two, 2 after one from 1; three nodes, and one piece for two that were never at once."""
    assert numbers(emulate("records")) == [1, 4, 2, 3, 1]


UNSUPPORTED, INVALIDATED, ISOLATION = 900, 901, 905
SPOILS = {
    "a wait": UNSUPPORTED,
    "a wait for all": UNSUPPORTED,
    "memory": UNSUPPORTED,
    "another stream": ISOLATION,
    "a second one": UNSUPPORTED,
}


@pytest.mark.parametrize("which", SPOILS)
def test_what_spoils_a_capture(emulate, which):
    said, after = emulate(f"cannot_be_recorded{list(SPOILS).index(which)}", "sums").splitlines()
    assert numbers(said) == [SPOILS[which], INVALIDATED, 0]
    assert numbers(after) == RIGHT["sums"]


def test_errors_of_the_runtime(emulate):
    """No device, and no memory: in words, with what was needed."""
    assert "no device" in emulate("sums", RELPROP_EMULATE_DEVICES="0")
    said = emulate("shuffles", RELPROP_EMULATE_MEMORY="1000")
    assert said == "shuffles: needs 1.02 kB of device memory; 1.00 kB of 1.00 kB are free\n"
