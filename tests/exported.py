"""Models that PyTorch wrote as ONNX files, explained by the command line: `explained` is what the tests look at.

python tests/exported.py              writes tests/exported/*.onnx anew, small ones, and what the modules compute
python tests/exported.py docs/onnx.md explains them in their full size and prints the residuals into the page
"""

import contextlib
import io
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from bound import completeness_bound

import relprop
from relprop import cli

FOLDER = Path(__file__).parent / "exported"
NAMES = ("resnet50", "googlenet", "lstm")
METHODS = {"deeplift": {}, "full_gradient": {}, "lrp": {"rule": "epsilon", "epsilon": 0.01}}
MARK = "<!-- exported: python tests/exported.py docs/onnx.md -->"
CLASS = 1


def module(name, full=False):
    """(the module in float64 and evaluation mode, the shape of a sample), small or in full size.

    In float64 because the exporter folds constants: what it rounds is then no more than what anyone rounds. But the
    numbers in `x * 0.458` it rounds to float32 even there, so that GoogLeNet is without `transform_input`.
    """
    import modules
    from outside import randomize
    from torch import nn

    make = {
        "resnet50": lambda: (modules.ResNet50(1 / 32, 5, blocks=(1, 1, 1)), (3, 32, 32)),
        "googlenet": lambda: (modules.GoogLeNet(1 / 64, 5, transform_input=False), (3, 32, 32)),
        "lstm": lambda: (modules.Sequences(nn.LSTM, True, 2, True, True), (6, 4)),
    }
    make_full = {
        "resnet50": lambda: (modules.ResNet50(), (3, 224, 224)),
        "googlenet": lambda: (modules.GoogLeNet(transform_input=False), (3, 224, 224)),
        "lstm": lambda: (modules.Sequences(nn.LSTM, True, 2, True, True, 64, 256), (100, 64)),
    }
    made, shape = (make_full if full else make)[name]()
    return randomize(made, 19), shape  # a seed by which the narrow GoogLeNet is alive


def samples(shape, count=2):
    return np.random.default_rng(11).normal(size=(count, *shape))


def export(made, shape, path):
    """What `torch.onnx.export` writes, for any number of samples, without the stack traces that it adds."""
    import onnx
    import torch

    example = (torch.zeros(2, *shape, dtype=torch.float64),)
    dims = ({0: torch.export.Dim("n")},)
    torch.onnx.export(made, example, path, input_names=["x"], dynamic_shapes=dims, external_data=False, verbose=False)
    model = onnx.load(path)
    for part in (model, model.graph, *model.graph.node, *model.graph.value_info, *model.graph.initializer):
        del part.metadata_props[:]
    onnx.save(model, path)


def explained(path, x, method, folder):
    """{values, output, residual, ledger rows} of `relprop explain`, by class CLASS, and what bounds the residual."""
    np.save(folder / "x.npy", x)
    options = dict(METHODS[method])
    words = ["explain", path, folder / "x.npy", "--method", method, "--target", CLASS, "--save", folder / "values.npz"]
    if "rule" in options:
        words += ["--rule", options["rule"], "--option", f"epsilon={options['epsilon']}"]
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        assert cli.run([*map(str, words), "--json", "--ledger"]) == 0
    said = json.loads(said.getvalue())
    network = relprop.load(path)
    a = relprop.explain(network, x, method, CLASS, progress=False, **options)
    with np.load(folder / "values.npz") as file:
        values = file["values"]
        assert (values == a.values).all()
    return {
        "network": network,
        "values": values,
        "output": a.output,
        "residual": np.array([row["residual"] for row in said["samples"]]),
        "ledger": said.get("ledger", []),
        "bound": completeness_bound(network, a.result),
    }


def imported(made, x):
    """The network by `from_torch` in its simplest form, as exporters write it."""
    import torch

    return relprop.from_torch(made, torch.tensor(x[:1])).canonize()[0]


def values_by(method):
    """The function (network, x) → values."""

    def values(network, x):
        return relprop.explain(network, x, method, CLASS, progress=False, **METHODS[method]).values

    return values


def write_small():
    import torch

    FOLDER.mkdir(exist_ok=True)
    for name in NAMES:
        made, shape = module(name)
        export(made, shape, FOLDER / f"{name}.onnx")
        with torch.no_grad():
            y = made(torch.tensor(samples(shape))).numpy()
        np.save(FOLDER / f"{name}.npy", y)


def full_size(folder):
    """Rows (model, method, output, residual, its bound, gap to from_torch, seconds) of the full models."""
    from nearby import gap

    for name in NAMES:
        made, shape = module(name, full=True)
        x, path = samples(shape, 1), folder / f"{name}.onnx"
        export(made, shape, path)
        network = imported(made, x)
        for method in METHODS:
            began = time.perf_counter()
            said = explained(path, x, method, folder)
            seconds = time.perf_counter() - began
            yield name, method, said, gap(said["values"], values_by(method), network, x, draws=1), seconds


def table(rows):
    lines = [
        "| model | method | output | residual | n·u·Σ\\|terms\\| | largest value | gap to `from_torch` | allowed |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, method, said, (off, allowed), _ in rows:
        numbers = (
            said["output"][0],
            abs(said["residual"][0]),
            said["bound"],
            np.abs(said["values"]).max(),
            off,
            allowed,
        )
        lines.append(f"| {name} | `{method}` | " + " | ".join(f"{v:.2g}" for v in numbers) + " |")
    return "\n".join(lines)


def main(pages):
    if not pages:
        return write_small()
    with tempfile.TemporaryDirectory() as folder:
        text = table(list(full_size(Path(folder))))
    page = Path(pages[0])
    head, mark, rest = page.read_text(encoding="utf-8").partition(MARK)
    assert mark, f"{page} has no line {MARK}"
    end = "<!-- end of exported -->"
    page.write_text(f"{head}{mark}\n\n{text}\n\n{end}{rest.partition(end)[2]}", encoding="utf-8")
    return None


if __name__ == "__main__":
    main(sys.argv[1:])
