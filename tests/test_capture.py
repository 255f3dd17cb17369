"""relprop.compile(..., graph=True): one launch of a CUDA graph says what relprop.explain says, bit for bit."""

import gc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from emulated import compiled
from test_cuda import Foreign
from test_cuda_network import CASES, NETWORKS, TARGET, counted, inputs, library, shown  # noqa: F401

import relprop
import relprop.capture
from pyref import LSTM, Dense, Embedding, Flatten, Network, ZBox

RNG = np.random.default_rng(0)


def _w(*shape):
    return RNG.normal(size=shape) / np.sqrt(shape[-1])


def _lstm():
    return [LSTM(_w(3, 8), _w(2, 8), _w(8)), Flatten(), Dense(_w(8, 3), _w(3))]


STEPS = Network.sequential(_lstm(), shape=(4, 3)), [RNG.normal(size=(2, 4, 3)) for _ in range(3)]
WORDS = Network.sequential([Embedding(_w(5, 3)), *_lstm()])
ONCE = [  # one way there and one back
    ("gradient", {}),
    ("gradient_times_input", {}),
    ("saliency", {}),
    ("lrp", {"rule": "epsilon", "epsilon": 0.01}),
    ("deeplift", {"baseline": 0.1}),
]


def graph(network, x, method, target=TARGET, **options):
    return relprop.compile(network, x, method, target, "cuda", graph=True, **options)


def assert_same_bits(got, want):
    assert type(got.values) is type(want.values) and got.values.dtype == want.values.dtype
    for name in ("values", "output", "expected", "delta"):
        assert np.array_equal(getattr(got, name), getattr(want, name)), name
    assert (got.method, got.backend, got.quadrature) == (want.method, want.backend, want.quadrature)
    assert got.settings.keys() == want.settings.keys()


def assert_repeats(cuda, network, examples, method, target=TARGET, **options):
    """One launch and one copy to the device in each call, and the bits of a call that is not compiled."""
    explain = graph(network, examples[0], method, target, **options)
    for x in (*examples, examples[0]):
        got, costs = counted(cuda, lambda x=x: explain(x))
        assert (costs["launches"], costs["uploads"], costs["waits"], costs["allocations"]) == (1, 1, 1, 0)
        assert_same_bits(got, relprop.explain(network, x, method, target, "cuda", **options))


def recordable(method):
    """Methods that draw random numbers on the host, or look at numbers or lists of copies on their way, are not."""
    return method not in ("integrated_gradients", "full_gradient", "fullgrad", "smoothgrad", "occlusion")


REPEATED = [case for case in CASES if recordable(case[1])]
REFUSED = [(method, options) for net, method, options in CASES if net == "cnn" and not recordable(method)]


@pytest.mark.parametrize(("net", "method", "options"), REPEATED, ids=[f"{n}-{m}-{shown(o)}" for n, m, o in REPEATED])
def test_a_graph_repeats_what_was_recorded(cuda, net, method, options):
    x = inputs(net)
    assert_repeats(cuda, NETWORKS[net], [x, -0.5 * x[::-1]], method, **options)


@pytest.mark.parametrize(("method", "options"), ONCE, ids=[method for method, _ in ONCE])
@pytest.mark.parametrize("net", ["digits-cnn-relu", "lstm"])
def test_a_graph_of_a_trained_network_and_of_sequences(cuda, net, method, options):
    digits = relprop.digits()[0]
    network, examples = STEPS if net == "lstm" else (relprop.zoo(net), [digits[:1], digits[9:10]])
    assert_repeats(cuda, network, examples, method, **options)


@pytest.mark.parametrize("target", [None, [1, 0], np.array([2, 1])], ids=["arg-max", "list", "array"])
def test_classes_are_each_inputs_own_or_those_of_the_recording(cuda, target):
    x = inputs("mlp")
    assert_repeats(cuda, NETWORKS["mlp"], [x, -x, x[::-1]], "lrp", target)


def test_float32_stays(cuda):
    x = inputs("cnn", np.float32)
    assert_repeats(cuda, NETWORKS["cnn"], [x, -x], "lrp", rule="epsilon_plus")


