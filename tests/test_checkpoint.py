"""Runs that were cut off: the state on disk, going on from it, and what is refused."""

import errno
import fcntl
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from PIL import Image, ImageSequence

from impasto import Config, paint, paint_steps
from impasto.apps.alone import alone_in
from impasto.backbone import make_backbone
from impasto.checkpoint import NAME, Checkpoints, load
from impasto.errors import CheckpointError, OutputError
from impasto.objective import Objective
from impasto.painting import fit
from impasto.pictures import read
from impasto.scene import scene_of

# Runs the command line with a checkpoint after every step.
DRIVER = (
    "import sys, torch; torch.set_num_threads(1); from impasto import checkpoint; "
    "checkpoint.SOONEST, checkpoint.COST = 0.0, 1e9; from impasto.apps.cli import main; main(sys.argv[1:])"
)


def settings(**changes):
    return {"size": 96, "steps": 14, "levels": 2, "device": "cpu", "precision": "float32", **changes}


@pytest.fixture
def job(tiny_weights, photo, style):
    """A run: scene, config, backbone, plan."""

    def make(content=photo, weights=tiny_weights, **changes):
        config = Config(backbone=str(weights), **settings(**changes))
        scene, backbone = scene_of(read(content), [read(style)], config), make_backbone(config)
        return scene, config, backbone, fit(scene, config, backbone)

    return make


def cut_off(job, folder: Path, at: int) -> None:
    """Paint up to a step, and leave a checkpoint of it."""
    scene, config, backbone, plan = job
    checkpoints = Checkpoints(folder, *job)
    for step in paint_steps(scene.original, scene.styles, config, backbone=backbone, scene=scene, fits=plan):
        if step.number == at:
            checkpoints.save(step)
            return


@pytest.mark.parametrize("at", [1, 5, 6, 7, 13])
@pytest.mark.parametrize(
    "changes",
    [{}, {"optimizer": "adam"}, {"history": 3, "precondition": 0}, {"start": "noise", "clamp": False}, {"tile": 96}],
    ids=str,
)
def test_a_run_goes_on_and_ends_as_if_never_cut_off(job, tmp_path, changes, at) -> None:
    run = job(**changes)
    scene, config, backbone, plan = run
    whole = paint(scene.original, scene.styles, config, backbone=backbone, scene=scene, fits=plan)
    cut_off(run, tmp_path, at)
    found = load(tmp_path, scene, config, backbone)
    seen = []
    again = paint(
        scene.original, scene.styles, config, backbone=backbone, scene=scene, fits=found.plan, resume=found.state,
        on_step=lambda step: seen.append(step.number),
    )  # fmt: skip
    assert torch.equal(again.pixels, whole.pixels)
    assert (again.value, again.terms, again.settings) == (whole.value, whole.terms, whole.settings)
    assert seen == list(range(at + 1, 15))


def test_a_run_that_went_wrong_goes_on_as_it_would_have(job, tmp_path) -> None:
    run = job(optimizer="adam", learning_rate=50, clamp=False, tv_weight=1000, normalize="none")
    scene, config, backbone, plan = run
    whole = paint(scene.original, scene.styles, config, backbone=backbone, scene=scene, fits=plan)
    assert whole.notes, "it does go wrong"
    cut_off(run, tmp_path, 8)
    found = load(tmp_path, scene, config, backbone)
    again = paint(scene.original, scene.styles, config, backbone=backbone, scene=scene, resume=found.state)
    assert torch.equal(again.pixels, whole.pixels)


def test_without_a_checkpoint_there_is_none(job, tmp_path) -> None:
    scene, config, backbone, _ = job()
    assert load(tmp_path, scene, config, backbone) is None


@pytest.mark.parametrize("broken", [b"", b"not one", None])
def test_a_broken_checkpoint_is_refused(job, tmp_path, broken) -> None:
    run = job()
    cut_off(run, tmp_path, 3)
    path = tmp_path / NAME
    path.write_bytes(path.read_bytes()[:-10] if broken is None else broken)
    with pytest.raises(CheckpointError, match="is not a checkpoint that can be read"):
        load(tmp_path, *run[:3])


