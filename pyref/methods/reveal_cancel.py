"""DeepLIFT's RevealCancel rule: positive and negative differences walk apart."""

from typing import Any

import numpy as np

from pyref.layers.activation import Identity
from pyref.layers.affine import affine_reveal_cancel, affine_sign_split
from pyref.numerics import neg, pos

__all__ = ["reveal_cancel_contributions"]


def _structural(layer):
    """Whether both parts of a difference go through a layer alike."""
    return layer.kind in ("pool", "shape", "dropout", "upsample") or isinstance(layer, Identity)


def reveal_cancel_contributions(run, reference):
    """Contribution of the difference at every value, {reference: C}, with Σ C = ΔS at any cut (but for max pooling).

    A linear node splits the difference of its output, Δz⁺_o = Σ_i (Δx_i w_io)⁺ and Δz⁻_o = Σ_i (Δx_i w_io)⁻.
    An activation a = f(z) answers with two multipliers,

        m⁺ = ½ [q(z̄ + Δ⁺, z̄) + q(z, z̄ + Δ⁻)]      m⁻ = ½ [q(z̄ + Δ⁻, z̄) + q(z, z̄ + Δ⁺)]      q = Δf / Δz

    and the linear node below takes m⁺ for the terms that rose and m⁻ for those that fell
    (`affine_reveal_cancel`). Between the two, pooling and reshaping act on both parts alike; max pooling by the
    winners at x, so that it is complete only where they are those at the baseline.

    Source
        [shrikumar2017] sec. 3.5.3. The limits at Δ = 0 come from the quotient q, so that there is no 0/0.
    Raises
        ValueError  a node that is neither affine, nor an activation, nor pooling or shape.
    """
    difference = {ref: run.record[ref] - reference.record[ref] for ref in reference.record if ref in run.record}
    split: dict[Any, Any] = {}

    def parts(ref):
        """(Δ⁺, Δ⁻) of a value: as its linear node split it, or by its own sign."""
        return split.get(ref, (pos(difference[ref]), neg(difference[ref])))

    for node in run.network.nodes.values():
        if not all(i in difference for i in node.inputs) or (node.name, 0) not in difference:
            continue
        if _structural(node.layer):
            x, y = run.record.inputs(node), run.record.output(node)
            both = [node.layer.tangent(run.backend, x, y, tuple(parts(i)[s] for i in node.inputs)) for s in (0, 1)]
            for k in range(node.layer.outputs):
                split[node.name, k] = tuple(b[k] if node.layer.outputs > 1 else b for b in both)
        elif node.layer.affine:
            split[node.name, 0] = affine_sign_split(node.layer.terms(tuple(difference[i] for i in node.inputs)))

    def answer(node, x, y, S):
        layer = node.layer
        if _structural(layer):
            many = layer.outputs > 1
            both = [layer.gradient(run.backend, x, y, tuple(s[k] for s in S) if many else S[k]) for k in (0, 1)]
            return tuple(None if a is None else np.stack((a, b)) for a, b in zip(*both, strict=True))
        if layer.affine:
            M = affine_reveal_cancel(layer.terms(tuple(difference[i] for i in node.inputs)), S[0], S[1])
            return tuple(np.stack((m, m)) for m in M)
        if layer.kind == "activation":
            z, z0 = x[0], reference.record[node.inputs[0]]
            up, down = parts(node.inputs[0])

            def q(a, b):
                return run.backend.activation_quotient(a, b, layer)

            m_pos = (q(z0 + up, z0) + q(z, z0 + down)) / 2
            m_neg = (q(z0 + down, z0) + q(z, z0 + up)) / 2
            return (np.stack((m_pos * S[0], m_neg * S[1])),)
        raise ValueError(
            f"RevealCancel does not go through node {node.name!r} ({type(layer).__name__}); use rule='rescale'"
        )

    signals = run.walk(np.stack((run.v, run.v)), answer)
    return {ref: S[0] * parts(ref)[0] + S[1] * parts(ref)[1] for ref, S in signals.items()}
