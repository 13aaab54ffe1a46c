"""File locks: one run at a time in a folder, and temporary folders that processes hold."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from impasto.records import check_regular

__all__ = ["exclusive_lock", "own_folder"]

LOCK = "lock"
TRIES = 10  # a process that starts may remove the new folder of another, which has no lock yet
TAKEN = (errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK)
# in another user's folder the lock may be a FIFO, or a link
OPEN_FLAGS = ("O_NONBLOCK", "O_CLOEXEC", "O_NOFOLLOW")
UNSUPPORTED = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP)


@contextmanager
def exclusive_lock(folder: Path) -> Iterator[bool]:
    """Lock a folder until the `with` block ends or the process dies.

    Yields:
        Whether the folder is locked: False on a file system without locks.

    Raises:
        BlockingIOError: another run holds the lock.
        OSError: the folder cannot be written to.
    """
    handle = os.open(
        folder / LOCK,
        os.O_WRONLY | os.O_CREAT | sum(getattr(os, name, 0) for name in OPEN_FLAGS),
        0o666,
    )
    with open(handle, "w") as file:
        check_regular(os.fstat(handle).st_mode)
        held = True
        try:
            _lock(file.fileno())
        except OSError as error:
            if error.errno in TAKEN:
                raise BlockingIOError(error.errno, error.strerror) from error
            if error.errno not in UNSUPPORTED:
                raise
            held = False
        yield held


def _lock(handle: int) -> None:
    try:
        import fcntl
    except ImportError:  # Windows
        import msvcrt

        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
    else:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextmanager
def own_folder(prefix: str) -> Iterator[Path]:
    """Make a temporary folder that only this user can read, removed at the end of the `with`.

    The process holds a lock in its folder while it lives: the folders of killed ones are removed
    first. Those on a file system without locks stay.

    Args:
        prefix: what the names of such folders begin with.

    Raises:
        OSError: no folder can be made.
    """
    _remove_dead_folders(prefix)
    folder, lock = _locked_folder(prefix)
    try:
        yield folder
    finally:
        lock.close()
        shutil.rmtree(folder, ignore_errors=True)


def _locked_folder(prefix: str) -> tuple[Path, ExitStack]:
    """Make a folder; return it with its lock, held until that is closed."""
    for _ in range(TRIES):
        folder = Path(tempfile.mkdtemp(prefix=prefix))
        with ExitStack() as lock:
            try:
                lock.enter_context(exclusive_lock(folder))
                if (folder / LOCK).exists():
                    return folder, lock.pop_all()
            except (BlockingIOError, FileNotFoundError):
                pass  # another process is removing it
            except OSError:
                shutil.rmtree(folder, ignore_errors=True)
                raise
    raise FileExistsError(None, "other processes keep removing it", tempfile.gettempdir())


def _remove_dead_folders(prefix: str) -> None:
    """Remove this user's temporary folders that no process holds a lock in."""
    user = os.getuid() if hasattr(os, "getuid") else 0  # Windows: all files are of 0
    for folder in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        with suppress(OSError):  # its process is alive, or another one is removing it
            info = folder.lstat()
            if stat.S_ISDIR(info.st_mode) and info.st_uid == user:
                with exclusive_lock(folder) as held:
                    if held:
                        shutil.rmtree(folder, ignore_errors=True)
