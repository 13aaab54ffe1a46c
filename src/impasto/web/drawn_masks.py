"""What is drawn on the content in the page, as masks: a colour stands for what is to happen
there."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageColor

__all__ = ["COLORS", "masks_of"]

# The corners of a tetrahedron in RGB, nearly: half way between two of them no third one is near.
# Light and dark differ, for those who see colours differently; the page names them beside the
# brush.
COLORS = {"protect": "#e0189a", "style 2": "#00a8e8", "style 3": "#ffd500", "style 4": "#111111"}
LEAST = 1e-4  # share of the picture; less is a slip of the hand


def masks_of(layers: Sequence[np.ndarray]) -> dict[str, bytes]:
    """PNGs of what was drawn in each colour, by its meaning; what is white is meant.

    layers: (H, W, 4), 0 to 255, the lowest first; a higher one covers those below. A pixel belongs
    to the colour that it is nearest to, as much as it is opaque: the edge of a stroke is soft.
    """
    palette = np.array([ImageColor.getrgb(colour) for colour in COLORS.values()], np.float32)
    found: dict[str, np.ndarray] = {}
    for layer in layers:
        nearest = np.stack([((layer[..., :3] - colour) ** 2).sum(-1) for colour in palette]).argmin(
            0
        )
        for k, name in enumerate(COLORS):
            mask, opacity = (nearest == k) * (layer[..., 3] / 255), layer[..., 3] / 255
            found[name] = mask + found[name] * (1 - opacity) if name in found else mask
    return {name: _png(mask) for name, mask in found.items() if mask.mean() >= LEAST}


def _png(mask: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray((mask * 255).round().astype(np.uint8)).save(out, "PNG")
    return out.getvalue()
