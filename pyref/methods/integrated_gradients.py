"""Integrated Gradients, over any path, by quadrature or exactly."""

import functools
import itertools
from dataclasses import replace
from typing import Any

import numpy as np

from pyref.attribution import Attribution
from pyref.check import check_choice
from pyref.layers.activation import Identity
from pyref.layers.layer import Layer
from pyref.methods import lean
from pyref.methods.method import check_batch_size, start
from pyref.methods.path import Curve, paths
from pyref.methods.piecewise import (
    Report,
    along,
    beyond_leaves,
    bisected_pieces,
    exact_pieces,
    hidden_units,
    straight_ends,
)
from pyref.methods.quadrature import QUADRATURES, quadrature_nodes
from pyref.network import show
from pyref.numerics import is_exact, number_like, zeros_like

__all__ = ["integrated_gradients"]

MOST_UNITS = 4096  # up to so many hidden units a piecewise linear network is integrated exactly by default
_DEFAULT_M = {"exact": 100_000, "adaptive": 1000, "gauss_legendre": 64}


def integrated_gradients(
    network,
    x,
    target=None,
    *,
    baseline=None,
    quadrature="auto",
    m=None,
    path=None,
    tolerance=None,
    batch_size=None,
    progress=None,
    **options,
):
    """The change of the output from a baseline, handed to the inputs by the gradient along a path.

        r_i = ∫₀¹ ∂_iS(γ(α)) γ_i′(α) dα,     γ(0) = x̄, γ(1) = x;   by default γ(α) = x̄ + α (x - x̄)

    In m nodes α_k with weights v_k on a straight line r_i = Σ_k v_k ∂_iS(γ(α_k)) (x_i - x̄_i). On a curve each
    gradient is weighted by the step of γ over its cell (right: γ(α_k) - γ(α_k₋₁)), and by v_k γ′(α_k) under
    Gauss-Legendre. Inner values y receive r_y = Σ_k v_k (∂S/∂y) ẏ, their conductance, which is complete at any cut.

    Source
        [sundararajan2016] eq. (5), (6); conductance [dhamdhere2019]; the exact form cuts the line at every kink.
        Departure: Fig. 14 of [sundararajan2016] prints (2, -1) where the integral is (3/2, -1/2).
    Parameters
        baseline    `pyref.baselines`; several are averaged (expected gradients)
        quadrature  "left", "right", "midpoint", "trapezoid", "gauss_legendre";
                    "exact" for piecewise linear networks, on straight lines;
                    "adaptive": intervals are halved until the completeness residual is below `tolerance`;
                    "auto": exact up to 4096 hidden units, unless m is given; Gauss-Legendre in 64 nodes where
                    the network is smooth; else the midpoint rule in 100 nodes
        m           gradients on each straight piece of the path; for "exact" the most pieces, for "adaptive" the
                    most gradients, per sample
        path        instead of a baseline: a callable α ↦ value (or {leaf: value}), a pair of callables (γ, γ′),
                    or the points of a path in straight pieces, along a first axis
        tolerance   of "adaptive", in the unit of the output; 1e-6 by default
        batch_size  gradients in fixed nodes that are evaluated together, by default as many as hold two million
                    values (eight in device memory), at most 128, and where one sample has more, up to 4 if there are as
                    many parameters; on a curve, and for inner values, as many as hold eight million, and never fewer
                    than one of each sample
        progress    wraps the loop over batches of gradients, as tqdm does
        options     those of every method: `pyref.start`. With at= the path runs at those nodes.
    Laws
        Σ r = S_c(γ(1)) - S_c(γ(0)): with == in exact arithmetic under "exact", else up to the quadrature's error.
        Equal functions receive equal r; r is linear in S; a variable that S ignores receives 0.
    Returns
        Attribution. What inner values receive is integrated when `signals` or `at` first asks for it.
    Numerics
        Sums in float64, of gradients that are evaluated together in their own dtype. Layers that are affine where a
        straight line meets them are evaluated at its ends only, and gradients go back through them once, summed: equal
        in exact arithmetic. At a kink exactly on the path (as all of them are at α = 0 under a zero baseline
        without biases) f′ is that of the switched-off side: "left" and "trapezoid" sample there and come out low.
    Raises
        ValueError  "exact" where the network is not piecewise linear or the path is a curve; more than m pieces;
                    "gauss_legendre" on exact arrays, or on a curve without γ′; an unknown option.
    """
    check_choice("quadrature", quadrature, ("auto", "exact", "adaptive", *QUADRATURES))
    if tolerance is not None and quadrature != "adaptive":
        raise ValueError(f"tolerance belongs to quadrature='adaptive', not to {quadrature!r}")
    check_batch_size(batch_size)
    progress = progress or (lambda steps: steps)
    run = replace(start(network, x, target, hold=lean.outputs, **options | {"inner": False}), inner=True)
    routes = paths(run, baseline, path)
    if quadrature == "auto":
        quadrature = _choose(run, routes, exact=m is None)
    m = _DEFAULT_M.get(quadrature, 100) if m is None else m
    tolerance = 1e-6 if tolerance is None else tolerance

    def integral(inner):
        total: dict = {}
        reports = []
        for stretch in itertools.chain(*routes):
            reports.append(report := Report())
            way = quadrature, m, tolerance, batch_size, report, progress, inner
            for rows, parts in _contributions(run, stretch, *way):
                for ref, part in parts.items():
                    if ref not in total:
                        total[ref] = _wide_zeros(run.record.hollow(ref))
                    total[ref][rows] = total[ref][rows] + part / len(routes)
        return {ref: value.astype(run.record.hollow(ref).dtype) for ref, value in total.items()}, reports

    expected = zeros_like(run.output)
    for route in routes:
        expected = expected + (_output_at(run, route[-1], 1) - _output_at(run, route[0], 0)) / len(routes)
    signals, reports = integral(inner=False)
    text, settings = _described(quadrature, m, reports)
    return Attribution(
        "integrated_gradients",
        run.collect(lambda ref, value: signals[ref]),
        run.output,
        expected=expected,
        signals=lambda: integral(inner=True)[0] | signals,
        quadrature=text,
        settings={"quadrature": quadrature, "m": m, "baselines": len(routes), **settings},
    )


