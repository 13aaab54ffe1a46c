"""Read and write the files of a run's state, with checksums: the newest and the previous one."""

from __future__ import annotations

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

from impasto.errors import CheckpointError, OutputError, reason
from impasto.images.atomic import atomic_write
from impasto.painting.memory import Plan
from impasto.painting.step import State
from impasto.records import open_regular, parse_json, validate

__all__ = [
    "BEFORE",
    "NAME",
    "clear",
    "is_whole",
    "newest",
    "put",
    "read_record",
    "read_state",
    "remove_pieces",
    "write_state",
]

# the newest, and the previous one
NAME, BEFORE = "checkpoint.safetensors", "checkpoint-before.safetensors"
KEY, CHECKSUM = "impasto", "sha256"  # in the file's metadata
SAFETENSORS_PIECE = re.compile(r"\.tmp[A-Za-z0-9]{6}")  # left by its writer when killed
STATE = TypeAdapter(State, config=ConfigDict(arbitrary_types_allowed=True))
PLAN = TypeAdapter(Plan)


def write_state(
    path: Path, older: Path | None, state: State, plan: Plan, fingerprint: Mapping[str, Any]
) -> None:
    """Write a state atomically.

    Args:
        path: the file.
        older: a name for the file that was at `path`; None: it is replaced.
        state, plan: of the run.
        fingerprint: all that determines the run's picture, as JSON.

    Raises:
        OutputError: the file cannot be written; the old one is kept.
    """
    record = {**state._asdict(), "plan": plan._asdict(), **fingerprint}
    del record["tensors"]
    text = json.dumps(record)
    tensors = _unshared({name: value.cpu().contiguous() for name, value in state.tensors.items()})
    metadata = {KEY: text, CHECKSUM: _checksum(text, tensors)}
    try:
        with atomic_write(path, older) as part:
            save_file(tensors, part, metadata)
    except SafetensorError as error:  # it has no errno, only a text
        raise OutputError(f"cannot write {path}: {error}", str(path)) from error


def read_state(path: Path, most: int | None = None) -> tuple[State, Plan, dict[str, Any]]:
    """Read a state, and verify its checksum.

    Args:
        path: the file.
        most: the largest size that is read, in bytes; None: any.

    Returns:
        The state, the plan, and the fingerprint of the run.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: it is damaged, larger than `most`, or not a checkpoint.
        OutputError: it cannot be opened at the moment.
    """
    try:
        with open_regular(path) as checkpoint:
            size = os.fstat(checkpoint.fileno()).st_size
        if most is not None and size > most:
            raise ValueError(
                f"it has {size:,} bytes, more than the {most:,} that this painting can need"
            )
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            names = file.keys()  # `file` itself is not iterable
            # mapped, not read into memory yet
            tensors = {name: file.get_tensor(name) for name in names}
        text, checksum = metadata[KEY], metadata[CHECKSUM]
        if _checksum(text, tensors) != checksum:
            raise CheckpointError(f"{path} is damaged: its checksum does not match", str(path))
        record = parse_json(text)
        plan = validate(PLAN, record.pop("plan"))
        state = {name: record.pop(name) for name in State._fields if name != "tensors"}
        return validate(STATE, {**state, "tensors": tensors}), plan, record
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


def read_record(folder: Path) -> dict[str, Any]:
    """Read what the newest checkpoint of a folder says of its run, without its tensors.

    Nothing is verified: `read_state` does that. Returns {} if there is no checkpoint to read.
    """
    for path in (folder / NAME, folder / BEFORE):
        with suppress(OSError, SafetensorError, ValueError, LookupError, TypeError):
            open_regular(path).close()
            with safe_open(path, "pt") as file:
                record = parse_json((file.metadata() or {})[KEY])
            if isinstance(record, dict):
                return record
    return {}


def newest(folder: Path) -> Path | None:
    """Return the path of the newest undamaged checkpoint in a folder, or None.

    Raises OutputError if it cannot be opened at the moment.
    """
    return next((path for path in (folder / NAME, folder / BEFORE) if is_whole(path)), None)


def put(folder: Path, data: bytes) -> None:
    """Write the bytes of a checkpoint as the newest one of a folder.

    Raises OutputError; the previous one is kept then.
    """
    older = folder / BEFORE if is_whole(folder / NAME) else None
    with atomic_write(folder / NAME, older) as part:
        part.write_bytes(data)


def clear(folder: Path) -> None:
    """Remove the checkpoints of a folder, and their temporary files. Raises OutputError."""
    for path in (folder / BEFORE, folder / NAME):  # in this order: the older one is never the last
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(f"cannot remove {path}: {reason(error)}", str(folder)) from error
    remove_pieces(folder)


def remove_pieces(folder: Path) -> None:
    """Remove the temporary files of checkpoints whose writing was interrupted."""
    pieces = [path for path in folder.glob(".tmp*") if SAFETENSORS_PIECE.fullmatch(path.name)]
    for path in (*pieces, *folder.glob(f".{NAME}.*.part")):  # the latter are `atomic_write`'s
        with suppress(OSError):  # it does no harm
            path.unlink()


def is_whole(path: Path) -> bool:
    """Return whether there is an undamaged checkpoint at `path`."""
    try:
        read_state(path)
    except (CheckpointError, FileNotFoundError):
        return False
    return True


def _checksum(record: str, tensors: Mapping[str, torch.Tensor]) -> str:
    """Compute the sha256 of a record, and of each tensor's name, type, shape and bytes."""
    digest = hashlib.sha256(record.encode())
    for name in sorted(tensors):
        value = tensors[name]
        digest.update(json.dumps([name, str(value.dtype), list(value.shape)]).encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _unshared(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Copy tensors that share memory with another one, which safetensors does not support."""
    seen: set[int] = set()
    unshared = {}
    for name, value in tensors.items():
        unshared[name] = value.clone() if value.data_ptr() in seen else value
        seen.add(value.data_ptr())
    return unshared
