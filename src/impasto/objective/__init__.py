"""Features to one number."""

from impasto.objective.build import Pattern, Region
from impasto.objective.losses import content_loss, differences, energy, gram, style_loss, total_variation
from impasto.objective.objective import Objective, Value, evaluate_together
from impasto.objective.tiles import Share, Tile, added

__all__ = [
    "Objective",
    "Pattern",
    "Region",
    "Share",
    "Tile",
    "Value",
    "added",
    "content_loss",
    "differences",
    "energy",
    "evaluate_together",
    "gram",
    "style_loss",
    "total_variation",
]
