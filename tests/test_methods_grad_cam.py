"""Grad-CAM: the class activation map where that exists, and its definition elsewhere."""

import numpy as np
import pytest
from exact import assert_equal

import pyref
from pyref.theorems.draw import SeededDraw


def network_and_input(head="average"):
    draw = SeededDraw(0, "grad-cam")
    layers = [
        ("conv1", pyref.Conv(draw.fractions((2, 1, 2, 2)), draw.fractions(2) + 1)),
        pyref.ReLU(),
        ("conv2", pyref.Conv(draw.fractions((3, 2, 2, 2)))),
        ("norm", pyref.BatchNorm(draw.fractions(3) + 3, draw.fractions(3))),
        ("maps", pyref.ReLU()),
    ]
    if head == "average":
        layers += [
            pyref.GlobalAvgPool(),
            pyref.Flatten(),
            ("out", pyref.Dense(draw.fractions((3, 2)), draw.fractions(2))),
        ]
    else:
        layers += [pyref.Flatten(), ("out", pyref.Dense(draw.fractions((18, 2)), draw.fractions(2)))]
    return pyref.Network.sequential(layers, shape=(1, 4, 5)), draw.fractions((2, 1, 4, 5))


def test_it_is_the_class_activation_map_under_average_pooling():
    network, x = network_and_input()
    A, w = network.forward(x)["maps"], network.nodes["out"].layer.w
    cam = sum(w[k, 1] * A[:, k : k + 1] for k in range(3))
    a = pyref.grad_cam(network, x, 1, relu=False, upsample=False)
    assert_equal(a.values * 6, cam)
    assert a.settings["at"] == "maps"


def test_definition():
    network, x = network_and_input("flat")
    A = network.forward(x)["maps"]
    G = pyref.gradient(network, x, 0).at("maps")
    alpha = G.sum(axis=(2, 3)) / 6
    L = np.maximum(sum(alpha[:, k, None, None, None] * A[:, k : k + 1] for k in range(3)), 0)
    a = pyref.grad_cam(network, x, 0, upsample=False)
    assert_equal(a.values, L)
    assert_equal(a.settings["alpha"], alpha)
    large = pyref.grad_cam(network, x, 0).values
    assert large.shape == (2, 1, 4, 5)
    assert_equal(large[:, :, ::3, ::4], L[:, :, ::1, ::2])  # corners stay on corners


def test_before_the_activation():
    """What the gradient at the convolution sees: already masked, with the positive part of the maps beside it."""
    network, x = network_and_input("flat")
    z, G = network.forward(x)["norm"], pyref.gradient(network, x, 0).at("norm")
    alpha = G.sum(axis=(2, 3), keepdims=True) / 6
    L = np.maximum((alpha * np.maximum(z, 0)).sum(axis=1, keepdims=True), 0)
    assert_equal(pyref.grad_cam(network, x, 0, at="norm", features="positive", upsample=False).values, L)


def test_errors():
    network, x = network_and_input()
    with pytest.raises(ValueError, match="has no convolution; name the node with at="):
        pyref.grad_cam(pyref.Network.sequential([pyref.Dense(np.ones((2, 1)))]), np.ones((1, 2)))
    with pytest.raises(ValueError, match=r"out has shape \(2, 2\), expected feature maps"):
        pyref.grad_cam(network, x, 0, at="out")
    with pytest.raises(ValueError, match="Grad-CAM reads one node, not conv1, conv2"):
        pyref.grad_cam(network, x, 0, at=["conv1", "conv2"])
    with pytest.raises(ValueError, match="features is 'negative', expected one of"):
        pyref.grad_cam(network, x, 0, features="negative")
