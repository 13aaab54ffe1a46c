"""How much of the teacher the student explains, and the metric that follows from it."""

import torch

from impasto.objective.losses import product_in_blocks
from networks import LAYERS, Features

KEPT = 0.95  # of the heads' moments, from one batch to the next
EVERY = 8  # steps for which a head serves: it changes slowly
DENSE = 3  # the first stage whose features are taken at all positions, not at a quarter of them
# share of the mean that is taken away: a Gram matrix needs the mean, but most of it is easy
CENTERED = 0.9


class Heads:
    """The best linear map from the student's features to the teacher's, solved for instead of
    learned.

    For fixed features the best head W is a least-squares problem; its moments are averaged over
    recent batches. The gradient of the loss at the best W is that at a constant W (variable
    projection, Golub & Pereyra 1973), so the convolutions see at every step what a head trained to
    the end would tell them.
    """

    def __init__(self) -> None:
        self._moments: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
        self._solved: dict[str, torch.Tensor] = {}
        self._count = 0  # losses computed

    def loss(self, name: str, feature: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return the part of the target's variance that the feature does not explain, 0 to 1.

        feature (B, c, h, w), target (B, C, h, w). Only second moments are needed: W f is never
        made.
        """
        if int(name[0]) < DENSE:
            row, column = torch.randint(2, (2,)).tolist()
            feature, target = (x[:, :, row::2, column::2] for x in (feature, target))
        f, t = (
            x.permute(0, 2, 3, 1).flatten(0, 2).float() for x in (feature, target)
        )  # (positions, channels)
        mean_f, mean_t = f.mean(0), t.mean(0)
        # (1, positions, channels)
        ff = product_in_blocks(f[None], f[None])[0] / len(f) - CENTERED * mean_f.outer(mean_f)
        tf = product_in_blocks(t[None], f[None])[0] / len(f) - CENTERED * mean_t.outer(mean_f)
        variance = t.square().sum() / len(t) - CENTERED * mean_t.square().sum()
        tf = tf / variance.sqrt()
        with torch.no_grad():
            before_ff, before_tf = self._moments.get(name, (ff, tf))
            kept_ff, kept_tf = torch.lerp(ff, before_ff, KEPT), torch.lerp(tf, before_tf, KEPT)
            # a batch that failed is left out
            fit = torch.isfinite(ff).all() & torch.isfinite(tf).all()
            kept_ff, kept_tf = kept_ff.where(fit, before_ff), kept_tf.where(fit, before_tf)
            self._moments[name] = kept_ff, kept_tf
            if name not in self._solved or self._count // len(LAYERS) % EVERY == 0:
                self._solved[name] = _solve(kept_ff, kept_tf, ridge=1e-3)
            self._count += 1
        w = self._solved[name]
        return 1 - 2 * (w * tf).sum() + ((w @ ff) * w).sum()


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
