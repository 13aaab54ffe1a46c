"""Sheets of all styles in the queue: which styles, stopped, paused, with one that fails."""

import time

import pytest
from PIL import Image

from impasto.config import Machine
from impasto.errors import ConfigError
from impasto.images.read import read
from impasto.images.samples import STYLES, sample_style
from impasto.presets import QUICK
from impasto.web.jobs.job import Job
from impasto.web.jobs.limits import Limits
from impasto.web.jobs.queue import Studio
from impasto.web.jobs.request import PaintRequest, Upload
from impasto.web.jobs.sheets import MOST_IN_SHEET, all_styles


def until(true, seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.005)


@pytest.fixture
def studio(tiny_weights, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setitem(QUICK, "size", 32)
    monkeypatch.setitem(QUICK, "steps", 2)
    monkeypatch.setattr("impasto.painting.sheet.TOGETHER", 1)  # one at a time
    machine = Machine(device="cpu", precision="float32")
    studio = Studio(Limits(steps=20_000), machine, [str(tiny_weights)], tmp_path / "saved")
    studio.open()
    yield studio
    studio.close()


def ask(studio: Studio, photo, styles) -> Job:
    content = Upload("photo.png", photo.read_bytes)
    request = PaintRequest(content, styles, {}, kind="sheet")
    return studio.submit(request, "ann", watched=True)


@pytest.fixture
def styles():
    return [Upload(f"{name}.jpg", sample_style(name).read_bytes) for name in STYLES[:3]]


def test_a_sheet_has_a_painting_in_each_style(studio, photo, styles, tmp_path):
    job = ask(studio, photo, styles)
    until(lambda: job.over)
    assert (job.state, job.error, job.cells) == ("done", "", {0: "", 1: "", 2: ""})
    assert (job.progress.frame, job.progress.frames) == (3, 3)
    assert job.title == "photo-styles"
    for number in range(3):
        with Image.open(job.file(f"cell-{number}.jpg")) as image:
            assert image.size == (32, 27)
    assert read(str(job.product)).pixels.shape[3] > 3 * 32
    assert not (tmp_path / "saved").exists(), "it is for choosing"


def test_a_pause_loses_nothing_and_a_stop_keeps_what_there_is(studio, photo, styles, monkeypatch):
    monkeypatch.setitem(QUICK, "steps", 100)
    job = ask(studio, photo, styles)
    until(lambda: job.cells)
    studio.pause(job)
    until(lambda: job.state == "paused")
    before = dict(job.cells)
    assert before
    studio.resume(job)
    until(lambda: len(job.cells) > len(before))
    studio.stop(job)
    until(lambda: job.over)
    assert job.state in ("stopped", "done")  # done: the last one was being finished
    assert before.items() <= job.cells.items()
    assert job.product.exists()


def test_a_style_that_cannot_be_painted_leaves_the_others(studio, photo, styles, monkeypatch):
    from impasto.web.jobs import sheets

    prepare = sheets.Run.prepare

    def some(content, style, *given, **more):
        if style[0].name == "woodcut.jpg":
            raise ConfigError("this one not")
        return prepare(content, style, *given, **more)

    monkeypatch.setattr(sheets.Run, "prepare", some)
    job = ask(studio, photo, styles)
    until(lambda: job.over)
    assert job.state == "done"
    assert job.cells == {0: "", 1: "this one not", 2: ""}


def test_the_styles_at_hand_are_those_of_the_page_of_before_and_of_the_package(
    studio, photo, style, styles
):
    own = Upload("own.png", style.read_bytes)
    job = ask(studio, photo, [own, *styles])
    until(lambda: job.over)
    names = [each.name for each in all_styles([styles[1]], [job])]
    assert names == ["own.png", *(f"{name}.jpg" for name in STYLES)]
    many = [Upload(f"{k}.png", lambda k=k: bytes([k])) for k in range(40)]
    assert len(all_styles(many, [])) == MOST_IN_SHEET


def test_a_sheet_cannot_be_painted_on_from(studio, photo, styles):
    job = ask(studio, photo, styles)
    until(lambda: job.over)
    order = PaintRequest(Upload("photo.png", photo.read_bytes), styles[:1], {}, base=job.id)
    with pytest.raises(ConfigError, match="the painting to paint on from is not here"):
        studio.submit(order, "ann")
