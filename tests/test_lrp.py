"""LRP on whole networks: conservation by the ledger, composites, merging, the gradient form, inner nodes."""

import copy
import pickle
from fractions import Fraction as F

import numpy as np
import pytest
from bound import rounding
from exact import assert_equal, assert_exact, fraction_arrays
from hypothesis import given, settings
from hypothesis import strategies as st

import pyref
from pyref import Add, AvgPool, BatchNorm, Conv, Dense, Flatten, MaxPool, Network, ReLU


def some(rng, *shape):
    """Fractions k/8, |k| ≤ 24, from a generator: zeros and ties are common."""
    out = np.empty(shape, dtype=object)
    for index, k in zip(np.ndindex(*shape), rng.integers(-24, 25, int(np.prod(shape))), strict=True):
        out[index] = F(int(k), 8)
    return out


def image_network(rng):
    """Convolution, batch normalisation, a residual sum, both poolings and two dense layers, in exact arithmetic."""

    def q(*shape):
        return some(rng, *shape)

    nodes = [
        ("conv1", Conv(q(2, 1, 2, 2), q(2), padding=((0, 1), (1, 0))), "x"),
        ("bn1", BatchNorm(q(2), q(2)), "conv1"),
        ("relu1", ReLU(), "bn1"),
        ("conv2", Conv(q(2, 2, 1, 1), q(2)), "relu1"),
        ("sum", Add(), ("conv2", "relu1")),
        ("relu2", ReLU(), "sum"),
        ("max", MaxPool(2), "relu2"),
        ("avg", AvgPool((2, 1)), "max"),
        ("flat", Flatten(), "avg"),
        ("dense1", Dense(q(4, 3), q(3)), "flat"),
        ("relu3", ReLU(), "dense1"),
        ("dense2", Dense(q(3, 2), q(2)), "relu3"),
    ]
    return Network(nodes, {"x": (1, 4, 4)}, "dense2")


def _image_case(seed):
    rng = np.random.default_rng(seed)
    return image_network(rng), some(rng, 2, 1, 4, 4)


def image_networks():
    """A network of a few hundred weights and its input: drawn by seed, as drawing each weight would take seconds."""
    return st.integers(0, 2**32).map(_image_case)


