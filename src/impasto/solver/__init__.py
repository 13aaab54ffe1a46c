"""From a gradient to better pixels: L-BFGS and Adam, which know nothing of style."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch

from impasto.config import Config
from impasto.solver.adam import Adam
from impasto.solver.lbfgs import LBFGS
from impasto.solver.preconditioner import SpectralPreconditioner

__all__ = ["SOLVERS", "Solver", "SolverSpec", "learning_rate", "make_solver"]


class Solver(Protocol):
    """A first-order solver: one gradient in, one point out. rate: the length of its steps."""

    rate: float

    def step(self, x: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
        """The next point after `x`, where the gradient is `gradient`. Changes neither."""

    def reset(self) -> None:
        """Forget all earlier points; the rate stays."""

    def state(self) -> dict[str, torch.Tensor]:
        """All that `restore` needs.

        The tensors are the solver's own: copy or write them before the next step.
        """

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        """Restore from `state()` of a solver that was made with the same arguments."""


@dataclass(frozen=True)
class SolverSpec:
    """A solver that `Config.optimizer` can name.

    make: from the config, the (height, width) of the image, the number of steps, and the device.
    default_rate: the learning rate where the config gives none.
    vectors: how many vectors of the image's size it keeps, from `Config.history`.
    """

    make: Callable[[Config, tuple[int, int], int, torch.device], Solver]
    default_rate: float
    vectors: Callable[[int], int]


def learning_rate(config: Config) -> float:
    """The config's learning rate, or its solver's default."""
    return config.learning_rate or SOLVERS[config.optimizer].default_rate


def make_solver(config: Config, size: tuple[int, int], steps: int, device: torch.device) -> Solver:
    """The solver that the config names, for an image of (height, width) and at most `steps`."""
    return SOLVERS[config.optimizer].make(config, size, steps, device)


def _lbfgs(config: Config, size: tuple[int, int], steps: int, device: torch.device) -> LBFGS:
    power = config.precondition
    preconditioner = SpectralPreconditioner(*size, power, device) if power else None
    history = min(config.history, steps)
    fixed = device.type == "cuda"  # for its graphs
    return LBFGS(learning_rate(config), history, config.first_step, preconditioner, fixed)


def _adam(config: Config, size: tuple[int, int], steps: int, device: torch.device) -> Adam:
    return Adam(learning_rate(config))


SOLVERS = {
    # a step and a gradient difference for each pair
    "lbfgs": SolverSpec(_lbfgs, default_rate=1.0, vectors=lambda history: 2 * history),
    # both moments, and what a step computes from them
    "adam": SolverSpec(_adam, default_rate=0.02, vectors=lambda history: 4),
}
