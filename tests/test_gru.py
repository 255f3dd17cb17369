"""The GRU in both forms: against a network of scalars, exactly; then with sigmoid and tanh."""

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
from pyref.layers import gru

F = Fraction
SEEDS = range(4)
WIDTH = 2
BOTH_FORMS = pytest.mark.parametrize("before", [True, False], ids=["linear before reset", "reset before linear"])


def rational():
    """Piecewise linear gates: then every number is a Fraction."""
    return patch.multiple(gru, SIGMOID=pyref.HardSigmoid(slope=0.25), TANH=pyref.Clip(-1, 1))


def draw(seed, before, n=2, t=3, c=2, largest=10, denominator=8, dtype=object):
    """(x, w_x, w_h, b, b_n), h0 and a signal R at h, of numbers ≤ largest / denominator."""
    rng = np.random.default_rng(seed)
    shapes = ((n, t, c), (c, 3 * WIDTH), (WIDTH, 3 * WIDTH), (3 * WIDTH,), (WIDTH,), (n, WIDTH), (n, t, WIDTH))
    arrays = [rng.integers(-largest, largest + 1, shape) / denominator for shape in shapes]
    x, w_x, w_h, b, b_n, h0, R = (fractions(a) if dtype is object else a.astype(dtype) for a in arrays)
    return (x, w_x, w_h, b, b_n if before else None), h0, R


