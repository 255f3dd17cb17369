"""Methods against Captum, where it is installed: equal where it computes what is defined; elsewhere, what it does.

Networks of small whole numbers make every sum exact, so that gradients are compared with ==.
"""

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import pyref
import relprop

torch = pytest.importorskip("torch", reason="needs PyTorch, which the extra `peers` installs")
captum = pytest.importorskip("captum", reason="needs Captum, which the extra `peers` installs")

from bound import rounding  # noqa: E402
from captum import attr  # noqa: E402
from captum.attr._utils.approximation_methods import approximation_parameters  # noqa: E402
from captum.attr._utils.custom_modules import Addition_Module  # noqa: E402
from captum.attr._utils.lrp_rules import Alpha1_Beta0_Rule, EpsilonRule, GammaRule  # noqa: E402
from nearby import close, differs  # noqa: E402
from outside import Flattened, Residual, array, network, randomize, tensor  # noqa: E402
from torch import nn  # noqa: E402

pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore")]  # Captum warns of its own hooks

TARGET = [2, 0, 1]


def image_network(seed=0, whole=False, activation=nn.ReLU, bias=True):
    """Convolutions, strides, a residual sum, both poolings, dense layers. No two non-linear modules in a row."""
    body = nn.Sequential(nn.Conv2d(4, 4, 1, bias=bias), activation(), nn.Conv2d(4, 4, 3, padding=1, bias=bias))
    module = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, bias=bias),
        activation(),
        nn.Conv2d(4, 4, 2, bias=bias),
        nn.MaxPool2d(2, 1),
        Residual(body, Addition_Module()),
        activation(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(36, 5, bias=bias),
        activation(),
        nn.Linear(5, 3, bias=bias),
    )
    return randomize(module, seed, whole)


def images(seed=1, whole=False):
    rng = np.random.default_rng(seed)
    shape = (3, 2, 8, 8)
    return rng.integers(-3, 4, size=shape).astype(float) if whole else rng.normal(size=shape)


def of(make, module, x, **options):
    """What a Captum method says, as an array."""
    return array(make(module).attribute(tensor(x), target=tensor(TARGET), **options))


# ── gradients, exactly ─────────────────────────────────────────────────────────────────────────────────

GRADIENTS = {
    "gradient": (attr.Saliency, {"abs": False}),
    "saliency": (attr.Saliency, {}),
    "gradient_times_input": (attr.InputXGradient, {}),
    "guided_backprop": (attr.GuidedBackprop, {}),
    "deconvnet": (attr.Deconvolution, {}),
}


@pytest.mark.parametrize("name", GRADIENTS)
@pytest.mark.parametrize("seed", range(3))
def test_gradients_of_whole_numbers_are_equal(name, seed):
    module, x = image_network(seed, whole=True), images(seed, whole=True)
    method, options = GRADIENTS[name]
    assert (pyref.METHODS[name](network(module), x, TARGET).values == of(method, module, x, **options)).all()


@pytest.mark.parametrize("activation", [nn.Tanh, nn.Sigmoid, nn.Softplus, nn.ELU, nn.LeakyReLU])
def test_gradients_of_other_activations(activation):
    module, x = image_network(activation=activation), images()
    close(
        of(attr.Saliency, module, x, abs=False),
        lambda net, x: pyref.gradient(net, x, TARGET).values,
        network(module),
        x,
    )


@pytest.mark.parametrize("at", ["0", "1", "4"])
def test_grad_cam(at):
    """Captum's default is without the outer ⁺, and it leaves the map in its own size."""
    module, x = image_network(whole=True), images(whole=True)
    for relu in (False, True):
        got = array(
            attr.LayerGradCam(module, module[int(at)]).attribute(tensor(x), tensor(TARGET), relu_attributions=relu)
        )
        want = pyref.grad_cam(network(module), x, TARGET, at=at, relu=relu, upsample=False).values
        count = np.prod(want.shape[2:])  # both divide a whole number by it, and multiply
        assert (np.abs(got - want) <= rounding(8, 4 * np.abs(want).max() * count)).all()


def test_occlusion_of_features_and_patches():
    module, x = image_network(whole=True), images(whole=True)
    net = network(module)
    got = of(attr.FeatureAblation, module, x)
    assert (got == pyref.occlusion(net, x, TARGET).values).all()
    # windows that overlap share by their mean; here they end with the image, beyond whose edge Captum's would reach
    for shape, stride in (((4, 4), (2, 1)), ((2, 5), (2, 3))):
        windows = {"sliding_window_shapes": (2, *shape), "strides": (2, *stride), "baselines": 2}
        got = of(attr.Occlusion, module, x, **windows)
        ours = pyref.occlusion(net, x, TARGET, unit="patch", shape=shape, stride=stride, fill=2)
        covered = ours.settings["covered"]["x"][0]
        gap = np.abs(got - ours.values)[..., covered]
        # exact, but for the division by the number of windows, which Captum does in torch's default dtype
        assert (gap <= rounding(1, np.abs(ours.values).max(), np.float32)).all()
        assert (ours.values[..., ~covered] == 0).all()


