"""How many threads: the least of cores, affinity and quota."""

import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from impasto import cgroups
from impasto.process import SPIN, prepare_process, processors


def with_quota(root: Path, quota: int) -> Path:
    (root / "proc/self").mkdir(parents=True)
    (root / "groups").mkdir()
    (root / "proc/self/cgroup").write_text("0::/\n")
    (root / "proc/self/mountinfo").write_text("1 2 0:1 / /groups rw - cgroup2 cgroup2 rw\n")
    (root / "groups/cpu.max").write_text(f"{quota} 100000\n")
    return root


@pytest.fixture
def eight(monkeypatch):
    """A machine with eight processors, all of them this process's."""
    monkeypatch.setattr(psutil, "cpu_count", lambda logical=True: 8)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)


@pytest.mark.parametrize(
    ("quota", "count"), [(100_000, 1), (20_000, 1), (150_000, 2), (200_000, 2), (900_000, 8)]
)
def test_a_quota_of_one_processor_gives_one_thread(eight, tmp_path, quota, count) -> None:
    assert processors(with_quota(tmp_path, quota)) == count


def test_an_affinity_of_one_gives_one_thread(eight, tmp_path, monkeypatch) -> None:
    assert processors(tmp_path) == 8
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3})
    assert processors(tmp_path) == 1


def test_cores_that_two_threads_share_count_once(eight, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(psutil, "cpu_count", lambda logical=True: 8 if logical else 4)
    assert processors(tmp_path) == 4


def test_a_system_without_affinity(eight, tmp_path, monkeypatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    assert processors(tmp_path) == 8


@pytest.fixture
def bare(eight, monkeypatch):
    """An environment without any of the variables."""
    for name in (*SPIN, "OMP_WAIT_POLICY", "OMP_NUM_THREADS"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


def environment() -> dict[str, str]:
    prepare_process()
    names = (*SPIN, "OMP_NUM_THREADS")
    return {name: os.environ[name] for name in names if name in os.environ}


def test_the_environment_limits_every_library_to_the_quota(bare, monkeypatch) -> None:
    monkeypatch.setattr(cgroups, "cpu_quota", lambda *_: 1.5)
    assert environment() == {**SPIN, "OMP_NUM_THREADS": "2"}


def test_without_a_limit_torch_chooses(bare, monkeypatch) -> None:
    monkeypatch.setattr(cgroups, "cpu_quota", lambda *_: float("inf"))
    assert environment() == SPIN


def test_what_the_environment_says_is_kept(bare, monkeypatch) -> None:
    monkeypatch.setattr(cgroups, "cpu_quota", lambda *_: 1)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    assert environment() == {"OMP_NUM_THREADS": "3"}


REAL = """
import os, sys
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from impasto.process import prepare_process
prepare_process()
assert "torch" not in sys.modules
import torch
print(torch.get_num_threads())
"""


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity here")
def test_torch_keeps_to_an_affinity_of_one() -> None:
    names = (*SPIN, "OMP_NUM_THREADS")
    bare = {name: value for name, value in os.environ.items() if name not in names}
    done = subprocess.run(
        [sys.executable, "-c", REAL], capture_output=True, text=True, check=True, env=bare
    )
    assert done.stdout == "1\n"


# --- the option
# --------------------------------------------------------------------------------------------------


@pytest.fixture
def counts(monkeypatch):
    """The numbers of threads that torch is set to; they are not."""
    found: list[int] = []
    monkeypatch.setattr("torch.set_num_threads", found.append)
    return found


def test_the_option_and_the_record(painted, impasto, counts) -> None:
    assert painted("--threads", "1")[0] == 0
    assert 1 in counts
    code, out, _ = impasto("show", "out.png", "--json")
    record = json.loads(out)
    assert (code, record["machine"]["threads"], record["threads"]) == (0, 1, 1)
    assert painted("--threads", "5")[0] == 0
    assert 5 in counts


@pytest.mark.parametrize("value", ["0", "two", "-1", "1025"])
def test_threads_that_there_are_not(refused, photo, style, value) -> None:
    line = refused("paint", photo, style, f"--threads={value}")
    assert "--threads is" in line
    assert "from 1 to 1,024, or auto" in line
