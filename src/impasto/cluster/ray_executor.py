"""Paint a batch on a Ray cluster: one worker on every device."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import torch

from impasto.backbone.weight_files import Weights
from impasto.batch.executor import Assignment, Task, WorkerUpdate
from impasto.batch.worker import Worker
from impasto.cluster.ray_cluster import VERSIONS, Device, list_devices, start_worker, use_device
from impasto.errors import ClusterError, OutputError
from impasto.locking import own_folder
from impasto.painting.checkpoint_file import NAME, newest

UPDATE_EVERY = 0.5  # seconds between progress reports
CHECK_EVERY = 2.0  # seconds between checks for new devices
LONG = 30.0  # seconds without any worker, after which the user is told
LAST_CHECKPOINTS = 30.0  # seconds that workers have to write their last checkpoints
LEAVING = 5.0  # seconds that they have to remove their files
MOST_LOSSES = 10  # consecutive losses of a worker after which its device is no longer used
FOLDER = "impasto-worker-"  # what the names of workers' temporary folders begin with
REMEMBERED = 64  # files and networks that are kept in the object store


class RemoteWorker:
    """The Worker on a device of the cluster.

    There is no shared disk: files come with the assignment, checkpoints go back with the updates.
    """

    def __init__(self, device: Device):
        use_device(device)
        self._worker = Worker(torch.get_num_threads())
        self._held = ExitStack()
        self._folder = self._held.enter_context(own_folder(FOLDER))

    def versions(self) -> str:
        """The versions that paint here."""
        return VERSIONS

    def begin(
        self,
        tasks: list[Task],
        states: dict[str, bytes],
        weights: Weights,
        digests: Sequence[str],
        *files: bytes,
    ) -> WorkerUpdate:
        """Begin an assignment, and paint for a while. states: checkpoints to resume from, by key.

        The files are arguments of their own, so that Ray takes them from its object store.
        """
        for folder in filter(Path.is_dir, self._folder.glob("*")):
            shutil.rmtree(folder, ignore_errors=True)
        folders = {task.key: self._folder / task.key for task in tasks}
        for key, folder in folders.items():
            folder.mkdir(parents=True)
            if key in states:
                (folder / NAME).write_bytes(states[key])
        contents = dict(zip(digests, files, strict=True))
        self._worker.begin(Assignment(tasks, contents, weights, folders))
        return self.advance()

    def advance(self) -> WorkerUpdate:
        """Paint for a while."""
        return self._with_states(self._worker.advance(UPDATE_EVERY))

    def checkpoint(self) -> WorkerUpdate:
        """Write checkpoints now."""
        return self._with_states(self._worker.checkpoint())

    def _with_states(self, update: WorkerUpdate) -> WorkerUpdate:
        saved = [key for key in update.saved if key not in update.done]
        update.states = {key: (self._folder / key / NAME).read_bytes() for key in saved}
        return update

    def leave(self) -> None:
        """Remove this worker's files."""
        self._held.close()


@dataclass
class WorkerHandle:
    """A worker's actor. reply: the pending one, or None; ready: its versions are the same."""

    actor: Any
    reply: Any
    ready: bool = False


