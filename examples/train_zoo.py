"""Train the models that ship with relprop, and choose the digits that ship beside them.

    pip install relprop[train]
    python examples/train_zoo.py --out zoo              # all nine, about three minutes on one core
    python examples/train_zoo.py --out zoo --only digits-mlp-tanh

Writes one .safetensors file a model, digits.npz, and table.md with the rows of the card. The held-out digits
are looked at once, at the end, to measure the accuracy: step size and weight decay are chosen on a part of
the training split. The same seed gives the same files on the same machine and the same PyTorch; elsewhere
sums are rounded in another order, and the weights differ in their last bits at first and visibly at the end.
"""

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.nn.functional import cross_entropy
from tqdm import tqdm

import pyref
from pyref.check import nearest
from relprop.models import native, zoo

ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "softplus": nn.Softplus}
GRID = tuple(itertools.product((3e-3, 1e-2), (1e-2, 3e-1)))  # peak step size, weight decay
EPOCHS, BATCH = 60, 32
TRAIN, HELD_OUT, VALIDATION, SHIPPED = 1397, 400, 280, 200
ATTRIBUTION = "E. Alpaydin, C. Kaynak: Optical Recognition of Handwritten Digits, UCI ML Repository, CC BY 4.0"


@dataclass(frozen=True)
class Data:
    """The digits, scaled to [-1, 1], and the disjoint parts of them."""

    images: torch.Tensor
    labels: torch.Tensor
    raw: np.ndarray
    fit: np.ndarray
    validation: np.ndarray
    held_out: np.ndarray
    shipped: np.ndarray

    @property
    def train(self):
        return np.concatenate([self.fit, self.validation])


