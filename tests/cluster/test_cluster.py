"""A Ray cluster of two nodes on this machine: paintings and tiles on it, and whatever dies
there."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import ray
import torch
from PIL import Image
from ray.cluster_utils import Cluster

from impasto import Config, Machine
from impasto.backbone.load import load_backbone
from impasto.batch import scheduler as batch_scheduler
from impasto.batch.executor import WorkerUpdate
from impasto.batch.scheduler import Scheduler
from impasto.cluster import distributed, ray_cluster, ray_executor
from impasto.cluster.distributed import TileWorkers
from impasto.cluster.ray_cluster import connected, start_worker
from impasto.config import changed_by
from impasto.errors import ConfigError
from impasto.extras import needs_extra
from impasto.images.read import read, resize
from impasto.locking import exclusive_lock, own_folder
from impasto.objective.objective import Objective
from impasto.objective.tiles import Shard, sum_tiles
from impasto.painting.problem import regions_at
from impasto.painting.run import Run

NODE = {"num_cpus": 1, "object_store_memory": 80 << 20, "include_dashboard": False}
STEPS = 12


@pytest.fixture(scope="module")
def cluster():
    """Two machines of one processor each; nothing of them is left."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        found = Cluster(initialize_head=True, head_node_args=NODE)
        found.add_node(**NODE)
        processes = psutil.Process().children(recursive=True)
        yield found
        found.shutdown()
        _, left = psutil.wait_procs(processes, 10)
        assert not left


class Watched:
    """What the driver sees of a batch: every step that is told, and how much is given out."""

    def __init__(self):
        self.steps = {}  # of each picture, as they are told
        self.most = 0
        self.then = lambda worker, pid, steps: None

    def collect(self, update):
        for pid, steps in map(json.loads, update.notes if update.worker else ()):
            for key, number in steps.items():
                self.steps.setdefault(key, []).append(number)
            self.then(update.worker, pid, steps)
        update.notes = []


@pytest.fixture
def watched(monkeypatch):
    """Workers that send a checkpoint of every step, and tell of it; they share no disk."""
    seen = Watched()
    collect, next_assignment = Scheduler.collect, Scheduler.next_assignment

    def collected(self, update):
        seen.collect(update)
        collect(self, update)

    def assigned(self, worker):
        assignment = next_assignment(self, worker)
        seen.most = max(seen.most, sum(len(tasks) for tasks in self._in_progress.values()))
        return assignment

    monkeypatch.setattr(Scheduler, "collect", collected)
    monkeypatch.setattr(Scheduler, "next_assignment", assigned)
    monkeypatch.setattr(batch_scheduler, "MOST_AT_ONCE", 1)
    monkeypatch.setattr(ray_executor, "CHECK_EVERY", 0.3)
    use_workers(monkeypatch, worker_that())
    return seen


def use_workers(monkeypatch, kind):
    monkeypatch.setattr(ray_executor, "start_worker", lambda _, device: start_worker(kind, device))


def worker_that(on_begin=None, on_advance=None, versions=None):
    """A class of workers, which is sent to them with the functions. on_advance: before every
    advance."""

    class Told(ray_executor.RemoteWorker):
        def __init__(self, device):
            from impasto.painting import checkpoint

            super().__init__(device)
            checkpoint.SOONEST, checkpoint.COST, ray_executor.UPDATE_EVERY = 0.0, 1e9, 0.0
            self.device = device
            os.chdir("/")

        def versions(self):
            return (versions(self) if versions else "") or super().versions()

        def begin(self, tasks, *more):
            if on_begin:
                on_begin(self, tasks)
            return super().begin(tasks, *more)

        def advance(self):
            if on_advance:
                on_advance(self)
            update = super().advance()
            steps = {task.content.name: step.number for _, task, step in self._worker._current}
            update.notes.append(json.dumps([os.getpid(), steps]))
            return update

    return Told


