"""The studio's queue and its workers, without a server."""

import io
import json
import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families

import impasto
from impasto.config import Config, Machine
from impasto.errors import ConfigError, ImpastoError, PictureError
from impasto.images.read import read_bytes, read_settings
from impasto.painting.run import Run
from impasto.web.jobs import policy
from impasto.web.jobs import queue as studios
from impasto.web.jobs import worker as working
from impasto.web.jobs.job import Job
from impasto.web.jobs.limits import MORE_IN, Limits
from impasto.web.jobs.policy import BASE
from impasto.web.jobs.queue import Studio
from impasto.web.jobs.request import BusyError, PaintRequest, Upload, clean

QUICK = {"size": 32, "steps": 2}
SLOW = {"size": 96, "steps": 2000}  # surely still being painted when a test acts on it
PIXELS = 128 * 128
LEFT = {"painting.png", "before.jpg", "after.jpg", "trace.jsonl"}
STRANGE = [
    "../../etc/passwd",
    "/etc/passwd",
    "..",
    "/",
    "C:\\cats\\cat.png",
    "a\0b.png",
    "a\nb.png",
    "a=b.png",
    "x" * 5000,
    "",
    " ",
    "кот и 🐈.png",
    "-rf *.png",
]


def until(true: Callable[[], object], seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.005)


def ended(job: Job) -> str:
    until(lambda: job.over)
    return job.state


def begun(job: Job) -> Job:
    until(lambda: job.state == "painting" and job.progress)
    return job


def put_aside(studio: Studio, job: Job) -> Job:
    studio.pause(begun(job))
    until(lambda: job.state == "paused")
    return job


def listing(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


def counted(studio: Studio) -> dict[str, float]:
    """Every sample that Prometheus would read."""
    samples = [
        each
        for family in text_string_to_metric_families(studio.metrics.text().decode())
        for each in family.samples
    ]
    return {" ".join([each.name, *each.labels.values()]): each.value for each in samples}


def seconds_of(job: Job) -> list[float]:
    return [
        json.loads(line)["seconds"] for line in job.file("trace.jsonl").read_text().splitlines()
    ]


def png(width: int, height: int, mode: str = "L") -> bytes:
    out = io.BytesIO()
    Image.new(mode, (width, height), 1).save(out, "PNG")
    return out.getvalue()


@pytest.fixture
def temporary(tmp_path, monkeypatch) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


@pytest.fixture
def opened(tiny_weights, temporary, monkeypatch):
    """Opens a studio with the tiny network."""
    found = []
    monkeypatch.setattr(studios, "TICK", 0.02)

    def open(**limits: float) -> Studio:
        machine = Machine(device="cpu", precision="float32")
        found.append(
            Studio(Limits(**{"pixels": PIXELS, **limits}), machine, networks=[str(tiny_weights)])
        )
        found[-1].open()
        return found[-1]

    yield open
    for each in found:
        each.close()


@pytest.fixture
def studio(opened) -> Studio:
    return opened()


@pytest.fixture
def order(photo, style):
    """An order of `photo` in `style`, with the pictures and settings that are given in their
    place."""

    def make(
        named=None, timelapse="", base="", content=None, styles=None, **settings
    ) -> PaintRequest:
        content = content or Upload("photo.png", photo.read_bytes)
        named = {name: Upload(name, lambda data=data: data) for name, data in (named or {}).items()}
        styles = [Upload("style.png", style.read_bytes)] if styles is None else styles
        return PaintRequest(content, styles, {**QUICK, **settings}, named, timelapse, base)

    return make


def stepping(steps) -> type[Run]:
    """A Run whose `steps` are these, for the studio's worker alone."""
    return type("Run", (Run,), {"steps": steps})


@pytest.fixture
def when(monkeypatch):
    """when(step, act): has something done, by the worker itself, just before a painting comes to
    that step."""
    plans: dict[int, Callable[[], object]] = {}

    def steps(run: Run):
        for step in Run.steps(run):
            if act := plans.pop(step.number, None):
                act()
            yield step

    monkeypatch.setattr(working, "Run", stepping(steps))
    return plans.__setitem__


class Gate:
    """Paintings that take until one is let through."""

    def __init__(self) -> None:
        self.painted: list[Job] = []
        self._open = threading.Semaphore(0)

    def work(self, job: Job, *_: object) -> str:
        self.painted.append(job)
        while not self._open.acquire(timeout=0.005):
            if job.requested:
                return "paused" if job.requested == "pause" else "cancelled"
        return "done"

    def through(self) -> Job:
        """Let the painting that is being made end, and wait for the next to begin; that one."""
        count = len(self.painted)
        self._open.release()
        until(lambda: len(self.painted) > count)
        return self.painted[-1]


@pytest.fixture
def gate(monkeypatch) -> Gate:
    found = Gate()
    monkeypatch.setattr(studios, "work_on", found.work)
    return found


@pytest.fixture
def queue(studio, order, gate):
    """Somebody's painting is being made; queue(owner) asks for one more."""
    studio.submit(order(), "somebody")
    until(lambda: gate.painted)
    return lambda owner: studio.submit(order(), owner)


def alone(order: PaintRequest, studio: Studio, folder: Path) -> bytes:
    """The file of the same painting, made by the library."""
    named = {name: read_bytes(upload.read(), name) for name, upload in order.named.items()}
    styles = [read_bytes(upload.read(), upload.name) for upload in order.styles]
    content = read_bytes(order.content.read(), order.content.name)
    policy = studio.policy
    made = impasto.paint(
        content, styles, policy.config(order.settings), policy.machine, named=named
    )
    return made.save(folder / "alone.png").read_bytes()


# What is painted
# --------------------------------------------------------------------------------------------------

HALF = np.zeros((40, 48), np.uint8)
HALF[:, :24] = 255


def half() -> bytes:
    out = io.BytesIO()
    Image.fromarray(HALF).save(out, "PNG")
    return out.getvalue()


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({}, ()),
        ({"size": 128, "levels": 2, "steps": 6, "color": "luminance"}, ()),
        ({"start": {"noise": 0.5, "begin": 0.5}, "seed": 7}, ("begin",)),
        (
            {"mask": ["where=other"], "protect": "kept", "palette": "colors"},
            ("where", "other", "kept", "colors"),
        ),
    ],
)
def test_a_painting_has_the_bytes_of_the_library_s(studio, order, tmp_path, settings, named):
    asked = order({name: half() for name in named}, **settings)
    job = studio.submit(asked, "ann")
    assert ended(job) == "done", job.error
    assert job.file("painting.png").read_bytes() == alone(asked, studio, tmp_path)


