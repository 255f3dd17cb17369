"""Whole networks on the device: relprop.explain(..., backend="cuda") against pyref, and what it costs.

Emulated and, where there is one, on a real device.
"""

import gc
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest
from nearby import close
from parity import backwards, every_other, fortran_order, read_only
from test_cuda import Capsuled, Foreign

import pyref
import relprop
from pyref import (
    Add,
    AvgPool,
    BatchNorm,
    Concat,
    Conv,
    Dense,
    Dropout,
    Flatten,
    Identity,
    MaxPool,
    Multiply,
    Network,
    ReLU,
    Scale,
    Shift,
    Sigmoid,
    Slice,
    Split,
    Tanh,
    Transpose,
)
from relprop.source import learn_patterns
from relprop.support import COLUMNS, EXAMPLES

RNG = np.random.default_rng(0)


def _w(*shape):
    return RNG.normal(size=shape) / np.sqrt(np.prod(shape[1:]))


def _conv(o, i, **options):
    return Conv(_w(o, i, 3, 3), _w(o), padding=1, **options)


NETWORKS = {
    "mlp": Network.sequential(
        [Dense(_w(5, 6), _w(6)), ReLU(), Dense(_w(6, 4), _w(4)), Tanh(), Dense(_w(4, 3), _w(3))], shape=(5,)
    ),
    "cnn": Network.sequential(
        [
            _conv(3, 2),
            BatchNorm(1 + abs(_w(3)), _w(3)),
            ReLU(),
            MaxPool(2),
            _conv(4, 3, stride=2),
            ReLU(),
            AvgPool(2),
            Dropout(),
            Flatten(),
            Dense(abs(_w(4, 3)), _w(3)),
        ],
        shape=(2, 8, 8),
    ),
    "residual": Network(
        [
            ("conv", _conv(3, 2), "x"),
            ("relu", ReLU(), "conv"),
            ("inner", _conv(3, 3), "relu"),
            ("sum", Add(), ("inner", "relu")),
            ("relu2", ReLU(), "sum"),
            ("same", Identity(), "relu2"),
            ("flat", Flatten(), "same"),
            ("out", Dense(_w(48, 2), _w(2)), "flat"),
        ],
        {"x": (2, 4, 4)},
    ),
    "concat": Network(
        [
            ("left", _conv(2, 2), "x"),
            ("right", Conv(_w(3, 2, 1, 1), _w(3)), "x"),
            ("relu", ReLU(), "left"),
            ("gate", Sigmoid(), "right"),
            ("both", Concat(), ("relu", "gate")),
            ("cut", Split((2, 3)), "both"),
            ("again", Concat(), (("cut", 1), ("cut", 0))),
            ("turned", Transpose((2, 3, 1)), "again"),
            ("part", Slice((1,), (1,), (4,)), "turned"),
            ("flat", Flatten(), "part"),
            ("out", Dense(_w(60, 2), _w(2)), "flat"),
        ],
        {"x": (2, 4, 4)},
    ),
    "constants": Network.sequential(
        [Dense(_w(5, 4), _w(4)), Scale(np.float64(0.5)), Shift(_w(4)), ReLU(), Scale(-2), Dense(_w(4, 2))], shape=(5,)
    ),
    "product": Network(
        [
            ("a", Dense(_w(5, 4), _w(4)), "x"),
            ("b", Dense(_w(5, 4), _w(4)), "x"),
            ("gate", Sigmoid(), "a"),
            ("both", Multiply(), ("b", "gate")),
            ("out", Dense(_w(4, 2), _w(2)), "both"),
        ],
        {"x": (5,)},
    ),
}
TARGET = 1

