"""The detail that an enlarged painting gets from its styles."""

import pytest
import torch

from impasto import Config
from impasto.images.read import resize
from impasto.objective.regions import Region, StyleSource
from impasto.painting.levels import enlarged, read_pictures
from impasto.painting.problem import prepare_problem, regions_at
from impasto.painting.run import paint_steps
from impasto.painting.style_detail import SHARE, style_detail
from impasto.solver.preconditioner import without_weave

SIZE = 64


def grain(seed: int, height: int = SIZE, width: int = SIZE) -> torch.Tensor:
    """Strokes of some pixels, a little different everywhere."""
    noise = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed))
    return without_weave(0.7 * noise + 0.3 * resize(noise[..., ::4, ::4], height, width))


def lost(picture: torch.Tensor, small: torch.Tensor) -> torch.Tensor:
    """What a picture shows and does not show at the size of `small`."""
    return picture - resize(small, *picture.shape[2:])


def close(a: torch.Tensor, b: torch.Tensor) -> float:
    """The cosine of two pictures."""
    return float(torch.cosine_similarity(a.flatten(), b.flatten(), dim=0))


def in_one_region(*styles: StyleSource) -> list[Region]:
    return [Region("", None, styles)]


@pytest.mark.parametrize(("height", "width"), [(32, 32), (51, 45), (33, 31)])
def test_a_small_copy_of_a_style_gets_the_detail_that_it_lost(height, width) -> None:
    style = grain(1)
    small = resize(style, height, width)
    detail = style_detail(small, in_one_region(StyleSource(style)), SIZE, SIZE)
    assert detail.shape == style.shape
    assert close(detail, lost(style, small)) > 0.95
    assert float(detail.norm() / lost(style, small).norm()) == pytest.approx(SHARE, rel=0.1)


def test_a_style_of_another_shape_gives_pixels_of_the_same_size() -> None:
    style = grain(1, 48, 80)
    part = style[..., 8:40, 16:64]  # of 32 x 48 pixels
    detail = style_detail(resize(part, 16, 24), in_one_region(StyleSource(style)), 32, 48)
    inner = (..., slice(6, -6), slice(6, -6))  # at its border a part was scaled otherwise
    assert close(detail[inner], lost(part, resize(part, 16, 24))[inner]) > 0.8


def test_a_flat_style_gives_nothing() -> None:
    flat = torch.full((1, 3, SIZE, SIZE), 0.4)
    detail = style_detail(grain(1, 32, 32), in_one_region(StyleSource(flat)), SIZE, SIZE)
    assert float(detail.abs().max()) < 1e-6


def test_each_region_gets_the_detail_of_its_own_style() -> None:
    one, other = grain(1), grain(2)
    left = torch.zeros(1, 1, SIZE, SIZE)
    left[..., : SIZE // 2] = 1
    regions = [Region("a", left, [StyleSource(one)]), Region("b", 1 - left, [StyleSource(other)])]
    both = torch.where(left > 0, one, other)
    detail = style_detail(resize(both, 32, 32), regions, SIZE, SIZE)
    assert close(detail[..., :28], lost(one, resize(one, 32, 32))[..., :28]) > 0.9
    assert close(detail[..., -28:], lost(other, resize(other, 32, 32))[..., -28:]) > 0.9


def test_blended_styles_give_detail_where_each_fits() -> None:
    one, other = grain(1), grain(2)
    regions = in_one_region(StyleSource(one), StyleSource(other))
    for style in (one, other):
        small = resize(style, 32, 32)
        assert close(style_detail(small, regions, SIZE, SIZE), lost(style, small)) > 0.9


@pytest.mark.parametrize(
    "unused",
    [
        StyleSource(grain(1), weight=0.0),
        StyleSource(grain(1), layers="coarse"),
        StyleSource(grain(1), mask=torch.zeros(1, 1, SIZE, SIZE)),
    ],
    ids=["no weight", "only forms", "no area"],
)
def test_what_is_not_taken_from_a_style_is_not_found(unused) -> None:
    flat = StyleSource(torch.full((1, 3, SIZE, SIZE), 0.4))
    detail = style_detail(grain(1, 32, 32), in_one_region(unused, flat), SIZE, SIZE)
    assert float(detail.abs().max()) < 1e-6


def test_a_style_mask_bounds_where_patches_are_taken_from() -> None:
    style = grain(1)
    style[..., SIZE // 2 :] = 0.5
    right = torch.zeros(1, 1, SIZE, SIZE)
    right[..., SIZE // 2 + 8 :] = 1
    source = StyleSource(style, mask=right)
    detail = style_detail(resize(style, 32, 32), in_one_region(source), SIZE, SIZE)
    assert float(detail.abs().max()) < 0.01


def test_a_style_too_small_for_a_patch_gives_nothing() -> None:
    tiny = StyleSource(grain(1, 6, 6))
    assert not style_detail(grain(2, 16, 16), in_one_region(tiny), 32, 32).any()


@pytest.mark.parametrize(("strength", "share"), [(2, 1.0), (0.5, 0.5), (0, 0.0)])
def test_a_level_begins_with_it(photo, style, tiny_weights, strength, share) -> None:
    config = Config(
        backbone=str(tiny_weights), size=160, levels=2, steps=4, finish=0, strength=strength
    )
    steps = list(paint_steps(photo, style, config))
    second = next(step for step in steps if step.level == 2)
    before = next(step for step in reversed(steps) if step.level == 1)
    content, styles = read_pictures(photo, style, config)
    problem = prepare_problem(content, styles, config)
    small, large = problem.levels
    pictures = (resize(problem.beginning, level.height, level.width) for level in (small, large))
    larger = enlarged(before.best.point, *pictures)
    detail = style_detail(
        before.best.point, regions_at(problem, large, config), large.height, large.width
    )
    assert float(detail.abs().max()) > 1e-3  # or the comparison would say nothing
    assert torch.allclose(second.picture, (larger + share * detail).clamp(0, 1), atol=1e-6)


@pytest.mark.gpu
def test_a_gpu_finds_the_same() -> None:
    style, painting, area = grain(1), grain(3, 37, 29), torch.zeros(1, 1, SIZE, SIZE)
    area[..., : SIZE // 2] = 1
    details = []
    for device in ("cpu", "cuda"):
        source = StyleSource(style.to(device), mask=area.to(device))
        regions = [Region("", area.to(device), [source])]
        details.append(style_detail(painting.to(device), regions, SIZE, SIZE).cpu())
    assert close(*details) > 0.99  # two patches may be equally near
