"""The z^B rule, for a first layer whose inputs lie in a box."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from pyref.check import check_choice
from pyref.numerics import neg, pos
from pyref.rules.rule import Rule

__all__ = ["ZBox"]


@dataclass(frozen=True)
class ZBox(Rule):
    """Relevance follows the distance to the bounds low ≤ x ≤ high that a weight pulls away from.

        r_i = Σ_o  ( (x_i - low_i) w_io⁺ + (x_i - high_i) w_io⁻ ) / σ_ε(D_o) · R_o,    D_o = the sum of the same over i

    Every term is ≥ 0, so nothing cancels.

    Source
        [montavon2017] eq. (7), rearranged: x w - low w⁺ - high w⁻. The bias takes no part.
    Options
        low, high     numbers, or arrays that broadcast against one sample, such as (channels, 1, 1).
        out_of_range  "raise", or "clip": a value outside is treated as the bound it exceeds.
    Laws
        R ≥ 0 gives r ≥ 0; Σ_i r_i = Σ_o R_o with ε = 0, except where every input sits at the bound that
        contributes nothing.
    Raises
        ValueError  low > high; x outside [low, high]; ε < 0; an unknown option.
    """

    name: ClassVar[str] = "z_box"

    low: Any = 0
    high: Any = 1
    epsilon: float = 1e-6
    stabilizer: str = "add"
    out_of_range: str = "raise"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("out_of_range", self.out_of_range, ("raise", "clip"))
        if not np.all(self.low <= self.high):
            raise ValueError(f"low is {self.low} and high is {self.high}, expected low <= high")

    def __eq__(self, other):
        return type(self) is type(other) and all(
            np.array_equal(getattr(self, f), getattr(other, f)) for f in self.__dataclass_fields__
        )

    def __hash__(self):
        return hash((self.name, self.epsilon, self.stabilizer, self.out_of_range))

    # (x - low) w⁺ and (x - high) w⁻
    @property
    def parts(self):
        return 2

    @property
    def keeps_zeros(self):
        return False

    def input_part(self, p, x):
        if self.out_of_range == "clip":
            x = np.minimum(np.maximum(x, self.low), self.high)
        elif np.any(outside := (x < self.low) | (x > self.high)):
            raise ValueError(
                f"x holds {int(outside.sum())} values outside [low, high] = [{self.low}, {self.high}]; "
                "widen the box, or pass out_of_range='clip'"
            )
        return x - (self.low, self.high)[p]

    def weight_part(self, p, w):
        return (pos, neg)[p](w)

    def split(self, R, z):
        s = self._share(R, z[0] + z[1])
        return s, s

    def kept(self, R, z):
        return self._withheld(R, z[0] + z[1])
