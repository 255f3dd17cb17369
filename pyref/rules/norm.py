"""The norm rule, for sums and averages that have no weights of their own."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pyref.check import check_choice
from pyref.rules.rule import Rule

__all__ = ["Norm"]


@dataclass(frozen=True)
class Norm(Rule):
    """Relevance in proportion to what each input adds.

        mode="signed"   r_i = Σ_o  z_io / σ_ε(z_o) · R_o              the epsilon rule with the node's own weights
        mode="abs"      r_i = Σ_o  |z_io| / σ_ε(Σ_i' |z_i'o|) · R_o   no poles where the terms cancel

    A constant that the node adds counts as one more input.

    Source
        the epsilon rule [bach2015] eq. (58) with implicit weights.
    Laws
        Σ_i r_i = Σ_o R_o with ε = 0, no constant, and z_o ≠ 0.
    Raises
        ValueError  ε < 0, or an unknown option.
    """

    name: ClassVar[str] = "norm"

    epsilon: float = 1e-6
    mode: str = "signed"
    stabilizer: str = "add"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("mode", self.mode, ("signed", "abs"))

    @property
    def parts(self):
        return 1

    @property
    def plain_part(self):
        return 0 if self.mode == "signed" else None

    def input_part(self, p, x):
        return np.abs(x) if self.mode == "abs" else x

    def weight_part(self, p, w):
        return np.abs(w) if self.mode == "abs" else w

    def bias_part(self, p, b):
        return np.abs(b) if self.mode == "abs" else b

    def split(self, R, z):
        return (self._share(R, z[0]),)

    def kept(self, R, z):
        return self._withheld(R, z[0])
