"""How much of the teacher the student explains, and the metric that follows from it."""

from typing import Any

import torch

from impasto.objective.losses import product_in_blocks
from networks import LAYERS, Features

KEPT = 0.95  # of the heads' moments, from one batch to the next
EVERY = 8  # steps for which a head serves: it changes slowly
DENSE = 3  # the first stage whose features are taken at all positions, not at a quarter of them
# share of the mean that is taken away: a Gram matrix needs the mean, but most of it is easy
CENTERED = 0.9


class _Unexplained(torch.autograd.Function):
    """The part of the target's variance that a head leaves unexplained, from second moments alone.

    With the mean taken away in part, F and T of n positions as rows, v the target's variance and W
    the head, it is |F W^T - T / v^(1/2)|^2 / n written out: F W^T is never made, neither here nor
    on the way back.
    """

    @staticmethod
    def forward(ctx: Any, f: torch.Tensor, t: torch.Tensor, head: "_Head") -> torch.Tensor:
        """f (positions, channels), t (positions, teacher's channels), of one dtype; ()."""
        n = len(f)
        mean_f, mean_t = (x.mean(0, dtype=torch.float32) for x in (f, t))
        # (1, positions, channels)
        ff = product_in_blocks(f[None], f[None])[0] / n - CENTERED * mean_f.outer(mean_f)
        tf = product_in_blocks(t[None], f[None])[0] / n - CENTERED * mean_t.outer(mean_f)
        energy = torch.linalg.vector_norm(t, dtype=torch.float32).square() / n
        deviation = (energy - CENTERED * mean_t.square().sum()).sqrt()
        tf = tf / deviation
        w = head.after(ff, tf)
        ctx.save_for_backward(f, t, mean_f, mean_t, w, deviation)
        return 1 - 2 * (w * tf).sum() + ((w @ ff) * w).sum()

    @staticmethod
    def backward(ctx: Any, slope: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        """2 / n ((F - mean) W^T W - (T - mean) W / v^(1/2))."""
        f, t, mean_f, mean_t, w, deviation = ctx.saved_tensors
        factor = 2 * slope / len(f)
        by_f, by_t = factor * (w.mT @ w), -factor / deviation * w
        constant = -CENTERED * (mean_f @ by_f + mean_t @ by_t)
        gradient = torch.addmm(constant.to(f.dtype), f, by_f.to(f.dtype))
        return gradient.addmm_(t, by_t.to(f.dtype)), None, None


class _Head:
    """The best linear map at one layer, and the running moments that it is solved from.

    Both stay where they are in memory, as a CUDA graph needs it.
    """

    def __init__(self) -> None:
        self._ff = self._tf = self._solved = torch.empty(0)

    def after(self, ff: torch.Tensor, tf: torch.Tensor) -> torch.Tensor:
        """Take the moments of one batch, and return the map."""
        if not self._solved.numel():
            self._ff, self._tf, self._solved = ff.clone(), tf.clone(), tf.clone()
            self.solve()
            return self._solved
        # a batch that failed is left out
        fit = torch.isfinite(ff).all() & torch.isfinite(tf).all()
        for kept, new in ((self._ff, ff), (self._tf, tf)):
            kept.copy_(torch.lerp(new, kept, KEPT).where(fit, kept))
        return self._solved

    def solve(self) -> None:
        """Solve for the map anew."""
        self._solved.copy_(_solve(self._ff, self._tf, ridge=1e-3))


class Heads:
    """The best linear map from the student's features to the teacher's, solved for instead of
    learned.

    For fixed features the best head W is a least-squares problem; its moments are averaged over
    recent batches. The gradient of the loss at the best W is that at a constant W (variable
    projection, Golub & Pereyra 1973), so the convolutions see at every step what a head trained to
    the end would tell them.
    """

    def __init__(self) -> None:
        self._heads = {name: _Head() for name in LAYERS}

    def solve(self) -> None:
        """Solve for all heads anew; every EVERY steps is enough."""
        for head in self._heads.values():
            head.solve()

    def loss(
        self, name: str, feature: torch.Tensor, target: torch.Tensor, corner: tuple[int, int]
    ) -> torch.Tensor:
        """Return the part of the target's variance that the feature does not explain, 0 to 1.

        feature (B, c, h, w), target (B, C, h, w). corner: row and column, 0 or 1, of the first
        position that is taken in the stages below DENSE.
        """
        if int(name[0]) < DENSE:
            row, column = corner
            feature, target = (x[:, :, row::2, column::2] for x in (feature, target))
        f, t = (x.permute(0, 2, 3, 1).flatten(0, 2) for x in (feature, target))
        return _Unexplained.apply(f, t, self._heads[name])


def _solve(ff: torch.Tensor, tf: torch.Tensor, ridge: float) -> torch.Tensor:
    eye = torch.eye(len(ff), device=ff.device, dtype=ff.dtype)
    # `cholesky_ex` does not wait for a GPU to say whether it succeeded
    factor = torch.linalg.cholesky_ex(ff + ridge * ff.diagonal().mean() * eye).L
    return torch.cholesky_solve(tf.mT, factor).mT


class HeadFit:
    """Least squares, uncentered, from student to teacher at every layer, over any number of
    batches."""

    def __init__(self) -> None:
        self._sums: dict[str, list[torch.Tensor]] = {}

    @torch.no_grad()
    def add(self, features: Features, targets: Features) -> None:
        """Take the moments of one batch of features and targets."""
        for name in features:
            f, t = (x[name].permute(0, 2, 3, 1).flatten(0, 2).float() for x in (features, targets))
            if f.device.type == "cuda":  # TF32 is too coarse for sums of many crops
                f, t = f.double(), t.double()
            moments = [f.mT @ f, t.mT @ f, t.square().sum(), torch.tensor(float(len(f)))]
            moments = [m.double().cpu() for m in moments]
            before = self._sums.get(name)
            self._sums[name] = (
                moments if before is None else [a + b for a, b in zip(before, moments, strict=True)]
            )

    def heads(self) -> dict[str, torch.Tensor]:
        """Return W by layer (teacher's channels, student's channels)."""
        return {
            name: _solve(ff / n, tf / n, ridge=1e-4) for name, (ff, tf, _, n) in self._sums.items()
        }

    def unexplained(self, heads: dict[str, torch.Tensor]) -> dict[str, float]:
        """Return by layer the part of the teacher's energy that `heads` leave unexplained on what
        was added."""
        out = {}
        for name, (ff, tf, tt, _) in self._sums.items():
            w = heads[name]
            out[name] = float(1 - (2 * (w * tf).sum() - ((w @ ff) * w).sum()) / tt)
        return out


def metric(head: torch.Tensor) -> torch.Tensor:
    """Return R = (W^T W)^(1/2): |R f| is the length of W f, what the teacher would see of f."""
    values, vectors = torch.linalg.eigh(head.mT @ head)
    return (vectors * values.clamp_min(0).sqrt()) @ vectors.mT
