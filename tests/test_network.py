"""The graph: order, sharing, several inputs and outputs, and the errors of graphs that make no sense."""

import numpy as np
import pytest
from bound import rounding
from exact import assert_equal, fraction_arrays, fractions
from hypothesis import given
from hypothesis import strategies as st

import pyref
from pyref import Add, Concat, Dense, Network, Node, ReLU, Split


def weights(data, i, o):
    return Dense(data.draw(fraction_arrays((i, o))), data.draw(fraction_arrays((o,))))


@given(data=st.data())
def test_nodes_may_come_in_any_order(data):
    first, last = weights(data, 3, 4), weights(data, 4, 2)
    nodes = [("out", last, "act"), ("act", ReLU(), "hidden"), ("hidden", first, "x")]
    x = data.draw(fraction_arrays((2, 3)))
    want = pyref.dense_forward(np.maximum(pyref.dense_forward(x, first.w, first.b), 0), last.w, last.b)
    assert_equal(Network(nodes, outputs="out")(x), want)
    assert list(Network(nodes, outputs="out").nodes) == ["hidden", "act", "out"]


@given(data=st.data())
def test_a_layer_used_twice_is_two_nodes_and_signals_add(data):
    shared = weights(data, 3, 3)
    net = Network([("a", shared, "x"), ("r", ReLU(), "a"), ("b", shared, "r"), ("sum", Add(), ("b", "x"))])
    x = data.draw(fraction_arrays((1, 3)))
    record = net.forward(x)
    G = net.backward(record, {"sum": x}, lambda node, x, y, G: node.layer.gradient(pyref, x, y, G))
    through = pyref.dense_gradient(record["r"], shared.w, None, x)
    through = np.where(record["a"] > 0, through, 0)
    assert_equal(G["x", 0], x + pyref.dense_gradient(x, shared.w, None, through))


@given(data=st.data())
def test_several_inputs_outputs_and_parts(data):
    net = Network(
        [
            ("joined", Concat(1), ("left", "right")),
            ("parts", Split((1, 3), 1), "joined"),
            ("small", ReLU(), ("parts", 0)),
            ("large", weights(data, 3, 2), ("parts", 1)),
        ],
        inputs={"left": (2,), "right": (2,)},
        outputs=["small", "large"],
    )
    x = {"left": data.draw(fraction_arrays((2, 2))), "right": data.draw(fraction_arrays((2, 2)))}
    small, large = net(x)
    assert_equal(small, np.maximum(x["left"][:, :1], 0))
    assert large.shape == (2, 2)
    a = pyref.lrp(net, x, output="large", target=1, rule=pyref.Epsilon(0))
    assert set(a.values) == {"left", "right"}
    assert (a.delta == 0).all()
    assert (a.values["left"][:, 0] == 0).all(), "the first column does not lead to this output"


@given(data=st.data())
def test_tangent_is_the_adjoint_of_the_backward_walk(data):
    net = Network(
        [
            ("a", weights(data, 3, 4), "x"),
            ("r", ReLU(), "a"),
            ("b", weights(data, 4, 4), "r"),
            ("s", Add(), ("b", "r")),
            ("out", weights(data, 4, 2), "s"),
        ]
    )
    x, dx, G = (data.draw(fraction_arrays(s)) for s in ((2, 3), (2, 3), (2, 2)))
    record = net.forward(x)
    dy = net.tangent(record, {"x": dx})["out", 0]
    Gx = net.backward(record, {"out": G}, lambda node, x, y, G: node.layer.gradient(pyref, x, y, G))["x", 0]
    assert (dy * G).sum() == (dx * Gx).sum()


def test_given_values_replace_nodes():
    eye = Dense(fractions(np.eye(2, dtype=int)))
    net = Network.sequential([("a", eye), ("b", eye)])
    x, other = fractions([[1, 2]]), fractions([[5, 6]])
    record = net.forward(x, given={"a": other})
    assert_equal(record["b"], other)
    assert "x" not in [name for name, _ in record], "what only feeds a given value is not evaluated"


