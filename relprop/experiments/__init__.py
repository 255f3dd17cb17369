"""The papers' experiments, one module each; EXPERIMENTS is the one table of them.

An experiment is a statement that a paper makes about real networks, the work that tests it, and a test that can come
out against the paper. `relprop reproduce` runs it on data that ships, or on the paper's own where the user has it.
"""

from pyref.check import nearest
from relprop.experiments import (
    aopc,
    cascading_randomization,
    cosine_convergence,
    digit_flip,
    fullgrad_maps,
    interior_gradients,
    language_model,
    localization,
    lstm_arithmetic,
    matrix_chain,
    misclassified,
    molecules,
    perturbation,
    pixel_perturbation,
    psi_ablation,
    random_logit,
    roar,
    saturation,
    sensitivity_n,
    text_perturbation,
)

__all__ = ["EXPERIMENTS", "find"]

EXPERIMENTS = {
    module.EXPERIMENT.name: module.EXPERIMENT
    for module in (
        perturbation,
        text_perturbation,
        lstm_arithmetic,
        sensitivity_n,
        saturation,
        interior_gradients,
        aopc,
        localization,
        misclassified,
        language_model,
        molecules,
        random_logit,
        cascading_randomization,
        cosine_convergence,
        matrix_chain,
        pixel_perturbation,
        roar,
        fullgrad_maps,
        digit_flip,
        psi_ablation,
    )
}


def find(name):
    """An experiment by its name or its id.

    Raises
        ValueError  no such experiment, with the nearest.
    """
    by_id = {id: e for e in EXPERIMENTS.values() for id in e.id.lower().split(", ")}
    found = EXPERIMENTS.get(name.lower()) or by_id.get(name.lower())
    if found is None:
        raise ValueError(f"there is no experiment {name!r}; {nearest(name, [*EXPERIMENTS, *by_id])}")
    return found