def digits(seed):
    """Split scikit-learn's 1797 digits by class: 1397 to train (280 to validate), 400 held out (200 ship)."""
    bunch = load_digits()
    labels = bunch.target

    def part(indices, size):
        return map(np.sort, train_test_split(indices, test_size=size, random_state=seed, stratify=labels[indices]))

    train, held_out = part(np.arange(TRAIN + HELD_OUT), HELD_OUT)
    fit, validation = part(train, VALIDATION)
    rng = np.random.default_rng(seed)
    classes = [held_out[labels[held_out] == k] for k in range(10)]
    shipped = np.sort(np.concatenate([rng.choice(c, SHIPPED // 10, replace=False) for c in classes]))
    images = torch.tensor(bunch.images[:, None] / 8 - 1, dtype=torch.float32)
    return Data(images, torch.tensor(labels), bunch.images.astype(np.uint8), fit, validation, held_out, shipped)


class Rows(nn.Module):
    """Reads a digit row by row, 8 steps of 8 pixels, and keeps the last hidden state."""

    def __init__(self, hidden):
        super().__init__()
        self.lstm = nn.LSTM(8, hidden, batch_first=True)
        nn.init.zeros_(self.lstm.bias_hh_l0).requires_grad_(False)  # PyTorch has two biases that only occur as a sum

    def forward(self, x):
        return self.lstm(x[:, 0])[0][:, -1]


def module(name):
    """The untrained PyTorch model; all of them end in logits."""
    _, kind, *rest = name.split("-")
    if kind == "lstm":
        return nn.Sequential(Rows(64), nn.Linear(64, 10))
    act = ACTIVATIONS[rest[0]]
    if kind == "mlp":
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), act(), nn.Linear(64, 64), act(), nn.Linear(64, 10))
    else:
        model = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), act(), nn.Conv2d(16, 32, 3, padding=1), act(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(32 * 4 * 4, 64), act(), nn.Linear(64, 10),
        )  # fmt: skip
    for layer in model:
        if isinstance(layer, nn.Linear | nn.Conv2d):
            # PyTorch's own start is too narrow for signals to pass two sigmoids
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
    return model


def shifted(x):
    """Half of the digits moved by up to one pixel on either axis, over background."""
    places = nn.functional.pad(x, (1, 1, 1, 1), value=-1).unfold(2, 8, 1).unfold(3, 8, 1)  # (n, 1, 3, 3, 8, 8)
    row, column = torch.where(torch.rand(len(x)) < 0.5, torch.randint(0, 3, (2, len(x))), 1)
    return places[torch.arange(len(x)), :, row, column]


def fit(name, data, indices, rate, decay, seed, bar):
    """Train a fresh model on some of the digits; softmax and cross entropy exist only here."""
    torch.manual_seed(seed)
    model = module(name)
    x, labels = data.images[indices], data.labels[indices]
    steps = EPOCHS * -(-len(x) // BATCH)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(x)).split(BATCH):
            optimizer.zero_grad()
            cross_entropy(model(shifted(x[batch])), labels[batch]).backward()
            optimizer.step()
            schedule.step()
        bar.update()
    return model.eval()


@torch.no_grad()
def measure(model, data, indices):
    """Accuracy and cross entropy on some of the digits."""
    logits, labels = model(data.images[indices]), data.labels[indices]
    return (logits.argmax(1) == labels).double().mean().item(), cross_entropy(logits, labels).item()


def train(name, data, seed, bar):
    """Choose (step size, weight decay) by the cross entropy on the validation part, then train on all 1397."""

    def loss(choice):
        return measure(fit(name, data, data.fit, *choice, seed, bar), data, data.validation)[1]

    rate, decay = min(GRID, key=loss)
    return fit(name, data, data.train, rate, decay, seed, bar), {"rate": rate, "weight decay": decay}


def layers(model):
    """The trained PyTorch modules as pyref's layers, in order."""

    def array(tensor):
        return np.ascontiguousarray(tensor.detach().numpy())

    for m in model:
        match m:
            case nn.Linear():
                yield pyref.Dense(array(m.weight.T), array(m.bias))
            case nn.Conv2d():
                yield pyref.Conv(array(m.weight), array(m.bias), stride=m.stride, padding=m.padding)
            case nn.MaxPool2d():
                yield pyref.MaxPool((m.kernel_size, m.kernel_size))
            case nn.Flatten():
                yield pyref.Flatten()
            case nn.ReLU():
                yield pyref.ReLU()
            case nn.Tanh():
                yield pyref.Tanh()
            case nn.Sigmoid():
                yield pyref.Sigmoid()
            case nn.Softplus():
                yield pyref.Softplus()
            case Rows():
                yield pyref.Reshape((8, 8))
                w_x, w_h, b, _ = m.lstm.parameters()  # gates i, f, g, o, as in pyref
                yield pyref.LSTM(array(w_x.T), array(w_h.T), array(b), output="last")


@torch.no_grad()
def agree(model, network, data):
    """Largest difference between PyTorch's logits and pyref's on the held-out digits, both in float64.

    Softplus may show 1e-9: above 20 PyTorch takes the identity for it, pyref does not.
    """
    x = data.images[data.held_out].double()
    theirs = model.double()(x).numpy()
    model.float()
    return float(np.abs(network(x.numpy()) - theirs).max())


def card(model, data, seed, choice):
    """What is known about a model, kept in its file."""
    return {
        "data": f"digits 8×8 scaled x/8-1; {ATTRIBUTION}",
        "split": f"{TRAIN} train, {HELD_OUT} held out, by class, seed {seed}; {SHIPPED} of the held out are shipped",
        "accuracy held out": round(measure(model, data, data.held_out)[0], 4),
        "accuracy shipped": round(measure(model, data, data.shipped)[0], 4),
        "seed": seed,
        "parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "epochs": EPOCHS,
        **choice,
        "trained with": f"PyTorch {torch.__version__}",
    }


COLUMNS = ("accuracy held out", "accuracy shipped", "seed", "parameters", "rate", "weight decay")


def row(name, about):
    """One line of the card's table."""
    return f"| {name} | " + " | ".join(str(about[c]) for c in COLUMNS) + " |"


def main(
    out: Annotated[Path, typer.Option(help="Folder for the files; made if missing.")],
    seed: Annotated[int, typer.Option(help="Seed of the split, the first weights and the order of batches.")] = 0,
    only: Annotated[list[str] | None, typer.Option(help="Train only this model; may be given again.")] = None,
):
    """Train the shipped models and write them with their card's table and the shipped digits."""
    names = only or zoo.names()
    for name in names:
        if name not in zoo.names():
            raise typer.BadParameter(f"unknown model {name!r}; {nearest(name, zoo.names())}")
    torch.set_num_threads(1)  # sums in one order, whatever the machine
    torch.use_deterministic_algorithms(True)
    out.mkdir(parents=True, exist_ok=True)
    data = digits(seed)
    np.savez_compressed(
        out / "digits.npz",
        images=data.raw[data.shipped],
        labels=data.labels[data.shipped].numpy().astype(np.uint8),
        indices=data.shipped.astype(np.uint16),
    )
    rows = [row("model", dict(zip(COLUMNS, COLUMNS, strict=True))), "|---" * (len(COLUMNS) + 1) + "|"]
    with tqdm(total=len(names) * (len(GRID) + 1) * EPOCHS, unit="epoch") as bar:
        for name in names:
            bar.set_description(name)
            model, choice = train(name, data, seed, bar)
            network = pyref.Network.sequential(layers(model), input="image", shape=(1, 8, 8), name=name)
            about = card(model, data, seed, choice)
            native.save(network, out / f"{name}.safetensors", about)
            rows.append(row(name, about))
            bar.write(f"{rows[-1]} largest difference to PyTorch {agree(model, network, data):.1e}")
    (out / "table.md").write_text("\n".join(rows) + "\n", encoding="utf-8")
    typer.echo(f"{len(names)} models and digits.npz in {out}")


if __name__ == "__main__":
    typer.run(main)
