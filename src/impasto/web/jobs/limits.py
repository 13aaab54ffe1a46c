"""The limits of a studio: number and size of paintings, uploads and clips, time and steps."""

from __future__ import annotations

from typing import NamedTuple

from impasto.extras import has_extra

MORE_IN = 16  # an uploaded picture may have this many times the pixels of a painting


class Limits(NamedTuple):
    """The limits of a studio."""

    workers: int = 1  # paintings at a time
    waiting: int = 20  # paintings in the queue
    upload: int = 50_000_000  # bytes of a request
    pixels: int = 4_194_304  # of a painting
    steps: int = 2000
    keep: float = 1800.0  # seconds that files are kept, and that a painting goes on unwatched
    seconds: float = 3600.0  # of a painting or a film
    clip: int = 200_000_000  # bytes of a film's clip
    frames: int = 1500  # of a film

    @property
    def largest_upload(self) -> int:
        """Bytes that a file of any kind may have: a clip, where films can be made."""
        return max(self.upload, self.clip) if has_extra("video") else self.upload

    @property
    def read_pixels(self) -> int:
        """Pixels that an uploaded picture may have."""
        return MORE_IN * self.pixels
