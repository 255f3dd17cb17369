"""Copies whose change one kernel carries from an image to a dense layer: what evaluating every copy gives."""

import numpy as np
import pytest
from bound import sum_bound
from hypothesis import given
from hypothesis import strategies as st

import pyref
from pyref.layers.conv import conv_windows
from pyref.layers.pool import max_pool_windows
from relprop import _core, copies, cpu

CHANNELS = (1, 2, 3, 7, 16, 17, 49)  # one, primes, a register of either precision, and one past registers
ACTIVATIONS = (pyref.ReLU(), pyref.LeakyReLU(0.25), pyref.Identity())


class Layers:
    """pyref, but that copies are the CPU's; `calls` are those of layers that look through windows."""

    def __init__(self):
        self.calls = 0

    def __getattr__(self, name):
        self.calls += name in ("conv_forward", "max_pool_forward")
        return getattr(pyref, name)

    copied_output = staticmethod(copies.copied_output)


def _axis(data, length):
    """kernel, stride, (before, after), dilation that fit along an axis."""
    kernel, dilation = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 2))
    before, after = (data.draw(st.integers(0, kernel - 1)) for _ in range(2))
    if (kernel - 1) * dilation + 1 > length + before + after:
        return 1, 1, (0, 0), 1
    return kernel, data.draw(st.integers(1, 3)), (before, after), dilation


def _network(data, random):
    """A chain of layers; whole numbers and quarters, so that float64 is exact arithmetic."""

    def whole(*shape):
        return random.integers(-3, 4, size=shape).astype(float)

    rank = data.draw(st.integers(1, 3))
    shape = (
        data.draw(st.sampled_from(CHANNELS)),
        *(data.draw(st.integers(1, 13 if rank < 3 else 5)) for _ in range(rank)),
    )
    layers, x = [], np.zeros((1, *shape))
    for kind in data.draw(st.lists(st.sampled_from(["conv", "pool", "activation", "nothing"]), min_size=1, max_size=5)):
        axes = [_axis(data, length) for length in x.shape[2:]]
        kernel, stride, padding, dilation = (tuple(of) for of in zip(*axes, strict=True))
        if kind == "conv":
            out = data.draw(st.sampled_from(CHANNELS))
            w, b = whole(out, x.shape[1], *kernel), whole(out) if data.draw(st.booleans()) else None
            layers.append(pyref.Conv(w, b, stride, padding, dilation))
        elif kind == "pool":
            layers.append(pyref.MaxPool(kernel, stride, padding, dilation, ceil_mode=data.draw(st.booleans())))
            try:
                layers[-1].forward(pyref, x)
            except ValueError:  # a window would lie in the padding
                layers[-1] = pyref.MaxPool((1,) * rank)
        else:
            of = (pyref.Dropout(0.5), pyref.AdaptiveAvgPool(x.shape[2:])) if kind == "nothing" else ACTIVATIONS
            layers.append(data.draw(st.sampled_from(of)))
        x = layers[-1].forward(pyref, x)
    head = pyref.Dense(whole(x[0].size, data.draw(st.sampled_from([1, 3, 130]))), None)
    return pyref.Network.sequential([*layers, pyref.Flatten(), head, pyref.ReLU()], shape=shape)


@given(data=st.data())
def test_windows_are_what_evaluating_every_copy_gives(data):
    random = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    network = _network(data, random)
    (shape,) = network.inputs.values()
    n, b = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 19))
    run = pyref.start(network, random.integers(-3, 4, size=(n, *shape)).astype(float), 0, backend=Layers())
    rows = random.integers(0, n, size=b).tolist()
    values = np.take(run.record["x"], rows, axis=0)
    size = [data.draw(st.integers(1, min(3, length))) for length in shape[1:]]
    for value in values:
        corner = random.integers(0, np.array(shape[1:]) - size + 1)
        part = (slice(None), *(slice(c, c + s) for c, s in zip(corner, size, strict=True)))
        value[part] = random.integers(-3, 4, size=value[part].shape)
    want, run.backend.calls = run.repeated(rows, {"x": values}).output, 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(copies, "MOST", np.inf)
        assert (run.scores(rows, {"x": values}) == want).all()
    assert run.backend.calls == 0  # no layer was asked


