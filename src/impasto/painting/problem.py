"""Read and check the data of one painting: the content, and its regions with their styles."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from impasto.config import STARTS, Config
from impasto.errors import ConfigError, PictureError, did_you_mean
from impasto.fields import marked
from impasto.images.color import gray, with_chroma_of
from impasto.images.masks import NOTHING, read_mask, shape_note
from impasto.images.read import Picture, Source, read, reading_notes, resize
from impasto.objective.regions import Layers, Region, StyleSource
from impasto.painting.levels import enough_for, levels_for, painted_size, style_size
from impasto.painting.pyramid import Level
from impasto.painting.style_sources import beginning, recolored, source_of, style_notes
from impasto.parsing import ALPHA, AUTO, mask_parts

__all__ = [
    "Problem",
    "at_level",
    "check_settings",
    "extras",
    "prepare_problem",
    "regions_at",
]

REST = "rest"  # the name of the region outside all masks
Find = Callable[[str], Picture]  # returns the picture that the config calls so


class Problem(NamedTuple):
    """The data of one painting.

    Attributes:
        content: the content after its color transfer, if any.
        beginning: the content as the painting begins with it, (1, 3, H, W).
        original: the content as read.
        styles: the style pictures as read.
        named: the other pictures that the config names, by name.
        regions: of the content, with masks of any size; their styles are after color transfer.
        protect: where the content has more weight, (1, 1, h, w) of any size; None: nowhere (with
            `protect` "auto": it has not been looked for yet).
        luminance: whether only lightness is painted.
        levels: sizes and steps of the run, small to large.
        notes: remarks on the pictures, for the user.
    """

    content: Picture
    beginning: torch.Tensor
    original: Picture
    styles: list[Picture]
    named: dict[str, Picture]
    regions: list[Region]
    protect: torch.Tensor | None
    luminance: bool
    levels: list[Level]
    notes: list[str]

    @property
    def style_sources(self) -> list[StyleSource]:
        """The styles of all regions."""
        return [style for region in self.regions for style in region.styles]

    def recolored(self, pixels: torch.Tensor, content: torch.Tensor) -> torch.Tensor:
        """Return a painting (1, 3, h, w) with its final colors.

        If only lightness is painted, these have the chroma of `content` (1, 3, h, w).
        """
        return with_chroma_of(pixels, content.to(pixels)) if self.luminance else pixels


def extras(config: Config) -> Iterator[tuple[str, str]]:
    """Yield the role and path of every picture that the config names."""
    for name in config.start:
        if name not in STARTS:
            yield "start", name
    for role in marked(Config, "path"):
        path = getattr(config, role)
        if path and not (role == "protect" and path == AUTO):
            yield role, path
    for text in config.mask:
        mask, style, of_style = mask_parts(text)
        for role, path in (("mask", mask), ("mask-style", style), ("style-mask", of_style)):
            if path and not (role == "mask" and path == ALPHA):
                yield role, path


def prepare_problem(
    content: Picture,
    styles: Sequence[Picture],
    config: Config,
    named: Mapping[str, Source] | None = None,
) -> Problem:
    """Read and check the data of a painting; no network is needed for it.

    Args:
        content: the content.
        styles: the style pictures.
        config: the settings.
        named: pictures in memory, by the names that the config has for them; other names are paths.

    Raises:
        PictureError: a picture or mask is unusable, or the painting would be too small.
        ConfigError: a style has no region or layer, or `blend` or `start` does not fit.
    """
    levels = levels_for(content, config)
    enough = enough_for(*content.full_size, config)
    notes: list[str] = []
    pictures: dict[str, Picture] = {}

    def find(name: str) -> Picture:
        if name not in pictures:
            source = named.get(name, name) if named else name
            pictures[name] = read(source, enough)._replace(name=name)
        return pictures[name]

    check_settings(config, len(styles), named or ())
    for name in config.start:
        if name not in STARTS:
            find(name)
    given = _by_layer(_blended(styles, config, notes), config, find, notes)
    regions = _regions(content, given, config, find, notes)
    protect = None
    if config.protect not in ("", AUTO):
        mask = read_mask(find(config.protect))
        notes.append(shape_note(mask, content))
        protect = mask.alpha
    palette = find(config.palette) if config.palette else None
    regions = recolored(regions, content, palette, config)
    notes += style_notes(regions, config, levels[-1])
    painted = (
        content._replace(pixels=gray(content.pixels)) if config.color == "luminance" else content
    )
    return Problem(
        painted,
        beginning(painted, regions),
        content,
        list(styles),
        pictures,
        regions,
        protect,
        config.color == "luminance",
        levels,
        [*reading_notes([content, *styles, *pictures.values()]), *filter(None, notes)],
    )


def check_settings(config: Config, styles: int, named: Collection[str] = ()) -> None:
    """Check the config's `start` and `blend`.

    Args:
        config: the settings.
        styles: the number of style pictures.
        named: the names of pictures in memory.

    Raises:
        ConfigError: `start` names no picture, or `blend` has another number of weights.
    """
    for name in config.start:
        known = name in STARTS or name in named or Path(name).suffix
        if not known and not os.path.exists(name):  # unlike Path.exists it never raises
            raise ConfigError(
                f"no start {name!r}, nor a picture of that name: {did_you_mean(name, STARTS)}", name
            )
    if config.blend and len(config.blend) != styles:
        raise ConfigError(
            f"--blend has {len(config.blend)} weights for {styles} styles: give one a style",
            config.blend,
        )


def _blended(styles: Sequence[Picture], config: Config, notes: list[str]) -> list[StyleSource]:
    """Give the styles their weights, which sum to 1."""
    weights = config.blend or (1.0,) * len(styles)
    return [
        source_of(style, config, notes)._replace(weight=weight / sum(weights))
        for style, weight in zip(styles, weights, strict=True)
    ]


def _by_layer(
    given: list[StyleSource], config: Config, find: Find, notes: list[str]
) -> list[StyleSource]:
    """Add the styles of `fine` and `coarse`, and give each style its layers."""
    if not (config.fine or config.coarse):
        return given
    if given and config.fine and config.coarse:
        name = given[0].name
        raise ConfigError(f"{name} paints nothing: --fine and --coarse take all layers", name)
    styles: list[StyleSource] = []
    which: list[tuple[Layers, str]] = [("fine", config.fine), ("coarse", config.coarse)]
    for layers, path in which:
        if path:
            styles.append(source_of(find(path), config, notes)._replace(layers=layers))
        else:
            styles += [style._replace(layers=layers) for style in given]
    if {style.layers for style in styles} < {"fine", "coarse"}:
        raise ConfigError(
            "no style picture for the other layers: give one, or both --fine and --coarse"
        )
    return styles


def _regions(
    content: Picture, given: list[StyleSource], config: Config, find: Find, notes: list[str]
) -> list[Region]:
    """Make the regions: the rest of the content, in the given styles, and the masked ones."""
    regions = [_masked(text, content, config, find, notes) for text in config.mask]
    if not regions:
        if not given:
            raise ConfigError("no style picture: give at least one")
        return [Region("", None, given)]
    masks = [region.mask for region in regions if region.mask is not None]
    total = torch.stack(masks).sum(0)
    regions = [  # where masks overlap, each has its part of the sum
        region._replace(mask=mask / total.clamp_min(1))
        for region, mask in zip(regions, masks, strict=True)
    ]
    regions = _with_unique_names(regions)
    rest = 1 - total.clamp_max(1)
    if float(rest.mean()) >= NOTHING:
        return [Region(REST, rest, given or regions[0].styles), *regions]
    if given:
        name = given[0].name
        raise ConfigError(f"{name} paints nothing: the masks cover the whole picture", name)
    return regions


def _with_unique_names(regions: list[Region]) -> list[Region]:
    """Make the regions' names unique, because the names of their terms contain them."""
    taken, renamed = {REST}, []
    for region in regions:
        candidates = (region.name, *(f"{region.name}-{k}" for k in range(2, len(regions) + 2)))
        name = next(name for name in candidates if name not in taken)
        taken.add(name)
        renamed.append(region._replace(name=name))
    return renamed


