"""The one loop: a picture is the unknown of a minimisation."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any, cast

import torch
from PIL import Image

from impasto import __version__
from impasto.backbone import Backbone, load
from impasto.backbone.download import Progress
from impasto.backbone.vgg import fast_dtype
from impasto.config import STARTS, Config
from impasto.errors import ConfigError, PictureError, did_you_mean
from impasto.objective import Objective, Value
from impasto.pictures import Picture, Source, read, resize, to_image, write
from impasto.solver import LBFGS, Adam, Guard, Level, pyramid

__all__ = ["Painting", "Step", "check", "make_backbone", "paint", "paint_steps", "settings_of"]

FIRST_STEP = 0.01  # root mean square of L-BFGS's first step: 2.5 of 255 grey levels
SMALLEST = 16  # pixels on a side at the smallest level


@dataclass(frozen=True)
class Step:
    """One solver step: what was evaluated, and how far the run is.

    number and level count from 1. picture: the evaluated point, (1, 3, h, w) float32 in [0, 1], or wherever the solver
    went without `clamp`. value and terms: the objective and its weighted terms there, 0-d tensors that stay on the
    device until somebody asks. best: whether this is the lowest value so far at its level. evaluations and seconds:
    since the start. fraction: share of the run's work that is done, by pixels. note: what went wrong and was mended.
    """

    number: int
    steps: int
    level: int
    levels: int
    picture: torch.Tensor
    value: torch.Tensor
    terms: dict[str, torch.Tensor]
    best: bool
    evaluations: int
    seconds: float
    fraction: float
    note: str = ""


@dataclass(frozen=True)
class Painting:
    """A finished (or stopped) painting: pixels (1, 3, H, W) float32 in [0, 1], alpha or None, and how it came about."""

    pixels: torch.Tensor
    alpha: torch.Tensor | None
    config: Config
    value: float
    terms: dict[str, float]
    steps: int
    evaluations: int
    seconds: float
    finished: bool
    settings: dict[str, Any] = field(repr=False)
    notes: list[str]

    @property
    def image(self) -> Image.Image:
        """The painting as an 8-bit PIL image, RGB or RGBA."""
        return to_image(self.pixels, self.alpha)

    def save(self, path: str | PathLike[str]) -> Path:
        """Write the painting with its settings inside; the format is the suffix's. Raises OutputError."""
        return write(self.image, path, self.settings)


def paint(
    content: Source,
    style: Source | Sequence[Source],
    config: Config | None = None,
    *,
    start: Source | None = None,
    backbone: Backbone | None = None,
    on_step: Callable[[Step], object] | None = None,
) -> Painting:
    """Paint `content` in the style of `style` (one picture or several) and return the best picture found.

    Pictures are paths, PIL images, NumPy arrays or tensors (see `pictures.read`). `start` is a picture to start from,
    in place of the config's. A loaded `backbone` is used as it is. `on_step` sees every Step. Ctrl-C ends the run
    early: what has been painted is returned, at full size, with `finished` false. Raises ImpastoError.
    """
    config = config or Config()
    picture, styles = read(content), _read_all(style)
    best: Step | None = None
    last: Step | None = None
    notes, finished = [], False
    try:
        for last in paint_steps(picture, styles, config, start=start, backbone=backbone):
            best = last if last.best else best
            if last.note:
                notes.append(last.note)
            if on_step:
                on_step(last)
        finished = True
    except KeyboardInterrupt:
        if best is None:
            raise
    assert best is not None
    assert last is not None
    height, width = painted_size(picture, config)
    return Painting(
        pixels=resize(best.picture.clamp(0, 1).cpu(), height, width),
        alpha=None if picture.alpha is None else resize(picture.alpha, height, width),
        config=config,
        value=float(best.value),
        terms={name: float(value) for name, value in best.terms.items()},
        steps=last.number,
        evaluations=last.evaluations,
        seconds=last.seconds,
        finished=finished,
        settings=settings_of(picture, styles, config, last.number),
        notes=notes,
    )


def paint_steps(
    content: Source,
    style: Source | Sequence[Source],
    config: Config | None = None,
    *,
    start: Source | None = None,
    backbone: Backbone | None = None,
) -> Iterator[Step]:
    """The painting as a stream of Steps; to stop is to stop reading. Arguments and errors as in `paint`."""
    config = config or Config()
    picture, styles = read(content), _read_all(style)
    levels = check(picture, styles, config)
    backbone = backbone or make_backbone(config)
    device = backbone.device
    began, number, work = time.perf_counter(), 0, 0.0
    all_work = sum(level.steps * level.height * level.width for level in levels)
    x = None
    for index, level in enumerate(levels, 1):
        small = resize(picture.pixels, level.height, level.width).to(device)
        patterns = [_style_at(level, each, config, levels[-1]).to(device) for each in styles]
        objective = Objective(config, backbone, small, patterns)
        solver = _solver(config)
        guard = Guard()
        first = x if x is not None else _starting_point(config, start, small, patterns[0])
        x = resize(first, level.height, level.width).to(device)
        for k in range(level.steps):
            value, gradient = _evaluate(objective, x)
            trouble = guard.check(x, value.total, gradient)
            number, work = number + 1, work + level.height * level.width
            yield Step(
                number, config.steps, index, len(levels), x, value.total, value.terms, guard.improved,
                number, time.perf_counter() - began, work / all_work, trouble,
            )  # fmt: skip
            if k == level.steps - 1:
                break
            if trouble:
                x = guard.best
                solver.reset()
                solver.rate /= 2
                continue
            x = solver.step(x, gradient)
            if config.clamp:
                x = x.clamp(0, 1)
        x = guard.best


