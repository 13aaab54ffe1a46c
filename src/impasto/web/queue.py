"""The studio's queue and its workers: who is painted next, and what becomes of what nobody waits
for."""

from __future__ import annotations

import logging
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import torch
from anyio import CapacityLimiter, to_thread

from impasto.config import Config, Machine
from impasto.errors import ImpastoError, OutputError, out_of_memory
from impasto.painting.allocator import give_back, keep_big_blocks
from impasto.web.folders import UPLOAD_FOLDER, RoomError, own_folder, remove_old
from impasto.web.job import OVER, BusyError, Job, Limits, PaintRequest, State, Wanted, clean
from impasto.web.metrics import Metrics
from impasto.web.policy import Policy, continue_from
from impasto.web.uploads import ReadingMemory
from impasto.web.worker import warm_up, work

__all__ = ["Studio"]

# what may take the place of each wish; "" takes back a pause only
STRONGER: dict[Wanted, tuple[Wanted, ...]] = {
    "": ("", "pause", "stop", "cancel"),
    "pause": ("", "pause", "stop", "cancel"),
    "stop": ("stop", "cancel"),
    "cancel": ("cancel",),
}
GONE = 6.0  # seconds without its page after which a painting is cancelled
PAUSE = 600.0  # seconds after which a paused painting is ended with what there is: it holds memory
UPLOADS = 20  # largest uploads that the folder for them has room for
READERS = 64  # orders that are looked at at once; memory ends before that
TICK = 1.0  # seconds between two looks at what is old or alone
log = logging.getLogger("impasto.studio")


