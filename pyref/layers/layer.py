"""What a node of a network must answer, whatever it computes."""

from typing import Any, ClassVar

__all__ = ["Inputs", "Layer", "AffineLayer"]


class Inputs(tuple):
    """The inputs of a node in a forward pass, with what its layer keeps for the way back."""

    def keep(self, backend, make):
        """make(), which is called once for each backend."""
        kept = vars(self).setdefault("kept", [])
        for known, value in kept:
            if known is backend:
                return value
        kept.append((backend, make()))
        return kept[-1][1]


class Layer:
    """A frozen dataclass with its parameters, and the questions that a backward walk asks of it.

    x is the tuple of the node's inputs, y its output (a tuple if it has several), G, R and M what arrives
    at the output; each answer is a tuple with one array per input, or None for an input that carries none
    (integer ids). `backend` is a module with pyref's functions.

        forward      y
        gradient     G_x = (∂y/∂x)ᵀ G
        tangent      dy = (∂y/∂x) dx
        relevance    R_x under a propagation rule, or for a node that is not affine its own convention
        multiplier   DeepLIFT Rescale: M_x with Σ M_x (x - x̄) = Σ M (y - ȳ) where the node is complete

    A network asks for its forward pass through `run`, whose x is an `Inputs`: a layer that computes more than its
    output, and needs it again, keeps it there.

    A piecewise linear layer also answers

        ray          along x + t dx from t = 0: (dy, the one-sided derivative of y at t = 0;
                     the least t > 0, per sample, at which dy may change, or None where it never does)

    kind     what composites select by: "dense", "conv", "activation", "norm", ...
    affine   whether a propagation rule applies to it
    linear   whether its gradient and multiplier look at the shapes of x and y alone
    arity    number of inputs, None for any number from one
    outputs  number of outputs
    piecewise_linear   whether exact Integrated Gradients can follow it
    cheap    whether its output takes one pass over its input to compute again, and no backward answer reads it
    rectifies   whether it has `rectified`, max(y, 0): what it puts out and the ReLU behind it, at once
    """

    kind: ClassVar[str] = "layer"
    affine: ClassVar[bool] = False
    linear: ClassVar[bool] = False
    arity: ClassVar[int | None] = 1
    piecewise_linear: ClassVar[bool] = False
    cheap: ClassVar[bool] = False
    rectifies: ClassVar[bool] = False

    def __init_subclass__(cls, **options):
        super().__init_subclass__(**options)
        answers = {"forward", "run", "rectified", "gradient", "tangent", "relevance", "multiplier", "ray"}
        if answers & vars(cls).keys():  # who answers for itself says by itself what it puts out, and may ask for z
            cls.rectifies = "rectified" in vars(cls)

    @property
    def outputs(self) -> int:
        return 1

    def forward(self, backend: Any, *x: Any) -> Any:
        raise NotImplementedError

    def run(self, backend: Any, x: Inputs) -> Any:
        return self.forward(backend, *x)

    def rectified(self, backend: Any, *x: Any) -> Any:
        raise NotImplementedError

    def gradient(self, backend: Any, x: tuple, y: Any, G: Any) -> tuple:
        raise NotImplementedError

    def tangent(self, backend: Any, x: tuple, y: Any, dx: tuple) -> Any:
        raise NotImplementedError

    def relevance(
        self, backend: Any, x: tuple, y: Any, R: Any, rule: Any, gate: str = "all", account: Any = None
    ) -> tuple:
        raise NotImplementedError

    def multiplier(
        self,
        backend: Any,
        x: tuple,
        y: Any,
        x0: tuple,
        y0: Any,
        M: Any,
        product: str = "symmetric",
        max_pool: str = "xmax",
    ) -> tuple:
        raise NotImplementedError

    def ray(self, backend: Any, x: tuple, y: Any, dx: tuple) -> tuple:
        return self.tangent(backend, x, y, dx), None


class AffineLayer(Layer):
    """An affine node: the multiplier is the gradient, and every propagation rule applies."""

    affine: ClassVar[bool] = True
    linear: ClassVar[bool] = True
    piecewise_linear: ClassVar[bool] = True

    def terms(self, x: tuple) -> tuple:
        """The node as bilinear maps (`pyref.layers.affine.Term`), one per input."""
        raise NotImplementedError

    def multiplier(self, backend, x, y, x0, y0, M, product="symmetric", max_pool="xmax"):
        return self.gradient(backend, x, y, M)
