"""`impasto film`: frames, times, sound; interrupted and continued; bad input."""

import json

import pytest
from PIL import Image

from movies import sound_of, times_of

TIMES = (0, 40, 80, 133, 200, 210)


@pytest.fixture
def film(impasto, clip, style, tiny_weights):
    """Paints the clip with the tiny network."""
    options = (
        f"--backbone {tiny_weights} --size 32 --steps 2,2 --levels 1 --device cpu "
        "--precision float32"
    ).split()

    def paint(*more: object, source: object = clip, out: str = "film.mp4"):
        return impasto("film", source, style, "-o", out, *options, *more)

    return paint


def test_a_film_has_the_clip_s_frames_times_and_sound(film, clip, tmp_path):
    code, out, err = film("--check", "--keep-frames")
    assert code == 0, err
    assert "film.mp4  (6 frames)" in out
    assert "warping error" in out
    assert times_of(tmp_path / "film.mp4") == times_of(clip)
    assert sound_of(tmp_path / "film.mp4") == sound_of(clip) != []
    with Image.open(tmp_path / "film.mp4.work" / "frames" / "000001.png") as frame:
        assert frame.size == (32, 24)
    text = (tmp_path / "film.mp4.work" / "manifest.jsonl").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    assert [line["cut"] for line in lines] == [True] + 5 * [False]
    assert "temporal" in lines[1]["terms"]