def test_two_workers_paint_the_same_bytes_as_one(opened, order, tmp_path):
    studio = opened(workers=2)
    orders = [order(size=96, steps=20), order(size=64, steps=40, content=Upload("half.png", half))]
    jobs = [studio.submit(each, "ann") for each in orders]
    for job, each in zip(jobs, orders, strict=True):
        assert ended(job) == "done"
        assert job.file("painting.png").read_bytes() == alone(each, studio, tmp_path)


def test_a_painting_s_file_carries_settings_and_plain_names(studio, order, photo):
    job = studio.submit(
        order(content=Upload("../../holiday/cat.png", photo.read_bytes), strength=2), "ann"
    )
    ended(job)
    settings = read_settings(job.file("painting.png"))
    assert Config(**settings["config"]).strength == 2
    assert settings["steps_done"] == 2
    assert [(each["role"], each["name"]) for each in settings["inputs"]] == [
        ("content", "cat.png"),
        ("style", "style.png"),
    ]
    assert job.title == "cat-style"


def test_nothing_but_the_painting_is_left_in_the_folder(studio, order):
    job = studio.submit(order({"kept": half()}, protect="kept"), "ann")
    ended(job)
    assert {path.name for path in job.folder.iterdir()} == LEFT


def test_file_names_never_become_paths(studio, order, photo, style, temporary):
    for name in STRANGE:
        asked = order(
            {name or "?": half()},
            protect=name or "?",
            content=Upload(name, photo.read_bytes),
            styles=[Upload(name, style.read_bytes)],
        )
        job = studio.submit(asked, "ann")
        assert ended(job) == "done", job.error
        assert {path.name for path in job.folder.iterdir()} == LEFT
        assert "/" not in job.title
        assert 0 < len(job.content) <= 100
    folders = {job.folder for job in studio.jobs.values()} | {studio.folder, studio.uploads}
    assert {path.parent for path in listing(temporary) if path.is_file()} | {
        studio.folder,
        studio.uploads,
    } == folders


def test_a_start_s_long_name_is_never_a_path(studio, order):
    job = studio.submit(order({"x" * 5000: half()}, start={"x" * 5000: 1}), "ann")
    assert ended(job) == "done"


@pytest.mark.parametrize(
    "name", ["a\x1b[31m.png", "a\x85b.png", "a\u2028b.png", "a\u202egpj.exe", "a\ud800.png"]
)
def test_a_clean_name_is_printable(name):
    assert clean(name).isprintable()


# Whose turn it is
# --------------------------------------------------------------------------------------------------


def test_owners_take_turns_and_their_places_are_counted_right(studio, queue, gate):
    jobs = [queue(owner) for owner in ("ann", "ann", "ann", "ann", "ann", "bob", "cy", "cy")]
    expected = [jobs[k] for k in (0, 5, 6, 1, 7, 2, 3, 4)]
    while expected:
        assert [studio.place(job) for job in expected] == list(range(1, len(expected) + 1))
        now = gate.through()
        assert now is expected.pop(0)
        assert studio.place(now) == 0


def test_the_order_may_be_asked_for_while_a_worker_takes_a_job(studio, monkeypatch):
    """A page asks for its place without the lock."""
    turns = iter([[], ["ann"], ["bob"]])
    changing = property(lambda _: next(turns), lambda *_: None)
    monkeypatch.setattr(type(studio), "_turns", changing, raising=False)
    assert studio.waiting() == []


def test_a_second_request_is_not_queued_behind_many_of_one_owner(studio, queue, gate):
    first, *_, last = [queue("ann") for _ in range(5)]
    assert gate.through() is first
    bobs = queue("bob")
    assert gate.through() is bobs
    again = queue("bob")
    assert studio.place(again) < studio.place(last)


def test_new_owners_do_not_starve_a_second_painting(queue, gate):
    queue("ann")
    second = queue("ann")
    for k in range(60):  # thrice as many as may wait
        queue(f"newcomer {k}")
        gate.through()
    assert second in gate.painted


def test_the_newest_is_refused_when_the_queue_is_full_and_room_comes_back(opened, order, gate):
    studio = opened(waiting=2)
    studio.submit(order(), "ann")
    until(lambda: gate.painted)
    second, third = studio.submit(order(), "ann"), studio.submit(order(), "bob")
    before = listing(studio.folder)
    with pytest.raises(
        BusyError, match=r"^busy: 2 paintings are waiting already; try again in a minute$"
    ):
        studio.submit(order(), "cy")
    assert listing(studio.folder) == before
    assert counted(studio)["impasto_refused_total busy"] == 1
    assert gate.through() is third
    studio.submit(order(), "cy")
    with pytest.raises(BusyError):
        studio.submit(order(), "cy")
    studio.cancel(second)
    studio.submit(order(), "cy")


def test_pausing_does_not_make_room_without_end(opened, order):
    studio = opened(waiting=2)
    for owner in ("ann", "bob", "cy"):
        put_aside(studio, studio.submit(order(**SLOW), owner))
    with pytest.raises(BusyError):
        studio.submit(order(**SLOW), "ann")


