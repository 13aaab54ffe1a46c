import dataclasses
import json
import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from impasto import Config, paint, paint_steps
from impasto.backbone.vgg import Backbone
from impasto.backbone.weights import load
from impasto.errors import OutputError, PictureError
from impasto.images.read import read, read_settings
from impasto.images.write import to_image
from impasto.painting.callbacks import Snapshots, check_trace, read_trace, snapshots, trace
from impasto.painting.run import Run
from impasto.painting.step import Step

KEYS = ["step", "level", "seconds", "evaluations", "objective", "terms"]
TERMS = {"content relu4_2", *(f"style relu{k}_1" for k in range(1, 6)), "grain", "flatness"}
TWO_LEVELS = ("--size", 160, "--levels", 2, "--steps", 5, "--step-ratio", 1.5)
ROW = {
    "step": 1,
    "level": 1,
    "seconds": 0.5,
    "evaluations": 1,
    "objective": 3.0,
    "terms": {"style relu1_1": 3.0},
}


@pytest.fixture
def config(tiny_weights) -> Config:
    return Config(backbone=str(tiny_weights), size=32, steps=4, levels=1)


@pytest.fixture(scope="module")
def backbone(tiny_weights) -> Backbone:
    return Backbone(load(str(tiny_weights)))


@pytest.fixture
def steps(config, backbone, photo, style) -> list[Step]:
    return list(paint_steps(photo, style, config, backbone=backbone))


def rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def unexpected(message: str) -> None:
    raise AssertionError(message)


def test_save_at_writes_the_steps_it_names_with_the_terms_inside(painted, tmp_path):
    assert painted("--save-at", "1,3", "--trace", "run.jsonl", "--steps", 5)[0] == 0
    assert names(tmp_path) == ["out-00001.png", "out-00003.png", "out.png", "run.jsonl"]
    told = {row["step"]: row for row in rows(tmp_path / "run.jsonl")}
    for number in (1, 3):
        settings = read_settings(tmp_path / f"out-{number:05d}.png")
        assert settings["steps_done"] == number
        assert settings["terms"] == told[number]["terms"]
        assert settings["objective"] == told[number]["objective"]
        assert [each["role"] for each in settings["inputs"]] == ["content", "style"]


def test_a_snapshot_is_the_picture_of_its_step(config, backbone, steps, photo, style, tmp_path):
    run = Run.prepare(photo, style, config, backbone=backbone)
    keep = snapshots(run, tmp_path / "out.png", Snapshots(at=(2,)), unexpected)
    for step in steps:
        keep(step)
    assert names(tmp_path) == ["out-00002.png"]
    saved = to_image(read(tmp_path / "out-00002.png").pixels)
    assert np.array_equal(np.asarray(saved), np.asarray(to_image(steps[1].picture)))


def test_the_painting_carries_its_terms_too(painted, tmp_path):
    assert painted("--trace", "run.jsonl", "--steps", 5)[0] == 0
    settings = read_settings(tmp_path / "out.png")
    best = min(rows(tmp_path / "run.jsonl"), key=lambda row: row["objective"])
    assert (settings["objective"], settings["terms"]) == (
        best["objective"],
        pytest.approx(best["terms"]),
    )


def test_save_at_and_save_every_go_together(painted, tmp_path):
    assert painted("--save-at", "3,4,5,3", "--save-every", 2, "--steps", 5)[0] == 0
    assert names(tmp_path) == [*(f"out-{number:05d}.png" for number in (2, 3, 4, 5)), "out.png"]
    assert [
        read_settings(tmp_path / f"out-0000{number}.png")["steps_done"] for number in (2, 3)
    ] == [2, 3]


def test_snapshots_of_a_smaller_level_are_as_large_as_that(painted, tmp_path):
    assert painted("--save-at", "1,5", *TWO_LEVELS)[0] == 0
    sizes = {name: tuple(read(tmp_path / name).pixels.shape[2:]) for name in names(tmp_path)}
    assert sizes == {"out-00001.png": (66, 80), "out-00005.png": (133, 160), "out.png": (133, 160)}


@pytest.mark.parametrize(
    ("save_at", "said"),
    [
        ("3,9", "--save-at 9 is beyond the last of 5 steps: choose earlier ones"),
        ("6", "--save-at 6 is beyond the last of 5 steps: choose earlier ones"),
        ("0", "--save-at is '0': it takes steps, as 3000,9000"),
        ("-1", "--save-at is '-1': it takes steps, as 3000,9000"),
        ("1,two", "--save-at is 'two': it takes steps, as 3000,9000"),
        ("1.5", "--save-at is '1.5': it takes steps, as 3000,9000"),
    ],
)
def test_a_step_that_will_not_be_is_refused(painted, tmp_path, save_at, said):
    assert painted("--steps", 5, "--save-at", save_at) == (2, "", f"impasto: {said}\n")
    assert names(tmp_path) == []