def test_the_comparison_sees_what_is_not_rounding():
    module, x = image_network(activation=nn.Tanh), images()

    def explain(net, x):
        return pyref.gradient(net, x, TARGET).values

    right = of(attr.Saliency, module, x, abs=False)
    close(right, explain, network(module), x)
    for wrong in (right * (1 + 1e-9), right[:, ::-1], np.where(right == right[0].max(), 0, right)):
        with pytest.raises(AssertionError, match="off by"):
            close(wrong, explain, network(module), x)


# ── integrated gradients ───────────────────────────────────────────────────────────────────────────────

QUADRATURES = {
    "left": "riemann_left",
    "right": "riemann_right",
    "midpoint": "riemann_middle",
    "trapezoid": "riemann_trapezoid",
    "gauss_legendre": "gausslegendre",
}
M = 12


@pytest.mark.parametrize("quadrature", QUADRATURES)
def test_quadratures(quadrature):
    """The nodes are equal, but that Captum's have 24 bits; with its nodes and weights the attribution is equal."""
    method = QUADRATURES[quadrature]
    module, x, x0 = image_network(activation=nn.Softplus), images(), images(7)
    weights, nodes = (part(M) for part in approximation_parameters(method))
    ours = pyref.methods.quadrature.quadrature_nodes(quadrature, M)
    assert np.abs(np.array(nodes) - np.array(ours[0], float)).max() <= rounding(4, 1, np.float32)
    theirs = np.array(weights) * (M / (M - 1) if quadrature == "trapezoid" else 1)
    assert np.abs(theirs - np.array(ours[1], float)).max() <= rounding(M, 1)

    got = of(attr.IntegratedGradients, module, x, baselines=tensor(x0), n_steps=M, method=method)
    cast = np.array(weights, np.float32).astype(float)

    def explain(net, x):
        family = pyref.interior_gradients(net, x, TARGET, baseline=x0, alphas=nodes).values
        return np.tensordot(cast, family, 1) * (x - x0)

    close(got, explain, network(module), x)

    # and so the two agree up to what 24 bits leave of nodes and weights
    gap = np.abs(got * (M / (M - 1) if quadrature == "trapezoid" else 1) - _ours(network(module), x, x0, quadrature))
    assert (gap <= rounding(8, 1e3, np.float32)).all()


def _ours(net, x, x0, quadrature):
    return pyref.integrated_gradients(net, x, TARGET, baseline=x0, quadrature=quadrature, m=M).values


def test_captums_trapezoid_comes_out_low():
    """Its weights are those of n cells, on n - 1 of them: a linear function loses the share 1 / n."""
    module = randomize(nn.Sequential(nn.Linear(4, 3)), 0)
    x = np.random.default_rng(1).normal(size=(3, 4))
    got = of(attr.IntegratedGradients, module, x, n_steps=50, method="riemann_trapezoid")
    want = pyref.integrated_gradients(network(module), x, TARGET, quadrature="trapezoid", m=50)
    assert (np.abs(want.delta) <= rounding(200, np.abs(want.values).sum())).all()
    assert (np.abs(got - want.values * 49 / 50) <= rounding(1, np.abs(want.values), np.float32)).all()
    assert differs(got, want.values, 0.019)


# ── DeepLIFT ───────────────────────────────────────────────────────────────────────────────────────────


def plain_quotients(rng, size):
    """pyref, but for what Captum's Δa / Δz loses: as many units as a and z are larger than their differences."""

    def quotient(z, z0, activation):
        with np.errstate(divide="ignore", invalid="ignore"):
            lost = sum((abs(v) + abs(v0)) / abs(v - v0) for v, v0 in ((z, z0), map(activation.value, (z, z0))))
        q = pyref.activation_quotient(z, z0, activation)
        return q * (1 + size * np.where(np.isfinite(lost), lost, 0) * rng.uniform(-1, 1, size=q.shape))

    def multiplier(z, z0, activation, M):
        return M * quotient(z, z0, activation)

    return SimpleNamespace(**{**vars(pyref), "activation_quotient": quotient, "activation_multiplier": multiplier})


