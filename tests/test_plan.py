"""Recorded explanations say what a call says, bit for bit, and what cannot be recorded is not."""

import gc
import threading
import weakref
from dataclasses import dataclass

import numpy as np
import pytest

import pyref
import relprop
from relprop import cpu
from relprop.parameters import with_parameters
from relprop.recorded import Unrecorded, record
from relprop.tape import CannotRecord, Tape, Traced

IMAGES, LABELS = relprop.digits()
SINGLE = {
    "gradient": {},
    "saliency": {"channels": "sum"},
    "gradient_times_input": {},
    "guided_backprop": {},
    "deconvnet": {},
    "deeplift": {"baseline": 0.5},
    "lrp": {"rule": "epsilon_alpha2_beta1"},
    "integrated_gradients": {"quadrature": "midpoint", "m": 7},
    "smoothgrad": {"samples": 3},
}


def residual(rng=None):
    """A network with a sum, channels side by side, average pooling and batch normalisation."""
    rng = rng or np.random.default_rng(3)

    def conv(o, c):
        return pyref.Conv(rng.normal(size=(o, c, 3, 3)), rng.normal(size=o), padding=1)

    norm = pyref.BatchNorm(rng.normal(size=3), rng.normal(size=3))
    nodes = [
        ("c1", conv(3, 2), "x"),
        ("n1", norm, "c1"),
        ("r1", pyref.ReLU(), "n1"),
        ("c2", conv(3, 3), "r1"),
        ("sum", pyref.Add(), ("r1", "c2")),
        ("r2", pyref.Tanh(), "sum"),
        ("both", pyref.Concat(), ("r2", "r1")),
        ("pool", pyref.AvgPool(2), "both"),
        ("flat", pyref.Flatten(), "pool"),
        ("fc", pyref.Dense(rng.normal(size=(54, 4)), rng.normal(size=4)), "flat"),
    ]
    return pyref.Network(nodes, {"x": (2, 6, 6)})


def same(a, b):
    if isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in b)
    return a is None if b is None else a.dtype == b.dtype and np.array_equal(a, b)


