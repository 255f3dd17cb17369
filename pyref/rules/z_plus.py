"""The z⁺ rule: relevance follows positive contributions only."""

from dataclasses import dataclass
from typing import ClassVar

from pyref.numerics import neg, pos, zeros_like
from pyref.rules.rule import Rule

__all__ = ["ZPlus"]


@dataclass(frozen=True)
class ZPlus(Rule):
    """The alpha-beta rule with α = 1, β = 0.

        r_i = Σ_o  z_io⁺ / σ_ε(z_o⁺) · R_o          z_o⁺ = Σ_i (x_i w_io)⁺ + b_o⁺

    Source
        [montavon2017] eq. (6), for x ≥ 0; the split of x by sign covers every input.
        With bias="ignore" and ε = 0 it is Excitation Backprop's winning probability [zhang2016] eq. (3).
    Laws
        R ≥ 0 gives r ≥ 0. Σ_i r_i = Σ_o R_o (1 - b_o⁺ / z_o⁺) with ε = 0; a unit with z_o⁺ = 0 drops R_o.
    Numerics
        Sums of one sign: condition number 1.
    Raises
        ValueError  ε < 0, or an unknown option.
    """

    name: ClassVar[str] = "z_plus"

    epsilon: float = 1e-6
    bias: str = "neuron"
    stabilizer: str = "add"

    @property
    def parts(self):
        return 2

    def input_part(self, p, x):
        return (pos, neg)[p](x)

    def weight_part(self, p, w):
        return (pos, neg)[p](w)

    def bias_part(self, p, b):
        return pos(b) if p == 0 and self.bias == "neuron" else zeros_like(b)

    def split(self, R, z):
        s = self._share(R, z[0] + z[1])
        return s, s

    def kept(self, R, z):
        return self._withheld(R, z[0] + z[1])
