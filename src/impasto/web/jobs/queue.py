"""The studio's queue and workers: which painting is next, and which end by themselves."""

from __future__ import annotations

import logging
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import torch
from anyio import CapacityLimiter, to_thread

from impasto.config import Config, Machine
from impasto.errors import ImpastoError, OutputError
from impasto.painting.allocator import give_back, keep_big_blocks
from impasto.web.jobs import policy
from impasto.web.jobs.folders import UPLOAD_FOLDER, RoomError, remove_old, studio_folder
from impasto.web.jobs.job import OVER, STRENGTH, Job, Requested, State
from impasto.web.jobs.kinds import check, config_for, work_on
from impasto.web.jobs.limits import Limits
from impasto.web.jobs.metrics import Metrics
from impasto.web.jobs.quick_looks import Look, Looks
from impasto.web.jobs.request import BusyError, PaintRequest
from impasto.web.jobs.uploads import ReadingMemory
from impasto.web.jobs.worker import failure, save_copy, warm_up

ENDING = 6.0  # seconds that a painting may take to end when it is cancelled
UPLOADS = 20  # of the largest uploads: room for new ones, and for those of finished paintings
READERS = 64  # requests whose pictures are read at once; memory ends before that
TICK = 1.0  # seconds between two sweeps
log = logging.getLogger("impasto.studio")


