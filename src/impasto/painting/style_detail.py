"""Find the detail that a painting gets from its styles when it is enlarged for the next level."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F

from impasto.images.read import resize
from impasto.objective.regions import Region, StyleSource, normalized
from impasto.solver.preconditioner import without_weave

__all__ = ["style_detail"]

BLOCK = 4  # side, in pixels of the smaller painting, of what is taken from a style in one piece
RADIUS = 3  # pixels around a block that are compared, too
SIDE = BLOCK + 2 * RADIUS  # of the patches that are compared; they have 300 numbers
MOST = 4096  # patches that a block chooses from
SHARE = 0.3  # of a style's detail; with more of it faces lose more than etchings gain


class _Source(NamedTuple):
    """A style that patches are taken from, at the painting's smaller size.

    small: (1, 3, h, w). detail: what the style shows at its full size and not at this one,
    (1, 3, H, W). places: where a patch may begin, (n, 2) rows and columns. weight: among the
    region's styles.
    """

    small: torch.Tensor
    detail: torch.Tensor
    places: torch.Tensor
    weight: float


class _Patches(NamedTuple):
    """Patches of a region's styles, for blocks to choose from.

    values: (n, 300). squares: of their lengths, (n,). source: the number of the style that each is
    from, (n,). places: where its block begins there, (n, 2).
    """

    values: torch.Tensor
    squares: torch.Tensor
    source: torch.Tensor
    places: torch.Tensor

    def nearest(self, patches: torch.Tensor) -> torch.Tensor:
        """The numbers of those that are most like `patches` (m, 300); (m,)."""
        return torch.addmm(self.squares, patches, self.values.mT, alpha=-2).argmin(1)


def style_detail(
    painting: torch.Tensor, regions: Sequence[Region], height: int, width: int
) -> torch.Tensor:
    """Find detail for a painting that is enlarged: where it looks like a style, the style's own.

    Each block of the painting finds the patch of the style that is most like it and what is around
    it, and gets a part of what that one shows at the style's full size and not at the smaller one
    (Freeman, Jones & Pasztor 2002, "Example-based super-resolution"). Without it an enlarged
    painting is blurred, and the level's first steps go into making strokes sharp.

    Args:
        painting: (1, 3, h, w) in [0, 1].
        regions: of the content, with masks of height x width pixels and styles as large as they
            are painted at that size.
        height, width: the size that the painting is enlarged to, in pixels.

    Returns:
        What to add to the enlarged painting, (1, 3, height, width), without a weave of two pixels.

    Example:
        sharp = resize(painting, 512, 512) + style_detail(painting, regions, 512, 512)
    """
    detail = painting.new_zeros(1, 3, height, width)
    generator = torch.Generator().manual_seed(0)
    scale = painting.shape[2] / height, painting.shape[3] / width
    for region in regions:
        styles = (_source(style, scale) for style in normalized(region.styles, ""))
        sources = [source for source in styles if source is not None]
        if sources:
            # neighbors choose from different patches: where nothing fits, all would choose the same
            choices = [[_drawn(sources, generator) for _ in range(2)] for _ in range(2)]
            found = _found(painting, choices, sources, height, width)
            detail += found if region.mask is None else region.mask * found
    return SHARE * without_weave(detail)


def _source(style: StyleSource, scale: tuple[float, float]) -> _Source | None:
    """Scale a style down; None if it has no patch there, or none that its mask covers."""
    full = style.pixels.shape[2:]
    height, width = (round(factor * side) for factor, side in zip(scale, full, strict=True))
    if min(height, width) < BLOCK:
        return None
    allowed = torch.ones(height - BLOCK + 1, width - BLOCK + 1, dtype=torch.bool)
    if style.mask is not None:
        least = -F.max_pool2d(-resize(style.mask, height, width), BLOCK, 1)  # in each block
        allowed = least[0, 0] >= 0.5
    places = allowed.to(style.pixels.device).nonzero()
    if not len(places):
        return None
    small = resize(style.pixels, height, width)
    return _Source(small, style.pixels - resize(small, *full), places, style.weight)


def _drawn(sources: Sequence[_Source], generator: torch.Generator) -> _Patches:
    """Draw up to MOST patches of styles, by their weights."""
    values, places = [], []
    for source in sources:
        most = max(1, round(source.weight * MOST))
        drawn = torch.randperm(len(source.places), generator=generator)[:most]
        chosen = source.places[drawn.to(source.places.device)]
        row, column = chosen.unbind(1)
        padded = F.pad(source.small, (RADIUS,) * 4, mode="replicate")[0]
        parts = [padded[:, row + i, column + j] for i in range(SIDE) for j in range(SIDE)]
        values.append(torch.stack(parts).permute(2, 1, 0).flatten(1))
        places.append(chosen)
    number = torch.cat([torch.full_like(each[:, 0], k) for k, each in enumerate(places)])
    patches = torch.cat(values)
    return _Patches(patches, patches.square().sum(1), number, torch.cat(places))


def _found(
    painting: torch.Tensor,
    choices: Sequence[Sequence[_Patches]],
    sources: Sequence[_Source],
    height: int,
    width: int,
) -> torch.Tensor:
    """The detail of the most similar patch at every block, (1, 3, height, width).

    choices: the patches for the blocks of even and odd rows, of even and odd columns.
    """
    found = painting.new_empty(1, 3, height, width)
    padded = F.pad(painting, (RADIUS,) * 4, mode="replicate")[0]
    rows, tops, down = _blocks(height, painting.shape[2], painting.device)
    columns, lefts, across = _blocks(width, painting.shape[3], painting.device)
    around = lefts[:, None] + torch.arange(SIDE, device=painting.device)  # (blocks, 10)
    sizes = rows.bincount().tolist()  # how many pixels of the result a row of blocks is high
    strips = torch.split(found[0], sizes, 1), torch.split(down, sizes)
    for row, (top, strip, down_here) in enumerate(zip(tops.tolist(), *strips, strict=True)):
        patches = padded[:, top : top + SIDE, around].permute(2, 0, 1, 3).flatten(1)
        source, places = torch.empty_like(lefts), lefts.new_empty(len(lefts), 2)
        for parity, choice in enumerate(choices[row % 2]):
            nearest = choice.nearest(patches[parity::2])
            source[parity::2], places[parity::2] = choice.source[nearest], choice.places[nearest]
        top_there, left_there = places[columns].unbind(1)
        down_there = top_there + down_here[:, None]  # (pixels of the strip, width)
        across_there = (left_there + across).expand_as(down_there)
        for number, style in enumerate(sources):
            copied = _sampled(style, down_there, across_there)
            strip.copy_(torch.where(source[columns] == number, copied, strip))
    return found


def _blocks(
    count: int, small: int, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Cut a line of `small` pixels into blocks, the last of which may overlap.

    Returns, for each of `count` pixels of the same line when it is enlarged, the number of its
    block; where each block begins; and how far into its block each pixel is, in smaller pixels.
    """
    begins = torch.arange(0, small, BLOCK, device=device).clamp_max(max(0, small - BLOCK))
    place = (torch.arange(count, device=device) + 0.5) * small / count
    block = (place / BLOCK).long()
    return block, begins, place - begins[block]


def _sampled(style: _Source, down: torch.Tensor, across: torch.Tensor) -> torch.Tensor:
    """A style's detail at places (h, w) in its smaller size; (3, h, w)."""
    (height, width), (small_height, small_width) = style.detail.shape[2:], style.small.shape[2:]
    row = (down * height / small_height).long().clamp(0, height - 1)
    column = (across * width / small_width).long().clamp(0, width - 1)
    return style.detail[0][:, row, column]