@pytest.mark.parametrize(("method", "options"), REFUSED, ids=[f"{m}-{shown(o)}" for m, o in REFUSED])
def test_what_cannot_be_repeated_is_refused_by_name(cuda, method, options):
    network, x = NETWORKS["cnn"], inputs("cnn")
    words = rf"^{method} of network cannot be recorded as a CUDA graph: \w+: (copies|waits) .*cannot repeat$"
    with pytest.raises(RuntimeError, match=words):
        graph(network, x, method, **options)
    assert_repeats(cuda, network, [x], "gradient")


def test_a_target_that_looks_at_numbers_is_refused(cuda):
    with pytest.raises(RuntimeError, match="to_host: copies to host memory"):
        graph(NETWORKS["mlp"], inputs("mlp"), "gradient", np.ones_like)


@pytest.mark.parametrize("method", ["gradient", "lrp", "deeplift"])
def test_words_are_looked_up_in_a_graph(cuda, method):
    examples = [RNG.integers(0, 5, (2, 4)) for _ in range(2)]
    assert_repeats(cuda, WORDS, examples, method)
    explain = graph(WORDS, examples[0], method)
    with pytest.raises(ValueError, match="ids holds 8 values outside 0 to 4"):
        explain(examples[1] + 5)
    with pytest.raises(ValueError, match="ids holds 8 values outside 0 to 4"):
        relprop.explain(WORDS, examples[1] + 5, method, TARGET, "cuda")
    assert_same_bits(explain(examples[0]), relprop.explain(WORDS, examples[0], method, TARGET, "cuda"))


BOUNDS = {
    "per element": lambda v: np.full((2, 8, 8), v),
    "per channel": lambda v: np.array([v, 1.5 * v])[:, None, None],
    "one number": lambda v: np.float32(v),
    "whole numbers": lambda v: np.full((2, 1, 1), int(v)),
}


@pytest.mark.parametrize("out_of_range", ["raise", "clip"])
@pytest.mark.parametrize("form", BOUNDS)
@pytest.mark.parametrize("layers", ["conv", "dense"])
def test_bounds_of_a_box_may_be_arrays(cuda, layers, form, out_of_range):
    """They are copied to the device when the graph is made; what lies outside is looked at in every launch."""
    network = NETWORKS["cnn"] if layers == "conv" else Network.sequential([Flatten(), Dense(_w(128, 3), _w(3))])
    first = next(name for name, node in network.nodes.items() if node.layer.kind == layers)
    low, high = (BOUNDS[form](v) for v in (-4.0, 5.0))
    if layers == "dense" and form != "one number":
        low, high = (np.broadcast_to(v, (2, 8, 8)).reshape(128) for v in (low, high))
    rule = {first: ZBox(low, high, out_of_range=out_of_range)}
    x = inputs("cnn")
    assert_repeats(cuda, network, [x, -0.5 * x[::-1]], "lrp", rule=rule)
    explain = graph(network, x, "lrp", rule=rule)
    if out_of_range == "clip":
        return assert_same_bits(explain(9 * x), relprop.explain(network, 9 * x, "lrp", TARGET, "cuda", rule=rule))
    for call in (explain, lambda x: relprop.explain(network, x, "lrp", TARGET, "cuda", rule=rule)):
        with pytest.raises(ValueError) as mine:
            call(9 * x)
        with pytest.raises(ValueError) as theirs:
            relprop.explain(network, 9 * x, "lrp", TARGET, "pyref", rule=rule)
        assert str(mine.value) == str(theirs.value)
    assert_same_bits(explain(x), relprop.explain(network, x, "lrp", TARGET, "cuda", rule=rule))


@pytest.mark.parametrize("net", ["cnn", "residual", "constants"])
def test_boxes_may_be_around_every_node(cuda, net):
    x = inputs(net)
    assert_repeats(cuda, NETWORKS[net], [x, -x], "lrp", rule=ZBox(np.float32(-99), 99), merge_batchnorm=False)


# ---- arrays in device memory ----


