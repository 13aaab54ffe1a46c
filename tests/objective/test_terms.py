from dataclasses import replace

import pytest
import torch

from configs import gram_config
from grains import grain_between
from impasto.backbone.vgg import Backbone
from impasto.backbone.weights import load
from impasto.config import Config
from impasto.objective.losses import differences, gram, total_variation
from impasto.objective.objective import Objective
from impasto.objective.regions import Region, StyleSource


@pytest.fixture(scope="module")
def backbone(tiny_weights) -> Backbone:
    return Backbone(load(str(tiny_weights)))


def picture(seed: int, height: int = 32, width: int = 40) -> torch.Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed))


CONTENT, STYLE, OTHER = picture(1), picture(2, 48, 36), picture(3, 33, 31)


def value_of(config: Config, backbone: Backbone, x: torch.Tensor, styles=(STYLE,)):
    return Objective(config, backbone, CONTENT, styles)(x)


def test_at_the_content_only_the_style_is_left(backbone: Backbone) -> None:
    value = value_of(gram_config(), backbone, CONTENT)
    assert value.terms["content relu4_2"].item() == 0
    assert value.total.item() == pytest.approx(sum(term.item() for term in value.terms.values()))
    assert value.terms["style relu3_1"].item() > 0


def test_at_the_style_its_terms_are_zero(backbone: Backbone) -> None:
    value = Objective(gram_config(grain_weight=0), backbone, CONTENT, [CONTENT])(CONTENT)
    assert value.total.item() == 0
    grain = Objective(gram_config(), backbone, CONTENT, [CONTENT])(CONTENT).terms["grain"]
    assert abs(grain.item()) < 1e-6


def test_the_energy_normalized_form_by_hand(backbone: Backbone) -> None:
    config = gram_config(
        style_weight=3,
        strength=2,
        style_layers="relu2_1=0.5",
        content_layers="conv3_1=4",
        tv_weight=7,
        grain_weight=5,
    )
    x = picture(9)
    have = value_of(config, backbone, x).terms
    f, g, h = (backbone(each, ["conv3_1", "relu2_1"]) for each in (x, CONTENT, STYLE))
    content = (f["conv3_1"] - g["conv3_1"]).square().sum() / g["conv3_1"].square().sum()
    a, b = gram(f["relu2_1"]), gram(h["relu2_1"])
    torch.testing.assert_close(have["content conv3_1"], 4 * content)
    torch.testing.assert_close(
        have["style relu2_1"], 3 * 2 * 0.5 * (a - b).square().sum() / b.square().sum()
    )
    torch.testing.assert_close(have["tv"], 7 * total_variation(x) / total_variation(STYLE))
    a, b = gram(differences(x)), gram(differences(STYLE))
    torch.testing.assert_close(have["grain"], 5 * 2 * grain_between(a, b), rtol=1e-4, atol=1e-5)


def test_the_plain_form_by_hand(backbone: Backbone) -> None:
    config = gram_config(
        normalize="none",
        style_weight=3,
        style_layers="relu2_1",
        content_layers="conv3_1",
        gram_divisor="chw",
        content_reduction="half-sum",
        style_reduction="sum",
        tv_weight=2,
        tv_form="absolute",
        tv_reduction="sum",
    )
    x = picture(9)
    have = value_of(config, backbone, x).terms
    f, g, h = (backbone(each, ["conv3_1", "relu2_1"]) for each in (x, CONTENT, STYLE))
    a, b = gram(f["relu2_1"], "chw"), gram(h["relu2_1"], "chw")
    torch.testing.assert_close(
        have["content conv3_1"], (f["conv3_1"] - g["conv3_1"]).square().sum() / 2
    )
    torch.testing.assert_close(have["style relu2_1"], 3 * (a - b).square().sum())
    torch.testing.assert_close(have["tv"], 2 * total_variation(x, "absolute", "sum"))


@pytest.mark.parametrize("divisor", ["none", "hw", "chw"])
def test_the_energy_normalized_form_does_not_depend_on_the_scale_of_features_or_divisor(
    backbone: Backbone, divisor: str
) -> None:
    # the divisor falls out only where style and painting have the same number of positions
    config = gram_config(gram_divisor=divisor, style_shape="content")
    same = Objective(config, backbone, CONTENT, [picture(2)])(picture(9)).total
    torch.testing.assert_close(
        same, Objective(gram_config(), backbone, CONTENT, [picture(2)])(picture(9)).total
    )


