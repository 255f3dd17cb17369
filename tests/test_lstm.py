"""The LSTM: against a network of scalars, exactly; then with sigmoid and tanh, where exactness ends."""

import math
from fractions import Fraction
from types import SimpleNamespace
from unittest.mock import patch

import numpy as np
import pytest
import scalar_graph
from bound import rounding
from duck import Duck
from exact import assert_equal, assert_exact, fractions
from scalar_graph import RULES, Graph, assert_close, seeds_of, stack, values

import pyref
from pyref.layers import lstm

F = Fraction
SEEDS = range(4)
WIDTH = 2


def rational():
    """Piecewise linear gates: then every number is a Fraction."""
    return patch.multiple(lstm, SIGMOID=pyref.HardSigmoid(slope=0.25), TANH=pyref.Clip(-1, 1))


def draw(seed, n=2, t=3, c=2, largest=10, denominator=8, dtype=object):
    """(x, w_x, w_h, b), (h0, c0) and a signal R at h, of numbers ≤ largest / denominator."""
    rng = np.random.default_rng(seed)
    shapes = ((n, t, c), (c, 4 * WIDTH), (WIDTH, 4 * WIDTH), (4 * WIDTH,), (n, WIDTH), (n, WIDTH), (n, t, WIDTH))
    arrays = [rng.integers(-largest, largest + 1, shape) / denominator for shape in shapes]
    x, w_x, w_h, b, h0, c0, R = (fractions(a) if dtype is object else a.astype(dtype) for a in arrays)
    return (x, w_x, w_h, b), (h0, c0), R


def scalars(parameters, state, sample=0, gate=None, squash=None):
    """One sample as a graph of scalars: (graph, x nodes (t, c), h0 and c0 nodes (h,), h nodes (t, h))."""
    x, w_x, w_h, b = parameters
    gate, squash = gate or lstm.SIGMOID, squash or lstm.TANH
    g = Graph()
    xs = [[g.input(v) for v in row] for row in x[sample]]
    h0, c0 = ([g.input(v) for v in array[sample]] for array in state)
    h, c, hs = h0, c0, []
    for row in xs:
        z = [g.affine(row + h, [*w_x[:, k], *w_h[:, k]], b[k]) for k in range(4 * WIDTH)]
        new_h, new_c = [], []
        for j in range(WIDTH):
            i, f, o = (g.activation(gate, z[block * WIDTH + j]) for block in (0, 1, 3))
            candidate = g.activation(squash, z[2 * WIDTH + j])
            new_c.append(g.sum([g.product(f, c[j]), g.product(i, candidate)]))
            new_h.append(g.product(o, g.activation(squash, new_c[j])))
        h, c = new_h, new_c
        hs.append(h)
    return g, xs, h0, c0, hs


def by_scalars(parameters, state, S, local_of):
    """Signals at x, h0 and c0, sample by sample."""
    found = []
    for k in range(S.shape[0]):
        g, xs, h0, c0, hs = scalars(parameters, state, k)
        signal = g.walk(seeds_of(hs, S[k]), local_of(g, k))
        found.append((values(xs, signal), values([h0], signal)[0], values([c0], signal)[0]))
    return tuple(stack(parts) for parts in zip(*found, strict=True))


# ── exact ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("seed", SEEDS)
def test_forward_and_gradient_are_those_of_the_scalars(seed):
    with rational():
        parameters, state, G = draw(seed)
        h, record = pyref.lstm_forward(*parameters, *state)
        assert_equal(h, stack([values(scalars(parameters, state, k)[-1]) for k in range(2)]))
        assert_equal(record.at(1).h, h[:, 1])
        wanted = by_scalars(parameters, state, G, lambda g, k: scalar_graph.gradient)
        for got, want in zip(pyref.lstm_gradient(*parameters, G, *state), wanted, strict=True):
            assert_equal(got, want)


@pytest.mark.parametrize("lengths", [None, (3, 1), (0, 2)])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_gradient_is_the_adjoint_of_the_tangent(seed, reverse, lengths):
    with rational():
        parameters, (h0, c0), G = draw(seed)
        (dx, *_), (dh0, dc0), _ = draw(seed + 100)
        options = {"lengths": lengths and np.array(lengths), "reverse": reverse}
        G_last = G[:, 0] + 1
        dh, dh_last, _ = pyref.lstm_tangent(*parameters, dx, h0, c0, dh0=dh0, dc0=dc0, **options)
        G_x, G_h0, G_c0 = pyref.lstm_gradient(*parameters, G, h0, c0, G_last=G_last, **options)
        left = (G * dh).sum() + (G_last * dh_last).sum()
        assert left == (G_x * dx).sum() + (G_h0 * dh0).sum() + (G_c0 * dc0).sum()
        assert_exact(dh, dh_last, G_x, G_h0, G_c0)