def test_a_trace_has_a_line_a_step(painted, tmp_path):
    assert painted("--trace", "run.jsonl", *TWO_LEVELS)[0] == 0
    told = rows(tmp_path / "run.jsonl")
    assert [list(row) for row in told] == [KEYS] * 5
    assert all(set(row["terms"]) == TERMS for row in told)
    assert [row["step"] for row in told] == [row["evaluations"] for row in told] == [1, 2, 3, 4, 5]
    assert [row["level"] for row in told] == [1, 1, 2, 2, 2]
    assert all(before["seconds"] <= after["seconds"] for before, after in pairwise(told))
    assert all(
        row["objective"] == pytest.approx(sum(row["terms"].values()), rel=1e-5) for row in told
    )
    assert told[1]["objective"] < told[0]["objective"]
    assert (tmp_path / "run.jsonl").read_text().endswith("}\n")


def test_a_trace_holds_what_the_steps_were(steps, tmp_path):
    add = trace(tmp_path / "run.jsonl", unexpected)
    for step in steps:
        add(step)
    for step, row in zip(steps, rows(tmp_path / "run.jsonl"), strict=True):
        assert row["objective"] == float(step.value)
        assert row["terms"] == {name: float(value) for name, value in step.terms.items()}
        assert row["seconds"] == pytest.approx(step.seconds, abs=1e-4)


def test_a_trace_is_there_while_the_run_goes_on(config, backbone, photo, style, tmp_path):
    lines = []
    add = trace(tmp_path / "run.jsonl", unexpected)

    def look(step: Step) -> None:
        add(step)
        lines.append(len(rows(tmp_path / "run.jsonl")))

    paint(photo, style, config, backbone=backbone, on_step=look)
    assert lines == [1, 2, 3, 4]


def test_a_second_run_begins_the_trace_anew(painted, tmp_path):
    for count in (5, 3):
        assert painted("--trace", "run.jsonl", "--steps", count)[0] == 0
        assert [row["step"] for row in rows(tmp_path / "run.jsonl")] == list(range(1, count + 1))


def test_a_value_that_is_not_finite_is_null(steps, tmp_path):
    broken = {
        **steps[1].terms,
        "grain": torch.tensor(math.inf),
        "content relu4_2": torch.tensor(math.nan),
    }
    add = trace(tmp_path / "run.jsonl", unexpected)
    for step in (
        steps[0],
        dataclasses.replace(steps[1], value=torch.tensor(math.nan), terms=broken),
        steps[2],
    ):
        add(step)
    told = rows(tmp_path / "run.jsonl")
    assert [row["objective"] is None for row in told] == [False, True, False]
    assert [name for name, value in told[1]["terms"].items() if value is None] == [
        "content relu4_2",
        "grain",
    ]
    curve = read_trace(str(tmp_path / "run.jsonl"))
    assert [math.isnan(value) for value in curve.objective] == [False, True, False]
    assert [math.isnan(value) for value in curve.terms["grain"]] == [False, True, False]


def test_a_trace_that_breaks_off_is_told_once(steps, tmp_path):
    said, path = [], tmp_path / "run.jsonl"
    add = trace(path, said.append)
    add(steps[0])
    path.unlink()
    path.mkdir()
    for step in steps[1:]:
        add(step)
    assert said == [f"no trace from step 2 on: cannot write {path}: Is a directory"]


def test_a_run_goes_on_without_its_trace(painted, tmp_path, monkeypatch):
    real = Path.open

    def full(path, mode="r", **options):
        if path.name == "run.jsonl" and mode == "a":
            raise OSError(28, "No space left on device")
        return real(path, mode, **options)

    monkeypatch.setattr(Path, "open", full)
    code, out, err = painted("--trace", "run.jsonl", "--steps", 5)
    assert code == 0
    assert out.startswith("out.png  (painted in ")
    assert err.count("no trace from step 2 on") == 1
    assert [row["step"] for row in rows(tmp_path / "run.jsonl")] == [1]
    assert read_settings(tmp_path / "out.png")["steps_done"] == 5


