"""The rules of the studio: settings, sizes, places in the queue, its order, and what is deleted."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest
from typing import Any, NamedTuple

import torch

from impasto.config import Config, Machine
from impasto.errors import ConfigError, shortened
from impasto.fields import option_name
from impasto.figures.timelapse import films
from impasto.painting.levels import painted_size, style_size
from impasto.painting.memory import SHARE, free_memory
from impasto.painting.problem import extras, prepare_problem
from impasto.web.jobs.job import Job
from impasto.web.jobs.limits import Limits
from impasto.web.jobs.request import BusyError, PaintRequest, Upload

MOST_PICTURES, MOST_MASKS = 24, 8  # of a painting; each mask is held at the painting's size
PAUSE = 600.0  # seconds after which a paused painting is stopped
HISTORY = 60  # finished paintings that are kept for a visitor
BASE = "the painting so far.png"  # the name of an earlier painting in the settings


class Policy(NamedTuple):
    """The limits, the server's own settings, and the networks that visitors may choose from."""

    limits: Limits
    machine: Machine
    networks: Sequence[str]

    @property
    def defaults(self) -> dict[str, Any]:
        """Defaults of the settings whose usual ones may exceed the limits."""
        size, steps = Config.model_fields["size"].default, Config.model_fields["steps"].default
        return {
            "size": min(size, math.isqrt(self.limits.pixels)),
            "steps": min(steps, self.limits.steps),
        }

    def memory(self) -> int:
        """Bytes for reading uploads now: as many as a painting may take."""
        given = self.machine.memory
        return given if isinstance(given, int) else int(SHARE * free_memory(torch.device("cpu")))

    def config(self, settings: dict[str, Any]) -> Config:
        """The config of a visitor's settings. Raises ConfigError, also for a server's setting."""
        for name in Machine.model_fields:
            if name in settings:
                raise ConfigError(f"{option_name(name)} is the server's choice: leave it out", name)
        config = Config(**{"backbone": self.networks[0], **self.defaults, **settings})
        for network in (config.backbone, config.finisher or config.backbone):
            if network not in self.networks:
                choice, given = ", ".join(self.networks), shortened(network)
                raise ConfigError(
                    f"no network {given} on this server: choose from {choice}", network
                )
        if config.steps > self.limits.steps:
            raise ConfigError(
                f"{config.steps:,} steps are more than this server's {self.limits.steps:,}",
                config.steps,
            )
        return config

    def config_of(self, request: PaintRequest) -> Config:
        """The config of a request, whose film and pictures are checked by name and number.

        Raises ConfigError.
        """
        if request.timelapse and request.timelapse not in films():
            given, choice = shortened(request.timelapse), ", ".join(films())
            raise ConfigError(f"no film {given} here: choose from {choice}", request.timelapse)
        config = self.config(request.settings)
        pictures = 1 + len(request.styles) + len(request.named)
        if pictures > MOST_PICTURES or len(config.mask) > MOST_MASKS:
            raise ConfigError(
                f"too much at once: at most {MOST_PICTURES} pictures and {MOST_MASKS} masks"
            )
        unknown = [name for _, name in extras(config) if name not in request.named]
        if unknown:
            given = shortened(unknown[0])
            raise ConfigError(
                f"the settings name {given}, and no picture of that name came with them", unknown
            )
        return config

    def check_place(self, jobs: Iterable[Job], visitor: str) -> None:
        """Raise BusyError if there is no place in the queue for another painting of this visitor.

        A visitor with more places than are left free gets no other (dynamic thresholds, Choudhury
        & Hahne 1998): one alone takes about half of them, and the next to come finds some.
        """
        held = [job for job in list(jobs) if job.state in ("waiting", "paused")]
        theirs = sum(job.visitor == visitor for job in held)
        waiting = sum(job.state == "waiting" for job in held)
        # paused ones hold memory: there may be one more of all together than may wait
        free = min(self.limits.waiting - waiting, self.limits.waiting + 1 - len(held))
        again = "are waiting already; try again in a minute"
        if free <= 0:
            raise BusyError(f"busy: {len(held)} paintings {again}")
        if theirs > free:
            raise BusyError(f"busy: {theirs} of your paintings {again}")

    def check(self, job: Job) -> None:
        """Read the job's pictures once, for all that is wrong with them. Raises ImpastoError."""
        content, styles, named = job.inputs(self.limits.read_pixels)
        height, width = painted_size(content, job.config)
        if height * width > self.limits.pixels:
            raise ConfigError(
                f"{width} x {height} pixels are more than this server's "
                f"{self.limits.pixels:,}: give a smaller --size",
                (width, height),
            )
        if job.kind == "sheet":
            styles = styles[:1]  # each is painted alone
        problem = prepare_problem(content, styles, job.config, named)
        most, last = self.limits.read_pixels, problem.levels[-1]
        sizes = [style_size(last, style, job.config, last) for style in problem.style_sources]
        pixels = sum(height * width for height, width in sizes)
        if pixels > most:
            raise ConfigError(
                f"the styles would have {pixels:,} pixels, more than this server's {most:,}: "
                "give a smaller --style-scale, or fewer of them",
                pixels,
            )
        job.keep_before(content)


