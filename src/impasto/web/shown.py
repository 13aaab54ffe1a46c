"""Pictures as the page shows them: kinds that browsers do not know are converted."""

from __future__ import annotations

import logging
import secrets
from pathlib import Path
from typing import NamedTuple

from impasto.errors import ImpastoError
from impasto.web.queue import Studio
from impasto.web.request import Upload
from impasto.web.uploads import ReadingMemory

__all__ = ["Shown", "original_of", "placed", "suffix_of", "try_placed"]

log = logging.getLogger("impasto.studio")
ORIGINAL = "original"  # the uploaded file, beside the one that is shown in its place
# the first bytes of what every browser shows, and the suffix that the server needs for its type
KINDS = {
    b"\x89PNG": ".png",
    b"\xff\xd8\xff": ".jpg",
    b"GIF8": ".gif",
    b"BM": ".bmp",
}


class Shown(NamedTuple):
    """A picture in the folder of uploads that the page can show, and its name."""

    path: Path
    name: str


def placed(upload: Upload, folder: Path, reading: ReadingMemory, most: int) -> Shown:
    """Put a picture into the folder of uploads, under a name of our own.

    most: pixels that it may have. Raises PictureError, BusyError.
    """
    data = upload.read()
    own = folder / secrets.token_hex(16)
    suffix = suffix_of(data)
    if suffix:
        own.mkdir()
        (path := own / f"picture{suffix}").write_bytes(data)
        return Shown(path, upload.name)
    small = reading.thumbnail(upload, most)
    own.mkdir()
    (own / ORIGINAL).write_bytes(data)
    small.save(path := own / "picture.png")
    return Shown(path, upload.name)


def try_placed(upload: Upload | None, studio: Studio) -> Shown | None:
    """A picture where the page can show it; None if it cannot be read, or not now."""
    try:
        if upload is not None:
            return placed(upload, studio.uploads, studio.reading, studio.limits.read_pixels)
    except (OSError, ImpastoError) as error:
        log.info("a picture could not be shown again: %s", error)
    return None


def suffix_of(data: bytes) -> str:
    """The suffix of a picture that every browser shows, or ""."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return ".webp"
    if data[4:12] in (b"ftypavif", b"ftypavis"):
        return ".avif"
    return next((suffix for start, suffix in KINDS.items() if data.startswith(start)), "")


def original_of(path: str) -> str:
    """The uploaded file of a picture that the page shows."""
    original = Path(path).with_name(ORIGINAL)
    return str(original) if original.is_file() else path
