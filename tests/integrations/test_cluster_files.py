"""The KubeRay manifest and the SLURM script: commands that impasto knows, in scripts that run."""

import os
import shlex
import signal
import subprocess
import time
from pathlib import Path

import pytest
import yaml

from impasto.cli.main import cli

FOLDER = Path(__file__).parents[2] / "integrations" / "cluster"


def test_the_manifest_s_command_is_impasto_s_and_its_volume_is_the_head_s():
    job = yaml.safe_load((FOLDER / "rayjob.yaml").read_text())
    program, name, *words = shlex.split(job["spec"]["entrypoint"])
    assert program == "impasto"
    cli.get_command(None, name).make_context(name, words)
    cluster = job["spec"]["rayClusterSpec"]
    head = cluster["headGroupSpec"]["template"]["spec"]
    (worker,) = cluster["workerGroupSpecs"]
    workers = worker["template"]["spec"]
    assert head["containers"][0]["volumeMounts"][0]["name"] == head["volumes"][0]["name"]
    assert "volumes" not in workers
    assert head["containers"][0]["image"] == workers["containers"][0]["image"]  # one version
    limits = workers["containers"][0]["resources"]["limits"]
    assert limits["nvidia.com/gpu"] == 1
    assert worker["minReplicas"] <= worker["replicas"] <= worker["maxReplicas"]


PROGRAM = """#!/bin/bash
echo "$(basename "$0") $*" >> "$LOG"
case "$(basename "$0") $*" in
    "scontrol show"*) echo one; sleep 0.2; printf 'two\\nthree\\n' ;;
    "srun"*hostname*) echo 10.0.0.1 10.0.0.2 ;;
    "srun"*) sleep 30 ;;
    "impasto"*) trap 'echo saved >> "$LOG"; exit 130' TERM; touch "$LOG.began"
        for _ in $(seq 100); do [ -e "$LOG.done" ] && exit 3; sleep 0.1; done ;;
esac
"""


@pytest.fixture
def slurm(tmp_path):
    """Starts the script where SLURM's and Ray's programs only write down how they are called."""
    for name in ("scontrol", "srun", "ray", "impasto"):
        (tmp_path / name).write_text(PROGRAM)
        (tmp_path / name).chmod(0o755)
    log = tmp_path / "log"
    given = {"SLURM_JOB_NODELIST": "n[1-3]", "SLURM_JOB_ID": "12345", "SLURM_JOB_NUM_NODES": "3"}
    given |= {"SLURM_CPUS_PER_TASK": "8", "LOG": str(log)}
    given["PATH"] = f"{tmp_path}:{os.environ['PATH']}"
    command = ["bash", str(FOLDER / "batch.slurm"), "my photos", "styles", "out"]
    process = subprocess.Popen(command, env=given, start_new_session=True)
    began = tmp_path / "log.began"
    deadline = time.monotonic() + 60
    while not began.exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    yield process, log
    os.killpg(process.pid, signal.SIGKILL)


def test_the_slurm_script_makes_a_cluster_and_gives_the_batch_its_address(slurm):
    process, log = slurm
    (log.parent / "log.done").touch()
    assert process.wait(60) == 3  # the batch's own exit code
    text = log.read_text()
    assert "--nodelist=one ray start --head --block --node-ip-address=10.0.0.1 --port=32345" in text
    assert "--nodes=2 --ntasks=2 --exclude=one ray start --block --address=10.0.0.1:32345" in text
    (line,) = [line for line in text.splitlines() if line.startswith("impasto ")]
    assert line == (
        "impasto batch my photos --style styles -o out --engine ray --address 10.0.0.1:32345"
    )
    words = ["my photos", *shlex.split(line)[4:]]
    cli.get_command(None, "batch").make_context("batch", words)


def test_at_the_end_of_its_time_the_batch_is_ended_and_waited_for(slurm):
    process, log = slurm
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 130
    assert "saved" in log.read_text()
