"""Which method goes through which layer, found by trying, and the README's tables printed from that and other tables.

python -m relprop.support            prints the tables
python -m relprop.support README.md  writes them between the marks in a file
"""

import sys
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path

import numpy as np

import pyref
from relprop.backends import BACKENDS
from relprop.catalogue import summary
from relprop.cuda import LAYER_FUNCTION

__all__ = ["COLUMNS", "EXAMPLES", "grouped_rows", "layer_rows", "markdown", "replace_tables"]

BEGIN, END = "<!-- {}: python -m relprop.support README.md -->", "<!-- end of {} -->"
YES, NO = "✓", "–"


def _w(*shape):
    """Weights of both signs, the same on every machine."""
    return np.sin(1 + np.arange(np.prod(shape), dtype=np.float64) * 1.7).reshape(shape)


EXAMPLES = {  # layer: (an instance, the shapes of one sample of its inputs; None for a sequence of ids)
    "ReLU": (pyref.ReLU(), (4,)),
    "LeakyReLU": (pyref.LeakyReLU(), (4,)),
    "PReLU": (pyref.PReLU(np.full(4, 0.25)), (4,)),
    "Clip": (pyref.Clip(-1.0, 1.0), (4,)),
    "ReLU6": (pyref.ReLU6(), (4,)),
    "HardSigmoid": (pyref.HardSigmoid(), (4,)),
    "Identity": (pyref.Identity(), (4,)),
    "ELU": (pyref.ELU(), (4,)),
    "SELU": (pyref.SELU(), (4,)),
    "SiLU": (pyref.SiLU(), (4,)),
    "GELU": (pyref.GELU(), (4,)),
    "Tanh": (pyref.Tanh(), (4,)),
    "Sigmoid": (pyref.Sigmoid(), (4,)),
    "Softplus": (pyref.Softplus(), (4,)),
    "Dense": (pyref.Dense(_w(4, 3), _w(3)), (4,)),
    "Conv": (pyref.Conv(_w(2, 1, 2, 2), _w(2)), (1, 4, 4)),
    "ConvTranspose": (pyref.ConvTranspose(_w(1, 2, 2, 2), _w(2)), (1, 4, 4)),
    "MaxPool": (pyref.MaxPool(2), (1, 4, 4)),
    "GlobalMaxPool": (pyref.GlobalMaxPool(), (1, 4, 4)),
    "AvgPool": (pyref.AvgPool(2), (1, 4, 4)),
    "AdaptiveAvgPool": (pyref.AdaptiveAvgPool(2), (1, 4, 4)),
    "GlobalAvgPool": (pyref.GlobalAvgPool(), (1, 4, 4)),
    "BatchNorm": (pyref.BatchNorm(_w(2), _w(2)), (2, 4, 4)),
    "LayerNorm": (pyref.LayerNorm(_w(4), _w(4)), (4,)),
    "GroupNorm": (pyref.GroupNorm(2, _w(4), _w(4)), (4, 2, 2)),
    "InstanceNorm": (pyref.InstanceNorm(_w(2), _w(2)), (2, 3, 3)),
    "LocalResponseNorm": (pyref.LocalResponseNorm(3), (4, 2, 2)),
    "Add": (pyref.Add(), (4,), (4,)),
    "Subtract": (pyref.Subtract(), (4,), (4,)),
    "Shift": (pyref.Shift(_w(4)), (4,)),
    "Scale": (pyref.Scale(_w(4)), (4,)),
    "Multiply": (pyref.Multiply(), (4,), (4,)),
    "Divide": (pyref.Divide(), (4,), (4,)),
    "Concat": (pyref.Concat(), (4,), (4,)),
    "Split": (pyref.Split((1, 3)), (4,)),
    "Sum": (pyref.Sum((1,)), (4, 3)),
    "Mean": (pyref.Mean((1,)), (4, 3)),
    "Flatten": (pyref.Flatten(), (2, 2)),
    "Reshape": (pyref.Reshape((2, 2)), (4,)),
    "Transpose": (pyref.Transpose((2, 1)), (2, 3)),
    "Pad": (pyref.Pad(((1, 1),)), (4,)),
    "Slice": (pyref.Slice((1,), (0,), (2,)), (4,)),
    "Upsample": (pyref.Upsample(scale=2), (1, 2, 2)),
    "Dropout": (pyref.Dropout(), (4,)),
    "Embedding": (pyref.Embedding(_w(5, 3)), None),
    "Aggregate": (pyref.Aggregate(np.abs(_w(3, 3))), (3, 2)),
    "LSTM": (pyref.LSTM(_w(3, 8), _w(2, 8), _w(8)), (4, 3)),
    "GRU": (pyref.GRU(_w(3, 6), _w(2, 6), _w(6)), (4, 3)),
    "Softmax": (pyref.Softmax(), (4,)),
    "LogSoftmax": (pyref.LogSoftmax(), (4,)),
}

