"""The LSTM: gates i, f, o and a candidate g move the cell state c and the hidden state h through time.

    z_t = x_t w_x + h_{t-1} w_h + b            the blocks z_i z_f z_g z_o of width h
    i, f, o = sigmoid(z_i, z_f, z_o)           g = tanh(z_g)
    c_t = f ⊙ c_{t-1} + i ⊙ g                  h_t = o ⊙ tanh(c_t)

Three products, each of a gate and a signal: i ⊙ g, f ⊙ c_{t-1}, o ⊙ tanh(c_t). Below, h0 and c0 are the
states before the first step; `reverse` reads the sequence from its end; step t ≥ lengths is padding, through
which states are carried and whose output is 0; `record`, if given, is that of the forward pass.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from pyref.check import check_choice, check_shape
from pyref.layers.activation import Sigmoid, Tanh
from pyref.layers.affine import affine_relevance
from pyref.layers.dense import dense_forward, dense_terms
from pyref.layers.recurrent import (
    GATES,
    Recurrent,
    RecurrentRecord,
    blocks_of,
    check_baseline,
    check_parameters,
    check_signal,
    initial_state,
    mask_padding,
    merge_accounts,
    product_multiplier,
    product_relevance,
    scan,
    scan_back,
    sum_relevance,
    time_order,
)
from pyref.numerics import zeros_like
from pyref.trace import Account

__all__ = ["LSTM", "LSTMRecord", "lstm_forward", "lstm_gradient", "lstm_tangent", "lstm_relevance", "lstm_multiplier"]

SIGMOID, TANH = Sigmoid(), Tanh()


@dataclass(frozen=True, eq=False)
class LSTMRecord(RecurrentRecord):
    """What `lstm_forward` computed, as arrays (n, t, ·) in the order of the sequence.

    x (padding set to 0), z (n, t, 4h), h and c after each step and before it (h_prev, c_prev). The gates i f o and
    the candidate g follow from z. Through padding h and c are carried. `at(t)` is one step; h_last, c_last the final
    state.
    """

    state: ClassVar[tuple[str, ...]] = ("h", "c")

    c: Any
    c_prev: Any

    @property
    def i(self):
        """The input gate sigmoid(z_i)."""
        return _gate(self.z, 0)

    @property
    def f(self):
        """The forget gate sigmoid(z_f)."""
        return _gate(self.z, 1)

    @property
    def g(self):
        """The candidate tanh(z_g)."""
        return _gate(self.z, 2)

    @property
    def o(self):
        """The output gate sigmoid(z_o)."""
        return _gate(self.z, 3)

    @property
    def c_last(self):
        """c (n, h) after the last step that was read."""
        return self.c[:, self.order[-1]]


def lstm_forward(x, w_x, w_h, b=None, h0=None, c0=None, lengths=None, *, reverse=False):
    """Hidden states of an LSTM in one direction, and the record of every step.

        c_t = f ⊙ c_{t-1} + i ⊙ g          h_t = o ⊙ tanh(c_t)          i, f, g, o: see the module

    Source
        [hochreiter1997], with the forget gate of [gers2000]. Gate order i f g o, as in PyTorch.
    Shapes
        x (n, t, c)   w_x (c, 4h)   w_h (h, 4h)   b (4h,) or None   h0, c0 (n, h) or None for 0
        lengths (n,) integers or None   →   h (n, t, h), LSTMRecord
    Raises
        ValueError  a shape does not fit; no steps; a length outside 0 … t.
        TypeError   lengths are not integers.
    """
    check_parameters(x, w_x, w_h, b, lengths, 4)
    state = {"h": initial_state("h0", h0, x, w_h.shape[0]), "c": initial_state("c0", c0, x, w_h.shape[0])}
    x = mask_padding(x, lengths)

    def step(t, h, c):
        z = dense_forward(x[:, t], w_x, b) + h @ w_h
        i, f, g, o = (_gate(z, k) for k in range(4))
        c = f * c + i * g
        return {"z": z, "c": c, "h": o * TANH.value(c)}

    record = LSTMRecord(x=x, reverse=reverse, **scan(step, state, lengths, time_order(x.shape[1], reverse)))
    return mask_padding(record.h, lengths), record


def lstm_gradient(x, w_x, w_h, b, G, h0=None, c0=None, lengths=None, *, reverse=False, G_last=None, record=None):
    """Gradient at x, h0 and c0: back-propagation through time, the adjoint of `lstm_tangent`.

        G_c += G_h ⊙ o tanh′(c)                                         G_h: what arrives at h_t
        G_z  = (G_c ⊙ g σ′(z_i), G_c ⊙ c_{t-1} σ′(z_f), G_c ⊙ i tanh′(z_g), G_h ⊙ tanh(c) σ′(z_o))
        G_x  = G_z w_xᵀ        at t-1: G_h = G_z w_hᵀ plus what arrives there, G_c = G_c ⊙ f

    Source
        [hochreiter1997], without its truncation.
    Shapes
        G (n, t, h) at the hidden states, G_last (n, h) or None at the last one   →
        G_x (n, t, c), G_h0 (n, h), G_c0 (n, h)
    Raises
        ValueError  a shape does not fit.
    """
    record = _record(x, w_x, w_h, b, h0, c0, lengths, reverse, record)
    check_signal("G", G, G_last, record)

    def step(t, h, c):
        at = record.at(t)
        tanh_c = TANH.value(at.c)
        factors = (tanh_c, at.o), (at.c_prev, at.f), (at.g, at.i)
        z_i, z_f, z_g, z_o = blocks_of(at.z, 4)
        slopes = *map(SIGMOID.derivative, (z_i, z_f, z_o)), TANH.derivative(z_g), TANH.derivative(at.c)
        return _chain_step(w_x, w_h, slopes, factors, h, c)

    G_x, at_start = scan_back(step, record, G, G_last, lengths)
    return G_x, at_start["h"], at_start["c"]


def lstm_tangent(x, w_x, w_h, b, dx, h0=None, c0=None, lengths=None, *, reverse=False, dh0=None, dc0=None, record=None):
    """Change of the hidden states along dx, dh0 and dc0.

        dz_t = dx_t w_x + dh_{t-1} w_h
        dc_t = df ⊙ c_{t-1} + f ⊙ dc_{t-1} + di ⊙ g + i ⊙ dg          di = σ′(z_i) dz_i, and so on
        dh_t = do ⊙ tanh(c_t) + o ⊙ tanh′(c_t) dc_t

    Shapes
        dx (n, t, c)   dh0, dc0 (n, h) or None for 0   →   dh (n, t, h), dh_last (n, h), dc_last (n, h)
    Raises
        ValueError  a shape does not fit.
    """
    record = _record(x, w_x, w_h, b, h0, c0, lengths, reverse, record)
    check_shape("dx", dx, x.shape)
    width = w_h.shape[0]
    state = {"dh": initial_state("dh0", dh0, x, width), "dc": initial_state("dc0", dc0, x, width)}
    dx = mask_padding(dx, lengths)

    def step(t, dh, dc):
        at = record.at(t)
        z_i, z_f, z_g, z_o = blocks_of(at.z, 4)
        dz_i, dz_f, dz_g, dz_o = blocks_of(dx[:, t] @ w_x + dh @ w_h, 4)
        di, df, do = (SIGMOID.derivative(z) * dz for z, dz in ((z_i, dz_i), (z_f, dz_f), (z_o, dz_o)))
        dg = TANH.derivative(z_g) * dz_g
        dc = df * at.c_prev + at.f * dc + di * at.g + at.i * dg
        return {"dc": dc, "dh": do * TANH.value(at.c) + at.o * TANH.derivative(at.c) * dc}

    change, end = scan(step, state, lengths, record.order), record.order[-1]
    return mask_padding(change["dh"], lengths), change["dh"][:, end], change["dc"][:, end]


def lstm_relevance(
    x,
    w_x,
    w_h,
    b,
    R,
    rule,
    gate="all",
    h0=None,
    c0=None,
    lengths=None,
    *,
    reverse=False,
    R_last=None,
    record=None,
    account=None,
):
    """Relevance of x under a rule for the linear maps and a split for the products.

        R_o, R_tanh  = split of R_h over o ⊙ tanh(c)                    `gate`: see `product_relevance`
        R_c         += R_tanh                                           relevance passes tanh and σ unchanged
        R_fc, R_ig   = R_c ⊙ (f ⊙ c_{t-1}, i ⊙ g) / σ_ε(c)              Norm, with the rule's ε
        R_f, R_c(t-1) = split of R_fc over f ⊙ c_{t-1}                  R_i, R_g = split of R_ig over i ⊙ g
        R_x, R_h(t-1) = the rule on z_g = x w_x + h_{t-1} w_h + b with R_g, and on the gates' z likewise

    Under gate="all" no gate receives relevance: only the block g of the weights is used, and with ε = 0 the
    result is x ⊙ the modified chain rule with gates as constants and tanh(z)/z for tanh′. Under "half" that
    chain rule has the product multipliers halved.

    Source
        [arras2017] for "all"; [arras2019] sec. 11.3 compares it with the others.
    Shapes
        R (n, t, h) at the hidden states, R_last (n, h) or None at the last one   →
        R_x (n, t, c), R_h0 (n, h), R_c0 (n, h): the last two stay in the initial state, as `account` says.
        The bias shares in the account are (n, 4h), summed over time.
    Laws
        Σ R_x = Σ R minus what `account` says stays behind, except under gate="gradient".
    Numerics
        Poles where c is near 0, and under "prop" where gate = -signal.
    Raises
        ValueError  a shape does not fit, an unknown gate, or the rule Pass.
    """
    check_choice("gate", gate, GATES)
    record = _record(x, w_x, w_h, b, h0, c0, lengths, reverse, record)
    check_signal("R", R, R_last, record)
    blocks = tuple(zip(blocks_of(w_x, 4), blocks_of(w_h, 4), blocks_of(b, 4), strict=True))
    accounts = [Account() for _ in blocks]

    def step(t, h, c):
        at = record.at(t)
        R_o, R_tanh = product_relevance(h, at.o, TANH.value(at.c), gate, account)
        R_fc, R_ig = sum_relevance(((at.f * at.c_prev, 1), (at.i * at.g, 1)), c + R_tanh, rule, at.c, account)
        R_f, R_c = product_relevance(R_fc, at.f, at.c_prev, gate, account)
        R_i, R_g = product_relevance(R_ig, at.i, at.g, gate, account)
        R_x, R_h = zeros_like(at.x), zeros_like(at.h)
        for k, R_z in enumerate((R_i, R_f, R_g, R_o)):
            if k == 2 or gate != "all":
                w_xk, w_hk, b_k = blocks[k]
                terms = dense_terms(at.x, w_xk) + dense_terms(at.h_prev, w_hk)
                own = account and accounts[k]
                r_x, r_h = affine_relevance(terms, b_k, R_z, rule, blocks_of(at.z, 4)[k], own)
                R_x, R_h = R_x + r_x, R_h + r_h
        return R_x, {"h": R_h, "c": R_c}

    R_x, at_start = scan_back(step, record, R, R_last, lengths)
    if account is not None:
        merge_accounts(account, accounts, zeros_like(at_start["h"]))
        account.add_state(at_start["h"] + at_start["c"])
    return R_x, at_start["h"], at_start["c"]


def lstm_multiplier(
    x,
    w_x,
    w_h,
    b,
    x0,
    M,
    product="symmetric",
    h0=None,
    c0=None,
    lengths=None,
    *,
    reverse=False,
    M_last=None,
    record=None,
    record0=None,
):
    """DeepLIFT Rescale multipliers of x against the baseline sequence x0.

        the recursion of `lstm_gradient`, with the quotient Δa / Δz for every σ′ and tanh′, and for each
        product p ⊙ q the multipliers ((q + q0) / 2, (p + p0) / 2), or (q, p) under product="gradient"

    Both sequences start from the same h0 and c0 (there, ·0 means the initial state) and have the same lengths.

    Source
        [shrikumar2017] eq. (7); the product by its symmetric split; [ancona2017] for "gradient".
    Shapes
        x, x0 (n, t, c)   M (n, t, h)   M_last (n, h) or None   →   M_x (n, t, c), M_h0 (n, h), M_c0 (n, h)
        record, record0: those of the forward passes at x and x0. One baseline for all samples may be given as one,
        x0 (1, t, c), and so may its record.
    Laws
        Σ M_x (x - x0) = Σ M (h - h at x0) under "symmetric".
    Raises
        ValueError  a shape does not fit, or an unknown product.
    """
    record = _record(x, w_x, w_h, b, h0, c0, lengths, reverse, record)
    check_baseline(x, x0)
    record0 = _record(zeros_like(x) + x0, w_x, w_h, b, h0, c0, lengths, reverse, record0)
    check_signal("M", M, M_last, record)

    def step(t, h, c):
        at, at0 = record.at(t), record0.at(t)
        factors = (
            product_multiplier(at.o, TANH.value(at.c), at0.o, TANH.value(at0.c), product),
            product_multiplier(at.f, at.c_prev, at0.f, at0.c_prev, product),
            product_multiplier(at.i, at.g, at0.i, at0.g, product),
        )
        (z_i, z_f, z_g, z_o), (z0_i, z0_f, z0_g, z0_o) = blocks_of(at.z, 4), blocks_of(at0.z, 4)
        slopes = (
            *map(SIGMOID.quotient, (z_i, z_f, z_o), (z0_i, z0_f, z0_o)),
            TANH.quotient(z_g, z0_g),
            TANH.quotient(at.c, at0.c),
        )
        return _chain_step(w_x, w_h, slopes, factors, h, c)

    M_x, at_start = scan_back(step, record, M, M_last, lengths)
    return M_x, at_start["h"], at_start["c"]


def _gate(z, k):
    """Block k of i f g o, from z: the candidate g is a tanh, the gates are sigmoids."""
    return (TANH if k == 2 else SIGMOID).value(blocks_of(z, 4)[k])


def _chain_step(w_x, w_h, slopes, factors, G_h, G_c):
    """One step of the modified chain rule, backwards.

    slopes: what stands for the derivative at i f o g and at tanh(c); factors: the multipliers of (gate,
    signal) at the products o ⊙ tanh(c), f ⊙ c_{t-1}, i ⊙ g.
    """
    slope_i, slope_f, slope_o, slope_g, slope_c = slopes
    (m_o, m_tanh), (m_f, m_c), (m_i, m_g) = factors
    G_c = G_c + G_h * m_tanh * slope_c
    parts = (G_c * m_i * slope_i, G_c * m_f * slope_f, G_c * m_g * slope_g, G_h * m_o * slope_o)
    G_z = np.concatenate(parts, axis=-1)
    return G_z @ w_x.T, {"h": G_z @ w_h.T, "c": G_c * m_c}


def _record(x, w_x, w_h, b, h0, c0, lengths, reverse, record):
    return record or lstm_forward(x, w_x, w_h, b, h0, c0, lengths, reverse=reverse)[1]


@dataclass(frozen=True, eq=False)
class LSTM(Recurrent):
    """An LSTM as a node: `pyref.lstm_forward` in stacks and directions, see `Recurrent`.

    w_x (c, 4h), w_h (h, 4h), b (4h,), h0 and c0 (h,): one array, or a tuple with one per direction.
    """

    stem: ClassVar[str] = "lstm"
    gates: ClassVar[int] = 4
    arrays: ClassVar[tuple[str, ...]] = ("w_x", "w_h", "b", "h0", "c0")

    w_x: Any
    w_h: Any
    b: Any = None
    h0: Any = None
    c0: Any = None
    bidirectional: bool = False
    reverse: bool = False
    output: str = "sequence"
    masked: bool = False

    def weights(self, k):
        return self.w_x[k], self.w_h[k], self.b and self.b[k]

    def options(self, k, x):
        return {"h0": self.state("h0", k, x), "c0": self.state("c0", k, x)}
