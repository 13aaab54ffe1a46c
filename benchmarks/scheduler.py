"""The scheduler of a batch with a simulated cluster: throughput, lost jobs, memory of the head.

python benchmarks/scheduler.py [jobs] [workers]

The scheduler, the store and the manifest are the real ones; the workers are simulated, in a time
of their own. A worker takes some seconds a painting, sends checkpoints, and dies now and then in
the middle of its work. Most come back after half a minute, some never.
"""

import hashlib
import heapq
import itertools
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import psutil
from common import machine

from impasto import Config
from impasto.batch.executor import Assignment, Done, WorkerUpdate
from impasto.batch.job import Inputs, Job
from impasto.batch.scheduler import Scheduler
from impasto.batch.store import open_store

SECONDS = 20.0  # of one painting, about
CHECKPOINT = 15.0  # seconds between two
DEATHS = 0.05  # of the assignments
BACK = 30.0  # seconds after a death
FOR_GOOD = 0.2  # of the deaths
CONTENT, STATE, PAINTING = 300_000, 2_000_000, 500_000  # bytes


class SimulatedCluster:
    """An `Executor` whose workers only take time."""

    def __init__(self, count: int, seed: int = 0):
        self._random = random.Random(seed)
        self._alive = {f"worker-{k}": False for k in range(count)}  # whether it works
        self._events: list[tuple[float, int, str, WorkerUpdate | None]] = []
        self._numbers = itertools.count()
        self._saved: Counter[str] = Counter()  # seconds of work in the checkpoint, by key
        self._needed: dict[str, float] = {}
        self.now = self.busy = self.repeated = 0.0
        self.deaths = self.gone = 0
        self._state, self._painting = os.urandom(STATE), os.urandom(PAINTING)

    def workers(self) -> Sequence[str]:
        """Those that are there."""
        return list(self._alive)

    def idle_workers(self) -> Sequence[str]:
        """Those without work."""
        return [name for name, works in self._alive.items() if not works]

    def begin(self, worker: str, assignment: Assignment) -> None:
        """Plan what a worker will do."""
        self._alive[worker] = True
        keys = [task.key for task in assignment.tasks]
        for key in keys:
            self._needed.setdefault(key, SECONDS * self._random.lognormvariate(0, 0.5))
        time_needed = sum(self._needed[key] - self._saved[key] for key in keys)
        dies = self._random.random() < DEATHS
        end = time_needed * self._random.random() if dies else time_needed
        at = CHECKPOINT
        while at < end:
            update = WorkerUpdate(worker, at / time_needed, states=dict.fromkeys(keys, self._state))
            self._later(at, worker, update)
            at += CHECKPOINT
        self.busy += end
        if dies:
            saved = at - CHECKPOINT
            for key in keys:
                self._saved[key] += saved / time_needed * (self._needed[key] - self._saved[key])
            self.repeated += end - saved
            self._later(end, worker, WorkerUpdate(worker, lost="it died"))
        else:
            record = {"doubt": "", "steps": 120, "objective": 1.0, "terms": {}, "seconds": end}
            done = {key: Done(self._painting, record) for key in keys}
            self._later(end, worker, WorkerUpdate(worker, done=done, idle=True))

    def _later(self, seconds: float, worker: str, update: WorkerUpdate | None) -> None:
        heapq.heappush(self._events, (self.now + seconds, next(self._numbers), worker, update))

    def wait(self) -> list[WorkerUpdate]:
        """Go on to the next thing that happens."""
        self.now, _, worker, update = heapq.heappop(self._events)
        if update is None:
            self._alive[worker] = False  # it is back
            return []
        # what comes from another machine is a copy of its own
        update.states = {key: bytes(bytearray(state)) for key, state in update.states.items()}
        for key, done in update.done.items():
            update.done[key] = done._replace(picture=bytes(bytearray(done.picture)))
        if update.idle:
            self._alive[worker] = False
        if update.lost:
            self.deaths += 1
            del self._alive[worker]
            if self._random.random() < FOR_GOOD and len(self._alive) > 1:
                self.gone += 1
            else:
                self._later(BACK, worker, None)
        return [update]

    def checkpoint(self) -> list[WorkerUpdate]:
        """Nobody presses Ctrl-C here."""
        return []

    def shutdown(self) -> None:
        """Nothing has to be stopped."""


class Quiet:
    """Shows nothing, and lets a batch go on."""

    asked = False

    def __getattr__(self, name: str) -> object:
        return lambda *_, **__: None


class Head:
    """The memory of this process, looked at whenever something has come from the cluster."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self.before = self.most = self._process.memory_info().rss

    def look(self) -> None:
        """Take note of the memory now."""
        self.most = max(self.most, self._process.memory_info().rss)


def main(jobs: int = 1000, workers: int = 20) -> None:
    """Simulate, and print what was measured."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for k in range(jobs):
            (folder / f"{k:04d}.jpg").write_bytes(os.urandom(CONTENT))
        (folder / "style.jpg").write_bytes(os.urandom(CONTENT))
        style = (str(folder / "style.jpg"),)
        config = Config(size=512)
        wanted = [Job(str(folder / f"{k:04d}.jpg"), style, config) for k in range(jobs)]
        with open_store(str(folder / "painted"), print) as store:
            cluster, head = SimulatedCluster(workers), Head()
            scheduler = Scheduler(store, Quiet(), Inputs())
            scheduler.plan(wanted)
            wait = cluster.wait
            cluster.wait = lambda: (wait(), head.look())[0]
            began, processor = time.perf_counter(), time.process_time()
            scheduler.run(cluster, Quiet())
            took, processor = time.perf_counter() - began, time.process_time() - processor
            report(scheduler, cluster, folder / "painted", jobs)
    print(f"the scheduler itself: {took:.1f} s, {processor:.1f} s of them of the processor")
    print(f"  so it serves up to {jobs / took:.0f} paintings a second")
    grown = (head.most - head.before) / 2**20
    print(f"memory of the head: {grown:.0f} MB more at most, {head.before / 2**20:.0f} MB before")
    print(machine())


def report(scheduler: Scheduler, cluster: SimulatedCluster, folder: Path, jobs: int) -> None:
    """Count what became of the jobs, and check the files; exits with 1 if any is lost."""
    lines = [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]
    done = [line for line in lines if line["state"] == "done"]
    results = [result for _, result in scheduler.results()]
    painted = [result for result in results if isinstance(result, Path)]
    broken = sum(
        hashlib.sha256((folder / line["out"]).read_bytes()).hexdigest() != line["sha256"]
        for line in done
    )
    lost = jobs - len(set(painted)) - sum(isinstance(result, str) for result in results)
    doubled = len(done) - len({line["key"] for line in done})
    print(f"{jobs} jobs: {len(painted)} painted, {len(lines) - len(done)} failed, {lost} lost,")
    print(f"  {doubled} painted twice, {broken} files other than the manifest says")
    print(f"deaths: {cluster.deaths}, {cluster.gone} of them for good")
    print(f"simulated: {cluster.now / 60:.1f} minutes, {jobs / cluster.now * 3600:.0f} an hour;")
    print(f"  {cluster.repeated / cluster.busy:.2%} of the work was made twice")
    if lost or doubled or broken:
        sys.exit(1)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
