"""Keep the server's log short: visitors cannot fill it.

`logging` has no filter for repeated lines, and gradio prints a traceback for each request that
fails.
"""

from __future__ import annotations

import logging
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

LOGGERS = ("asyncio", "uvicorn.error", "impasto.studio")
EVERY = 10.0  # seconds between two equal lines
MOST = 10  # lines of one kind in that time
log = logging.getLogger("impasto.studio")


class _Shortener(logging.Filter):
    """Lets an equal line through once in EVERY seconds, and at most MOST lines of a kind.

    The next line of the kind says how many were left out. An error of the system, such as no free
    file handle, gets no traceback: where it happened says nothing.
    """

    def __init__(self) -> None:
        super().__init__()
        self._written: dict[tuple[str, str], dict[str, float]] = {}  # times by kind and line
        self._left_out: dict[tuple[str, str], int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """True if the line is written."""
        now, text = time.monotonic(), record.getMessage().partition("\n")[0]
        kind = record.name, str(record.msg)[:30]
        written = self._written.get(kind, {})
        recent = {line: when for line, when in written.items() if now - when < EVERY}
        if text in recent or len(recent) >= MOST:
            self._left_out[kind] = self._left_out.get(kind, 0) + 1
            return False
        self._written[kind] = {**recent, text: now}
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, OSError):
            record.msg, record.args, record.exc_info = f"{text}: {error}", None, None
        if count := self._left_out.pop(kind, 0):
            record.msg, record.args = f"{record.getMessage()} (and {count} more like it)", None
        return True


@contextmanager
def kept_short() -> Iterator[None]:
    """Keep the logs of the server short until the `with` ends."""
    shortener = _Shortener()
    for name in LOGGERS:
        logging.getLogger(name).addFilter(shortener)
    try:
        yield
    finally:
        for name in LOGGERS:
            logging.getLogger(name).removeFilter(shortener)


class OneLine:
    """Replaces `traceback` in gradio's modules: logs one line instead of printing many."""

    @staticmethod
    def print_exc() -> None:
        """Log the error that is being handled, with the place where it was raised."""
        error = sys.exc_info()[1]
        frames = traceback.extract_tb(error.__traceback__) if error else []
        where = f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
        line = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}{where}"
        log.warning("a request of a page was not understood: %s", line)
