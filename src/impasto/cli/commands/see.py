"""The commands that draw what a run or a network did: progress, curves, features."""

from __future__ import annotations

__all__ = []
