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

RADIUS = 2  # patches of 5 x 5 pixels are compared
MOST = 4096  # patches of a region's styles, of which each pixel finds the most similar one
DIRECTIONS = 20  # principal components of the patches that are compared; they have 75 numbers
AT_ONCE = 4096  # pixels whose distances to all patches are in memory at once
SMALLEST = 2 * RADIUS + 1  # side of a style that still holds a patch
# Of a style's detail. Whole, it hides the photograph's things; between a third and all of it the
# objective ends equally low (docs/speed.md).
SHARE = 0.5


class _Patches(NamedTuple):
    """Patches of one style, at the size of the painting before it is enlarged.

    values: (n, 75). rows, columns: their centers, (n,). detail (1, 3, H, W): what the style shows
    at its full size and not at this one. scale: the smaller size over the full one, down and
    across.
    """

    values: torch.Tensor
    rows: torch.Tensor
    columns: torch.Tensor
    detail: torch.Tensor
    scale: tuple[float, float]


def style_detail(
    painting: torch.Tensor, regions: Sequence[Region], height: int, width: int
) -> torch.Tensor:
    """Find detail for a painting that is enlarged: where it looks like a style, the style's own.

    Each pixel of the painting finds the patch of the style that is most like the patch around it,
    and gets half of what that one's middle shows at the style's full size and not at the smaller
    one (Freeman, Jones & Pasztor 2002, "Example-based super-resolution"). Without it an enlarged
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
    for region in regions:
        patches = _patches(region.styles, painting.shape[2] / height, painting.shape[3] / width)
        if patches:
            found = _found(painting, patches, height, width)
            detail += found if region.mask is None else region.mask * found
    return SHARE * without_weave(detail)


def _patches(styles: Sequence[StyleSource], down: float, across: float) -> list[_Patches]:
    """Draw up to MOST patches of the styles that give pixels, by their weights."""
    drawn = []
    generator = torch.Generator().manual_seed(0)
    for style in normalized(styles, ""):
        full = style.pixels
        height, width = round(down * full.shape[2]), round(across * full.shape[3])
        if min(height, width) < SMALLEST:
            continue
        small = resize(full, height, width)
        places = torch.randperm(height * width, generator=generator).to(full.device)
        if style.mask is not None:
            inside = resize(style.mask, height, width).flatten() >= 0.5
            places = places[inside[places]]
        places = places[: max(1, round(style.weight * MOST))]
        rows, columns = places // width, places % width
        scale = height / full.shape[2], width / full.shape[3]
        detail = full - resize(small, *full.shape[2:])
        drawn.append(_Patches(_around(small, rows, columns), rows, columns, detail, scale))
    return [patches for patches in drawn if len(patches.rows)]


def _around(x: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """The patches (n, 75) of an image (1, 3, h, w) around pixels."""
    padded = _padded(x)[0]
    side = range(SMALLEST)
    return torch.cat([padded[:, rows + i, columns + j] for i in side for j in side]).mT.contiguous()


def _padded(x: torch.Tensor) -> torch.Tensor:
    return F.pad(x, (RADIUS,) * 4, mode="replicate")


def _found(
    painting: torch.Tensor, patches: Sequence[_Patches], height: int, width: int
) -> torch.Tensor:
    """The detail of the most similar patch at every pixel, (1, 3, height, width)."""
    values = torch.cat([each.values for each in patches])
    mean = values.mean(0)
    _, directions = torch.linalg.eigh((values - mean).mT @ (values - mean))
    directions = directions[:, -DIRECTIONS:]  # (75, 20): those of the largest eigenvalues
    known = (values - mean) @ directions
    filters = directions.mT.view(-1, SMALLEST, SMALLEST, 3).permute(0, 3, 1, 2).contiguous()
    padded, offset = _padded(painting), mean @ directions
    sizes = known.square().sum(1)
    rows, row_offsets = _nearest_pixels(height, painting.shape[2], painting.device)
    columns, column_offsets = _nearest_pixels(width, painting.shape[3], painting.device)
    strip = max(1, AT_ONCE // painting.shape[3])  # rows of the painting
    found = painting.new_empty(1, 3, height, width)
    for top in range(0, painting.shape[2], strip):
        bottom = min(painting.shape[2], top + strip)
        seen = F.conv2d(padded[:, :, top : bottom + 2 * RADIUS], filters)[0].flatten(1)  # (20, n)
        seen -= offset[:, None]
        nearest = torch.addmm(sizes, seen.mT, known.mT, alpha=-2).argmin(1).view(bottom - top, -1)
        here = (rows >= top) & (rows < bottom)
        chosen = nearest[rows[here] - top][:, columns]
        found[0][:, here] = _copied(patches, chosen, row_offsets[here], column_offsets)
    return found


def _nearest_pixels(
    count: int, small: int, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """For each of `count` pixels in a line the nearest of `small`, and how far it is from there."""
    center = torch.arange(count, device=device) + 0.5
    nearest = (center * small / count).floor().long().clamp_max(small - 1)
    return nearest, center - (nearest + 0.5) * count / small


def _copied(
    patches: Sequence[_Patches], chosen: torch.Tensor, down: torch.Tensor, across: torch.Tensor
) -> torch.Tensor:
    """The details (3, h, w) at the centers of the chosen patches (h, w), `down` (h,) and `across`
    (w,) pixels away from them."""
    copied = patches[0].detail.new_empty(3, *chosen.shape)
    first = 0
    for style in patches:
        last = first + len(style.rows)
        here = (chosen >= first) & (chosen < last)
        number = chosen.clamp(first, last - 1) - first
        height, width = style.detail.shape[2:]
        row = (style.rows[number] + 0.5) / style.scale[0] + down[:, None]
        column = (style.columns[number] + 0.5) / style.scale[1] + across
        row, column = row.long().clamp(0, height - 1), column.long().clamp(0, width - 1)
        copied = torch.where(here, style.detail[0][:, row, column], copied)
        first = last
    return copied