def deeplift_is_close(got, module, x, baseline):
    def explain(net, x, backend=pyref):
        return pyref.deeplift(net, x, TARGET, baseline=baseline, backend=backend).values

    close(got, explain, network(module), x, plain_quotients)


def pooled_network(activation, pool, seed=0):
    """Max pooling between two convolutions, so that no non-linear module follows another."""
    module = nn.Sequential(
        nn.Conv2d(2, 4, 3), activation(), nn.Conv2d(4, 3, 2), pool, nn.Conv2d(3, 3, 2), nn.Flatten(), nn.LazyLinear(3)
    )
    module(torch.zeros(1, 2, 8, 8))
    return randomize(module, seed)


@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh, nn.Sigmoid, nn.Softplus, nn.ELU, nn.LeakyReLU])
def test_deeplift_rescale(activation):
    module, x, x0 = pooled_network(activation, nn.AvgPool2d(2)), images(), images(5)
    got = of(attr.DeepLift, module, x, baselines=tensor(x0))
    deeplift_is_close(got, module, x, x0)


def test_deeplift_through_a_residual_sum():
    module, x, x0 = image_network()[4:], *(np.random.default_rng(s).normal(size=(3, 4, 6, 6)) for s in (1, 2))
    got = of(attr.DeepLift, module, x, baselines=tensor(x0))
    deeplift_is_close(got, module, x, x0)


@pytest.mark.parametrize("seed", range(3))
def test_deeplift_through_max_pooling(seed):
    """Rule "xmax", complete though winners move; with "gradient" it would not be."""
    module, x, x0 = pooled_network(nn.ReLU, nn.MaxPool2d(2), seed), images(seed), images(seed + 5)
    got = of(attr.DeepLift, module, x, baselines=tensor(x0))
    deeplift_is_close(got, module, x, x0)
    assert differs(got, pyref.deeplift(network(module), x, TARGET, baseline=x0, max_pool="gradient").values, 0.01)


def test_several_baselines_are_averaged():
    """Captum's DeepLiftShap draws none: it takes the baselines as they are."""
    module, x, many = pooled_network(nn.Tanh, nn.AvgPool2d(2)), images(), images(5)
    got = of(attr.DeepLiftShap, module, x, baselines=tensor(many))
    deeplift_is_close(got, module, x, list(many))


def completeness(module, x, x0, values):
    S, S0 = (array(module(tensor(v)))[range(3), TARGET] for v in (x, x0))
    return np.abs(values.reshape(3, -1).sum(axis=1) - (S - S0))


def test_captum_loses_completeness_where_non_linear_modules_touch():
    """Its hooks on the shared tensor undo one another; a module between them that does nothing brings it back."""
    x, x0 = images(), images(5)
    tail = [nn.Flatten(), nn.Linear(27, 3)]
    touching = randomize(nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.MaxPool2d(2), *tail), 0)
    ours = pyref.deeplift(network(touching), x, TARGET, baseline=x0)
    assert (np.abs(ours.delta) <= rounding(500, np.abs(ours.values).sum())).all()
    got = of(attr.DeepLift, touching, x, baselines=tensor(x0))
    assert (completeness(touching, x, x0, got) > 0.01).all()

    apart = nn.Sequential(*touching[:2], nn.Conv2d(3, 3, 1, groups=3, bias=False), *touching[2:])
    apart[2].weight.data = tensor(np.ones((3, 1, 1, 1)))
    deeplift_is_close(of(attr.DeepLift, apart, x, baselines=tensor(x0)), touching, x, x0)


def test_captum_loses_completeness_where_max_pooling_overlaps():
    """Its unpooling keeps one of the windows that share a winner, where they should add."""
    x, x0 = images(), images(5)
    module = pooled_network(nn.ReLU, nn.MaxPool2d(3, 1))
    ours = pyref.deeplift(network(module), x, TARGET, baseline=x0)
    assert (np.abs(ours.delta) <= rounding(500, np.abs(ours.values).sum())).all()
    got = of(attr.DeepLift, module, x, baselines=tensor(x0))
    assert (completeness(module, x, x0, got) > 0.01).all()


