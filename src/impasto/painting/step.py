"""What a run shows of itself after every step, and all that it needs to go on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import torch

from impasto.solver.safeguard import Best

__all__ = ["State", "Step"]


class State(NamedTuple):
    """A run after a step: all that it needs to go on and end with the same picture.

    number, level, done: steps made in all, the level (from 1) and the steps made there. work,
    seconds: done, spent.
    mended, improved: as a Step has them, of the levels before for `improved`. tensors: the next
    point, the solver's and the guard's; on the device, and only until the next step.
    """

    number: int
    level: int
    done: int
    work: float
    seconds: float
    mended: int
    improved: bool
    tensors: dict[str, torch.Tensor]


@dataclass(frozen=True)
class Step:
    """One solver step: what was evaluated, and how far the run is.

    number and level count from 1. picture: the evaluated point, (1, 3, h, w) float32 in [0, 1], or
    wherever the solver went without `clamp`; it must not be changed. value and terms: the objective
    and its weighted terms there, 0-d tensors that stay on the device until somebody asks. best: the
    lowest value so far at this level, its picture and its terms. evaluations and seconds: since the
    start. fraction: share of the run's work that is done, by pixels.
    note: what went wrong and was mended; mended: how often so far. improved: says whether any point
    was better than its level's first, and waits for the device. state: gives the run's State, until
    the next step.
    """

    number: int
    steps: int
    level: int
    levels: int
    picture: torch.Tensor
    value: torch.Tensor
    terms: dict[str, torch.Tensor]
    best: Best
    evaluations: int
    seconds: float
    fraction: float
    note: str = ""
    mended: int = 0
    improved: Callable[[], bool] = field(default=lambda: True, repr=False)
    finish: Callable[[torch.Tensor], torch.Tensor] = field(
        default=lambda pixels: pixels, repr=False
    )
    state: Callable[[], State] | None = field(default=None, repr=False)

    @property
    def shown(self) -> torch.Tensor:
        """The picture to be seen: in [0, 1], with the content's colors where only lightness is
        painted."""
        return self.finish(self.picture.clamp(0, 1))
