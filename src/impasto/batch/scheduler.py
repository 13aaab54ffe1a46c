"""Decide which worker paints what, and record the results in the store."""

from __future__ import annotations

import datetime
import hashlib
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from impasto.backbone.load import network_key
from impasto.batch.executor import Assignment, Done, Executor, File, StopRequest, Task, WorkerUpdate
from impasto.batch.job import Inputs, Job
from impasto.batch.progress import BatchProgress
from impasto.batch.store import BatchStore
from impasto.config import Config
from impasto.errors import OutputError, PictureError, is_disk_full
from impasto.images.read import bytes_of
from impasto.images.write import DEFAULT_OPTIONS, FORMATS, FileOptions
from impasto.painting.checkpoint_file import put
from impasto.version import __version__

MOST_LOSSES = 3  # workers that may be lost over a task before it is given up

# small paintings are painted several at once: more than these would gain nothing
PIXELS_AT_ONCE = 512 * 512 * 2
MOST_AT_ONCE = 8


class Scheduler:
    """The tasks of a batch: which are waiting, which are in progress, and what came of them."""

    def __init__(
        self,
        store: BatchStore,
        progress: BatchProgress,
        inputs: Inputs,
        options: FileOptions = DEFAULT_OPTIONS,
    ):
        """options: how the paintings' files are written."""
        self._store, self._progress, self._inputs = store, progress, inputs
        self._options = options
        self._results: dict[Job, Path | str | None] = {}
        self._jobs: dict[str, Job] = {}
        self._tasks: dict[str, Task] = {}
        self._waiting: deque[str] = deque()
        self._in_progress: dict[str, list[Task]] = {}  # the unfinished tasks of each worker
        self._tried: dict[str, list[str]] = {}  # workers that were lost or failed, by task key
        self._told_of_disk = False
        self.workers: Sequence[str] = ()  # the executor's, by name

    def plan(self, jobs: Sequence[Job]) -> None:
        """Find out which paintings have to be made.

        Raises:
            ImpastoError: something is wrong with all of them, such as missing weights.
        """
        for job in jobs:
            try:
                key = self._inputs.fingerprint(job)
            except PictureError as error:  # without checksums the manifest cannot name the job
                self._results[job] = str(error)
                self._progress.failed(f"{job}: {error}")
                continue
            if key in self._jobs:
                first = self._jobs[key].name
                other = f": it is painted as {first}, not as {job.name}" * (first != job.name)
                self._progress.note(f"{job} is asked for twice{other}")
                continue
            self._jobs[key] = job
            if out := self._store.find(key):
                self._results[job] = self._store.folder / out
                self._progress.done_before()
                if job.out and out != job.out:
                    self._progress.note(f"{job} is there as {out}, not as {job.out}")
            else:
                self._results[job] = None
                self._tasks[key] = _task(key, job, self._inputs)._replace(options=self._options)
                self._waiting.append(key)
        self._store.assign_names({key: self._jobs[key].name for key in self._waiting})
        self._progress.begin(len(self._waiting))

    def run(self, executor: Executor, stop: StopRequest) -> None:
        """Have everything that is waiting painted.

        Raises:
            KeyboardInterrupt: the user stopped it; checkpoints are written.
            OutputError: the batch's folder cannot be written.
            ClusterError: there is no worker.
        """
        try:
            while self._waiting or self._in_progress:
                self.workers = executor.workers()
                for worker in executor.idle_workers():
                    if assignment := self.next_assignment(worker):
                        executor.begin(worker, assignment)
                for update in executor.wait():
                    self.collect(update)
                for update in executor.checkpoint() if stop.asked else ():
                    self.collect(update)
                stop.raise_if_requested()
        finally:
            executor.shutdown()

    def next_assignment(self, worker: str) -> Assignment | None:
        """Work for one of the workers: a task, or several small ones; None if nothing suits it.

        Raises:
            OutputError: the batch's folder cannot be written.
        """
        while keys := self._next_keys(worker):
            tasks, files = [], {}
            for key in keys:
                self._waiting.remove(key)
                try:
                    files.update(_read_files(self._tasks[key]))
                    tasks.append(self._tasks[key])
                except PictureError as error:  # it could be read when the batch began
                    self._record_failure(key, str(error))
            if tasks:
                self._in_progress[worker] = list(tasks)
                weights = self._inputs.network(tasks[0].config)
                folders = {task.key: self._store.work_folder(task.key) for task in tasks}
                return Assignment(tasks, files, weights, folders)
        return None

    def _next_keys(self, worker: str) -> list[str]:
        """Choose what to paint next: alike tasks together, but no more than a worker's share.

        A task over which workers were lost is given alone, and to another worker if there is one:
        the device may be faulty.
        """

        def suits(key: str) -> bool:
            tried = self._tried.get(key, [])
            return worker not in tried or set(self.workers) <= set(tried)

        def kind(key: str) -> tuple[Any, ...]:
            task = self._tasks[key]
            return task.config.size, *network_key(task.config, task.machine)

        first = next(filter(suits, self._waiting), None)
        if first is None or first in self._tried:
            return [first] if first else []
        share = -(-len(self._waiting) // len(self.workers))
        alike = (
            key for key in self._waiting if key not in self._tried and kind(key) == kind(first)
        )
        return list(islice(alike, min(at_once(self._tasks[first].config), share)))

    def collect(self, update: WorkerUpdate) -> None:
        """Record what has happened on one of the workers.

        Raises:
            OutputError: the batch's folder cannot be written.
        """
        for note in update.notes:
            self._progress.note(note)
        for key, state in update.states.items():
            self._keep_checkpoint(key, state)
        for key, done in update.done.items():
            self._record_done(key, done, update.worker)
        for key, failure in update.failed.items():
            if failure.unexpected and update.lost and key not in self._tried:
                self._tried[key] = [update.worker]
                self._waiting.append(key)  # once more, after the others
            else:
                self._record_failure(key, failure.message)
        ended = update.done.keys() | update.failed.keys()
        tasks = [task for task in self._in_progress.pop(update.worker, []) if task.key not in ended]
        if update.lost:
            self._on_lost(update, tasks)
        elif tasks and not update.idle:
            self._in_progress[update.worker] = tasks
        self._show(update)

    def _on_lost(self, update: WorkerUpdate, tasks: Sequence[Task]) -> None:
        """Give the tasks of a lost worker to others, who resume them from their checkpoints."""
        for task in reversed(tasks):
            lost = self._tried.setdefault(task.key, [])
            lost.append(update.worker)
            if len(lost) < MOST_LOSSES:
                self._waiting.appendleft(task.key)
            else:
                message = f"{len(lost)} workers died over it, the last one so: {update.lost}"
                self._record_failure(task.key, message)

    def _keep_checkpoint(self, key: str, state: bytes) -> None:
        try:
            put(self._store.work_folder(key), state)
        except OutputError as error:
            if not self._told_of_disk:
                self._progress.note(f"no checkpoint: {error}; it is tried again")
            self._told_of_disk = True

    def _record_done(self, key: str, done: Done, worker: str) -> None:
        try:
            record = {**self._record(key), **done.record, "worker": worker}
            self._store.done(key, done.picture, record)
        except OutputError as error:
            if is_disk_full(error):
                raise  # there will be none for the next one
            self._record_failure(key, str(error))
            return
        self._results[self._jobs[key]] = self._store.path(key)
        self._progress.done()
        if doubt := done.record["doubt"]:
            self._progress.doubted(f"{self._jobs[key]}: {doubt}")

    def _record_failure(self, key: str, message: str) -> None:
        self._store.failed(key, message, self._record(key))
        self._results[self._jobs[key]] = message
        self._progress.failed(f"{self._jobs[key]}: {message}")

    def _record(self, key: str) -> dict[str, Any]:
        """The part of a manifest's line that done and failed jobs share."""
        job, task = self._jobs[key], self._tasks[key]
        inputs = [("content", task.content), *(("style", file) for file in task.styles)]
        inputs += [("named", file) for file in task.named]
        return {
            "content": job.content,
            "styles": list(job.styles),
            "config": job.config.model_dump(mode="json"),
            "machine": job.machine.model_dump(mode="json"),
            "version": __version__,
            "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            "inputs": [{"role": role, **file._asdict()} for role, file in inputs],
        }

    def _show(self, update: WorkerUpdate) -> None:
        """Show what a worker is painting."""
        text = ""
        tasks = self._in_progress.get(update.worker, [])
        if tasks:
            more = f" and {len(tasks) - 1} more" if len(tasks) > 1 else ""
            text = f"{self._store.path(tasks[0].key).name}{more}"
        fraction = update.in_progress / max(1, len(tasks))
        self._progress.show(update.worker, text, update.in_progress, fraction)

    @property
    def waiting(self) -> int:
        """The number of tasks that no worker has yet."""
        return len(self._waiting)

    def results(self) -> Iterator[tuple[Job, Path | str | None]]:
        """Every job with its painting, or why there is none; None: not painted yet."""
        yield from self._results.items()


def at_once(config: Config) -> int:
    """The number of tasks of a config's size that a worker is given at once."""
    if config.size == "original":
        return 1
    return max(1, min(MOST_AT_ONCE, PIXELS_AT_ONCE // config.size**2))


def _task(key: str, job: Job, inputs: Inputs) -> Task:
    files = [(role, File(path, inputs.checksum(path))) for role, path in job.paths]
    named = {file for role, file in files if role not in ("content", "style")}
    styles = tuple(file for role, file in files if role == "style")
    suffix = next(each for each in FORMATS if job.name.lower().endswith(each))
    return Task(key, job.config, job.machine, files[0][1], styles, tuple(sorted(named)), suffix)


def _read_files(task: Task) -> dict[str, bytes]:
    """The bytes of a task's files, by sha256. Raises PictureError, also if one has changed."""
    contents = {}
    for file in task.files:
        data = bytes_of(Path(file.name))
        if hashlib.sha256(data).hexdigest() != file.sha256:
            raise PictureError(f"{file.name} has changed since the batch began", file.name)
        contents[file.sha256] = data
    return contents
