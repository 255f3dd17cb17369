"""The layers, one file each; LAYERS is the one table of them, by class name.

Each file states its functions `<layer>_forward`, `_gradient`, `_tangent`, `_relevance` on plain arrays, and
the layer as a node of a network.
"""

from pyref.layers import activation, affine, conv, conv_transpose, dense, pool
from pyref.layers.activation import *  # noqa: F403
from pyref.layers.affine import *  # noqa: F403
from pyref.layers.conv import *  # noqa: F403
from pyref.layers.conv_transpose import *  # noqa: F403
from pyref.layers.dense import *  # noqa: F403
from pyref.layers.layer import AffineLayer, Layer
from pyref.layers.pool import *  # noqa: F403

_MODULES = (affine, dense, conv, conv_transpose, pool, activation)

__all__ = ["Layer", "AffineLayer", "LAYERS"]
for _module in _MODULES:
    __all__ += _module.__all__

LAYERS = {
    name: value
    for name, value in list(globals().items())
    if isinstance(value, type) and issubclass(value, Layer) and value not in (Layer, AffineLayer)
}
