"""Cuts: none missed, none invented, on made films."""

import numpy as np
import pytest

from films import MadeFilm, photograph
from impasto.film.clip import ClipFrame
from impasto.film.cuts import marked_cuts
from impasto.images.samples import STYLES, sample_style
from impasto.images.write import to_image

SIZE = (54, 72)


def shot(path=None, count=10, **motion):
    film = MadeFilm(photograph(*SIZE, path), **motion)
    return [film.frame(t) for t in range(count)]


def cuts(frames):
    clip = [ClipFrame(k, k, 1, np.asarray(to_image(x))) for k, x in enumerate(frames, 1)]
    marked = list(marked_cuts(clip))
    assert [frame.number for frame, _ in marked] == list(range(1, len(frames) + 1))
    return [number for number, (_, cut) in enumerate(marked) if cut]


BASE = {"pan": 0.8}


@pytest.mark.parametrize("style", STYLES)
def test_a_cut_is_found(style):
    other = shot(sample_style(style), 6, **BASE)
    assert cuts([*shot(count=6, **BASE), *other, *shot(count=4, **BASE)]) == [0, 6, 12]


@pytest.mark.parametrize(
    "motion",
    [{"pan": 0.0}, {"pan": 3.0}, {"pan": 9.0}, {"zoom": -0.05}, {"turn": 0.05}, {"disc": 5.0}],
    ids=str,
)
def test_motion_is_no_cut(motion):
    assert cuts(shot(**motion)) == [0]
    assert cuts([*[shot(count=1)[0]] * 6, *shot(**motion)]) == [0]  # that begins all at once


@pytest.mark.parametrize("frames", [1, 2])
@pytest.mark.parametrize("light", [0.5, 1.0])
def test_a_flash_is_no_cut(frames, light):
    flashed = [
        x + light * (1 - x) if 4 <= t < 4 + frames else x for t, x in enumerate(shot(**BASE))
    ]
    assert cuts(flashed) == [0]


@pytest.mark.parametrize("length", [5, 10])
def test_a_fade_is_no_cut(length):
    to_black = [max(0, 1 - t / length) * x for t, x in enumerate(shot(**BASE))]
    assert cuts(to_black) == [0]


def test_a_dissolve_is_no_cut():
    one, other = shot(count=12, **BASE), shot(sample_style("glass"), 12, **BASE)
    shares = [min(1, max(0, (t - 2) / 8)) for t in range(12)]
    mixed = [(1 - s) * a + s * b for s, a, b in zip(shares, one, other, strict=True)]
    assert cuts(mixed) == [0]