@pytest.mark.parametrize("gate", pyref.GATES)
@pytest.mark.parametrize("epsilon", [0, F(1, 10)])
@pytest.mark.parametrize("seed", SEEDS)
def test_epsilon_relevance_is_that_of_the_scalars(seed, epsilon, gate):
    with rational():
        parameters, state, R = draw(seed)
        got = pyref.lstm_relevance(*parameters, R, pyref.Epsilon(epsilon=epsilon), gate, *state)
        wanted = by_scalars(parameters, state, R, lambda g, k: scalar_graph.relevance(gate, epsilon))
        for r, want in zip(got, wanted, strict=True):
            assert_equal(r, want)


@pytest.mark.parametrize("gate", pyref.GATES)
@pytest.mark.parametrize("seed", SEEDS)
def test_bias_shares_are_per_gate_unit_and_summed_over_time(seed, gate):
    with rational():
        parameters, state, R = draw(seed)
        account = pyref.Account()
        pyref.lstm_relevance(*parameters, R, pyref.Epsilon(epsilon=F(1, 10)), gate, *state, account=account)
        for k in range(2):
            g, *_, hs = scalars(parameters, state, k)
            signal = g.walk(seeds_of(hs, R[k]), scalar_graph.relevance(gate, F(1, 10)))
            shares = np.array(g.kept(signal, "affine", F(1, 10))).reshape(3, 4 * WIDTH).sum(axis=0)
            assert_equal(account.bias[k], shares)


def test_the_split_of_a_product():
    R, p, q = fractions([[1, 1, 1, 1]]), fractions([["1/2", "1/2", "1/4", 0]]), fractions([["3/2", "-1/4", "-1/4", 0]])
    wanted = {
        "all": ([0, 0, 0, 0], [1, 1, 1, 1]),
        "half": (["1/2"] * 4, ["1/2"] * 4),
        "prop": (["1/4", 2, 0, 0], ["3/4", -1, 0, 0]),
        "abs": (["1/4", "2/3", "1/2", 0], ["3/4", "1/3", "1/2", 0]),
        "gradient": ([1, 1, 1, 1], [1, 1, 1, 1]),
    }
    dropped = {"prop": 2, "abs": 1}  # both columns whose denominator is 0, or the last alone
    for gate in pyref.GATES:
        account = pyref.Account()
        for got, want in zip(pyref.product_relevance(R, p, q, gate, account), wanted[gate], strict=True):
            assert_equal(got, fractions([want]))
        assert account.dropped == dropped.get(gate, 0) and account.stabilizer == 0


@pytest.mark.parametrize("gate", ["all", "half", "prop", "abs"])
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.name} {getattr(rule, 'bias', '')}")
def test_what_leaves_and_what_stays_is_what_arrived(rule, gate):
    """By the account's own formulas, bias, stabiliser, dropped and initial state, with padding."""
    with rational():
        for seed in range(3):
            parameters, state, R = draw(seed)
            account = pyref.Account()
            options = {"lengths": np.array([3, 2]), "reverse": seed == 1, "account": account}
            r, r_h0, r_c0 = pyref.lstm_relevance(*parameters, R, rule, gate, *state, R_last=R[:, 1], **options)
            assert account.bias.shape == (2, 4 * WIDTH)
            assert_exact(r, account.bias)
            kept = account.bias.sum(axis=1) + account.stabilizer + account.dropped + account.state
            R[1, 2] = 0 * R[1, 2]  # an output that is padding
            arrived = R.sum(axis=(1, 2)) + np.array([R[0, 1].sum(), R[1, 1].sum()])
            assert_equal(r.sum(axis=(1, 2)) + kept, arrived)
            assert_equal(account.state, r_h0.sum(axis=1) + r_c0.sum(axis=1))


