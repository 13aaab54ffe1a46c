"""A visitor's request, and the names of uploaded files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from impasto.errors import ImpastoError

Kind = Literal["painting", "sheet", "film"]


class BusyError(ImpastoError):
    """The queue is full: try again later."""


class Upload(NamedTuple):
    """An uploaded picture: its name, which never becomes a path, and how to read its bytes."""

    name: str
    read: Callable[[], bytes]


class FilmChoices(NamedTuple):
    """The choices of a film.

    later_steps: of the frames that are not the first of a shot; 0: as many as usual.
    every: paint every n-th frame only. temporal: how much a frame is held to the one before it.
    preview: paint three frames, to see what it would be.
    """

    later_steps: int = 0
    every: int = 1
    temporal: float = 1.0
    preview: bool = False


class PaintRequest(NamedTuple):
    """A visitor's request for a painting.

    content: a photograph; for a film, a clip. kind: a painting in all styles, or a sheet with one
    small painting in each, or a film.

    named: the pictures that the settings name. timelapse: the film's suffix, or "". base: the id
    of an earlier painting to start from, or "".
    """

    content: Upload
    styles: list[Upload]
    settings: dict[str, Any]
    named: Mapping[str, Upload] = MappingProxyType({})
    timelapse: str = ""
    base: str = ""
    kind: Kind = "painting"
    film: FilmChoices = FilmChoices()


def clean(name: str) -> str:
    """An uploaded file's name for settings and titles: no folder, printable, at most 100 long."""
    last = name.replace("\\", "/").rpartition("/")[2]
    kept = "".join(letter for letter in last if letter.isprintable() and letter != "=")
    return kept.strip()[-100:] or "picture"