def test_a_refusal_because_of_paused_paintings_says_how_many_there_are(opened, order):
    studio = opened(waiting=1)
    for _ in range(2):
        put_aside(studio, studio.submit(order(**SLOW), "ann"))
    with pytest.raises(BusyError, match="busy: 2 paintings"):
        studio.submit(order(), "bob")


def test_an_owner_s_paintings_are_found_oldest_first(studio, queue):
    jobs = [queue(owner) for owner in ("ann", "bob", "ann")]
    assert studio.of("ann") == jobs[::2]
    assert studio.of("nobody") == []


# Pause, stop, cancel
# --------------------------------------------------------------------------------------------------


def test_a_paused_painting_lets_others_pass_and_ends_as_if_never_paused(
    studio, order, when, tmp_path
):
    asked = order(size=64, steps=12)
    when(5, lambda: studio.pause(studio.of("ann")[0]))
    job = studio.submit(asked, "ann")
    until(lambda: job.state == "paused")
    assert job.progress.step == 5
    assert studio.place(job) == 0
    assert ended(studio.submit(order(), "bob")) == "done"
    assert job.state == "paused"
    studio.resume(job)
    assert ended(job) == "done"
    assert job.file("painting.png").read_bytes() == alone(asked, studio, tmp_path)
    assert len(seconds_of(job)) == 12


def test_a_resumed_painting_comes_before_all_that_wait(studio, order, gate):
    job = studio.submit(order(), "ann")
    until(lambda: job.state == "painting")
    waiting = [studio.submit(order(), owner) for owner in ("bob", "cy")]
    studio.pause(job)
    until(lambda: waiting[0].state == "painting")
    studio.resume(job)
    assert [studio.place(each) for each in (job, waiting[1])] == [1, 2]
    assert gate.through() is job


def test_a_painting_paused_in_the_queue_waits_and_keeps_its_place(studio, queue, gate):
    job, other = queue("ann"), queue("bob")
    studio.pause(job)
    assert (job.state, studio.place(job), studio.place(other)) == ("paused", 0, 1)
    studio.resume(job)
    assert (job.state, studio.place(job), studio.place(other)) == ("waiting", 1, 2)


def test_time_that_it_was_paused_is_not_counted(studio, order, when):
    when(5, lambda: studio.pause(studio.of("ann")[0]))
    job = studio.submit(order(steps=8), "ann")
    until(lambda: job.state == "paused")
    began = time.monotonic()
    other = begun(studio.submit(order(**SLOW), "bob"))
    studio.resume(job)  # waits for the other one
    time.sleep(0.2)
    studio.cancel(other)
    ended(job)
    paused, seconds = time.monotonic() - began, seconds_of(job)
    assert seconds == sorted(seconds)
    assert seconds[5] - seconds[4] < paused - 0.1


@pytest.mark.parametrize("wish", ["pause", "resume", "stop"])
def test_time_paused_is_taken_off_once(studio, order, when, wish):
    when(5, lambda: studio.pause(studio.of("ann")[0]))
    when(8, lambda: getattr(studio, wish)(studio.of("ann")[0]))
    job = studio.submit(order(size=64, steps=40), "ann")
    until(lambda: job.state == "paused")
    time.sleep(0.3)
    studio.resume(job)
    until(lambda: job.over or (job.state == "paused" and job.progress.step == 8))
    studio.resume(job)
    ended(job)
    assert seconds_of(job) == sorted(seconds_of(job))
    assert job.progress.seconds >= 0


def test_time_paused_before_the_first_step_is_not_taken_off(studio, order, monkeypatch):
    begin = working._begin

    def pausing(job, *given):
        studio.pause(job)
        return begin(job, *given)

    monkeypatch.setattr(working, "_begin", pausing)
    job = studio.submit(order(), "ann")
    until(lambda: job.state == "paused")
    time.sleep(0.3)
    studio.resume(job)
    assert ended(job) == "done"
    assert min(seconds_of(job)) >= 0


def test_time_paused_again_in_the_queue_is_not_counted(studio, order, when):
    when(5, lambda: studio.pause(studio.of("ann")[0]))
    job = studio.submit(order(steps=8), "ann")
    until(lambda: job.state == "paused")
    other = begun(studio.submit(order(**SLOW), "bob"))
    studio.resume(job)
    time.sleep(1.5)  # much longer than a step takes on a busy machine
    studio.pause(job)
    studio.resume(job)
    studio.cancel(other)
    ended(job)
    assert seconds_of(job)[5] - seconds_of(job)[4] < 1


def test_stopped_in_mid_painting_it_keeps_what_there_is(studio, order, when):
    when(7, lambda: studio.stop(studio.of("ann")[0]))
    job = studio.submit(order(**SLOW), "ann")
    assert ended(job) == "stopped"
    with Image.open(job.file("painting.png")) as image:
        image.load()
        assert image.size == (96, 80)
    assert read_settings(job.file("painting.png"))["steps_done"] == 7
    assert {path.name for path in job.folder.iterdir()} == LEFT


def test_stopped_when_paused_it_keeps_what_there_is(studio, order):
    job = put_aside(studio, studio.submit(order(**SLOW), "ann"))
    step = job.progress.step
    studio.stop(job)
    assert ended(job) == "stopped"
    assert read_settings(job.file("painting.png"))["steps_done"] == step


def test_stopped_before_there_is_anything_it_is_cancelled(studio, order, queue):
    waiting, paused = queue("ann"), queue("ann")
    studio.pause(paused)
    for job in (waiting, paused):
        studio.stop(job)
        assert job.state == "cancelled"
        assert not job.finished


def test_stopped_while_its_pictures_are_read_it_is_cancelled(studio, order, monkeypatch):
    begin = working._begin

    def stopping(job, *given):
        studio.stop(job)
        return begin(job, *given)

    monkeypatch.setattr(working, "_begin", stopping)
    assert ended(studio.submit(order(), "ann")) == "cancelled"


