"""The frames of a shot that are painted, and what they say of the next one."""

from __future__ import annotations

from collections import deque

import numpy as np
import torch

from impasto.errors import PictureError
from impasto.film.flow import FlowMethod, consistency
from impasto.film.store import FilmStore
from impasto.film.warp import Warped, anchored, combined, warp

__all__ = ["Shot", "carried"]

FAR = 4  # frames back: the long-term reference between the last frame and the shot's first one


class Shot:
    """The contents of a shot that later frames refer to: its first frame and the last few.

    Frames are added in the order in which they are painted, which may be backward.
    """

    def __init__(self, number: int, content: torch.Tensor):
        """Begin with frame `number` and its content (1, 3, H, W)."""
        self._first = (number, content)
        self._last: deque[tuple[int, torch.Tensor]] = deque([self._first], FAR)

    def add(self, number: int, content: torch.Tensor) -> None:
        """Add the next frame."""
        self._last.append((number, content))

    @property
    def last(self) -> tuple[int, torch.Tensor]:
        """The number and the content of the last frame."""
        return self._last[-1]

    def references(self) -> list[tuple[int, torch.Tensor]]:
        """Numbers and contents of the frames to refer to, nearest first, each once."""
        far = [self._last[0]] if len(self._last) == FAR else []
        return list({number: (number, x) for number, x in (self.last, *far, self._first)}.values())


def carried(
    number: int, content: torch.Tensor, shot: Shot, flow: FlowMethod, store: FilmStore
) -> Warped:
    """The paintings of a shot, carried to its next frame, and where they are known.

    Args:
        number, content: of the next frame.
        shot: the frames that are painted.
        flow: computes the flow between two frames.
        store: of their paintings.

    Raises:
        PictureError: no flow is known.
    """
    here = _bytes(content)
    found: list[Warped] = []
    for other, pixels in shot.references():
        there = _bytes(pixels)
        back, forth = flow(here, there, number, other), flow(there, here, other, number)
        if back is not None and forth is not None:
            trusted = torch.from_numpy(consistency(back, forth))[None, None].float()
            found.append((warp(store.pixels(other), back), trusted))
    if not found:
        other = shot.last[0]
        raise PictureError(
            f"--flow has no flow between frames {other} and {number}: it takes both "
            f"{number:05d}-{other:05d}.flo and {other:05d}-{number:05d}.flo",
            number,
        )
    return combined(anchored(found))


def _bytes(pixels: torch.Tensor) -> np.ndarray:
    """(1, 3, H, W) in [0, 1] -> (H, W, 3) uint8."""
    values = pixels[0].mul(255).round().byte().permute(1, 2, 0)
    return np.ascontiguousarray(values.numpy())
