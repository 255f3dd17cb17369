"""Products on every instruction set that this processor has: of small whole numbers, whose sums are exact."""

import os
import subprocess
import sys
from hashlib import sha256

import numpy as np
import pytest

import pyref
from relprop import _core

IMAGES = [  # channels in and out, axes, kernel, stride: tiles that are full, and with one place or half a register more
    (5, 9, (7, 7), 1, 1),
    (300, 20, (7, 7), 1, 1),
    (33, 40, (14, 14), 1, 2),
    (6, 37, (7, 8), 3, 1),
    (20, 33, (14, 15), 3, 1),
    (3, 12, (17, 17), 5, 2),
]
ROWS = [(1, 40, 17), (3, 65, 33), (40, 129, 10)]


def answers(m):
    """Forward and back, densely and where most values are 0."""
    rng = np.random.default_rng(0)

    def whole(*shape, of=7):
        return (rng.integers(0, of, shape) - of // 2).astype(np.float32)

    for channels, rows, axes, kernel, stride in IMAGES:
        w, options = whole(rows, channels, kernel, kernel), {"stride": stride, "padding": kernel // 2}
        for few in (1, 4):
            x = whole(3, channels, *axes) * (whole(3, channels, *axes, of=few) == 0)
            z = m.conv_forward(x, w, **options)
            G = whole(*z.shape) * (whole(*z.shape, of=few) == 0)
            yield z
            yield m.conv_gradient(x, w, None, G, **options)
    for n, channels, rows in ROWS:
        x, w, G = whole(n, channels), whole(channels, rows), whole(n, rows)
        yield m.dense_forward(x, w)
        yield m.dense_gradient(x, w, None, G)


def digest(m):
    return sha256(b"".join((a + np.float32(0)).tobytes() for a in answers(m))).hexdigest()  # + 0: -0 is 0


CODE = """
from relprop import _core, cpu
from test_instruction_sets import digest
print(_core.instruction_set(), digest(cpu))
"""


@pytest.mark.parametrize("isa", ["baseline", "x86-64-v3", "x86-64-v4"])
def test_products_are_exact(isa):
    environment = os.environ | {"RELPROP_ISA": isa, "PYTHONPATH": os.path.dirname(__file__)}
    run = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, env=environment, check=True)
    chosen, got = run.stdout.split()
    if chosen != isa:
        pytest.skip(f"this processor, or this build, has {_core.instruction_set()} at most")
    assert got == digest(pyref)