@pytest.fixture
def batch(impasto, tiny_weights, style, tmp_path, cluster):
    """Runs a batch of all pictures in photos/; every path is of the current folder only."""
    (tmp_path / "photos").mkdir()
    shutil.copy(tiny_weights, tmp_path / "net.safetensors")
    shutil.copy(style, tmp_path / "style.png")
    options = (
        f"--backbone net.safetensors --size 64 --steps {STEPS} --levels 2 --device cpu "
        "--precision float32"
    ).split()

    def run(count, out, *more, engine="ray", steps=STEPS):
        for k in range(count):
            pixels = np.random.default_rng(k).integers(0, 256, (40, 48, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / f"{k}.png")
        where = ["--engine", "ray", "--address", cluster.address] if engine == "ray" else []
        given = [
            "batch",
            "photos",
            "--style",
            "style.png",
            "-o",
            out,
            *options,
            "--steps",
            steps,
            *where,
            *more,
        ]
        return impasto(*given, "--protect", "photos/0.png")

    return run


def manifest(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]


def pictures(folder: Path) -> dict[str, str]:
    found = sorted(path for path in folder.glob("*.png") if not path.name.startswith("contact"))
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def all_once(folder: Path, count: int) -> bool:
    records = manifest(folder)
    outs = Counter(record["out"] for record in records if record["state"] == "done")
    return len(records) == len(outs) == count and set(outs) == set(pictures(folder))


def same_as_here(batch, folder: Path, count: int, **more) -> bool:
    assert batch(count, "here", engine="local", **more)[0] == 0
    return pictures(folder) == pictures(folder.parent / "here")


# --- many pictures
# -------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_work_is_pulled_and_ends_with_the_bytes_that_it_has_here(
    batch, cluster, watched, monkeypatch, tmp_path
):
    slow = cluster.head_node.node_id

    def hold_up(self):
        time.sleep(0.2 if self.device.node == slow else 0)

    use_workers(monkeypatch, worker_that(on_advance=hold_up))
    code, _, err = batch(9, "there")
    assert (code, err.count("failed")) == (0, 0), err
    assert all_once(tmp_path / "there", 9)
    assert same_as_here(batch, tmp_path / "there", 9)
    by = Counter(record["worker"] for record in manifest(tmp_path / "there"))
    assert len(by) == 2, "both have painted"
    assert by.most_common()[0][1] >= 6, "and the slow one held nobody up"
    assert watched.most == 2, "never more given out than there are devices"


@pytest.mark.slow
def test_the_task_of_a_lost_worker_is_resumed_elsewhere_from_its_checkpoint(
    batch, cluster, watched, tmp_path
):
    third = cluster.add_node(**NODE)
    done = {}

    def kill(worker, pid, steps):
        there = worker.endswith(third.node_id[:4])
        if 4 in steps.values() and there not in done:
            done[there] = next(iter(steps))
            if there:
                cluster.remove_node(third, allow_graceful=False)
            else:
                os.kill(pid, signal.SIGKILL)

    watched.then = kill
    code, _, err = batch(6, "there")
    assert code == 0, err
    assert len(done) == 2
    assert all_once(tmp_path / "there", 6)
    assert same_as_here(batch, tmp_path / "there", 6)
    for name in done.values():
        assert watched.steps[name] == list(range(1, STEPS)), (
            "no step that was told of is made again; the last one comes with the painting"
        )


@pytest.mark.slow
def test_a_task_that_kills_its_workers_is_given_up_and_the_others_are_painted(
    batch, cluster, watched, monkeypatch, tmp_path
):
    head = cluster.head_node.node_id

    def die(self, tasks):
        if "1.png" in tasks[0].content.name:
            os._exit(1)

    use_workers(
        monkeypatch,
        worker_that(die, versions=lambda self: "another" if self.device.node == head else ""),
    )
    code, _, err = batch(3, "there", "--quiet")
    assert code == 3
    assert err.count("\n") == 1
    assert "photos/1.png in the style of style.png: 3 workers died over it" in err
    records = manifest(tmp_path / "there")
    assert Counter(record["state"] for record in records) == {"done": 2, "failed": 1}
    assert not any(head[:4] in record.get("worker", "") for record in records), (
        "where versions differ nobody paints"
    )


