"""The layers, one file each; LAYERS is the one table of them, by class name.

Each file states its functions `<layer>_forward`, `_gradient`, `_tangent`, `_relevance` on plain arrays, and
the layer as a node of a network.
"""

from pyref.layers import (
    activation,
    affine,
    aggregate,
    batchnorm,
    conv,
    conv_transpose,
    dense,
    dropout,
    embedding,
    gru,
    lstm,
    merge,
    norm,
    pool,
    recurrent,
    reduce,
    shape,
    softmax,
    upsample,
)
from pyref.layers.activation import *  # noqa: F403
from pyref.layers.affine import *  # noqa: F403
from pyref.layers.aggregate import *  # noqa: F403
from pyref.layers.batchnorm import *  # noqa: F403
from pyref.layers.conv import *  # noqa: F403
from pyref.layers.conv_transpose import *  # noqa: F403
from pyref.layers.dense import *  # noqa: F403
from pyref.layers.dropout import *  # noqa: F403
from pyref.layers.embedding import *  # noqa: F403
from pyref.layers.gru import *  # noqa: F403
from pyref.layers.layer import AffineLayer, Layer
from pyref.layers.lstm import *  # noqa: F403
from pyref.layers.merge import *  # noqa: F403
from pyref.layers.norm import *  # noqa: F403
from pyref.layers.pool import *  # noqa: F403
from pyref.layers.recurrent import *  # noqa: F403
from pyref.layers.reduce import *  # noqa: F403
from pyref.layers.shape import *  # noqa: F403
from pyref.layers.softmax import *  # noqa: F403
from pyref.layers.upsample import *  # noqa: F403

_MODULES = (
    affine,
    dense,
    conv,
    conv_transpose,
    pool,
    activation,
    recurrent,
    lstm,
    gru,
    aggregate,
    batchnorm,
    dropout,
    embedding,
    merge,
    norm,
    reduce,
    shape,
    softmax,
    upsample,
)

__all__ = ["Layer", "AffineLayer", "LAYERS"]
for _module in _MODULES:
    __all__ += _module.__all__

LAYERS = {
    name: value
    for name, value in list(globals().items())
    if isinstance(value, type) and issubclass(value, Layer) and value not in (Layer, AffineLayer)
}
