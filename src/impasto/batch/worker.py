"""Paint the tasks of a batch, several in one pass where they are small."""

from __future__ import annotations

import logging
import time
from collections.abc import Hashable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from impasto.backbone.load import load_backbone, network_key
from impasto.backbone.vgg import Backbone
from impasto.batch.executor import Assignment, Done, Failure, File, Task, WorkerUpdate
from impasto.config import Config, Machine
from impasto.errors import CheckpointError, ImpastoError, out_of_memory
from impasto.images.files import header_size
from impasto.images.read import Picture, read_bytes
from impasto.painting.batched import batch_key, paint_batched
from impasto.painting.checkpoint import Checkpoints, load
from impasto.painting.levels import enough_for
from impasto.painting.memory import Plan, plan_for
from impasto.painting.problem import Problem
from impasto.painting.run import Run
from impasto.painting.step import State, Step
from impasto.painting.tuning import MOST_THREADS, tune_allocator, use_threads

log = logging.getLogger("impasto.batch")


class _Prepared(NamedTuple):
    """A task whose run is ready to start."""

    task: Task
    run: Run
    folder: Path


class Worker:
    """Paints an assignment, a little at every call; a task that fails does not end the others.

    Tasks with the same `batch_key` are painted in one pass; one with a checkpoint is resumed alone.
    """

    def __init__(self, threads: int = MOST_THREADS) -> None:
        """threads: to compute with, unless a task asks for others."""
        self._threads = threads
        self._networks: dict[Hashable, Backbone] = {}
        self._update = WorkerUpdate()
        self._steps: Iterator[float] = iter(())
        self._current: list[tuple[Checkpoints, Task, Step]] = []  # of the group being painted

    def begin(self, assignment: Assignment) -> None:
        """Take on an assignment in place of the last one."""
        self._assignment, self._current = assignment, []
        self._update = WorkerUpdate()
        self._steps = self._paint()

    def advance(self, seconds: float = 0.0) -> WorkerUpdate:
        """Paint for about `seconds`, at least one step."""
        until = time.monotonic() + seconds
        self._update.idle = True
        for in_progress in self._steps:
            self._update.in_progress = in_progress
            if time.monotonic() >= until:
                self._update.idle = False
                break
        return self._take_update()

    def checkpoint(self) -> WorkerUpdate:
        """Write the checkpoints of the paintings in progress."""
        self._write_checkpoints(now=True)
        return self._take_update()

    def _take_update(self) -> WorkerUpdate:
        update, self._update = self._update, WorkerUpdate()
        return update

    def _paint(self) -> Iterator[float]:
        """Paint the whole assignment; gives the work on unfinished paintings after every step."""
        groups = _grouped(self._prepare_all(self._assignment.tasks))
        while groups:
            group = groups.pop(0)
            try:
                yield from self._paint_group(group)
            except Exception as error:
                self._current = []
                if len(group) == 1:
                    self._fail(group[0].task, error)
                    continue
                # one of them failed: all go on alone, from their checkpoints
                alone = self._prepare_all([prepared.task for prepared in group])
                groups = [[prepared] for prepared in alone] + groups

    def _prepare_all(self, tasks: Sequence[Task]) -> list[_Prepared]:
        ready = []
        for task in tasks:
            try:
                ready.append(self._prepare(task))
            except Exception as error:
                self._fail(task, error)
        return ready

    def _prepare(self, task: Task) -> _Prepared:
        files = self._assignment.files
        width, height = header_size(files[task.content.sha256], task.content.name)
        enough = enough_for(height, width, task.config)

        def picture(file: File) -> Picture:
            return read_bytes(files[file.sha256], file.name, enough=enough)

        def resume(
            problem: Problem, config: Config, backbone: Backbone
        ) -> tuple[State, Plan] | None:
            return self._load_checkpoint(task, problem, config, backbone)

        use_threads(task.machine, self._threads)
        run = Run.prepare(
            picture(task.content),
            [picture(style) for style in task.styles],
            task.config,
            task.machine,
            named={file.name: picture(file) for file in task.named},
            backbone=self._backbone,
            resume=resume,
        )
        tune_allocator(run.plan, run.backbone)
        return _Prepared(task, run, self._assignment.folders[task.key])

    def _load_checkpoint(
        self, task: Task, problem: Problem, config: Config, backbone: Backbone
    ) -> tuple[State, Plan] | None:
        """The state and plan to resume a task from; None: begin at the start."""
        folder, name = self._assignment.folders[task.key], task.content.name
        try:
            found = load(folder, problem, config, backbone, anywhere=True)
        except CheckpointError as error:
            self._update.notes.append(f"{name} is begun anew: {error}")
            return None
        if found is None:
            return None
        if found.plan.needed > plan_for(problem, config, task.machine, backbone).budget:
            self._update.notes.append(
                f"{name} is begun anew: its checkpoint needs more memory than there is here"
            )
            return None
        if found.note:
            self._update.notes.append(f"{name}: {found.note}")
        return found.state, found.plan

    def _backbone(self, config: Config, machine: Machine) -> Backbone:
        """The config's network; only the last one is kept."""
        key = network_key(config, machine)
        if key not in self._networks:
            self._networks.clear()
            self._networks[key] = load_backbone(config, machine, weights=self._assignment.weights)
        return self._networks[key]

    def _paint_group(self, group: Sequence[_Prepared]) -> Iterator[float]:
        """Paint a group in one pass; gives the work done on it after every step."""
        use_threads(group[0].run.machine, self._threads)  # all have its number
        checkpoints = [Checkpoints(folder, run, len(group)) for _, run, folder in group]
        tasks = [prepared.task for prepared in group]
        notes: list[list[str]] = [[] for _ in group]
        steps: list[Step] = []
        for steps in paint_batched([prepared.run for prepared in group]):
            self._current = list(zip(checkpoints, tasks, steps, strict=True))
            self._write_checkpoints()
            for step, step_notes in zip(steps, notes, strict=True):
                step_notes += [step.note] if step.note else []
            if steps[0].number < steps[0].steps:
                yield steps[0].fraction * len(group)
        self._current = []
        for prepared, step, step_notes in zip(group, steps, notes, strict=True):
            try:
                done = _finish(prepared, step, step_notes, len(group))
                self._update.done[prepared.task.key] = done
            except Exception as error:
                self._fail(prepared.task, error)

    def _write_checkpoints(self, now: bool = False) -> None:
        for checkpoints, task, step in self._current:
            if checkpoints.try_save(step, self._update.notes.append, now):
                self._update.saved.append(task.key)

    def _fail(self, task: Task, error: Exception) -> None:
        unexpected = False
        if isinstance(error, ImpastoError):
            message = str(error)
        elif out_of_memory(error):
            message = "not enough memory: give a smaller size"
        else:
            unexpected = True
            log.error("a fault of impasto's own", exc_info=error)
            message = f"a fault of impasto's own: {type(error).__name__}: {error}"
        self._update.failed[task.key] = Failure(" ".join(message.split()), unexpected)


def _grouped(ready: Sequence[_Prepared]) -> list[list[_Prepared]]:
    """Put together what can be painted in one pass, and no more than fits into memory."""
    groups: list[list[_Prepared]] = []
    open_groups: dict[Hashable, list[_Prepared]] = {}
    for prepared in ready:
        kind, plan = batch_key(prepared.run), prepared.run.plan
        group = open_groups.get(kind) if kind is not None else None
        if group is not None and len(group) < plan.budget // max(1, plan.needed):
            group.append(prepared)
        else:
            groups.append([prepared])
            open_groups[kind] = groups[-1]
    return groups


def _finish(prepared: _Prepared, step: Step, notes: list[str], together: int) -> Done:
    painting = prepared.run.painting(step, notes=notes)
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
        **{
            name: painting.settings[name]
            for name in ("network", "precision", "convolution", "device")
        },
    }
    return Done(painting.encode(prepared.task.suffix, *prepared.task.options), record)
