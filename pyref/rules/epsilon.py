"""The epsilon rule, which with ε = 0 is the z rule."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pyref.numerics import ones_like, safe_divide, sign, zeros_like
from pyref.rules.rule import Rule

__all__ = ["Epsilon"]


@dataclass(frozen=True)
class Epsilon(Rule):
    """Each input receives its share of the pre-activation.

        r_i = Σ_o  x_i w_io / σ_ε(z_o) · R_o           z_o = Σ_i x_i w_io + b_o

    Source
        [bach2015] eq. (58); [ancona2017] eq. (2), which misprints the bias inside the sum over inputs.
    Options
        bias="neuron"        b is one more input, of value 1: it sits in z and keeps its share.
        bias="ignore"        b takes no part: z_o = Σ_i x_i w_io.
        bias="uniform"       b_o is shared evenly: numerator x_i w_io + b_o / n_o, with n_o the number of
                             connected inputs (a convolution counts the taps that lie inside the image).
        bias="proportional"  numerator x_i w_io + b_o |x_i w_io| / A_o, A_o = Σ_i |x_i w_io|; uniform where A_o = 0.
        absorb_epsilon       with "uniform", shares b_o + ε s(z_o) instead of b_o, so that nothing leaks.
        stabilizer           "add", "clip" or "rms": `pyref.stabilize`.
    Laws
        Σ_i r_i = Σ_o R_o (z_o - b_o) / σ_ε(z_o) under "neuron"; with ε = 0 the other three conserve R.
    Numerics
        Unit o is conditioned like A_o / |z_o|: near a zero of z rounding is amplified.
    Raises
        ValueError  ε < 0, or an unknown option.
    """

    name: ClassVar[str] = "epsilon"
    bias_options: ClassVar[tuple[str, ...]] = ("neuron", "ignore", "uniform", "proportional")

    epsilon: float = 1e-6
    bias: str = "neuron"
    stabilizer: str = "add"
    absorb_epsilon: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.absorb_epsilon and (self.bias != "uniform" or self.stabilizer != "add"):
            raise ValueError("absorb_epsilon needs bias='uniform' and stabilizer='add'")

    # Part 0 is the sum itself. The options that hand the bias to the inputs add: the bias alone (no
    # inputs), the count of connected inputs, and for "proportional" the absolute sum.
    @property
    def parts(self):
        return {"neuron": 1, "ignore": 1, "uniform": 3, "proportional": 4}[self.bias]

    @property
    def plain_part(self):
        return None if self.bias == "ignore" else 0

    def input_part(self, p, x):
        return (x, None, ones_like(x), np.abs(x))[p]

    def weight_part(self, p, w):
        return (w, None, ones_like(w), np.abs(w))[p]

    def bias_part(self, p, b):
        return zeros_like(b) if self.bias == "ignore" or p > 1 else b

    def split(self, R, z):
        s = self._share(R, z[0])
        if self.parts == 1:
            return (s,)
        b, count = z[1], z[2]
        handed_on = np.where(count == 0, zeros_like(s), -s)  # a unit without inputs keeps its bias
        if self.bias == "proportional":
            absolute = z[3]
            by_size = safe_divide(s * b, absolute)
            evenly = np.where(absolute == 0, safe_divide(s * b, count), zeros_like(s))
            return (s, handed_on, evenly, by_size)
        shared = b + self.epsilon * sign(z[0]) if self.absorb_epsilon else b
        return (s, handed_on, safe_divide(s * shared, count))

    def kept(self, R, z):
        by_stabilizer, dropped = self._withheld(R, z[0])
        if self.absorb_epsilon:
            by_stabilizer = np.where(z[2] == 0, by_stabilizer, zeros_like(by_stabilizer))
        return by_stabilizer, dropped