COLUMNS = {  # title: (the methods that go through a layer in the same way, the one that is tried, its options)
    "gradients": (
        "gradient saliency gradient_times_input interior_gradients integrated_gradients smoothgrad full_gradient "
        "fullgrad grad_cam occlusion",
        "gradient",
        {},
    ),
    "exact IG": ("", "integrated_gradients", {"quadrature": "exact", "baseline": 0.5}),
    "LRP": ("lrp", "lrp", {}),
    "DeepLIFT": ("deeplift", "deeplift", {"baseline": 0.5}),
    "RevealCancel": ("", "deeplift", {"rule": "reveal_cancel", "baseline": 0.5}),
    "Guided BP, Deconv": ("guided_backprop deconvnet", "guided_backprop", {}),
    "Excitation BP": (
        "excitation_backprop contrastive_excitation_backprop",
        "excitation_backprop",
        {},
    ),
    "Deep Taylor": ("deep_taylor", "deep_taylor", {}),
    "patterns": ("pattern_net pattern_attribution", "pattern_net", {"patterns": pyref.fit_patterns}),
}


@cache
def layer_rows():
    """One row per layer: {"layer", "file", then a mark per column of COLUMNS and per backend}."""
    return [_row(name) for name in pyref.LAYERS]


def _row(name):
    row = {"layer": name, "file": pyref.LAYERS[name].__module__.rpartition(".")[2]}
    row |= {column: _tried(name, method, options) for column, (_, method, options) in COLUMNS.items()}
    return row | {b.name: _backend_mark(b, name) for b in BACKENDS.values()}


def _backend_mark(backend, name):
    """✓ where a backend has its own function for all that a layer asks of it.

    "reference" where one is pyref's, but "view" where that one computes nothing.
    """
    module = import_module(backend.module)  # whether this build has its kernels or not
    if module is pyref or _functions(name) <= set(module.KERNELS):
        return YES
    return "view" if pyref.LAYERS[name].kind in ("shape", "dropout") else "reference"


class _Listening:
    """A backend that notes which functions are asked of it."""

    def __init__(self):
        self.asked = set()

    def __getattr__(self, name):
        self.asked.add(name)
        return getattr(pyref, name)


def _functions(name):
    """Names of the backend's functions that a layer's forward, gradient and relevance call."""
    backend = _Listening()
    for method in ("gradient", "lrp"):
        with suppress(ValueError):  # no relevance goes through it
            _explained(name, method, backend=backend)
    return set(filter(LAYER_FUNCTION.search, backend.asked))


def _tried(name, method, options):
    """✓ where the method goes through the layer; for LRP "rules" where the rule decides and "passes" where not."""
    try:
        values = _explained(name, method, **options)
        if method != "lrp":
            return YES
        others = _explained(name, method, rule=pyref.Epsilon(1))
        return "passes" if all(np.array_equal(a, b) for a, b in zip(values, others, strict=True)) else "rules"
    except ValueError:
        return NO


def _explained(name, method, **options):
    layer, *shapes = EXAMPLES[name]
    inputs = {f"x{k}": shape for k, shape in enumerate(shapes)}
    network = pyref.Network([("layer", layer, tuple(inputs))], inputs, outputs=["layer"])
    x = {
        k: np.array([[0, 2, 1]]) if shape is None else 0.5 + np.abs(_w(1, *shape)) * (1 + i)
        for i, (k, shape) in enumerate(inputs.items())
    }
    if "patterns" in options:  # the patterns of this network
        options["patterns"] = options["patterns"](network, [x])
    explained = pyref.METHODS[method](network, x, target=np.ones_like, softmax="keep", **options)
    values = explained.values
    return list(values.values()) if isinstance(values, dict) else [values]


# ── as text ────────────────────────────────────────────────────────────────────────────────────────────


def grouped_rows():
    """Rows of `layer_rows` without the file, where the layers of one file that answer alike share a row."""
    groups: dict[tuple, list[str]] = {}
    for row in layer_rows():
        marks = tuple((k, v) for k, v in row.items() if k not in ("layer", "file"))
        groups.setdefault((row["file"], marks), []).append(row["layer"])
    return [{"layer": ", ".join(names), **dict(marks)} for (_, marks), names in groups.items()]


def markdown():
    """{section of the README: its tables}."""
    return {"support": _support_tables(), "metrics": _metric_table()}


def _metric_table():
    rows = [[f"`{name}`", metric.what, metric.better] for name, metric in pyref.METRICS.items()]
    return _table(["metric", "what it measures", "better"], rows)


def _support_tables():
    head = ["layer", *COLUMNS, *(f"`{b}`" for b in BACKENDS)]
    body = [list(row.values()) for row in grouped_rows()]
    rules = [[f"`{name}`", summary(rule)] for name, rule in pyref.RULES.items()]
    composites = [[f"`{name}`", summary(make)] for name, make in pyref.COMPOSITES.items()]
    return "\n\n".join(
        [
            _table(head, body),
            _table(["rule of LRP", ""], rules),
            _table(["composite of rules", ""], composites),
        ]
    )


def _table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def replace_tables(text):
    """A text with the tables between its marks written anew.

    Raises
        ValueError  a mark is missing.
    """
    for section, tables in markdown().items():
        begin, end = BEGIN.format(section), END.format(section)
        before, found_begin, rest = text.partition(begin)
        _, found_end, after = rest.partition(end)
        if not found_begin or not found_end:
            raise ValueError(f"the marks {begin} and {end} are missing")
        text = f"{before}{begin}\n\n{tables}\n\n{end}{after}"
    return text


def main(argv):
    """Print the tables, or write them into the file that is named."""
    if not argv:
        print("\n\n".join(markdown().values()))
        return
    path = Path(argv[0])
    path.write_text(replace_tables(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
