"""Silence the warnings of decoders, in any number of threads."""

from __future__ import annotations

import threading
import warnings
from types import TracebackType

__all__ = ["NO_WARNINGS"]


class _NoWarnings:
    """Silences Python's warnings while any thread is inside.

    Filters belong to the whole process: with `warnings.catch_warnings` alone the thread that leaves
    last would restore the filters of the one that entered second.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._filters = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                self._filters = warnings.catch_warnings()
                self._filters.__enter__()
                warnings.simplefilter("ignore")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._filters.__exit__(kind, error, at)


NO_WARNINGS = _NoWarnings()