# What each network is explained by: {method: options}.
EVERYWHERE = [
    ("gradient", {}),
    ("gradient_times_input", {}),
    ("lrp", {"rule": "epsilon", "epsilon": 0.01}),
    ("deeplift", {"baseline": 0.1}),
    ("integrated_gradients", {"m": 3}),
    ("full_gradient", {}),
]
IMAGES = [
    *((method, {}) for method in ("saliency", "guided_backprop", "deconvnet", "fullgrad", "grad_cam")),
    ("lrp", {"rule": "epsilon_plus"}),
    ("lrp", {"rule": "epsilon_alpha2_beta1_flat"}),
    ("lrp", {"rule": "epsilon_gamma_box", "low": -9.0, "high": 9.0}),
    ("lrp", {"rule": "epsilon", "form": "gradient"}),
    ("lrp", {"at": "conv2"}),
    ("deep_taylor", {"low": -9.0, "high": 9.0}),
    ("deeplift", {"baseline": [0.1, -0.1]}),
    ("interior_gradients", {"alphas": (0.3, 1)}),
    ("smoothgrad", {"samples": 2}),
    ("smoothgrad", {"samples": 3, "mode": "variance"}),
    ("excitation_backprop", {"negative": "clip"}),
    ("contrastive_excitation_backprop", {"negative": "clip"}),
    ("occlusion", {"unit": "patch", "shape": 4, "stride": 2}),
    ("integrated_gradients", {"m": 3, "path": (lambda a: np.full((2, 2, 8, 8), a), lambda a: np.ones((2, 2, 8, 8)))}),
]
CASES = [
    *((net, *case) for net in NETWORKS for case in EVERYWHERE),
    *(("cnn", *case) for case in IMAGES),
    *(("residual", *case) for case in IMAGES if not {"path", "at"} & case[1].keys()),
    ("mlp", "integrated_gradients", {"quadrature": "adaptive", "m": 12, "tolerance": 1e-2}),
    ("mlp", "occlusion", {}),
    ("residual", "integrated_gradients", {"quadrature": "exact", "baseline": 0.2}),
    ("residual", "deeplift", {"rule": "reveal_cancel", "baseline": 0.2}),
]


def inputs(net, dtype=np.float64, n=2):
    ((_, shape),) = NETWORKS[net].inputs.items()
    return np.random.default_rng(1).normal(size=(n, *shape)).astype(dtype)


def shown(options):
    return ", ".join(f"{k}={v}" for k, v in options.items() if not callable(v) and not isinstance(v, tuple))


def textbook(method, options, read=lambda a: a.values):
    return lambda net, x: read(relprop.explain(net, x, method, TARGET, backend="pyref", **options))


@pytest.mark.parametrize(("net", "method", "options"), CASES, ids=[f"{n}-{m}-{shown(o)}" for n, m, o in CASES])
def test_whole_networks_say_what_the_textbook_says(cuda, net, method, options):
    network, x = NETWORKS[net], inputs(net)
    got = relprop.explain(network, x, method, TARGET, backend="cuda", **options)
    assert got.backend == "cuda" and type(got.values) is np.ndarray and got.values.dtype == x.dtype
    close(got.values, textbook(method, options), network, x)
    close(got.output, textbook(method, options, lambda a: a.output), network, x)


@pytest.mark.parametrize("method", ["pattern_net", "pattern_attribution"])
def test_patterns_are_walked_on_the_device(cuda, method):
    network, x = NETWORKS["cnn"], inputs("cnn")
    patterns = pyref.fit_patterns(network, [inputs("cnn", n=8)])
    got = relprop.explain(network, x, method, TARGET, backend="cuda", patterns=patterns)
    close(got.values, textbook(method, {"patterns": patterns}), network, x)


def test_patterns_are_learnt_on_the_device(cuda, tmp_path):
    network, x = NETWORKS["cnn"], inputs("cnn", n=120)
    np.save(tmp_path / "x.npy", x)
    learnt = learn_patterns(str(tmp_path / "x.npy"), network, "cuda")
    assert all(isinstance(a, cuda.compiled.Array) for a in learnt.by_node.values())
    got = relprop.explain(network, x[:2], "pattern_net", TARGET, backend="cuda", patterns=learnt)

    def explain(net, v):
        return textbook("pattern_net", {"patterns": pyref.fit_patterns(net, [x])})(net, v)

    close(got.values, explain, network, x[:2])


def test_what_is_beside_the_values_comes_back_too(cuda):
    """Ledger, biases, inner nodes, sums: each in NumPy when it is read."""
    network, x = NETWORKS["residual"], inputs("residual")
    options = {"rule": "epsilon", "epsilon": 0.01}
    got = relprop.explain(network, x, "lrp", TARGET, backend="cuda", **options)
    for read in (
        lambda a: a.at("relu"),
        lambda a: a.biases["conv"],
        lambda a: a.total,
        lambda a: a.expected,
        lambda a: a.ledger["inner"].arrived,
        lambda a: a.ledger["inner"].passed,
        lambda a: a.ledger["inner"].bias,
        lambda a: a.ledger["inner"].stabilizer,
    ):
        assert type(read(got)) is np.ndarray
        close(read(got), textbook("lrp", options, read), network, x)
    assert np.max(np.abs(got.delta)) <= 100 * np.finfo(float).eps * np.max(np.abs(got.output))
    assert str(got).startswith("lrp of network on cuda") and "inner" in str(got.ledger)


