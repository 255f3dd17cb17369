"""Paths from a baseline to the input, along which gradients are integrated."""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pyref.methods.method import baselines
from pyref.numerics import number_like

__all__ = ["Segment", "Curve", "paths"]


@dataclass(frozen=True)
class Segment:
    """The straight line from `start` to `end`, each {leaf: array}: γ(α) = start + α (end - start)."""

    start: dict[str, Any]
    end: dict[str, Any]

    @property
    def velocity(self):
        """γ′, the same at every α."""
        return {name: self.end[name] - p for name, p in self.start.items()}

    def __call__(self, alpha):
        if alpha == 1:
            return self.end
        velocity = self.velocity
        return {name: p + number_like(p, alpha) * velocity[name] for name, p in self.start.items()}

    def of_samples(self, rows, alpha):
        """γ of some samples, with one α for each of them."""
        p = {name: np.take(v, rows, axis=0) for name, v in self.start.items()}
        d = {name: np.take(v, rows, axis=0) for name, v in self.velocity.items()}
        return {name: v + per_sample(alpha, v) * d[name] for name, v in p.items()}


@dataclass(frozen=True)
class Curve:
    """Any path γ: α ↦ {leaf: value}, and its derivative γ′ where it is known."""

    gamma: Callable[[Any], dict[str, Any]]
    derivative: Callable[[Any], dict[str, Any]] | None = None

    def __call__(self, alpha):
        return self.gamma(alpha)


def per_sample(alpha, v):
    """One number per sample, so that it broadcasts against v (n, ...)."""
    return np.reshape(alpha, (-1,) + (1,) * (v.ndim - 1))


def paths(run, baseline, path):
    """What to integrate along: a list of paths to average over, each a list of stretches in a row.

        path=None        the straight line from each baseline
        points           an array (k, *leaf) or a list of k points, from the first to the last in straight lines;
                         {leaf: points} for several leaves
        callable, or a pair of callables (γ, γ′)

    Raises
        ValueError  a baseline together with a path; a point that does not fit; fewer than two points.
    """
    if path is None:
        return [[Segment(b, run.leaf_values)] for b in baselines(run, baseline)]
    if baseline is not None:
        raise ValueError("baseline and path are both given, but a path says itself where it begins")
    if callable(path):
        return [[Curve(_fitted(run, path))]]
    if isinstance(path, tuple) and len(path) == 2 and all(map(callable, path)):
        return [[Curve(*(_fitted(run, part) for part in path))]]
    if isinstance(path, Mapping):
        points = [dict(zip(path, point, strict=True)) for point in zip(*path.values(), strict=True)]
    else:
        points = list(path)
    if len(points) < 2:
        raise ValueError(f"path has {len(points)} points, expected at least 2")
    points = [_point(run, p) for p in points]
    return [list(itertools.starmap(Segment, itertools.pairwise(points)))]


def _fitted(run, path):
    return lambda alpha: _point(run, path(alpha))


def _point(run, value):
    """One point of a path as {leaf: array}, in the shape and dtype of the leaves."""
    by_name = value if isinstance(value, Mapping) else dict.fromkeys(run.leaves, value)
    if set(by_name) != set(run.leaves):
        raise ValueError(f"the path gives {', '.join(map(str, by_name))}, expected {', '.join(run.leaves)}")
    (point,) = baselines(run, by_name, called="a point of the path")
    return point
