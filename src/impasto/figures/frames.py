"""The frames of a film so far, on disk; in a folder that stays they can be taken up again as of any
step kept."""

from __future__ import annotations

import io
import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from pydantic import BaseModel, TypeAdapter

from impasto.errors import OutputError, reason
from impasto.images.write import atomic_write
from impasto.records import checked, lines_of, parsed, read_regular

__all__ = ["Frames", "Kept"]

JOURNAL = "film.jsonl"
MOST_BYTES = 1 << 26  # of a frame's file


class Kept(NamedTuple):
    """A frame by its step's number, what it looks like from afar, and its distance from the one
    kept before it."""

    number: int
    proxy: torch.Tensor
    change: float


class Line(BaseModel):
    """A line of the journal: which frames made up the film from this step on, and what change
    counted as visible."""

    step: int
    visible: float
    kept: list[tuple[int, float]]  # numbers and changes


LINE = TypeAdapter(Line)


class Frames:
    """A folder of frames: a temporary one, or one that stays, where an interrupted run's film goes
    on.

    There a journal has a line for every step that changed the film, and a dropped frame lies until
    no checkpoint needs it: the film is restored as it was at the step of either checkpoint that is
    kept.
    """

    def __init__(self, folder: Path | None):
        """folder: None for a temporary one. Raises OutputError."""
        self.lasting = folder is not None
        try:
            if folder is not None and folder.is_symlink():
                raise OSError(f"{folder} is a link to another folder")
            self._folder = folder or Path(tempfile.mkdtemp(prefix="impasto-film-"))
            self._folder.mkdir(exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"no room for the film's frames: {reason(error)}", str(folder or "")
            ) from error
        # the steps of the last two checkpoints, and their films' frames
        self._needed: list[tuple[int, set[int]]] = []

    def file(self, number: int) -> Path:
        """Where a frame lies."""
        return self._folder / f"{number:08d}.png"

    def add(self, number: int, frame: Image.Image, proxy: torch.Tensor) -> None:
        """Write a frame. Raises OutputError."""
        try:
            with open(self.file(number), "wb") as file:
                frame.save(file, "PNG", compress_level=1)
                if self.lasting:
                    _sync(file)
            if self.lasting:
                with open(self._proxy_file(number), "wb") as file:
                    np.save(file, proxy.numpy())
                    _sync(file)
        except OSError as error:
            raise self._no_room(error) from error

    def drop(self, number: int) -> None:
        """A frame is no longer part of the film; where it may be needed again it lies until
        `saved`."""
        if not self.lasting:
            self.file(number).unlink()

    def note(self, step: int, visible: float, kept: Sequence[Kept]) -> None:
        """Write down how the film is from a step on. Raises OutputError."""
        if not self.lasting:
            return
        try:
            with open(self._folder / JOURNAL, "ab") as file:
                file.write(_line(step, visible, kept))
                _sync(file)
        except OSError as error:
            raise self._no_room(error) from error

    def saved(self, step: int, kept: Sequence[Kept]) -> None:
        """A checkpoint of a step was written: remove the dropped frames that neither of the last
        two needs."""
        self._needed = [*self._needed[-1:], (step, {each.number for each in kept})]
        if not self.lasting or len(self._needed) < 2:
            return
        oldest, needed = self._needed[0]
        for file in self._folder.glob(f"{'[0-9]' * 8}.*"):
            if int(file.stem) <= oldest and int(file.stem) not in needed:
                with suppress(OSError):  # it only takes room
                    file.unlink()

    def restore(self, step: int, size: Sequence[int]) -> tuple[float, list[Kept]] | None:
        """The film as it was after a step: what counts as visible, and its frames; None: there was
        none yet.

        size: of the proxies, (1, 3, h, w). What came after the step is removed; frames that are
        lost are left out. Raises OutputError.
        """
        lines = [line for line in self._journal() if line.step <= step]
        with atomic_write(self._folder / JOURNAL) as part:
            part.write_bytes(b"".join(_line(line.step, line.visible, line.kept) for line in lines))
        for file in self._folder.glob(f"{'[0-9]' * 8}.*"):
            if int(file.stem) > step:
                with suppress(OSError):
                    file.unlink()
        if not lines:
            return None
        found = [(number, self._proxy(number, size), change) for number, change in lines[-1].kept]
        return lines[-1].visible, [
            Kept(number, proxy, change) for number, proxy, change in found if proxy is not None
        ]

    def _journal(self) -> list[Line]:
        """The lines of the journal up to the first that was torn."""
        lines = []
        with suppress(OSError, ValueError):
            for line in lines_of(self._folder / JOURNAL):
                lines.append(checked(LINE, parsed(line)))
        return lines

    def _proxy(self, number: int, size: Sequence[int]) -> torch.Tensor | None:
        """The proxy of a frame that lies here, whole; or None."""
        try:
            frame = io.BytesIO(read_regular(self.file(number), MOST_BYTES))
            with Image.open(frame, formats=("PNG",)) as image:
                image.verify()
            values = np.load(
                io.BytesIO(read_regular(self._proxy_file(number), MOST_BYTES)), allow_pickle=False
            )
        except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError):
            return None
        return (
            torch.from_numpy(values)
            if values.shape == tuple(size) and values.dtype == np.float32
            else None
        )

    def _proxy_file(self, number: int) -> Path:
        return self._folder / f"{number:08d}.npy"

    def _no_room(self, error: OSError) -> OutputError:
        return OutputError(
            f"no room for the film's frames in {self._folder}: {error}", str(self._folder)
        )

    def close(self) -> None:
        """Remove the frames, unless they are to stay."""
        if not self.lasting:
            shutil.rmtree(self._folder, ignore_errors=True)


def _line(step: int, visible: float, kept: Sequence[Kept] | Sequence[tuple[int, float]]) -> bytes:
    numbers = [(each[0], each[-1]) for each in kept]
    return json.dumps({"step": step, "visible": visible, "kept": numbers}).encode() + b"\n"


def _sync(file: io.BufferedWriter) -> None:
    """Have what was written on the disk before a checkpoint that counts on it."""
    file.flush()
    os.fsync(file.fileno())
