"""Read the limits of the control groups that this process is in: containers, systemd, SLURM.

A limit of any group on the way from the process's own up to the root applies, in version 1 and 2
(https://docs.kernel.org/admin-guide/cgroup-v2.html, .../cgroup-v1/memory.html).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

__all__ = ["ROOT", "available_memory", "cpu_quota", "free_memory"]

ROOT = Path("/")
# limit, usage, and in memory.stat what of that the system frees on demand: version 2 and 1
MEMORY = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.high", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


def cpu_quota(root: Path = ROOT) -> float:
    """Return how many processors' time this process may take, or infinity without a limit.

    root: the root of the file system, for tests.
    """
    quotas = [math.inf]
    for folder in _folders("cpu", root):
        with suppress(OSError, ValueError):  # "max": no limit
            quota, period = map(int, (folder / "cpu.max").read_text().split())
            quotas.append(quota / period)
        with suppress(OSError, ValueError):
            names = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
            quota, period = (int((folder / name).read_text()) for name in names)
            quotas.append(quota / period if quota > 0 else math.inf)
    return min(quotas)


def available_memory() -> int:
    """Return the bytes that are free on this machine, and that this process may still take."""
    import psutil  # the command line imports this file before it knows what is asked for

    return int(min(psutil.virtual_memory().available, free_memory()))


def free_memory(root: Path = ROOT) -> float:
    """Return the bytes that this process may still take, or infinity without a limit.

    root: the root of the file system, for tests.
    """
    free = [math.inf]
    for folder in _folders("memory", root):
        for limit, usage, cache in MEMORY:
            with suppress(OSError, ValueError):  # "max": no limit
                most, used = (int((folder / name).read_text()) for name in (limit, usage))
                free.append(max(0, most - used + _statistic(folder, cache)))
    return min(free)


def _statistic(folder: Path, name: str) -> int:
    """Return a number of a group's memory.stat; 0 if there is none."""
    with suppress(OSError, ValueError):
        for line in (folder / "memory.stat").read_text().splitlines():
            key, _, value = line.partition(" ")
            if key == name:
                return int(value)
    return 0


def _folders(controller: str, root: Path) -> Iterator[Path]:
    """Yield the folders of this process's groups, from the top that is mounted down to its own.

    Both versions may be in use side by side; a controller is in one of them.
    """
    groups = _groups(controller, root)
    for line in _lines(root / "proc/self/mountinfo"):
        mount, _, system = line.partition(" - ")
        kind, _, options = [*system.split(" "), "", "", ""][:3]
        if kind not in groups or (kind == "cgroup" and controller not in options.split(",")):
            continue
        inside, place = (_unescaped(field) for field in mount.split(" ")[3:5])
        top = root / place.lstrip("/")
        yield top
        own = Path(groups[kind])
        # of a tree that is mounted in part, only the groups below that part are visible
        if Path(inside) in own.parents and ".." not in own.parts:
            folder = top
            for name in own.relative_to(inside).parts:
                folder /= name
                yield folder


def _groups(controller: str, root: Path) -> dict[str, str]:
    """Return the path of this process's group by the kind of file system: cgroup, cgroup2."""
    groups = {}
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if not controllers:
            groups["cgroup2"] = path
        elif controller in controllers.split(","):
            groups["cgroup"] = path
    return groups


def _lines(path: Path) -> list[str]:
    """Return the lines of a file; none if there is no such file, as on macOS and Windows."""
    with suppress(OSError):
        return path.read_text(errors="surrogateescape").splitlines()
    return []


def _unescaped(field: str) -> str:
    r"""Return a path of mountinfo, which has a space as \040."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), field)