def _solver(config: Config) -> LBFGS | Adam:
    return LBFGS(config.rate, config.history, FIRST_STEP) if config.optimizer == "lbfgs" else Adam(config.rate)


def _evaluate(objective: Objective, x: torch.Tensor) -> tuple[Value, torch.Tensor]:
    """The objective at `x` and its gradient there: one forward and one backward pass."""
    point = x.detach().requires_grad_()
    value = objective(point)
    (gradient,) = torch.autograd.grad(value.total, point)
    return Value(value.total.detach(), {name: term.detach() for name, term in value.terms.items()}), gradient


def make_backbone(config: Config, progress: Progress | None = None) -> Backbone:
    """The network that `config` names, on its device, in its precision; `progress` sees its download, if any.

    Raises WeightsError, ConfigError.
    """
    device = _device(config.device)
    dtype = fast_dtype(device) if config.precision == "auto" else getattr(torch, config.precision)
    weights = load(config.backbone, progress)
    return Backbone(weights, pooling=config.pooling, padding=config.padding, device=device, dtype=dtype)


def painted_size(content: Picture, config: Config) -> tuple[int, int]:
    """(height, width) of the painting: the content's shape at the config's size."""
    height, width = content.pixels.shape[2:]
    if config.size == "original":
        return height, width
    scale = config.size / (height if config.size_of == "height" else max(height, width))
    if config.size_of == "at-most":
        scale = min(scale, 1.0)
    return max(1, round(height * scale)), max(1, round(width * scale))


def check(content: Picture, styles: Sequence[Picture], config: Config) -> list[Level]:
    """The sizes and steps of the run, small to large, if it can be painted: all that can be known before the network.

    Raises PictureError if the painting would be too thin or a picture to start from cannot be read, ConfigError if
    `blend` or `start` does not fit.
    """
    if config.blend and len(config.blend) != len(styles):
        raise ConfigError(
            f"--blend has {len(config.blend)} weights for {len(styles)} styles: give one a style", config.blend
        )
    for name in config.start:
        if name not in STARTS:
            if not Path(name).suffix:
                raise ConfigError(f"no start {name!r}, nor a picture of that name: {did_you_mean(name, STARTS)}", name)
            read(name)
    height, width = painted_size(content, config)
    if min(height, width) < SMALLEST:
        raise PictureError(
            f"{content.name} would be painted at {width} x {height} pixels, the least is {SMALLEST} x {SMALLEST}: "
            "give a larger --size",
            (width, height),
        )
    return pyramid(height, width, config.levels, config.level_ratio, config.steps, config.step_ratio)


def settings_of(content: Picture, styles: Sequence[Picture], config: Config, steps: int) -> dict[str, Any]:
    """What a painting's file carries: `impasto show` prints it, `--from` paints again with it.

    The same run gives the same settings: no time of day, no duration.
    """
    roles = [("content", content), *(("style", style) for style in styles)]
    return {
        "program": "impasto",
        "version": __version__,
        "config": config.model_dump(mode="json"),
        "inputs": [{"role": role, "name": each.name, "sha256": each.sha256} for role, each in roles],
        "steps_done": steps,
    }


def _style_at(level: Level, style: Picture, config: Config, last: Level) -> torch.Tensor:
    """The style picture as this level sees it: with its own proportions its long side is the painting's."""
    if config.style_shape == "content":
        return resize(style.pixels, level.height, level.width)
    height, width = style.pixels.shape[2:]
    scale = level.scale * max(last.height, last.width) / max(height, width)
    shape = [max(SMALLEST, round(side * scale)) for side in (height, width)]
    return resize(style.pixels, *shape)


def _starting_point(config: Config, start: Source | None, content: torch.Tensor, style: torch.Tensor) -> torch.Tensor:
    """The blend that the config's `start` names (or the picture `start`), at the size of `content`."""
    height, width = content.shape[2:]
    if start is not None:
        return resize(read(start).pixels, height, width).to(content)
    point = torch.zeros_like(content)
    for name, weight in config.start.items():
        if name == "content":
            part = content
        elif name == "style":
            part = resize(style, height, width)
        elif name == "noise":
            part = torch.rand(content.shape, generator=torch.Generator().manual_seed(config.seed)).to(content)
        else:
            part = resize(read(name).pixels, height, width).to(content)
        point += weight / sum(config.start.values()) * part
    return point


def _device(name: str) -> torch.device:
    have = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return torch.device(next(each for each in ("cuda", "mps", "cpu") if have[each]))
    if not have[name]:
        here = [each for each, there in have.items() if there]
        raise ConfigError(f"--device {name} is not on this machine: choose from {', '.join(here)}", name, here)
    return torch.device(name)


def _read_all(sources: Source | Sequence[Source]) -> list[Picture]:
    """One picture or several; a Picture is itself a tuple, but one picture."""
    if isinstance(sources, Picture) or not isinstance(sources, (list, tuple)):
        return [read(cast(Source, sources))]
    if not sources:
        raise ConfigError("no style picture: give at least one")
    return [read(source) for source in sources]
