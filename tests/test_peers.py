"""The table of docs/peers.md: our laws hold where other libraries are off, and the page says what is measured."""

from pathlib import Path

import pytest

pytest.importorskip("torch", reason="needs PyTorch, which the extra `peers` installs")
pytest.importorskip("captum", reason="needs Captum, which the extra `peers` installs")

import peers

pytest.importorskip("zennit", reason="needs zennit: pip install --no-deps zennit")

pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore")]  # Captum warns of its own hooks

PAGE = Path(__file__).parents[1] / "docs" / "peers.md"


def test_the_page_says_what_is_measured():
    measured, written = list(peers.rows()), peers.committed(PAGE)
    assert len(measured) == len(written) > 10
    for row, cells in zip(measured, written, strict=True):
        assert row.ours <= row.bound < 1e-6, row
        assert list(row.cells()[:3]) == cells[:3]
        if isinstance(row.theirs, str):
            assert row.cells()[3] == cells[3]
        else:
            assert row.theirs > 0.01, row
            assert row.theirs / 2 < float(cells[3]) < row.theirs * 2  # sums in another order, magnified
