"""The server's log: what visitors can cause does not fill it."""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["OneLine", "kept_short"]

LOGGERS = ("asyncio", "uvicorn.error", "impasto.studio")
EVERY = 10.0  # seconds between two equal lines
MOST = 10  # lines of one kind in that time
log = logging.getLogger("impasto.studio")


class _NotAgain(logging.Filter):
    """Lets an equal line through once in EVERY seconds, and no more than MOST of a kind.

    The next of the kind tells how many were not. Of an error of the system, such as no handles
    left, only the line is kept: where it happened says nothing.
    """

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[tuple[str, str], dict[str, float]] = {}
        self._missed: dict[tuple[str, str], int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is said."""
        now, text = time.monotonic(), record.getMessage().partition("\n")[0]
        kind = record.name, str(record.msg)[:30]
        said = self._said.get(kind, {})
        lines = {line: when for line, when in said.items() if now - when < EVERY}
        if text in lines or len(lines) >= MOST:
            self._missed[kind] = self._missed.get(kind, 0) + 1
            return False
        self._said[kind] = {**lines, text: now}
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, OSError):
            record.msg, record.args, record.exc_info = f"{text}: {error}", None, None
        if missed := self._missed.pop(kind, 0):
            record.msg, record.args = f"{record.getMessage()} (and {missed} more like it)", None
        return True


@contextmanager
def kept_short() -> Iterator[None]:
    """Keep the logs of the server short until the `with` ends."""
    shortener = _NotAgain()
    for name in LOGGERS:
        logging.getLogger(name).addFilter(shortener)
    try:
        yield
    finally:
        for name in LOGGERS:
            logging.getLogger(name).removeFilter(shortener)


class OneLine:
    """Stands for `traceback` in gradio's modules, which print one for each request that fails."""

    @staticmethod
    def print_exc() -> None:
        """Log the error that is being handled in one line, with the place where it was raised."""
        import sys

        error = sys.exc_info()[1]
        frames = traceback.extract_tb(error.__traceback__) if error else []
        where = f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
        said = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}{where}"
        log.warning("a request of a page was not understood: %s", said)