@pytest.mark.parametrize("method", ["gradient", "lrp", "deeplift"])
def test_single_precision_stays_single(cuda, method):
    network, x = NETWORKS["residual"], inputs("residual", np.float32)
    layers = {n: node.layer for n, node in network.nodes.items() if node.layer.kind in ("conv", "dense")}
    single = {n: replace(v, w=v.w.astype(np.float32), b=v.b.astype(np.float32)) for n, v in layers.items()}
    network = network.with_layers(single)
    got = relprop.explain(network, x, method, TARGET, backend="cuda")
    assert got.values.dtype == np.float32
    close(got.values, textbook(method, {}), network, x)


LAYER_WISE = [(title, method, options) for title, (_, method, options) in COLUMNS.items() if title != "patterns"]


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_layer_runs_on_the_device_by_a_kernel_or_as_it_is_written(cuda, name):
    """Whatever the textbook goes through goes through there too, and what it refuses is refused in its words."""
    layer, *shapes = EXAMPLES[name]
    names = [f"x{k}" for k in range(len(shapes))]
    network = Network([("layer", layer, tuple(names))], names, outputs=["layer"])
    rng = np.random.default_rng(4)
    x = {
        k: np.array([[0, 2, 1]]) if s is None else rng.uniform(0.5, 2, (1, *s))
        for k, s in zip(names, shapes, strict=True)
    }
    vary = x["x0"] if x["x0"].dtype.kind == "f" else np.zeros((1, 1))  # ids are not moved

    for _, method, options in LAYER_WISE:

        def explain(net, first, backend="pyref", method=method, options=options):
            given = x | ({"x0": first} if first is not vary and vary is x["x0"] else {})
            a = relprop.explain(net, given, method, np.ones_like, softmax="keep", backend=backend, **options)
            parts = a.values.values() if isinstance(a.values, dict) else [a.values]
            return np.concatenate([part.reshape(1, -1) for part in parts], axis=1)

        try:
            want = explain(network, vary)
        except ValueError as refused:
            with pytest.raises(ValueError, match=f"^{re.escape(str(refused))}$"):
                explain(network, vary, "cuda")
            continue
        got = explain(network, vary, "cuda")
        if want.any():
            close(got, explain, network, vary)
        else:
            assert not got.any()


TARGETS = [None, 0, [1, 0], np.array([0, 1]), lambda S: np.abs(S)]


@pytest.mark.parametrize("target", TARGETS, ids=["largest", "one", "list", "array", "function"])
def test_targets(cuda, target):
    network, x = NETWORKS["residual"], inputs("residual")
    got = relprop.explain(network, x, "gradient", target, backend="cuda")
    close(got.values, lambda n, v: relprop.explain(n, v, "gradient", target, backend="pyref").values, network, x)


# ---- what it costs ----


def counted(cuda, call):
    cuda.reset_counters()
    answer = call()
    return answer, cuda.counters()


ONE_WAY = ["gradient", "gradient_times_input", "saliency", "lrp", "deeplift", "guided_backprop", "deep_taylor", "box"]


@pytest.mark.parametrize("method", ONE_WAY)
def test_only_the_input_is_copied_there_and_only_results_come_back(cuda, method):
    """Between the two nothing waits, and parameters stay where they were copied to at the first call."""
    network, x = NETWORKS["cnn"], inputs("cnn")
    is_box = method == "box"  # whether x lies between its bounds comes back
    method, options = ("deep_taylor", {"low": -9, "high": 9.0}) if is_box else (method, {})

    def explain(v):
        return relprop.explain(network, v, method, backend="cuda", **options)

    explain(x)
    first, costs = counted(cuda, lambda: explain(x))
    assert costs["uploads"] == 1
    assert costs["downloads"] == 4 + is_box  # values, output, and whether x and the network's output are finite
    assert costs["waits"] == 1
    _, costs = counted(cuda, lambda: (first.values, first.output))
    assert costs["downloads"] == costs["waits"] == 0
    _, costs = counted(cuda, lambda: explain(x[:1]))
    assert costs["uploads"] == 1


