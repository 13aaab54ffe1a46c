"""Plan a painting's memory: estimate what it needs, and choose the largest tiles that fit."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import torch

from impasto import cgroups
from impasto.backbone.architecture import STRIDE, convolution_of, layer_stride, reach
from impasto.backbone.vgg import Backbone
from impasto.config import Config, Machine
from impasto.errors import ConfigError
from impasto.objective.frame import frame_of
from impasto.objective.style_terms import STYLE_TERMS
from impasto.painting.allocator import MOST, give_back, largest_kept
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
]

PIXEL = 12  # bytes of one float32 RGB pixel
# pictures alive at once, besides the solver's history: points, gradients, the best, spectra
VECTORS = 9
MASK = 12  # bytes of a mask's pixel, at full size and at the layers
# Feature maps of the largest layer that the backward pass takes at once, besides the tape, with
# oneDNN's buffers and the gaps between blocks that the allocator keeps; and where it keeps only
# small ones. Measured (benchmarks/memory.py).
MAPS_AT_ONCE, MAPS_WITHOUT_GAPS = 4, 1
# nine planes of differences, of their flatness and of the gradient, and one picture more
PIXEL_TERMS = 10 * PIXEL
# float64 matrices of channels x channels that a style layer's target and distance take; measured
MATRICES = 8
FEW = 3  # pairs of L-BFGS, the smallest useful history
SHARE = 0.8  # of the free memory is used; the rest is for other programs


class Plan(NamedTuple):
    """How a painting fits into memory.

    tile_size: the largest side of a tile, in pixels; None: the picture is evaluated as a whole.
    needed, budget: bytes, beyond those of the interpreter, the network's weights and the pictures
    as read. block: bytes of the largest block that the evaluation of a tile allocates.
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
        return f"{how}, about {_format_bytes(self.needed)} of {_format_bytes(self.budget)}"


