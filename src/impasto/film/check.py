"""Measure how steady a film is: warping error, the same over seven frames, drift of lightness."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import torch

from impasto.film.flow import Flow, FlowMethod, consistency
from impasto.film.warp import warp
from impasto.images.color import gray

__all__ = ["Steadiness", "steadiness", "warping_error"]

APART = 6  # frames: of seven, the first and the last


class Steadiness(NamedTuple):
    """How steady a film is.

    short, long: mean warping error between neighbors, and between the first and the last of seven
    frames; None: no shot has so many, or their flow is not known. drift: the mean lightness of the
    last frame less that of its shot's first frame, beyond that of the clip; the largest of all
    shots, in levels of 255.
    """

    short: float | None
    long: float | None
    drift: float

    def __str__(self) -> str:
        short, long = (
            "not measured (no shot of so many frames, or no flow)"
            if error is None
            else f"{error:.5f}"
            for error in (self.short, self.long)
        )
        return (
            f"warping error {short}, over seven frames {long}, "
            f"drift of lightness {self.drift:+.2f}/255"
        )


def warping_error(one: torch.Tensor, other: torch.Tensor, flow: Flow, seen: np.ndarray) -> float:
    """Mean square difference of a frame and a later one carried back to it, where both show it.

    Lai et al. 2018, "Learning blind video temporal consistency", section 4.2: summed over the
    channels, averaged over the pixels.

    Args:
        one, other: frames (1, 3, H, W).
        flow: from the first to the other.
        seen: which pixels of the first can be seen in the other, (H, W) bool.
    """
    difference = (one - warp(other, flow)).square().sum(1)[0].numpy()
    return float(difference[seen].mean()) if seen.any() else 0.0


class CheckedFrame(NamedTuple):
    """A frame to be measured: the clip's, (H, W, 3) uint8 of the film's size, and the painted one,
    (1, 3, H, W). cut: whether a shot begins with it.
    """

    number: int
    content: np.ndarray
    painted: torch.Tensor
    cut: bool


def steadiness(frames: Iterable[CheckedFrame], flow: FlowMethod) -> Steadiness:
    """Measure a painted film against its clip, within its shots; it holds seven frames."""
    shot: deque[CheckedFrame] = deque(maxlen=APART + 1)
    short: list[float] = []
    long: list[float] = []
    drift, first = 0.0, 0.0
    for frame in frames:
        beyond = 255 * _beyond(frame)
        if frame.cut:
            shot.clear()
            first = beyond
        shot.append(frame)
        drift = max(drift, beyond - first, key=abs)
        if len(shot) > 1:
            short += _error(shot[-2], frame, flow)
        if len(shot) > APART:
            long += _error(shot[0], frame, flow)
    return Steadiness(_mean(short), _mean(long), drift)


def _beyond(frame: CheckedFrame) -> float:
    """The mean lightness of a painted frame less that of the clip's."""
    content = torch.tensor(frame.content).permute(2, 0, 1)[None].float() / 255
    return float(gray(frame.painted).mean() - gray(content).mean())


def _error(one: CheckedFrame, other: CheckedFrame, flow: FlowMethod) -> list[float]:
    there = flow(one.content, other.content, one.number, other.number)
    back = flow(other.content, one.content, other.number, one.number)
    if there is None or back is None:
        return []
    return [warping_error(one.painted, other.painted, there, consistency(there, back))]


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None
