"""What the styles ask of a painting: computed once, for any number of contents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from impasto.config import Config
from impasto.objective.extractor import FeatureExtractor
from impasto.objective.flatness import FlatnessTarget, flat_scale, flat_sums
from impasto.objective.losses import reduction_factor
from impasto.objective.pixel_terms import grain_sums, tile_difference_sums
from impasto.objective.regions import Region, StyleSource, normalized
from impasto.objective.style_terms import STYLE_TERMS

__all__ = [
    "StyleTargets",
    "neighbor_count",
    "same_styles",
    "style_targets",
    "variation_factors",
]

LEAST_SHARE = 0.01  # of flat pixels in a style: none at all would have no size


class StyleTargets(NamedTuple):
    """What the styles of each region ask for.

    by_layer: for each region the style term's targets, by layer. grain: for each region the Gram
    matrix (1, 9, 9) of differences; empty without a grain term. flatness: for each region what is
    flat in the styles; empty likewise. variation: the styles' total variation; 0 where there is no
    such term.
    """

    by_layer: list[dict[str, Any]]
    grain: list[torch.Tensor]
    flatness: list[FlatnessTarget]
    variation: float


@torch.no_grad()
def style_targets(extractor: FeatureExtractor, regions: Sequence[Region]) -> StyleTargets:
    """Measure the styles of regions; of the regions themselves nothing is asked.

    Args:
        extractor: the network, with the config of the objective.
        regions: with the styles' pixels on the network's device.
    """
    config = extractor.config
    term = STYLE_TERMS[config.style_term]
    grain = [_grain(extractor, region) for region in regions] if config.grain_weight else []
    return StyleTargets(
        [term.targets(extractor, region.styles) for region in regions],
        grain,
        [
            _flatness(extractor, region, second)
            for region, second in zip(regions, grain, strict=False)
        ],
        _variation(extractor, regions) if config.tv_weight else 0.0,
    )


def same_styles(one: Sequence[Region], other: Sequence[Region]) -> bool:
    """Whether the `style_targets` of both are the same, with one extractor."""
    return len(one) == len(other) and all(
        len(a.styles) == len(b.styles)
        and all(_equal(x, y) for x, y in zip(a.styles, b.styles, strict=True))
        for a, b in zip(one, other, strict=True)
    )


def _equal(one: StyleSource, other: StyleSource) -> bool:
    if (one.weight, one.layers) != (other.weight, other.layers):
        return False
    if one.mask is None or other.mask is None:
        return one.mask is other.mask and torch.equal(one.pixels, other.pixels)
    return torch.equal(one.mask, other.mask) and torch.equal(one.pixels, other.pixels)


def _grain(extractor: FeatureExtractor, region: Region) -> torch.Tensor:
    """The blended Gram matrix of the differences of neighboring pixels; (1, 6, 6)."""
    target = torch.zeros(())
    for style in normalized(region.styles, ""):
        height, width = style.pixels.shape[2:]
        count = neighbor_count(height, width, style.mask)
        for tile, crop, _ in extractor.crops(style.pixels):
            part = grain_sums(crop, tile, style.mask)
            target = target.to(part) + style.weight * part / count
    return target


def _flatness(extractor: FeatureExtractor, region: Region, second: torch.Tensor) -> FlatnessTarget:
    """What of the styles is flat, by the scale of their blended grain."""
    scale, share = flat_scale(second), torch.zeros(())
    for style in normalized(region.styles, ""):
        height, width = style.pixels.shape[2:]
        count = neighbor_count(height, width, style.mask)
        for tile, crop, _ in extractor.crops(style.pixels):
            part = flat_sums(crop, tile, scale, style.mask)
            share = share.to(part) + style.weight * part / count
    return FlatnessTarget(scale, share.clamp_min(LEAST_SHARE))


def _variation(extractor: FeatureExtractor, regions: Sequence[Region]) -> float:
    """The styles' total variation, blended by weight, never 0."""
    config = extractor.config
    total = 0.0
    for region in regions:
        for style in normalized(region.styles, ""):
            across, down = variation_factors(config, *style.pixels.shape[2:])
            covered = 1.0 if style.mask is None else max(float(style.mask.mean()), 1e-6)
            for tile, crop, _ in extractor.crops(style.pixels):
                sums = tile_difference_sums(crop, tile, config.tv_form, style.mask)
                variation = across * float(sums[0]) + down * float(sums[1])
                total += style.weight * variation / covered / len(regions)
    return max(1e-8, total)


def variation_factors(config: Config, height: int, width: int) -> tuple[float, float]:
    """What the sums of differences across and down are multiplied by, for three channels."""
    across, down = 3 * height * (width - 1), 3 * (height - 1) * width
    reduction = config.tv_reduction
    return reduction_factor(reduction, across), reduction_factor(reduction, down)


def neighbor_count(height: int, width: int, mask: torch.Tensor | None) -> float:
    """How many pixels have a neighbor across and one down, or their weight in a mask."""
    if mask is None:
        return (height - 1) * (width - 1)
    return max(float(mask[..., :-1, :-1].sum()), 1e-6)
