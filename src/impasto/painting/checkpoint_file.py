"""The files that hold a run's whole state, each with its checksum: the newest and the one
before."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from pydantic import ConfigDict, TypeAdapter
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from impasto.errors import CheckpointError, OutputError, is_disk_full, reason
from impasto.images.write import atomic_write
from impasto.painting.memory import Plan
from impasto.painting.step import State
from impasto.records import checked, open_regular, parsed

__all__ = [
    "BEFORE",
    "NAME",
    "clear",
    "is_no_room",
    "is_whole",
    "newest",
    "put",
    "read_state",
    "remove_pieces",
    "write_state",
]

# the newest, and the one before it
NAME, BEFORE = "checkpoint.safetensors", "checkpoint-before.safetensors"
KEY, CHECKSUM = "impasto", "sha256"  # of the record and the checksum in the file's metadata
SAFETENSORS_PIECE = re.compile(r"\.tmp[A-Za-z0-9]{6}")  # what its writer leaves when it is killed
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
STATE = TypeAdapter(State, config=ConfigDict(arbitrary_types_allowed=True))
PLAN = TypeAdapter(Plan)


def write_state(
    path: Path, older: Path | None, state: State, plan: Plan, made_of: Mapping[str, Any]
) -> None:
    """Write a state to `path`, as a whole; what was there goes to `older`, if that is given.

    made_of: what decides the run's picture. Raises OutputError; what was there is there then.
    """
    record = {**state._asdict(), "plan": plan._asdict(), **made_of}
    del record["tensors"]
    text = json.dumps(record)
    tensors = _apart({name: value.cpu().contiguous() for name, value in state.tensors.items()})
    metadata = {KEY: text, CHECKSUM: _checksum(text, tensors)}
    try:
        with atomic_write(path, older) as part:
            save_file(tensors, part, metadata)
    except SafetensorError as error:  # what the system said is in its text
        raise OutputError(f"cannot write {path}: {error}", str(path)) from error


def read_state(path: Path, most: int | None = None) -> tuple[State, Plan, dict[str, Any]]:
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


def newest(folder: Path) -> Path | None:
    """The newest checkpoint in a folder that is whole, or None. Raises OutputError if it cannot be
    opened just now."""
    return next((path for path in (folder / NAME, folder / BEFORE) if is_whole(path)), None)


def put(folder: Path, data: bytes) -> None:
    """Make the bytes of a checkpoint the newest one in a folder. Raises OutputError; the one before
    is there then."""
    older = folder / BEFORE if is_whole(folder / NAME) else None
    with atomic_write(folder / NAME, older) as part:
        part.write_bytes(data)


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
    remove_pieces(folder)


def remove_pieces(folder: Path) -> None:
    """Remove what a run that was killed while it wrote a checkpoint has left in a folder."""
    pieces = [path for path in folder.glob(".tmp*") if SAFETENSORS_PIECE.fullmatch(path.name)]
    for path in (*pieces, *folder.glob(f".{NAME}.*.part")):  # the latter are `atomic_write`'s
        with suppress(OSError):  # it only takes room
            path.unlink()


def is_whole(path: Path) -> bool:
    """Whether there is a checkpoint at `path` that can be read."""
    try:
        read_state(path)
    except (CheckpointError, FileNotFoundError):
        return False
    return True


def is_no_room(error: OutputError) -> bool:
    """Whether the disk is full: safetensors says it in its text only."""
    return is_disk_full(error) or any(f"(os error {each})" in str(error) for each in NO_ROOM)


def _checksum(record: str, tensors: Mapping[str, torch.Tensor]) -> str:
    """The sha256 of all that a checkpoint says: its record, and each tensor's name, type, shape and
    bytes."""
    digest = hashlib.sha256(record.encode())
    for name in sorted(tensors):
        value = tensors[name]
        digest.update(json.dumps([name, str(value.dtype), list(value.shape)]).encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _apart(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same, none sharing memory with another: the format knows no such thing."""
    seen: set[int] = set()
    found = {}
    for name, value in tensors.items():
        found[name] = value.clone() if value.data_ptr() in seen else value
        seen.add(value.data_ptr())
    return found
