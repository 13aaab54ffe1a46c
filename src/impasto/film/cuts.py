"""Find the cuts of a clip: the frames at which another shot begins."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from statistics import median
from typing import NamedTuple

import numpy as np
from PIL import Image

from impasto.film.clip import ClipFrame

__all__ = ["jump", "marked_cuts", "proxy"]

PROXY = 48  # pixels on the long side of the small copies that are compared
BINS = 32  # of the histogram of lightness
REACH = 0.25  # of the long side: how far a picture may have moved between two frames
LEAST = 0.12  # a smaller jump is never a cut
TIMES = 3.0  # a cut jumps so many times as far as the median of the frames before it
MEMORY = 24  # frames that the median is of
FLASH = 2  # frames, at most
ALONE = 1.5  # a cut jumps so many times as far as the frame after it: a fast fade goes on


class Proxy(NamedTuple):
    """A small copy of a frame: its lightness (h, w) in [0, 1], and the histogram of it."""

    light: np.ndarray
    histogram: np.ndarray


def proxy(pixels: np.ndarray) -> Proxy:
    """Make the small copy of a frame (H, W, 3) uint8."""
    image = Image.fromarray(pixels).convert("L")
    image.thumbnail((PROXY, PROXY), Image.Resampling.BOX)
    light = np.asarray(image, np.float32) / 255
    counts = np.histogram(light, BINS, (0, 1))[0] / light.size
    return Proxy(light, np.cumsum(counts))


def jump(one: Proxy, other: Proxy) -> float:
    """How far two frames are apart, from 0 to about 1: in lightness, and in their histograms.

    The difference of lightness is the smallest over all shifts of the picture by up to a quarter,
    so that a pan is no jump.
    """
    height, width = one.light.shape
    reach = round(REACH * max(height, width))
    least = 1.0
    for down in range(-min(reach, height // 2), min(reach, height // 2) + 1, 2):
        for right in range(-min(reach, width // 2), min(reach, width // 2) + 1, 2):
            a = one.light[
                max(0, down) : height + min(0, down), max(0, right) : width + min(0, right)
            ]
            b = other.light[
                max(0, -down) : height - max(0, down), max(0, -right) : width - max(0, right)
            ]
            least = min(least, float(np.abs(a - b).mean()))
    return least + float(np.abs(one.histogram - other.histogram).mean())


def marked_cuts(frames: Iterable[ClipFrame]) -> Iterator[tuple[ClipFrame, bool]]:
    """Yield each frame, and whether a shot begins with it; the first one's does.

    Three frames are held at a time.
    """
    jumps: deque[float] = deque(maxlen=MEMORY)
    window: deque[tuple[ClipFrame, Proxy]] = deque()
    before: deque[Proxy] = deque(maxlen=FLASH + 1)
    source = iter(frames)
    while True:
        while len(window) <= FLASH and (frame := next(source, None)) is not None:
            window.append((frame, proxy(frame.pixels)))
        if not window:
            return
        frame, small = window.popleft()
        cut = not before or _is_cut(before, small, [later for _, later in window], jumps)
        if cut:
            jumps.clear()
            before.clear()
        else:
            jumps.append(jump(before[-1], small))
        before.append(small)
        yield frame, cut


def _is_cut(
    before: Sequence[Proxy], small: Proxy, after: Sequence[Proxy], jumps: Sequence[float]
) -> bool:
    """Whether a shot begins with a frame, given the few before and after it.

    Before and after a flash the picture is the same; a fade goes on.
    """
    least = max(LEAST, TIMES * median(jumps) if jumps else 0.0)
    here = jump(before[-1], small)
    if here <= least or (after and here <= ALONE * jump(small, after[0])):
        return False
    return all(jump(earlier, small) > least for earlier in before) and all(
        jump(before[-1], later) > least for later in after
    )
