"""The README says what is true: its tables, its commands, its examples, its links."""

import doctest
import re
from pathlib import Path

import numpy as np
import pytest

import pyref
from relprop import cli, support

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def block(mark):
    """The fenced block right after a mark, as CI takes it."""
    found = re.search(rf"^<!-- {mark} command -->\n```\w*\n(.*?)^```$", README, re.M | re.S)
    return found.group(1).strip()


def test_the_tables_are_those_of_the_code():
    assert support.replace_tables(README) == README, "run: python -m relprop.support README.md"


def test_the_two_commands_set_everything_up():
    assert block("demo") == "python3 -m venv .venv && .venv/bin/pip install . && .venv/bin/relprop demo"
    assert block("test") == "python3 -m venv .venv && .venv/bin/pip install -e '.[test]' && .venv/bin/pytest -n auto"


def test_the_python_example_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (code,) = [c for c in re.findall(r"```python\n(.*?)```", README, re.S) if ">>>" not in c]
    exec(compile(code, "README.md", "exec"), {})
    out = capsys.readouterr().out
    assert "residual" in out
    assert "stabilizer" in out
    assert (tmp_path / "digit.png").stat().st_size > 1000


def test_the_exact_example_prints_what_it_says():
    tests = doctest.DocTestParser().get_doctest(README, {}, "README", "README.md", 0)
    assert tests.examples
    assert doctest.DocTestRunner(verbose=False).run(tests).failed == 0


def test_the_page_of_metrics_prints_what_it_says():
    page = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    tests = doctest.DocTestParser().get_doctest(page, {}, "metrics", "metrics.md", 0)
    assert doctest.DocTestRunner(verbose=False).run(tests) == (0, len(tests.examples)) and tests.examples


def test_links_and_pictures_are_there():
    for target in re.findall(r"\]\(([^)]+)\)", README):
        assert target.startswith("http") or (ROOT / target).is_file(), target


def test_the_commands_of_the_table_exist(capsys):
    commands = re.findall(r"^\| `relprop (\w+)", README, re.M)
    assert set(commands) == {c.name or c.callback.__name__ for c in cli.app.registered_commands}
    for command in commands:
        assert cli.run([command, "--help"]) == 0


def test_what_a_stranger_should_know_is_said():
    assert len([line for line in README.splitlines() if "patents" in line]) == 1
    assert "BSD-3-Clause" in README
    assert "also called `pyref`" in README


# ── the support table ──────────────────────────────────────────────────────────────────────────────────


def test_every_layer_has_an_example_and_every_method_a_column():
    assert set(support.EXAMPLES) == set(pyref.LAYERS)
    columns = [name for methods, _, _ in support.COLUMNS.values() for name in methods.split()]
    assert sorted(columns) == sorted(pyref.METHODS)


@pytest.mark.parametrize("method", pyref.METHODS)
def test_what_is_refused_when_tried_is_what_pyref_says_is_refused(method):
    """`pyref.supports` answers without trying; batch normalisation counts as merged there and stands alone here."""
    (column,) = [title for title, (methods, _, _) in support.COLUMNS.items() if method in methods.split()]
    tried = {row["layer"]: row[column] != support.NO for row in support.layer_rows() if row["layer"] != "BatchNorm"}
    said = {name: pyref.supports(method, pyref.LAYERS[name]) is True for name in tried}
    assert tried == said


def test_exact_integrals_follow_the_piecewise_linear_layers():
    for row in support.layer_rows():
        piecewise = support.EXAMPLES[row["layer"]][0].piecewise_linear
        assert (row["exact IG"] == support.YES) == piecewise, row["layer"]


def test_the_rule_decides_at_every_affine_layer():
    for row in support.layer_rows():
        if support.EXAMPLES[row["layer"]][0].affine:
            assert row["LRP"] == "rules", row["layer"]


def test_reveal_cancel_goes_through_an_output_that_leads_nowhere():
    """A split whose second piece is not read: its signal is zero, as a pair like the other."""
    network = pyref.Network(
        [("split", pyref.Split((1, 2)), "x"), ("relu", pyref.ReLU(), ("split", 0))], {"x": (3,)}, outputs="relu"
    )
    a = pyref.deeplift(network, np.array([[2.0, 3.0, 4.0]]), rule="reveal_cancel")
    assert a.values.tolist() == [[2, 0, 0]]
