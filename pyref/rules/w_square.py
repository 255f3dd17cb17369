"""The w² rule, for a first layer whose inputs are unbounded."""

from dataclasses import dataclass
from typing import ClassVar

from pyref.numerics import ones_like
from pyref.rules.rule import Rule

__all__ = ["WSquare"]


@dataclass(frozen=True)
class WSquare(Rule):
    """Relevance follows the squared weights, whatever the input.

        r_i = Σ_o  w_io² / σ_ε(Σ_i' w_i'o²) · R_o

    Source
        [montavon2017] eq. (5). The bias takes no part.
    Laws
        Σ_i r_i = Σ_o R_o with ε = 0 and no unit without weights. In a convolution the padding does not count.
    Raises
        ValueError  ε < 0, or an unknown option.
    """

    name: ClassVar[str] = "w_square"

    epsilon: float = 1e-6
    stabilizer: str = "add"

    @property
    def parts(self):
        return 1

    def input_part(self, p, x):
        return ones_like(x)

    def weight_part(self, p, w):
        return w * w

    def split(self, R, z):
        return (self._share(R, z[0]),)

    def kept(self, R, z):
        return self._withheld(R, z[0])
