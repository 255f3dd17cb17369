"""Nodes and weights on [0, 1] for integrals along a path."""

import math
from fractions import Fraction

import numpy as np

from pyref.check import nearest

__all__ = ["QUADRATURES", "quadrature_nodes"]


def left(m):
    """Nodes k/m for k = 0 … m-1, weights 1/m. Error O(1/m)."""
    return [Fraction(k, m) for k in range(m)], [Fraction(1, m)] * m


def right(m):
    """Nodes k/m for k = 1 … m, weights 1/m. Error O(1/m). [sundararajan2016] eq. (6)."""
    return [Fraction(k, m) for k in range(1, m + 1)], [Fraction(1, m)] * m


def midpoint(m):
    """Nodes (k + ½)/m for k = 0 … m-1, weights 1/m. Error O(1/m²) where the gradient is smooth."""
    return [Fraction(2 * k + 1, 2 * m) for k in range(m)], [Fraction(1, m)] * m


def trapezoid(m):
    """Nodes k/(m-1) for k = 0 … m-1, weights 1/(m-1), those of both ends halved. Error O(1/m²) where smooth."""
    if m < 2:
        raise ValueError(f"m is {m}, expected at least 2 nodes for the trapezoid rule")
    inner = Fraction(1, m - 1)
    return [Fraction(k, m - 1) for k in range(m)], [inner / 2, *[inner] * (m - 2), inner / 2]


def gauss_legendre(m):
    """Nodes (t_k + 1)/2 and weights w_k/2 of Gauss and Legendre: exact for polynomials of degree 2m - 1."""
    t, w = np.polynomial.legendre.leggauss(m)
    total = math.fsum(w)
    return [(float(v) + 1) / 2 for v in t], [float(v) / total for v in w]


QUADRATURES = {rule.__name__: rule for rule in (left, right, midpoint, trapezoid, gauss_legendre)}


def quadrature_nodes(quadrature, m):
    """(nodes α_k, weights v_k) of a rule in m nodes, with 0 ≤ α_k ≤ 1 and Σ v_k = 1.

    The Riemann rules are rational numbers, and their weights sum to one exactly.

    Raises
        ValueError  an unknown rule; m < 1, and m < 2 for "trapezoid".
    """
    if quadrature not in QUADRATURES:
        raise ValueError(f"there is no quadrature {quadrature!r}; {nearest(quadrature, QUADRATURES)}")
    if int(m) != m or m < 1:
        raise ValueError(f"m is {m}, expected a whole number of nodes, at least 1")
    return QUADRATURES[quadrature](int(m))
