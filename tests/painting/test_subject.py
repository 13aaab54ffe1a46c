"""The subject that `--protect auto` finds, in the true VGG-19's features of drawn pictures."""

from pathlib import Path

import pytest
import torch
from PIL import Image, ImageDraw

from configs import gram_config
from impasto.backbone.load import load_backbone
from impasto.batch.job import normalized_settings
from impasto.config import Machine
from impasto.images.read import read
from impasto.painting import subject
from impasto.painting.problem import extras, prepare_problem
from impasto.painting.run import Run, paint
from impasto.painting.subject import subject_mask, with_subject

FACE = (70, 30, 130, 104)  # left, top, right, bottom


@pytest.fixture(scope="module")
def portrait(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A head and shoulders before a sky that grows lighter downward."""
    picture = Image.linear_gradient("L").resize((200, 160)).point(lambda v: 150 + v // 4)
    picture = Image.merge("RGB", [picture.point(lambda v: v - 90), picture, picture])
    draw = ImageDraw.Draw(picture)
    draw.ellipse((50, 100, 150, 220), fill="#803020")
    draw.ellipse(FACE, fill="#e0b090", outline="#402010", width=3)
    for x in (84, 108):
        draw.ellipse((x, 54, x + 10, 62), fill="white", outline="black")
        draw.ellipse((x + 3, 56, x + 7, 60), fill="black")
    draw.line((100, 62, 96, 78, 102, 80), fill="#804020", width=2)
    draw.arc((86, 76, 114, 94), 20, 160, fill="#a02020", width=3)
    path = tmp_path_factory.mktemp("subject") / "portrait.png"
    picture.save(path)
    return path


def test_a_head_is_found_and_the_sky_is_not(portrait) -> None:
    picture = read(portrait)
    problem = with_subject(
        prepare_problem(picture, [picture], gram_config(protect="auto")),
        load_backbone("compact", device="cpu", finish=0),
    )
    mask, note = problem.protect, problem.notes[-1]
    assert mask is not None
    assert note == f"protecting: the subject, {100 * float(mask.mean()):.0f} % of the picture"
    rows, columns = mask.shape[2:]
    assert 0 <= float(mask.min()) <= float(mask.max()) <= 1

    def part(left: int, top: int, right: int, bottom: int) -> torch.Tensor:
        return mask[
            ...,
            top * rows // 160 : bottom * rows // 160,
            left * columns // 200 : right * columns // 200,
        ]

    assert float(part(*FACE).mean()) > 0.8
    assert float(part(0, 0, 30, 60).mean()) < 0.1
    assert float(part(170, 0, 200, 60).mean()) < 0.1


def test_the_mask_is_the_same_every_time_and_at_any_size(portrait, monkeypatch) -> None:
    monkeypatch.setattr(subject, "PIXELS", 160 * 120)
    network = load_backbone("vgg19", device="cpu", precision="float32", convolution="direct")
    pixels = read(portrait).pixels
    one, same = (subject_mask(pixels, network) for _ in range(2))
    assert torch.equal(one, same)
    twice = pixels.repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert float((subject_mask(twice, network) - one).abs().mean()) < 0.05
    for height, width in ((16, 400), (400, 16), (16, 16)):
        noise = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(1))
        mask = subject_mask(noise, network)
        assert mask is None or bool(torch.isfinite(mask).all())


def test_in_a_flat_picture_nothing_is_protected(tiny_weights) -> None:
    flat = torch.full((3, 40, 40), 0.5)
    config = gram_config(backbone=str(tiny_weights), size=32, steps=1, protect="auto")
    run = Run.prepare(flat, torch.rand(3, 40, 40), config, Machine(device="cpu"))
    assert run.problem.protect is None
    assert run.problem.notes[-1] == "protecting nothing: no subject stands out in the content"


def test_a_painting_with_auto_is_recorded_and_made_again(
    portrait, style, tiny_weights, monkeypatch
) -> None:
    monkeypatch.setattr(subject, "PIXELS", 160 * 120)
    config = gram_config(backbone=str(tiny_weights), size=48, steps=6, levels=1, protect="auto")
    assert not list(extras(config))  # it is no picture
    machine = Machine(device="cpu", precision="float32")
    painting = paint(portrait, style, config, machine)
    assert any(note.startswith("protecting: the subject, ") for note in painting.notes)
    assert painting.settings["config"]["protect"] == "auto"
    assert [given["role"] for given in painting.settings["inputs"]] == ["content", "style"]
    assert torch.equal(painting.pixels, paint(portrait, style, config, machine).pixels)
    plain = paint(portrait, style, config.changed(protect=""), machine)
    assert not torch.equal(painting.pixels, plain.pixels)


def test_a_batch_knows_auto_from_a_file(tmp_path: Path) -> None:
    def protect(name: str) -> object:
        config = gram_config(protect=name)
        return normalized_settings(config, Machine(), lambda path: f"digest of {path}")["protect"]

    assert [protect("auto"), protect("./auto"), protect("")] == ["auto", "digest of ./auto", ""]
