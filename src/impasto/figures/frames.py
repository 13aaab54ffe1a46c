"""Store the frames of a film on disk, where a resumed run can restore them."""

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
from impasto.images.atomic import atomic_write
from impasto.records import parse_json, read_lines, read_regular, validate

__all__ = ["Frames", "Kept"]

JOURNAL = "film.jsonl"
MOST_BYTES = 1 << 26  # of a frame's file


class Kept(NamedTuple):
    """A frame: its step's number, a small copy, and its distance from the frame before it."""

    number: int
    proxy: torch.Tensor
    change: float


class Line(BaseModel):
    """A line of the journal: the film's frames from this step on, and the threshold of change."""

    step: int
    visible: float
    kept: list[tuple[int, float]]  # numbers and changes


LINE = TypeAdapter(Line)


class Frames:
    """A folder of frames: temporary, or lasting, so that the film of a resumed run continues.

    A lasting folder has a journal with a line for every step that changed the film. Dropped frames
    stay until neither of the last two checkpoints needs them, so that the film can be restored at
    either.
    """

    def __init__(self, folder: Path | None):
        """Open `folder`, or a temporary one if it is None. Raises OutputError."""
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
        # the steps of the last two checkpoints, and the frames of their films
        self._needed: list[tuple[int, set[int]]] = []

    def file(self, number: int) -> Path:
        """The file of a frame."""
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
        """Drop a frame; in a lasting folder its file stays until `saved` removes it."""
        if not self.lasting:
            self.file(number).unlink()

    def note(self, step: int, visible: float, kept: Sequence[Kept]) -> None:
        """Record in the journal what the film is from a step on. Raises OutputError."""
        if not self.lasting:
            return
        try:
            with open(self._folder / JOURNAL, "ab") as file:
                file.write(_line(step, visible, kept))
                _sync(file)
        except OSError as error:
            raise self._no_room(error) from error

    def saved(self, step: int, kept: Sequence[Kept]) -> None:
        """Remove the dropped frames that the last two checkpoints, the newest of `step`, do not
        need."""
        self._needed = [*self._needed[-1:], (step, {each.number for each in kept})]
        if not self.lasting or len(self._needed) < 2:
            return
        oldest, needed = self._needed[0]
        for file in self._folder.glob(f"{'[0-9]' * 8}.*"):
            if int(file.stem) <= oldest and int(file.stem) not in needed:
                with suppress(OSError):  # it only takes space
                    file.unlink()

    def restore(self, step: int, size: Sequence[int]) -> tuple[float, list[Kept]] | None:
        """Restore the film as it was after a step; later frames are removed, lost ones left out.

        Args:
            step: the number of the step.
            size: of the small copies, (1, 3, h, w).

        Returns:
            The threshold of change and the frames, or None if there were none yet.

        Raises:
            OutputError: the journal cannot be written.
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
        """The lines of the journal before the first broken one."""
        lines = []
        with suppress(OSError, ValueError):
            for line in read_lines(self._folder / JOURNAL):
                lines.append(validate(LINE, parse_json(line)))
        return lines

    def _proxy(self, number: int, size: Sequence[int]) -> torch.Tensor | None:
        """The small copy of a frame, or None if either file is missing or broken."""
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
        """Remove the frames of a temporary folder."""
        if not self.lasting:
            shutil.rmtree(self._folder, ignore_errors=True)


def _line(step: int, visible: float, kept: Sequence[Kept] | Sequence[tuple[int, float]]) -> bytes:
    numbers = [(each[0], each[-1]) for each in kept]
    return json.dumps({"step": step, "visible": visible, "kept": numbers}).encode() + b"\n"


def _sync(file: io.BufferedWriter) -> None:
    """Sync a file to disk, so that a checkpoint written later can rely on it."""
    file.flush()
    os.fsync(file.fileno())