@given(data=st.data())
def test_walks_are_what_evaluating_every_copy_gives(data):
    """One place after the other, from sample to sample; a step may change nothing."""
    random = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    network = _network(data, random)
    (shape,) = network.inputs.values()
    run = pyref.start(network, random.integers(-3, 4, size=(3, *shape)).astype(float), 0, backend=Layers())
    rows, values = [], []
    for sample in range(3):
        value = run.record["x"][sample].reshape(shape[0], -1).copy()
        for _ in range(data.draw(st.integers(4, 23))):
            value[:, random.integers(value.shape[1])] = random.integers(-3, 4, size=shape[0])
            rows.append(sample)
            values.append(value.reshape(shape).copy())
    want, run.backend.calls = run.repeated(rows, {"x": np.stack(values)}).output, 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(copies, "STEPS", data.draw(st.sampled_from([2, 5, 64])))
        patch.setattr(copies, "FOLLOWING", 0.0)
        patch.setattr(copies, "MOST", np.inf)
        chain = copies._chain(run, ("x", 0))
        y = copies._go_on(run, chain, {}, np.array(rows), {"x": np.stack(values)})
    S = np.maximum(y, 0)[:, 0]
    assert (S == want).all()


def _small(dtype=np.float64):
    random = np.random.default_rng(7)
    conv1, conv2 = (random.normal(size=shape).astype(dtype) for shape in [(5, 2, 3, 3), (19, 5, 3, 3)])
    head, b = random.normal(size=(19 * 6 * 6, 3)).astype(dtype), random.normal(size=5).astype(dtype)
    layers = [
        pyref.Conv(conv1, b),
        pyref.ReLU(),
        pyref.Conv(conv2),
        pyref.MaxPool(2),
        pyref.Flatten(),
        pyref.Dense(head),
    ]
    x = random.normal(size=(2, 2, 16, 16)).astype(dtype)
    return pyref.Network.sequential(layers, shape=(2, 16, 16)), x


def _covered(x):
    """Every pixel of each sample in turn."""
    rows = np.repeat(np.arange(2), 256)
    values = np.take(x, rows, axis=0)
    values.reshape(512, 2, 256)[np.arange(512), :, np.tile(np.arange(256), 2)] = 0
    return rows, values


def test_only_what_a_change_reaches_is_added_up():
    """A pixel meets 9 places, and of 9 of these each meets 9."""
    network, x = _small()
    run = pyref.start(network, x, 0, backend=cpu)
    rows, values = _covered(x)
    middle = 16 * 8 + 8
    run.scores(rows[:1], {"x": values[middle : middle + 1]})
    _core.reset_counters()
    run.scores(rows[:1], {"x": values[middle : middle + 1]})
    assert _core.counters()["flops"] == 2 * (9 * 2 * 5 + 81 * 5 * 19)


def test_the_same_bits_on_any_number_of_threads():
    network, x = _small(np.float32)
    run = pyref.start(network, x, 0, backend=cpu)
    rows, values = _covered(x)
    order = np.random.default_rng(1).permutation(256)
    walked = np.where(
        np.arange(256)[:, None, None] < np.argsort(order)[None, None].repeat(2, 1), x[0].reshape(2, 256), 0
    )
    walked = walked.reshape(256, 2, 16, 16)
    threads, found = cpu.threads(), []
    try:
        for n in (1, 2, 3):
            cpu.set_threads(n)
            found.append((run.scores(rows, {"x": values}), run.scores(np.zeros(256, int), {"x": walked})))
    finally:
        cpu.set_threads(threads)
    assert all(np.array_equal(a, b) for other in found[1:] for a, b in zip(found[0], other, strict=True))


def test_float32_is_off_by_what_rounding_explains():
    """An error of x grows by |W|, a sum adds its own; a change has the errors of both of its values."""
    network, x = _small(np.float32)
    rows, values = _covered(x)
    got = pyref.start(network, x, 0, backend=cpu).scores(rows, {"x": values}).astype(float)
    run = pyref.start(network, x.astype(float), 0, backend=pyref)
    exact = run.repeated(rows.tolist(), {"x": values.astype(float)})
    e = {ref: np.zeros(np.shape(exact.record[ref])) for ref in exact.record}  # of the copies, and of what was recorded
    kept = {ref: np.zeros(np.shape(run.record[ref])) for ref in run.record}
    for node in network.nodes.values():
        (i,), ref, layer = node.inputs, node.refs[0], node.layer
        if isinstance(layer, pyref.Conv | pyref.Dense):
            grown = type(layer)(np.abs(layer.w).astype(float))
            terms = layer.w[0].size if isinstance(layer, pyref.Conv) else len(layer.w)
            a, base = np.abs(exact.record[i]), np.abs(run.record[i])
            size = grown.forward(pyref, base) + (1 if layer.b is None else 1 + np.abs(layer.b).max())
            kept[ref] = grown.forward(pyref, kept[i]) + sum_bound(terms + 1, size, np.float32)
            both = e[i] + kept[i][rows]
            size = grown.forward(pyref, a + base[rows] + both) + np.abs(run.record[ref][rows])
            e[ref] = kept[ref][rows] + grown.forward(pyref, both) + sum_bound(terms + 2, size, np.float32)
        else:  # no larger than the largest that it looks at
            kept[ref], e[ref] = layer.forward(pyref, kept[i]), layer.forward(pyref, e[i])
    bound = e[run.output_ref][:, 0]
    assert (np.abs(got - exact.output) <= bound).all()
    assert bound.max() < 0.05 * np.abs(exact.output).max()  # and the bound says something