@pytest.mark.parametrize("seed", SEEDS)
def test_deeplift_is_that_of_the_scalars_and_complete_under_symmetric_products(seed):
    with rational():
        (x, *weights), state, M = draw(seed)
        x0 = draw(seed + 100)[0][0]
        graphs0 = [scalars((x0, *weights), state, k)[0] for k in range(2)]
        for product in pyref.PRODUCTS:
            got = pyref.lstm_multiplier(x, *weights, x0, M, product, *state)
            wanted = by_scalars(
                (x, *weights), state, M, lambda g, k, p=product: scalar_graph.multiplier(g, graphs0[k], p)
            )
            for m, want in zip(got, wanted, strict=True):
                assert_equal(m, want)
        dh = pyref.lstm_forward(x, *weights, *state)[0] - pyref.lstm_forward(x0, *weights, *state)[0]
        M_x = pyref.lstm_multiplier(x, *weights, x0, M, "symmetric", *state)[0]
        assert (M_x * (x - x0)).sum() == (M * dh).sum()
        through = pyref.lstm_multiplier(x, *weights, x0, M, "gradient", *state)[0]
        assert (through * (x - x0)).sum() != (M * dh).sum()


def test_without_difference_the_multiplier_is_the_gradient():
    with rational():
        (x, *weights), state, M = draw(0)
        for product in pyref.PRODUCTS:
            multipliers = pyref.lstm_multiplier(x, *weights, x, M, product, *state)
            for m, g in zip(multipliers, pyref.lstm_gradient(x, *weights, M, *state), strict=True):
                assert_equal(m, g)


@pytest.mark.parametrize("gate, share", [("all", 0), ("half", F(1, 2))])
@pytest.mark.parametrize("seed", SEEDS)
def test_relevance_is_input_times_the_modified_chain_rule(seed, gate, share):
    """LRP-all: gates as constants, f(z)/z for f′. LRP-half: product multipliers halved. Contrary to the remark
    of [ancona2017] that LSTMs resist that form."""
    with rational():
        parameters, state, R = draw(seed, largest=500, denominator=1024)  # no z is 0
        h = pyref.lstm_forward(*parameters, *state)[0]
        chain = by_scalars(parameters, state, R, lambda g, k: scalar_graph.modified_chain(share))
        got = pyref.lstm_relevance(*parameters, h * R, pyref.Epsilon(epsilon=0), gate, *state)
        for r, value, G in zip(got, (parameters[0], *state), chain, strict=True):
            assert_equal(r, value * G)


# ── time ───────────────────────────────────────────────────────────────────────────────────────────────


def test_reverse_is_the_reversed_sequence():
    with rational():
        (x, *weights), state, R = draw(3)
        flipped = (np.flip(x, axis=1), *weights)
        forward = pyref.lstm_forward(x, *weights, *state, reverse=True)[0]
        assert_equal(forward, np.flip(pyref.lstm_forward(*flipped, *state)[0], axis=1))
        rule = pyref.Epsilon(epsilon=0)
        r = pyref.lstm_relevance(x, *weights, R, rule, "half", *state, reverse=True)[0]
        assert_equal(r, np.flip(pyref.lstm_relevance(*flipped, np.flip(R, axis=1), rule, "half", *state)[0], axis=1))


@pytest.mark.parametrize("reverse", [False, True])
def test_a_padded_batch_is_each_sequence_alone(reverse):
    (x, *weights), (h0, c0), R = draw(4, n=3, t=4, dtype=float)
    lengths = np.array([4, 2, 0])
    padded = x.copy()
    padded[1, 2:] = np.nan  # what lies in the padding is never read
    options = {"lengths": lengths, "reverse": reverse}
    h, record = pyref.lstm_forward(padded, *weights, h0, c0, **options)
    rule, R_last = pyref.Epsilon(), R[:, 0]
    signals = (
        pyref.lstm_gradient(padded, *weights, R, h0, c0, G_last=R_last, **options),
        pyref.lstm_relevance(padded, *weights, R, rule, "half", h0, c0, R_last=R_last, **options),
        pyref.lstm_multiplier(padded, *weights, -x, R, "symmetric", h0, c0, M_last=R_last, **options),
    )
    for k, length in enumerate(lengths):
        assert not h[k, length:].any() and not any(s[0][k, length:].any() for s in signals)
        if length == 0:
            assert (record.h_last[k] == h0[k]).all() and (record.c_last[k] == c0[k]).all()
            assert all((s[1][k] == R_last[k]).all() and not s[2][k].any() for s in signals)
            continue
        one, only = slice(k, k + 1), slice(0, length)
        alone = (x[one, only], *weights)
        h_one, record_one = pyref.lstm_forward(*alone, h0[one], c0[one], reverse=reverse)
        last = {"reverse": reverse}
        signals_one = (
            pyref.lstm_gradient(*alone, R[one, only], h0[one], c0[one], G_last=R_last[one], **last),
            pyref.lstm_relevance(*alone, R[one, only], rule, "half", h0[one], c0[one], R_last=R_last[one], **last),
            pyref.lstm_multiplier(
                *alone, -x[one, only], R[one, only], "symmetric", h0[one], c0[one], M_last=R_last[one], **last
            ),
        )
        assert_close(h[k, :length], h_one[0])
        assert_close(record.c_last[k], record_one.c_last[0])
        for s, s_one in zip(signals, signals_one, strict=True):
            assert_close(s[0][k, :length], s_one[0][0])
            assert_close(s[2][k], s_one[2][0])


