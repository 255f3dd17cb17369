"""Values and signals that are let go of while a walk goes on: less memory, the same bits, and nothing lost unseen."""

import pickle
import tracemalloc
from functools import wraps

import numpy as np
import pytest

import pyref

# relprop lists one example of every layer, for its own table; it needs the compiled extension.
pytest.importorskip("relprop.support", exc_type=ImportError)

import relprop
import relprop.cpu
from pyref.methods import lean as hold
from pyref.methods.method import start
from tests.test_formula import VARIANTS
from tests.test_methods_support import network_of, options_of

ALWAYS = ("fullgrad", "full_gradient", "grad_cam", "occlusion", "integrated_gradients", "interior_gradients")
SCALED = [("vgg16", {"width": 0.125, "size": 32}), ("resnet50", {"width": 0.125, "size": 32})]


@pytest.mark.parametrize("backend", [pyref, relprop.cpu], ids=["pyref", "cpu"])
@pytest.mark.parametrize("layer", pyref.LAYERS)
def test_every_method_through_every_layer_says_the_same(layer, backend):
    network, x = network_of(layer)
    for name, method in pyref.METHODS.items():
        if pyref.supports(name, pyref.LAYERS[layer]) is not True:
            continue
        options = {"backend": backend, **options_of(name, network, x)}
        try:
            want = method(network, x, 0, **options)
        except ValueError as refusal:
            with pytest.raises(ValueError) as lean:
                method(network, x, 0, inner=False, **options)
            assert str(lean.value) == str(refusal)
            continue
        assert_same(method(network, x, 0, inner=False, **options).values, want.values)


@pytest.mark.parametrize("name", [name for name in pyref.METHODS if name not in ALWAYS])
@pytest.mark.parametrize(("architecture", "size"), SCALED)
def test_whole_networks_say_the_same(name, architecture, size):
    network = pyref.merge_batchnorm(relprop.build(architecture, seed=0, classes=5, **size))
    x = np.random.default_rng(0).uniform(0.1, 1, size=(2, *next(iter(network.inputs.values())))).astype(np.float32)
    if name.startswith("pattern"):
        network = network.up_to(list(network.nodes)[20])  # behind random patterns relevance grows from layer to layer
    options = {"backend": relprop.cpu, **options_of(name, network, x)}
    for more in [{}, {"rule": "epsilon_alpha2_beta1"}] if name == "lrp" else [{}]:
        lean = pyref.METHODS[name](network, x, np.ones_like, inner=False, **more, **options)
        whole = pyref.METHODS[name](network, x, np.ones_like, **more, **options)
        assert_same(lean.values, whole.values)
        assert_same(lean.output, whole.output)
        with pytest.raises(ValueError, match="signals is made of what inner values receive"):
            lean.at("fc")
        assert pickle.loads(pickle.dumps(whole)).signals.keys() == dict(whole.signals).keys()
        assert_same(pickle.loads(pickle.dumps(lean)).values, whole.values)


def test_no_backward_answer_of_a_cheap_layer_reads_its_output():
    seen = set()
    for name in pyref.LAYERS:
        network, x = network_of(name)
        node = network.nodes["layer"]
        if not node.layer.cheap:
            continue
        seen.add(node.layer.kind)
        record = network.forward(x)
        inputs, y = record.inputs(node), record.output(node)
        S = tuple(map(np.ones_like, y)) if isinstance(y, tuple) else np.ones_like(y)
        for unread in (y, None):
            gradient = node.layer.gradient(pyref, inputs, unread, S)
            relevance = node.layer.relevance(pyref, inputs, unread, S, pyref.Epsilon(0))
            multiplier = node.layer.multiplier(pyref, inputs, unread, inputs, unread, S)
            if unread is y:
                want = gradient, relevance, multiplier
        for got, expected in zip((gradient, relevance, multiplier), want, strict=True):
            for a, b in zip(got, expected, strict=True):
                assert_same(a, b)
    assert seen == {"activation", "add", "shape", "dropout"}


