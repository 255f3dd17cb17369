"""S-h: which atoms and pairs of atoms a graph network's prediction is due to. [sundararajan2016]"""

from functools import cache

import numpy as np

import pyref
from relprop.experiments.charts import Curve, bars_figure, curves_figure
from relprop.experiments.experiment import Expectation, Experiment, Picture, Piece, Table
from relprop.experiments.models import with_softmax
from relprop.experiments.ordering import is_so, mean_error, more
from relprop.view.page import Tokens
from relprop.view.token import tokens_figure

WIDTH, STEPS, QUICK_STEPS, BATCH = 24, 1500, 300, 32
ALPHAS = tuple(k / 20 for k in range(21))
HELD_OUT = 5  # one molecule in five
LAYERS = ("atom", "pair", "self", "neighbour", "around", "hidden", "out")


@cache
def known():
    """(molecules to train on, molecules held out), in an order of chance that is always the same."""
    from relprop.data.molecules import molecules

    found = molecules()
    order = np.random.default_rng(0).permutation(len(found))
    cut = len(found) - len(found) // HELD_OUT
    return [found[k] for k in order[:cut]], [found[k] for k in order[cut:]]


def edges(molecule):
    """(A from bonded neighbours to an atom, B from the pairs that an atom is in to it), each a constant matrix."""
    n, m = len(molecule.atoms), len(molecule.pairs)
    between, incident = np.zeros((n, n)), np.zeros((n, m))
    rows = np.arange(m)
    for side in (0, 1):
        incident[molecule.ends[:, side], rows] = 1
    u, v = molecule.ends[molecule.bonds].T
    between[u, v] = between[v, u] = 1
    return between, incident / n


def pieces(run):
    return [Piece("weights", _train), Piece("molecules", _explain)]


def _train(run):
    """Two graph layers: each atom sees itself, its neighbours, and the pairs that it is in."""
    from relprop.experiments.training import fit, pytorch

    torch = pytorch()
    torch.manual_seed(run.settings.seed)
    from relprop.data.molecules import ATOMS, PAIRS

    sizes = {"atom": (len(ATOMS), WIDTH), "pair": (len(PAIRS), WIDTH), "self": (WIDTH, WIDTH), "hidden": (WIDTH, WIDTH)}
    sizes |= {"neighbour": (WIDTH, WIDTH), "around": (WIDTH, WIDTH), "out": (WIDTH, 2)}
    net = torch.nn.ModuleDict({name: torch.nn.Linear(*sizes[name]) for name in LAYERS})
    train, _ = known()
    data = [(*map(_tensor, (m.atoms, m.pairs, *edges(m))), m.label) for m in train]

    def batches(random):
        return ([data[k] for k in random.integers(0, len(data), BATCH)],)

    def loss(net, batch):
        scores = torch.stack([score(torch, net, *graph) for *graph, _ in batch])
        return torch.nn.functional.cross_entropy(scores, torch.tensor([label for *_, label in batch]))

    fit(net, batches, loss, seed=run.settings.seed, steps=QUICK_STEPS if run.quick else STEPS, rate=5e-3)
    arrays = {}
    for name in LAYERS:
        arrays[f"{name} w"] = net[name].weight.detach().numpy().T.astype(np.float64)
        arrays[f"{name} b"] = net[name].bias.detach().numpy().astype(np.float64)
    return arrays


def _tensor(array):
    import torch

    return torch.tensor(array, dtype=torch.float32)


def score(torch, net, atoms, pairs, between, incident):
    """The same network as `graph_network`, for training."""
    relu = torch.relu
    h, p = relu(net["atom"](atoms)), relu(net["pair"](pairs))
    h = relu(net["self"](h) + net["neighbour"](between @ h) + net["around"](incident @ p))
    return net["out"](relu(net["hidden"](h.mean(dim=0))))


def graph_network(weights, molecule):
    """The network at one molecule, whose bonds are its constants: two inputs, atoms (n, a, 7) and pairs (n, m, 7)."""
    between, incident = edges(molecule)

    def dense(name):
        return pyref.Dense(weights[f"{name} w"], weights[f"{name} b"])

    nodes = [
        ("atom", dense("atom"), "atoms"), ("atom relu", pyref.ReLU(), "atom"),
        ("pair", dense("pair"), "pairs"), ("pair relu", pyref.ReLU(), "pair"),
        ("neighbours", pyref.Aggregate(between), "atom relu"), ("incident", pyref.Aggregate(incident), "pair relu"),
        ("self", dense("self"), "atom relu"), ("neighbour", dense("neighbour"), "neighbours"),
        ("around", dense("around"), "incident"), ("sum", pyref.Add(), ("self", "neighbour", "around")),
        ("sum relu", pyref.ReLU(), "sum"), ("mean", pyref.Mean((1,)), "sum relu"),
        ("hidden", dense("hidden"), "mean"), ("hidden relu", pyref.ReLU(), "hidden"),
        ("out", dense("out"), "hidden relu"),
    ]  # fmt: skip
    shapes = {"atoms": molecule.atoms.shape, "pairs": molecule.pairs.shape}
    return pyref.Network(nodes, shapes, "out", molecule.smiles)


