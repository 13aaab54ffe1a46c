"""Write files so that there is the old one or the new one, never a part of one."""

from __future__ import annotations

import glob
import os
import re
import socket
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path

import psutil

from impasto.errors import OutputError, reason

__all__ = ["atomic_write", "partial_path", "remove_pieces", "writing"]

LONG = 80  # bytes of a name; some file systems take 143, and a partial file's has 50 more


@contextmanager
def atomic_write(out: Path, older: Path | None = None) -> Iterator[Path]:
    """Yield a path beside `out` to write to: on success it replaces `out`, else it is removed.

    The file is synced before it is renamed: after a power cut there is the old one or the new one.

    Args:
        out: the file to write.
        older: where the previous `out` is kept, if given.

    Raises:
        OutputError: for errors of the file inside.
    """
    part = partial_path(out)
    try:
        yield part
        _sync(part)
        if older is not None and out.exists():
            os.replace(out, older)
        os.replace(part, out)
        with suppress(OSError):  # some file systems do not sync folders; the file is there
            _sync(out.parent)
    except (OSError, ValueError, RuntimeError) as error:
        raise OutputError(f"cannot write {out}: {reason(error)}", str(out)) from error
    finally:
        with suppress(OSError):  # on a read-only disk it cannot be removed either
            part.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Wait until a file, or a folder's list of names, is on the disk."""
    if os.name == "nt" and path.is_dir():
        return  # Windows cannot open a folder
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def partial_path(out: Path) -> Path:
    """The path beside a file to which it is written, until it is complete."""
    return out.with_name(
        f".{_short(out.name)}.{os.getpid()}-{_machine()}{threading.get_native_id()}.part"
    )


def _short(name: str) -> str:
    """A file's name, or a checksum in place of a long one, so that a partial file's can be
    longer."""
    encoded = os.fsencode(name)
    return name if len(encoded) <= LONG else f"{zlib.crc32(encoded):08x}"


@lru_cache(maxsize=1)
def _machine() -> str:
    """Ten digits that identify this machine: process numbers are not unique across machines."""
    return f"{zlib.crc32(socket.gethostname().encode()):010d}"


def remove_pieces(out: Path) -> None:
    """Remove partial files of `out` that killed runs left on this machine."""
    name = _short(out.name)
    pieces = re.compile(rf"\.{re.escape(name)}\.(\d+)-{_machine()}\d+\.part")
    for path in out.parent.glob(f".{glob.escape(name)}.*.part"):
        found = pieces.fullmatch(path.name)
        if found and int(found[1]) != os.getpid() and not psutil.pid_exists(int(found[1])):
            with suppress(OSError):  # it only takes space
                path.unlink()


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an OSError into an OutputError about `path`."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"cannot write {path}: {reason(error)}", str(path)) from error
