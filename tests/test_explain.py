"""relprop.explain: pyref's answers under one name, in the caller's kind of array."""

import inspect
import logging
import sys
from fractions import Fraction
from functools import partial

import numpy as np
import pytest
from cases import NETWORK, X
from exact import assert_equal, fractions

import pyref
import relprop
from relprop.arrays import enter
from relprop.backends import BACKENDS, resolve
from relprop.explain import method_options
from relprop.progress import counted

# The textbook's own backend, so that results are pyref's to the bit.
explain = partial(relprop.explain, backend="pyref")


class Library:
    """A library that is not NumPy: it speaks DLPack and Python's array API, and nothing of NumPy's protocols."""

    @staticmethod
    def from_dlpack(array):
        return Foreign(np.from_dlpack(array))


class Foreign:
    """Its arrays."""

    def __init__(self, values):
        self.values = values

    dtype = property(lambda self: self.values.dtype)
    shape = property(lambda self: self.values.shape)
    ndim = property(lambda self: self.values.ndim)

    def __array__(self, *args, **options):
        raise AssertionError("the door is DLPack")

    def __array_namespace__(self):
        return Library

    def __dlpack__(self, **options):
        return self.values.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.values.__dlpack_device__()


def test_it_is_the_method_of_pyref():
    a = explain(NETWORK, X, "deeplift", [0, 1, 2], baseline=1.0)
    b = pyref.deeplift(NETWORK, X, [0, 1, 2], baseline=1.0)
    assert (a.values == b.values).all()
    assert (a.output == b.output).all()
    assert (a.delta == b.delta).all()
    assert (a.method, a.network, a.backend) == ("deeplift", "small", "pyref")
    assert a.settings == b.settings


def test_lrp_is_the_default_and_its_ledger_and_biases_are_at_hand():
    a = explain(NETWORK, X)
    b = pyref.lrp(NETWORK, X)
    assert (a.values == b.values).all()
    assert set(a.biases) == {"dense1", "dense2"}
    assert (a.biases["dense1"] == b.biases["dense1"]).all()
    assert (a.at("tanh1") == b.at("tanh1")).all()
    assert [row.node for row in a.ledger] == ["dense2", "tanh1", "dense1"]


def test_exact_arrays_stay_exact():
    network = pyref.Network.sequential([pyref.Dense(fractions([[1, 2], [-3, 1]])), pyref.ReLU()])
    a = relprop.explain(network, fractions([[1, "1/3"]]), target=1, rule=pyref.Epsilon(0))  # auto: pyref, for Fractions
    assert a.backend == "pyref"
    assert_equal(a.values, fractions([[2, "1/3"]]))
    assert list(a.delta) == [Fraction(0)]


def test_options_of_a_named_rule_may_stand_beside_it():
    a = explain(NETWORK, X, rule="epsilon", epsilon=0.5, bias="ignore")
    b = pyref.lrp(NETWORK, X, rule=pyref.Epsilon(0.5, bias="ignore"))
    assert (a.values == b.values).all()
    a = explain(NETWORK, X, rule="epsilon_plus", rule_options={"epsilon": 0.5})
    b = explain(NETWORK, X, rule="epsilon_plus", epsilon=0.5)
    assert (a.values == b.values).all()


def test_a_preset_gives_what_the_options_leave_open():
    a = explain(NETWORK, X, target=0, preset="ancona")
    b = pyref.lrp(NETWORK, X, 0, rule=pyref.Epsilon(1e-4), form="gradient")
    assert (a.values == b.values).all()
    assert a.preset == "ancona"
    a = explain(NETWORK, X, target=0, preset="ancona", form="rule", epsilon=0.5)
    assert (a.values == pyref.lrp(NETWORK, X, 0, rule=pyref.Epsilon(0.5)).values).all()
    a = explain(NETWORK, X, target=0, preset="captum", rule=pyref.ZPlus())
    assert (a.values == pyref.lrp(NETWORK, X, 0, rule=pyref.ZPlus(), merge_batchnorm=False).values).all()


