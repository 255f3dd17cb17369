"""LSTM and GRU on CUDA: errors, passes, the ways of holding weights, bits, device arrays, laws of longer sequences.

On the emulated device, and on a real one where there is one.
"""

import emulated
import numpy as np
import pytest
from bound import rounding
from test_cpu_recurrent import GATES, PASSES, REFUSED, RULE, arrays, results

import pyref
from relprop import _core


@pytest.fixture(scope="module", params=["cuda-emulated", "cuda"])
def device(request):
    """(the backend, the extension that it runs on)"""
    if request.param == "cuda":
        module, missing = emulated.device()
        extension = _core.cuda
    else:
        module, missing = emulated.backend()
        extension = emulated.compiled()
    if missing:
        pytest.skip(f"{request.param}: {missing}")
    return module, extension


@pytest.fixture
def cuda(device):
    return device[0]


# ---- errors ----


@pytest.mark.parametrize("what", REFUSED)
def test_errors_are_pyrefs_word_for_word(cuda, what):
    with pytest.raises((ValueError, TypeError)) as theirs:
        REFUSED[what](pyref)
    with pytest.raises(type(theirs.value)) as mine:
        REFUSED[what](cuda)
    assert str(mine.value) == str(theirs.value)


def test_a_record_that_does_not_fit_is_refused(cuda):
    given, R = arrays("lstm", t=3)
    record = pyref.lstm_forward(given[0][:2], *given[1:])[1]
    with pytest.raises(ValueError, match=r"record.x has shape \(2, 3, 5\), expected \(4, 3, 5\)"):
        cuda.lstm_gradient(*given, R, record=record)


# ---- passes ----


@pytest.mark.parametrize(("layer", "gate", "blocks"), PASSES)
def test_passes(cuda, layer, gate, blocks):
    """LRP-all multiplies by the block g alone: a quarter of what the gradient costs. All steps are one launch."""
    given, R = arrays(layer, t=5)
    n, t, c = given[0].shape
    h = R.shape[-1]
    record = getattr(cuda, f"{layer}_forward")(*given)[1]
    cuda.reset_counters()
    getattr(cuda, f"{layer}_relevance")(*given, R, RULE, gate, record=record)
    assert cuda.counters()["flops"] == 2 * n * t * blocks * h * (h + c)
    cuda.reset_counters()
    getattr(cuda, f"{layer}_gradient")(*given, R, record=record)
    counts = cuda.counters()
    assert counts["flops"] == 2 * n * t * GATES[layer] * h * (h + c)
    assert counts["launches"] == 3, "weights are packed, signals walk back, and reach x"


@pytest.mark.parametrize("layer", GATES)
def test_memory_is_linear_in_time(cuda, layer):
    given, R = arrays(layer, n=2, t=24)
    most = []
    for t in (8, 16, 24):
        cuda.reset_counters()
        getattr(cuda, f"{layer}_relevance")(given[0][:, :t], *given[1:], R[:, :t], pyref.AlphaBeta(), "half")
        most.append(cuda.counters()["bytes_at_once"])
    assert most[1] - most[0] == most[2] - most[1] > 0


# ---- where weights are held ----

HELD = {  # in one block; a share in each of several; nowhere. Bytes of float32 at most, numbers staged at a time
    "block": (),
    "grid": (1000, 1024),
    "grid, states in pieces": (1000, 8),
    "memory": (0, 1024),
    "memory, states in pieces": (0, 8),
}