# ── sigmoid and tanh ───────────────────────────────────────────────────────────────────────────────────


def test_worked_by_hand():
    """One unit, two steps. Gates are all σ(0) = 1/2; g = tanh(x) = (1/2, 1/4).

    c = (1/4, 1/8 + 1/8), h_2 = tanh(1/4) / 2. LRP-all of R = 1 at h_2: c_2 shares it evenly between g_2 and c_1.
    Gradient: with k = (1 - tanh²(1/4)) / 2, k · 1/2 · 1/2 · 3/4 at x_1 and k · 1/2 · 15/16 at x_2.
    """
    x = np.array([[[math.atanh(0.5)], [math.atanh(0.25)]]])
    w_x, w_h, b = np.array([[0.0, 0, 1, 0]]), np.zeros((1, 4)), np.zeros(4)
    h, record = pyref.lstm_forward(x, w_x, w_h, b)
    R = np.array([[[0.0], [1.0]]])
    r, *_ = pyref.lstm_relevance(x, w_x, w_h, b, R, pyref.Epsilon(epsilon=0))
    G, *_ = pyref.lstm_gradient(x, w_x, w_h, b, R)
    k = (1 - math.tanh(0.25) ** 2) / 2
    for got, want in (
        (record.c, (1 / 4, 1 / 4)),
        (h, (math.tanh(0.25) / 2, math.tanh(0.25) / 2)),
        (r, (1 / 2, 1 / 2)),
        (G, (k * 3 / 16, k * 15 / 32)),
    ):
        assert np.abs(got[0, :, 0] - np.array(want)).max() <= rounding(16, 1)


def functional(parameters, state, R, **options):
    return (R * pyref.lstm_forward(*parameters, *state, **options)[0]).sum(axis=(1, 2))


@pytest.mark.parametrize("seed", SEEDS)
def test_forward_agrees_with_scalar_loops(seed):
    parameters, state, _ = draw(seed, dtype=float)
    gate = SimpleNamespace(value=lambda z: 1 / (1 + np.exp(-z)), derivative=pyref.Sigmoid().derivative)
    squash = SimpleNamespace(value=np.tanh, derivative=pyref.Tanh().derivative)
    h = pyref.lstm_forward(*parameters, *state)[0]
    for k in range(2):
        g, *_, hs = scalars(parameters, state, k, gate, squash)
        for t, row in enumerate(hs):
            for j, node in enumerate(row):
                assert abs(h[k, t, j] - node.value) <= g.rounding({node: 1.0}, scalar_graph.gradient)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("lengths", [None, (3, 2)])
@pytest.mark.parametrize("seed", SEEDS)
def test_gradient_by_differences(seed, lengths, reverse):
    """Along random directions. The error of a central difference with step s/2 is at most its distance from
    the one with step s, plus what rounding does to each."""
    (x, *weights), (h0, c0), R = draw(seed, dtype=float)
    (dx, *_), (dh0, dc0), _ = draw(seed + 100, dtype=float)
    options = {"lengths": lengths and np.array(lengths), "reverse": reverse}

    def difference(s):
        def at(sign):
            moved = (h0 + sign * s * dh0, c0 + sign * s * dc0)
            return functional((x + sign * s * dx, *weights), moved, R, **options)

        return (at(1) - at(-1)) / (2 * s)

    step = 2.0**-12
    G_x, G_h0, G_c0 = pyref.lstm_gradient(x, *weights, R, h0, c0, **options)
    slope = (G_x * dx).sum(axis=(1, 2)) + (G_h0 * dh0).sum(axis=1) + (G_c0 * dc0).sum(axis=1)
    coarse, fine = difference(step), difference(step / 2)
    for k in range(2):
        read = slice(0, lengths and lengths[k])
        order = slice(None, None, -1 if reverse else 1)
        g, *_, hs = scalars((x[:, read][:, order], *weights), (h0, c0), k)
        noise = g.rounding(seeds_of(hs, R[k, read][order]), scalar_graph.gradient)
        assert abs(slope[k] - fine[k]) <= abs(coarse[k] - fine[k]) + 3 * noise / (step / 2)


