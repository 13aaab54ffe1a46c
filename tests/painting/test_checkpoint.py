"""Runs that were cut off: the state on disk, going on from it, and what is refused."""

import contextlib
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
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image, ImageSequence
from safetensors import SafetensorError

from impasto import Config
from impasto.backbone.convolution import Method
from impasto.config import Machine, changed_by
from impasto.errors import CheckpointError, OutputError
from impasto.locking import exclusive_lock
from impasto.objective.objective import Objective
from impasto.painting import checkpoint_file
from impasto.painting.checkpoint import Checkpoints, load
from impasto.painting.checkpoint_file import BEFORE, NAME, clear, newest, put
from impasto.painting.run import Run

slow = pytest.mark.slow

# Runs the command line with a checkpoint after every step.
DRIVER = (
    "import sys, torch; torch.set_num_threads(1); from impasto.painting import checkpoint; "
    "checkpoint.SOONEST, checkpoint.COST = 0.0, 1e9; from impasto.cli.main import main; "
    "main(sys.argv[1:])"
)


def settings(**changes):
    return {
        "size": 96,
        "steps": 14,
        "levels": 2,
        "device": "cpu",
        "precision": "float32",
        **changes,
    }


@pytest.fixture
def job(tiny_weights, photo, style):
    """A run that is ready to start."""

    def make(content=photo, weights=tiny_weights, **changes):
        of = changed_by({"backbone": str(weights), **settings(**changes)}, Config())
        return Run.prepare(content, style, *of)

    return make


def of(run: Run):
    """What `load` takes."""
    return run.problem, run.config, run.backbone


def cut_off(run: Run, folder: Path, *at: int) -> None:
    """Paint up to the last of some steps, and leave checkpoints of them."""
    checkpoints = Checkpoints(folder, run)
    for step in run.steps():
        if step.number in at:
            checkpoints.save(step)
        if step.number == max(at):
            return


@pytest.mark.parametrize(
    ("changes", "at"),
    [
        pytest.param(changes, at, marks=[] if at == 6 or (at == 13 and not changes) else slow)
        for changes in (
            {},
            {"optimizer": "adam"},
            {"history": 3, "precondition": 0},
            {"start": "noise", "clamp": False},
            {"tile": 96},
        )
        for at in (1, 5, 6, 7, 13)
    ],
    ids=str,
)
def test_a_resumed_run_ends_as_if_never_interrupted(job, tmp_path, changes, at) -> None:
    run = job(**changes)
    whole = run.paint()
    cut_off(run, tmp_path, at)
    found = load(tmp_path, *of(run))
    seen = []
    again = replace(run, plan=found.plan, resume=found.state).paint(
        lambda step: seen.append(step.number)
    )
    assert torch.equal(again.pixels, whole.pixels)
    assert (again.value, again.terms, again.settings) == (whole.value, whole.terms, whole.settings)
    assert seen == list(range(at + 1, 15))


def test_an_entry_point_goes_on_with_as_many_threads(job, tmp_path, monkeypatch) -> None:
    run = job()
    cut_off(run, tmp_path, 3)
    count = [torch.get_num_threads() + 1]  # of another machine
    monkeypatch.setattr("torch.get_num_threads", lambda: count[0])
    with pytest.raises(CheckpointError, match="begun with threads 1, and this is 2"):
        load(tmp_path, *of(run))
    assert load(tmp_path, *of(run), set_threads=lambda threads: count.insert(0, threads))
    assert count == [1, 2]


def test_a_run_that_went_wrong_goes_on_as_it_would_have(job, tmp_path) -> None:
    run = job(optimizer="adam", learning_rate=50, clamp=False, tv_weight=1000, normalize="none")
    whole = run.paint()
    assert whole.notes, "it does go wrong"
    cut_off(run, tmp_path, 8)
    again = replace(run, resume=load(tmp_path, *of(run)).state).paint()
    assert torch.equal(again.pixels, whole.pixels)


def test_loading_from_an_empty_folder_gives_none(job, tmp_path) -> None:
    problem, config, backbone = of(job())
    assert load(tmp_path, problem, config, backbone) is None


