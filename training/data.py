"""The training pictures: a folder read once into memory, and random crops of it.

A crop is taken at a random scale, mirrored, and changed in contrast, color and grain; a sixth of
the crops are blends of two, so that the network also sees textures that no photograph holds.
Everything after reading happens on the training's device, a whole batch at once.
"""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps

HELD_OUT = 60  # pictures that are not trained on
LONG_SIDE = 512
SCALES = (-0.7, 1.6)  # a crop shows 2^-0.7 to 2^1.6 times as many pixels a side as it has
HALVED = 1.5  # from this many times on, it is taken from the picture at half its size


def load_pictures(folder: Path) -> list[torch.Tensor]:
    """Read every JPEG of `folder` as a uint8 tensor (3, H, W), long side at most LONG_SIDE,
    sorted by name."""
    with ThreadPoolExecutor() as pool:
        pictures = list(pool.map(_load, sorted(folder.glob("*.jpg"))))
    if len(pictures) <= HELD_OUT:
        raise SystemExit(
            f"{folder} has {len(pictures)} pictures (*.jpg): more than {HELD_OUT} are needed"
        )
    return pictures


def _load(path: Path) -> torch.Tensor:
    with Image.open(path) as opened:
        image = ImageOps.exif_transpose(opened).convert("RGB")
    image.thumbnail((LONG_SIDE, LONG_SIDE), Image.Resampling.LANCZOS)
    return torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1).contiguous()


def split(pictures: list[torch.Tensor]) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Divide into the pictures that are trained on and the HELD_OUT ones, which are spread evenly
    over the list."""
    held = {round(k * len(pictures) / HELD_OUT) for k in range(HELD_OUT)}
    return [p for k, p in enumerate(pictures) if k not in held], [pictures[k] for k in sorted(held)]


class Pictures:
    """Pictures of different sizes in one tensor on a device, at full and at half size.

    full: (n, 3, LONG_SIDE, LONG_SIDE) uint8, each in its upper left corner and continued from
    there by its border. half: the same, averaged over 2 x 2. sizes: (n, 2), heights and widths.
    """

    def __init__(self, pictures: list[torch.Tensor], device: torch.device):
        self.sizes = torch.tensor([picture.shape[1:] for picture in pictures], device=device)
        full, half = [], []
        for picture in pictures:
            right, bottom = (LONG_SIDE - side for side in (picture.shape[2], picture.shape[1]))
            padded = F.pad(picture[None].float(), (0, right, 0, bottom), mode="replicate")
            full.append(padded.byte())
            half.append(F.avg_pool2d(padded, 2).round().byte())
        self.full, self.half = torch.cat(full).to(device), torch.cat(half).to(device)


class Crops:
    """Random crops (n, 3, size, size) of pictures, RGB in [0, 1], on their device."""

    def __init__(self, pictures: Pictures, size: int, seed: int):
        self._pictures, self._size = pictures, size
        self._device = pictures.full.device
        self._generator = torch.Generator(self._device).manual_seed(seed)

    def _uniform(self, *shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=self._generator, device=self._device)

    def _normal(self, *shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=self._generator, device=self._device)

    def __call__(self, count: int, changed: bool = True) -> torch.Tensor:
        """Draw `count` crops; `changed`: in contrast, color and grain, some blended."""
        x = self._windows(count)
        if changed:
            x = self._change(x)
        return x.contiguous(memory_format=torch.channels_last)

    def noise(self, count: int) -> torch.Tensor:
        """Draw uniform noise instead of crops."""
        return self._uniform(count, 3, self._size, self._size)

    def _windows(self, count: int) -> torch.Tensor:
        """Cut a random window of each of `count` random pictures, scaled to the crop's size."""
        pictures, size = self._pictures, self._size
        chosen = (self._uniform(count) * len(pictures.sizes)).long()
        sides = pictures.sizes[chosen]  # (count, 2)
        low, high = SCALES
        window = size * 2 ** (low + (high - low) * self._uniform(count))
        window = window.minimum(sides.amin(1))
        corner = self._uniform(count, 2) * (sides - window[:, None])
        across = torch.where(self._uniform(count) < 0.5, -1.0, 1.0)  # mirrored or not
        step = torch.arange(size, device=self._device) + 0.5 - size / 2
        scale = window / size
        ys, xs = (
            corner[:, k, None] + window[:, None] / 2 + step * factor[:, None]
            for k, factor in ((0, scale), (1, scale * across))
        )
        grid = torch.stack(
            [
                xs[:, None, :].expand(count, size, size),
                ys[:, :, None].expand(count, size, size),
            ],
            3,
        )
        full, half = (
            F.grid_sample(
                held[chosen].float().div_(255),
                2 * grid / LONG_SIDE - 1,
                mode="bilinear",
                padding_mode="border",
                align_corners=False,
            )
            for held in (pictures.full, pictures.half)
        )
        return torch.where((scale > HALVED)[:, None, None, None], half, full)

    def _change(self, x: torch.Tensor) -> torch.Tensor:
        count, uniform, normal = len(x), self._uniform, self._normal
        mean = x.mean((2, 3), keepdim=True)
        x = (x - mean) * (0.6 + 0.8 * uniform(count, 1, 1, 1)) + mean
        x = x + 0.06 * normal(count, 3, 1, 1)
        blended = count // 6
        if blended:
            ratio = uniform(blended, 1, 1, 1)
            mixed = ratio * x[:blended] + (1 - ratio) * x[blended : 2 * blended]
            x = torch.cat([mixed, x[blended:]])
        return (x + 0.03 * uniform(count, 1, 1, 1) * normal(*x.shape)).clamp(0, 1)
