"""A file lock, so that only one run at a time uses a folder."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from impasto.records import check_regular

__all__ = ["LOCK", "exclusive_lock"]

LOCK = "lock"
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
