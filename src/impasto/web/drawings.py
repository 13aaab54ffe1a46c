"""What pages send of their drawings, layer by layer, until a painting is asked for: kept within
bounds."""

from __future__ import annotations

import threading
from typing import Any

from fastapi import HTTPException

__all__ = ["LAYERS", "LatestDrawings", "check_layer"]

DRAWINGS, LAYERS = 50, 4  # that are on their way from pages at once, and layers of each
MOST_LAYER, MOST_HELD = 8_000_000, 64_000_000  # bytes of a layer, and of all drawings together


def check_layer(index: object, data: bytes) -> None:
    """Raises HTTPException for a layer that no page sends."""
    if str(index) not in map(str, range(LAYERS)):  # gradio would take "+3" and "1_000", too
        raise HTTPException(422, f"a drawing has at most {LAYERS} layers")
    if len(data) > MOST_LAYER:
        raise HTTPException(413, f"a layer of a drawing has at most {MOST_LAYER / 1e6:g} MB")


class LatestDrawings(dict[str, Any]):
    """Keeps the newest drawings only: what pages send of one and then do not ask for must not pile
    up."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()  # pages send from several threads

    def __setitem__(self, key: str, value: Any) -> None:
        with self._lock:
            self.pop(key, None)  # so that it is the newest
            super().__setitem__(key, value)
            while len(self) > DRAWINGS or (len(self) > 1 and self._held() > MOST_HELD):
                del self[next(iter(self))]

    def _held(self) -> int:
        return sum(
            len(layer or b"") for drawing in list(self.values()) for layer in list(drawing.layers)
        )
