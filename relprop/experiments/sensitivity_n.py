"""E-I: whether attributions add up to what subsets of n features are worth. [ancona2018]"""

from functools import partial

import numpy as np

import pyref
from relprop.experiments.charts import Curve, curves_figure
from relprop.experiments.experiment import Expectation, Experiment, Picture, Piece, Table
from relprop.experiments.models import model_pieces
from relprop.experiments.ordering import UNDECIDED, Outcome, all_of, is_so, mean_error, more
from relprop.experiments.perturbation import METHODS, OWN, PRESET
from relprop.experiments.problem import open_problem, sources

NETWORKS = ("mlp-relu", "mlp-tanh", "mlp-sigmoid", "mlp-softplus")
IG, OCCLUSION = "integrated gradients", "occlusion-1"


def networks(run):
    """The user's network takes the place of them all."""
    return (OWN,) if run.settings.model else NETWORKS


def pieces(run):
    names = networks(run)
    return [*model_pieces(run, *names), *(Piece(f"pcc-{name}", partial(_correlations, name)) for name in names)]


def _correlations(name, run):
    network, images = run[name], open_problem(run.settings.data).images[: run.samples]
    target = network(images, run.backend).argmax(axis=1)
    maps = {
        label: run.explain(network, images, method, target, preset=PRESET).values for label, method in METHODS.items()
    }
    found = pyref.sensitivity_n(network, images, maps, target=target, seed=run.settings.seed, backend=run.backend)
    return {"sizes": found.at, **{label: found[label] for label in METHODS}}


def numbers(run):
    return {
        name: {"sizes": run[f"pcc-{name}"]["sizes"], "pcc": {label: run[f"pcc-{name}"][label] for label in METHODS}}
        for name in networks(run)
    }


def _at(n, name, label, k):
    return np.array(n[name]["pcc"][label])[:, k]


def _one(n):
    worst = min(float(_at(n, name, OCCLUSION, 0).min()) for name in n)
    return is_so(worst > 1 - 1e-6, f"smallest correlation of any image: {worst:.6f}")


def _decays(n):
    return all_of(
        [
            more(_at(n, m, OCCLUSION, 0), _at(n, m, OCCLUSION, -1), (f"{m}: n = 1", f"n = {n[m]['sizes'][-1]}"))
            for m in n
        ]
    )


def _wins_at_large(n):
    smooth = [m for m in NETWORKS[1:] if m in n]
    if not smooth:
        return Outcome(UNDECIDED, "what the network's activations are is not known")
    return all_of([more(_at(n, m, IG, -1), _at(n, m, OCCLUSION, -1), (f"{m}: IG", "occlusion-1")) for m in smooth])


def _saliency_low(n):
    found = {m: float(np.mean(np.array(n[m]["pcc"]["saliency"]))) for m in n}
    others = {m: float(np.mean(np.array(n[m]["pcc"][IG]))) for m in n}
    said = ", ".join(f"{m} {found[m]:.2f} (IG {others[m]:.2f})" for m in n)
    return is_so(all(found[m] < others[m] / 2 for m in n), f"mean over n: {said}")


def _lrp_sigmoid(n):
    if OWN in n:
        return Outcome(UNDECIDED, "what the network's activations are is not known")
    found = {m: float(np.mean(np.array(n[m]["pcc"]["ε-LRP"]))) for m in n}
    said = ", ".join(f"{m} {v:.2f}" for m, v in found.items())
    poles, others = ([found[m] for m in names] for names in (NETWORKS[2:], NETWORKS[:2]))
    return is_so(max(poles) < min(others) / 2 + 0.2 and max(poles) < min(others), f"mean over n: {said}")


def pictures(run, n):
    panels = {m: {label: Curve(n[m]["sizes"], *mean_error(values)) for label, values in n[m]["pcc"].items()} for m in n}
    figure = curves_figure(
        panels, "n, features in a subset", "correlation", columns=2, log=("x",), zero=True,
        note=f"Pearson over 100 subsets; mean and standard error over {run.samples} images.",
    )  # fmt: skip
    return [Picture("sensitivity-n", "Sensitivity-n of six methods under four activations.", figure)]


def tables(run, n):
    rows = []
    for m in n:
        for label, values in n[m]["pcc"].items():
            points = zip(n[m]["sizes"], *mean_error(values), strict=True)
            rows += [[m, label, size, float(mean), float(error)] for size, mean, error in points]
    head = ("network", "method", "n", "mean correlation", "standard error")
    return [Table("sensitivity-n", "Correlation by size of the subset", head, rows)]


EXPERIMENT = Experiment(
    id="E-I",
    name="sensitivity-n",
    title="Sensitivity-n: sums of attributions against what subsets of features are worth",
    paper="ancona2018",
    figure="the Sensitivity-n figures",
    claim="Occlusion-1 is exact for single features and decays as subsets grow; integrated gradients and DeepLIFT "
    "do better on large subsets; saliency, which has no sign, is low; ε-LRP fails where f(0) is not 0.",
    expectations=(
        Expectation("occlusion-1 correlates perfectly at n = 1", _one),
        Expectation("and less at the largest n", _decays),
        Expectation(
            "integrated gradients > occlusion-1 at the largest n, where the activation is smooth", _wins_at_large
        ),
        Expectation("saliency is less than half as good as integrated gradients", _saliency_low),
        Expectation("ε-LRP is worse under sigmoid and softplus than under ReLU and tanh", _lrp_sigmoid),
    ),
    sources=sources("digits", "mnist"),
    samples=(40, 20),
    pieces=pieces,
    numbers=numbers,
    pictures=pictures,
    tables=tables,
)
