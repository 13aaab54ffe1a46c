"""One painting of a batch, and what makes two of them the same."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from impasto.backbone.weight_files import Weights
from impasto.backbone.weights import load
from impasto.config import STARTS, Config, Machine
from impasto.errors import (
    PictureError,
    reason,
)
from impasto.fields import marked
from impasto.painting.problem import ALPHA, extras
from impasto.parsing import mask_parts
from impasto.records import open_regular

__all__ = ["FileHashes", "Job", "normalized_settings"]


LONGEST_NAME = 150  # bytes of a name: file systems take 255, with what is put around it


class Job(NamedTuple):
    """One painting that is asked for. out: the name it was given, or ""."""

    content: str
    styles: tuple[str, ...]
    config: Config
    machine: Machine = Machine()
    out: str = ""

    @property
    def words(self) -> str:
        """What it is called where people read it."""
        return f"{self.content} in the style of {', '.join(self.styles)}"

    @property
    def name(self) -> str:
        """What it would be called if no other were: CONTENT-STYLE.png."""
        stems = "-".join(Path(each).stem for each in (self.content, *self.styles))
        return self.out or f"{os.fsencode(stems)[:LONGEST_NAME].decode(errors='ignore')}.png"

    @property
    def paths(self) -> list[tuple[str, str]]:
        """The role and the path of every picture that it takes."""
        named = [("content", self.content), *(("style", each) for each in self.styles)]
        return [*named, *extras(self.config)]


def normalized_settings(
    config: Config, machine: Machine, digest: Callable[[str], str]
) -> dict[str, Any]:
    """The settings that decide a picture, but for the network; with `digest` of paths in their
    place."""
    found = config.model_dump(mode="json", exclude={"backbone"})
    found["precision"] = machine.precision
    for name in marked(Config, "path"):
        found[name] = digest(found[name]) if found[name] else ""
    found["start"] = [
        [name if name in STARTS else digest(name), weight] for name, weight in config.start.items()
    ]
    found["mask"] = [
        [each if each in ("", ALPHA) else digest(each) for each in mask_parts(text)]
        for text in config.mask
    ]
    return found


class FileHashes:
    """Checksums of files, each taken once; and networks, each loaded once."""

    def __init__(self, weights: Callable[[str], Weights] = load):
        """weights: gives those of a name, downloaded if need be."""
        self._load = weights
        self._files: dict[str, str] = {}
        self._networks: dict[str, Weights] = {}

    def file(self, path: str) -> str:
        """The sha256 of a file's bytes. Raises PictureError."""
        if path not in self._files:
            try:
                with open_regular(path) as file:
                    digest = hashlib.sha256()
                    while block := file.read(1 << 20):
                        digest.update(block)
            except FileNotFoundError:
                raise PictureError(f"no picture at {path}", path) from None
            except (OSError, ValueError) as error:
                raise PictureError(f"{path} cannot be opened: {reason(error)}", path) from error
            self._files[path] = digest.hexdigest()
        return self._files[path]

    def network(self, name: str) -> Weights:
        """A network's weights, which may have to be downloaded first. Raises WeightsError."""
        if name not in self._networks:
            self._networks[name] = self._load(name)
        return self._networks[name]

    def key(self, job: Job) -> str:
        """The sha256 of all that decides a job's picture, wherever the files lie and whatever they
        are called.

        Raises PictureError for a picture that cannot be opened.
        """
        of = {
            "config": normalized_settings(job.config, job.machine, self.file),
            "content": self.file(job.content),
            "styles": [self.file(each) for each in job.styles],
            "weights": self.network(job.config.backbone).sha256,
        }
        return hashlib.sha256(json.dumps(of, sort_keys=True).encode()).hexdigest()
