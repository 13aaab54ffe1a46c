"""The tree of errors. Each carries the bad value and what would have been allowed, and reads as one
clear line."""

from __future__ import annotations

import difflib
import errno
import re
from collections.abc import Iterable

__all__ = [
    "CheckpointError",
    "ClusterError",
    "ConfigError",
    "ImpastoError",
    "OutputError",
    "PictureError",
    "SolverError",
    "WeightsError",
    "did_you_mean",
    "no_room",
    "out_of_memory",
    "reason",
    "shortened",
]


# What the allocators of torch say: of a CPU, of MPS, of CUDA's libraries.
NO_MEMORY = re.compile(r"can't allocate memory|not enough memory|out of memory|ALLOC_FAILED")


class ImpastoError(Exception):
    """Anything that a user can put right. `str()` is one line."""

    def __init__(self, message: str, value: object = None, allowed: object = None):
        super().__init__(message)
        self.value = value
        self.allowed = allowed


class ConfigError(ImpastoError):
    """An option that does not exist, or a value out of its range."""


class PictureError(ImpastoError):
    """A picture that cannot be read."""


class OutputError(ImpastoError):
    """A place or a format that a picture cannot be written to."""


class WeightsError(ImpastoError):
    """Weights that cannot be had, are broken, or lack a layer."""


class CheckpointError(ImpastoError):
    """A checkpoint that is unreadable or does not match the run."""


class ClusterError(ImpastoError):
    """A cluster that cannot be joined, or where nobody can paint."""


class SolverError(ImpastoError):
    """An objective that has no finite value anywhere near the start."""


def did_you_mean(value: str, allowed: Iterable[str]) -> str:
    """The end of an error's line: the nearest allowed name, or all of them where none is near."""
    names = list(allowed)
    near = difflib.get_close_matches(value[:100], names, n=1, cutoff=0.6)
    return f"did you mean {near[0]}?" if near else f"choose from {', '.join(names)}"


def shortened(value: object, most: int = 100) -> str:
    """`repr(value)`, truncated for an error message."""
    try:
        text = repr(value)
    # a number of thousands of digits, a list in a list in a list ...
    except (ValueError, RecursionError):
        return f"of type {type(value).__name__}, and too long to be shown"
    return text if len(text) <= most else f"{text[:most]}..."


def out_of_memory(error: BaseException) -> bool:
    """True if memory ran out. torch raises a RuntimeError then; other errors of it mention memory
    too."""
    # torch's: it stays out of here
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and NO_MEMORY.search(str(error)) is not None


def no_room(error: BaseException | None) -> bool:
    """Whether `error`, or what it came of, says that a disk is full."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        error = error.__cause__ or error.__context__
    return False


def reason(error: Exception) -> str:
    """What the system says is wrong, or what the error says."""
    return getattr(error, "strerror", None) or str(error)