def test_captums_softmax_mixes_the_samples_of_a_batch():
    """It subtracts a mean over the whole batch. Here the logit is explained, and samples do not meet."""
    x, x0 = images()[:, :, :4, :4], images(5)[:, :, :4, :4]
    module = randomize(nn.Sequential(nn.Flatten(), nn.Linear(32, 3), nn.Softmax(dim=1)), 0)
    got = of(attr.DeepLift, module, x, baselines=tensor(x0))
    alone = array(attr.DeepLift(module).attribute(tensor(x[:1]), tensor(x0[:1]), target=TARGET[0]))
    assert differs(got[:1], alone, 0.01)
    assert (completeness(module, x, x0, got) > 0.01).any()
    ours = pyref.deeplift(network(module), x, TARGET, baseline=x0)
    single = pyref.deeplift(network(module), x[:1], TARGET[:1], baseline=x0[:1])
    assert (np.abs(ours.values[:1] - single.values) <= rounding(100, np.abs(x).max())).all()
    assert (np.abs(ours.delta) <= rounding(500, np.abs(ours.values).sum())).all()


# ── layer-wise relevance propagation ───────────────────────────────────────────────────────────────────


def with_rules(module, make, pool=None):
    """Captum reads rules from the modules, one object each, and takes them away afterwards."""
    for m in module.modules():
        if isinstance(m, nn.Linear | nn.Conv2d | nn.BatchNorm2d | nn.AvgPool2d | Addition_Module):
            m.rule = make(m)
        elif isinstance(m, nn.MaxPool2d):
            m.rule = EpsilonRule(0)
    return module


def linear_chain(seed=0, bias=True):
    """What Captum's LRP takes: no residual in a Sequential's place, activations ReLU or Tanh."""
    module = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, bias=bias),
        nn.ReLU(),
        nn.Conv2d(4, 4, 2, stride=2, bias=bias),
        nn.Tanh() if bias else nn.ReLU(),
        nn.AvgPool2d(2),
        Flattened(nn.Linear(16, 5, bias=bias), nn.ReLU(), nn.Linear(5, 3, bias=bias)),
    )
    return randomize(module, seed)


@pytest.mark.parametrize("epsilon", [0.25, 1e-9])
def test_epsilon_rule(epsilon):
    module, x = linear_chain(), images()
    net = network(module)
    got = of(attr.LRP, with_rules(module, lambda m: EpsilonRule(epsilon)), x)
    close(got, lambda net, x: pyref.lrp(net, x, TARGET, rule=pyref.Epsilon(epsilon)).values, net, x)


def test_epsilon_rule_on_sums_pooling_and_explicit_batch_normalisation():
    body = nn.Sequential(nn.Conv2d(4, 4, 1), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1))
    head = [nn.Conv2d(2, 4, 3, padding=1), nn.MaxPool2d(2), nn.BatchNorm2d(4), Residual(body, Addition_Module())]
    module = randomize(nn.Sequential(*head, nn.ReLU(), Flattened(nn.Linear(64, 3))), 3)
    net, x = network(module), images()
    got = of(attr.LRP, with_rules(module, lambda m: EpsilonRule(0.25)), x)

    def explain(net, x):
        return pyref.lrp(net, x, TARGET, rule=pyref.Epsilon(0.25), merge_batchnorm=False).values

    close(got, explain, net, x)


WEIGHT_FORMS = {
    "gamma": (lambda: GammaRule(0.25), pyref.Gamma(0.25, 1e-9, form="weight")),
    "alpha1_beta0": (Alpha1_Beta0_Rule, pyref.ZPlus(1e-9)),
}


@pytest.mark.parametrize("name", WEIGHT_FORMS)
def test_rules_that_change_weights_without_biases_and_with_positive_inputs(name):
    """Captum leaves biases as they are and does not split inputs by sign: without either it is our rule."""
    make, rule = WEIGHT_FORMS[name]
    module, x = linear_chain(seed=5, bias=False), np.abs(images())
    net = network(module)
    got = of(attr.LRP, with_rules(module, lambda m: make() if hasattr(m, "weight") else EpsilonRule(1e-9)), x)

    def choose(layer, index, is_first):
        return rule if hasattr(layer, "w") else pyref.Norm(1e-9)

    close(got, lambda net, x: pyref.lrp(net, x, TARGET, rule=choose).values, net, x)


def test_captums_gamma_rule_keeps_the_bias_as_it_is():
    """The golden layer of three inputs: here the bias grows with the weights, b + γ b⁺."""
    module = nn.Sequential(nn.Linear(3, 2))
    module[0].weight.data = tensor([[2.0, 1, -1], [-1, 1, 2]])
    module[0].bias.data = tensor([1.0, -2])
    x, R = np.array([[1.0, -2, 3]]), (-2, 1)  # R is what Captum starts with, the output

    def exact(m):
        rule = GammaRule(0.25)
        rule.STABILITY_FACTOR = 0
        return rule

    each = [array(attr.LRP(with_rules(module, exact)).attribute(tensor(x), target=o))[0] / R[o] for o in (0, 1)]
    total = each[0] + 2 * each[1]
    assert (np.abs(total - [-9 / 4, -5 / 4, 9]) <= rounding(20, 20)).all()
    rule = pyref.Gamma(0.25, 0, form="weight")
    ours = pyref.dense_relevance(x, array(module[0].weight).T, array(module[0].bias), np.array([[1.0, 2]]), rule)
    assert (np.abs(ours - [-17 / 7, -15 / 14, 129 / 14]) <= rounding(20, 20)).all()