def check_tile(problem: Problem, config: Config, machine: Machine) -> None:
    """Check that a tile is at least as large as its halo; smaller ones would be mostly halo.

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
    """Choose the largest tiles with which a painting fits into memory.

    Args:
        config, machine, backbone: of the painting.
        size: (height, width) of the painting.
        styles: (height, width) of the style pictures at that size.
        masks: the number of masks of the painting.
        free: bytes of free memory; None: those of the network's device.

    Returns:
        The plan. Its tiles are never smaller than their halos.

    Raises:
        ConfigError: the painting does not fit.
    """
    layers = [*config.content_layers, *config.style_layers]
    backbone.deepest(layers)  # raises WeightsError if the network lacks one of them
    halo, whole = reach(layers), max(size)
    if machine.memory == "auto":
        budget = int(SHARE * (free_memory(backbone.device) if free is None else free))
    else:
        budget = machine.memory
    framed = [frame_of(*picture, backbone).size(*picture) for picture in (size, *styles)]
    each_pixel = _picture_bytes(config, backbone) + MASK * masks
    fixed = math.prod(framed[0]) * each_pixel + PIXEL * sum(map(math.prod, framed[1:]))
    fixed += backbone.layout_bytes(layers) + _matrix_bytes(config, backbone)
    largest = whole if machine.tile == "auto" else min(machine.tile, whole)
    kept, block = _network_bytes(config, backbone)
    kept += _style_term_bytes(config, backbone)
    terms = PIXEL_TERMS if config.grain_weight else 0
    kept_block = largest_kept(backbone.dtype) if backbone.device.type == "cpu" else MOST
    needed = 0
    for side in (largest, *range(largest - STRIDE, halo - 1, -STRIDE)):
        crop = max(
            math.prod(min(full, side + 2 * (halo + STRIDE)) for full in picture)
            for picture in framed
        )
        # where blocks up to MOST are kept, smaller layers leave gaps also if the largest does not
        gaps = kept_block == MOST or crop * block <= kept_block
        maps = MAPS_AT_ONCE if gaps else MAPS_WITHOUT_GAPS
        needed = fixed + crop * max(kept + maps * block, terms)
        if needed <= budget:
            return Plan(side if side < whole else None, needed, budget, crop * block)
    raise ConfigError(_too_large(config, machine, backbone, size, budget, needed), budget, needed)


def _too_large(
    config: Config,
    machine: Machine,
    backbone: Backbone,
    size: tuple[int, int],
    budget: int,
    needed: int,
) -> str:
    """Return the error message for a painting that needs at least `needed` bytes."""
    auto = machine.memory == "auto"
    takes = needed / SHARE if auto else needed
    remedies = [f"{_format_bytes(takes, up=True)} of memory"]
    vectors = SOLVERS[config.optimizer].vectors
    if vectors(config.history) > vectors(FEW):
        less = math.prod(size) * PIXEL * (vectors(config.history) - vectors(FEW))
        remedies.append(f"{_format_bytes(takes - less, up=True)} with --history {FEW}")
    given = (
        f"{_format_bytes(budget / SHARE)} of free memory is"
        if auto
        else f"--memory {_format_bytes(budget)} is"
    )
    return (
        f"{given} too little to paint {size[1]} x {size[0]} pixels with {backbone.weights.name}: "
        f"it takes {', '.join(remedies)}, or a smaller --size"
    )


def free_memory(device: torch.device) -> int:
    """Return the bytes of free memory of a device.

    On a CPU, the limits of the control groups apply, too (containers, systemd, SLURM).
    """
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device))
    give_back()  # blocks that the allocator has kept since an earlier painting
    return cgroups.available_memory()


def _picture_bytes(config: Config, backbone: Backbone) -> int:
    """Return the bytes per pixel of the painting that do not depend on tiles.

    These are the solver's pictures and the content's features.
    """
    vectors = VECTORS + SOLVERS[config.optimizer].vectors(config.history)
    features = sum(_layer_bytes(backbone, layer) for layer in config.content_layers)
    return PIXEL * vectors + math.ceil(features)


def _network_bytes(config: Config, backbone: Backbone) -> tuple[int, int]:
    """Return the bytes per pixel of a tile's crop: of the tape, and of the largest layer."""
    wanted = {*config.content_layers, *config.style_layers}
    architecture = backbone.architecture
    names = architecture.convolutions[: backbone.deepest(wanted) + 1]
    kept, largest = 0.0, 0.0
    for name in names:
        size = _layer_bytes(backbone, name)
        followed = name in architecture.before_pooling and name != names[-1]
        pooled = followed and backbone.pooling == "max"
        maxima = size / 4 / backbone.dtype.itemsize if pooled else 0.0
        whole = not pooled or name.replace("conv", "relu") in wanted
        kept += 2 * maxima + (size if whole else size / 4) + (size if name in wanted else 0)
        largest = max(largest, size + 8 * maxima)  # torch's positions, before they are shortened
    return math.ceil(kept), math.ceil(largest)


def _style_term_bytes(config: Config, backbone: Backbone) -> int:
    """Return the bytes per pixel of a tile's crop of the style term, without the features."""
    in_float32 = [
        _layer_bytes(backbone, layer) * 4 / backbone.dtype.itemsize for layer in config.style_layers
    ]
    return STYLE_TERMS[config.style_term].working_bytes(in_float32)


def _matrix_bytes(config: Config, backbone: Backbone) -> int:
    """Return the bytes of the style layers' matrices."""
    kernels = [backbone.weights.kernels[convolution_of(name)][0] for name in config.style_layers]
    return MATRICES * 8 * sum(kernel.shape[0] ** 2 for kernel in kernels)


def _layer_bytes(backbone: Backbone, layer: str) -> float:
    """Return the bytes of a layer's features per pixel of the picture."""
    kernel, _ = backbone.weights.kernels[convolution_of(layer)]
    return kernel.shape[0] * backbone.dtype.itemsize / layer_stride(layer) ** 2


def _format_bytes(count: float, *, up: bool = False) -> str:
    """Format bytes as "4.2GB" or "230MB"; up: rounded up."""
    units = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1, "B"))
    unit, name = next(((unit, name) for unit, name in units if count >= unit), units[-1])
    digits = 1 if name == "GB" else 0
    scaled = count / unit * 10**digits
    return f"{(math.ceil if up else round)(scaled) / 10**digits:.{digits}f}{name}"


def plan_for(
    problem: Problem, config: Config, machine: Machine, backbone: Backbone, free: int | None = None
) -> Plan:
    """Choose the tile size for a problem.

    Args:
        problem, config, machine, backbone: the parts of the run.
        free: bytes of free memory; None: those of the network's device.

    Raises:
        ConfigError: the painting does not fit.
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
