"""Keep the best point of a level, and detect divergence."""

from __future__ import annotations

from typing import NamedTuple

import torch

from impasto.errors import SolverError

__all__ = ["Best", "Safeguard"]

BLOW_UP = 10.0  # diverged if the loss exceeds the best by this factor,
STRAYED = 1.5  # or by this factor
PATIENCE = 25  # for so many steps in a row
NEAR_ZERO = 1e-9  # of the first loss: a best loss below it is no unit to measure a rise in
NOT_FINITE, ROSE, STAYED_ABOVE = 1, 2, 3  # kinds of trouble; 0: none


class Best(NamedTuple):
    """The point of the lowest loss so far, that loss, (), and its weighted terms, (n,).

    All are on the device.
    """

    point: torch.Tensor
    value: torch.Tensor
    term_values: torch.Tensor


class Safeguard:
    """Watch the evaluations of one level: remember the best, and detect divergence.

    A level has diverged if the loss is not finite, has blown up, or has stayed far above the best
    for long. Everything is computed on the device, and read back only every `check_every`
    evaluations, because each reading waits for the device. Trouble in between is not lost, only
    reported later. The first evaluation is always checked.
    """

    def __init__(self, check_every: int = 1):
        self.check_every = check_every
        self._best: Best | None = None
        self._checked = 0

    @property
    def best(self) -> Best:
        """The lowest loss so far and its point; there is one after the first check."""
        assert self._best is not None
        return self._best

    @property
    def improved(self) -> torch.Tensor:
        """Whether any loss was lower than the first one, (); on the device."""
        return self.best.value < self._first

    def state(self) -> dict[str, torch.Tensor]:
        """All that `restore` needs, after the first check."""
        return {
            "checked": torch.tensor(self._checked),
            "above": self._above,
            "trouble": self._trouble,
            "first": self._first,
            **{f"best_{name}": value for name, value in self.best._asdict().items()},
        }

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        """Restore from `state()`."""
        self._checked = int(state["checked"])
        self._above, self._trouble = state["above"], state["trouble"]
        self._first = state["first"]
        self._best = Best(*(state[f"best_{name}"] for name in Best._fields))

    @torch.no_grad()
    def check(
        self,
        x: torch.Tensor,
        value: torch.Tensor,
        gradient: torch.Tensor,
        term_values: torch.Tensor,
        last: bool = False,
    ) -> str:
        """Take in one evaluation.

        Args:
            x: the point.
            value: the loss there, ().
            gradient: the gradient there, of the shape of x.
            term_values: the weighted terms there, (n,).
            last: whether this is the level's last evaluation, which is always checked.

        Returns:
            What has gone wrong, or "".

        Raises:
            SolverError: no loss has been finite so far, so there is no point to go back to.
        """
        self.take(x, value, gradient, term_values)
        return self.trouble(last)

    @torch.no_grad()
    def take(
        self,
        x: torch.Tensor,
        value: torch.Tensor,
        gradient: torch.Tensor,
        term_values: torch.Tensor,
    ) -> None:
        """Take in one evaluation, as `check` does, on the device alone."""
        finite = torch.isfinite(value + gradient.abs().max())
        now = value.masked_fill(~finite, torch.inf)
        if self._best is None:
            self._best, self._first = Best(x, now, term_values), now
            self._above = torch.zeros_like(now)
            self._trouble = torch.stack([torch.zeros_like(now)] * 3)  # kind, loss, best loss then
        self._update_best(Best(x, now, term_values))
        self._update_trouble(now, value, finite)

    def trouble(self, last: bool = False) -> str:
        """What has gone wrong, where it is time to ask; see `check`."""
        self._checked += 1
        due = last or self._checked == 1 or self._checked % self.check_every == 0
        return self._read_status() if due else ""

    def _update_best(self, now: Best) -> None:
        better = now.value < self.best.value
        if self.check_every > 1:
            self._best = Best(
                *(torch.where(better, a, b) for a, b in zip(now, self.best, strict=True))
            )
        elif better:  # where reading back costs nothing, no copy is made
            self._best = now

    def _update_trouble(self, now: torch.Tensor, value: torch.Tensor, finite: torch.Tensor) -> None:
        """Note the first trouble since the last reading. now: `value`, or infinity."""
        lowest = self.best.value
        # the loss may be 0, or rounded to less
        unit = torch.maximum(lowest.abs(), NEAR_ZERO * self._first.abs())
        self._above = (self._above + 1) * (now > lowest + (STRAYED - 1) * unit)
        kind = (self._above >= PATIENCE) * STAYED_ABOVE
        kind = kind.masked_fill(now > lowest + (BLOW_UP - 1) * unit, ROSE)
        kind = kind.masked_fill(~finite, NOT_FINITE)
        self._above = self._above * (kind != STAYED_ABOVE)
        self._trouble = torch.where(
            self._trouble[0] > 0, self._trouble, torch.stack([kind.to(now), value, lowest])
        )

    def _read_status(self) -> str:
        """The first trouble since the last reading; waits for the device."""
        kind, value, lowest = self._trouble.tolist()
        self._trouble.zero_()
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
