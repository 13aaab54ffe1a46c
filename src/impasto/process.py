"""Prepare a process for torch: its threads, how long they spin, and large pages of memory.

For entry points: it changes the whole process, which the library never does.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

from impasto import cgroups

__all__ = ["HUGE_PAGES", "SPIN", "prepare_process", "processors"]

# libgomp's default of 300,000 rounds is best on an idle machine. On a busy one a spinning thread
# takes the processor from the thread that it waits for. benchmarks/spinning.py measures both.
# KMP_BLOCKTIME is of Intel's and LLVM's OpenMP, in torch for Windows and macOS: milliseconds,
# about as long (their default is 200).
SPIN = {"GOMP_SPINCOUNT": "5000", "KMP_BLOCKTIME": "1"}
# Has torch ask Linux for pages of 2 MB for its tensors: a new tensor costs much less time.
HUGE_PAGES = "THP_MEM_ALLOC_ENABLE"


def prepare_process() -> None:
    """Have waiting threads spin briefly and then sleep, and limit their number to `processors`.

    And have tensors lie in large pages. What the environment sets already is kept. Call it before
    torch is imported, which reads the environment when it is loaded.
    """
    os.environ.setdefault(HUGE_PAGES, "1")
    if "OMP_WAIT_POLICY" not in os.environ:
        for name, value in SPIN.items():
            os.environ.setdefault(name, value)
    if min(_affinity(), cgroups.cpu_quota()) < (os.cpu_count() or 1):
        # otherwise torch's own number is right: that of the cores
        os.environ.setdefault("OMP_NUM_THREADS", str(processors()))


def processors(root: Path = cgroups.ROOT) -> int:
    """Return how many threads can run at once: the least of cores, affinity and CPU quota.

    A quota of one and a half processors counts as two: two threads use it up, one does not.

    root: the root of the file system, for tests.
    """
    from psutil import cpu_count  # here: the start of most commands needs no psutil

    cores = cpu_count(logical=False) or os.cpu_count() or 1
    return math.ceil(max(1, min(cores, _affinity(), cgroups.cpu_quota(root))))


def _affinity() -> float:
    """Return how many processors this process may run on; infinity where systems do not say."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else math.inf
