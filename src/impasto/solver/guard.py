"""Keeps the best picture, notices a run that goes wrong, and sends it back."""

from __future__ import annotations

import torch

from impasto.errors import SolverError

__all__ = ["Guard"]

BLOW_UP = 10.0  # this many times the best value so far is no longer a detour
STRAYED = 1.5  # this many times the best value ...
PATIENCE = 25  # ... for so many steps in a row is no detour either


class Guard:
    """Watches (point, value) pairs of one level.

    `best` and `value` are the lowest value seen and its point. `check` says whether the run has gone wrong: the value
    is not finite, has blown up, or has strayed far above the best for long.
    """

    def __init__(self) -> None:
        self._best: torch.Tensor | None = None
        self.value = torch.tensor(torch.inf)
        self._since = 0
        self._above = 0

    @property
    def best(self) -> torch.Tensor:
        """The point of the lowest value; there is one after the first check."""
        assert self._best is not None
        return self._best

    @property
    def improved(self) -> bool:
        """Whether the evaluation taken in last is the best so far."""
        return self._since == 0

    @torch.no_grad()
    def check(self, x: torch.Tensor, value: torch.Tensor, gradient: torch.Tensor) -> str:
        """Take in one evaluation; what is wrong with it, in words, or "" if nothing is.

        Raises SolverError if it is the first and not finite: there is nowhere to go back to.
        """
        now = float(value)
        if not (torch.isfinite(value) and torch.isfinite(gradient).all()):
            if self._best is None:
                raise SolverError(f"the objective is {now} at the start, or its gradient is not finite", now)
            self._since += 1
            return f"the objective is {now}, or its gradient is not finite"
        best = float(self.value)
        if now < best:
            self._best, self.value, self._since = x.detach().clone(), value.detach(), 0
            self._above = 0
            return ""
        self._since += 1
        self._above = self._above + 1 if now > STRAYED * best else 0
        if now > BLOW_UP * best:
            return f"the objective rose from {best:.4g} to {now:.4g}"
        if self._above == PATIENCE:
            self._above = 0
            return f"the objective has stayed above {STRAYED} times its best for {PATIENCE} steps"
        return ""
