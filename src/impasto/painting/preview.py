"""A quick look at a painting: small and by few steps, enlarged, with the content's detail."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch

from impasto.backbone.load import load_backbone
from impasto.backbone.vgg import Backbone
from impasto.config import Config, Machine
from impasto.images.color import gray
from impasto.images.read import Source, read, resize
from impasto.painting.levels import enlarged, painted_size
from impasto.painting.run import Run

__all__ = ["SHOWN", "preview", "preview_config"]

SIDE = 224  # pixels on the long side of what is painted
STEPS = 14
SHOWN = 768  # pixels on the long side of what is shown


def preview_config(config: Config) -> Config:
    """The settings of the quick look: small, with few steps, none of them by the true network."""
    return config.changed(size=SIDE, size_of="long", steps=STEPS, finish=0)


def preview(
    content: Source,
    style: Source | Sequence[Source],
    config: Config | None = None,
    machine: Machine | None = None,
    *,
    named: Mapping[str, Source] | None = None,
    backbone: Backbone | Callable[[Config, Machine], Backbone] = load_backbone,
) -> torch.Tensor:
    """Paint a quick look at what `paint` would make with these settings.

    A small painting shows colors and forms of the final one. It is enlarged, and the content's
    lightness is added where the small one has no detail (one level of a Laplacian pyramid, Burt &
    Adelson 1983).

    Args:
        content, style, config, machine, named: as for `paint`. The size, the steps and the finish
            are the quick look's own.
        backbone: a loaded network, or a function that loads it.

    Returns:
        (1, 3, H, W), sRGB in [0, 1], with a long side of at most 768 pixels, and no more than the
        painting would have.

    Raises:
        ImpastoError: as `paint` does.
    """
    config = config or Config()
    picture = read(content)
    run = Run.prepare(
        picture, style, preview_config(config), machine, named=named, backbone=backbone
    )
    small = run.paint().pixels
    height, width = painted_size(picture, config)
    scale = min(1.0, SHOWN / max(height, width))
    shown = resize(picture.pixels, max(1, round(height * scale)), max(1, round(width * scale)))
    return enlarged(small, gray(resize(picture.pixels, *small.shape[2:])), gray(shown))
