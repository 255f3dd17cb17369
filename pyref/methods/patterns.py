"""Patterns: in which direction of its input a unit's signal lies, estimated from data in one pass."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pyref.check import check_choice
from pyref.layers.activation import Identity, ReLU
from pyref.layers.conv import Conv, conv_windows
from pyref.layers.dense import Dense
from pyref.network import Network
from pyref.numerics import is_exact, safe_divide, zeros_like
from pyref.rewrite import merge_batchnorm

__all__ = ["Patterns", "fit_patterns"]


@dataclass(frozen=True, eq=False)
class Patterns:
    """One pattern a for every unit of every dense and convolution layer.

    by_node       {node: array in the shape of the node's w}
    estimators    {node: "linear" or "two_component"}
    never_active  {node: (o,) True where no sample took part, so that a = 0}
    responses     {node: w·a per unit: 1, or 0 where a = 0}
    samples       how many inputs were seen
    """

    by_node: Mapping[str, Any]
    estimators: Mapping[str, str]
    never_active: Mapping[str, Any]
    responses: Mapping[str, Any]
    samples: int


def fit_patterns(
    network: Network,
    batches: Iterable[Any],
    estimator="two_component",
    *,
    regime="positive",
    backend=None,
    progress=None,
) -> Patterns:
    """The patterns of a network, from batches of inputs.

        y = w·x without the bias;      m marks the samples and positions that take part (per unit)
        linear          m = 1 everywhere:            n = Cov(x, y)
        two_component   m = 1[y + b > 0]:            n = E_m[x y] - E_m[x] E[y],   E[y] over all samples
        a = n / (w·n),   a = 0 where w·n = 0

    For a convolution x runs over the patches that its windows see, with one pattern per output channel. Units
    that no ReLU follows, such as logits, use the linear estimator. Batch normalisation is merged first.

    Source
        [kindermans2018] sec. 3.2; why a pattern and not a weight shows the signal: [haufe2014].
    Parameters
        batches    arrays as the network takes them, or {input name: array}; read once
        estimator  "linear" or "two_component"
        regime     of the two-component estimator: "positive", or "negative": m = 1[y + b ≤ 0]
        progress   wraps the loop over batches, as tqdm does
    Laws
        w·a = 1 where a ≠ 0. The same for any division into batches, up to rounding. Adding a constant to every y
        changes nothing.
    Numerics
        Running means and co-moments merged by Chan's formula, in float64.
    Raises
        ValueError  no batches; a node with weights for which patterns are not defined.
    """
    check_choice("estimator", estimator, ("linear", "two_component"))
    check_choice("regime", regime, ("positive", "negative"))
    network = merge_batchnorm(network)
    nodes = [node for node in network.nodes.values() if isinstance(node.layer, Dense | Conv)]
    for node in network.nodes.values():
        if node.layer.kind in ("dense", "conv", "recurrent") and node not in nodes:
            raise ValueError(
                f"patterns exist for Dense and Conv, but node {node.name!r} is {type(node.layer).__name__}"
            )
    estimators = {n.name: estimator if _feeds_relu(network, n.name) else "linear" for n in nodes}
    moments: dict[str, _Moments] = {}
    samples = 0
    for x in (progress or (lambda steps: steps))(batches):
        record = network.forward(x, backend)
        samples += next(iter(network.input_arrays(x).values())).shape[0]
        for node in nodes:
            X, W, b = _as_matrix(node.layer, record[node.inputs[0]])
            Y = X @ W
            active = Y + b > 0
            mask = {"linear": active | True, "two_component": active if regime == "positive" else ~active}
            new = _Moments.of(X, Y, mask[estimators[node.name]])
            moments[node.name] = moments[node.name].merged(new) if node.name in moments else new
    if not samples:
        raise ValueError("fit_patterns was given no samples")
    by_node, never, responses = {}, {}, {}
    for node in nodes:
        n = moments[node.name].direction()
        _, W, _ = _as_matrix(node.layer, None)
        a = safe_divide(n, np.sum(W * n, axis=1, keepdims=True))
        by_node[node.name] = _as_weights(node.layer, a)
        never[node.name] = np.reshape(moments[node.name].count == 0, -1)
        responses[node.name] = np.reshape(np.sum(W * a, axis=1), -1)
    return Patterns(by_node, estimators, never, responses, samples)


@dataclass(frozen=True)
class _Moments:
    """Running moments of (x, y), per group g and unit o, over the samples that the unit's mask lets in.

    count, mean_y, all_mean_y (g, o)   mean_x, comoment (g, d, o)   all_count: number of all samples
    """

    count: Any
    mean_x: Any
    mean_y: Any
    comoment: Any  # Σ_m (x - mean_x)(y - mean_y)
    all_count: int
    all_mean_y: Any

    @classmethod
    def of(cls, X, Y, mask):
        """Of one batch: X (g, N, d), Y and mask (g, N, o)."""
        m = np.where(mask, zeros_like(Y) + 1, zeros_like(Y))
        count = np.sum(m, axis=1)
        total = X.shape[1]
        centre = np.sum(X, axis=1, keepdims=True) / total
        Xt = np.swapaxes(X - centre, 1, 2)
        mean_x = np.swapaxes(centre, 1, 2) + safe_divide(Xt @ m, count[:, None])
        mean_y = safe_divide(np.sum(m * Y, axis=1), count)
        comoment = Xt @ (m * (Y - mean_y[:, None]))
        return cls(count, mean_x, mean_y, comoment, total, np.sum(Y, axis=1) / total)

    def merged(self, other):
        """Of two sets of samples together."""
        count = self.count + other.count
        share = safe_divide(other.count, count)
        dx, dy = other.mean_x - self.mean_x, other.mean_y - self.mean_y
        between = dx * (dy * self.count * share)[:, None]
        total = self.all_count + other.all_count
        return _Moments(
            count,
            self.mean_x + dx * share[:, None],
            self.mean_y + dy * share,
            self.comoment + other.comoment + between,
            total,
            self.all_mean_y + (other.all_mean_y - self.all_mean_y) * other.all_count / total,
        )

    def direction(self):
        """n = E_m[x y] - E_m[x] E[y] = Cov_m(x, y) + E_m[x] (E_m[y] - E[y]); 0 where nothing took part."""
        covariance = safe_divide(self.comoment, self.count[:, None])
        shift = np.where(self.count == 0, zeros_like(self.mean_y), self.mean_y - self.all_mean_y)
        return covariance + self.mean_x * shift[:, None]


def _wide(v):
    return v if is_exact(v) else v.astype(np.float64)


def _as_matrix(layer, x):
    """(X (g, N, d), W (g, d, o), b (g, 1, o)): the layer as one matrix per group of channels; X None without x."""
    w = layer.w
    if isinstance(layer, Dense):
        X = None if x is None else _wide(np.reshape(x, (1, -1, x.shape[-1])))
        b = zeros_like(w, (w.shape[1],)) if layer.b is None else layer.b
        return X, _wide(w)[None], _wide(b)[None, None]
    g = layer.groups
    W = np.swapaxes(np.reshape(_wide(w), (g, w.shape[0] // g, -1)), 1, 2)
    b = zeros_like(w, (w.shape[0],)) if layer.b is None else layer.b
    b = np.reshape(_wide(b), (g, 1, -1))
    if x is None:
        return None, W, b
    windows = conv_windows(x, w, layer.stride, layer.padding, layer.dilation, g)
    seen = np.stack([_wide(v) for v in windows.look(x)], axis=2)  # (n, c, taps, *positions)
    positions = math.prod(seen.shape[3:])
    per_group = np.reshape(seen, (seen.shape[0], g, W.shape[1], positions))
    return np.reshape(np.transpose(per_group, (1, 0, 3, 2)), (g, -1, W.shape[1])), W, b


def _as_weights(layer, a):
    """Patterns (g, d, o) in the shape and dtype of the layer's w."""
    if isinstance(layer, Dense):
        return a[0].astype(layer.w.dtype)
    return np.reshape(np.swapaxes(a, 1, 2), layer.w.shape).astype(layer.w.dtype)


def _feeds_relu(network, name):
    """True where everything that reads a node's output is a ReLU, perhaps behind pooling or reshaping."""
    readers = network.consumers(name)
    if not readers or (name, 0) in network.outputs:
        return False

    def is_relu(node):
        if isinstance(node.layer, ReLU):
            return True
        through = node.layer.kind in ("pool", "shape", "dropout") or isinstance(node.layer, Identity)
        return through and _feeds_relu(network, node.name)

    return all(map(is_relu, readers))
