"""Paint a job until it ends, or until a visitor requests something else."""

from __future__ import annotations

import dataclasses
import logging
from functools import lru_cache
from pathlib import Path

import torch

from impasto.backbone.load import load_backbone, settled
from impasto.backbone.vgg import Backbone
from impasto.config import Config, Machine
from impasto.errors import ImpastoError, OutputError, out_of_memory
from impasto.fields import marked
from impasto.painting.callbacks import film_of, trace
from impasto.painting.outcome import why_stopped
from impasto.painting.run import Run, paint
from impasto.painting.tuning import MOST_THREADS, tune_allocator, use_threads
from impasto.web.jobs.folders import save_as_new
from impasto.web.jobs.job import Clock, Job, Requested, Started, State
from impasto.web.jobs.limits import Limits
from impasto.web.jobs.previews import SHOWN_SIDE, jpeg

log = logging.getLogger("impasto.studio")


def work(job: Job, limits: Limits, machine: Machine, threads: int = MOST_THREADS) -> State:
    """Paint until the end, or until something else is requested; the job's next state.

    A painting whose time is over ends with what there is. A paused job keeps its run, and the next
    call continues it. threads: to compute with, unless `machine` asks for others.
    """
    use_threads(machine, threads)
    started = job.started = job.started or _begin(job, limits.read_pixels, machine)
    clock = Clock(job)
    requested: Requested = ""
    stopped = ""
    write_trace = trace(job.file("trace.jsonl"), log.warning)
    try:
        while not (requested := job.requested):
            step = next(started.steps, None)
            if step is None:
                break
            started.last = dataclasses.replace(step, seconds=clock.total)
            job.on_step(started.last)
            write_trace(started.last)
            if started.film:
                started.film.add_frame(started.last.shown, started.last.number)
            if started.last.seconds > limits.seconds and started.last.number < started.last.steps:
                minutes = f"{limits.seconds / 60:g}"
                stopped = job.note = f"this server paints for at most {minutes} minutes"
                break
    except (MemoryError, RuntimeError, ImpastoError) as error:
        if started.last is None or not (stopped := why_stopped(error)):
            raise
        job.note = stopped
    unfinished = started.last is None or (started.last.number < started.last.steps and not stopped)
    if requested == "pause" and unfinished:
        return "paused"
    if requested == "cancel" or started.last is None:
        return "cancelled"
    if unfinished:
        stopped = "stopped by hand"
    _finish(job, started, stopped)
    if job.requested == "cancel":
        return "cancelled"
    return "stopped" if stopped else "done"


def _begin(job: Job, most: int, machine: Machine) -> Started:
    content, styles, named = job.inputs(most)
    run = Run.prepare(content, styles, job.config, machine, named=named, backbone=cached_backbone)
    tune_allocator(run.plan, run.backbone)
    path = job.file(f"timelapse{job.timelapse}")
    film = film_of(path, content, run.config) if job.timelapse else None
    return Started(run, run.steps(), film)


def _finish(job: Job, started: Started, stopped: str) -> None:
    """Save the painting, what the page shows of it, and the film."""
    assert started.last is not None
    assert job.progress is not None
    painting = started.run.painting(started.last, stopped, [job.note] if job.note else [])
    painting.save(job.file("painting.png"))
    job.note = job.note or painting.doubt
    job.notes = [note for note in painting.notes if note != job.note]
    job.file("after.jpg").write_bytes(jpeg(painting.pixels, SHOWN_SIDE))
    job.show(painting.pixels)
    job.progress = job.progress._replace(
        objective=painting.value, terms=dict(painting.terms), seconds_left=0.0
    )
    if started.film:
        try:
            started.film.write(painting.pixels)
        except OutputError as error:
            log.error("a film could not be written: %s", error)
            job.note, job.timelapse = "the film could not be written", ""


def save_copy(job: Job, folder: Path) -> None:
    """Write a finished painting or film into a folder of the user's; a failure is a note on it."""
    if job.kind == "sheet" or (job.kind == "film" and not job.is_film):
        return  # these are for choosing
    try:
        job.saved = str(save_as_new(job.product, folder, job.title))
    except OutputError as error:
        log.error("%s", error)
        job.note = job.note or str(error)


def cached_backbone(config: Config, machine: Machine) -> Backbone:
    """The config's network, from the cache if it is there."""
    settings = {name: getattr(config, name) for name in marked(Config, "network")}
    finish = min(1, config.finish_steps)  # how many there are makes no other network
    of_network = Config(**settings, finish=finish, finish_backbone=config.finish_backbone)
    return _loaded(of_network, machine)


@lru_cache(maxsize=3)  # each takes up to 80 MB
def _loaded(config: Config, machine: Machine) -> Backbone:
    return load_backbone(config, machine)


def warm_up(config: Config, machine: Machine) -> None:
    """Load the config's network and run it once. Raises ImpastoError."""
    noise = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    config = settled(config, machine)
    few = config.changed(size=64, steps=2, finish=min(1, config.finish_steps))
    paint(noise, noise, few, machine, backbone=cached_backbone(config, machine))


def failure(error: Exception) -> str:
    """The message for the visitor of a failed painting; the server's own faults are logged."""
    if isinstance(error, OutputError):
        log.error("a painting could not be written: %s", error)
        return "the server could not write the painting; try again later"
    if isinstance(error, ImpastoError):
        return str(error)
    log.error("a painting failed", exc_info=error)
    if out_of_memory(error):
        return "there is not enough memory for this: give a smaller --size"
    return f"something went wrong here ({type(error).__name__}); try again"
