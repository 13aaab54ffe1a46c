"""The folder that a batch paints into: what is done, what is called what, what was begun; it
outlives any crash."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pydantic import TypeAdapter

from impasto.batch.manifest import Record, manifest_lines
from impasto.errors import OutputError, PictureError, is_transient, reason, shortened
from impasto.images.read import bytes_of, read
from impasto.images.write import FORMATS, atomic_write
from impasto.locking import exclusive_lock
from impasto.painting.checkpoint_file import clear
from impasto.records import FileName, Text, checked, parsed, read_regular

if TYPE_CHECKING:
    from impasto.batch.worker import Failure

__all__ = ["OF_THE_NAME", "BatchStore", "open_store"]

MANIFEST = "manifest.jsonl"
WORK = ".impasto"  # of what is not for people: names, checkpoints, the lock
NAMES = "names.json"
PIECE = re.compile(r"\..+\.\d+-\d+\.part")  # as atomic_write has them
OF_THE_NAME = (errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL)  # that the file system does not take
PATIENCE = 60.0  # seconds that a full or missing disk is waited for before the batch ends
PAUSE = 1.0  # seconds between two tries

MOST_BYTES = 1 << 25  # of the names

T = TypeVar("T")
FILE_NAMES = TypeAdapter(dict[Text, FileName])


class BatchStore:
    """What is known of a folder's paintings, by key; every change is on the disk before it counts.

    The manifest has a line for every painting made and every failure, in order; the last one of a
    key holds.
    """

    def __init__(self, folder: Path, say: Callable[[str], object]):
        self.folder, self._say = folder, say
        self._work = folder / WORK
        self._records = {record["key"]: record for record in self._read_manifest()}
        self._given_up = set[str]()  # folders of pictures that were waited for in vain
        self._sound: dict[tuple[Path, int], bool] = {}  # paintings by time, whether they are whole
        self._names: dict[str, str] = self._read_names()
        self._sweep()
        # whether somebody wants the waiting to end
        self.stopped: Callable[[], bool] = lambda: False

    def _sweep(self) -> None:
        """Remove what a run that died has left: pieces of files, checkpoints of what was done."""
        over = {key[:32] for key, record in self._records.items() if record["state"] == "done"}
        for each in (*_inside(self.folder), *_inside(self._work)):
            with contextlib.suppress(OSError):
                if PIECE.fullmatch(each.name):
                    each.unlink()
                elif each.parent == self._work and each.name in over:
                    clear(each)
                    each.rmdir()

    def _read_manifest(self) -> Iterator[Record]:
        self._length = 0  # of what is good of it, without a last line that a run has died over
        for record, length in manifest_lines(self.folder / MANIFEST):
            self._length += length
            yield record

    def _read_names(self) -> dict[str, str]:
        path = self._work / NAMES
        try:
            names = checked(FILE_NAMES, parsed(read_regular(path, MOST_BYTES)))
            if bad := [name for name in names.values() if Path(name).suffix.lower() not in FORMATS]:
                raise ValueError(f"{shortened(bad[0])} is no picture's name")
            return names
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise OutputError(
                f"{path} cannot be read: {reason(error)}; remove it", str(path)
            ) from None

    def assign_names(self, wanted: dict[str, str], is_ours: Callable[[str, Path], bool]) -> None:
        """Give every key a name of its own, as near as can be to the one that is wanted; names once
        given stay.

        is_ours: whether what lies under a key's name may be written over: nothing of anybody else's
        ever is.
        """
        taken = {name.casefold() for name in self._names.values()}
        taken |= {each.name.casefold() for each in _inside(self.folder)}
        told = {
            *self._names.values(),
            *(str(each.get("out", "")) for each in self._records.values()),
        }
        for key, name in wanted.items():
            given = self._names.get(key)
            if given is not None and (not self.path(key).exists() or is_ours(key, self.path(key))):
                continue
            if given is None and name not in told and is_ours(key, self.folder / name):
                self._names[key] = name  # the names were lost
                told.add(name)
                continue
            stem, dot, suffix = name.rpartition(".")
            more = itertools.chain(
                [""], [f"-{key[:12]}"], (f"-{key[:12]}-{k}" for k in itertools.count(2))
            )
            free = next(
                found
                for each in more
                if (found := f"{stem}{each}{dot}{suffix}").casefold() not in taken
            )
            taken.add(free.casefold())
            self._names[key] = free
        self.retry_io(self._write_names)

    def sheets(self, count: int, is_contact_sheet: Callable[[Path], bool]) -> list[Path]:
        """Where so many contact sheets go; those of earlier calls beyond that are removed. Raises
        OutputError."""
        names = {
            f"sheet{k}": f"contact-sheet{f'-{k:03d}' if k > 1 else ''}.png"
            for k in range(1, count + 1)
        }
        try:
            for key in [key for key in self._names if key.startswith("sheet") and key not in names]:
                if is_contact_sheet(self.path(key)):
                    self.path(key).unlink()
                del self._names[key]
        except OSError as error:
            raise OutputError(
                f"cannot write into {self.folder}: {reason(error)}", str(self.folder)
            ) from error
        self.assign_names(names, lambda _, path: is_contact_sheet(path))
        return [self.path(key) for key in names]

    def _write_names(self) -> None:
        _made(self._work)
        with atomic_write(self._work / NAMES) as part:
            part.write_text(json.dumps(self._names, indent=1), encoding="utf-8")

    def path(self, key: str) -> Path:
        """Where a key's painting lies, or will."""
        return self.folder / self._names[key]

    def record(self, key: str) -> Record | None:
        """What is known of a key: a painting that is there, a failure, or None."""
        record = self._records.get(key)
        if record is None or (record["state"] == "done" and not self._is_there(record)):
            return None  # somebody removed it
        return record if record["state"] in ("done", "failed") else None

    def _is_there(self, record: Record) -> bool:
        """Whether a painting is there: as it was written, or as somebody has worked on it since,
        but whole."""
        path = self.folder / record["out"]
        try:
            if not path.is_file():
                return False
            seen = path, path.stat().st_mtime_ns
            if seen not in self._sound:
                self._sound[seen] = True
                if record.get("sha256") not in (None, hashlib.sha256(bytes_of(path)).hexdigest()):
                    read(path)
        except PictureError as error:
            if not is_transient(error):
                self._sound[seen] = False
                self._say(f"{path} is damaged, it is painted again: {error}")
        # nobody can look at it just now, which is no reason to paint it again
        except (OSError, MemoryError):
            return True
        return self._sound[seen]

    def work_folder(self, key: str) -> Path:
        """Where a key's checkpoints lie. Raises OutputError if there is no room for it, and none
        comes."""
        folder = self._work / key[:32]

        for each in (self._work, folder):
            self.retry_io(partial(_made, each))
        return folder

    def done(self, key: str, picture: bytes, record: Record) -> None:
        """Write a painting, and that it is done. Raises OutputError if there is no room for it, and
        none comes."""
        path = self.path(key)
        self.retry_io(lambda: _write(path, picture))
        self._add(
            key,
            {
                "state": "done",
                "out": path.name,
                "sha256": hashlib.sha256(picture).hexdigest(),
                **record,
            },
        )
        self._forget(key)

    def failed(self, key: str, failure: Failure, record: Record) -> None:
        """Write that nothing came of a key, and why."""
        self._add(
            key, {"state": "failed", **record, "error": failure.words, "passing": failure.transient}
        )
        with contextlib.suppress(OSError):  # it stays where there is a checkpoint in it
            (self._work / key[:32]).rmdir()

    def replace(self, key: str, by: str) -> None:
        """Write that a key's failure counts no more: the same is known under another key by now."""
        self._add(key, {"state": "replaced", "by": by})

    def _add(self, key: str, record: Record) -> None:
        line = json.dumps({"key": key, **record}) + "\n"
        self.retry_io(lambda: self._append(line))
        self._records[key] = {"key": key, **record}

    def _append(self, line: str) -> None:
        """One more whole line; a piece of one, where that fails, is cut off before the next."""
        path = self.folder / MANIFEST
        try:
            with path.open("ab", buffering=0) as file:
                size = file.seek(0, os.SEEK_END)
                self._length = min(self._length, size)  # somebody may have cut or removed it
                file.truncate(self._length)
                if file.write(line.encode()) < len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fsync(file.fileno())
            self._length += len(line)
        except OSError as error:
            with contextlib.suppress(OSError):  # or else the next line does it
                os.truncate(path, self._length)
            raise OutputError(f"cannot write {path}: {reason(error)}", str(path)) from error

    def _forget(self, key: str) -> None:
        """A finished painting's checkpoint is of no more use."""
        folder = self._work / key[:32]
        with contextlib.suppress(OSError):  # it only takes room
            clear(folder)
            folder.rmdir()

    def retry_io(self, do: Callable[[], T]) -> T:
        """Do something; where it fails for want of room or the like wait for that. Raises what it
        raises in the end.

        Raises KeyboardInterrupt if it is stopped meanwhile.
        """
        deadline = time.monotonic() + PATIENCE
        said = False
        while True:
            try:
                return do()
            except (OutputError, PictureError) as error:
                its_name = getattr(error.__cause__, "errno", None) in OF_THE_NAME
                away = _away(error)
                waits = (
                    isinstance(error, OutputError)
                    or is_transient(error)
                    or away not in ("", *self._given_up)
                )
                if its_name or time.monotonic() > deadline or not waits:
                    self._given_up.add(away)
                    raise
                if self.stopped():
                    raise KeyboardInterrupt from error
                if not said:
                    self._say(f"{error}; waiting for a minute whether it can be")
                    said = True
            time.sleep(PAUSE)