def test_a_change_that_is_not_finite_is_evaluated_wholly():
    network, x = _small()
    x[0, 0, 3, 3] = np.inf
    run = pyref.start(network, x, 0, backend=cpu, allow_nonfinite=True)
    rows, values = _covered(x)
    want, got = run.repeated(rows, {"x": values}).output, run.scores(rows, {"x": values})
    finite = np.isfinite(want)
    assert 0 < finite.sum() < len(want)
    assert (np.isfinite(got) == finite).all()
    assert (np.isnan(got) == np.isnan(want)).all()


@pytest.mark.parametrize("axes", [(9,), (5, 7), (3, 4, 5), (2, 0)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_where_images_differ(axes, dtype):
    random = np.random.default_rng(4)
    others = random.integers(0, 3, size=(3, 2, *axes)).astype(dtype)
    rows = random.integers(0, 3, 30)
    x = np.where(random.random((30, 2, *axes)) < 0.03, np.nan, others[rows]).astype(dtype)
    low, high = _core.window_bounds(x, others, rows)
    for k in range(30):
        places = np.argwhere((x[k] != others[rows[k]]).any(axis=0))
        assert low[k].tolist() == (places.min(axis=0).tolist() if len(places) else [0] * len(axes))
        assert high[k].tolist() == ((places.max(axis=0) + 1).tolist() if len(places) else [0] * len(axes))
    with pytest.raises(IndexError, match="a row is outside of x"):
        _core.window_bounds(x, others, rows + 3)
    with pytest.raises(ValueError, match="others has shape"):
        _core.window_bounds(x, others[:, :1], rows)
    with pytest.raises(ValueError, match="one to three axes"):
        _core.window_bounds(x.reshape(30, -1), others.reshape(3, -1), rows)


@pytest.mark.parametrize("shape", [(0, 3), (1, 1), (7, 5), (64, 16), (65, 17), (130, 67)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_matrix_is_turned(shape, dtype):
    w = np.random.default_rng(0).normal(size=shape[::-1]).astype(dtype).T
    found = _core.turned(w)
    assert found.flags.c_contiguous and found.dtype == dtype and (found == w).all()


def test_chains_that_do_not_fit_are_refused():
    x, w = np.zeros((2, 1, 4, 4)), np.zeros((3, 1, 2, 2))
    y, head = np.zeros((2, 3, 3, 3)), np.zeros((27, 5))
    windows = conv_windows(x, w, 1, 0, 1, 1)
    good = {
        "x": x, "layers": [("conv", windows, w, y)], "w": head, "z": np.zeros((2, 5)), "rows": np.array([0, 1]),
        "first": np.array([0, 1, 2]), "start": np.zeros((2, 2), int), "values": np.zeros((2, 1, 1, 1)), "most": np.inf,
    }  # fmt: skip
    assert _core.copied_forward(**good).shape == (2, 5)
    assert _core.copied_forward(**good | {"most": 0.1}) is None
    pool = max_pool_windows(y, 2, None, 0, 1, False)
    for wrong, error, words in [
        ({"rows": np.array([0, 2])}, IndexError, "a row is outside of x"),
        ({"rows": np.array([1, 1]), "first": np.array([0, 0, 2])}, ValueError, "two walks begin at one sample"),
        ({"first": np.array([0, 2])}, ValueError, "first has shape"),
        ({"first": np.array([0, 3, 2])}, ValueError, "first is not"),
        ({"start": np.zeros((2, 1), int)}, ValueError, "start has shape"),
        ({"start": np.zeros((2, 2), np.int32)}, TypeError, "int64"),
        ({"values": np.zeros((2, 2, 1, 1))}, ValueError, "values has shape"),
        ({"values": np.zeros((2, 1, 1, 1), np.float32)}, TypeError, "another dtype"),
        ({"w": head[:-1]}, ValueError, "w has shape"),
        ({"w": np.zeros((5, 27)).T}, TypeError, "not in C order"),
        ({"z": np.zeros((1, 5))}, ValueError, "z has shape"),
        ({"layers": [("conv", windows, w[:, :, :1], y)]}, ValueError, "w has shape"),
        ({"layers": [("conv", windows, w, y[:, :2])]}, ValueError, "y has shape"),
        ({"layers": [("max_pool", pool, y)]}, ValueError, "windows are not over the image"),
        ({"layers": [("activation", pyref.ReLU(), y)]}, ValueError, "y has shape"),
    ]:
        with pytest.raises(error, match=words):
            _core.copied_forward(**good | wrong)