def scalars(parameters, h0, before, sample=0, gate=None, squash=None):
    """One sample as a graph of scalars: (graph, x nodes (t, c), h0 nodes (h,), h nodes (t, h))."""
    x, w_x, w_h, b, b_n = parameters
    gate, squash = gate or gru.SIGMOID, squash or gru.TANH
    g = Graph()
    xs = [[g.input(v) for v in row] for row in x[sample]]
    h0 = h = [g.input(v) for v in h0[sample]]
    hs = []
    for row in xs:
        r, u = [], []
        for k in range(2 * WIDTH):
            z = g.affine(row + h, [*w_x[:, k], *w_h[:, k]], b[k])
            (r, u)[k // WIDTH].append(g.activation(gate, z))
        if before:
            q = [g.affine(h, w_h[:, 2 * WIDTH + j], b_n[j]) for j in range(WIDTH)]
        else:
            q = h
        s = [g.product(r[j], q[j]) for j in range(WIDTH)]
        new = []
        for j in range(WIDTH):
            k = 2 * WIDTH + j
            own = ([s[j]], [1]) if before else (s, [*w_h[:, k]])
            n = g.activation(squash, g.affine(row + own[0], [*w_x[:, k], *own[1]], b[k]))
            rest = g.sum([u[j]], [-1], constant=1)
            new.append(g.sum([g.product(rest, n), g.product(u[j], h[j])]))
        h = new
        hs.append(h)
    return g, xs, h0, hs


def by_scalars(parameters, h0, before, S, local_of):
    """Signals at x and h0, sample by sample."""
    found = []
    for k in range(S.shape[0]):
        g, xs, start, hs = scalars(parameters, h0, before, k)
        signal = g.walk(seeds_of(hs, S[k]), local_of(g, k))
        found.append((values(xs, signal), values([start], signal)[0]))
    return tuple(stack(parts) for parts in zip(*found, strict=True))


# ── exact ──────────────────────────────────────────────────────────────────────────────────────────────


@BOTH_FORMS
@pytest.mark.parametrize("seed", SEEDS)
def test_forward_and_gradient_are_those_of_the_scalars(seed, before):
    with rational():
        parameters, h0, G = draw(seed, before)
        h, record = pyref.gru_forward(*parameters, h0, linear_before_reset=before)
        assert_equal(h, stack([values(scalars(parameters, h0, before, k)[-1]) for k in range(2)]))
        assert_equal(record.at(1).h, h[:, 1])
        wanted = by_scalars(parameters, h0, before, G, lambda g, k: scalar_graph.gradient)
        found = pyref.gru_gradient(*parameters, G, h0, linear_before_reset=before)
        for got, want in zip(found, wanted, strict=True):
            assert_equal(got, want)


@BOTH_FORMS
@pytest.mark.parametrize("lengths", [None, (3, 1), (0, 2)])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_gradient_is_the_adjoint_of_the_tangent(seed, reverse, lengths, before):
    with rational():
        parameters, h0, G = draw(seed, before)
        (dx, *_), dh0, _ = draw(seed + 100, before)
        options = {"lengths": lengths and np.array(lengths), "reverse": reverse, "linear_before_reset": before}
        G_last = G[:, 0] + 1
        dh, dh_last = pyref.gru_tangent(*parameters, dx, h0, dh0=dh0, **options)
        G_x, G_h0 = pyref.gru_gradient(*parameters, G, h0, G_last=G_last, **options)
        assert (G * dh).sum() + (G_last * dh_last).sum() == (G_x * dx).sum() + (G_h0 * dh0).sum()
        assert_exact(dh, dh_last, G_x, G_h0)


@BOTH_FORMS
@pytest.mark.parametrize("gate", pyref.GATES)
@pytest.mark.parametrize("epsilon", [0, F(1, 10)])
@pytest.mark.parametrize("seed", SEEDS)
def test_epsilon_relevance_is_that_of_the_scalars(seed, epsilon, gate, before):
    with rational():
        parameters, h0, R = draw(seed, before)
        rule = pyref.Epsilon(epsilon=epsilon)
        got = pyref.gru_relevance(*parameters, R, rule, gate, h0, linear_before_reset=before)
        wanted = by_scalars(parameters, h0, before, R, lambda g, k: scalar_graph.relevance(gate, epsilon))
        for r, want in zip(got, wanted, strict=True):
            assert_equal(r, want)


@BOTH_FORMS
@pytest.mark.parametrize("gate", pyref.GATES)
@pytest.mark.parametrize("seed", SEEDS)
def test_bias_shares_are_per_gate_unit_and_summed_over_time(seed, gate, before):
    """Blocks r u n of b, then b_n, then the constant 1 of 1 - u."""
    with rational():
        parameters, h0, R = draw(seed, before)
        account, rule = pyref.Account(), pyref.Epsilon(epsilon=F(1, 10))
        pyref.gru_relevance(*parameters, R, rule, gate, h0, linear_before_reset=before, account=account)
        for k in range(2):
            g, *_, hs = scalars(parameters, h0, before, k)
            signal = g.walk(seeds_of(hs, R[k]), scalar_graph.relevance(gate, F(1, 10)))
            affine = np.array(g.kept(signal, "affine", F(1, 10))).reshape(3, -1).sum(axis=0)
            sums = np.array(g.kept(signal, "sum", F(1, 10))).reshape(3, WIDTH, 2).sum(axis=0)
            r_u, q, n = affine[: 2 * WIDTH], affine[2 * WIDTH : -WIDTH], affine[-WIDTH:]
            none = fractions([] if before else [0] * WIDTH)
            assert_equal(account.bias[k], np.concatenate((r_u, n, q, none, sums[:, 0])))


@BOTH_FORMS
@pytest.mark.parametrize("gate", ["all", "half", "prop", "abs"])
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.name} {getattr(rule, 'bias', '')}")
def test_what_leaves_and_what_stays_is_what_arrived(rule, gate, before):
    """By the account's own formulas, bias, stabiliser, dropped and initial state, with padding."""
    with rational():
        for seed in range(2):
            parameters, h0, R = draw(seed, before)
            account = pyref.Account()
            options = {"lengths": np.array([3, 2]), "reverse": seed == 1, "linear_before_reset": before}
            last = {"R_last": R[:, 1], "account": account}
            r, r_h0 = pyref.gru_relevance(*parameters, R, rule, gate, h0, **last, **options)
            assert account.bias.shape == (2, 5 * WIDTH)
            assert_exact(r, account.bias)
            kept = account.bias.sum(axis=1) + account.stabilizer + account.dropped + account.state
            R[1, 2] = 0 * R[1, 2]  # an output that is padding
            arrived = R.sum(axis=(1, 2)) + np.array([R[0, 1].sum(), R[1, 1].sum()])
            assert_equal(r.sum(axis=(1, 2)) + kept, arrived)
            assert_equal(account.state, r_h0.sum(axis=1))


@BOTH_FORMS
@pytest.mark.parametrize("seed", SEEDS)
def test_deeplift_is_that_of_the_scalars_and_complete_under_symmetric_products(seed, before):
    with rational():
        (x, *weights), h0, M = draw(seed, before)
        x0 = draw(seed + 100, before)[0][0]
        graphs0 = [scalars((x0, *weights), h0, before, k)[0] for k in range(2)]
        form = {"linear_before_reset": before}
        for product in pyref.PRODUCTS:
            got = pyref.gru_multiplier(x, *weights, x0, M, product, h0, **form)
            wanted = by_scalars(
                (x, *weights), h0, before, M, lambda g, k, p=product: scalar_graph.multiplier(g, graphs0[k], p)
            )
            for m, want in zip(got, wanted, strict=True):
                assert_equal(m, want)
        dh = pyref.gru_forward(x, *weights, h0, **form)[0] - pyref.gru_forward(x0, *weights, h0, **form)[0]
        M_x = pyref.gru_multiplier(x, *weights, x0, M, "symmetric", h0, **form)[0]
        assert (M_x * (x - x0)).sum() == (M * dh).sum()
        through = pyref.gru_multiplier(x, *weights, x0, M, "gradient", h0, **form)[0]
        assert (through * (x - x0)).sum() != (M * dh).sum()


