"""SmoothGrad: gradients averaged over noisy copies of the input."""

import numpy as np

from pyref.attribution import Attribution
from pyref.check import check_choice
from pyref.methods import lean
from pyref.methods.method import start
from pyref.methods.noise import check_noise, noisy
from pyref.numerics import is_exact

__all__ = ["smoothgrad"]


def smoothgrad(
    network,
    x,
    target=None,
    *,
    samples=50,
    level=0.15,
    mode="mean",
    absolute=None,
    seed=0,
    indices=None,
    progress=None,
    **options,
):
    """The gradient, smoothed by noise.

        mean  (1/m) Σ_k G(x + ξ_k)      square  (1/m) Σ_k G(x + ξ_k)²      variance  mean of squares - square of mean
        ξ_k ~ N(0, σ²),   σ = level · (max x - min x) per sample

    Source
        [smilkov2017]; squares [hooker2019]; VarGrad [adebayo2018].
    Parameters
        samples   m, the noisy copies
        level     the noise level, in units of the range of x
        mode      "mean", "square" or "variance" (of the population)
        absolute  "before" averaging, "after" it, or None
        seed, indices  the noise of a sample depends on the seed and on its index (its place in the batch by default)
                  and on nothing else: pass its place in the data set, and batches of any size agree
        progress  wraps the loop over copies, as tqdm does
        options   those of every method: `pyref.start`.
    Returns
        Attribution; it promises no sum. Inner values carry the same statistic of the gradient there.
    Numerics
        Mean and variance in one pass (Welford), in float64.
    Raises
        ValueError  samples < 1, level < 0, an unknown mode, indices that do not fit.
    """
    check_choice("mode", mode, ("mean", "square", "variance"))
    check_choice("absolute", absolute, (None, "before", "after"))
    run = start(network, x, target, hold=lean.gradients, **options)
    indices = check_noise(run, samples, level, indices)
    mean: dict = {}
    spread: dict = {}
    for k in (progress or (lambda steps: steps))(range(samples)):
        for ref, G in run.moved(noisy(run, k, level, seed, indices)).gradients().items():
            g = G if is_exact(G) else G.astype(np.float64)
            g = np.abs(g) if absolute == "before" else g
            g = g * g if mode == "square" else g
            old = mean.get(ref, 0 * g)
            mean[ref] = old + (g - old) / (k + 1)
            spread[ref] = spread.get(ref, 0 * g) + (g - old) * (g - mean[ref])
    found = {ref: v / samples for ref, v in spread.items()} if mode == "variance" else mean
    signals = {ref: v.astype(run.record[ref].dtype) for ref, v in found.items()}
    if absolute == "after":
        signals = {ref: np.abs(v) for ref, v in signals.items()}
    return Attribution(
        "smoothgrad",
        run.collect(lambda ref, value: signals[ref]),
        run.output,
        settings={"samples": samples, "level": level, "mode": mode, "absolute": absolute, "seed": seed},
        **run.kept(signals=signals),
    )
