"""Standard input and output: pictures by the name `-`, and text in any encoding."""

from __future__ import annotations

import codecs
import io
import sys
from typing import TYPE_CHECKING

from impasto.errors import OutputError, PictureError

if TYPE_CHECKING:
    from pathlib import Path

    from impasto.images.read import Picture

STREAM = "-"  # in place of a file
ERRORS = "impasto-bytes-or-escapes"  # the name of an error handler


def accept_any_text() -> None:
    """Make stdout and stderr print any text, whatever their encoding.

    What an encoding lacks is printed as an escape, on stderr also bytes that are no Unicode. On
    stdout those of file names stay as they are, for other programs.
    """
    codecs.register_error(ERRORS, _bytes_or_escapes)
    for stream, errors in ((sys.stdout, ERRORS), (sys.stderr, "backslashreplace")):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=errors)


def _bytes_or_escapes(error: UnicodeError) -> tuple[bytes, int]:
    """Encode the bytes of a file name as they are, and other characters as escapes."""
    assert isinstance(error, UnicodeEncodeError)
    found = error.object[error.start : error.end]
    encoded = [
        bytes([ord(each) - 0xDC00])  # as PEP 383 decodes what is no Unicode
        if 0xDC80 <= ord(each) <= 0xDCFF
        else each.encode("ascii", "backslashreplace")
        for each in found
    ]
    return b"".join(encoded), error.end


def picture_source(path: str) -> str | Picture:
    """The path of a picture, or the picture of standard input if the path is `-`.

    Raises PictureError.
    """
    from impasto.images.read import MOST_BYTES, read_bytes

    if path != STREAM:
        return path
    if sys.stdin is None or sys.stdin.isatty():
        raise PictureError("- is standard input, and no picture comes from there: < photo.jpg", "-")
    data = sys.stdin.buffer.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise PictureError(f"standard input has more than {MOST_BYTES:,} bytes", "-")
    return read_bytes(data, "standard input")


def check_stdout() -> None:
    """Check that a picture can be written to standard output. Raises OutputError."""
    if sys.stdout is None or sys.stdout.isatty():
        raise OutputError(
            "-o - writes the picture to standard output, which is a terminal: > painting.png", "-"
        )


def write_stdout(file: Path) -> None:
    """Copy a file to standard output."""
    sys.stdout.flush()
    sys.stdout.buffer.write(file.read_bytes())
    sys.stdout.buffer.flush()
