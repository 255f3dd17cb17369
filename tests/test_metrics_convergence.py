"""Cosine similarity convergence and the chain of matrices."""

from dataclasses import dataclass, field
from fractions import Fraction as F

import numpy as np
import pytest
from bound import rounding
from exact import assert_exact, fractions

import pyref
from pyref.metrics.matrix_chain import _matrix


def dense_net(*weights, relu=True):
    layers = []
    for k, w in enumerate(weights):
        layers.append((f"dense{k + 1}", pyref.Dense(w)))
        if relu and k + 1 < len(weights):
            layers.append((f"relu{k + 1}", pyref.ReLU()))
    return pyref.Network.sequential(layers, shape=(weights[0].shape[0],))


def rank_one(u, v):
    return fractions(u)[:, None] * fractions(v)[None, :]


def test_a_chain_of_rank_one_has_cosine_one_exactly():
    """Positive weights and inputs, so that all units are on: the gradient goes through c γᵀ. Signs are random."""
    network = dense_net(fractions(np.arange(1, 10).reshape(3, 3)), rank_one([1, 2, 3], [1, 1, 2, 5]))
    x = fractions([[1, 2, 3], [2, 1, 1]])
    got = pyref.cosine_convergence(network, x, "gradient")
    assert got.at == ["relu1", "x"] and got.series == ("gradient",)
    assert_exact(got["gradient"])
    assert (got["gradient"] == 1).all() and (got.distance["gradient"] == 0).all()
    full = dense_net(fractions(np.arange(1, 10).reshape(3, 3)), fractions([[1, 0, 2], [0, 1, 1], [3, 1, 0]]))
    assert (pyref.cosine_convergence(full, x, "gradient")["gradient"] < 1).any()


def test_without_the_absolute_value_a_converged_chain_shows_plus_and_minus_one():
    vectors = fractions(np.array([[1], [-2], [3]]) * np.array([[1, 2, 2]]))
    cosine, distance = pyref.alignment(vectors)
    assert cosine.tolist() == [1, 1, 1] and distance.tolist() == [0, 0, 0]
    signed = [F(int(np.sign(a @ b))) for a, b in ((vectors[0], vectors[1]), (vectors[0], vectors[2]))]
    assert signed == [-1, 1]


def test_alignment_in_exact_and_in_floating_arithmetic():
    u = fractions([[3, 4], [4, 3], [0, 0]])
    cosine, _ = pyref.alignment(u)
    assert cosine[0] == F(24, 25) and isinstance(cosine[0], F)
    assert np.isnan(float(cosine[1])) and np.isnan(float(cosine[2]))
    cosine, distance = pyref.alignment(u.astype(float))
    assert abs(cosine[0] - 24 / 25) <= rounding(8, 1) and np.isnan(cosine[1])
    near = np.array([[1.0, 0.0], [1.0, 1e-9]])
    _, distance = pyref.alignment(near)
    assert abs(distance[0] - 5e-19) <= rounding(16, 5e-19)  # 1 - |cos| would be 0
    huge, _ = pyref.alignment(np.array([[1e200, 1e200], [1e-200, 0.0]]))
    assert abs(huge[0] - np.sqrt(0.5)) <= rounding(8, 1)


def test_chance():
    for channels, exact in ((1, 1.0), (2, 2 / np.pi), (3, 0.5)):
        assert abs(pyref.chance_alignment(channels) - exact) <= rounding(16, 1)
    random = np.random.default_rng(0)
    cosine, _ = pyref.alignment(random.normal(size=(2, 20000, 5)))
    assert abs(cosine.mean() - pyref.chance_alignment(5)) < 6 * cosine.std() / np.sqrt(20000)


@dataclass(frozen=True)
class Counting(pyref.Identity):
    """An identity that notes how many rows went through it."""

    rows: list = field(default_factory=list)

    def value(self, z):
        self.rows.append(len(z))
        return z


def relu_net(seed=0, counting=None):
    random = np.random.default_rng(seed)
    layers = [("in", counting or pyref.Identity())]
    for k, (i, o) in enumerate(((6, 9), (9, 9), (9, 4))):
        layers += [(f"dense{k + 1}", pyref.Dense(random.normal(size=(i, o)), random.normal(size=o)))]
        layers += [(f"relu{k + 1}", pyref.ReLU())] if k < 2 else []
    return pyref.Network.sequential(layers, shape=(6,)), np.abs(random.normal(size=(3, 6)))


