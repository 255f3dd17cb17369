"""pyref: attribution methods for neural networks as a textbook, in NumPy and nothing else.

The letters, the same in every file and every language:

    x input   w weights   b bias   z pre-activation   a activation, y any output   R relevance that arrives
    s share R / σ(z)   r relevance that leaves   G gradient-like signal   M multiplier   d· a change along a direction
    ·0 the value at the baseline

    n sample   i input   o output   c channel   h, w image axes   t time step   p part of a rule

Arrays are batch first: images (n, c, h, w), sequences (n, t, c).
"""

from pyref import check, layers, numerics, rules, trace
from pyref.layers import *  # noqa: F403
from pyref.numerics import *  # noqa: F403
from pyref.rules import *  # noqa: F403
from pyref.trace import *  # noqa: F403

__all__ = [*numerics.__all__, *rules.__all__, *trace.__all__, *layers.__all__]
