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

from impasto.errors import ClusterError, reason, use_option_names
from impasto.process import SPIN, processors
from impasto.version import __version__

VERSIONS = f"impasto {__version__} with torch {torch.__version__}"


class Device(NamedTuple):
    """A device of the cluster: a GPU, or all processors of a machine. name: for messages."""

    name: str
    node: str
    processors: int
    gpus: int


@contextmanager
def connected(address: str | None) -> Iterator[None]:
    """Join the cluster at an address, or start one on this machine. Raises ClusterError."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray would report the use of it
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
        except Exception as error:  # there is no list of what it raises
            where = address or "on this machine"
            raise ClusterError(
                f"no Ray cluster {where}: {' '.join(str(error).split())}", address
            ) from error
    try:
        yield
    finally:
        if ours:
            with _signals_ignored():  # a second Ctrl-C meanwhile would end this process
                ray.shutdown()


@contextmanager
def _for_this_machine_only() -> Iterator[None]:
    """Have a cluster that is started meanwhile listen on the loopback address only.

    Ray does so on macOS and Windows. It has no option for it: given 127.0.0.1 it takes an address
    of the network.
    """
    before, ray_constants.ENABLE_RAY_CLUSTER = ray_constants.ENABLE_RAY_CLUSTER, False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


@contextmanager
def _signals_ignored() -> Iterator[None]:
    """Ignore Ctrl-C and SIGTERM until the `with` ends."""
    if threading.current_thread() is not threading.main_thread():  # others get no signals
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
    """Check that a server listens there: Ray would wait for 15 minutes. Raises ClusterError."""
    found = re.fullmatch(r"(?:ray://)?([^:/]+):(\d{1,5})", address or "")
    if found is None:
        return
    try:
        socket.create_connection((found[1], int(found[2])), 5).close()
    except (OSError, OverflowError) as error:
        raise ClusterError(f"no Ray cluster at {address}: {reason(error)}", address) from error


def list_devices() -> list[Device]:
    """The devices of the cluster now: its GPUs, or its machines if there is no GPU.

    Raises:
        ClusterError: the cluster does not answer.
    """
    try:
        nodes = [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    except Exception as error:
        raise ClusterError(
            f"the Ray cluster does not answer: {' '.join(str(error).split())}"
        ) from error
    devices = []
    for node in nodes:
        processors, gpus = (int(node["Resources"].get(name, 0)) for name in ("CPU", "GPU"))
        host = f"{node['NodeManagerHostname']}-{node['NodeID'][:4]}"
        devices += [
            Device(f"{host}/gpu{k}", node["NodeID"], processors // gpus, 1) for k in range(gpus)
        ]
        if not gpus and processors:
            devices.append(Device(host, node["NodeID"], processors, 0))
    return [device for device in devices if device.gpus] or devices


def start_worker(kind: type, device: Device) -> Any:
    """Start an actor on a device: `kind(device)`. It is up when its first reply comes."""
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
    """Limit this worker to its device's resources, and to those that its own process may use.

    Its messages are read on the command line.
    """
    use_option_names()
    if not device.gpus:
        torch.set_num_threads(min(device.processors, processors()))