def test_one_forward_pass_serves_all_methods_starts_and_vectors():
    counting = Counting()
    network, x = relu_net(counting=counting)
    methods = {
        "grad": "gradient",
        "z+": ("lrp", {"rule": "z_plus"}),
        "gbp": "guided_backprop",
        "eb": "excitation_backprop",
    }
    got = pyref.cosine_convergence(network, x, methods, start=["dense3", "dense2"], vectors=4, batch=2)
    assert counting.rows == [2, 1]
    assert got.at == ["relu2", "relu1", "in"]
    assert got.series[::4] == ("grad from dense3", "grad from dense2") and len(got.series) == 8
    assert np.isnan(got["grad from dense2"][:, 0]).all() and not np.isnan(got["grad from dense2"][:, 1:]).any()
    assert got.notes["dropped"]["grad from dense2"][:, 0].tolist() == [1, 1, 1]


def test_it_is_what_the_definition_says():
    """Gradient by hand: matrices, masks, the same vectors."""
    from pyref.methods.noise import generator

    network, x = relu_net(1)
    got = pyref.cosine_convergence(network, x, "gradient", vectors=3, seed=5)
    record = network.forward(x)
    w1, w2, w3 = (network.nodes[f"dense{k}"].layer.w for k in (1, 2, 3))
    for n in range(3):
        on1, on2 = ((record[f"dense{k}"][n] > 0).astype(float) for k in (1, 2))
        C = w1 * on1 @ (w2 * on2) @ w3
        r = [C @ generator(5, 0, n, k).standard_normal(4) for k in range(3)]
        cos = [abs(r[a] @ r[b]) / np.linalg.norm(r[a]) / np.linalg.norm(r[b]) for a, b in ((0, 1), (0, 2), (1, 2))]
        assert abs(got["gradient"][n, -1] - np.median(cos)) <= rounding(200, 1)


def test_the_relevance_at_the_start_is_the_vector_itself():
    """With plain targets LRP would start from v ⊙ S; the cosine would then be of something else."""
    network, x = relu_net(2)
    v = np.random.default_rng(0).normal(size=(3, 4))
    a = pyref.lrp(network, x, rule="z_plus", inject=v)
    assert (a.signals["dense3", 0] == v).all()
    assert np.abs(a.delta).max() <= rounding(200, np.abs(v).sum())
    b = pyref.deep_taylor(network, x, inject=v)
    assert (b.signals["dense3", 0] == v).all()
    inner = pyref.lrp(network, x, rule="z_plus", output="dense2", inject=np.ones((3, 9)))
    assert (inner.signals["dense2", 0] == 1).all() and ("dense3", 0) not in inner.signals
    with pytest.raises(ValueError, match=r"inject has shape \(3, 9\), expected \(3, 4\)"):
        pyref.lrp(network, x, inject=np.ones((3, 9)))
    with pytest.raises(ValueError, match="record was made from other inputs"):
        pyref.lrp(network, x, record=network.forward(x + 1))


def test_a_record_of_other_layers_is_not_used():
    """A method that merges batch normalisation rewrites the network: what it knew of the old one does not count."""
    random = np.random.default_rng(0)
    first, last = (pyref.Dense(random.normal(size=s)) for s in ((3, 4), (4, 2)))
    norm = pyref.BatchNorm(np.full(4, 2.0), np.full(4, -1.0))
    network = pyref.Network.sequential([first, norm, pyref.ReLU(), last], shape=(3,))
    x = np.abs(random.normal(size=(2, 3)))
    want = pyref.lrp(network, x, rule="z_plus").values
    assert (pyref.lrp(network, x, rule="z_plus", record=network.forward(x)).values == want).all()
    merged = pyref.merge_batchnorm(network)
    assert (pyref.lrp(merged, x, rule="z_plus", record=merged.forward(x)).values == want).all()


def test_convolutions_are_compared_place_by_place():
    random = np.random.default_rng(0)
    layers = [pyref.Conv(random.normal(size=(4, 3, 3, 3)), padding=1), pyref.ReLU(), pyref.Flatten()]
    layers += [pyref.Dense(random.normal(size=(4 * 25, 2)))]
    network, x = pyref.Network.sequential(layers, shape=(3, 5, 5)), random.normal(size=(2, 3, 5, 5))
    got = pyref.cosine_convergence(network, x, "gradient")
    assert got.at == ["flatten1", "x"]
    assert got.chance["x"] == pyref.chance_alignment(3) and got.chance["flatten1"] == pyref.chance_alignment(100)
    whole = pyref.cosine_convergence(network, x, "gradient", per_location=False)
    assert whole.chance["x"] == pyref.chance_alignment(75)
    assert (whole["gradient"][:, 1] != got["gradient"][:, 1]).all()
    dead = pyref.cosine_convergence(network, np.zeros_like(x), "gradient", at=["relu1", "x"])
    assert np.isnan(dead["gradient"][:, 1]).all() and dead.notes["dropped"]["gradient"][:, 1].tolist() == [1, 1]


