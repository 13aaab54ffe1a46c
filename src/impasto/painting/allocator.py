"""Have the C library's allocator keep large blocks: for programs, not for the library.

A program's entry point calls `keep_big_blocks`, as it changes the whole process.
"""

from __future__ import annotations

import ctypes
import sys

__all__ = ["MOST", "give_back", "keep_big_blocks"]

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8  # malloc.h
MOST = 1 << 30  # bytes; mallopt takes an int


def keep_big_blocks(up_to: int = MOST) -> bool:
    """Tell glibc's malloc to keep freed blocks of up to so many bytes for the next evaluation;
    whether it took it.

    By default it hands blocks of more than some megabytes back to the system at once, and every
    evaluation would begin with hundreds of megabytes of page faults. Larger ones are handed back as
    before: kept, they would lie in each other's way. A glibc before 2.35 takes no more than 32 MB.
    Threads that start after the first call share one arena: one of their own would keep no block
    above 64 MB.
    """
    libc = _glibc()
    return libc is not None and bool(
        libc.mallopt(M_ARENA_MAX, 1)
        and libc.mallopt(M_MMAP_THRESHOLD, min(up_to, MOST))
        and libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
    )


def give_back() -> None:
    """Hand freed blocks back to the system: for a program that waits after a painting."""
    libc = _glibc()
    if libc is not None:
        libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    try:
        libc = ctypes.CDLL("libc.so.6")
        return libc if hasattr(libc, "mallopt") else None
    except OSError:  # another C library, as musl
        return None
