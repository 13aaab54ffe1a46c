"""Several paintings of one size at once: one pass through the network for all of them."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import replace
from typing import cast

import torch

from impasto.backbone.load import network_key
from impasto.backbone.vgg import Backbone
from impasto.config import Config
from impasto.objective.extractor import FeatureExtractor
from impasto.objective.objective import Objective, evaluate_batched
from impasto.objective.regions import Region
from impasto.objective.style_targets import StyleTargets, same_styles, style_targets
from impasto.painting.run import Run
from impasto.painting.step import Step

__all__ = ["batch_key", "paint_batched"]


def batch_key(run: Run) -> Hashable:
    """What runs must have in common to be painted together.

    None for a run in tiles, or one that is resumed: it is painted alone.
    """
    config = run.config
    if run.plan.tile_size is not None or run.resume is not None:
        return None
    return (
        network_key(config, run.machine),
        tuple(config.content_layers),
        tuple(config.style_layers),
        tuple(run.problem.levels),
    )


def paint_batched(runs: Sequence[Run]) -> Iterator[list[Step]]:
    """Paint several runs of one `batch_key`, or one run, step by step.

    A small image does not fill a processor, and several do. Each run gives the same picture as
    alone. Memory is taken for all of them.
    """
    if len(runs) == 1:
        yield from ([step] for step in runs[0].steps())
        return
    objective_of = SharedStyles()
    loops = [replace(run, evaluator_of=objective_of).loop() for run in runs]
    while None not in (points := [loop.ask() for loop in loops]):
        objective_of.forget()  # all loops enter a level in the same round
        objectives = [cast(Objective, loop.evaluator) for loop in loops]
        evaluated = evaluate_batched(objectives, torch.cat(cast(list[torch.Tensor], points)))
        yield [
            loop.tell(loss, gradient)
            for loop, (loss, gradient) in zip(loops, evaluated, strict=True)
        ]


class SharedStyles:
    """Make the objectives of one level of several runs; equal styles are measured once."""

    def __init__(self) -> None:
        self._known: list[tuple[Config, Backbone, list[Region], StyleTargets]] = []

    def __call__(
        self,
        config: Config,
        backbone: Backbone,
        content: torch.Tensor,
        regions: list[Region],
        tile_size: int | None = None,
        protect: torch.Tensor | None = None,
    ) -> Objective:
        """As `Objective`."""
        targets = self._targets(config, backbone, regions, tile_size)
        return Objective(config, backbone, content, regions, tile_size, protect, targets=targets)

    def forget(self) -> None:
        """Free the styles of the level before."""
        self._known = []

    def _targets(
        self, config: Config, backbone: Backbone, regions: list[Region], tile_size: int | None
    ) -> StyleTargets:
        for known_config, known_backbone, known_regions, targets in self._known:
            same_network = known_backbone is backbone and known_config == config
            if same_network and same_styles(known_regions, regions):
                return targets
        targets = style_targets(FeatureExtractor(config, backbone, tile_size), regions)
        self._known.append((config, backbone, regions, targets))
        return targets
