"""Rules and composites against zennit, where it is installed: layer by layer, and whole networks."""

import numpy as np
import pytest
import torchvision_names  # noqa: F401

import pyref

torch = pytest.importorskip("torch", reason="needs PyTorch, which the extra `peers` installs")

zennit = pytest.importorskip("zennit", reason="needs zennit: pip install --no-deps zennit")

from bound import rounding  # noqa: E402
from nearby import close, differs  # noqa: E402
from outside import Flattened, Residual, array, network, randomize, tensor  # noqa: E402
from torch import nn  # noqa: E402
from zennit import composites, rules  # noqa: E402
from zennit.attribution import Gradient, IntegratedGradients  # noqa: E402
from zennit.canonizers import SequentialMergeBatchNorm  # noqa: E402
from zennit.core import Stabilizer  # noqa: E402
from zennit.layer import Sum  # noqa: E402

pytestmark = pytest.mark.peers

E = 0.125  # an ε that is seen

# ── one layer ──────────────────────────────────────────────────────────────────────────────────────────

LAYERS = {
    "dense": (lambda b: nn.Linear(7, 5, bias=b), (3, 7)),
    "conv": (lambda b: nn.Conv2d(4, 6, (3, 2), stride=2, padding=(2, 1), groups=2, bias=b), (2, 4, 6, 5)),
    "dilated": (lambda b: nn.Conv2d(2, 3, 2, dilation=2, bias=b), (2, 2, 5, 6)),
    "conv_transpose": (lambda b: nn.ConvTranspose2d(3, 4, 3, stride=2, padding=1, bias=b), (2, 3, 3, 4)),
}
LOW, HIGH = -4, 5
RULES = {
    "epsilon": (rules.Epsilon(E), pyref.Epsilon(E)),
    "epsilon, ignore": (rules.Epsilon(E, zero_params="bias"), pyref.Epsilon(E, "ignore")),
    "epsilon, clip": (rules.Epsilon(Stabilizer(E, clip=True)), pyref.Epsilon(E, stabilizer="clip")),
    "epsilon, rms": (rules.Epsilon(Stabilizer(E, norm_scale=True)), pyref.Epsilon(E, stabilizer="rms")),
    "gamma": (rules.Gamma(0.25, E), pyref.Gamma(0.25, E)),
    "gamma, clip": (rules.Gamma(2, Stabilizer(E, clip=True)), pyref.Gamma(2, E, stabilizer="clip")),
    "z_plus": (rules.ZPlus(E), pyref.ZPlus(E)),
    "z_plus, ignore": (rules.ZPlus(E, "bias"), pyref.ZPlus(E, "ignore")),
    "alpha1_beta0": (rules.AlphaBeta(1, 0, E), pyref.AlphaBeta(1, 0, E)),
    "alpha2_beta1": (rules.AlphaBeta(2, 1, E), pyref.AlphaBeta(2, 1, E)),
    "alpha2_beta1, ignore": (rules.AlphaBeta(2, 1, E, "bias"), pyref.AlphaBeta(2, 1, E, "ignore")),
    "alpha2_beta1, rms": (
        rules.AlphaBeta(2, 1, Stabilizer(E, norm_scale=True)),
        pyref.AlphaBeta(2, 1, E, stabilizer="rms"),
    ),
    "alpha5_beta4, clip": (
        rules.AlphaBeta(5, 4, Stabilizer(E, clip=True)),
        pyref.AlphaBeta(5, 4, E, stabilizer="clip"),
    ),
    "flat": (rules.Flat(E), pyref.Flat(E)),
    "w_square": (rules.WSquare(E, "bias"), pyref.WSquare(E)),
    "z_box": (rules.ZBox(float(LOW), float(HIGH), E), pyref.ZBox(LOW, HIGH, E)),
}