class Studio:
    """Takes orders, paints them with `workers` at a time, keeps what they leave for a while.

    machine: where all paintings are computed. networks: the names, and paths, that
    visitors may choose from. Everything lies in `folder`, which is there from the beginning;
    `close` removes it.
    """

    def __init__(self, limits: Limits, machine: Machine, networks: Sequence[str] = ("compact",)):
        self.limits, self.networks = limits, tuple(networks)
        self._held = ExitStack()
        self.folder = self._held.enter_context(own_folder())
        self.uploads = self.folder / UPLOAD_FOLDER
        self.terms = Policy(limits, machine, self.networks)
        self.jobs: dict[str, Job] = {}
        self.metrics = Metrics(lambda: len(self.waiting()), self.count)
        self.uploads_full = False  # whether there is no room for more uploads
        self._change = threading.Condition()
        self._readers = CapacityLimiter(READERS)
        self.reading = ReadingMemory(self.terms.memory)
        self._clock, self._served, self._number, self._next = 0.0, "", 0, dict[str, float]()
        self._closed = False
        self._spared = set[Path]()
        self._threads: list[threading.Thread] = []

    def open(self) -> None:
        """Start the workers; each loads the network and runs it once: no visitor waits for that.

        Whether it comes to its end or not, `close` ends them. Raises ImpastoError if there is no
        such network.
        """
        keep_big_blocks()  # before there are threads: those that start after it share its arena
        share, ready = (
            max(1, torch.get_num_threads() // self.limits.workers),
            SimpleQueue[Exception | None](),
        )
        for _ in range(self.limits.workers):
            self._start(self._work, share, ready)
            if (failure := ready.get()) is not None:
                raise failure
        # No other thread computes with more than one: OpenMP lets idle threads sleep as soon as
        # there are more of them than processors, and a painting took 1.47 times as long instead of
        # 1.06 (benchmarks/studio.py).
        torch.set_num_threads(1)
        self._start(self._sweep)

    def _start(self, target: Callable[..., None], *given: Any) -> None:
        self._threads.append(threading.Thread(target=target, args=given, daemon=True))
        self._threads[-1].start()

    # Orders
    # ----------------------------------------------------------------------------------------------

    def submit(
        self, order: PaintRequest, owner: str, watched: bool = False, visitor: str = ""
    ) -> Job:
        """Queue an order, once all that can be wrong with it is known. It blocks while it reads the
        pictures.

        owner: whose turn it is when several wait. watched: whether it ends with its page. visitor:
        whose places in the queue are counted, an address; "": the owner. Raises ImpastoError.
        """
        try:
            return self._submit(order, owner, watched, visitor or owner)
        except (OSError, OutputError) as error:
            log.error("an order could not be kept: %s", error)
            raise RoomError("the server has no room for the pictures; try again later") from error
        except ImpastoError as error:
            self.metrics.refused.labels("busy" if isinstance(error, BusyError) else "invalid").inc()
            raise

    async def take(
        self, order: PaintRequest, owner: str, watched: bool = False, visitor: str = ""
    ) -> Job:
        """`submit` without blocking: others are answered, and their orders read, meanwhile."""
        return await to_thread.run_sync(
            self.submit, order, owner, watched, visitor, limiter=self._readers
        )

    def _submit(self, order: PaintRequest, owner: str, watched: bool, visitor: str) -> Job:
        self._room(visitor)
        if order.base:
            order = continue_from(order, self.jobs.get(order.base))
        config = self.terms.config_of(order)
        job = Job(
            id=secrets.token_urlsafe(16),
            owner=owner,
            visitor=visitor,
            config=config,
            timelapse=order.timelapse,
            folder=self.folder / secrets.token_hex(16),
            content=clean(order.content.name),
            styles=[clean(each.name) for each in order.styles],
            named=list(order.named),
            rank=(0.0, 0),
            watched=None,
        )
        try:
            job.keep_inputs(order)
            sizes = job.sizes(self.limits.read)
            with self.reading.reserved(sizes, job.enough(sizes)):
                self.terms.check(job)
            job.watched = time.time() if watched else None
            self._queue(job)
        except BaseException:
            shutil.rmtree(job.folder, ignore_errors=True)
            raise
        return job

    def _room(self, visitor: str) -> None:
        """Raises BusyError if there is no place in the queue for another painting of this
        visitor."""
        if self._closed:
            raise BusyError("busy: the studio is being closed")
        self.terms.check_place(self.jobs.values(), visitor)

    def _queue(self, job: Job) -> None:
        """Give the job its place: owners take turns (start-time fair queueing, Goyal et al. 1996;
        each job costs 1)."""
        with self._change:
            self._room(job.visitor)
            start = max(self._clock, self._next.get(job.owner, 0.0))
            self._next = {who: when for who, when in self._next.items() if when > self._clock}
            self._next[job.owner] = start + 1
            self._number += 1
            job.rank = (start, self._number)
            self.jobs[job.id] = job
            self._change.notify()

    # What visitors ask
    # ----------------------------------------------------------------------------------------------

    def waiting(self) -> list[Job]:
        """The jobs that wait for a worker, the next one first."""
        return sorted(
            (job for job in list(self.jobs.values()) if job.state == "waiting"),
            key=lambda job: job.rank,
        )

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
        self._want(job, "stop", {"painting": "painting", "paused": "paused", "waiting": "paused"})

    def cancel(self, job: Job) -> None:
        """End a painting and keep nothing of it."""
        self._want(
            job, "cancel", {"painting": "painting", "paused": "cancelled", "waiting": "cancelled"}
        )

    def forget(self, job: Job) -> None:
        """Cancel a painting and remove all that there is of it."""
        self.cancel(job)
        with self._change:
            self._change.wait_for(lambda: job.over or self._closed, timeout=GONE)
        self.jobs.pop(job.id, None)
        shutil.rmtree(job.folder, ignore_errors=True)

    def _want(self, job: Job, wanted: Wanted, states: dict[State, State]) -> None:
        """Note a wish, unless a stronger one is there already: what is to be stopped is not
        paused."""
        with self._change:
            if job.state in states and (wanted in STRONGER[job.wanted]):
                job.wanted = wanted
                self._enter(job, states[job.state])

    def _enter(self, job: Job, state: State) -> None:
        """Move a job into a state; under the lock."""
        if job.over:
            return
        now = time.monotonic()
        if state == "painting" and job.aside:
            job.idle, job.aside = job.idle + now - job.aside, 0.0
        elif job.state == "painting" and state != "painting" and job.run and job.run.last:
            job.aside = now
        if state == "paused" and job.state != "paused":
            job.paused = now
        if state in OVER:
            job.ended = time.time()
            job.drop()
            self.metrics.over(job, state)
        job.state = state
        self._change.notify_all()

    # Workers
    # ----------------------------------------------------------------------------------------------

    def close(self) -> None:
        """End all paintings and remove everything."""
        with self._change:
            self._closed = True
            for job in list(self.jobs.values()):
                job.wanted = "cancel"
            self._change.notify_all()
        for thread in self._threads:
            thread.join(timeout=GONE)
        with self._change:
            for job in list(self.jobs.values()):
                if not job.over:
                    self._enter(job, "cancelled")
        self._held.close()

    def _work(self, threads: int, ready: SimpleQueue[Exception | None]) -> None:
        torch.set_num_threads(threads)
        try:
            warm_up(Config(backbone=self.networks[0], size=64, steps=2), self.terms.machine)
            ready.put(None)
        except Exception as error:  # whatever it is, `open` waits for an answer
            ready.put(error)
            return
        while (job := self._take()) is not None:
            self._work_on(job)
            if not self.waiting():
                give_back()

    def _work_on(self, job: Job) -> None:
        try:
            state = work(job, self.limits, self.terms.machine)
        except OutputError as error:
            log.error("a painting could not be written: %s", error)
            job.error, state = "the server could not write the painting; try again later", "failed"
        except ImpastoError as error:
            job.error, state = str(error), "failed"
        except Exception as error:
            log.exception("a painting failed")
            job.error, state = (
                f"something went wrong here ({type(error).__name__}); try again",
                "failed",
            )
            if out_of_memory(error):
                job.error = "there is not enough memory for this: give a smaller --size"
        with self._change:
            if state == "paused" and job.wanted == "":  # somebody thought better of it meanwhile
                state = "waiting"
            self._enter(job, state)

    def _take(self) -> Job | None:
        with self._change:
            self._change.wait_for(lambda: self._closed or self.waiting())
            if self._closed:
                return None
            job = self.waiting()[0]
            # each painting takes the clock, at which newcomers begin, on: nobody waits for ever
            if self._served:
                self._clock += 1 / len({self._served, *(each.owner for each in self.waiting())})
            self._clock, self._served = max(self._clock, job.rank[0]), job.owner
            self._enter(job, "painting")
            return job

    # What is old or alone
    # ---------------------------------------------------------------------------------------------

    def pin_uploads(self) -> None:
        """Keep the uploads that are there now for good: they are the page's own."""
        self._spared = set(self.uploads.rglob("*"))

    def _sweep(self) -> None:
        while not self._closed:
            time.sleep(TICK)
            try:
                for job in list(self.jobs.values()):
                    self._look_after(job)
                self._clear_uploads()
            except Exception:  # it must not be the last look
                log.exception("looking after the paintings failed")

    def _look_after(self, job: Job) -> None:
        now = time.time()
        if job.over and now - job.ended > self.limits.keep:
            self.forget(job)
        elif job.watched is not None and not job.over and now - job.watched > GONE:
            self.cancel(job)
        elif job.state == "paused" and job.wanted == "stop":
            self._want(job, "stop", {"paused": "painting"})
            self._work_on(job)
        elif job.state == "paused" and time.monotonic() - job.paused > PAUSE:
            self.stop(job)

    def _clear_uploads(self) -> None:
        stored = remove_old(self.uploads, self._spared, self.limits.keep)
        self.uploads_full = stored > UPLOADS * self.limits.upload
