"""End a run on Ctrl-C or SIGTERM: after the current step, or immediately."""

from __future__ import annotations

import signal
import threading
from typing import Any


class GracefulShutdown:
    """Turn Ctrl-C and SIGTERM into the end of a run.

    First signal: stop after the current step. Second, or before the first step: stop immediately.
    """

    def __init__(self) -> None:
        self.asked = False
        self._painting = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> GracefulShutdown:
        if threading.current_thread() is threading.main_thread():  # other threads get no signals
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._stop)
        return self

    def __exit__(self, *_: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    def _stop(self, *_: object) -> None:
        if self.asked or not self._painting:
            raise KeyboardInterrupt
        self.asked = True

    def raise_if_requested(self) -> None:
        """Raise KeyboardInterrupt if a stop was requested; to be called after every step."""
        self._painting = True
        if self.asked:
            raise KeyboardInterrupt
