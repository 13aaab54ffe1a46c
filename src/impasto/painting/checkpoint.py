"""Checkpoints: save the state of a run, and resume it so that it ends with the same picture."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import torch

from impasto.backbone.vgg import Backbone
from impasto.config import Config, Machine
from impasto.errors import CheckpointError, ConfigError, OutputError, is_disk_full
from impasto.painting.checkpoint_file import (
    BEFORE,
    NAME,
    is_whole,
    read_record,
    read_state,
    remove_pieces,
    write_state,
)
from impasto.painting.memory import Plan
from impasto.painting.problem import Problem
from impasto.painting.record import record_of
from impasto.painting.run import Run
from impasto.painting.step import State, Step
from impasto.version import __version__

__all__ = ["COST", "Checkpoint", "Checkpoints", "as_begun", "load"]

COST = 0.015  # the largest share of the run's time for checkpoints
SOONEST = 2.0  # seconds, at least, before the first one and between two
SPEED = 300e6  # bytes per second of the disk, assumed until the first one is written
MOST_THREADS = 1024  # that a run is resumed with, as --threads
# pictures in a state, at most, besides two for each pair of L-BFGS
VECTORS = 16


class Checkpoint(NamedTuple):
    """The state of a run, and its memory plan. note: a message for the user, or ""."""

    state: State
    plan: Plan
    note: str = ""


class Checkpoints:
    """Write the state of a run into a folder, from time to time.

    There are two files, the newest and the previous one, each replaced atomically: whenever the
    process is killed, the last complete one is there, and the previous one in case that is damaged
    later. The interval is such that all of them together take at most COST of the run's time.
    """

    def __init__(self, folder: Path, run: Run, runs: int = 1):
        """Begin the checkpoints of a run.

        Args:
            folder: for the files.
            run: the run.
            runs: the number of runs that are painted at once, each with checkpoints.
        """
        self._path, self._before = folder / NAME, folder / BEFORE
        self._plan, self._runs = run.plan, runs
        self._newest_is_whole: bool | None = None  # None: not checked yet
        remove_pieces(folder)
        self._fingerprint = _fingerprint(run.problem, run.config, run.backbone)
        self._began = self._last = time.monotonic()
        self._spent, self._took = 0.0, 0.0  # seconds: for all of them, for the last one
        self._logged = False  # the current failure

    def try_save(self, step: Step, log: Callable[[str], object], now: bool = False) -> bool:
        """Write a checkpoint if one is due, or `now`; return whether it was written.

        A failure is logged, once, and does not end the run.
        """
        try:
            written = self.save(step) if now else self.maybe_save(step)
        except OutputError as error:
            if not self._logged:
                log(f"no checkpoint at step {step.number}: {error}; it is tried again")
            self._logged = True
            return False
        self._logged = self._logged and not written
        return written

    def maybe_save(self, step: Step) -> bool:
        """Write a checkpoint if one is due; return whether it was written.

        Raises OutputError; the previous one is kept then.
        """
        now = time.monotonic()
        if now - self._last < SOONEST or step.number == step.steps or step.state is None:
            return False
        takes = self._took or sum(value.nbytes for value in step.state().tensors.values()) / SPEED
        return self._runs * (self._spent + takes) <= COST * (now - self._began) and self.save(step)

    def save(self, step: Step) -> bool:
        """Write a checkpoint; return True. Raises OutputError; the previous one is kept then."""
        assert step.state is not None
        began = time.monotonic()
        state = step.state()
        if self._newest_is_whole is None:
            self._newest_is_whole = is_whole(self._path)
        try:
            self._write(state)
        except OutputError as error:
            if not (is_disk_full(error) and self._newest_is_whole and self._before.exists()):
                raise
            # there is space for two only: keep the newest, and write the next
            self._before.unlink()
            self._write(state)
        finally:
            self._last = time.monotonic()
            self._took = self._last - began
            self._spent += self._took
        return True

    def _write(self, state: State) -> None:
        older = self._before if self._newest_is_whole else None
        write_state(self._path, older, state, self._plan, self._fingerprint)
        self._newest_is_whole = True


def as_begun(folder: Path, machine: Machine) -> Machine:
    """The settings with the precision and convolution of the folder's checkpoint, if it has one.

    Those that are not "auto" stay. Measured again, another method could be the fastest.
    """
    record = read_record(folder)
    for name in ("precision", "convolution"):
        if getattr(machine, name) == "auto" and name in record:
            with suppress(ConfigError):  # `load` refuses it
                machine = machine.changed(**{name: record[name]})
    return machine


def load(
    folder: Path,
    problem: Problem,
    config: Config,
    backbone: Backbone,
    anywhere: bool = False,
    set_threads: Callable[[int], object] | None = None,
) -> Checkpoint | None:
    """Load the newest undamaged checkpoint of a run.

    Args:
        folder: of the checkpoints.
        problem, config, backbone: of the run that is to be resumed.
        anywhere: accept a checkpoint from another device, precision or number of threads; the
            picture may then differ in its last bits.
        set_threads: called with the number of threads that it was made with, before that is
            compared; None: it must be this process's.

    Returns:
        The checkpoint, or None if the folder has none.

    Raises:
        CheckpointError: all are damaged; or one is of another version, other pictures, settings or
            another network, and the run would end with another picture.
        OutputError: it cannot be opened at the moment.
    """
    damage: CheckpointError | None = None
    for path in (folder / NAME, folder / BEFORE):
        try:
            state, plan, fingerprint = read_state(path, _max_bytes(problem, config))
        except FileNotFoundError:
            continue
        except CheckpointError as error:
            damage = damage or error
            continue
        threads = fingerprint.get("threads")
        if set_threads and isinstance(threads, int) and 1 <= threads <= MOST_THREADS:
            set_threads(threads)
        _check_same(path, fingerprint, problem, config, backbone, anywhere)
        _check_shapes(state, problem, path)
        note = (
            f"the newest checkpoint is damaged; resuming after step {state.number}"
            if damage
            else ""
        )
        # Copied to torch's own alignment: at the file's, some sums would be added in another order.
        copies = {name: value.clone() for name, value in state.tensors.items()}
        return Checkpoint(state._replace(tensors=copies), plan, note)
    if damage:
        raise damage
    return None


def _max_bytes(problem: Problem, config: Config) -> int:
    """Return an upper bound on the bytes of a checkpoint of this painting; no more are read."""
    (height, width, *_), pairs = problem.levels[-1], config.history
    return (2 * pairs + VECTORS) * 3 * height * width * 4 + 64 * pairs**2 + (1 << 24)


def _check_shapes(state: State, problem: Problem, path: Path) -> None:
    """Check that a state's level and tensors fit a problem. Raises CheckpointError."""
    if 1 <= state.level <= len(problem.levels):
        level = problem.levels[state.level - 1]
        x = state.tensors.get("x")
        owners = {name.rpartition(".")[0] for name in state.tensors}
        if (
            x is not None
            and x.shape == (1, 3, level.height, level.width)
            and owners <= {"", "solver", "guard"}
        ):
            return
    raise CheckpointError(
        f"{path} is not a checkpoint of this painting: it has another size", str(path)
    )


