"""Rewrites: what the simplest form leaves out, what it says about that, and that outputs stay, with ==."""

import numpy as np
import pytest
from exact import assert_equal, fraction_arrays
from hypothesis import given
from hypothesis import strategies as st

import pyref
from pyref import (
    Add,
    BatchNorm,
    Conv,
    Dense,
    Dropout,
    Flatten,
    Identity,
    LogSoftmax,
    MaxPool,
    Network,
    ReLU,
    Reshape,
    Softmax,
)


def draw(data, *shape):
    return data.draw(fraction_arrays(shape))


def batchnorm(data, c):
    return BatchNorm(draw(data, c), draw(data, c))


def image_network(data, last=()):
    """Batch normalisation after a convolution, before an unpadded one, before a padded one, and where two read it."""
    nodes = [
        ("conv1", Conv(draw(data, 2, 1, 2, 2), draw(data, 2)), "x"),
        ("after", batchnorm(data, 2), "conv1"),
        ("relu", ReLU(), "after"),
        ("before", batchnorm(data, 2), "relu"),
        ("conv2", Conv(draw(data, 2, 2, 1, 1)), "before"),
        ("relu2", ReLU(), "conv2"),
        ("padded", batchnorm(data, 2), "relu2"),
        ("conv3", Conv(draw(data, 2, 2, 2, 2), padding=1), "padded"),
        ("pool", MaxPool(2), "conv3"),
        ("twice", batchnorm(data, 2), "pool"),
        ("same", Identity(), "twice"),
        ("sum", Add(), ("same", "twice")),
        ("flat", Flatten(), "sum"),
        ("drop", Dropout(0.5), "flat"),
        ("out", Dense(draw(data, 8, 2), draw(data, 2)), "drop"),
        *last,
    ]
    return Network(nodes, {"x": (1, 4, 4)})


@given(data=st.data())
def test_outputs_stay_and_every_rewrite_is_listed(data):
    net = image_network(data)
    simple, rewrites = net.canonize()
    x = draw(data, 2, 1, 4, 4)
    assert_equal(simple(x), net(x))
    assert [str(r) for r in rewrites] == [
        "after: batch normalisation merged into 'conv1'",
        "before: batch normalisation merged into 'conv2'",
        "same: identity removed",
        "drop: dropout removed",
    ]
    kept = [n for n in net.nodes if n not in {"after", "before", "same", "drop"}]
    assert list(simple.nodes) == kept
    assert simple.canonize() == (simple, ()), "nothing is left to do"


@given(data=st.data())
@pytest.mark.parametrize("layer", [Softmax(), LogSoftmax()])
def test_a_softmax_at_the_end_gives_way_to_its_logits(layer, data):
    net = image_network(data, [("p", layer, "out")])
    simple, rewrites = net.canonize()
    x = draw(data, 1, 1, 4, 4)
    assert_equal(simple(x), net.up_to("out")(x))
    assert str(rewrites[-1]) == "p: softmax stripped: the output is now 'out', the logits"


@given(data=st.data())
def test_dense_layers_take_a_batchnorm_where_the_shapes_are_declared(data):
    """Of values (n, t, c) a dense layer mixes c, while t is normalised: nothing is merged then."""
    layers = [("dense", Dense(draw(data, 2, 2))), ("norm", batchnorm(data, 2)), ("end", Dense(draw(data, 2, 1)))]
    for shape, merges in (((2,), True), (None, False), ((2, 2), False)):
        net = Network.sequential(layers, shape=shape)
        x = draw(data, 2, *(shape or (2,)))
        simple, rewrites = net.canonize()
        assert_equal(simple(x), net(x))
        assert (len(rewrites) == 1) is merges


def test_an_output_that_is_left_out_says_what_the_output_is_now():
    net = Network.sequential([("dense", Dense(np.eye(2))), ("drop", Dropout())], shape=(2,))
    simple, rewrites = net.canonize()
    assert simple.outputs == (("dense", 0),)
    assert [str(r) for r in rewrites] == ["drop: dropout removed; the output is now 'dense'"]


def test_a_network_of_nothing_but_dropout_stays():
    net = Network.sequential([("drop", Dropout())], shape=(2,))
    assert net.canonize() == (net, ())


@given(data=st.data())
def test_a_value_between_two_dense_layers_may_be_reshaped(data):
    net = Network.sequential(
        [("a", Dense(draw(data, 2, 4))), ("shape", Reshape((2, 2))), ("norm", batchnorm(data, 2)), ("flat", Flatten())],
        shape=(2,),
    )
    x = draw(data, 1, 2)
    assert_equal(pyref.canonize(net)[0](x), net(x))