@pytest.mark.parametrize("protocol", ["__cuda_array_interface__", "__dlpack__"])
def test_arrays_in_device_memory_stay_there(cuda, library, protocol):  # noqa: F811
    network, x = NETWORKS["residual"], inputs("residual")
    explain = graph(network, library(x, protocol), "deeplift", baseline=library(np.full_like(x, 0.1), protocol))
    first, costs = counted(cuda, lambda: explain(library(x, protocol)))
    assert costs["uploads"] == 1  # the library's own
    second = explain(library(-x, protocol))
    for given, got in ((x, first), (-x, second)):
        want = relprop.explain(network, given, "deeplift", TARGET, "cuda", baseline=0.1)
        for name in ("values", "output"):
            assert isinstance(getattr(got, name), Foreign)
            assert np.array_equal(cuda.to_host(getattr(got, name).array), getattr(want, name))
    assert isinstance(second.expected, Foreign)
    assert np.array_equal(cuda.to_host(second.expected.array), want.expected)


def test_the_kind_of_array_may_change_from_call_to_call(cuda, library):  # noqa: F811
    network, x = NETWORKS["mlp"], inputs("mlp")
    explain = graph(network, x, "lrp")
    want = relprop.explain(network, x, "lrp", TARGET, "cuda").values
    for given, read in (
        (x, np.asarray),
        (cuda.to_device(x), cuda.to_host),
        (library(x), lambda a: cuda.to_host(a.array)),
    ):
        assert np.array_equal(read(explain(given).values), want)
    assert np.array_equal(explain(np.asfortranarray(x)).values, want)
    assert np.array_equal(cuda.to_host(explain(cuda.to_device(x.repeat(2, 0))[::2]).values), want)


def test_a_graph_keeps_what_it_reads(cuda):
    """Parameters, merged ones too: whatever becomes of what is remembered with the network."""
    network, x = NETWORKS["cnn"].with_layers({}), inputs("cnn")
    want = relprop.explain(network, x, "lrp", TARGET, "cuda", rule="epsilon_plus")
    explain = graph(network, x, "lrp", rule="epsilon_plus")
    network._remembered.clear()
    gc.collect()
    others = [cuda.to_device(np.full(n, np.nan)) for n in (4, 12, 54, 108, 1024)]
    assert_same_bits(explain(x), want)
    del others


def test_results_outlive_their_graph(cuda):
    network, x = NETWORKS["mlp"], inputs("mlp")
    want = relprop.explain(network, x, "lrp", TARGET, "cuda")
    explain = graph(network, x, "lrp")
    there, here = explain(cuda.to_device(x)), explain(x)
    del explain
    gc.collect()
    assert np.array_equal(here.values, want.values) and np.array_equal(cuda.to_host(there.values), want.values)


def test_memory_is_released_with_a_graph(cuda):
    if cuda.compiled is not compiled():
        pytest.skip("the emulated device counts its allocations")
    network, x = NETWORKS["cnn"], inputs("cnn")
    relprop.explain(network, x, "lrp", TARGET, "cuda")
    gc.collect()
    before = cuda.compiled.allocated()
    explain = graph(network, x, "lrp")
    explain(x)
    assert cuda.compiled.allocated() > before
    del explain
    gc.collect()
    assert cuda.compiled.allocated() == before


# ---- the rest of a result, other targets, errors ----


def test_inner_values_and_the_ledger_are_there_when_they_are_asked_for(cuda):
    network, x = NETWORKS["mlp"], inputs("mlp")
    explain = graph(network, x, "lrp")
    there, here = cuda.to_device(x), x.copy()
    got = explain(here), explain(there)
    explain(-x)  # what is read later is still that of the call
    here[...] = 0
    want = relprop.explain(network, x, "lrp", TARGET, "cuda")
    for one in got:
        read = one.read
        assert np.array_equal(read(one.at("relu1")), want.at("relu1")) and np.array_equal(
            read(one.expected), want.expected
        )
        assert str(one.ledger) == str(want.ledger) and len(one.ledger) == len(network.nodes)
        assert one.biases.keys() == want.biases.keys() and one.biases


def test_a_graph_does_not_compute_a_ledger(cuda, monkeypatch):
    network, x = NETWORKS["mlp"], inputs("mlp")
    lean = graph(network, x, "lrp")._graph.nodes
    monkeypatch.setattr(relprop.capture, "unaccounted", lambda args, options: (args, options))
    assert lean + 2 * 3 <= graph(network, x, "lrp")._graph.nodes  # shares by themselves, and sums, of three layers


