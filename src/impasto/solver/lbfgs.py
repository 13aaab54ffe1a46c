"""L-BFGS with a fixed step: one evaluation, one step."""

from __future__ import annotations

import torch

__all__ = ["LBFGS"]


class LBFGS:
    """Limited-memory BFGS (Nocedal & Wright 2006, algorithms 7.4 and 7.5) without a line search.

    As in the published recipes (`torch.optim.LBFGS`, lr 1) a step has length `rate` along -H g. The first one, along
    -g, has a root mean square of `first`, or with `first` 0 it is g times min(1, 1/|g|_1) as there: in a picture that
    is less than a bfloat16 network can see, and the first pair would be its rounding.
    Unlike there it never stops by itself: small steps are no reason to give up. Where the objective curves the wrong
    way (s.y <= 0) the pair is not learnt from.
    """

    def __init__(self, rate: float = 1.0, history: int = 20, first: float = 0.0):
        self.rate, self.history, self.first = rate, history, first
        self.reset()

    def reset(self) -> None:
        """Forget all pairs: the next step goes along the gradient."""
        self._s: list[torch.Tensor] = []
        self._y: list[torch.Tensor] = []
        self._before: tuple[torch.Tensor, torch.Tensor] | None = None

    @torch.no_grad()
    def step(self, x: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
        """The next point after `x`, where the gradient is `gradient` (any shape, float32). Neither is changed.

        The point that comes next may be moved (clamped) before the next call: the pairs are those really taken.
        """
        at, g = x.flatten().clone(), gradient.flatten()
        if self._before is not None:
            s, y = at - self._before[0], g - self._before[1]
            if s.dot(y) > 1e-10 * s.norm() * y.norm():
                self._s, self._y = [*self._s, s][-self.history :], [*self._y, y][-self.history :]
        self._before = at, g.clone()
        if not self._s:
            return (at - self.rate * self._first_length(g) * g).view_as(x)
        return (at - self.rate * self._inverse_hessian_times(g)).view_as(x)

    def _first_length(self, g: torch.Tensor) -> torch.Tensor:
        if not self.first:
            return torch.clamp(1 / g.abs().sum().clamp_min(1e-30), max=1.0)
        return self.first / g.square().mean().sqrt().clamp_min(1e-30)

    def _inverse_hessian_times(self, g: torch.Tensor) -> torch.Tensor:
        """H g by the two-loop recursion (algorithm 7.4), H_0 = (s.y / y.y) I of the newest pair (7.20)."""
        q = g.clone()
        kept = []
        for s, y in zip(reversed(self._s), reversed(self._y), strict=True):
            rho = 1 / s.dot(y)
            alpha = rho * s.dot(q)
            q -= alpha * y
            kept.append((rho, alpha))
        newest = self._s[-1].dot(self._y[-1]) / self._y[-1].dot(self._y[-1])
        q *= newest
        for (rho, alpha), s, y in zip(reversed(kept), self._s, self._y, strict=True):
            q += (alpha - rho * y.dot(q)) * s
        return q
