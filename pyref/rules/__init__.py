"""The propagation rules, one file each; RULES is the one table of them."""

from pyref.rules.alpha_beta import AlphaBeta
from pyref.rules.epsilon import Epsilon
from pyref.rules.flat import Flat
from pyref.rules.gamma import Gamma
from pyref.rules.norm import Norm
from pyref.rules.pass_ import Pass
from pyref.rules.rule import Rule
from pyref.rules.w_square import WSquare
from pyref.rules.z_box import ZBox
from pyref.rules.z_plus import ZPlus

__all__ = [
    "Rule",
    "Epsilon",
    "Gamma",
    "AlphaBeta",
    "ZPlus",
    "WSquare",
    "Flat",
    "ZBox",
    "Norm",
    "Pass",
    "RULES",
]

RULES = {rule.name: rule for rule in (Epsilon, Gamma, AlphaBeta, ZPlus, WSquare, Flat, ZBox, Norm, Pass)}