@pytest.mark.parametrize("broken", [b"", b"not one", None])
def test_a_broken_checkpoint_is_refused(job, tmp_path, broken) -> None:
    run = job()
    cut_off(run, tmp_path, 3)
    path = tmp_path / NAME
    path.write_bytes(path.read_bytes()[:-10] if broken is None else broken)
    with pytest.raises(CheckpointError, match="is not a checkpoint that can be read"):
        load(tmp_path, *of(run))


def test_resume_refuses_a_run_that_would_end_with_another_picture(
    job, tmp_path, style, tiny_weights, monkeypatch
) -> None:
    cut_off(job(), tmp_path, 3)
    others = {
        "is not the picture that it was begun with": job(content=style),
        "other settings: strength 1.0, not 2.0": job(strength=2),
        "other settings: steps 14, not 15": job(steps=15),
    }
    for reason, other in others.items():
        with pytest.raises(CheckpointError, match=reason):
            load(tmp_path, *of(other))
    problem, config, backbone = of(job())
    backbone.weights.kernels["conv1_1"][0].add_(1)
    with pytest.raises(CheckpointError, match="another network"):
        load(tmp_path, problem, config, backbone)
    backbone.weights.kernels["conv1_1"][0].sub_(1)
    monkeypatch.setattr("impasto.painting.checkpoint.__version__", "9.9")
    problem, config, backbone = of(job())
    with pytest.raises(
        CheckpointError, match=r"begun with version impasto 0.* and this is impasto 9\.9"
    ):
        load(tmp_path, problem, config, backbone)


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


# Two checkpoints, and what befalls them
# -------------------------------------------------------------------------------


@pytest.fixture
def kept(job, tmp_path):
    """A run with checkpoints of the steps 4 and 5; and what they hold, by step."""
    run, states, folder = job(size=32, levels=1), {}, tmp_path / "kept"
    folder.mkdir()
    cut_off(run, folder, 4)
    states[4] = load(folder, *of(run)).state
    cut_off(run, folder, 5)
    states[5] = load(folder, *of(run)).state
    assert sorted(os.listdir(folder)) == [BEFORE, NAME]
    return run, folder, states


def same(one, other) -> bool:
    """Whether two states end with the same picture: all but the seconds that were spent."""
    batch_key = all(torch.equal(one.tensors[name], value) for name, value in other.tensors.items())
    rest = {"tensors": {}, "seconds": 0.0}
    return (
        batch_key
        and one.tensors.keys() == other.tensors.keys()
        and one._replace(**rest) == other._replace(**rest)
    )


def flip(path: Path, bit: int) -> None:
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)


@pytest.mark.parametrize("flips", [60, pytest.param(4000, marks=pytest.mark.slow)])
def test_a_flipped_bit_never_leads_to_another_picture(kept, flips) -> None:
    run, folder, states = kept
    path, draw = folder / NAME, random.Random(flips)
    whole, head = path.read_bytes(), 8 + int.from_bytes(path.read_bytes()[:8], "little")
    before, fallen = (folder / BEFORE).read_bytes(), 0
    for number in range(flips):  # every other one in the header
        bit = draw.randrange(8 * head) if number % 2 else draw.randrange(8 * head, 8 * len(whole))
        flip(path, bit)
        found = load(folder, *of(run))
        if found.note:
            assert found.note == "the newest checkpoint is damaged; resuming after step 4"
            (folder / BEFORE).unlink()
            with pytest.raises(
                CheckpointError,
                match=r"its checksum does not match|not a checkpoint that can be read",
            ):
                load(folder, *of(run))
            (folder / BEFORE).write_bytes(before)
        assert same(found.state, states[4 if found.note else 5]), f"bit {bit} of {path.name}"
        fallen += bool(found.note)
        path.write_bytes(whole)
    assert fallen >= 0.9 * flips


def test_a_flipped_bit_of_a_tensor_is_told_in_plain_words(kept) -> None:
    run, folder, _ = kept
    (folder / BEFORE).unlink()
    flip(folder / NAME, 8 * len((folder / NAME).read_bytes()) - 3)
    with pytest.raises(CheckpointError) as error:
        load(folder, *of(run))
    assert str(error.value) == f"{folder / NAME} is damaged: its checksum does not match"


