"""Read files safely: regular files of bounded size, their contents validated against a schema."""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Annotated, Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    StrictBool,
    StrictFloat,
    StrictInt,
    TypeAdapter,
    ValidationError,
)

from impasto.errors import shortened

__all__ = [
    "LONGEST_NAME",
    "SETTINGS",
    "AnyText",
    "ConfigRecord",
    "FileName",
    "Text",
    "check_regular",
    "open_regular",
    "parse_json",
    "read_lines",
    "read_regular",
    "validate",
]

LONGEST_TEXT = 16384  # characters; the setting of a mask contains three paths
LONGEST_NAME = 255  # bytes, on most file systems
LONGEST_LINE = 1 << 20  # bytes of a line of a manifest or trace
KINDS = (
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
# flags of os.open; not every system has all of them
OPEN_FLAGS = ("O_NONBLOCK", "O_CLOEXEC", "O_NOCTTY", "O_BINARY")
T = TypeVar("T")


# Reading
# --------------------------------------------------------------------------------------------------


def check_regular(mode: int) -> None:
    """Check that a mode of os.stat is a regular file's. Raises OSError, which names the kind."""
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(mode):
        kind = next((name for is_kind, name in KINDS if is_kind(mode)), "something else")
        raise OSError(errno.EINVAL, f"it is not a regular file: it is {kind}")


def open_regular(path: str | os.PathLike[str]) -> IO[bytes]:
    """Open a regular file for reading; refuse FIFOs, devices, sockets and folders at once.

    Raises:
        OSError: the file cannot be opened, or is not a regular one.
        ValueError: no file can have this name.
    """
    check_regular(os.stat(path).st_mode)  # first: opening a device can have an effect on it
    handle = os.open(path, os.O_RDONLY | sum(getattr(os, name, 0) for name in OPEN_FLAGS))
    try:
        check_regular(os.fstat(handle).st_mode)  # again: it may have been replaced since
    except OSError:
        os.close(handle)
        raise
    return open(handle, "rb")


def read_regular(path: str | os.PathLike[str], most: int) -> bytes:
    """Read a regular file of at most `most` bytes. Raises OSError, ValueError."""
    with open_regular(path) as file:
        if os.fstat(file.fileno()).st_size > most or len(data := file.read()) > most:
            raise OSError(errno.EFBIG, f"it has more than {most:,} bytes")
    return data


def read_lines(path: str | os.PathLike[str]) -> Iterator[bytes]:
    """Yield the lines of a regular file, without a last line that has no newline: it was cut off.

    A line longer than LONGEST_LINE bytes is yielded in pieces.

    Raises:
        OSError: the file cannot be read, or is not a regular one.
        ValueError: no file can have this name.
    """
    with open_regular(path) as file:
        while line := file.readline(LONGEST_LINE):
            if line.endswith(b"\n") or len(line) == LONGEST_LINE:
                yield line


def parse_json(text: bytes | str) -> Any:
    """Parse JSON. Raises ValueError for any invalid text.

    pydantic's own parser would refuse file names that are not valid Unicode.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def validate(schema: TypeAdapter[T], value: Any) -> T:
    """Validate a value against a schema. Raises ValueError: one line with the place and fault."""
    try:
        return schema.validate_python(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"] if "[" not in str(part))
        what = first["msg"].removeprefix("Value error, ")
        raise ValueError(f"{shortened(where)}: {what}" if where else what) from None


# Schemas
# --------------------------------------------------------------------------------------------------


def _any_text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("it is not text")
    return value


def _text(value: Any) -> str:
    text = _any_text(value)
    if len(text) > LONGEST_TEXT:
        raise ValueError(f"it is longer than {LONGEST_TEXT:,} characters")
    if "\0" in text:
        raise ValueError("it holds a null character")
    os.fsencode(text)  # refuses half a surrogate pair, and accepts bytes that are not Unicode
    return text


def _file_name(value: Any) -> str:
    text = _text(value)
    if text in ("", "..") or Path(text).name != text or len(os.fsencode(text)) > LONGEST_NAME:
        raise ValueError(f"{shortened(text)} is not a plain file name")
    return text


AnyText = Annotated[str, PlainValidator(_any_text)]
Text = Annotated[str, PlainValidator(_text)]  # valid as a path
FileName = Annotated[str, PlainValidator(_file_name)]  # a name without a folder
Value = Text | StrictBool | StrictInt | StrictFloat | None
ConfigRecord = dict[
    Text,
    Value | Annotated[list[Value], Field(max_length=10_000)] | dict[Text, StrictInt | StrictFloat],
]


class Input(BaseModel):
    """An input picture of a painting."""

    role: Text
    name: Text
    sha256: Text


class Settings(BaseModel):
    """The settings in a painting's file, as `impasto show` prints them; extra keys are allowed."""

    model_config = ConfigDict(extra="allow")

    program: Literal["impasto"]
    version: Text
    config: ConfigRecord
    machine: ConfigRecord
    inputs: Annotated[list[Input], Field(max_length=1000)]
    steps_done: Annotated[StrictInt, Field(ge=0, le=10_000_000)]
    objective: StrictFloat | None = None
    terms: dict[Text, StrictFloat | None] | None = None


SETTINGS = TypeAdapter(Settings)
