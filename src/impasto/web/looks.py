"""Quick looks at what a visitor's pictures and settings would make."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future
from concurrent.futures import TimeoutError as LookTimeoutError

from impasto.images.files import header_size
from impasto.images.read import read_bytes
from impasto.painting.preview import SHOWN, preview
from impasto.web.job import BusyError, PaintRequest, clean
from impasto.web.policy import Policy
from impasto.web.previews import jpeg
from impasto.web.uploads import ReadingMemory
from impasto.web.worker import cached_backbone

__all__ = ["Looks", "answer"]

MOST = 4  # that wait for a worker
MOST_PICTURES, LARGEST_BRUSH = 6, 3.0  # with more, or a larger one, it would not be quick
PATIENCE = 60.0  # seconds: a painting may have begun meanwhile


def answer(asked: Future[bytes | None]) -> bytes | None:
    """Wait for a quick look; None if none was made. Raises ImpastoError."""
    try:
        return asked.result(PATIENCE)
    except LookTimeoutError:
        return None


class Looks:
    """The quick looks that wait for a worker; the studio's lock guards `ask` and `close`."""

    def __init__(self, policy: Policy, reading: ReadingMemory):
        self._policy, self._reading = policy, reading
        self._waiting = deque[tuple[PaintRequest, Future[bytes | None]]]()

    def waiting(self) -> int:
        """The number of those that wait."""
        return len(self._waiting)

    def ask(self, request: PaintRequest) -> Future[bytes | None]:
        """Ask for one; the oldest of too many is given up, and is None."""
        asked: Future[bytes | None] = Future()
        self._waiting.append((request, asked))
        if len(self._waiting) > MOST:
            self._waiting.popleft()[1].set_result(None)
        return asked

    def close(self) -> None:
        """Give up all that wait."""
        while self._waiting:
            self._waiting.popleft()[1].set_result(None)

    def make_one(self) -> None:
        """Make the oldest one, if there is one still."""
        try:
            request, asked = self._waiting.popleft()
        except IndexError:
            return
        try:
            asked.set_result(self._made(request))
        except Exception as error:  # any: the visitor's thread waits for an answer
            asked.set_exception(error)

    def _made(self, request: PaintRequest) -> bytes | None:
        config, most = self._policy.config_of(request), self._policy.limits.read_pixels
        uploads = [request.content, *request.styles, *request.named.values()]
        files = [(upload.read(), clean(upload.name)) for upload in uploads]
        if len(files) > MOST_PICTURES or config.style_scale > LARGEST_BRUSH:
            return None
        sizes = [header_size(data, name, most) for data, name in files]
        try:
            with self._reading.reserved(sizes, SHOWN):
                read = [read_bytes(data, name, most, SHOWN) for data, name in files]
                styles = 1 + len(request.styles)
                pixels = preview(
                    read[0],
                    read[1:styles],
                    config,
                    self._policy.machine,
                    named=dict(zip(request.named, read[styles:], strict=True)),
                    backbone=cached_backbone,
                )
        except BusyError:
            return None
        return jpeg(pixels, SHOWN)