def test_reading_a_trace_gives_back_its_values(painted, tmp_path):
    painted("--trace", "run.jsonl", *TWO_LEVELS)
    curve, told = read_trace(str(tmp_path / "run.jsonl")), rows(tmp_path / "run.jsonl")
    assert curve.name == "run"
    assert list(curve.steps) == [1, 2, 3, 4, 5]
    assert list(curve.levels) == [1, 1, 2, 2, 2]
    assert list(curve.objective) == [row["objective"] for row in told]
    assert {name: list(values) for name, values in curve.terms.items()} == {
        name: [row["terms"][name] for row in told] for name in TERMS
    }


@pytest.mark.parametrize("cut", [1, 2, 30])
def test_a_last_line_that_was_cut_is_left_out(tmp_path, cut):
    text = "".join(json.dumps({**ROW, "step": number}) + "\n" for number in (1, 2, 3))
    (tmp_path / "run.jsonl").write_text(text[:-cut])
    curve = read_trace(str(tmp_path / "run.jsonl"))
    assert list(curve.steps) == [1, 2]
    assert curve.terms == {"style relu1_1": [3.0, 3.0]}


def test_a_term_that_comes_later_or_goes_is_not_a_number_elsewhere(tmp_path):
    terms = [{"style": 1.0}, {"style": 2.0, "tv": 3.0}, {"tv": 4.0}]
    text = "".join(
        json.dumps({**ROW, "step": k, "terms": each}) + "\n" for k, each in enumerate(terms, 1)
    )
    (tmp_path / "run.jsonl").write_text(text)
    curve = read_trace(str(tmp_path / "run.jsonl"))
    assert np.array_equal(curve.terms["style"], [1, 2, np.nan], equal_nan=True)
    assert np.array_equal(curve.terms["tv"], [np.nan, 3, 4], equal_nan=True)


@pytest.mark.parametrize(
    "line",
    [
        "a line of text",
        "",
        "[1, 2]",
        "3",
        "null",
        "{}",
        json.dumps({**ROW, "terms": [1.0]}),
        json.dumps({**ROW, "terms": {"style": "much"}}),
        json.dumps({**ROW, "step": "first"}),
        json.dumps({**ROW, "step": math.nan}),
        json.dumps({**ROW, "step": math.inf}),
        json.dumps({**ROW, "objective": 10**400}),
        json.dumps({key: value for key, value in ROW.items() if key != "level"}),
        "[" * 100_000,
    ],
    ids=lambda line: line[:12] + line[-12:],
)
@pytest.mark.parametrize("number", [1, 3])
def test_another_file_is_refused_with_the_number_of_its_line(tmp_path, line, number):
    path = tmp_path / "notes.txt"
    path.write_text(f"{json.dumps(ROW)}\n" * (number - 1) + f"{line}\n{json.dumps(ROW)}\n")
    with pytest.raises(PictureError) as error:
        read_trace(str(path))
    assert str(error.value) == f"{path} is not a trace: line {number} is not a step of --trace"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "no trace at {}"),
        (b"", "{} is a trace without a step"),
        (b'{"step": 1, "lev', "{} is a trace without a step"),
        (b"\x89PNG\r\n\x1a\n\x00\xff", "{} cannot be read as a trace: it is not text"),
        (Path, "{} cannot be read as a trace: Is a directory"),
    ],
    ids=["missing", "empty", "cut", "binary", "folder"],
)
def test_what_is_no_trace_is_refused(impasto, tmp_path, content, said):
    path = tmp_path / "run.jsonl"
    if content is Path:
        path.mkdir()
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(PictureError) as error:
        read_trace(str(path))
    assert str(error.value) == said.format(path)
    assert impasto("curves", path, "-o", "curves.png") == (2, "", f"impasto: {said.format(path)}\n")


def test_a_trace_has_a_traces_suffix(tmp_path):
    assert check_trace(str(tmp_path / "run.jsonl")) == tmp_path / "run.jsonl"
    assert check_trace(str(tmp_path / "RUN.JSON")) == tmp_path / "RUN.JSON"
    with pytest.raises(OutputError, match=r"has no trace's suffix: choose from \.jsonl, \.json$"):
        check_trace(str(tmp_path / "run.csv"))


def test_callbacks_do_not_change_the_picture(painted, tmp_path):
    assert painted(*TWO_LEVELS, out="plain.png")[0] == 0
    assert (
        painted(
            "--trace", "run.jsonl", "--timelapse", "film.gif", "--figure", "sheet.png", *TWO_LEVELS
        )[0]
        == 0
    )
    assert (tmp_path / "out.png").read_bytes() == (tmp_path / "plain.png").read_bytes()
    assert painted("--save-every", 2, "--save-at", "1,3", *TWO_LEVELS, out="saved.png")[0] == 0
    plain, saved = (read(tmp_path / name).pixels for name in ("plain.png", "saved.png"))
    assert torch.equal(plain, saved)