@pytest.mark.parametrize("linear_before_reset", [True, False])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("layer", GATES)
def test_where_weights_are_held_changes_no_bit(device, layer, dtype, linear_before_reset):
    cuda, extension = device
    options = {} if layer == "lstm" else {"linear_before_reset": linear_before_reset}
    if layer == "lstm" and not linear_before_reset:
        pytest.skip("the LSTM has one form")
    given, R = arrays(layer, n=5, t=3, h=11, dtype=dtype)
    if not linear_before_reset:
        given[-1] = None
    said = {}
    for name, limits in HELD.items():
        extension.hold_recurrent(*(v * (np.dtype(dtype).itemsize // 4) if v == 1000 else v for v in limits))
        try:
            said[name] = [v.tobytes() for v in results(cuda, layer, given, R, **options)]
            assert extension.recurrent_held() == name.partition(",")[0]
            assert said[name] == [v.tobytes() for v in results(cuda, layer, given, R, **options)], "the same call"
        finally:
            extension.hold_recurrent()
    assert all(bits == said["block"] for bits in said.values())


@pytest.mark.parametrize("held", ["block", "grid, states in pieces", "memory"])
@pytest.mark.parametrize("layer", GATES)
def test_more_samples_than_rows_of_a_product(device, layer, held):
    """A sample is the same bits in any batch."""
    cuda, extension = device
    given, R = arrays(layer, n=37, t=2, h=3, dtype=np.float32)
    extension.hold_recurrent(*(HELD[held] and (200 if HELD[held][0] else 0, HELD[held][1])))
    try:
        whole = results(cuda, layer, given, R)
        assert extension.recurrent_held() == held.partition(",")[0]
        for some in (slice(0, 1), slice(5, 7), slice(30, 37)):
            for all_, part in zip(whole, results(cuda, layer, [given[0][some], *given[1:]], R[some]), strict=True):
                np.testing.assert_array_equal(all_[some], part)
    finally:
        extension.hold_recurrent()


@pytest.mark.parametrize("held", ["block", "grid", "memory"])
def test_the_order_of_blocks_and_threads_changes_no_bit(monkeypatch, held):
    cuda, missing = emulated.backend()
    if missing:
        pytest.skip(f"cuda-emulated: {missing}")
    given, R = arrays("lstm", n=3, t=2, h=11, dtype=np.float32)
    emulated.compiled().hold_recurrent(*HELD[held])
    try:
        forward = [v.tobytes() for v in results(cuda, "lstm", given, R)]
        monkeypatch.setenv("RELPROP_EMULATE_ORDER", "reverse")
        assert forward == [v.tobytes() for v in results(cuda, "lstm", given, R)]
    finally:
        emulated.compiled().hold_recurrent()


# ---- arrays on the device ----


@pytest.mark.parametrize("lengths", [None, np.array([3, 0, 2, 1])])
@pytest.mark.parametrize("layer", GATES)
def test_what_comes_from_the_device_stays_there(device, layer, lengths):
    """And is read where it lies: gates of the record are views."""
    cuda, extension = device
    given, R = arrays(layer, t=3)
    on_device = [cuda.to_device(v) for v in given]
    options = {"lengths": lengths, "reverse": True}
    h, record = getattr(cuda, f"{layer}_forward")(*given, **options)
    got, there = getattr(cuda, f"{layer}_forward")(*on_device, **options)
    assert isinstance(got, extension.Array) and type(there) is type(record)
    np.testing.assert_array_equal(cuda.to_host(there.z), record.z)
    if lengths is not None:
        np.testing.assert_array_equal(cuda.to_host(got), h)
    for question, rule in (("gradient", ()), ("relevance", (pyref.ZPlus(),))):
        call = getattr(cuda, f"{layer}_{question}")
        want = call(*given, R, *rule, **options, record=record)
        for g, w in zip(call(*on_device, cuda.to_device(R), *rule, **options, record=there), want, strict=True):
            assert isinstance(g, extension.Array)
            np.testing.assert_array_equal(cuda.to_host(g), w)


# ---- laws of longer sequences ----


@pytest.mark.parametrize("layer", GATES)
def test_whole_sequences_lie_in_the_spread_of_perturbed_ones(cuda, layer):
    """Where pyref moves by as much when its inputs are rounded otherwise, a kernel may be as far from it."""
    given, R = arrays(layer, n=2, t=40)
    want = results(pyref, layer, given, R)
    rng, spread = np.random.default_rng(1), [np.zeros_like(w) for w in want]
    for _ in range(5):
        moved = [v * (1 + rng.choice([-1, 1], v.shape) * rounding(1, 1)) for v in given]
        spread = [
            np.maximum(s, np.abs(w - m)) for s, w, m in zip(spread, want, results(pyref, layer, moved, R), strict=True)
        ]
    for got, w, s in zip(results(cuda, layer, given, R), want, spread, strict=True):
        assert np.max(np.abs(got - w)) <= 10 * np.max(s) + rounding(100, np.max(np.abs(w)))


@pytest.mark.parametrize("layer", GATES)
def test_a_sample_does_not_see_the_others(cuda, layer):
    """NaN in one sample stays there."""
    given, R = arrays(layer, t=5)
    alone = results(cuda, layer, given, R)
    given[0][3, 2] = np.nan
    for whole, clean in zip(results(cuda, layer, given, R), alone, strict=True):
        assert np.isnan(whole[3]).any()
        np.testing.assert_array_equal(whole[:3], clean[:3])
