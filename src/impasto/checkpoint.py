"""Checkpoints: the whole state of a run on disk, so that it goes on after anything and ends with the same picture."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from impasto import __version__
from impasto.backbone import Backbone
from impasto.config import Config
from impasto.errors import CheckpointError, OutputError, reason
from impasto.memory import Plan
from impasto.painting import State, Step
from impasto.pictures import whole
from impasto.scene import Scene, settings_of

__all__ = ["COST", "NAME", "Checkpoint", "Checkpoints", "clear", "load"]

NAME = "checkpoint.safetensors"
KEY = "impasto"  # of the record in the file's metadata
COST = 0.015  # share of the run's time that checkpoints may take
SOONEST = 2.0  # seconds before the first one, and between two, at the least
SPEED = 300e6  # bytes a second that a disk is thought to take, until one has been written


class Checkpoint(NamedTuple):
    """A run's state, and how it was planned to fit into memory."""

    state: State
    plan: Plan


class Checkpoints:
    """Writes the state of a run into a folder, every so often: a reader of Steps.

    There is one file, which is replaced as a whole: whenever the run dies, the last whole one is there. One is written
    as soon as all of them, with it, take no more than COST of the run's time.
    """

    def __init__(self, folder: Path, scene: Scene, config: Config, backbone: Backbone, plan: Plan, runs: int = 1):
        """runs: how many runs there are at once, each with its checkpoints."""
        self._path, self._plan, self._runs = folder / NAME, plan, runs
        _sweep(folder)
        self._made_of = _made_of(scene, config, backbone)
        self._began = self._last = time.monotonic()
        self._spent, self._took = 0.0, 0.0  # seconds: on all of them, on the last
        self._told = False

    def keep(self, step: Step, say: Callable[[str], object], now: bool = False) -> bool:
        """As `look`, or `save` if it must be now; one that cannot be written is told, once, and the run goes on."""
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
        """Write a checkpoint if it is time for one, and say so. Raises OutputError; the one before is there then."""
        now = time.monotonic()
        if now - self._last < SOONEST or step.number == step.steps or step.state is None:
            return False
        takes = self._took or sum(value.nbytes for value in step.state().tensors.values()) / SPEED
        return self._runs * (self._spent + takes) <= COST * (now - self._began) and self.save(step)

    def save(self, step: Step) -> bool:
        """Write a checkpoint of the step: True. Raises OutputError; the one before is still there then."""
        assert step.state is not None
        began = time.monotonic()
        state = step.state()
        record = {**state._asdict(), "plan": self._plan._asdict(), **self._made_of}
        del record["tensors"]
        tensors = {name: value.cpu().contiguous() for name, value in state.tensors.items()}
        try:
            with whole(self._path) as part:
                save_file(_apart(tensors), part, {KEY: json.dumps(record)})
        except SafetensorError as error:  # what the system said is in its text
            raise OutputError(f"cannot write {self._path}: {error}", str(self._path)) from error
        finally:
            self._last = time.monotonic()
            self._took = self._last - began
            self._spent += self._took
        return True


def clear(folder: Path) -> None:
    """Remove the checkpoint, if there is one, and what a run that died while it wrote one has left.

    Raises OutputError.
    """
    try:
        (folder / NAME).unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"cannot remove {folder / NAME}: {reason(error)}", str(folder)) from error
    _sweep(folder)


def _sweep(folder: Path) -> None:
    for pattern in (".tmp*", f".{NAME}.*.part"):  # the library's, and `whole`'s
        for path in folder.glob(pattern):
            with suppress(OSError):  # it only takes room
                path.unlink()


def load(folder: Path, scene: Scene, config: Config, backbone: Backbone, anywhere: bool = False) -> Checkpoint | None:
    """The checkpoint in a folder, or None if there is none yet.

    config: the plan's tile is taken from the checkpoint. Raises CheckpointError if it is broken, or of another version,
    other pictures, other settings or another network: the run would end with another picture; OutputError if it cannot
    be opened just now. anywhere: it may be gone on with on another device, or with other threads, though the last bits
    will be others.
    """
    path = folder / NAME
    if not path.exists():
        return None
    try:
        with safe_open(path, "pt") as file:
            record = json.loads(file.metadata()[KEY])
            names = file.keys()  # it is no mapping
            # Copies lie where torch puts tensors; as they lie in the file some sums would be added in another order.
            tensors = {name: file.get_tensor(name).clone() for name in names}
        plan = Plan(**record["plan"])
        state = State(**{name: record[name] for name in State._fields if name != "tensors"}, tensors=tensors)
    except OSError as error:
        raise OutputError(f"{path} cannot be opened: {reason(error)}", str(path)) from error
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} is not a checkpoint that can be read: {error}", str(path)) from None
    made_of = _made_of(scene, config.changed(tile=plan.side or config.tile), backbone)
    for name, now in made_of.items():
        if record.get(name) != now and not (anywhere and name in ("threads", "device", "precision")):
            names = [each["name"] for each in settings_of(scene, config, backbone)["inputs"]]
            difference = _difference(names, name, record.get(name), now)
            raise CheckpointError(f"{path} cannot be gone on with: {difference}", name)
    return Checkpoint(state, plan)


def _made_of(scene: Scene, config: Config, backbone: Backbone) -> dict[str, Any]:
    """What decides a run's picture; as JSON gives it back."""
    settings = settings_of(scene, config, backbone)
    of = {
        "version": f"impasto {__version__} with torch {torch.__version__}",
        **{name: settings[name] for name in ("precision", "device", "config")},
        "inputs": [[each["role"], each["sha256"]] for each in settings["inputs"]],  # whatever they are called
        "network": backbone.weights.sha256,
        "threads": torch.get_num_threads() if backbone.device.type == "cpu" else 0,
    }
    return json.loads(json.dumps(of))  # type: ignore[no-any-return]


def _difference(names: list[str], name: str, then: Any, now: Any) -> str:
    """What is not as it was. names: of the inputs."""
    if name == "inputs" and isinstance(then, list):
        changed = [called for called, each, before in zip(names, now, then, strict=False) if each != before]
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
