"""The three kinds of jobs, paintings, sheets and films, each checked and painted in its way."""

from __future__ import annotations

from impasto.config import Config, Machine
from impasto.presets import QUICK, quick
from impasto.web.jobs.film_worker import work_on_film
from impasto.web.jobs.films import check_film, check_settings
from impasto.web.jobs.job import Job, State
from impasto.web.jobs.limits import Limits
from impasto.web.jobs.policy import Policy
from impasto.web.jobs.request import PaintRequest
from impasto.web.jobs.sheets import work_on_sheet
from impasto.web.jobs.uploads import ReadingMemory
from impasto.web.jobs.worker import work


def config_for(request: PaintRequest, policy: Policy) -> Config:
    """The config of a request. Raises ConfigError."""
    if request.kind == "sheet":
        request = request._replace(settings={**request.settings, **QUICK})
    config = policy.config_of(request)
    if request.kind == "film":
        check_settings(config)
    return quick(config) if request.kind == "sheet" else config


def check(job: Job, policy: Policy, reading: ReadingMemory) -> None:
    """Read a job's files once, for all that is wrong with them. Raises ImpastoError."""
    if job.kind == "film":
        check_film(job, policy, reading)
        return
    sizes = job.sizes(policy.limits.read_pixels)
    with reading.reserved(sizes, job.enough(sizes)):
        policy.check(job)


def work_on(job: Job, limits: Limits, machine: Machine, threads: int) -> State:
    """Paint a job until it ends, or until something else is requested; its next state."""
    if job.kind == "film":
        return work_on_film(job, limits, machine, threads)
    if job.kind == "sheet":
        return work_on_sheet(job, limits, machine, threads)
    return work(job, limits, machine, threads)