def test_stopped_twice_it_is_stopped(studio, order, when):
    when(3, lambda: [studio.stop(studio.of("ann")[0]) for _ in range(2)])
    assert ended(studio.submit(order(**SLOW), "ann")) == "stopped"


@pytest.mark.parametrize("state", ["waiting", "painting", "paused"])
@pytest.mark.parametrize("act", ["cancel", "forget"])
def test_cancelled_in_any_state_nothing_is_kept(studio, order, state, act):
    job = studio.submit(order(timelapse=".gif", **SLOW), "ann")
    if state == "paused":
        put_aside(studio, job)
    else:
        begun(job)
    if state == "waiting":
        job = studio.submit(order(timelapse=".gif", **SLOW), "bob")
    assert job.state == state
    getattr(studio, act)(job)
    assert ended(job) == "cancelled"
    assert not job.file("painting.png").exists()
    assert not list(job.folder.glob("input-*"))
    assert job.folder.exists() == (job.id in studio.jobs) == (act == "cancel")


def test_a_finished_painting_is_forgotten_at_once(studio, order):
    job = studio.submit(order(), "ann")
    ended(job)
    studio.forget(job)
    studio.forget(job)
    assert not job.folder.exists()
    assert not studio.jobs


@pytest.mark.parametrize("end", ["done", "stopped", "cancelled"])
def test_nothing_changes_a_painting_that_is_over(studio, order, when, end):
    if end != "done":
        when(
            2,
            lambda: getattr(studio, {"stopped": "stop", "cancelled": "cancel"}[end])(
                studio.of("ann")[0]
            ),
        )
    job = studio.submit(order(**(QUICK if end == "done" else SLOW)), "ann")
    ended(job)
    before = (
        job.state,
        job.ended,
        job.progress,
        listing(job.folder),
        counted(studio)[f"impasto_paintings_total {end}"],
    )
    for act in (studio.pause, studio.resume, studio.stop, studio.cancel):
        act(job)
        now = (
            job.state,
            job.ended,
            job.progress,
            listing(job.folder),
            counted(studio)[f"impasto_paintings_total {end}"],
        )
        assert now == before
    assert job.state == end


def test_what_is_not_paused_goes_on_when_it_is_resumed(studio, order, when):
    when(3, lambda: studio.resume(studio.of("ann")[0]))
    job, waiting = (studio.submit(order(steps=6), "ann") for _ in range(2))
    studio.resume(waiting)
    assert [ended(job), ended(waiting)] == ["done", "done"]


def test_paused_and_resumed_at_once_it_is_painted_to_the_end(studio, order, when, tmp_path):
    def both():
        job = studio.of("ann")[0]
        studio.pause(job)
        studio.resume(job)

    for step in (1, 3, 6):
        when(step, both)
    asked = order(steps=6)
    job = studio.submit(asked, "ann")
    assert ended(job) == "done"
    assert job.file("painting.png").read_bytes() == alone(asked, studio, tmp_path)


def test_paused_while_its_pictures_are_read_it_is_paused(studio, order, monkeypatch):
    begin = working._begin

    def pausing(job, *given):
        studio.pause(job)
        return begin(job, *given)

    monkeypatch.setattr(working, "_begin", pausing)
    job = studio.submit(order(), "ann")
    until(lambda: job.over or job.state == "paused")
    assert job.state == "paused"


class Late(str):
    """A wish that is taken back as soon as the worker has seen it."""

    taken_back: Callable[[], object]

    def __bool__(self) -> bool:
        self.taken_back()
        return True


def test_resumed_as_the_worker_sees_the_pause_it_goes_on(studio, order, when):
    def pause():
        job = studio.of("ann")[0]
        job.requested = Late("pause")
        job.requested.taken_back = lambda: studio.resume(job)

    when(3, pause)
    assert ended(studio.submit(order(steps=6), "ann")) == "done"


@pytest.mark.parametrize(
    ("first", "then", "end"),
    [
        ("pause", "stop", "stopped"),
        ("pause", "cancel", "cancelled"),
        ("stop", "pause", "stopped"),
        ("stop", "resume", "stopped"),
        ("stop", "stop", "stopped"),
        ("stop", "cancel", "cancelled"),
        ("cancel", "stop", "cancelled"),
        ("cancel", "pause", "cancelled"),
        ("cancel", "resume", "cancelled"),
    ],
)
def test_the_stronger_of_two_requests_counts(studio, order, when, first, then, end):
    def both():
        for wish in (first, then):
            getattr(studio, wish)(studio.of("ann")[0])

    when(3, both)
    job = studio.submit(order(steps=6), "ann")
    until(lambda: job.over or job.state == "paused")
    assert job.state == end


@pytest.mark.parametrize("wish", ["pause", "resume"])
def test_a_stop_of_a_paused_painting_is_not_undone(studio, order, wish):
    job = put_aside(studio, studio.submit(order(**SLOW), "ann"))
    step = job.progress.step
    studio.stop(job)
    getattr(studio, wish)(job)
    assert ended(job) == "stopped"
    assert job.progress.step == step


@pytest.mark.parametrize("act", ["cancel", "forget"])
def test_cancelled_while_a_paused_painting_is_stopped_it_ends_once(studio, order, monkeypatch, act):
    finish = working._finish

    def late(job, run, stopped):
        helper = threading.Thread(target=getattr(studio, act), args=(job,))
        helper.start()
        helper.join(1)
        finish(job, run, stopped)

    job = put_aside(studio, studio.submit(order(**SLOW), "ann"))
    monkeypatch.setattr(working, "_finish", late)
    studio.stop(job)
    ended(job)
    assert ended(studio.submit(order(), "bob"))
    until(lambda: not studio.count("painting"))
    time.sleep(0.2)
    assert (
        sum(
            value
            for name, value in counted(studio).items()
            if name.startswith("impasto_paintings_total")
        )
        == 2
    )


