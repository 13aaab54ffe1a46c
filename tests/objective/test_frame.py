"""The frame: pictures go on beyond their border, and gradients come back to where they belong."""

import pytest
import torch

from configs import gram_config
from framing import framed, seen
from impasto.backbone.architecture import STRIDE
from impasto.backbone.vgg import Backbone
from impasto.backbone.weight_files import Weights
from impasto.objective.frame import MARGIN, Frame, frame_of
from impasto.objective.objective import Objective, evaluate_batched
from impasto.objective.regions import Region, StyleSource
from layouts import random_kernels

WEIGHTS = Weights("random", random_kernels(), "BGR", (0.4, 0.45, 0.5), (4.0, 4.5, 5.0))
SIZES = [(16, 16), (17, 31), (31, 50), (32, 32), (37, 51), (47, 33), (129, 48)]


def random(seed: int, height: int, width: int, channels: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(1, channels, height, width, generator=generator, dtype=torch.float64)


def network(padding: str = "replicate", dtype: torch.dtype = torch.float64) -> Backbone:
    return Backbone(WEIGHTS, padding=padding, dtype=dtype)


# --- the frame itself


def test_both_sides_become_multiples_of_16_and_no_reflection_is_too_long() -> None:
    for height in range(16, 80):
        for width in (16, 31, 32, 47, 100):
            frame = frame_of(height, width, network())
            assert all(side % STRIDE == 0 for side in frame.size(height, width))
            before, least = (STRIDE, MARGIN) if min(height, width) >= 32 else (0, 0)
            assert frame.top == frame.left == before
            assert least <= frame.bottom < min(height, least + STRIDE)
            assert least <= frame.right < min(width, least + STRIDE)


def test_zeros_are_padded_by_the_network_alone() -> None:
    frame, x = frame_of(37, 51, network("zeros")), random(1, 37, 51)
    assert frame == (0, 0, 0, 0)
    assert frame.add(x) is x
    assert frame.fold(x) is x


@pytest.mark.parametrize("size", SIZES)
def test_a_framed_picture_is_reflected_at_its_edges(size: tuple[int, int]) -> None:
    x = random(1, *size)
    frame = frame_of(*size, network())
    assert torch.equal(frame.add(x), framed(x, "replicate"))
    assert frame.add(x).shape[2:] == frame.size(*size)


def test_a_row_by_hand() -> None:
    frame, x = Frame(0, 0, 2, 3), torch.tensor([[[[1.0, 2, 3, 4]]]])
    assert frame.add(x).flatten().tolist() == [2, 1, 1, 2, 3, 4, 4, 3, 2]
    g = 10.0 ** torch.arange(9, dtype=torch.float64).view(1, 1, 1, 9)
    assert frame.fold(g).flatten().tolist() == [110, 1e8 + 1001, 1e7 + 10000, 1e6 + 1e5]


@pytest.mark.parametrize("size", SIZES)
def test_folding_is_the_adjoint_of_framing(size: tuple[int, int]) -> None:
    frame, x = frame_of(*size, network()), random(1, *size)
    g = random(2, *frame.size(*size))
    before = g.clone()
    folded = frame.fold(g)
    torch.testing.assert_close((folded * x).sum(), (g * frame.add(x)).sum(), rtol=1e-12, atol=0)
    assert folded.is_contiguous()
    assert torch.equal(g, before)
    point = x.clone().requires_grad_()
    (expected,) = torch.autograd.grad(frame.add(point), point, g)
    torch.testing.assert_close(folded, expected, rtol=1e-12, atol=1e-12)


# --- what the objective sees


def everything(height: int, width: int) -> tuple:
    """The arguments of an objective with every kind of term, on two regions."""
    config = gram_config(
        content_layers="relu3_1,relu5_1", grain_weight=2, edge_weight=1, tv_weight=0.3
    )
    mask = random(5, height, width, 1)
    regions = [
        Region("a", mask, [StyleSource(random(3, 41, 57), 1.0, random(6, 41, 57, 1))]),
        Region("b", 1 - mask, [StyleSource(random(4, 33, 20))]),
    ]
    return config, network(), random(1, height, width), regions, None, random(7, height, width, 1)


@pytest.mark.parametrize("size", [(37, 51), (33, 17), (47, 32), (16, 31)])
def test_at_odd_sizes_the_gradient_is_the_slope(size: tuple[int, int]) -> None:
    objective = Objective(
        *everything(*size)[:4]
    )  # where something is protected sums are in float32
    x, direction = random(8, *size), random(9, *size) - 0.5
    gradient = objective.evaluate(x)[1]
    assert gradient.shape == x.shape
    # each outermost row and column by itself, and the whole picture
    first, last, every = slice(0, 1), slice(-1, None), slice(None)
    for part in ((first, every), (last, every), (every, first), (every, last), (every, every)):
        step = torch.zeros_like(x)
        step[:, :, part[0], part[1]] = 1e-7 * direction[:, :, part[0], part[1]]
        slope = (objective(x + step).total - objective(x - step).total) / 2e-7
        torch.testing.assert_close(
            (gradient * step).sum() * 1e7, slope.double(), rtol=1e-4, atol=1e-7
        )


def test_all_ways_to_evaluate_are_one() -> None:
    size = (133, 97)
    config, backbone, content, regions, _, protect = everything(*size)
    x = random(8, *size)
    whole, tiled = (
        Objective(config, backbone, content, regions, side, protect) for side in (None, 86)
    )
    loss, gradient = whole.evaluate(x)
    torch.testing.assert_close(whole(x).term_values, loss.term_values, rtol=1e-12, atol=0)
    for objective in (whole, tiled):
        frame = objective.frame
        crops = [frame.add(x)[(..., *frame.crop(tile))] for tile in objective.tiles]
        found, parts = objective.evaluate_crops(crops)
        total = torch.zeros(1, 3, *frame.size(*size), dtype=torch.float64)
        for tile, part in zip(objective.tiles, parts, strict=True):
            total[(..., *frame.crop(tile))] += part
        torch.testing.assert_close(found.term_values, loss.term_values, rtol=1e-9, atol=0)
        torch.testing.assert_close(frame.fold(total), gradient, rtol=1e-7, atol=1e-9)
    (_, first), (_, second) = evaluate_batched([whole, whole], torch.cat([x, content]))
    torch.testing.assert_close(first, gradient, rtol=1e-9, atol=1e-12)
    assert second.shape == x.shape


@pytest.mark.parametrize("size", [(33, 37), (47, 63), (31, 31), (17, 40)])
def test_the_deepest_layer_sees_the_last_row_and_column(size: tuple[int, int]) -> None:
    config = gram_config(content_layers="relu5_1", style_layers="", grain_weight=0)
    content = random(1, *size)
    for last in ((..., slice(-1, None), slice(None)), (..., slice(-1, None))):
        changed = content.clone()
        changed[last] = 1 - changed[last]
        loss, gradient = Objective(config, network(), content, [content]).evaluate(changed)
        assert loss.terms["content relu5_1"] > 1e-6
        assert gradient[last].abs().max() > 0


def test_rows_that_poolings_would_drop_have_a_say() -> None:
    # 95 is five times 16 and 15: as much as is ever left over at stage 5
    config = gram_config(content_layers="conv5_1", style_layers="", grain_weight=0)
    content, x = random(1, 95, 95), random(2, 95, 95)
    with_frame, without = (
        Objective(config, network(padding), content, [content]).evaluate(x)[1].square().mean((0, 1))
        for padding in ("replicate", "zeros")
    )
    say, said_before = (
        (g[-4:].mean(1) / g.mean()).sqrt() for g in (with_frame, without)
    )  # of the last four rows, against the whole picture's
    assert (say > 0.4).all()
    assert (say > 2 * said_before).all()


def test_a_flat_picture_has_no_rim() -> None:
    layers = ["relu1_1", "relu1_2", "relu2_1", "relu2_2"]  # beyond them zeros reach past the margin
    flat = torch.tensor([0.2, 0.5, 0.9], dtype=torch.float64).view(1, 3, 1, 1).expand(1, 3, 37, 51)
    config = gram_config(content_layers=",".join(layers), style_layers="", grain_weight=0)
    terms = Objective(config, network(), flat, [flat]).terms
    assert [term.layer for term in terms] == layers
    for term in terms:
        torch.testing.assert_close(term.target, term.target[..., :1, :1].expand_as(term.target))


@pytest.mark.parametrize("tile_size", [None, 20])
@pytest.mark.parametrize("size", [(37, 51), (97, 64), (31, 40)])
def test_targets_are_features_of_the_framed_content(
    size: tuple[int, int], tile_size: int | None
) -> None:
    config = gram_config(content_layers="conv1_1,relu2_2,relu3_1", style_layers="", grain_weight=0)
    content = random(1, *size)
    expected = seen(network(), content, config.content_layers)
    for term in Objective(config, network(), content, [content], tile_size).terms:
        torch.testing.assert_close(term.target, expected[term.layer], rtol=1e-12, atol=1e-12)


def test_the_border_weighs_no_more_than_the_rest() -> None:
    # in a picture without structure every pixel has about the same say
    config = gram_config(content_layers="relu2_1", style_layers="", grain_weight=0)
    content, x = random(1, 96, 96), random(2, 96, 96)
    gradient = Objective(config, network(), content, [content]).evaluate(x)[1]
    strength = gradient.square().mean((0, 1)).sqrt()
    border = torch.ones(96, 96, dtype=torch.bool)
    border[4:-4, 4:-4] = False
    assert strength[border].mean() < 1.3 * strength[~border].mean()
