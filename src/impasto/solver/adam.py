"""Adam."""

from __future__ import annotations

import torch

__all__ = ["Adam"]


class Adam:
    """Adam (Kingma & Ba 2015, algorithm 1) with the usual betas of 0.9 and 0.999, epsilon 1e-8."""

    def __init__(
        self, rate: float = 0.02, betas: tuple[float, float] = (0.9, 0.999), epsilon: float = 1e-8
    ):
        self.rate, self.betas, self.epsilon = rate, betas, epsilon
        self.reset()

    def reset(self) -> None:
        """Forget both moments."""
        self._m: torch.Tensor | None = None
        self._v: torch.Tensor | None = None
        self._count: torch.Tensor | None = None  # steps so far, (); on the device

    def state(self) -> dict[str, torch.Tensor]:
        """All that `restore` needs; copy or write the tensors before the next step."""
        state = {
            "rate": torch.tensor(self.rate, dtype=torch.float64),
        }
        if self._m is not None and self._v is not None and self._count is not None:
            state |= {"m": self._m, "v": self._v, "count": self._count}
        return state

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        """Restore from `state()`."""
        self.rate, self._count = float(state["rate"]), state.get("count")
        self._m, self._v = state.get("m"), state.get("v")

    @torch.no_grad()
    def step(self, x: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
        """The next point after `x`, where the gradient is `gradient` (any shape, float32).

        Changes neither.
        """
        first, second = self.betas
        m = torch.zeros_like(x) if self._m is None else self._m
        v = torch.zeros_like(x) if self._v is None else self._v
        self._m = m.lerp(gradient, 1 - first)
        self._v = v.lerp(gradient.square(), 1 - second)
        wide = torch.float32 if x.device.type == "mps" else torch.float64
        before = (
            torch.zeros((), dtype=wide, device=x.device) if self._count is None else self._count
        )
        self._count = before + 1
        unbiased_m = self._m / (1 - first**self._count)
        unbiased_v = self._v / (1 - second**self._count)
        return x - self.rate * unbiased_m / (unbiased_v.sqrt() + self.epsilon)
