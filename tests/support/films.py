"""Films made from one photograph: every frame's flow and what is hidden are known exactly."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from impasto.images.read import read, resize
from impasto.images.samples import sample_portrait

__all__ = ["MOTIONS", "MadeFilm", "photograph"]


def photograph(height: int, width: int, path: Path | None = None) -> torch.Tensor:
    """The sample photograph, or another one, at twice the size of the films; (1, 3, 2h, 2w)."""
    pixels = read(path or sample_portrait()).pixels
    rows, columns = pixels.shape[2:]
    scale = max(2 * height / rows, 2 * width / columns)
    pixels = resize(pixels, round(rows * scale), round(columns * scale))
    return pixels[:, :, : 2 * height, : 2 * width]


def _camera(
    t: float, height: int, width: int, pan: float, down: float, zoom: float, turn: float
) -> np.ndarray:
    """(2, 3): where in the photograph the pixel (x, y) of frame t lies, in its pixels."""
    scale, angle = math.exp(zoom * t), turn * t
    rotation = scale * np.array(
        [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    )
    middle = np.array([(width - 1) / 2, (height - 1) / 2])
    target = np.array([width - 0.5, height - 0.5]) + t * np.array([pan, down])
    return np.concatenate([rotation, (target - rotation @ middle)[:, None]], 1)


@dataclass(frozen=True)
class MadeFilm:
    """A film of a camera that moves over a photograph; a disc cut out of it may move in front.

    photo: (1, 3, 2h, 2w). pan, down: pixels a frame. zoom: logarithm of the scale a frame. turn:
    radians a frame. disc: pixels a frame that the cut-out moves to the right; None: there is none.
    """

    photo: torch.Tensor
    pan: float = 0.0
    down: float = 0.0
    zoom: float = 0.0
    turn: float = 0.0
    disc: float | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of a frame."""
        return self.photo.shape[2] // 2, self.photo.shape[3] // 2

    def frame(self, t: int) -> torch.Tensor:
        """Frame t, (1, 3, h, w) in [0, 1]."""
        places = np.where(self._inside(t)[..., None], self._of_disc(t), self._of_scene(t))
        rows, columns = self.photo.shape[2:]
        grid = torch.from_numpy((2 * places + 1) / [columns, rows] - 1).float()[None]
        sampled = F.grid_sample(
            self.photo, grid, mode="bicubic", padding_mode="border", align_corners=False
        )
        return sampled.clamp(0, 1)

    def flow(self, here: int, there: int) -> np.ndarray:
        """Where the pixels of frame `here` are in frame `there`, less where they are; (h, w, 2)."""
        height, width = self.size
        camera = _padded(self._camera(there))
        places = self._of_scene(here)
        back = np.linalg.inv(camera)
        scene = places @ back[:2, :2].T + back[:2, 2] - _pixels(height, width)
        disc = np.broadcast_to([(self.disc or 0.0) * (there - here), 0.0], scene.shape)
        return np.where(self._inside(here)[..., None], disc, scene).astype(np.float32)

    def visible(self, here: int, there: int) -> np.ndarray:
        """Which pixels of frame `here` can be seen in frame `there`; (h, w)."""
        height, width = self.size
        target = _pixels(height, width) + self.flow(here, there)
        x, y = target[..., 0], target[..., 1]
        seen = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
        return seen & (self._inside(here) | ~self._covers(there, target))

    def _camera(self, t: int) -> np.ndarray:
        return _camera(t, *self.size, self.pan, self.down, self.zoom, self.turn)

    def _of_scene(self, t: int) -> np.ndarray:
        camera = self._camera(t)
        return _pixels(*self.size) @ camera[:, :2].T + camera[:, 2]

    def _middle(self, t: int) -> np.ndarray:
        height, width = self.size
        return np.array([0.3 * width + (self.disc or 0.0) * t, 0.6 * height])

    def _covers(self, t: int, places: np.ndarray) -> np.ndarray:
        if self.disc is None:
            return np.zeros(places.shape[:2], bool)
        radius = 0.2 * min(self.size)
        return np.square(places - self._middle(t)).sum(-1) < radius**2

    def _inside(self, t: int) -> np.ndarray:
        return self._covers(t, _pixels(*self.size))

    def _of_disc(self, t: int) -> np.ndarray:
        """The disc is the upper left part of the photograph's middle, the face of the sample."""
        height, width = self.size
        return _pixels(height, width) - self._middle(t) + [0.8 * width, 0.55 * height]


def _pixels(height: int, width: int) -> np.ndarray:
    return np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1).astype(float)


def _padded(camera: np.ndarray) -> np.ndarray:
    return np.concatenate([camera, [[0, 0, 1]]])


MOTIONS = {
    "pan": partial(MadeFilm, pan=1.7, down=0.6),
    "zoom": partial(MadeFilm, zoom=-0.015),
    "turn": partial(MadeFilm, turn=0.02),
    "disc": partial(MadeFilm, pan=0.8, disc=2.3),
}
