"""Many small paintings for a contact sheet, painted quickly, side by side."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from itertools import groupby
from typing import NamedTuple

import torch
from PIL import Image, ImageOps

from impasto.backbone.parallel import as_they_come
from impasto.config import Config
from impasto.errors import ImpastoError
from impasto.images.read import Picture, resize
from impasto.images.write import to_image
from impasto.painting.batched import batch_key, paint_batched
from impasto.painting.levels import painted_size
from impasto.painting.run import Run

__all__ = ["SheetProgress", "paint_sheet", "shown_small", "with_inset"]

TOGETHER, TOGETHER_ON_GPU = 6, 8  # paintings in one pass, at most
INSET = 0.25  # of a painting's height: the other picture that it was made from


class SheetProgress(NamedTuple):
    """How far a sheet is: the share of the work that is done, how many paintings, and those that
    have been finished just now, by their number: each a picture, or why there is none."""

    fraction: float
    done: int
    finished: Mapping[int, Image.Image | str] = {}


class _Advance(NamedTuple):
    """How far some paintings of a sheet are, and those that are finished."""

    numbers: Sequence[int]
    fraction: float
    finished: Mapping[int, Image.Image | str] = {}


def paint_sheet(
    prepare: Sequence[Callable[[], Run]], device: torch.device
) -> Generator[SheetProgress, None, None]:
    """Paint small pictures, several in one pass; on a CPU each pass in one thread, side by side.

    To stop is to close it. A painting that fails is told by its reason, and the others go on.

    Args:
        prepare: functions that prepare the paintings' runs, called in the threads; with the
            settings `presets.QUICK` the runs are quick.
        device: of the runs.

    Yields:
        The progress after every step, and the paintings as they are finished, in any order.
    """
    count = len(prepare)
    if device.type == "cpu":
        groups = _groups(count, torch.get_num_threads(), TOGETHER)
        beside = min(len(groups), torch.get_num_threads())
        advances = as_they_come(groups, partial(_paint, prepare, beside))
    else:
        groups = _groups(count, 1, TOGETHER_ON_GPU)
        advances = (advance for group in groups for advance in _paint(prepare, 1, group))
    fractions, done = [0.0] * count, 0
    with closing(advances):  # its threads end with it
        for numbers, fraction, finished in advances:
            for number in numbers:
                fractions[number] = fraction
            done += len(finished)
            yield SheetProgress(sum(fractions) / count, done, finished)


def _groups(count: int, threads: int, most: int) -> list[range]:
    """Split `count` numbers into groups of at most `most`, as many for each thread."""
    parts = min(count, threads * math.ceil(count / (threads * most)))
    return [range(count * k // parts, count * (k + 1) // parts) for k in range(parts)]


def _paint(
    prepare: Sequence[Callable[[], Run]], beside: int, numbers: Sequence[int]
) -> Iterator[_Advance]:
    """Paint some pictures of a sheet, those of one size together.

    beside: how many passes are made side by side.
    """
    runs: dict[int, Run] = {}
    for number in numbers:
        try:
            runs[number] = prepare[number]()
        except ImpastoError as error:
            yield _Advance([number], 1.0, {number: str(error)})
    for batch in _batches(runs, beside):
        try:
            for steps in paint_batched([runs[number] for number in batch]):
                yield _Advance(batch, steps[0].fraction)
            finished: dict[int, Image.Image | str] = {
                number: runs[number].painting(step).image
                for number, step in zip(batch, steps, strict=True)
            }
        except ImpastoError as error:
            finished = dict.fromkeys(batch, str(error))
        yield _Advance(batch, 1.0, finished)


def _batches(runs: Mapping[int, Run], beside: int) -> Iterator[list[int]]:
    """The numbers of runs that are painted in one pass, in their order: as many as the memory that
    there is for each of the passes side by side holds."""
    for key, equal in groupby(runs, lambda number: batch_key(runs[number])):
        numbers = list(equal)
        plan = runs[numbers[0]].plan
        most = 1 if key is None else max(1, plan.budget // (beside * max(1, plan.needed)))
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
