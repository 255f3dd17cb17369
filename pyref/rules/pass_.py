"""The pass rule: relevance goes through unchanged."""

from dataclasses import dataclass
from typing import ClassVar

from pyref.rules.rule import Rule

__all__ = ["Pass"]


@dataclass(frozen=True)
class Pass(Rule):
    """r = R, for a node whose output has the shape of its one input, such as batch normalisation after merging.

    Source
        the identity. It has no parts: nothing is divided.
    Laws
        Σ_i r_i = Σ_o R_o, always.
    Raises
        ValueError  where it is applied to a node that changes the shape or has several inputs.
    """

    name: ClassVar[str] = "pass_"

    @property
    def parts(self):
        return 0

    @property
    def keeps_zeros(self):
        return False