@pytest.mark.parametrize(("preset", "method"), [(p, m) for p, methods in pyref.PRESETS.items() for m in methods])
def test_each_preset_asks_for_options_that_its_method_has(preset, method):
    assert set(pyref.PRESETS[preset][method]) <= set(method_options(method))


@pytest.mark.parametrize("method", pyref.METHODS)
def test_each_option_of_a_method_is_one_that_it_takes(method):
    options = method_options(method)
    signature = inspect.signature(pyref.METHODS[method]).parameters
    takes_all = any(p.kind is p.VAR_KEYWORD for p in signature.values())
    assert "backend" not in options
    for name in options:
        assert name in signature or (takes_all and name in inspect.signature(pyref.start).parameters)


def test_auto_is_the_fastest_backend_that_is_built_and_nothing_takes_its_place():
    built = [name for name, backend in BACKENDS.items() if backend.built]
    assert resolve("auto")[0] == built[-1]
    assert resolve("pyref") == ("pyref", pyref)
    for name in set(BACKENDS) - set(built):
        with pytest.raises(RuntimeError, match=f"has no backend '{name}'"):
            resolve(name)


# ── the array door ─────────────────────────────────────────────────────────────────────────────────────


def test_float32_comes_back_as_float32_though_the_weights_are_float64():
    a = explain(NETWORK, X.astype(np.float32), "gradient_times_input", 0)
    assert a.values.dtype == np.float32
    assert a.at("dense1").dtype == np.float32
    assert a.result.values.dtype == np.float64, "what was computed is kept"


def test_values_are_the_callers_own():
    a = explain(NETWORK, X, "gradient_times_input", 0)
    assert not np.shares_memory(a.values, X)


def test_another_library_comes_and_goes_through_dlpack():
    a = explain(NETWORK, Foreign(X.astype(np.float32)), "deeplift", 0, baseline=Foreign(np.ones(4)))
    b = pyref.deeplift(NETWORK, X.astype(np.float32), 0, baseline=np.ones(4))
    for theirs, ours in (
        (a.values, b.values),
        (a.output, b.output),
        (a.delta, b.delta),
        (a.at("tanh1"), b.at("tanh1")),
    ):
        assert isinstance(theirs, Foreign)
        assert theirs.dtype == np.float32
        assert (theirs.values == ours.astype(np.float32)).all()


def test_inputs_by_name_keep_their_kinds():
    network = pyref.Network([("sum", pyref.Add(), ("a", "b"))], {"a": (2,), "b": (2,)})
    a = explain(network, {"a": Foreign(X[:, :2]), "b": X[:, 2:].astype(np.float32)}, target=0)
    assert isinstance(a.values["a"], Foreign)
    assert isinstance(a.values["b"], np.ndarray)
    assert a.values["b"].dtype == np.float32


def test_read_only_and_strided_arrays_enter_without_a_copy():
    x = X[::2]
    x.flags.writeable = False
    guest = enter("x", x)
    assert np.shares_memory(guest.array, X)
    assert (explain(NETWORK, x).values == explain(NETWORK, x.copy()).values).all()


def test_torch_tensors_come_back_detached_as_tensors():
    torch = pytest.importorskip("torch")
    x = torch.tensor(X, dtype=torch.float32, requires_grad=True)
    a = explain(NETWORK, x, "deeplift", torch.tensor([0, 1, 2]), baseline=torch.ones(4))
    b = explain(NETWORK, x.detach().numpy(), "deeplift", [0, 1, 2], baseline=np.ones(4, np.float32))
    assert isinstance(a.values, torch.Tensor)
    assert a.values.dtype == torch.float32
    assert not a.values.requires_grad
    assert (a.values.numpy() == b.values).all()
    for refused, words in ((x.half(), "x.to(torch.float32)"), (x.bfloat16(), "x.to(torch.float32)")):
        with pytest.raises(TypeError) as caught:
            explain(NETWORK, refused)
        assert words in str(caught.value)


# ── what is around it ──────────────────────────────────────────────────────────────────────────────────


