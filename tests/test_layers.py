"""Every layer that shares its tests with others: device arrays, empty batches, samples by themselves."""

from dataclasses import fields, replace

import numpy as np
import pytest
from bound import rounding
from duck import Duck

import pyref
from pyref import ACTIVATIONS

RNG = np.random.default_rng(11)


def r(*shape):
    return RNG.normal(size=shape)


IMAGE, PAIR = [(3, 4, 2, 3)], [(3, 4, 2, 3), (3, 4, 1, 3)]
LAYERS = [
    *((ACTIVATIONS[n](), IMAGE) for n in ACTIVATIONS if n not in ("prelu", "clip")),
    (pyref.GELU("tanh"), IMAGE),
    (pyref.PReLU(r(4)), IMAGE),
    (pyref.Clip(-0.5, 1), IMAGE),
    (pyref.Softmax(), IMAGE),
    (pyref.LogSoftmax(-1), IMAGE),
    (pyref.BatchNorm(r(4), r(4)), IMAGE),
    (pyref.LayerNorm(r(3), r(3)), IMAGE),
    (pyref.GroupNorm(2, r(4), r(4)), IMAGE),
    (pyref.InstanceNorm(r(4), r(4)), IMAGE),
    (pyref.LocalResponseNorm(3), IMAGE),
    (pyref.Add(), PAIR),
    (pyref.Subtract(), PAIR),
    (pyref.Multiply(), PAIR),
    (pyref.Divide(1), PAIR),
    (pyref.Concat(2), PAIR),
    (pyref.Split((1, 3)), IMAGE),
    (pyref.Shift(r(4, 1, 1)), IMAGE),
    (pyref.Shift(0.5), IMAGE),
    (pyref.Scale(r(3)), IMAGE),
    (pyref.Scale(-2), IMAGE),
    (pyref.Mean((2, 3)), IMAGE),
    (pyref.Sum((1,), keepdims=True), IMAGE),
    (pyref.Flatten(), IMAGE),
    (pyref.Reshape((6, 4)), IMAGE),
    (pyref.Transpose((3, 1, 2)), IMAGE),
    (pyref.Pad(((1, 0), (0, 2)), 0.5), IMAGE),
    (pyref.Slice((1, 3), (1, 0), (3, 3), (1, 2)), IMAGE),
    (pyref.Upsample(2), IMAGE),
    (pyref.Upsample(size=(3, 5), mode="bilinear"), IMAGE),
    (pyref.Dropout(), IMAGE),
    (pyref.Aggregate(r(5, 4)), [(3, 4, 2)]),
]
RULES = [
    pyref.Epsilon(0.1),
    pyref.Epsilon(0.1, bias="proportional"),
    pyref.AlphaBeta(2, 1),
    pyref.Gamma(),
    pyref.Flat(),
]


def as_tuple(v):
    return v if isinstance(v, tuple) else (v,)


def answers(layer, x, x0, seed):
    """Everything that the layer says: a flat list of arrays. seed(y) makes the signal that arrives at y."""
    y, y0 = layer.forward(pyref, *x), layer.forward(pyref, *x0)
    S = tuple(map(seed, y)) if isinstance(y, tuple) else seed(y)
    out = [*as_tuple(y), *layer.gradient(pyref, x, y, S), *as_tuple(layer.tangent(pyref, x, y, x0))]
    if layer.kind != "softmax":
        out += layer.multiplier(pyref, x, y, x0, y0, S)
        for rule in RULES:
            account = pyref.Account()
            out += layer.relevance(pyref, x, y, S, rule, account=account)
            out += [v for v in (account.bias, account.stabilizer, account.dropped) if hasattr(v, "shape")]
    if layer.piecewise_linear:
        out += [v for v in layer.ray(pyref, x, y, x0) if hasattr(v, "shape")]
    return out


def on_device(layer):
    """The same layer with its arrays on the stand-in for a device."""
    arrays = {f.name: getattr(layer, f.name) for f in fields(layer)}
    return replace(layer, **{k: Duck(v) for k, v in arrays.items() if isinstance(v, np.ndarray)})


def drawn(shapes, seed=0):
    rng = np.random.default_rng(seed)
    return tuple(rng.normal(size=s) for s in shapes)


@pytest.mark.parametrize(("layer", "shapes"), LAYERS, ids=lambda v: str(v)[:40])
def test_device_arrays_pass_through(layer, shapes):
    x, x0 = drawn(shapes), drawn(shapes, 1)
    host = answers(layer, x, x0, lambda y: y * 2 - 1)
    device = answers(on_device(layer), tuple(map(Duck, x)), tuple(map(Duck, x0)), lambda y: y * 2 - 1)
    assert len(host) == len(device)
    assert all(type(d) is Duck and np.array_equal(h, d._array) for h, d in zip(host, device, strict=True))


@pytest.mark.parametrize(("layer", "shapes"), LAYERS, ids=lambda v: str(v)[:40])
def test_an_empty_batch_stays_empty(layer, shapes):
    x = tuple(v[:0] for v in drawn(shapes))
    full = answers(layer, drawn(shapes), drawn(shapes, 1), lambda y: y)
    empty = answers(layer, x, x, lambda y: y)
    for e in empty:
        assert e.shape[0] == 0
    kept = [f.shape[1:] for f in full]
    assert all(e.shape[1:] in kept for e in empty)


@pytest.mark.parametrize(("layer", "shapes"), LAYERS, ids=lambda v: str(v)[:40])
def test_samples_do_not_meet(layer, shapes):
    """A sample by itself gives what it gives in a batch, up to the order in which sums are taken."""
    x, x0 = drawn(shapes), drawn(shapes, 1)
    whole = answers(layer, x, x0, lambda y: y)
    for n in range(3):
        alone = answers(layer, tuple(v[n : n + 1] for v in x), tuple(v[n : n + 1] for v in x0), lambda y: y)
        for a, w in zip(alone, whole, strict=True):
            finite = np.isfinite(a)
            assert np.array_equal(finite, np.isfinite(w[n : n + 1]))
            gap = np.abs(a[finite] - w[n : n + 1][finite])
            assert np.all(gap <= rounding(64, 1 + np.max(np.abs(w[np.isfinite(w)]), initial=0)))