def test_batch_normalisation_is_merged_once(cuda):
    """Parameters on the device cannot change: later calls cost, and say, what they do on the merged network."""
    network, x, options = NETWORKS["cnn"].with_layers({}), inputs("cnn"), {"rule": "epsilon_plus"}
    merged = pyref.merge_batchnorm(network)
    assert merged is not network

    def explained(net):
        return counted(cuda, lambda: relprop.explain(net, x, "lrp", TARGET, "cuda", **options))

    explained(merged), explained(network)
    want, plain = explained(merged)
    got, costs = explained(network)
    assert np.array_equal(got.values, want.values)
    assert {k: costs[k] for k in ("launches", "uploads")} == {k: plain[k] for k in ("launches", "uploads")}
    there = cuda.prepare(network)
    assert pyref.merge_batchnorm(there) is pyref.merge_batchnorm(there) is not there
    del network
    gc.collect()
    assert pyref.merge_batchnorm(there).nodes.keys() == merged.nodes.keys()
    assert pyref.merge_batchnorm(cuda.prepare(merged)) is cuda.prepare(merged), "nothing to merge"


def test_parameters_are_released_with_their_network(cuda):
    network = Network.sequential([Dense(_w(50, 60), _w(60)), ReLU(), Dense(_w(60, 2))])
    x = RNG.normal(size=(2, 50))
    relprop.explain(NETWORKS["mlp"], inputs("mlp"), backend="cuda")
    gc.collect()
    before = held(cuda)
    relprop.explain(network, x, backend="cuda")
    gc.collect()
    assert held(cuda) == before + 8 * (50 * 60 + 60 + 60 * 2)
    del network
    gc.collect()
    assert held(cuda) == before


def held(cuda):
    """Bytes of device memory that are held now: the most at once since a moment ago."""
    cuda.reset_counters()
    return cuda.counters()["bytes_at_once"]


def test_the_same_bits_from_several_threads(cuda):
    cases = [(net, method) for net in ("cnn", "concat") for method in ("gradient", "lrp", "deeplift")] * 2

    def explain(case):
        return relprop.explain(NETWORKS[case[0]], inputs(case[0]), case[1], TARGET, backend="cuda").values.tobytes()

    alone = [explain(case) for case in cases]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(explain, cases)) == alone


# ---- arrays ----


@pytest.mark.parametrize("layout", [fortran_order, every_other, backwards, read_only])
def test_any_layout_of_host_memory(cuda, layout):
    network, x = NETWORKS["residual"], inputs("residual")
    want = relprop.explain(network, x, backend="cuda").values
    given = layout(x)
    assert np.array_equal(relprop.explain(network, given, backend="cuda").values, want)
    assert np.array_equal(given, x)


PROTOCOLS = ["__cuda_array_interface__", "__dlpack__"]


@pytest.fixture
def library(cuda, monkeypatch):
    """A library whose arrays lie in device memory, and one of its arrays with the values of a NumPy array."""
    module = ModuleType("foreign")
    module.from_dlpack = lambda array: Foreign(cuda.compiled.to_device(Capsuled(array)), "__dlpack__")
    monkeypatch.setitem(sys.modules, "foreign", module)
    monkeypatch.setattr(Foreign, "__module__", "foreign")
    return lambda x, protocol="__dlpack__": Foreign(cuda.to_device(x), protocol)


def test_our_own_arrays_go_in_and_come_out(cuda):
    network, x = NETWORKS["residual"], inputs("residual")
    got = relprop.explain(network, cuda.to_device(x), target=cuda.to_device(np.array([1, 0])))
    assert isinstance(got.values, cuda.compiled.Array) and isinstance(got.at("relu"), cuda.compiled.Array)
    want = relprop.explain(network, x, target=[1, 0], backend="cuda")
    assert np.array_equal(cuda.to_host(got.values), want.values)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("backend", ["auto", "cuda"])
def test_arrays_in_device_memory_go_in_and_come_out(cuda, library, backend, protocol):
    network, x = NETWORKS["residual"], inputs("residual")
    want = relprop.explain(network, x, backend="cuda", baseline=0.1, method="deeplift")
    there, its_baseline = library(x, protocol), library(np.full_like(x, 0.1), protocol)
    options = {"backend": backend, "baseline": its_baseline}
    relprop.explain(network, there, "deeplift", **options)
    got, costs = counted(cuda, lambda: relprop.explain(network, there, "deeplift", **options))
    assert costs["uploads"] == 0 and costs["downloads"] == 2  # whether x and the output are finite
    assert got.backend == "cuda"
    for name in ("values", "output", "expected", "delta"):
        given = getattr(got, name)
        assert isinstance(given, Foreign) and given.dtype == x.dtype
        if name != "delta":  # it is all rounding, of sums that are made in two places
            assert np.array_equal(cuda.to_host(given.array), getattr(want, name))
    assert isinstance(got.at("relu"), Foreign)
    rows = [[line.partition(", residual")[0] for line in str(a).splitlines()[1:]] for a in (got, want)]
    assert rows[0] == rows[1] and len(rows[0]) == len(x)


