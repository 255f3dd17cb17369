"""Excitation Backprop, plain and contrastive: a top-down walk of probabilities."""

from dataclasses import replace

from pyref.attribution import Attribution
from pyref.check import check_choice
from pyref.methods.method import start
from pyref.network import weighted
from pyref.numerics import pos, sum_samples
from pyref.rewrite import merge_batchnorm
from pyref.rules import ZPlus
from pyref.trace import Account, Ledger, LedgerRow

__all__ = ["excitation_backprop", "contrastive_excitation_backprop"]

_RULE = ZPlus(epsilon=0, bias="ignore")
_SUMS = ("add", "pool", "upsample", "aggregate")  # they share by positive parts, a⁺ / (a⁺ + b⁺)


def excitation_backprop(network, x, target=None, *, negative="raise", **options):
    """Marginal winning probability: where a walk from the target ends that follows excitatory connections.

        P_i = Σ_o  x_i w_io⁺ / (Σ_i' x_i' w_i'o⁺) · P_o,     P = e_c at the output;   biases take no part

    Activations pass P unchanged, max pooling to its winner, average pooling and sums by positive parts.

    Source
        [zhang2016] sec. 3.2.
    Parameters
        negative  inputs of a layer below zero, for which it is not defined: "raise", or "clip" to x⁺
        options   those of every method: `pyref.start`. The walk is usually stopped at an inner node by at= and
                  summed over channels.
    Laws
        P ≥ 0. Σ P = 1 minus what units drop that have no excitatory input: `delta`, `ledger`.
        P · S_c is the relevance of ZPlus(epsilon=0, bias="ignore").
    Raises
        ValueError  negative inputs, by default; a recurrent layer.
    """
    return _excitation(merge_batchnorm(network), x, target, negative, options, contrastive=False, positive=False)


def contrastive_excitation_backprop(network, x, target=None, *, positive=False, negative="raise", **options):
    """What excites the target and not its opposite, the unit with the negated weights.

        P = P(W) - P(-W) at the top weighted layer; below it the walk of `excitation_backprop`, which is linear

    Source
        [zhang2016] sec. 3.3.
    Parameters
        positive  keep P⁺ only, at every value
        negative, options  as for `excitation_backprop`.
    Laws
        Σ P = 0 where both units have excitatory inputs (`delta` accounts for what was dropped), unless positive.
    Raises
        ValueError  as `excitation_backprop`; several layers at the top.
    """
    return _excitation(merge_batchnorm(network), x, target, negative, options, contrastive=True, positive=positive)


def _excitation(network, x, target, negative, options, contrastive, positive):
    check_choice("negative", negative, ("raise", "clip"))
    run = start(network, x, target, **options)
    top = _top(run) if contrastive else None
    rows = {}

    def answer(node, x, y, P):
        layer, account = node.layer, Account()
        if layer.kind == "recurrent":
            raise ValueError(f"Excitation Backprop does not go through recurrent layers: node {node.name!r}")
        if (layer.affine or layer.kind == "norm") and layer.kind not in _SUMS:
            x = tuple(_excitatory(node, v, negative) for v in x)
        parts = layer.relevance(run.backend, x, y, P, _RULE, gate="all", account=account)
        if node.name == top:
            opposite, dual = Account(), replace(layer, w=-layer.w)
            minus = dual.relevance(run.backend, x, y, P, _RULE, gate="all", account=opposite)
            parts = tuple(a - b for a, b in zip(parts, minus, strict=True))
            account.dropped = account.dropped - opposite.dropped
            P = 0 * P  # the two that arrived cancel
        if run.inner:
            rows[node.name] = LedgerRow(node.name, P, parts, account)
        return parts

    signals = run.walk(run.v, answer)
    ledger = Ledger(rows)
    total = 0 * sum_samples(run.v) if contrastive else sum_samples(run.v)
    if positive:
        signals = {ref: pos(P) for ref, P in signals.items()}
    settings = {"negative": negative, **({"positive": positive, "top": top} if contrastive else {})}
    return Attribution(
        "contrastive_excitation_backprop" if contrastive else "excitation_backprop",
        run.collect(lambda ref, value: signals[ref]),
        run.output,
        settings=settings,
        **run.kept(
            expected=(lambda: total - ledger.total("kept")) if run.is_cut and not positive else None,
            signals=signals,
            ledger=ledger,
        ),
    )


def _excitatory(node, v, negative):
    """The inputs of a node, which must not be negative."""
    if v.dtype.kind in "iu":
        return v
    if negative == "raise" and (v < 0).any():
        raise ValueError(
            f"Excitation Backprop needs inputs >= 0, but node {node.name!r} reads {int((v < 0).sum())} below; "
            "stop above it with at=, or pass negative='clip'"
        )
    return pos(v)


def _top(run):
    """The weighted node nearest to the output."""
    names = run.network.producers([run.output_ref[0]], lambda node: weighted(node.layer))
    if len(names) != 1 or not hasattr(run.network.nodes[names[0]].layer, "w"):
        found = ", ".join(map(repr, names)) or "none"
        raise ValueError(f"contrastive Excitation Backprop needs one dense or convolution layer at the top: {found}")
    return names[0]
