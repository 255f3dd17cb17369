"""A cap on memory is counted before and holds after: measured in a process of its own."""

import subprocess
import sys

import numpy as np
import pytest

import pyref
import relprop
from relprop.memory import in_bytes, needed, within

NETWORK = relprop.zoo("digits-cnn-relu")
X = np.random.default_rng(0).normal(size=(3, 1, 8, 8)).astype(np.float32)


@pytest.mark.parametrize(
    ("words", "count"), [("1GB", 10**9), ("1.5 MiB", 3 << 19), ("20KB", 20_000), (7, 7), (2e6, 2_000_000)]
)
def test_words_are_bytes(words, count):
    assert in_bytes(words) == count


@pytest.mark.parametrize("words", ["1", "GB", "1TB", "-1MB", 0, -5, None, "1 gb"])
def test_other_words_are_refused(words):
    with pytest.raises(ValueError, match=r"memory is .*expected a number of bytes or words"):
        in_bytes(words)


def test_a_cap_bounds_the_copies_and_no_value_changes():
    need = needed("occlusion", NETWORK, {"image": X})
    cap = need.fixed + 3 * need.sample + 7 * need.copy
    assert within(cap, "occlusion", NETWORK, {"image": X}, {}) == {"batch_size": 7}
    assert within(cap, "occlusion", NETWORK, {"image": X}, {"batch_size": 2}) == {"batch_size": 2}
    assert within(cap, "lrp", NETWORK, {"image": X}, {}) == {}
    free = relprop.explain(NETWORK, X, "occlusion", 0, "pyref")
    seen = []
    score = pyref.copied_output

    def count(run, rows, leaf_values):
        seen.append(len(rows))
        return score(run, rows, leaf_values)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pyref, "copied_output", count)
        capped = relprop.explain(NETWORK, X, "occlusion", 0, "pyref", memory=cap)
    assert max(seen) == 7
    assert np.array_equal(free.values > 0, capped.values > 0)
    assert relprop.fitting(cap, NETWORK, X) == 7


def test_what_does_not_fit_is_refused_with_need_and_cap():
    need = needed("integrated_gradients", NETWORK, {"image": X})
    least = need.fixed + 3 * (need.sample + need.copy)
    assert within(least, "integrated_gradients", NETWORK, {"image": X}, {}) == {"batch_size": 3}
    with pytest.raises(
        ValueError, match=r"memory is .*, but integrated_gradients of 3 samples of .* needs .*; 2 at once"
    ):
        relprop.explain(NETWORK, X, "integrated_gradients", memory=least - 1)
    with pytest.raises(ValueError, match=r"memory is 1 MB, but lrp of 1 sample .* needs .* MB; not even one fits"):
        relprop.explain(NETWORK, X[:1], "lrp", memory="1MB")


MEASURED = """
import re, sys
from pathlib import Path
import numpy as np
import relprop
method, options, cap, batch = sys.argv[1], eval(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
network = relprop.build("vgg16", seed=0, width=0.25, size=64, classes=10)
x = np.random.default_rng(0).normal(size=(batch, 3, 64, 64)).astype(np.float32)

def memory(key):
    return int(re.search(rf"^{key}:\\s+(\\d+) kB", Path("/proc/self/status").read_text(), re.M)[1]) << 10

Path("/proc/self/clear_refs").write_text("5")
before = memory("VmRSS")
relprop.explain(network, x, method, memory=cap, progress=False, **options)
print(memory("VmHWM") - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
@pytest.mark.parametrize(
    ("method", "options", "cap", "batch"),
    [
        ("gradient_times_input", {"inner": True}, 90, 4),
        ("gradient_times_input", {}, 105, 16),
        ("lrp", {"rule": "epsilon_alpha2_beta1", "inner": True}, 90, 4),
        ("lrp", {"rule": "epsilon_alpha2_beta1"}, 105, 16),
        ("deeplift", {"inner": True}, 90, 4),
        ("deeplift", {}, 145, 16),
        ("smoothgrad", {"samples": 3, "inner": True}, 115, 2),
        ("smoothgrad", {"samples": 3}, 145, 16),
        ("integrated_gradients", {"quadrature": "midpoint", "m": 12}, 100, 2),
        ("integrated_gradients", {"quadrature": "midpoint", "m": 12}, 160, 2),
        ("occlusion", {"unit": "patch", "shape": 16, "stride": 8}, 80, 1),
        ("occlusion", {"unit": "patch", "shape": 48, "stride": 4}, 120, 1),
    ],
)
def test_a_cap_holds(method, options, cap, batch):
    """The process never holds more than the cap beyond what it held before."""
    given = [method, repr(options), str(cap * 10**6), str(batch)]
    done = subprocess.run([sys.executable, "-c", MEASURED, *given], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-600:]
    assert 0 < int(done.stdout) <= cap * 10**6