DEFAULTS = {
    "saliency": attr.Saliency,
    "gradient_times_input": attr.InputXGradient,
    "integrated_gradients": attr.IntegratedGradients,
    "deeplift": attr.DeepLift,
    "lrp": attr.LRP,
}


@pytest.mark.parametrize("name", DEFAULTS)
def test_the_preset_is_what_captum_does_by_default(name):
    module, x = linear_chain(), images()
    want = pyref.METHODS[name](network(module), x, TARGET, **pyref.preset_options("captum", name)).values
    got = of(DEFAULTS[name], module, x)
    n, dtype = (50, np.float32) if name == "integrated_gradients" else (2000, np.float64)  # 50 weights of 24 bits
    assert (np.abs(got - want) <= rounding(n, np.abs(want).max(), dtype)).all()


def test_captums_alpha1_beta0_keeps_the_whole_bias_and_does_not_split_x():
    """w = (1, -1), b = -1, x = (1, 1): z⁺ = 1 keeps R = -1 in one piece; Captum's sum is 1 + b = 0."""
    module = nn.Sequential(nn.Linear(2, 1))
    module[0].weight.data, module[0].bias.data = tensor([[1.0, -1.0]]), tensor([-1.0])
    x = np.ones((1, 2))
    assert pyref.lrp(network(module), x, rule=pyref.ZPlus(0)).values.tolist() == [[-1, 0]]
    got = array(attr.LRP(with_rules(module, lambda m: Alpha1_Beta0_Rule())).attribute(tensor(x), target=0))
    assert got[0, 0] < -1e8 and got[0, 1] == 0

    # and negative inputs: z = (-1)(-2) = 2, all of it a positive contribution, of which Captum hands on nothing
    module[0].weight.data, module[0].bias.data = tensor([[-2.0, 0.0]]), tensor([0.0])
    x = np.array([[-1.0, 0.0]])
    assert pyref.lrp(network(module), x, rule=pyref.ZPlus(0)).values.tolist() == [[2, 0]]
    got = array(attr.LRP(with_rules(module, lambda m: Alpha1_Beta0_Rule())).attribute(tensor(x), target=0))
    assert (got == 0).all()


# ── what their users write ─────────────────────────────────────────────────────────────────────────────

PAGE = (Path(__file__).parents[1] / "docs" / "torch.md").read_text(encoding="utf-8")
ROWS = dict(re.findall(r"^\| `([A-Z]\w+\(m.*)` \| `(attribute\(m, .*)` \|$", PAGE, re.MULTILINE))
assert ROWS, "docs/torch.md has no table of what Captum's users write"


@pytest.mark.parametrize("theirs", ROWS)
def test_the_page_says_what_to_write_instead(theirs):
    layers = nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Conv2d(4, 3, 2), nn.AvgPool2d(2), Flattened(nn.Linear(12, 3))
    m = randomize(nn.Sequential(*layers), 0)
    given, x = {"m": m, "b": tensor(images(5)), "t": tensor(TARGET)}, images()
    got = array(eval(theirs, vars(attr) | given | {"x": tensor(x)}))

    def explain(net, x, backend=pyref):
        """The right column, on a network in place of the module."""

        def attribute(_, x, method, target, baseline=None, **options):
            if baseline is not None:
                baseline = [array(v) for v in baseline] if isinstance(baseline, list) else array(baseline)
                options["baseline"] = baseline
            if "rule" in options:
                options["rule_options"] = {"epsilon": options.pop("epsilon")}
            return pyref.METHODS[method](net, x, array(target), backend=backend, **options).values

        return eval(ROWS[theirs], {**given, "x": x, "attribute": attribute})

    values = eval(ROWS[theirs], {**given, "x": tensor(x), "attribute": relprop.attribute})
    net = relprop.from_torch(m, tensor(x))
    close(array(values), explain, net, x)
    if "IntegratedGradients" in theirs:
        assert (np.abs(got - array(values)) <= rounding(8, 1e3, np.float32)).all()
    else:
        close(got, explain, net, x, plain_quotients if "DeepLift" in theirs else None)
