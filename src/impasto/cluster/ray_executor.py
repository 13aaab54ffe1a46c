"""A batch on a Ray cluster: one painter a device, who pull their work; what dies is painted again
elsewhere."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray

from impasto.batch.worker import Task, Worker, WorkerUpdate
from impasto.cluster.ray_cluster import VERSIONS, Device, list_devices, start_worker, use_device
from impasto.errors import ClusterError, OutputError
from impasto.locking import exclusive_lock
from impasto.painting.checkpoint_file import NAME, newest, put

if TYPE_CHECKING:
    from impasto.backbone.weight_files import Weights
    from impasto.batch.executor import StopRequest
    from impasto.batch.scheduler import Scheduler

__all__ = ["run_on_ray"]

SLICE = 0.5  # seconds that a painter paints between two words
LOOK = 2.0  # seconds between two looks at what the cluster has
LONG = 30.0  # seconds after which it is told that nobody has come
KEEPING = 30.0  # seconds that painters have to write their last checkpoints
LEAVING = 5.0  # seconds that they have to tidy up
# times that a place has no painter, or loses him, with no painting between: it is not asked again
REFUSALS = 10
FOLDER = "impasto-painter-"  # what the names of painters' temporary folders begin with
YOUNG = 60.0  # seconds that a folder may not be held yet by who has made it
REMEMBERED = 64  # files and networks that are kept in the object store

States = dict[str, bytes]  # checkpoints by key


class RemoteWorker:
    """The Worker on a device of the cluster, without a shared disk: files come with the work,
    checkpoints go back."""

    def __init__(self, device: Device):
        use_device(device)
        self._painter = Worker()
        _sweep()
        self._folder = Path(tempfile.mkdtemp(prefix=FOLDER))
        self._held = ExitStack()
        self._held.enter_context(exclusive_lock(self._folder))  # as long as this process lives

    def versions(self) -> str:
        """What paints here."""
        return VERSIONS

    def begin(
        self,
        tasks: Sequence[Task],
        states: States,
        weights: Weights,
        digests: Sequence[str],
        *files: bytes,
    ) -> tuple[WorkerUpdate, States]:
        """Take on tasks, from their checkpoints where there are any, and paint for a while."""
        for each in filter(Path.is_dir, self._folder.glob("*")):
            shutil.rmtree(each, ignore_errors=True)
        folders = {task.key: self._folder / task.key for task in tasks}
        for key, folder in folders.items():
            folder.mkdir(parents=True)
            if key in states:
                (folder / NAME).write_bytes(states[key])
        self._painter.begin(tasks, dict(zip(digests, files, strict=True)), weights, folders)
        return self.advance()

    def advance(self) -> tuple[WorkerUpdate, States]:
        """Paint for a while."""
        return self._with_states(self._painter.advance(SLICE))

    def keep(self) -> tuple[WorkerUpdate, States]:
        """Write checkpoints now."""
        return self._with_states(self._painter.keep())

    def _with_states(self, report: WorkerUpdate) -> tuple[WorkerUpdate, States]:
        saved = {key: self._folder / key / NAME for key in report.saved if key not in report.done}
        return report, {key: path.read_bytes() for key, path in saved.items()}

    def leave(self) -> None:
        """Leave nothing behind."""
        shutil.rmtree(self._folder, ignore_errors=True)


def _sweep() -> None:
    """Remove the temporary folders of workers that were killed on this machine."""
    for folder in Path(tempfile.gettempdir()).glob(f"{FOLDER}*"):
        with suppress(OSError):  # somebody paints there, or was faster
            if time.time() - folder.stat().st_mtime > YOUNG:
                with exclusive_lock(folder) as held:
                    if held:
                        shutil.rmtree(folder, ignore_errors=True)


@dataclass
class WorkerHandle:
    """A worker on a device: its tasks, and the answer that it owes."""

    device: Device
    actor: Any
    answer: Any
    tasks: list[Task] = field(default_factory=list)
    ready: bool = False


def run_on_ray(scheduler: Scheduler, stopping: StopRequest) -> None:
    """Paint everything that waits, on every device of the cluster that has been joined.

    Raises KeyboardInterrupt when it is stopped, with all kept; ClusterError where nobody can paint.
    """
    executor = RayExecutor(scheduler)
    scheduler.store.stopped = lambda: stopping.asked
    try:
        while executor.busy or scheduler.waiting:
            executor.start_worker()
            executor.deal()
            executor.listen()
            if stopping.asked:
                executor.keep()
            stopping.raise_if_requested()
    finally:
        executor.shutdown()


class RayExecutor:
    """All workers: one a device, each with one assignment at most."""

    def __init__(self, scheduler: Scheduler):
        self._scheduler = scheduler
        self._handles: list[WorkerHandle] = []
        # when it was looked what there is, and somebody was there
        self._looked, self._seen = 0.0, time.monotonic()
        self._told = self._told_of_disk = False
        self._refused: Counter[Device] = Counter()
        self._why = ""
        self._faulty = set[str]()  # keys that somebody's painter found a fault with
        # files in the object store, by checksum, the oldest first
        self._stored: dict[str, Any] = {}

    @property
    def busy(self) -> bool:
        """Whether anybody has something in hand."""
        return any(handle.tasks for handle in self._handles)

    def start_worker(self) -> None:
        """A painter for every device that has none: also for those that came later, or whose
        painter died."""
        if time.monotonic() - self._looked < LOOK and self._handles:
            return
        self._looked = time.monotonic()
        found = list_devices()
        able = [device for device in found if self._refused[device] < REFUSALS]
        if not able and not self._handles:
            raise ClusterError(
                self._why or "the cluster has no device to paint on",
                [device.name for device in found],
            )
        if any(handle.ready for handle in self._handles):
            self._seen = self._looked
        elif not self._told and self._looked - self._seen > LONG:
            names = ", ".join(device.name for device in able)
            self._scheduler.note(
                f"nobody has come yet to paint at {names}: perhaps others use the cluster; waiting"
            )
            self._told = True
        taken = {handle.device for handle in self._handles}
        for device in able:
            if device not in taken:
                actor = start_worker(RemoteWorker, device)
                self._handles.append(WorkerHandle(device, actor, actor.versions.remote()))

    def deal(self) -> None:
        """Work for those who have none."""
        for handle in self._handles:
            if handle.ready and not handle.tasks:
                self._give(handle)

    def _give(self, handle: WorkerHandle) -> None:
        assignment = self._scheduler.next_assignment(
            handle.device.name, [each.device.name for each in self._handles if each.ready]
        )
        if assignment is None:
            return
        states = {}
        for key, folder in self._scheduler.folders(assignment.tasks).items():
            with suppress(OSError, OutputError):  # it cannot be read: it is begun anew
                if path := newest(folder):
                    states[key] = path.read_bytes()
        files = [self._in_store(digest, data) for digest, data in assignment.files.items()]
        weights = self._in_store(assignment.weights.sha256, assignment.weights)
        handle.tasks = assignment.tasks
        handle.answer = handle.actor.begin.remote(
            assignment.tasks, states, weights, list(assignment.files), *files
        )

    def _in_store(self, digest: str, data: bytes | Weights) -> Any:
        """A file's bytes or a network where all nodes can have them; a style is sent once."""
        reference = self._stored.pop(digest, None)
        self._stored[digest] = reference = ray.put(data) if reference is None else reference
        if len(self._stored) > REMEMBERED:
            del self._stored[next(iter(self._stored))]
        return reference

    def listen(self) -> None:
        """Wait for a word from somebody."""
        owed = {handle.answer: handle for handle in self._handles if handle.answer is not None}
        if not owed:
            time.sleep(SLICE)
            return
        answers = list(owed)
        ray.wait(answers, num_returns=1, timeout=SLICE)
        answered, _ = ray.wait(answers, num_returns=len(answers), timeout=0)
        for answer in answered:
            self._on_reply(owed[answer])

    def _on_reply(self, handle: WorkerHandle) -> None:
        try:
            said = ray.get(handle.answer)
        except ray.exceptions.RayError as error:
            cause = getattr(error, "cause", None) or error
            self._on_lost(handle, f"{type(cause).__name__}: {cause}")
            return
        handle.answer = None
        if not handle.ready:
            handle.ready = said == VERSIONS
            if not handle.ready:
                self._blacklist(handle, f"it has {said}, and this is {VERSIONS}", REFUSALS)
            return
        (report, states), tasks = said, handle.tasks
        if faults := _faults(report):
            self._take(handle, tasks, report, states)
            ray.wait([handle.actor.leave.remote()], timeout=LEAVING)
            # a picture's own, it seems, and not the machine's
            again = faults.keys() <= self._faulty
            self._faulty |= faults.keys()
            self._on_lost(handle, next(iter(faults.values())), 0 if again else 1)
            return
        try:  # it paints on while this is written
            if report.over:
                handle.tasks = []
                self._give(handle)
            else:
                handle.answer = handle.actor.advance.remote()
        finally:
            self._take(handle, tasks, report, states)

    def _take(
        self, handle: WorkerHandle, tasks: Sequence[Task], report: WorkerUpdate, states: States
    ) -> None:
        folders = self._scheduler.folders([task for task in tasks if task.key in states])
        for key, state in states.items():
            try:
                put(folders[key], state)
            except OutputError as error:
                if not self._told_of_disk:
                    report.notes.append(f"no checkpoint: {error}; it is tried again")
                self._told_of_disk = True
        if report.done:
            del self._refused[handle.device]
        self._scheduler.take(handle.device.name, tasks, report)

    def _on_lost(self, handle: WorkerHandle, why: str, times: int = 1) -> None:
        """A painter that is dead, or never came."""
        self._blacklist(handle, why, times)
        self._scheduler.worker_lost(handle.device.name, handle.tasks, self._why)

    def _blacklist(self, handle: WorkerHandle, why: str, times: int) -> None:
        self._refused[handle.device] += times
        self._why = f"nobody can paint at {handle.device.name}: {' '.join(why.split())}"
        self._stop(handle)

    def keep(self) -> None:
        """Have everybody write a checkpoint, and bring it here."""
        owed = [
            (handle, [handle.answer, handle.actor.keep.remote()])
            for handle in self._handles
            if handle.tasks
        ]
        deadline = time.monotonic() + KEEPING
        for handle, answers in owed:
            for answer in answers:
                try:
                    report, states = ray.get(answer, timeout=max(0.1, deadline - time.monotonic()))
                    _faults(report)
                    self._take(handle, handle.tasks, report, states)
                except ray.exceptions.RayError:
                    break  # the checkpoint before is here

    def _stop(self, handle: WorkerHandle) -> None:
        self._handles.remove(handle)
        ray.kill(handle.actor)

    def shutdown(self) -> None:
        """Shut down all workers."""
        leaving = [handle.actor.leave.remote() for handle in self._handles if handle.ready]
        ray.wait(leaving, num_returns=len(leaving), timeout=LEAVING) if leaving else None
        for handle in list(self._handles):
            self._stop(handle)


def _faults(report: WorkerUpdate) -> dict[str, str]:
    """Remove and return unexpected failures, so that another device can retry them."""
    keys = [key for key, failure in report.failed.items() if failure.unexpected]
    return {key: report.failed.pop(key).words for key in keys}
