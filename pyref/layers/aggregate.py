"""Aggregation over the nodes of a graph whose adjacency is constant."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from pyref.check import check_shape
from pyref.layers.affine import Term, affine_relevance
from pyref.layers.layer import AffineLayer
from pyref.numerics import ones_like, zeros_like

__all__ = ["Aggregate", "aggregate_forward", "aggregate_gradient", "aggregate_tangent", "aggregate_relevance"]


def aggregate_forward(x, adjacency):
    """Each node sums its neighbours.

        y_v = Σ_u A_vu x_u

    Shapes
        x (n, nodes, c)   adjacency A (nodes after, nodes), with normalisation and self-loops included   →
        y (n, nodes after, c)
    Raises
        ValueError  a shape does not fit.
    """
    _check(x, adjacency)
    return adjacency @ x


def aggregate_gradient(x, adjacency, G):
    """Gradient at x: G_x,u = Σ_v A_vu G_v.

    Shapes
        G (n, nodes after, c)   →   (n, nodes, c)
    """
    _check(x, adjacency)
    check_shape("G", G, (x.shape[0], adjacency.shape[0], x.shape[2]))
    return adjacency.T @ G


def aggregate_tangent(x, adjacency, dx):
    """Change along dx: A dx."""
    check_shape("dx", dx, x.shape)
    return aggregate_forward(dx, adjacency)


def aggregate_relevance(x, adjacency, R, rule, z=None, account=None):
    """Relevance of the nodes' features under a rule, with A as weights. Where A_vu = 0 there is no edge.

    Shapes
        R (n, nodes after, c), z the known output or None   →   r (n, nodes, c)
    Laws
        Σ r = Σ R minus what `account` says stays behind.
    Raises
        ValueError  a shape does not fit.
    """
    _check(x, adjacency)
    check_shape("R", R, (x.shape[0], adjacency.shape[0], x.shape[2]))
    return affine_relevance(aggregate_terms(x, adjacency), None, R, rule, z, account)[0]


def aggregate_terms(x, adjacency):
    """The layer as a bilinear map, for the rule algebra. Weights that a rule sets count on edges only."""
    edge = np.where(adjacency != 0, ones_like(adjacency), zeros_like(adjacency))
    return (Term(x, adjacency, forward=lambda x, w: (w * edge) @ x, transpose=lambda u, w: (w * edge).T @ u),)


def _check(x, adjacency):
    check_shape("x", x, (None, None, None))
    check_shape("adjacency", adjacency, (None, x.shape[1]))


@dataclass(frozen=True, eq=False)
class Aggregate(AffineLayer):
    """y = A x over the node axis of x (n, nodes, c), with a constant adjacency A."""

    kind: ClassVar[str] = "aggregate"

    adjacency: Any

    def __post_init__(self):
        check_shape("adjacency", self.adjacency, (None, None))

    def forward(self, backend, x):
        return backend.aggregate_forward(x, self.adjacency)

    def gradient(self, backend, x, y, G):
        return (backend.aggregate_gradient(x[0], self.adjacency, G),)

    def tangent(self, backend, x, y, dx):
        return backend.aggregate_tangent(x[0], self.adjacency, dx[0])

    def relevance(self, backend, x, y, R, rule, gate="all", account=None):
        return (backend.aggregate_relevance(x[0], self.adjacency, R, rule, y, account),)

    def terms(self, x):
        return aggregate_terms(x[0], self.adjacency)
