"""The quick look at a painting."""

import pytest
import torch

from impasto.backbone.load import load_backbone
from impasto.config import Config, Machine
from impasto.errors import PictureError
from impasto.images.color import gray
from impasto.images.read import read
from impasto.painting import preview as looks
from impasto.painting.preview import preview, preview_config, previews

MACHINE = Machine(device="cpu", precision="float32")


@pytest.fixture
def config(tiny_weights, monkeypatch) -> Config:
    monkeypatch.setattr(looks, "SIDE", 64)
    monkeypatch.setattr(looks, "STEPS", 3)
    monkeypatch.setattr(looks, "SHOWN", 96)
    return Config(backbone=str(tiny_weights), size=512)


def test_it_is_small_and_leaves_the_finish_out():
    config = preview_config(Config(look="bold", size=2048, steps=5000))
    assert (config.size, config.steps, config.finish, config.look) == (224, 10, 0, "bold")


def test_it_has_the_shape_of_the_painting_and_the_size_of_a_screen(config, photo, style):
    shown = preview(photo, style, config, MACHINE)
    assert max(shown.shape[2:]) == 96
    assert shown.min() >= 0
    assert shown.max() <= 1
    assert max(preview(photo, style, config.changed(size=48), MACHINE).shape[2:]) == 48


def test_the_content_s_detail_is_put_back(config, style, monkeypatch):
    fine = (torch.arange(96) % 2).float().expand(1, 3, 96, 96)  # lines that 64 pixels cannot hold
    flat = torch.full((1, 3, 96, 96), 0.5)
    lines, plain = (preview(content[0], style, config, MACHINE) for content in (fine, flat))
    contrast = [gray(picture).diff(dim=3).abs().mean() for picture in (lines, plain)]
    assert contrast[0] > 3 * contrast[1]


def test_a_loaded_network_is_used(config, photo, style):
    network = load_backbone(preview_config(config), MACHINE)
    one = preview(photo, style, config, MACHINE, backbone=network)
    assert torch.equal(one, preview(photo, style, config, MACHINE))


def test_looks_become_finer_while_they_are_wanted(config, photo, style, monkeypatch):
    monkeypatch.setattr(looks, "SIDE", 96)
    monkeypatch.setattr(looks, "STEPS", 8)

    def count(wanted) -> int:
        pair = read(photo), [read(style)]
        more = {"named": {}, "backbone": load_backbone, "wanted": wanted}
        return len({picture.sum() for picture in previews(*pair, config, MACHINE, **more)})

    assert count(lambda: True) == 2
    assert count(lambda: False) == 0
    asked = iter([True] * 8 + [False] * 9)
    assert count(lambda: next(asked)) == 1


def test_a_bad_picture_is_refused(config, photo):
    with pytest.raises(PictureError):
        preview(photo, b"nothing", config, MACHINE)
