"""Quick looks at what a visitor's pictures and settings would make."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from queue import Empty, SimpleQueue

from impasto.images.files import header_size
from impasto.images.read import read_bytes
from impasto.painting.preview import SHOWN, previews
from impasto.web.jobs.policy import Policy
from impasto.web.jobs.previews import jpeg
from impasto.web.jobs.request import BusyError, PaintRequest, clean
from impasto.web.jobs.uploads import ReadingMemory
from impasto.web.jobs.worker import cached_backbone

MOST = 4  # that wait for a worker
MOST_PICTURES, LARGEST_BRUSH = 6, 3.0  # with more, or a larger one, it would not be quick
PATIENCE = 60.0  # seconds: a painting may have begun meanwhile


class Look:
    """A quick look that was asked for: its pictures, each finer, as they come."""

    def __init__(self, request: PaintRequest, owner: str):
        self.request, self.owner = request, owner
        self.given_up = False
        self._pictures = SimpleQueue[bytes | Exception | None]()

    def add(self, picture: bytes | Exception | None) -> None:
        """Add a picture, a JPEG; or an error, or None: there are no more."""
        self._pictures.put(picture)

    def give_up(self) -> None:
        """End it: its pictures are not wanted any more."""
        self.given_up = True
        self.add(None)

    def next(self) -> bytes | None:
        """Wait for the next picture; None if there are no more. Raises ImpastoError."""
        try:
            picture = None if self.given_up else self._pictures.get(timeout=PATIENCE)
        except Empty:
            return None
        if isinstance(picture, Exception):
            raise picture
        return None if self.given_up else picture


class Looks:
    """The quick looks that wait for a worker.

    paintings: returns how many wait for a worker or are being made; they come first.
    """

    def __init__(self, policy: Policy, reading: ReadingMemory, paintings: Callable[[], int]):
        self._policy, self._reading, self._paintings = policy, reading, paintings
        self._waiting = deque[Look]()
        self._begun = set[Look]()
        self._change = threading.Lock()  # of both

    def waiting(self) -> int:
        """The number of those that wait."""
        return len(self._waiting)

    def ask(self, request: PaintRequest, owner: str) -> Look:
        """Ask for one. The owner's earlier ones are given up, and the oldest of too many."""
        with self._change:
            for earlier in [*self._waiting, *self._begun]:
                if earlier.owner == owner:
                    earlier.give_up()
            self._waiting = deque(look for look in self._waiting if not look.given_up)
            self._waiting.append(asked := Look(request, owner))
            if len(self._waiting) > MOST:
                self._waiting.popleft().give_up()
        return asked

    def close(self) -> None:
        """Give up all."""
        with self._change:
            for look in [*self._waiting, *self._begun]:
                look.give_up()
            self._waiting.clear()

    def make_one(self) -> None:
        """Make the oldest one, if there is one still."""
        with self._change:
            if not self._waiting:
                return
            look = self._waiting.popleft()
            self._begun.add(look)
        try:
            for picture in self._pictures(look):
                look.add(picture)
        except Exception as error:  # any: the visitor's thread waits for an answer
            look.add(error)
        finally:
            with self._change:
                self._begun.discard(look)
            look.add(None)

    def _pictures(self, look: Look) -> Iterator[bytes]:
        request = look.request
        config, most = self._policy.config_of(request), self._policy.limits.read_pixels
        uploads = [request.content, *request.styles, *request.named.values()]
        files = [(upload.read(), clean(upload.name)) for upload in uploads]
        if len(files) > MOST_PICTURES or config.style_scale > LARGEST_BRUSH:
            return
        sizes = [header_size(data, name, most) for data, name in files]
        made = 0

        def wanted() -> bool:
            # a finer one than the second only if no other look waits
            return not (look.given_up or self._paintings() or (made > 1 and self._waiting))

        try:
            with self._reading.reserved(sizes, SHOWN):
                read = [read_bytes(data, name, most, SHOWN) for data, name in files]
                styles = 1 + len(request.styles)
                for pixels in previews(
                    read[0],
                    read[1:styles],
                    config,
                    self._policy.machine,
                    named=dict(zip(request.named, read[styles:], strict=True)),
                    backbone=cached_backbone,
                    wanted=wanted,
                ):
                    made += 1
                    yield jpeg(pixels, SHOWN)
        except BusyError:
            return
