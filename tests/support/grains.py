"""The distance of two grains, from their Gram matrices."""

import torch

from impasto.objective.moments import grain_distance, grain_target

__all__ = ["grain_between"]


def grain_between(second: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """The grain term between Gram matrices (1, n, n) of pixel differences; ()."""
    return grain_distance(second, grain_target(target))[0]
