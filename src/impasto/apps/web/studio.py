"""The studio's queue and its workers: who is painted next, and what becomes of what nobody waits for."""

from __future__ import annotations

import logging
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import torch

from impasto.apps.web.jobs import MORE_IN, BusyError, Job, Limits, Order, State, clean
from impasto.apps.web.metrics import Metrics
from impasto.apps.web.work import warm_up, work
from impasto.config import Config, option_name
from impasto.errors import ConfigError, ImpastoError
from impasto.inputs import painted_size
from impasto.memory import give_back, keep_big_blocks
from impasto.pictures.film import films
from impasto.scene import extras, scene_of

__all__ = ["SERVERS", "Studio"]

SERVERS = ("memory", "tile", "device", "precision", "save_every", "save_at")  # settings that are not a visitor's
GONE = 6.0  # seconds without its page after which a painting is cancelled
PAUSE = 600.0  # seconds after which a paused painting is ended with what there is: it holds memory
TICK = 1.0  # seconds between two looks at what is old or alone
BASE = "the painting so far.png"  # what a painting that is painted on is called in the settings
log = logging.getLogger("impasto.studio")


class Studio:
    """Takes orders, paints them with `workers` at a time, keeps what they leave for a while.

    machine: the settings SERVERS of all paintings. networks: the names, and paths, that visitors may choose from.
    """

    def __init__(self, limits: Limits, machine: dict[str, Any], networks: Sequence[str] = ("compact",)):
        self.limits, self.networks, self._machine = limits, tuple(networks), machine
        self.folder = Path(tempfile.mkdtemp(prefix="impasto-studio-"))
        self.uploads = self.folder / "uploads"
        self.uploads.mkdir()
        self.jobs: dict[str, Job] = {}
        self.metrics = Metrics(self)
        self._change = threading.Condition()
        self._reading = threading.Lock()  # uploads are decoded one at a time: a large one takes a lot of memory
        self._clock, self._number, self._next = 0.0, 0, dict[str, float]()
        self._closed = False
        self._spared = set[Path]()
        self._threads: list[threading.Thread] = []

    def open(self) -> None:
        """Start the workers; each loads the network and runs it once, so that no visitor waits for that.

        Raises ImpastoError if there is no such network.
        """
        keep_big_blocks()  # before there are threads: those that start after it share its arena
        share, ready = max(1, torch.get_num_threads() // self.limits.workers), SimpleQueue[ImpastoError | None]()
        for _ in range(self.limits.workers):
            self._start(self._work, share, ready)
            if (error := ready.get()) is not None:
                raise error
        # No other thread computes with more than one: OpenMP lets idle threads sleep as soon as there are more of them
        # than processors, and waking them takes a third of a painting's time.
        torch.set_num_threads(1)
        self._start(self._sweep)

    def _start(self, target: Callable[..., None], *given: Any) -> None:
        self._threads.append(threading.Thread(target=target, args=given, daemon=True))
        self._threads[-1].start()

    # Orders -----------------------------------------------------------------------------------------------------------

    def config_of(self, settings: dict[str, Any]) -> Config:
        """The config of a visitor's settings. Raises ConfigError, also for what is the server's to choose."""
        for name in SERVERS:
            if name in settings:
                raise ConfigError(f"{option_name(name)} is the server's choice: leave it out", name)
        config = Config(**{"backbone": self.networks[0], **settings, **self._machine})
        if config.backbone not in self.networks:
            choice = ", ".join(self.networks)
            raise ConfigError(f"no network {config.backbone!r} on this server: choose from {choice}", config.backbone)
        if config.steps > self.limits.steps:
            raise ConfigError(f"{config.steps:,} steps are more than this server's {self.limits.steps:,}", config.steps)
        return config

    def submit(self, order: Order, owner: str, watched: bool = False) -> Job:
        """Queue an order, once all that can be wrong with it is known. It blocks while it reads the pictures.

        owner: whose turn it is when several wait. watched: whether it ends with its page. Raises ImpastoError.
        """
        self._room()
        if order.timelapse and order.timelapse not in films():
            raise ConfigError(f"no film {order.timelapse!r} here: choose from {', '.join(films())}", order.timelapse)
        if order.base:
            order = self._painted_on(order)
        config = self.config_of(order.settings)
        job = Job(
            id=secrets.token_urlsafe(16), owner=owner, config=config, folder=self.folder / secrets.token_hex(16),
            content=clean(order.content.name), styles=[clean(each.name) for each in order.styles],
            named=list(order.named), timelapse=order.timelapse, rank=(0.0, 0),
            watched=time.time() if watched else None,
        )  # fmt: skip
        unknown = [name for _, name in extras(config) if name not in order.named]
        if unknown:
            raise ConfigError(f"the settings name {unknown[0]!r}, and no picture of that name came with them", unknown)
        try:
            with self._reading:
                job.keep_inputs(order)
                self._check(job)
            self._queue(job)
        except BaseException:
            shutil.rmtree(job.folder, ignore_errors=True)
            raise
        return job

    def _painted_on(self, order: Order) -> Order:
        """An order that starts from an earlier painting, at its own size: what is there is not painted again small."""
        earlier = self.jobs.get(order.base)
        if earlier is None or not earlier.finished:
            raise ConfigError("the painting to paint on from is not here any more: start a new one", order.base)
        picture = earlier.file("painting.png")
        named = {**order.named, BASE: order.content._replace(name=BASE, read=picture.read_bytes)}
        return order._replace(settings={**order.settings, "start": {BASE: 1.0}, "levels": 1}, named=named)

    def _check(self, job: Job) -> None:
        """Read the pictures once, for all that is wrong with them. Raises ImpastoError."""
        content, styles, named = job.inputs(MORE_IN * self.limits.pixels)
        height, width = painted_size(content, job.config)
        if height * width > self.limits.pixels:
            raise ConfigError(
                f"{width} x {height} pixels are more than this server's {self.limits.pixels:,}: give a smaller --size",
                (width, height),
            )
        scene_of(content, styles, job.config, named)
        job.keep_before(content)

    def _room(self) -> None:
        """Raises BusyError if the queue is full."""
        if self._closed or len(self.waiting()) >= self.limits.waiting:
            self.metrics.refused.labels("busy").inc()
            raise BusyError(f"busy: {len(self.waiting())} paintings are waiting already; try again in a minute")

    def _queue(self, job: Job) -> None:
        """Give the job its place: owners take turns (start-time fair queueing, Goyal et al. 1996; each job costs 1)."""
        with self._change:
            self._room()
            start = max(self._clock, self._next.get(job.owner, 0.0))
            self._next = {who: when for who, when in self._next.items() if when > self._clock}
            self._next[job.owner] = start + 1
            self._number += 1
            job.rank = (start, self._number)
            self.jobs[job.id] = job
            self._change.notify()

    # What visitors ask ------------------------------------------------------------------------------------------------

    def waiting(self) -> list[Job]:
        """The jobs that wait for a worker, the next one first."""
        return sorted((job for job in list(self.jobs.values()) if job.state == "waiting"), key=lambda job: job.rank)

    def count(self, state: State) -> int:
        """How many jobs are in a state."""
        return sum(job.state == state for job in list(self.jobs.values()))

    def place(self, job: Job) -> int:
        """How many paintings come before a waiting one, those that are being painted among them."""
        waiting = self.waiting()
        return self.count("painting") + waiting.index(job) if job in waiting else 0

    def of(self, owner: str) -> list[Job]:
        """An owner's jobs, oldest first."""
        return [job for job in list(self.jobs.values()) if job.owner == owner]

    def pause(self, job: Job) -> None:
        """Put a painting aside; others are painted meanwhile."""
        self._want(job, "pause", {"painting": "painting", "waiting": "paused"})

    def resume(self, job: Job) -> None:
        """Go on with a paused painting, before all that wait."""
        self._want(job, "", {"paused": "waiting", "painting": "painting"})

    def stop(self, job: Job) -> None:
        """End a painting with what there is of it; where there is nothing yet it is cancelled."""
        if job.progress is None and job.state in ("waiting", "paused"):
            self.cancel(job)
        self._want(job, "stop", {"painting": "painting", "paused": "waiting", "waiting": "waiting"})

    def cancel(self, job: Job) -> None:
        """End a painting and keep nothing of it."""
        self._want(job, "cancel", {"painting": "painting", "paused": "cancelled", "waiting": "cancelled"})

    def forget(self, job: Job) -> None:
        """Cancel a painting and remove all that there is of it."""
        self.cancel(job)
        with self._change:
            self._change.wait_for(lambda: job.over or self._closed, timeout=GONE)
        self.jobs.pop(job.id, None)
        shutil.rmtree(job.folder, ignore_errors=True)

    def _want(self, job: Job, wanted: Any, states: dict[State, State]) -> None:
        with self._change:
            if job.state in states:
                job.wanted = wanted
                self._enter(job, states[job.state])

    def _enter(self, job: Job, state: State) -> None:
        """Move a job into a state; under the lock."""
        if state == "painting" and job.run and job.aside:
            job.idle += time.monotonic() - job.aside
        if state == "paused":
            job.aside = time.monotonic()
        job.state = state
        if job.over:
            job.ended = time.time()
            job.drop()
            self.metrics.over(job)
        self._change.notify_all()

    # Workers ----------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """End all paintings and remove everything."""
        with self._change:
            self._closed = True
            for job in self.jobs.values():
                job.wanted = "cancel"
            self._change.notify_all()
        for thread in self._threads:
            thread.join(timeout=GONE)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _work(self, threads: int, ready: SimpleQueue[ImpastoError | None]) -> None:
        torch.set_num_threads(threads)
        try:
            warm_up(self.config_of({"size": 64, "steps": 2}))
            ready.put(None)
        except ImpastoError as error:
            ready.put(error)
            return
        while (job := self._take()) is not None:
            try:
                state = work(job, MORE_IN * self.limits.pixels)
            except ImpastoError as error:
                job.error, state = str(error), "failed"
            except Exception as error:
                log.exception("a painting failed")
                job.error, state = f"something went wrong here ({type(error).__name__}); try again", "failed"
            with self._change:
                if state == "paused" and job.wanted != "pause":  # somebody thought better of it meanwhile
                    state = "waiting"
                self._enter(job, state)
            if not self.waiting():
                give_back()

    def _take(self) -> Job | None:
        with self._change:
            self._change.wait_for(lambda: self._closed or self.waiting())
            if self._closed:
                return None
            job = self.waiting()[0]
            self._clock = max(self._clock, job.rank[0])
            self._enter(job, "painting")
            return job

    # What is old or alone ---------------------------------------------------------------------------------------------

    def spare(self) -> None:
        """Keep the uploads that are there now for good: they are the page's own."""
        self._spared = set(self.uploads.rglob("*"))

    def _sweep(self) -> None:
        while not self._closed:
            time.sleep(TICK)
            now = time.time()
            for job in list(self.jobs.values()):
                if job.over and now - job.ended > self.limits.keep:
                    self.forget(job)
                elif job.watched is not None and not job.over and now - job.watched > GONE:
                    self.cancel(job)
                elif job.state == "paused" and time.monotonic() - job.aside > PAUSE:
                    self.stop(job)
            for path in sorted(self.uploads.rglob("*"), reverse=True):  # what is in a folder before the folder
                with suppress(OSError):  # a folder that is not empty, or somebody was faster
                    if path not in self._spared and now - path.stat().st_mtime > self.limits.keep:
                        path.rmdir() if path.is_dir() else path.unlink()
