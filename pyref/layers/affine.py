"""The one loop of the rule algebra: relevance through any affine map.

Dense, convolution, average pooling, sums, batch normalisation at inference: each is a bilinear map of
an input and weights, and its adjoint. What a rule makes of it is written here once, for all of them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from pyref.numerics import neg, pos, zeros_like
from pyref.rules import Pass

__all__ = ["Term", "affine_forward", "affine_relevance", "affine_sign_split", "affine_reveal_cancel"]


@dataclass(frozen=True)
class Term:
    """One input x of an affine node, the weights w it meets, and the bilinear map between them.

    forward(x, w) → z      Σ_i x_i w_io, linear in x and in w; no bias
    transpose(u, w) → r    Σ_o w_io u_o, its adjoint in x, in the shape of x

    The map itself is free of signs and sizes: whatever a rule does to weights, it does to w. It must be
    zero where i and o are not connected, also for w = 1.
    """

    x: Any
    w: Any
    forward: Callable[[Any, Any], Any]
    transpose: Callable[[Any, Any], Any]


def affine_forward(terms, bias=None):
    """z_o = Σ_terms Σ_i x_i w_io + b_o. bias broadcasts against the output."""
    z = sum((t.forward(t.x, t.w) for t in terms[1:]), terms[0].forward(terms[0].x, terms[0].w))
    return z if bias is None else z + bias


def affine_relevance(terms, bias, R, rule, z=None, account=None):
    """Relevance of each term's input under a rule.

        z_p = Σ_i input(p, x_i) · weight(p, w_io) + bias(p, b_o)
        s_p = split(R_o, z_0 … z_{P-1})
        r_i = Σ_p input(p, x_i) · Σ_o weight(p, w_io) · s_p,o

    Shapes
        R and z in the shape of the output → a tuple with one r per term, each in the shape of its x.
        z is the pre-activation where it is known; account, if given, receives what stays behind.
    Raises
        ValueError  Pass on a node with several inputs or of changing shape.
    """
    if isinstance(rule, Pass):
        if len(terms) != 1 or terms[0].x.shape != R.shape:
            raise ValueError("rule Pass needs one input of the output's shape; give this node another rule")
        return (R,)
    z_parts = tuple(
        z if z is not None and p == rule.plain_part else _part_forward(terms, bias, rule, p, R)
        for p in range(rule.parts)
    )
    s = rule.split(R, z_parts)
    if account is not None:
        account.add_kept(*rule.kept(R, z_parts))
        if bias is not None:
            account.add_bias(sum(rule.bias_part(p, bias) * s[p] for p in range(rule.parts)))
    return tuple(_term_relevance(t, rule, s) for t in terms)


def _part_forward(terms, bias, rule, p, R):
    z_p = zeros_like(R)
    for t in terms:
        x_p = rule.input_part(p, t.x)
        if x_p is not None:
            z_p = z_p + t.forward(x_p, _each(lambda w: rule.weight_part(p, w), t.w))
    return z_p if bias is None else z_p + rule.bias_part(p, bias)


def _term_relevance(t, rule, s):
    r = zeros_like(t.x)
    for p in range(rule.parts):
        x_p = rule.input_part(p, t.x)
        if x_p is not None:
            r = r + x_p * t.transpose(s[p], _each(lambda w: rule.weight_part(p, w), t.w))  # noqa: B023
    return r


def _each(change, w):
    """change(w), or of every factor of separable weights."""
    return tuple(map(change, w)) if isinstance(w, tuple) else change(w)


def affine_sign_split(terms):
    """(Σ_i (x_i w_io)⁺, Σ_i (x_i w_io)⁻): the positive and the negative part of the sum, each by itself."""

    def total(x_part, w_part):
        return sum(t.forward(x_part(t.x), _each(w_part, t.w)) for t in terms)

    return total(pos, pos) + total(neg, neg), total(pos, neg) + total(neg, pos)


def affine_reveal_cancel(terms, G_pos, G_neg):
    """DeepLIFT RevealCancel through an affine node: multipliers of the inputs from two at the output.

        M_i = Σ_o w_io · (G⁺_o if Δx_i w_io > 0, G⁻_o if Δx_i w_io < 0, their mean if Δx_i = 0)

    Source
        [shrikumar2017] sec. 3.5.3. The terms hold Δx in place of x.
    """

    def multiplier(t):
        up, down = _each(pos, t.w), _each(neg, t.w)
        where_up = t.transpose(G_pos, up) + t.transpose(G_neg, down)
        where_down = t.transpose(G_neg, up) + t.transpose(G_pos, down)
        still = (where_up + where_down) / 2
        return np.where(t.x > 0, where_up, np.where(t.x < 0, where_down, still))

    return tuple(multiplier(t) for t in terms)
