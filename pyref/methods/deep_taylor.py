"""Deep Taylor decomposition."""

import numpy as np

from pyref.attribution import Attribution
from pyref.check import check_choice
from pyref.methods import lean
from pyref.methods.lrp import propagate_relevance
from pyref.methods.method import start
from pyref.numerics import pos, safe_divide, sum_samples
from pyref.rewrite import merge_batchnorm
from pyref.rules.composite import assign_rules
from pyref.rules.composite import deep_taylor as composite

__all__ = ["deep_taylor"]


def deep_taylor(network, x, target=None, *, low=None, high=None, seed="positive", epsilon=0, **options):
    """Relevance by Taylor expansion of each unit at a root point of its own, as a composite of rules.

        first layer   z^B where low ≤ x ≤ high, else w²        others   z⁺, without bias
        pooling       max to the winner, sums and averages in proportion

    Source
        [montavon2017] sec. 4, 5. Batch normalisation is merged first.
    Parameters
        low, high  bounds of the input, both or neither: numbers, or arrays that broadcast against a sample
        seed       "positive": S_c⁺, as the theory asks (a ReLU at the top); "output": S_c, as [sixt2020] compute it;
                   what is injected stays as it is
        epsilon    stabiliser of all rules
        options    those of every method: `pyref.start`.
    Laws
        With seed="positive" r ≥ 0 and Σ r = S_c⁺ minus what the ledger names (units with nothing to share by).
    Raises
        ValueError  one bound without the other; an input outside of them; an unknown seed.
    """
    check_choice("seed", seed, ("positive", "output"))
    if (low is None) != (high is None):
        raise ValueError("low and high bound the input together: give both, or neither")
    network = merge_batchnorm(network)
    rules = assign_rules(composite(low, high, epsilon), network)
    run = start(network, x, target, hold=lean.relevance(rules), **options)
    R = run.relevance
    total = sum_samples(R)
    if seed == "positive" and run.injected is None:
        total = pos(run.output)
        share = safe_divide(total, run.output)  # 1 where the output is positive, else 0
        R = R * np.reshape(share, (-1,) + (1,) * (R.ndim - 1))
    signals, ledger = propagate_relevance(run, R, rules)
    return Attribution(
        "deep_taylor",
        run.collect(lambda ref, value: signals[ref]),
        run.output,
        settings={"rules": rules, "low": low, "high": high, "seed": seed},
        **run.kept(
            expected=(lambda: total - ledger.total("kept")) if run.is_cut else None,
            signals=signals,
            biases={row.node: row.bias_shares for row in ledger if row.bias_shares is not None},
            ledger=ledger,
        ),
    )
