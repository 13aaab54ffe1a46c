"""Paint several pictures of one size at once, with one pass through the network for all of them."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import replace
from typing import cast

import torch

from impasto.backbone.load import network_key
from impasto.backbone.vgg import Backbone
from impasto.config import Config
from impasto.objective.extractor import FeatureExtractor
from impasto.objective.objective import Objective
from impasto.objective.regions import Region
from impasto.objective.style_targets import StyleTargets, same_styles, style_targets
from impasto.painting.cuda_graph import evaluate_fast
from impasto.painting.run import Run
from impasto.painting.step import Step

__all__ = ["batch_key", "paint_batched"]


def batch_key(run: Run) -> Hashable:
    """Return a key that is equal for runs that can be painted in one batch.

    None: the run is painted alone, because it is tiled or resumed.
    """
    config = run.config
    if run.plan.tile_size is not None or run.resume is not None:
        return None
    return (
        network_key(config, run.machine),
        run.machine.threads,
        tuple(config.content_layers),
        tuple(config.style_layers),
        tuple(run.problem.levels),
    )


def paint_batched(runs: Sequence[Run]) -> Iterator[list[Step]]:
    """Paint a single run, or several with equal `batch_key`, step by step.

    A small image does not keep all cores busy; a batch does. Each picture is the same as when
    painted alone. The batch needs the memory of all its runs.

    Yields:
        After every step, the Step of each run.
    """
    if len(runs) == 1:
        yield from ([step] for step in runs[0].steps())
        return
    make_objective = SharedStyles()
    loops = [replace(run, make_evaluator=make_objective).loop() for run in runs]
    objectives: list[Objective] = []
    while None not in (points := [loop.ask() for loop in loops]):
        if objectives != (now := [cast(Objective, loop.evaluator) for loop in loops]):
            make_objective.clear()  # all loops enter a level in the same round
            objectives, evaluate = now, evaluate_fast(now)
        evaluated = evaluate(torch.cat(cast(list[torch.Tensor], points)))
        yield [
            loop.tell(loss, gradient)
            for loop, (loss, gradient) in zip(loops, evaluated, strict=True)
        ]


class SharedStyles:
    """Make the objectives of one level of several runs; targets of equal styles are shared."""

    def __init__(self) -> None:
        self._computed: list[tuple[Config, Backbone, list[Region], StyleTargets]] = []

    def __call__(
        self,
        config: Config,
        backbone: Backbone,
        content: torch.Tensor,
        regions: list[Region],
        tile_size: int | None = None,
        protect: torch.Tensor | None = None,
    ) -> Objective:
        """Make an objective, from the arguments of `Objective`."""
        targets = self._targets(config, backbone, regions, tile_size)
        return Objective(config, backbone, content, regions, tile_size, protect, targets=targets)

    def clear(self) -> None:
        """Free the targets of the previous level."""
        self._computed = []

    def _targets(
        self, config: Config, backbone: Backbone, regions: list[Region], tile_size: int | None
    ) -> StyleTargets:
        for other_config, other_backbone, other_regions, targets in self._computed:
            same_network = other_backbone is backbone and other_config == config
            if same_network and same_styles(other_regions, regions):
                return targets
        targets = style_targets(FeatureExtractor(config, backbone, tile_size), regions)
        self._computed.append((config, backbone, regions, targets))
        return targets
