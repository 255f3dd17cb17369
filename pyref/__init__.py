"""pyref: attribution methods for neural networks as a textbook, in NumPy and nothing else.

The letters, the same in every file and every language:

    x input   w weights   b bias   z pre-activation   a activation, y any output   R relevance that arrives
    s share R / σ(z)   r relevance that leaves   G gradient-like signal   M multiplier   d· a change along a direction
    ·0 the value at the baseline

    n sample   i input   o output   c channel   h, w image axes   t time step   p part of a rule

Arrays are batch first: images (n, c, h, w), sequences (n, t, c).
"""

from typing import TYPE_CHECKING, Any

from pyref import attribution, layers, methods, metrics, network, numerics, rewrite, rules, summary, target, trace
from pyref.attribution import *  # noqa: F403
from pyref.check import check_finite
from pyref.layers import *  # noqa: F403
from pyref.methods import *  # noqa: F403
from pyref.metrics import *  # noqa: F403
from pyref.network import *  # noqa: F403
from pyref.numerics import *  # noqa: F403
from pyref.rewrite import *  # noqa: F403
from pyref.rules import *  # noqa: F403
from pyref.rules import composite
from pyref.rules.composite import *  # noqa: F403
from pyref.summary import *  # noqa: F403
from pyref.target import *  # noqa: F403
from pyref.trace import *  # noqa: F403

__all__: list[str] = ["check_finite"]
__all__ += numerics.__all__
__all__ += rules.__all__
__all__ += composite.__all__
__all__ += trace.__all__
__all__ += layers.__all__
__all__ += network.__all__
__all__ += rewrite.__all__
__all__ += summary.__all__
__all__ += target.__all__
__all__ += attribution.__all__
__all__ += methods.__all__
__all__ += metrics.__all__

if TYPE_CHECKING:
    # A type checker does not follow __all__ through the cycle of these modules.
    def __getattr__(name: str) -> Any: ...
