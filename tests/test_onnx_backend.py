"""ONNX's own backend test suite, on pyref and on the kernels."""

from pathlib import Path

import pytest

import pyref
from relprop.backends import resolve

onnx = pytest.importorskip("onnx", reason="the extra `onnx` is not installed")

import onnx_backend  # noqa: E402

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("backend", ["pyref", "cpu"])
def test_every_claimed_case_passes_or_is_excluded_with_a_reason(backend):
    groups, _, wrong = onnx_backend.outcome(pyref if backend == "pyref" else resolve(backend)[1])
    assert wrong == []
    assert all(count["passed"] for count in groups.values())
    total = {key: sum(count[key] for count in groups.values()) for key in ("passed", "claimed", "excluded")}
    assert total["passed"] + total["excluded"] == total["claimed"]


def test_the_documents_state_these_numbers():
    """The suite grows with every release of onnx: only the release that they name is held against them."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    if f"suite of onnx {onnx.__version__}," not in readme:
        pytest.skip(f"README.md counts the suite of another release than onnx {onnx.__version__}")
    for name in ("README.md", "docs/onnx.md"):
        text = (ROOT / name).read_text(encoding="utf-8")
        assert onnx_backend.replace_tables(text) == text, "run: python tests/onnx_backend.py README.md docs/onnx.md"


def test_every_exclusion_is_still_needed():
    """Each row of the list catches a case, and no operator is claimed of which nothing passes."""
    _, reasons, _ = onnx_backend.outcome()
    assert {reason for _, _, reason in onnx_backend.EXCLUDED} == set(reasons)
