"""Make the terms of an objective from the config, the content and the styles' targets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from impasto.backbone.architecture import VGG19, convolution_of, layer_stride
from impasto.backbone.vgg import Features
from impasto.errors import ConfigError
from impasto.images.margins import is_flat
from impasto.objective.extractor import FeatureExtractor
from impasto.objective.flatness import Flatness
from impasto.objective.losses import energy, layer_factor, reduction_factor
from impasto.objective.pixel_terms import (
    Edges,
    Grain,
    Reference,
    Temporal,
    Variation,
    laplacian,
)
from impasto.objective.regions import Region
from impasto.objective.style_targets import StyleTargets, neighbor_count, variation_factors
from impasto.objective.style_terms import STYLE_TERMS, Place
from impasto.objective.terms import Content, Term, in_metric, layer_weights
from impasto.objective.tiles import Sums, Tile

__all__ = ["objective_terms"]

# Energy of the grain of pixels that differ by one of 255 gray levels: the least that a flat style
# counts as.
FLAT = 1e-9


@torch.no_grad()
def objective_terms(
    extractor: FeatureExtractor,
    content: torch.Tensor,
    regions: Sequence[Region],
    protect: torch.Tensor | None,
    targets: StyleTargets,
    reference: Reference | None = None,
) -> list[Term]:
    """All terms: content, then style and grain by region, edges, total variation, time.

    Args:
        extractor: the network, with the config of the objective.
        content: (1, 3, H, W).
        regions: of the content, with their styles.
        protect: where the content weighs more, (1, 1, H, W) in [0, 1]; None: nowhere.
        targets: the `style_targets` of the regions.
        reference: what a frame of a film is held to; None: it is not one, or the first of a shot.

    Raises:
        ConfigError: the style term needs the whole image at once, and it is in tiles.
    """
    _check_tiles(extractor, content)
    return [
        *_content_terms(extractor, content, protect),
        *_style_terms(extractor, content, regions, targets),
        *_grain_terms(extractor, content, regions, targets),
        *_edge_terms(extractor, content),
        *_variation_terms(extractor, content, targets),
        *([Temporal(reference)] if reference else []),
    ]


def _check_tiles(extractor: FeatureExtractor, content: torch.Tensor) -> None:
    name = extractor.config.style_term
    if not STYLE_TERMS[name].tileable and len(extractor.tiles(content)) > 1:
        raise ConfigError(
            f"--style-term {name} needs the whole picture at once, and this one would be "
            "in tiles: give more --memory, a larger --tile, a smaller --size, or another "
            "--style-term",
            name,
        )


def _content_terms(
    extractor: FeatureExtractor, content: torch.Tensor, protect: torch.Tensor | None
) -> Iterator[Content]:
    config = extractor.config
    if not config.content_layers:
        return
    targets, energies = _content_targets(extractor, content)
    for layer, weight in config.content_layers.items():
        target = targets[layer]
        scale = config.content_weight * weight
        if config.normalize == "energy":
            scale /= float(energies[layer])
        else:
            units = extractor.unit_factor**2
            scale *= units * reduction_factor(config.content_reduction, target.numel())
        weights = None
        if protect is not None:
            weights = 1 + (config.protection - 1) * layer_weights(protect, layer)
        metric = extractor.metric(layer)
        yield Content(f"content {layer}", layer, target, scale, weights, metric)


def _content_targets(
    extractor: FeatureExtractor, content: torch.Tensor
) -> tuple[Features, dict[str, torch.Tensor]]:
    """The content's features by layer, at the positions of the shard's tiles, and their energies.

    Energies are those of all tiles.
    """
    targets: Features = {}
    energies: list[Sums] = []  # by tile, then by layer
    layers = list(extractor.config.content_layers)
    for tile, _, features in extractor.crops(content, layers, extractor.shard):
        energies.append([])
        for layer, x in features.items():
            if tile.whole:
                targets[layer] = x
                energies[-1].append(_energy(extractor, layer, x))
                continue
            if layer not in targets:
                targets[layer] = _empty_map(x, tile, layer)
            window = tile.window(layer_stride(layer))
            inner = x[:, :, window.inner_rows, window.inner_columns]
            targets[layer][:, :, window.rows, window.columns] = inner
            energies[-1].append(_energy(extractor, layer, inner))
    return targets, dict(zip(targets, extractor.shard.all_reduce(energies), strict=True))


def _energy(extractor: FeatureExtractor, layer: str, features: torch.Tensor) -> torch.Tensor:
    """Sum of squares of features, in the layer's metric if it has one."""
    metric = extractor.metric(layer)
    return energy(features if metric is None else in_metric(features.float(), metric))