def continue_from(request: PaintRequest, earlier: Job | None) -> PaintRequest:
    """The request, starting from an earlier painting at its final size.

    Raises ConfigError if there is no such painting.
    """
    if earlier is None or not earlier.finished or earlier.kind != "painting":
        raise ConfigError(
            "the painting to paint on from is not here any more: start a new one", request.base
        )
    picture = Upload(BASE, earlier.file("painting.png").read_bytes)
    settings = {**request.settings, "start": {BASE: 1.0}, "levels": 1}
    return request._replace(settings=settings, named={**request.named, BASE: picture})


def in_turn(jobs: Iterable[Job], owners: Sequence[str]) -> list[Job]:
    """The jobs that wait for a worker, the next one first.

    Owners take turns, each with its oldest job (round robin). A painting that was begun and
    resumed comes before all others: it holds memory; a film holds none. owners: the first had the
    last turn.
    """
    queues: dict[str, list[Job]] = {owner: [] for owner in owners}
    for job in jobs:
        if job.state == "waiting":
            queues.setdefault(job.owner, []).append(job)
    for owner in owners[:1]:  # newcomers since then come before it
        queues[owner] = queues.pop(owner)
    rounds = zip_longest(*queues.values())
    waiting = [job for turn in rounds for job in turn if job is not None]
    return sorted(waiting, key=lambda job: not job.begun or job.kind == "film")


def is_to_give_way(job: Job, jobs: Iterable[Job]) -> bool:
    """True if a film keeps other owners waiting: it goes on after them."""
    others = (other for other in jobs if other.owner != job.owner)
    return job.kind == "film" and any(other.state == "waiting" for other in others)


def abandoned(job: Job, jobs: Iterable[Job], keep: float) -> bool:
    """True if a painting is to be deleted, or cancelled if it is not finished.

    A finished one is, `keep` seconds after its end and after its visitor was last there. Another
    is only if another visitor waits, and never if a program asked for it.
    """
    last = max(job.ended, job.last_seen or 0.0)
    if time.time() - last <= keep:
        return False
    if job.over:
        return True
    others = (other for other in jobs if other.owner != job.owner)
    return job.last_seen is not None and any(other.state == "waiting" for other in others)


def paused_for_long(job: Job) -> bool:
    """True if a paused painting is to be stopped: it holds memory."""
    return job.state == "paused" and time.monotonic() - job.paused_at > PAUSE


def surplus(jobs: Sequence[Job], most: int) -> Iterator[tuple[Job, bool]]:
    """Finished paintings that take too much room, and whether all of each is to be deleted, or
    only the pictures that it was made from.

    jobs: oldest first. most: bytes of those pictures, of all paintings together.
    """
    stored, count = 0, Counter[str]()
    for job in reversed(jobs):
        stored += job.input_bytes
        if job.over and job.last_seen is not None:
            count[job.owner] += 1
            if count[job.owner] > HISTORY:
                yield job, True
            elif stored > most:
                yield job, False
