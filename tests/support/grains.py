"""The distances of grains, from their Gram matrices, and of flatness, from the differences."""

from collections.abc import Callable, Sequence

import torch

from impasto.objective.style_distances import grain_distance, grain_target

__all__ = ["flatness_between", "grain_between"]


def grain_between(second: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """The grain term between Gram matrices (1, n, n) of pixel differences; ()."""
    return grain_distance(second, grain_target(target))[0]


def flatness_between(
    d: torch.Tensor,
    others: Sequence[torch.Tensor],
    blended: Callable[[Sequence[torch.Tensor]], torch.Tensor],
    mask: torch.Tensor | None = None,
    masks: Sequence[torch.Tensor | None] | None = None,
) -> torch.Tensor:
    """The flatness term between pixel differences (1, 9, h, w) and those of the styles; ()."""

    def turned(d: torch.Tensor) -> torch.Tensor:
        axes = torch.tensor([[1.0, 1, 1], [1, 0, -1], [1, -2, 1]], dtype=d.dtype)
        axes = axes / axes.norm(dim=1, keepdim=True)
        return torch.cat([torch.einsum("ac,bchw->bahw", axes, part) for part in d.chunk(3, 1)], 1)

    def mean(values: torch.Tensor, weights: torch.Tensor | None) -> torch.Tensor:
        if weights is None:
            return values.mean((2, 3))
        return (weights * values).sum((2, 3)) / weights.sum()

    masks = masks or [None] * len(others)
    z = [turned(each) for each in others]
    pairs = list(zip(z, masks, strict=True))
    deviation = blended([mean(each.square(), weights) for each, weights in pairs]).sqrt()
    scale = (0.25 * deviation).clamp_min(1.5 / 255)[..., None, None]

    def share(z: torch.Tensor, weights: torch.Tensor | None) -> torch.Tensor:
        return mean(1 / (1 + (z / scale) ** 2), weights)

    target = blended([share(each, weights) for each, weights in pairs]).clamp_min(0.01)
    return (share(turned(d), mask) / target - 1).square().mean()
