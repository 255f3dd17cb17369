"""E-A-text: words are removed in the order of their attributions, from a shallow network and an LSTM. [ancona2017]"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial

import numpy as np

import relprop
from relprop.experiments.experiment import TRAIN, Expectation, Experiment, Picture, Piece
from relprop.experiments.ordering import all_of, is_so, more
from relprop.experiments.perturbation import (
    IG,
    METHODS,
    curve_numbers,
    curve_pictures,
    curves_of,
    maps_of,
    median_correlation,
    said_correlation,
    tables,
)
from relprop.view.page import Tokens
from relprop.view.token import tokens_figure

NETWORKS = ("mlp", "lstm")
SIGNED = tuple(label for label in METHODS if label != "saliency")
EMBEDDED, HIDDEN, CELLS = 32, 250, 64  # [ancona2017] app. A
STEPS, QUICK_STEPS, BATCH = 1200, 400, 64
SHOWN = 2
ALIKE = 0.95  # correlation above which two maps say the same


@dataclass(frozen=True, eq=False)
class Texts:
    """Labelled texts of two classes, as numbers of words (n, t); those held out, and those to train on."""

    ids: np.ndarray
    labels: np.ndarray
    train: tuple[np.ndarray, np.ndarray]
    words: tuple[str, ...]
    classes: tuple[str, str]


@cache
def open_texts(source):
    """The texts of a data source."""
    name, _, path = source.partition(":")
    read: Callable
    if name == "imdb":
        from relprop.data.imdb import imdb_with_words

        if not path:
            raise ValueError("data source imdb lies in files of yours: --data imdb:FOLDER or imdb:imdb.npz")
        read, classes = partial(imdb_with_words, path), ("negative", "positive")
    else:
        from relprop.data.documentation import LIBRARIES, documentation

        read, classes = documentation, LIBRARIES
    train, (ids, labels), words = read()
    return Texts(ids, labels, train, words, classes)


def pieces(run):
    return [
        *(Piece(name, partial(_train, name)) for name in NETWORKS),
        *(Piece(f"curves-{name}", partial(_curves, name)) for name in NETWORKS),
    ]


def _train(kind, run):
    """One output, positive for the second class."""
    from relprop.experiments.training import fit, pytorch

    torch = pytorch()
    texts = open_texts(run.settings.data)
    torch.manual_seed(run.settings.seed)
    words, length = len(texts.words), texts.ids.shape[1]

    class Last(torch.nn.Module):  # type: ignore[name-defined]  # torch is a local name
        def __init__(self):
            super().__init__()
            self.embedding = torch.nn.Embedding(words, EMBEDDED)
            self.lstm = torch.nn.LSTM(EMBEDDED, CELLS, batch_first=True)
            self.out = torch.nn.Linear(CELLS, 1)

        def forward(self, ids):
            return self.out(self.lstm(self.embedding(ids))[0][:, -1])

    nn = torch.nn
    module = Last() if kind == "lstm" else nn.Sequential(
        nn.Embedding(words, EMBEDDED), nn.Flatten(), nn.Linear(length * EMBEDDED, HIDDEN), nn.ReLU(),
        nn.Linear(HIDDEN, 1),
    )  # fmt: skip
    x, y = (torch.tensor(array) for array in texts.train)

    def batches(random):
        chosen = torch.tensor(random.integers(0, len(x), BATCH))
        return x[chosen], y[chosen].float()

    def loss(module, ids, label):
        return nn.functional.binary_cross_entropy_with_logits(module(ids)[:, 0], label)

    fit(module, batches, loss, seed=run.settings.seed, steps=QUICK_STEPS if run.quick else STEPS)
    return relprop.from_torch(module, x[:2], name=f"texts-{kind}")


def chosen(run):
    """Texts held out, evenly from both classes."""
    n = len(open_texts(run.settings.data).labels)
    return np.unique(np.linspace(0, n - 1, min(run.samples, n)).round().astype(int))


def towards(S):
    """The class that the one output speaks for."""
    return np.where(S > 0, 1.0, -1.0).astype(S.dtype)


def _curves(name, run):
    texts, network = open_texts(run.settings.data), run[name]
    ids = texts.ids[chosen(run)]
    maps = maps_of(run, network, ids, towards, {}, recurrent=name == "lstm")
    found = curves_of(run, network, ids, towards, maps)
    given = np.concatenate([network(part, run.backend)[:, 0] for part in np.array_split(texts.ids, 20)]) > 0
    shown = {f"map {label}": values for label, values in maps.items()}
    return {**found, **shown, "accuracy": np.mean(given == texts.labels)}


def numbers(run):
    return {name: {"accuracy": run[f"curves-{name}"]["accuracy"], **curve_numbers(run[f"curves-{name}"])}
            for name in NETWORKS}  # fmt: skip


def _learned(n):
    found = {m: float(n[m]["accuracy"]) for m in n}
    return is_so(min(found.values()) > 0.8, ", ".join(f"{m} {v:.3f}" for m, v in found.items()))


def _alike(n):
    found = {label: median_correlation(n, "mlp", label) for label in SIGNED if label != IG}
    return is_so(min(found.values()) > ALIKE, said_correlation(found))


def _equally_well(n):
    """Each signed method drops the output within a tenth of what integrated gradients do."""
    best = np.array(n["mlp"]["mean"][f"{IG} MoRF"])
    return all_of([more(0.9 * best, n["mlp"]["mean"][f"{m} MoRF"], ("nine tenths of IG's", m)) for m in SIGNED])


def _signs(n):
    """When a quarter of the words is removed."""
    quarter = len(n["mlp"]["steps"]) // 4
    mean, error = (v[quarter] for v in n["mlp"]["curves"][f"{IG} LeRF"])
    return is_so(mean > 2 * error, f"{mean:+.2f} ± {error:.2f}")


def _saliency(n):
    return more(
        n["mlp"]["mean"]["saliency MoRF"], n["mlp"]["mean"][f"{IG} MoRF"], ("mean of MoRF by saliency", "by IG")
    )


def _lstm_apart(n):
    found = {m: median_correlation(n, m, "DeepLIFT") for m in n}
    return is_so(found["lstm"] < min(ALIKE, found["mlp"]), said_correlation(found))


def _lstm_worse(n):
    mean = n["lstm"]["mean"]
    return more(mean["DeepLIFT MoRF"], mean[f"{IG} MoRF"], ("lstm: mean of MoRF by DeepLIFT", "by IG"))


def pictures(run, n):
    texts, drawn = open_texts(run.settings.data), curve_pictures(run, n, "words", "texts")
    which = chosen(run)
    for place in np.linspace(0, len(which) - 1, SHOWN).round().astype(int):
        words = [texts.words[k] for k in texts.ids[which[place]]]
        kept = [k for k, word in enumerate(words) if word != "<pad>"]
        values, tokens = run["curves-mlp"][f"map {IG}"][place][kept], [words[k] for k in kept]
        label = texts.classes[texts.labels[which[place]]]
        caption = f"Integrated gradients of the class that the mlp gives, for a text that is {label}."
        figure = tokens_figure(tokens, values, title=label, unit="logit")
        drawn.append(Picture(f"words-{place}", caption, figure, [Tokens(tokens, values)]))
    return drawn


EXPERIMENT = Experiment(
    id="E-A-text",
    name="text-perturbation",
    title="Removing words in the order of six attribution methods",
    paper="ancona2017",
    figure="Figure 3, IMDB",
    claim="On a very shallow network for reviews, which behaves almost linearly, all signed attribution methods "
    "perform equally well, and the sign matters most. Through the multiplicative interactions of an LSTM, DeepLIFT "
    "no longer approximates integrated gradients and performs worse.",
    expectations=(
        Expectation("both networks learn the task: accuracy > 0.8 on texts held out", _learned),
        Expectation("mlp: every signed method correlates above 0.95 with integrated gradients", _alike),
        Expectation(
            "mlp: every signed method drops the output by nine tenths of what integrated gradients do", _equally_well
        ),
        Expectation("mlp: LeRF by integrated gradients, a quarter of the words removed, raises the output", _signs),
        Expectation("mlp: saliency drops the output less than integrated gradients", _saliency),
        Expectation("DeepLIFT correlates less with integrated gradients through the LSTM", _lstm_apart),
        Expectation(
            "lstm: DeepLIFT drops the output less than integrated gradients",
            _lstm_worse,
            "the maps differ, but on passages of 60 words both orders find what the LSTM reads; the paper's reviews "
            "have 500 words",
        ),
    ),
    sources={
        "documentation": "Passages of 60 words from Python's own help and from NumPy's docstrings, which are always "
        "there: a network tells which library a passage is about.",
        "imdb": "IMDB film reviews, from your folder aclImdb or your file imdb.npz.",
    },
    samples=(100, 30),
    pieces=pieces,
    numbers=numbers,
    pictures=pictures,
    tables=tables,
    needs={"train": TRAIN["train"][:1]},
)
