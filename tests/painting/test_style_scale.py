"""The brush is a share of the picture: a preview shows what the large one will look like."""

import importlib.util
from pathlib import Path

import pytest
import torch

from impasto import Config, paint
from impasto.backbone.load import load_backbone
from impasto.backbone.vgg import Backbone
from impasto.backbone.weights import load
from impasto.images.read import resize
from impasto.images.samples import sample_portrait, sample_style
from impasto.objective.losses import gram

SCALES = (0.5, 1.0, 2.0)
REFEREE = Path(__file__).resolve().parents[3] / "shared" / "tools" / "referee.py"
LAYERS = [f"relu{stage}_1" for stage in range(1, 6)]


def painted(size, steps=120):
    config = Config(size=size, steps=steps)
    backbone = load_backbone(config)
    return {
        scale: paint(
            sample_portrait(),
            sample_style("strokes"),
            config.changed(style_scale=scale),
            backbone=backbone,
        ).pixels
        for scale in SCALES
    }


def nearest_are_of_one_brush(previews, finals, distance):
    """Whether each preview's nearest final is the one of its own brush."""
    found = {
        scale: min(finals, key=lambda other: distance(preview, finals[other]))
        for scale, preview in previews.items()
    }
    return found == {scale: scale for scale in previews}


def style_distance(features):
    """The referee's style distance of the second picture from the first, with `features` of a
    picture by layer."""

    def distance(a, b):
        first, second = ({layer: gram(f) for layer, f in features(each).items()} for each in (a, b))
        return sum(
            float((second[k] - first[k]).square().sum() / first[k].square().sum()) for k in first
        )

    return distance


@pytest.mark.slow
def test_a_small_preview_has_the_brush_of_the_picture():
    backbone = Backbone(load("compact"))
    previews = painted(128, steps=50)
    size = previews[1.0].shape[2:]
    finals = {scale: resize(pixels, *size) for scale, pixels in painted(256, steps=50).items()}
    assert nearest_are_of_one_brush(previews, finals, style_distance(lambda x: backbone(x, LAYERS)))


@pytest.mark.slow
@pytest.mark.skipif(not REFEREE.exists(), reason="needs ../shared")
def test_a_preview_at_512_has_the_brush_of_a_painting_at_2048():
    spec = importlib.util.spec_from_file_location("referee", REFEREE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    network = module.Network()
    previews = painted(512)
    size = previews[1.0].shape[2:]
    finals = {scale: resize(pixels, *size) for scale, pixels in painted(2048).items()}

    def features(x):
        with torch.no_grad():
            found = network(x)
        return {layer: found[layer] for layer in found if layer.endswith("_1")}

    assert nearest_are_of_one_brush(previews, finals, style_distance(features))
