"""Paint a batch in this process."""

from __future__ import annotations

from impasto.batch.executor import Assignment, WorkerUpdate
from impasto.batch.worker import Worker


class LocalExecutor:
    """An `Executor` with one nameless worker, which paints a step whenever it is waited for."""

    def __init__(self) -> None:
        self._worker = Worker()
        self._idle = True

    def workers(self) -> list[str]:
        """The one worker."""
        return [""]

    def idle_workers(self) -> list[str]:
        """The one worker, if it has nothing to do."""
        return [""] if self._idle else []

    def begin(self, worker: str, assignment: Assignment) -> None:
        """Begin an assignment."""
        self._worker.begin(assignment)
        self._idle = False

    def wait(self) -> list[WorkerUpdate]:
        """Paint one step."""
        update = self._worker.advance()
        self._idle = update.idle
        return [update]

    def checkpoint(self) -> list[WorkerUpdate]:
        """Write the checkpoints of the paintings in progress."""
        return [self._worker.checkpoint()]

    def shutdown(self) -> None:
        """Nothing has to be stopped."""
