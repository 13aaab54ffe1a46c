"""What a batch asks of whoever carries it out."""

from __future__ import annotations

from typing import Protocol

__all__ = ["StopRequest"]


class StopRequest(Protocol):
    """Whether the user wants the batch to end."""

    asked: bool

    def raise_if_requested(self) -> None:
        """Called after every report; raises KeyboardInterrupt if the end was asked for."""
