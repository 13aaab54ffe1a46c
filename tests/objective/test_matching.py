"""Style as features to be matched: nearest neighbors, and sliced Wasserstein, which sorts."""

import pytest
import torch
import torch.nn.functional as F

from configs import gram_config
from impasto import Config, paint
from impasto.backbone.architecture import layer_stride
from impasto.backbone.vgg import Backbone
from impasto.backbone.weight_files import Weights
from impasto.backbone.weights import load
from impasto.errors import ConfigError
from impasto.objective.matching import (
    QUANTILES,
    Neighbors,
    Sliced,
    quantiles,
    random_directions,
    sample,
    sliced_distance,
)
from impasto.objective.objective import Objective
from impasto.objective.regions import Region, StyleSource
from impasto.objective.tiles import cut
from impasto.painting.run import paint_steps
from layouts import random_kernels
from machines import EXACT

WEIGHTS = Weights("random", random_kernels(), "BGR", (0.4, 0.45, 0.5), (4.0, 4.5, 5.0))
LAYERS = {"content_layers": "", "style_layers": "relu1_1,conv2_1=0.5,relu3_1=2", "grain_weight": 0}
TERMS = ["gram", "wasserstein", "moments", "sliced", "neighbors"]


def random(seed: int, *shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def whole(features: torch.Tensor):
    """The one tile of a picture whose conv1_1 has these features."""
    (tile,) = cut(*features.shape[2:], 1000, ["conv1_1"])
    return tile


def at_positions(features: list[list[float]]) -> torch.Tensor:
    """Features (n, C) as a map (1, C, 1, n)."""
    return torch.tensor(features).T[None, :, None]


# --- nearest neighbors


def test_neighbors_of_a_small_case() -> None:
    style = torch.tensor([[2.0, 0.0], [0.0, 5.0]])
    # cosines of the nearest: 1, root of a half, 4/5
    x = at_positions([[3.0, 0.0], [1.0, 1.0], [3.0, 4.0]])
    term = Neighbors("style", "conv1_1", style, count=3, scale=6.0)
    total = term.measure(x, whole(x))
    assert float(term.value(total)) == pytest.approx(6 * (0 + 1 - 0.5**0.5 + 0.2) / 3)
    gradient = term.add_gradient(None, x, whole(x), total)
    assert torch.allclose(gradient[0, :, 0, 0], torch.zeros(2), atol=1e-7)
    # -(s - cos u) / |f|: across the feature, towards the neighbor
    assert torch.allclose(gradient[0, :, 0, 2], -2 / 5 * torch.tensor([-0.48, 0.36]), atol=1e-6)


def test_neighbors_weigh_positions_by_the_mask() -> None:
    style, weights = torch.tensor([[1.0, 0.0]]), torch.tensor([[[[1.0, 0.25, 0.0]]]])
    x = at_positions([[0.0, 1.0], [-1.0, 0.0], [-3.0, -3.0]])
    term = Neighbors("style", "conv1_1", style, 1.25, 1.0, weights)
    total = term.measure(x, whole(x))
    assert float(term.value(total)) == pytest.approx((1 * 1 + 0.25 * 2) / 1.25)
    assert (term.add_gradient(None, x, whole(x), total)[..., 2] == 0).all()


def test_neighbors_are_not_asked_how_bright_they_are() -> None:
    x, style = random(1, 1, 5, 6, 7).float(), random(2, 40, 5).float()
    dim, bright = (
        Neighbors("", "conv1_1", style * k, 42, 1.0).measure(x / k, whole(x)) for k in (0.1, 20.0)
    )
    torch.testing.assert_close(dim, bright, rtol=1e-5, atol=0)


def nearest_loss(
    x: torch.Tensor, style: torch.Tensor, weights: torch.Tensor | None
) -> torch.Tensor:
    cosines = F.normalize(x[0].flatten(1).T, dim=1) @ F.normalize(style, dim=1).T
    apart = 1 - cosines.amax(1)
    return apart.mean() if weights is None else (apart * weights.flatten()).sum() / weights.sum()


@pytest.mark.parametrize("masked", [False, True])
def test_the_gradient_of_neighbors_is_that_of_autograd(masked: bool) -> None:
    x, style = random(1, 1, 5, 6, 7).float().requires_grad_(), random(2, 40, 5).float()
    weights = random(3, 1, 1, 6, 7).float() if masked else None
    value = 3 * nearest_loss(x, style, weights)
    (expected,) = torch.autograd.grad(value, x)
    term = Neighbors(
        "", "conv1_1", style, 42 if weights is None else float(weights.sum()), 3.0, weights
    )
    with torch.no_grad():
        total = term.measure(x, whole(x))
        torch.testing.assert_close(term.value(total), value.detach())
        torch.testing.assert_close(
            term.add_gradient(None, x, whole(x), total), expected, rtol=1e-4, atol=1e-7
        )
        before = torch.ones_like(x)
        torch.testing.assert_close(term.add_gradient(before, x, whole(x), total), 1 + expected)


def test_features_of_nothing_have_a_finite_gradient() -> None:
    x, style = torch.zeros(1, 3, 4, 4), torch.cat([torch.zeros(1, 3), torch.eye(3)])
    term = Neighbors("", "conv1_1", style, 16, 1.0)
    total = term.measure(x, whole(x))
    assert float(term.value(total)) == pytest.approx(1)
    assert torch.isfinite(term.add_gradient(None, x, whole(x), total)).all()


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(
    "side", [17, 48, *(pytest.param(side, marks=pytest.mark.slow) for side in (25, 33, 66))]
)
def test_neighbors_over_tiles_are_those_of_the_whole(side: int, masked: bool) -> None:
    config, backbone = (
        Config(**LAYERS, style_term="neighbors"),
        Backbone(WEIGHTS, dtype=torch.float64),
    )
    content, x, style = random(1, 1, 3, 49, 67), random(2, 1, 3, 49, 67), random(3, 1, 3, 40, 51)
    masks = (
        [mask for mask in (random(4, 1, 1, 49, 67),) for mask in (mask, 1 - mask)]
        if masked
        else [None]
    )
    regions = [Region(str(k), mask, [StyleSource(style**k)]) for k, mask in enumerate(masks, 1)]
    one, many = (Objective(config, backbone, content, regions, each) for each in (None, side))
    assert len(many.tiles) > 1
    for at in (x, x.flip(3)):  # the nearest of one evaluation are not those of the next
        (value, gradient), (tiled, same) = one.evaluate(at), many.evaluate(at)
        torch.testing.assert_close(tiled.term_values, value.term_values, rtol=1e-5, atol=0)
        assert (same - gradient).norm() < 1e-5 * gradient.norm()


# --- sliced Wasserstein


def test_a_sliced_distance_is_that_of_sorted_values() -> None:
    x, style = torch.tensor([[5.0], [1.0], [3.0]]), torch.tensor([[0.0], [3.0], [9.0]])
    value, gradient = sliced_distance(x, style)
    assert float(value) == pytest.approx((1 + 0 + 16) / 3)
    torch.testing.assert_close(gradient, 2 / 3 * torch.tensor([[5.0 - 9], [1 - 0], [0]]))


def test_a_sliced_distance_adds_up_the_directions() -> None:
    x, style = random(1, 30, 4), random(2, 30, 4)
    apart = (x.sort(0).values - style.sort(0).values).square()
    torch.testing.assert_close(sliced_distance(x, style.sort(0).values)[0], apart.mean(0).sum())


def test_a_sliced_distance_is_nothing_from_the_same_values_in_another_order() -> None:
    x = random(1, 50, 3)
    value, gradient = sliced_distance(x.flip(0), x.sort(0).values)
    assert float(value) < 1e-12
    assert gradient.abs().max() < 1e-7


@pytest.mark.parametrize("count", [1, 2, 7, 64, 1000, 3000])
def test_the_gradient_of_a_sliced_distance_is_that_of_differences(count: int) -> None:
    x, style = random(1, count, 3), random(2, 64, 3).sort(0).values
    gradient, direction = sliced_distance(x, style)[1], random(3, count, 3) - 0.5
    step = 1e-7 * direction  # smaller than what lies between two values, or nearly
    slope = (sliced_distance(x + step, style)[0] - sliced_distance(x - step, style)[0]) / 2e-7
    torch.testing.assert_close((gradient * direction).sum(), slope, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("count", [20, 300, 1024, 5000])
def test_quantiles_of_any_number_of_positions_tell_the_same_of_one_distribution(count: int) -> None:
    even = ((torch.arange(count) + 0.5) / count)[
        torch.randperm(count, generator=torch.Generator().manual_seed(1))
    ]
    found = quantiles(even[:, None], torch.ones(1, 1))
    assert found.shape == (QUANTILES, 1)
    assert (found.diff(dim=0) >= 0).all()
    expected = (torch.arange(QUANTILES) + 0.5) / QUANTILES
    # beyond the outermost value nothing is known
    assert (found[:, 0] - expected).abs().max() <= 0.5 / count + 1e-6
    assert float(sliced_distance(even[:, None], found)[0]) < 1e-5


@pytest.mark.parametrize("masked", [False, True])
def test_the_gradient_of_a_sliced_term_is_that_of_autograd(masked: bool) -> None:
    x = random(1, 1, 5, 6, 7).float().requires_grad_()
    directions = random_directions(5, 0)
    weights = random(3, 1, 1, 6, 7).float() if masked else None
    chosen = torch.ones(42, dtype=torch.bool) if weights is None else weights.flatten() >= 0.5
    style = random(2, int(chosen.sum()), 5).float()
    along = (style @ directions).sort(0).values
    value = (
        3 * ((x[0].flatten(1).T[chosen] @ directions).sort(0).values - along).square().mean(0).sum()
    )
    (expected,) = torch.autograd.grad(value, x)
    term = Sliced("", "conv1_1", along, directions, 3.0, weights)
    with torch.no_grad():
        total = term.measure(x, whole(x))
        torch.testing.assert_close(term.value(total), value.detach())
        torch.testing.assert_close(
            term.add_gradient(None, x, whole(x), total), expected, rtol=1e-4, atol=1e-6
        )
        torch.testing.assert_close(
            term.add_gradient(torch.ones_like(x), x, whole(x), total), 1 + expected
        )
    if masked:
        assert (expected[0].flatten(1)[:, ~chosen] == 0).all()


@pytest.mark.parametrize("term", ["neighbors", "sliced"])
def test_the_gradient_of_an_objective_is_that_of_differences(term: str) -> None:
    config, backbone = Config(**LAYERS, style_term=term), Backbone(WEIGHTS, dtype=torch.float64)
    mask = random(4, 1, 1, 33, 40)
    sources = [StyleSource(random(3, 1, 3, 40, 51)), StyleSource(random(5, 1, 3, 32, 32))]
    regions = [Region("a", mask, sources[:1]), Region("b", 1 - mask, sources[1:])]
    objective = Objective(config, backbone, random(1, 1, 3, 33, 40), regions)
    x, direction = random(2, 1, 3, 33, 40), random(6, 1, 3, 33, 40) - 0.5
    gradient = objective.evaluate(x)[1]
    step = 1e-4 * direction  # the terms are in float32
    slope = (objective(x + step).total.double() - objective(x - step).total.double()) / 2e-4
    torch.testing.assert_close((gradient * direction).sum(), slope, rtol=5e-2, atol=0)


def test_sliced_refuses_tiles_in_one_line() -> None:
    content, style = random(1, 1, 3, 64, 80).float(), random(2, 1, 3, 90, 40).float()
    config = Config(**LAYERS, style_term="sliced")
    # the style may be larger: it is looked at once
    Objective(config, Backbone(WEIGHTS), content, [style], 80)
    with pytest.raises(
        ConfigError, match="--style-term sliced needs the whole picture at once"
    ) as raised:
        Objective(config, Backbone(WEIGHTS), content, [style], 40)
    assert "\n" not in str(raised.value)
    for option in ("--memory", "--tile", "--size", "--style-term"):
        assert option in str(raised.value)
    assert raised.value.value == "sliced"


def test_painting_with_sliced_in_tiles_is_refused(tiny_weights, photo, style) -> None:
    config = Config(
        **LAYERS,
        style_term="sliced",
        backbone=str(tiny_weights),
        size=64,
        steps=2,
    )
    with pytest.raises(ConfigError, match="--style-term sliced needs the whole picture at once"):
        paint(photo, style, config, machine=EXACT.changed(tile=32))


# --- what is drawn


def test_a_sample_is_drawn_once_and_for_all() -> None:
    features = random(1, 500, 4)
    found = sample(features, 60, 7)
    assert found.shape == (60, 4)
    assert torch.equal(found, sample(features, 60, 7))
    assert not torch.equal(found, sample(features, 60, 8))
    assert (
        len({tuple(row) for row in found.tolist()} & {tuple(row) for row in features.tolist()})
        == 60
    )
    assert sample(features, 500, 7) is features


@pytest.mark.parametrize("channels", [1, 3, 64])
def test_directions_are_as_many_as_channels_and_of_length_one(channels: int) -> None:
    found = random_directions(channels, 3)
    assert found.shape == (channels, channels)
    torch.testing.assert_close(found.norm(dim=0), torch.ones(channels))
    assert torch.equal(found, random_directions(channels, 3))
    assert channels == 1 or not torch.equal(found, random_directions(channels, 4))


def test_a_mask_of_the_style_says_whose_features_are_matched() -> None:
    style = random(3, 1, 3, 48, 64)
    mask = torch.zeros(1, 1, 48, 64, dtype=torch.float64)
    mask[..., 32:] = 1
    config, backbone = (
        Config(**LAYERS, style_term="neighbors"),
        Backbone(WEIGHTS, dtype=torch.float64),
    )
    objective = Objective(
        config, backbone, style, [Region("", None, [StyleSource(style, 1.0, mask)])]
    )
    gradients = {term.layer: term for term in objective.terms}
    for layer, term in gradients.items():
        features = backbone(style, [layer])[layer]
        apart = term.measure(features, objective.tiles[0]) * term.scale
        inside = features[..., 32 // layer_stride(layer) :]
        assert 0 < apart < 1
        assert term._style.shape[0] == min(2048, inside[0, 0].numel())
    assert objective(style).total > 0


# --- painting


@pytest.fixture(scope="module")
def paintings(tiny_weights, photo, style):
    """Of each style term: its terms at the start, and the best Step of 60."""
    backbone = Backbone(load(str(tiny_weights)))
    found = {}
    for term in TERMS:
        config = gram_config(
            size=48,
            levels=1,
            steps=60,
            grain_weight=0,
            style_term=term,
        )
        steps = list(paint_steps(photo, style, config, backbone=backbone))
        found[term] = (
            steps[0].terms,
            dict(zip(steps[0].terms, steps[-1].best.term_values, strict=True)),
            steps[-1].best.point,
        )
    return found


@pytest.mark.parametrize("term", TERMS)
def test_every_style_term_is_lowered(paintings, term: str) -> None:
    first, best, point = paintings[term]
    at_first, at_last = (
        sum(float(v) for k, v in each.items() if k.startswith("style")) for each in (first, best)
    )
    assert at_last < 0.7 * at_first
    assert torch.isfinite(point).all()


def test_every_style_term_paints_its_own_picture(paintings) -> None:
    points = [point for _, _, point in paintings.values()]
    for k, one in enumerate(points):
        for other in points[:k]:
            assert (one - other).square().mean().sqrt() > 0.01