def test_a_function_gets_the_callers_arrays(cuda, library):
    network, x = NETWORKS["mlp"], inputs("mlp")
    seen = []

    def target(S):
        seen.append(S)
        return library(np.ones(S.shape))

    got = relprop.explain(network, library(x), "gradient", target)
    assert isinstance(seen[0], Foreign)
    want = relprop.explain(network, x, "gradient", np.ones_like, backend="cuda").values
    assert np.array_equal(cuda.to_host(got.values.array), want)


def test_a_cap_holds_for_arrays_in_device_memory_too(cuda, library):
    with pytest.raises(ValueError, match="memory is 1 MB, but lrp of 2 samples of network needs"):
        relprop.explain(NETWORKS["mlp"], library(inputs("mlp")), memory="1MB")
    assert relprop.explain(NETWORKS["mlp"], library(inputs("mlp")), memory="100MB").backend == "cuda"


def test_nothing_is_waited_for_where_nobody_asks(cuda, library):
    network, x = NETWORKS["mlp"], inputs("mlp")
    there = library(x)
    relprop.explain(network, there)
    _, costs = counted(cuda, lambda: relprop.explain(network, there, allow_nonfinite=True))
    assert costs["downloads"] == 0
    assert costs["waits"] == 1  # this library does not say which stream it reads results on


def test_results_outlive_what_they_were_made_from(cuda, library):
    network, x = NETWORKS["residual"], inputs("residual")
    want = relprop.explain(network, x, "gradient_times_input", backend="cuda")
    there = library(x)
    got = relprop.explain(network, there, "gradient_times_input")
    there.array = None
    del there
    gc.collect()
    inner, values = got.at("relu"), got.values
    del got
    gc.collect()
    assert np.array_equal(cuda.to_host(inner.array), want.at("relu"))
    assert np.array_equal(cuda.to_host(values.array), want.values)


def on_its_stream(name, library, x, call):
    """(x as an array of a library on a stream of its own, call's answer there, and that in NumPy)."""
    if name == "torch":
        with library.cuda.stream(library.cuda.Stream()):
            there = library.from_numpy(x).cuda() * 2 / 2
            given = call(there)
            return there, given, (given * 1).cpu().numpy()
    if name == "cupy":
        with library.cuda.Stream(non_blocking=True):
            there = library.asarray(x) * 2 / 2
            given = call(there)
            return there, given, library.asnumpy(given * 1)
    there = library.numpy.asarray(x) * 2 / 2
    given = call(there)
    return there, given, np.asarray(given * 1)


@pytest.mark.parametrize("name", ["torch", "cupy", "jax"])
def test_libraries_compute_on_streams_of_their_own(cuda, name):
    if hasattr(cuda.compiled, "fail_next"):
        pytest.skip("other libraries know nothing of the emulated device")
    library = pytest.importorskip(name)
    network, x = NETWORKS["residual"], inputs("residual", np.float32, n=64)
    want = relprop.explain(network, x, backend="cuda").values
    for _ in range(5):
        there, given, values = on_its_stream(name, library, x, lambda v: relprop.explain(network, v).values)
        assert type(given) is type(there) and given.dtype == there.dtype and given.device == there.device
        assert np.array_equal(values, want)


# ---- errors ----


TWO = Network([("sum", Add(), ("a", "b")), ("out", Dense(_w(3, 2)), "sum")], ("a", "b"))


def test_arrays_that_lie_apart_are_refused_by_name(cuda, library):
    x = RNG.normal(size=(2, 3))
    with pytest.raises(RuntimeError, match=r"^b is in host memory and a is in device memory; move one to the other$"):
        relprop.explain(TWO, {"a": library(x), "b": x})
    with pytest.raises(RuntimeError, match=r"^b is in device memory and a is in host memory; move one to the other$"):
        relprop.explain(TWO, {"a": x, "b": library(x)}, backend="cuda")
    with pytest.raises(RuntimeError, match=r"^baseline is in host memory and x is in device memory"):
        relprop.explain(NETWORKS["mlp"], library(inputs("mlp")), "deeplift", baseline=np.zeros((2, 5)))
    with pytest.raises(RuntimeError, match=r"x is a foreign array in device memory, which needs the backend 'cuda'"):
        relprop.explain(NETWORKS["mlp"], library(inputs("mlp")), backend="cpu")
    with pytest.raises(RuntimeError, match=r"baseline is a foreign array in device memory"):
        relprop.explain(NETWORKS["mlp"], inputs("mlp"), "deeplift", backend="cpu", baseline=library(inputs("mlp")))


