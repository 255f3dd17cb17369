"""The alpha-beta rule: positive and negative contributions are normalised apart."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pyref.numerics import neg, ones_like, pos, zeros_like
from pyref.rules.rule import Rule

__all__ = ["AlphaBeta"]


@dataclass(frozen=True)
class AlphaBeta(Rule):
    """α times the share among positive contributions minus β times the share among negative ones.

        r_i = Σ_o ( α z_io⁺ / σ_ε(z_o⁺) - β z_io⁻ / σ_ε⁻(z_o⁻) ) · R_o          z_io = x_i w_io
        z_o⁺ = Σ_i z_io⁺ + b_o⁺,   z_o⁻ = Σ_i z_io⁻ + b_o⁻ ≤ 0,   σ_ε⁻(z⁻) = -σ_ε(-z⁻),   α - β = 1

    Source
        [bach2015] eq. (60). [sixt2020] eq. (5) speaks of the entries of one matrix; it is the two parts,
        each normalised by itself, that α - β = 1 conserves.
    Options
        bias="neuron" puts b⁺ with z⁺ and b⁻ with z⁻; "ignore" leaves it out.
        renormalize   a unit without negative contributions uses (1, 0) instead of (α, β), and one
                      without positive contributions drops its relevance.
    Laws
        Σ_i r_i = Σ_o R_o minus bias and stabiliser where z_o⁺ ≠ 0 and z_o⁻ ≠ 0. Without `renormalize` a unit
        with only positive contributions passes α R_o, and one with only negative ones -β R_o.
    Raises
        ValueError  α < 0, β < 0, |α - β - 1| > 1e-9, ε < 0, or an unknown option.
    """

    name: ClassVar[str] = "alpha_beta"

    alpha: float = 2
    beta: float = 1
    epsilon: float = 1e-6
    bias: str = "neuron"
    stabilizer: str = "add"
    renormalize: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (self.alpha >= 0 and self.beta >= 0 and abs(self.alpha - self.beta - 1) <= 1e-9):
            raise ValueError(f"alpha is {self.alpha} and beta is {self.beta}, expected alpha - beta = 1, both >= 0")

    # x⁺w⁺, x⁻w⁻ make z⁺;  x⁺w⁻, x⁻w⁺ make z⁻.
    @property
    def parts(self):
        return 4

    def input_part(self, p, x):
        return pos(x) if p in (0, 2) else neg(x)

    def weight_part(self, p, w):
        return pos(w) if p in (0, 3) else neg(w)

    def bias_part(self, p, b):
        if self.bias == "ignore" or p in (1, 3):
            return zeros_like(b)
        return pos(b) if p == 0 else neg(b)

    def _factors(self, z_pos, z_neg):
        """(α, β) of every unit, and where a unit drops its relevance."""
        alpha, beta = self.alpha * ones_like(z_pos), self.beta * ones_like(z_pos)
        if not self.renormalize:
            return alpha, beta, np.zeros_like(z_pos, dtype=bool)
        dead = z_pos == 0
        alone = z_neg == 0
        alpha = np.where(dead, zeros_like(alpha), np.where(alone, ones_like(alpha), alpha))
        beta = np.where(dead | alone, zeros_like(beta), beta)
        return alpha, beta, dead

    def split(self, R, z):
        z_pos, z_neg = z[0] + z[1], z[2] + z[3]
        alpha, beta, _ = self._factors(z_pos, z_neg)
        p = self._share(alpha * R, z_pos)
        q = -self._share(beta * R, -z_neg)
        return p, p, -q, -q

    def kept(self, R, z):
        z_pos, z_neg = z[0] + z[1], z[2] + z[3]
        alpha, beta, dead = self._factors(z_pos, z_neg)
        stabilizer_pos, dropped_pos = self._withheld(alpha * R, z_pos)
        stabilizer_neg, dropped_neg = self._withheld(beta * R, -z_neg)
        dropped = np.where(dead, R, dropped_pos - dropped_neg)
        return stabilizer_pos - stabilizer_neg, dropped
