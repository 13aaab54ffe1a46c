"""A look at a film before it is painted: its first, middle and last frame, each as a still."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from impasto.figures.contact_sheet import Cell
from impasto.film.clip import Note
from impasto.film.paint import FilmInput
from impasto.film.painter import FramePainter
from impasto.images.write import to_image
from impasto.painting.step import Step

__all__ = ["preview_count", "preview_frames"]


def preview_count(frames: int) -> int:
    """How many frames of a film of so many are shown: 3, but for a shorter one."""
    return len(_numbers(frames))


def _numbers(frames: int) -> set[int]:
    return {1, (frames + 1) // 2, frames}


def preview_frames(
    film: FilmInput,
    frames: int,
    painter: FramePainter,
    note: Note,
    on_step: Callable[[Step], object],
) -> Iterator[tuple[Cell, Cell]]:
    """Paint three frames of a film; yield each, and what it becomes, as cells of a contact sheet.

    Args:
        film: what is painted.
        frames: how many it has.
        painter: paints a frame.
        note: is told what the user should know.
        on_step: called with every solver step.
    """
    wanted = _numbers(frames)
    for count, frame in enumerate(film.frames(note), 1):
        named = film.named.at(frame.number)  # of every frame: masks that move are read in order
        if count in wanted:
            content = film.picture(frame)
            painter.begin_shot(content, named)
            painting = painter.first(content, named, on_step)
            seconds = float(frame.pts * film.clip.time_base)
            yield (
                (to_image(content.pixels), f"frame {frame.number}\n{seconds:.2f} s"),
                (painting.image, f"painted\n{painting.steps} steps"),
            )