@pytest.mark.slow
def test_a_faulty_machine_fails_no_painting(batch, cluster, watched, monkeypatch, tmp_path):
    head = cluster.head_node.node_id

    def sicken(self, tasks):
        def sick(_):
            raise RuntimeError("CUDA error: an illegal instruction was encountered")

        if self.device.node == head:
            self._worker._backbone = sick

    use_workers(monkeypatch, worker_that(sicken))
    assert batch(4, "there", steps=60)[0] == 0
    assert all_once(tmp_path / "there", 4)
    assert not any(head[:4] in record["worker"] for record in manifest(tmp_path / "there"))


@pytest.mark.slow
def test_pictures_that_are_faulty_themselves_do_not_end_a_batch(
    batch, cluster, watched, monkeypatch, tmp_path
):
    head = cluster.head_node.node_id

    def faulty(self, tasks):
        def fault(*_):
            raise RuntimeError("an impossible thing")

        if "0.png" in tasks[0].content.name:
            self._worker._backbone = fault

    monkeypatch.setattr(ray_executor, "MOST_LOSSES", 2)
    use_workers(
        monkeypatch,
        worker_that(faulty, versions=lambda self: "another" if self.device.node == head else ""),
    )
    code, _, err = batch(2, "there", "--quiet", steps=3)
    assert (code, err.count("an impossible thing")) == (3, 1)
    assert Counter(record["state"] for record in manifest(tmp_path / "there")) == {
        "done": 1,
        "failed": 1,
    }


@pytest.mark.slow
def test_a_signal_keeps_all_and_a_later_call_goes_on_there_or_here(
    batch, impasto, watched, tmp_path
):
    stops = [(signal.SIGTERM, 3), (signal.SIGINT, 9)]  # and the steps at which

    def stop(worker, pid, steps):
        if stops and stops[0][1] in steps.values():
            os.kill(os.getpid(), stops.pop(0)[0])

    watched.then = stop
    for again in (False, True):
        code, _, err = impasto("resume", "there") if again else batch(3, "there")
        assert code == 130
        assert err.endswith("continues it\n")
    done = (
        len(manifest(tmp_path / "there")) if (tmp_path / "there" / "manifest.jsonl").exists() else 0
    )
    assert done < 3
    told = [len(steps) for steps in watched.steps.values()]
    assert all(steps == list(range(1, len(steps) + 1)) for steps in watched.steps.values())
    evaluated, evaluate = [], Objective.evaluate
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            Objective, "evaluate", lambda self, x: evaluated.append(1) or evaluate(self, x)
        )
        assert batch(3, "there", engine="local")[0] == 0
    assert len(evaluated) == 3 * STEPS - sum(told)
    assert all_once(tmp_path / "there", 3)
    assert same_as_here(batch, tmp_path / "there", 3)


@pytest.mark.slow
def test_a_worker_that_cannot_begin_loses_nothing(batch, watched, monkeypatch, tmp_path):
    def full(self, tasks):
        if "1.png" in tasks[0].content.name:
            raise OSError(28, "No space left on device")

    use_workers(monkeypatch, worker_that(full))
    assert batch(3, "there", steps=1)[0] == 3
    assert Counter(record["state"] for record in manifest(tmp_path / "there")) == {
        "done": 2,
        "failed": 1,
    }


def test_nothing_is_left_on_the_workers(batch, watched, tmp_path):
    before = set(Path("/tmp").glob("impasto-worker-*/*"))
    assert batch(2, "there", steps=3)[0] == 0
    left = set(Path("/tmp").glob("impasto-worker-*/*")) - before
    for path in left:
        shutil.rmtree(path.parent, ignore_errors=True)
    assert not left


