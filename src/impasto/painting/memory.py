"""Plan a painting's memory: what is free, what it takes, the tiles that fit."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import psutil
import torch

from impasto.backbone.architecture import STRIDE, convolution_of, layer_stride, reach
from impasto.backbone.vgg import Backbone
from impasto.config import Config, Machine
from impasto.errors import ConfigError
from impasto.objective.style_terms import STYLE_TERMS
from impasto.painting.allocator import MOST, give_back, keep_big_blocks
from impasto.painting.levels import style_size
from impasto.painting.problem import Problem
from impasto.solver import SOLVERS

__all__ = [
    "SHARE",
    "Plan",
    "check_tile",
    "free_memory",
    "plan",
    "plan_for",
    "tune_allocator",
]

PIXEL = 12  # bytes of one float32 RGB pixel
# pictures alive at once, besides the solver's history: points, gradients, the best, the spectrum's
VECTORS = 9
MASK = 12  # bytes of a mask's pixel, at full size and at the layers
# the largest features alive at once on the way back, besides the tape; measured, with oneDNN's
STEPS_AT_ONCE = 4
FEW = 3  # pairs of L-BFGS that are still worth having
SHARE = 0.8  # of what is free is planned with: other programs live too
CGROUP = Path("/sys/fs/cgroup")


class Plan(NamedTuple):
    """How a painting fits into memory: tiles of at most tile_size x tile_size (None: in one piece),
    and what it is to take.

    needed and budget: bytes, over what the interpreter, the network's weights and the pictures as
    read take. block: the largest piece that a tile's evaluation asks for, in bytes.
    """

    tile_size: int | None
    needed: int
    budget: int
    block: int = 0

    def __str__(self) -> str:
        how = (
            "in one piece"
            if self.tile_size is None
            else f"in tiles of at most {self.tile_size} pixels"
        )
        return f"{how}, about {_in_words(self.needed)} of {_in_words(self.budget)}"


def check_tile(problem: Problem, config: Config, machine: Machine) -> None:
    """Check that the tiles are no smaller than their halos: most work would be halo.

    Raises ConfigError.
    """
    halo = reach([*config.content_layers, *config.style_layers])
    last = problem.levels[-1]
    if machine.tile != "auto" and machine.tile < min(halo, max(last.height, last.width)):
        raise ConfigError(
            f"--tile {machine.tile} is less than the {halo} pixels that the network sees "
            f"around it: give {halo} or more",
            machine.tile,
        )


def plan(
    config: Config,
    machine: Machine,
    backbone: Backbone,
    size: tuple[int, int],
    styles: Iterable[tuple[int, int]] = (),
    masks: int = 0,
    free: int | None = None,
) -> Plan:
    """Choose the largest tiles with which a painting of (height, width) fits into the memory.

    styles: (height, width) of the style pictures at that size; masks: how many there are of the
    painting; free: the bytes that there are, if not those of the network's device. Raises
    ConfigError where it cannot fit. A tile is never smaller than its halo.
    """
    layers = [*config.content_layers, *config.style_layers]
    backbone.deepest(layers)  # raises what is wrong with them
    halo, whole = reach(layers), max(size)
    if machine.memory == "auto":
        budget = int(SHARE * (free_memory(backbone.device) if free is None else free))
    else:
        budget = machine.memory
    pictures = [size, *styles]
    each_pixel = _picture_bytes(config, backbone) + MASK * masks
    fixed = math.prod(size) * each_pixel + PIXEL * sum(map(math.prod, pictures[1:]))
    largest = whole if machine.tile == "auto" else min(machine.tile, whole)
    kept, block = _network_bytes(config, backbone)
    kept += _style_term_bytes(config, backbone)
    needed = 0
    for side in (largest, *range(largest - STRIDE, halo - 1, -STRIDE)):
        crop = max(
            math.prod(min(full, side + 2 * (halo + STRIDE)) for full in picture)
            for picture in pictures
        )
        needed = fixed + crop * (kept + STEPS_AT_ONCE * block)
        if needed <= budget:
            return Plan(side if side < whole else None, needed, budget, crop * block)
    raise ConfigError(_too_little(config, machine, backbone, size, budget, needed), budget, needed)


def _too_little(
    config: Config,
    machine: Machine,
    backbone: Backbone,
    size: tuple[int, int],
    budget: int,
    needed: int,
) -> str:
    """What to say of a painting that needs at least `needed`."""
    auto = machine.memory == "auto"
    takes = needed / SHARE if auto else needed  # of what must be free
    helps = [f"{_in_words(takes, up=True)} of memory"]
    vectors = SOLVERS[config.optimizer].vectors
    if vectors(config.history) > vectors(FEW):
        less = math.prod(size) * PIXEL * (vectors(config.history) - vectors(FEW))
        helps.append(f"{_in_words(takes - less, up=True)} with --history {FEW}")
    given = (
        f"{_in_words(budget / SHARE)} of free memory is"
        if auto
        else f"--memory {_in_words(budget)} is"
    )
    return (
        f"{given} too little to paint {size[1]} x {size[0]} pixels with {backbone.weights.name}: "
        f"it takes {', '.join(helps)}, or a smaller --size"
    )


def free_memory(device: torch.device) -> int:
    """Bytes that can be had on `device` now; on a CPU within the limit of its container (cgroup 2),
    if any."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device))
    give_back()  # what an earlier painting's allocator kept is free, too
    available = int(psutil.virtual_memory().available)
    try:
        limit, used = (
            int((CGROUP / name).read_text()) for name in ("memory.max", "memory.current")
        )
    except (OSError, ValueError):  # no container, or one without a limit ("max")
        return available
    return min(available, max(0, limit - used + _old_files()))


