"""Small versions of pictures for the page."""

from __future__ import annotations

import io

import torch
from PIL import Image

from impasto.images.read import read_bytes, resize
from impasto.images.write import to_image

FRAME_SIDE, SHOWN_SIDE = 768, 1600  # pixels: of a live picture; of the two compared at the end


def reduced(pixels: torch.Tensor, height: int, width: int, most: int = SHOWN_SIDE) -> Image.Image:
    """`pixels` (1, 3, H, W), sRGB in [0, 1], resized to height x width, or to a smaller size of
    that shape with at most `most` pixels on the long side."""
    scale = min(1.0, most / max(height, width))
    return to_image(resize(pixels, max(1, round(height * scale)), max(1, round(width * scale))))


def jpeg(pixels: torch.Tensor, most: int) -> bytes:
    """A JPEG of `pixels` (1, 3, H, W), sRGB in [0, 1], at most `most` pixels on its long side."""
    out = io.BytesIO()
    reduced(pixels, pixels.shape[2], pixels.shape[3], most).save(out, "JPEG", quality=85)
    return out.getvalue()


def thumbnail(data: bytes, name: str, most: int) -> Image.Image:
    """The picture with a long side of FRAME_SIDE pixels, so that a brush has one size on the page.

    Raises PictureError, also for a picture of more than `most` pixels.
    """
    pixels = read_bytes(data, name, most, 2 * FRAME_SIDE).pixels
    height, width = pixels.shape[2:]
    scale = FRAME_SIDE / max(height, width)
    return to_image(resize(pixels, max(1, round(height * scale)), max(1, round(width * scale))))