def test_a_damaged_one_does_not_take_the_place_of_the_one_before(kept) -> None:
    run, folder, states = kept
    (folder / NAME).write_bytes(b"not one")
    cut_off(run, folder, 6)
    assert load(folder, *of(run)).state.number == 6
    (folder / NAME).write_bytes(b"not one")
    assert same(load(folder, *of(run)).state, states[4])


@pytest.mark.parametrize("calls", [1, 2, 3])
def test_killed_while_one_is_put_in_its_place_there_is_a_whole_one(
    kept, monkeypatch, calls
) -> None:
    run, folder, states = kept
    replace, made = os.replace, []

    def killed(*paths):
        made.append(paths)
        if len(made) == calls:
            raise KeyboardInterrupt
        replace(*paths)

    with monkeypatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
        patch.setattr(os, "replace", killed)
        cut_off(run, folder, 6)
    found = load(folder, *of(run))
    assert (found.note, found.state.number) == ("", {1: 5, 2: 5, 3: 6}[calls])
    assert calls == 3 or same(found.state, states[5])
    cut_off(run, folder, 7)
    assert load(folder, *of(run)).state.number == 7


def test_where_there_is_room_for_two_only_the_older_one_goes(kept, monkeypatch) -> None:
    run, folder, _ = kept
    save, seen = checkpoint_file.save_file, []

    def full(tensors, part, metadata):
        seen.append(sorted(os.listdir(folder)))
        if BEFORE in seen[-1]:
            raise SafetensorError(
                "Error while serializing: I/O error: No space left on device (os error 28)"
            )
        save(tensors, part, metadata)

    monkeypatch.setattr(checkpoint_file, "save_file", full)
    cut_off(run, folder, 6, 7)
    assert seen == [[BEFORE, NAME], [NAME]] * 2
    assert load(folder, *of(run)).state.number == 7


def test_a_checkpoint_larger_than_the_painting_can_need_is_not_read(kept) -> None:
    run, folder, _ = kept
    (folder / BEFORE).unlink()
    os.truncate(folder / NAME, 1 << 40)
    with pytest.raises(
        CheckpointError, match=r"bytes, more than the .* that this painting can need"
    ):
        load(folder, *of(run))


def test_a_checkpoint_that_is_a_fifo_is_not_waited_for(kept) -> None:
    run, folder, _ = kept
    (folder / NAME).unlink()
    os.mkfifo(folder / NAME)
    with pytest.raises(OutputError, match="is not a regular file: it is a FIFO"):
        load(folder, *of(run))


def test_clear_removes_both(kept) -> None:
    _, folder, _ = kept
    clear(folder)
    assert os.listdir(folder) == []


def test_the_newest_that_is_whole_is_sent_and_what_comes_back_keeps_the_one_before(kept) -> None:
    run, folder, states = kept
    assert newest(folder) == folder / NAME
    data = (folder / NAME).read_bytes()
    (folder / NAME).write_bytes(data[:-1])
    assert newest(folder) == folder / BEFORE
    put(folder, data)
    assert same(load(folder, *of(run)).state, states[5])
    (folder / NAME).write_bytes(b"")
    assert same(load(folder, *of(run)).state, states[4])
    (folder / BEFORE).unlink()
    assert newest(folder) is None


# The command line
# --------------------------------------------------------------------------------------------------


def test_a_finished_run_keeps_no_checkpoint_and_says_so(painted, impasto, tmp_path) -> None:
    assert painted("--checkpoint", "kept")[0] == 0
    assert set(os.listdir(tmp_path / "kept")) == {"job.json", "lock"}
    code, out, _ = impasto("resume", "kept")
    assert (code, out) == (0, "kept is finished: the painting is out.png\n")


def test_resume_says_where_the_painting_of_a_finished_run_is_gone(
    painted, impasto, tmp_path, monkeypatch
) -> None:
    painted("--checkpoint", "kept")
    monkeypatch.chdir("/")
    assert impasto("resume", tmp_path / "kept")[1].endswith(
        f"the painting is {tmp_path / 'out.png'}\n"
    )
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

    monkeypatch.setattr("impasto.painting.checkpoint.SOONEST", 0.0)
    monkeypatch.setattr("impasto.painting.checkpoint.COST", 1e9)
    return stop


class KilledError(BaseException):
    """In the place of kill -9: nothing that would tidy up is run."""


