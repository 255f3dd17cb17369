"""`relprop explain --html`: a page whose values are those that `--save` writes, float for float."""

import re

import numpy as np
import pytest
from cases import NETWORK, X
from test_page import Parsed, decoded, page

import pyref
import relprop
from relprop import cli
from relprop.view import write_explanation
from relprop.view.explanation import explanation_blocks
from relprop.view.page import Tokens

HOSTILE = "<script>alert(1)</script>"


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("method", ["lrp", "saliency", "interior_gradients"])
def test_the_page_holds_the_values_that_are_saved(tmp_path, capsys, dtype, method):
    relprop.save(NETWORK, tmp_path / "small.safetensors")
    np.save(tmp_path / "x.npy", X.astype(dtype))
    names = ("small.safetensors", "x.npy", "a.html", "a.npy")
    model, x, html, npy = (str(tmp_path / name) for name in names)
    assert cli.run(["explain", model, x, "--method", method, "--html", html, "--save", npy]) == 0
    assert f"written: {html}" in capsys.readouterr().out
    saved = np.load(npy)
    views = [decoded(v) for v in Parsed(open_text(html)).all("div", "view") if v["data-kind"] == "signed"]
    expected = np.moveaxis(saved, 1, 0) if method == "interior_gradients" else saved
    assert np.stack(views).tobytes() == expected.reshape(len(views), 1, -1).tobytes()


def open_text(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def test_the_page_says_output_sum_and_residual_and_where_relevance_went():
    a = relprop.explain(NETWORK, X, rule="epsilon", epsilon=0.25)
    found = page(*explanation_blocks(a, NETWORK))
    titles = {cell.get("title") for cell in found.all("td", "number")}
    for numbers in (a.output, a.total, a.delta, a.ledger["dense1"].bias[:1]):
        assert {repr(float(v)) for v in numbers} <= titles
    assert "Epsilon(epsilon=0.25" in found.text
    assert len(found.all("img")) == 1, "the flow"
    assert not page(*explanation_blocks(a)).all("img"), "without the network there is no flow"
    assert "ledger" not in page(*explanation_blocks(relprop.explain(NETWORK, X, "saliency"), NETWORK)).text


def test_the_page_says_how_many_samples_are_not_on_it(tmp_path):
    many = np.tile(X, (4, 1))
    a = relprop.explain(NETWORK, many)
    found = page(*explanation_blocks(a, samples=2))
    assert f"The first 2 of {len(many)} samples." in found.text
    assert len(found.all("section", "heatmaps")) == 2
    with pytest.raises(ValueError, match="samples is 0"):
        explanation_blocks(a, samples=0)
    first, again = (write_explanation(tmp_path / f"{k}.html", a, NETWORK).read_bytes() for k in range(2))
    assert first == again


def test_several_inputs_and_hostile_names_have_their_maps():
    two = pyref.Network([("sum", pyref.Add(), (HOSTILE, "b"))], {HOSTILE: (2,), "b": (2,)}, name=HOSTILE)
    a = relprop.explain(two, {HOSTILE: X[:1, :2], "b": X[:1, 2:4]}, target=0)
    found = page(*explanation_blocks(a, two))
    assert [v["data-title"] for v in found.all("div", "view")] == [f"input {HOSTILE}", "input b", HOSTILE, "b"]
    assert len(found.all("script")) == 1


def test_words_carry_their_values_and_are_escaped():
    values = np.array([0.1, -1 / 3, 2])
    found = page(Tokens([HOSTILE, "\n", "c"], values, "a review", clip=50))
    spans = found.all("span", "token")
    assert [float(s["data-value"]) for s in spans] == values.tolist()
    assert [s["tabindex"] for s in spans] == ["0", "-1", "-1"], "Tab reaches them once, arrows go on"
    assert HOSTILE in found.text and "↵" in found.text and "1 of 3 values clipped" in found.text
    assert re.search("a review", found.text)
