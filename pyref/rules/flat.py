"""The flat rule: every connected input receives the same."""

from dataclasses import dataclass
from typing import ClassVar

from pyref.numerics import ones_like
from pyref.rules.rule import Rule

__all__ = ["Flat"]


@dataclass(frozen=True)
class Flat(Rule):
    """Relevance is spread evenly over a unit's inputs.

        r_i = Σ_o  1 / σ_ε(n_o) · R_o            n_o: the number of inputs connected to o

    Source
        [lapuschkin2019], suppl. note 1. The bias takes no part.
    Laws
        Σ_i r_i = Σ_o R_o with ε = 0. In a convolution the padding does not count.
    Raises
        ValueError  ε < 0, or an unknown option.
    """

    name: ClassVar[str] = "flat"

    epsilon: float = 1e-6
    stabilizer: str = "add"

    @property
    def parts(self):
        return 1

    def input_part(self, p, x):
        return ones_like(x)

    def weight_part(self, p, w):
        return ones_like(w)

    def split(self, R, z):
        return (self._share(R, z[0]),)

    def kept(self, R, z):
        return self._withheld(R, z[0])