def test_what_would_end_with_another_picture_is_refused(job, tmp_path, style, tiny_weights, monkeypatch) -> None:
    cut_off(job(), tmp_path, 3)
    others = {
        "is not the picture that it was begun with": job(content=style),
        "other settings: strength 1.0, not 2.0": job(strength=2),
        "other settings: steps 14, not 15": job(steps=15),
    }
    for reason, (scene, config, backbone, _) in others.items():
        with pytest.raises(CheckpointError, match=reason):
            load(tmp_path, scene, config, backbone)
    scene, config, backbone, _ = job()
    backbone.weights.kernels["conv1_1"][0].add_(1)
    with pytest.raises(CheckpointError, match="another network"):
        load(tmp_path, scene, config, backbone)
    backbone.weights.kernels["conv1_1"][0].sub_(1)
    monkeypatch.setattr("impasto.checkpoint.__version__", "9.9")
    scene, config, backbone, _ = job()
    with pytest.raises(CheckpointError, match=r"begun with version impasto 0.* and this is impasto 9\.9"):
        load(tmp_path, scene, config, backbone)


def test_a_full_disk_leaves_the_checkpoint_before(job, tmp_path, monkeypatch) -> None:
    run = job()
    cut_off(run, tmp_path, 3)
    before = (tmp_path / NAME).read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space left"):
        cut_off(run, tmp_path, 5)
    assert (tmp_path / NAME).read_bytes() == before
    assert os.listdir(tmp_path) == [NAME]


# The command line -----------------------------------------------------------------------------------------------------


def test_a_finished_run_keeps_no_checkpoint_and_says_so(painted, impasto, tmp_path) -> None:
    assert painted("--checkpoint", "kept")[0] == 0
    assert set(os.listdir(tmp_path / "kept")) == {"job.json", "lock"}
    code, out, _ = impasto("resume", "kept")
    assert (code, out) == (0, "kept is finished: the painting is out.png\n")


def test_a_finished_run_whose_painting_is_gone_is_told(painted, impasto, tmp_path, monkeypatch) -> None:
    painted("--checkpoint", "kept")
    monkeypatch.chdir("/")
    assert impasto("resume", tmp_path / "kept")[1].endswith(f"the painting is {tmp_path / 'out.png'}\n")
    (tmp_path / "out.png").unlink()
    code, _, err = impasto("resume", tmp_path / "kept")
    assert (code, f"its painting {tmp_path / 'out.png'} is gone: the same" in err) == (2, True)


@pytest.fixture
def stopped(painted, ctrl_c, monkeypatch):
    """Has `painted` stopped by hand at an evaluation, with its checkpoint in kept/."""

    def stop(at: int, *options: object) -> None:
        with monkeypatch.context() as patch:
            ctrl_c(at, patch)
            painted(*options, "--checkpoint", "kept")

    monkeypatch.setattr("impasto.checkpoint.SOONEST", 0.0)
    monkeypatch.setattr("impasto.checkpoint.COST", 1e9)
    return stop


def test_a_film_goes_on_after_its_first_part(painted, stopped, impasto, tmp_path) -> None:
    options = ("--steps", 16, "--timelapse", "film.apng")
    painted(*options)
    whole = frames_of(tmp_path / "film.apng")
    stopped(9, *options)
    first = frames_of(tmp_path / "film.apng")
    assert 2 < len(first) < len(whole)
    assert impasto("resume", "kept")[0] == 0
    found = frames_of(tmp_path / "film.apng")
    assert abs(len(found) - len(whole)) <= 1
    assert found[: len(first) - 2] == whole[: len(first) - 2]
    assert found[-1] == whole[-1]
    assert set(os.listdir(tmp_path / "kept")) == {"job.json", "lock"}


def test_a_film_s_last_frame_may_have_been_cut_off(stopped, impasto, tmp_path) -> None:
    stopped(9, "--steps", 16, "--timelapse", "film.apng")
    last = max((tmp_path / "kept" / ".impasto-film").iterdir())
    last.write_bytes(last.read_bytes()[:100])
    assert impasto("resume", "kept")[0] == 0
    assert len(frames_of(tmp_path / "film.apng")) > 4


