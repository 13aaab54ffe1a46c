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
        fixed_shapes: bool = False,
    ):
        """fixed_shapes: from the first pair on, compute as if all pairs were known, with zeros for
        those that are not: the same numbers, and shapes as a CUDA graph needs them."""
        self.rate, self.history, self.first = rate, history, first
        self._fixed_shapes = fixed_shapes
        self.precondition = precondition or (lambda x: x)
        self.reset()

    def reset(self) -> None:
        """Forget all pairs: the next step goes along the gradient."""
        self._known = 0  # pairs, up to `history`
        self._before: tuple[torch.Tensor, torch.Tensor] | None = None  # point and gradient
        self._pairs = torch.empty(0)  # (2, history, n): S and Y as rows
        # Of the pairs by age, the newest last:
        self._rows = torch.empty(0)  # (history,): where they are
        self._products = torch.empty(0)  # (history, history): S'Y
        self._accepted = torch.empty(0)  # (history,): whether s.y > 0
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
            length = self._first_length(gradient, direction)
            direction = length * direction
            # as there, only the first step is shortened: while no pair is accepted c is 1
            self._scale = length if self.first else torch.ones_like(length)
        self._before = x, gradient
        return x.sub(direction, alpha=self.rate)

    def state(self) -> dict[str, torch.Tensor]:
        """All that `restore` needs; copy or write the tensors before the next step."""
        state = {
            "rate": torch.tensor(self.rate, dtype=torch.float64),
        }
        if self._before is not None:
            state |= {"x": self._before[0], "gradient": self._before[1], "scale": self._scale}
        if self._known:
            state |= {
                "pairs": self._pairs[:, : self._known],
                "rows": self._rows,
                "products": self._products,
                "accepted": self._accepted,
            }
        return state

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        """Restore from `state()` of a solver with the same history and preconditioner."""
        self.reset()
        self.rate = float(state["rate"])
        if "x" in state:
            self._before, self._scale = (state["x"], state["gradient"]), state["scale"]
        if "pairs" in state:
            pairs = self._pairs = state["pairs"]
            self._known = pairs.shape[1]
            if self._known < self.history:
                self._pairs = pairs.new_empty(2, self.history, pairs.shape[2])
                self._pairs[:, : self._known] = pairs
            self._rows, self._products = state["rows"], state["products"]
            self._accepted = state["accepted"]

    def _first_length(self, g: torch.Tensor, direction: torch.Tensor) -> torch.Tensor:
        if not self.first:
            return torch.clamp(1 / g.abs().sum().clamp_min(TINY), max=1.0)
        return self.first / direction.square().mean().sqrt().clamp_min(TINY)

    def _allocate(self, x: torch.Tensor) -> None:
        """Memory for the pairs; their products in float64, which MPS devices do not have.

        Where there is no pair yet, it is as if one had been rejected.
        """
        wide = torch.float32 if x.device.type == "mps" else torch.float64
        shape = 2, self.history, x.numel()
        self._pairs = x.new_zeros(shape) if self._fixed_shapes else x.new_empty(shape)
        self._known = self.history if self._fixed_shapes else 0
        self._rows = torch.arange(self.history, device=x.device)
        self._products = torch.eye(self.history, dtype=wide, device=x.device)
        self._accepted = torch.zeros(self.history, dtype=torch.bool, device=x.device)

    def _update_history(
        self, x: torch.Tensor, g: torch.Tensor, x_before: torch.Tensor, g_before: torch.Tensor
    ) -> None:
        """Replace the oldest pair by the newest."""
        if not self._known:
            self._allocate(x)
        self._known = min(self._known + 1, self.history)
        self._rows = self._rows.roll(-1)
        s, y = x - x_before, g - g_before
        for pairs, newest in zip(self._pairs, (s, y), strict=True):
            pairs.index_copy_(0, self._rows[-1:], newest.reshape(1, -1))
        ss, yy = (v.flatten().dot(v.flatten()) for v in (s, y))
        del s, newest
        products = self._by_age(_times(self._pairs[0, : self._known], y)).to(self._products)  # S'y
        sy = products[-1]
        accepted = sy > 1e-10 * (ss.to(sy) * yy.to(sy)).sqrt()
        ypy = y.flatten().dot(self.precondition(y).flatten())
        self._scale = torch.where(accepted, sy / ypy, self._scale).to(g)
        self._accepted = torch.cat([self._accepted[1:], accepted[None]])
        self._products = self._products.roll((-1, -1), (0, 1))
        self._products[-self._known :, -1] = products * self._accepted[-self._known :] * accepted
        self._products[-1, -1] += ~accepted  # a rejected pair must not make R singular

    def _inverse_hessian_times(self, gradient: torch.Tensor) -> torch.Tensor:
        g, known = gradient.flatten(), self._known
        s, y = self._pairs[:, :known]  # (known, n)
        accepted = self._accepted[-known:]
        sy = self._products[-known:, -known:]
        r = sy.triu()
        sg = (self._by_age(_times(s, gradient)) * accepted).to(sy)
        u = torch.linalg.solve_triangular(r, sg[:, None], upper=True)[:, 0]
        w = torch.addmv(g, y.mT, self._by_row(u).to(g), beta=-1)  # Y u - g, (n,)
        w = self._scale * self.precondition(w.view_as(gradient)).flatten()
        yw = (self._by_age(_times(y, w.view_as(gradient))) * accepted).to(sy)
        v = torch.linalg.solve_triangular(r.mT, (sy.diag() * u + yw)[:, None], upper=False)[:, 0]
        return torch.addmv(w, s.mT, self._by_row(v).to(g), beta=-1).view_as(gradient)

    def _by_age(self, of_rows: torch.Tensor) -> torch.Tensor:
        """Numbers of the known pairs, (known,), from the rows' order to that of age."""
        return of_rows.index_select(0, self._rows[-self._known :])

    def _by_row(self, of_pairs: torch.Tensor) -> torch.Tensor:
        """The way back from `_by_age`."""
        return of_pairs.scatter(0, self._rows[-self._known :], of_pairs)


def _times(rows: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """The products of a vector with rows (m, n), (m,); v: n numbers of any shape."""
    if v.device.type != "cuda":
        return rows @ v.flatten()
    # Of few long sums a GPU computes few at once: here line by line of the picture.
    lines = rows.view(len(rows), -1, v.shape[-1]).transpose(0, 1)  # (lines, m, width)
    return (lines @ v.reshape(len(lines), -1, 1)).sum(0)[:, 0]
