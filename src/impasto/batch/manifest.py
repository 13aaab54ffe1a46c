"""Read the manifest of a batch: a JSON line for every painting made and for every failure."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, Discriminator, TypeAdapter

from impasto.errors import OutputError, reason, shortened
from impasto.images.write import FORMATS
from impasto.records import AnyText, FileName, Text, parse_json, read_lines, validate

__all__ = ["DoneLine", "FailedLine", "manifest_lines"]


def _picture_name(name: str) -> str:
    if Path(name).suffix.lower() not in FORMATS:
        raise ValueError(f"{shortened(name)} is no picture's name")
    return name


class DoneLine(BaseModel):
    """A painting that was made: what is read back of its line."""

    key: Text
    state: Literal["done"]
    out: Annotated[FileName, AfterValidator(_picture_name)]
    sha256: Text


class FailedLine(BaseModel):
    """A painting that could not be made: what is read back of its line."""

    key: Text
    state: Literal["failed"]
    error: AnyText


LINE: TypeAdapter[DoneLine | FailedLine] = TypeAdapter(
    Annotated[DoneLine | FailedLine, Discriminator("state")]
)


def manifest_lines(path: Path) -> Iterator[tuple[DoneLine | FailedLine, int]]:
    """Read each whole line of a manifest, with its length in bytes; none if there is no manifest.

    Raises:
        OutputError: the manifest cannot be opened, or a line of it is no record.
    """
    number = 0
    try:
        for number, line in enumerate(read_lines(path), 1):  # noqa: B007 (the error tells it)
            yield validate(LINE, parse_json(line)), len(line)
    except FileNotFoundError:
        return
    except OSError as error:
        raise OutputError(f"{path} cannot be opened: {reason(error)}", str(path)) from error
    except ValueError as error:
        message = f"line {number} is no record ({error}); mend or remove it"
        raise OutputError(f"{path} is not a manifest that can be read: {message}", number) from None
