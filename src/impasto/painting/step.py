"""A solver step as the callbacks receive it, and the state from which a run is resumed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from PIL import Image

from impasto.images.write import to_image
from impasto.solver.safeguard import Best

__all__ = ["State", "Step"]


class State(NamedTuple):
    """The state of a run after a step. A run that is resumed from it ends with the same picture.

    Attributes:
        number: of steps made in all levels.
        level: the current one, from 1.
        done: steps made in the current level.
        work: pixels times the network's multiplications a pixel, summed over all steps.
        seconds: spent so far.
        mended: steps that went wrong and were undone.
        improved: whether any step of the previous levels decreased their objective.
        tensors: the next point ("x") and the solver's state, on the device. They are valid until
            the next step.
    """

    number: int
    level: int
    done: int
    work: float
    seconds: float
    mended: int
    improved: bool
    tensors: dict[str, torch.Tensor]


@dataclass(frozen=True, repr=False)
class Step:
    """One solver step: the evaluated point, its objective, and the progress of the run.

    Attributes:
        number, steps: of this step, from 1; of all steps.
        level, levels: the current level, from 1; the number of levels.
        picture: the evaluated point, (1, 3, h, w) float32, in [0, 1] unless `clamp` is off. Do not
            modify it.
        value, terms: the objective and its weighted terms at `picture`: 0-d tensors on the device,
            where `float(step.value)` waits for the device.
        best: the point with the lowest objective at this level so far: point, value, term values.
        evaluations, seconds: since the start.
        fraction: of the run's work that is done (see `State.work`), in [0, 1].
        note: what went wrong at this step and was undone, or "".
        mended: the number of such steps so far.
        improved: returns whether any step decreased its level's objective; waits for the device.
        recolor: gives a picture the content's colors where only lightness is painted.
        state: returns the run's State; valid until the next step.

    Example:
        for step in impasto.paint_steps("photo.jpg", "painting.jpg"):
            print(f"{step.number}/{step.steps}: {float(step.value):.3g}")
            if step.seconds > 5:
                break
        step.image.save("so-far.png")
    """

    number: int
    steps: int
    level: int
    levels: int
    picture: torch.Tensor
    value: torch.Tensor
    terms: dict[str, torch.Tensor]
    best: Best
    evaluations: int
    seconds: float
    fraction: float
    note: str = ""
    mended: int = 0
    improved: Callable[[], bool] = field(default=lambda: True, repr=False)
    recolor: Callable[[torch.Tensor], torch.Tensor] = field(
        default=lambda pixels: pixels, repr=False
    )
    state: Callable[[], State] | None = field(default=None, repr=False)

    def __repr__(self) -> str:
        height, width = self.picture.shape[2:]
        return (
            f"<Step {self.number} of {self.steps}, {width} x {height}, objective "
            f"{float(self.value):.4g}>"
        )

    @property
    def image(self) -> Image.Image:
        """The best picture of the level so far, as an 8-bit PIL image of the level's size.

        It stays as it is, also when the run has gone on or was ended.
        """
        return to_image(self.recolor(self.best.point.clamp(0, 1)))

    @property
    def shown(self) -> torch.Tensor:
        """The picture for display, in [0, 1].

        If only lightness is painted, it has the content's colors.
        """
        return self.recolor(self.picture.clamp(0, 1))
