"""pyref runs on device arrays: every rule and method, on arrays that speak NumPy's protocols and nothing else."""

import dataclasses

import numpy as np
import pytest
from duck import Duck

import pyref
from pyref import Add, AvgPool, BatchNorm, Conv, Dense, Flatten, MaxPool, Network, ReLU, Tanh


def on_device(layer):
    """A layer with its parameters on the device."""
    return dataclasses.replace(
        layer,
        **{
            f.name: Duck(value)
            for f in dataclasses.fields(layer)
            if isinstance(value := getattr(layer, f.name), np.ndarray)
        },
    )


def network(seed=0):
    rng = np.random.default_rng(seed)
    return Network(
        [
            ("conv", Conv(rng.normal(size=(3, 1, 3, 3)), rng.normal(size=3), padding=1), "x"),
            ("bn", BatchNorm(rng.normal(size=3), rng.normal(size=3)), "conv"),
            ("relu", ReLU(), "bn"),
            ("conv2", Conv(rng.normal(size=(3, 3, 1, 1)), rng.normal(size=3)), "relu"),
            ("sum", Add(), ("conv2", "relu")),
            ("relu2", ReLU(), "sum"),
            ("max", MaxPool(2), "relu2"),
            ("avg", AvgPool(2), "max"),
            ("flat", Flatten(), "avg"),
            ("dense", Dense(rng.normal(size=(3, 4)), rng.normal(size=4)), "flat"),
            ("relu3", ReLU(), "dense"),
            ("out", Dense(rng.normal(size=(4, 2)), rng.normal(size=2)), "relu3"),
        ],
        {"x": (1, 4, 4)},
        "out",
    )


def moved(net):
    return net.with_layers({name: on_device(node.layer) for name, node in net.nodes.items()})


X = np.random.default_rng(1).normal(size=(2, 1, 4, 4))
NEEDS = {
    "deep_taylor": {"low": -9, "high": 9},
    "smoothgrad": {"samples": 2},
    "excitation_backprop": {"negative": "clip"},
    "contrastive_excitation_backprop": {"negative": "clip"},
}
PATTERNS = ("pattern_net", "pattern_attribution")
OPTIONS = [
    *((method, NEEDS.get(method, {})) for method in pyref.METHODS if method not in PATTERNS),
    *(("integrated_gradients", {"quadrature": q, "m": 4}) for q in pyref.methods.quadrature.QUADRATURES),
    ("integrated_gradients", {"quadrature": "adaptive", "m": 20}),
    ("integrated_gradients", {"path": (lambda a: a * a * Duck(X), lambda a: 2 * a * Duck(X)), "m": 4}),
    ("occlusion", {"unit": "pixel", "fill": [0.5]}),
    ("occlusion", {"unit": "patch", "shape": 2, "fill": "mean"}),
    ("saliency", {"channels": "l2"}),
    ("smoothgrad", {"samples": 2, "mode": "variance", "absolute": "before"}),
    ("fullgrad", {"variant": "smooth", "samples": 2, "scope": "channel", "terms": "all"}),
    ("fullgrad", {"variant": "simple", "psi": "signed"}),
    ("deeplift", {"rule": "reveal_cancel"}),
    ("deeplift", {"max_pool": "gradient"}),
    ("lrp", {"form": "gradient"}),
    ("lrp", {"rule": "alpha_beta", "rule_options": {"renormalize": True, "stabilizer": "rms"}}),
    ("lrp", {"rule": pyref.Epsilon(0.1, "uniform", absorb_epsilon=True)}),
]


def on_host(options):
    """The options with what is on the device brought back."""
    if "path" not in options:
        return options
    return options | {"path": tuple(lambda a, part=part: part(a)._array for part in options["path"])}


@pytest.mark.parametrize(("method", "options"), OPTIONS)
def test_every_method_runs_on_device_arrays_and_says_the_same(method, options):
    want = pyref.METHODS[method](network(), X, [1, 0], **on_host(options))
    got = pyref.METHODS[method](moved(network()), Duck(X.copy()), [1, 0], **options)
    assert isinstance(got.values, Duck)
    assert (got.values._array == want.values).all()


@pytest.mark.parametrize("method", PATTERNS)
def test_patterns_are_fitted_and_used_on_device_arrays(method):
    host, device, x = network(), moved(network()), Duck(X.copy())
    want = pyref.METHODS[method](host, X, patterns=pyref.fit_patterns(host, [X]))
    got = pyref.METHODS[method](device, x, patterns=pyref.fit_patterns(device, [x]))
    assert (got.values._array == want.values).all()


