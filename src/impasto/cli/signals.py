"""Ctrl-C and SIGTERM: end after the step, or at once."""

from __future__ import annotations

import signal
import threading
from typing import Any

__all__ = ["GracefulShutdown"]


class GracefulShutdown:
    """Ctrl-C or SIGTERM once: the run ends after its step. Again, or before there is a step: at
    once."""

    def __init__(self) -> None:
        self.asked = False
        self._painting = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> GracefulShutdown:
        if threading.current_thread() is threading.main_thread():  # others get no signals
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
        """To be called after every step. Raises KeyboardInterrupt if it was asked for."""
        self._painting = True
        if self.asked:
            raise KeyboardInterrupt
