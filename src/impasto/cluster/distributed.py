"""Paint one picture on many devices: workers on a Ray cluster evaluate its tiles.

Only pixels of tiles and sums over positions travel between the machines.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import time
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import ray
import torch

from impasto.backbone.architecture import STRIDE, reach
from impasto.backbone.convolution import Method
from impasto.backbone.load import load_backbone
from impasto.backbone.vgg import Backbone
from impasto.backbone.weight_files import Weights
from impasto.cluster.ray_cluster import VERSIONS, Device, list_devices, start_worker, use_device
from impasto.config import Config, Machine
from impasto.errors import ClusterError
from impasto.objective.frame import frame_of
from impasto.objective.objective import Loss, Objective
from impasto.objective.regions import Region
from impasto.objective.style_terms import STYLE_TERMS
from impasto.objective.tiles import Shard, Tile, sum_tiles
from impasto.painting.memory import Plan, free_memory, plan_for
from impasto.painting.problem import Problem

START_TIMEOUT = 120.0  # seconds that workers may take to start
MOST_LOSSES = 3  # of workers in one evaluation, after which it is given up
T = TypeVar("T")


class AllReduce:
    """An actor that adds up the sums of all workers in the order of the tiles."""

    def __init__(self, workers: int):
        self._workers = workers
        self._parts: dict[int, list[list[torch.Tensor]]] = {}
        self._total: asyncio.Future[list[torch.Tensor]] | None = None

    async def add(self, index: int, parts: list[list[torch.Tensor]]) -> list[torch.Tensor]:
        """Give the sums of worker `index`, tile by tile; returns the total once all have."""
        total = self._total = self._total or asyncio.get_running_loop().create_future()
        self._parts[index] = parts
        if len(self._parts) == self._workers:
            ordered = _in_turns([self._parts[worker] for worker in range(self._workers)])
            self._parts, self._total = {}, None
            total.set_result(sum_tiles(ordered))
        return await total


class RemoteTileWorker:
    """An actor that evaluates its part of a picture's tiles on one device."""

    def __init__(self, device: Device):
        use_device(device)

    def versions(self) -> str:
        """The versions that evaluate here."""
        return VERSIONS

    def load(self, config: Config, machine: Machine, weights: Weights) -> tuple[Method, str, int]:
        """Load the network; gives how it computes, its device and the bytes that are free there."""
        if machine.threads != "auto":
            torch.set_num_threads(machine.threads)
        self._backbone = load_backbone(config, machine, weights=weights)
        device = self._backbone.device
        return self._backbone.method, device.type, free_memory(device)

    def begin(
        self,
        index: int,
        of: int,
        reducer: Any,
        config: Config,
        content: torch.Tensor,
        regions: Sequence[Region],
        side: int | None,
        protect: torch.Tensor | None,
        finish: bool,
    ) -> list[Tile]:
        """Take on every `of`-th tile of a level's picture, from tile `index`; gives these tiles."""
        device = self._backbone.device

        def all_reduce(parts: Iterable[list[torch.Tensor]]) -> list[torch.Tensor]:
            if of == 1:
                return sum_tiles(parts)
            on_cpu = [[value.cpu() for value in part] for part in parts]
            return [value.to(device) for value in ray.get(reducer.add.remote(index, on_cpu))]

        def here(x: torch.Tensor | None) -> torch.Tensor | None:
            return None if x is None else x.to(device)

        regions = [
            region._replace(
                mask=here(region.mask),
                styles=[
                    each._replace(pixels=each.pixels.to(device), mask=here(each.mask))
                    for each in region.styles
                ],
            )
            for region in regions
        ]
        share = Shard(index, of, all_reduce)
        backbone = self._backbone.finisher if finish else self._backbone
        assert backbone is not None
        self._objective = Objective(
            config, backbone, content.to(device), regions, side, here(protect), share
        )
        return self._objective.tiles

    def evaluate(self, *crops: torch.Tensor) -> tuple[Loss, list[torch.Tensor]]:
        """The objective, and the gradient to the crop of each tile."""
        here = [crop.to(self._backbone.device) for crop in crops]
        value, parts = self._objective.evaluate_crops(here)
        gradients = [gradient.cpu() for gradient in parts]
        return value._replace(
            total=value.total.cpu(), term_values=value.term_values.cpu()
        ), gradients


