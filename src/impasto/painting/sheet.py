"""Many small paintings for a contact sheet, painted quickly, several in one pass."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

from PIL import Image, ImageOps

from impasto.config import Config
from impasto.errors import ImpastoError
from impasto.images.read import Picture, resize
from impasto.images.write import to_image
from impasto.painting.batched import batch_key, paint_batched
from impasto.painting.levels import painted_size
from impasto.painting.run import Run

__all__ = ["SheetProgress", "paint_sheet", "shown_small", "with_inset"]

TOGETHER = 6 * 192 * 192  # pixels that are painted in one pass, about
INSET = 0.25  # of a painting's height: the other picture that it was made from


class SheetProgress(NamedTuple):
    """How far a sheet is: the share of the work that is done, how many paintings, and those that
    have been finished just now, by their number: each a picture, or why there is none."""

    fraction: float
    done: int
    finished: Mapping[int, Image.Image | str] = {}


def paint_sheet(runs: Sequence[Run]) -> Iterator[SheetProgress]:
    """Paint small pictures, those of one size together.

    To stop is to stop reading. A painting that fails is told by its reason, and the others go on.

    Args:
        runs: of the paintings; with the settings `presets.QUICK` they are quick.

    Yields:
        The progress after every step, and the paintings as they are finished.
    """
    done = 0
    for batch in _batches(runs):
        try:
            for steps in paint_batched([runs[number] for number in batch]):
                yield SheetProgress((done + len(batch) * steps[0].fraction) / len(runs), done)
            finished: dict[int, Image.Image | str] = {
                number: runs[number].painting(step).image
                for number, step in zip(batch, steps, strict=True)
            }
        except ImpastoError as error:
            finished = dict.fromkeys(batch, str(error))
        done += len(batch)
        yield SheetProgress(done / len(runs), done, finished)


def _batches(runs: Sequence[Run]) -> Iterator[list[int]]:
    """The numbers of runs that are painted in one pass, in their order."""
    for key, equal in groupby(range(len(runs)), lambda number: batch_key(runs[number])):
        numbers = list(equal)
        level = runs[numbers[0]].problem.levels[-1]
        most = 1 if key is None else max(1, TOGETHER // (level.height * level.width))
        yield from (numbers[k : k + most] for k in range(0, len(numbers), most))


def shown_small(picture: Picture, config: Config) -> Image.Image:
    """A picture at the size that it would be painted in with these settings."""
    height, width = painted_size(picture, config)
    alpha = None if picture.alpha is None else resize(picture.alpha, height, width)
    return to_image(resize(picture.pixels, height, width), alpha)


def with_inset(painting: Image.Image, other: Image.Image) -> Image.Image:
    """Draw the picture that a painting was made from into its lower left corner, framed."""
    height = max(1, round(INSET * painting.height))
    width = max(1, min(round(height * other.width / other.height), painting.width // 2))
    small = ImageOps.expand(other.convert("RGB").resize((width, height)), 2, "white")
    shown = painting.copy()
    shown.paste(small, (0, painting.height - small.height))
    return shown
