"""E-A: features are removed in the order of their attributions, under four activations and an LSTM. [ancona2017]"""

from functools import partial

import numpy as np

import pyref
from relprop.experiments.charts import Curve, curves_figure
from relprop.experiments.experiment import Expectation, Experiment, Picture, Piece, Table
from relprop.experiments.models import model_pieces
from relprop.experiments.ordering import UNDECIDED, Outcome, all_of, is_so, mean_error, more
from relprop.experiments.problem import open_problem, sources

METHODS = {
    "saliency": "saliency",
    "gradient × input": "gradient_times_input",
    "ε-LRP": "lrp",
    "DeepLIFT": "deeplift",
    "integrated gradients": "integrated_gradients",
    "occlusion-1": "occlusion",
}
IG = "integrated gradients"
OWN = "model"
SMOOTH = ("tanh", "sigmoid", "softplus")
PRESET = "ancona"  # ε at nonlinearities, IG in 100 steps, products of the LSTM by the gradient's rule
STATISTICS = ("mean", "initial slope", "total variation")


def networks(run):
    """Names of the networks that a source has; the user's takes the place of them all."""
    if run.settings.model:
        return (OWN,)
    if run.settings.data == "digits":
        return ("mlp-relu", "mlp-tanh", "mlp-sigmoid", "mlp-softplus", *(() if run.quick else ("cnn-relu",)), "lstm")
    if run.settings.data.startswith("mnist"):
        return tuple(f"{kind}-{act}" for kind in ("mlp", "cnn") for act in ("relu", *SMOOTH))
    return ("cnn-relu",)


def pieces(run):
    names = networks(run)
    return [*model_pieces(run, *names), *(Piece(f"curves-{name}", partial(_curves, name)) for name in names)]


def _curves(name, run):
    problem, network = open_problem(run.settings.data), run[name]
    images = problem.images[: run.samples]
    target = network(images, run.backend).argmax(axis=1)
    options: dict[str, dict] = {"saliency": {"channels": "sum"}, "occlusion": {"unit": "pixel"}}
    maps = maps_of(run, network, images, target, options if images.shape[1] > 1 else {}, recurrent=name == "lstm")
    maps = {label: values.sum(axis=1, keepdims=True) for label, values in maps.items()}
    found = curves_of(run, network, images, target, maps, mask="pixel")
    largest = np.abs(maps["gradient × input"]).max(axis=(1, 2, 3))
    return found | {"apart": np.abs(maps["ε-LRP"] - maps["gradient × input"]).max(axis=(1, 2, 3)) / largest}


def maps_of(run, network, x, target, options, recurrent):
    """{label: attributions} of the six methods; options by method."""
    found = {}
    for label, method in METHODS.items():
        preset = "arras" if recurrent and method == "lrp" else PRESET  # whose form has no products
        found[label] = run.explain(network, x, method, target, preset=preset, **options.get(method, {})).values
    return found


