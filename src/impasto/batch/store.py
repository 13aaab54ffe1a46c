"""Crash-safe state of a batch folder: manifest, file names, checkpoints."""

from __future__ import annotations

import errno
import hashlib
import itertools
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Discriminator, TypeAdapter

from impasto.errors import OutputError, PictureError, reason, shortened
from impasto.images.atomic import atomic_write, writing
from impasto.images.read import bytes_of, read
from impasto.images.write import FORMATS
from impasto.locking import exclusive_lock
from impasto.painting.checkpoint_file import clear
from impasto.records import AnyText, FileName, Text, parse_json, read_lines, validate

MANIFEST = "manifest.jsonl"
WORK = ".impasto"  # the folder of checkpoints and of the lock
PAINTING = "painting"  # a finished one, in the work folder of its key, until its line is written
PIECE = re.compile(r"\..+\.\d+-\d+\.part")  # what an `atomic_write` that was killed leaves


def _picture_name(name: str) -> str:
    if Path(name).suffix.lower() not in FORMATS:
        raise ValueError(f"{shortened(name)} is no picture's name")
    return name


class DoneLine(BaseModel):
    """A painting that was made: what is read back of its line."""

    key: Text
    state: Literal["done"]
    out: Annotated[FileName, AfterValidator(_picture_name)]
    sha256: Text


class FailedLine(BaseModel):
    """A painting that could not be made: what is read back of its line."""

    key: Text
    state: Literal["failed"]
    error: AnyText


LINE: TypeAdapter[DoneLine | FailedLine] = TypeAdapter(
    Annotated[DoneLine | FailedLine, Discriminator("state")]
)


def _manifest_lines(path: Path) -> Iterator[tuple[DoneLine | FailedLine, int]]:
    """Read each whole line of a manifest, with its length in bytes; none if there is no manifest.

    Raises:
        OutputError: the manifest cannot be opened, or a line of it is no record.
    """
    number = 0
    try:
        for number, line in enumerate(read_lines(path), 1):  # noqa: B007 (the error tells it)
            yield validate(LINE, parse_json(line)), len(line)
    except FileNotFoundError:
        return
    except OSError as error:
        raise OutputError(f"{path} cannot be opened: {reason(error)}", str(path)) from error
    except ValueError as error:
        message = f"line {number} is no record ({error}); mend or remove it"
        raise OutputError(f"{path} is not a manifest that can be read: {message}", number) from None


