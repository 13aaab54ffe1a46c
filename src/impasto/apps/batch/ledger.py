"""The folder that a batch paints into: what is done, what is called what, what was begun; it outlives any crash."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from impasto.checkpoint import clear
from impasto.errors import OutputError, reason
from impasto.pictures import whole

__all__ = ["MANIFEST", "SHEET", "Ledger", "opened"]

MANIFEST = "manifest.jsonl"
WORK = ".impasto"  # of what is not for people: names, checkpoints, the lock
NAMES = "names.json"
SHEET = re.compile(r"contact-sheet(-\d+)?\.png")  # names of the contact sheets
PATIENCE = 60.0  # seconds that a full or missing disk is waited for before the batch ends
PAUSE = 1.0  # seconds between two tries

Record = dict[str, Any]


class Ledger:
    """What is known of a folder's paintings, by key; every change is on the disk before it counts.

    The manifest has a line for every painting made and every failure, in order; the last one of a key holds.
    """

    def __init__(self, folder: Path, say: Callable[[str], object]):
        self.folder, self._say = folder, say
        self._work = folder / WORK
        self._records = {record["key"]: record for record in self._read_manifest()}
        self._names: dict[str, str] = self._read_names()

    def _read_manifest(self) -> Iterator[Record]:
        path = self.folder / MANIFEST
        try:
            text = path.read_bytes()
        except FileNotFoundError:
            return
        whole_lines = text[: text.rfind(b"\n") + 1]
        if len(whole_lines) < len(text):  # a run that died while it wrote
            os.truncate(path, len(whole_lines))
        for number, line in enumerate(whole_lines.splitlines(), 1):
            try:
                record = json.loads(line)
                if isinstance(record["key"], str) and record["state"] in ("done", "failed"):
                    yield record
            except (ValueError, KeyError, TypeError):
                raise OutputError(
                    f"{path} is not a manifest that can be read: line {number} is no record; mend or remove it", number
                ) from None

    def _read_names(self) -> dict[str, str]:
        path = self._work / NAMES
        if not path.exists():
            return {}
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            return {str(key): str(name) for key, name in found.items()}
        except (OSError, ValueError, AttributeError) as error:
            raise OutputError(f"{path} cannot be read: {error}", str(path)) from None

    def name_all(self, wanted: dict[str, str]) -> None:
        """Give every key a name of its own, as near as can be to the one that is wanted; names once given stay."""
        taken = {name.casefold() for name in self._names.values()}
        taken |= {each.name.casefold() for each in self.folder.iterdir()}
        for key, name in wanted.items():
            if key in self._names:
                continue
            stem, dot, suffix = name.rpartition(".")
            if name.casefold() in taken or SHEET.fullmatch(name.casefold()):
                name = f"{stem}-{key[:12]}{dot}{suffix}"
            taken.add(name.casefold())
            self._names[key] = name
        self._patiently(self._write_names)

    def _write_names(self) -> None:
        with whole(self._work / NAMES) as part:
            part.write_text(json.dumps(self._names, indent=1), encoding="utf-8")

    def path(self, key: str) -> Path:
        """Where a key's painting lies, or will."""
        return self.folder / self._names[key]

    def record(self, key: str) -> Record | None:
        """What is known of a key: a painting that is there, a failure, or None."""
        record = self._records.get(key)
        if record is not None and record["state"] == "done" and not (self.folder / record["out"]).is_file():
            return None  # somebody removed it
        return record

    def work_folder(self, key: str) -> Path:
        """Where a key's checkpoints lie."""
        folder = self._work / key[:32]
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:
            raise OutputError(f"cannot make the folder {folder}: {reason(error)}", str(folder)) from error
        return folder

    def done(self, key: str, picture: bytes, record: Record) -> None:
        """Write a painting, and that it is done. Raises OutputError if there is no room for it, and none comes."""
        path = self.path(key)
        self._patiently(lambda: _write(path, picture))
        self._add(key, {"state": "done", "out": path.name, **record})
        self._forget(key)

    def failed(self, key: str, error: str, record: Record) -> None:
        """Write that nothing came of a key, and why."""
        self._add(key, {"state": "failed", **record, "error": error})
        with contextlib.suppress(OSError):  # it stays where there is a checkpoint in it
            (self._work / key[:32]).rmdir()

    def _add(self, key: str, record: Record) -> None:
        line = json.dumps({"key": key, **record}) + "\n"
        self._patiently(lambda: self._append(line))
        self._records[key] = {"key": key, **record}

    def _append(self, line: str) -> None:
        """One more whole line, or none."""
        path = self.folder / MANIFEST
        try:
            with path.open("ab", buffering=0) as file:
                before = file.tell()
                try:
                    if file.write(line.encode()) < len(line):
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                    os.fsync(file.fileno())
                except OSError:
                    os.truncate(path, before)
                    raise
        except OSError as error:
            raise OutputError(f"cannot write {path}: {reason(error)}", str(path)) from error

    def _forget(self, key: str) -> None:
        """A finished painting's checkpoint is of no more use."""
        folder = self._work / key[:32]
        with contextlib.suppress(OSError):  # it only takes room
            clear(folder)
            folder.rmdir()

    def _patiently(self, write: Callable[[], None]) -> None:
        """Write something; where that fails wait for room. Raises OutputError if none comes."""
        deadline = time.monotonic() + PATIENCE
        said = False
        while True:
            try:
                return write()
            except OutputError as error:
                if time.monotonic() > deadline:
                    raise
                if not said:
                    self._say(f"{error}; waiting for a minute whether it can be")
                    said = True
            time.sleep(PAUSE)


def _write(path: Path, data: bytes) -> None:
    with whole(path) as part:
        part.write_bytes(data)


@contextlib.contextmanager
def opened(folder: str, say: Callable[[str], object]) -> Iterator[Ledger]:
    """The ledger of a folder, which is made if need be; nobody else paints into it meanwhile. Raises OutputError."""
    path = Path(folder)
    try:
        (path / WORK).mkdir(parents=True, exist_ok=True)
        lock = (path / WORK / "lock").open("w")
    except OSError as error:
        raise OutputError(f"cannot paint into {folder}: {reason(error)}", folder) from error
    with lock:
        try:
            _lock(lock.fileno())
        except OSError:
            raise OutputError(
                f"another batch is painting into {folder}: wait for it, or give another -o", folder
            ) from None
        for part in (*path.glob(".*.part"), *(path / WORK).glob(".*.part")):
            with contextlib.suppress(OSError):
                part.unlink()  # of a run that died
        yield Ledger(path, say)


def _lock(handle: int) -> None:
    """Hold an open file against all others, until it is closed or the process dies. Raises OSError."""
    try:
        import fcntl
    except ImportError:  # Windows
        import msvcrt

        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
    else:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
