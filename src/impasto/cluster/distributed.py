"""One picture over many devices: its tiles are evaluated on a Ray cluster, and only their sums are
added up there."""

from __future__ import annotations

import asyncio
import itertools
import math
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import ray
import torch

from impasto.backbone.architecture import STRIDE, reach
from impasto.backbone.load import load_backbone
from impasto.backbone.vgg import Backbone
from impasto.backbone.weight_files import Weights
from impasto.cluster.ray_cluster import VERSIONS, Device, list_devices, start_worker, use_device
from impasto.config import Config, Machine
from impasto.errors import ClusterError
from impasto.objective.objective import Loss, Objective
from impasto.objective.regions import Region
from impasto.objective.style_terms import STYLE_TERMS
from impasto.objective.tiles import Shard, Tile, sum_tiles
from impasto.painting.memory import Plan, free_memory, plan_for
from impasto.painting.problem import Problem

__all__ = ["DistributedObjective", "TileWorkers", "tile_workers"]

WAIT = 120.0  # seconds that those who are hired may take to come
T = TypeVar("T")
DEATHS = 3  # of tilers in one evaluation, after which it is given up


class AllReduce:
    """Adds up what all tilers of a picture have, in the order of its tiles; each gets the total."""

    def __init__(self, workers: int):
        self._workers = workers
        self._parts: dict[int, list[list[torch.Tensor]]] = {}
        self._total: asyncio.Future[list[torch.Tensor]] | None = None

    async def add(self, index: int, parts: list[list[torch.Tensor]]) -> list[torch.Tensor]:
        """The total of everybody's sums, tile by tile, once all are there."""
        total = self._total = self._total or asyncio.get_running_loop().create_future()
        self._parts[index] = parts
        if len(self._parts) == self._workers:
            ordered = _in_turns([self._parts[each] for each in range(self._workers)])
            self._parts, self._total = {}, None
            total.set_result(sum_tiles(ordered))
        return await total


class RemoteTileWorker:
    """Evaluates its share of a picture's tiles, on one device of the cluster."""

    def __init__(self, device: Device):
        use_device(device)

    def versions(self) -> str:
        """What evaluates here."""
        return VERSIONS

    def load(self, config: Config, machine: Machine, weights: Weights) -> tuple[str, str, int]:
        """Lay the network out; its precision, its device and the bytes that are free there."""
        self._backbone = backbone = load_backbone(config, machine, weights=weights)
        return (
            str(backbone.dtype).removeprefix("torch."),
            backbone.device.type,
            free_memory(backbone.device),
        )

    def begin(
        self,
        index: int,
        of: int,
        adder: Any,
        config: Config,
        content: torch.Tensor,
        regions: Sequence[Region],
        side: int | None,
        protect: torch.Tensor | None,
    ) -> list[Tile]:
        """Take on every `of`-th tile of a level's picture; gives them."""
        device = self._backbone.device

        def all_reduce(parts: Iterable[list[torch.Tensor]]) -> list[torch.Tensor]:
            if of == 1:
                return sum_tiles(parts)
            total = ray.get(
                adder.add.remote(index, [[each.cpu() for each in part] for part in parts])
            )
            return [each.to(device) for each in total]

        def here(x: torch.Tensor | None) -> torch.Tensor | None:
            return None if x is None else x.to(device)

        regions = [
            region._replace(
                mask=here(region.mask),
                styles=[
                    style._replace(pixels=style.pixels.to(device), mask=here(style.mask))
                    for style in region.styles
                ],
            )
            for region in regions
        ]
        shard = Shard(index, of, all_reduce)
        self._objective = Objective(
            config, self._backbone, content.to(device), regions, side, here(protect), shard
        )
        return self._objective.tiles

    def evaluate(self, *crops: torch.Tensor) -> tuple[Loss, list[torch.Tensor]]:
        """The objective, and the gradient to each crop of its tiles."""
        here = [crop.to(self._backbone.device) for crop in crops]
        if self._objective.tiles[0].whole:
            value, gradient = self._objective.evaluate(here[0])
            parts = [gradient.cpu()]
        else:
            value, gradients = self._objective.evaluate_crops(here)
            parts = [gradient.cpu() for gradient in gradients]
        loss = value._replace(total=value.total.cpu(), term_values=value.term_values.cpu())
        return loss, parts