few = settings(max_examples=settings().max_examples // 4)


EXACT_RULES = [
    pyref.Epsilon(0),
    pyref.Epsilon(F(1, 8)),
    pyref.Epsilon(0, bias="uniform"),
    pyref.ZPlus(0),
    pyref.AlphaBeta(2, 1, 0),
    pyref.AlphaBeta(3, 2, F(1, 8), bias="ignore"),
    pyref.Gamma(F(1, 4), 0),
    pyref.WSquare(0),
    pyref.Flat(0),
    pyref.Norm(0, mode="abs"),
]
COMPOSITE_OPTIONS = {
    "epsilon_gamma_box": {"low": -3, "high": 3, "gamma": F(1, 4)},
    "preset_a": {"conv_epsilon": 0},
    "preset_b": {"conv_epsilon": 0},
}
COMPOSITES = [(name, {"epsilon": F(1, 8), **COMPOSITE_OPTIONS.get(name, {})}) for name in pyref.COMPOSITES]


@pytest.mark.parametrize("rule", EXACT_RULES, ids=str)
@few
@given(case=image_networks())
def test_relevance_is_conserved_with_the_ledger(rule, case):
    network, x = case
    a = pyref.lrp(network, x, rule=rule)
    assert_exact(a.values)
    assert (a.delta == 0).all()
    assert all((row.residual == 0).all() for row in a.ledger)
    kept = sum(pyref.sum_samples(b) for b in a.biases.values())
    assert (kept == a.ledger.total("bias")).all()


@pytest.mark.parametrize(("rule", "options"), COMPOSITES, ids=[c[0] for c in COMPOSITES])
@few
@given(case=image_networks())
def test_composites_conserve(rule, options, case):
    network, x = case
    a = pyref.lrp(network, x, rule=rule, rule_options=options)
    assert_exact(a.values)
    assert (a.delta == 0).all()
    assert all((row.residual == 0).all() for row in a.ledger)


def test_composites_choose_by_kind_and_position():
    network = _plain()
    names = {n: r.name for n, r in pyref.assign_rules("epsilon_gamma_box", network, low=-1, high=1).items()}
    assert names == {
        "conv1": "z_box",
        "relu1": "norm",
        "conv2": "gamma",
        "sum": "norm",
        "flat": "norm",
        "dense": "epsilon",
    }
    assert pyref.assign_rules({"conv2": pyref.Flat()}, network)["conv2"] == pyref.Flat()
    assert pyref.assign_rules({"conv2": pyref.Flat()}, network)["dense"] == pyref.Epsilon()
    chosen = pyref.assign_rules(lambda layer, index, is_first: pyref.WSquare() if is_first else None, network)
    assert chosen["conv1"] == pyref.WSquare() and chosen["dense"] == pyref.Norm()


def _plain():
    rng = np.random.default_rng(0)
    return Network(
        [
            ("conv1", Conv(rng.normal(size=(2, 1, 3, 3)), padding=1), "x"),
            ("relu1", ReLU(), "conv1"),
            ("conv2", Conv(rng.normal(size=(2, 2, 1, 1))), "relu1"),
            ("sum", Add(), ("conv2", "relu1")),
            ("flat", Flatten(), "sum"),
            ("dense", Dense(rng.normal(size=(18, 3)), rng.normal(size=3)), "flat"),
        ],
        {"x": (1, 3, 3)},
    )


@few
@given(case=image_networks())
def test_merging_batch_normalisation_changes_no_output_and_no_epsilon_relevance(case):
    network, x = case
    merged = pyref.merge_batchnorm(network)
    assert type(merged.nodes["bn1"].layer).__name__ == "Identity"
    assert_equal(merged(x), network(x))
    apart = pyref.lrp(network, x, rule=pyref.Epsilon(0), merge_batchnorm=False)
    together = pyref.lrp(network, x, rule=pyref.Epsilon(0), merge_batchnorm=True)
    z = network.forward(x)["conv1"]
    if (z != 0).all() and (network.forward(x)["bn1"] != 0).all():
        assert_equal(apart.values, together.values)


def test_signed_rules_see_merged_weights():
    """Explicit and merged batch normalisation differ under z⁺; "auto" merges there, and not under ε."""
    rng = np.random.default_rng(1)
    w, b = rng.normal(size=(6, 5)), rng.normal(size=5)
    network = Network.sequential(
        [Dense(w, b), BatchNorm(rng.normal(size=5), rng.normal(size=5)), ReLU(), Dense(rng.normal(size=(5, 2)))]
    )
    x = rng.normal(size=(3, 6))
    auto, merged, apart = (
        pyref.lrp(network, x, rule=pyref.ZPlus(), merge_batchnorm=m).values for m in ("auto", True, False)
    )
    assert (auto == merged).all()
    assert np.abs(auto - apart).max() > 1e-2
    assert pyref.lrp(network, x).settings["merge_batchnorm"] is False


@given(data=st.data())
def test_batch_normalisation_merges_into_what_follows(data):
    q = lambda *shape: data.draw(fraction_arrays(shape))  # noqa: E731
    conv = Conv(q(4, 1, 2, 2), data.draw(st.sampled_from([None, q(4)])), groups=2)
    network = Network.sequential([BatchNorm(q(2), q(2)), conv])
    x = q(1, 2, 3, 3)
    merged = pyref.merge_batchnorm(network)
    assert type(merged.nodes["batchnorm1"].layer).__name__ == "Identity"
    assert_equal(merged(x), network(x))
    padded = Network.sequential([BatchNorm(q(2), q(2)), Conv(q(2, 2, 2, 2), padding=1)])
    assert pyref.merge_batchnorm(padded) is padded, "not through zero padding"


@few
@given(case=image_networks())
def test_at_a_cut_relevance_is_complete(case):
    network, x = case
    whole = pyref.lrp(network, x, rule=pyref.Epsilon(0))
    inner = pyref.lrp(network, x, rule=pyref.Epsilon(0), at="sum")
    assert_equal(inner.values, whole.at("sum"))
    assert (inner.delta == 0).all()
    assert pyref.lrp(network, x, rule=pyref.Epsilon(0), at="conv2").expected is None, "the skip connection passes by"
    with pytest.raises(ValueError, match="did you mean 'conv1'"):
        whole.at("conv11")


@few
@given(case=image_networks(), factor=st.integers(-3, 3))
def test_relevance_is_linear_in_the_target(case, factor):
    network, x = case
    one = pyref.lrp(network, x, target=lambda S: np.where(S == S, F(1), F(1)), rule=pyref.AlphaBeta(2, 1, 0))
    many = pyref.lrp(network, x, target=lambda S: np.where(S == S, F(factor), F(1)), rule=pyref.AlphaBeta(2, 1, 0))
    assert_equal(many.values, factor * one.values)


@few
@given(case=image_networks())
def test_a_batch_is_its_samples(case):
    network, x = case
    both = pyref.lrp(network, x, target=[0, 1], rule=pyref.Gamma(F(1, 4), 0))
    for k in (0, 1):
        alone = pyref.lrp(network, x[k : k + 1], target=k, rule=pyref.Gamma(F(1, 4), 0))
        assert_equal(both.values[k : k + 1], alone.values)


@few
@given(case=image_networks())
def test_gradient_form_of_epsilon_at_zero_is_the_rule_form(case):
    network, x = case
    rule = pyref.lrp(network, x, rule=pyref.Epsilon(0))
    form = pyref.lrp(network, x, rule=pyref.Epsilon(0), form="gradient")
    z = network.forward(x)
    if all((z[n] != 0).all() for n in ("conv1", "bn1", "conv2", "sum", "max", "avg", "dense1", "dense2")):
        assert_equal(rule.values, form.values)


def test_gradient_form_takes_the_epsilon_of_the_sum_that_an_activation_reads():
    rng = np.random.default_rng(0)
    w, b, v = rng.normal(size=(4, 5)), rng.normal(size=5), rng.normal(size=(5, 2))
    network, x = Network.sequential([Dense(w, b), pyref.Tanh(), Dense(v)]), rng.normal(size=(3, 4))
    all_of_it = pyref.lrp(network, x, 0, rule=pyref.Epsilon(0.1), form="gradient")
    composite = pyref.Composite("dense", ((pyref.rules.composite.kind("dense"), pyref.Epsilon(0.1)),))
    for rule in (composite, {"dense1": pyref.Epsilon(0.1)}):
        assert (pyref.lrp(network, x, 0, rule=rule, form="gradient").values == all_of_it.values).all()
    z = x @ w + b
    want = x * ((np.tanh(z) / (z + 0.1 * np.where(z >= 0, 1, -1)) * v[:, 0]) @ w.T)
    assert (np.abs(all_of_it.values - want) <= rounding(40, 10 * np.abs(want).max())).all()


def test_merging_beside_dense_layers_knows_its_axis():
    """Batch normalisation is over axis 1. Of values (n, t, c) that is not the axis that a dense layer mixes."""
    rng = np.random.default_rng(0)
    x = some(rng, 2, 3, 4)
    other = Network.sequential([Dense(some(rng, 4, 5), some(rng, 5)), BatchNorm(some(rng, 3), some(rng, 3))])
    assert pyref.merge_batchnorm(other) is other, "another number of channels"
    square = Network.sequential([Dense(some(rng, 4, 3), some(rng, 3)), BatchNorm(some(rng, 3), some(rng, 3))])
    with pytest.raises(ValueError, match=r"shape \(2, 3, 3\) cannot be merged into a dense layer"):
        pyref.merge_batchnorm(square)(x)
    assert_equal(pyref.merge_batchnorm(square)(x[:, 0]), square(x[:, 0]))


def test_what_lrp_refuses():
    network = _plain()
    x = np.ones((1, 1, 3, 3))
    with pytest.raises(ValueError, match="no rule or composite 'epsilonn'; did you mean 'epsilon'"):
        pyref.lrp(network, x, rule="epsilonn")
    with pytest.raises(TypeError, match="alpha can be given only with a rule's name"):
        pyref.lrp(network, x, rule=pyref.Epsilon(), rule_options={"alpha": 1})
    with pytest.raises(ValueError, match="no node 'conv9'"):
        pyref.lrp(network, x, rule={"conv9": pyref.Flat()})
    with pytest.raises(TypeError, match="rule is a int"):
        pyref.lrp(network, x, rule=3)
    with pytest.raises(ValueError, match=r"node 'conv1' has ZPlus|exists for the epsilon rule"):
        pyref.lrp(network, x, rule=pyref.ZPlus(), form="gradient")
    with pytest.raises(ValueError, match=r"with its default options, but node 'conv1' has Epsilon\(.*'uniform'"):
        pyref.lrp(network, x, rule=pyref.Epsilon(bias="uniform"), form="gradient")


def test_what_the_sum_should_be_is_added_up_when_it_is_read():
    """It is not in the way of who wants the values alone, and goes into copies and files as a number."""
    asked = []
    a = pyref.Attribution("lrp", np.ones((1, 2)), np.ones(1), expected=lambda: asked.append(1) or np.ones(1))
    assert not asked
    assert (a.expected, a.delta, asked) == (1, 1, [1])
    assert pyref.Attribution("gradient", np.ones((1, 2)), np.ones(1)).expected is None

    network = Network.sequential([Dense(np.eye(2), np.ones(2)), ReLU()])
    b = pyref.lrp(network, np.ones((1, 2)), 0)
    for same in (copy.deepcopy(b), pickle.loads(pickle.dumps(b))):
        assert np.array_equal(same.expected, b.expected)
    assert np.array_equal(b.expected, b.output - b.ledger.total("kept"))
