"""Several paintings of one size at once: one pass through the network for all, an objective for each."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import NamedTuple

import torch

from impasto.backbone import Backbone
from impasto.config import Config
from impasto.memory import Plan
from impasto.objective import evaluate_together
from impasto.painting import Step, course
from impasto.scene import Scene

__all__ = ["Run", "alike", "paint_together"]


class Run(NamedTuple):
    """One of the paintings: `scene_of` and `fit` made its scene and its plan."""

    scene: Scene
    config: Config
    fits: Plan


def alike(run: Run) -> Hashable:
    """What paintings must have in common to be painted together; None if this one is in tiles, and paints alone."""
    config = run.config
    if run.fits.side is not None:
        return None
    network = (config.backbone, config.pooling, config.padding, config.device, config.precision)
    return network, tuple(config.content_layers), tuple(config.style_layers), tuple(run.scene.levels)


def paint_together(runs: Sequence[Run], backbone: Backbone) -> Iterator[list[Step]]:
    """The paintings of runs that are `alike`, step by step: each is what `paint_steps` makes of it alone.

    A small picture does not fill a processor, and several do. Memory is taken for all of them.
    """
    courses = [course(each.scene, each.config, backbone, each.fits) for each in runs]
    for wanted in zip(*courses, strict=True):
        objectives, points = zip(*wanted, strict=True)
        evaluated = evaluate_together(objectives, torch.cat(points))
        yield [each.send(found) for each, found in zip(courses, evaluated, strict=True)]