def _choose(run, routes, exact):
    """The quadrature that "auto" stands for."""
    nodes = beyond_leaves(run)
    curve = any(isinstance(stretch, Curve) for route in routes for stretch in route)
    if exact and not curve and all(n.layer.piecewise_linear for n in nodes) and hidden_units(run) <= MOST_UNITS:
        return "exact"
    bends = any(type(n.layer).ray is not Layer.ray and not isinstance(n.layer, Identity) for n in nodes)
    known = all(not isinstance(s, Curve) or s.derivative is not None for route in routes for s in route)
    rational = any(is_exact(v) for v in run.leaf_values.values())
    return "midpoint" if bends or rational or not known else "gauss_legendre"


def _output_at(run, stretch, alpha):
    values = stretch(alpha)
    if all(value is run.record[run.leaves[name]] for name, value in values.items()):
        return run.output
    return replace(run, inner=False).moved(values).output


def _wide_zeros(like):
    """An accumulator: float64 for floats."""
    return zeros_like(like) if is_exact(like) else zeros_like(like.astype(np.float64))


def _contributions(run, stretch, quadrature, m, tolerance, batch_size, report, progress, inner):
    """(rows, {reference: contribution}) whose sum is the integral over one stretch of a path."""
    if quadrature in ("exact", "adaptive") and isinstance(stretch, Curve):
        raise ValueError(f"quadrature={quadrature!r} needs a path of straight lines, not a callable")
    if quadrature == "exact":
        for node in beyond_leaves(run):
            if not node.layer.piecewise_linear:
                kind = type(node.layer).__name__
                raise ValueError(f"node {node.name!r} ({kind}) is not piecewise linear; use another quadrature")
        yield from exact_pieces(run, stretch, m, report, progress, inner)
    elif quadrature == "adaptive":
        yield from bisected_pieces(run, stretch, m, tolerance, report, progress, inner)
    elif isinstance(stretch, Curve) or inner:
        n = len(run.output)
        steps = _steps(run, stretch, quadrature, m)
        at_once = max(1, (batch_size or run.fitting) // n)
        for first in progress(range(0, len(steps), at_once)):
            some = steps[first : first + at_once]
            points = _joined([stretch(alpha) for alpha, _ in some])
            step = _joined([step() for _, step in some])
            report.gradients += len(some)
            moved = run.repeated([*range(n)] * len(some), points) if len(some) > 1 else run.moved(points)
            parts = along(moved, {run.leaves[name]: d for name, d in step.items()}, inner)
            for k in range(len(some)):
                yield slice(None), {ref: part[k * n : (k + 1) * n] for ref, part in parts.items()}
    else:
        yield from _on_straight_line(run, stretch, _nodes(run, quadrature, m), batch_size, report, progress)


def _on_straight_line(run, segment, nodes, batch_size, report, progress):
    """Σ_k v_k ∂S(γ(α_k)) ⊙ (x - x̄), with every affine node that the line meets first evaluated at its ends alone.

        z(α) = z̄ + α (z - z̄)          Σ_k v_k ∂S/∂x = (∂z/∂x)ᵀ Σ_k v_k ∂S/∂z

    nodes  pairs (α_k, v_k)
    """
    ends = straight_ends(run)
    first = run.network.up_to(*ends)
    beyond = replace(run, leaves={show(ref): ref for ref in ends}, inner=False, hold=lean.gradients)
    together = batch_size or run.fitting_caches
    alphas, weights = (_factors(run.v, f) for f in zip(*nodes, strict=True))
    parts = _parts(len(nodes), together)
    rows = [range(len(run.output))[part] for part in _parts(len(run.output), max(1, together // len(nodes)))]
    report.gradients += len(nodes)
    at: list[Any] = []
    record: Any = None
    line: dict[str, Any] = {}
    total: dict[Any, Any] = {}
    for of, some in progress([(of, some) for of in rows for some in parts]):
        if some is parts[0]:
            at = [{name: v[of.start : of.stop] for name, v in p.items()} for p in (segment.start, segment.end)]
            inputs = {name: run.inputs[name][of.start : of.stop] for name in first.inputs}
            given = [{run.leaves[name]: v for name, v in p.items()} for p in at]
            start, record = (first.forward(inputs, run.backend, values) for values in given)
            line = {name: (start[ref], record[ref] - start[ref]) for name, ref in beyond.leaves.items()}
            total = {ref: _wide_zeros(record[ref]) for ref in ends}
        points = {name: _outer(alphas[some], d, p) for name, (p, d) in line.items()}
        moved = beyond.repeated([*of] * (some.stop - some.start), points)
        G = replace(moved, v=_outer(weights[some], run.v[of.start : of.stop])).gradients()
        for ref in ends:
            total[ref] += np.sum(np.reshape(G[ref], (-1, *record[ref].shape)), axis=0)
        del points, moved, G  # before the next are made
        if some is parts[-1]:
            seeds = {ref: v.astype(record[ref].dtype) for ref, v in total.items()}
            stop = tuple(run.leaves.values())
            signals = first.backward(
                record, seeds, lambda node, x, y, G: node.layer.gradient(run.backend, x, y, G), stop
            )
            step = {run.leaves[name]: v - at[0][name] for name, v in at[1].items()}
            yield slice(of.start, of.stop), {ref: signals[ref] * d for ref, d in step.items() if ref in signals}


def _parts(count, most):
    """[0, count) in even slices of at most `most`."""
    pieces = -(-count // most)
    return [slice(count * k // pieces, count * (k + 1) // pieces) for k in range(pieces)]


def _factors(like, numbers):
    """Numbers as an array in the arithmetic of another."""
    return np.asarray([number_like(like, f) for f in numbers], like=like)


def _outer(factors, d, p=None):
    """p + factor · d (n, ...) for one factor after the other: (len(factors) · n, ...)."""
    y = np.reshape(factors.astype(d.dtype), (-1,) + (1,) * d.ndim) * np.expand_dims(d, 0)
    if p is not None:
        y += np.expand_dims(p, 0)
    return np.reshape(y, (-1, *d.shape[1:]))


def _joined(by_leaf):
    """Dicts by leaf as one, the arrays one after the other along the batch."""
    if len(by_leaf) == 1:
        return by_leaf[0]
    return {name: np.concatenate([arrays[name] for arrays in by_leaf]) for name in by_leaf[0]}


def _nodes(run, quadrature, m):
    """Pairs (α_k, v_k)."""
    nodes, weights = quadrature_nodes(quadrature, m)
    if quadrature == "gauss_legendre" and any(is_exact(v) for v in run.leaf_values.values()):
        raise ValueError("gauss_legendre has irrational nodes, but x is exact; use another quadrature")
    return list(zip(nodes, weights, strict=True))


def _steps(run, stretch, quadrature, m):
    """Pairs of a node α_k and a function that gives the step of γ by which its gradient is multiplied."""
    pairs = _nodes(run, quadrature, m)
    if not isinstance(stretch, Curve):
        velocity = stretch.velocity
        return [
            (alpha, lambda v=v: {name: number_like(d, v) * d for name, d in velocity.items()}) for alpha, v in pairs
        ]
    nodes, weights = zip(*pairs, strict=True)
    if quadrature == "gauss_legendre":
        if stretch.derivative is None:
            raise ValueError("gauss_legendre needs the derivative of a curve: pass path=(γ, γ′), or use 'midpoint'")
        return [
            (alpha, lambda alpha=alpha, v=v: {name: v * d for name, d in stretch.derivative(alpha).items()})
            for alpha, v in zip(nodes, weights, strict=True)
        ]
    like = next(iter(run.leaf_values.values()))

    def at(alpha):
        return stretch(number_like(like, alpha))

    if quadrature == "trapezoid":  # the mean of two gradients next to each other, times the step between them
        cells = [(nodes[max(k - 1, 0)], nodes[min(k + 1, m - 1)]) for k in range(m)]
    else:  # the cells [Σ_{j<k} v_j, Σ_{j≤k} v_j], each with one node
        ends = [0, *itertools.accumulate(weights)]
        cells = list(itertools.pairwise(ends))
    half = 2 if quadrature == "trapezoid" else 1

    def step(a, b):
        before, after = at(a), at(b)
        return {name: (after[name] - before[name]) / half for name in after}

    steps = [functools.partial(step, *cell) for cell in cells]
    return [(number_like(like, alpha), s) for alpha, s in zip(nodes, steps, strict=True)]


def _described(quadrature, m, reports):
    """A line for a person, and the numbers per sample, summed over the straight pieces of all paths."""
    gradients = sum(r.gradients for r in reports)
    if quadrature not in ("exact", "adaptive"):
        return f"{quadrature}, {m} nodes", {"gradients": gradients}
    pieces = [sum(p) for p in zip(*(r.pieces for r in reports), strict=True)]
    if quadrature == "exact":
        return f"exact, {max(pieces)} pieces", {"gradients": gradients, "pieces": pieces}
    error = sum(r.error for r in reports) / len(reports)
    text = f"adaptive, {max(pieces)} intervals, |delta| <= {float(np.max(error)):.1e}"
    return text, {"gradients": gradients, "pieces": pieces, "error": error}