def _away(error: OutputError | PictureError) -> str:
    """The folder of a picture that cannot be read because that is not there (a disk or a machine is
    gone), or ""."""
    folder = os.path.dirname(str(error.value)) if isinstance(error, PictureError) else ""
    return folder if not os.path.isdir(folder or ".") else ""


def _made(folder: Path) -> None:
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write {folder}: {reason(error)}", str(folder)) from error


def _inside(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError as error:
        raise OutputError(f"cannot write into {folder}: {reason(error)}", str(folder)) from error


def _write(path: Path, data: bytes) -> None:
    with atomic_write(path) as part:
        part.write_bytes(data)


@contextlib.contextmanager
def open_store(folder: str, say: Callable[[str], object]) -> Iterator[BatchStore]:
    """Open the store of a folder, which is made if need be, and lock it for this process. Raises
    OutputError."""
    path = Path(folder)
    with ExitStack() as held:
        try:
            (path / WORK).mkdir(parents=True, exist_ok=True)
            held.enter_context(exclusive_lock(path / WORK))
        except BlockingIOError:
            busy = f"another batch is painting into {folder}: wait for it, or give another -o"
            raise OutputError(busy, folder) from None
        except OSError as error:
            raise OutputError(f"cannot paint into {folder}: {reason(error)}", folder) from error
        yield BatchStore(path, say)