class TileWorkers:
    """All who evaluate tiles of one painting; who dies is replaced, as long as there is a device
    for it."""

    def __init__(self, config: Config, machine: Machine, weights: Weights):
        self._config, self._machine = config, machine
        self._weights, self._stored = weights, ray.put(weights)
        self.actors: list[Any] = []
        self.restart()

    def restart(self) -> None:
        """Have somebody on every device that there is now. Raises ClusterError if nobody comes."""
        for actor in self.actors:
            ray.kill(actor)
        found = list_devices()
        actors = [start_worker(RemoteTileWorker, device) for device in found]
        self.actors, why = [], "the cluster has no device to paint on"
        frees = []
        said = [
            (actor.versions.remote(), actor.load.remote(self._config, self._machine, self._stored))
            for actor in actors
        ]
        deadline = time.monotonic() + WAIT
        for device, actor, (versions, loaded) in zip(found, actors, said, strict=True):
            try:
                if (
                    theirs := ray.get(versions, timeout=max(1.0, deadline - time.monotonic()))
                ) != VERSIONS:
                    raise ClusterError(f"it has {theirs}, and this is {VERSIONS}")
                precision, self.device, free = ray.get(
                    loaded, timeout=max(1.0, deadline - time.monotonic())
                )
                self.actors.append(actor)
                frees.append(free)
            except (ray.exceptions.RayError, ClusterError) as error:
                cause = getattr(error, "cause", None) or error
                why = f"nobody can paint at {device.name}: {' '.join(str(cause).split())}"
                ray.kill(actor)
        if not self.actors:
            raise ClusterError(why, [device.name for device in found])
        self._free = min(frees)
        # the network as it is there, for who only asks about it
        # everywhere, and whoever comes later
        self._machine = self._machine.changed(precision=precision)
        dtype = getattr(torch, precision)
        self.backbone = Backbone(
            self._weights,
            pooling=self._config.pooling,
            padding=self._config.padding,
            dtype=dtype,
        )

    def __str__(self) -> str:
        """Where they are."""
        count = len(self.actors)
        return f"{count} device{'s' if count > 1 else ''} ({self.device})"

    def objective(self, *arguments: Any) -> DistributedObjective:
        """The objective of a level, as `Objective`."""
        return DistributedObjective(self, *arguments)

    def plan_for(
        self, problem: Problem, config: Config, machine: Machine, backbone: Backbone
    ) -> Plan:
        """As memory.plan_for: into what is free here and everywhere, in tiles of which everybody
        has one if there can be.

        A tile is never smaller than its halo.
        """
        free = min(free_memory(backbone.device), self._free)
        fits = plan_for(problem, config, machine, backbone, free)
        height, width = problem.levels[-1][:2]
        least = reach([*config.content_layers, *config.style_layers])
        if not STYLE_TERMS[config.style_term].tileable:
            return fits
        side = fits.tile_size or max(height, width)
        while (
            math.ceil(height / side) * math.ceil(width / side) < len(self.actors)
            and side - STRIDE >= least
        ):
            side -= STRIDE
        return fits._replace(tile_size=side if side < max(height, width) else None)

    def shutdown(self) -> None:
        """Shut down all workers."""
        for actor in self.actors:
            ray.kill(actor)
        self.actors = []


@contextmanager
def tile_workers(config: Config, machine: Machine, weights: Weights) -> Iterator[TileWorkers]:
    """TileWorkers on every device of the cluster that has been joined. Raises ClusterError."""
    tile_workers = TileWorkers(config, machine, weights)
    try:
        yield tile_workers
    finally:
        tile_workers.shutdown()


class DistributedObjective:
    """An `Objective` whose tiles are evaluated by others.

    A step sends every tile's crop there and its gradient back; the sums that the terms are
    functions of (Gram matrices) go from tiler to tiler. All is added up in the order of the tiles,
    as `Objective` does it.
    """

    def __init__(
        self,
        tile_workers: TileWorkers,
        config: Config,
        backbone: Backbone,
        content: torch.Tensor,
        regions: Sequence[Region],
        side: int | None = None,
        protect: torch.Tensor | None = None,
    ):
        self._workers = tile_workers
        self._given = [ray.put(each) for each in (config, content, regions, side, protect)]
        height, width = content.shape[2:]
        self._count = 1 if side is None else math.ceil(height / side) * math.ceil(width / side)
        self._adder: Any = None
        self._actors: list[Any] = []  # nobody knows the tiles yet

    def _begin(self) -> None:
        """Deal the tiles out."""
        actors = self._workers.actors[: self._count]
        self._adder = ray.remote(AllReduce).options(num_cpus=0).remote(len(actors))
        self._tiles: list[list[Tile]] = self._all(
            [
                actor.begin.remote(k, len(actors), self._adder, *self._given)
                for k, actor in enumerate(actors)
            ]
        )
        self._actors = actors

    def _all(self, answers: list[Any]) -> list[Any]:
        """Everybody's answers. Raises what the first raises that fails: the others may wait for it
        for ever."""
        left = list(answers)
        while left:
            done, left = ray.wait(left, num_returns=1)
            try:
                ray.get(done)
            except ray.exceptions.RayTaskError as error:
                if isinstance(error.cause, ray.exceptions.RayError):
                    raise  # somebody else is gone
                raise error.cause from None
        return list(ray.get(answers))

    def evaluate(self, pixels: torch.Tensor) -> tuple[Loss, torch.Tensor]:
        """As `Objective.evaluate`. Where somebody dies meanwhile it is begun again with those who
        are left.

        Raises ClusterError when nobody is.
        """
        for death in range(1, DEATHS + 1):
            try:
                if not self._actors:
                    self._begin()
                return self._evaluate(pixels)
            except ray.exceptions.RayError as error:
                self._actors = []
                ray.kill(self._adder)  # whoever waits for it need not
                if death == DEATHS:
                    raise ClusterError(
                        f"the cluster fails again and again: {' '.join(str(error).split())}"
                    ) from error
                self._workers.restart()
        raise AssertionError

    def _evaluate(self, pixels: torch.Tensor) -> tuple[Loss, torch.Tensor]:
        answers = [
            actor.evaluate.remote(*(pixels[(..., *tile.crop)].contiguous() for tile in tiles))
            for actor, tiles in zip(self._actors, self._tiles, strict=True)
        ]
        found = self._all(answers)
        gradient = torch.zeros_like(pixels)
        for tile, part in zip(
            _in_turns(self._tiles), _in_turns([parts for _, parts in found]), strict=True
        ):
            gradient[(..., *tile.crop)] += part
        return found[0][0], gradient


def _in_turns(of_tilers: Sequence[Sequence[T]]) -> list[T]:
    """What tilers have of their tiles, in the order of the tiles: the first of each, the second of
    each ..."""
    return [each for turn in itertools.zip_longest(*of_tilers) for each in turn if each is not None]
