"""Try all styles: a small painting of one photograph in each of many styles."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from contextlib import closing
from functools import partial

from PIL import Image

from impasto.config import Machine
from impasto.figures.contact_sheet import Cell, contact_sheet, in_rows
from impasto.images.samples import STYLES, sample_style
from impasto.images.write import write
from impasto.painting.run import Run
from impasto.painting.sheet import SheetProgress, paint_sheet, shown_small, with_inset
from impasto.painting.tuning import use_threads
from impasto.web.jobs.job import Clock, Job, Progress, State
from impasto.web.jobs.limits import Limits
from impasto.web.jobs.request import Upload
from impasto.web.jobs.worker import cached_backbone

MOST_IN_SHEET = 20  # styles


def all_styles(chosen: Iterable[Upload], earlier: Iterable[Job]) -> list[Upload]:
    """The styles at hand, each once: those on the page, those of earlier paintings, the samples.

    earlier: a visitor's, the newest first.
    """
    samples = [Upload(f"{name}.jpg", sample_style(name).read_bytes) for name in STYLES]
    known = {_digest(style) for style in samples}
    own: list[Upload] = []
    for style in (*chosen, *(style for job in earlier for style in _styles_of(job))):
        if len(own) + len(samples) < MOST_IN_SHEET and (digest := _digest(style)) not in known:
            known.add(digest)
            own.append(style)
    return [*own, *samples]


def _styles_of(job: Job) -> list[Upload]:
    kept = (job.kept_input(1 + number) for number in range(len(job.styles)))
    return [style for style in kept if style is not None]


def _digest(style: Upload) -> str:
    return hashlib.sha256(style.read()).hexdigest()


def cell_file(number: int) -> str:
    """The name of the file of a sheet's painting."""
    return f"cell-{number}.jpg"


def work_on_sheet(job: Job, limits: Limits, machine: Machine, threads: int) -> State:
    """Paint the cells of a sheet until the end, or until something else is requested; the job's
    next state. The next call goes on with the cells that are not there yet."""
    use_threads(machine, threads)
    content, styles, named = job.inputs(limits.read_pixels)
    backbone = cached_backbone(job.config, machine)
    numbers = [number for number in range(len(styles)) if number not in job.cells]
    paint = partial(Run.prepare, config=job.config, machine=machine, named=named)
    prepare = [partial(paint, content, [styles[number]], backbone=backbone) for number in numbers]
    clock, before = Clock(job), len(job.cells)
    with closing(paint_sheet(prepare, backbone.device)) as painting:  # its threads end with it
        for progress in painting:
            for k, picture in progress.finished.items():
                number = numbers[k]
                if not isinstance(picture, str):
                    picture = with_inset(picture, shown_small(styles[number], job.config))
                _keep(job, number, picture)
            job.progress = _progress(job, len(styles), before, clock, progress)
            if job.requested:
                break
    finished = len(job.cells) == len(styles)
    if job.requested == "pause" and not finished:
        return "paused"
    if job.requested == "cancel" or "" not in job.cells.values():  # "": a painting is there
        if job.requested:
            return "cancelled"
        job.error = next(iter(job.cells.values()), "there is no style to try")
        return "failed"
    _finish(job)
    return "done" if finished else "stopped"


def _progress(job: Job, count: int, before: int, clock: Clock, progress: SheetProgress) -> Progress:
    """The progress of a sheet of `count` paintings, `before` of which were there before this turn,
    whose progress is given."""
    left = None
    if progress.fraction > 0.05:
        left = clock.turn / progress.fraction - clock.turn
    return Progress(
        step=0,
        steps=job.config.steps,
        level=0,
        levels=0,
        fraction=1 - (1 - before / count) * (1 - progress.fraction),
        seconds=clock.total,
        seconds_left=left,
        objective=None,
        terms={},
        frame=len(job.cells),
        frames=count,
    )


def _keep(job: Job, number: int, picture: Image.Image | str) -> None:
    """Keep a painting of the sheet, or why there is none."""
    if isinstance(picture, str):
        job.cells[number] = picture
        return
    write(picture, job.file(cell_file(number)))
    job.cells[number] = ""


def _finish(job: Job) -> None:
    """Draw the sheet."""
    cells: list[Cell] = []
    for number, why in sorted(job.cells.items()):
        if why:
            cells.append((why, job.styles[number]))
            continue
        with Image.open(job.file(cell_file(number)), formats=("JPEG",)) as image:
            cells.append((image.convert("RGB"), job.styles[number]))
    sheet = contact_sheet(in_rows(cells))
    write(sheet, job.product)
    write(sheet, job.file("after.jpg"))
