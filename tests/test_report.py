"""`relprop report`: the page of a run made of its folder alone, byte for byte, with maps that hold the saved values."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_experiments import SETTINGS, TOY
from test_page import Parsed, decoded

from relprop import cli
from relprop.experiments.charts import panel_maps, panels_figure
from relprop.experiments.experiment import Picture
from relprop.experiments.run import reproduce
from relprop.view.page import Tokens

HOSTILE = '</h2><script>alert("1")</script>'


def maps(run, n):
    rows = {HOSTILE: [("input", np.ones((1, 2, 2))), None, np.reshape(n["values"][0], (1, 2, 2)).astype(np.float32)]}
    titles = ("input", "absent", HOSTILE)
    words = Tokens([HOSTILE, "b"], [0.1, -1 / 3], clip=50)
    return [Picture("maps", HOSTILE, panels_figure(rows, 3, titles=titles), [*panel_maps(rows, titles), words])]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two runs below one folder."""
    folder = tmp_path_factory.mktemp("runs")
    for name in ("one", "two"):
        reproduce(replace(TOY, pictures=maps, claim=HOSTILE, title=HOSTILE), SETTINGS, folder / name)
    return folder


def ran(capsys, *argv):
    code = cli.run(["report", *map(str, argv)])
    out, err = capsys.readouterr()
    return code, out, err


def test_the_page_is_made_again_byte_for_byte(folder, tmp_path, capsys):
    code, out, _ = ran(capsys, folder / "one", "--out", tmp_path / "page.html")
    assert code == 0 and str(tmp_path / "page.html") in out
    assert (tmp_path / "page.html").read_bytes() == (folder / "one" / "index.html").read_bytes()


def test_the_page_says_claim_and_finding_and_escapes_both(folder):
    text = (folder / "one" / "index.html").read_text()
    page = Parsed(text)
    assert len(page.all("script")) == 1
    assert page.text.count(HOSTILE) >= 5
    about = json.loads((folder / "one" / "numbers.json").read_text())
    for words in (about["claim"], about["verdict"], about["expectations"][0]["found"], "Nothing is read."):
        assert words in page.text
    assert "relprop reproduce toy --data none --samples 4 --seed 0 --backend pyref --quick" in page.text


def test_maps_hold_the_saved_values(folder):
    views = Parsed((folder / "one" / "index.html").read_text()).all("div", "view")
    with np.load(folder / "one" / "maps.npz") as saved:
        assert sorted(saved.files) == ["0.0", "0.1", "1.0"]
        for view, name in zip(views, ("0.0", "0.1"), strict=True):
            assert decoded(view).tobytes() == saved[name].tobytes()
        words = Parsed((folder / "one" / "index.html").read_text()).all("span", "token")
        assert [float(word["data-value"]) for word in words] == saved["1.0"].tolist()
    assert views[1]["data-type"] == "float32"


def test_several_runs_have_a_page_over_them(folder, capsys):
    code, out, _ = ran(capsys, folder, "--json")
    assert code == 0
    page = Parsed(Path(json.loads(out)["page"]).read_text())
    assert [a["href"] for a in page.all("a")] == ["one/index.html", "two/index.html"]
    code, _, err = ran(capsys, folder, "--out", "a.html")
    assert code == 1 and "holds 2 runs" in err


def test_what_is_no_run_is_refused_on_one_line(folder, tmp_path, capsys):
    copy = tmp_path / "copy"
    copy.mkdir()
    about = json.loads((folder / "one" / "numbers.json").read_text())

    def refused(numbers):
        (copy / "numbers.json").write_text(numbers if isinstance(numbers, str) else json.dumps(numbers))
        code, _, err = ran(capsys, copy)
        assert code == 1 and err.count("\n") == 1 and not (copy / "index.html").exists()
        return err

    assert "holds no finished run" in ran(capsys, tmp_path)[2]
    assert "is no JSON" in refused("{")
    assert "holds a list" in refused("[]")
    assert "lacks 'title'" in refused({k: v for k, v in about.items() if k != "title"})
    assert "lacks maps.npz" in refused(about)
    assert "expected the name of a file in the run's folder" in refused(
        {**about, "pictures": [{"name": "../one/maps", "caption": ""}]}
    )
    assert "expected .html" in ran(capsys, folder / "one", "--out", tmp_path / "page.txt")[2]


def test_a_verdict_of_a_page_is_the_one_in_its_numbers(folder):
    about = json.loads((folder / "one" / "numbers.json").read_text())
    (first, *_) = re.findall(r'class="verdict (\w*)"', (folder / "one" / "index.html").read_text())
    assert (first == "good") == (about["verdict"] == "holds")
