"""The descriptors of style terms, and what the styles ask for apart from any content."""

from typing import get_args

import pytest
import torch

from impasto import Config
from impasto.backbone.vgg import Backbone
from impasto.backbone.weight_files import Weights
from impasto.objective.extractor import FeatureExtractor
from impasto.objective.objective import Objective
from impasto.objective.regions import Region, StyleSource, normalized
from impasto.objective.style_targets import same_styles, style_targets
from impasto.objective.style_terms import STYLE_TERMS
from layouts import random_kernels

WEIGHTS = Weights("random", random_kernels(), "BGR", (0.4, 0.45, 0.5), (4.0, 4.5, 5.0))


def random(seed: int, height: int = 33, width: int = 40, channels: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(1, channels, height, width, generator=generator)


def test_every_style_term_of_the_config_has_a_descriptor() -> None:
    assert set(STYLE_TERMS) == set(get_args(Config.model_fields["style_term"].annotation))


def test_only_sliced_needs_the_whole_image() -> None:
    assert [name for name, term in STYLE_TERMS.items() if not term.tileable] == ["sliced"]


def test_working_bytes_by_hand() -> None:
    layers = [100.0, 40.5]
    found = {name: term.working_bytes(layers) for name, term in STYLE_TERMS.items()}
    moments = dict.fromkeys(("gram", "wasserstein", "moments"), 0)
    assert found == {**moments, "sliced": 4 * 100 + 422, "neighbors": 4 * 100}
    assert all(term.working_bytes([]) == 0 for term in STYLE_TERMS.values())


def test_weights_add_to_one_and_styles_of_no_weight_are_left_out() -> None:
    pixels = random(1)
    styles = [
        StyleSource(pixels, 3.0),
        StyleSource(pixels, 1.0, layers="fine"),
        StyleSource(pixels, 0.0),
        StyleSource(pixels, 5.0, layers="coarse"),
    ]
    assert [style.weight for style in normalized(styles, "relu2_2")] == [0.75, 0.25]
    assert [style.weight for style in normalized(styles, "")] == [0.75, 0.25]
    assert [style.weight for style in normalized(styles, "relu3_1")] == [0.375, 0.625]


@pytest.mark.parametrize("term", STYLE_TERMS)
def test_objectives_with_the_same_targets_are_those_with_their_own(term: str) -> None:
    config = Config(
        style_layers="relu1_1,relu3_1", content_layers="relu2_1", style_term=term, tv_weight=1
    )
    backbone = Backbone(WEIGHTS)
    half = (random(5, channels=1) > 0.5).float()
    regions = [
        Region("a", half, [StyleSource(random(2)), StyleSource(random(3, 48, 37), 2.0)]),
        Region("b", 1 - half, [StyleSource(random(4), mask=random(6, channels=1))]),
    ]
    targets = style_targets(FeatureExtractor(config, backbone), regions)
    x = random(9)
    for seed in (10, 11):
        given = (config, backbone, random(seed), regions)
        value, gradient = Objective(*given).evaluate(x)
        same, as_before = Objective(*given, targets=targets).evaluate(x)
        assert same.names == value.names
        assert torch.equal(same.term_values, value.term_values)
        assert torch.equal(as_before, gradient)


def test_styles_are_the_same_if_all_that_is_measured_is() -> None:
    mask = random(2, channels=1)
    style = StyleSource(random(1), 2.0, mask, "fine", "a.png")
    regions = [Region("", None, [style])]
    renamed = style._replace(pixels=style.pixels.clone(), mask=mask.clone(), name="b.png")
    assert same_styles(regions, [Region("other", random(3, channels=1), [renamed])])
    for change in (
        {"pixels": random(4)},
        {"pixels": random(1, 40, 33)},
        {"weight": 1.0},
        {"mask": None},
        {"mask": random(4, channels=1)},
        {"layers": "all"},
    ):
        assert not same_styles(regions, [Region("", None, [style._replace(**change)])]), change
    assert not same_styles(regions, [Region("", None, [style, style])])
    assert not same_styles(regions, regions * 2)
