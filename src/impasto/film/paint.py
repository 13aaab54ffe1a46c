"""Paint a film frame by frame: each begins with the last painting, carried along the flow."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from typing import NamedTuple

import numpy as np
import torch

from impasto.config import Config
from impasto.errors import PictureError
from impasto.film.clip import Clip, ClipFrame, Note, is_video, open_clip
from impasto.film.cuts import marked_cuts
from impasto.film.flow import FlowMethod, consistency
from impasto.film.painter import FramePainter
from impasto.film.store import FilmStore, FrameLine
from impasto.film.warp import Warped, anchored, combined, warp
from impasto.images.read import SMALLEST, Picture, read, resize
from impasto.objective.pixel_terms import Reference
from impasto.painting.levels import scaled_size
from impasto.painting.problem import extras
from impasto.painting.step import Step
from impasto.parsing import ALPHA

__all__ = ["Extras", "Span", "film_size", "frame_picture", "paint_film", "selected"]

FAR = 4  # frames back: the long-term reference between the last frame and the shot's first one


class Span(NamedTuple):
    """Which frames of a clip: from `start` to before `end` in seconds, every n-th of them."""

    start: float = 0.0
    end: float | None = None
    every: int = 1


def selected(clip: Clip, span: Span, note: Note) -> Iterator[ClipFrame]:
    """Yield the frames of a span of a clip."""
    count = 0
    for frame in clip.frames(note):
        seconds = float(frame.pts * clip.time_base)
        if span.end is not None and seconds >= span.end:
            return
        if seconds >= span.start:
            if count % span.every == 0:
                yield frame._replace(duration=frame.duration * span.every)
            count += 1


def film_size(frame: ClipFrame, config: Config) -> tuple[int, int]:
    """(height, width) of a film: a painting's, but even, as video has colors at half the size."""
    height, width, _ = frame.pixels.shape
    height, width = scaled_size(height, width, config)
    return max(SMALLEST, height // 2 * 2), max(SMALLEST, width // 2 * 2)


def frame_picture(frame: ClipFrame, name: str, size: tuple[int, int]) -> Picture:
    """A frame of a clip as a content picture of (height, width)."""
    pixels = torch.tensor(frame.pixels).permute(2, 0, 1)[None].float() / 255
    return Picture(resize(pixels, *size), None, f"{name} frame {frame.number}", "")


class Extras:
    """The pictures that a config names; masks may be clips, of which each frame has its own."""

    def __init__(self, config: Config, rate: Fraction):
        self._pictures: dict[str, Picture] = {}
        self._clips: dict[str, Iterator[ClipFrame]] = {}
        self._number = 0
        self.digests: dict[str, str] = {}
        for role, path in extras(config):
            if role in ("mask", "protect") and path != ALPHA and is_video(path):
                clip = open_clip(path, rate)
                self._clips[path] = clip.frames(lambda _: None)
                self.digests[path] = clip.sha256
            elif path not in self._pictures:
                self._pictures[path] = read(path)
                self.digests[path] = self._pictures[path].sha256

    def at(self, number: int) -> Mapping[str, Picture]:
        """The pictures for frame `number`, from 1; it must not go back.

        A clip that has ended keeps its last frame.
        """
        while self._number < number:
            self._number += 1
            for path, frames in self._clips.items():
                if (frame := next(frames, None)) is not None:
                    self._pictures[path] = frame_picture(frame, path, frame.pixels.shape[:2])
        return dict(self._pictures)

    @property
    def moving(self) -> bool:
        """Whether any of them is a clip."""
        return bool(self._clips)


class _Shot:
    """The contents of a shot that later frames refer to: its first frame and the last few."""

    def __init__(self, number: int, content: Picture, named: Mapping[str, Picture]):
        self.key, self.named = content, named
        self._first = (number, content.pixels)
        self._last: deque[tuple[int, torch.Tensor]] = deque([self._first], FAR)

    def add(self, number: int, content: Picture) -> None:
        self._last.append((number, content.pixels))

    @property
    def last(self) -> tuple[int, torch.Tensor]:
        return self._last[-1]

    def references(self) -> list[tuple[int, torch.Tensor]]:
        """Numbers and contents of the frames to refer to, nearest first, each once."""
        far = [self._last[0]] if len(self._last) == FAR else []
        return list({number: (number, x) for number, x in (self.last, *far, self._first)}.values())


def paint_film(
    clip: Clip,
    span: Span,
    size: tuple[int, int],
    painter: FramePainter,
    named: Extras,
    flow: FlowMethod,
    store: FilmStore,
    note: Note,
    on_step: Callable[[Step], object],
) -> Iterator[FrameLine]:
    """Paint the frames of a clip that the store does not have yet; yield a line for each.

    Args:
        clip, span: what is painted.
        size: (height, width) of the film.
        painter: paints a frame.
        named: the pictures that the config names.
        flow: computes the flow between two frames.
        store: of the painted frames.
        note: is told what the user should know.
        on_step: called with every solver step.
    """
    shot: _Shot | None = None
    begun = False  # whether the painter knows the shot
    done = {line.number: line for line in store.lines}
    for frame, cut in marked_cuts(selected(clip, span, note)):
        content = frame_picture(frame, clip.path.name, size)
        pictures = named.at(frame.number)
        if cut or shot is None:
            shot, begun = _Shot(frame.number, content, pictures), False
        if line := done.get(frame.number):
            if not line.cut:
                shot.add(frame.number, content)
            yield line
            continue
        if not begun:
            painter.begin_shot(shot.key, shot.named)
            begun = True
        began = time.monotonic()
        if cut:
            painting = painter.first(content, pictures, on_step)
        elif torch.equal(content.pixels, shot.last[1]) and not named.moving:
            painting = None  # the same picture again
        else:
            reference = _reference(frame.number, content, shot, flow, store, painter.temporal)
            painting = painter.next(content, reference, pictures, on_step)
        if not cut:
            shot.add(frame.number, content)
        values = {
            "number": frame.number,
            "pts": frame.pts,
            "duration": frame.duration,
            "cut": cut,
            "tile": painter.plan.tile_size if painter.plan else None,
            "seconds": time.monotonic() - began,
        }
        yield store.repeat(values) if painting is None else store.add(values, painting)


def _reference(
    number: int,
    content: Picture,
    shot: _Shot,
    flow: FlowMethod,
    store: FilmStore,
    temporal: float,
) -> Reference:
    """The earlier paintings of a shot, carried to a frame."""
    here = _bytes(content.pixels)
    found: list[Warped] = []
    references = shot.references()
    for other, pixels in references:
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
    return Reference(*combined(anchored(found)), temporal)


def _bytes(pixels: torch.Tensor) -> np.ndarray:
    """(1, 3, H, W) in [0, 1] -> (H, W, 3) uint8."""
    values = pixels[0].mul(255).round().byte().permute(1, 2, 0)
    return np.ascontiguousarray(values.numpy())