def _old_files() -> int:
    """Bytes of read files that the system counts as the container's, and gives up when somebody
    wants the memory."""
    try:
        lines = (CGROUP / "memory.stat").read_text().splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith("inactive_file ")))
    except (OSError, ValueError, IndexError, StopIteration):
        return 0


def _picture_bytes(config: Config, backbone: Backbone) -> int:
    """Bytes a pixel of the painting that are there once, however it is cut: vectors and the
    content's features."""
    vectors = VECTORS + SOLVERS[config.optimizer].vectors(config.history)
    features = sum(_layer_bytes(backbone, layer) for layer in config.content_layers)
    return PIXEL * vectors + math.ceil(features)


def _network_bytes(config: Config, backbone: Backbone) -> tuple[int, int]:
    """Bytes a pixel of a tile's crop: what an evaluation's tape keeps, and the largest features on
    the way."""
    wanted = {*config.content_layers, *config.style_layers}
    architecture = backbone.architecture
    names = architecture.convolutions[: backbone.deepest(wanted) + 1]
    kept, largest = 0.0, 0.0
    for name in names:
        size = _layer_bytes(backbone, name)
        followed = name in architecture.before_pooling and name != names[-1]
        pooled = followed and backbone.pooling == "max"
        indices = size / 4 * 8 / backbone.dtype.itemsize if pooled else 0.0
        whole = not pooled or name.replace("conv", "relu") in wanted
        kept += indices + (size if whole else size / 4) + (size if name in wanted else 0)
        largest = max(largest, size + indices)
    return math.ceil(kept), math.ceil(largest)


def _style_term_bytes(config: Config, backbone: Backbone) -> int:
    """Bytes a pixel of a tile's crop that the style term takes besides the network's features."""
    in_float32 = [
        _layer_bytes(backbone, layer) * 4 / backbone.dtype.itemsize for layer in config.style_layers
    ]
    return STYLE_TERMS[config.style_term].working_bytes(in_float32)


def _layer_bytes(backbone: Backbone, layer: str) -> float:
    """Bytes that a layer's features take a pixel of the picture."""
    kernel, _ = backbone.weights.kernels[convolution_of(layer)]
    return len(kernel) * backbone.dtype.itemsize / layer_stride(layer) ** 2


def _in_words(count: float, *, up: bool = False) -> str:
    """Bytes as "4.2GB" or "230MB", rounded up if `up`."""
    unit, name = next(
        each
        for each in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1, "B"))
        if count >= each[0] or each[0] == 1
    )
    digits = 1 if name == "GB" else 0
    scaled = count / unit * 10**digits
    return f"{(math.ceil if up else round)(scaled) / 10**digits:.{digits}f}{name}"


def plan_for(
    problem: Problem, config: Config, machine: Machine, backbone: Backbone, free: int | None = None
) -> Plan:
    """Choose the tile size for a problem.

    free: bytes that there are, if not those of the network's device. Raises ConfigError if it
    cannot fit.
    """
    last = problem.levels[-1]
    sizes = [style_size(last, style, config, last) for style in problem.style_sources]
    masks = sum(region.mask is not None for region in problem.regions)
    masks += problem.protect is not None
    networks = [backbone, *([backbone.finisher] if last.finish and backbone.finisher else [])]
    plans = [plan(config, machine, each, last[:2], sizes, masks, free) for each in networks]
    smallest = min(plans, key=lambda found: found.tile_size or max(last.height, last.width))
    return smallest._replace(
        needed=max(found.needed for found in plans), block=max(found.block for found in plans)
    )


def tune_allocator(plan: Plan, device: torch.device) -> None:
    """Have the process's allocator keep the blocks that a painting frees at every step.

    For programs that paint, not for the library: it changes the whole process.
    """
    if device.type == "cpu":
        keep_big_blocks(MOST if plan.tile_size is None else plan.block)