class RayExecutor:
    """An `Executor` on the cluster that has been joined.

    A worker that is lost is started again; one that comes later joins in.
    """

    def __init__(self, note: Callable[[str], object]):
        """note: is told what the user should know."""
        self._note = note
        self._handles: dict[str, WorkerHandle] = {}  # by the name of the device
        self._losses: Counter[str] = Counter()  # consecutive, by the name of the device
        self._last_loss = "the cluster has no device to paint on"
        self._checked = 0.0  # when the devices were listed
        self._last_ready = time.monotonic()  # when there was a worker
        self._stored: dict[str, Any] = {}  # object references by sha256, the oldest first

    def workers(self) -> list[str]:
        """The names of the devices whose workers are ready. Raises ClusterError."""
        if not self._handles or time.monotonic() - self._checked > CHECK_EVERY:
            self._start_workers()
        return [name for name, handle in self._handles.items() if handle.ready]

    def idle_workers(self) -> list[str]:
        """The names of the devices whose workers have nothing to do."""
        handles = self._handles.items()
        return [name for name, handle in handles if handle.ready and handle.reply is None]

    def _start_workers(self) -> None:
        """Start a worker on every device that has none. Raises ClusterError if there is none."""
        self._checked = time.monotonic()
        devices = list_devices()
        usable = [device for device in devices if self._losses[device.name] < MOST_LOSSES]
        names = [device.name for device in usable]
        if not usable and not self._handles:
            raise ClusterError(self._last_loss, [device.name for device in devices])
        for device in usable:
            if device.name not in self._handles:
                actor = start_worker(RemoteWorker, device)
                self._handles[device.name] = WorkerHandle(actor, actor.versions.remote())
        if any(handle.ready for handle in self._handles.values()):
            self._last_ready = self._checked
        elif self._checked - self._last_ready > LONG:
            self._note(f"no worker has started yet at {', '.join(names)}: is the cluster in use?")
            self._last_ready = float("inf")  # it is told once

    def begin(self, worker: str, assignment: Assignment) -> None:
        """Send an assignment to a worker."""
        states = {}
        for key, folder in assignment.folders.items():
            with suppress(OSError, OutputError):  # it cannot be read: the task is begun anew
                if path := newest(folder):
                    states[key] = path.read_bytes()
        files = [self._in_store(digest, data) for digest, data in assignment.files.items()]
        weights = self._in_store(assignment.weights.sha256, assignment.weights)
        handle = self._handles[worker]
        handle.reply = handle.actor.begin.remote(
            assignment.tasks, states, weights, list(assignment.files), *files
        )

    def _in_store(self, digest: str, data: bytes | Weights) -> Any:
        """A reference to a file's bytes or a network in the object store; a style is sent once."""
        reference = self._stored.pop(digest, None)
        self._stored[digest] = reference = ray.put(data) if reference is None else reference
        if len(self._stored) > REMEMBERED:
            del self._stored[next(iter(self._stored))]
        return reference

    def wait(self) -> list[WorkerUpdate]:
        """The updates that have come, after UPDATE_EVERY at the latest."""
        pending = {
            handle.reply: name for name, handle in self._handles.items() if handle.reply is not None
        }
        if not pending:
            time.sleep(UPDATE_EVERY)
            return []
        replies = list(pending)
        ray.wait(replies, num_returns=1, timeout=UPDATE_EVERY)
        replied, _ = ray.wait(replies, num_returns=len(replies), timeout=0)
        updates = [self._on_reply(pending[reply]) for reply in replied]
        return [update for update in updates if update]

    def _on_reply(self, worker: str) -> WorkerUpdate | None:
        handle = self._handles[worker]
        try:
            reply = ray.get(handle.reply)
        except ray.exceptions.RayError as error:
            return self._on_lost(worker, _cause(error))
        handle.reply = None
        if not handle.ready:
            if reply == VERSIONS:
                handle.ready = True
                return None
            self._losses[worker] = MOST_LOSSES
            return self._on_lost(worker, f"it has {reply}, and this is {VERSIONS}")
        update: WorkerUpdate = reply
        update.worker = worker
        if update.done:
            del self._losses[worker]
        unexpected = [failure for failure in update.failed.values() if failure.unexpected]
        if unexpected:  # its process may be broken, as after an error of CUDA
            update.lost = self._on_lost(worker, unexpected[0].message).lost
        elif not update.idle:  # it paints on while this is recorded
            handle.reply = handle.actor.advance.remote()
        return update

    def _on_lost(self, worker: str, why: str) -> WorkerUpdate:
        """Remove a worker that has died, or cannot be used."""
        ray.kill(self._handles.pop(worker).actor)
        self._losses[worker] += 1
        self._last_loss = f"{worker} cannot be painted on: {' '.join(why.split())}"
        return WorkerUpdate(worker, lost=self._last_loss)

    def checkpoint(self) -> list[WorkerUpdate]:
        """Have every worker write its checkpoints now; those that do not answer are left out."""
        asked = {
            name: [handle.reply, handle.actor.checkpoint.remote()]
            for name, handle in self._handles.items()
            if handle.ready and handle.reply is not None
        }
        deadline = time.monotonic() + LAST_CHECKPOINTS
        updates = []
        for worker, replies in asked.items():
            for reply in replies:
                with suppress(ray.exceptions.RayError):  # the checkpoint before is here
                    update = ray.get(reply, timeout=max(0.1, deadline - time.monotonic()))
                    update.worker = worker
                    updates.append(update)
        return updates

    def shutdown(self) -> None:
        """Stop all workers."""
        handles = list(self._handles.values())
        leaving = [handle.actor.leave.remote() for handle in handles if handle.ready]
        if leaving:
            ray.wait(leaving, num_returns=len(leaving), timeout=LEAVING)
        for handle in handles:
            ray.kill(handle.actor)
        self._handles = {}


def _cause(error: Exception) -> str:
    cause = getattr(error, "cause", None) or error
    return f"{type(cause).__name__}: {cause}"
