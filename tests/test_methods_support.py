"""The declared support of methods is what they do; presets hold options that exist."""

import inspect

import numpy as np
import pytest

import pyref

# relprop lists one example of every layer, for its own table; it needs the compiled extension.
support = pytest.importorskip("relprop.support", exc_type=ImportError)


def network_of(name):
    """The layer between its inputs and a dense layer, with inputs ≥ 0."""
    layer, *shapes = support.EXAMPLES[name]
    inputs = {f"x{k}": shape for k, shape in enumerate(shapes)}
    rng = np.random.default_rng(0)
    x = {
        k: np.array([[0, 2, 1]]) if shape is None else 0.5 + rng.uniform(size=(1, *shape))
        for k, shape in inputs.items()
    }
    nodes = [("layer", layer, tuple(inputs))]
    if layer.kind == "batchnorm":  # it counts as merged: into the convolution before it
        nodes = [("before", pyref.Conv(rng.normal(size=(2, 2, 1, 1))), "x0"), ("layer", layer, "before")]
    last = "layer"
    if layer.outputs > 1:
        nodes.append(("join", pyref.Concat(), tuple(("layer", k) for k in range(layer.outputs))))
        last = "join"
    nodes.append(("flat", pyref.Flatten(), last))
    width = pyref.Network(nodes, inputs)(x).shape[1]
    nodes.append(("out", pyref.Dense(rng.normal(size=(width, 2)), rng.normal(size=2)), "flat"))
    return pyref.Network(nodes, inputs), x


def options_of(method, network, x):
    if method in ("pattern_net", "pattern_attribution"):
        return {"patterns": pyref.fit_patterns(network, [x])}
    if method in ("deeplift", "integrated_gradients", "interior_gradients"):
        return {"baseline": 0.5}
    if method.endswith("excitation_backprop"):
        return {"negative": "clip"}  # what a layer puts out may be negative
    if method == "occlusion":
        return {"fill": 0.5}
    return {"at": "x0"} if method == "grad_cam" else {}


@pytest.mark.parametrize("layer", pyref.LAYERS)
def test_declared_support_is_what_happens(layer):
    network, x = network_of(layer)
    image = len(x) == 1 and next(iter(x.values())).ndim == 4
    for name, method in pyref.METHODS.items():
        if name in ("fullgrad", "grad_cam") and not image:
            continue
        declared = pyref.supports(name, pyref.LAYERS[layer])
        try:
            method(network, x, 0, **options_of(name, network, x))
            happened = True
        except ValueError as error:
            happened = str(error)
        if declared is True:
            assert happened is True, f"{name} should go through {layer}: {happened}"
        else:
            assert happened is not True, f"{name} goes through {layer}, declared: {declared}"
            assert "'layer'" in happened or layer in happened, f"{name} does not name the node: {happened}"


def test_every_method_declares_its_support():
    assert list(pyref.SUPPORT) == list(pyref.METHODS)
    with pytest.raises(ValueError, match="did you mean 'saliency'"):
        pyref.supports("salience", pyref.Dense)


@pytest.mark.parametrize(("preset", "method"), [(p, m) for p, methods in pyref.PRESETS.items() for m in methods])
def test_presets_hold_options_that_exist(preset, method):
    options = pyref.preset_options(preset, method)
    assert set(options) <= set(inspect.signature(pyref.METHODS[method]).parameters)
    rng = np.random.default_rng(0)
    layers = [
        ("x0", pyref.Identity()),
        pyref.Conv(rng.normal(size=(2, 1, 2, 2)), rng.normal(size=2)),
        pyref.ReLU(),
        pyref.Flatten(),
        pyref.Dense(rng.normal(size=(18, 2)), rng.normal(size=2)),
    ]
    network, x = pyref.Network.sequential(layers), rng.uniform(size=(2, 1, 4, 4))
    pyref.METHODS[method](network, x, 0, **options_of(method, network, x) | options)


def test_presets_are_found_by_name():
    with pytest.raises(ValueError, match="did you mean 'zennit'"):
        pyref.preset_options("zenit", "lrp")
    with pytest.raises(ValueError, match="preset 'arras' has no 'deeplift'; it has lrp, gradient_times_input"):
        pyref.preset_options("arras", "deeplift")
    mine = pyref.preset_options("ancona", "lrp")
    mine["form"] = "rule"
    assert pyref.PRESETS["ancona"]["lrp"]["form"] == "gradient"
