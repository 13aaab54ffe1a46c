"""Several paintings of one size at once: one pass through the network for all, an objective for each."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import NamedTuple

import torch

from impasto.backbone.vgg import Backbone
from impasto.config import Config
from impasto.objective.objective import evaluate_batched
from impasto.painting.memory import Plan
from impasto.painting.problem import Problem
from impasto.painting.run import State, Step, course

__all__ = ["Run", "batch_key", "paint_batched"]


class Run(NamedTuple):
    """One of the paintings: its problem, config and plan. resume: the State that it goes on from."""

    problem: Problem
    config: Config
    fits: Plan
    resume: State | None = None


def batch_key(run: Run) -> Hashable:
    """What paintings must have in common to be painted together; None for one in tiles, or that was begun before."""
    config = run.config
    if run.fits.side is not None or run.resume is not None:
        return None
    network = (config.backbone, config.pooling, config.padding, config.device, config.precision)
    return network, tuple(config.content_layers), tuple(config.style_layers), tuple(run.problem.levels)


def paint_batched(runs: Sequence[Run], backbone: Backbone) -> Iterator[list[Step]]:
    """Several runs of one `batch_key`, or one run, step by step: each is what `paint_steps` makes of it alone.

    A small picture does not fill a processor, and several do. Memory is taken for all of them.
    """
    courses = [course(each.problem, each.config, backbone, each.fits, resume=each.resume) for each in runs]
    for wanted in zip(*courses, strict=True):
        objectives, points = zip(*wanted, strict=True)
        alone = len(runs) == 1
        evaluated = [objectives[0].evaluate(points[0])] if alone else evaluate_batched(objectives, torch.cat(points))
        yield [each.send(found) for each, found in zip(courses, evaluated, strict=True)]
