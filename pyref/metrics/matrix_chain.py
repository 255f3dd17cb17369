"""A simulation: how fast chains of random matrices align whatever goes through them."""

from itertools import pairwise

import numpy as np

from pyref.check import check_choice
from pyref.metrics.cosine_convergence import Convergence, alignment, chance_alignment
from pyref.numerics import neg, pos

__all__ = ["matrix_chain", "noise_to_signal", "VGG16_CHAIN"]

VGG16_CHAIN = (1000, 4096, 4096, 512, 512, 512, 512, 512, 512, 256, 256, 256, 128, 128, 64, 64, 3)
"""Widths on the way down through VGG-16, its kernels taken as 1 × 1: 16 matrices."""

KINDS = ("vanilla", "relu", "non_negative", "positive", "stochastic", "alpha_beta")


def matrix_chain(kinds, *, widths=VGG16_CHAIN, vectors=32, repeats=2, seed=0, progress=None):
    """|cos| between random vectors after each matrix of a chain.

        v ~ N(0, I),  W ~ N(0, 1) of shape (m, m'),  v ← v M
        vanilla        M = W                          relu        M = W, and v ← v⁺ after each product
        non_negative   M = W⁺                         positive    M = |W|
        stochastic     M = |W|, rows that sum to 1, so that Σ v is kept
        (alpha, beta)  M = α W⁺ + β W⁻

    Source
        [sixt2020] fig. 4. That chains with β ≥ 4 do not converge is what 16 matrices show, not a limit: the rate of
        αW⁺ + βW⁻ is `noise_to_signal` to the power of the number of matrices, wherever that is below 1.
    Parameters
        kinds    a name, a pair (α, β), or {label: either}
        widths   m of each value on the way, one more than there are matrices
        vectors  how many go through together; the mean of |cos| over all pairs is reported
        repeats  chains that are drawn, the same for all kinds; each is a sample of the result
        progress wraps the loop over chains, as tqdm does
    Returns
        `Convergence` whose samples are the repeats, along the number of products from 0
    Laws
        Scaling a matrix changes nothing. Rank 1, and so |cos| = 1, is kept by all that follows, but for "relu".
    Raises
        ValueError  an unknown kind; fewer than 2 vectors or 2 widths.
    """
    named = {str(k): kind for k, kind in kinds.items()} if isinstance(kinds, dict) else {_label(kinds): kinds}
    for kind in named.values():
        check_choice("kinds", kind if isinstance(kind, str) else "alpha_beta", KINDS)
    if vectors < 2 or len(widths) < 2:
        raise ValueError(f"vectors is {vectors} and widths has {len(widths)} numbers, expected at least 2 of each")
    found: dict[str, list] = {label: [] for label in named}
    for r in (progress or (lambda steps: steps))(range(repeats)):
        for label, chain in _chains(named, widths, vectors, np.random.default_rng([seed, r])).items():
            found[label].append(chain)
    return Convergence(
        "matrix_chain",
        {label: np.stack([one[0] for one in runs]) for label, runs in found.items()},
        unit="|cos|",
        settings={"widths": tuple(widths), "vectors": vectors, "seed": seed},
        at=np.arange(len(widths)),
        axis="products",
        distance={label: np.stack([one[1] for one in runs]) for label, runs in found.items()},
        chance={str(k): chance_alignment(m) for k, m in enumerate(widths)},
    )


def _label(kind):
    return kind if isinstance(kind, str) else f"α{kind[0]:g} β{kind[1]:g}"


def _chains(named, widths, vectors, random):
    """{label: (mean |cos|, mean 1 - |cos|) before the first and after each matrix}: all kinds of the same v and W."""
    start = random.standard_normal((vectors, widths[0]))
    v = dict.fromkeys(named, start)
    found = {label: [alignment(start)] for label in named}
    for m, below in pairwise(widths):
        W = random.standard_normal((m, below))
        for label, kind in named.items():
            moved = v[label] @ _matrix(kind, W)
            moved = pos(moved) if kind == "relu" else moved
            size = np.max(np.abs(moved), axis=1, keepdims=True)
            v[label] = moved / np.where(size == 0, 1, size)  # only directions matter
            found[label].append(alignment(v[label]))
    return {label: [np.array([_mean(step[k]) for step in steps]) for k in (0, 1)] for label, steps in found.items()}


def _mean(v):
    """Over the pairs that have a cosine."""
    there = ~np.isnan(v)
    return np.mean(v[there]) if there.any() else np.nan


def _matrix(kind, W):
    if not isinstance(kind, str):
        alpha, beta = kind
        return alpha * pos(W) + beta * neg(W)
    if kind == "non_negative":
        return pos(W)
    if kind in ("positive", "stochastic"):
        M = np.abs(W)
        return M / np.sum(M, axis=1, keepdims=True) if kind == "stochastic" else M
    return W


def noise_to_signal(alpha, beta, m):
    """ρ = σ / (|μ| √m) of an entry α W⁺ + β W⁻, W ~ N(0, 1): μ = (α - β)/√(2π), σ² = (α² + β²)/2 - μ².

    What is not common to all vectors shrinks by ρ with each matrix of fan-in m, so a chain converges where ρ < 1.
    """
    mean = (alpha - beta) / np.sqrt(2 * np.pi)
    return np.sqrt((alpha * alpha + beta * beta) / 2 - mean * mean) / (np.abs(mean) * np.sqrt(m))
