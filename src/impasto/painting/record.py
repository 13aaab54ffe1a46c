"""Make and read the record in a painting's file: settings, inputs, network."""

from __future__ import annotations

from typing import Any

import torch

from impasto.backbone.load import find_device
from impasto.backbone.vgg import Backbone
from impasto.config import Config, Machine
from impasto.images.read import Picture
from impasto.painting.levels import BLANK
from impasto.painting.problem import Problem, extras
from impasto.version import __version__

__all__ = ["record_of", "recorded_settings"]


def recorded_settings(recorded: dict[str, Any]) -> tuple[Config, Machine]:
    """Restore the settings from a painting's record.

    A painting's record has the precision and the way to convolve that it was painted with, so that
    the picture is the same. On another kind of device they are chosen anew, and which steps the
    finishing network makes stays as it was. Raises ConfigError.
    """
    config, machine = Config(**recorded["config"]), Machine(**recorded["machine"])
    device = recorded.get("device")  # the settings of a run that has not ended have none
    if device and device != find_device(machine.device).type:
        machine = machine.changed(precision="auto", convolution="auto")
        if config.finisher:
            config = config.changed(finish=config.finish_steps)
    return config, machine


def record_of(
    problem: Problem,
    config: Config,
    machine: Machine,
    backbone: Backbone,
    start: Picture | None = None,
) -> dict[str, Any]:
    """Make the record of a run for its painting's file, without the results.

    `impasto show` prints it, and `--from` paints with it again. It contains no time of day and no
    duration, so that equal runs have equal records.

    Args:
        problem, config, machine, backbone: the parts of the run.
        start: the picture that replaces the config's `start`.
    """
    content = problem.original
    roles = [
        (BLANK if content.sha256 == BLANK else "content", content),
        *(("style", style) for style in problem.styles),
    ]
    named = [
        (role, problem.named[name])
        for role, name in extras(config)
        if start is None or role != "start"
    ]
    roles += named if start is None else [("start", start), *named]
    return {
        "program": "impasto",
        "version": __version__,
        "config": config.model_dump(mode="json"),
        "machine": {**machine.model_dump(mode="json"), **backbone.method._asdict()},
        "inputs": [
            {"role": role, "name": picture.name, "sha256": picture.sha256}
            for role, picture in roles
        ],
        "network": backbone.weights.name,
        "finisher": backbone.finisher.weights.name if backbone.finisher else "",
        "precision": backbone.method.precision,
        "convolution": backbone.method.convolution,
        "device": backbone.device.type,
        # of a CPU: another number rounds otherwise
        "threads": torch.get_num_threads() if backbone.device.type == "cpu" else 0,
    }
