"""Copies of samples that differ in a few places: the short way gives what evaluating every copy gives."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pyref
import relprop
from relprop import copies, cpu


class Backend:
    """pyref, but for the way in which copies are evaluated; `forwards` counts what layers are given."""

    def __init__(self):
        self.seen = 0

    def __getattr__(self, name):
        function = getattr(pyref, name)

        def counted(x, *args, **options):
            self.seen += np.size(x) if isinstance(x, np.ndarray) else sum(map(np.size, x))
            return function(x, *args, **options)

        return counted

    copied_output = staticmethod(copies.copied_output)


RNG = np.random.default_rng(3)


def _whole(*shape):
    """Small whole numbers: with them, and with means of 2, 4 and 8, float64 is exact arithmetic."""
    return RNG.integers(-3, 4, size=shape).astype(float)


def _conv(out, into, k, **options):
    return pyref.Conv(_whole(out, into, *k), _whole(out), **options)


def _dense(into, out):
    return pyref.Dense(_whole(into, out), _whole(out))


NETWORKS = {
    "dense": pyref.Network.sequential([_dense(9, 5), pyref.ReLU(), _dense(5, 3)], shape=(9,)),
    "activation first": pyref.Network.sequential([pyref.ReLU(), _dense(9, 3)], shape=(9,)),
    "conv": pyref.Network.sequential(
        [
            _conv(2, 1, (3, 3), padding=1),
            pyref.ReLU(),
            _conv(2, 2, (2, 3), padding=((0, 1), (2, 0)), stride=(1, 2)),
            pyref.BatchNorm(_whole(2), _whole(2)),
            pyref.MaxPool(2, padding=1),
            pyref.Flatten(),
            _dense(2 * 6 * 3, 3),
        ],
        shape=(1, 10, 9),
    ),
    "dilated, grouped, averaged": pyref.Network.sequential(
        [
            _conv(4, 2, (2, 2), dilation=2),
            pyref.LeakyReLU(0.25),
            _conv(2, 2, (2, 1), groups=2),
            pyref.AvgPool(2, stride=1),
            pyref.MaxPool(3, stride=2, ceil_mode=True),
            pyref.Flatten(),
            _dense(2 * 4 * 4, 2),
        ],
        shape=(2, 12, 11),
    ),
    "one axis": pyref.Network.sequential(
        [_conv(2, 2, (3,), stride=2), pyref.ReLU(), pyref.GlobalAvgPool(), pyref.Flatten(), _dense(2, 2)], shape=(2, 17)
    ),
    "residual and side by side": pyref.Network(
        [
            ("a", _conv(2, 1, (3, 3), padding=1), "x"),
            ("b", pyref.ReLU(), "a"),
            ("c", _conv(2, 2, (3, 3), padding=1), "b"),
            ("sum", pyref.Add(), ("a", "c")),
            ("both", pyref.Concat(), ("sum", "b")),
            ("flat", pyref.Flatten(), "both"),
            ("out", _dense(4 * 81, 2), "flat"),
        ],
        {"x": (1, 9, 9)},
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
@given(data=st.data())
def test_copies_are_what_evaluating_each_gives(name, data):
    network = NETWORKS[name]
    (shape,) = network.inputs.values()
    n, b = data.draw(st.integers(1, 2)), data.draw(st.integers(1, 4))
    random = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    run = pyref.start(network, random.integers(-3, 4, size=(n, *shape)).astype(float), 0, backend=Backend())
    rows = data.draw(st.lists(st.integers(0, n - 1), min_size=b, max_size=b))
    values = np.take(run.record["x"], rows, axis=0)
    for k in range(b):
        corner = [data.draw(st.integers(0, s - 1)) for s in shape]
        size = [data.draw(st.integers(0, min(3, s - c))) for s, c in zip(shape, corner, strict=True)]
        part = (k, *(slice(c, c + s) for c, s in zip(corner, size, strict=True)))
        values[part] = random.integers(-3, 4, size=values[part].shape)
    with pytest.MonkeyPatch.context() as patch:  # one product over a part of an image, or one for each window
        patch.setattr(copies, "SPREAD", data.draw(st.sampled_from([0, copies.SPREAD])))
        patch.setattr(copies, "ROWS", data.draw(st.sampled_from([0, copies.ROWS])))
        assert (run.scores(rows, {"x": values}) == run.repeated(rows, {"x": values}).output).all()


@pytest.mark.parametrize("name", [name for name in NETWORKS if NETWORKS[name].inputs["x"][1:2]])
def test_copies_that_follow_each_other_are_what_evaluating_each_gives(name):
    """Features go one after the other, in two orders of each of two samples, a few of them again and again."""
    network = NETWORKS[name]
    (shape,) = network.inputs.values()
    random = np.random.default_rng(5)
    run = pyref.start(network, random.integers(1, 4, size=(2, *shape)).astype(float), 0, backend=Backend())
    rows, values = [], []
    for sample in range(2):
        for _ in range(2):
            value = run.record["x"][sample].copy()
            for k in random.permutation(value.size)[:47]:
                value.reshape(-1)[k] = random.integers(-3, 1)
                rows.append(sample)
                values.append(value.copy())
    values = np.stack(values)
    assert len(rows) >= 4 * copies.WALKS and len(rows) % copies.WALKS
    run.backend.seen = 0
    want = run.repeated(rows, {"x": values}).output
    whole, run.backend.seen = run.backend.seen, 0
    assert (run.scores(rows, {"x": values}) == want).all()
    assert run.backend.seen < whole or len(shape) != 3
    assert (run.record["x"] == pyref.start(network, run.record["x"], 0).record["x"]).all()


def test_a_walk_rounds_as_its_additions_do():
    """MoRF of a trained model: each step adds to what a dense layer was, at most 64 times in a walk."""
    network, x = relprop.zoo("digits-cnn-relu"), relprop.digits()[0][:3].astype(np.float64)
    R = np.random.default_rng(0).normal(size=x.shape)
    got, want = (
        pyref.morf_lerf(network, x, R, target=[0, 1, 2], orders=1, backend=backend).values for backend in (cpu, pyref)
    )
    record = network.forward(x)
    terms = sum(float(np.max(np.abs(record[ref]))) for ref in record) * len(network.nodes)
    assert all(np.max(np.abs(got[k] - want[k])) <= 64 * 1024 * np.finfo(float).eps * terms for k in want)


def test_changes_of_a_dense_layers_inputs_are_checked():
    y, w = np.zeros((2, 3)), np.ones((4, 3))
    places, by = np.array([[0, 3], [1, 1]]), np.array([[2.0, 0], [1, 3]])
    relprop._core.dense_update(y, w, places, by)
    assert y.tolist() == [[2.0] * 3, [4.0] * 3]
    for wrong in (places + 1, places - 4):
        with pytest.raises(IndexError, match="outside of w"):
            relprop._core.dense_update(y, w, wrong, by)
    with pytest.raises(ValueError, match="places has shape"):
        relprop._core.dense_update(y, w, places[:, :1], by)
    with pytest.raises(TypeError, match="int64"):
        relprop._core.dense_update(y, w, places.astype(np.int32), by)
    with pytest.raises(TypeError, match="different dtypes"):
        relprop._core.dense_update(y, w.astype(np.float32), places, by)
    with pytest.raises(TypeError, match="not writable"):
        relprop._core.dense_update(y.T.copy().T, w, places, by)


@pytest.mark.parametrize("axes", [(9,), (5, 7), (3, 4, 5)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_windows_are_cut_out_and_put_back(axes, dtype):
    """Against a padded image: windows may reach over its edges, or lie outside of it."""
    random, rank = np.random.default_rng(2), len(axes)
    x = random.normal(size=(3, 2, *axes)).astype(dtype)
    size = tuple(int(random.integers(1, 4)) for _ in axes)
    rows = random.integers(0, 3, 20)
    start = np.stack([random.integers(-4, length + 2, 20) for length in axes], axis=1)
    padded = np.pad(x, [(0, 0), (0, 0), *[(8, 8)] * rank], constant_values=7)
    want = np.stack(
        [
            padded[(row, slice(None), *(slice(s + 8, s + 8 + k) for s, k in zip(at, size, strict=True)))]
            for row, at in zip(rows, start, strict=True)
        ]
    )
    assert (relprop._core.window_crop(x, rows, start, size, 7.0) == want).all()
    y, values = np.take(x, rows, axis=0), random.normal(size=want.shape).astype(dtype)
    wide = np.pad(y, [(0, 0), (0, 0), *[(8, 8)] * rank])
    for k, at in enumerate(start):
        wide[(k, slice(None), *(slice(s + 8, s + 8 + m) for s, m in zip(at, size, strict=True)))] = values[k]
    relprop._core.window_paste(y, start, values)
    assert (y == wide[(..., *[slice(8, -8)] * rank)]).all()


def test_windows_that_do_not_fit_are_refused():
    x, rows, start = np.zeros((2, 1, 4, 4)), np.array([0, 1]), np.zeros((2, 2), np.int64)
    with pytest.raises(IndexError, match="a row is outside of x"):
        relprop._core.window_crop(x, rows + 1, start, (2, 2), 0.0)
    with pytest.raises(ValueError, match="start has shape"):
        relprop._core.window_crop(x, rows, start[:, :1], (2, 2), 0.0)
    with pytest.raises(ValueError, match="rows has shape"):
        relprop._core.window_crop(x, rows[:1], start, (2, 2), 0.0)
    with pytest.raises(ValueError, match="size has another number of axes"):
        relprop._core.window_crop(x, rows, start, (2,), 0.0)
    with pytest.raises(ValueError, match="one to three axes"):
        relprop._core.window_crop(np.zeros((2, 1)), rows, start[:, :0], (), 0.0)
    with pytest.raises(ValueError, match="values has shape"):
        relprop._core.window_paste(x, start, np.zeros((2, 2, 1, 1)))
    with pytest.raises(TypeError, match="different dtypes"):
        relprop._core.window_paste(x, start, np.zeros((2, 1, 1, 1), np.float32))
    with pytest.raises(TypeError, match="int64"):
        relprop._core.window_paste(x, start.astype(np.int32), np.zeros((2, 1, 1, 1)))


def test_only_what_a_change_reaches_is_computed():
    """A pixel of 28 × 28: the window grows from 3 to 5 to 6 places a side, of which the layers read 5, 7 and 6."""
    rng = np.random.default_rng(0)
    network = pyref.Network.sequential(
        [
            pyref.Conv(rng.normal(size=(2, 1, 3, 3))),
            pyref.Conv(rng.normal(size=(4, 1, 3, 3)), groups=2),
            pyref.Flatten(),
            pyref.Dense(rng.normal(size=(4 * 24 * 24, 2))),
        ],
        shape=(1, 28, 28),
    )
    backend = Backend()
    run = pyref.start(network, rng.normal(size=(1, 1, 28, 28)), 0, backend=backend)
    values = run.record["x"].copy()
    values[0, 0, 14, 14] = 0
    backend.seen = 0
    run.scores([0], {"x": values})
    assert backend.seen == 5 * 5 + 2 * 7 * 7


@pytest.mark.parametrize("model", ["digits-cnn-relu", "digits-mlp-tanh"])
def test_occlusion_on_cpu_is_that_of_pyref(model):
    """Bound: each of the two scores of a difference is a chain of sums of products, none longer than 1024 terms."""
    network = relprop.zoo(model)
    x, _ = relprop.digits()
    x = np.reshape(x[:2], (2, *next(iter(network.inputs.values())))).astype(np.float64)
    got, want = (relprop.explain(network, x, "occlusion", 3, backend=b) for b in ("cpu", "pyref"))
    record = network.forward(x)
    terms = sum(float(np.max(np.abs(record[ref]))) for ref in record) * len(network.nodes)
    assert np.max(np.abs(got.values - want.values)) <= 1024 * np.finfo(float).eps * terms


def test_what_is_not_finite_stays_so():
    network = pyref.Network.sequential([pyref.Dense(np.eye(6)), pyref.Tanh(), pyref.Dense(np.ones((6, 2)))], shape=(6,))
    x = np.array([[np.inf, 1.0, 2.0, 3.0, 4.0, 5.0]])
    run = pyref.start(network, x, 0, backend=cpu, allow_nonfinite=True)
    values = np.where(np.arange(6) == 0, 0.5, x)
    want = run.repeated([0], {"x": values}).output
    got = run.scores([0], {"x": values})
    assert (np.isnan(got) == np.isnan(want)).all()


def test_weights_that_lie_transposed_are_read_as_they_are():
    """As PyTorch has them, which may train them further."""
    weights = [_whole(6, 20).T, _whole(3, 6).T]
    network = pyref.Network.sequential([pyref.Dense(weights[0]), pyref.ReLU(), pyref.Dense(weights[1])])
    x = _whole(1, 20)
    before = relprop.explain(network, x, "occlusion", 1, backend="cpu").values
    for w in weights:
        w *= -2
    after = relprop.explain(network, x, "occlusion", 1, backend="cpu").values
    assert not np.array_equal(after, before)
    np.testing.assert_array_equal(after, pyref.occlusion(network, x, 1).values)