def relevance(module, rule, x, R):
    """What zennit's rule makes of R at the output of a module."""
    x = tensor(x).requires_grad_()
    handles = rule.copy().register(module)
    (r,) = torch.autograd.grad(module(x), x, tensor(R))
    handles.remove()
    return array(r)


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("name", RULES)
def test_rules(name, layer, bias):
    make, shape = LAYERS[layer]
    module = randomize(make(bias), 1)
    rng = np.random.default_rng(2)
    x = np.clip(rng.normal(size=shape), LOW, HIGH)  # of both signs, as R is
    R = rng.normal(size=module(tensor(x)).shape)
    theirs, ours = RULES[name]

    def explain(net, x):
        (node,) = net.nodes.values()
        return node.layer.relevance(pyref, (x,), node.layer.forward(pyref, x), R, ours)[0]

    close(relevance(module, theirs, x, R), explain, network(nn.Sequential(module)), x)


@pytest.mark.parametrize("name", [n for n in RULES if "rms" not in n])
def test_rules_where_nothing_is_there_to_share(name):
    """Whole numbers with many zeros: dead units, units of one sign, z = 0 exactly. ε is a power of two."""
    rng = np.random.default_rng(3)
    theirs, ours = RULES[name]
    for _ in range(20):
        w, b = rng.integers(-1, 2, size=(3, 4)).astype(float), rng.integers(-1, 2, size=4).astype(float)
        x, R = rng.integers(-1, 2, size=(5, 3)).astype(float), rng.integers(-2, 3, size=(5, 4)).astype(float)
        module = nn.Linear(3, 4)
        module.weight.data, module.bias.data = tensor(w.T), tensor(b)
        got, want = relevance(module, theirs, x, R), pyref.dense_relevance(x, w, b, R, ours)
        assert (np.abs(got - want) <= rounding(30, 8 * np.abs(R).sum() / E)).all()


GOLDEN = {
    "epsilon": (rules.Epsilon(0), pyref.Epsilon(0), (-3, -3, 27 / 2)),
    "epsilon 1/10": (rules.Epsilon(0.1), pyref.Epsilon(0.1), (-640 / 231, -620 / 231, 950 / 77)),
    "ignore": (rules.Epsilon(0, "bias"), pyref.Epsilon(0, "ignore"), (-4 / 3, -2 / 3, 5)),
    "alpha1_beta0": (rules.AlphaBeta(1, 0, 0), pyref.AlphaBeta(1, 0, 0), (2 / 3, 0, 2)),
    "alpha2_beta1": (rules.AlphaBeta(2, 1, 0), pyref.AlphaBeta(2, 1, 0), (14 / 15, -6 / 5, 17 / 5)),
    "z_plus, ignore": (rules.ZPlus(0, "bias"), pyref.ZPlus(0, "ignore"), (1, 0, 2)),
    "gamma": (rules.Gamma(0.25, 0), pyref.Gamma(0.25, 0), (-92 / 65, -54 / 65, 93 / 13)),
    "w_square": (rules.WSquare(0, "bias"), pyref.WSquare(0), (1, 1 / 2, 3 / 2)),
    "flat": (rules.Flat(0), pyref.Flat(0), (1, 1, 1)),
    "z_box": (rules.ZBox(-3.0, 4.0, 0), pyref.ZBox(-3, 4, 0), (47 / 40, 9 / 40, 8 / 5)),
}


def golden_layer():
    module = nn.Linear(3, 2)
    module.weight.data, module.bias.data = tensor([[2.0, 1, -1], [-1, 1, 2]]), tensor([1.0, -2])
    return module, np.array([[1.0, -2, 3]]), np.array([[1.0, 2]])


@pytest.mark.parametrize("name", GOLDEN)
def test_numbers_by_hand(name):
    module, x, R = golden_layer()
    theirs, ours, want = GOLDEN[name]
    for got in (
        relevance(module, theirs, x, R),
        pyref.dense_relevance(x, array(module.weight).T, array(module.bias), R, ours),
    ):
        assert (np.abs(got - want) <= rounding(30, 60)).all()


def test_zennits_w_square_hands_a_share_to_the_squared_bias():
    """The rule has no bias [montavon2017]; with b² in the denominator relevance is lost."""
    module, x, R = golden_layer()
    got = relevance(module, rules.WSquare(0), x, R)
    assert (np.abs(got - [27 / 35, 12 / 35, 33 / 35]) <= rounding(20, 9)).all()
    ours = pyref.dense_relevance(x, array(module.weight).T, array(module.bias), R, pyref.WSquare(0))
    assert abs(ours.sum() - R.sum()) <= rounding(20, 9) < 0.9 < R.sum() - got.sum()