@pytest.mark.parametrize("seed", SEEDS)
def test_deeplift_is_complete_and_gradient_through_products_is_not(seed):
    (x, *weights), state, R = draw(seed, t=6, dtype=float)
    x0 = np.zeros_like(x)
    dS = functional((x, *weights), state, R) - functional((x0, *weights), state, R)
    total = {
        p: (pyref.lstm_multiplier(x, *weights, x0, R, p, *state)[0] * (x - x0)).sum(axis=(1, 2)) for p in pyref.PRODUCTS
    }
    for k in range(2):
        (g, *_, hs), (g0, *_, hs0) = scalars((x, *weights), state, k), scalars((x0, *weights), state, k)
        noise = g.rounding(seeds_of(hs, R[k]), scalar_graph.multiplier(g, g0))
        noise = noise + g0.rounding(seeds_of(hs0, R[k]), scalar_graph.multiplier(g0, g))
        assert abs(total["symmetric"][k] - dS[k]) <= noise
        assert abs(total["gradient"][k] - dS[k]) > 1000 * noise


def test_gradient_through_products_multiplies_relevance_and_prop_has_poles():
    """Random LSTMs of nine steps, without biases, R = h: what LRP-all, -half and -abs conserve, gradient-through
    multiplies; LRP-prop conserves too, but through poles that let relevance of both signs grow."""
    off, size = {}, {}
    for gate in pyref.GATES:
        for seed in range(40):
            rng = np.random.default_rng(seed)
            x, w_x, w_h = rng.normal(size=(1, 9, 3)), rng.normal(size=(3, 8)), rng.normal(size=(2, 8))
            h = pyref.lstm_forward(x, w_x, w_h, None)[0]
            R = np.zeros_like(h)
            R[:, -1] = h[:, -1]
            r = pyref.lstm_relevance(x, w_x, w_h, None, R, pyref.Epsilon(epsilon=0), gate)[0]
            off.setdefault(gate, []).append(abs(r.sum() - R.sum()) / np.abs(r).sum())
            size.setdefault(gate, []).append(np.abs(r).sum() / np.abs(R).sum())
    for gate in ("all", "half", "prop", "abs"):
        assert max(off[gate]) <= rounding(10000, 1)
    assert np.median(off["gradient"]) > 1 / 10
    assert max(size["prop"]) > 100 * max(size["all"])


def test_float32_stays_float32_and_device_arrays_are_welcome():
    (x, w_x, w_h, b), (h0, c0), R = draw(0, dtype=np.float32)
    lengths = np.array([3, 2])
    for wrap in (lambda v: v, Duck):
        parameters, states, signal = [wrap(v) for v in (x, w_x, w_h, b)], [wrap(h0), wrap(c0)], wrap(R)
        options = {"lengths": wrap(lengths), "reverse": True}
        account = pyref.Account()
        results = [
            pyref.lstm_forward(*parameters, *states, **options)[0],
            *pyref.lstm_gradient(*parameters, signal, *states, **options),
            *pyref.lstm_tangent(*parameters, parameters[0], *states, **options),
            *pyref.lstm_multiplier(*parameters, -parameters[0], signal, "symmetric", *states, **options),
            *(
                part
                for gate in pyref.GATES
                for part in pyref.lstm_relevance(
                    *parameters, signal, pyref.Gamma(), gate, *states, account=account, **options
                )
            ),
            account.bias,
            account.stabilizer,
            account.state,
        ]
        assert {r.dtype for r in results} == {np.dtype(np.float32)}
        assert {type(r) for r in results} == {type(signal)}


# ── the layer ──────────────────────────────────────────────────────────────────────────────────────────


