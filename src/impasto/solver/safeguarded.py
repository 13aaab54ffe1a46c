"""One level's way down: the solver, and the guard that watches it."""

from __future__ import annotations

import torch

from impasto.solver.adam import Adam
from impasto.solver.lbfgs import LBFGS
from impasto.solver.safeguard import Best, Safeguard

__all__ = ["SafeguardedSolver"]


class SafeguardedSolver:
    """Goes from point to point of one level: where the solver says, or back to the best point when
    there is trouble."""

    def __init__(self, solver: LBFGS | Adam, safeguard: Safeguard, clamp: bool):
        """clamp: keep every number between 0 and 1 after each step."""
        self._solver, self._safeguard, self._clamp = solver, safeguard, clamp

    @property
    def best(self) -> Best:
        """The lowest value so far and its point; there is one after the first step."""
        return self._safeguard.best

    def has_improved(self, before: bool) -> bool:
        """Whether any point was better than the level's first, or one `before` was; may wait for
        the device."""
        return before or bool(self._safeguard.improved)

    def step(
        self,
        x: torch.Tensor,
        value: torch.Tensor,
        gradient: torch.Tensor,
        parts: torch.Tensor,
        last: bool,
    ) -> tuple[torch.Tensor, str]:
        """The point after `x`, and what went wrong, or "". After the `last` one of the level that
        is the best point.

        Raises SolverError if no value has been finite so far.
        """
        trouble = self._safeguard.check(x, value, gradient, parts, last)
        if last:
            return self.best.point, trouble
        if trouble:
            self._solver.reset()
            self._solver.rate /= 2
            return self.best.point, trouble
        x = self._solver.step(x, gradient)
        return x.clamp(0, 1) if self._clamp else x, ""

    def state(self) -> dict[str, torch.Tensor]:
        """All that `restore` needs, after a step; the tensors are in use: copy or write them before
        the next."""
        return {
            **{f"solver.{name}": value for name, value in self._solver.state().items()},
            **{f"guard.{name}": value for name, value in self._safeguard.state().items()},
        }

    def restore(self, state: dict[str, torch.Tensor], device: torch.device) -> torch.Tensor:
        """Become the descent whose `state` this is, with the point that comes next beside it, "x";
        gives that point."""
        parts: dict[str, dict[str, torch.Tensor]] = {"": {}, "solver": {}, "guard": {}}
        for name, value in state.items():
            owner, _, inner = name.rpartition(".")
            parts[owner][inner] = value.to(device)
        self._solver.restore(parts["solver"])
        self._safeguard.restore(parts["guard"])
        return parts[""]["x"]
