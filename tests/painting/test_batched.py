"""Several paintings in one pass: each is what it is alone, and one that fails does not spoil the
others."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from impasto import Config, paint
from impasto.backbone.weights import load
from impasto.batch.executor import Assignment, File, Task
from impasto.batch.scheduler import at_once
from impasto.batch.worker import Worker
from impasto.config import changed_by
from impasto.errors import SolverError
from impasto.images.read import read_bytes
from impasto.objective.style_targets import style_targets
from impasto.painting import outcome
from impasto.painting.batched import batch_key, paint_batched
from impasto.painting.loop import Loop
from impasto.painting.run import Run


@pytest.fixture
def album(tmp_path, photo, style):
    """Pictures by name: contents a, b, c of one size and up, styles s and t, a mask."""
    pixels, of_style = np.asarray(Image.open(photo)), np.asarray(Image.open(style))
    half = np.repeat(np.where(np.arange(48) < 24, 255, 0)[None], 40, 0).astype(np.uint8)
    made = {
        "a": pixels,
        "b": pixels[..., ::-1],
        "c": pixels[::-1],
        "up": pixels.swapaxes(0, 1),
        "half": half,
    }
    made |= {"s": of_style, "t": of_style.swapaxes(0, 1)}
    for name, each in made.items():
        Image.fromarray(np.ascontiguousarray(each)).save(tmp_path / f"{name}.png")
    return {name: str(tmp_path / f"{name}.png") for name in made}


@pytest.fixture
def config(tiny_weights):
    usual = {
        "size": 96,
        "steps": 6,
        "levels": 2,
        "level_ratio": 1.25,
        "device": "cpu",
        "precision": "float32",
    }
    usual["backbone"] = str(tiny_weights)
    return lambda **changes: changed_by({**usual, **changes}, Config())


@pytest.fixture
def run(album, config):
    def make(content="a", style="s", **changes) -> Run:
        return Run.prepare(album[content], album[style], *config(**changes))

    return make


ODD = [
    {"optimizer": "adam"},
    {"style_term": "sliced"},
    {"style_term": "neighbors"},
    {"normalize": "none"},
    {"tv_weight": 2, "edge_weight": 1},
    {"content_weight": 0},
    {"style_weight": 0, "grain_weight": 0},
    {"start": "noise", "clamp": False},
    {"color": "luminance"},
    {"protect": "half"},
    {"mask": "half"},
    {"fine": "t"},
    {"history": 2, "precondition": 0},
]
QUICK = (0, 2, 10, 11)  # a solver, a term of its own, a mask, a second picture


@pytest.mark.parametrize(
    "odd",
    [pytest.param(odd, marks=[] if k in QUICK else pytest.mark.slow) for k, odd in enumerate(ODD)],
    ids=str,
)
def test_each_of_several_is_at_every_step_what_it_is_alone(run, config, album, odd) -> None:
    named = {"protect": album["half"], "mask": f"{album['half']}={album['t']}", "fine": album["t"]}
    odd = {key: named.get(key, value) for key, value in odd.items()}
    runs = [
        run("a", steps=4),
        run("b", "t", strength=3, steps=4),
        run("c", **odd, steps=4),
        run("a", "t", style_term="moments", steps=4),
    ]
    assert len({batch_key(each) for each in runs}) == 1
    seen = []
    apart = [each.steps() for each in runs]
    for steps in zip(paint_batched(runs), zip(*apart, strict=True), strict=True):
        for one, other in zip(*steps, strict=True):
            assert torch.equal(one.picture, other.picture)
            assert torch.equal(one.best.point, other.best.point)
            assert (one.value, one.terms, one.number) == (other.value, other.terms, other.number)
        seen.append(one.level)
    assert (len(seen), set(seen)) == (4, {1, 2})


def test_several_contents_in_one_style_measure_it_once_a_level(run, monkeypatch) -> None:
    measured = []

    def counted(extractor, regions):
        measured.append(regions[0].styles[0].pixels.shape[2:])
        return style_targets(extractor, regions)

    monkeypatch.setattr("impasto.painting.batched.style_targets", counted)
    network = run().backbone

    def paint_all(*runs: Run) -> int:
        """How often a style is measured; there are two levels."""
        measured.clear()
        for _ in paint_batched([replace(each, backbone=network) for each in runs]):
            pass
        return len(measured)

    assert paint_all(run("a"), run("b"), run("c")) == 2
    assert len(set(measured)) == 2
    # another style, another strength, and styles with each content's lightness
    content = {"color": "luminance"}
    runs = [run("a"), run("b", "t"), run("c", strength=2), run("a", **content), run("b", **content)]
    assert paint_all(*runs) == 2 * len(runs)


def test_what_differs_in_size_layers_or_network_or_was_begun_is_not_alike(run) -> None:
    kind = batch_key(run())
    assert kind == batch_key(
        run("b", "t", seed=3, style_weight=0, optimizer="adam", style_term="moments")
    )
    others = [
        {"content": "up"},
        {"size": 95},
        {"steps": 7},
        {"levels": 1},
        {"content_layers": "relu3_1"},
        {"style_layers": "relu1_1"},
        {"pooling": "average"},
        {"padding": "zeros"},
    ]
    assert all(batch_key(run(**each)) != kind for each in others)
    assert batch_key(run(size=160, tile=96)) is None
    assert batch_key(replace(run(), resume="somewhere")) is None


def test_the_larger_the_fewer_are_given_to_a_worker_at_once() -> None:
    sizes = {"original": 1, 16: 8, 256: 8, 512: 2, 700: 1, 4096: 1}
    assert {size: at_once(Config(size=size)) for size in sizes} == sizes


# The worker of a batch
# -----------------------------------------------------------------------------------------------


@pytest.fixture
def order(album, tmp_path, config, monkeypatch):
    """What a Worker is to begin: a task for each content, in the style s."""
    monkeypatch.chdir(tmp_path)

    def make(*contents: str):
        data = {name: Path(album[name]).read_bytes() for name in (*contents, "s")}
        file = {
            name: File(album[name], hashlib.sha256(each).hexdigest()) for name, each in data.items()
        }
        tasks = [Task(name, *config(), file[name], (file["s"],), (), ".png") for name in contents]
        folders = {name: Path(f"work-{name}") for name in contents}
        for folder in folders.values():
            folder.mkdir(exist_ok=True)
        files = {file[name].sha256: data[name] for name in data}
        return Assignment(tasks, files, load(config()[0].backbone), folders)

    return make


def finished(order) -> tuple[dict, dict, list]:
    """All that a worker makes of an order: what is done, what failed, notes."""
    worker, done, failed, notes, idle = Worker(), {}, {}, [], False
    worker.begin(order)
    while not idle:
        update = worker.advance()
        assert not done.keys() & update.done.keys(), "done twice"
        assert 0 <= update.in_progress < len(order.tasks)
        done, failed, notes, idle = (
            done | update.done,
            failed | update.failed,
            notes + update.notes,
            update.idle,
        )
    assert not done.keys() & failed.keys()
    return done, failed, notes


def alone(order) -> dict[str, bytes]:
    """The file of each of an order's tasks, by the library."""
    found, (tasks, files, *_) = {}, order
    for task in tasks:
        content, style = (
            read_bytes(files[each.sha256], each.name) for each in (task.content, *task.styles)
        )
        found[task.key] = (
            paint(content, style, task.config, task.machine)
            .save(f"alone-{task.key}.png")
            .read_bytes()
        )
    return found