class Studio:
    """A queue of paintings, the threads that paint them, and the folder of their files.

    machine: where all paintings are computed. networks: names or paths of the networks that
    visitors may choose from. save_to: a folder where finished paintings are also written.
    `close` removes the studio's own folder. Raises RoomError.
    """

    def __init__(
        self,
        limits: Limits,
        machine: Machine,
        networks: Sequence[str] = ("compact",),
        save_to: Path | None = None,
    ):
        self.limits, self.networks, self.save_to = limits, tuple(networks), save_to
        self.policy = policy.Policy(limits, machine, self.networks)
        self.reading = ReadingMemory(self.policy.memory)
        self.jobs: dict[str, Job] = {}  # in the order in which they were queued
        self.metrics = Metrics(self.count)
        self.uploads_full = False
        self._most_stored = UPLOADS * limits.upload
        self._looks = Looks(self.policy, self.reading, partial(self.count, "waiting", "painting"))
        self._turns: list[str] = []  # owners; the first had the last turn
        self._change = threading.Condition()
        self._readers = CapacityLimiter(READERS)
        self._closed = False
        self._pinned = set[Path]()
        self._threads: list[threading.Thread] = []
        self._share = 1  # of the processors: the threads of a worker
        # last: a signal that ends the process meanwhile leaves nothing behind
        self._held = ExitStack()
        self.folder = self._held.enter_context(studio_folder())
        self.uploads = self.folder / UPLOAD_FOLDER

    def open(self) -> None:
        """Start the workers; each loads the network and runs it once, so no visitor waits for that.

        Raises ImpastoError if that fails; `close` is due all the same.
        """
        keep_big_blocks()  # before there are threads: those that start after it share its arena
        self._share = max(1, torch.get_num_threads() // self.limits.workers)
        ready = SimpleQueue[Exception | None]()
        for _ in range(self.limits.workers):
            self._start(self._work, ready)
            if (failure := ready.get()) is not None:
                raise failure
        # Only workers compute with several threads: OpenMP puts idle threads to sleep as soon as
        # there are more of them than processors, and a painting took 1.47 times as long instead of
        # 1.06 (benchmarks/studio.py).
        torch.set_num_threads(1)
        self._start(self._sweep)

    def _start(self, target: Callable[..., None], *given: Any) -> None:
        self._threads.append(threading.Thread(target=target, args=given, daemon=True))
        self._threads[-1].start()

    def submit(
        self, request: PaintRequest, owner: str, watched: bool = False, visitor: str = ""
    ) -> Job:
        """Check a request, pictures included, and queue it. Blocks while the pictures are read.

        Args:
            request: what to paint.
            owner: a visitor or a program; owners take turns.
            watched: whether it counts when the visitor was last there.
            visitor: an address, whose places in the queue are counted; "": the owner.

        Raises:
            BusyError: no place in the queue, or no memory to read the pictures now.
            RoomError: the disk is full.
            ImpastoError: anything else that is wrong with the request.
        """
        try:
            return self._submit(request, owner, watched, visitor or owner)
        except (OSError, OutputError) as error:
            log.error("a request could not be kept: %s", error)
            raise RoomError("the server has no room for the pictures; try again later") from error
        except ImpastoError as error:
            self.metrics.refused.labels("busy" if isinstance(error, BusyError) else "invalid").inc()
            raise

    async def submit_async(
        self, request: PaintRequest, owner: str, watched: bool = False, visitor: str = ""
    ) -> Job:
        """`submit` in a thread: other visitors are answered, and their pictures read, meanwhile."""
        return await to_thread.run_sync(
            self.submit, request, owner, watched, visitor, limiter=self._readers
        )

    def _submit(self, request: PaintRequest, owner: str, watched: bool, visitor: str) -> Job:
        self._check_place(visitor)
        if request.base:
            request = policy.continue_from(request, self.jobs.get(request.base))
        config, folder = config_for(request, self.policy), self.folder / secrets.token_hex(16)
        job = Job.from_request(request, owner, visitor, config, folder)
        try:
            job.keep_inputs(request)
            check(job, self.policy, self.reading)
            job.last_seen = time.time() if watched else None
            with self._change:
                self._check_place(visitor)  # again: others were queued meanwhile
                self.jobs[job.id] = job
                self._change.notify()
        except BaseException:
            shutil.rmtree(job.folder, ignore_errors=True)
            raise
        return job

    def _check_place(self, visitor: str) -> None:
        """Raise BusyError if there is no place in the queue for another painting of this one."""
        if self._closed:
            raise BusyError("busy: the studio is being closed")
        self.policy.check_place(self.jobs.values(), visitor)

    def waiting(self) -> list[Job]:
        """The jobs that wait for a worker, the next one first."""
        return policy.in_turn(list(self.jobs.values()), self._turns)

    def _next_job(self) -> Job | None:
        """Wait for a job and begin it, with quick looks between; None when the studio is closed."""
        while True:
            with self._change:
                self._change.wait_for(
                    lambda: self._closed or self._looks.waiting() or self.count("waiting")
                )
                if self._closed:
                    return None
                if not self._looks.waiting():
                    order = self.waiting()
                    self._turns = list(dict.fromkeys(job.owner for job in order))
                    self._enter(order[0], "painting")
                    return order[0]
            self._looks.make_one()

    def look(self, request: PaintRequest, owner: str) -> Look | None:
        """A quick look at a request, whose pictures come one by one; None if no worker is free."""
        with self._change:
            if self._closed or self.count("waiting", "painting"):
                return None
            self._change.notify()
            return self._looks.ask(request, owner)

    def count(self, *states: State) -> int:
        """The number of jobs in one of some states."""
        return sum(job.state in states for job in list(self.jobs.values()))

    def place(self, job: Job) -> int:
        """The number of paintings before a waiting one, those being painted included."""
        waiting = self.waiting()
        return self.count("painting") + waiting.index(job) if job in waiting else 0

    def of(self, owner: str) -> list[Job]:
        """An owner's jobs, oldest first."""
        return [job for job in list(self.jobs.values()) if job.owner == owner]

    def seen(self, owner: str) -> None:
        """Note that a visitor is there."""
        for job in self.of(owner):
            job.last_seen = time.time()

    def pause(self, job: Job) -> None:
        """Suspend a painting; others are painted meanwhile."""
        self._request(job, "pause", waiting="paused")

    def resume(self, job: Job) -> None:
        """Continue a paused painting."""
        self._request(job, "", paused="waiting")

    def stop(self, job: Job) -> None:
        """End a painting and keep what there is of it; cancel it if there is nothing yet."""
        if job.progress is None and job.state in ("waiting", "paused"):
            self.cancel(job)
        self._request(job, "stop", waiting="paused", paused="paused")

    def cancel(self, job: Job) -> None:
        """End a painting and keep nothing of it."""
        self._request(job, "cancel", waiting="cancelled", paused="cancelled")

    def forget(self, job: Job) -> None:
        """Cancel a painting and delete its files."""
        self.cancel(job)
        with self._change:
            self._change.wait_for(lambda: job.over or self._closed, timeout=ENDING)
        self.jobs.pop(job.id, None)
        shutil.rmtree(job.folder, ignore_errors=True)

    def _request(self, job: Job, requested: Requested, **after: State) -> None:
        """Note a request, unless a stronger one came before; a worker that paints the job sees it.

        after: the next state by the present one; in one that is not there nothing happens.
        """
        with self._change:
            states: dict[str, State] = {"painting": "painting", **after}
            if job.state in states and STRENGTH[requested] >= STRENGTH[job.requested]:
                job.requested = requested
                self._enter(job, states[job.state])

    def _enter(self, job: Job, state: State) -> None:
        """Move a job into a state; the caller holds the lock."""
        if job.over:
            return
        if state in OVER:
            self.metrics.over(job, state)
        job.enter(state)
        self._change.notify_all()

    def close(self) -> None:
        """End all paintings and delete all files."""
        with self._change:
            self._closed = True
            self._looks.close()
            for job in list(self.jobs.values()):
                job.requested = "cancel"
            self._change.notify_all()
        for thread in self._threads:
            thread.join(timeout=ENDING)
        with self._change:
            for job in list(self.jobs.values()):
                self._enter(job, "cancelled")
        self._held.close()

    def _work(self, ready: SimpleQueue[Exception | None]) -> None:
        torch.set_num_threads(self._share)
        try:
            warm_up(Config(backbone=self.networks[0]), self.policy.machine)
            ready.put(None)
        except Exception as error:  # any: `open` waits for an answer
            ready.put(error)
            return
        while (job := self._next_job()) is not None:
            self._work_on(job, self._share)
            if not self.count("waiting"):
                give_back()

    def _work_on(self, job: Job, threads: int) -> None:
        state: State = "failed"
        try:
            state = work_on(job, self.limits, self.policy.machine, threads)
        except Exception as error:
            job.error = failure(error)
        if self.save_to and state in ("done", "stopped"):
            save_copy(job, self.save_to)
        with self._change:
            if state == "paused" and job.requested == "":  # resumed before the pause took effect
                state = "waiting"
            self._enter(job, state)

    def _sweep(self) -> None:
        """Once a TICK: end abandoned paintings, and delete what is old."""
        while not self._closed:
            time.sleep(TICK)
            try:
                for job in list(self.jobs.values()):
                    self._look_after(job)
                for job, wholly in policy.surplus(list(self.jobs.values()), self._most_stored):
                    self.forget(job) if wholly else job.remove_inputs()
                stored = remove_old(self.uploads, self._pinned, self.limits.keep)
                self.uploads_full = stored > self._most_stored
            except Exception:  # the next sweep must come
                log.exception("looking after the paintings failed")

    def _look_after(self, job: Job) -> None:
        job.give_way = policy.is_to_give_way(job, jobs := list(self.jobs.values()))
        if policy.abandoned(job, jobs, self.limits.keep):
            (self.forget if job.over else self.cancel)(job)
        elif job.state == "paused" and job.requested == "stop":
            self._request(job, "stop", paused="painting")
            self._work_on(job, self._share)  # here: it need not wait for a worker
            torch.set_num_threads(1)
        elif policy.paused_for_long(job):
            self.stop(job)

    def pin_uploads(self) -> None:
        """Keep the uploads that are there now for good: they are the page's own."""
        self._pinned = set(self.uploads.rglob("*"))
