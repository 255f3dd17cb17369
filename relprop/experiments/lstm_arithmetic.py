"""E-A-toy: an LSTM that adds or subtracts two marked numbers, so that the right attributions are known. [arras2019]"""

from functools import partial

import numpy as np

import pyref
import relprop
from relprop.experiments.charts import bars_figure
from relprop.experiments.experiment import TRAIN, Expectation, Experiment, Picture, Piece, Table
from relprop.experiments.ordering import is_so, mean_error, more

SIGN = {"addition": 1, "subtraction": -1}  # of the second number
LENGTH, CELLS = 10, 1
CHANNELS = 3  # any number, the first that is marked, the second
STEPS, BATCH = 3000, 64
RULE = {"rule": pyref.Epsilon(1e-3)}  # the authors' ε
METHODS: dict[str, tuple[str, dict]] = {  # LRP, by how the product of a gate and a signal shares, and others
    "LRP-all": ("lrp", {**RULE, "gate": "all"}),
    "LRP-half": ("lrp", {**RULE, "gate": "half"}),
    "LRP-prop": ("lrp", {**RULE, "gate": "prop"}),
    "LRP-abs": ("lrp", {**RULE, "gate": "abs"}),
    "gradient × input": ("gradient_times_input", {}),
    "integrated gradients": ("integrated_gradients", {"quadrature": "midpoint", "m": 100}),
    "DeepLIFT": ("deeplift", {}),
    "occlusion-1": ("occlusion", {"unit": "token"}),
}
ALL, OTHERS = "LRP-all", ("LRP-half", "LRP-prop", "LRP-abs")


def draw(count, rng):
    """(x (n, t, 3), numbers (n, t), places (n, 2)): numbers in ±[0.5, 1], the marked two each in a channel of its own.

    Had the two one channel, one cell could not tell which of them to subtract, and more cells do so by their gates.
    """
    numbers = rng.uniform(0.5, 1, (count, LENGTH)) * rng.choice([-1, 1], (count, LENGTH))
    places = np.sort(np.argsort(rng.random((count, LENGTH)), axis=1)[:, :2], axis=1)
    channel = np.zeros((count, LENGTH), dtype=int)
    np.put_along_axis(channel, places, [[1, 2]], axis=1)
    return np.where(channel[..., None] == np.arange(CHANNELS), numbers[..., None], 0), numbers, places


def truth(numbers, places, sign):
    """What each of the two marked numbers contributes, (n, 2): they sum to the right answer."""
    return np.take_along_axis(numbers, places, axis=1) * [1, sign]


def pieces(run):
    return [
        *(Piece(f"lstm-{task}", partial(_train, task)) for task in SIGN),
        *(Piece(task, partial(_explain, task)) for task in SIGN),
    ]


def _train(task, run):
    from relprop.experiments.training import fit, pytorch

    torch = pytorch()
    torch.manual_seed(run.settings.seed)

    class Last(torch.nn.Module):  # type: ignore[name-defined]  # torch is a local name
        def __init__(self):
            super().__init__()
            self.lstm = torch.nn.LSTM(CHANNELS, CELLS, batch_first=True)
            self.out = torch.nn.Linear(CELLS, 1, bias=False)

        def forward(self, x):
            return self.out(self.lstm(x)[0][:, -1])

    def batches(random):
        x, numbers, places = draw(BATCH, random)
        return tuple(torch.tensor(v, dtype=torch.float32) for v in (x, truth(numbers, places, SIGN[task]).sum(axis=1)))

    def loss(module, x, answer):
        return torch.mean((module(x)[:, 0] - answer) ** 2)

    module = fit(Last(), batches, loss, seed=run.settings.seed, steps=STEPS, rate=2e-2, decay=0)
    return relprop.from_torch(module, torch.zeros(2, LENGTH, CHANNELS), name=f"lstm-{task}")


def _explain(task, run):
    """Attributions per step, all channels together, of sequences that were not trained on."""
    network = run[f"lstm-{task}"]
    x, numbers, places = draw(run.samples, run.rng(task))
    right = truth(numbers, places, SIGN[task])
    found = {"answer": right.sum(axis=1), "output": network(x, run.backend)[:, 0], "right": right, "places": places}
    for label, (method, options) in METHODS.items():
        values = np.asarray(run.explain(network, x, method, 0, **options).values).reshape(*x.shape[:2], -1).sum(axis=-1)
        found[f"marked {label}"] = np.take_along_axis(values, places, axis=1)
        found[f"size {label}"] = np.abs(values).sum(axis=1)
    return found


