"""Random logits and random parameters, on networks where the answer is known."""

from fractions import Fraction as F

import numpy as np
import pytest
from bound import rounding
from exact import assert_equal, assert_exact, fractions

import pyref

NOISE = rounding(4000, 1 / 9e-4)  # of a few thousand operations, divided by SSIM's C₂ at worst


def image_net(seed=0, classes=4):
    random = np.random.default_rng(seed)
    layers = [
        ("conv", pyref.Conv(random.normal(size=(3, 1, 3, 3)), random.normal(size=3))),
        ("relu1", pyref.ReLU()),
        ("flat", pyref.Flatten()),
        ("dense1", pyref.Dense(random.normal(size=(108, 10)), random.normal(size=10))),
        ("relu2", pyref.ReLU()),
        ("dense2", pyref.Dense(random.normal(size=(10, classes)))),
    ]
    return pyref.Network.sequential(layers, shape=(1, 8, 8)), random.normal(size=(5, 1, 8, 8))


def parallel_classes(signs=(1, 2, 5)):
    """A linear network on images whose classes have parallel weights."""
    w = fractions(np.random.default_rng(1).integers(-9, 10, size=(36, 1))) * fractions([list(signs)])
    network = pyref.Network.sequential([pyref.Flatten(), pyref.Dense(w)], shape=(1, 6, 6))
    return network, fractions(np.random.default_rng(2).integers(1, 5, size=(3, 1, 6, 6)))


def test_parallel_classes_have_one_map():
    network, x = parallel_classes()
    got = pyref.random_logit(network, x, ["gradient", "gradient_times_input"])
    assert got.series == ("gradient ssim", "gradient rank", "gradient_times_input ssim", "gradient_times_input rank")
    for name in got.series:
        assert_exact(got[name])
        assert (got[name] == 1).all()
    assert got.level == 0.99 and not got.notes["0/0"]["gradient rank"].any()


def test_a_sign_that_turns_over_is_the_same_picture():
    network, x = parallel_classes((1, -2))
    assert (pyref.random_logit(network, x, "gradient")["gradient ssim"] == 1).all()
    strict = pyref.random_logit(network, x, "gradient", flip=False)
    assert (strict["gradient ssim"] < F(1, 2)).all() and (strict["gradient rank"] == -1).all()


def test_what_does_not_look_at_the_class_scores_one():
    network, x = image_net()

    def edges(network, x, target=None, **options):
        return np.abs(np.diff(x, axis=3, prepend=0))

    got = pyref.random_logit(network, x, {"edges": edges, "grad": "gradient"})
    assert (np.abs(got["edges ssim"] - 1) <= NOISE).all()
    assert (got["grad ssim"] < 0.9).all()


def test_other_classes_are_others_and_uniform():
    from pyref.metrics.random_logit import other_classes

    v = np.eye(4)[np.arange(3000) % 4]
    chosen, other = other_classes(v, 0, range(3000))
    assert chosen == (np.arange(3000) % 4).tolist() and all(a != b for a, b in zip(chosen, other, strict=True))
    counts = np.bincount(other, minlength=4) / 3000
    assert (np.abs(counts - 0.25) < 6 * np.sqrt(0.25 * 0.75 / 3000)).all()
    with pytest.raises(ValueError, match=r"the output has shape \(2, 1\): expected two classes"):
        other_classes(np.ones((2, 1)), 0, [0, 1])


def test_a_batch_is_its_samples():
    network, x = image_net(1)
    whole = pyref.random_logit(network, x, "gradient", batch=2, target=[0, 1, 2, 3, 0])
    for k in range(5):
        one = pyref.random_logit(network, x[k : k + 1], "gradient", indices=[k], target=[k % 4])
        for name in whole.series:
            assert np.abs(one[name][0] - whole[name][k]) <= NOISE


def test_a_method_that_draws_noise_is_told_where_its_samples_are():
    """Otherwise the third sample of a data set would get the noise of the first of its batch."""
    network, x = image_net(6)
    methods = {"smooth": ("smoothgrad", {"samples": 2})}
    whole = pyref.random_logit(network, x, methods, batch=5, target=[0] * 5, measures=("rank",))
    parts = pyref.random_logit(network, x, methods, batch=2, target=[0] * 5, measures=("rank",))
    assert np.abs(parts["smooth rank"] - whole["smooth rank"]).max() <= NOISE
    after = [pyref.parameter_randomization(network, x, methods, batch=b, measures=("rank",)) for b in (1, 5)]
    assert np.abs(after[0]["smooth rank"] - after[1]["smooth rank"]).max() <= NOISE


# ---- parameters ----