def test_a_paused_painting_is_stopped_without_waiting_for_others(studio, order):
    job = put_aside(studio, studio.submit(order(**SLOW), "ann"))
    begun(studio.submit(order(**SLOW), "bob"))
    studio.stop(job)
    until(lambda: job.over, seconds=1)


# What ends by itself
# --------------------------------------------------------------------------------------------------


def test_closing_ends_what_is_painted_waits_and_is_paused(opened, order, temporary):
    studio = opened()
    put_aside(studio, studio.submit(order(**SLOW), "ann"))
    painting = begun(studio.submit(order(timelapse=".gif", **SLOW), "ann"))
    studio.submit(order(**SLOW), "bob")
    began = time.monotonic()
    studio.close()
    assert time.monotonic() - began < 5
    assert painting.state == "cancelled"
    assert not any(thread.is_alive() for thread in studio._threads)
    assert not listing(temporary)
    with pytest.raises(BusyError):
        studio.submit(order(), "ann")


def test_closing_removes_the_frames_of_a_paused_painting(opened, order, temporary):
    studio = opened()
    put_aside(studio, studio.submit(order(timelapse=".gif", **SLOW), "ann"))
    studio.close()
    assert not listing(temporary)


def test_after_closing_every_painting_is_over(opened, order):
    studio = opened()
    jobs = [
        put_aside(studio, studio.submit(order(**SLOW), "ann")),
        begun(studio.submit(order(**SLOW), "ann")),
    ]
    jobs.append(studio.submit(order(**SLOW), "ann"))
    studio.close()
    assert [job.state for job in jobs] == ["cancelled"] * 3


def test_a_painting_that_nobody_watches_makes_room_for_others(opened, order):
    studio = opened(keep=0.3)
    job = begun(studio.submit(order(**SLOW), "ann", watched=True))
    mine = studio.submit(order(**SLOW), "ann", watched=True)
    time.sleep(0.6)
    assert [job.state, mine.state] == ["painting", "waiting"], "nobody else waits"
    other = studio.submit(order(), "bob", watched=True)
    assert [ended(job), ended(mine), ended(other)] == ["cancelled", "cancelled", "done"]


def test_a_painting_that_is_watched_is_not_cancelled_for_others(opened, order):
    studio = opened(keep=0.3)
    there = begun(studio.submit(order(**SLOW), "ann", watched=True))
    program = studio.submit(order(**SLOW), "program")
    deadline = time.monotonic() + 0.8
    while time.monotonic() < deadline:
        studio.seen("ann")
        time.sleep(0.02)
    assert not there.over
    assert not program.over


def test_the_pictures_of_a_visitor_s_painting_are_kept_with_it(studio, order, photo, style):
    job = studio.submit(order(), "ann", watched=True)
    assert ended(job) == "done"
    assert job.kept_input(0).read() == photo.read_bytes()
    assert job.kept_input(1).read() == style.read_bytes()
    program = studio.submit(order(), "program")
    assert ended(program) == "done"
    assert program.kept_input(0) is None


def test_a_visitor_s_oldest_paintings_and_pictures_make_room(opened, order, photo, monkeypatch):
    monkeypatch.setattr(policy, "HISTORY", 2)
    monkeypatch.setattr(studios, "UPLOADS", 1)
    studio = opened(upload=photo.stat().st_size)
    jobs = [studio.submit(order(), "ann", watched=True) for _ in range(4)]
    until(lambda: len(studio.jobs) == 2 and all(job.over for job in studio.jobs.values()))
    assert list(studio.jobs.values()) == jobs[2:]
    until(lambda: jobs[2].kept_input(0) is None)
    assert jobs[2].file("painting.png").exists()


def looks(look):
    """The pictures of a quick look."""
    while picture := look.next():
        with Image.open(io.BytesIO(picture)) as image:
            yield image.size


def test_a_quick_look_is_made_by_a_free_worker_only(studio, order):
    assert {max(size) for size in looks(studio.look(order(size=64), "ann"))} == {64}
    job = begun(studio.submit(order(**SLOW), "ann"))
    assert studio.look(order(), "ann") is None
    studio.cancel(job)
    ended(job)
    broken = studio.look(order(content=Upload("notes.png", lambda: b"nothing")), "ann")
    with pytest.raises(PictureError):
        list(looks(broken))


def test_a_quick_look_becomes_finer_until_the_next_change(studio, order, monkeypatch):
    monkeypatch.setattr("impasto.painting.preview.SIDE", 96)
    assert len(list(looks(studio.look(order(), "ann")))) == 2  # levels
    monkeypatch.setattr("impasto.painting.preview.STEPS", 100_000)
    first = studio.look(order(), "ann")
    second = studio.look(order(), "ann")
    assert first.next() is None
    third = studio.look(order(), "ben")  # waits for a worker
    job = begun(studio.submit(order(steps=2), "ben"))  # comes first
    ended(job)
    assert second.next() is None
    third.give_up()


def test_finished_paintings_are_saved_under_new_names(tiny_weights, order, tmp_path, temporary):
    folder = tmp_path / "saved" / "here"
    machine = Machine(device="cpu", precision="float32")
    studio = Studio(Limits(pixels=PIXELS), machine, [str(tiny_weights)], folder)
    try:
        studio.open()
        jobs = [studio.submit(order(strength=k), "ann") for k in (2, 3)]
        assert [ended(job) for job in jobs] == ["done"] * 2
        assert [Path(job.saved).name for job in jobs] == ["photo-style.png", "photo-style-2.png"]
        for job, strength in zip(jobs, (2, 3), strict=True):
            assert read_settings(Path(job.saved))["config"]["strength"] == strength
        shutil.rmtree(folder)
        folder.write_text("a file")
        job = studio.submit(order(), "ann")
        assert ended(job) == "done"
        assert (job.saved, "cannot write" in job.note) == ("", True)
    finally:
        studio.close()
    assert folder.read_text() == "a file"


