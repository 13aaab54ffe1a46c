"""A solver that goes back to the best point when it diverges."""

from __future__ import annotations

from collections.abc import Callable

import torch

from impasto.solver import Solver
from impasto.solver.preconditioner import without_weave
from impasto.solver.safeguard import Best, Safeguard

__all__ = ["SafeguardedSolver"]

Advance = Callable[..., list[torch.Tensor]]  # as `SafeguardedSolver.advance`


class SafeguardedSolver:
    """Take the steps of one level: the solver's, or back to the best point after trouble."""

    def __init__(
        self,
        solver: Solver,
        safeguard: Safeguard,
        clamp: bool,
        unweave: bool = False,
        make_advance: Callable[[SafeguardedSolver], Advance] | None = None,
    ):
        """
        Args:
            solver: makes the steps.
            safeguard: looks out for trouble.
            clamp: keep every number between 0 and 1 after each step.
            unweave: leave a weave of two pixels out of the gradients, and out of what is cut off
                by clamping, so that none comes into the picture.
            make_advance: makes what is called in place of `advance`, and again after trouble.
        """
        self._solver, self._safeguard = solver, safeguard
        self._clamp, self._unweave = clamp, unweave
        self._make_advance = make_advance
        self._advance: Advance | None = None
        self._best: Best | None = None

    @property
    def best(self) -> Best:
        """The lowest loss so far and its point; there is one after the first step."""
        return self._best or self._safeguard.best

    def has_improved(self, before: bool) -> bool:
        """Whether any point was better than the level's first; may wait for the device.

        before: the same of the levels before; if it is true, so is the answer.
        """
        return before or bool(self._safeguard.improved)

    def step(
        self,
        x: torch.Tensor,
        value: torch.Tensor,
        gradient: torch.Tensor,
        term_values: torch.Tensor,
        last: bool,
    ) -> tuple[torch.Tensor, str]:
        """The point after `x`, and what went wrong, or "".

        Args:
            x: the point that was evaluated.
            value: the loss there, ().
            gradient: the gradient there, of the shape of x.
            term_values: the weighted terms there, (n,).
            last: whether the level ends here: the point after it is the best one.

        Raises:
            SolverError: no loss has been finite so far.
        """
        if last:
            trouble = self._safeguard.check(x, value, gradient, term_values, last)
            self._best = self._safeguard.best
            self._solver.reset()  # its memory is for the next level
            return self.best.point, trouble
        if self._advance is None and self._make_advance:
            self._advance = self._make_advance(self)
        # a method of its own that an object keeps would keep the object's memory after its end
        advance = self._advance or self.advance
        following, *best = advance(x, value, gradient, term_values)
        self._best = Best(*best)
        trouble = self._safeguard.trouble()
        if not trouble:
            return following, ""
        self._solver.reset()
        self._solver.rate /= 2
        self._advance = None
        return self.best.point, trouble

    def advance(
        self,
        x: torch.Tensor,
        value: torch.Tensor,
        gradient: torch.Tensor,
        term_values: torch.Tensor,
    ) -> list[torch.Tensor]:
        """The solver's point after `x`, and the parts of `best`; on the device alone."""
        self._safeguard.take(x, value, gradient, term_values)
        moved = self._solver.step(x, without_weave(gradient) if self._unweave else gradient)
        if self._clamp:
            clamped = moved.clamp(0, 1)
            if self._unweave:
                clamped = (moved + without_weave(clamped - moved)).clamp(0, 1)
            moved = clamped
        return [moved, *self._safeguard.best]

    def state(self) -> dict[str, torch.Tensor]:
        """All that `restore` needs, after a step; copy or write the tensors before the next."""
        return {
            **{f"solver.{name}": value for name, value in self._solver.state().items()},
            **{f"guard.{name}": value for name, value in self._safeguard.state().items()},
        }

    def restore(self, state: dict[str, torch.Tensor], device: torch.device) -> torch.Tensor:
        """Restore from `state()` with the next point added as "x"; returns that point."""
        by_owner: dict[str, dict[str, torch.Tensor]] = {"": {}, "solver": {}, "guard": {}}
        for name, value in state.items():
            owner, _, inner = name.rpartition(".")
            by_owner[owner][inner] = value.to(device)
        self._solver.restore(by_owner["solver"])
        self._safeguard.restore(by_owner["guard"])
        return by_owner[""]["x"]