def test_a_lean_record_computes_again_what_it_let_go_of():
    network = pyref.merge_batchnorm(relprop.build("resnet50", seed=0, classes=5, width=0.125, size=32))
    x = np.random.default_rng(0).normal(size=(2, 3, 32, 32))
    whole, lean = network.forward(x, relprop.cpu), network.forward(x, relprop.cpu, **hold.values(network, {}))
    gone = [ref for ref in whole if np.count_nonzero(lean.hollow(ref)) == 0 != np.count_nonzero(whole[ref])]
    kinds = {network.nodes[name].layer.kind for name, _ in gone}
    assert kinds == {"activation", "add", "shape"}
    assert all(lean.hollow(ref).shape == whole[ref].shape and lean.hollow(ref).strides[0] == 0 for ref in gone)
    for ref in reversed(list(whole)):  # the last ones first: each asks for those before it
        assert_same(lean[ref], whole[ref])
    lean.let_go([ref for ref in lean if ref[0] in network.nodes])  # back to the input alone
    for ref in reversed(list(whole)):
        assert_same(lean[ref], whole[ref])
    assert not whole.lean
    whole.let_go(list(whole))
    assert_same(whole.hollow("fc"), lean["fc"])  # a record that somebody else may read holds on to everything


@pytest.mark.parametrize(
    ("architecture", "method", "most"),
    [
        ("vgg16", "gradient_times_input", 0.8),
        ("vgg16", "lrp", 0.8),
        ("vgg16", "guided_backprop", 0.8),
        ("vgg16", "deeplift", 1.5),
        ("resnet50", "gradient_times_input", 0.5),  # what convolutions hand to residual sums is not read again
        ("resnet50", "lrp", 0.8),
        ("resnet50", "deeplift", 1.0),
    ],
)
def test_a_lean_run_holds_less_than_the_values_of_the_network(architecture, method, most):
    network = pyref.merge_batchnorm(relprop.build(architecture, seed=0, classes=5, width=0.25, size=64))
    x = np.random.default_rng(0).normal(size=(4, 3, 64, 64)).astype(np.float32)
    values = sum(value.nbytes for value in network.forward(x, relprop.cpu).values())

    def peak(**options):
        tracemalloc.start()
        try:
            pyref.METHODS[method](network, x, 1, backend=relprop.cpu, **options)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(inner=False)
    assert peak(inner=False) <= most * values < peak(inner=True)


def test_a_linear_walk_holds_what_it_ends_at():
    network = pyref.merge_batchnorm(relprop.build("resnet50", seed=0, classes=5, width=0.125, size=32))
    x = np.random.default_rng(0).normal(size=(2, 3, 32, 32))
    name = "layer1.0.conv3"  # a residual sum alone reads it
    run = start(network, x, 1, at=name, inner=False, hold=hold.shapes, backend=relprop.cpu)
    assert np.count_nonzero(run.record.hollow(name))
    assert not np.count_nonzero(run.record.hollow("layer1.1.conv3"))
    whole = pyref.gradient_times_input(network, x, 1, at=name, backend=relprop.cpu)
    assert_same(
        pyref.gradient_times_input(network, x, 1, at=name, inner=False, backend=relprop.cpu).values, whole.values
    )


def residual(first, second=None):
    """Convolutions, pooling, a sum and a dense layer, each behind a ReLU; some windows see nothing but zeros."""
    rng = np.random.default_rng(5)

    def w(*shape):
        return rng.normal(size=shape)

    return pyref.Network(
        [
            ("conv1", first(w(4, 2, 3, 3), w(4), padding=1), "x"),
            ("relu1", pyref.ReLU(), "conv1"),
            ("pool", pyref.MaxPool(2), "relu1"),
            ("conv2", pyref.Conv(w(4, 4, 3, 3), w(4) - 1, padding=1), "pool"),
            ("relu2", second or pyref.ReLU(), "conv2"),
            ("conv3", pyref.Conv(w(4, 4, 1, 1), w(4)), "relu2"),
            ("sum", pyref.Add(), ("conv3", "pool")),
            ("relu3", pyref.ReLU(), "sum"),
            ("mean", pyref.AvgPool(2), "relu3"),
            ("flat", pyref.Flatten(), "mean"),
            ("fc", pyref.Dense(w(16, 3), w(3)), "flat"),
        ],
        {"x": (2, 8, 8)},
    )


