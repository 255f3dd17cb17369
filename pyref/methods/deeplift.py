"""DeepLIFT with the Rescale or the RevealCancel rule."""

from collections.abc import Mapping
from typing import Any

from pyref.attribution import Attribution, Derived
from pyref.check import check_choice
from pyref.methods import lean
from pyref.methods.method import baselines, start
from pyref.methods.reveal_cancel import reveal_cancel_contributions
from pyref.rewrite import merge_batchnorm

__all__ = ["deeplift"]


def deeplift(
    network, x, target=None, *, baseline=None, rule="rescale", product="symmetric", max_pool="xmax", **options
):
    """The difference of the output from its value at a baseline, handed back to the differences of the inputs.

        r_i = M_i (x_i - x̄_i),     M by the chain rule of multipliers, at a nonlinearity Δa / Δz

    Source
        [shrikumar2017]; as a modified chain rule [ancona2017] Prop. 2.
    Parameters
        baseline  `pyref.baselines`; several are averaged (what DeepSHAP does)
        rule      "rescale", or "reveal_cancel": positive and negative differences apart
        product   at products, "symmetric": both factors by the mean of the other's two values (complete);
                  "gradient": by the other's value at x
        max_pool  "xmax": complete where the winners at x and x̄ differ; "gradient": to the winner at x, as always
                  under "reveal_cancel"
        options   those of every method: `pyref.start`
    Laws
        Σ r = S_c(x) - S_c(x̄), except with product="gradient", with max_pool="gradient", and where a max pooling
        under "reveal_cancel" changes its winner.
    Raises
        ValueError  reveal_cancel through a recurrent layer, a product or a softmax; an unknown option.
    """
    check_choice("rule", rule, ("rescale", "reveal_cancel"))
    check_choice("product", product, ("symmetric", "gradient"))
    check_choice("max_pool", max_pool, ("xmax", "gradient"))
    if rule == "reveal_cancel":  # it looks at the sign of each term, so it must see merged weights
        network = merge_batchnorm(network)
    if rule == "reveal_cancel" or isinstance(baseline, list):  # they read the record more than once
        options["inner"] = True
    run = start(network, x, target, hold=lean.shapes, **options)
    references = [run.moved(b) for b in baselines(run, baseline, once=True)]
    signals: Mapping = {}
    change: Any = 0
    for reference in references:
        if rule == "reveal_cancel":
            contributions = reveal_cancel_contributions(run, reference)
        else:
            contributions = rescale_contributions(run, reference, product, max_pool)
        if len(references) == 1:
            signals = contributions
        else:
            parts = {ref: part / len(references) for ref, part in contributions.items()}
            signals = {ref: signals[ref] + part if ref in signals else part for ref, part in parts.items()}
        change = change + (run.output - reference.output) / len(references)
    return Attribution(
        "deeplift",
        run.collect(lambda ref, value: signals[ref]),
        run.output,
        expected=change if run.is_cut else None,
        **run.kept(signals=signals),
        settings={"rule": rule, "product": product, "max_pool": max_pool, "baselines": len(references)},
    )


def rescale_contributions(run, reference, product="symmetric", max_pool="xmax"):
    """Contribution of the difference at every value, {reference: M (x - x̄)}."""

    def answer(node, x, y, M):
        x0, y0 = reference.record.read(node, linear=True)
        return node.layer.multiplier(run.backend, x, y, x0, y0, M, product=product, max_pool=max_pool)

    M = run.walk(run.v, answer, linear=True, beside=(reference.record,))
    return Derived(M, lambda ref, m: m * (run.record[ref] - reference.record[ref]))
