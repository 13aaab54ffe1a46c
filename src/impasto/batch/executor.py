"""The interface between the scheduler of a batch and its executors: assignments and updates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from impasto.backbone.weight_files import Weights
from impasto.config import Config, Machine
from impasto.images.write import FileOptions


class File(NamedTuple):
    """A picture's file: its path and the sha256 of its bytes."""

    name: str
    sha256: str


class Task(NamedTuple):
    """One painting to be made.

    key: the fingerprint of its job. named: the pictures that its config names. suffix: of the file
    to be written, which decides the format. options: how it is written.
    """

    key: str
    config: Config
    machine: Machine
    content: File
    styles: tuple[File, ...]
    named: tuple[File, ...]
    suffix: str
    options: FileOptions = FileOptions()

    @property
    def files(self) -> list[File]:
        """Every picture that the painting is made from."""
        return [self.content, *self.styles, *self.named]


class Assignment(NamedTuple):
    """The tasks that a worker is given at once; all use one network.

    files: the bytes of their pictures, by sha256. folders: for checkpoints, by task key; a
    checkpoint that lies there is resumed from.
    """

    tasks: list[Task]
    files: dict[str, bytes]
    weights: Weights
    folders: dict[str, Path]


class Done(NamedTuple):
    """A finished painting: the bytes of its file, and its part of the manifest's line."""

    picture: bytes
    record: dict[str, Any]


class Failure(NamedTuple):
    """The reason of a failure. unexpected: it is no known error; a device may be faulty."""

    message: str
    unexpected: bool = False


@dataclass
class WorkerUpdate:
    """News from a worker since its last update.

    worker: its name. in_progress: the work done on unfinished paintings, in paintings. saved: keys
    with a new checkpoint in their folder. states: the bytes of these checkpoints, by key, from
    workers without access to that folder. done, failed: by key. idle: its assignment is finished.
    lost: why the worker is gone, or "".
    """

    worker: str = ""
    in_progress: float = 0.0
    saved: list[str] = field(default_factory=list)
    states: dict[str, bytes] = field(default_factory=dict)
    done: dict[str, Done] = field(default_factory=dict)
    failed: dict[str, Failure] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    idle: bool = False
    lost: str = ""


class Executor(Protocol):
    """A place with workers that paint. It keeps them running; the scheduler decides what they
    paint."""

    def workers(self) -> Sequence[str]:
        """The names of the workers that are ready, at work or not.

        Raises:
            ClusterError: there is none, and none can be started.
        """

    def idle_workers(self) -> Sequence[str]:
        """The names of the workers that can begin an assignment."""

    def begin(self, worker: str, assignment: Assignment) -> None:
        """Start an idle worker on an assignment."""

    def wait(self) -> list[WorkerUpdate]:
        """Let the workers paint until there is news, or for a short while; the updates."""

    def checkpoint(self) -> list[WorkerUpdate]:
        """Have every worker write its checkpoints now; the updates."""

    def shutdown(self) -> None:
        """Stop all workers."""


class StopRequest(Protocol):
    """A request of the user to end the batch."""

    asked: bool

    def raise_if_requested(self) -> None:
        """Raise KeyboardInterrupt if the end was asked for."""