def test_the_time_of_a_page_begins_when_its_painting_is_queued(studio, order, photo):
    def slowly() -> bytes:
        time.sleep(0.2)
        return photo.read_bytes()

    job = studio.submit(order(content=Upload("photo.png", slowly)), "ann", watched=True)
    assert time.time() - job.last_seen < 0.2


def test_a_painting_paused_for_long_is_ended_with_what_there_is(studio, order, monkeypatch):
    monkeypatch.setattr(policy, "PAUSE", 0.2)
    job = put_aside(studio, studio.submit(order(**SLOW), "ann"))
    assert ended(job) == "stopped"
    assert read_settings(job.file("painting.png"))["steps_done"] == job.progress.step


def test_paintings_are_kept_for_a_while_only(opened, order):
    studio = opened(keep=1000)
    old, young = (studio.submit(order(), "ann") for _ in range(2))
    ended(old)
    ended(young)
    old.ended -= 1001
    until(lambda: not old.folder.exists())
    assert list(studio.jobs.values()) == [young]
    assert young.file("painting.png").exists()


def test_uploads_are_kept_for_a_while_only_but_the_page_s_own(opened):
    studio = opened(keep=1000)
    old, young, own = (studio.uploads / name / "cat.png" for name in ("old", "young", "own"))

    def lay(path: Path, age: float) -> None:
        path.parent.mkdir()
        path.write_bytes(b"cat")
        for each in (path, path.parent):
            os.utime(each, (time.time() - age,) * 2)

    lay(own, 2000)
    studio.pin_uploads()
    lay(young, 900)
    lay(old, 2000)
    until(lambda: not old.exists())
    os.utime(old.parent, (time.time() - 2000,) * 2)
    until(lambda: not old.parent.exists())
    assert young.exists()
    assert own.exists()


# What is refused
# --------------------------------------------------------------------------------------------------


@pytest.fixture
def refused(studio, order):
    """Submits an order that must be refused with one line, and leave nothing behind; gives that
    line."""

    def submit(kind: type[ImpastoError] = ConfigError, **given: object) -> str:
        before = listing(studio.folder)
        with pytest.raises(kind) as error:
            studio.submit(order(**given), "ann")
        line = str(error.value)
        assert line
        assert len(line.splitlines()) == 1
        assert str(studio.folder) not in line
        assert listing(studio.folder) == before
        assert not studio.jobs
        return line

    return submit


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"steps": 2001}, "2,001 steps are more than this server's 2,000"),
        (
            {"size": 200},
            "200 x 167 pixels are more than this server's 16,384: give a smaller --size",
        ),
        ({"size": 65536}, "65536 x 54613 pixels"),
        ({"size": 120, "size_of": "height"}, "144 x 120 pixels"),
        ({"size": 16, "size_of": "at-most"}, "would be painted at 16 x 13 pixels"),
        ({"syze": 32}, "did you mean size?"),
        ({"size": "huge"}, "--size is 'huge'"),
        ({"size": None}, "--size is None"),
        ({"size": [32]}, "--size is [32]"),
        ({"strength": float("nan")}, "--strength is nan"),
        ({"strength": "much\nmuch"}, "--strength is"),
        ({"mask": 5}, "--mask is 5"),
        ({"mask": ["a=b=c=d"]}, "--mask is 'a=b=c=d'"),
        ({"style_layers": {"relu9_1": 1}}, "no layer 'relu9_1'"),
        ({"style_layers": {"relu1_1": {}}}, "--style-layers relu1_1 is {}"),
        ({"blend": [0.5, 0.5]}, "--blend has 2 weights for 1 styles"),
        ({"backbone": "vgg19"}, "no network 'vgg19' on this server"),
        ({"backbone": "/etc/passwd"}, "no network '/etc/passwd' on this server"),
        ({"backbone": ""}, "--backbone is ''"),
        ({"color": "content", "palette": "a.png"}, "two answers to one question"),
    ],
)
def test_settings_that_this_server_does_not_take_are_refused(refused, settings, said):
    assert said in refused(ImpastoError, **settings)


@pytest.mark.parametrize("name", Machine.model_fields)
def test_settings_of_the_server_s_are_refused(refused, name):
    assert "is the server's choice" in refused(**{name: Machine.model_fields[name].default})


def test_a_long_value_is_not_said_whole(refused):
    assert len(refused(size="x" * 5000)) < 500


def test_a_long_name_is_not_said_whole(refused):
    assert len(refused(style_layers={"x" * 5000: 1})) < 500


@pytest.mark.parametrize("name", ["content_layers", "style_layers", "start"])
def test_lists_of_lists_are_refused(refused, name):
    refused(**{name: [[]]})


def test_the_content_s_own_size_is_limited(refused):
    content = Upload("large.png", lambda: png(200, 200))
    assert "200 x 200 pixels are more" in refused(content=content, size="original")


def test_the_size_of_a_style_is_limited(studio, order):
    with pytest.raises(ConfigError):
        studio.submit(order(size=128, style_scale=10), "ann")  # 100 times Limits.pixels


def test_the_pixels_of_all_pictures_are_limited(studio, order):
    with pytest.raises(ImpastoError):
        studio.submit(order(styles=[Upload("style.png", lambda: png(500, 500))] * 40), "ann")


@pytest.mark.parametrize("role", ["content", "style", "named"])
def test_a_bomb_is_refused_before_it_is_decoded(refused, role):
    bomb = png(6000, 6000, "1")
    assert len(bomb) < 20_000
    upload = Upload("bomb.png", lambda: bomb)
    given = {
        "content": {"content": upload},
        "style": {"styles": [upload]},
        "named": {"named": {"bomb.png": bomb}, "palette": "bomb.png"},
    }[role]
    line = refused(PictureError, **given)
    assert (
        line
        == f"bomb.png has 6000 x 6000 pixels, more than {MORE_IN * PIXELS:,}: scale it down first"
    )


