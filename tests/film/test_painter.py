"""Which network paints the frames of a film, and in how many steps."""

import pytest
import torch

from impasto.backbone.load import load_backbone
from impasto.cli.commands.film import film as film_command
from impasto.config import Config
from impasto.film.painter import FramePainter
from impasto.film.warp import Warped
from impasto.images.read import read
from layouts import random_kernels, write_safetensors
from machines import EXACT


@pytest.fixture
def config(tiny_weights, tmp_path) -> Config:
    other = str(write_safetensors(tmp_path / "other.safetensors", random_kernels(seed=7)))
    return Config(
        backbone=str(tiny_weights), finish_backbone=other, steps=6, finish=4, levels=1
    )  # fmt: skip


def carried(pixels: torch.Tensor) -> Warped:
    """A painting that is known everywhere in the next frame."""
    return pixels, torch.ones_like(pixels[:, :1])


def test_frames_after_the_first_are_painted_by_the_last_network_alone(config, photo, style):
    def painter(backbone) -> FramePainter:
        return FramePainter([read(style)], config, EXACT, 3, 1.0, backbone=backbone)

    frame, evaluated = read(photo), []
    whole = painter(load_backbone(config, EXACT))
    first = whole.first(frame, {}, lambda step: evaluated.append((step.level, step.number)))
    assert (first.config.backbone, first.config.finish_steps) == (config.backbone, 4)
    assert evaluated == [(1, 1), (1, 2), (2, 3), (2, 4), (2, 5), (2, 6)]
    whole.begin_shot(frame, {})
    later = whole.next(frame, carried(first.pixels), {}, lambda step: None)
    assert later.config.backbone == config.finish_backbone
    assert (later.config.finisher, later.steps) == ("", 3)

    gone_on = painter(load_backbone)  # with the film in the middle of the shot
    gone_on.begin_shot(frame, {})
    again = gone_on.next(frame, carried(first.pixels), {}, lambda step: None)
    assert torch.equal(again.pixels, later.pixels)
    assert gone_on.first(frame, {}, lambda step: None).config.backbone == config.backbone


def test_without_another_network_all_frames_are_by_one(config, photo, style):
    config = config.changed(finish=0)
    painter = FramePainter([read(style)], config, EXACT, 3, 1.0)
    painter.begin_shot(read(photo), {})
    pixels = painter.first(read(photo), {}, lambda step: None).pixels
    later = painter.next(read(photo), carried(pixels), {}, lambda step: None)
    assert (later.config.backbone, later.steps) == (config.backbone, 3)


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        ([], (100, 9)),
        (["--draft"], (50, 12)),
        (["--draft", "--steps", "40"], (40, 10)),
        (["--steps", "200"], (200, 18)),
        (["--steps", "60,5"], (60, 5)),
        (["--backbone", "vgg19"], (100, 9)),
        (["--preset", "gatys-lbfgs"], (300, 27)),
    ],
)
def test_steps_of_the_first_frame_and_of_the_others(options, steps, monkeypatch):
    specs = []
    monkeypatch.setattr(
        "impasto.cli.film_run.paint_film_spec", lambda spec, *_: specs.append(spec) or 0
    )
    arguments = ["clip.mp4", "style.png", "-o", "film.mp4", *options]
    film_command.main(arguments, standalone_mode=False)
    (spec,) = specs
    assert (spec.config.steps, spec.later_steps) == steps
