"""The GRU: a reset gate r, an update gate u and a candidate n move the hidden state h through time.

    z = x_t w_x + h_{t-1} w_h + b in the blocks r and u; z_n below          r, u = sigmoid(z_r, z_u)
    h_t = (1 - u) ⊙ n + u ⊙ h_{t-1}                                          n = tanh(z_n)

    linear_before_reset=True    z_n = x_t w_xn + b + r ⊙ q         q = h_{t-1} w_hn + b_n     (PyTorch, ONNX: 1)
    linear_before_reset=False   z_n = x_t w_xn + b + (r ⊙ q) w_hn  q = h_{t-1}                (the paper, ONNX: 0)

The papers call the update gate z, which here is a pre-activation. Three products, each of a gate and a
signal: (1 - u) ⊙ n, u ⊙ h_{t-1}, r ⊙ q. Below, h0 is the state before the first step; `reverse` reads the
sequence from its end; step t ≥ lengths is padding, through which the state is carried and whose output is 0;
`record`, if given, is that of the forward pass.
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
    elementwise_term,
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
from pyref.numerics import ones_like, zeros_like
from pyref.trace import Account

__all__ = ["GRU", "GRURecord", "gru_forward", "gru_gradient", "gru_tangent", "gru_relevance", "gru_multiplier"]

SIGMOID, TANH = Sigmoid(), Tanh()


@dataclass(frozen=True, eq=False)
class GRURecord(RecurrentRecord):
    """What `gru_forward` computed, as arrays (n, t, ·) in the order of the sequence.

    x (padding set to 0), z (n, t, 3h), the gates r u, the candidate n, q that r multiplies, h after each step
    and before it (h_prev). Through padding h is carried. `at(t)` is one step; h_last the final state.
    """

    state: ClassVar[tuple[str, ...]] = ("h",)

    r: Any
    u: Any
    n: Any
    q: Any


def gru_forward(x, w_x, w_h, b=None, b_n=None, h0=None, lengths=None, *, linear_before_reset=True, reverse=False):
    """Hidden states of a GRU in one direction, and the record of every step.

        h_t = (1 - u) ⊙ n + u ⊙ h_{t-1}          r, u, n: see the module

    Source
        [cho2014] eq. (5)-(8), which is linear_before_reset=False. Block order r u n, PyTorch's r z n.
    Shapes
        x (n, t, c)   w_x (c, 3h)   w_h (h, 3h)   b (3h,) or None   b_n (h,) or None   h0 (n, h) or None for 0
        lengths (n,) integers or None   →   h (n, t, h), GRURecord
    Raises
        ValueError  a shape does not fit; no steps; a length outside 0 … t; b_n with linear_before_reset=False.
        TypeError   lengths are not integers.
    """
    check_parameters(x, w_x, w_h, b, lengths, 3)
    _check_b_n(b_n, w_h, linear_before_reset)
    state = {"h": initial_state("h0", h0, x, w_h.shape[0])}
    x = mask_padding(x, lengths)
    w_hr, w_hu, w_hn = blocks_of(w_h, 3)

    def step(t, h):
        x_r, x_u, x_n = blocks_of(dense_forward(x[:, t], w_x, b), 3)
        z_r, z_u = x_r + h @ w_hr, x_u + h @ w_hu
        r, u = SIGMOID.value(z_r), SIGMOID.value(z_u)
        q = dense_forward(h, w_hn, b_n) if linear_before_reset else h
        z_n = x_n + (r * q if linear_before_reset else (r * q) @ w_hn)
        n = TANH.value(z_n)
        z = np.concatenate((z_r, z_u, z_n), axis=-1)
        return {"z": z, "r": r, "u": u, "n": n, "q": q, "h": (1 - u) * n + u * h}

    record = GRURecord(x=x, reverse=reverse, **scan(step, state, lengths, time_order(x.shape[1], reverse)))
    return mask_padding(record.h, lengths), record


def gru_gradient(
    x,
    w_x,
    w_h,
    b,
    b_n,
    G,
    h0=None,
    lengths=None,
    *,
    linear_before_reset=True,
    reverse=False,
    G_last=None,
    record=None,
):
    """Gradient at x and h0: back-propagation through time, the adjoint of `gru_tangent`.

        G_zn = G_h ⊙ (1 - u) tanh′(z_n)          G_zu = G_h ⊙ (h_{t-1} - n) σ′(z_u)
        G_s  = G_zn, or G_zn w_hnᵀ without linear_before_reset              the signal at s = r ⊙ q
        G_zr = G_s ⊙ q σ′(z_r)                   G_q = G_s ⊙ r
        G_x  = (G_zr, G_zu, G_zn) w_xᵀ
        G_h(t-1) = G_h ⊙ u + (G_zr, G_zu) w_h,ruᵀ + (G_q w_hnᵀ, or G_q)     plus what arrives there

    Source
        the chain rule on [cho2014] eq. (5)-(8).
    Shapes
        G (n, t, h) at the hidden states, G_last (n, h) or None at the last one   →   G_x (n, t, c), G_h0 (n, h)
    Raises
        ValueError  a shape does not fit.
    """
    record = _record(x, w_x, w_h, b, b_n, h0, lengths, linear_before_reset, reverse, record)
    check_signal("G", G, G_last, record)

    def step(t, h):
        at = record.at(t)
        factors = (at.n, 1 - at.u), (at.h_prev, at.u), (at.q, at.r)
        z_r, z_u, z_n = blocks_of(at.z, 3)
        slopes = SIGMOID.derivative(z_r), SIGMOID.derivative(z_u), TANH.derivative(z_n)
        return _chain_step(w_x, w_h, slopes, factors, h, linear_before_reset)

    G_x, at_start = scan_back(step, record, G, G_last, lengths)
    return G_x, at_start["h"]


def gru_tangent(
    x,
    w_x,
    w_h,
    b,
    b_n,
    dx,
    h0=None,
    lengths=None,
    *,
    linear_before_reset=True,
    reverse=False,
    dh0=None,
    record=None,
):
    """Change of the hidden states along dx and dh0.

        dh_t = (1 - u) ⊙ dn + du ⊙ (h_{t-1} - n) + u ⊙ dh_{t-1}          du = σ′(z_u) dz_u, and so on
        dz_n = dx_t w_xn + ds, or + ds w_hn          ds = dr ⊙ q + r ⊙ dq          dq = dh_{t-1} w_hn, or dh_{t-1}

    Shapes
        dx (n, t, c)   dh0 (n, h) or None for 0   →   dh (n, t, h), dh_last (n, h)
    Raises
        ValueError  a shape does not fit.
    """
    record = _record(x, w_x, w_h, b, b_n, h0, lengths, linear_before_reset, reverse, record)
    check_shape("dx", dx, x.shape)
    dx = mask_padding(dx, lengths)
    w_hr, w_hu, w_hn = blocks_of(w_h, 3)

    def step(t, dh):
        at = record.at(t)
        z_r, z_u, z_n = blocks_of(at.z, 3)
        dx_r, dx_u, dx_n = blocks_of(dx[:, t] @ w_x, 3)
        dr = SIGMOID.derivative(z_r) * (dx_r + dh @ w_hr)
        du = SIGMOID.derivative(z_u) * (dx_u + dh @ w_hu)
        ds = dr * at.q + at.r * (dh @ w_hn if linear_before_reset else dh)
        dn = TANH.derivative(z_n) * (dx_n + (ds if linear_before_reset else ds @ w_hn))
        return {"dh": (1 - at.u) * dn + du * (at.h_prev - at.n) + at.u * dh}

    state = {"dh": initial_state("dh0", dh0, x, w_h.shape[0])}
    change = scan(step, state, lengths, record.order)["dh"]
    return mask_padding(change, lengths), change[:, record.order[-1]]


def gru_relevance(
    x,
    w_x,
    w_h,
    b,
    b_n,
    R,
    rule,
    gate="all",
    h0=None,
    lengths=None,
    *,
    linear_before_reset=True,
    reverse=False,
    R_last=None,
    record=None,
    account=None,
):
    """Relevance of x under a rule for the linear maps and a split for the products.

        R_a, R_b      = R_h ⊙ ((1 - u) ⊙ n, u ⊙ h_{t-1}) / σ_ε(h_t)      Norm, with the rule's ε
        R_p, R_n      = split of R_a over (1 - u) ⊙ n                    `gate`: see `product_relevance`
        R_u, R_h(t-1) = split of R_b over u ⊙ h_{t-1}
        R_u          += -u ⊙ R_p / σ_ε(1 - u)                            the constant 1 keeps R_p / σ_ε(1 - u)
        R_x, R_s      = the rule on z_n = x w_xn + b + s, with R_n       s = r ⊙ q; or on x w_xn + b + s w_hn
        R_r, R_q      = split of R_s over r ⊙ q
        R_h(t-1)     += the rule on q = h_{t-1} w_hn + b_n, with R_q; or R_q itself
        R_x, R_h(t-1) += the rule on z_r and z_u, with R_r and R_u       relevance passes tanh and σ unchanged

    Under gate="all" no gate receives relevance.

    Source
        the conventions of [arras2017] and [arras2019] for the LSTM, carried over.
    Shapes
        R (n, t, h) at the hidden states, R_last (n, h) or None at the last one   →
        R_x (n, t, c), R_h0 (n, h): the latter stays in the initial state, as `account` says.
        The bias shares in the account are (n, 5h), summed over time: b in its blocks r u n, b_n, the constant 1.
    Laws
        Σ R_x = Σ R minus what `account` says stays behind, except under gate="gradient".
    Numerics
        Poles where h is near 0, and under "prop" where gate = -signal.
    Raises
        ValueError  a shape does not fit, an unknown gate, or the rule Pass.
    """
    check_choice("gate", gate, GATES)
    record = _record(x, w_x, w_h, b, b_n, h0, lengths, linear_before_reset, reverse, record)
    check_signal("R", R, R_last, record)
    (w_xr, w_xu, w_xn), (w_hr, w_hu, w_hn), (b_r, b_u, b_z) = (blocks_of(v, 3) for v in (w_x, w_h, b))
    one = ones_like(w_h, shape=w_h.shape[:1])
    accounts = [Account() for _ in range(5)]

    def affine(terms, bias, R, z, block):
        return affine_relevance(terms, bias, R, rule, z, account and accounts[block])

    def step(t, h):
        at = record.at(t)
        z_r, z_u, z_n = blocks_of(at.z, 3)
        p, s = 1 - at.u, at.r * at.q
        R_a, R_b = sum_relevance(((p * at.n, 1), (at.u * at.h_prev, 1)), h, rule, at.h, account)
        R_p, R_n = product_relevance(R_a, p, at.n, gate, account)
        R_u, R_h = product_relevance(R_b, at.u, at.h_prev, gate, account)
        R_u = R_u + sum_relevance(((at.u, -1),), R_p, rule, p, account and accounts[4], one)[0]
        x_n = dense_terms(at.x, w_xn)
        if linear_before_reset:
            R_x, R_s = affine((*x_n, elementwise_term(s, 1)), b_z, R_n, z_n, 2)
            R_r, R_q = product_relevance(R_s, at.r, at.q, gate, account)
            R_h = R_h + affine(dense_terms(at.h_prev, w_hn), b_n, R_q, at.q, 3)[0]
        else:
            R_x, R_s = affine((*x_n, *dense_terms(s, w_hn)), b_z, R_n, z_n, 2)
            R_r, R_q = product_relevance(R_s, at.r, at.q, gate, account)
            R_h = R_h + R_q
        if gate != "all":
            gates = ((w_xr, w_hr, b_r, R_r, z_r), (w_xu, w_hu, b_u, R_u, z_u))
            for k, (w_xk, w_hk, b_k, R_z, z) in enumerate(gates):
                r_x, r_h = affine(dense_terms(at.x, w_xk) + dense_terms(at.h_prev, w_hk), b_k, R_z, z, k)
                R_x, R_h = R_x + r_x, R_h + r_h
        return R_x, {"h": R_h}

    R_x, at_start = scan_back(step, record, R, R_last, lengths)
    if account is not None:
        merge_accounts(account, accounts, zeros_like(at_start["h"]))
        account.add_state(at_start["h"])
    return R_x, at_start["h"]


def gru_multiplier(
    x,
    w_x,
    w_h,
    b,
    b_n,
    x0,
    M,
    product="symmetric",
    h0=None,
    lengths=None,
    *,
    linear_before_reset=True,
    reverse=False,
    M_last=None,
    record=None,
    record0=None,
):
    """DeepLIFT Rescale multipliers of x against the baseline sequence x0.

        the recursion of `gru_gradient`, with the quotient Δa / Δz for every σ′ and tanh′, and for each
        product p ⊙ q the multipliers ((q + q0) / 2, (p + p0) / 2), or (q, p) under product="gradient"

    Both sequences start from the same h0 (there, ·0 means the initial state) and have the same lengths.

    Source
        [shrikumar2017] eq. (7); the product by its symmetric split; [ancona2017] for "gradient".
    Shapes
        x, x0 (n, t, c)   M (n, t, h)   M_last (n, h) or None   →   M_x (n, t, c), M_h0 (n, h)
        record, record0: those of the forward passes at x and x0. One baseline for all samples may be given as one,
        x0 (1, t, c), and so may its record.
    Laws
        Σ M_x (x - x0) = Σ M (h - h at x0) under "symmetric".
    Raises
        ValueError  a shape does not fit, or an unknown product.
    """
    record = _record(x, w_x, w_h, b, b_n, h0, lengths, linear_before_reset, reverse, record)
    check_baseline(x, x0)
    record0 = _record(zeros_like(x) + x0, w_x, w_h, b, b_n, h0, lengths, linear_before_reset, reverse, record0)
    check_signal("M", M, M_last, record)

    def step(t, h):
        at, at0 = record.at(t), record0.at(t)
        factors = (
            product_multiplier(1 - at.u, at.n, 1 - at0.u, at0.n, product),
            product_multiplier(at.u, at.h_prev, at0.u, at0.h_prev, product),
            product_multiplier(at.r, at.q, at0.r, at0.q, product),
        )
        (z_r, z_u, z_n), (z0_r, z0_u, z0_n) = blocks_of(at.z, 3), blocks_of(at0.z, 3)
        slopes = SIGMOID.quotient(z_r, z0_r), SIGMOID.quotient(z_u, z0_u), TANH.quotient(z_n, z0_n)
        return _chain_step(w_x, w_h, slopes, factors, h, linear_before_reset)

    M_x, at_start = scan_back(step, record, M, M_last, lengths)
    return M_x, at_start["h"]


def _chain_step(w_x, w_h, slopes, factors, G_h, linear_before_reset):
    """One step of the modified chain rule, backwards.

    slopes: what stands for the derivative at r, u and n; factors: the multipliers of (gate, signal) at the
    products (1 - u) ⊙ n, u ⊙ h_{t-1}, r ⊙ q.
    """
    slope_r, slope_u, slope_n = slopes
    (m_p, m_n), (m_u, m_h), (m_r, m_q) = factors
    w_hr, w_hu, w_hn = blocks_of(w_h, 3)
    G_zn = G_h * m_n * slope_n
    G_zu = G_h * (m_u - m_p) * slope_u
    G_s = G_zn if linear_before_reset else G_zn @ w_hn.T
    G_zr, G_q = G_s * m_r * slope_r, G_s * m_q
    through_q = G_q @ w_hn.T if linear_before_reset else G_q
    G_x = np.concatenate((G_zr, G_zu, G_zn), axis=-1) @ w_x.T
    return G_x, {"h": G_h * m_h + G_zr @ w_hr.T + G_zu @ w_hu.T + through_q}


def _record(x, w_x, w_h, b, b_n, h0, lengths, linear_before_reset, reverse, record):
    if record is not None:
        return record
    options = {"linear_before_reset": linear_before_reset, "reverse": reverse}
    return gru_forward(x, w_x, w_h, b, b_n, h0, lengths, **options)[1]


def _check_b_n(b_n, w_h, linear_before_reset, index=""):
    if b_n is not None:
        check_shape("b_n" + index, b_n, (w_h.shape[0],))
        if not linear_before_reset:
            raise ValueError("b_n needs linear_before_reset=True; without it, add b_n to the last block of b")


@dataclass(frozen=True, eq=False)
class GRU(Recurrent):
    """A GRU as a node: `pyref.gru_forward` in stacks and directions, see `Recurrent`.

    w_x (c, 3h), w_h (h, 3h), b (3h,), b_n and h0 (h,): one array, or a tuple with one per direction.
    """

    stem: ClassVar[str] = "gru"
    gates: ClassVar[int] = 3
    arrays: ClassVar[tuple[str, ...]] = ("w_x", "w_h", "b", "b_n", "h0")

    w_x: Any
    w_h: Any
    b: Any = None
    b_n: Any = None
    h0: Any = None
    linear_before_reset: bool = True
    bidirectional: bool = False
    reverse: bool = False
    output: str = "sequence"
    masked: bool = False

    def weights(self, k):
        return self.w_x[k], self.w_h[k], self.b and self.b[k], self.b_n and self.b_n[k]

    def options(self, k, x):
        return {"h0": self.state("h0", k, x), "linear_before_reset": self.linear_before_reset}

    def _check_direction(self, k, c):
        super()._check_direction(k, c)
        _check_b_n(self.b_n and self.b_n[k], self.w_h[k], self.linear_before_reset, f"[{k}]")
