"""A quick look at a painting: small and by few steps, enlarged, with the content's detail."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate

import torch

from impasto.backbone.load import load_backbone
from impasto.backbone.vgg import Backbone
from impasto.config import Config, Machine
from impasto.images.color import gray
from impasto.images.read import Picture, Source, read, resize
from impasto.painting.levels import enlarged, painted_size
from impasto.painting.run import Run
from impasto.presets import quick

__all__ = ["SHOWN", "preview", "preview_config", "previews"]

SIDE = 224  # pixels on the long side of what is painted
STEPS = 10
FINER = 2  # times that size, for who waits; the steps of the smaller levels stay the same
FINER_STEPS = 4  # more
SHOWN = 768  # pixels on the long side of what is shown


def preview_config(config: Config) -> Config:
    """The settings of the quick look: small, with few steps, none of them by the true network."""
    return quick(config.changed(size=SIDE, size_of="long", steps=STEPS, finish=0))


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
    return _shown(run.paint().pixels, picture, config)


def previews(
    content: Picture,
    styles: Sequence[Picture],
    config: Config,
    machine: Machine,
    *,
    named: Mapping[str, Source],
    backbone: Callable[[Config, Machine], Backbone],
    wanted: Callable[[], bool],
) -> Iterator[torch.Tensor]:
    """Yield quick looks as `preview` makes them, each finer: after each level of a painting that
    is twice as large in the end.

    wanted: asked before every step; when it returns False, there are no more.
    """
    finer = preview_config(config).changed(size=FINER * SIDE, steps=STEPS + FINER_STEPS)
    run = Run.prepare(content, styles, finer, machine, named=named, backbone=backbone)
    ends = set(accumulate(level.steps for level in run.problem.levels))
    for step in run.steps():
        if step.number in ends:
            yield _shown(run.painting(step).pixels, content, config)
        if not wanted():
            return


def _shown(painted: torch.Tensor, content: Picture, config: Config) -> torch.Tensor:
    """A small painting at the size of a screen, with the content's detail."""
    height, width = painted_size(content, config)
    scale = min(1.0, SHOWN / max(height, width))
    shown = resize(content.pixels, max(1, round(height * scale)), max(1, round(width * scale)))
    return enlarged(painted, gray(resize(content.pixels, *painted.shape[2:])), gray(shown))