def test_a_worker_makes_of_each_task_the_bytes_of_a_painting_alone(order) -> None:
    done, failed, notes = finished(given := order("a", "up", "b", "c"))
    assert {name: each.picture for name, each in done.items()} == alone(given)
    assert {name: each.record["together"] for name, each in done.items()} == {
        "a": 3,
        "b": 3,
        "c": 3,
        "up": 1,
    }
    assert (failed, notes) == ({}, [])


def test_no_more_are_painted_together_than_memory_takes(order, monkeypatch) -> None:
    prepare = Run.prepare

    def scarce(*given, **more):
        run = prepare(*given, **more)
        return replace(run, plan=run.plan._replace(budget=2 * run.plan.needed))

    monkeypatch.setattr(Run, "prepare", scarce)
    assert sorted(
        each.record["together"] for each in finished(order("a", "b", "c"))[0].values()
    ) == [1, 2, 2]


@pytest.mark.parametrize(
    "error",
    [
        SolverError("it went wrong"),
        *(
            pytest.param(each, marks=pytest.mark.slow)
            for each in (MemoryError(), RuntimeError("odd"))
        ),
    ],
    ids=repr,
)
def test_one_that_fails_on_the_way_does_not_spoil_the_others(order, monkeypatch, error) -> None:
    expected, tell = alone(given := order("a", "b", "c")), Loop.tell
    del expected["b"]

    def failing(loop, *told):
        step = tell(loop, *told)
        if step.number == 2 and loop._problem.original.sha256 == given[0][1].content.sha256:
            raise error
        return step

    monkeypatch.setattr(Loop, "tell", failing)
    done, failed, _ = finished(given)
    assert set(failed) == {"b"}
    assert {name: each.picture for name, each in done.items()} == expected


def test_one_whose_file_cannot_be_made_does_not_have_the_others_done_twice(
    order, monkeypatch
) -> None:
    given, encode = order("a", "b", "c"), outcome.encode

    def full(image, suffix, settings, *more):
        if settings["inputs"][0]["sha256"] == given[0][1].content.sha256:
            raise MemoryError
        return encode(image, suffix, settings, *more)

    monkeypatch.setattr(outcome, "encode", full)
    done, failed, _ = finished(given)
    assert (set(done), set(failed)) == ({"a", "c"}, {"b"})


def test_what_was_kept_goes_on_from_there_or_is_begun_anew_where_it_is_broken(order) -> None:
    worker = Worker()
    worker.begin(given := order("a", "b"))
    for _ in range(4):
        worker.advance()
    assert sorted(worker.checkpoint().saved) == ["a", "b"]
    worker.begin(given)
    assert worker.advance().in_progress > 0.5, "four of six steps of the first are there"
    given.folders["b"].joinpath("checkpoint.safetensors").write_bytes(b"broken")
    done, _, notes = finished(given)
    assert {name: each.picture for name, each in done.items()} == alone(given)
    assert ["is begun anew" in each for each in notes] == [True]
