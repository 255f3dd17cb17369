"""S-i: which of ten words the next word of a language model is due to. [sundararajan2016]"""

from collections import Counter
from functools import cache

import numpy as np

import pyref
import relprop
from relprop.experiments.charts import Curve, curves_figure
from relprop.experiments.experiment import Expectation, Experiment, Picture, Piece, Table
from relprop.experiments.models import with_softmax
from relprop.experiments.ordering import is_so, mean_error, more
from relprop.view.page import Tokens
from relprop.view.token import tokens_figure

CONTEXT = 10
WORDS, WIDTH, HIDDEN = 1000, 32, 64
STEPS, QUICK_STEPS, BATCH = 3000, 1500, 64
HELD_OUT = 10  # one part in ten of the text
UNKNOWN = "<unk>"
ALPHAS = tuple(k / 20 for k in range(21))
METHODS = {"integrated gradients": {"quadrature": "right", "m": 50}, "gradient × input": {}}
NAMES = {"integrated gradients": "integrated_gradients", "gradient × input": "gradient_times_input"}


@cache
def corpus(source):
    """(words of the vocabulary, numbers to train on, numbers held out)."""
    name, _, path = source.partition(":")
    if name == "ptb":
        from relprop.data.penn_treebank import penn_treebank

        parts = penn_treebank(path)
        train, test = parts["train"], parts["test"]
    else:
        from relprop.data.python_text import python_words

        words = python_words()
        cut = len(words) - len(words) // HELD_OUT
        train, test = words[:cut], words[cut:]
    counts = Counter(train)
    ranked = sorted((w for w in counts if w != UNKNOWN), key=lambda w: (-counts[w], w))[: WORDS - 1]
    number = {word: k for k, word in enumerate([UNKNOWN, *ranked])}
    ids = [np.array([number.get(w, 0) for w in part]) for part in (train, test)]
    return (UNKNOWN, *ranked), *ids


def pieces(run):
    return [Piece("model", _train), Piece("words", _explain)]


def _train(run):
    """Embedding, one LSTM layer and a dense layer over the vocabulary."""
    from relprop.experiments.training import fit, pytorch

    torch = pytorch()
    words, train, _ = corpus(run.settings.data)
    torch.manual_seed(run.settings.seed)

    class Next(torch.nn.Module):  # type: ignore[name-defined]  # torch is a local name
        def __init__(self):
            super().__init__()
            self.embedding = torch.nn.Embedding(len(words), WIDTH)
            self.lstm = torch.nn.LSTM(WIDTH, HIDDEN, batch_first=True)
            self.next = torch.nn.Linear(HIDDEN, len(words))

        def forward(self, ids):
            return self.next(self.lstm(self.embedding(ids))[0][:, -1])

    data = torch.tensor(train)

    def batches(random):
        at = torch.tensor(random.integers(0, len(data) - CONTEXT, BATCH))[:, None] + torch.arange(CONTEXT + 1)
        chosen = data[at]
        return chosen[:, :-1], chosen[:, -1]

    def loss(module, context, following):
        return torch.nn.functional.cross_entropy(module(context), following)

    steps = QUICK_STEPS if run.quick else STEPS
    module = fit(Next(), batches, loss, seed=run.settings.seed, steps=steps, rate=1e-2)
    return relprop.from_torch(module, data[:CONTEXT][None].repeat(2, 1), name="language-model")


def _explain(run):
    """Contexts of the text held out, drawn at random of those whose next word the network gives most likely."""
    _, _, test = corpus(run.settings.data)
    network = run["model"]
    score = with_softmax(network)
    starts = run.rng("contexts").permutation(len(test) - CONTEXT)[: 50 * run.samples]
    contexts = test[starts[:, None] + np.arange(CONTEXT)]
    following = test[starts + CONTEXT]
    right = (network(contexts, run.backend).argmax(axis=1) == following) & (following != 0)
    contexts, following = contexts[right][: run.samples], following[right][: run.samples]
    if len(contexts) < 2:
        raise ValueError(
            f"the language model predicts {len(contexts)} of the words held out: there is nothing to explain"
        )
    curves = pyref.saturation(network, contexts, target=following, alphas=ALPHAS, backend=run.backend)
    found = {"contexts": contexts, "following": following, "probability along": curves["probability"]}
    maps = {}
    for label, options in METHODS.items():
        a = run.explain(score, contexts, NAMES[label], following, softmax="keep", **options)
        maps[label] = np.asarray(a.result.values)
        maps[label] = maps[label].reshape(*contexts.shape, -1).sum(axis=-1)
        found[f"total {label}"] = maps[label].sum(axis=1)
        found[f"map {label}"] = maps[label]
        found["probability"] = np.asarray(a.output)
    removed = pyref.morf_lerf(
        score, contexts, maps, target=following, softmax="keep", orders=10, seed=run.settings.seed, backend=run.backend
    )
    for label in METHODS:
        found[f"first removed {label}"] = removed[f"{label} MoRF"][:, 1]
    return found | {"first removed random": removed["random"][:, 1]}


