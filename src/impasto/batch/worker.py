"""What a worker of a batch does, here or on a cluster: it paints tasks, several at once where they
are small."""

from __future__ import annotations

import logging
import time
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from impasto.backbone.load import load_backbone, network_key
from impasto.backbone.vgg import Backbone
from impasto.backbone.weight_files import Weights
from impasto.config import Config, Machine
from impasto.errors import CheckpointError, ImpastoError, is_transient, out_of_memory
from impasto.images.read import Picture, read_bytes
from impasto.images.write import encode
from impasto.painting.batched import batch_key, paint_batched
from impasto.painting.checkpoint import Checkpoint, Checkpoints, load
from impasto.painting.memory import Plan, plan_for, tune_allocator
from impasto.painting.problem import Problem
from impasto.painting.run import Run
from impasto.painting.step import State, Step

__all__ = ["Done", "Failure", "File", "Task", "Worker", "WorkerUpdate", "at_once"]

# of the paintings that are painted together: more would gain nothing
PIXELS_AT_ONCE = 512 * 512 * 2
MOST_AT_ONCE = 8

log = logging.getLogger("impasto.batch")


class File(NamedTuple):
    """A picture's file, by its name and the sha256 of its bytes."""

    name: str
    sha256: str


class Task(NamedTuple):
    """One painting to be made. key: its job's. named: the pictures that its config names. suffix:
    its file's."""

    key: str
    config: Config
    machine: Machine
    content: File
    styles: tuple[File, ...]
    named: tuple[File, ...]
    suffix: str

    @property
    def files(self) -> list[File]:
        """All that it needs."""
        return [self.content, *self.styles, *self.named]


class Done(NamedTuple):
    """A painting: the bytes of its file, and what the manifest says of it."""

    picture: bytes
    record: dict[str, Any]


class Failure(NamedTuple):
    """Why there is no painting.

    transient: a retry may succeed, for room or memory was short. unexpected: no error that is
    known; another device may not have it.
    """

    words: str
    transient: bool = False
    unexpected: bool = False


@dataclass
class WorkerUpdate:
    """What has happened since the last one. fraction: of the tasks in hand; saved: keys with a new
    checkpoint.

    done and failed are by key. notes: what should be told. over: nothing is left to paint.
    """

    fraction: float = 0.0
    saved: list[str] = field(default_factory=list)
    done: dict[str, Done] = field(default_factory=dict)
    failed: dict[str, Failure] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    over: bool = False


class _Ready(NamedTuple):
    """A task with all that it needs to be painted."""

    task: Task
    run: Run
    folder: Path


