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

__all__ = ["Layer", "AffineLayer", "LAYERS"]
__all__ += affine.__all__
__all__ += dense.__all__
__all__ += conv.__all__
__all__ += conv_transpose.__all__
__all__ += pool.__all__
__all__ += activation.__all__
__all__ += recurrent.__all__
__all__ += lstm.__all__
__all__ += gru.__all__
__all__ += aggregate.__all__
__all__ += batchnorm.__all__
__all__ += dropout.__all__
__all__ += embedding.__all__
__all__ += merge.__all__
__all__ += norm.__all__
__all__ += reduce.__all__
__all__ += shape.__all__
__all__ += softmax.__all__
__all__ += upsample.__all__

LAYERS = {
    name: value
    for name, value in list(globals().items())
    if isinstance(value, type) and issubclass(value, Layer) and value not in (Layer, AffineLayer)
}
