"""Checkpoints: the whole state of a run on disk, so that it goes on after anything and ends with
the same picture."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch

from impasto.backbone.vgg import Backbone
from impasto.config import Config, Machine
from impasto.errors import CheckpointError, OutputError
from impasto.painting.checkpoint_file import (
    BEFORE,
    NAME,
    is_no_room,
    is_whole,
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

__all__ = ["COST", "Checkpoint", "Checkpoints", "load"]

COST = 0.015  # share of the run's time that checkpoints may take
SOONEST = 2.0  # seconds before the first one, and between two, at the least
SPEED = 300e6  # bytes a second that a disk is thought to take, until one has been written
# pictures in a state besides two for each pair of L-BFGS: more than any solver has
VECTORS = 16


class Checkpoint(NamedTuple):
    """A run's state, and how it was planned to fit into memory. note: what the user should know of
    it, or ""."""

    state: State
    plan: Plan
    note: str = ""


class Checkpoints:
    """Writes the state of a run into a folder, every so often: a reader of Steps.

    There are two files, the newest and the one before, each replaced as a whole: whenever the run
    dies, the last whole one is there, and if that is damaged afterwards the one before. One is
    written as soon as all of them, with it, take no more than COST of the run's time.
    """

    def __init__(self, folder: Path, run: Run, runs: int = 1):
        """runs: how many runs there are at once, each with its checkpoints."""
        self._path, self._before, self._plan, self._runs = (
            folder / NAME,
            folder / BEFORE,
            run.plan,
            runs,
        )
        self._sound: bool | None = None  # whether the newest one is; None: nobody has looked yet
        remove_pieces(folder)
        self._made_of = _made_of(run.problem, run.config, run.backbone)
        self._began = self._last = time.monotonic()
        self._spent, self._took = 0.0, 0.0  # seconds: on all of them, on the last
        self._told = False

    def try_save(self, step: Step, log: Callable[[str], object], now: bool = False) -> bool:
        """Write a checkpoint if it is time for one, or `now`; True if one was written.

        One that cannot be written is logged, once, and the run goes on.
        """
        try:
            written = self.save(step) if now else self.maybe_save(step)
        except OutputError as error:
            if not self._told:
                log(f"no checkpoint at step {step.number}: {error}; it is tried again")
            self._told = True
            return False
        self._told = self._told and not written
        return written

    def maybe_save(self, step: Step) -> bool:
        """Write a checkpoint if it is time for one; True if it was written.

        Raises OutputError; the one before is there then.
        """
        now = time.monotonic()
        if now - self._last < SOONEST or step.number == step.steps or step.state is None:
            return False
        takes = self._took or sum(value.nbytes for value in step.state().tensors.values()) / SPEED
        return self._runs * (self._spent + takes) <= COST * (now - self._began) and self.save(step)

    def save(self, step: Step) -> bool:
        """Write a checkpoint of the step: True. Raises OutputError; the one before is there
        then."""
        assert step.state is not None
        began = time.monotonic()
        state = step.state()
        if self._sound is None:
            self._sound = is_whole(self._path)
        try:
            self._write(state)
        except OutputError as error:
            if not (is_no_room(error) and self._sound and self._before.exists()):
                raise
            # where there is room for two only, they are the newest and the one being written
            self._before.unlink()
            self._write(state)
        finally:
            self._last = time.monotonic()
            self._took = self._last - began
            self._spent += self._took
        return True

    def _write(self, state: State) -> None:
        older = self._before if self._sound else None
        write_state(self._path, older, state, self._plan, self._made_of)
        self._sound = True


def load(
    folder: Path, problem: Problem, config: Config, backbone: Backbone, anywhere: bool = False
) -> Checkpoint | None:
    """The newest checkpoint in a folder that is whole, or None if there is none yet.

    anywhere: it may be gone on with on
    another device, or with other threads, though the last bits will be others.

    Raises CheckpointError if all there are are damaged, or if it is of another version, other
    pictures, other settings or another network: the run would end with another picture; OutputError
    if it cannot be opened just now.
    """
    damage: CheckpointError | None = None
    for path in (folder / NAME, folder / BEFORE):
        try:
            state, plan, made_of = read_state(path, _most(problem, config))
        except FileNotFoundError:
            continue
        except CheckpointError as error:
            damage = damage or error
            continue
        _check_same(
            path,
            made_of,
            problem,
            config,
            backbone,
            anywhere,
        )
        _check_fits(state, problem, path)
        note = (
            f"the newest checkpoint is damaged; resuming after step {state.number}"
            if damage
            else ""
        )
        # Copies lie where torch puts tensors; as they lie in the file some sums would be added in
        # another order.
        copies = {name: value.clone() for name, value in state.tensors.items()}
        return Checkpoint(state._replace(tensors=copies), plan, note)
    if damage:
        raise damage
    return None


def _most(problem: Problem, config: Config) -> int:
    """More bytes than a checkpoint of this painting can have: nothing larger is read."""
    (height, width, *_), pairs = problem.levels[-1], config.history
    return (2 * pairs + VECTORS) * 3 * height * width * 4 + 64 * pairs**2 + (1 << 24)


def _check_fits(state: State, problem: Problem, path: Path) -> None:
    """Whether a state can be one of this problem's run. Raises CheckpointError."""
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
    made_of: dict[str, Any],
    problem: Problem,
    config: Config,
    backbone: Backbone,
    anywhere: bool,
) -> None:
    """Whether a checkpoint is of the same run as this one. Raises CheckpointError, which names the
    difference."""
    for name, now in _made_of(problem, config, backbone).items():
        then = made_of.get(name)
        if then != now and not (anywhere and name in ("threads", "device", "precision")):
            names = [
                each["name"] for each in record_of(problem, config, Machine(), backbone)["inputs"]
            ]
            difference = _difference(names, name, then, now)
            raise CheckpointError(f"cannot resume from {path}: {difference}", name)


def _made_of(problem: Problem, config: Config, backbone: Backbone) -> dict[str, Any]:
    """What decides a run's picture; as JSON gives it back."""
    # the plan, with its tiles, is the checkpoint's own: no setting of the machine's matters but
    # those of the network
    settings = record_of(problem, config, Machine(), backbone)
    of = {
        "version": f"impasto {__version__} with torch {torch.__version__}",
        **{name: settings[name] for name in ("precision", "device", "config")},
        # whatever they are called
        "inputs": [[each["role"], each["sha256"]] for each in settings["inputs"]],
        "network": backbone.weights.sha256,
        "threads": torch.get_num_threads() if backbone.device.type == "cpu" else 0,
    }
    return json.loads(json.dumps(of))  # type: ignore[no-any-return]


def _difference(names: list[str], name: str, then: Any, now: Any) -> str:
    """What is not as it was. names: of the inputs."""
    if name == "inputs" and isinstance(then, list):
        changed = [
            called for called, each, before in zip(names, now, then, strict=False) if each != before
        ]
        return f"{', '.join(changed) or 'a picture'} is not the picture that it was begun with"
    if name == "config" and isinstance(then, dict):
        changed = [key for key in now if then.get(key) != now[key]]
        others = ", ".join(f"{key} {then.get(key)}, not {now[key]}" for key in changed)
        return f"it was begun with other settings: {others}"
    if name == "network":
        return "it was begun with another network"
    return f"it was begun with {name} {then}, and this is {now}"
