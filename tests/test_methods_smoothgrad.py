"""SmoothGrad: its statistics against their definitions, and noise that belongs to the sample."""

import numpy as np
import pytest
from bound import rounding
from exact import assert_equal, assert_exact

import pyref
from pyref.methods.noise import noisy
from pyref.theorems.draw import SeededDraw
from pyref.theorems.networks import HOMOGENEOUS, mlp


def network_and_input(exact=True):
    draw = SeededDraw(0, "smoothgrad")
    network = mlp(draw, HOMOGENEOUS if exact else (pyref.Tanh(),), exact, depth=2, inputs=3, width=4, outputs=2)
    return network, draw.numbers((4, 3), exact)


@pytest.mark.parametrize("mode", ["mean", "square", "variance"])
@pytest.mark.parametrize("absolute", [None, "before", "after"])
def test_the_statistics_are_their_definitions(mode, absolute):
    network, x = network_and_input()
    m = 5
    run = pyref.start(network, x, 1)
    copies = [noisy(run, k, 0.3, 7, range(4))["x"] for k in range(m)]
    G = [pyref.gradient(network, v, 1).values for v in copies]
    if absolute == "before":
        G = [abs(g) for g in G]
    mean = sum(G) / m
    want = {
        "mean": mean,
        "square": sum(g * g for g in G) / m,
        "variance": sum((g - mean) * (g - mean) for g in G) / m,
    }[mode]
    a = pyref.smoothgrad(network, x, 1, samples=m, level=0.3, seed=7, mode=mode, absolute=absolute)
    assert_equal(a.values, abs(want) if absolute == "after" else want)
    first = next(iter(network.nodes))
    assert_exact(a.at(first))


def test_a_sample_has_its_noise_in_any_batch():
    network, x = network_and_input()
    together = pyref.smoothgrad(network, x, 0, samples=4)
    for n in range(4):
        alone = pyref.smoothgrad(network, x[n : n + 1], 0, samples=4, indices=[n])
        assert_equal(alone.values, together.values[n : n + 1])
    swapped = pyref.smoothgrad(network, x[::-1], 0, samples=4, indices=[3, 2, 1, 0])
    assert_equal(swapped.values, together.values[::-1])
    assert (pyref.smoothgrad(network, x, 0, samples=4, seed=1).values != together.values).any()


def test_the_noise():
    """Independent over k, leaves, samples and seeds; of the size that is asked for, per sample."""
    network = pyref.Network([("sum", pyref.Add(), ("x", "y"))], ["x", "y"])
    values = np.linspace(0, 1, 4000)[None] * np.array([[1.0], [8.0]])
    run = pyref.start(network, {"x": values, "y": values}, target=np.ones_like)
    drawn = {}
    for seed, k in ((0, 0), (0, 1), (1, 0)):
        for leaf, v in noisy(run, k, 0.25, seed, [5, 6]).items():
            for n in (0, 1):
                drawn[seed, k, leaf, n] = (v - values)[n] / (0.25 * 8**n)
    six_sigma = 6 / np.sqrt(4000)  # a mean of 4000 products of variance at most 2
    xi = np.stack(list(drawn.values()))
    assert np.max(np.abs(np.mean(xi, axis=1))) < six_sigma
    assert np.max(np.abs(xi @ xi.T / 4000 - np.eye(len(xi)))) < 2 * six_sigma


def test_no_noise_is_the_gradient():
    network, x = network_and_input(exact=False)
    G = pyref.gradient(network, x, 0).values
    still = pyref.smoothgrad(network, x, 0, level=0, samples=3)
    assert np.max(np.abs(still.values - G)) <= rounding(10, float(np.max(np.abs(G))))
    constant = pyref.smoothgrad(network, 0 * x + 2, 0, samples=3)
    assert np.max(np.abs(constant.values - pyref.gradient(network, 0 * x + 2, 0).values)) <= rounding(
        10, float(np.max(np.abs(constant.values)))
    )


def test_float32_stays():
    w = np.ones((3, 2), dtype=np.float32)
    a = pyref.smoothgrad(pyref.Network.sequential([pyref.Dense(w)]), np.ones((2, 3), dtype=np.float32), 0)
    assert a.values.dtype == np.float32 and (a.values == 1).all()


def test_errors():
    network, x = network_and_input()
    for options, match in (
        ({"samples": 0}, "samples is 0, expected a whole number, at least 1"),
        ({"level": -1}, "level is -1, expected a number >= 0"),
        ({"mode": "median"}, "mode is 'median', expected one of"),
        ({"absolute": True}, "absolute is True, expected one of"),
        ({"indices": [1]}, r"indices is \[1\], expected one number >= 0 for each of 4 samples"),
    ):
        with pytest.raises(ValueError, match=match):
            pyref.smoothgrad(network, x, 0, **options)
