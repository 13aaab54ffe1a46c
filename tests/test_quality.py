"""The pictures themselves: what the defaults must reach on five real pairs, by a yardstick with another network."""

import importlib.util
import statistics
from pathlib import Path

import pytest

from impasto import Config, paint
from impasto.painting import make_backbone

SHARED = Path(__file__).resolve().parents[2] / "shared"
PAIRS = ("tiger+starry_night", "tubingen+starry_night", "lion+great_wave", "chicago+composition_vii", "face+mosaic")


def found(kind: str, name: str) -> Path:
    return next((SHARED / "images" / kind).glob(f"{name}.*"))


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the pictures and the referee in ../shared")
def test_the_defaults_reach_their_figures_on_the_five_pairs(tmp_path) -> None:
    spec = importlib.util.spec_from_file_location("referee", SHARED / "tools" / "referee.py")
    referee = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(referee)
    backbone = make_backbone(Config())
    rows = []
    for pair in PAIRS:
        content, style = (found(kind, name) for kind, name in zip(("content", "style"), pair.split("+"), strict=True))
        file = paint(content, style, backbone=backbone).save(tmp_path / f"{pair}.png")
        rows += referee.score(content, style, [file])
    assert statistics.mean(row["style"] for row in rows) <= 0.045
    assert statistics.mean(row["content"] for row in rows) <= 0.65
    assert all(0.8 <= row["noise"] <= 1.2 for row in rows)
