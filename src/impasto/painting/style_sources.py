"""Make style sources of pictures: without their margins, with transparency as the mask."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from impasto.config import Config
from impasto.errors import PictureError
from impasto.images.color import gray, match_lightness, match_mean, match_moments
from impasto.images.margins import Box, is_flat, opaque_box, picture_box
from impasto.images.masks import NOTHING
from impasto.images.read import Picture, resize
from impasto.objective.regions import Region, StyleSource
from impasto.painting.levels import style_size
from impasto.painting.pyramid import Level

__all__ = ["beginning", "recolored", "source_of", "style_notes", "visible"]

# of the content's own colors that a flat beginning has: on pure white, where no pixel can become
# lighter, the solver would not move
TRACE = 0.04
ENLARGED = 2.0  # times: from here on the style is said to be small


def visible(picture: Picture) -> torch.Tensor | None:
    """Return a picture's transparency (1, 1, H, W), or None if it is opaque.

    Raises PictureError if nothing of the picture is seen.
    """
    if picture.alpha is not None and float(picture.alpha.mean()) < NOTHING:
        raise PictureError(
            f"{picture.name} is fully transparent: there is no style to take from it", picture.name
        )
    return picture.alpha


def source_of(
    picture: Picture, config: Config, notes: list[str], area: torch.Tensor | None = None
) -> StyleSource:
    """Make the style source of a picture.

    Its mask is its transparency, times `area`. Its margins are trimmed unless the config keeps
    them, or an area is given: that is another choice of what is meant.

    Args:
        picture: the style picture.
        config: the settings.
        notes: remarks are added here.
        area: what of the picture is meant, (1, 1, h, w) of any size; None: all of it.

    Raises:
        PictureError: the picture is fully transparent, or nothing of the area is seen.
    """
    pixels, mask = picture.pixels, visible(picture)
    if area is not None and mask is not None:
        mask = mask * resize(area, *mask.shape[2:])
        if float(mask.mean()) < NOTHING:
            raise PictureError(
                f"{picture.name} is transparent where its mask is white: there is no style to "
                "take from it",
                picture.name,
            )
    elif area is not None:
        mask = area
    elif config.style_crop == "auto":
        kind = "plain" if mask is None else "transparent"
        box = picture_box(pixels) if mask is None else opaque_box(mask)
        if box and box.area < pixels.shape[2] * pixels.shape[3]:
            notes.append(_crop_note(picture, box, kind))
            pixels, mask = box.cut(pixels), None if mask is None else box.cut(mask)
    return StyleSource(pixels.contiguous(), mask=mask, name=picture.name)


def _crop_note(picture: Picture, box: Box, kind: str) -> str:
    (height, width), decoded = picture.full_size, picture.pixels.shape[2:]
    down, across = height / decoded[0], width / decoded[1]
    kept = round((box.right - box.left) * across), round((box.bottom - box.top) * down)
    return (
        f"{picture.name} has a {kind} margin: trimmed, {kept[0]} x {kept[1]} of {width} x {height} "
        "pixels are the style (--style-crop none keeps the margin)"
    )


def recolored(
    regions: Sequence[Region], content: Picture, palette: Picture | None, config: Config
) -> list[Region]:
    """Transfer colors to the styles of regions: the palette's, the content's, or none.

    A flat style only gets their mean: contrasts would be made of its noise.

    Args:
        regions: with their styles.
        content: the content.
        palette: the picture that the config names so, if any; it must not be fully transparent.
        config: the settings.
    """
    target = content if palette is None or config.color == "luminance" else palette
    if palette is None and config.color == "style":
        return list(regions)
    alpha = _seen_of(content) if target is content else visible(target)

    def recolor(style: StyleSource) -> StyleSource:
        weights = style.mask, alpha
        if is_flat(style.pixels, style.mask):
            pixels = match_mean(style.pixels, target.pixels, *weights)
            pixels = gray(pixels) if config.color == "luminance" else pixels
        elif config.color == "luminance":
            pixels = match_lightness(style.pixels, target.pixels, *weights)
        else:
            pixels = match_moments(style.pixels, target.pixels, config.color_match, *weights)
        return style._replace(pixels=pixels)

    return [region._replace(styles=[recolor(s) for s in region.styles]) for region in regions]


def _seen_of(content: Picture) -> torch.Tensor | None:
    """The content's transparency as weights: all alike where nothing of it is seen."""
    alpha = content.alpha
    return None if alpha is None or float(alpha.mean()) < NOTHING else alpha


def style_notes(regions: Sequence[Region], config: Config, last: Level) -> list[str]:
    """Remarks on styles that are small or flat.

    Args:
        regions: with their styles.
        config: the settings.
        last: the last level of the run.
    """
    notes = []
    for style in (style for region in regions for style in region.styles):
        height, width = style.pixels.shape[2:]
        rows, columns = style_size(last, style, config, last)
        times = max(rows / height, columns / width)
        if times >= ENLARGED:
            notes.append(
                f"{style.name} has only {width} x {height} pixels, enlarged {times:.1f} times: its "
                "strokes will be blurred; give a larger picture or a smaller --style-scale"
            )
        if is_flat(style.pixels, style.mask):
            notes.append(
                f"{style.name} is nearly one color: the painting begins in it and has few strokes"
            )
    return notes


def beginning(content: Picture, regions: Sequence[Region]) -> torch.Tensor:
    """Return the content as the painting begins with it, (1, 3, H, W).

    Where all styles of a region are flat it has the colors of the first: from the content's own
    colors a flat style is so far away, in units of the little that it has, that no solver arrives.

    Args:
        content: the content.
        regions: with masks of any size, and the styles after color transfer.
    """
    pixels = content.pixels
    for region in regions:
        if not all(is_flat(style.pixels, style.mask) for style in region.styles):
            continue
        style = region.styles[0]
        colored = match_moments(
            content.pixels, style.pixels, weights=_seen_of(content), target_weights=style.mask
        )
        colored = colored + TRACE * (content.pixels - colored)
        if region.mask is None:
            return colored
        pixels = pixels + resize(region.mask, *pixels.shape[2:]) * (colored - content.pixels)
    return pixels