class BatchStore:
    """The paintings of a folder, by the fingerprint of their jobs.

    A painting is written into its work folder first, then its line into the manifest, and then it
    is moved to its name: after a crash at any moment it is either done or resumed from its
    checkpoint.
    """

    def __init__(self, folder: Path, note: Callable[[str], object]):
        self.folder, self._note = folder, note
        self._work = folder / WORK
        self._done: dict[str, DoneLine] = {}
        self._names: dict[str, str] = {}  # of the paintings to be made
        self._read_manifest()
        self._clean_up()

    def _read_manifest(self) -> None:
        """Read which paintings are done: the last line of a key counts."""
        whole = 0
        for line, length in _manifest_lines(path := self.folder / MANIFEST):
            whole += length
            if isinstance(line, DoneLine):
                self._done[line.key] = line
            else:
                self._done.pop(line.key, None)
        with writing(path):
            if path.exists() and path.stat().st_size > whole:
                os.truncate(path, whole)  # the last line is torn: a run died over it

    def _clean_up(self) -> None:
        """Finish or remove what a run that died has left."""
        done = {self._work_folder(key).name: line for key, line in self._done.items()}
        for path in (*_inside(self.folder), *_inside(self._work)):
            if path.parent == self._work and (line := done.get(path.name)):
                if (path / PAINTING).exists() and not (self.folder / line.out).exists():
                    self._move(path / PAINTING, self.folder / line.out)
                self._forget(line.key)
            elif PIECE.fullmatch(path.name):
                with suppress(OSError):  # it only takes room
                    path.unlink()

    def find(self, key: str) -> str | None:
        """The file name of a key's painting, if it is there.

        A painting that was edited since counts, one that is damaged does not.
        """
        line = self._done.get(key)
        if line is None or not (path := self.folder / line.out).is_file():
            return None
        try:
            if hashlib.sha256(bytes_of(path)).hexdigest() != line.sha256:
                read(path)
        except PictureError as error:
            self._note(f"{path} is damaged, it is painted again: {error}")
            return None
        return line.out

    def assign_names(self, wanted: Mapping[str, str]) -> None:
        """Give every key a file name of its own, the wanted one if it is free.

        Names are free that no file has, and no painting of the manifest.
        """
        taken = {path.name.casefold() for path in _inside(self.folder)}
        here = set(taken)
        taken |= {line.out.casefold() for line in self._done.values()}
        for key, name in wanted.items():
            before = self._done.get(key)
            if before and before.out.casefold() not in here:
                self._names[key] = before.out  # it was removed
            else:
                self._names[key] = free_name(name, key[:12], lambda name: name.casefold() in taken)
            taken.add(self._names[key].casefold())

    def path(self, key: str) -> Path:
        """The path of a key's painting."""
        return self.folder / self._names[key]

    def _work_folder(self, key: str) -> Path:
        return self._work / key[:32]

    def work_folder(self, key: str) -> Path:
        """The folder for a key's checkpoints, made if need be. Raises OutputError."""
        folder = self._work_folder(key)
        with writing(folder):
            folder.mkdir(exist_ok=True)  # not its parents: a disk may be gone
        return folder

    def done(self, key: str, picture: bytes, record: dict[str, Any]) -> None:
        """Write a painting, and its line into the manifest. Raises OutputError."""
        path, painting = self.path(key), self.work_folder(key) / PAINTING
        with atomic_write(painting) as part:
            part.write_bytes(picture)
        sha256 = hashlib.sha256(picture).hexdigest()
        self._append({"key": key, "state": "done", "out": path.name, "sha256": sha256, **record})
        self._move(painting, path)
        self._forget(key)

    def failed(self, key: str, message: str, record: dict[str, Any]) -> None:
        """Write into the manifest that a painting could not be made. Raises OutputError."""
        self._append({"key": key, "state": "failed", **record, "error": message})
        with suppress(OSError):  # it stays if there is a checkpoint in it
            self._work_folder(key).rmdir()

    def _append(self, record: dict[str, Any]) -> None:
        """Append a line to the manifest, as a whole or not at all."""
        line = (json.dumps(record) + "\n").encode()
        path = self.folder / MANIFEST
        with writing(path), path.open("ab", buffering=0) as file:
            size = file.seek(0, os.SEEK_END)
            try:
                if file.write(line) < len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fsync(file.fileno())
            except OSError:
                file.truncate(size)
                raise

    def _move(self, painting: Path, path: Path) -> None:
        with writing(path):
            os.replace(painting, path)

    def _forget(self, key: str) -> None:
        """Remove the work folder of a finished painting."""
        folder = self._work_folder(key)
        with suppress(OSError, OutputError):  # it only takes room
            (folder / PAINTING).unlink(missing_ok=True)
            clear(folder)
            folder.rmdir()


def free_name(name: str, mark: str, is_taken: Callable[[str], bool]) -> str:
    """The first of NAME.png, NAME-MARK.png, NAME-MARK-2.png, ... that is not taken."""
    stem, dot, suffix = name.rpartition(".")
    marks = itertools.chain(["", f"-{mark}"], (f"-{mark}-{k}" for k in itertools.count(2)))
    names = (f"{stem}{more}{dot}{suffix}" for more in marks)
    return next(name for name in names if not is_taken(name))


def _inside(folder: Path) -> list[Path]:
    with writing(folder):
        return list(folder.iterdir())


@contextmanager
def open_store(folder: str, note: Callable[[str], object]) -> Iterator[BatchStore]:
    """Open the store of a folder, made if need be, and lock it for this process.

    Args:
        folder: the folder that the batch is painted into.
        note: is told what the user should know.

    Raises:
        OutputError: it cannot be written, another batch has locked it, or its manifest is broken.
    """
    path = Path(folder)
    with ExitStack() as lock:
        try:
            (path / WORK).mkdir(parents=True, exist_ok=True)
            lock.enter_context(exclusive_lock(path / WORK))
        except BlockingIOError:
            busy = f"another batch is painting into {folder}: wait for it, or give another -o"
            raise OutputError(busy, folder) from None
        except OSError as error:
            raise OutputError(f"cannot paint into {folder}: {reason(error)}", folder) from error
        yield BatchStore(path, note)
