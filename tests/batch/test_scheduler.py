"""Which worker is given which tasks, and what becomes of them when it is lost."""

import shutil

import numpy as np
import pytest
from PIL import Image

from impasto import Config, Machine
from impasto.batch.executor import Assignment, Failure, WorkerUpdate
from impasto.batch.job import Inputs
from impasto.batch.scheduler import Scheduler
from impasto.batch.store import open_store
from impasto.batch.table import list_jobs


@pytest.fixture
def scheduler(tmp_path, photo, style, tiny_weights):
    """A scheduler with four small tasks and the workers a and b."""

    class Silent:
        def __getattr__(self, name):
            return lambda *_, **__: None

    contents = [str(shutil.copy(photo, tmp_path / f"{k}.png")) for k in range(4)]
    for k, path in enumerate(contents):
        Image.fromarray(np.full((40, 48, 3), 60 * k, np.uint8)).save(path)
    jobs = list_jobs(
        contents,
        [str(style)],
        "all",
        lambda *_: (Config(backbone=str(tiny_weights), size=32, steps=2), Machine()),
    )
    with open_store(str(tmp_path / "out"), print) as store:
        made = Scheduler(store, Silent(), Inputs())
        made.plan(jobs)
        made.workers = ["a", "b"]
        yield made


def keys_of(assignment: Assignment) -> set[str]:
    return {task.key for task in assignment.tasks}


def failed(scheduler: Scheduler) -> dict[str, str]:
    """The jobs that failed, and why."""
    return {job.content: why for job, why in scheduler.results() if isinstance(why, str)}


def test_those_beside_one_that_kills_are_painted(scheduler):
    scheduler.workers = ["a"]
    assignment = scheduler.next_assignment("a")
    killer = assignment.tasks[1]
    while assignment is not None:
        killed = killer in assignment.tasks
        update = WorkerUpdate("a", lost="it died") if killed else WorkerUpdate("a", idle=True)
        scheduler.collect(update)
        assignment = scheduler.next_assignment("a")
    assert failed(scheduler) == {
        killer.content.name: "3 workers died over it, the last one so: it died"
    }


def test_what_a_worker_was_lost_over_is_left_to_others_as_long_as_there_are_any(scheduler):
    keys = keys_of(scheduler.next_assignment("a"))
    scheduler.collect(WorkerUpdate("a", lost="it died"))
    given_to_a = set()
    while assignment := scheduler.next_assignment("a"):
        given_to_a |= keys_of(assignment)
    assert given_to_a
    assert not keys & given_to_a
    other = scheduler.next_assignment("b")
    assert len(keys_of(other)) == 1
    assert keys_of(other) < keys
    scheduler.collect(WorkerUpdate("b", lost="it died"))
    scheduler.workers = ["a"]
    left = set()
    while assignment := scheduler.next_assignment("a"):
        left |= keys_of(assignment)
    assert left == keys


def test_an_unexpected_failure_is_tried_once_more_by_another_worker(scheduler):
    first = scheduler.next_assignment("a").tasks[0]
    failure = {first.key: Failure("odd", unexpected=True)}
    scheduler.collect(WorkerUpdate("a", failed=failure, idle=True, lost="odd"))
    assert failed(scheduler) == {}
    while first not in (assignment := scheduler.next_assignment("b")).tasks:
        scheduler.collect(WorkerUpdate("b", idle=True))
    assert assignment.tasks == [first]
    scheduler.collect(WorkerUpdate("b", failed=failure, idle=True, lost="odd"))
    assert failed(scheduler) == {first.content.name: "odd"}


def test_nothing_is_recorded_twice(scheduler):
    scheduler.workers = ["a"]
    tasks = scheduler.next_assignment("a").tasks
    scheduler.collect(WorkerUpdate("a", failed={tasks[0].key: Failure("small")}))
    scheduler.collect(WorkerUpdate("a", lost="it died"))
    again = set()
    while assignment := scheduler.next_assignment("a"):
        again |= keys_of(assignment)
    assert again == {task.key for task in tasks[1:]}


def test_an_update_after_the_last_one_of_an_assignment_does_no_harm(scheduler):
    """As it comes when Ctrl-C is pressed meanwhile."""
    task = scheduler.next_assignment("a").tasks[0]
    failure = {task.key: Failure("small")}
    for update in (WorkerUpdate("a", failed=failure, idle=True), WorkerUpdate("a")):
        scheduler.collect(update)
    assert failed(scheduler) == {task.content.name: "small"}
    assert not scheduler._in_progress