def test_first_affine_means_not_behind_another_weighted_node():
    d = Dense(fractions(np.eye(2, dtype=int)))
    nodes = [
        ("a", d, "x"),
        ("act", ReLU(), "y"),
        ("b", d, "act"),
        ("sum", Add(), ("a", "b")),
        ("c", d, "sum"),
        ("skip", Add(), ("c", "x")),
        ("d", d, "skip"),
    ]
    assert Network(nodes, inputs=["x", "y"]).first_affine() == {"a", "b", "d"}


EYE = Dense(np.eye(2))
GRAPHS = [
    ("cycle", lambda: Network([("a", EYE, "b"), ("b", EYE, "a")]), "the network has a cycle through 'a', 'b'"),
    ("unknown source", lambda: Network([("conv", EYE, "x"), ("b", EYE, "conb")]), "did you mean 'conv'?"),
    ("twice", lambda: Network([("a", EYE, "x"), ("a", EYE, "a")]), "two nodes or inputs called 'a'"),
    (
        "loose end",
        lambda: Network([("a", EYE, "x"), ("b", EYE, "x")], outputs="a"),
        "'b' of the network lead to no output",
    ),
    ("unused input", lambda: Network([("a", EYE, "x")], inputs=["x", "y"]), "'y' of the network lead to no output"),
    ("arity", lambda: Network([("a", EYE, ("x", "x"))]), "node 'a' (Dense) has 2 inputs, expected 1"),
    ("output", lambda: Network([("a", EYE, "x")], outputs=[("a", 1)]), "node 'a' has 1 output, not an output 1"),
    ("no output", lambda: Network([("a", EYE, "x")], outputs="z"), "the network has no node 'z'"),
    ("layer", lambda: Network([("a", np.eye(2), "x")]), "node 'a' has a ndarray for a layer"),
    ("empty", lambda: Network([]), "has no nodes"),
]


@pytest.mark.parametrize(("make", "words"), [g[1:] for g in GRAPHS], ids=[g[0] for g in GRAPHS])
def test_a_graph_that_makes_no_sense_is_refused(make, words):
    with pytest.raises(ValueError) as caught:
        make()
    assert words in str(caught.value)


def test_a_network_is_shown_as_a_table():
    text = repr(Network([Node("a", EYE, ("x",))], {"x": (2,)}, name="tiny"))
    assert "tiny" in text and "Dense" in text and "← x" in text


def test_what_follows_from_the_graph_is_found_once():
    """The part of a network that leads to an output, and the rules of a composite, stay as they are."""
    network = Network([("a", EYE, "x"), ("b", EYE, "a")])
    a = network.up_to("a")
    assert network.up_to("a") is a
    assert list(network.up_to("a", "b").nodes) == ["a", "b"]
    assert list(network.up_to("a").nodes) == ["a"]

    first, again = (pyref.assign_rules("epsilon_plus", network, epsilon=1) for _ in range(2))
    assert first == again and first is not again
    assert first["a"] is again["a"]
    other = pyref.assign_rules("epsilon_plus", network, epsilon=1.0)  # a float, which leaves exact arithmetic
    assert type(other["a"].epsilon) is float
    assert pyref.assign_rules("z_box", network, low=np.zeros(2), high=1)["a"].high == 1


def test_copies_of_a_sample_are_views_that_say_what_each_says():
    rng = np.random.default_rng(0)
    lstm = pyref.LSTM(rng.normal(size=(2, 12)), rng.normal(size=(3, 12)), output="last")
    network = Network.sequential([lstm, Dense(rng.normal(size=(3, 4))), ReLU(), Dense(rng.normal(size=(4, 2)))])
    x, v = rng.normal(size=(3, 5, 2)), rng.normal(size=(6, 2))
    record = network.forward(x)
    copies = record.copies(1, 6)
    assert set(copies) == set(record) and all(copies[ref].strides[0] == 0 for ref in copies)
    together = pyref.lrp(network, copies["x"], record=copies, inject=v, rule=pyref.Epsilon(0.1)).values
    for k in range(6):
        alone = pyref.lrp(network, x[1:2], inject=v[k : k + 1], rule=pyref.Epsilon(0.1)).values
        assert np.abs(together[k] - alone[0]).max() <= rounding(1000, np.abs(alone).max())
