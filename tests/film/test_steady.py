"""A film is steadier than frames painted one by one, and does not drift; with a real network."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from films import MOTIONS, MadeFilm, photograph
from impasto.config import Config, Machine
from impasto.film.check import warping_error
from impasto.film.clip import Clip, ClipFrame
from impasto.film.flow import flow_method
from impasto.film.paint import Extras, FilmInput, Span, frame_picture, paint_film
from impasto.film.painter import FramePainter
from impasto.film.store import open_film_store
from impasto.images.color import gray
from impasto.images.read import read
from impasto.images.samples import sample_style
from impasto.images.write import to_image

pytestmark = pytest.mark.slow

SIZE = (48, 64)
CONFIG = Config(steps=40, finish=0)
RATE = Fraction(25)


def clip_of(frame: Callable[[int], torch.Tensor], count: int) -> Clip:
    """A clip in memory."""

    def frames(_):
        for t in range(count):
            yield ClipFrame(t + 1, t, 1, np.array(to_image(frame(t))))

    return Clip(Path("made"), "", 1 / RATE, Fraction(0), RATE, Fraction(1), None, count, frames)


def painted(clip: Clip, painter: FramePainter, folder: Path) -> list[torch.Tensor]:
    """The frames of a film."""
    film = FilmInput(clip, Span(), SIZE, Extras(CONFIG, RATE), flow_method("dis"))
    with open_film_store(folder, {}) as store:
        lines = list(
            paint_film(film, painter, store, print, lambda step: None),
        )
        return [store.pixels(line.number) for line in lines]


def painter_of(style: str, config: Config = CONFIG, later: int = 10) -> FramePainter:
    return FramePainter([read(sample_style(style))], config, Machine(device="cpu"), later, 1.0)


@pytest.mark.parametrize("style", ["strokes", "woodcut", "glass"])
def test_a_film_is_steadier_than_its_frames_one_by_one(style, tmp_path):
    film = MOTIONS["disc"](photograph(*SIZE))
    clip, painter = clip_of(film.frame, 4), painter_of(style)
    frames = painted(clip, painter, tmp_path)
    contents = [frame_picture(frame, "", SIZE) for frame in clip.frames(print)]
    stills = [painter.first(content, {}, lambda step: None).pixels for content in contents[:2]]

    def error(pixels, t):
        return warping_error(pixels[t], pixels[t + 1], film.flow(t, t + 1), film.visible(t, t + 1))

    assert np.mean([error(frames, t) for t in range(3)]) <= 0.25 * error(stills, 0)


def test_a_scene_that_stands_still_does_not_drift(tmp_path):
    scene = MadeFilm(photograph(*SIZE)).frame(0)

    def frame(t: int) -> torch.Tensor:
        noise = torch.randn(scene.shape, generator=torch.Generator().manual_seed(t))
        return (scene + 0.01 * noise).clamp(0, 1)

    frames = painted(clip_of(frame, 12), painter_of("strokes", Config(), 25), tmp_path)
    light = [float(gray(x).mean()) for x in frames]
    sharp = [float((x[..., 1:] - x[..., :-1]).square().mean()) for x in frames]
    assert max(abs(x - light[0]) for x in light) <= 1 / 255
    assert max(abs(x / sharp[0] - 1) for x in sharp) <= 0.05
