"""What a batch was asked for, kept in its folder so that `resume` can go on with it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

from pydantic import Field, TypeAdapter

from impasto.errors import CheckpointError, reason
from impasto.records import ConfigRecord, Text, checked, open_regular, parsed, read_regular
from impasto.signing import is_signed, key_file, signed

if TYPE_CHECKING:
    pass

__all__ = ["BatchSpec", "is_batch", "load_spec"]

ASKED = ".impasto/batch.json"
MOST_BYTES = 1 << 24  # of that file: system and shell take no longer command line
Paths = Annotated[list[Text], Field(max_length=1_000_000)]


class BatchSpec(NamedTuple):
    """A batch as it was asked for: all that `impasto resume` needs."""

    contents: Paths
    styles: Paths
    pairs: Text
    preset: Text
    typed: ConfigRecord
    engine: Literal["local", "ray"]
    address: Text | None


FOLDER, SPEC = TypeAdapter(Text), TypeAdapter(BatchSpec)


def is_batch(folder: Path) -> bool:
    """Whether a batch has been painting into `folder`."""
    return os.path.isfile(folder / ASKED)  # unlike Path.is_file it never raises


def load_spec(folder: Path, trust: bool) -> BatchSpec:
    """The batch that has been painting into `folder`; its paths begin at the current folder from
    here on.

    trust: whether it may join a cluster although no run of this user wrote it down. Raises
    CheckpointError.
    """
    path = folder / ASKED
    try:
        found = parsed(read_regular(path, MOST_BYTES))
        if not isinstance(found, dict):
            raise ValueError("it is not a batch's record")
        typed = is_signed(found)
        began_in = checked(FOLDER, found.pop("folder", None))
        asked = checked(SPEC, {name: value for name, value in found.items() if name != "signature"})
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{path} cannot be gone on with: {reason(error)}", str(path)
        ) from None
    if asked.address and not (typed or trust):
        raise CheckpointError(
            f"{path} was not written by a run of yours, or was changed since, and names the "
            f"cluster {asked.address}: "
            f"`impasto resume {folder} --trust` joins it",
            asked.address,
        )
    try:
        os.chdir(began_in)
    except OSError as error:
        raise CheckpointError(
            f"the folder that it was begun in is gone, {began_in} ({reason(error)}): give the "
            "`impasto batch` command "
            f"again where the pictures are now, with -o {folder}",
            began_in,
        ) from None
    if asked.pairs not in ("all", "zip"):
        try:
            # the batch command takes a pipe too, but nobody writes into it now
            open_regular(asked.pairs).close()
        except OSError as error:
            raise CheckpointError(
                f"{asked.pairs} cannot be read as a table: {reason(error)}", asked.pairs
            ) from None
    return asked


def save_spec(asked: BatchSpec, folder: Path, say: Callable[[str], object]) -> None:
    """Write down what is asked for, so that `load_spec` can tell it. Raises OutputError."""
    from impasto.images.write import atomic_write

    record = signed({**asked._asdict(), "folder": os.getcwd()})
    if asked.address and not record["signature"]:
        say(
            f"{key_file()} cannot be written: `impasto resume {folder}` will need --trust, as "
            "this joins a cluster"
        )
    with atomic_write(folder / ASKED) as part:
        part.write_text(json.dumps(record, indent=1), encoding="utf-8")
