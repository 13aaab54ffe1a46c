"""Features to one number."""

from impasto.objective.build import Pattern, Region
from impasto.objective.losses import content_loss, differences, energy, gram, style_loss, total_variation
from impasto.objective.objective import Objective, Value

__all__ = [
    "Objective",
    "Pattern",
    "Region",
    "Value",
    "content_loss",
    "differences",
    "energy",
    "gram",
    "style_loss",
    "total_variation",
]
