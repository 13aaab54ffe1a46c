"""L-BFGS with a fixed step: one evaluation, one step."""

from __future__ import annotations

from collections.abc import Callable

import torch

__all__ = ["LBFGS"]

Preconditioner = Callable[[torch.Tensor], torch.Tensor]
TINY = 1e-30  # keeps a division by the length of a zero gradient finite


class LBFGS:
    """Limited-memory BFGS without a line search, in the compact form.

    Byrd, Nocedal & Schnabel 1994, theorem 2.2. With the last m steps s_i and gradient differences
    y_i as the columns of S and Y, R the upper triangle of S'Y (by age), D its diagonal, and c P the
    inverse Hessian as it is estimated before any pair is known,

        u = R^-1 S'g,    w = c P (Y u - g),    H g = S R^-T (D u + Y'w) - w

    which is what the two-loop recursion computes (Nocedal & Wright 2006, algorithm 7.4), in four
    products with a matrix of m rows; the rest are m x m numbers. Nothing is read back from the
    device. P is the identity, or `precondition`: symmetric and positive. c = s.y / y.P y of the
    newest pair (7.20 there, with P).

    As in the published recipes (`torch.optim.LBFGS`, lr 1) a step has length `rate` along -H g. The
    first one, along -P g, has a root mean square of `first`, or with `first` 0 it is P g times
    min(1, 1/|g|_1) as there: in an image that is less than a bfloat16 network can see, and the
    first pair would be its rounding.

    Unlike there it never stops by itself: small steps are no reason to give up. A pair of wrong
    curvature (s.y <= 0) is rejected: its products are stored as zeros, which removes it from the
    sums.
    """

    def __init__(
        self,
        rate: float = 1.0,
        history: int = 20,
        first: float = 0.0,
        precondition: Preconditioner | None = None,
    ):
        self.rate, self.history, self.first = rate, history, first
        self.precondition = precondition or (lambda x: x)
        self.reset()

    def reset(self) -> None:
        """Forget all pairs: the next step goes along the gradient."""
        self._count = 0  # pairs written so far; the newest is in row (count - 1) % history
        self._before: tuple[torch.Tensor, torch.Tensor] | None = None  # point and gradient
        self._pairs = torch.empty(0)  # (2, history, n): S and Y as rows
        self._products = torch.empty(0)  # (history, history): S'Y in the rows' order
        self._accepted = torch.empty(0)  # (history,): whether a row's pair has s.y > 0
        self._scale = torch.empty(0)  # c

    @torch.no_grad()
    def step(self, x: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
        """The next point after `x`, where the gradient is `gradient` (any shape, float32).

        Neither is changed, and neither may be changed before the next call. The next point may be
        moved (clamped) before that: the pairs are those really taken.
        """
        if self._before is not None:
            self._update_history(x, gradient, *self._before)
            direction = self._inverse_hessian_times(gradient)
        else:
            direction = self.precondition(gradient)
            self._scale = self._first_length(gradient, direction)
            direction = self._scale * direction
        self._before = x, gradient
        return x.sub(direction, alpha=self.rate)

    def state(self) -> dict[str, torch.Tensor]:
        """All that `restore` needs; copy or write the tensors before the next step."""
        known = min(self._count, self.history)
        state = {
            "count": torch.tensor(self._count),
            "rate": torch.tensor(self.rate, dtype=torch.float64),
        }
        if self._before is not None:
            state |= {"x": self._before[0], "gradient": self._before[1], "scale": self._scale}
        if known:
            state |= {
                "pairs": self._pairs[:, :known],
                "products": self._products,
                "accepted": self._accepted,
            }
        return state

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        """Restore from `state()` of a solver with the same history and preconditioner."""
        self.reset()
        self._count, self.rate = int(state["count"]), float(state["rate"])
        if "x" in state:
            self._before, self._scale = (state["x"], state["gradient"]), state["scale"]
        if self._count:
            pairs = state["pairs"]
            self._pairs = pairs.new_empty(2, self.history, pairs.shape[2])
            self._pairs[:, : pairs.shape[1]] = pairs
            self._products, self._accepted = state["products"], state["accepted"]

    def _first_length(self, g: torch.Tensor, direction: torch.Tensor) -> torch.Tensor:
        if not self.first:
            return torch.clamp(1 / g.abs().sum().clamp_min(TINY), max=1.0)
        return self.first / direction.square().mean().sqrt().clamp_min(TINY)

    def _allocate(self, x: torch.Tensor) -> None:
        """Memory for the pairs; their products in float64, which MPS devices do not have."""
        wide = torch.float32 if x.device.type == "mps" else torch.float64
        self._pairs = x.new_empty(2, self.history, x.numel())
        self._products = torch.zeros(self.history, self.history, dtype=wide, device=x.device)
        self._accepted = torch.zeros(self.history, dtype=torch.bool, device=x.device)

    def _update_history(
        self, x: torch.Tensor, g: torch.Tensor, x_before: torch.Tensor, g_before: torch.Tensor
    ) -> None:
        """Replace the oldest pair by the newest."""
        if not self._count:
            self._allocate(x)
        row = self._count % self.history
        self._count += 1
        s, y = self._pairs[:, row]
        torch.sub(x, x_before, out=s.view_as(x))
        torch.sub(g, g_before, out=y.view_as(g))
        products = (self._pairs[0, : self._count] @ y).to(self._products)  # S'y
        sy, ss, yy = products[row], s.dot(s).to(products), y.dot(y).to(products)
        accepted = sy > 1e-10 * (ss * yy).sqrt()
        self._scale = torch.where(
            accepted, sy / y.dot(self.precondition(y.view_as(g)).flatten()), self._scale
        ).to(g)
        self._accepted[row] = accepted
        self._products[: self._count, row] = products * self._accepted[: self._count] * accepted
        self._products[row, row] += ~accepted  # a rejected pair must not make R singular

    def _inverse_hessian_times(self, gradient: torch.Tensor) -> torch.Tensor:
        g = gradient.flatten()
        known = min(self._count, self.history)
        oldest = self._count % known
        s, y = self._pairs[:, :known]  # (known, n)
        accepted = self._accepted[:known]
        sy = self._products[:known, :known].roll((-oldest, -oldest), (0, 1))  # by age
        r = sy.triu()
        sg = ((s @ g) * accepted).to(sy).roll(-oldest)
        u = torch.linalg.solve_triangular(r, sg[:, None], upper=True)[:, 0]
        w = torch.addmv(g, y.mT, u.roll(oldest).to(g), beta=-1)  # Y u - g, (n,)
        w = self._scale * self.precondition(w.view_as(gradient)).flatten()
        yw = ((y @ w) * accepted).to(sy).roll(-oldest)
        v = torch.linalg.solve_triangular(r.mT, (sy.diag() * u + yw)[:, None], upper=False)[:, 0]
        return torch.addmv(w, s.mT, v.roll(oldest).to(g), beta=-1).view_as(gradient)
