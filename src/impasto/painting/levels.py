"""Compute the sizes of levels and styles, and the starting image of each level."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import cast

import torch

from impasto.config import MOST_LEVELS, Config
from impasto.errors import PictureError
from impasto.images.files import header_size
from impasto.images.read import SMALLEST, Picture, Source, bytes_of, read, read_bytes, resize
from impasto.objective.regions import StyleSource
from impasto.painting.pyramid import Level, pyramid

__all__ = [
    "BLANK",
    "enlarged",
    "enough_for",
    "levels_for",
    "painted_size",
    "read_all",
    "read_content",
    "read_pictures",
    "scaled_size",
    "starting_point",
    "style_size",
]

FIRST = 128  # pixels of the long side of the first level, about
BLANK = "canvas"  # in place of the checksum of a content that is only a size (experiments.py)


def read_pictures(
    content: Source, styles: Source | Sequence[Source], config: Config
) -> tuple[Picture, list[Picture]]:
    """Read a content and its style, or several, no larger than they will be used."""
    picture = read_content(content, config)
    return picture, read_all(styles, enough_for(*picture.full_size, config))


def read_content(content: Source, config: Config) -> Picture:
    """Read a content, no larger than it will be used."""
    if not isinstance(content, (str, PathLike)):
        return read(content)
    data, name = bytes_of(Path(content)), str(content)
    width, height = header_size(data, name)
    return read_bytes(data, name, enough=enough_for(height, width, config))


def read_all(sources: Source | Sequence[Source], enough: int | None = None) -> list[Picture]:
    """Read one picture or a sequence of them. A Picture is itself a tuple, but a single picture."""
    if isinstance(sources, Picture) or not isinstance(sources, (list, tuple)):
        return [read(cast(Source, sources), enough)]
    return [read(source, enough) for source in sources]


def enough_for(height: int, width: int, config: Config) -> int:
    """Return the side, in pixels, up to which pictures are worth decoding.

    It is twice the long side of the painting of a content of height x width pixels, or of a style.
    """
    upright, turned = scaled_size(height, width, config), scaled_size(width, height, config)
    # turned: EXIF may say so
    return 2 * math.ceil(max(1.0, config.style_scale) * max(*upright, *turned))


def painted_size(content: Picture, config: Config) -> tuple[int, int]:
    """Return (height, width) of the painting of `content`."""
    return scaled_size(*content.full_size, config)


def scaled_size(height: int, width: int, config: Config) -> tuple[int, int]:
    """Return (height, width) of the painting of a content of height x width pixels."""
    if config.size == "original":
        return height, width
    scale = config.size / (height if config.size_of == "height" else max(height, width))
    if config.size_of == "at-most":
        scale = min(scale, 1.0)
    return max(1, round(height * scale)), max(1, round(width * scale))


def levels_for(content: Picture, config: Config) -> list[Level]:
    """Return the levels of the run, small to large.

    Raises:
        PictureError: the painting would have a side of fewer than 16 pixels.
    """
    height, width = painted_size(content, config)
    if min(height, width) < SMALLEST:
        raise PictureError(
            f"{content.name} would be painted at {width} x {height} pixels, and at least "
            f"{SMALLEST} x {SMALLEST} are needed: give a larger --size",
            (width, height),
        )
    ratio = config.level_ratio
    if config.levels == "auto":
        # from about FIRST pixels: coarse structure is found fastest at a small size
        levels = min(MOST_LEVELS, 1 + max(0, round(math.log(max(height, width) / FIRST, ratio))))
    else:
        levels = config.levels
    finish = config.finish_steps
    steps = config.steps - finish
    sizes = pyramid(height, width, levels, ratio, steps, config.step_ratio)
    return [*sizes, Level(height, width, 1.0, finish, finish=True)] if finish else sizes


def style_size(
    level: Level, style: Picture | StyleSource, config: Config, last: Level
) -> tuple[int, int]:
    """Return (height, width) of a style at a level.

    Its long side is `style_scale` times the painting's at that level; with `style_shape` "content"
    each of its sides is.

    Args:
        level: the level.
        style: the style picture, of any size.
        config: the settings.
        last: the last level of the run.
    """
    if config.style_shape == "content":
        height, width = level.height, level.width
        scale = config.style_scale
    else:
        height, width = style.pixels.shape[2:]
        scale = config.style_scale * level.scale * max(last.height, last.width) / max(height, width)
    return max(SMALLEST, round(height * scale)), max(SMALLEST, round(width * scale))


def starting_point(
    config: Config,
    start: Source | Mapping[str, Picture],
    content: torch.Tensor,
    style: torch.Tensor,
) -> torch.Tensor:
    """Return the starting point of the first level, (1, 3, h, w), at the size of `content`.

    Args:
        config: its `start` names what is blended, with weights.
        start: a picture, which replaces the config's `start`; or the pictures that it names.
        content, style: at the first level, (1, 3, h, w) and (1, 3, any size).
    """
    height, width = content.shape[2:]
    if not isinstance(start, Mapping):
        return resize(read(start).pixels, height, width).to(content)
    point = torch.zeros_like(content)
    for name, weight in config.start.items():
        if name == "content":
            part = content
        elif name == "style":
            part = resize(style, height, width)
        elif name == "noise":
            part = torch.rand(
                content.shape, generator=torch.Generator().manual_seed(config.seed)
            ).to(content)
        else:
            part = resize(start[name].pixels, height, width).to(content)
        point += weight / sum(config.start.values()) * part
    return point


def enlarged(painting: torch.Tensor, content: torch.Tensor, larger: torch.Tensor) -> torch.Tensor:
    """Return the starting point of the next level: `painting`, enlarged, plus the content's detail.

    The detail is one level of the content's Laplacian pyramid (Burt & Adelson 1983). Without it
    every level would begin blurred and would have to find the content's edges again.

    Args:
        painting: the result of the last level, (1, 3, h, w).
        content: the content at that level, (1, 3, h, w) in [0, 1].
        larger: the content at the next level, (1, 3, H, W) in [0, 1].

    Returns:
        (1, 3, H, W) in [0, 1].
    """
    size = larger.shape[2:]
    return (resize(painting, *size) + larger - resize(content, *size)).clamp(0, 1)