def _explain(run):
    """Molecules held out that carry the group and are recognised."""
    weights, found, right = run["weights"], [], []
    for molecule in known()[1]:
        network = graph_network(weights, molecule)
        x = {"atoms": molecule.atoms[None], "pairs": molecule.pairs[None]}
        right.append(int(network(x, run.backend)[0].argmax()) == molecule.label)
        if not (molecule.label and right[-1]) or len(found) == run.samples:
            continue
        score = with_softmax(network)
        a = run.explain(score, x, "integrated_gradients", 1, softmax="keep", quadrature="midpoint", m=100)
        atoms, pairs = (a.result.values[name][0].sum(axis=-1) for name in ("atoms", "pairs"))
        steps = [score({name: alpha * v for name, v in x.items()}, run.backend)[0, 1] for alpha in ALPHAS]
        found.append((molecule, atoms, pairs, steps))
    if len(found) < 2:
        raise ValueError(f"the network recognises {len(found)} molecules with the group: there is nothing to explain")
    size = max(len(atoms) for _, atoms, _, _ in found)
    padded = np.full((len(found), size), np.nan)
    for row, (_, atoms, _, _) in zip(padded, found, strict=True):
        row[: len(atoms)] = atoms
    return {
        "accuracy": np.mean(right),
        "smiles": np.array([m.smiles for m, *_ in found]),
        "atoms": padded,
        "probability along": np.array([steps for *_, steps in found]),
        "total": np.array([atoms.sum() + pairs.sum() for _, atoms, pairs, _ in found]),
        "bonded pairs": np.array([pairs[m.bonds].sum() for m, _, pairs, _ in found]),
        "other pairs": np.array([pairs[~m.bonds].sum() for m, _, pairs, _ in found]),
        "all atoms": np.array([atoms.sum() for _, atoms, *_ in found]),
        "an atom of the group": np.array([np.abs(atoms[m.group]).mean() for m, atoms, *_ in found]),
        "any other atom": np.array([np.abs(atoms[~m.group]).mean() for m, atoms, *_ in found]),
    }


def numbers(run):
    return {"alphas": ALPHAS, **run["molecules"]}


def _learned(n):
    return is_so(n["accuracy"] > 0.9, f"accuracy on molecules held out {n['accuracy']:.3f}")


def _complete(n):
    along = np.array(n["probability along"])
    gap = np.abs(np.array(n["total"]) - (along[:, -1] - along[:, 0]))
    return is_so(np.median(gap) < 0.02, f"|Σ R - (p(1) - p(0))|: median {np.median(gap):.4f}, largest {gap.max():.4f}")


def _group(n):
    return more(n["an atom of the group"], n["any other atom"], ("mean |R| of an atom of the group", "of any other"))


def _saturates(n):
    along = np.array(n["probability along"])
    last = np.abs(along[:, -1] - along[:, -3])
    steepest = np.abs(along[:, 2:] - along[:, :-2]).max(axis=1)
    return more(steepest / 2, last, ("half of the steepest tenth of the way", "change over α from 0.9 to 1"))


def pictures(run, n):
    lines = {
        smiles: Curve(n["alphas"], row) for smiles, row in zip(n["smiles"][:25], n["probability along"], strict=False)
    }
    curve = curves_figure(
        {"": lines}, "α, the factor on the features", "probability of the label", legend=False, height=3.2
    )
    parts = ("all atoms", "bonded pairs", "other pairs")
    bars = {part: {"share": float(np.mean(n[part])) / float(np.mean(n["total"]))} for part in parts}
    drawn = [
        Picture("scores", "Probability of the label of molecules that carry the group, as features are scaled.", curve),
        Picture("parts", "Who has the attribution: atoms, pairs with a bond, other pairs.", bars_figure(bars, "share")),
    ]
    by_name = {m.smiles: m for m in known()[1]}
    for k, smiles in enumerate(n["smiles"][:3]):
        molecule = by_name[smiles]
        symbols = [_symbol(row) for row in molecule.atoms]
        names = [f"{s}*" if inside else s for s, inside in zip(symbols, molecule.group, strict=True)]
        values = np.array(n["atoms"][k][: len(names)], dtype=float)
        figure = tokens_figure(names, values, title=smiles, unit="probability")
        caption = f"Atoms of {smiles} in its order; * is of the group."
        drawn.append(Picture(f"atoms-{k}", caption, figure, [Tokens(names, values)]))
    return drawn


def _symbol(row):
    from relprop.data.molecules import ELEMENTS

    symbol = ELEMENTS[int(np.argmax(row[: len(ELEMENTS)]))]
    return symbol.lower() if row[-1] else symbol


def tables(run, n):
    names = ("total", "all atoms", "bonded pairs", "other pairs", "an atom of the group", "any other atom")
    rows = [[name, *map(float, mean_error(n[name]))] for name in names]
    return [Table("molecules", "Integrated gradients of the probability", ("of", "mean", "standard error"), rows)]


EXPERIMENT = Experiment(
    id="S-h",
    name="molecules",
    title="Which atoms and pairs of atoms a graph network's prediction is due to",
    paper="sundararajan2016",
    figure="Figures 7 and 13",
    claim="In a graph network over atoms and pairs of atoms attributions add up to the prediction and surface the "
    "functional groups that chemists expect; the score saturates as the features approach their values.",
    expectations=(
        Expectation("the network learns the label: accuracy > 0.9 on molecules held out", _learned),
        Expectation("integrated gradients add up to the change of the probability within 0.02", _complete),
        Expectation("atoms of the group that makes the label have larger attributions than other atoms", _group),
        Expectation("the last tenth of the way changes less than half of the steepest tenth", _saturates),
    ),
    sources={
        "rdkit": "Some two thousand molecules made of scaffolds and substituents. No measured activity ships: the "
        "label is computed by RDKit, whether the molecule carries a carboxylic acid.",
    },
    samples=(100, 25),
    pieces=pieces,
    numbers=numbers,
    pictures=pictures,
    tables=tables,
    needs={"molecules": ("rdkit",), "train": ("torch",)},
)