def test_inject_active_leaves_dead_units_out():
    network, x = relu_net(3)
    relu = network.forward(x)["relu2"]
    assert (relu == 0).any()
    active = pyref.cosine_convergence(network, x, "gradient", start="relu2", inject="active", at="dense2")
    everywhere = pyref.cosine_convergence(network, x, "gradient", start="relu2", at="dense2")
    # the gradient's mask removes what the inactive units were given: no difference below the activation
    assert (active["gradient"] == everywhere["gradient"]).all()
    deconv = [
        pyref.cosine_convergence(network, x, "deconvnet", start="relu2", inject=i, at="dense2")
        for i in ("all", "active")
    ]
    assert (deconv[0]["deconvnet"] != deconv[1]["deconvnet"]).any()


def test_a_batch_is_its_samples_and_scale_does_not_matter():
    network, x = relu_net(4)
    whole = pyref.cosine_convergence(network, x, "gradient", batch=3)["gradient"]
    singles = [
        pyref.cosine_convergence(network, x[k : k + 1], "gradient", indices=[k])["gradient"][0] for k in range(3)
    ]
    assert np.abs(np.stack(singles) - whole).max() <= rounding(400, 1)
    layer = network.nodes["dense3"].layer
    scaled = network.with_layers({"dense3": pyref.Dense(8 * layer.w, layer.b)})
    assert (pyref.cosine_convergence(scaled, x, "gradient")["gradient"] == whole).all()  # by a power of two: exactly


def test_errors():
    network, x = relu_net()
    with pytest.raises(TypeError, match="the model is a function, expected a pyref"):
        pyref.cosine_convergence(lambda x: x, x, "gradient")
    with pytest.raises(ValueError, match="there is no method 'gradiant'; did you mean 'gradient'"):
        pyref.cosine_convergence(network, x, "gradiant")
    with pytest.raises(ValueError, match="no node 'dense9'"):
        pyref.cosine_convergence(network, x, "gradient", start="dense9")
    with pytest.raises(ValueError, match="no layer with weights lies below in"):
        pyref.cosine_convergence(network, x, "gradient", start="in")
    with pytest.raises(ValueError, match="vectors is 1"):
        pyref.cosine_convergence(network, x, "gradient", vectors=1)
    with pytest.raises(TypeError, match="a method is given as a int"):
        pyref.cosine_convergence(network, x, 3)


# ---- the chain ----


def test_chains_converge_in_the_order_that_theory_gives():
    widths = (64,) * 9
    kinds = {"vanilla": "vanilla", "non_negative": "non_negative", "positive": "positive", "2 1": (2, 1), "5 4": (5, 4)}
    got = pyref.matrix_chain(kinds, widths=widths, vectors=8)
    end = {name: d[:, -1].mean() for name, d in got.distance.items()}
    assert end["positive"] < end["non_negative"] < end["2 1"] < end["5 4"]
    assert end["vanilla"] > 0.5 and end["positive"] < 1e-9
    assert got.at.tolist() == list(range(9)) and got["positive"].shape == (2, 9)


@pytest.mark.parametrize(("alpha", "beta"), [(1, 0), (2, 1), (3, 2)])
def test_the_rate_is_that_of_the_theory(alpha, beta):
    """1 - |cos| falls by ρ² a step once vectors are nearly parallel: seen within a factor of 2 a step."""
    m, steps = 128, 5
    rho = pyref.noise_to_signal(alpha, beta, m)
    distance = pyref.matrix_chain((alpha, beta), widths=(m,) * 9, vectors=6)
    (d,) = distance.distance.values()
    rate = (d[:, -1] / d[:, -1 - steps]) ** (1 / steps)
    assert (np.abs(np.log(rate / rho**2)) < np.log(2)).all()


def test_matrices_of_the_chain():
    W = np.array([[1.0, -2.0], [-3.0, 4.0]])
    assert _matrix("vanilla", W).tolist() == W.tolist()
    assert _matrix("non_negative", W).tolist() == [[1, 0], [0, 4]]
    assert _matrix("positive", W).tolist() == [[1, 2], [3, 4]]
    assert (_matrix("stochastic", W).sum(axis=1) == 1).all()
    assert _matrix((5, 4), W).tolist() == [[5, -8], [-12, 20]]
    assert len(pyref.VGG16_CHAIN) == 17  # 16 matrices
    same = [pyref.matrix_chain("relu", widths=(5, 5), vectors=3, seed=s)["relu"] for s in (0, 0, 1)]
    assert (same[0] == same[1]).all() and (same[0] != same[2]).any()
    with pytest.raises(ValueError, match="kinds is 'gaussian', expected one of"):
        pyref.matrix_chain("gaussian")
    with pytest.raises(ValueError, match="vectors is 1 and widths has 17"):
        pyref.matrix_chain("relu", vectors=1)