def layer_parts(output="sequence", masked=False):
    """A stack of two bidirectional layers with initial states, and its four directions alone."""
    weights = [draw(seed, c=2 if seed < 2 else 2 * WIDTH)[0][1:] for seed in range(4)]
    state = [[v[0] for v in draw(seed)[1]] for seed in range(4)]
    w_x, w_h, b = (tuple(parts) for parts in zip(*weights, strict=True))
    h0, c0 = (tuple(parts) for parts in zip(*state, strict=True))
    return pyref.LSTM(w_x, w_h, b, h0, c0, bidirectional=True, output=output, masked=masked), weights, state


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("output", ["sequence", "last"])
def test_a_stack_of_two_directions_is_its_parts(output, masked):
    with rational():
        layer, weights, state = layer_parts(output, masked)
        x = draw(7)[0][0]
        lengths = np.array([2, 3]) if masked else None
        inputs = (x, lengths) if masked else (x,)

        def run(k, sequence):
            h0, c0 = (np.stack([v, v]) for v in state[k])
            return pyref.lstm_forward(sequence, *weights[k], h0, c0, lengths, reverse=k % 2 == 1)

        below = np.concatenate([run(k, x)[0] for k in (0, 1)], axis=-1)
        tops = [run(k, below) for k in (2, 3)]
        want = np.concatenate([h if output == "sequence" else r.h_last for h, r in tops], axis=-1)
        y = layer.forward(pyref, *inputs)
        assert_equal(y, want)

        dx, G = draw(8)[0][0], y * y + 1
        dy = layer.tangent(pyref, inputs, y, (dx, None))
        G_x = layer.gradient(pyref, inputs, y, G)
        assert len(G_x) == layer.arity and all(v is None for v in G_x[1:])
        assert (G * dy).sum() == (G_x[0] * dx).sum()

        x0 = draw(9)[0][0]
        inputs0 = (x0, *inputs[1:])
        y0 = layer.forward(pyref, *inputs0)
        M = layer.multiplier(pyref, inputs, y, inputs0, y0, G)[0]
        assert (M * (x - x0)).sum() == (G * (y - y0)).sum()


@pytest.mark.parametrize("gate", ["all", "abs"])
@pytest.mark.parametrize("output", ["sequence", "last"])
def test_a_network_accounts_for_all_relevance(output, gate):
    with rational():
        layer, *_ = layer_parts(output, masked=True)
        network = pyref.Network([("lstm", layer, ("x", "lengths"))], inputs=("x", "lengths"))
        x, lengths = draw(7, t=2)[0][0], np.array([1, 2])
        y = network.forward({"x": x, "lengths": lengths})["lstm"]
        account = pyref.Account()
        r, none = layer.relevance(pyref, (x, lengths), y, y, pyref.Epsilon(epsilon=F(1, 10)), gate, account)
        assert none is None and account.bias.shape == (2, 4 * 4 * WIDTH)
        kept = account.bias.sum(axis=1) + account.stabilizer + account.dropped + account.state
        arrived = y.reshape(2, -1).sum(axis=1)
        if output == "sequence":
            assert not y[0, 1].any()
        assert_equal(r.sum(axis=(1, 2)) + kept, arrived)


def test_one_array_is_a_stack_of_one_and_lists_are_tuples():
    (x, *weights), _, _ = draw(1, dtype=float)
    single, listed = pyref.LSTM(*weights, reverse=True), pyref.LSTM(*([w] for w in weights), reverse=True)
    assert single.arity == 1 and isinstance(single.w_x, tuple) and isinstance(listed.w_x, tuple)
    h = pyref.lstm_forward(x, *weights, reverse=True)[0]
    assert (single.forward(pyref, x) == h).all() and (listed.forward(pyref, x) == h).all()


