"""The training pictures: a folder read once into memory, and random crops of it.

A crop is taken at a random scale, mirrored, and changed in contrast, color and grain; a fifth of
the crops are blends of two, so that the network also sees textures that no photograph holds.
"""

import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}


def load_pictures(folder: Path, long_side: int = 512) -> list[torch.Tensor]:
    """Every picture under `folder` as a uint8 tensor (3, H, W), long side at most `long_side`,
    sorted by name."""
    pictures = []
    for path in sorted(p for p in Path(folder).iterdir() if p.suffix.lower() in SUFFIXES):
        with Image.open(path) as opened:
            image = ImageOps.exif_transpose(opened).convert("RGB")
        image.thumbnail((long_side, long_side), Image.Resampling.LANCZOS)
        if min(image.size) >= 64:
            pictures.append(
                torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1).contiguous()
            )
    if not pictures:
        raise SystemExit(f"no pictures of at least 64 pixels in {folder}")
    return pictures


def _crop(picture: torch.Tensor, size: int, rng: random.Random) -> torch.Tensor:
    """One crop (1, 3, size, size) in [0, 1]: a window of 0.75 to 3 times `size`, scaled to
    `size`."""
    height, width = picture.shape[1:]
    window = min(int(size * 2 ** rng.uniform(-0.4, 1.6)), height, width)
    top, left = rng.randrange(height - window + 1), rng.randrange(width - window + 1)
    crop = picture[None, :, top : top + window, left : left + window].float().div(255)
    if window != size:
        crop = F.interpolate(crop, size=(size, size), mode="bilinear", antialias=window > size)
    return crop.flip(3) if rng.random() < 0.5 else crop


def _augment(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Contrast, brightness, color shift and noise, a draw for each crop of the batch `x` (B, 3, h,
    w)."""
    batch = x.shape[0]

    def draw(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=generator)

    contrast = 0.6 + 0.8 * draw(batch, 1, 1, 1)
    shift = 0.15 * (draw(batch, 3, 1, 1) * 2 - 1) * (draw(batch, 1, 1, 1) < 0.6)
    gain = 1 + 0.25 * (draw(batch, 3, 1, 1) * 2 - 1) * (draw(batch, 1, 1, 1) < 0.6)
    mean = x.mean((2, 3), keepdim=True)
    x = ((x - mean) * contrast + mean) * gain + shift
    sigma = 0.08 * draw(batch, 1, 1, 1) * (draw(batch, 1, 1, 1) < 0.4)
    x = x + sigma * torch.randn(x.shape, generator=generator)
    blended = (draw(batch, 1, 1, 1) < 0.2).float() * draw(batch, 1, 1, 1)
    x = x * (1 - blended) + x.roll(1, 0) * blended
    return x.clamp(0, 1)


def batches(
    pictures: list[torch.Tensor],
    size: int,
    batch: int,
    seed: int,
    paintings: list[torch.Tensor] | None = None,
    share: float = 0.5,
) -> Iterator[torch.Tensor]:
    """Endless batches (batch, 3, size, size), channels last; `share` of the crops come from
    `paintings`, if any.

    Half-finished paintings go in as they are but for the mirror: their grain is what the network
    must learn to see.
    """
    rng = random.Random(seed)
    generator = torch.Generator().manual_seed(seed)
    taken = round(batch * share) if paintings else 0
    while True:
        x = torch.cat([_crop(rng.choice(pictures), size, rng) for _ in range(batch - taken)])
        x = _augment(x, generator)
        if paintings:
            painted = []
            for _ in range(taken):
                picture = rng.choice(paintings)
                height, width = picture.shape[1:]
                top, left = rng.randrange(height - size + 1), rng.randrange(width - size + 1)
                crop = picture[None, :, top : top + size, left : left + size].float().div(255)
                painted.append(crop.flip(3) if rng.random() < 0.5 else crop)
            x = torch.cat([x, *painted])
        yield x.contiguous(memory_format=torch.channels_last)
