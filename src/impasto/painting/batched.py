"""Several paintings of one size at once: one pass through the network for all, an objective for
each."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import cast

import torch

from impasto.backbone.load import network_key
from impasto.objective.objective import Objective, evaluate_batched
from impasto.painting.run import Run
from impasto.painting.step import Step

__all__ = ["batch_key", "paint_batched"]


def batch_key(run: Run) -> Hashable:
    """What runs must have in common to be painted together; None for one in tiles, or that was
    begun before."""
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
    """Several runs of one `batch_key`, or one run, step by step: each is what it is alone.

    A small picture does not fill a processor, and several do. Memory is taken for all of them.
    """
    loops = [run.loop() for run in runs]
    while None not in (points := [loop.ask() for loop in loops]):
        if len(runs) == 1:
            told = [loops[0].evaluator.evaluate(cast(torch.Tensor, points[0]))]
        else:
            objectives = [cast(Objective, loop.evaluator) for loop in loops]
            told = evaluate_batched(objectives, torch.cat(cast(list[torch.Tensor], points)))
        yield [loop.tell(*each) for loop, each in zip(loops, told, strict=True)]
