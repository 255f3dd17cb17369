"""Architectures by name: parameter counts known from elsewhere, state dicts by name, and PyTorch's own modules."""

import math

import numpy as np
import pytest
from bound import rounding
from safetensors.numpy import save_file

import pyref
import relprop
from relprop.models.architectures import ARCHITECTURES, parameter_shapes

SMALL = {
    "vgg16": {"width": 1 / 32, "size": 32, "classes": 5},
    "vgg16_bn": {"width": 1 / 32, "size": 32, "classes": 5},
    "resnet50": {"width": 1 / 32, "size": 32, "classes": 5},
    "googlenet": {"width": 1 / 32, "size": 32, "classes": 5},
    "inception_v3": {"width": 1 / 32, "size": 75, "classes": 5},
    "mnist_mlp": {},
    "mnist_cnn": {"activation": "tanh"},
    "cifar10_cnn": {"activation": "sigmoid"},
    "cifar10_sixt": {},
    "imdb_mlp": {"words": 30, "length": 20},
    "imdb_lstm": {"words": 30, "length": 20},
}
# As the documentation of torchvision states them, which for the last two counts auxiliary classifiers elsewhere.
COUNTS = {"vgg16": 138357544, "vgg16_bn": 138365992, "resnet50": 25557032, "googlenet": 6624904}


def sample(net, n=1):
    (shape,) = net.inputs.values()
    rng = np.random.default_rng(1)
    if "embedding" in net.nodes:
        return rng.integers(0, 30, size=(n, *shape))
    return rng.uniform(-1, 1, size=(n, *shape)).astype(np.float32)


@pytest.mark.parametrize("name", COUNTS)
def test_the_number_of_parameters_is_known(name):
    shapes = {n: s for n, s in parameter_shapes(name).items() if "running" not in n}
    assert sum(map(math.prod, shapes.values())) == COUNTS[name]


def test_inception_has_the_known_parameters_less_its_auxiliary_classifier():
    """27 161 264 in torchvision; the classifier that training adds has convolutions 768×128 and 128×768×5×5, and
    a dense layer 768×1000."""
    shapes = {n: s for n, s in parameter_shapes("inception_v3").items() if "running" not in n}
    auxiliary = 768 * 128 + 2 * 128 + 128 * 768 * 25 + 2 * 768 + 768 * 1000 + 1000
    assert sum(map(math.prod, shapes.values())) == 27161264 - auxiliary


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture_runs_and_repeats_itself(name):
    net = relprop.build(name, seed=3, **SMALL[name])
    x = sample(net)
    y = net(x)
    assert np.isfinite(y).all() and y.dtype == np.float32
    assert (relprop.build(name, seed=3, **SMALL[name])(x) == y).all()
    assert (relprop.build(name, seed=4, **SMALL[name])(x) != y).any()