X, W_X, W_H, B = np.zeros((2, 3, 5)), np.zeros((5, 8)), np.zeros((2, 8)), np.zeros(8)
ERRORS = [
    (lambda: pyref.lstm_forward(X, W_X, np.zeros((2, 7)), B), "w_h has shape (2, 7), expected (any, 8)"),
    (lambda: pyref.lstm_forward(X, np.zeros((4, 8)), W_H, B), "w_x has shape (4, 8), expected (5, 8)"),
    (lambda: pyref.lstm_forward(X, W_X, W_H, np.zeros(7)), "b has shape (7,), expected (8,)"),
    (lambda: pyref.lstm_forward(X[0], W_X, W_H, B), "x has shape (3, 5), expected (any, any, 5)"),
    (lambda: pyref.lstm_forward(X[:, :0], W_X, W_H, B), "x has shape (2, 0, 5), expected at least one step"),
    (lambda: pyref.lstm_forward(X, W_X, W_H, B, np.zeros((1, 2))), "h0 has shape (1, 2), expected (2, 2)"),
    (
        lambda: pyref.lstm_forward(X, W_X, W_H, B, lengths=np.array([1, 4])),
        "lengths holds 4 at index 1, expected 0 to 3",
    ),
    (lambda: pyref.lstm_forward(X, W_X, W_H, B, lengths=np.array([1])), "lengths has shape (1,), expected (2,)"),
    (lambda: pyref.lstm_gradient(X, W_X, W_H, B, X), "G has shape (2, 3, 5), expected (2, 3, 2)"),
    (lambda: pyref.lstm_tangent(X, W_X, W_H, B, X[:1]), "dx has shape (1, 3, 5), expected (2, 3, 5)"),
    (lambda: pyref.lstm_relevance(X, W_X, W_H, B, X, pyref.Epsilon()), "R has shape (2, 3, 5), expected (2, 3, 2)"),
    (lambda: pyref.lstm_multiplier(X, W_X, W_H, B, X[:, :1], X), "x0 has shape (2, 1, 5), expected (2, 3, 5)"),
    (
        lambda: pyref.lstm_relevance(X, W_X, W_H, B, X[..., :2], pyref.Epsilon(), "none"),
        "gate is 'none', expected one of 'all', 'half', 'prop', 'abs', 'gradient'",
    ),
    (
        lambda: pyref.lstm_multiplier(X, W_X, W_H, B, X, X[..., :2], "half"),
        "product is 'half', expected one of 'symmetric', 'gradient'",
    ),
    (
        lambda: pyref.lstm_relevance(X, W_X, W_H, B, X[..., :2], pyref.Pass()),
        "rule Pass needs one input of the output's shape; give this node another rule",
    ),
    (lambda: pyref.LSTM(W_X, W_H, output="all"), "output is 'all', expected one of 'sequence', 'last'"),
    (lambda: pyref.LSTM(W_X, W_H, bidirectional=True), "w_x has 1 arrays, expected 2 per layer"),
    (lambda: pyref.LSTM((W_X,), (W_H, W_H)), "w_h has 2 arrays, expected 1, as many as w_x"),
    (lambda: pyref.LSTM((W_X, W_X), (W_H, W_H)), "w_x[1] has shape (5, 8), expected (2, 8)"),
    (lambda: pyref.LSTM(W_X, W_H, h0=np.zeros(3)), "h0[0] has shape (3,), expected (2,)"),
    (
        lambda: pyref.LSTM((W_X,) * 2, (W_H,) * 2, bidirectional=True, reverse=True),
        "reverse=True has no meaning where bidirectional=True",
    ),
]


@pytest.mark.parametrize("call, words", ERRORS, ids=[words for _, words in ERRORS])
def test_errors(call, words):
    with pytest.raises(ValueError) as caught:
        call()
    assert str(caught.value) == words


def test_lengths_must_be_integers_and_those_of_the_baseline():
    with pytest.raises(TypeError, match="lengths has dtype float64, expected integers"):
        pyref.lstm_forward(X, W_X, W_H, B, lengths=np.array([1.0, 2.0]))
    layer, a, b = pyref.LSTM(W_X, W_H, masked=True), (X, np.array([1, 2])), (X, np.array([2, 2]))
    with pytest.raises(ValueError, match="the baseline has other lengths than x"):
        layer.multiplier(pyref, a, None, b, None, X[..., :2])


def test_a_network_runs_its_lstm_once():
    """What the way back needs of the forward pass is kept by the network's record, one for each backend."""
    (x, w_x, w_h, b), _, _ = draw(0, dtype=float)
    network = pyref.Network.sequential([pyref.LSTM(w_x, w_h, b, output="last")], shape=x.shape[1:])
    calls = []
    backend = SimpleNamespace(**{name: getattr(pyref, name) for name in pyref.__all__})
    backend.lstm_forward = lambda *args, **options: calls.append(1) or pyref.lstm_forward(*args, **options)
    record = network.forward(x, backend)
    node = network.nodes["lstm1"]
    for _ in range(2):
        got = node.layer.gradient(backend, record.inputs(node), record.output(node), record["lstm1"])
    assert len(calls) == 1
    again = node.layer.gradient(pyref, (x,), record.output(node), record["lstm1"])
    np.testing.assert_array_equal(got[0], again[0])
