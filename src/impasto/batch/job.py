"""One painting of a batch, and what makes two of them the same."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from impasto.backbone.load import load_weights
from impasto.backbone.weight_files import Weights
from impasto.backbone.weights import load
from impasto.config import STARTS, Config, Machine
from impasto.fields import marked
from impasto.images.read import bytes_of
from impasto.painting.problem import extras
from impasto.parsing import ALPHA, AUTO, mask_parts

LONGEST_NAME = 150  # bytes of a name: file systems take 255, with what is put around it


class Job(NamedTuple):
    """One painting that is asked for. out: its file name, if the user gave one, or ""."""

    content: str
    styles: tuple[str, ...]
    config: Config
    machine: Machine = Machine()
    out: str = ""

    def __str__(self) -> str:
        return f"{self.content} in the style of {', '.join(self.styles)}"

    @property
    def name(self) -> str:
        """The file name to be used if it is free: `out`, or CONTENT-STYLE.png."""
        stems = "-".join(Path(path).stem for path in (self.content, *self.styles))
        return self.out or f"{os.fsencode(stems)[:LONGEST_NAME].decode(errors='ignore')}.png"

    @property
    def paths(self) -> list[tuple[str, str]]:
        """The role and the path of every picture that the painting is made from."""
        named = [("content", self.content), *(("style", path) for path in self.styles)]
        return [*named, *extras(self.config)]


def normalized_settings(
    config: Config, machine: Machine, digest: Callable[[str], str]
) -> dict[str, Any]:
    """The settings that decide a picture, without the network, as JSON.

    Args:
        config, machine: the settings.
        digest: gives the checksum that takes the place of a picture's path.
    """
    settings = config.model_dump(mode="json", exclude={"backbone", "finish_backbone"})
    settings["precision"], settings["convolution"] = machine.precision, machine.convolution
    for name in marked(Config, "path"):
        kept = ("", AUTO) if name == "protect" else ("",)
        settings[name] = settings[name] if settings[name] in kept else digest(settings[name])
    settings["start"] = [
        [name if name in STARTS else digest(name), weight] for name, weight in config.start.items()
    ]
    settings["mask"] = [
        [part if part in ("", ALPHA) else digest(part) for part in mask_parts(text)]
        for text in config.mask
    ]
    return settings


class Inputs:
    """The checksums of a batch's pictures, and its networks: each file is read once."""

    def __init__(self, load_one: Callable[[str], Weights] = load):
        """load_one: gives the network of a name, downloaded if need be."""
        self._load = load_one
        self._checksums: dict[str, str] = {}
        self._networks: dict[tuple[str, str], Weights] = {}

    def checksum(self, path: str) -> str:
        """The sha256 of a file's bytes. Raises PictureError."""
        if path not in self._checksums:
            self._checksums[path] = hashlib.sha256(bytes_of(Path(path))).hexdigest()
        return self._checksums[path]

    def network(self, config: Config) -> Weights:
        """The weights of a config's network, with its finisher's. Raises WeightsError."""
        names = config.backbone, config.finisher
        if names not in self._networks:
            self._networks[names] = load_weights(config, self._named)
        return self._networks[names]

    def _named(self, name: str) -> Weights:
        if (name, "") not in self._networks:
            self._networks[name, ""] = self._load(name)
        return self._networks[name, ""]

    def fingerprint(self, job: Job) -> str:
        """The sha256 of all that decides a job's picture, wherever its files lie.

        Raises:
            PictureError: a picture cannot be opened.
            WeightsError: the network's weights cannot be had.
        """
        parts = {
            "config": normalized_settings(job.config, job.machine, self.checksum),
            "content": self.checksum(job.content),
            "styles": [self.checksum(path) for path in job.styles],
            "weights": self.network(job.config).sha256,
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