def test_the_size_of_all_styles_together_is_limited(studio, order):
    small = Upload("small.png", lambda: png(16, 16))
    with pytest.raises(ImpastoError):
        studio.submit(order(styles=[small] * 200, size=128), "ann")  # 200 times Limits.pixels


def icon(width: int, height: int) -> bytes:
    """An icon that says it is of 32 x 32 pixels."""
    inside = png(width, height)
    header = (
        b"\0\0\1\0\1\0" + bytes([32, 32, 0, 0, 1, 0, 32, 0]) + len(inside).to_bytes(4, "little")
    )
    return header + (22).to_bytes(4, "little") + inside


def test_a_bomb_in_an_icon_is_refused(refused):
    line = refused(PictureError, content=Upload("bomb.ico", lambda: icon(2000, 2000)))
    assert line.startswith("bomb.ico has 2000 x 2000 pixels")


POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 32 32\n%%EndComments\nshowpage\n"


def test_uploads_are_not_run_as_programs(refused, monkeypatch):
    def run(*given: object) -> None:
        pytest.fail("Ghostscript ran")

    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", run)
    refused(PictureError, content=Upload("cat.png", lambda: POSTSCRIPT))


BROKEN = {
    "empty": b"",
    "text": b"Dear Sir or Madam,\n\nI am not a picture.\n",
    "truncated": png(100, 100)[:60],
    "header": png(100, 100)[:20],
    "corrupt": png(100, 100, "RGB").replace(b"IDAT", b"IDAT\xff"),
    "jpeg": b"\xff\xd8\xff\xe0" + bytes(200),
    "gif": b"GIF89a" + bytes(10),
    "tiny": png(15, 15),
}


@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize("role", ["content", "styles", "named"])
def test_a_broken_picture_is_refused_by_its_name(refused, broken, role):
    upload = Upload("kitten.png", lambda: BROKEN[broken])
    given = {
        "content": {"content": upload},
        "styles": {"styles": [upload]},
        "named": {"named": {"kitten.png": BROKEN[broken]}, "fine": "kitten.png"},
    }[role]
    line = refused(PictureError, **given)
    assert line.startswith("kitten.png ")
    assert "/" not in line


def test_an_upload_that_is_gone_is_refused(refused, tmp_path):
    refused(PictureError, content=Upload("cat.png", (tmp_path / "swept").read_bytes))


def test_a_broken_picture_with_two_lines_for_a_name_is_refused_in_one(refused):
    refused(PictureError, named={"a\nb.png": b"text"}, palette="a\nb.png")


@pytest.mark.parametrize("name", ["other.png", "/etc/passwd", "../style.png"])
@pytest.mark.parametrize(
    "role", ["start", "mask", "mask-style", "style-mask", "palette", "protect", "fine", "coarse"]
)
def test_a_name_without_its_picture_is_refused(refused, photo, role, name):
    settings = {
        "start": {"start": {name: 1}},
        "mask": {"mask": [f"{name}=where"]},
        "mask-style": {"mask": [f"where={name}"]},
        "style-mask": {"mask": [f"where=where={name}"]},
    }.get(role, {role: name})
    line = refused(named={"where": half()}, **settings)
    assert line == f"the settings name {name!r}, and no picture of that name came with them"


def test_a_picture_of_the_server_s_is_not_read_by_its_path(refused, photo):
    assert "no picture of that name came" in refused(palette=str(photo))


def test_films_that_cannot_be_made_are_refused(refused):
    assert "no film '.exe' here" in refused(timelapse=".exe")
    assert "no film '/../x.gif' here" in refused(timelapse="/../x.gif")


def test_no_style_is_refused(refused):
    assert "no style picture" in refused(styles=[])


def test_a_network_that_is_not_there_is_said_on_opening(temporary, tmp_path):
    studio = Studio(Limits(), Machine(), [str(tmp_path / "none.safetensors")])
    try:
        with pytest.raises(ImpastoError, match=r"none\.safetensors"):
            studio.open()
    finally:
        studio.close()
    assert not listing(temporary)


# Painting on
# --------------------------------------------------------------------------------------------------


def test_painting_on_starts_from_the_earlier_painting(studio, order, tmp_path):
    earlier = studio.submit(order(), "ann")
    ended(earlier)
    picture = earlier.file("painting.png").read_bytes()
    job = studio.submit(order(base=earlier.id, steps=3, levels="auto"), "ann")
    assert ended(job) == "done"
    same = order({BASE: picture}, start={BASE: 1}, levels=1, steps=3)
    assert job.file("painting.png").read_bytes() == alone(same, studio, tmp_path)
    start = read_settings(job.file("painting.png"))["inputs"][-1]
    assert start == {"role": "start", "name": BASE, "sha256": read_bytes(picture, "").sha256}


def test_painting_on_needs_a_painting_that_is_there(studio, order, refused):
    assert "start a new one" in refused(base="nothing")
    assert "start a new one" in refused(base="../../etc")
    cancelled, waiting = studio.submit(order(**SLOW), "ann"), studio.submit(order(**SLOW), "ann")
    studio.cancel(cancelled)
    ended(cancelled)
    for job in (cancelled, waiting):
        with pytest.raises(ConfigError, match="start a new one"):
            studio.submit(order(base=job.id), "ann")


def test_an_id_is_enough_to_paint_on_and_cannot_be_guessed(studio, order):
    earlier, other = (studio.submit(order(), "ann") for _ in range(2))
    ended(earlier)
    assert ended(studio.submit(order(base=earlier.id), "bob")) == "done"
    assert earlier.id[:4] != other.id[:4]
    assert len(earlier.id) >= 22  # 128 bits
    assert earlier.id not in str(earlier.folder)