@BOTH_FORMS
@pytest.mark.parametrize("gate, share", [("all", 0), ("half", F(1, 2))])
@pytest.mark.parametrize("seed", SEEDS)
def test_relevance_is_input_times_the_modified_chain_rule(seed, gate, share, before):
    """LRP-all: gates as constants, f(z)/z for f′. LRP-half: product multipliers halved."""
    with rational():
        parameters, h0, R = draw(seed, before, largest=500, denominator=1024)  # no z is 0
        form = {"linear_before_reset": before}
        h = pyref.gru_forward(*parameters, h0, **form)[0]
        chain = by_scalars(parameters, h0, before, R, lambda g, k: scalar_graph.modified_chain(share))
        got = pyref.gru_relevance(*parameters, h * R, pyref.Epsilon(epsilon=0), gate, h0, **form)
        for r, value, G in zip(got, (parameters[0], h0), chain, strict=True):
            assert_equal(r, value * G)


# ── time ───────────────────────────────────────────────────────────────────────────────────────────────


@BOTH_FORMS
@pytest.mark.parametrize("reverse", [False, True])
def test_a_padded_batch_is_each_sequence_alone(reverse, before):
    (x, *weights), h0, R = draw(4, before, n=3, t=4, dtype=float)
    lengths = np.array([4, 2, 0])
    padded = x.copy()
    padded[1, 2:] = np.nan  # what lies in the padding is never read
    rule, R_last, form = pyref.Epsilon(), R[:, 0], {"reverse": reverse, "linear_before_reset": before}

    def answers(x, x0, R, h0, R_last, **options):
        h, record = pyref.gru_forward(x, *weights, h0, **options)
        return (
            (h, record.h_last),
            pyref.gru_gradient(x, *weights, R, h0, G_last=R_last, **options),
            pyref.gru_relevance(x, *weights, R, rule, "half", h0, R_last=R_last, **options),
            pyref.gru_multiplier(x, *weights, x0, R, "symmetric", h0, M_last=R_last, **options),
        )

    together = answers(padded, -x, R, h0, R_last, lengths=lengths, **form)
    assert (together[0][1][2] == h0[2]).all() and all((end[2] == R_last[2]).all() for _, end in together[1:])
    for k, length in enumerate(lengths):
        assert not any(sequence[k, length:].any() for sequence, _ in together)
        if length:
            one, only = slice(k, k + 1), slice(0, length)
            alone = answers(x[one, only], -x[one, only], R[one, only], h0[one], R_last[one], **form)
            for (sequence, end), (sequence_alone, end_alone) in zip(together, alone, strict=True):
                assert_close(sequence[k, :length], sequence_alone[0])
                assert_close(end[k], end_alone[0])


# ── sigmoid and tanh ───────────────────────────────────────────────────────────────────────────────────


@BOTH_FORMS
def test_worked_by_hand(before):
    """One unit, two steps. Gates are all σ(0) = 1/2; n = tanh(x) = (1/2, 1/4).

    h = (1/4, 1/8 + 1/8). LRP-all of R = 1 at h_2: shared evenly between n_2 and h_1, and h_1 gives all to n_1.
    Gradient: 1/2 · 1/2 · 3/4 at x_1 and 1/2 · 15/16 at x_2.
    """
    x = np.array([[[math.atanh(0.5)], [math.atanh(0.25)]]])
    parameters = x, np.array([[0.0, 0, 1]]), np.zeros((1, 3)), np.zeros(3), None
    h, _ = pyref.gru_forward(*parameters, linear_before_reset=before)
    R = np.array([[[0.0], [1.0]]])
    r, _ = pyref.gru_relevance(*parameters, R, pyref.Epsilon(epsilon=0), linear_before_reset=before)
    G, _ = pyref.gru_gradient(*parameters, R, linear_before_reset=before)
    for got, want in ((h, (1 / 4, 1 / 4)), (r, (1 / 2, 1 / 2)), (G, (3 / 16, 15 / 32))):
        assert np.abs(got[0, :, 0] - np.array(want)).max() <= rounding(16, 1)


