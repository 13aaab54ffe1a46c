"""The training pictures: a folder read once into memory, and random crops of it.

A crop is taken at a random scale, mirrored, and changed in contrast, color and grain; a sixth of
the crops are blends of two, so that the network also sees textures that no photograph holds.
"""

import random
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps

HELD_OUT = 60  # pictures that are not trained on


def load_pictures(folder: Path, long_side: int = 512) -> list[torch.Tensor]:
    """Read every JPEG of `folder` as a uint8 tensor (3, H, W), long side at most `long_side`,
    sorted by name."""
    pictures = []
    for path in sorted(folder.glob("*.jpg")):
        with Image.open(path) as opened:
            image = ImageOps.exif_transpose(opened).convert("RGB")
        image.thumbnail((long_side, long_side), Image.Resampling.LANCZOS)
        pictures.append(torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1).contiguous())
    if len(pictures) <= HELD_OUT:
        raise SystemExit(
            f"{folder} has {len(pictures)} pictures (*.jpg): more than {HELD_OUT} are needed"
        )
    return pictures


def split(pictures: list[torch.Tensor]) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Divide into the pictures that are trained on and the HELD_OUT ones, which are spread evenly
    over the list."""
    held = {round(k * len(pictures) / HELD_OUT) for k in range(HELD_OUT)}
    return [p for k, p in enumerate(pictures) if k not in held], [pictures[k] for k in sorted(held)]


class Crops:
    """Random crops (n, 3, size, size) of pictures, RGB in [0, 1], on `device`."""

    def __init__(self, pictures: list[torch.Tensor], size: int, seed: int, device: torch.device):
        self._pictures, self._size, self._device = pictures, size, device
        self._random = random.Random(seed)
        self._generator = torch.Generator().manual_seed(seed)

    def __call__(self, count: int, changed: bool = True) -> torch.Tensor:
        """Draw `count` crops; `changed`: in contrast, color and grain, some blended."""
        x = torch.cat([self._crop() for _ in range(count)]).to(self._device)
        if changed:
            x = self._change(x)
        return x.contiguous(memory_format=torch.channels_last)

    def noise(self, count: int) -> torch.Tensor:
        """Draw uniform noise instead of crops."""
        return torch.rand(count, 3, self._size, self._size, generator=self._generator).to(
            self._device
        )

    def _crop(self) -> torch.Tensor:
        """Cut a window of 0.6 to 3 times the crop's size, and scale it."""
        picture = self._random.choice(self._pictures)
        height, width = picture.shape[1:]
        window = min(int(self._size * 2 ** self._random.uniform(-0.7, 1.6)), height, width)
        top, left = (
            self._random.randrange(height - window + 1),
            self._random.randrange(width - window + 1),
        )
        crop = picture[None, :, top : top + window, left : left + window].float().div(255)
        if window != self._size:
            size = (self._size, self._size)
            crop = F.interpolate(crop, size=size, mode="bilinear", antialias=window > self._size)
        return crop.flip(3) if self._random.random() < 0.5 else crop

    def _change(self, x: torch.Tensor) -> torch.Tensor:
        count = len(x)

        def draw(*shape: int) -> torch.Tensor:
            return torch.rand(*shape, generator=self._generator).to(self._device)

        def normal(*shape: int) -> torch.Tensor:
            return torch.randn(*shape, generator=self._generator).to(self._device)

        mean = x.mean((2, 3), keepdim=True)
        x = (x - mean) * (0.6 + 0.8 * draw(count, 1, 1, 1)) + mean + 0.06 * normal(count, 3, 1, 1)
        blended = count // 6
        if blended:
            ratio = draw(blended, 1, 1, 1)
            mixed = ratio * x[:blended] + (1 - ratio) * x[blended : 2 * blended]
            x = torch.cat([mixed, x[blended:]])
        return (x + 0.03 * draw(count, 1, 1, 1) * normal(*x.shape)).clamp(0, 1)
