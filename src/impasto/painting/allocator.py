"""Tune the C library's allocator to reuse large blocks.

`keep_big_blocks` is for entry points: it changes the whole process, which the library never does.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

import torch

from impasto.process import HUGE_PAGES

__all__ = ["MOST", "give_back", "has_huge_pages", "keep_big_blocks", "largest_kept"]

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8  # malloc.h
MOST = 1 << 30  # bytes; mallopt takes an int
# Bytes of the largest block that is kept in float32 where pages are huge: larger ones cost a tenth
# of a step when they come anew, and a fifth of the memory, in gaps, when they are kept. In bfloat16
# all are half as large, and steps on matrix units too short for that (docs/speed.md).
KEPT_IN_FLOAT32 = 6 << 20
LINUX = Path("/sys/kernel/mm/transparent_hugepage/enabled")  # as "always [madvise] never"


def keep_big_blocks(up_to: int = MOST) -> bool:
    """Make glibc's malloc keep freed blocks for the next evaluation.

    By default it returns blocks of more than some megabytes to the system at once, and every
    evaluation begins with hundreds of megabytes of page faults. Threads that start after the first
    call share one arena: an arena of their own would keep no block above 64 MB.

    Args:
        up_to: the largest block to keep, in bytes; larger ones would fragment the heap.

    Returns:
        Whether malloc accepted it. A glibc before 2.35 accepts at most 32 MB.
    """
    libc = _glibc()
    return libc is not None and bool(
        libc.mallopt(M_ARENA_MAX, 1)
        and libc.mallopt(M_MMAP_THRESHOLD, min(up_to, MOST))
        and libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
    )


def largest_kept(dtype: torch.dtype) -> int:
    """Return the bytes of the largest block that is worth keeping for features of `dtype`."""
    return KEPT_IN_FLOAT32 if dtype == torch.float32 and has_huge_pages() else MOST


def has_huge_pages() -> bool:
    """Return whether torch asks for huge pages (`prepare_process` sees to it) and gets them."""
    try:
        return os.environ.get(HUGE_PAGES) == "1" and "[never]" not in LINUX.read_text()
    except OSError:  # another system, or a kernel without them
        return False


def give_back() -> None:
    """Return freed blocks to the system: after a painting, or before a larger network computes."""
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