def test_what_killed_workers_have_left_is_removed(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    dead, alive = (tmp_path / f"{ray_executor.FOLDER}{name}" for name in ("dead", "alive"))
    for folder in (dead, alive):
        (folder / "key").mkdir(parents=True)
    with exclusive_lock(alive), own_folder(ray_executor.FOLDER) as new:
        assert set(tmp_path.iterdir()) == {alive, new}
    assert set(tmp_path.iterdir()) == {alive}


@pytest.mark.slow
def test_where_all_versions_differ_it_is_said_in_one_line(batch, watched, monkeypatch):
    use_workers(monkeypatch, worker_that(versions=lambda self: "impasto 9"))
    code, out, err = batch(1, "there", "--quiet")
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert "it has impasto 9, and this is impasto 0." in err


# --- without a cluster
# ---------------------------------------------------------------------------------------------


def test_ctrl_c_while_the_last_update_of_an_assignment_is_on_its_way(monkeypatch):
    """Both that update and the reply to the request for checkpoints are given."""
    replies = {"advance": WorkerUpdate(idle=True), "checkpoint": WorkerUpdate()}
    monkeypatch.setattr(ray, "get", lambda reply, timeout: replies[reply])
    actor = SimpleNamespace(checkpoint=SimpleNamespace(remote=lambda: "checkpoint"))
    executor = ray_executor.RayExecutor(print)
    executor._handles["there"] = ray_executor.WorkerHandle(actor, "advance", ready=True)
    updates = executor.checkpoint()
    assert [(update.worker, update.idle) for update in updates] == [
        ("there", True),
        ("there", False),
    ]


def test_ctrl_c_does_not_disturb_the_leaving_of_a_cluster():
    before, left = signal.getsignal(signal.SIGINT), []
    with ray_cluster._signals_ignored():
        os.kill(os.getpid(), signal.SIGINT)
        left.append("without a KeyboardInterrupt")
    assert left
    assert signal.getsignal(signal.SIGINT) is before


def test_a_missing_cluster_is_reported_at_once(tmp_path, photo, style, tiny):
    command = [
        sys.executable,
        "-m",
        "impasto",
        "batch",
        photo,
        "--style",
        style,
        "-o",
        "out",
        *tiny,
        "--quiet",
    ]
    found = [*map(str, command), "--engine", "ray", "--address", "127.0.0.1:1"]
    # Ray alone would try again for a minute and more; loading it takes seconds on a busy machine
    done = subprocess.run(
        found, cwd=tmp_path, check=False, capture_output=True, text=True, timeout=40
    )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "no Ray cluster at 127.0.0.1:1" in done.stderr


@pytest.mark.parametrize("command", ["batch", "paint"])
def test_an_address_is_of_a_cluster(refused, photo, style, tiny, command):
    given = [
        command,
        photo,
        *(["--style", style, "-o", "out"] if command == "batch" else [style]),
        *tiny,
    ]
    assert "give --engine ray with it" in refused(*given, "--address", "10.0.0.1:6379")


@pytest.mark.parametrize("command", ["batch", "paint"])
def test_without_ray_it_is_said_what_to_install(impasto, photo, style, tiny, command, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    for name in ("", ".ray_cluster", ".ray_executor", ".distributed"):
        monkeypatch.delitem(sys.modules, f"impasto.cluster{name}", raising=False)
    given = [
        command,
        photo,
        *(["--style", style, "-o", "out"] if command == "batch" else [style]),
        *tiny,
        "--quiet",
    ]
    code, out, err = impasto(*given, "--engine", "ray")
    assert (code, out) == (2, "")
    assert err == f"impasto: {needs_extra('--engine ray', 'cluster')}\n"


# --- one picture over several
# --------------------------------------------------------------------------------------

TILES = {
    "size": 160,
    "tile": 88,
    "steps": 50,
    "levels": 1,
    "device": "cpu",
    "precision": "float32",
    "grain_weight": 1,
}

# what does not make much of rounding
CALM = {"optimizer": "adam", "learning_rate": 0.002, "start": "noise"}


@pytest.fixture
def poster(tiny_weights, photo, style, tmp_path):
    """Problem, config, backbone and plan of a picture in tiles: plainly, or with all that there
    is."""
    across = np.tile(np.linspace(0, 255, 48, dtype=np.uint8), (40, 1))
    left, right = tmp_path / "left.png", tmp_path / "right.png"
    Image.fromarray(across).save(left)
    Image.fromarray(255 - across).save(right)
    kinds = {
        "plain": {},
        "all": {
            "mask": [f"{left}={photo}={right}"],
            "protect": str(right),
            "tv_weight": 0.3,
            "edge_weight": 1.0,
        },
        "neighbors": {"style_term": "neighbors", "mask": [f"{left}={photo}"]},
        "wasserstein": {"style_term": "wasserstein", "normalize": "none"},
    }

    def make(kind="plain", **changes):
        of = {"backbone": str(tiny_weights), **TILES, **kinds[kind], **changes}
        return Run.prepare(photo, style, *changed_by(of, Config()))

    return make


def painted_by(run: Run, make_evaluator=Objective, on_step=None) -> torch.Tensor:
    return replace(run, make_evaluator=make_evaluator).paint(on_step).pixels


def apart(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).norm() / b.norm())


@pytest.mark.parametrize("kind", ["plain", "all", "neighbors", "wasserstein"])
def test_shares_of_the_tiles_add_up_to_the_objective(poster, kind):
    run = poster(kind)
    problem, config, backbone, plan = run.problem, run.config, run.backbone, run.plan
    level = problem.levels[-1]
    content = resize(problem.content.pixels, level.height, level.width)
    protect = (
        None if problem.protect is None else resize(problem.protect, level.height, level.width)
    )
    given = (config, backbone, content, regions_at(problem, level, config), plan.tile_size, protect)
    x = torch.rand(content.shape, generator=torch.Generator().manual_seed(1))
    value, gradient = Objective(*given).evaluate(x)
    for count in (1, 2, 3):
        # it breaks if one calls oftener
        parts, barrier = [None] * count, threading.Barrier(count, timeout=20)

        def evaluate(k, parts=parts, barrier=barrier, count=count):
            def all_reduce(own):
                parts[k] = list(own)
                barrier.wait()
                total = sum_tiles(distributed._in_turns(parts))
                barrier.wait()
                return total

            return Objective(*given, Shard(k, count, all_reduce)).evaluate(x)

        with ThreadPoolExecutor(count) as threads:
            found = list(threads.map(evaluate, range(count)))
        for theirs, _ in found:
            assert torch.equal(theirs.term_values, value.term_values)
        assert apart(sum(part for _, part in found), gradient) < 1e-5


@pytest.mark.slow
def test_a_painting_on_the_cluster_is_resumed(
    impasto, photo, style, tiny, cluster, tmp_path, monkeypatch
):
    evaluate, made = distributed.DistributedObjective.evaluate, []

    def pressed(self, x):
        made.append(1)
        if len(made) == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        return evaluate(self, x)

    monkeypatch.setattr(distributed.DistributedObjective, "evaluate", pressed)
    given = [
        "paint",
        photo,
        style,
        *tiny,
        "--size",
        160,
        "--tile",
        88,
        "--steps",
        9,
        *["--optimizer", "adam", "--learning-rate", "0.002"],
    ]
    code, out, _ = impasto(
        *given,
        "-o",
        "out.png",
        "--checkpoint",
        "kept",
        "--engine",
        "ray",
        "--address",
        cluster.address,
    )
    assert code == 0
    assert "stopped by hand: 4 of 9 steps" in out
    code, _, err = impasto("resume", "kept")
    assert code == 0
    assert "resuming after step 4" in err
    assert len(made) == 9
    impasto(*given, "-o", "here.png")
    assert apart(read(tmp_path / "out.png").pixels, read(tmp_path / "here.png").pixels) < 1e-3


@pytest.fixture(scope="module")
def workers(cluster, tiny_weights):
    """The workers of tiles, for all tests from here on: they hold both devices."""
    of = changed_by({"backbone": str(tiny_weights), **TILES}, Config())
    weights = load_backbone(*of).weights
    with connected(cluster.address), closing(TileWorkers(*of, weights)) as made:
        yield made


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["all", "plain", "neighbors"])
def test_remote_tiles_make_the_picture_of_one_process(poster, workers, kind):
    assert str(workers) == "2 devices (cpu)"
    assert poster(kind).plan.tile_size == 88
    there = painted_by(poster(kind, **CALM), make_evaluator=workers.objective)
    assert apart(there, painted_by(poster(kind, **CALM, tile=160))) < 1e-3, "as in one piece"