@pytest.mark.parametrize("layer", [pyref.LSTM, pyref.GRU])
@pytest.mark.parametrize("method", ["integrated_gradients", "lrp", "deeplift", "full_gradient", "occlusion"])
def test_recurrent_layers_and_embeddings_run_on_device_arrays(layer, method):
    rng = np.random.default_rng(3)
    table, (w_x, w_h), b = (
        rng.normal(size=(5, 3)),
        rng.normal(size=(2, 3, 3 * layer.gates)),
        rng.normal(size=3 * layer.gates),
    )

    def reader(put):
        return Network(
            [
                ("words", pyref.Embedding(put(table)), "ids"),
                ("read", layer(put(w_x), put(w_h), put(b), output="last", masked=True), ("words", "lengths")),
                ("out", Dense(put(w_x[:, :2])), "read"),
            ],
            ("ids", "lengths"),
        )

    ids, lengths = np.array([[0, 1, 2, 3], [4, 0, 0, 0]]), np.array([4, 2])
    want = pyref.METHODS[method](reader(lambda v: v), {"ids": ids, "lengths": lengths}, 0)
    got = pyref.METHODS[method](reader(Duck), {"ids": Duck(ids), "lengths": Duck(lengths)}, 0)
    assert (got.values._array == want.values).all()


@pytest.mark.parametrize("rule", sorted(set(pyref.COMPOSITES) | set(pyref.RULES) - {"pass_", "z_box"}))
def test_every_rule_runs_on_device_arrays_and_says_the_same(rule):
    options = {"low": -9, "high": 9} if rule in ("epsilon_gamma_box", "deep_taylor") else None
    want = pyref.lrp(network(), X, 0, rule=rule, rule_options=options)
    got = pyref.lrp(moved(network()), Duck(X.copy()), 0, rule=rule, rule_options=options)
    assert (got.values._array == want.values).all()
    assert str(got.ledger) == str(want.ledger)


def test_the_duck_refuses_what_a_device_refuses():
    a = Duck(np.ones(2))
    with pytest.raises(TypeError, match="implicit conversion"):
        np.asarray(a)
    with pytest.raises(TypeError, match="met a device array"):
        a + np.ones(2)
    with pytest.raises(TypeError, match="not for device arrays"):
        np.linalg.norm(a)
    with pytest.raises(TypeError, match="no function of NumPy's"):
        np.frompyfunc(abs, 1, 1)(a)


def test_deeplift_through_a_smooth_network_on_device_arrays():
    rng = np.random.default_rng(2)
    net = Network.sequential(
        [Dense(rng.normal(size=(3, 4)), rng.normal(size=4)), Tanh(), Dense(rng.normal(size=(4, 2)))]
    )
    x = rng.normal(size=(2, 3))
    for rule in ("rescale", "reveal_cancel"):
        want = pyref.deeplift(net, x, 0, rule=rule).values
        assert (pyref.deeplift(moved(net), Duck(x.copy()), 0, rule=rule).values._array == want).all()


def test_metrics_run_on_device_arrays_and_say_the_same():
    """What a model computes with stays on the device; what is counted comes back."""
    host, device = network(), moved(network())
    R = pyref.gradient_times_input(host, X, 1)
    on_it = pyref.gradient_times_input(device, Duck(X.copy()), 1)
    for metric in (pyref.completeness, pyref.sensitivity_n, pyref.morf_lerf, pyref.infidelity):
        want = metric(host, X, R, target=1, mask="pixel", baseline="mean")
        got = metric(device, Duck(X.copy()), on_it, target=1, mask="pixel", baseline="mean")
        assert all((got[name] == want[name]).all() for name in want.series)
    noisy = [
        pyref.infidelity(n, x, a, target=1, perturb="noise", samples=5)
        for n, x, a in ((host, X, R), (device, Duck(X.copy()), on_it))
    ]
    assert (noisy[0]["attribution"] == noisy[1]["attribution"]).all()
    for metric, options in (
        (pyref.cosine_convergence, {}),
        (pyref.max_sensitivity, {"samples": 2}),
        (pyref.random_logit, {"measures": ("rank",)}),
        (pyref.parameter_randomization, {"measures": ("rank",)}),
    ):
        want = metric(host, X, "gradient", **options)
        got = metric(device, Duck(X.copy()), "gradient", **options)
        assert all(np.array_equal(got[name], want[name], equal_nan=True) for name in want.series)
    path = [pyref.saturation(n, x, nodes=["relu"]) for n, x in ((host, X), (device, Duck(X.copy())))]
    assert all((path[0][name] == path[1][name]).all() for name in path[0].series)
