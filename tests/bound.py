"""How far rounding alone may move a result: the one place where tolerances come from."""

from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np


def unit(dtype):
    """u, the unit roundoff of a float dtype; 0 for exact arithmetic."""
    return 0.0 if np.dtype(dtype) == object else float(np.finfo(dtype).eps) / 2


def rounding(n, magnitude, dtype=np.float64):
    """n · u · magnitude: n rounded operations on terms whose absolute values sum to `magnitude`."""
    return n * unit(dtype) * magnitude


def completeness_bound(network, a):
    """How far rounding may move a sum of attributions, a `pyref.Attribution` of `network`: n · u · Σ|terms|.

    An error of n roundings in the signal at a node moves the total by as many of what stands there; the forward
    and the backward pass make one each, in sums of at most n terms and 16 operations of activations.
    """
    there = sum(np.sum(np.abs(v)) for v in a.signals.values())
    return rounding(2 * (longest_sum(network) + 16), there + np.abs(a.output).max(), a.output.dtype)


def longest_sum(network):
    """The most products that a sum in any layer of the network has."""
    weights = [getattr(node.layer, name, None) for node in network.nodes.values() for name in ("w", "w_x", "w_h")]
    weights = [w for v in weights if v is not None for w in (v if isinstance(v, tuple) else (v,))]
    return max((w.size // min(w.shape[:2]) for w in weights), default=1)


# ---- the rule algebra: how far rounding alone may move a relevance, per element ----


def wide(dtype):
    """The dtype in which the reference of a kernel for `dtype` is computed."""
    return np.float64 if np.dtype(dtype) == np.float32 else np.longdouble


def sum_bound(count, magnitude, dtype):
    """Bound of a rounded sum of `count` rounded products whose absolute values sum to `magnitude`.

    8: the roundings of the factors of a part and of a lowering's own steps. A sum of zeros is exact; any other
    may underflow.
    """
    rounded = (count + 8) * (unit(dtype) * magnitude + float(np.finfo(dtype).tiny) * (magnitude != 0))
    return rounded + _of_products * magnitude if dtype == np.float32 else rounded


_of_products = 0.0


@contextmanager
def factors_rounded_by(u):
    """Within it a float32 product of a sum is off by as much as two factors are that are each rounded by u."""
    global _of_products
    before, _of_products = _of_products, 2 * u + u * u
    try:
        yield
    finally:
        _of_products = before


@dataclass(frozen=True)
class RelevanceBound:
    """Bounds in the shapes of what they bound: r of each term, and the three columns of the account.

    Infinite where rounding decides on which side of a pole or a jump a unit lies: anything may come out there.
    """

    r: tuple
    bias: Any
    stabilizer: Any
    dropped: Any


def relevance_bound(terms, bias, R, rule, dtype, off=0):
    """The RelevanceBound of `affine_relevance`, from the rule itself and nothing else.

    z_p is uncertain by the rounding of its sum. Every combination of z_p - dz_p and z_p + dz_p goes through the
    rule's own `split` and `kept`: between them both are monotone, unless a denominator changes its sign. The
    spread of the shares is carried back, and the rounding of the way back is added. Under "rms" ε is uncertain too.

    Parameters
        terms  `pyref.layers.affine.Term`s of the inputs as the kernel gets them, in `wide(dtype)`, as are bias and R;
               one whose text subtracts what it added has a Term `rounded` with all of its numbers added
        off    how far the kernel's weights may be off, relative to them and in the shape of R, where it computes them;
               parts hold their squares at most
    """
    off = (2 + off) * off
    n_in = sum(np.max(t.forward(np.ones_like(t.x), _each(np.ones_like, t.w)), initial=0) for t in terms)
    z, dz = [], []
    for p in range(rule.parts):
        value, size = np.zeros_like(R), np.zeros_like(R)
        for t in terms:
            x_p = rule.input_part(p, t.x)
            if x_p is not None:
                w_p = _each(lambda w, p=p: rule.weight_part(p, w), t.w)
                value = value + t.forward(x_p, w_p)
                size = size + _rounded(t).forward(_size(rule, p, t.x), _each(np.abs, w_p))
        moved = off * size
        if bias is not None:
            value, size = value + rule.bias_part(p, bias), size + np.abs(rule.bias_part(p, bias))
        z.append(value)
        dz.append(sum_bound(n_in + 1, size, dtype) + moved)
    s, ds, is_wild = _spread(lambda rule, z: rule.split(R, z), rule, z, dz, R, dtype)
    kept, dkept, _ = _spread(lambda rule, z: rule.kept(R, z), rule, z, dz, R, dtype)
    dkept = tuple(np.where(is_wild, np.inf, d) for d in dkept)
    r = tuple(_back(t, rule, s, ds, is_wild, R, dtype, off) for t in terms)
    outputs = max(1, int(np.prod(R.shape[1:])))
    columns = [
        _per_sample(d) + sum_bound(outputs, _per_sample(np.abs(k)), dtype) for k, d in zip(kept, dkept, strict=True)
    ]
    of_bias = None
    if bias is not None:
        b = [np.abs(rule.bias_part(p, bias)) for p in range(rule.parts)]
        moved = sum(
            b_p * d + sum_bound(rule.parts, b_p * np.abs(s_p), dtype) for b_p, s_p, d in zip(b, s, ds, strict=True)
        )
        of_bias = np.where(is_wild, np.inf, moved)
    return RelevanceBound(r, of_bias, *columns)


def _spread(f, rule, z, dz, R, dtype):
    """(f at z, the most that any corner of z ± dz moves it, where a pole or jump lies between corners)."""
    centre = f(rule, tuple(z))
    most = [4 * unit(dtype) * np.abs(c) for c in centre]
    low, high = [np.copy(c) for c in centre], [np.copy(c) for c in centre]
    for one in _rules_nearby(rule, z, dz):
        for signs in product((-1, 1), repeat=len(z)):
            at = f(one, tuple(v + sign * d for v, sign, d in zip(z, signs, dz, strict=True)))
            for k, (a, c) in enumerate(zip(at, centre, strict=True)):
                most[k] = np.maximum(most[k], np.abs(a - c) * (1 + 4 * unit(dtype)) + 4 * unit(dtype) * np.abs(c))
                low[k], high[k] = np.minimum(low[k], a), np.maximum(high[k], a)
    jumps = [
        (lo < 0) & (hi > 0) | (c == 0) & ((lo != 0) | (hi != 0)) for lo, hi, c in zip(low, high, centre, strict=True)
    ]
    jumps += [(c != 0) & ((lo == 0) | (hi == 0)) for lo, hi, c in zip(low, high, centre, strict=True)]
    finite = [np.isfinite(m) for m in most]
    return centre, most, np.logical_or.reduce([*jumps, *(~f for f in finite)]) & (R != 0)


def _rules_nearby(rule, z, dz):
    """The rule, and under "rms" the rule with an ε as far off as the rounding of z puts the mean of z²."""
    if getattr(rule, "stabilizer", "") != "rms" or not rule.epsilon:
        return [rule]
    squares = sum(_per_sample(v * v) for v in z)
    moved = sum(_per_sample(2 * np.abs(v) * d + d * d) for v, d in zip(z, dz, strict=True))
    off = float(np.max(moved / np.where(squares == 0, 1, squares), initial=0)) + unit(z[0].dtype)
    return [rule, *(replace(rule, epsilon=rule.epsilon * max(0, 1 + sign * off)) for sign in (-1, 1))]


def _back(t, rule, s, ds, is_wild, R, dtype, off):
    """The bound of one term's relevance."""
    n_out = np.max(t.transpose(np.ones_like(R), _each(np.ones_like, t.w)), initial=0)
    bound, wild = np.zeros_like(t.x), np.zeros(t.x.shape, bool)
    for p in range(rule.parts):
        if rule.input_part(p, t.x) is None:
            continue
        x_p = _size(rule, p, t.x)
        w_p = _each(lambda w, p=p: np.abs(rule.weight_part(p, w)), t.w)
        spread = np.where(is_wild, 0, ds[p])
        rounded = sum_bound(n_out * rule.parts, np.abs(s[p]), dtype) + off * np.abs(s[p])
        bound = bound + x_p * (t.transpose(spread, w_p) + _rounded(t).transpose(rounded, w_p))
        bound = bound + float(np.finfo(dtype).tiny)
        wild |= (x_p * t.transpose(np.where(is_wild, np.ones_like(R), np.zeros_like(R)), w_p)) > 0
    return np.where(wild, np.inf, bound)


def _size(rule, p, x):
    """|input part|, or for a distance that is itself a rounded difference the sizes of its two terms."""
    x_p = np.abs(rule.input_part(p, x))
    return x_p if not hasattr(rule, "low") else x_p + np.abs(x)


def _rounded(t):
    """The term whose sums have the sizes that are rounded: another than the map's own where its text subtracts."""
    return getattr(t, "rounded", t)


def _each(change, w):
    return tuple(map(change, w)) if isinstance(w, tuple) else change(w)


def _per_sample(v):
    return np.sum(v, axis=tuple(range(1, v.ndim)))