def test_exact_arrays_are_refused(cuda):
    with pytest.raises(TypeError, match="x has dtype object, and only the backend 'pyref'"):
        relprop.explain(NETWORKS["mlp"], inputs("mlp").astype(object), backend="cuda")


@pytest.mark.parametrize("where", ["x", "output"])
def test_what_is_not_finite_is_refused_in_pyrefs_words(cuda, where):
    network, x = NETWORKS["mlp"], inputs("mlp")
    if where == "x":
        x[1, 2] = np.nan
    else:
        network = Network.sequential([Dense(np.full((5, 2), 1e308)), Dense(np.full((2, 2), 1e308))])
        x = np.abs(x)
    answers = []
    for backend in ("pyref", "cuda"):
        with pytest.raises(ValueError, match="non-finite") as error, np.errstate(all="ignore"):
            relprop.explain(network, x, backend=backend)
        answers.append(str(error.value))
    assert answers[0] == answers[1]
    assert np.isnan(relprop.explain(network, x * np.nan, "gradient", backend="cuda", allow_nonfinite=True).output).all()


@pytest.mark.parametrize(("net", "first"), [("cnn", "conv1"), ("mlp", "dense1")])
@pytest.mark.parametrize("low", [-0.5, np.array(-0.5)], ids=["number", "array"])
def test_an_input_outside_of_its_box_is_refused_in_pyrefs_words(cuda, net, first, low):
    network, x = NETWORKS[net], inputs(net)
    answers = []
    for backend in ("pyref", "cuda"):
        with pytest.raises(ValueError, match="widen the box") as error:
            relprop.explain(network, x, rule={first: pyref.ZBox(low, 9.0)}, backend=backend)
        answers.append(str(error.value))
    assert answers[0] == answers[1]
    options = {"rule": {first: pyref.ZBox(low, 9.0, out_of_range="clip")}}
    close(relprop.explain(network, x, "lrp", TARGET, "cuda", **options).values, textbook("lrp", options), network, x)


def test_out_of_memory_says_what_was_needed_and_the_next_call_works(cuda, monkeypatch):
    if not hasattr(cuda.compiled, "fail_next"):
        pytest.skip("a real device has more memory than a test can ask for in no time")
    network, x = NETWORKS["cnn"], inputs("cnn")
    want = relprop.explain(network, x, backend="cuda").values
    gc.collect()
    limit = cuda.compiled.allocated() + 3000
    monkeypatch.setenv("RELPROP_EMULATE_MEMORY", str(limit))
    with pytest.raises(MemoryError, match=r"\w+: needs .*B of device memory; .* of .*B are free"):
        relprop.explain(network, x, backend="cuda")
    monkeypatch.delenv("RELPROP_EMULATE_MEMORY")
    gc.collect()
    assert cuda.compiled.allocated() == limit - 3000
    assert np.array_equal(relprop.explain(network, x, backend="cuda").values, want)


def test_a_fault_and_a_missing_device_say_so(cuda, monkeypatch):
    if not hasattr(cuda.compiled, "fail_next"):
        pytest.skip("a real device is not broken by a test")
    network, x = NETWORKS["mlp"], inputs("mlp")
    relprop.explain(network, x, backend="cuda")
    cuda.compiled.fail_next(700, sticky=True)
    try:
        with pytest.raises(RuntimeError, match=r"illegal memory access.*context is lost.*RELPROP_CUDA_SYNC=1"):
            relprop.explain(network, x, backend="cuda")
        relprop.explain(network, x, backend="cpu")
    finally:
        cuda.compiled.fail_next(0, sticky=True)
    monkeypatch.setenv("RELPROP_EMULATE_DEVICES", "0")
    with pytest.raises(RuntimeError, match="no device"):
        relprop.explain(network, x, backend="cuda")
    monkeypatch.delenv("RELPROP_EMULATE_DEVICES")
    relprop.explain(network, x, backend="cuda")
