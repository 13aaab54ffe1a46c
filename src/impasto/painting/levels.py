"""What a painting is made from: pictures, their sizes at each level, the starting point; and the
record of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import cast

import torch

from impasto.config import MOST_LEVELS, Config
from impasto.errors import PictureError
from impasto.images.read import SMALLEST, Picture, Source, read, resize
from impasto.objective.regions import StyleSource
from impasto.painting.pyramid import Level, pyramid

__all__ = [
    "BLANK",
    "check",
    "enlarged",
    "painted_size",
    "read_all",
    "scaled_size",
    "starting_point",
    "style_size",
]

FIRST = 128  # pixels on the long side of the first level
BLANK = "canvas"  # in place of a checksum: a content that is nothing but a size (experiments.py)


def read_all(sources: Source | Sequence[Source]) -> list[Picture]:
    """One picture or several; a Picture is itself a tuple, but one picture."""
    if isinstance(sources, Picture) or not isinstance(sources, (list, tuple)):
        return [read(cast(Source, sources))]
    return [read(source) for source in sources]


def painted_size(content: Picture, config: Config) -> tuple[int, int]:
    """(height, width) of the painting: the content's shape at the config's size."""
    height, width = content.pixels.shape[2:]
    return scaled_size(height, width, config)


def scaled_size(height: int, width: int, config: Config) -> tuple[int, int]:
    """(height, width) of the painting of a content of height x width."""
    if config.size == "original":
        return height, width
    scale = config.size / (height if config.size_of == "height" else max(height, width))
    if config.size_of == "at-most":
        scale = min(scale, 1.0)
    return max(1, round(height * scale)), max(1, round(width * scale))


def check(content: Picture, config: Config) -> list[Level]:
    """The sizes and steps of the run, small to large.

    Raises PictureError if the painting would be too thin.
    """
    height, width = painted_size(content, config)
    if min(height, width) < SMALLEST:
        raise PictureError(
            f"{content.name} would be painted at {width} x {height} pixels, the least is "
            f"{SMALLEST} x {SMALLEST}: "
            "give a larger --size",
            (width, height),
        )
    levels = (
        _levels(max(height, width), config.level_ratio)
        if config.levels == "auto"
        else config.levels
    )
    finish = config.finish_steps
    steps = config.steps - finish
    found = pyramid(height, width, levels, config.level_ratio, steps, config.step_ratio)
    return [*found, Level(height, width, 1.0, finish, finish=True)] if finish else found


def _levels(side: int, ratio: float) -> int:
    """How many levels there are from about FIRST pixels to `side`: what is coarse is found where it
    is small."""
    return min(MOST_LEVELS, 1 + max(0, round(math.log(side / FIRST, ratio))))


def style_size(
    level: Level, style: Picture | StyleSource, config: Config, last: Level
) -> tuple[int, int]:
    """(height, width) of a style at this level: its long side is the painting's, times
    `style_scale`.

    With the content's shape it is as large as the painting, times the same.
    """
    if config.style_shape == "content":
        height, width = level.height, level.width
        scale = config.style_scale
        return max(SMALLEST, round(height * scale)), max(SMALLEST, round(width * scale))
    height, width = style.pixels.shape[2:]
    scale = config.style_scale * level.scale * max(last.height, last.width) / max(height, width)
    return max(SMALLEST, round(height * scale)), max(SMALLEST, round(width * scale))


def starting_point(
    config: Config,
    start: Source | Mapping[str, Picture],
    content: torch.Tensor,
    style: torch.Tensor,
) -> torch.Tensor:
    """The picture `start`, or the blend that the config's names, of the pictures `start`; at the
    size of `content`."""
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
    """Where the next level starts: `painting`, enlarged, and what `larger` shows of the content
    that `content` did not.

    That is one step up the content's Laplacian pyramid (Burt & Adelson 1983): without it every
    level would begin blurred and would have to find the content's edges again. All (1, 3, h, w) in
    [0, 1].
    """
    size = larger.shape[2:]
    return (resize(painting, *size) + larger - resize(content, *size)).clamp(0, 1)