def numbers(run):
    piece = run["words"]
    kept = {k: v for k, v in piece.items() if k not in ("contexts", "following")}
    words = corpus(run.settings.data)[0]
    texts = [[words[k] for k in row] for row in piece["contexts"]]
    return {"alphas": ALPHAS, "words": texts, "next": [words[k] for k in piece["following"]], **kept}


def _complete(n):
    """What the paper prints differs by 1.5e-3."""
    along = np.array(n["probability along"])
    gap = np.abs(np.array(n["total integrated gradients"]) - (along[:, -1] - along[:, 0]))
    return is_so(np.median(gap) < 0.02, f"|Σ R - (p(1) - p(0))|: median {np.median(gap):.4f}, largest {gap.max():.4f}")


def _starts_near_zero(n):
    along = np.array(n["probability along"])
    return more(along[:, -1] / 2, along[:, 0], ("half of p at α = 1", "p at α = 0"))


def _flat(n):
    along = np.array(n["probability along"])
    fifth = len(n["alphas"]) // 5
    last, steepest = np.abs(along[:, -1] - along[:, -1 - fifth]), np.abs(np.diff(along[:, ::fifth], axis=1)).max(axis=1)
    return more(steepest / 2, last, ("half of the steepest fifth of the way", "change over the last fifth"))


def _finds(n):
    return more(
        n["first removed random"],
        n["first removed integrated gradients"],
        ("change of p without a random word", "without the first"),
    )


def _beyond_gradient(n):
    a, b = (np.abs(n[f"total {label}"]) for label in ("integrated gradients", "gradient × input"))
    return more(a, b, ("|Σ| of integrated gradients", "of gradient × input"))


def pictures(run, n):
    lines = {f"{k}": Curve(n["alphas"], row) for k, row in enumerate(n["probability along"][:20])}
    curve = curves_figure(
        {"": lines}, "α, the factor on the embeddings", "probability of the next word", legend=False, height=3.2
    )
    drawn = [Picture("scores", "Probability of the next word, as the embeddings of the context are scaled.", curve)]
    order = np.argsort(-np.array(n["probability"]), kind="stable")[:3]
    for place, k in enumerate(order):
        words, values = n["words"][k], np.array(n["map integrated gradients"][k])
        figure = tokens_figure(words, values, title=f"next: {n['next'][k]}", unit="probability")
        caption = f"Integrated gradients of “{n['next'][k]}” (probability {n['probability'][k]:.3f})."
        drawn.append(Picture(f"words-{place}", caption, figure, [Tokens(words, values)]))
    return drawn


def tables(run, n):
    rows = []
    for k, words in enumerate(n["words"]):
        for label in METHODS:
            rows.append([" ".join(words), n["next"][k], n["probability"][k], label, n[f"total {label}"][k],
                         ", ".join(f"{v:+.4f}" for v in n[f"map {label}"][k])])  # fmt: skip
    head = ("context", "next", "probability", "method", "total", "word by word")
    means = [[f"first word removed by {label}", *map(float, mean_error(n[f"first removed {label}"]))]
             for label in (*METHODS, "random")]  # fmt: skip
    return [
        Table("removal", "Change of the probability when one word is removed", ("by", "mean", "standard error"), means),
        Table("words", "Attributions of the next word", head, rows),
    ]


EXPERIMENT = Experiment(
    id="S-i",
    name="language-model",
    title="Which of ten words a language model's next word is due to",
    paper="sundararajan2016",
    figure="Figures 8, 9 and 10",
    claim="As the embeddings of ten words are scaled from nothing, the score of the next word starts near zero and "
    "turns flat around α = 1. Integrated gradients add up to about the prediction and find the words that "
    "predict it, while gradients are tiny.",
    expectations=(
        Expectation("the probability starts below half of where it ends", _starts_near_zero),
        Expectation("the last fifth of the way changes less than half of the steepest fifth", _flat),
        Expectation("integrated gradients add up to the change of the probability within 0.02", _complete),
        Expectation("removing the word that they put first lowers the probability more than a random word", _finds),
        Expectation("integrated gradients add up to more than gradient × input does", _beyond_gradient),
    ),
    sources={
        "python": "The topics of Python's own help, some 80 000 words of English; the last tenth is held out.",
        "ptb": "The Penn Treebank, from your ptb.train.txt, ptb.valid.txt and ptb.test.txt.",
    },
    samples=(60, 40),
    pieces=pieces,
    numbers=numbers,
    pictures=pictures,
    tables=tables,
    needs={"train": ("torch",)},
)
