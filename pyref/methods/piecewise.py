"""Integrals along a straight line, cut where the network bends: exactly, or by bisection.

Both yield (rows, parts): contributions {reference: G ⊙ ẏ · length} of one stretch of the line for some samples,
which add up over stretches; those of inner values where they are wanted.
"""

import heapq
import itertools
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from pyref.layers.layer import Layer
from pyref.methods.path import Segment, per_sample
from pyref.numerics import is_exact, number_like, on_host, sum_samples, zeros_like

__all__ = ["ray", "hidden_units", "straight_ends", "exact_pieces", "bisected_pieces", "along", "Report"]

UNITS = 64  # hidden units for each stretch in which a line is walked: about thirty pieces


@dataclass
class Report:
    """What an integration did: pieces or intervals and the error bound, each per sample, and gradient evaluations."""

    pieces: Any = None
    error: Any = None
    gradients: int = 0


def beyond_leaves(run):
    """The nodes that the leaves reach."""
    reached, nodes = set(run.leaves.values()), []
    for node in run.network.nodes.values():
        refs = [(node.name, k) for k in range(node.layer.outputs)]
        if any(i in reached for i in node.inputs) and not any(r in run.leaves.values() for r in refs):
            nodes.append(node)
            reached.update(refs)
    return nodes


def straight_ends(run):
    """The last values at which a straight line at the leaves is a straight line too: where affine nodes end.

    A node is affine where it never bends. Only values on a way to the output count; all such ways pass one of them.
    """
    wanted, needed, leaves = {run.output_ref}, set(), set(run.leaves.values())
    for node in reversed(run.network.nodes.values()):
        if wanted.intersection(node.refs) - leaves:
            needed.add(node.name)
            wanted.update(node.inputs)
    straight, bent, ends = set(leaves), {run.output_ref}, {}
    for node in beyond_leaves(run):
        layer = node.layer
        if layer.piecewise_linear and type(layer).ray is Layer.ray and not bent.intersection(node.inputs):
            straight.update(node.refs)
        else:
            bent.update(node.refs)
            ends |= {ref: None for ref in node.inputs if ref in straight and node.name in needed}
    return [ref for ref in (*ends, run.output_ref) if ref in straight]


def hidden_units(run):
    """Number of units per sample at which the function may bend: outputs of the layers with kinks."""
    kinked = [n for n in beyond_leaves(run) if type(n.layer).ray is not Layer.ray]
    return sum(int(np.prod(run.record.hollow(n.name).shape[1:])) for n in kinked)


def ray(run, direction):
    """One-sided derivative of every value along a direction at the leaves, and the least t > 0 where one may change.

        direction {leaf: array}   →   ({reference: dy}, t per sample, inf where nothing changes any more)

    A unit at its kink counts as active by the sign of (z, ż) taken in this order, which is exact.
    """
    record = run.record
    change = {run.leaves[name]: d for name, d in direction.items()}
    first = next(iter(direction.values()))
    t = zeros_like(first, (first.shape[0],)) + np.inf
    for node in beyond_leaves(run):
        if (node.name, 0) not in record:  # it feeds other leaves only
            continue
        x = record.inputs(node)
        dx = tuple(
            change[i] if i in change else None if v.dtype.kind in "iu" else zeros_like(v)
            for i, v in zip(node.inputs, x, strict=True)
        )
        dy, until = node.layer.ray(run.backend, x, record.output(node), dx)
        for k, part in enumerate(dy if node.layer.outputs > 1 else (dy,)):
            change[node.name, k] = part
        if until is not None:
            t = np.minimum(t, until)
    return change, t


