"""Where other libraries go wrong on ordinary networks: our law's residual and theirs, one row a case.

python tests/peers.py docs/peers.md    measures again and prints the table into the page

Needs the extra `peers`, and zennit. Networks come by `relprop.from_torch`, the others get the module itself. The
residual is how far the values' sum is off from what the method promises, as a share; the worst sample counts.
"""

import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torchvision_names  # noqa: F401
from bound import completeness_bound
from modules import ResNet50
from outside import randomize, tensor
from torch import nn

import relprop

BEGIN, END = "<!-- peers: python tests/peers.py docs/peers.md -->", "<!-- end of peers -->"


@dataclass(frozen=True)
class Row:
    """One case. `theirs` is a share, or the error that the library raises; `ours` and its bound are shares too."""

    case: str
    law: str
    peer: str
    theirs: float | str
    ours: float
    bound: float

    def cells(self):
        theirs = f"refuses: {self.theirs}" if isinstance(self.theirs, str) else f"{self.theirs:.1e}"
        return self.case, self.law, self.peer, theirs, f"{self.ours:.0e}", f"{self.bound:.0e}"


def normal(*shape, seed=1):
    return np.random.default_rng(seed).normal(size=shape)


def row(case, law, peer, module, x, ask, method, target=1, baseline=None, expected=None, **options):
    """The row of a case: `ask(module, x, target)` is what the peer says, which should sum to what ours promises.

    Of LRP that is the output without what the ledger says that biases and ε kept, and shares are those of the output.
    """
    network = relprop.from_torch(module, tensor(x))
    if baseline is not None:
        options["baseline"] = baseline
    a = relprop.explain(network, x, method, target, progress=False, **options)
    promised = a.expected if expected is None else expected(a)
    scale = np.abs(a.output if method == "lrp" else promised)

    def off(total):
        return float(np.max(np.abs(total - promised) / scale))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            values = ask(module, tensor(x).requires_grad_(), target).detach().numpy()
            theirs = off(values.reshape(len(x), -1).sum(axis=1))
        except Exception as error:  # a refusal, of whatever class
            theirs = type(error).__name__
    return Row(case, law, peer, theirs, off(a.total), float(np.max(completeness_bound(network, a.result) / scale)))


def captum(name, **options):
    from captum import attr

    def ask(module, x, target):
        return getattr(attr, name)(module).attribute(x, target=target, **options)

    return ask


def captum_rule(make):
    """LRP with a rule in every layer that has weights."""
    from captum import attr

    def ask(module, x, target):
        for m in module.modules():
            if isinstance(m, nn.Linear | nn.Conv2d):
                m.rule = make()
        return attr.LRP(module).attribute(x, target=target)

    return ask


def zennit(make):
    from zennit.attribution import Gradient

    def ask(module, x, target):
        with Gradient(module, make()) as attributor:
            _, values = attributor(x, lambda y: y * nn.functional.one_hot(torch.tensor([target] * len(y)), y.shape[1]))
        return values

    return ask