def test_zennits_gamma_takes_its_sign_from_the_bias_that_it_ignores():
    """w = (3, -1), x = (1, 1): without the bias z = 2 > 0 and positive terms weigh more. zennit looks at z + b < 0."""
    module = nn.Linear(2, 1)
    module.weight.data, module.bias.data = tensor([[3.0, -1.0]]), tensor([-3.0])
    x, R = np.ones((1, 2)), np.ones((1, 1))
    got = relevance(module, rules.Gamma(0.25, 0, zero_params="bias"), x, R)
    assert (np.abs(got - [3 / 1.75, -1.25 / 1.75]) <= rounding(8, 3)).all()
    ours = pyref.dense_relevance(x, array(module.weight).T, array(module.bias), R, pyref.Gamma(0.25, 0, "ignore"))
    assert (np.abs(ours - [3.75 / 2.75, -1 / 2.75]) <= rounding(8, 3)).all()


def test_zennits_gamma_scales_its_stabilizer_by_units_that_it_does_not_use():
    """ε · rms is over the denominators D of a sample; zennit averages over those that a unit has under either sign."""
    module = randomize(nn.Linear(7, 5), 1)
    rng = np.random.default_rng(2)
    x, R = rng.normal(size=(3, 7)), rng.normal(size=(3, 5))
    w, b, rule = array(module.weight).T, array(module.bias), pyref.Gamma(2, E, stabilizer="rms")
    z = x @ w + b
    terms = x[:, :, None] * w
    up = (terms + 2 * np.maximum(terms, 0)).sum(axis=1) + b + 2 * np.maximum(b, 0)
    down = (terms + 2 * np.minimum(terms, 0)).sum(axis=1) + b + 2 * np.minimum(b, 0)

    def kept(D, mean_square):
        return R / (D + np.where(D >= 0, 1, -1) * E * np.sqrt(mean_square.mean(axis=1, keepdims=True)))

    D = np.where(z > 0, up, down)
    ours = pyref.dense_relevance(x, w, b, R, rule)
    theirs = relevance(module, rules.Gamma(2, Stabilizer(E, norm_scale=True)), x, R)
    for got, s in ((ours, kept(D, D**2)), (theirs, np.where(z > 0, kept(up, up**2), kept(down, down**2)))):
        agreeing = np.where((z > 0)[:, None], np.maximum(terms, 0), np.minimum(terms, 0))
        want = ((terms + 2 * agreeing) * s[:, None]).sum(axis=2)
        assert (np.abs(got - want) <= rounding(100, np.abs(want).max() * 10)).all()
    assert differs(theirs, ours, 0.01)


# ── networks ───────────────────────────────────────────────────────────────────────────────────────────


class Join(nn.Module):
    """A sum by zennit's module, which its rules know."""

    def __init__(self):
        super().__init__()
        self.sum = Sum()

    def forward(self, a, b):
        return self.sum(torch.stack([a, b], dim=-1))


def image_network(seed=0, batchnorm=False, whole=False, eps=0.0):
    """Convolutions, a residual sum, both poolings, dense layers."""

    def norm():
        return [nn.BatchNorm2d(4, eps=eps)] if batchnorm else []

    body = nn.Sequential(nn.Conv2d(4, 4, 1), *norm(), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1, bias=False), *norm())
    module = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1),
        *norm(),
        nn.ReLU(),
        nn.Conv2d(4, 4, 2),
        nn.MaxPool2d(2, 1),
        nn.ReLU(),
        Residual(body, Join()),
        nn.ReLU(),
        nn.AvgPool2d(2),
        Flattened(nn.Linear(36, 5), nn.ReLU(), nn.Linear(5, 3)),
    )
    return randomize(module, seed, whole)


TARGET = [2, 0, 1]


def images(seed=1):
    return np.random.default_rng(seed).uniform(-2, 2, size=(3, 2, 8, 8))


