"""The folder of a film that is being painted: its frames, and a manifest with a line for each."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import BaseModel, Field, StrictBool, StrictFloat, StrictInt, TypeAdapter

from impasto.config import Machine
from impasto.errors import CheckpointError, ConfigError, OutputError, PictureError, reason
from impasto.images.atomic import atomic_write, writing
from impasto.images.read import Picture, bytes_of, read_bytes
from impasto.images.write import encode, to_image
from impasto.locking import exclusive_lock
from impasto.painting.outcome import Painting
from impasto.records import Text, parse_json, read_lines, read_regular, validate

__all__ = ["METHOD", "FilmStore", "FrameLine", "open_film_store", "recorded_machine"]

RECORD, MANIFEST, FRAMES = "film.json", "manifest.jsonl", "frames"
SECOND = "second-pass"  # the folder of its frames
INPUTS = "inputs"  # the folder of what the second pass paints from
METHOD = "method"  # in the record: how the network computes
MOST_BYTES = 1 << 24  # of the record


class FrameLine(BaseModel):
    """A painted frame: a line of the manifest.

    number: in the clip, from 1. pts, duration: its time and length, in the clip's time base. cut:
    whether a shot begins with it. tile: the largest side of a tile, or None. sha256: of its file.
    """

    number: Annotated[StrictInt, Field(ge=1)]
    pts: StrictInt
    duration: StrictInt
    cut: StrictBool
    tile: StrictInt | None
    steps: StrictInt
    objective: StrictFloat
    terms: dict[Text, StrictFloat]
    seconds: StrictFloat
    sha256: Text


LINE = TypeAdapter(FrameLine)


class FilmStore:
    """The painted frames of a film.

    A frame is written first, then its line: after a crash at any moment it is either there or
    painted again. Frames have 8 bits, and later frames are painted from these: so a film that was
    interrupted ends with the same bytes.

    second: the store of a second pass, which is another one within the folder; None if there is no
    second pass.
    """

    def __init__(self, folder: Path, passes: int = 1):
        self.folder = folder
        (folder / FRAMES).mkdir(parents=True, exist_ok=True)
        self.second = FilmStore(folder / SECOND) if passes > 1 else None
        self.lines: list[FrameLine] = []
        self._read_manifest()
        self.numbers = {line.number for line in self.lines}

    def _read_manifest(self) -> None:
        """Read the lines of the frames that are there, up to the first that is not."""
        whole = 0
        path = self.folder / MANIFEST
        with writing(path):
            try:
                for text in read_lines(path):
                    line = validate(LINE, parse_json(text))
                    if hashlib.sha256(bytes_of(self.file(line.number))).hexdigest() != line.sha256:
                        break
                    self.lines.append(line)
                    whole += len(text)
            except (FileNotFoundError, PictureError, ValueError):
                pass  # what follows is painted again
            if path.exists():
                os.truncate(path, whole)

    def file(self, number: int) -> Path:
        """The file of a frame."""
        return self.folder / FRAMES / f"{number:06d}.png"

    def pixels(self, number: int) -> torch.Tensor:
        """A painted frame, (1, 3, H, W) in [0, 1]. Raises PictureError."""
        return _read(self.file(number)).pixels

    def last_file(self, number: int) -> Path:
        """The file of a frame as the last pass left it that has painted it."""
        second = self.second
        return second.file(number) if second and number in second.numbers else self.file(number)

    def keep_inputs(self, number: int, pictures: Sequence[Picture]) -> None:
        """Write what a frame is painted from, for the second pass; nothing is written twice.

        A clip cannot be read backward. pictures: the content, and those that change with it.
        """
        for index, picture in enumerate(pictures):
            file = self._input(number, index)
            if not file.exists():
                file.parent.mkdir(exist_ok=True)
                with atomic_write(file) as part:
                    part.write_bytes(encode(to_image(picture.pixels), ".png"))

    def inputs(self, number: int) -> list[Picture]:
        """The pictures that `keep_inputs` wrote. Raises PictureError."""
        return [
            _read(file) for file in sorted(self._input(number, 0).parent.glob(f"{number:06d}-*"))
        ]

    def _input(self, number: int, index: int) -> Path:
        return self.folder / INPUTS / f"{number:06d}-{index:02d}.png"

    def add(self, line: Mapping[str, Any], painting: Painting) -> FrameLine:
        """Write a painted frame and its line.

        line: what is not the painting's. Raises OutputError.
        """
        result = {
            "steps": painting.steps,
            "objective": painting.value,
            "terms": painting.terms,
        }
        return self._add({**line, **result}, encode(painting.image, ".png"))

    def repeat(self, line: Mapping[str, Any]) -> FrameLine:
        """Write the last frame once more. line: what is not the painting's. Raises OutputError."""
        last = self.lines[-1]
        result = {"steps": 0, "objective": last.objective, "terms": last.terms}
        return self._add({**line, **result}, bytes_of(self.file(last.number)))

    def copy(self, line: FrameLine, file: Path) -> FrameLine:
        """Write a frame from a file. line: of the frame in another store. Raises OutputError."""
        values = {**line.model_dump(exclude={"sha256"}), "steps": 0, "seconds": 0.0}
        return self._add(values, bytes_of(file))

    def _add(self, line: Mapping[str, Any], data: bytes) -> FrameLine:
        added = FrameLine(**line, sha256=hashlib.sha256(data).hexdigest())
        with atomic_write(self.file(added.number)) as part:
            part.write_bytes(data)
        path = self.folder / MANIFEST
        with writing(path), path.open("ab") as file:
            file.write(added.model_dump_json().encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        self.lines.append(added)
        self.numbers.add(added.number)
        return added

    def remove(self) -> None:
        """Remove the folder of a finished film."""
        shutil.rmtree(self.folder, ignore_errors=True)


@contextmanager
def open_film_store(
    folder: Path, fingerprint: Mapping[str, Any], passes: int = 1
) -> Iterator[FilmStore]:
    """Open the folder of a film, made if need be, and lock it for this process.

    Args:
        folder: of the film.
        fingerprint: all that determines its pictures, as JSON.
        passes: over the film, 1 or 2.

    Raises:
        CheckpointError: the folder is of another film.
        OutputError: it cannot be written, or another process paints there.
    """
    with ExitStack() as lock:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock.enter_context(exclusive_lock(folder))
        except BlockingIOError:
            busy = f"another run paints this film: wait for it, or give another -o ({folder})"
            raise OutputError(busy, str(folder)) from None
        except OSError as error:
            raise OutputError(f"cannot write into {folder}: {reason(error)}", folder) from error
        _check_same(folder, json.loads(json.dumps(fingerprint)))
        yield _store(folder, passes)


def _store(folder: Path, passes: int) -> FilmStore:
    with writing(folder):
        return FilmStore(folder, passes)


def _read(file: Path) -> Picture:
    return read_bytes(bytes_of(file), str(file))


def _check_same(folder: Path, fingerprint: dict[str, Any]) -> None:
    """Compare the record of a folder, or write it. Raises CheckpointError with the difference."""
    path = folder / RECORD
    try:
        then = parse_json(read_regular(path, MOST_BYTES))
    except FileNotFoundError:
        with atomic_write(path) as part:
            part.write_text(json.dumps(fingerprint, indent=1), encoding="utf-8")
        return
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read: {reason(error)}", str(path)) from None
    for key, now in fingerprint.items():
        was = then.get(key) if isinstance(then, dict) else None
        if was != now:
            if isinstance(now, dict) and isinstance(was, dict):
                key = next(name for name in now if was.get(name) != now[name])
            raise CheckpointError(
                f"{folder} holds a film that was begun with another {key}: give another -o, or "
                "remove that folder to begin anew",
                key,
            )


def recorded_machine(folder: Path, machine: Machine) -> Machine:
    """The settings with the precision and convolution that the film of a folder was begun with.

    Those that are not "auto" stay; so do all where there is no such folder.
    """
    with suppress(OSError, ValueError, LookupError, TypeError, ConfigError):
        method = parse_json(read_regular(folder / RECORD, MOST_BYTES))[METHOD]
        for name in ("precision", "convolution"):
            if getattr(machine, name) == "auto":
                machine = machine.changed(**{name: method[name]})
    return machine
