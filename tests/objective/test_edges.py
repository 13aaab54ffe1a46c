"""Edges: the content's Laplacian, at a quarter of the picture's size, is kept."""

import pytest
import torch
import torch.nn.functional as F

from configs import gram_config
from impasto.backbone.vgg import Backbone
from impasto.backbone.weight_files import Weights
from impasto.backbone.weights import load
from impasto.objective.make_terms import FLAT
from impasto.objective.objective import Objective
from impasto.objective.pixel_terms import EDGE_REACH, Edges, laplacian
from impasto.objective.tiles import cut
from impasto.painting.run import paint_steps
from layouts import random_kernels

WEIGHTS = Weights("random", random_kernels(), "BGR", (0.4, 0.45, 0.5), (4.0, 4.5, 5.0))
SIZES = [(16, 16), (17, 19), (31, 50), (64, 45), (49, 67)]


def random(seed: int, *shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def grid(height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.meshgrid(
        torch.arange(height).double(), torch.arange(width).double(), indexing="ij"
    )


def colored(plane: torch.Tensor) -> torch.Tensor:
    return torch.stack([plane, 2 * plane, -plane])[None]


# --- the Laplacian


@pytest.mark.parametrize("size", SIZES)
def test_a_plane_has_no_laplacian(size: tuple[int, int]) -> None:
    rows, columns = grid(*size)
    found = laplacian(colored(0.3 + 0.02 * rows - 0.05 * columns))
    assert found.shape == (1, 3, size[0] // 4 - 2, size[1] // 4 - 2)
    assert found.abs().max() < 1e-12


def test_a_bowl_has_the_same_laplacian_everywhere() -> None:
    rows, columns = grid(32, 40)
    found = laplacian(colored(rows**2 + 3 * columns**2))
    # steps of four pixels
    expected = torch.tensor([1.0, 2, -1]).double().view(1, 3, 1, 1) * -2 * 16 * (1 + 3)
    torch.testing.assert_close(found, expected.expand_as(found))


def test_a_bright_square_by_hand() -> None:
    pixels = torch.zeros(1, 3, 20, 20)
    pixels[:, 1, 8:12, 8:12] = 1
    expected = torch.zeros(1, 3, 3, 3)
    expected[0, 1] = torch.tensor([[0.0, -1, 0], [-1, 4, -1], [0, -1, 0]])
    assert torch.equal(laplacian(pixels), expected)
    pixels[:, 1, 8:12, 8:12] = 0
    pixels[:, 1, 9, 10] = 1  # a single pixel is a sixteenth of its square
    assert torch.equal(laplacian(pixels), expected / 16)


def test_a_step_shows_on_both_sides() -> None:
    pixels = torch.zeros(1, 3, 24, 32)
    pixels[..., 16:] = 1
    found = laplacian(pixels)[0, 0]
    assert torch.equal(found, torch.tensor([0.0, 0, -1, 1, 0, 0]).expand(4, 6))


# --- the term


def plainly(x: torch.Tensor, content: torch.Tensor) -> torch.Tensor:
    apart = laplacian_by_slices(x) - laplacian_by_slices(content)
    return apart.square().sum() / laplacian_by_slices(content).square().sum()


def laplacian_by_slices(pixels: torch.Tensor) -> torch.Tensor:
    s = F.avg_pool2d(pixels, 4)
    around = s[..., :-2, 1:-1] + s[..., 2:, 1:-1] + s[..., 1:-1, :-2] + s[..., 1:-1, 2:]
    return 4 * s[..., 1:-1, 1:-1] - around


@pytest.mark.parametrize("size", SIZES)
def test_the_gradient_is_that_of_autograd(size: tuple[int, int]) -> None:
    content, x = random(1, 1, 3, *size), random(2, 1, 3, *size).requires_grad_()
    value = 3 * plainly(x, content)
    (expected,) = torch.autograd.grad(value, x)
    (tile,) = cut(*size, 1000, ["conv1_1"])
    target = laplacian(content)
    term = Edges(target, 3 / float(target.square().sum()))
    with torch.no_grad():
        total = term.measure(x, tile)
        torch.testing.assert_close(term.value(total), value.detach())
        torch.testing.assert_close(term.add_gradient(None, x, tile, total), expected)
        torch.testing.assert_close(
            term.add_gradient(torch.ones_like(x), x, tile, total), 1 + expected
        )


@pytest.mark.parametrize("side", range(16, 68, 3))
@pytest.mark.parametrize("size", SIZES[2:])
@pytest.mark.parametrize("layers", ["conv1_1", "relu2_2"])  # the network's reach is 1, 12
def test_edges_are_the_same_wherever_the_tiles_end(
    layers: str, size: tuple[int, int], side: int
) -> None:
    content, x, style = (random(k, 1, 3, *size) for k in (1, 2, 3))
    config = gram_config(
        content_layers="", style_layers=layers, style_weight=1e-6, grain_weight=0, edge_weight=2
    )
    backbone = Backbone(WEIGHTS, dtype=torch.float64)
    one, many = (Objective(config, backbone, content, [style], each) for each in (None, side))
    (value, gradient), (tiled, same) = one.evaluate(x), many.evaluate(x)
    torch.testing.assert_close(value.terms["edges"], 2 * plainly(x, content), rtol=1e-12, atol=0)
    torch.testing.assert_close(tiled.term_values, value.term_values, rtol=1e-12, atol=0)
    assert (same - gradient).abs().max() < 1e-9 * gradient.square().mean().sqrt()


def test_a_crop_holds_what_the_edges_look_at() -> None:
    content, style = random(1, 1, 3, 97, 83), random(2, 1, 3, 40, 40)
    config = gram_config(content_layers="", style_layers="conv1_1", edge_weight=1)
    for tile in Objective(config, Backbone(WEIGHTS), content.float(), [style.float()], 20).tiles:
        for (start, end, full), crop in zip(
            ((tile.top, tile.bottom, 97), (tile.left, tile.right, 83)), tile.crop, strict=True
        ):
            assert crop.start <= max(0, start - EDGE_REACH)
            assert crop.stop >= min(full, end + EDGE_REACH)


def test_the_edges_of_the_content_are_its_own() -> None:
    content = random(1, 1, 3, 33, 40).float()
    value = Objective(
        gram_config(edge_weight=5), Backbone(WEIGHTS), content, [random(2, 1, 3, 32, 32).float()]
    )(content)
    assert value.terms["edges"] == 0
    black = Objective(gram_config(edge_weight=5), Backbone(WEIGHTS), content, [content])(
        torch.zeros_like(content)
    )
    # as far away as nothing at all
    assert float(black.terms["edges"]) == pytest.approx(5, rel=1e-5)


def test_without_normalization_edges_are_a_mean() -> None:
    content, x = (random(k, 1, 3, 33, 40).float() for k in (1, 2))
    config = gram_config(normalize="none", edge_weight=1)
    have = Objective(config, Backbone(WEIGHTS), content, [content])(x).terms["edges"]
    torch.testing.assert_close(have, (laplacian(x) - laplacian(content)).square().mean())


def test_a_content_without_edges_gives_finite_terms() -> None:
    gray = torch.full((1, 3, 32, 32), 0.5)
    objective = Objective(
        gram_config(edge_weight=1), Backbone(WEIGHTS), gray, [random(1, 1, 3, 32, 32).float()]
    )
    x = random(2, 1, 3, 32, 32).float()
    value, gradient = objective.evaluate(x)
    torch.testing.assert_close(value.terms["edges"], laplacian(x).square().sum() / FLAT)
    assert torch.isfinite(value.term_values).all()
    assert torch.isfinite(gradient).all()


def test_the_larger_its_weight_the_nearer_are_the_edges(tiny_weights, photo, style) -> None:
    backbone = Backbone(load(str(tiny_weights)))
    apart = []
    for weight in (0.0, 10.0, 100.0):
        config = gram_config(size=48, levels=1, steps=20, edge_weight=weight, grain_weight=0)
        steps = list(paint_steps(style, photo, config, backbone=backbone))
        content = steps[0].picture
        apart.append(float(plainly(steps[-1].best.point, content)))
    assert apart[2] < 0.7 * apart[1] < 0.7 * apart[0]
