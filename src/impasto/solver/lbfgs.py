"""L-BFGS with a fixed step: one evaluation, one step."""

from __future__ import annotations

import torch

__all__ = ["LBFGS"]


class LBFGS:
    """Limited-memory BFGS without a line search, in the compact form (Byrd, Nocedal & Schnabel 1994, theorem 2.2).

    With the last m steps s_i and gradient differences y_i as the columns of S and Y, R the upper triangle of S'Y (by
    age), D its diagonal and c = s.y / y.y of the newest pair (7.20 of Nocedal & Wright 2006),

        H g = c g + S v - c Y u,    u = R^-1 S'g,    v = R^-T ((D + c Y'Y) u - c Y'g)

    which is what the two-loop recursion (algorithm 7.4 there) computes, in two passes over the history,
    each a product of matrices; the rest are m x m numbers. Nothing is read back from the device.

    As in the published recipes (`torch.optim.LBFGS`, lr 1) a step has length `rate` along -H g. The first one, along
    -g, has a root mean square of `first`, or with `first` 0 it is g times min(1, 1/|g|_1) as there: in a picture that
    is less than a bfloat16 network can see, and the first pair would be its rounding.
    Unlike there it never stops by itself: small steps are no reason to give up. Where the objective curves the wrong
    way (s.y <= 0) the pair is not learnt from: its products are kept as zeros, which take it out of the sums.
    """

    def __init__(self, rate: float = 1.0, history: int = 20, first: float = 0.0):
        self.rate, self.history, self.first = rate, history, first
        self.reset()

    def reset(self) -> None:
        """Forget all pairs: the next step goes along the gradient."""
        self._count = 0  # pairs written so far; the newest lies in row (count - 1) % history
        self._before: tuple[torch.Tensor, torch.Tensor] | None = None
        self._pairs = torch.empty(0)  # (2, history, n): S and Y as rows
        self._products = torch.empty(0)  # (2, history, history): S'Y and Y'Y in the rows' order, float64 where there is
        self._good = torch.empty(0)  # (history,) whether a row's pair is learnt from
        self._scale = torch.empty(0)  # c

    @torch.no_grad()
    def step(self, x: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
        """The next point after `x`, where the gradient is `gradient` (any shape, float32). Neither is changed, and
        neither may be before the next call.

        The point that comes next may be moved (clamped) before the next call: the pairs are those really taken.
        """
        at, g = x.flatten(), gradient.flatten()
        if self._before is None:
            self._scale = self._first_length(g)
        else:
            self._learn(at, g, *self._before)
        self._before = at, g
        return at.sub(self._inverse_hessian_times(g), alpha=self.rate).view_as(x)

    def _first_length(self, g: torch.Tensor) -> torch.Tensor:
        if not self.first:
            return torch.clamp(1 / g.abs().sum().clamp_min(1e-30), max=1.0)
        return self.first / g.square().mean().sqrt().clamp_min(1e-30)

    def _learn(self, x: torch.Tensor, g: torch.Tensor, x_before: torch.Tensor, g_before: torch.Tensor) -> None:
        """Put the newest pair in the place of the oldest one."""
        if not self._count:
            wide = torch.float32 if x.device.type == "mps" else torch.float64
            self._pairs = x.new_zeros(2, self.history, x.numel())
            self._products = torch.zeros(2, self.history, self.history, dtype=wide, device=x.device)
            self._good = torch.zeros(self.history, dtype=torch.bool, device=x.device)
        row = self._count % self.history
        self._count += 1
        torch.sub(x, x_before, out=self._pairs[0, row])
        torch.sub(g, g_before, out=self._pairs[1, row])
        s, y = self._pairs[:, row]
        products = torch.stack([part[: self._count] @ y for part in self._pairs]).to(self._products)  # S'y and Y'y
        sy, yy = products[:, row]
        good = sy > 1e-10 * (s.dot(s) * yy).sqrt()
        self._scale = torch.where(good, sy / yy, self._scale).to(g)
        self._good[row] = good
        products *= self._good[: self._count]
        self._products[:, : self._count, row] = products * good
        self._products[1, row, : self._count] = products[1] * good
        self._products[0, row, row] += ~good  # a pair of nothing must not make R singular

    def _inverse_hessian_times(self, g: torch.Tensor) -> torch.Tensor:
        if not self._count:
            return self._scale * g
        known = min(self._count, self.history)
        oldest = self._count % known
        pairs, c = self._pairs[:, :known], self._scale.to(self._products)
        with_g = torch.stack([part @ g for part in pairs]) * self._good[:known]
        sg, yg = with_g.to(c).roll(-oldest, 1).unsqueeze(2)  # S'g and Y'g, (m, 1) by age
        sy, yy = self._products[:, :known, :known].roll((-oldest, -oldest), (1, 2))
        r = sy.triu()
        u = torch.linalg.solve_triangular(r, sg, upper=True)
        v = torch.linalg.solve_triangular(r.mT, sy.diag()[:, None] * u + c * (yy @ u - yg), upper=False)
        weights = torch.cat([v, -c * u], 1).roll(oldest, 0).to(g)  # (m, 2), in the rows' order again
        h = self._scale * g
        for part, weight in zip(pairs, weights.mT, strict=True):
            h.addmv_(part.mT, weight)
        return h
