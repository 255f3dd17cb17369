"""Metrics against Captum, where it is installed: the same perturbations, the same numbers."""

import numpy as np
import pytest

import pyref

torch = pytest.importorskip("torch", reason="needs PyTorch, which the extra `peers` installs")
metrics = pytest.importorskip("captum.metrics", reason="needs Captum, which the extra `peers` installs")

from bound import rounding  # noqa: E402
from outside import array, network, randomize, tensor  # noqa: E402
from torch import nn  # noqa: E402

from pyref.methods.noise import generator  # noqa: E402

pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore")]


def model(seed=0):
    module = randomize(nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3)), seed)
    return module, network(module), np.random.default_rng(seed).normal(size=(3, 6))


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("perturb", ["subset", "noise"])
def test_infidelity_is_captums(perturb, scaled):
    """Captum multiplies what it is told was changed with the attribution, so that subsets say 1 where they remove."""
    module, net, x = model()
    gradient = pyref.gradient(net, x, [0, 1, 2]).values
    given = gradient if perturb == "noise" else x * gradient
    m, seen = 6, []

    def noted(x):
        seen.append(x)
        return net(x)

    want_here = pyref.infidelity(noted, x, given, target=[0, 1, 2], perturb=perturb, samples=m, scaled=scaled)
    moved = np.concatenate(seen[1:])
    if perturb == "subset":  # equal copies are evaluated once
        moved = np.concatenate([a[1:] for a in pyref.masked_inputs(pyref.infidelity, x, given, samples=m)])

    def same(inputs):
        change = array(inputs) - moved  # Captum repeats each sample m times in a row
        told = (change != 0).astype(float) if perturb == "subset" else change
        return tensor(told), tensor(moved)

    got = array(
        metrics.infidelity(
            module, same, tensor(x), tensor(given), target=tensor([0, 1, 2]), n_perturb_samples=m, normalize=scaled
        )
    )
    size = np.abs(got).max() + want_here.notes["of R = 0"]["attribution"].max()
    assert (np.abs(want_here["attribution"] - got) <= rounding(2000, size)).all()


def test_max_sensitivity_is_captums():
    module, net, x = model(1)
    from captum.attr import InputXGradient

    m, radius = 5, 0.1

    def same(inputs):
        u = [[2 * generator(0, 2**33, n, k).random(6) - 1 for k in range(m)] for n in range(3)]
        return inputs + radius * tensor(np.reshape(u, (3 * m, 6)))

    explainer = InputXGradient(module).attribute
    options = {"perturb_func": same, "n_perturb_samples": m, "target": tensor([0, 1, 2])}
    got = array(metrics.sensitivity_max(explainer, tensor(x), **options))
    want = pyref.max_sensitivity(net, x, "gradient_times_input", target=[0, 1, 2], samples=m, radius=radius)
    assert (np.abs(want["gradient_times_input"] - got) <= rounding(2000, got.max())).all()
