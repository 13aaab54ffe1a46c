"""Checkpoints: the whole state of a run on disk, so that it goes on after anything and ends with
the same picture."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import torch
from pydantic import ConfigDict, TypeAdapter
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from impasto.backbone.vgg import Backbone
from impasto.config import Config
from impasto.errors import CheckpointError, OutputError, no_room, reason
from impasto.images.write import atomic_write
from impasto.painting.memory import Plan
from impasto.painting.problem import Problem
from impasto.painting.record import record_of
from impasto.painting.run import Run
from impasto.painting.step import State, Step
from impasto.records import checked, open_regular, parsed
from impasto.version import __version__

__all__ = ["BEFORE", "COST", "NAME", "Checkpoint", "Checkpoints", "clear", "load", "newest", "put"]

# the newest, and the one before it
NAME, BEFORE = "checkpoint.safetensors", "checkpoint-before.safetensors"
KEY, CHECKSUM = "impasto", "sha256"  # of the record and the checksum in the file's metadata
COST = 0.015  # share of the run's time that checkpoints may take
SOONEST = 2.0  # seconds before the first one, and between two, at the least
SPEED = 300e6  # bytes a second that a disk is thought to take, until one has been written
SAFETENSORS_PIECE = re.compile(r"\.tmp[A-Za-z0-9]{6}")  # what its writer leaves when it is killed
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
# pictures in a state besides two for each pair of L-BFGS: more than either solver and the guard
# have
VECTORS = 16
STATE = TypeAdapter(State, config=ConfigDict(arbitrary_types_allowed=True))
PLAN = TypeAdapter(Plan)


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
        _sweep(folder)
        self._made_of = _made_of(run.problem, run.config, run.backbone)
        self._began = self._last = time.monotonic()
        self._spent, self._took = 0.0, 0.0  # seconds: on all of them, on the last
        self._told = False

    def keep(self, step: Step, say: Callable[[str], object], now: bool = False) -> bool:
        """As `look`, or `save` if it must be now; one that cannot be written is told, once, and the
        run goes on."""
        try:
            written = self.save(step) if now else self.look(step)
        except OutputError as error:
            if not self._told:
                say(f"no checkpoint at step {step.number}: {error}; it is tried again")
            self._told = True
            return False
        self._told = self._told and not written
        return written

    def look(self, step: Step) -> bool:
        """Write a checkpoint if it is time for one, and say so. Raises OutputError; the one before
        is there then."""
        now = time.monotonic()
        if now - self._last < SOONEST or step.number == step.steps or step.state is None:
            return False
        takes = self._took or sum(value.nbytes for value in step.state().tensors.values()) / SPEED
        return self._runs * (self._spent + takes) <= COST * (now - self._began) and self.save(step)

    def save(self, step: Step) -> bool:
        """Write a checkpoint of the step: True. Raises OutputError; the one before is still there
        then."""
        assert step.state is not None
        began = time.monotonic()
        state = step.state()
        record = {**state._asdict(), "plan": self._plan._asdict(), **self._made_of}
        del record["tensors"]
        text = json.dumps(record)
        tensors = _apart({name: value.cpu().contiguous() for name, value in state.tensors.items()})
        metadata = {KEY: text, CHECKSUM: _checksum(text, tensors)}
        try:
            self._write(tensors, metadata)
        except OutputError as error:
            if not (_no_room(error) and self._sound and self._before.exists()):
                raise
            # where there is room for two only, they are the newest and the one being written
            self._before.unlink()
            self._write(tensors, metadata)
        finally:
            self._last = time.monotonic()
            self._took = self._last - began
            self._spent += self._took
        return True

    def _write(self, tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
        if self._sound is None:
            self._sound = _is_whole(self._path)
        try:
            with atomic_write(self._path, self._before if self._sound else None) as part:
                save_file(tensors, part, metadata)
        except SafetensorError as error:  # what the system said is in its text
            raise OutputError(f"cannot write {self._path}: {error}", str(self._path)) from error
        self._sound = True


def put(folder: Path, data: bytes) -> None:
    """Make the bytes of a checkpoint the newest one in a folder. Raises OutputError; the one before
    is there then."""
    older = folder / BEFORE if _is_whole(folder / NAME) else None
    with atomic_write(folder / NAME, older) as part:
        part.write_bytes(data)


def _no_room(error: OutputError) -> bool:
    """Whether the disk is full: safetensors says it in its text only."""
    return no_room(error) or any(f"(os error {each})" in str(error) for each in NO_ROOM)


def clear(folder: Path) -> None:
    """Remove the checkpoints, if there are any, and what a run that died while it wrote one has
    left.

    Raises OutputError.
    """
    for path in (folder / BEFORE, folder / NAME):  # in this order: an older one is never left alone
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(f"cannot remove {path}: {reason(error)}", str(folder)) from error
    _sweep(folder)


def _sweep(folder: Path) -> None:
    pieces = [path for path in folder.glob(".tmp*") if SAFETENSORS_PIECE.fullmatch(path.name)]
    for path in (*pieces, *folder.glob(f".{NAME}.*.part")):  # the latter are `atomic_write`'s
        with suppress(OSError):  # it only takes room
            path.unlink()


def load(
    folder: Path, problem: Problem, config: Config, backbone: Backbone, anywhere: bool = False
) -> Checkpoint | None:
    """The newest checkpoint in a folder that is whole, or None if there is none yet.

    config: the plan's tile is taken from the checkpoint. anywhere: it may be gone on with on
    another device, or with other threads, though the last bits will be others.

    Raises CheckpointError if all there are are damaged, or if it is of another version, other
    pictures, other settings or another network: the run would end with another picture; OutputError
    if it cannot be opened just now.
    """
    damage: CheckpointError | None = None
    for path in (folder / NAME, folder / BEFORE):
        try:
            state, plan, made_of = _read(path, _most(problem, config))
        except FileNotFoundError:
            continue
        except CheckpointError as error:
            damage = damage or error
            continue
        _check_same(
            path,
            made_of,
            problem,
            config.changed(tile=plan.side or config.tile),
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


def newest(folder: Path) -> Path | None:
    """The newest checkpoint in a folder that is whole, or None. Raises OutputError if it cannot be
    opened just now."""
    return next((path for path in (folder / NAME, folder / BEFORE) if _is_whole(path)), None)


def _is_whole(path: Path) -> bool:
    try:
        _read(path)
    except (CheckpointError, FileNotFoundError):
        return False
    return True


def _read(path: Path, most: int | None = None) -> tuple[State, Plan, dict[str, Any]]:
    """What a checkpoint holds, and what it was made of, if it is as it was written and has at most
    `most` bytes.

    Raises CheckpointError, FileNotFoundError, OutputError if it cannot be opened just now.
    """
    try:
        with open_regular(path) as held:
            size = os.fstat(held.fileno()).st_size
        if most is not None and size > most:
            raise ValueError(
                f"it has {size:,} bytes, more than the {most:,} that this painting can need"
            )
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            names = file.keys()  # it is no mapping
            # as they lie in the file, in no memory yet
            tensors = {name: file.get_tensor(name) for name in names}
        text, checksum = metadata[KEY], metadata[CHECKSUM]
        if _checksum(text, tensors) != checksum:
            raise CheckpointError(f"{path} is damaged: its checksum does not match", str(path))
        record = parsed(text)
        plan = checked(PLAN, record.pop("plan"))
        state = {name: record.pop(name) for name in State._fields if name != "tensors"}
        return checked(STATE, {**state, "tensors": tensors}), plan, record
    except FileNotFoundError:
        raise
    except OSError as error:
        raise OutputError(f"{path} cannot be opened: {reason(error)}", str(path)) from error
    except (
        SafetensorError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        OverflowError,
    ) as error:
        raise CheckpointError(
            f"{path} is not a checkpoint that can be read: {error}", str(path)
        ) from None


def _checksum(record: str, tensors: Mapping[str, torch.Tensor]) -> str:
    """The sha256 of all that a checkpoint says: its record, and each tensor's name, type, shape and
    bytes."""
    digest = hashlib.sha256(record.encode())
    for name in sorted(tensors):
        value = tensors[name]
        digest.update(json.dumps([name, str(value.dtype), list(value.shape)]).encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


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
            names = [each["name"] for each in record_of(problem, config, backbone)["inputs"]]
            difference = _difference(names, name, then, now)
            raise CheckpointError(f"{path} cannot be gone on with: {difference}", name)


def _made_of(problem: Problem, config: Config, backbone: Backbone) -> dict[str, Any]:
    """What decides a run's picture; as JSON gives it back."""
    settings = record_of(problem, config, backbone)
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


def _apart(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same, none sharing memory with another: the format knows no such thing."""
    seen: set[int] = set()
    found = {}
    for name, value in tensors.items():
        found[name] = value.clone() if value.data_ptr() in seen else value
        seen.add(value.data_ptr())
    return found
