"""Limits of control groups, read from made-up trees: version 1 and 2, nested, mounted in part."""

import math
from pathlib import Path

import pytest

from impasto.cgroups import cpu_quota, free_memory

GB = 10**9
V2 = "31 23 0:28 / /sys/fs/cgroup rw,relatime - cgroup2 cgroup2 rw"
V1 = (
    "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
    "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory"
)


@pytest.fixture
def system(tmp_path: Path):
    """Makes the files of a system's control groups; gives its root."""

    def make(groups: str, mounts: str, files: dict[str, str]) -> Path:
        for name, text in {
            "proc/self/cgroup": groups,
            "proc/self/mountinfo": mounts,
            **{f"sys/fs/cgroup/{name}": text for name, text in files.items()},
        }.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text + "\n")
        return tmp_path

    return make


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({}, math.inf),
        ({"cpu.max": "max 100000"}, math.inf),
        ({"a/b/cpu.max": "100000 100000"}, 1),
        ({"a/cpu.max": "50000 100000", "a/b/cpu.max": "max 100000"}, 0.5),
        ({"a/cpu.max": "300000 100000", "a/b/cpu.max": "150000 100000"}, 1.5),
        ({"other/cpu.max": "100000 100000"}, math.inf),
        ({"a/b/cpu.max": "nonsense"}, math.inf),
    ],
)
def test_the_quota_of_version_2_is_the_least_on_the_way_up(system, files, quota) -> None:
    assert cpu_quota(system("0::/a/b", V2, files)) == quota


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({}, math.inf),
        ({"job": (-1, 100000)}, math.inf),
        ({"job": (100000, 100000)}, 1),
        ({"job": (-1, 100000), "": (250000, 100000)}, 2.5),
    ],
)
def test_the_quota_of_version_1(system, files, quota) -> None:
    texts = {}
    for name, (most, period) in files.items():
        texts[f"cpu,cpuacct/{name}/cpu.cfs_quota_us"] = str(most)
        texts[f"cpu,cpuacct/{name}/cpu.cfs_period_us"] = str(period)
    assert cpu_quota(system("4:memory:/x\n3:cpu,cpuacct:/job\n0::/", V1, texts)) == quota


@pytest.mark.parametrize(
    ("files", "free"),
    [
        ({}, math.inf),
        ({"memory.max": "max", "memory.current": "123"}, math.inf),
        ({"memory.max": f"{3 * GB}"}, math.inf),  # the root group has no memory.current
        ({"memory.max": "", "memory.current": ""}, math.inf),
        ({"memory.max": f"{3 * GB}", "memory.current": f"{GB}"}, 2 * GB),
        ({"memory.high": f"{3 * GB}", "memory.max": "max", "memory.current": f"{GB}"}, 2 * GB),
        ({"memory.max": "1000", "memory.current": "2000"}, 0),
        (
            {
                "memory.max": f"{3 * GB}",
                "memory.current": f"{GB}",
                "memory.stat": f"anon 1\ninactive_file {GB}\nactive_file 7",
            },
            3 * GB,
        ),
    ],
)
@pytest.mark.parametrize("folder", ["", "user.slice/", "user.slice/job.scope/"])
def test_memory_of_version_2_in_any_group_on_the_way_up(system, files, free, folder) -> None:
    named = {folder + name: text for name, text in files.items()}
    assert free_memory(system("0::/user.slice/job.scope", V2, named)) == free


def test_memory_of_version_1(system) -> None:
    """As SLURM nests them: a job's step in a job of a user."""
    files = {}
    for folder, limit, used in (
        ("", 2**63 - 4096, 9 * GB),
        ("slurm/uid_1/job_7", 4 * GB, 3 * GB),
        ("slurm/uid_1/job_7/step_0", 2**63 - 4096, GB),
    ):
        files[f"memory/{folder}/memory.limit_in_bytes"] = str(limit)
        files[f"memory/{folder}/memory.usage_in_bytes"] = str(used)
    files["memory/slurm/uid_1/job_7/memory.stat"] = "inactive_file 1\ntotal_inactive_file 500000000"
    groups = "4:memory:/slurm/uid_1/job_7/step_0\n0::/"
    assert free_memory(system(groups, V1, files)) == 1.5 * GB


def test_a_container_that_sees_its_own_part_of_the_tree_only(system) -> None:
    mount = "35 31 0:32 /docker/abc /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory"
    files = {"memory/memory.limit_in_bytes": "500", "memory/memory.usage_in_bytes": "100"}
    assert free_memory(system("4:memory:/docker/abc", mount, files)) == 400
    assert free_memory(system("4:memory:/../abc", mount, files)) == 400


def test_a_mount_with_a_space_in_its_name(system) -> None:
    mount = V2.replace("/sys/fs/cgroup ", "/sys/fs/cgroup/my\\040groups ")
    assert cpu_quota(system("0::/", mount, {"my groups/cpu.max": "100 100"})) == 1


def test_a_system_without_control_groups(tmp_path: Path) -> None:
    assert (cpu_quota(tmp_path), free_memory(tmp_path)) == (math.inf, math.inf)
