"""Pictures that visitors send: which files count as uploads, and how much memory reading them may
take."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from PIL import Image

from impasto.errors import PictureError
from impasto.images.read import bytes_of, header_size
from impasto.web.job import BusyError, Upload
from impasto.web.previews import FRAME_SIDE, thumbnail

__all__ = ["ReadingMemory", "check_uploads", "read_upload"]

NOT_HERE = "this picture is not kept here: upload it again"
DECODED, KEPT = 12, 32  # bytes a pixel: while a picture is decoded, and of what is kept of it


def read_upload(path: str | os.PathLike[str], folder: Path) -> bytes:
    """The bytes of an uploaded file.

    Args:
        path: where the page says that it lies. It comes from the visitor, whatever gradio has
        checked.
        folder: the only one where uploads lie.

    Raises:
        PictureError: for everything but a regular file in `folder`, always in the same words: they
            must not tell which paths exist.
    """
    try:
        return bytes_of(_upload(path, folder))
    except PictureError:
        raise PictureError(NOT_HERE) from None


def check_uploads(values: Any, folder: Path) -> None:
    """Raises PictureError if any file that `values` name, JSON from a page, is not an upload in
    `folder`."""
    left = [values]
    while left:
        value = left.pop()
        if isinstance(value, dict):
            if isinstance(path := value.get("path"), str):
                _upload(path, folder)
            left += value.values()
        elif isinstance(value, list):
            left += value


def _upload(path: str | os.PathLike[str], folder: Path) -> Path:
    """The real path of an upload. Raises PictureError, always in the same words."""
    with suppress(OSError, ValueError):  # ValueError: a null byte in the path
        real = Path(os.path.realpath(path, strict=True))
        if folder.resolve() in real.parents and stat.S_ISREG(real.stat().st_mode):
            return real
    raise PictureError(NOT_HERE)


class ReadingMemory:
    """Memory for reading uploads: what would not fit beside what is being read now is refused, and
    nobody waits."""

    def __init__(self, budget: Callable[[], int]):
        """budget: says how many bytes there are for it now."""
        self._budget, self._taken = budget, 0
        self._lock = threading.Lock()

    @contextmanager
    def reserved(self, sizes: Sequence[tuple[int, int]], enough: int) -> Iterator[None]:
        """Hold the memory for reading pictures of these (width, height), scaled down to `enough`
        pixels a side.

        Raises:
            PictureError: they would not fit even alone.
            BusyError: they may fit when what is being read now has been read.
        """
        needed = DECODED * max(width * height for width, height in sizes)
        needed += KEPT * sum(_kept(width, height, enough) for width, height in sizes)
        with self._lock:
            budget = self._budget()
            # at the most: what is being read has taken its memory already, or will
            alone = budget + self._taken
            if needed > alone:
                raise PictureError(
                    f"reading these pictures takes {needed / 1e6:,.0f} MB of memory, and this "
                    "server has "
                    f"{alone / 1e6:,.0f} MB for it: scale them down first",
                    needed,
                )
            if self._taken + needed > budget:
                raise BusyError(
                    "busy: other pictures are being read, and memory is short; try again in a "
                    "minute"
                )
            self._taken += needed
        try:
            yield
        finally:
            with self._lock:
                self._taken -= needed

    def thumbnail(self, upload: Upload, most: int) -> Image.Image:
        """An uploaded picture of at most `most` pixels as the page draws on it. Raises
        PictureError, BusyError."""
        data = upload.read()
        with self.reserved([header_size(data, upload.name, most)], FRAME_SIDE):
            return thumbnail(data, upload.name, most)


def _kept(width: int, height: int, enough: int) -> int:
    """Pixels of a picture after it was scaled down, as `images.read.read_bytes` does."""
    return width * height // max(1, min(width, height) // enough) ** 2
