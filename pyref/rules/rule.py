"""What a rule is: four elementwise functions over a few parts."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from pyref.check import check_choice
from pyref.numerics import safe_divide, stabilize, stabilizer_excess, zeros_like

__all__ = ["Rule", "STABILIZERS"]

STABILIZERS = ("add", "clip", "rms")


@dataclass(frozen=True)
class Rule:
    """How one affine node z = F_w(x) + b hands the relevance R of its outputs to its inputs.

        z_p = Σ_i input(p, x_i) · weight(p, w_io) + bias(p, b_o)         for each part p
        s_p = split(R_o, z_0 … z_{P-1})                                  the share per part
        r_i = Σ_p input(p, x_i) · Σ_o weight(p, w_io) · s_p,o

    A rule is these four functions and nothing else; the loop over i, o and p is written once, in
    `pyref.layers.affine`, and never names a rule. `input_part` may answer None: a part without inputs.
    `kept` says, from its own formula, what does not go on: (the stabiliser's share, what is dropped
    because a denominator is zero). What a bias keeps is Σ_p bias(p, b_o) · s_p,o.
    """

    name: ClassVar[str]
    bias_options: ClassVar[tuple[str, ...]] = ("neuron", "ignore")

    def __post_init__(self) -> None:
        epsilon = getattr(self, "epsilon", 0)
        if not epsilon >= 0:
            raise ValueError(f"epsilon is {epsilon}, expected a number >= 0")
        check_choice("stabilizer", getattr(self, "stabilizer", "add"), STABILIZERS)
        bias = getattr(self, "bias", "neuron")
        if bias in ("uniform", "proportional") and bias not in self.bias_options:
            raise TypeError(f"bias={bias!r} exists for Epsilon only, not for {type(self).__name__}")
        check_choice("bias", bias, self.bias_options)

    @property
    def parts(self) -> int:
        """P, the number of parts."""
        raise NotImplementedError

    @property
    def plain_part(self) -> int | None:
        """The part whose z_p is the pre-activation itself, so that a known z need not be computed again."""
        return None

    @property
    def keeps_zeros(self) -> bool:
        """Whether an input that is 0 receives nothing: every input part of it is 0."""
        parts = (self.input_part(p, np.zeros(1)) for p in range(self.parts))
        return all(x is None or not np.any(x) for x in parts)

    def input_part(self, p: int, x: Any) -> Any:
        """input(p, x), elementwise; None for a part without inputs."""
        raise NotImplementedError

    def weight_part(self, p: int, w: Any) -> Any:
        """weight(p, w), elementwise."""
        raise NotImplementedError

    def bias_part(self, p: int, b: Any) -> Any:
        """bias(p, b), elementwise; zeros where the part has no bias."""
        return zeros_like(b)

    def split(self, R: Any, z: tuple[Any, ...]) -> tuple[Any, ...]:
        """The shares s_p of the relevance R, given every z_p."""
        raise NotImplementedError

    def kept(self, R: Any, z: tuple[Any, ...]) -> tuple[Any, Any]:
        """(kept by the stabiliser, dropped where a denominator is zero), elementwise over outputs."""
        raise NotImplementedError

    def _share(self: Any, R: Any, z: Any) -> Any:
        """R / σ_ε(z), and 0 where that is 0 / 0."""
        return safe_divide(R, stabilize(z, self.epsilon, self.stabilizer))

    def _withheld(self: Any, R: Any, z: Any) -> tuple[Any, Any]:
        """What `_share` does not hand on: (R (σ_ε(z) - z) / σ_ε(z), R where σ_ε(z) = 0)."""
        denominator = stabilize(z, self.epsilon, self.stabilizer)
        by_stabilizer = safe_divide(R * stabilizer_excess(z, self.epsilon, self.stabilizer), denominator)
        return by_stabilizer, np.where(denominator == 0, R, zeros_like(R))