def curves_of(run, network, x, target, maps, **options):
    """MoRF, LeRF and random curves with their statistics, and each map's correlation with integrated gradients."""
    curves = pyref.morf_lerf(
        network, x, maps, target=target, seed=run.settings.seed, backend=run.backend,
        step=max(1, maps[IG][0].size // 128), **options,
    )  # fmt: skip
    found = {"steps": curves.at, **{f"curve {series}": values for series, values in curves.values.items()}}
    for statistic in STATISTICS:
        found |= {f"{statistic} {series}": values for series, values in curves.statistics[statistic].items()}
    for label, values in maps.items():
        flat, reference = (v.reshape(len(v), -1) for v in (values, maps[IG]))
        found[f"correlation {label}"] = pyref.pearson(flat, reference)[0]
    return found


def numbers(run):
    result = {}
    for name in networks(run):
        piece = run[f"curves-{name}"]
        result[name] = {**curve_numbers(piece), "ε-LRP from gradient × input": piece["apart"]}
    return result


def curve_numbers(piece):
    """What `curves_of` found, as numbers.json holds it."""
    return {
        "steps": piece["steps"],
        "curves": {k[6:]: mean_error(v) for k, v in piece.items() if k.startswith("curve ")},
        **{s: {k[len(s) + 1 :]: v for k, v in piece.items() if k.startswith(f"{s} ")} for s in STATISTICS},
        "correlation with IG": {k[12:]: v for k, v in piece.items() if k.startswith("correlation ")},
    }


def _feedforward(n):
    return [name for name in n if name != "lstm"]


def _signs(n):
    """LeRF of a signed method is above 0 when a quarter is removed: two standard errors, in most networks."""
    risen, said = 0, []
    for m in n:
        quarter = len(n[m]["steps"]) // 4
        mean, error = (v[quarter] for v in n[m]["curves"][f"{IG} LeRF"])
        risen += mean > 2 * error
        said.append(f"{m} {mean:+.2f} ± {error:.2f}")
    return is_so(risen > len(n) / 2, ", ".join(said))


def _saliency_poor(n):
    return all_of(
        [
            more(n[m]["mean"]["saliency MoRF"], n[m]["mean"][f"{IG} MoRF"], (f"{m}: mean of MoRF by saliency", "by IG"))
            for m in _feedforward(n)
        ]
    )


def _neutral(n):
    """What saliency puts last changes less than what chance takes, over the first tenth that is removed."""
    outcomes = []
    for m in _feedforward(n):
        tenth = max(1, len(n[m]["steps"]) // 10)
        low, random = (abs(n[m]["curves"][s][0][tenth]) for s in ("saliency LeRF", "random"))
        outcomes.append(is_so(low < random, f"{m}: |change| {low:.2f}, at random {random:.2f}"))
    return all_of(outcomes)


def _occlusion_first(n):
    outcomes = []
    for m in _feedforward(n):
        slopes = {k[:-5]: float(np.mean(v)) for k, v in n[m]["initial slope"].items() if k.endswith(" MoRF")}
        best = min(slopes, key=lambda k: slopes[k])
        said = f"{m}: occlusion-1 {slopes['occlusion-1']:.3g}, the next {_next(slopes):.3g}"
        outcomes.append(is_so(best == "occlusion-1", said))
    return all_of(outcomes)


def _next(slopes):
    return min(v for k, v in slopes.items() if k != "occlusion-1")


def median_correlation(n, m, label):
    return float(np.median(n[m]["correlation with IG"][label]))


def _ig_and_deeplift(n):
    found = {m: median_correlation(n, m, "DeepLIFT") for m in _feedforward(n)}
    return is_so(min(found.values()) > 0.95, said_correlation(found))


def _but_not_lstm(n):
    if "lstm" not in n:
        return Outcome(UNDECIDED, "this source has no LSTM")
    found = {m: median_correlation(n, m, "DeepLIFT") for m in n}
    return is_so(found["lstm"] < min(found[m] for m in _feedforward(n)), said_correlation(found))


def _lrp_relu(n):
    found = {m: float(np.median(n[m]["ε-LRP from gradient × input"])) for m in n if m.endswith("relu")}
    if not found:
        return Outcome(UNDECIDED, "what the network's activations are is not known")
    said = ", ".join(f"{m} {v:.1e}" for m, v in found.items())
    return is_so(max(found.values()) < 1e-2, f"largest difference over largest value, median: {said}")


def _lrp_fails(n):
    found = {m: median_correlation(n, m, "ε-LRP") for m in n if m.startswith(("mlp", "cnn"))}
    poles = [v for m, v in found.items() if m.endswith(("sigmoid", "softplus"))]
    others = [v for m, v in found.items() if m.endswith(("relu", "tanh"))]
    if not poles:
        return Outcome(UNDECIDED, "this source has no network with sigmoid or softplus")
    return is_so(max(poles) < min(0.7, *others), said_correlation(found))


def said_correlation(found):
    return "median correlation with IG: " + ", ".join(f"{m} {v:.3f}" for m, v in found.items())


def pictures(run, n):
    return curve_pictures(run, n, "pixels", "images")


def curve_pictures(run, n, features, samples):
    drawn = []
    for order, title in (("MoRF", "most relevant first"), ("LeRF", "least relevant first")):
        panels = {}
        for m in n:
            curves = {label: n[m]["curves"][f"{label} {order}"] for label in METHODS} | {
                "random": n[m]["curves"]["random"]
            }
            panels[m] = {label: Curve(n[m]["steps"], *curve) for label, curve in curves.items()}
        figure = curves_figure(
            panels, f"{features} removed", "change of the target logit", share=False, zero=True,
            note=f"Mean over {run.samples} {samples}; bands are ± one standard error.",
        )  # fmt: skip
        caption = f"Change of the target output when {features} are removed, {title}."
        drawn.append(Picture(order.lower(), caption, figure))
    return drawn


def tables(run, n):
    rows = []
    for m in n:
        for label in (*METHODS, "random"):
            series = [label] if label == "random" else [f"{label} MoRF", f"{label} LeRF"]
            correlation = None if label == "random" else median_correlation(n, m, label)
            means = [float(np.mean(n[m]["mean"][s])) for s in series] + [None] * (2 - len(series))
            slope, variation = (float(np.mean(n[m][what][series[0]])) for what in STATISTICS[1:])
            rows.append([m, label, correlation, *means, slope, variation])
    head = (
        "network",
        "method",
        "correlation with IG",
        "MoRF mean",
        "LeRF mean",
        "MoRF initial slope",
        "MoRF variation",
    )
    return [Table("perturbation", "Perturbation curves in numbers", head, rows)]


EXPERIMENT = Experiment(
    id="E-A",
    name="perturbation",
    title="Removing features in the order of six attribution methods",
    paper="ancona2017",
    figure="Figure 3",
    claim="The sign matters: removing what has negative attribution raises the output. Saliency is poor at what "
    "matters, but its lowest features are neutral. Occlusion-1 finds the few most important features best. "
    "Integrated gradients and DeepLIFT correlate highly, but not through the products of an LSTM. ε-LRP is "
    "gradient × input under ReLU and fails under sigmoid and softplus.",
    expectations=(
        Expectation("LeRF by integrated gradients: a quarter removed raises the output, in most networks", _signs),
        Expectation("saliency drops the output less than integrated gradients, most relevant first", _saliency_poor),
        Expectation(
            "the tenth that saliency puts last changes the output less than a random tenth",
            _neutral,
            "most pixels of these small images matter to the network",
        ),
        Expectation("occlusion-1 has the steepest start", _occlusion_first),
        Expectation("DeepLIFT and integrated gradients correlate above 0.95 without products", _ig_and_deeplift),
        Expectation("they correlate less through an LSTM", _but_not_lstm),
        Expectation("ε-LRP equals gradient × input under ReLU", _lrp_relu),
        Expectation("ε-LRP departs from the others under sigmoid and softplus", _lrp_fails),
    ),
    sources=sources("digits", "mnist", "cifar10", "imagenet"),
    samples=(100, 40),
    pieces=pieces,
    numbers=numbers,
    pictures=pictures,
    tables=tables,
)
