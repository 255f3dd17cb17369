"""The gamma rule: contributions that agree with the sign of the output weigh more."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pyref.check import check_choice
from pyref.numerics import neg, pos, zeros_like
from pyref.rules.rule import Rule

__all__ = ["Gamma"]


@dataclass(frozen=True)
class Gamma(Rule):
    """Between the epsilon rule (γ = 0) and the z⁺ rule (γ → ∞).

    form="generalised", for inputs of any sign, with z_io = x_i w_io:

        q_io = z_io + γ z_io⁺  where z_o > 0,     z_io + γ z_io⁻  where z_o < 0
        r_i  = Σ_o  q_io / σ_ε(D_o) · R_o          D_o = Σ_i q_io + b_o + γ b_o^±

    form="weight", for inputs ≥ 0:

        r_i  = Σ_o  x_i w'_io / σ_ε(D_o) · R_o     w' = w + γ w⁺,  D_o = Σ_i x_i w'_io + b_o + γ b_o⁺

    They agree where x ≥ 0 and z_o > 0.

    Source
        [montavon2019] sec. 10.2.3 (weight form); [andeol2021] for the generalised form.
    Laws
        Σ_i r_i = Σ_o R_o minus the bias's, the stabiliser's and the dropped share.
    Numerics
        The generalised form never cancels: |D_o| ≥ |z_o|. It jumps at z_o = 0, where the unit drops R_o.
    Raises
        ValueError  γ < 0, ε < 0, or an unknown option.
    """

    name: ClassVar[str] = "gamma"

    gamma: float = 0.25
    epsilon: float = 1e-6
    bias: str = "neuron"
    stabilizer: str = "add"
    form: str = "generalised"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("form", self.form, ("generalised", "weight"))
        if not self.gamma >= 0:
            raise ValueError(f"gamma is {self.gamma}, expected a number >= 0")

    # generalised: z; x⁺w⁺, x⁻w⁻ (positive contributions); x⁺w⁻, x⁻w⁺ (negative ones).  weight: xw, xw⁺.
    @property
    def parts(self):
        return 5 if self.form == "generalised" else 2

    @property
    def plain_part(self):
        return None if self.bias == "ignore" else 0

    def input_part(self, p, x):
        if self.form == "weight":
            return x
        return x if p == 0 else pos(x) if p in (1, 3) else neg(x)

    def weight_part(self, p, w):
        if self.form == "weight":
            return (w, pos(w))[p]
        return w if p == 0 else pos(w) if p in (1, 4) else neg(w)

    def bias_part(self, p, b):
        if self.bias == "ignore":
            return zeros_like(b)
        if self.form == "weight":
            return (b, pos(b))[p]
        return b if p == 0 else pos(b) if p == 1 else neg(b) if p == 3 else zeros_like(b)

    def _denominator(self, z):
        """(D, and where z > 0, and where z < 0). NaN is neither, and D carries it on."""
        if self.form == "weight":
            return z[0] + self.gamma * z[1], None, None
        up, down = z[0] > 0, z[0] < 0
        agreeing = np.where(up, z[1] + z[2], np.where(down, z[3] + z[4], zeros_like(z[0])))
        return z[0] + self.gamma * agreeing, up, down

    def split(self, R, z):
        D, up, down = self._denominator(z)
        s = self._share(R, D)
        if self.form == "weight":
            return s, self.gamma * s
        s = np.where(z[0] == 0, zeros_like(s), s)
        s_up = np.where(up, self.gamma * s, zeros_like(s))
        s_down = np.where(down, self.gamma * s, zeros_like(s))
        return s, s_up, s_up, s_down, s_down

    def kept(self, R, z):
        D, *_ = self._denominator(z)
        by_stabilizer, dropped = self._withheld(R, D)
        if self.form == "weight":
            return by_stabilizer, dropped
        dead = z[0] == 0
        return np.where(dead, zeros_like(by_stabilizer), by_stabilizer), np.where(dead, R, dropped)