def test_a_call_may_name_other_classes(cuda):
    network, x = NETWORKS["mlp"], inputs("mlp")
    explain = graph(network, x, "lrp", 0)
    for target in (None, 2, [1, 2], np.array([0, 1]), None):
        want = relprop.explain(network, x, "lrp", 0 if target is None else target, "cuda")
        assert_same_bits(explain(x, target), want)
    with pytest.raises(ValueError, match="target is 3, expected a class from 0 to 2"):
        explain(x, 3)
    with pytest.raises(ValueError, match="no functions"):
        explain(x, np.ones_like)
    with pytest.raises(ValueError, match="compiled for the arg-max class"):
        graph(network, x, "lrp", None)(x, 1)
    assert_same_bits(explain(x), relprop.explain(network, x, "lrp", 0, "cuda"))


def test_a_page_and_a_file_of_a_graphs_result(cuda, tmp_path):
    network, x = NETWORKS["cnn"], inputs("cnn")
    explain = graph(network, x, "lrp")
    for given in (x, cuda.to_device(x)):
        got = explain(given)
        kept = np.load(got.save(tmp_path / "a.npz"))
        assert np.array_equal(kept["values"], relprop.explain(network, x, "lrp", TARGET, "cuda").values)
        got.plot()


def test_an_input_that_is_not_finite_is_refused_and_the_next_one_is_not(cuda):
    network, x = NETWORKS["mlp"], inputs("mlp")
    explain = graph(network, x, "gradient")
    with pytest.raises(ValueError) as theirs:
        relprop.explain(network, x * np.nan, "gradient", TARGET, "cuda")
    with pytest.raises(ValueError) as mine:
        explain(x * np.nan)
    assert str(mine.value) == str(theirs.value)
    assert_same_bits(explain(x), relprop.explain(network, x, "gradient", TARGET, "cuda"))


def test_other_inputs_are_refused(cuda):
    network, x = NETWORKS["mlp"], inputs("mlp")
    explain = graph(network, x, "gradient")
    with pytest.raises(ValueError, match=r"x has shape \(1, 5\), but the plan was compiled for \(2, 5\)"):
        explain(x[:1])
    with pytest.raises(TypeError, match="x has dtype float32, but the plan was compiled for float64"):
        explain(cuda.to_device(x.astype(np.float32)))
    with pytest.raises(ValueError, match="input 'x' of network is missing"):
        explain({})
    with pytest.raises(ValueError, match="no input 'y'"):
        explain({"y": x})
    explain.device = 1
    with pytest.raises(RuntimeError, match="x is on device 0, but the plan was compiled for 1"):
        explain(x)


def test_an_error_of_the_device_during_recording_leaves_it_as_it_was(cuda):
    if cuda.compiled is not compiled():
        pytest.skip("errors are ordered from the emulated device")
    network, x = NETWORKS["mlp"], inputs("mlp")
    explain = graph(network, x, "gradient")
    made = explain._run

    def run():
        cuda.compiled.fail_next(719)
        return made()

    explain._run = run
    with pytest.raises(RuntimeError, match="unspecified launch failure"):
        explain._record()
    assert_repeats(cuda, network, [x], "gradient")


def test_every_launch_may_be_waited_for(cuda, monkeypatch):
    monkeypatch.setenv("RELPROP_CUDA_SYNC", "1")
    network, x = NETWORKS["mlp"], inputs("mlp")
    assert_same_bits(graph(network, x, "lrp")(x), relprop.explain(network, x, "lrp", TARGET, "cuda"))


def test_calls_from_several_threads_take_turns(cuda):
    network, x = NETWORKS["cnn"], inputs("cnn")
    explain = graph(network, x, "lrp")
    scales = [0.5, 1, 2, -1] * 3
    want = {scale: relprop.explain(network, scale * x, "lrp", TARGET, "cuda").values.tobytes() for scale in set(scales)}
    with ThreadPoolExecutor(4) as pool:
        got = list(pool.map(lambda scale: explain(scale * x).values.tobytes(), scales))
    assert got == [want[scale] for scale in scales]


def test_a_graph_is_of_the_device():
    network, x = NETWORKS["mlp"], inputs("mlp")
    with pytest.raises(ValueError, match="graph=True needs the backend 'cuda', and this is 'cpu'"):
        relprop.compile(network, x, graph=True)
    with pytest.raises(ValueError, match="target is 7, expected a class from 0 to 2"):
        relprop.compile(network, x, target=7, graph=True)
