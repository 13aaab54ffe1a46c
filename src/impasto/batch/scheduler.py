"""Assigns a batch's tasks to workers, collects what they made, and records it in the store."""

from __future__ import annotations

import datetime
import hashlib
from collections import deque
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from impasto.batch.job import FileHashes, Job, normalized_settings
from impasto.batch.store import OF_THE_NAME, BatchStore
from impasto.batch.worker import Failure, File, Task, Worker, WorkerUpdate, at_once
from impasto.errors import ConfigError, OutputError, PictureError
from impasto.images.read import bytes_of, read_settings
from impasto.images.write import FORMATS
from impasto.painting.record import recorded_settings
from impasto.version import __version__

if TYPE_CHECKING:
    from impasto.backbone.weight_files import Weights
    from impasto.batch.executor import StopRequest
    from impasto.batch.progress import BatchProgress

__all__ = ["Assignment", "Scheduler", "run_local"]

DEATHS = 3  # of workers over one task, after which it is not given to another


class Assignment(NamedTuple):
    """What one worker is given: tasks, their files' bytes by checksum, and the weights of their
    network."""

    tasks: list[Task]
    files: dict[str, bytes]
    weights: Weights


class Scheduler:
    """Knows what is waiting, who has what, and what came of it."""

    def __init__(
        self, store: BatchStore, progress: BatchProgress, known: FileHashes, retry_failed: bool
    ):
        self.store, self._progress, self._retry_failed = store, progress, retry_failed
        self._jobs: dict[str, Job] = {}
        self._tasks: dict[str, Task] = {}
        self._waiting: deque[str] = deque()
        self._deaths: dict[str, list[str]] = {}  # workers that died over a task, by key
        self._answered: set[str] = set()  # keys of which something has come, or will not
        self._known = known
        self._unreadable: list[tuple[Job, str]] = []  # jobs without a key, and why

    def plan(self, jobs: Sequence[Job]) -> None:
        """Find out what there is to do. Raises ImpastoError for what is wrong with all of it."""
        for job in jobs:
            try:
                key = self._known.key(job)
            except PictureError as error:
                self._unreadable.append((job, str(error)))
                known = self.store.record(key := _without_checksums(job))
                if known is None or known["error"] != str(error):
                    inputs = [
                        {"role": role, "name": path, "sha256": None} for role, path in job.paths
                    ]
                    self.store.failed(key, Failure(str(error)), {**_asked(job), "inputs": inputs})
                self._progress.failed(f"{job.words}: {error}")
                continue
            if key in self._jobs:
                first = self._jobs[key]
                under = (
                    f": it is painted as {first.name}, not as {job.name}"
                    if first.name != job.name
                    else ""
                )
                self.note(f"{job.words} is asked for twice{under}")
                continue
            self._jobs[key] = job
            self._tasks[key] = _task(key, job, self._known)
            if self.store.record(before := _without_checksums(job)):
                self.store.replace(before, key)
            record = self.store.record(key)
            if record is None or (
                record["state"] == "failed" and (self._retry_failed or record.get("passing"))
            ):
                self._waiting.append(key)
            elif record["state"] == "failed":
                self._progress.failed(f"{job.words}: {record['error']}", before=True)
            else:
                self._progress.done_before()
                if job.out and record["out"] != job.out:
                    self.note(f"{job.words} is there as {record['out']}, not as {job.out}")
        self.store.assign_names({key: self._jobs[key].name for key in self._waiting}, self._is_ours)
        self._progress.begin(len(self._waiting))

    def _is_ours(self, key: str, path: Path) -> bool:
        """Whether a file is the whole painting of a key: of a run that died before it could say
        so."""
        task = self._tasks[key]
        try:
            settings = read_settings(path)
            config, machine = recorded_settings(settings)
            digests = {each["name"]: each["sha256"] for each in settings["inputs"]}
            same = normalized_settings(config, machine, digests.__getitem__) == normalized_settings(
                task.config, task.machine, self._known.file
            )
        except (PictureError, ConfigError, KeyError):
            return False
        main = [
            each["sha256"] for each in settings["inputs"] if each["role"] in ("content", "style")
        ]
        whole = (
            config.backbone == task.config.backbone and settings["steps_done"] == task.config.steps
        )
        return same and whole and main == [file.sha256 for file in (task.content, *task.styles)]

    @property
    def waiting(self) -> int:
        """How many tasks nobody has yet."""
        return len(self._waiting)

    def next_assignment(
        self, worker: str = "", workers: Sequence[str] = ("",)
    ) -> Assignment | None:
        """Work for one of the workers: a task, or some small ones; None when nothing waits for it.

        A task over which this worker died is left to one who did not, if there is one: perhaps it
        is the machine. Raises OutputError.
        """

        def suits(key: str) -> bool:
            died = self._deaths.get(key, [])
            return worker not in died or set(workers) <= set(died)

        while (key := next(filter(suits, self._waiting), None)) is not None:
            self._waiting.remove(key)
            self._waiting.appendleft(key)
            first = self._tasks[key].config
            most = min(at_once(first), -(-len(self._waiting) // len(workers)))
            assignment = Assignment([], {}, self._known.network(first.backbone))
            while self._waiting and len(assignment.tasks) < most:
                config = self._tasks[self._waiting[0]].config
                if assignment.tasks and self._deaths.keys() & {
                    self._waiting[0],
                    assignment.tasks[0].key,
                }:
                    break  # what somebody has died over is painted alone
                if (config.size, config.backbone) != (first.size, first.backbone):
                    break
                key = self._waiting.popleft()
                try:
                    assignment.files.update(self.store.retry_io(partial(_read, self._tasks[key])))
                    assignment.tasks.append(self._tasks[key])
                except PictureError as error:
                    # it was there when the batch began
                    self._fail(key, Failure(str(error), transient=True))
            if assignment.tasks:
                return assignment
        return None

    def folders(self, tasks: Sequence[Task]) -> dict[str, Path]:
        """Where the checkpoints of some tasks lie."""
        return {task.key: self.store.work_folder(task.key) for task in tasks}

    def take(self, worker: str, tasks: Sequence[Task], report: WorkerUpdate) -> None:
        """Keep what a worker has made. Nothing is taken twice. Raises OutputError,
        KeyboardInterrupt as the ledger."""
        for note in report.notes:
            self.note(note)
        for key, done in report.done.items():
            if key in self._answered:
                continue
            try:
                self.store.done(
                    key, done.picture, {**self._record(key), **done.record, "worker": worker}
                )
            except OutputError as error:
                if getattr(error.__cause__, "errno", None) not in OF_THE_NAME:
                    raise
                self._fail(key, Failure(str(error)))
                continue
            self._answered.add(key)
            self._progress.done()
            if doubt := done.record["doubt"]:
                self._progress.doubted(f"{self._jobs[key].words}: {doubt}")
        for key in report.failed.keys() - self._answered:
            self._fail(key, report.failed[key])
        answered = sum(task.key in self._answered for task in tasks)
        share = max(0.0, len(tasks) * report.fraction - answered)
        self._progress.show(
            worker, "" if report.over else self._in_hand(tasks), share, report.fraction
        )

    def note(self, words: str) -> None:
        """Tell something that is not as it should be."""
        self._progress.note(words)

    def worker_lost(self, worker: str, tasks: Sequence[Task], why: str) -> None:
        """A worker is gone: what it had in hand is given to another, from its last checkpoint.
        Raises OutputError."""
        self._progress.show(worker, "", 0.0, 0.0)
        for task in reversed(tasks):
            if task.key in self._answered:
                continue
            deaths = self._deaths.setdefault(task.key, [])
            deaths.append(worker)
            if len(deaths) < DEATHS:
                self._waiting.appendleft(task.key)
            else:
                self._fail(
                    task.key, Failure(f"{len(deaths)} workers died over it, the last one so: {why}")
                )

    def _fail(self, key: str, failure: Failure) -> None:
        self._answered.add(key)
        self.store.failed(key, failure, self._record(key))
        self._progress.failed(f"{self._jobs[key].words}: {failure.words}")

    def _record(self, key: str) -> dict[str, Any]:
        """What the manifest says of a job, whatever came of it."""
        task = self._tasks[key]
        inputs = [("content", task.content), *(("style", each) for each in task.styles)]
        inputs += [("named", each) for each in task.named]
        return {
            **_asked(self._jobs[key]),
            "inputs": [{"role": role, **file._asdict()} for role, file in inputs],
        }

    def _in_hand(self, tasks: Sequence[Task]) -> str:
        first = self.store.path(tasks[0].key).name
        return first if len(tasks) == 1 else f"{first} and {len(tasks) - 1} more"

    def results(self) -> Iterator[tuple[Job, Path | str | None]]:
        """Every job of this batch, and its painting, or why there is none; None: not yet."""
        for key, job in self._jobs.items():
            record = self.store.record(key)
            if record is None:
                yield job, None
            elif record["state"] == "done":
                yield job, self.store.folder / record["out"]
            else:
                yield job, str(record["error"])
        yield from self._unreadable


def _asked(job: Job) -> dict[str, Any]:
    """What a line of the manifest begins with."""
    return {
        "content": job.content,
        "styles": list(job.styles),
        "config": job.config.model_dump(mode="json"),
        "machine": job.machine.model_dump(mode="json"),
        "version": __version__,
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    }


def _without_checksums(job: Job) -> str:
    """In the place of a key, for a job whose pictures cannot be opened."""
    return hashlib.sha256(repr(job).encode()).hexdigest()


def _task(key: str, job: Job, known: FileHashes) -> Task:
    files = [(role, File(path, known.file(path))) for role, path in job.paths]
    named = {file for role, file in files if role not in ("content", "style")}
    styles = tuple(file for role, file in files if role == "style")
    suffix = next(each for each in FORMATS if job.name.lower().endswith(each))
    return Task(key, job.config, job.machine, files[0][1], styles, tuple(sorted(named)), suffix)


def _read(task: Task) -> dict[str, bytes]:
    """The bytes of a task's files. Raises PictureError, also for a file that is not what it was."""
    found = {}
    for file in task.files:
        data = bytes_of(Path(file.name))
        if hashlib.sha256(data).hexdigest() != file.sha256:
            raise PictureError(f"{file.name} has changed since the batch began", file.name)
        found[file.sha256] = data
    return found


def run_local(scheduler: Scheduler, stopping: StopRequest) -> None:
    """Paint everything that waits, in this process. Raises KeyboardInterrupt when it is stopped,
    with all kept."""
    scheduler.store.stopped = lambda: stopping.asked
    worker = Worker()
    while (assignment := scheduler.next_assignment()) is not None:
        worker.begin(
            assignment.tasks,
            assignment.files,
            assignment.weights,
            scheduler.folders(assignment.tasks),
        )
        over = False
        while not over:
            report = worker.advance()
            over = report.over
            scheduler.take("", assignment.tasks, report)
            if stopping.asked and not over:
                scheduler.take("", assignment.tasks, worker.keep())
            stopping.raise_if_requested()