def _empty_map(x: torch.Tensor, tile: Tile, layer: str) -> torch.Tensor:
    """Memory for a layer's features of the whole image, like those of a crop x (1, C, h, w)."""
    stride = layer_stride(layer)
    shape = (1, x.shape[1], tile.height // stride, tile.width // stride)
    return torch.empty(shape, device=x.device, dtype=x.dtype, memory_format=torch.channels_last)


def _style_terms(
    extractor: FeatureExtractor,
    content: torch.Tensor,
    regions: Sequence[Region],
    targets: StyleTargets,
) -> Iterator[Term]:
    config = extractor.config
    flat = [_flat(region) for region in regions]
    least = _content_energies(extractor, content) if any(flat) else {}
    for region, is_one_color, by_layer in zip(regions, flat, targets.by_layer, strict=True):
        for layer, weight in config.style_layers.items():
            place = Place.at(layer, content, region.mask)
            if place.empty:
                continue
            name = f"style {layer} {region.name}".strip()
            scale = config.style_factor * config.style_weight * weight / len(regions)
            if config.normalize == "energy" and config.content_layers:  # no texture, no recipe
                channels = VGG19.channels[convolution_of(layer)]  # the network in the box has fewer
                scale *= layer_factor(place.rows * place.columns, channels)
            term = STYLE_TERMS[config.style_term]
            floor = least[layer] if is_one_color else 0.0
            yield term.term(extractor, name, place, by_layer[layer], scale, floor)


def _flat(region: Region) -> bool:
    """Whether the styles of a region are all nearly one color."""
    return all(is_flat(style.pixels.cpu(), _on_cpu(style.mask)) for style in region.styles)


def _on_cpu(mask: torch.Tensor | None) -> torch.Tensor | None:
    return None if mask is None else mask.cpu()


def _content_energies(extractor: FeatureExtractor, content: torch.Tensor) -> dict[str, float]:
    """The content's sum of squares of features by style layer, a mean over positions.

    The deep features of a flat style are next to nothing. In units of them every content would be
    infinitely far away, and no solver could move.
    """
    layers = list(extractor.config.style_layers)
    in_metric = STYLE_TERMS[extractor.config.style_term].in_metric
    sums: list[Sums] = []  # by tile, then by layer
    for tile, _, features in extractor.crops(content, layers, extractor.shard):
        sums.append([])
        for layer in layers:
            window = tile.window(layer_stride(layer))
            inner = features[layer][:, :, window.inner_rows, window.inner_columns]
            sums[-1].append(_energy(extractor, layer, inner) if in_metric else energy(inner))
    totals = extractor.shard.all_reduce(sums)
    positions = {layer: Place.at(layer, content, None).total_weight for layer in layers}
    return {
        layer: float(total) / positions[layer] for layer, total in zip(layers, totals, strict=True)
    }


def _grain_terms(
    extractor: FeatureExtractor,
    content: torch.Tensor,
    regions: Sequence[Region],
    targets: StyleTargets,
) -> Iterator[Grain | Flatness]:
    config = extractor.config
    if not config.grain_weight:
        return
    for region, target, flat in zip(regions, targets.grain, targets.flatness, strict=True):
        scale = config.style_factor * config.grain_weight / len(regions)
        height, width = content.shape[2:]
        count = neighbor_count(height, width, region.mask)
        yield Grain(f"grain {region.name}".strip(), target, count, scale, region.mask)
        name = f"flatness {region.name}".strip()
        yield Flatness(name, flat, count, scale, region.mask)


def _edge_terms(extractor: FeatureExtractor, content: torch.Tensor) -> Iterator[Edges]:
    config = extractor.config
    if config.edge_weight:
        target = laplacian(content)
        unit: float = target.numel()
        if config.normalize == "energy":
            unit = max(float(energy(target)), FLAT)
        yield Edges(target, config.edge_weight / unit)


def _variation_terms(
    extractor: FeatureExtractor, content: torch.Tensor, targets: StyleTargets
) -> Iterator[Variation]:
    config = extractor.config
    if config.tv_weight:
        unit = targets.variation if config.normalize == "energy" else 1.0
        across, down = variation_factors(config, *content.shape[2:])
        yield Variation(
            config.tv_form, (config.tv_weight / unit * across, config.tv_weight / unit * down)
        )
