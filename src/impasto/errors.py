"""The exceptions of impasto. Each is one line of text, with the bad value and the allowed ones."""

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
    "as_arguments",
    "did_you_mean",
    "is_disk_full",
    "out_of_memory",
    "reason",
    "shortened",
    "use_option_names",
    "worded",
]

# in the messages of torch's allocators: of a CPU, of MPS, of CUDA's libraries
NO_MEMORY = re.compile(r"can't allocate memory|not enough memory|out of memory|ALLOC_FAILED")

# an option, and " is " if its value follows
OPTION = re.compile(
    r"(?<![^\s(])--([a-z][a-z-]*[a-z])(?: is (?=[-'\"\d\[({]|None|True|False|nan|inf))?"
)
_option_names = False


class ImpastoError(Exception):
    """An error that the user can fix; `str(error)` is one line.

    Example:
        try:
            impasto.paint("photo.jpg", "painting.jpg").save("out.png")
        except impasto.ImpastoError as error:
            print(error, error.value, error.allowed)
    """

    def __init__(self, message: str, value: object = None, allowed: object = None):
        """Create an error.

        Args:
            message: one line for the user; it calls a setting by its option, as --style-weight.
            value: the bad value.
            allowed: the values that would have been accepted.
        """
        super().__init__(worded(message))
        self.value = value
        self.allowed = allowed


class ConfigError(ImpastoError):
    """An option that does not exist, or a value out of its range."""


class PictureError(ImpastoError):
    """A picture that cannot be read."""


class OutputError(ImpastoError):
    """A file or a format that cannot be written."""


class WeightsError(ImpastoError):
    """Weights that are missing, broken, or lack a layer."""


class CheckpointError(ImpastoError):
    """A checkpoint that is unreadable or does not match the run."""


class ClusterError(ImpastoError):
    """A cluster that cannot be joined, or has no device to paint on."""


class SolverError(ImpastoError):
    """An objective that is not finite at the start."""


def use_option_names(yes: bool = True) -> bool:
    """Have messages call settings by their options (--style-weight), as the command line does.

    Without it they have the names of Python's arguments (style_weight). Returns what it was before.
    """
    global _option_names
    before, _option_names = _option_names, yes
    return before


def worded(message: str) -> str:
    """Return a message with the names of settings that its reader knows."""
    return message if _option_names else as_arguments(message)


def as_arguments(message: str) -> str:
    """Return a message with arguments in place of options: "size=7" for "--size is 7"."""
    return OPTION.sub(
        lambda found: found[1].replace("-", "_") + ("=" if found[0].endswith(" ") else ""), message
    )


def did_you_mean(value: str, allowed: Iterable[str]) -> str:
    """Return a hint for an error message: the closest allowed name, or all if none is close."""
    names = list(allowed)
    near = difflib.get_close_matches(value[:100], names, n=1, cutoff=0.6)
    return f"did you mean {near[0]}?" if near else f"choose from {', '.join(names)}"


def shortened(value: object, most: int = 100) -> str:
    """`repr(value)`, truncated for an error message."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an int of thousands of digits, a deeply nested list
        return f"of type {type(value).__name__}, and too long to be shown"
    return text if len(text) <= most else f"{text[:most]}..."


def out_of_memory(error: BaseException) -> bool:
    """Return whether memory ran out.

    torch raises a RuntimeError then, and other RuntimeErrors mention memory, too.
    """
    # torch.OutOfMemoryError by name: this module does not import torch
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and NO_MEMORY.search(str(error)) is not None


def is_disk_full(error: BaseException | None) -> bool:
    """Return whether `error`, or one that caused it, is a full disk or an exhausted quota."""
    full = (errno.ENOSPC, errno.EDQUOT)
    while error is not None:
        if isinstance(error, OSError) and error.errno in full:
            return True
        if any(f"(os error {code})" in str(error) for code in full):  # from Rust: safetensors
            return True
        error = error.__cause__ or error.__context__
    return False


def reason(error: Exception) -> str:
    """Return the operating system's description of an error, or else the error's text."""
    return getattr(error, "strerror", None) or str(error)