def _check_same(
    path: Path,
    fingerprint: dict[str, Any],
    problem: Problem,
    config: Config,
    backbone: Backbone,
    anywhere: bool,
) -> None:
    """Check that a checkpoint is of this run. Raises CheckpointError with the difference."""
    for key, now in _fingerprint(problem, config, backbone).items():
        then = fingerprint.get(key)
        if then != now and not (
            anywhere and key in ("threads", "device", "precision", "convolution")
        ):
            inputs = record_of(problem, config, Machine(), backbone)["inputs"]
            difference = _difference(key, then, now, [picture["name"] for picture in inputs])
            raise CheckpointError(f"cannot resume from {path}: {difference}", key)


def _fingerprint(problem: Problem, config: Config, backbone: Backbone) -> dict[str, Any]:
    """Return all that determines a run's picture, as JSON restores it."""
    # the machine's settings do not matter: the plan, with its tiles, is the checkpoint's own
    record = record_of(problem, config, Machine(), backbone)
    fingerprint = {
        "version": f"impasto {__version__} with torch {torch.__version__}",
        **{
            name: record[name]
            for name in ("precision", "convolution", "device", "threads", "config")
        },
        # by content: the files may be renamed
        "inputs": [[picture["role"], picture["sha256"]] for picture in record["inputs"]],
        "network": backbone.weights.sha256,
    }
    return json.loads(json.dumps(fingerprint))  # type: ignore[no-any-return]


def _difference(key: str, then: Any, now: Any, names: list[str]) -> str:
    """Describe a difference between two fingerprints. names: of the inputs."""
    if key == "inputs" and isinstance(then, list):
        changed = [name for name, new, old in zip(names, now, then, strict=False) if new != old]
        return f"{', '.join(changed) or 'a picture'} is not the picture that it was begun with"
    if key == "config" and isinstance(then, dict):
        fields = [field for field in now if then.get(field) != now[field]]
        others = ", ".join(f"{field} {then.get(field)}, not {now[field]}" for field in fields)
        return f"it was begun with other settings: {others}"
    if key == "network":
        return "it was begun with another network"
    return f"it was begun with {key} {then}, and this is {now}"
