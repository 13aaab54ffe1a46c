"""The studio's folder: private, and removed at its end, or at the next start if it was killed."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import time
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from impasto.errors import OutputError, reason
from impasto.locking import LOCK, exclusive_lock

__all__ = ["UPLOAD_FOLDER", "RoomError", "own_folder", "remove_old", "temporary_files_in"]

PREFIX = "impasto-studio-"
UPLOAD_FOLDER = "uploads"  # in it: what visitors upload to the page
TRIES = 10  # at a new folder: another studio that starts removes one that has no lock yet


class RoomError(OutputError):
    """There is no room on the server's disk."""


@contextmanager
def own_folder() -> Iterator[Path]:
    """A new folder that only this user can look into, removed at the end; dead studios' are now.

    A studio holds a lock in its folder as long as its process lives. Raises RoomError.
    """
    try:
        _remove_dead()
        folder, lock = _make()
    except OSError as error:
        where = f"{reason(error)} ({error.filename})"
        raise RoomError(f"no room for the studio's pictures: {where}") from error
    try:
        yield folder
    finally:
        lock.close()
        shutil.rmtree(folder, ignore_errors=True)


def _make() -> tuple[Path, ExitStack]:
    """A new folder with one for uploads in it, and its lock, held until that is closed."""
    for _ in range(TRIES):
        folder, lock = Path(tempfile.mkdtemp(prefix=PREFIX)), ExitStack()
        try:
            lock.enter_context(exclusive_lock(folder))
            (folder / UPLOAD_FOLDER).mkdir()
            if (folder / LOCK).exists():
                return folder, lock
        except (BlockingIOError, FileNotFoundError):
            pass
        except OSError:
            shutil.rmtree(folder, ignore_errors=True)
            lock.close()
            raise
        lock.close()
    raise FileExistsError(None, "other studios keep removing it", tempfile.gettempdir())


def _remove_dead() -> None:
    """Remove this user's studios' folders whose lock nobody holds: their processes were killed.

    Where the file system knows no locks nobody can tell, and they stay.
    """
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError):  # its studio is open, or somebody else removes it just now
            about = folder.lstat()
            if stat.S_ISDIR(about.st_mode) and about.st_uid == _user():
                with exclusive_lock(folder) as held:
                    if held:
                        shutil.rmtree(folder, ignore_errors=True)


def _user() -> int:
    """The number of the user of this process; on Windows 0, as all files have there."""
    return os.getuid() if hasattr(os, "getuid") else 0


def remove_old(folder: Path, spared: Collection[Path], keep: float) -> int:
    """Remove what has lain in a folder for `keep` seconds, but not `spared`; all bytes there."""
    stored = 0
    for path in sorted(folder.rglob("*"), reverse=True):  # what is in a folder before the folder
        with suppress(OSError):  # a folder that is not empty, or somebody was faster
            stored += path.stat().st_size
            if path not in spared and time.time() - path.stat().st_mtime > keep:
                path.rmdir() if path.is_dir() else path.unlink()
    return stored


@contextmanager
def temporary_files_in(folder: Path) -> Iterator[None]:
    """Have this process put all its temporary files into `folder`.

    gradio takes its folders from the environment when it is imported: otherwise $TMPDIR/gradio,
    whose name everybody knows, and .gradio in the current folder.
    """
    uploads, examples = str(folder / UPLOAD_FOLDER), str(folder / "examples")
    ours = {"GRADIO_TEMP_DIR": uploads, "GRADIO_EXAMPLES_CACHE": examples}
    before, tempfile.tempdir = tempfile.tempdir, str(folder)
    theirs = {name: os.environ.get(name) for name in ours}
    os.environ.update(ours)
    try:
        yield
    finally:
        tempfile.tempdir = before
        for name, value in theirs.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
