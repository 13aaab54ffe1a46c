"""Check the paths of uploads, and limit the memory for reading them."""

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
from impasto.images.files import header_size
from impasto.images.read import bytes_of
from impasto.web.jobs.previews import FRAME_SIDE, thumbnail
from impasto.web.jobs.request import BusyError, Upload

NOT_HERE = "this picture is not kept here: upload it again"
DECODED, KEPT = 12, 32  # bytes a pixel: while a picture is decoded, and of what is kept of it


def read_upload(path: str | os.PathLike[str], folder: Path) -> bytes:
    """The bytes of an uploaded file. path: from the visitor, whatever gradio has checked.

    Raises PictureError for everything but a regular file in `folder`, always in the same words:
    they do not tell which paths exist.
    """
    try:
        return bytes_of(upload_path(path, folder))
    except PictureError:
        raise PictureError(NOT_HERE) from None


def check_uploads(values: Any, folder: Path) -> None:
    """Raise PictureError if a file in `values`, JSON from a page, is not an upload in `folder`."""
    left = [values]  # no recursion: a request may be deeper than the stack
    while left:
        value = left.pop()
        if isinstance(value, dict):
            if isinstance(path := value.get("path"), str):
                upload_path(path, folder)
            left += value.values()
        elif isinstance(value, list):
            left += value


def upload_path(path: str | os.PathLike[str], folder: Path) -> Path:
    """The real path of an upload. Raises PictureError."""
    with suppress(OSError, ValueError):  # ValueError: a null byte in the path
        real = Path(os.path.realpath(path, strict=True))
        if folder.resolve() in real.parents and stat.S_ISREG(real.stat().st_mode):
            return real
    raise PictureError(NOT_HERE)


class ReadingMemory:
    """Memory for reading uploads: a request that does not fit is refused, and none has to wait."""

    def __init__(self, budget: Callable[[], int]):
        """budget: gives the bytes that are free for it now."""
        self._budget, self._taken = budget, 0
        self._lock = threading.Lock()

    @contextmanager
    def reserved(self, sizes: Sequence[tuple[int, int]], enough: int) -> Iterator[None]:
        """Hold the memory for reading pictures of these (width, height), scaled down to sides of
        `enough` pixels.

        Raises:
            PictureError: they would not fit even alone.
            BusyError: they may fit when other pictures have been read.
        """
        needed = DECODED * max(width * height for width, height in sizes)
        needed += KEPT * sum(_kept(width, height, enough) for width, height in sizes)
        with self._lock:
            budget = self._budget()
            alone = budget + self._taken  # at most: what is taken may be missing in the budget
            if needed > alone:
                raise PictureError(
                    f"reading these pictures takes {needed / 1e6:,.0f} MB of memory, and this "
                    f"server has {alone / 1e6:,.0f} MB for it: scale them down first",
                    needed,
                )
            if self._taken + needed > budget:
                raise BusyError(
                    "busy: other pictures are being read, and memory is short; "
                    "try again in a minute"
                )
            self._taken += needed
        try:
            yield
        finally:
            with self._lock:
                self._taken -= needed

    def thumbnail(self, upload: Upload, most: int) -> Image.Image:
        """An uploaded picture, of at most `most` pixels, as the page draws on it.

        Raises PictureError, BusyError.
        """
        data = upload.read()
        with self.reserved([header_size(data, upload.name, most)], FRAME_SIDE):
            return thumbnail(data, upload.name, most)


def _kept(width: int, height: int, enough: int) -> int:
    """Pixels of a picture after `images.read.read_bytes` has scaled it down."""
    return width * height // max(1, min(width, height) // enough) ** 2
