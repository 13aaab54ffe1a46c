"""The trace of a run as a curve, which plots.py draws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

__all__ = ["PLOTS", "Curve"]

PLOTS = (".png", ".svg", ".pdf")  # the files of plots


class Curve(NamedTuple):
    """The trace of a run: number, level, objective and weighted terms of each step; NaN for values
    that were not finite."""

    name: str
    steps: Sequence[int]
    levels: Sequence[int]
    objective: Sequence[float]
    terms: Mapping[str, Sequence[float]]
