"""What the fuzzer starts from, and a short run of its mutations without it: the same promises, the same bounds."""

import random
import re
from pathlib import Path

import pytest

import pyref
from relprop.models import native

pytest.importorskip("onnx", reason="the extra `onnx` is not installed")

import fuzz

CASES = [(name, path) for name in fuzz.FORMATS for path in sorted(fuzz.CORPUS.glob(f"{name}-*"))]


@pytest.mark.parametrize("name, path", CASES, ids=[path.name for _, path in CASES])
def test_the_corpus_is_read_and_mutations_of_it_are_a_network_or_one_error(name, path):
    suffix, mutate, mend = fuzz.FORMATS[name]
    assert mend(path.read_bytes()) == path.read_bytes()
    reader = fuzz.Reader(suffix)
    reader(path.read_bytes())
    assert reader.read == 1
    for seed in range(40):
        data = mutate(path.read_bytes(), random.Random(seed))
        if data is not None and len(data) <= fuzz.LENGTH:
            reader(data)
    assert reader.refused > 1


def test_metadata_that_is_null_is_refused(tmp_path):
    """Found by the fuzzer."""
    reader = fuzz.Reader(".relprop")
    header = b'{"__metadata__":null}'
    reader(len(header).to_bytes(8, "little") + header)
    assert reader.refused == 1


def test_a_sequence_of_declared_length_is_not_run_through_to_check_it(tmp_path):
    """Found by the fuzzer: a file of two kilobytes that takes hours."""
    network = fuzz.native_models()["words"]
    long = pyref.Network(list(network.nodes.values()), {"ids": (2**40,)})
    native.save(long, tmp_path / "long")
    reader = fuzz.Reader(".relprop")
    reader((tmp_path / "long").read_bytes())
    assert reader.read == 1


def test_the_corpus_is_small():
    assert sum(path.stat().st_size for _, path in CASES) < 2**14


@pytest.mark.parametrize(
    "read, words",
    [
        (lambda path: None, "no network"),
        (lambda path: [][0], "list index"),
        (lambda path: int("x"), "the file is not named"),
    ],
)
def test_a_reader_that_breaks_a_promise_is_caught(read, words, monkeypatch):
    monkeypatch.setattr("relprop.models.load", read)
    with pytest.raises((AssertionError, IndexError), match=words):
        fuzz.Reader(".onnx")(b"")


@pytest.mark.parametrize("cap, words", [("memory_cap", "bytes"), ("SECONDS", " s")])
def test_a_reader_that_takes_too_much_is_caught(cap, words, monkeypatch):
    monkeypatch.setattr(fuzz, cap, (lambda size: 0) if cap == "memory_cap" else 0)
    with pytest.raises(AssertionError, match=words):
        fuzz.Reader(".onnx")((fuzz.CORPUS / "onnx-small").read_bytes())


def test_the_page_has_figures_of_both_formats():
    page = (Path(__file__).parents[1] / "docs" / "onnx.md").read_text(encoding="utf-8")
    for name in fuzz.FORMATS:
        assert re.search(rf"\| {name} \| \d", page), name
