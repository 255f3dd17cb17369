"""Interior gradients: the gradient at scaled versions of the input."""

import numpy as np

from pyref.attribution import Attribution
from pyref.methods.method import start
from pyref.methods.path import paths
from pyref.numerics import number_like

__all__ = ["interior_gradients"]

ALPHAS = (0.02, 0.04, 0.06, 0.08, 0.1, 0.2, 0.4, 0.6, 0.8, 1)


def interior_gradients(network, x, target=None, *, baseline=None, alphas=ALPHAS, path=None, progress=None, **options):
    """The gradients that Integrated Gradients averages, before averaging: where on the way the output reacts.

        G_i(α) = ∂S_c/∂x_i at γ(α),     γ(α) = x̄ + α (x - x̄)

    Source
        [sundararajan2016] eq. (3), with its list of α; the size of a pixel there is Σ over channels of |G|.
    Parameters
        baseline  one baseline, `pyref.baselines`
        alphas    the numbers α, from 0 to 1
        path      a path in place of the straight line, as for `integrated_gradients`
        progress  wraps the loop over α
        options   those of every method: `pyref.start`.
    Shapes
        values and signals have a leading axis over α: (len(alphas), n, ...). settings["outputs"] is S_c(γ(α)).
    Returns
        Attribution; it promises no sum. `total` and `at` then speak of the whole family.
    Raises
        ValueError  no α, or one outside [0, 1]; several baselines; a path of several straight pieces.
    """
    alphas = tuple(alphas)
    if not alphas or not all(0 <= a <= 1 for a in alphas):
        raise ValueError(f"alphas is {alphas}, expected numbers from 0 to 1")
    run = start(network, x, target, **options | {"inner": True})
    routes = paths(run, baseline, path)
    if len(routes) > 1 or len(routes[0]) > 1:
        raise ValueError("interior gradients follow one path: give one baseline, or a callable path")
    gamma = routes[0][0]
    like = next(iter(run.leaf_values.values()))
    family, outputs = [], []
    for alpha in (progress or (lambda steps: steps))(alphas):
        moved = run.moved(gamma(number_like(like, alpha)))
        family.append(moved.gradients())
        outputs.append(moved.output)
    signals = {ref: np.stack([G[ref] for G in family]) for ref in family[0]}
    return Attribution(
        "interior_gradients",
        run.collect(lambda ref, value: signals[ref]),
        run.output,
        signals=signals,
        settings={"alphas": alphas, "outputs": np.stack(outputs)},
    )
