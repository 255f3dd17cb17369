"""The gallery: every picture of docs/gallery.md is there, light, and made by a function of examples/gallery.py."""

import importlib.util
import re
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "gallery"
TEXT = (ROOT / "docs" / "gallery.md").read_text(encoding="utf-8")
LIGHT = 60_000  # bytes


@pytest.fixture(scope="module")
def gallery():
    spec = importlib.util.spec_from_file_location("gallery", ROOT / "examples" / "gallery.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_text_folder_and_script_name_the_same_pictures(gallery):
    shown = re.findall(r"!\[[^\]]+\]\(gallery/([^)]+)\)", TEXT)
    assert sorted(shown) == sorted(gallery.PICTURES) == sorted(p.name for p in FOLDER.iterdir())
    assert all(path.stat().st_size < LIGHT for path in FOLDER.iterdir())


@pytest.mark.parametrize("name", ["flow.png", "words.png", "clipped.png"])
def test_a_picture_is_made_again_in_its_size(gallery, tmp_path, name):
    with Image.open(gallery.write(name, tmp_path)) as again, Image.open(FOLDER / name) as kept:
        assert again.size == kept.size


def test_the_calls_of_the_text_exist():
    from relprop import view

    for name in re.findall(r"view\.(\w+)\(", TEXT):
        assert hasattr(view, name), name


def test_the_example_of_a_page_runs(tmp_path, monkeypatch):
    import numpy as np

    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, re.S)
    exec(compile(code, "gallery.md", "exec"), {"x": np.eye(3), "values": np.eye(3), "rows": [(1, 0.5)]})
    assert (tmp_path / "page.html").stat().st_size > 1000
