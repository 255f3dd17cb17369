"""The table of a network: shapes, parameters and operations against counting by hand."""

import numpy as np
import pytest

from pyref import (
    LSTM,
    AvgPool,
    Conv,
    ConvTranspose,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    Network,
    ReLU,
    Split,
    output_shapes,
    summarize,
)


def rows(network):
    return {r.node: (r.shapes, r.parameters, r.flops) for r in summarize(network)}


def test_every_column_is_counted():
    net = Network.sequential(
        [
            ("conv", Conv(np.ones((4, 3, 3, 3)), np.ones(4), padding=1)),
            ("relu", ReLU()),
            ("pool", AvgPool(2)),
            ("up", ConvTranspose(np.ones((4, 2, 2, 2)), stride=2)),
            ("flat", Flatten()),
            ("drop", Dropout()),
            ("out", Dense(np.ones((128, 5)), np.ones(5))),
        ],
        shape=(3, 8, 8),
    )
    assert rows(net) == {
        "conv": (((4, 8, 8),), 4 * 27 + 4, 2 * 27 * 4 * 64),
        "relu": (((4, 8, 8),), 0, 256),
        "pool": (((4, 4, 4),), 0, 4 * 64),
        "up": (((2, 8, 8),), 32, 2 * 32 * 16),
        "flat": (((128,),), 0, 0),
        "drop": (((128,),), 0, 0),
        "out": (((5,),), 645, 2 * 640),
    }


def test_ids_and_recurrent_layers_are_counted():
    rnn = LSTM(np.ones((2, 12)), np.ones((3, 12)), np.ones(12), output="last")
    net = Network.sequential([("words", Embedding(np.ones((7, 2)))), ("rnn", rnn)], shape=(5,))
    assert rows(net) == {"words": (((5, 2),), 14, 0), "rnn": (((3,),), 72, 2 * 5 * 60)}


def test_several_outputs_have_several_shapes_and_shared_arrays_count_once_in_the_total():
    w = np.ones((2, 2))
    net = Network(
        [("s", Split((2, 2)), "x"), ("a", Dense(w), "s"), ("b", Dense(w), ("s", 1)), ("c", Dense(w), "b")],
        {"x": (4,)},
        outputs=["a", "c"],
    )
    assert output_shapes(net)["s", 1] == (2,)
    lines = str(net).splitlines()
    assert lines[0] == "Network 'network', inputs x 4"
    assert lines[1].split() == ["name", "layer", "output", "parameters", "FLOPs", "reads"]
    assert lines[2].split() == ["s", "Split", "2,", "2", "0", "0", "x"]
    assert lines[4].split() == ["b", "Dense", "2", "4", "8", "s:1"]
    assert lines[-1].split() == ["total", "4", "24"]


@pytest.mark.parametrize("shape", [None, (None,)])
def test_what_is_not_declared_is_not_guessed(shape):
    net = Network.sequential([("a", Dense(np.ones((2, 3))))], shape=shape)
    (row,) = summarize(net)
    assert (row.shapes, row.parameters, row.flops) == (None, 6, None)
    assert str(net).splitlines()[-1].split() == ["total", "6", "?"]
