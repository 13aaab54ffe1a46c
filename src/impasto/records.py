"""Files that are read back: regular files only, of a bounded size, each checked against one
schema."""

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
    "SETTINGS",
    "AnyText",
    "ConfigRecord",
    "FileName",
    "Text",
    "check_regular",
    "checked",
    "lines_of",
    "open_regular",
    "parsed",
    "read_regular",
]

LONGEST_TEXT = 16384  # characters: a mask's setting names three paths
LONGEST_NAME = 255  # bytes, of most file systems
LONGEST_LINE = 1 << 20  # bytes of a manifest's or a trace's line
KINDS = (
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
SAFELY = ("O_NONBLOCK", "O_CLOEXEC", "O_NOCTTY", "O_BINARY")  # not every system has all of them
T = TypeVar("T")


# Reading
# --------------------------------------------------------------------------------------------------


def check_regular(mode: int) -> None:
    """Whether a file of this mode (of os.stat) is a regular one. Raises OSError, which says what it
    is."""
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(mode):
        kind = next((name for is_kind, name in KINDS if is_kind(mode)), "something else")
        raise OSError(errno.EINVAL, f"it is not a regular file: it is {kind}")


def open_regular(path: str | os.PathLike[str]) -> IO[bytes]:
    """A regular file, open for reading; FIFOs, devices, sockets and folders are refused without
    waiting for them.

    Raises OSError, and ValueError for a name that no file can have.
    """
    # before it is opened, which alone can have an effect on a device
    check_regular(os.stat(path).st_mode)
    handle = os.open(path, os.O_RDONLY | sum(getattr(os, name, 0) for name in SAFELY))
    try:
        check_regular(os.fstat(handle).st_mode)  # it may have been replaced meanwhile
    except OSError:
        os.close(handle)
        raise
    return open(handle, "rb")


def read_regular(path: str | os.PathLike[str], most: int) -> bytes:
    """The bytes of a regular file, if these are no more than `most`. Raises OSError, ValueError."""
    with open_regular(path) as file:
        if os.fstat(file.fileno()).st_size > most or len(data := file.read()) > most:
            raise OSError(errno.EFBIG, f"it has more than {most:,} bytes")
    return data


def lines_of(path: str | os.PathLike[str]) -> Iterator[bytes]:
    """The whole lines of a regular file; a last one without its end was cut off, and is left out.

    Of a line that is longer than LONGEST_LINE bytes only a piece is given, which has no end. Raises
    OSError, and ValueError for a name that no file can have.
    """
    with open_regular(path) as file:
        while line := file.readline(LONGEST_LINE):
            if line.endswith(b"\n") or len(line) == LONGEST_LINE:
                yield line


def parsed(text: bytes | str) -> Any:
    """The value of a JSON text. Raises ValueError, whatever the text may be.

    Not pydantic's own parser: that refuses the names of files that are not in Unicode.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def checked(schema: TypeAdapter[T], value: Any) -> T:
    """A value as a schema has it. Raises ValueError, which says in one line what is wrong, and
    where."""
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
    os.fsencode(text)  # no file can be called by half a character, but by bytes that are no Unicode
    return text


def _file_name(value: Any) -> str:
    text = _text(value)
    if text in ("", "..") or Path(text).name != text or len(os.fsencode(text)) > LONGEST_NAME:
        raise ValueError(f"{shortened(text)} is not a plain file name")
    return text


AnyText = Annotated[str, PlainValidator(_any_text)]
Text = Annotated[str, PlainValidator(_text)]  # that a file can be called by
FileName = Annotated[str, PlainValidator(_file_name)]  # without a folder
Value = Text | StrictBool | StrictInt | StrictFloat | None
ConfigRecord = dict[
    Text,
    Value | Annotated[list[Value], Field(max_length=10_000)] | dict[Text, StrictInt | StrictFloat],
]


class Input(BaseModel):
    """A picture that a painting was made from."""

    role: Text
    name: Text
    sha256: Text


class Settings(BaseModel):
    """What a painting's file carries, and `impasto show` prints; what else is there does no
    harm."""

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
