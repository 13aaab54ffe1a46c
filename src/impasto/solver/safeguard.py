"""Keeps the best picture, notices a run that goes wrong, and sends it back."""

from __future__ import annotations

from typing import NamedTuple

import torch

from impasto.errors import SolverError

__all__ = ["Best", "Safeguard"]

BLOW_UP = 10.0  # this many times the best value so far is no longer a detour
STRAYED = 1.5  # this many times the best value ...
PATIENCE = 25  # ... for so many steps in a row is no detour either
# of the first value: a best value nearer to zero than that is no measure of a rise
NEAR_ZERO = 1e-9
NOT_FINITE, ROSE, STAYED_ABOVE = 1, 2, 3


class Best(NamedTuple):
    """The point of the lowest value seen, that value, (), and its parts; all on the device."""

    point: torch.Tensor
    value: torch.Tensor
    parts: torch.Tensor


class Safeguard:
    """Watches the evaluations of one level; `best` is the lowest so far.

    `check` says whether the run has gone wrong: the value is not finite, has blown up, or has
    strayed far above the best for long. Everything is kept on the device; it is asked for trouble
    only every `look` evaluations, because each answer waits for it. Trouble in between is not lost,
    only told later. The first evaluation is always asked about.
    """

    def __init__(self, look: int = 1):
        self.look = look
        self._best: Best | None = None
        self._checked = 0

    @property
    def best(self) -> Best:
        """The lowest value so far and its point; there is one after the first check."""
        assert self._best is not None
        return self._best

    @property
    def improved(self) -> torch.Tensor:
        """Whether any value was lower than the first one, (); on the device."""
        return self.best.value < self._first

    def state(self) -> dict[str, torch.Tensor]:
        """All that `restore` needs, once there has been a check."""
        return {
            "checked": torch.tensor(self._checked),
            "above": self._above,
            "trouble": self._trouble,
            "first": self._first,
            **{f"best_{name}": value for name, value in self.best._asdict().items()},
        }

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        """Become the guard whose `state` this is."""
        self._checked, self._above, self._trouble = (
            int(state["checked"]),
            state["above"],
            state["trouble"],
        )
        self._first = state["first"]
        self._best = Best(*(state[f"best_{name}"] for name in Best._fields))

    @torch.no_grad()
    def check(
        self,
        x: torch.Tensor,
        value: torch.Tensor,
        gradient: torch.Tensor,
        parts: torch.Tensor,
        last: bool = False,
    ) -> str:
        """Take in one evaluation, the `last` one or not; what has gone wrong, in words, or "" if
        nothing has.

        Raises SolverError if no value has been finite so far: there is nowhere to go back to.
        """
        finite = torch.isfinite(value + gradient.abs().max())
        now = torch.where(finite, value, torch.inf)
        if self._best is None:
            self._best, self._first = Best(x, now, parts), now
            self._above = torch.zeros_like(now)
            self._trouble = torch.stack([torch.zeros_like(now)] * 3)  # kind, value, best value then
        better = now < self._best.value
        if self.look > 1:
            self._best = Best(
                *(
                    torch.where(better, a, b)
                    for a, b in zip((x, now, parts), self._best, strict=True)
                )
            )
        elif better:  # where asking costs nothing the best is no copy
            self._best = Best(x, now, parts)
        lowest = self._best.value
        # the objective may be 0, or rounded below
        measure = torch.maximum(lowest.abs(), NEAR_ZERO * self._first.abs())
        self._above = torch.where(now > lowest + (STRAYED - 1) * measure, self._above + 1, 0)
        kind = torch.where(self._above >= PATIENCE, STAYED_ABOVE, 0)
        kind = torch.where(now > lowest + (BLOW_UP - 1) * measure, ROSE, kind)
        kind = torch.where(finite, kind, NOT_FINITE)
        self._above = torch.where(kind == STAYED_ABOVE, 0, self._above)
        self._trouble = torch.where(
            self._trouble[0] > 0, self._trouble, torch.stack([kind.to(now), value, lowest])
        )
        self._checked += 1
        return (
            self._read_status()
            if last or self._checked == 1 or self._checked % self.look == 0
            else ""
        )

    def _read_status(self) -> str:
        """The first trouble since it was last asked for; waits for the device."""
        kind, value, lowest = self._trouble.tolist()
        self._trouble = torch.zeros_like(self._trouble)
        if kind == NOT_FINITE:
            words = f"the objective is {value}, or its gradient is not finite"
            if self.best.value == torch.inf:
                raise SolverError(f"{words}, at the start", value)
            return words
        if kind == ROSE:
            return f"the objective rose from {lowest:.4g} to {value:.4g}"
        if kind == STAYED_ABOVE:
            return f"the objective has stayed above {STRAYED} times its best for {PATIENCE} steps"
        return ""