@pytest.mark.parametrize("method", pyref.METHODS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_third_call_says_what_the_textbooks_method_says_on_kernels(method, dtype):
    network = relprop.zoo("digits-cnn-relu")
    options = SINGLE.get(method, {})
    if method.endswith("excitation_backprop"):
        options = {"negative": "clip"}
    if method.startswith("pattern"):
        options = {"patterns": pyref.fit_patterns(network, [IMAGES[:50]])}
    for k in range(4):
        x = IMAGES[5 * k : 5 * k + 2].astype(dtype)
        target = LABELS[5 * k : 5 * k + 2] if k != 3 else [1, 2]
        a = relprop.explain(network, x, method, target, **options)
        kept = relprop.explain.__globals__["checked"](method, None, options)
        b = pyref.METHODS[method](network, x, target, backend=cpu, **kept)
        a = a.result
        assert same(a.values, b.values) and same(a.output, b.output) and same(a.expected, b.expected)
        assert a.settings.keys() == b.settings.keys()


@pytest.mark.parametrize("make", [lambda: relprop.zoo("digits-cnn-relu"), residual], ids=["digits", "residual"])
@pytest.mark.parametrize("method", SINGLE)
def test_a_recording_reads_parameters_as_they_are(method, make):
    """A module that shares its weights may be trained further; what follows from them alone is no constant either."""
    network, options = make(), SINGLE[method]
    if make is residual and method in ("guided_backprop", "deconvnet"):
        options = {"activation": "derivative"}
    x = IMAGES[:2] if make is not residual else np.random.default_rng(0).normal(size=(2, 2, 6, 6))
    arrays = [a for node in network.nodes.values() for a in vars(node.layer).values() if isinstance(a, np.ndarray)]
    own = [a.copy() for a in arrays]  # the zoo's are shared and not to be written
    changed = dict(zip(map(id, arrays), own, strict=True))
    network = with_parameters(network, lambda given: [changed.get(id(a), a) for a in given])
    plan = relprop.compile(network, x, method, target=0, **options)
    assert plan.recorded, plan.why
    checked = relprop.explain.__globals__["checked"](method, None, options)
    before = plan(x).values
    for a in own:
        a *= 1.25
        a += 0.125
    got, want = plan(x), pyref.METHODS[method](network, x, 0, backend=cpu, **checked)
    assert same(got.values, want.values) and same(got.output, want.output) and same(got.expected, want.expected)
    assert not same(got.values, before)


@pytest.mark.parametrize("backend", ["pyref", "cpu"])
def test_merged_weights_are_those_of_the_call(backend):
    """Batch normalisation is merged for rules that split by sign: from numbers as they are, recorded or not."""
    rng = np.random.default_rng(0)
    layer, bn = pyref.Dense(rng.normal(size=(5, 4)), rng.normal(size=4)), rng.normal(size=(2, 4))
    network = pyref.Network.sequential(
        [layer, pyref.BatchNorm(bn[0], bn[1]), pyref.ReLU(), pyref.Dense(layer.w.T.copy())]
    )
    x = rng.normal(size=(3, 5))
    for _ in range(5):  # the last calls repeat a recording
        got = relprop.explain(network, x, "lrp", 1, backend, rule="z_plus")
        merged = pyref.merge_batchnorm(network.with_layers({}))
        want = pyref.lrp(merged, x, 1, rule=pyref.ZPlus(), backend={"pyref": pyref, "cpu": cpu}[backend])
        assert same(got.values, want.values)
        layer.w[...] *= 1.25
        bn[...] += 0.125


@pytest.mark.parametrize("method", SINGLE)
def test_methods_of_one_pass_are_recorded(method):
    network, options = relprop.zoo("digits-cnn-relu"), SINGLE[method]
    plan = relprop.compile(network, IMAGES[:2], method, target=0, **options)
    assert plan.recorded, plan.why
    assert "recorded" in repr(plan)
    for k in (3, 9):
        a = plan(IMAGES[k : k + 2], target=LABELS[k : k + 2])
        b = pyref.METHODS[method](network, IMAGES[k : k + 2], LABELS[k : k + 2], backend=cpu, **plan_options(method))
        assert same(a.values, b.values) and same(a.output, b.output)
        assert a.result.settings.keys() == b.settings.keys()


def plan_options(method):
    return relprop.explain.__globals__["checked"](method, None, SINGLE[method])


@pytest.mark.parametrize(
    ("method", "options"),
    [(m, o) for m, o in SINGLE.items() if m not in ("guided_backprop", "deconvnet")]
    + [("lrp", {"rule": r}) for r in ("gamma", "w_square", "flat", "z_plus", "epsilon")],
)
@pytest.mark.parametrize("target", [None, 2])
def test_sums_side_by_side_and_other_rules(method, options, target):
    network, rng = residual(), np.random.default_rng(1)
    options = options | ({"channels": "l2"} if method == "saliency" else {})
    plan = relprop.compile(network, rng.normal(size=(3, 2, 6, 6)), method, target, **options)
    assert plan.recorded, plan.why
    for _ in range(2):
        x = rng.normal(size=(3, 2, 6, 6))
        decided = relprop.explain.__globals__["checked"](method, None, options)
        b = pyref.METHODS[method](network, x, target, backend=cpu, **decided)
        a = plan(x)
        assert same(a.values, b.values) and same(a.output, b.output) and same(a.expected, b.expected)


def test_inner_values_and_the_ledger_are_there_when_they_are_asked_for():
    network = relprop.zoo("digits-cnn-relu")
    plan = relprop.compile(network, IMAGES[:1], "lrp", target=0, rule="epsilon", epsilon=0.01)
    x = IMAGES[7:8].copy()
    a = plan(x, target=3)
    x[...] = 0  # what is read later is still that of the call
    b = relprop.explain(network, IMAGES[7:8], "lrp", 3, rule="epsilon", epsilon=0.01)
    assert same(a.at("conv1"), b.at("conv1")) and same(a.delta, b.delta)
    assert str(a.ledger) == str(b.ledger) and len(a.ledger) == len(network.nodes)
    assert a.biases.keys() == b.biases.keys() and len(a.biases) == 4


def test_results_stay_when_the_plan_is_called_again():
    network = relprop.zoo("digits-mlp-relu")
    plan = relprop.compile(network, IMAGES[:1], "gradient", target=0)
    a = plan(IMAGES[1:2])
    values = a.values.copy()
    b = plan(IMAGES[2:3])
    assert (a.values == values).all() and (a.values != b.values).any()


def test_what_is_refused_is_refused_at_every_call():
    network = relprop.zoo("digits-cnn-relu")
    plan = relprop.compile(network, IMAGES[:1], "gradient", target=0)
    broken = IMAGES[:1].copy()
    broken[0, 0, 2, 3] = np.nan
    with pytest.raises(ValueError, match=r"image holds 1 non-finite value, the first at index \(0, 0, 2, 3\)"):
        plan(broken)
    with pytest.raises(ValueError, match=r"target is 10, expected a class from 0 to 9"):
        plan(IMAGES[:1], target=10)
    with pytest.raises(ValueError, match=r"target names 2 classes for 1 samples"):
        plan(IMAGES[:1], target=[1, 2])
    with pytest.raises(ValueError, match=r"has shape \(2, 1, 8, 8\), but the plan was compiled for \(1, 1, 8, 8\)"):
        plan(IMAGES[:2])
    with pytest.raises(TypeError, match=r"dtype float16, but the plan was compiled for float"):
        plan(IMAGES[:1].astype(np.float16))
    with pytest.raises(ValueError, match="no input 'y'"):
        plan({"y": IMAGES[:1]})
    with pytest.raises(ValueError, match="compiled for the arg-max class"):
        relprop.compile(network, IMAGES[:1], "gradient")(IMAGES[:1], target=1)
    assert same(plan(IMAGES[:1]).values, relprop.explain(network, IMAGES[:1], "gradient", 0).values)


def test_a_box_is_looked_at_in_every_run():
    network = relprop.zoo("digits-cnn-relu")
    rule = pyref.COMPOSITES["epsilon_gamma_box"](low=-1.0, high=2.0)
    options = {"rule": rule}
    plan = relprop.compile(network, IMAGES[:1], "lrp", target=0, **options)
    assert plan.recorded, plan.why
    b = pyref.lrp(network, IMAGES[4:5], 0, backend=cpu, **options)
    assert same(plan(IMAGES[4:5]).values, b.values)
    with pytest.raises(ValueError, match="outside"):
        plan(IMAGES[:1] + 5)


def test_what_looks_at_numbers_or_is_no_host_array_is_called_in_the_usual_way():
    network = relprop.zoo("digits-cnn-relu")
    for why, options in {
        "depends on a number": {"method": "occlusion"},
        "the target is a function": {"method": "gradient", "target": np.ones_like},
        "this is 'pyref'": {"method": "gradient", "backend": "pyref"},
    }.items():
        plan = relprop.compile(network, IMAGES[:1], **options)
        assert not plan.recorded and why in plan.why and why in repr(plan)
        assert same(plan(IMAGES[3:4]).values, relprop.explain(network, IMAGES[3:4], **options).values)


@dataclass(frozen=True)
class Drifting(pyref.Layer):
    """Adds the number of times it was called."""

    count: list

    def forward(self, backend, x):
        self.count[0] += 1
        return x + self.count[0]

    def gradient(self, backend, x, y, G):
        return (G,)


def test_a_layer_that_does_not_repeat_itself_is_not_recorded():
    network = pyref.Network.sequential([Drifting([0]), pyref.Tanh()], shape=(3,))
    plan = relprop.compile(network, np.ones((1, 3)), "gradient", target=0)
    assert plan.why == "it does not repeat itself on other numbers"
    first, second = (relprop.explain(network, np.ones((1, 3)), "gradient", 0).values for _ in range(2))
    assert (first != second).any()


def test_a_rule_that_is_another_is_another_recording():
    network = relprop.zoo("digits-cnn-relu")
    found = []
    for epsilon in (0.1, 0.2) * 4:
        for rule in ("epsilon", "epsilon_plus"):
            found.append(relprop.explain(network, IMAGES[:1], rule=rule, epsilon=epsilon).values)
    assert all(same(a, b) for a, b in zip(found, found[4:], strict=False))
    assert not same(found[0], found[2]) and not same(found[0], found[1])


def test_many_shapes_do_not_pile_up():
    from relprop.recorded import EACH, _kept

    network = relprop.zoo("digits-mlp-relu")
    for n in range(1, 2 * EACH):
        for _ in range(2):
            relprop.explain(network, IMAGES[:n], "gradient", 0)
    assert len(_kept[network]) <= EACH


def test_a_network_is_freed_with_its_recordings():
    network = pyref.Network.sequential([pyref.Dense(np.eye(3)), pyref.ReLU()], shape=(3,))
    for _ in range(3):
        relprop.explain(network, np.ones((1, 3)), "gradient", 0)
    gone = weakref.ref(network)
    del network
    gc.collect()
    assert gone() is None


def test_threads_do_not_meet():
    network = relprop.zoo("digits-cnn-relu")
    plan = relprop.compile(network, IMAGES[:1], "lrp", target=0, rule="epsilon_plus")
    want = [pyref.lrp(network, IMAGES[k : k + 1], 0, rule="epsilon_plus", backend=cpu).values for k in range(8)]
    wrong = []

    def work(k):
        for _ in range(50):
            if not same(plan(IMAGES[k : k + 1]).values, want[k]):
                wrong.append(k)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert wrong == []


def test_large_calls_are_not_recorded():
    network = pyref.Network.sequential([pyref.ReLU(), pyref.Tanh()], shape=(2**22,))
    with pytest.raises(Unrecorded, match="bytes"):
        record("gradient", cpu, network, {"x": np.ones((1, 2**22), np.float32)}, (0,), {})


# ---- the tape ----


def test_an_array_that_is_written_begins_anew_at_every_run():
    tape = Tape(cpu, 2**20)
    x = tape.input(np.array([1.0, 2, 3]))
    total = np.zeros_like(x)
    first = total + x  # read before it is written
    total[1:] += x[1:]
    total += x
    run = tape.finished()
    for numbers in ([1, 2, 3], [5.0, 7, 9]):
        tape.now(x)[...] = numbers
        run()
        assert tape.now(first).tolist() == numbers
        assert tape.now(total).tolist() == [numbers[0], 2 * numbers[1], 2 * numbers[2]]


def test_what_a_tape_cannot_say_it_refuses():
    tape = Tape(cpu, 2**20)
    x = tape.input(np.array([1.0, 2, 3]))
    for look in (bool, int, float):
        with pytest.raises(CannotRecord, match="depends on a number"):
            look(x.sum())
    with pytest.raises(CannotRecord, match="read as it is now"):
        np.array(x)
    with pytest.raises(CannotRecord):
        np.zeros(3)[:] = x
    constant = np.ones_like(x)
    assert float(constant.sum()) == 3 and isinstance(constant, Traced)
    x + constant
    with pytest.raises(CannotRecord, match="a constant changes after it was read"):
        constant[0] = 2.0
    with pytest.raises(CannotRecord, match="bytes"):
        Tape(cpu, 8).input(np.ones(3))


def test_kernels_on_views_and_on_two_dtypes_read_them_anew():
    tape = Tape(cpu, 2**20)
    x = tape.input(np.arange(12.0).reshape(3, 4))
    w = np.arange(8, dtype=np.float32).reshape(4, 2)
    found = [
        tape.backend.dense_forward(x, w),
        tape.backend.dense_forward(x.astype(np.float32), w),
        tape.backend.dense_forward(x[:, ::-1], w),
        tape.backend.dense_forward(x, w) @ np.eye(2),
        tape.backend.softmax_forward(x),
    ]
    run = tape.finished()
    other = np.random.default_rng(0).normal(size=(3, 4))
    tape.now(x)[...] = other
    run()
    want = [
        cpu.dense_forward(other, w),
        cpu.dense_forward(other.astype(np.float32), w),
        cpu.dense_forward(other[:, ::-1], w),
        cpu.dense_forward(other, w) @ np.eye(2),
        cpu.softmax_forward(other),
    ]
    assert all(same(tape.now(a), b) for a, b in zip(found, want, strict=True))


def test_a_constant_pass_is_not_repeated():
    """DeepLIFT's reference is evaluated once, when it is recorded."""
    network = relprop.zoo("digits-mlp-relu")
    layers = len(network.nodes)
    counted = []
    module = replace_kernels(counted)
    made = record("deeplift", module, network, {"image": IMAGES[:1]}, 0, {})
    counted.clear()
    made(network, {"image": IMAGES[:1]}, 0)
    assert len(counted) < 3 * layers and counted.count("dense_forward") <= 1


def replace_kernels(counted):
    from types import SimpleNamespace

    def listening(name):
        kernel = getattr(cpu, name)

        def call(*args, **options):
            counted.append(name)
            return kernel(*args, **options)

        return call

    return SimpleNamespace(**vars(cpu) | {name: listening(name) for name in cpu.KERNELS})
