"""The result of a run: the painting, why it ended early, and whether it is doubtful."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from impasto.config import Config
from impasto.errors import ClusterError, SolverError, out_of_memory
from impasto.images.deep import to_words
from impasto.images.metadata import NOTHING, Kept, Metadata
from impasto.images.write import check_depth, encode, to_image, write

__all__ = ["Painting", "doubt_about", "why_stopped"]

TRIAL = 4  # runs of up to so many steps are not judged: the first steps may increase the objective
ZERO = 1e-6  # an objective below it cannot be improved
FEW, SHARE = 2, 0.05  # a normal run has up to so many failed steps, or up to this share of them


@dataclass(frozen=True)
class Painting:
    """The result of a run: the picture, its objective, and statistics of the run.

    Attributes:
        pixels: (1, 3, H, W) float32 in [0, 1].
        alpha: the content's transparency, (1, 1, H, W) in [0, 1], or None.
        config: the settings.
        value, terms: the objective and its weighted terms at the picture, the best of its level.
        steps, evaluations, seconds: of the whole run.
        stopped: why the run ended early, or "".
        settings: the record that `save` writes into the file.
        notes: remarks on the pictures, and steps that went wrong and were undone.
        doubt: why the result of a complete run is doubtful, or "".
        metadata: what the content's file says beside its pixels.

    Example:
        painting = impasto.paint("photo.jpg", "painting.jpg")
        print(painting.steps, painting.value, painting.terms)
        painting.save("out.png")
    """

    pixels: torch.Tensor
    alpha: torch.Tensor | None
    config: Config
    value: float
    terms: dict[str, float]
    steps: int
    evaluations: int
    seconds: float
    stopped: str
    settings: dict[str, Any] = field(repr=False)
    notes: list[str]
    doubt: str = ""
    metadata: Metadata = field(default=NOTHING, repr=False)

    @property
    def finished(self) -> bool:
        """Whether all steps were made."""
        return not self.stopped

    @property
    def image(self) -> Image.Image:
        """The painting as an 8-bit PIL image, RGB or RGBA."""
        return to_image(self.pixels, self.alpha)

    def save(self, path: str | PathLike[str], depth: int = 8, metadata: Kept = "basic") -> Path:
        """Write the painting to a file, with its settings inside.

        Args:
            path: the file; its suffix is the format (PNG, JPEG, WebP, TIFF, AVIF ...).
            depth: bits a sample: 8, or 16 for PNG and TIFF.
            metadata: what is kept of the content's file: "basic" (date, author, copyright,
                resolution, color profile), "all" (its whole EXIF, also where it was taken) or
                "none".

        Returns:
            The path.

        Raises:
            OutputError: the file cannot be written.
        """
        check_depth(path, depth)
        return write(self._picture(depth), path, self.settings, self.metadata.selected(metadata))

    def encode(self, suffix: str, depth: int = 8, metadata: Kept = "basic") -> bytes:
        """Return the bytes of the file that `save` would write. Raises OutputError."""
        check_depth(f"painting{suffix}", depth)
        return encode(self._picture(depth), suffix, self.settings, self.metadata.selected(metadata))

    def _picture(self, depth: int) -> Image.Image | np.ndarray:
        return self.image if depth == 8 else to_words(self.pixels, self.alpha)


def why_stopped(error: BaseException) -> str:
    """Return why `error` ended a run early, for the user; "" if it is a bug."""
    if isinstance(error, KeyboardInterrupt):
        return "stopped by hand"
    if out_of_memory(error):
        return "not enough memory for the next level: give a smaller --size"
    return str(error) if isinstance(error, (SolverError, ClusterError)) else ""


def doubt_about(improved: bool, mended: int, steps: int, terms: Mapping[str, float]) -> str:
    """Return why the result of a complete run is doubtful, or "" if it is not.

    Args:
        improved: whether any step decreased the objective below its level's first value.
        mended: the number of steps that went wrong and were undone.
        steps: the number of all steps.
        terms: the weighted terms of the objective at the end, by name.
    """
    total = sum(terms.values())
    if total <= ZERO:
        return ""  # a picture in its own style: steps can only lead away
    if not improved and steps > TRIAL:
        name = max(terms, key=lambda term: terms[term])
        return (
            "no step improved on the starting picture, and that is what was saved; the "
            "heaviest term is "
            f"{name}, {terms[name]:.3g} of {total:.3g}: give smaller weights, or more --steps"
        )
    if mended > max(FEW, SHARE * steps):
        return (
            f"{mended} of {steps} steps went wrong and were undone: give smaller weights, "
            "or --precision float32"
        )
    return ""
