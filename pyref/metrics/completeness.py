"""Completeness: whether attributions add up to the output."""

import numpy as np

from pyref.check import check_choice
from pyref.metrics.measurement import Scores
from pyref.metrics.removal import removal

__all__ = ["completeness"]


def completeness(
    network,
    x,
    attributions,
    *,
    target=None,
    mask=None,
    baseline="zero",
    against="difference",
    **options,
):
    """What is missing between the sum of all attributions and the output that they should explain.

        difference   Σ_i R_i - (S_c(x) - S_c(x̄))        output   Σ_i R_i - S_c(x)

    Source
        [sundararajan2016] Prop. 1; Sensitivity-N of [ancona2018]. "output" is the conservation of [bach2015].
    Parameters
        against  what the sum is compared with: "difference", or "output" for methods that know no baseline
        attributions, target, mask, baseline, options  as for `sensitivity_n`
    Returns
        `Scores` of signed residuals; notes hold their size, and the size of what they are compared with.
    Laws
        0 for w_i (x_i - x̄_i) of an affine model, exactly in exact arithmetic. Homogeneous: t R for the model t S
        gives t times the residual.
    """
    check_choice("against", against, ("difference", "output"))
    subject = removal(network, x, target, mask=mask, baseline=baseline, **options)
    expected = subject.output - subject.baseline_output if against == "difference" else subject.output
    found = subject.attributed(attributions)
    values = {label or "attribution": np.sum(R, axis=1) - expected for label, R in found.items()}
    return Scores(
        "completeness",
        values,
        unit="output",
        notes={
            "|residual|": {label: np.abs(v) for label, v in values.items()},
            "|expected|": {label: np.abs(expected) for label in values},
        },
        settings={"against": against, "baseline": baseline},
    )
