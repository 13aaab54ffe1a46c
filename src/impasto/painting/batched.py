"""Several paintings of one size at once: one pass through the network for all, an objective for each."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import NamedTuple

import torch

from impasto.backbone.vgg import Backbone
from impasto.config import Config
from impasto.objective.objective import evaluate_together
from impasto.painting.memory import Plan
from impasto.painting.problem import Scene
from impasto.painting.run import State, Step, course

__all__ = ["Run", "alike", "paint_together"]


class Run(NamedTuple):
    """One of the paintings: `scene_of` and `fit` made its scene and plan. resume: the State that it goes on from."""

    scene: Scene
    config: Config
    fits: Plan
    resume: State | None = None


def alike(run: Run) -> Hashable:
    """What paintings must have in common to be painted together; None for one in tiles, or that was begun before."""
    config = run.config
    if run.fits.side is not None or run.resume is not None:
        return None
    network = (config.backbone, config.pooling, config.padding, config.device, config.precision)
    return network, tuple(config.content_layers), tuple(config.style_layers), tuple(run.scene.levels)


def paint_together(runs: Sequence[Run], backbone: Backbone) -> Iterator[list[Step]]:
    """The paintings of runs that are `alike`, or of one, step by step: each is what `paint_steps` makes of it alone.

    A small picture does not fill a processor, and several do. Memory is taken for all of them.
    """
    courses = [course(each.scene, each.config, backbone, each.fits, resume=each.resume) for each in runs]
    for wanted in zip(*courses, strict=True):
        objectives, points = zip(*wanted, strict=True)
        alone = len(runs) == 1
        evaluated = [objectives[0].evaluate(points[0])] if alone else evaluate_together(objectives, torch.cat(points))
        yield [each.send(found) for each, found in zip(courses, evaluated, strict=True)]