class Sequence(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn, self.out = nn.LSTM(4, 6, batch_first=True), nn.Linear(6, 2)

    def forward(self, x):
        return self.out(self.rnn(x)[0][:, -1])


class Shortcut(nn.Module):
    """x + body(x), written with a plus."""

    def __init__(self):
        super().__init__()
        self.body, self.out = nn.Sequential(nn.Linear(6, 6, bias=False), nn.ReLU()), nn.Linear(6, 2, bias=False)

    def forward(self, x):
        return self.out(x + self.body(x))


def chain(*layers):
    return randomize(nn.Sequential(*layers), 0)


def rows():
    """All cases, measured."""
    from captum.attr._utils.lrp_rules import Alpha1_Beta0_Rule
    from zennit.core import Composite
    from zennit.rules import Epsilon, WSquare
    from zennit.types import Linear

    def everywhere(rule):
        return lambda: Composite(lambda context, name, m: rule if isinstance(m, Linear) else None)

    images = normal(3, 3, 32, 32)
    complete, conserved = "Σ = S(x) − S(0)", "Σ = S(x) − what biases and ε keep"
    positive = "Σ = S(x) − what positive biases keep"
    network = randomize(ResNet50(1 / 16, 5, blocks=(1, 1)), 7)
    resnet = "ResNet bottlenecks: one in-place ReLU in three places, `+=`"
    epsilon = {"rule": "epsilon", "epsilon": 1e-6}
    yield row(resnet, complete, "Captum DeepLIFT", network, images, captum("DeepLift"), "deeplift")
    yield row(resnet, conserved, "Captum LRP", network, images, captum("LRP"), "lrp", **epsilon)
    yield row(resnet, conserved, "Zennit ε", network, images, zennit(everywhere(Epsilon(1e-6))), "lrp", **epsilon)

    shortcut = randomize(Shortcut(), 2)
    ask = zennit(everywhere(Epsilon(1e-9)))
    tiny = {"rule": "epsilon", "epsilon": 1e-9}
    yield row("`x + body(x)`, no biases", conserved, "Zennit ε", shortcut, normal(3, 6), ask, "lrp", **tiny)

    recurrent, steps = randomize(Sequence(), 3), normal(3, 8, 4)
    yield row("`nn.LSTM`", complete, "Captum DeepLIFT", recurrent, steps, captum("DeepLift"), "deeplift")
    ask = zennit(everywhere(Epsilon(1e-6)))
    yield row("`nn.LSTM`", conserved, "Zennit ε", recurrent, steps, ask, "lrp", **epsilon)

    x, x0 = normal(3, 2, 8, 8), normal(3, 2, 8, 8, seed=5)
    ask = captum("DeepLift", baselines=tensor(x0))
    tail = (nn.Flatten(), nn.Linear(27, 3))
    pooled = chain(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.MaxPool2d(2), *tail)
    name = "max pooling right after a ReLU"
    yield row(name, complete, "Captum DeepLIFT", pooled, x, ask, "deeplift", baseline=x0)
    overlap = chain(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Conv2d(3, 3, 1), nn.MaxPool2d(4, 1), *tail)
    yield row("overlapping max pooling", complete, "Captum DeepLIFT", overlap, x, ask, "deeplift", baseline=x0)

    linear = chain(nn.Linear(6, 3))
    ask = captum("IntegratedGradients", n_steps=50, method="riemann_trapezoid")
    rule = {"quadrature": "trapezoid", "m": 50}
    method = "integrated_gradients"
    yield row("a linear function", complete, "Captum IG, trapezoid", linear, normal(3, 6), ask, method, **rule)

    biased = chain(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
    signed = np.abs(normal(3, 6))
    ask = captum_rule(Alpha1_Beta0_Rule)
    yield row("z⁺ with biases", positive, "Captum LRP, Alpha1_Beta0", biased, signed, ask, "lrp", rule="z_plus")
    ask = zennit(lambda: Composite(lambda context, name, m: WSquare(1e-9) if isinstance(m, Linear) else None))
    square = {"rule": "w_square", "epsilon": 0, "expected": lambda a: a.output}
    yield row("w² with biases", "Σ = S(x)", "Zennit w²", biased, signed, ask, "lrp", **square)

    sigmoid = chain(nn.Linear(6, 5), nn.Sigmoid(), nn.Linear(5, 3))
    yield row("a sigmoid", conserved, "Captum LRP", sigmoid, normal(3, 6), captum("LRP"), "lrp", **epsilon)


def table(measured):
    head = ("network", "law", "library", "it is off by", "relprop by", "rounding allows")
    lines = ["| " + " | ".join(head) + " |", "| --- | --- | --- | ---: | ---: | ---: |"]
    return "\n".join([*lines, *("| " + " | ".join(r.cells()) + " |" for r in measured)])


def committed(page):
    """The table's lines in a page, cells apart."""
    text = page.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in text.strip().splitlines()[2:]]


def main(page):
    head, mark, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    assert mark, f"{page} has no line {BEGIN}"
    page.write_text(f"{head}{mark}\n\n{table(list(rows()))}\n\n{END}{rest.partition(END)[2]}", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
