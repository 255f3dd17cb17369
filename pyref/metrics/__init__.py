"""The metrics, one file each; METRICS is the one table of them.

    metric(network, x, attributions, *, target=, mask=, baseline=, seed=, batch=, progress=, …) → Measurement

`network` is a `pyref.Network` (backend= for another backend), any callable f(x) → (n, classes), or a `Removal`;
`attributions` an array, an `Attribution`, or {label: either}. Metrics that run methods themselves take them in that
place, as `pyref.explainers` does. A model that is not at hand is asked through `masked_inputs` and answers through
`given_outputs`; the numbers in which other metrics end have functions of their own: `alignment`, `similarity`.
"""

from pyref.metrics.completeness import completeness
from pyref.metrics.correlation import pearson
from pyref.metrics.cosine_convergence import Convergence, alignment, chance_alignment, cosine_convergence
from pyref.metrics.digit_flip import class_difference, digit_flip
from pyref.metrics.explainer import explainers
from pyref.metrics.given import given_outputs, masked_inputs
from pyref.metrics.infidelity import infidelity
from pyref.metrics.insertion_deletion import area_under, insertion_deletion
from pyref.metrics.localization import localization
from pyref.metrics.maps import box_mask, saliency_maps
from pyref.metrics.matrix_chain import VGG16_CHAIN, matrix_chain, noise_to_signal
from pyref.metrics.max_sensitivity import max_sensitivity
from pyref.metrics.measurement import Curves, Measurement, Scores, Summary, bootstrap_interval, joined
from pyref.metrics.metric import Metric
from pyref.metrics.morf_lerf import PerturbationCurves, curve_statistics, morf_lerf
from pyref.metrics.parameter_randomization import parameter_randomization, randomized_networks
from pyref.metrics.pixel_perturbation import pixel_perturbation
from pyref.metrics.pointing_game import pointing_game
from pyref.metrics.random_logit import random_logit
from pyref.metrics.ranking import quantile, random_order, rank_correlation, ranks, removal_order, tie_fraction
from pyref.metrics.removal import BASELINES, Function, Removal, removal
from pyref.metrics.roar import degraded, roar
from pyref.metrics.saturation import SaturationCurves, saturation
from pyref.metrics.sensitivity_n import SubsetCorrelations, log_sizes, random_subsets, sensitivity_n
from pyref.metrics.similarity import SIMILARITIES, similarity
from pyref.metrics.ssim import percentile_normalize, ssim

__all__ = [
    "METRICS",
    "completeness",
    "sensitivity_n",
    "morf_lerf",
    "insertion_deletion",
    "pixel_perturbation",
    "digit_flip",
    "infidelity",
    "max_sensitivity",
    "localization",
    "pointing_game",
    "random_logit",
    "parameter_randomization",
    "cosine_convergence",
    "matrix_chain",
    "saturation",
    "roar",
    "BASELINES",
    "Convergence",
    "Curves",
    "Function",
    "Measurement",
    "Metric",
    "PerturbationCurves",
    "Removal",
    "SIMILARITIES",
    "SaturationCurves",
    "Scores",
    "SubsetCorrelations",
    "Summary",
    "VGG16_CHAIN",
    "alignment",
    "area_under",
    "bootstrap_interval",
    "box_mask",
    "chance_alignment",
    "class_difference",
    "curve_statistics",
    "degraded",
    "explainers",
    "given_outputs",
    "joined",
    "log_sizes",
    "masked_inputs",
    "noise_to_signal",
    "pearson",
    "percentile_normalize",
    "quantile",
    "random_order",
    "random_subsets",
    "randomized_networks",
    "rank_correlation",
    "ranks",
    "removal",
    "removal_order",
    "saliency_maps",
    "similarity",
    "ssim",
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
            insertion_deletion,
            "AUC of S_c(x with the first k features := x̄), and of S_c(x̄ with them := x)",
            "[petsiuk2018]",
            "low deletion, high insertion",
        ),
        Metric(
            pixel_perturbation,
            "|S_c(x) - S_c(x with the k least salient features := x̄)| / |S_c(x)|",
            "[srinivas2019]",
            "low",
        ),
        Metric(
            digit_flip,
            "D(x) - D(x with the k features of greatest R := x̄), D = S_source - S_goal",
            "[shrikumar2017] [srinivas2019]",
            "high",
        ),
        Metric(
            infidelity,
            "mean over perturbations of (Σ_{i∈P} R_i - (S_c(x) - S_c(x with x_P := x̄)))²",
            "[yeh2019]",
            "low; 0 on affine models",
        ),
        Metric(max_sensitivity, "max_k ‖R(y_k) - R(x)‖ / ‖R(x)‖, |y_k - x| ≤ radius", "[yeh2019]", "low", "methods"),
        Metric(localization, "Σ_{inside} P / Σ P", "[sundararajan2016]", "high; the share of the area is chance"),
        Metric(
            pointing_game,
            "1 where argmax P lies inside, else 0",
            "[zhang2016]",
            "high; the share of the area is chance",
        ),
        Metric(
            random_logit,
            "similarity of R for class c and R for a random other class",
            "[sixt2020]",
            "low: another class has another explanation",
            "methods",
        ),
        Metric(
            parameter_randomization,
            "similarity of R and R after the parameters of layers 1 … k were drawn anew",
            "[adebayo2018b] [sixt2020]",
            "falls at the first layer",
            "methods",
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
        Metric(
            saturation,
            "S_c(γ(α)), ‖a(α) - a(1)‖ and cos(a(α), a(1)), γ(α) = x̄ + α (x - x̄)",
            "[sundararajan2016]",
            "of a network: flat before α = 1 means that gradients at x mislead",
            "nothing",
        ),
        Metric(
            roar,
            "accuracy of a model trained without (KAR: with only) the first k features of each sample",
            "[hooker2019] [srinivas2019]",
            "ROAR low, KAR high",
        ),
    )
}
