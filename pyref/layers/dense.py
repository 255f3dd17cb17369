"""The dense layer: z = x w + b."""

from dataclasses import dataclass
from typing import Any, ClassVar

from pyref.check import check_shape
from pyref.layers.affine import Term, affine_relevance
from pyref.layers.layer import AffineLayer

__all__ = ["Dense", "dense_forward", "dense_gradient", "dense_tangent", "dense_relevance"]


def dense_forward(x, w, b=None):
    """Pre-activation of a dense layer.

        z_o = Σ_i x_i w_io + b_o

    Shapes
        x (n, ..., i)   w (i, o)   b (o,) or None   →   z (n, ..., o)
    Raises
        ValueError  a shape does not fit.
    """
    check_shape("w", w, (x.shape[-1], None))
    if b is not None:
        check_shape("b", b, (w.shape[1],))
    z = x @ w
    return z if b is None else z + b


def dense_gradient(x, w, b, G):
    """Gradient at the input: G_x,i = Σ_o w_io G_o, the adjoint of `dense_forward` in x.

    Shapes
        G (n, ..., o)   →   (n, ..., i)
    """
    check_shape("G", G, (*x.shape[:-1], w.shape[1]))
    return G @ w.T


def dense_tangent(x, w, b, dx):
    """Change of z along dx: dz_o = Σ_i dx_i w_io.

    Shapes
        dx (n, ..., i)   →   dz (n, ..., o)
    """
    check_shape("dx", dx, x.shape)
    return dense_forward(dx, w)


def dense_relevance(x, w, b, R, rule, z=None, account=None):
    """Relevance of a dense layer's inputs under a rule.

        r_i = Σ_p input(p, x_i) · Σ_o weight(p, w_io) · s_p,o          s = split(R, z): see `pyref.Rule`

    Shapes
        x (n, ..., i)   w (i, o)   b (o,) or None   R (n, ..., o)   →   r (n, ..., i)
        z: the known pre-activation, computed again when omitted.
    Units
        r and R are in the unit of the network's output.
    Laws
        Σ_i r_i = Σ_o R_o minus what `account` says stays behind.
    Raises
        ValueError  a shape does not fit.
    Example
        >>> import numpy as np, pyref
        >>> x, w, b = np.array([[1.0, -2.0, 3.0]]), np.array([[2.0, -1], [1, 1], [-1, 2]]), np.array([1.0, -2])
        >>> pyref.dense_relevance(x, w, b, np.array([[1.0, 2.0]]), pyref.Epsilon(epsilon=0))
        array([[-3. , -3. , 13.5]])
    """
    check_shape("w", w, (x.shape[-1], None))
    check_shape("R", R, (*x.shape[:-1], w.shape[1]))
    if b is not None:
        check_shape("b", b, (w.shape[1],))
    if z is not None:
        check_shape("z", z, R.shape)
    return affine_relevance(dense_terms(x, w), b, R, rule, z, account)[0]


def dense_terms(x, w):
    """The layer as a bilinear map, for the rule algebra."""
    return (Term(x, w, forward=lambda x, w: x @ w, transpose=lambda u, w: u @ w.T),)


@dataclass(frozen=True, eq=False)
class Dense(AffineLayer):
    """z = x w + b, with w (i, o) and b (o,) or None."""

    kind: ClassVar[str] = "dense"

    w: Any
    b: Any = None

    def __post_init__(self):
        check_shape("w", self.w, (None, None))
        if self.b is not None:
            check_shape("b", self.b, (self.w.shape[1],))

    def forward(self, backend, x):
        return backend.dense_forward(x, self.w, self.b)

    def gradient(self, backend, x, y, G):
        return (backend.dense_gradient(x[0], self.w, self.b, G),)

    def tangent(self, backend, x, y, dx):
        return backend.dense_tangent(x[0], self.w, self.b, dx[0])

    def relevance(self, backend, x, y, R, rule, gate="all", account=None):
        return (backend.dense_relevance(x[0], self.w, self.b, R, rule, y, account),)

    def terms(self, x):
        return dense_terms(x[0], self.w)