@pytest.mark.parametrize(
    ("saved", "killed"), [((2,), 4), ((3, 6), 9), pytest.param((9, 13), 14, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("damaged", [False, True])
def test_a_resumed_film_has_the_bytes_of_an_uninterrupted_one(
    painted, impasto, tmp_path, monkeypatch, saved, killed, damaged
) -> None:
    monkeypatch.setattr("impasto.figures.timelapse.FRAMES", 2)
    monkeypatch.setattr(
        Checkpoints,
        "maybe_save",
        lambda self, step: step.number in saved and step.number < step.steps and self.save(step),
    )
    options = ("--steps", 16, "--timelapse", "film.gif")
    painted(*options)
    whole, evaluate, made = (tmp_path / "film.gif").read_bytes(), Objective.evaluate, []

    def dies(self, x):
        made.append(x.shape)
        if len(made) == killed:
            raise KilledError
        return evaluate(self, x)

    with monkeypatch.context() as patch:
        patch.setattr(Objective, "evaluate", dies)
        with pytest.raises(KilledError):
            painted(*options, "--checkpoint", "kept")
    with (tmp_path / "kept" / ".impasto-film" / "film.jsonl").open("a") as journal:
        journal.write('{"step": 15, "visi')
    (tmp_path / "film.gif").unlink(missing_ok=True)
    if damaged:
        (tmp_path / "kept" / NAME).write_bytes(b"not one")
    code, _, err = impasto("resume", "kept")
    if damaged and len(saved) == 1:
        assert (code, "is not a checkpoint that can be read" in err) == (2, True)
        return
    words = "the newest checkpoint is damaged; resuming after" if damaged else "resuming after"
    assert (code, f"{words} step {saved[0] if damaged else saved[-1]}" in err) == (0, True)
    assert (tmp_path / "film.gif").read_bytes() == whole
    assert set(os.listdir(tmp_path / "kept")) == {"job.json", "lock"}


def test_a_film_of_a_run_that_was_stopped_by_hand_goes_on_too(
    painted, stopped, impasto, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr("impasto.figures.timelapse.FRAMES", 3)
    options = ("--steps", 16, "--timelapse", "film.gif")
    painted(*options)
    whole = (tmp_path / "film.gif").read_bytes()
    stopped(9, *options)
    assert len(frames_of(tmp_path / "film.gif")) > 2
    assert impasto("resume", "kept")[0] == 0
    assert (tmp_path / "film.gif").read_bytes() == whole


def test_a_film_s_last_frame_may_have_been_cut_off(stopped, impasto, tmp_path) -> None:
    stopped(9, "--steps", 16, "--timelapse", "film.apng")
    last = max((tmp_path / "kept" / ".impasto-film").glob("*.png"))
    last.write_bytes(last.read_bytes()[:100])
    assert impasto("resume", "kept")[0] == 0
    assert len(frames_of(tmp_path / "film.apng")) > 4


def frames_of(path: Path) -> list[bytes]:
    with Image.open(path) as film:
        return [frame.convert("RGB").tobytes() for frame in ImageSequence.all_frames(film)]


def test_one_run_at_a_time_has_a_folder(painted, stopped, impasto, tmp_path) -> None:
    stopped(3, "--steps", 5)
    with exclusive_lock(tmp_path / "kept"):
        for code, out, err in (painted("--checkpoint", "kept"), impasto("resume", "kept")):
            assert (code, out) == (2, "")
            assert "another run is painting with checkpoints in" in err
    assert impasto("resume", "kept")[0] == 0


@pytest.mark.parametrize(
    ("number", "code"), [(errno.ENOSYS, 0), (errno.EWOULDBLOCK, 2), (errno.EIO, 2)]
)
def test_where_there_are_no_locks_it_paints_without(painted, monkeypatch, number, code) -> None:
    def refused(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refused)
    found, _, err = painted("--checkpoint", "kept")
    assert (found, "another run" in err, "Input/output error" in err) == (
        code,
        number == 11,
        number == errno.EIO,
    )


def test_other_files_in_the_folder_stay(painted, tmp_path) -> None:
    (tmp_path / "film").mkdir()
    for name in ("film/00000001.png", "lock", "checkpoint.txt"):
        (tmp_path / name).write_text("somebody's")
    assert painted("--checkpoint", ".", "--timelapse", "out.gif")[0] == 0
    for name in ("film/00000001.png", "lock", "checkpoint.txt"):
        assert (tmp_path / name).read_text() == "somebody's"


def test_a_broken_checkpoint_is_told_with_what_to_do(stopped, impasto, tmp_path) -> None:
    stopped(4, "--steps", 5)
    path, before = tmp_path / "kept" / NAME, tmp_path / "kept" / BEFORE
    for each in (path, before):
        each.write_bytes(each.read_bytes()[:1000])
    line = impasto("resume", "kept")[2]
    assert f"to begin anew, remove {path} and {BEFORE} beside it" in line
    for each in (path, before):
        each.unlink()
    assert impasto("resume", "kept")[0] == 0


@pytest.mark.parametrize("quiet", [False, True])
def test_a_damaged_checkpoint_is_told_and_the_one_before_ends_with_the_same_picture(
    painted, stopped, impasto, tmp_path, quiet
) -> None:
    painted("--steps", 6, out="whole.png")
    stopped(5, "--steps", 6)
    flip(tmp_path / "kept" / NAME, 8 * (tmp_path / "kept" / NAME).stat().st_size - 5)
    code, _, err = impasto("resume", "kept", *(["--quiet"] if quiet else []))
    assert (code, "the newest checkpoint is damaged; resuming after step 3" in err) == (0, True)
    assert (tmp_path / "out.png").read_bytes() == (tmp_path / "whole.png").read_bytes()


def test_resumed_from_elsewhere_it_says_where_the_painting_is(
    stopped, impasto, tmp_path, monkeypatch
) -> None:
    stopped(3, "--steps", 5)
    monkeypatch.chdir("/")
    assert impasto("resume", tmp_path / "kept")[1].startswith(
        f"{tmp_path / 'out.png'}  (painted in "
    )


def test_ctrl_c_keeps_what_there_is_and_resume_ends_it(
    painted, impasto, ctrl_c, tmp_path, monkeypatch
) -> None:
    options = ("--steps", 9, "--trace", "run.jsonl")
    painted(*options, out="whole.png")
    whole = (tmp_path / "run.jsonl").read_text()
    monkeypatch.setattr("impasto.painting.checkpoint.SOONEST", 0.0)
    monkeypatch.setattr("impasto.painting.checkpoint.COST", 1e9)
    with monkeypatch.context() as patch:
        ctrl_c(5, patch)
        code, out, err = painted(*options, "--checkpoint", "kept")
    assert code == 0
    assert "stopped by hand: 4 of 9 steps" in out
    assert "`impasto resume kept` continues it" in err
    monkeypatch.chdir("/")  # wherever one is by then
    code, _, err = impasto("resume", tmp_path / "kept")
    assert code == 0
    assert "resuming after step 4" in err
    assert (tmp_path / "out.png").read_bytes() == (tmp_path / "whole.png").read_bytes()
    lines = [
        [json.loads(line) for line in text.splitlines()]
        for text in (whole, (tmp_path / "run.jsonl").read_text())
    ]
    assert [row["objective"] for row in lines[0]] == [row["objective"] for row in lines[1]]


def test_resumed_it_convolves_as_it_began_whatever_is_the_fastest_now(
    painted, impasto, ctrl_c, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr("impasto.painting.checkpoint.SOONEST", 0.0)
    monkeypatch.setattr("impasto.painting.checkpoint.COST", 1e9)
    fastest = ["winograd"]

    def measured(_: object, machine: Machine, **others: object) -> Method:
        return Method(
            "float32", fastest[0] if machine.convolution == "auto" else machine.convolution
        )

    monkeypatch.setattr("impasto.backbone.load.fastest", measured)
    painted("--steps", 9, out="whole.png")
    with monkeypatch.context() as patch:
        ctrl_c(5, patch)
        painted("--steps", 9, "--checkpoint", "kept")
    fastest[0] = "direct"
    assert impasto("resume", "kept")[0] == 0
    assert (tmp_path / "out.png").read_bytes() == (tmp_path / "whole.png").read_bytes()


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


def test_a_folder_with_an_unfinished_painting_is_not_begun_anew(
    painted, ctrl_c, monkeypatch
) -> None:
    monkeypatch.setattr("impasto.painting.checkpoint.SOONEST", 0.0)
    monkeypatch.setattr("impasto.painting.checkpoint.COST", 1e9)
    with monkeypatch.context() as patch:
        ctrl_c(3, patch)
        painted("--steps", 5, "--checkpoint", "kept")
    code, _, err = painted("--checkpoint", "kept")
    assert code == 2
    assert "`impasto resume kept` continues it" in err


def test_a_folder_in_which_nothing_was_begun_is_free(impasto, painted, style, tiny) -> None:
    assert (
        impasto("paint", "missing.png", style, "-o", "out.png", *tiny, "--checkpoint", "kept")[0]
        == 2
    )
    assert painted("--checkpoint", "kept")[0] == 0


def test_resume_says_what_is_wrong(
    impasto, painted, photo, style, tiny, ctrl_c, tmp_path, monkeypatch
) -> None:
    assert impasto("resume", "nowhere")[0] == 2
    own = tmp_path / "own.png"
    own.write_bytes(photo.read_bytes())
    monkeypatch.setattr("impasto.painting.checkpoint.SOONEST", 0.0)
    monkeypatch.setattr("impasto.painting.checkpoint.COST", 1e9)
    with monkeypatch.context() as patch:
        ctrl_c(3, patch)
        impasto("paint", own, style, "-o", "out.png", *tiny, "--steps", 5, "--checkpoint", "kept")
    own.write_bytes(style.read_bytes())
    code, _, err = impasto("resume", "kept")
    assert code == 2
    assert "own.png is not the picture that it was begun with" in err
    (tmp_path / "kept" / "job.json").write_text("{")
    assert "cannot be read" in impasto("resume", "kept")[2]


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)]
)
def test_a_signal_ends_the_run_after_its_step_with_all_kept(
    tiny_weights, photo, style, tmp_path, number
) -> None:
    with begin(
        tiny_weights, photo, style, tmp_path, "out.png", 100_000, "--checkpoint", "kept"
    ) as process:
        until(tmp_path / "kept" / NAME)
        process.send_signal(number)
        assert process.wait(20) == 0
    assert (tmp_path / "out.png").exists()
    assert {NAME, "job.json", "lock"} == set(os.listdir(tmp_path / "kept")) - {BEFORE}


def words(weights, photo, style, out, steps) -> list[object]:
    """The command line of a painting of a size at which processes can be killed."""
    options = (
        f"--backbone {weights} --size 96 --levels 2 --steps {steps} --device cpu "
        "--precision float32 --quiet"
    )
    return ["paint", photo, style, "-o", out, *options.split()]


@contextlib.contextmanager
def begin(weights, photo, style, folder, out, steps, *more) -> Iterator[subprocess.Popen]:
    command = [*words(weights, photo, style, out, steps), *more]
    with subprocess.Popen(
        [sys.executable, "-c", DRIVER, *map(str, command)], cwd=folder
    ) as process:
        try:
            yield process
        finally:
            process.kill()  # a test that fails would wait for its end


def until(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("kills", "steps"), [(1, 60), pytest.param(20, 1500, marks=pytest.mark.slow)]
)
def test_killed_at_random_moments_it_ends_with_the_same_bytes(
    impasto, tiny_weights, photo, style, tmp_path, kills, steps
) -> None:
    run = (tiny_weights, photo, style, tmp_path)
    assert impasto(*words(*run[:3], "whole.png", steps))[0] == 0
    moments = random.Random(kills)
    with begin(*run, "out.png", steps, "--checkpoint", "kept") as process:
        until(tmp_path / "kept" / NAME)
        process.kill()
    for _ in range(kills - 1):
        with subprocess.Popen(
            [sys.executable, "-c", DRIVER, "resume", "kept", "--quiet"], cwd=tmp_path
        ) as process:
            time.sleep(moments.uniform(0.5, 3.5))
            process.kill()
    assert impasto("resume", "kept", "--quiet")[0] == 0
    sums = {
        hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()
        for name in ("whole.png", "out.png")
    }
    assert len(sums) == 1
    assert set(os.listdir(tmp_path / "kept")) == {"job.json", "lock"}
