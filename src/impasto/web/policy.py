"""Which settings visitors may choose, and how large pictures and paintings may be."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch

from impasto.config import Config, Machine
from impasto.errors import ConfigError, shortened
from impasto.fields import option_name
from impasto.figures.timelapse import films
from impasto.painting.levels import painted_size, style_size
from impasto.painting.memory import SHARE, free_memory
from impasto.painting.problem import extras, prepare_problem
from impasto.web.job import Job
from impasto.web.limits import Limits
from impasto.web.request import BusyError, PaintRequest, Upload

__all__ = ["BASE", "Policy", "continue_from"]

MOST_PICTURES, MOST_MASKS = 24, 8  # of a painting; each mask is held at the painting's size
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