@BOTH_FORMS
@pytest.mark.parametrize("seed", SEEDS)
def test_forward_agrees_with_scalar_loops(seed, before):
    parameters, h0, _ = draw(seed, before, dtype=float)
    gate = SimpleNamespace(value=lambda z: 1 / (1 + np.exp(-z)), derivative=pyref.Sigmoid().derivative)
    squash = SimpleNamespace(value=np.tanh, derivative=pyref.Tanh().derivative)
    h = pyref.gru_forward(*parameters, h0, linear_before_reset=before)[0]
    for k in range(2):
        g, *_, hs = scalars(parameters, h0, before, k, gate, squash)
        for t, row in enumerate(hs):
            for j, node in enumerate(row):
                assert abs(h[k, t, j] - node.value) <= g.rounding({node: 1.0}, scalar_graph.gradient)


@BOTH_FORMS
@pytest.mark.parametrize("seed", SEEDS)
def test_gradient_by_differences(seed, before):
    """Along random directions. The error of a central difference with step s/2 is at most its distance from
    the one with step s, plus what rounding does to each."""
    (x, *weights), h0, R = draw(seed, before, dtype=float)
    (dx, *_), dh0, _ = draw(seed + 100, before, dtype=float)

    def functional(s):
        h = pyref.gru_forward(x + s * dx, *weights, h0 + s * dh0, linear_before_reset=before)[0]
        return (R * h).sum(axis=(1, 2))

    step = 2.0**-12
    coarse, fine = ((functional(s) - functional(-s)) / (2 * s) for s in (step, step / 2))
    G_x, G_h0 = pyref.gru_gradient(x, *weights, R, h0, linear_before_reset=before)
    slope = (G_x * dx).sum(axis=(1, 2)) + (G_h0 * dh0).sum(axis=1)
    for k in range(2):
        g, *_, hs = scalars((x, *weights), h0, before, k)
        noise = g.rounding(seeds_of(hs, R[k]), scalar_graph.gradient)
        assert abs(slope[k] - fine[k]) <= abs(coarse[k] - fine[k]) + 3 * noise / (step / 2)


@BOTH_FORMS
@pytest.mark.parametrize("seed", SEEDS)
def test_deeplift_is_complete_and_gradient_through_products_is_not(seed, before):
    (x, *weights), h0, R = draw(seed, before, t=6, dtype=float)
    x0, form = np.zeros_like(x), {"linear_before_reset": before}
    dh = pyref.gru_forward(x, *weights, h0, **form)[0] - pyref.gru_forward(x0, *weights, h0, **form)[0]
    off = {}
    for product in pyref.PRODUCTS:
        M_x = pyref.gru_multiplier(x, *weights, x0, R, product, h0, **form)[0]
        off[product] = np.abs((M_x * (x - x0)).sum(axis=(1, 2)) - (R * dh).sum(axis=(1, 2)))
    for k in range(2):
        (g, *_, hs), (g0, *_, hs0) = (scalars((v, *weights), h0, before, k) for v in (x, x0))
        noise = g.rounding(seeds_of(hs, R[k]), scalar_graph.multiplier(g, g0))
        noise = noise + g0.rounding(seeds_of(hs0, R[k]), scalar_graph.multiplier(g0, g))
        assert off["symmetric"][k] <= noise
        assert off["gradient"][k] > 1000 * noise


@BOTH_FORMS
def test_float32_stays_float32_and_device_arrays_are_welcome(before):
    parameters, h0, R = draw(0, before, dtype=np.float32)
    for wrap in (lambda v: v, Duck):
        x, w_x, w_h, b, b_n = (None if v is None else wrap(v) for v in parameters)
        parameters_, start, signal = (x, w_x, w_h, b, b_n), wrap(h0), wrap(R)
        options = {"lengths": wrap(np.array([3, 2])), "reverse": True, "linear_before_reset": before}
        account = pyref.Account()
        results = [
            pyref.gru_forward(*parameters_, start, **options)[0],
            *pyref.gru_gradient(*parameters_, signal, start, **options),
            *pyref.gru_tangent(*parameters_, x, start, **options),
            *pyref.gru_multiplier(*parameters_, -x, signal, "symmetric", start, **options),
        ]
        for gate in pyref.GATES:
            relevance = pyref.gru_relevance(
                *parameters_, signal, pyref.Gamma(), gate, start, account=account, **options
            )
            results += relevance
        results += [account.bias, account.stabilizer, account.state]
        assert {r.dtype for r in results} == {np.dtype(np.float32)}
        assert {type(r) for r in results} == {type(signal)}


# ── the layer ──────────────────────────────────────────────────────────────────────────────────────────