def _masked(text: str, content: Picture, config: Config, find: Find, notes: list[str]) -> Region:
    """Make the region of one `mask` setting, with its mask at the painting's size."""
    name, style, of_style = mask_parts(text)
    if name == ALPHA and content.alpha is None:
        raise PictureError(f"{content.name} has no transparency to use as a mask", content.name)
    mask = read_mask(content if name == ALPHA else find(name))
    picture = find(style)
    notes.append(shape_note(mask, content))
    area = None
    if of_style:
        style_mask = read_mask(find(of_style))
        notes.append(shape_note(style_mask, picture))
        area = style_mask.alpha
    assert mask.alpha is not None
    return Region(
        Path(name).stem,
        resize(mask.alpha, *painted_size(content, config)),
        [source_of(picture, config, notes, area)],
    )


def at_level(
    mask: torch.Tensor | None, level: Level, device: torch.device | str
) -> torch.Tensor | None:
    """Resize a mask to the size of a level."""
    return None if mask is None else resize(mask, level.height, level.width).to(device)


def regions_at(
    problem: Problem, level: Level, config: Config, device: torch.device | str = "cpu"
) -> list[Region]:
    """Resize the regions of a problem to a level, for its objective.

    Args:
        problem: the problem.
        level: one of its levels.
        config: the settings, which determine the styles' sizes.
        device: where the objective is evaluated.
    """
    masks = [at_level(region.mask, level, device) for region in problem.regions]
    # 1 up to rounding, as each mask was resized separately
    total = sum(mask for mask in masks if mask is not None)
    return [
        region._replace(
            mask=None if mask is None else mask / total,
            styles=[
                _style_at(style, style_size(level, style, config, problem.levels[-1]), device)
                for style in region.styles
            ],
        )
        for region, mask in zip(problem.regions, masks, strict=True)
    ]


def _style_at(style: StyleSource, size: tuple[int, int], device: torch.device | str) -> StyleSource:
    """Resize a style to (height, width), on a device."""
    mask = None if style.mask is None else resize(style.mask, *size).to(device)
    return style._replace(pixels=resize(style.pixels, *size).to(device), mask=mask)