def numbers(run):
    result = {}
    for task in SIGN:
        piece = run[task]
        error = np.mean((piece["output"] - piece["answer"]) ** 2) / np.var(piece["answer"])
        result[task] = {
            "unexplained variance": error,
            "correlation": {
                label: [pyref.pearson(piece[f"marked {label}"][None, :, k], piece["right"][None, :, k])[0][0]
                        for k in range(2)]
                for label in METHODS
            },
            "share of the marked": {
                label: np.abs(piece[f"marked {label}"]).sum(axis=1) / piece[f"size {label}"] for label in METHODS
            },
            "error": {
                label: np.abs(piece[f"marked {label}"] - piece["right"]).mean(axis=1) for label in METHODS
            },
        }  # fmt: skip
    return result


def _learned(n):
    found = {task: float(n[task]["unexplained variance"]) for task in n}
    return is_so(max(found.values()) < 0.05, ", ".join(f"{task} {v:.4f}" for task, v in found.items()))


def _worst(n, label, task):
    return min(n[task]["correlation"][label])


def _right(task, *labels):
    """Both numbers' attributions by each of the methods."""

    def test(n):
        found = {label: _worst(n, label, task) for label in labels}
        return is_so(min(found.values()) > 0.9, _said(found))

    return test


def _others_worse(task):
    def test(n):
        found = {label: _worst(n, label, task) for label in (ALL, *OTHERS)}
        return is_so(all(found[label] < found[ALL] for label in OTHERS), _said(found))

    return test


def _nearer(n):
    """Than the nearest of the others, sequence by sequence; errors are heavy-tailed where shares have poles."""
    error = n["addition"]["error"]
    nearer = np.array(error[ALL]) < np.min([error[label] for label in OTHERS], axis=0)
    return more(nearer, np.full(len(nearer), 0.5), ("sequences where LRP-all is nearest", "half of them"))


def _said(found):
    return "smaller correlation of the two: " + ", ".join(f"{name} {value:.3f}" for name, value in found.items())


def pictures(run, n):
    correlation = {label: {task: _worst(n, label, task) for task in n} for label in METHODS}
    share = {label: {task: float(np.mean(n[task]["share of the marked"][label])) for task in n} for label in METHODS}
    note = f"{run.samples} sequences of {LENGTH} numbers, two of them marked."
    return [
        Picture(
            "correlation",
            "Correlation of a marked number's attribution with what it contributes, the smaller of the two numbers'.",
            bars_figure(correlation, "correlation", note=note),
        ),
        Picture(
            "share",
            "Share of |attribution| that the two marked numbers have; the others contribute nothing.",
            bars_figure(share, "share", note=note),
        ),
    ]


def tables(run, n):
    rows = [
        [task, label, *n[task]["correlation"][label], *map(float, mean_error(n[task]["share of the marked"][label])),
         float(np.mean(n[task]["error"][label]))]
        for task in n for label in METHODS
    ]  # fmt: skip
    head = (
        "task",
        "method",
        "correlation, first",
        "correlation, second",
        "share",
        "standard error",
        "mean |R - number|",
    )
    return [Table("arithmetic", "Attributions against what the marked numbers contribute", head, rows)]


EXPERIMENT = Experiment(
    id="E-A-toy",
    name="lstm-arithmetic",
    title="How LRP must share at an LSTM's gates: sums and differences of two marked numbers",
    paper="arras2019",
    figure="Section 4, the toy task",
    claim="Where an LSTM adds or subtracts two marked numbers of a sequence, the numbers themselves are the right "
    "attributions. LRP that gives all relevance of a product to its signal (LRP-all) recovers them; sharing it with "
    "the gate (half, proportional, absolute) does not. Gradient × input and occlusion recover them for sums.",
    expectations=(
        Expectation("the LSTM solves both tasks: less than 5 % of the variance is left", _learned),
        Expectation("sums: the attributions of LRP-all correlate above 0.9 with both numbers", _right("addition", ALL)),
        Expectation("differences: those of LRP-all correlate above 0.9 with both", _right("subtraction", ALL)),
        Expectation("sums: LRP-half, LRP-prop and LRP-abs correlate less than LRP-all", _others_worse("addition")),
        Expectation("differences: they correlate less than LRP-all", _others_worse("subtraction")),
        Expectation("sums: LRP-all is nearer to the numbers than all of them in most sequences", _nearer),
        Expectation(
            "sums: gradient × input and occlusion-1 correlate above 0.9 with both",
            _right("addition", "gradient × input", "occlusion-1"),
        ),
    ),
    sources={
        "random": "Nothing is read: sequences are drawn, and an LSTM of one cell, as the paper's, is trained on each "
        "task. Each of the marked numbers has a channel of its own: one cell can then tell which of them to subtract."
    },
    samples=(500, 200),
    pieces=pieces,
    numbers=numbers,
    pictures=pictures,
    tables=tables,
    needs={"train": TRAIN["train"][:1]},
)
