"""Paint a film frame by frame: each begins with the last painting, carried along the flow."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from types import MappingProxyType
from typing import NamedTuple

import torch

from impasto.config import Config
from impasto.film.clip import Clip, ClipFrame, Note, is_video, open_clip
from impasto.film.cuts import marked_cuts
from impasto.film.flow import FlowMethod
from impasto.film.painter import FramePainter
from impasto.film.shot import Shot, carried
from impasto.film.store import FilmStore, FrameLine
from impasto.images.read import SMALLEST, Picture, read, resize
from impasto.painting.levels import scaled_size
from impasto.painting.problem import extras
from impasto.painting.step import Step
from impasto.parsing import ALPHA

__all__ = ["Extras", "Span", "film_size", "frame_picture", "paint_film", "selected"]


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
    """The pictures that a config names; masks may be clips, of which each frame has its own.

    given: pictures in memory, by the names that the config has for them; other names are paths.
    """

    def __init__(
        self, config: Config, rate: Fraction, given: Mapping[str, Picture] = MappingProxyType({})
    ):
        self._pictures: dict[str, Picture] = {}
        self._clips: dict[str, Iterator[ClipFrame]] = {}
        self._number = 0
        self.digests: dict[str, str] = {}
        for role, path in extras(config):
            if path in given:
                self._pictures[path] = given[path]
                self.digests[path] = given[path].sha256
            elif role in ("mask", "protect") and path != ALPHA and is_video(path):
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
    def moving(self) -> tuple[str, ...]:
        """The names of those that are clips."""
        return tuple(self._clips)

    def with_moving(self, moving: Sequence[Picture]) -> Mapping[str, Picture]:
        """The pictures for a frame of which those of the clips are known, in their order."""
        return {**self._pictures, **dict(zip(self._clips, moving, strict=True))}


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

    A store of two passes then has its frames painted once more, backward.

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
    yield from _paint_forward(clip, span, size, painter, named, flow, store, note, on_step)
    if store.second is not None:
        yield from _paint_backward(painter, named, flow, store, store.second, on_step)


def _paint_forward(
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
    """Paint the frames in their order; the arguments are `paint_film`'s."""
    shot: Shot | None = None
    first: tuple[Picture, Mapping[str, Picture]] | None = None  # of a shot the painter has not seen
    done = {line.number: line for line in store.lines}
    for frame, cut in marked_cuts(selected(clip, span, note)):
        content = frame_picture(frame, clip.path.name, size)
        pictures = named.at(frame.number)
        if store.second is not None:
            store.keep_inputs(frame.number, [content, *(pictures[name] for name in named.moving)])
        if cut or shot is None:
            shot, first = Shot(frame.number, content.pixels), (content, pictures)
        if line := done.get(frame.number):
            if not line.cut:
                shot.add(frame.number, content.pixels)
            yield line
            continue
        if first:
            painter.begin_shot(*first)
            first = None
        began = time.monotonic()
        if cut:
            painting = painter.first(content, pictures, on_step)
        elif torch.equal(content.pixels, shot.last[1]) and not named.moving:
            painting = None  # the same picture again
        else:
            known = carried(frame.number, content.pixels, shot, flow, store)
            painting = painter.next(content, known, pictures, on_step)
        if not cut:
            shot.add(frame.number, content.pixels)
        values = {
            **{name: getattr(frame, name) for name in ("number", "pts", "duration")},
            "cut": cut,
            "tile": painter.plan.tile_size if painter.plan else None,
            "seconds": time.monotonic() - began,
        }
        yield store.repeat(values) if painting is None else store.add(values, painting)


def _paint_backward(
    painter: FramePainter,
    named: Extras,
    flow: FlowMethod,
    store: FilmStore,
    second: FilmStore,
    on_step: Callable[[Step], object],
) -> Iterator[FrameLine]:
    """Paint the frames of a film once more, from the last to the first; yield a line for each.

    The multi-pass algorithm of Ruder, Dosovitskiy & Brox 2016, "Artistic style transfer for
    videos", section 4.4: a frame begins as a blend of its own painting with that of the frame
    after it, carried along the flow, and is held to the latter. The first pass meets what comes
    into the picture as a sliver at its border, or from behind something; this one brings back the
    strokes that it had when it was seen whole. A shot's last frame is as the first pass left it.

    Args:
        painter: has painted the first pass, or goes on with it.
        named: the pictures that the config names.
        flow: computes the flow between two frames.
        store: of the first pass, with what the frames were painted from.
        second: of this pass.
        on_step: called with every solver step.
    """
    done = {line.number: line for line in second.lines}
    for lines in reversed(_by_shots(store.lines)):
        shot: Shot | None = None
        begun = False
        for line in reversed(lines):
            content, *masks = store.inputs(line.number)
            began = time.monotonic()
            before, shot = shot, shot or Shot(line.number, content.pixels)
            if line.number in done:
                pass
            elif before is None:
                done[line.number] = second.copy(line, store.file(line.number))
            elif torch.equal(content.pixels, shot.last[1]) and not named.moving:
                done[line.number] = second.copy(line, second.file(shot.last[0]))
            else:
                if not begun:
                    key, *its_masks = store.inputs(lines[0].number)
                    painter.begin_shot(key, named.with_moving(its_masks))
                    begun = True
                known = carried(line.number, content.pixels, shot, flow, second)
                painting = painter.next(
                    content, known, named.with_moving(masks), on_step, store.pixels(line.number)
                )
                values = line.model_dump(include={"number", "pts", "duration", "cut", "tile"})
                values["seconds"] = time.monotonic() - began
                done[line.number] = second.add(values, painting)
            if before is not None:
                shot.add(line.number, content.pixels)
            yield done[line.number]


def _by_shots(lines: Sequence[FrameLine]) -> list[list[FrameLine]]:
    """The lines of each shot."""
    shots: list[list[FrameLine]] = []
    for line in lines:
        if line.cut or not shots:
            shots.append([])
        shots[-1].append(line)
    return shots