def at_once(config: Config) -> int:
    """How many tasks of such a size a worker should be given at once."""
    if config.size == "original":
        return 1
    return max(1, min(MOST_AT_ONCE, PIXELS_AT_ONCE // config.size**2))


class Worker:
    """Paints tasks as far as it is asked to, and says what came of it; one bad task does not end
    the others.

    Tasks that are alike are painted together; one with a checkpoint goes on alone from there.
    """

    def __init__(self) -> None:
        self._networks: dict[Hashable, Backbone] = {}
        self._report = WorkerUpdate()
        self._steps: Iterator[float] = iter(())
        self._now: list[tuple[Checkpoints, Task, Step]] = []

    def begin(
        self,
        tasks: Sequence[Task],
        files: Mapping[str, bytes],
        weights: Weights,
        folders: Mapping[str, Path],
    ) -> None:
        """Take on some tasks of one network.

        files: bytes by checksum; folders: for checkpoints, by key; there may be one already.
        """
        self._report, self._now, self._weights = WorkerUpdate(), [], weights
        self._steps = self._paint(tasks, files, folders)

    def advance(self, seconds: float = 0.0) -> WorkerUpdate:
        """Paint for about so long, a step at the least."""
        until = time.monotonic() + seconds
        over = True
        for fraction in self._steps:
            self._report.fraction = fraction
            if time.monotonic() >= until:
                over = False
                break
        report, self._report = self._report, WorkerUpdate()
        report.over = over
        return report

    def keep(self) -> WorkerUpdate:
        """Write checkpoints now."""
        for checkpoints, task, step in self._now:
            self._keep(checkpoints, task, step, now=True)
        report, self._report = self._report, WorkerUpdate()
        return report

    def _paint(
        self, tasks: Sequence[Task], files: Mapping[str, bytes], folders: Mapping[str, Path]
    ) -> Iterator[float]:
        """Paints everything; gives the share that is done, after every step."""
        ready = list(self._all_prepared(tasks, files, folders))
        groups, finished = _grouped(ready), len(tasks) - len(ready)
        while groups:
            group = groups.pop(0)
            try:
                for fraction in self._together(group):
                    yield (finished + fraction * len(group)) / len(tasks)
                finished += len(group)
            except Exception as error:
                self._now = []
                if len(group) > 1:  # each alone, from its checkpoint if there is one by now
                    alone = list(self._all_prepared([each.task for each in group], files, folders))
                    finished += len(group) - len(alone)
                    groups = [[each] for each in alone] + groups
                else:
                    finished += 1
                    self._fail(group[0].task, error)

    def _all_prepared(
        self, tasks: Sequence[Task], files: Mapping[str, bytes], folders: Mapping[str, Path]
    ) -> Iterator[_Ready]:
        for task in tasks:
            try:
                yield self._prepared(task, files, folders[task.key])
            except Exception as error:  # whatever is wrong with one, the others are painted
                self._fail(task, error)

    def _prepared(self, task: Task, files: Mapping[str, bytes], folder: Path) -> _Ready:
        def picture(file: File) -> Picture:
            return read_bytes(files[file.sha256], file.name)

        def resume(
            problem: Problem, config: Config, backbone: Backbone
        ) -> tuple[State, Plan] | None:
            found = self._checkpoint(task, folder, problem, config, backbone)
            return found and (found.state, found.plan)

        named = {file.name: picture(file) for file in task.named}
        content, styles = picture(task.content), [picture(each) for each in task.styles]
        run = Run.prepare(
            content,
            styles,
            task.config,
            task.machine,
            named=named,
            backbone=self._backbone,
            resume=resume,
        )
        tune_allocator(run.plan, run.backbone.device)
        return _Ready(task, run, folder)

    def _checkpoint(
        self, task: Task, folder: Path, problem: Problem, config: Config, backbone: Backbone
    ) -> Checkpoint | None:
        """The checkpoint that a task goes on from, if there is one that can be used here."""
        try:
            found = load(folder, problem, config, backbone, anywhere=True)
        except CheckpointError as error:
            self._report.notes.append(f"{task.content.name} is begun anew: {error}")
            return None
        if found and found.note:
            self._report.notes.append(f"{task.content.name}: {found.note}")
        if found and found.plan.needed > plan_for(problem, config, task.machine, backbone).budget:
            self._report.notes.append(
                f"{task.content.name} is begun anew: it was planned for more memory than is here"
            )
            return None
        return found

    def _backbone(self, config: Config, machine: Machine) -> Backbone:
        """The config's network; the one before is let go where another is wanted."""
        key = network_key(config, machine)
        if key not in self._networks:
            self._networks.clear()
            self._networks[key] = load_backbone(config, machine, weights=self._weights)
        return self._networks[key]

    def _together(self, group: Sequence[_Ready]) -> Iterator[float]:
        kept = [Checkpoints(folder, run, len(group)) for _, run, folder in group]
        notes: list[list[str]] = [[] for _ in group]
        last: list[Step] = []
        for last in paint_batched([each.run for each in group]):
            self._now = [
                (keeper, each.task, step)
                for keeper, each, step in zip(kept, group, last, strict=True)
            ]
            for (keeper, task, step), of_each in zip(self._now, notes, strict=True):
                of_each += [step.note] if step.note else []
                self._keep(keeper, task, step)
            if last[0].number < last[0].steps:
                yield last[0].fraction
        self._now = []
        for each, step, of_each in zip(group, last, notes, strict=True):
            try:
                self._report.done[each.task.key] = _done(each, step, of_each, len(group))
            except Exception as error:  # whatever is wrong with one, the others are done
                self._fail(each.task, error)

    def _keep(self, checkpoints: Checkpoints, task: Task, step: Step, now: bool = False) -> None:
        if checkpoints.try_save(step, self._report.notes.append, now):
            self._report.saved.append(task.key)

    def _fail(self, task: Task, error: Exception) -> None:
        fault = not isinstance(error, ImpastoError) and not out_of_memory(error)
        if fault:
            log.error("a fault of impasto's own", exc_info=error)
            words = f"a fault of impasto's own: {type(error).__name__}: {error}"
        else:
            words = (
                str(error)
                if isinstance(error, ImpastoError)
                else "not enough memory: give a smaller size"
            )
        self._report.failed[task.key] = Failure(" ".join(words.split()), is_transient(error), fault)


def _grouped(ready: Sequence[_Ready]) -> list[list[_Ready]]:
    """What is painted together: the same size, layers and network, and no more than memory
    takes."""
    groups: list[list[_Ready]] = []
    open_ones: dict[Hashable, list[_Ready]] = {}
    for each in ready:
        kind = batch_key(each.run)
        height, width = each.run.problem.levels[-1][:2]
        plan = each.run.plan
        most = min(PIXELS_AT_ONCE // (height * width), plan.budget // max(1, plan.needed))
        group = open_ones.get(kind) if kind is not None else None
        if group is not None and len(group) < most:
            group.append(each)
            continue
        groups.append([each])
        open_ones[kind] = groups[-1]
    return groups


def _done(ready: _Ready, step: Step, notes: list[str], together: int) -> Done:
    painting = ready.run.painting(step, notes=notes)
    height, width = painting.pixels.shape[2:]
    record = {
        "width": width,
        "height": height,
        "seconds": round(painting.seconds, 3),
        "together": together,
        "steps": painting.steps,
        "objective": painting.value,
        "terms": painting.terms,
        "notes": painting.notes,
        "doubt": painting.doubt,
        **{name: painting.settings[name] for name in ("network", "precision", "device")},
    }
    return Done(encode(painting.image, ready.task.suffix, painting.settings), record)