def test_remote_tiles_make_the_picture_of_local_tiles_to_the_last_bit(poster, workers):
    assert torch.equal(painted_by(poster(), make_evaluator=workers.objective), painted_by(poster()))


def test_too_little_memory_on_a_worker_is_reported_as_on_this_machine(poster, workers, monkeypatch):
    monkeypatch.setattr(workers, "_free", 100_000)
    run = poster()
    with pytest.raises(ConfigError, match=r"^100kB of free memory is too little to paint"):
        workers.plan_for(run.problem, run.config, Machine(), run.backbone)


def test_what_needs_the_whole_picture_is_refused(poster, workers):
    run = poster(style_term="sliced", tile=160)
    with pytest.raises(
        ConfigError, match=r"\A--style-term sliced needs the whole picture at once.*\Z"
    ):
        painted_by(replace(run, plan=poster().plan), make_evaluator=workers.objective)


@pytest.mark.slow
def test_a_worker_may_die_in_the_midst(poster, workers):
    before = list(workers.actors)

    def kill(step):
        if step.number == 20:
            os.kill(
                ray.get(workers.actors[1].__ray_call__.remote(lambda _: os.getpid())),
                signal.SIGKILL,
            )

    there = painted_by(poster(**CALM), make_evaluator=workers.objective, on_step=kill)
    assert apart(there, painted_by(poster(**CALM))) < 1e-3
    assert len(workers.actors) == 2
    assert not set(before) & set(workers.actors)


