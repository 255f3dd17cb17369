"""The shipped models and digits: accuracy, size, and what their cards say."""

from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

import relprop
from relprop.data import digits, source_indices
from relprop.models import native, zoo

FOLDER = Path(str(files("relprop.models.zoo")))


@pytest.mark.parametrize("name", zoo.names())
def test_held_out_accuracy(name):
    images, labels = digits()
    logits = zoo.load(name)(images)
    accuracy = float((logits.argmax(axis=1) == labels).mean())
    assert logits.shape == (200, 10) and logits.dtype == np.float64
    assert accuracy >= (0.95 if name == "digits-lstm" else 0.97)
    card = zoo.card(name)
    assert card["accuracy shipped"] == round(accuracy, 4)
    assert card["accuracy held out"] >= (0.95 if name == "digits-lstm" else 0.97)


@pytest.mark.parametrize("name", zoo.names())
def test_network_and_file(name, tmp_path):
    network = zoo.load(name)
    assert network.name == name and network.inputs == {"image": (1, 8, 8)}
    assert not any(node.layer.kind == "softmax" for node in network.nodes.values())  # the target is a logit
    x = digits()[0][:5].astype(np.float32)
    single = zoo.load(name, dtype=np.float32)(x)
    assert single.dtype == np.float32
    assert (single.argmax(axis=1) == network(x.astype(np.float64)).argmax(axis=1)).all()
    # the shipped bytes are what `save` makes of the network: the format has not moved away from the files
    native.save(native.load(FOLDER / f"{name}.safetensors"), tmp_path / "again", zoo.card(name))
    assert (tmp_path / "again").read_bytes() == (FOLDER / f"{name}.safetensors").read_bytes()


def test_activations_are_those_named():
    for name in zoo.names()[:8]:
        kinds = {type(n.layer).__name__.lower() for n in zoo.load(name).nodes.values() if n.layer.kind == "activation"}
        assert kinds == {name.split("-")[2]}


def test_files():
    assert sorted(f.stem for f in FOLDER.glob("*.safetensors")) == sorted(zoo.names())
    assert sum(f.stat().st_size for f in FOLDER.glob("*.safetensors")) < 2_000_000


def test_card_has_every_model():
    text = (FOLDER / "CARD.md").read_text(encoding="utf-8")
    for name in zoo.names():
        about = zoo.card(name)
        [row] = [line for line in text.splitlines() if line.startswith(f"| {name} |")]
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        columns = ("accuracy held out", "accuracy shipped", "seed", "parameters", "rate", "weight decay")
        assert cells == [name, *(str(about[c]) for c in columns)]


def test_unknown_model():
    with pytest.raises(ValueError, match="did you mean 'digits-cnn-relu'"):
        relprop.zoo("digit-cnn-relu")
    with pytest.raises(ValueError, match="digits-mlp-tanh"):
        zoo.card("../../secret")


def test_digits():
    images, labels = relprop.digits()
    raw, _ = digits(scale=False)
    assert images.shape == (200, 1, 8, 8) and images.dtype == np.float64
    assert (np.bincount(labels) == 20).all()
    assert set(np.unique(raw)) <= set(range(17)) and (images == raw / 8 - 1).all()
    assert len(np.unique(source_indices())) == 200
    images[:] = 0  # a caller's copy
    assert relprop.digits()[0].min() == -1


def test_digits_are_those_of_scikit_learn():
    datasets = pytest.importorskip("sklearn.datasets", reason="scikit-learn is not installed (extra `data`)")
    bunch, where = datasets.load_digits(), source_indices()
    assert (digits(scale=False)[0][:, 0] == bunch.images[where]).all()
    assert (digits()[1] == bunch.target[where]).all()
