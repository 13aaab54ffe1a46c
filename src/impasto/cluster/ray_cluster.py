"""A Ray cluster: connecting to it, its devices, and starting a worker on one."""

from __future__ import annotations

import logging
import os
import re
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

import ray
import torch
from ray._private import ray_constants
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from impasto.errors import ClusterError, reason
from impasto.threads import SPIN
from impasto.version import __version__

__all__ = ["VERSIONS", "Device", "connected", "list_devices", "start_worker", "use_device"]

VERSIONS = f"impasto {__version__} with torch {torch.__version__}"


class Device(NamedTuple):
    """A device of the cluster: a GPU, or all of a machine's processors. name: as people see it."""

    name: str
    node: str
    processors: int
    gpus: int


@contextmanager
def connected(address: str | None) -> Iterator[None]:
    """Have Ray here: a cluster's, or without an address one of this machine alone. Raises
    ClusterError."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # who paints is nobody's business
    ours = not ray.is_initialized()
    if ours:
        _check_answers(address)
        try:
            with nullcontext() if address else _for_this_machine_only():
                ray.init(
                    address=address or "local",
                    include_dashboard=None if address else False,
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                )
        except Exception as error:  # it raises whatever it likes
            where = address or "on this machine"
            raise ClusterError(
                f"no Ray cluster {where}: {' '.join(str(error).split())}", address
            ) from error
    try:
        yield
    finally:
        if ours:
            # a second Ctrl-C in the midst of it would end this process without a word
            with _undisturbed():
                ray.shutdown()


@contextmanager
def _for_this_machine_only() -> Iterator[None]:
    """Have a cluster that is started meanwhile listen on the loopback address only.

    Ray does so on macOS and Windows, and has no option for it: an address of 127.0.0.1 is replaced
    by one of the network.
    """
    before, ray_constants.ENABLE_RAY_CLUSTER = ray_constants.ENABLE_RAY_CLUSTER, False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Signals that come meanwhile are not heard."""
    if threading.current_thread() is not threading.main_thread():  # others get none
        yield
        return
    before = {
        number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _check_answers(address: str | None) -> None:
    """Whether somebody listens there: Ray would wait for a quarter of an hour. Raises
    ClusterError."""
    found = re.fullmatch(r"(?:ray://)?([^:/]+):(\d{1,5})", address or "")
    if found is None:
        return
    try:
        socket.create_connection((found[1], int(found[2])), 5).close()
    except (OSError, OverflowError) as error:
        raise ClusterError(f"no Ray cluster at {address}: {reason(error)}", address) from error


def list_devices() -> list[Device]:
    """The devices of the cluster as it is now: its GPUs, or where there is none its machines.
    Raises ClusterError."""
    try:
        nodes = [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    except Exception as error:
        raise ClusterError(
            f"the Ray cluster does not answer: {' '.join(str(error).split())}"
        ) from error
    found = []
    for node in nodes:
        processors, gpus = (int(node["Resources"].get(name, 0)) for name in ("CPU", "GPU"))
        host = f"{node['NodeManagerHostname']}-{node['NodeID'][:4]}"
        found += [
            Device(f"{host}/gpu{k}", node["NodeID"], processors // gpus, 1) for k in range(gpus)
        ]
        if not gpus and processors:
            found.append(Device(host, node["NodeID"], processors, 0))
    on_gpus = [device for device in found if device.gpus]
    return on_gpus or found


def start_worker(kind: type, device: Device) -> Any:
    """An actor of a class at a place; it is there when its first answer comes."""
    there = NodeAffinitySchedulingStrategy(device.node, soft=False)
    # read when torch is imported there
    spin = {name: os.environ.get(name, value) for name, value in SPIN.items()}
    options = {
        "num_cpus": device.processors,
        "num_gpus": device.gpus,
        "scheduling_strategy": there,
        "runtime_env": {"env_vars": spin},
    }
    return ray.remote(kind).options(**options).remote(device)


def use_device(device: Device) -> None:
    """Limit this worker to its device's resources."""
    if not device.gpus:
        torch.set_num_threads(device.processors)
