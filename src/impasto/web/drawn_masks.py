"""Masks from what is drawn on the content in the page: each color has a meaning."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageColor

__all__ = ["COLORS", "MEANINGS", "masks_of"]

# Nearly the corners of a tetrahedron in RGB: half way between two of them no third one is near.
# Light and dark differ, for those who see colors differently; the page names them beside the brush.
COLORS = {"protect": "#e0189a", "style 2": "#00a8e8", "style 3": "#ffd500", "style 4": "#111111"}
MEANINGS = {
    name: "stays as it is" if name == "protect" else f"is painted as {name}" for name in COLORS
}
LEAST = 1e-4  # share of the picture: smaller strokes are ignored


def masks_of(layers: Sequence[np.ndarray]) -> dict[str, bytes]:
    """Masks as PNGs, white where something was drawn, by the color's meaning.

    layers: (H, W, 4), 0 to 255, the lowest first; a higher one covers those below. A pixel belongs
    to the nearest color, as much as it is opaque: strokes have soft edges.
    """
    palette = np.array([ImageColor.getrgb(color) for color in COLORS.values()], np.float32)
    masks: dict[str, np.ndarray] = {}
    for layer in layers:
        distances = [((layer[..., :3] - color) ** 2).sum(-1) for color in palette]
        nearest, opacity = np.stack(distances).argmin(0), layer[..., 3] / 255  # both (H, W)
        for k, name in enumerate(COLORS):
            mask = (nearest == k) * opacity
            masks[name] = mask + masks[name] * (1 - opacity) if name in masks else mask
    return {name: _png(mask) for name, mask in masks.items() if mask.mean() >= LEAST}


def _png(mask: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray((mask * 255).round().astype(np.uint8)).save(out, "PNG")
    return out.getvalue()
