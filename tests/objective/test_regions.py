"""Regions, each with its own style: the objective is that of the formulas, of any style term, in
one piece or tiles."""

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from configs import gram_config, position_factor
from framing import seen
from grains import flatness_between, grain_between
from impasto import Config, paint
from impasto.backbone.architecture import layer_stride
from impasto.backbone.vgg import Backbone
from impasto.backbone.weight_files import Weights
from impasto.images.read import read
from impasto.objective.losses import differences, energy, total_variation
from impasto.objective.objective import Objective
from impasto.objective.regions import Region, StyleSource
from impasto.objective.style_distances import LEAST, RIDGE
from impasto.objective.terms import layer_weights
from impasto.painting.problem import prepare_problem, regions_at
from layouts import random_kernels
from machines import EXACT

WEIGHTS = Weights("random", random_kernels(), "BGR", (0.4, 0.45, 0.5), (4.0, 4.5, 5.0))
LAYERS = {"content_layers": "conv2_2,relu3_1", "style_layers": "relu1_1,conv2_1=0.5,relu3_1=2"}
MOMENTS = ["gram", "wasserstein", "moments"]
HEIGHT, WIDTH = 49, 67


def picture(seed: int, height: int = HEIGHT, width: int = WIDTH, channels: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(1, channels, height, width, generator=generator, dtype=torch.float64)


def box(
    top: int, bottom: int, left: int, right: int, height: int = HEIGHT, width: int = WIDTH
) -> torch.Tensor:
    mask = torch.zeros(1, 1, height, width, dtype=torch.float64)
    mask[..., top:bottom, left:right] = 1
    return mask


def sharing(*masks: torch.Tensor) -> list[torch.Tensor]:
    """Masks that share where they overlap, and what is left of the picture."""
    total = torch.stack(masks).sum(0)
    return [1 - total.clamp_max(1), *(mask / total.clamp_min(1) for mask in masks)]


CONTENT, X = picture(1), picture(2)
SOURCES = [
    [StyleSource(picture(3, 61, 40), 1.0)],
    [
        StyleSource(picture(4, 33, 45) ** 2, 3.0, picture(5, 33, 45, 1)),
        StyleSource(picture(6, 40, 40) / 2, 1.0),
    ],
    [StyleSource(1 - picture(7, 37, 52) ** 3)],
]
MASKS = {
    "hard": sharing(box(0, HEIGHT, 31, WIDTH)),
    "soft": sharing(torch.linspace(0, 1, WIDTH).double().expand(1, 1, HEIGHT, WIDTH)),
    "overlapping": sharing(box(5, 40, 9, 44), 0.7 * box(20, 49, 30, 61)),
    "tiny": sharing(box(17, 20, 33, 36)),
    "random": sharing(picture(8, channels=1), picture(9, channels=1) ** 4),
}
PROTECT = picture(10, channels=1)


def masked_variation(pixels: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """Squared differences of neighbors, weighted by a mask of their first, over its mean."""
    mask = torch.ones_like(pixels[:, :1]) if mask is None else mask
    across, down = pixels.diff(dim=3).square(), pixels.diff(dim=2).square()
    weighted = (mask[..., :, :-1] * across).mean() + (mask[..., :-1, :] * down).mean()
    return weighted / mask.mean()


def regions(masks: Sequence[torch.Tensor | None]) -> list[Region]:
    return [Region(str(k), mask, SOURCES[k]) for k, mask in enumerate(masks)]


def float64(padding: str = "replicate", pooling: str = "max") -> Backbone:
    return Backbone(WEIGHTS, pooling=pooling, padding=padding, dtype=torch.float64)


# --- the formulas


def averaged(mask: torch.Tensor | None, layer: str) -> torch.Tensor | float:
    return 1.0 if mask is None else F.avg_pool2d(mask, layer_stride(layer))


def moments(f: torch.Tensor, weights: torch.Tensor | float) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean (C,) and second moments (C, C) of features, by weight: the guided Gram matrix of Gatys
    et al. 2017."""
    weights = torch.as_tensor(weights, dtype=f.dtype).expand(1, 1, *f.shape[2:]).flatten()
    f = f[0].flatten(1)
    return (f * weights).sum(1) / weights.sum(), (f * weights) @ f.T / weights.sum()


def distance(
    term: str, here: tuple[torch.Tensor, torch.Tensor], there: tuple[torch.Tensor, torch.Tensor]
):
    """In units of the target."""
    (mean, second), (wanted, wanted_second) = here, there
    if term == "gram":
        return (second - wanted_second).square().sum() / wanted_second.square().sum()
    unit, apart = wanted_second.trace(), (mean - wanted).square().sum()
    if term == "moments":
        one, other = (
            (s.diag() - m.square() + LEAST**2 * s.diag().mean()).sqrt()
            for m, s in ((mean, second), (wanted, wanted_second))
        )
        return (apart + (one - other).square().sum()) / unit
    one, other = second - mean.outer(mean), wanted_second - wanted.outer(wanted)
    ridge = RIDGE * other.trace() / len(mean) * torch.eye(len(mean), dtype=mean.dtype)
    values, vectors = torch.linalg.eigh(other + ridge)
    root = vectors @ torch.diag(values.sqrt()) @ vectors.T
    middle = torch.linalg.eigvalsh(root @ (one + ridge) @ root).sqrt().sum()
    return (apart + (one + other + 2 * ridge).trace() - 2 * middle) / unit


def laplacian(pixels: torch.Tensor) -> torch.Tensor:
    s = F.avg_pool2d(pixels, 4)
    around = s[..., :-2, 1:-1] + s[..., 2:, 1:-1] + s[..., 1:-1, :-2] + s[..., 1:-1, 2:]
    return 4 * s[..., 1:-1, 1:-1] - around


def mixed(found: list[tuple[torch.Tensor, torch.Tensor]], patterns: Sequence[StyleSource]):
    shares = [each.weight / sum(one.weight for one in patterns) for each in patterns]
    return tuple(
        sum(share * each for share, each in zip(shares, part, strict=True))
        for part in zip(*found, strict=True)
    )


def plainly(
    config: Config,
    backbone: Backbone,
    parts: Sequence[Region],
    x: torch.Tensor,
    protect: torch.Tensor | None = None,
) -> dict[str, torch.Tensor]:
    """The weighted terms at x, for autograd to see."""
    layers = [*config.content_layers, *config.style_layers]
    here, there = (seen(backbone, each, layers) for each in (x, CONTENT))
    terms: dict[str, torch.Tensor] = {}
    for layer, weight in config.content_layers.items():
        weights = 1.0 if protect is None else 1 + (config.protection - 1) * averaged(protect, layer)
        squares = (weights * (here[layer] - there[layer]).square()).sum()
        terms[f"content {layer}"] = config.content_weight * weight * squares / energy(there[layer])
    strength = config.strength / len(parts)
    for part in parts:
        for layer, weight in config.style_layers.items():
            found = [
                moments(seen(backbone, each.pixels, [layer])[layer], averaged(each.mask, layer))
                for each in part.styles
            ]
            apart = distance(
                config.style_term,
                moments(here[layer], averaged(part.mask, layer)),
                mixed(found, part.styles),
            )
            weight *= position_factor(config, layer, here[layer])
            terms[f"style {layer} {part.name}".strip()] = (
                strength * config.style_weight * weight * apart
            )
    roughness = 0.0
    for part in parts if config.grain_weight else ():
        pictures = [(each.pixels, each.mask) for each in part.styles]
        mine, *others = (
            moments(differences(pixels), 1.0 if mask is None else mask[..., :-1, :-1])
            for pixels, mask in [(x, part.mask), *pictures]
        )
        terms[f"grain {part.name}".strip()] = (
            strength
            * config.grain_weight
            * grain_between(mine[1][None], mixed(others, part.styles)[1][None])
        )
        masks = [None if mask is None else mask[..., :-1, :-1] for _, mask in pictures]
        terms[f"flatness {part.name}".strip()] = (
            strength
            * config.grain_weight
            * flatness_between(
                differences(x),
                [differences(pixels) for pixels, _ in pictures],
                lambda found, styles=part.styles: mixed([(each, each) for each in found], styles)[
                    0
                ],
                None if part.mask is None else part.mask[..., :-1, :-1],
                masks,
            )
        )
    if config.edge_weight:
        apart = (laplacian(x) - laplacian(CONTENT)).square().sum()
        terms["edges"] = config.edge_weight * apart / laplacian(CONTENT).square().sum()
    if config.tv_weight:
        for part in parts:
            found = [
                (masked_variation(each.pixels, each.mask), torch.zeros(())) for each in part.styles
            ]
            roughness += mixed(found, part.styles)[0] / len(parts)
        terms["tv"] = config.tv_weight * total_variation(x) / roughness
    return terms


# Relative errors of value and gradient: means are in float32.
NEAR = {"gram": (1e-9, 1e-6), "moments": (1e-5, 1e-5), "wasserstein": (1e-5, 1e-4)}
# of a region of a few positions
FEW = {"gram": (1e-9, 1e-6), "moments": (1e-3, 1e-2), "wasserstein": (1e-4, 1e-4)}


def assert_as_plainly(
    config: Config,
    parts: Sequence[Region],
    side: int | None = None,
    protect: torch.Tensor | None = None,
    backbone: Backbone | None = None,
    near: dict[str, tuple[float, float]] = NEAR,
) -> None:
    backbone = backbone or float64()
    x = X.clone().requires_grad_()
    terms = plainly(config, backbone, parts, x, protect)
    (expected,) = torch.autograd.grad(sum(terms.values()), x)
    objective = Objective(config, backbone, CONTENT, parts, side, protect)
    assert (len(objective.tiles) > 1) == (side is not None)
    value, gradient = objective.evaluate(X)
    assert set(value.terms) == set(terms)
    for name, term in terms.items():
        of_style = name.startswith("style")
        rtol = near[config.style_term][0] if of_style else 1e-6
        # where channels are dead in both pictures the root of the Wasserstein distance stops a
        # little short
        atol = (
            2 * RIDGE * config.style_weight
            if of_style and config.style_term == "wasserstein"
            else 0
        )
        torch.testing.assert_close(
            value.terms[name].double(), term.detach(), rtol=rtol, atol=atol, msg=name
        )
    assert (gradient - expected).norm() < near[config.style_term][1] * expected.norm()


@pytest.mark.parametrize("side", [None, 23, pytest.param(40, marks=pytest.mark.slow)])
@pytest.mark.parametrize("masks", MASKS)
@pytest.mark.parametrize("term", MOMENTS)
def test_regions_are_as_the_formulas_say_in_one_piece_and_in_tiles(
    term: str, masks: str, side: int | None
) -> None:
    config = gram_config(
        **LAYERS, style_term=term, strength=1.3, grain_weight=2, edge_weight=3, tv_weight=0.1
    )
    assert_as_plainly(
        config, regions(MASKS[masks]), side, PROTECT, near=FEW if masks == "tiny" else NEAR
    )


@pytest.mark.parametrize("padding", ["zeros", "replicate"])
@pytest.mark.parametrize("term", MOMENTS)
def test_regions_with_average_pooling_and_either_padding(term: str, padding: str) -> None:
    config = gram_config(**LAYERS, style_term=term)
    assert_as_plainly(config, regions(MASKS["overlapping"]), 31, None, float64(padding, "average"))


SWITCHES = {
    "mask": {},
    "protect": {"protection": 30},
    "edges": {"edge_weight": 2},
    "style_term": {"style_term": "wasserstein"},
    "tv": {"tv_weight": 0.3},
}


@pytest.mark.parametrize("side", [None, 29])
@pytest.mark.parametrize("pair", list(combinations(SWITCHES, 2)), ids="-".join)
def test_any_two_of_the_controls_go_together(pair: tuple[str, str], side: int | None) -> None:
    config = gram_config(**LAYERS, **SWITCHES[pair[0]], **SWITCHES[pair[1]])
    parts = regions(MASKS["overlapping"]) if "mask" in pair else regions([None])
    assert_as_plainly(config, parts, side, PROTECT if "protect" in pair else None)


@pytest.mark.parametrize(
    "side",
    [
        side if side % 15 == 1 else pytest.param(side, marks=pytest.mark.slow)
        for side in range(16, 67, 5)
    ],
)
@pytest.mark.parametrize("term", MOMENTS)
def test_wherever_the_tiles_end_regions_are_the_same(term: str, side: int) -> None:
    config = gram_config(**LAYERS, style_term=term, edge_weight=1)
    one, many = (
        Objective(config, float64(), CONTENT, regions(MASKS["overlapping"]), s, PROTECT)
        for s in (None, side)
    )
    (whole, gradient), (tiled, same) = one.evaluate(X), many.evaluate(X)
    torch.testing.assert_close(tiled.term_values, whole.term_values, rtol=1e-5, atol=1e-9)
    assert (same - gradient).norm() < 1e-5 * gradient.norm()


# --- what regions mean


@pytest.mark.parametrize("term", [*MOMENTS, "neighbors", "sliced"])
def test_a_mask_of_ones_is_no_mask(term: str) -> None:
    config = gram_config(**LAYERS, style_term=term)
    ones = torch.ones(1, 1, HEIGHT, WIDTH, dtype=torch.float64)
    plain, masked = (
        Objective(
            config,
            float64(),
            CONTENT,
            [Region("", mask, [StyleSource(SOURCES[0][0].pixels, 1.0, other)])],
        )
        for mask, other in ((None, None), (ones, ones[..., :61, :40].new_ones(1, 1, 61, 40)))
    )
    (value, gradient), (same, as_before) = plain.evaluate(X), masked.evaluate(X)
    assert same.names == value.names
    torch.testing.assert_close(same.term_values, value.term_values, rtol=1e-5, atol=0)
    assert (as_before - gradient).norm() < 1e-5 * gradient.norm()


@pytest.mark.parametrize("term", MOMENTS)
def test_two_halves_of_every_pixel_in_one_style_are_the_whole(term: str) -> None:
    half = torch.full((1, 1, HEIGHT, WIDTH), 0.5, dtype=torch.float64)
    one, two = (
        Objective(gram_config(**LAYERS, style_term=term), float64(), CONTENT, parts).evaluate(X)
        for parts in (regions([None]), [Region(name, half, SOURCES[0]) for name in "ab"])
    )
    torch.testing.assert_close(two[0].total, one[0].total, rtol=1e-5, atol=0)
    assert (two[1] - one[1]).norm() < 1e-5 * one[1].norm()


def test_two_regions_in_one_style_ask_for_more_than_the_whole_does() -> None:
    # their Gram matrices have the whole's as their mean, and a squared distance is convex
    content, x = picture(1, 48, 64), picture(2, 48, 64)
    halves = sharing(box(0, 48, 0, 32, 48, 64))
    one, two = (
        Objective(gram_config(**LAYERS), float64(), content, parts)(x).terms
        for parts in (
            regions([None]),
            [Region(str(k), half, SOURCES[0]) for k, half in enumerate(halves)],
        )
    )
    for layer in ("relu1_1", "conv2_1", "relu3_1"):
        assert one[f"style {layer} 0"] < two[f"style {layer} 0"] + two[f"style {layer} 1"]


@pytest.mark.parametrize("term", [*MOMENTS, "neighbors", "sliced"])
def test_a_small_region_is_as_strong_as_a_large_one(term: str) -> None:
    # away from the border every 32 x 32 pixels look alike
    x = picture(2, 32, 32).repeat(1, 1, 5, 5)
    small, large = box(64, 96, 64, 96, 160, 160), box(32, 128, 32, 128, 160, 160)
    parts = [Region(name, mask, SOURCES[0]) for name, mask in (("small", small), ("large", large))]
    terms = Objective(
        gram_config(**LAYERS, style_term=term), float64(), picture(1, 160, 160), parts
    )(x).terms
    for layer in ("style relu1_1", "style conv2_1", "style relu3_1", "grain"):
        # of a sliced distance, as fewer positions have fewer quantiles
        near = 0.1 if term == "sliced" and layer != "grain" else 1e-5
        torch.testing.assert_close(
            terms[f"{layer} small"], terms[f"{layer} large"], rtol=near, atol=0
        )


def test_a_region_pulls_only_where_it_is() -> None:
    config = gram_config(content_layers="", style_layers="relu2_1", grain_weight=1)
    parts = [Region("", box(0, HEIGHT, 0, 24), SOURCES[0])]
    gradient = Objective(config, float64(), CONTENT, parts).evaluate(X)[1]
    assert (gradient[..., :24].abs().amax((0, 1)) > 0).all()
    assert (gradient[..., 30:] == 0).all()


@pytest.mark.parametrize("term", ["wasserstein", "moments"])
def test_a_blend_has_the_moments_of_the_mixture(term: str) -> None:
    first, second = picture(3, 32, 32), 1 - picture(4, 32, 32) ** 2
    config = gram_config(
        content_layers="", style_layers="relu1_1,conv3_1", grain_weight=0, style_term=term
    )
    parts = [Region("", None, [StyleSource(first, 3), StyleSource(second, 1)])]
    for each in Objective(config, float64(), CONTENT, parts).terms:
        f, g = (
            seen(float64(), pixels, [each.layer])[each.layer][0].flatten(1)
            for pixels in (first, second)
        )
        mixture = torch.cat([f, f, f, g], 1)
        torch.testing.assert_close(
            each.target.mean[0].double(), mixture.mean(1), rtol=1e-6, atol=1e-7
        )
        torch.testing.assert_close(
            each.target.second[0].double(),
            mixture @ mixture.T / mixture.shape[1],
            rtol=1e-6,
            atol=1e-7,
        )


@pytest.mark.parametrize("term", [*MOMENTS, "neighbors", "sliced"])
def test_strokes_of_one_picture_and_forms_of_another(term: str) -> None:
    config = gram_config(
        style_layers="relu1_1,relu2_2,relu3_1,conv4_1", content_layers="relu3_1", style_term=term
    )
    strokes, forms = (each[0].pixels for each in SOURCES[:2])
    both, fine, coarse = (
        Objective(config, float64(), CONTENT, [Region("", None, patterns)])(X).terms
        for patterns in (
            [StyleSource(strokes, layers="fine"), StyleSource(forms, layers="coarse")],
            [StyleSource(strokes)],
            [StyleSource(forms)],
        )
    )
    for name in ("style relu1_1", "style relu2_2", "grain"):
        assert both[name] == fine[name] != coarse[name]
    for name in ("style relu3_1", "style conv4_1"):
        assert both[name] == coarse[name] != fine[name]
    assert both["content relu3_1"] == fine["content relu3_1"] == coarse["content relu3_1"]


SMALL_MASKS = {
    # relu5_1 has no position in the last 13 columns of the style, and none of which the region
    # covers much
    "style": (None, box(0, 48, 36, 45, 48, 45)),
    "region": (box(2, 6, 3, 9), None),
}


@pytest.mark.parametrize("which", SMALL_MASKS)
@pytest.mark.parametrize("term", [*MOMENTS, "neighbors", "sliced"])
def test_masks_too_small_for_the_deepest_layer_are_no_trouble(term: str, which: str) -> None:
    config = gram_config(style_layers="relu1_1,relu5_1", content_layers="", style_term=term)
    mask, of_style = SMALL_MASKS[which]
    style = picture(3, 48, 45)
    parts = [Region("", mask, [StyleSource(style, 1.0, of_style)])]
    value, gradient = Objective(config, float64(), CONTENT, parts).evaluate(X)
    assert torch.isfinite(value.term_values).all(), value.terms
    assert torch.isfinite(gradient).all()
    assert (value.term_values > 0).all()
    if which == "style":  # all of it is the style there
        plain = Objective(config, float64(), CONTENT, [style])(X)
        assert value.terms["style relu5_1"] == plain.terms["style relu5_1"]
        assert value.terms["style relu1_1"] != plain.terms["style relu1_1"]


@pytest.mark.parametrize("term", [*MOMENTS, "neighbors", "sliced"])
def test_a_region_without_positions_in_a_layer_has_no_term_there(term: str) -> None:
    config = gram_config(
        style_layers="relu1_1,relu5_1", content_layers="", grain_weight=0, style_term=term
    )
    # relu5_1 has no position in the last 3 columns
    mask = box(0, HEIGHT, 64, WIDTH)
    value = Objective(config, float64(), CONTENT, [Region("edge", mask, SOURCES[0])])(X)
    assert value.names == ("style relu1_1 edge",)


# --- from files, through paint


@pytest.fixture
def masks(tmp_path: Path) -> list[str]:
    """Three that overlap, hard and soft, of sizes of their own."""
    rows, columns = np.mgrid[0:60, 0:70]
    discs = [
        np.hypot(rows - 20, columns - 25) < 18,
        np.hypot(rows - 30, columns - 40) < 20,
        columns / 90,
    ]
    for k, disc in enumerate(discs):
        Image.fromarray((255 * disc).astype(np.uint8)).save(tmp_path / f"{k}.png")
    return [str(tmp_path / f"{k}.png") for k in range(3)]


@pytest.mark.parametrize("size", [160, 177, 201])
def test_the_regions_of_a_problem_share_out_every_position(photo, style, masks, size: int) -> None:
    config = gram_config(size=size, levels=2, mask=tuple(f"{mask}={style}" for mask in masks))
    problem = prepare_problem(read(photo), [read(style)], config)
    assert len(problem.levels) == 2
    for level in problem.levels:
        found = [part.mask for part in regions_at(problem, level, config)]
        assert len(found) == 4
        for layer in ("relu1_1", "relu2_1", "relu3_1", "relu4_1"):
            total = sum(layer_weights(mask, layer) for mask in found)
            assert (total - 1).abs().max() < 1e-5, (level, layer)


@pytest.mark.parametrize("levels", [pytest.param(1, marks=pytest.mark.slow), 2])
@pytest.mark.parametrize(
    ("color", "masked"),
    [
        ("style", True),
        ("content", True),
        ("luminance", True),
        ("palette", True),
        ("luminance", False),
        *(
            pytest.param(color, False, marks=pytest.mark.slow)
            for color in ("style", "content", "palette")
        ),
    ],
)
def test_a_painting_in_tiles_is_the_painting_in_one_piece(
    tiny_weights, photo, style, masks, color: str, masked: bool, levels: int
) -> None:
    config = gram_config(
        **LAYERS,
        backbone=str(tiny_weights),
        size=96,
        steps=4,
        levels=levels,
        level_ratio=1.2,
        mask=(f"{masks[0]}={photo}", f"{masks[2]}={style}={masks[1]}") if masked else (),
        protect=masks[1],
        **({"palette": str(photo)} if color == "palette" else {"color": color}),
    )
    assert len(prepare_problem(read(photo), [read(style)], config).levels) == levels
    whole, tiled = (
        paint(photo, style, config, machine=EXACT.changed(tile=tile)) for tile in ("auto", 32)
    )
    assert tiled.settings["machine"]["tile"] == 32
    assert tiled.value == pytest.approx(whole.value, rel=1e-3)
    assert (tiled.pixels - whole.pixels).norm() < 1e-3 * whole.pixels.norm()