class TileWorkers:
    """The workers that evaluate the tiles of one painting, one on every device of the cluster that
    has been joined.

    backbone: the network on this machine, that computes as the workers do. device: the type
    of theirs.
    """

    def __init__(self, config: Config, machine: Machine, weights: Weights):
        self._config, self._machine = config, machine
        self._weights, self._stored = weights, ray.put(weights)
        self.actors: list[Any] = []
        self.restart()

    def restart(self) -> None:
        """Start a worker on every device that there is now. Raises ClusterError if none starts."""
        self.close()
        devices = list_devices()
        actors = [start_worker(RemoteTileWorker, device) for device in devices]
        replies = [
            (actor.versions.remote(), actor.load.remote(self._config, self._machine, self._stored))
            for actor in actors
        ]
        why = "the cluster has no device to paint on"
        free = []
        deadline = time.monotonic() + START_TIMEOUT
        for device, actor, (versions, loaded) in zip(devices, actors, replies, strict=True):
            try:
                if (theirs := _get(versions, deadline)) != VERSIONS:
                    raise ClusterError(f"it has {theirs}, and this is {VERSIONS}")
                method, self.device, bytes_free = _get(loaded, deadline)
                self.actors.append(actor)
                free.append(bytes_free)
            except (ray.exceptions.RayError, ClusterError) as error:
                cause = getattr(error, "cause", None) or error
                why = f"{device.name} cannot be painted on: {' '.join(str(cause).split())}"
                ray.kill(actor)
        if not self.actors:
            raise ClusterError(why, [device.name for device in devices])
        self._free = min(free)
        # workers that are started later compute in the same way
        self._machine = self._machine.changed(
            precision=method.precision, convolution=method.convolution
        )
        config = self._config
        self.backbone = Backbone(
            self._weights,
            pooling=config.pooling,
            padding=config.padding,
            dtype=method.dtype,
            convolution=method.convolution,
        )

    def __str__(self) -> str:
        count = len(self.actors)
        return f"{count} device{'s' if count > 1 else ''} ({self.device})"

    def objective(
        self, config: Config, backbone: Backbone, *arguments: Any
    ) -> DistributedObjective:
        """Make the objective of a level as `Objective` does; workers have their own networks."""
        return DistributedObjective(self, config, backbone is self.backbone.finisher, *arguments)

    def plan_for(
        self, problem: Problem, config: Config, machine: Machine, backbone: Backbone
    ) -> Plan:
        """Plan a painting into the memory that is free here and on every device.

        There are as many tiles as workers if possible; no tile is smaller than its halo.
        """
        free = min(free_memory(backbone.device), self._free)
        plan = plan_for(problem, config, machine, backbone, free)
        if not STYLE_TERMS[config.style_term].tileable:
            return plan  # it needs the whole picture at once
        height, width = problem.levels[-1][:2]
        least = reach([*config.content_layers, *config.style_layers])
        side = plan.tile_size or max(height, width)
        while _tile_count(height, width, side) < len(self.actors) and side - STRIDE >= least:
            side -= STRIDE
        return plan._replace(tile_size=side if side < max(height, width) else None)

    def close(self) -> None:
        """Shut down all workers."""
        for actor in self.actors:
            ray.kill(actor)
        self.actors = []


class DistributedObjective:
    """An `Objective` whose tiles are evaluated by TileWorkers.

    A step sends the crop of every tile to its worker, and the gradient back. The sums that the
    terms are functions of (Gram matrices) are added up by the workers. The order of all sums is
    that of the tiles, as in `Objective`.
    """

    def __init__(
        self,
        workers: TileWorkers,
        config: Config,
        finish: bool,
        content: torch.Tensor,
        regions: Sequence[Region],
        side: int | None = None,
        protect: torch.Tensor | None = None,
    ):
        self._workers = workers
        self._given = [
            ray.put(value) for value in (config, content, regions, side, protect, finish)
        ]
        height, width = content.shape[2:]
        self._frame = frame_of(height, width, workers.backbone)
        self._count = 1 if side is None else _tile_count(height, width, side)
        self._reducer: Any = None
        self._actors: list[Any] = []  # those that have been given their tiles

    def _begin(self) -> None:
        """Deal out the tiles."""
        actors = self._workers.actors[: self._count]
        self._reducer = ray.remote(AllReduce).options(num_cpus=0).remote(len(actors))
        self._tiles: list[list[Tile]] = _get_all(
            [
                actor.begin.remote(index, len(actors), self._reducer, *self._given)
                for index, actor in enumerate(actors)
            ]
        )
        self._actors = actors

    def evaluate(self, pixels: torch.Tensor) -> tuple[Loss, torch.Tensor]:
        """The objective at `pixels` (1, 3, H, W), and its gradient of the same shape.

        If a worker is lost, the workers are started again and the evaluation is repeated.

        Raises:
            ClusterError: no worker is left, or some are lost again and again.
        """
        losses = 0
        while True:
            try:
                if not self._actors:
                    self._begin()
                return self._evaluate(pixels)
            except ray.exceptions.RayError as error:
                self._actors = []
                ray.kill(self._reducer)  # no worker has to wait for it
                losses += 1
                if losses == MOST_LOSSES:
                    raise ClusterError(
                        f"the cluster fails again and again: {' '.join(str(error).split())}"
                    ) from error
                self._workers.restart()

    def _evaluate(self, pixels: torch.Tensor) -> tuple[Loss, torch.Tensor]:
        framed, crop = self._frame.add(pixels), self._frame.crop
        replies = [
            actor.evaluate.remote(*(framed[(..., *crop(tile))].contiguous() for tile in tiles))
            for actor, tiles in zip(self._actors, self._tiles, strict=True)
        ]
        results = _get_all(replies)
        gradient = torch.zeros_like(framed)
        parts = _in_turns([gradients for _, gradients in results])
        for tile, part in zip(_in_turns(self._tiles), parts, strict=True):
            gradient[(..., *crop(tile))] += part
        return results[0][0], self._frame.fold(gradient)


def _tile_count(height: int, width: int, side: int) -> int:
    return math.ceil(height / side) * math.ceil(width / side)


def _get(reply: Any, deadline: float) -> Any:
    return ray.get(reply, timeout=max(1.0, deadline - time.monotonic()))


def _get_all(replies: list[Any]) -> list[Any]:
    """The values of all replies. Raises the first error at once: others may wait for it forever."""
    pending = list(replies)
    while pending:
        replied, pending = ray.wait(pending, num_returns=1)
        try:
            ray.get(replied)
        except ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, ray.exceptions.RayError):
                raise  # another worker was lost
            raise error.cause from None
    return list(ray.get(replies))


def _in_turns(of_workers: Sequence[Sequence[T]]) -> list[T]:
    """The items of all workers in the order of the tiles: the first of each, the second of each,
    ..."""
    turns = itertools.zip_longest(*of_workers)
    return [item for turn in turns for item in turn if item is not None]