def frames_of(path: Path) -> list[bytes]:
    with Image.open(path) as film:
        return [frame.convert("RGB").tobytes() for frame in ImageSequence.all_frames(film)]


def test_one_run_at_a_time_has_a_folder(painted, stopped, impasto, tmp_path) -> None:
    stopped(3, "--steps", 5)
    with alone_in(tmp_path / "kept"):
        for code, out, err in (painted("--checkpoint", "kept"), impasto("resume", "kept")):
            assert (code, out) == (2, "")
            assert "another run is painting with checkpoints in" in err
    assert impasto("resume", "kept")[0] == 0


@pytest.mark.parametrize(("number", "code"), [(errno.ENOSYS, 0), (errno.EWOULDBLOCK, 2), (errno.EIO, 2)])
def test_where_there_are_no_locks_it_paints_without(painted, monkeypatch, number, code) -> None:
    def refused(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refused)
    found, _, err = painted("--checkpoint", "kept")
    assert (found, "another run" in err, "Input/output error" in err) == (code, number == 11, number == errno.EIO)


def test_somebody_s_files_in_the_folder_stay(painted, tmp_path) -> None:
    (tmp_path / "film").mkdir()
    for name in ("film/00000001.png", "lock", "checkpoint.txt"):
        (tmp_path / name).write_text("somebody's")
    assert painted("--checkpoint", ".", "--timelapse", "out.gif")[0] == 0
    for name in ("film/00000001.png", "lock", "checkpoint.txt"):
        assert (tmp_path / name).read_text() == "somebody's"


def test_a_broken_checkpoint_is_told_with_what_to_do(stopped, impasto, tmp_path) -> None:
    stopped(3, "--steps", 5)
    path = tmp_path / "kept" / NAME
    path.write_bytes(path.read_bytes()[:1000])
    assert f"without {path} the painting is begun anew" in impasto("resume", "kept")[2]
    path.unlink()
    assert impasto("resume", "kept")[0] == 0


def test_resumed_from_elsewhere_it_says_where_the_painting_is(stopped, impasto, tmp_path, monkeypatch) -> None:
    stopped(3, "--steps", 5)
    monkeypatch.chdir("/")
    assert impasto("resume", tmp_path / "kept")[1].startswith(f"{tmp_path / 'out.png'}  (painted in ")


def test_ctrl_c_keeps_what_there_is_and_resume_ends_it(painted, impasto, ctrl_c, tmp_path, monkeypatch) -> None:
    options = ("--steps", 9, "--trace", "run.jsonl")
    painted(*options, out="whole.png")
    whole = (tmp_path / "run.jsonl").read_text()
    monkeypatch.setattr("impasto.checkpoint.SOONEST", 0.0)
    monkeypatch.setattr("impasto.checkpoint.COST", 1e9)
    with monkeypatch.context() as patch:
        ctrl_c(5, patch)
        code, out, err = painted(*options, "--checkpoint", "kept")
    assert code == 0
    assert "stopped by hand: 4 of 9 steps" in out
    assert "`impasto resume kept` goes on with it" in err
    monkeypatch.chdir("/")  # wherever one is by then
    code, _, err = impasto("resume", tmp_path / "kept")
    assert code == 0
    assert "goes on after step 4" in err
    assert (tmp_path / "out.png").read_bytes() == (tmp_path / "whole.png").read_bytes()
    lines = [[json.loads(line) for line in text.splitlines()] for text in (whole, (tmp_path / "run.jsonl").read_text())]
    assert [row["objective"] for row in lines[0]] == [row["objective"] for row in lines[1]]


def test_ctrl_c_at_the_last_step_is_too_late(painted, impasto, monkeypatch) -> None:
    evaluate, made = Objective.evaluate, []

    def pressed(self: Objective, x: torch.Tensor):
        made.append(x.shape)
        if len(made) == 4:
            os.kill(os.getpid(), signal.SIGINT)
        return evaluate(self, x)

    monkeypatch.setattr(Objective, "evaluate", pressed)
    code, out, _ = painted("--steps", 4, "--checkpoint", "kept")
    assert (code, "stopped" in out) == (0, False)
    assert "kept is finished" in impasto("resume", "kept")[1]


