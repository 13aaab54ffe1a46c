"""The pictures themselves: what the defaults must reach on the five pairs of
examples/gallery.py."""

import statistics

import pytest

from gallery import ROOT, five_pairs, paint_pairs
from impasto import Config

SHARED = ROOT.parent / "shared"


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the pictures and the referee in ../shared")
def test_the_defaults_reach_their_figures_on_the_five_pairs(tmp_path) -> None:
    rows = [row for _, row in paint_pairs(five_pairs(SHARED), Config(), SHARED, tmp_path)]
    assert len(rows) == 5
    assert statistics.mean(row["style"] for row in rows) <= 0.045
    assert statistics.mean(row["content"] for row in rows) <= 0.65
    assert all(0.8 <= row["noise"] <= 1.2 for row in rows)
