"""Read masks: which style goes where, and what is protected."""

from __future__ import annotations

from impasto.errors import PictureError
from impasto.images.read import Picture, Source, read

__all__ = ["NOTHING", "read_mask", "shape_note"]

NOTHING = 1e-4  # share of a picture below which a mask covers nothing: 26 of 512 x 512 pixels
SAME_SHAPE = 0.02  # proportions that differ by less are rounding


def read_mask(source: Source) -> Picture:
    """Read a mask: the returned picture's `alpha` (1, 1, H, W) in [0, 1] is its transparency, or
    else its brightness.

    Raises PictureError if it cannot be read or covers nothing.
    """
    picture = read(source)
    mask = picture.alpha if picture.alpha is not None else picture.pixels.mean(1, keepdim=True)
    if float(mask.mean()) < NOTHING:
        raise PictureError(
            f"the mask {picture.name} covers next to nothing: white, or opaque, is the region",
            picture.name,
        )
    return picture._replace(alpha=mask)


def shape_note(mask: Picture, of: Picture) -> str:
    """A note about a mask of other proportions than its picture, or ""."""
    (height, width), (rows, columns) = mask.pixels.shape[2:], of.pixels.shape[2:]
    if abs(width * rows / (height * columns) - 1) < SAME_SHAPE:
        return ""
    return (
        f"the mask {mask.name} ({width} x {height}) was squeezed to the shape of {of.name} "
        f"({columns} x {rows})"
    )