def test_it_prints_what_was_explained_and_how_complete_it_is():
    text = str(explain(NETWORK, X, "deeplift", 0))
    assert text.startswith("deeplift of small on pyref")
    assert text.count("residual") == 3
    assert "residual" not in str(explain(NETWORK, X, "saliency", 0))
    assert repr(explain(NETWORK, X)) == "Attribution(method='lrp', network='small', values (3, 4))"


def test_long_batches_are_cut_short_in_print():
    assert str(explain(NETWORK, np.tile(X, (7, 1)))).endswith("… and 13 more")


def test_values_are_written_and_read_again(tmp_path):
    a = explain(NETWORK, X, "lrp", 0)
    assert (np.load(a.save(tmp_path / "a.npy")) == a.values).all()
    with np.load(a.save(tmp_path / "a.npz"), allow_pickle=False) as stored:
        assert (stored["values"] == a.values).all()
        assert (stored["output"] == a.output).all()
        assert (stored["bias/dense1"] == a.biases["dense1"]).all()
        assert '"method": "lrp"' in str(stored["about"])
    with pytest.raises(ValueError, match=r"a\.txt ends in '\.txt', expected \.npy or \.npz"):
        a.save(tmp_path / "a.txt")
    both = explain(NETWORK, X, "gradient", 0, at=["dense1", "x"])
    with pytest.raises(ValueError, match="but there are 2: use"):
        both.save(tmp_path / "b.npy")
    assert set(np.load(both.save(tmp_path / "b.npz"))) == {"values/dense1", "values/x", "output", "about"}


def test_nothing_is_counted_where_nobody_looks(capsys):
    with counted(pyref, "label") as backend:
        assert backend is pyref
    assert capsys.readouterr().err == ""


def test_progress_appears_on_a_terminal_only_when_it_takes_long(monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with counted(pyref, "label") as backend:
        assert backend.Dense is pyref.Dense
        z = backend.dense_forward(X, NETWORK.nodes["dense1"].layer.w)
        assert backend.dense_forward is not pyref.dense_forward
        assert (z == pyref.dense_forward(X, NETWORK.nodes["dense1"].layer.w)).all()
        assert backend._line.n == 1
        assert backend._line.delay == 2


def test_a_softmax_at_the_end_is_stripped_with_a_note(caplog):
    network = pyref.Network.sequential([*(n.layer for n in NETWORK.nodes.values()), pyref.Softmax()], shape=(4,))
    with caplog.at_level(logging.INFO, logger="pyref"):
        a = explain(network, X, "gradient", 0)
    assert (a.values == explain(NETWORK, X, "gradient", 0).values).all()
    assert "its input, the logit, is explained" in caplog.text


def test_the_function_is_not_hidden_by_its_module():
    import relprop.explain

    assert callable(relprop.explain)
    assert "explain" in dir(relprop)
    with pytest.raises(AttributeError, match="no attribute 'explian'"):
        relprop.explian  # noqa: B018


@pytest.mark.parametrize(
    ("method", "options", "most"),
    [("gradient", {}, 19), ("lrp", {"rule": "epsilon_plus"}, 28), ("deeplift", {}, 45)],
)
def test_a_layer_costs_few_calls(method, options, most):
    """Where kernels take microseconds the time goes into calls of Python. They can be counted, and do not vary."""

    def calls(depth, target, before):
        eye = np.eye(4, dtype=np.float32)
        network = pyref.Network.sequential([pyref.Dense(eye, eye[0]), pyref.ReLU()] * depth + [pyref.Dense(eye)])
        x = np.ones((1, 4), np.float32)
        count = 0

        def hear(frame, event, argument):
            nonlocal count
            count += event in ("call", "c_call")

        for _ in range(before):
            relprop.explain(network, x, method, target, "cpu", progress=False, **options)
        sys.setprofile(hear)
        try:
            relprop.explain(network, x, method, target, "cpu", progress=False, **options)
        finally:
            sys.setprofile(None)
        return count

    assert calls(20, np.ones_like, 1) - calls(10, np.ones_like, 1) <= 20 * most
    assert calls(20, 0, 2) == calls(10, 0, 2)  # a recording: no function of Python at all
