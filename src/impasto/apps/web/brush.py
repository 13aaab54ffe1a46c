"""What is drawn on the content in the page, as masks: a colour stands for what is to happen there."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageColor

__all__ = ["COLOURS", "masks_of"]

# Far apart, also for most who see colours differently; the page names them beside the brush.
COLOURS = {"protect": "#d81b60", "style 2": "#1e88e5", "style 3": "#ffc107", "style 4": "#004d40"}
LEAST = 1e-4  # share of the picture; less is a slip of the hand


def masks_of(layers: Sequence[np.ndarray]) -> dict[str, bytes]:
    """PNGs of what was drawn in each colour, by its meaning; what is white is meant. layers: (H, W, 4), 0 to 255.

    A pixel belongs to the colour that it is nearest to, as much as it is opaque: the edge of a stroke is soft.
    """
    palette = np.array([ImageColor.getrgb(colour) for colour in COLOURS.values()], np.float32)
    found: dict[str, np.ndarray] = {}
    for layer in layers:
        nearest = np.stack([((layer[..., :3] - colour) ** 2).sum(-1) for colour in palette]).argmin(0)
        for k, name in enumerate(COLOURS):
            mask = np.where(nearest == k, layer[..., 3], 0).astype(np.uint8)
            found[name] = np.maximum(found[name], mask) if name in found else mask
    return {name: _png(mask) for name, mask in found.items() if mask.mean() / 255 >= LEAST}


def _png(mask: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(mask).save(out, "PNG")
    return out.getvalue()
