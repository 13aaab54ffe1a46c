"""The arguments of a batch, kept in its folder for `impasto resume`."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from pydantic import Field, TypeAdapter

from impasto.errors import CheckpointError, reason
from impasto.records import ConfigRecord, Text, open_regular, parse_json, read_regular, validate
from impasto.signing import is_signed, key_file, sign

SPEC = ".impasto/batch.json"
MOST_BYTES = 1 << 24  # of that file: system and shell take no longer command line
Paths = Annotated[list[Text], Field(max_length=1_000_000)]


class BatchSpec(NamedTuple):
    """The arguments of `impasto batch`. settings: what was given besides the preset.

    depth, metadata: as of images.write.FileOptions.
    """

    contents: Paths
    styles: Paths
    pairs: Text
    preset: Text
    settings: ConfigRecord
    engine: Literal["local", "ray"]
    address: Text | None
    depth: Literal[8, 16]
    metadata: Literal["basic", "all", "none"]


FOLDER_SCHEMA, SPEC_SCHEMA = TypeAdapter(Text), TypeAdapter(BatchSpec)


def is_batch(folder: Path) -> bool:
    """True if a batch has been painted into a folder."""
    return os.path.isfile(folder / SPEC)  # unlike Path.is_file it never raises


def load_spec(folder: Path, trust: bool) -> BatchSpec:
    """Read the spec of the batch in a folder, and change to the folder that it was begun in.

    Args:
        folder: the batch's folder.
        trust: join the cluster that the spec names, even if no run of this user wrote it.

    Raises:
        CheckpointError: the spec cannot be read, or is not trusted.
    """
    path = folder / SPEC
    try:
        record = parse_json(read_regular(path, MOST_BYTES))
        if not isinstance(record, dict):
            raise ValueError("it is not a batch's record")
        ours = is_signed(record)
        record.pop("signature", None)
        began_in = validate(FOLDER_SCHEMA, record.pop("folder", None))
        spec = validate(SPEC_SCHEMA, record)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be resumed: {reason(error)}", str(path)) from None
    if spec.address and not (ours or trust):
        raise CheckpointError(
            f"{path} was not written by a run of yours, or was changed since, and names the "
            f"cluster {spec.address}: `impasto resume {folder} --trust` joins it",
            spec.address,
        )
    try:
        os.chdir(began_in)
    except OSError as error:
        raise CheckpointError(
            f"the folder that it was begun in is gone, {began_in} ({reason(error)}): give the "
            f"`impasto batch` command again where the pictures are now, with -o {folder}",
            began_in,
        ) from None
    if spec.pairs not in ("all", "zip"):
        try:
            open_regular(spec.pairs).close()  # a pipe has nothing more to give
        except OSError as error:
            raise CheckpointError(
                f"{spec.pairs} cannot be read as a table: {reason(error)}", spec.pairs
            ) from None
    return spec


def save_spec(spec: BatchSpec, folder: Path, note: Callable[[str], object]) -> None:
    """Write a spec into the batch's folder, for `load_spec`. Raises OutputError."""
    from impasto.images.atomic import atomic_write  # it loads torch

    record = sign({**spec._asdict(), "folder": os.getcwd()})
    if spec.address and not record["signature"]:
        note(
            f"{key_file()} cannot be written: `impasto resume {folder}` will need --trust, as "
            "this joins a cluster"
        )
    with atomic_write(folder / SPEC) as part:
        part.write_text(json.dumps(record, indent=1), encoding="utf-8")