def test_blended_styles_are_between(backbone: Backbone) -> None:
    regions = [Region("", None, [StyleSource(STYLE, 1), StyleSource(OTHER, 3)])]
    objective = Objective(gram_config(), backbone, CONTENT, regions)
    first, second = (gram(backbone(each, ["relu1_1"])["relu1_1"]) for each in (STYLE, OTHER))
    target = next(term.target.second for term in objective.terms if term.name == "style relu1_1")
    torch.testing.assert_close(target, 0.25 * first + 0.75 * second)
    only = [Region("", None, [StyleSource(STYLE, 1), StyleSource(OTHER, 0)])]
    assert Objective(gram_config(), backbone, CONTENT, only)(CONTENT).total == pytest.approx(
        Objective(gram_config(), backbone, CONTENT, [STYLE])(CONTENT).total.item()
    )


@pytest.mark.parametrize("config", [gram_config(content_layers={}), gram_config(style_layers={})])
def test_content_alone_and_style_alone(backbone: Backbone, config: Config) -> None:
    value = value_of(config, backbone, picture(9))
    kinds = {name.split()[0] for name in value.terms}
    kind = "content" if config.content_layers else "style"
    assert kinds == {kind, "grain", "flatness"}


def test_a_black_content_and_a_flat_style_give_finite_terms(backbone: Backbone) -> None:
    black, gray = torch.zeros(1, 3, 32, 32), torch.full((1, 3, 32, 32), 0.5)
    value = Objective(gram_config(tv_weight=1), backbone, black, [gray])(picture(9, 32, 32))
    assert torch.isfinite(value.total)
    assert value.terms["grain"] < 1e9  # a flat style has no grain: its energy must not be the unit


@pytest.mark.parametrize("term", ["gram", "wasserstein", "moments", "sliced", "neighbors"])
def test_a_flat_style_is_not_infinitely_far_away(backbone: Backbone, term: str) -> None:
    """The features of this gray are nearly nothing: they must not be the unit of the distance."""
    gray = torch.tensor([0.486, 0.457, 0.407]).view(1, 3, 1, 1).repeat(1, 1, 32, 32)
    config = gram_config(style_term=term, style_weight=1, content_layers={})
    terms = Objective(config, backbone, CONTENT, [gray])(CONTENT).terms
    assert 0 < sum(float(value) for name, value in terms.items() if "style" in name) < 10


def test_the_gradient_is_that_of_the_sum(tiny_weights) -> None:
    exact = Backbone(load(str(tiny_weights)), dtype=torch.float64)
    content, style = CONTENT[..., :16, :16].double(), STYLE[..., :18, :16].double()
    config = gram_config(style_layers="relu1_1,relu2_1", content_layers="relu3_1", tv_weight=1)
    objective = Objective(config, exact, content, [style])
    x = picture(4, 16, 16).double()
    value, gradient = objective.evaluate(x)
    torch.testing.assert_close(value.total, objective(x).total)
    direction = torch.randn(
        x.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64
    )
    step = 1e-6 * direction
    slope = (objective(x + step).total - objective(x - step).total) / 2e-6
    torch.testing.assert_close((gradient * direction).sum(), slope, rtol=1e-4, atol=1e-6)


def test_feature_units_carry_over_to_another_network(tiny_weights) -> None:
    # the same network told to take pixels from 0 to 255, without biases, has features 255 * 0.226
    # times as large
    small = load(str(tiny_weights))
    kernels = {
        name: (kernel, torch.zeros_like(bias)) for name, (kernel, bias) in small.kernels.items()
    }
    small = replace(small, kernels=kernels)
    large = replace(small, scale=(255.0,) * 3)
    config = gram_config(normalize="none", feature_units="0-255")
    one, two = (
        Objective(config, Backbone(each), CONTENT, [STYLE])(picture(9)) for each in (small, large)
    )
    for name in one.terms:
        torch.testing.assert_close(one.terms[name], two.terms[name], rtol=1e-4, atol=0)