@BOTH_FORMS
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("output", ["sequence", "last"])
def test_a_stack_of_two_directions_is_its_parts(output, masked, before):
    with rational():
        parts = [draw(seed, before, t=2, c=2 if seed < 2 else 2 * WIDTH) for seed in range(4)]
        w_x, w_h, b, b_n = zip(*(parameters[1:] for parameters, *_ in parts), strict=True)
        h0 = tuple(h0[0] for _, h0, _ in parts)
        options = {"bidirectional": True, "output": output, "masked": masked}
        layer = pyref.GRU(w_x, w_h, b, b_n if before else None, h0, before, **options)
        x = draw(7, before, t=2)[0][0]
        lengths = np.array([1, 2]) if masked else None
        inputs = (x, lengths) if masked else (x,)

        def run(k, sequence):
            start = np.stack([h0[k], h0[k]])
            form = {"linear_before_reset": before, "reverse": k % 2 == 1}
            return pyref.gru_forward(sequence, *parts[k][0][1:], start, lengths, **form)

        below = np.concatenate([run(k, x)[0] for k in (0, 1)], axis=-1)
        tops = [run(k, below) for k in (2, 3)]
        want = np.concatenate([h if output == "sequence" else r.h_last for h, r in tops], axis=-1)
        y = layer.forward(pyref, *inputs)
        assert_equal(y, want)

        dx, G = draw(8, before, t=2)[0][0], y * y + 1
        dy = layer.tangent(pyref, inputs, y, (dx, None))
        G_x = layer.gradient(pyref, inputs, y, G)
        assert len(G_x) == layer.arity and all(v is None for v in G_x[1:])
        assert (G * dy).sum() == (G_x[0] * dx).sum()

        x0 = draw(9, before, t=2)[0][0]
        inputs0 = (x0, *inputs[1:])
        y0 = layer.forward(pyref, *inputs0)
        M = layer.multiplier(pyref, inputs, y, inputs0, y0, G)[0]
        assert (M * (x - x0)).sum() == (G * (y - y0)).sum()

        for gate in ("all", "half"):
            account = pyref.Account()
            r = layer.relevance(pyref, inputs, y, G, pyref.Epsilon(epsilon=F(1, 10)), gate, account)[0]
            kept = account.bias.sum(axis=1) + account.stabilizer + account.dropped + account.state
            if masked and output == "sequence":
                G[0, 1] = 0 * G[0, 1]
            assert account.bias.shape == (2, 4 * 5 * WIDTH)
            assert_equal(r.sum(axis=(1, 2)) + kept, G.reshape(2, -1).sum(axis=1))


X, W_X, W_H, B = np.zeros((2, 3, 5)), np.zeros((5, 6)), np.zeros((2, 6)), np.zeros(6)
ERRORS = [
    (lambda: pyref.gru_forward(X, W_X, np.zeros((2, 5)), B), "w_h has shape (2, 5), expected (any, 6)"),
    (lambda: pyref.gru_forward(X, np.zeros((4, 6)), W_H, B), "w_x has shape (4, 6), expected (5, 6)"),
    (lambda: pyref.gru_forward(X, W_X, W_H, B, B), "b_n has shape (6,), expected (2,)"),
    (
        lambda: pyref.gru_forward(X, W_X, W_H, B, B[:2], linear_before_reset=False),
        "b_n needs linear_before_reset=True; without it, add b_n to the last block of b",
    ),
    (lambda: pyref.gru_gradient(X, W_X, W_H, B, None, X), "G has shape (2, 3, 5), expected (2, 3, 2)"),
    (
        lambda: pyref.gru_relevance(X, W_X, W_H, B, None, X[..., :2], pyref.Epsilon(), "none"),
        "gate is 'none', expected one of 'all', 'half', 'prop', 'abs', 'gradient'",
    ),
    (
        lambda: pyref.gru_relevance(X, W_X, W_H, B, None, X[..., :2], pyref.Pass()),
        "rule Pass needs one input of the output's shape; give this node another rule",
    ),
    (
        lambda: pyref.GRU((W_X, W_X), (W_H, W_H), bidirectional=True, b_n=B),
        "b_n has 1 arrays, expected 2, as many as w_x",
    ),
    (lambda: pyref.GRU(W_X, W_H, b_n=B), "b_n[0] has shape (6,), expected (2,)"),
    (
        lambda: pyref.GRU(W_X, W_H, b_n=B[:2], linear_before_reset=False),
        "b_n needs linear_before_reset=True; without it, add b_n to the last block of b",
    ),
]


@pytest.mark.parametrize("call, words", ERRORS, ids=[words for _, words in ERRORS])
def test_errors(call, words):
    with pytest.raises(ValueError) as caught:
        call()
    assert str(caught.value) == words