READS_Z = [
    pyref.Epsilon(0),
    pyref.Epsilon(0.1, stabilizer="rms"),
    pyref.AlphaBeta(),
    pyref.AlphaBeta(2, 1, renormalize=True),
    pyref.Gamma(0.3),
    pyref.Norm(),
]


BEHIND = [(rule, relprop.cpu) for rule in (*VARIANTS, pyref.Pass())] + [(rule, pyref) for rule in VARIANTS[::5]]


@pytest.mark.parametrize(("behind", "backend"), BEHIND, ids=lambda value: getattr(value, "__name__", str(value)))
def test_relevance_is_the_same_where_a_is_held_in_place_of_z(behind, backend):
    """Whatever rule reads z of a layer, and whatever rule hands relevance to the ReLU behind it."""
    network, x = residual(pyref.Conv), np.random.default_rng(0).normal(size=(3, 2, 8, 8))
    readers = ("conv2", "conv3", "sum", "mean", "fc")
    for rule in READS_Z:
        for node in readers:
            rules = dict.fromkeys(("conv1", *readers), rule) | {node: behind}
            options = {"rule": rules, "merge_batchnorm": False, "backend": backend}
            try:
                want = pyref.lrp(network, x, 1, **options)
            except ValueError as refusal:
                with pytest.raises(ValueError) as lean:
                    pyref.lrp(network, x, 1, inner=False, **options)
                assert str(lean.value) == str(refusal)
                continue
            assert_same(pyref.lrp(network, x, 1, inner=False, **options).values, want.values)


def test_where_max_z_0_is_held():
    network, x = residual(pyref.Conv), np.random.default_rng(0).normal(size=(3, 2, 8, 8))
    all_three = {"conv1", "conv2", "sum"}
    assert network.rectifiable == {"conv1": "relu1", "conv2": "relu2", "sum": "relu3"}
    leaves = {"x": ("x", 0)}

    def held(at=network, leaves=leaves, **rules):
        found = hold.relevance({n: rules.get(n, pyref.Epsilon(0.1)) for n in network.nodes})(at, leaves)
        return set(found["rectified"])

    assert held() == hold.gradients(network, leaves)["rectified"] == all_three
    assert held(conv2=pyref.WSquare()) == {"conv2", "sum"}  # of units without activation too, pool and all
    assert held(fc=pyref.Flat()) == all_three  # the mean shares by values
    assert held(mean=pyref.Flat()) == {"conv1", "conv2"}
    assert held(conv1=pyref.Epsilon(0.1, stabilizer="rms")) == {"conv2", "sum"}
    assert held(conv3=pyref.ZBox(-1, 1), sum=pyref.Pass()) == {"sum"}
    assert held(leaves={"conv2": ("conv2", 0)}) == {"conv1", "sum"}
    assert held(network.up_to("relu2")) == {"conv1"}  # an injected signal may lie anywhere
    assert residual(pyref.Conv, pyref.LeakyReLU()).rectifiable.keys() == {"conv1", "sum"}
    lean = network.forward(x, **hold.gradients(network, leaves))
    whole = network.forward(x)
    assert lean["conv2"] is lean["relu2"]
    assert_same(lean["conv2"], whole["relu2"])
    given = network.forward(x, given={"conv2": whole["conv2"]}, **hold.gradients(network, leaves))
    assert_same(given["relu2"], whole["relu2"])  # a value that is given is what it is