@pytest.mark.parametrize("name", ["resnet50", "googlenet", "inception_v3", "cifar10_cnn"])
def test_relevance_and_deeplift_keep_their_laws(name):
    net = relprop.build(name, seed=3, dtype="float64", **SMALL[name])
    x = sample(net).astype(np.float64)
    longest = max(n.layer.w.size // min(n.layer.w.shape[:2]) for n in net.nodes.values() if hasattr(n.layer, "w"))
    for a in (pyref.lrp(net, x, 1, rule=pyref.Epsilon(1e-3)), pyref.deeplift(net, x, 1)):
        there = sum(np.sum(np.abs(v)) for v in a.signals.values()) + np.abs(a.output).max()
        assert (np.abs(a.delta) <= rounding(2 * (longest + 16), there)).all()


def test_a_state_dict_loads_by_name(tmp_path):
    """What torchvision saves for training alone is left aside; the order of names does not matter."""
    options = SMALL["googlenet"]
    rng = np.random.default_rng(0)
    shapes = parameter_shapes("googlenet", **options)
    state = {n: rng.uniform(0.5, 1, size=s).astype(np.float32) for n, s in reversed(shapes.items())}
    extra = {"conv1.bn.num_batches_tracked": np.array([3]), "aux1.fc1.weight": np.ones((2, 2), np.float32)}
    save_file(state | extra, tmp_path / "g.safetensors")
    net = relprop.build("googlenet", tmp_path / "g.safetensors", **options)
    assert (net.nodes["inception4a.branch2.1.conv"].layer.w == state["inception4a.branch2.1.conv.weight"]).all()
    assert (net.nodes["fc"].layer.w == state["fc.weight"].T).all()
    given = relprop.build("googlenet", state, **options)
    assert np.shares_memory(given.nodes["fc"].layer.w, state["fc.weight"])
    assert (given(sample(net)) == net(sample(net))).all()


def without(state, name):
    return {n: v for n, v in state.items() if n != name}


STATES = {
    "missing": (lambda s: without(s, "fc2.bias"), "'fc2.bias' is missing"),
    "many missing": (lambda s: {}, "'fc3.weight' and 1 more are missing"),
    "unexpected": (lambda s: s | {"fc9.bias": s["fc2.bias"]}, "'fc9.bias' is not expected"),
    "shape": (lambda s: s | {"fc2.bias": np.ones(3)}, "fc2.bias has shape (3,), expected (512,)"),
    "integers": (
        lambda s: s | {"fc2.bias": np.ones(512, int)},
        "fc2.bias has dtype int64, expected float16, float32 or float64",
    ),
    "not finite": (lambda s: s | {"fc2.bias": np.full(512, np.nan)}, "fc2.bias holds non-finite values"),
    "two faults": (lambda s: without(s, "fc1.bias") | {"fc2.bias": np.ones(3)}, "'fc1.bias' is missing; fc2.bias has"),
}


@pytest.mark.parametrize(("spoil", "words"), STATES.values(), ids=list(STATES))
def test_a_state_dict_that_does_not_fit_is_refused_in_one_message(spoil, words):
    state = {n: np.zeros(s, np.float32) for n, s in parameter_shapes("mnist_mlp").items()}
    with pytest.raises(ValueError, match="weights does not fit mnist_mlp") as caught:
        relprop.build("mnist_mlp", spoil(state))
    assert words in str(caught.value)


def test_names_and_options_are_checked(tmp_path):
    with pytest.raises(ValueError, match="did you mean 'resnet50'"):
        relprop.build("resnet")
    with pytest.raises(TypeError, match="vgg16 has no option 'clases'; did you mean 'classes'"):
        relprop.build("vgg16", clases=3)
    with pytest.raises(ValueError, match="did you mean 'tanh'"):
        relprop.build("mnist_mlp", activation="tan")
    with pytest.raises(ValueError, match=r"ends in '\.bin', expected \.safetensors"):
        relprop.build("mnist_mlp", tmp_path / "w.bin")
    (tmp_path / "w.safetensors").write_bytes(b"nothing of the kind")
    with pytest.raises(ValueError, match="cannot be read"):
        relprop.build("mnist_mlp", tmp_path / "w.safetensors")


# ── against PyTorch ────────────────────────────────────────────────────────────────────────────────────


def module_of(name):
    import modules

    options = {k: v for k, v in SMALL[name].items() if k != "size"}
    maker = {
        "vgg16": modules.vgg16,
        "vgg16_bn": lambda **o: modules.vgg16(**o, batchnorm=True),
        "resnet50": modules.ResNet50,
        "googlenet": modules.GoogLeNet,
        "inception_v3": modules.InceptionV3,
    }[name]
    return maker(**options)


@pytest.mark.peers
@pytest.mark.parametrize("name", ["vgg16", "vgg16_bn", "resnet50", "googlenet", "inception_v3"])
def test_a_state_dict_of_torchvisions_names_gives_the_same_network(name, tmp_path):
    """The module as torchvision writes it, its state dict in a .pth file, and the same module by from_torch."""
    torch = pytest.importorskip("torch", reason="needs PyTorch, which the extra `torch` installs")
    from nearby import close
    from outside import array, randomize

    module = randomize(module_of(name), 4)
    torch.save(module.state_dict(), tmp_path / "weights.pth")
    net = relprop.build(name, tmp_path / "weights.pth", dtype="float64", **SMALL[name])
    x = sample(net, 2).astype(np.float64)
    with torch.no_grad():
        close(array(module(torch.tensor(x))), lambda net, x, *_: net(x), net, x)
    imported = relprop.from_torch(module, torch.tensor(x))
    close(pyref.gradient(imported, x, 1).values, lambda net, x, *_: pyref.gradient(net, x, 1).values, net, x)


@pytest.mark.peers
def test_a_file_with_code_in_it_is_not_run(tmp_path):
    torch = pytest.importorskip("torch", reason="needs PyTorch, which the extra `torch` installs")

    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("the file's code ran",))

    torch.save({"fc1.weight": Trap()}, tmp_path / "trap.pth")
    with pytest.raises(ValueError, match=r"weights_only=True \(UnpicklingError\); save model\.state_dict\(\)$"):
        relprop.build("mnist_mlp", tmp_path / "trap.pth")
    torch.save({"epoch": 3, "model": {}}, tmp_path / "checkpoint.pth")
    with pytest.raises(ValueError, match="other things than tensors"):
        relprop.build("mnist_mlp", tmp_path / "checkpoint.pth")


@pytest.mark.peers
@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
@pytest.mark.parametrize("kind", ["parameter", "legacy", "bfloat16", "float16", "float64"])
def test_a_state_dict_may_be_saved_in_any_way(kind, suffix, tmp_path):
    """Parameters for tensors, PyTorch's file before 1.6, another precision."""
    torch = pytest.importorskip("torch", reason="needs PyTorch, which the extra `torch` installs")
    from safetensors.torch import save_file as save_tensors

    dtype = getattr(torch, kind, torch.float32)
    state = {n: torch.ones(s, dtype=dtype) for n, s in parameter_shapes("mnist_mlp").items()}
    if kind == "parameter":
        state = {n: torch.nn.Parameter(v) for n, v in state.items()}
    if suffix == "pth":
        torch.save(state, tmp_path / "s.pth", _use_new_zipfile_serialization=kind != "legacy")
    else:
        save_tensors(state, tmp_path / "s.safetensors")
    if (kind, suffix) == ("bfloat16", "safetensors"):
        with pytest.raises(ValueError, match=r"bfloat16.*expected float16, float32 or float64"):
            relprop.build("mnist_mlp", tmp_path / "s.safetensors")
    else:
        w = relprop.build("mnist_mlp", tmp_path / f"s.{suffix}").nodes["fc1"].layer.w
        assert w.dtype == np.float32 and (w == 1).all()


def test_the_own_format_has_any_suffix_and_keeps_what_was_canonized(tmp_path):
    net, rewrites = relprop.build("resnet50", **SMALL["resnet50"]).canonize()
    assert len(rewrites) == 53
    relprop.save(net, tmp_path / "m.relprop")
    again = relprop.load(tmp_path / "m.relprop")
    assert list(again.nodes) == list(net.nodes)
    for name, node in net.nodes.items():
        for field, value in vars(node.layer).items():
            assert np.array_equal(getattr(again.nodes[name].layer, field), value), (name, field)