@pytest.mark.slow
def test_a_worker_may_die_between_two_levels(poster, workers):
    def kill(step):
        if step.number == 2:
            ray.kill(workers.actors[1])

    run = poster(levels=2, steps=4)
    assert (
        apart(painted_by(run, make_evaluator=workers.objective, on_step=kill), painted_by(run))
        < 1e-3
    )


LISTENING = """
import json, psutil, ray
from impasto.cluster.ray_cluster import connected, list_devices, start_worker

class Worker:
    def __init__(self, device): pass
    def there(self): return True

with connected(None):
    assert ray.get(start_worker(Worker, list_devices()[0]).there.remote(), timeout=60)
    here = psutil.Process()
    found = {}
    for each in [here, *here.children(recursive=True)]:
        for line in each.net_connections("inet"):
            if line.status == psutil.CONN_LISTEN or line.type == 2:
                found.setdefault(line.laddr.ip, []).append(f"{each.name()} {line.laddr.port}")
    print(json.dumps(found))
"""


@pytest.mark.cluster
@pytest.mark.slow
def test_a_cluster_of_our_own_is_for_this_machine_only(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", LISTENING], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    found = json.loads(done.stdout.splitlines()[-1])
    assert found, "somebody listens"
    assert [
        where for where in found if not where.removeprefix("::ffff:").startswith("127.")
    ] == [], found
