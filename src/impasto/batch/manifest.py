"""The lines of a batch's manifest, as they are read back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Discriminator, TypeAdapter

from impasto.errors import OutputError, reason
from impasto.records import AnyText, FileName, Text, checked, lines_of, parsed

__all__ = ["Record", "manifest_lines"]

Record = dict[str, Any]


class DoneLine(BaseModel):
    """A line of the manifest: a painting that was made. Of what else is there nothing is read."""

    key: Text
    state: Literal["done"]
    out: FileName
    sha256: Text | None = None


class FailedLine(BaseModel):
    """A line of the manifest: a painting that could not be made."""

    key: Text
    state: Literal["failed"]
    error: AnyText
    passing: bool = False


class ReplacedLine(BaseModel):
    """A line of the manifest: a failure that counts no more."""

    key: Text
    state: Literal["replaced"]
    by: Text


LINE: TypeAdapter[DoneLine | FailedLine | ReplacedLine] = TypeAdapter(
    Annotated[DoneLine | FailedLine | ReplacedLine, Discriminator("state")]
)


def manifest_lines(path: Path) -> Iterator[tuple[Record, int]]:
    """Each whole line of a manifest, and its length in bytes; none where there is no manifest.
    Raises OutputError."""
    number = 0
    try:
        for number, line in enumerate(lines_of(path), 1):  # noqa: B007 (the error tells it)
            yield checked(LINE, parsed(line)).model_dump(), len(line)
    except FileNotFoundError:
        return
    except OSError as error:
        raise OutputError(f"{path} cannot be opened: {reason(error)}", str(path)) from error
    except ValueError as error:
        words = f"line {number} is no record ({error}); mend or remove it"
        raise OutputError(f"{path} is not a manifest that can be read: {words}", number) from None