@pytest.mark.parametrize("layer", [name for name in pyref.LAYERS if pyref.LAYERS[name].affine])
def test_inputs_that_are_0_receive_nothing_by_rules_that_say_so(layer):
    network, x = network_of(layer)
    node = network.nodes["layer"]
    record = network.forward({name: np.where(np.arange(v.size).reshape(v.shape) % 3, v, 0) for name, v in x.items()})
    inputs, y = record.inputs(node), record.output(node)
    rng = np.random.default_rng(0)
    R = tuple(rng.normal(size=part.shape) for part in y) if isinstance(y, tuple) else rng.normal(size=y.shape)
    for rule in VARIANTS:
        if rule.keeps_zeros:
            for v, r in zip(inputs, node.layer.relevance(pyref, inputs, y, R, rule), strict=True):
                assert not np.any(r[v == 0]), rule
    assert not pyref.Pass().keeps_zeros
    assert {type(rule) for rule in VARIANTS if not rule.keeps_zeros} >= {pyref.WSquare, pyref.Flat, pyref.ZBox}


def test_a_layer_or_a_rule_of_somebody_else_is_asked_itself():
    class Twice(pyref.Conv):
        def forward(self, backend, x):
            return 2 * super().forward(backend, x)

    class Asks(pyref.Conv):
        def relevance(self, backend, x, y, R, rule, gate="all", account=None):
            return (x[0] + np.sum(y) * np.ones_like(x[0]),)

    class Mine(pyref.Epsilon):
        def split(self, R, z):
            return (R * z[0], *super().split(R, z)[1:])

    class Odd(pyref.Epsilon):
        def split(self, R, z):
            return (z[0], *super().split(R, z)[1:])  # whatever arrives

    x = np.random.default_rng(0).normal(size=(3, 2, 8, 8))
    network = residual(Twice)
    assert network.rectifiable.keys() == {"conv2", "sum"}
    assert_same(network(x), network.forward(x)["fc"])
    network = residual(Asks)
    assert network.rectifiable.keys() == {"conv2", "sum"}
    network = network.with_layers({"conv1": network.nodes["conv2"].layer} | {"conv3": Asks(np.ones((4, 4, 1, 1)))})
    held = hold.relevance(dict.fromkeys(network.nodes, pyref.Epsilon(0.1)))(network, {})
    assert held["rectified"] == {"conv1", "sum"}  # what conv3 hands to relu2 nobody knows
    network = residual(pyref.Conv)
    for rule in (Mine(0.1), Odd(0.1)):
        options = {"rule": {"conv1": rule, "conv2": rule}}
        assert_same(pyref.lrp(network, x, 1, inner=False, **options).values, pyref.lrp(network, x, 1, **options).values)


def test_explain_makes_the_rest_when_it_is_read():
    network = relprop.build("vgg16", seed=0, classes=5, width=0.25, size=64)
    x = np.random.default_rng(0).normal(size=(4, 3, 64, 64)).astype(np.float32)
    given, calls = x.copy(), []
    lrp = pyref.METHODS["lrp"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(
            pyref.METHODS, "lrp", wraps(lrp)(lambda *a, **more: calls.append(more["inner"]) or lrp(*a, **more))
        )
        want = relprop.explain(network, x, "lrp", 1, rule="epsilon_plus", inner=True)
        got = relprop.explain(network, given, "lrp", 1, rule="epsilon_plus")
        given[...] = 0  # the caller may do what he likes with his arrays
        assert_same(got.values, want.values)
        assert calls == [True, False]
        assert_same(got.at("features.5"), want.at("features.5"))
        assert_same(got.expected, want.expected)
        assert got.biases.keys() == want.biases.keys()
        assert got.ledger.table(1) == want.ledger.table(1)
        assert calls == [True, False, True]  # once, whatever is read
        small = relprop.explain(relprop.zoo("digits-cnn-relu"), relprop.digits()[0][:2], "lrp", 1)
        assert len(small.ledger)
        assert calls == [True, False, True, True]  # what is small is kept
        one = {"record": network.forward(x, relprop.cpu)}
        assert len(relprop.explain(network, x, "lrp", 1, "cpu", **one).ledger)
        assert calls[4:] == [True]


def assert_same(a, b):
    if isinstance(b, dict):
        assert a.keys() == b.keys()
        for name in b:
            assert_same(a[name], b[name])
    else:
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)