def of(module, x, composite=None, seed="output", make=Gradient, **options):
    """What zennit says for the target, as an array. The seed is the output there, or 1."""
    chosen = tensor(np.eye(3)[TARGET])
    composite = None if composite is None else composite(canonizers=[SequentialMergeBatchNorm()])
    with make(module, composite, **options) as attributor:
        return array(attributor(tensor(x), lambda out: chosen * (out if seed == "output" else 1))[1])


COMPOSITES = {
    "epsilon_plus": (composites.EpsilonPlus, {}),
    "epsilon_plus_flat": (composites.EpsilonPlusFlat, {}),
    "epsilon_alpha2_beta1": (composites.EpsilonAlpha2Beta1, {}),
    "epsilon_alpha2_beta1_flat": (composites.EpsilonAlpha2Beta1Flat, {}),
    "epsilon_gamma_box": (composites.EpsilonGammaBox, {"low": -2.0, "high": 2.0}),
}


@pytest.mark.parametrize("batchnorm", [False, True], ids=["plain", "batch norm"])
@pytest.mark.parametrize("name", COMPOSITES)
def test_composites(name, batchnorm):
    module, x = image_network(batchnorm=batchnorm), images()
    make, bounds = COMPOSITES[name]
    got = of(module, x, lambda **options: make(epsilon=E, stabilizer=E, **bounds, **options))

    def explain(net, x):
        x = np.clip(x, -2, 2)  # as moved by roundings
        return pyref.lrp(net, x, TARGET, rule=name, rule_options={"epsilon": E, **bounds}).values

    close(got, explain, network(module), x)


def test_zennits_merging_leaves_a_batch_normalisation_behind():
    """Its variance is set to 1, but its eps stays: every value shrinks by √(1 + eps). Ours keeps what is computed."""
    module, x = image_network(batchnorm=True, eps=1e-3), images()
    want = array(module(tensor(x)))
    merger = SequentialMergeBatchNorm()
    instances = merger.apply(module)
    merged = array(module(tensor(x)))
    for instance in instances:
        instance.remove()
    assert (array(module(tensor(x))) == want).all()
    assert differs(merged, want, 1e-4)
    net = network(module)
    close(pyref.merge_batchnorm(net)(x), lambda net, x: net(x), net, x)
    close(want, lambda net, x: net(x), net, x)


def test_gradients_through_hooks_of_whole_numbers_are_equal():
    module = image_network(whole=True)
    x = np.random.default_rng(1).integers(-3, 4, size=(3, 2, 8, 8)).astype(float)
    net = network(module)
    assert (of(module, x, seed="one") == pyref.gradient(net, x, TARGET).values).all()
    for name, composite in (("guided_backprop", composites.GuidedBackprop), ("deconvnet", composites.DeconvNet)):
        assert (of(module, x, composite, "one") == pyref.METHODS[name](net, x, TARGET).values).all()


def test_excitation_backprop():
    """With positive biases left out and all inputs positive; the seed is a probability."""
    module, x = image_network(), np.abs(images())
    for p in module[5].body.parameters():  # what enters the sum must be positive too
        p.data.abs_()
    got = of(module, x, lambda **o: composites.ExcitationBackprop(stabilizer=1e-300, zero_params="bias", **o), "one")

    def explain(net, x):
        return pyref.excitation_backprop(net, x, TARGET, negative="clip").values

    close(got, explain, network(module), x)


def test_integrated_gradients_by_the_right_rule():
    module = randomize(nn.Sequential(nn.Linear(6, 5), nn.Softplus(), nn.Linear(5, 3)), 0)
    x = np.random.default_rng(1).normal(size=(3, 6))
    got = of(module, x, seed="one", make=IntegratedGradients, n_iter=20)
    nodes = torch.linspace(1 / 20, 1, 20).tolist()  # 24 bits each
    assert np.abs(np.array(nodes) - np.arange(1, 21) / 20).max() <= rounding(2, 1, np.float32)

    def explain(net, x):
        return pyref.interior_gradients(net, x, TARGET, alphas=nodes).values.mean(axis=0) * x

    close(got, explain, network(module), x)
    ours = pyref.integrated_gradients(network(module), x, TARGET, quadrature="right", m=20).values
    assert (np.abs(got - ours) <= rounding(4, 10 * np.abs(ours).max(), np.float32)).all()