def test_a_folder_with_an_unfinished_painting_is_not_begun_anew(painted, ctrl_c, monkeypatch) -> None:
    monkeypatch.setattr("impasto.checkpoint.SOONEST", 0.0)
    monkeypatch.setattr("impasto.checkpoint.COST", 1e9)
    with monkeypatch.context() as patch:
        ctrl_c(3, patch)
        painted("--steps", 5, "--checkpoint", "kept")
    code, _, err = painted("--checkpoint", "kept")
    assert code == 2
    assert "`impasto resume kept` goes on with it" in err


def test_a_folder_in_which_nothing_was_begun_is_free(impasto, painted, style, tiny) -> None:
    assert impasto("paint", "missing.png", style, "-o", "out.png", *tiny, "--checkpoint", "kept")[0] == 2
    assert painted("--checkpoint", "kept")[0] == 0


def test_resume_says_what_is_wrong(impasto, painted, photo, style, tiny, ctrl_c, tmp_path, monkeypatch) -> None:
    assert impasto("resume", "nowhere")[0] == 2
    own = tmp_path / "own.png"
    own.write_bytes(photo.read_bytes())
    monkeypatch.setattr("impasto.checkpoint.SOONEST", 0.0)
    monkeypatch.setattr("impasto.checkpoint.COST", 1e9)
    with monkeypatch.context() as patch:
        ctrl_c(3, patch)
        impasto("paint", own, style, "-o", "out.png", *tiny, "--steps", 5, "--checkpoint", "kept")
    own.write_bytes(style.read_bytes())
    code, _, err = impasto("resume", "kept")
    assert code == 2
    assert "own.png is not the picture that it was begun with" in err
    (tmp_path / "kept" / "job.json").write_text("{")
    assert "cannot be read" in impasto("resume", "kept")[2]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_after_its_step_with_all_kept(tiny_weights, photo, style, tmp_path, number) -> None:
    with begin(tiny_weights, photo, style, tmp_path, "out.png", 100_000, "--checkpoint", "kept") as process:
        until(tmp_path / "kept" / NAME)
        process.send_signal(number)
        assert process.wait(20) == 0
    assert (tmp_path / "out.png").exists()
    assert {NAME, "job.json", "lock"} == set(os.listdir(tmp_path / "kept"))


def begin(weights, photo, style, folder, out, steps, *more) -> subprocess.Popen:
    options = f"--backbone {weights} --size 96 --levels 2 --steps {steps} --device cpu --precision float32 --quiet"
    command = ["paint", photo, style, "-o", out, *options.split(), *more]
    return subprocess.Popen([sys.executable, "-c", DRIVER, *map(str, command)], cwd=folder)


def until(path: Path) -> None:
    deadline = time.monotonic() + 20
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize(("kills", "steps"), [(2, 400), pytest.param(20, 1500, marks=pytest.mark.slow)])
def test_killed_at_random_moments_it_ends_with_the_same_bytes(
    tiny_weights, photo, style, tmp_path, kills, steps
) -> None:
    run = (tiny_weights, photo, style, tmp_path)
    with begin(*run, "whole.png", steps) as process:
        assert process.wait(60) == 0
    moments = random.Random(kills)
    with begin(*run, "out.png", steps, "--checkpoint", "kept") as process:
        until(tmp_path / "kept" / NAME)
        process.kill()
    for _ in range(kills - 1):
        with subprocess.Popen([sys.executable, "-c", DRIVER, "resume", "kept", "--quiet"], cwd=tmp_path) as process:
            time.sleep(moments.uniform(0.5, 3.5))
            process.kill()
    done = subprocess.run([sys.executable, "-c", DRIVER, "resume", "kept", "--quiet"], cwd=tmp_path, check=False)
    assert done.returncode == 0
    sums = {hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for name in ("whole.png", "out.png")}
    assert len(sums) == 1
    assert set(os.listdir(tmp_path / "kept")) == {"job.json", "lock"}