def exact_pieces(run, segment, most, report, progress, inner):
    """The exact integral of a piecewise linear network: one gradient for each of its linear pieces.

        at α:   next kink = α + min over nodes of t;   between two kinks  G ⊙ ẏ · (length), G at the middle

    Samples walk at their own pace, each through its own pieces. The line of a network with many units is walked in
    several stretches at once; a piece that goes on from one into the next counts once. In floating point kinks closer
    than 1e-12 (float32: 1e-5) are taken as one.

    Raises
        ValueError  a sample has more than `most` pieces.
    """
    like = next(iter(segment.start.values()))
    n = like.shape[0]
    stretches = 1 if is_exact(like) else max(1, min(hidden_units(run) // UNITS, run.fitting // n))
    merge = 0 if is_exact(like) else 1e-5 if like.dtype == np.float32 else 1e-12
    walkers = [(part, sample) for part in range(stretches) for sample in range(n)]
    alpha = zeros_like(like, (len(walkers),))
    until = zeros_like(alpha) + 1
    for walker, (part, _) in enumerate(walkers if stretches > 1 else ()):
        alpha[walker], until[walker] = part / stretches, (part + 1) / stretches
    velocity = segment.velocity
    report.pieces = [1 - stretches] * n
    going = list(range(len(walkers)))
    for _ in progress(itertools.count()):
        rows = [walkers[walker][1] for walker in going]
        for walker, sample in zip(going, rows, strict=True):
            if report.pieces[sample] == most:
                raise ValueError(
                    f"sample {sample} has more than {most} linear pieces, it is at α = {float(alpha[walker]):.4g}; "
                    "raise m, or use another quadrature"
                )
            report.pieces[sample] += 1
        begin, stop = alpha[going], until[going]
        look = np.minimum(begin + merge, stop)
        here = run.repeated(rows, segment.of_samples(rows, look))
        dy, t = ray(here, {name: np.take(d, rows, axis=0) for name, d in velocity.items()})
        end = np.minimum(look + t, stop)
        end = np.where(end >= stop - merge, stop, end)
        middle = run.repeated(rows, segment.of_samples(rows, (begin + end) / 2))
        G = middle.gradients()
        report.gradients += len(going)
        wanted = dy if inner else run.leaves.values()
        parts = {ref: G[ref] * dy[ref] * per_sample(end - begin, dy[ref]) for ref in wanted if ref in G}
        part_of = [walkers[walker][0] for walker in going]
        for part in sorted(set(part_of)):  # one stretch after the other: no sample is in it twice
            of = slice(part_of.index(part), part_of.index(part) + part_of.count(part))
            yield rows[of], {ref: part[of] for ref, part in parts.items()}
        alpha[going] = end
        going = [walker for walker, goes_on in zip(going, on_host(end < stop).tolist(), strict=True) if goes_on]
        if not going:
            return


def bisected_pieces(run, segment, most, tolerance, report, progress, inner, first=8):
    """Midpoint gradients on intervals that are halved where the output shows that the integral is off.

        ρ = S(b) - S(a) - ⟨G(middle), γ(b) - γ(a)⟩          halve the interval of the largest |ρ|

    until Σ |ρ| ≤ tolerance, per sample, or `most` gradients were taken. Σ |ρ| bounds the completeness residual.
    """
    like = next(iter(segment.start.values()))
    report.error, report.pieces = zeros_like(like, (like.shape[0],)), [0] * like.shape[0]
    for sample in range(like.shape[0]):
        row = [sample]
        line = Segment(*({k: v[sample : sample + 1] for k, v in p.items()} for p in (segment.start, segment.end)))
        one = run.repeated(row, line.start)
        ends = [Fraction(k, first) for k in range(first + 1)]
        outputs = [one.moved(line(alpha)).output for alpha in ends]
        tasks = list(zip(ends, outputs, ends[1:], outputs[1:], strict=False))
        intervals: list = []  # a heap, the largest |ρ| first
        evaluations = progress(itertools.count())
        for count, _ in enumerate(evaluations, start=1):
            a, S_a, b, S_b = tasks.pop()
            middle = one.moved(line((a + b) / 2))
            step = {one.leaves[k]: number_like(v, b - a) * v for k, v in line.velocity.items()}
            parts = along(middle, step, inner)
            rho = (S_b - S_a - sum(sum_samples(parts[ref]) for ref in step))[0]
            heapq.heappush(intervals, (-abs(rho), a, S_a, b, S_b, middle.output, parts))
            if tasks:
                continue
            if count + 2 > most or sum(-i[0] for i in intervals) <= tolerance:
                report.gradients += count
                break
            _, a, S_a, b, S_b, S_middle, _ = heapq.heappop(intervals)
            tasks = [(a, S_a, (a + b) / 2, S_middle), ((a + b) / 2, S_middle, b, S_b)]
        report.pieces[sample] = len(intervals)
        report.error[sample] = sum(-i[0] for i in intervals)
        for interval in intervals:
            yield row, interval[-1]


def along(run, step, inner=True):
    """{reference: G ⊙ dy} for a step {reference of a leaf: dx}: what each value contributes to ⟨G, dx⟩.

    inner  whether that of inner values is wanted, beside that of the leaves
    """
    G = run.gradients()
    dy = run.network.tangent(run.record, step, run.backend) if inner else step
    return {ref: G[ref] * d for ref, d in dy.items() if ref in G}
