"""The metrics, one file each; METRICS is the one table of them.

    metric(network, x, attributions, *, target=, mask=, baseline=, seed=, batch=, progress=, …) → Measurement

`network` is a `pyref.Network` (backend= for another backend), any callable f(x) → (n, classes), or a `Removal`;
`attributions` an array, an `Attribution`, or {label: either}. Metrics that run methods themselves take them in that
place, as `pyref.explainers` does. Outputs that were computed elsewhere go into the functions that the metrics end in:
`curve_statistics`, `pearson`, `alignment`.
"""

from pyref.metrics.completeness import completeness
from pyref.metrics.correlation import pearson
from pyref.metrics.cosine_convergence import Convergence, alignment, chance_alignment, cosine_convergence
from pyref.metrics.explainer import explainers
from pyref.metrics.matrix_chain import VGG16_CHAIN, matrix_chain, noise_to_signal
from pyref.metrics.measurement import Curves, Measurement, Scores, Summary, bootstrap_interval
from pyref.metrics.metric import Metric
from pyref.metrics.morf_lerf import PerturbationCurves, curve_statistics, morf_lerf
from pyref.metrics.ranking import quantile, random_order, rank_correlation, ranks, removal_order, tie_fraction
from pyref.metrics.removal import BASELINES, Function, Removal, removal
from pyref.metrics.sensitivity_n import SubsetCorrelations, log_sizes, random_subsets, sensitivity_n

__all__ = [
    "METRICS",
    "completeness",
    "sensitivity_n",
    "morf_lerf",
    "cosine_convergence",
    "matrix_chain",
    "BASELINES",
    "Convergence",
    "Curves",
    "Function",
    "Measurement",
    "Metric",
    "PerturbationCurves",
    "Removal",
    "Scores",
    "SubsetCorrelations",
    "Summary",
    "VGG16_CHAIN",
    "alignment",
    "bootstrap_interval",
    "chance_alignment",
    "curve_statistics",
    "explainers",
    "log_sizes",
    "noise_to_signal",
    "pearson",
    "quantile",
    "random_order",
    "random_subsets",
    "rank_correlation",
    "ranks",
    "removal",
    "removal_order",
    "tie_fraction",
]

METRICS = {
    metric.name: metric
    for metric in (
        Metric(completeness, "Σ_i R_i - (S_c(x) - S_c(x̄))", "[sundararajan2016] [bach2015]", "0"),
        Metric(
            sensitivity_n,
            "Pearson over subsets P, |P| = n, of (Σ_{i∈P} R_i, S_c(x) - S_c(x with x_P := x̄))",
            "[ancona2018]",
            "near 1 for every n",
        ),
        Metric(
            morf_lerf,
            "S_c(x with the first k features of the order := x̄) - S_c(x)",
            "[ancona2017] [samek2017]",
            "MoRF falls fast and far, LeRF stays or rises; random lies between",
        ),
        Metric(
            cosine_convergence,
            "median |cos(r_k, r_l)| at a layer, where R_start := v_k ~ N(0, I)",
            "[sixt2020]",
            "stays near chance; at 1 nothing above has a say",
            "methods",
        ),
        Metric(
            matrix_chain,
            "mean |cos| of v ~ N(0, I) after W_1 ⋯ W_k",
            "[sixt2020]",
            "a simulation: shows which chains converge, and how fast",
            "nothing",
        ),
    )
}