# What goes wrong
# --------------------------------------------------------------------------------------------------


def failing(*errors: BaseException):
    """A Run that makes three steps and fails; after so many errors it is itself again."""
    left = list(errors)

    def steps(run: Run):
        error = left.pop(0) if left else None
        for step in Run.steps(run):
            if error and step.number == 4:
                raise error
            yield step

    return stepping(steps)


def test_a_painting_that_fails_says_so_in_one_line_and_the_next_is_painted(
    studio, order, monkeypatch, caplog
):
    monkeypatch.setattr(working, "Run", failing(ValueError("in /srv/secret\nline 2")))
    job, other = (studio.submit(order(steps=8, timelapse=".gif"), "ann") for _ in range(2))
    assert [ended(job), ended(other)] == ["failed", "done"]
    assert job.error == "something went wrong here (ValueError); try again"
    assert "/srv/secret" in caplog.text
    assert {path.name for path in job.folder.iterdir()} == {"before.jpg", "trace.jsonl"}
    assert counted(studio)["impasto_paintings_total failed"] == 1


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("CUDA out of memory. Tried to allocate 20 GiB")]
)
def test_out_of_memory_keeps_what_there_is(studio, order, monkeypatch, error):
    monkeypatch.setattr(working, "Run", failing(error))
    job, other = (studio.submit(order(steps=8, timelapse=".gif"), "ann") for _ in range(2))
    assert [ended(job), ended(other)] == ["stopped", "done"]
    assert job.note == "not enough memory for the next level: give a smaller --size"
    assert read_settings(job.file("painting.png"))["steps_done"] == 3
    assert job.file("timelapse.gif").exists()


@pytest.fixture
def full_disk(monkeypatch):
    """full_disk(name): no file of that name can be written any more."""
    replace = os.replace

    def full(name: str) -> None:
        def put(source, target):
            if Path(target).name == name:
                raise OSError(28, "No space left on device")
            replace(source, target)

        monkeypatch.setattr(os, "replace", put)

    return full


def test_a_film_that_finds_a_full_disk_does_not_cost_the_painting(studio, order, full_disk):
    full_disk("timelapse.gif")
    job = studio.submit(order(timelapse=".gif"), "ann")
    assert ended(job) == "done"
    assert job.note == "the film could not be written"
    assert read_settings(job.file("painting.png"))["steps_done"] == 2


def test_a_full_disk_is_not_told_with_a_path(studio, order, full_disk):
    full_disk("painting.png")
    job = studio.submit(order(timelapse=".gif"), "ann")
    assert ended(job) == "failed"
    assert job.error
    assert "/" not in job.error


def test_a_full_disk_is_not_told_with_a_path_on_asking(full_disk, refused):
    full_disk("before.jpg")
    assert "/" not in refused(ImpastoError)


# The film
# --------------------------------------------------------------------------------------------------


def act_of(studio: Studio, end: str) -> Callable[[], None]:
    def act() -> None:
        job = studio.of("ann")[0]
        if end == "failed":
            raise ValueError
        if end != "done":
            getattr(studio, {"stopped": "stop", "cancelled": "cancel", "paused": "pause"}[end])(job)

    return act


@pytest.mark.parametrize("end", ["done", "stopped", "cancelled", "failed", "paused"])
def test_a_film_s_frames_are_gone_whatever_the_end(studio, order, when, temporary, end):
    when(4, act_of(studio, end))
    job = studio.submit(order(steps=8, timelapse=".gif"), "ann")
    if end == "paused":
        until(lambda: job.state == "paused")
        assert list(temporary.glob("impasto-film-*"))
        studio.cancel(job)
    assert ended(job) == {"paused": "cancelled"}.get(end, end)
    assert not list(temporary.glob("impasto-film-*"))
    assert job.file("timelapse.gif").exists() == job.finished
    if job.finished:
        with Image.open(job.file("timelapse.gif")) as film:
            assert film.n_frames > 1


# What is counted
# --------------------------------------------------------------------------------------------------


def test_every_kind_of_end_is_counted(studio, order, when):
    for end in ("done", "stopped", "stopped", "cancelled", "failed"):
        when(4, act_of(studio, end))
        job = studio.submit(order(steps=8), "ann")
        assert ended(job) == end
        studio.forget(job)
    found = counted(studio)
    ends = {
        end: found[f"impasto_paintings_total {end}"]
        for end in ("done", "stopped", "cancelled", "failed")
    }
    assert ends == {"done": 1, "stopped": 2, "cancelled": 1, "failed": 1}
    assert found["impasto_painting_seconds_count"] == 3
    assert 0 < found["impasto_painting_seconds_sum"] < 10


def test_what_waits_is_painted_and_is_paused_is_counted(studio, queue, gate):
    paused, *_ = [queue("ann") for _ in range(3)]
    studio.pause(paused)
    found = counted(studio)
    assert found["impasto_queue_length"] == 2
    assert (found["impasto_jobs painting"], found["impasto_jobs paused"]) == (1, 1)


def test_metrics_are_prometheus_text(studio):
    families = {
        each.name: each for each in text_string_to_metric_families(studio.metrics.text().decode())
    }
    kinds = {name: each.type for name, each in families.items() if not name.endswith("_created")}
    assert kinds == {
        "impasto_queue_length": "gauge",
        "impasto_jobs": "gauge",
        "impasto_paintings": "counter",
        "impasto_painting_seconds": "histogram",
        "impasto_refused": "counter",
    }
    assert all(each.documentation for each in families.values())


def test_what_is_refused_is_counted(studio, refused):
    refused(steps=5000)
    assert counted(studio)["impasto_refused_total invalid"] == 1


def test_a_worker_s_threads_do_not_change_those_of_others(studio):
    assert torch.get_num_threads() == 1