@pytest.mark.parametrize("mode", ["cascading", "independent"])
def test_what_reads_no_parameter_and_what_draws_the_same_scores_one(mode):
    network, x = image_net(2)
    same = pyref.parameter_randomization(network, x, "gradient", mode=mode, draw=lambda array, random: array)
    assert same.at == ["dense2", "dense1", "conv"]
    for name in same.series:
        assert (np.abs(same[name] - 1) <= NOISE).all()
    blind = pyref.parameter_randomization(network, x, {"blind": lambda network, x, target, **options: x}, mode=mode)
    assert (np.abs(blind["blind ssim"] - 1) <= NOISE).all() and (np.abs(blind["blind rank"] - 1) <= NOISE).all()
    changed = pyref.parameter_randomization(network, x, "gradient", mode=mode)
    assert (changed["gradient rank"] < 0.9).all()


def test_cascading_keeps_what_was_drawn_and_independent_does_not():
    network, _ = image_net(3)
    steps = pyref.randomized_networks(network)
    alone = pyref.randomized_networks(network, mode="independent")
    assert [name for name, _ in steps] == ["dense2", "dense1", "conv"]

    def changed(other):
        return [n for n in ("conv", "dense1", "dense2") if other.nodes[n].layer is not network.nodes[n].layer]

    assert [changed(other) for _, other in steps] == [["dense2"], ["dense1", "dense2"], ["conv", "dense1", "dense2"]]
    assert [changed(other) for _, other in alone] == [["dense2"], ["dense1"], ["conv"]]
    for name in ("conv", "dense1", "dense2"):  # the same draws in both modes, at every step
        drawn = [other.nodes[name].layer.w for _, other in (*steps, *alone) if name in changed(other)]
        assert all((w == drawn[0]).all() for w in drawn)
    again = pyref.randomized_networks(network, seed=1)
    assert (again[0][1].nodes["dense2"].layer.w != steps[0][1].nodes["dense2"].layer.w).all()
    grouped = pyref.randomized_networks(network, nodes=[("dense2", "dense1"), "conv"])
    assert [name for name, _ in grouped] == ["dense2 dense1", "conv"]
    assert changed(grouped[0][1]) == ["dense1", "dense2"]


def test_draws():
    network, _ = image_net(4)
    w = network.nodes["dense1"].layer.w
    permuted = pyref.randomized_networks(network, draw="permute", nodes=["dense1"])[0][1].nodes["dense1"].layer
    assert (np.sort(permuted.w, axis=None) == np.sort(w, axis=None)).all() and (permuted.w != w).any()
    normal = pyref.randomized_networks(network, nodes=["dense1"])[0][1].nodes["dense1"].layer
    assert abs(normal.w.mean() - w.mean()) < 6 * w.std() / np.sqrt(w.size)
    assert abs(normal.w.std() / w.std() - 1) < 6 / np.sqrt(2 * w.size)
    lstm = pyref.LSTM(np.ones((2, 12)), np.ones((3, 12)), np.arange(12.0))
    recurrent = pyref.Network([("lstm", lstm, "x")])
    drawn = pyref.randomized_networks(recurrent)[0][1].nodes["lstm"].layer
    assert all(part.shape == old.shape for part, old in zip(drawn.w_x, lstm.w_x, strict=True))
    exact, _ = parallel_classes()
    assert_exact(pyref.randomized_networks(exact)[0][1].nodes["dense1"].layer.w)


def test_the_class_is_settled_on_the_network_as_it_was():
    """One class of a linear network: the randomised network may prefer another one, which is not asked for."""
    network, x = parallel_classes()
    before = pyref.gradient(network, x).values
    seen = []

    def spy(network, x, target, **options):
        seen.append(target(network(x)).astype(float))
        return pyref.gradient(network, x, target, **options)

    pyref.parameter_randomization(network, x, spy, draw="permute", measures=("rank",))
    assert all((v == seen[0]).all() for v in seen) and len(seen) == 2
    assert_equal(pyref.gradient(network, x, target=lambda S: fractions(seen[0])).values, before)


def test_channels_for_each_method_and_errors():
    network, x = image_net(5)
    how = {"grad": "absolute", "lrp": "sum"}
    methods = {"grad": "gradient", "lrp": "lrp"}
    got = pyref.parameter_randomization(network, x, methods, channels=how, nodes=["dense2"], measures=("ssim",))
    want = pyref.parameter_randomization(network, x, "gradient", channels="absolute", nodes=["dense2"])
    assert (got["grad ssim"] == want["gradient ssim"]).all()

    def refused(error, match, model=network, **options):
        with pytest.raises(error, match=match):
            pyref.parameter_randomization(model, x, "gradient", **options)

    refused(TypeError, "the model is a function", model=lambda x: x)
    refused(ValueError, "node 'relu1' .* has no parameters", nodes=["relu1"])
    refused(ValueError, "'x' is an input", nodes=["x"])
    refused(ValueError, "no node 'dens1'; did you mean 'dense1'", nodes=["dens1"])
    refused(ValueError, "mode is 'both'", mode="both")
    refused(ValueError, "draw is 'uniform'", draw="uniform")
