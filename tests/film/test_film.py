"""`impasto film`: frames, times, sound; interrupted and continued; bad input."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from films import photograph
from impasto.images.samples import sample_style
from impasto.images.write import to_image
from movies import sound_of, times_of, write_clip


@pytest.fixture
def options(tiny_weights):
    return (
        f"--backbone {tiny_weights} --size 32 --steps 2,2 --levels 1 --device cpu "
        "--precision float32"
    ).split()


@pytest.fixture
def film(impasto, clip, style, options):
    """Paints the clip with the tiny network."""

    def paint(*more: object, source: object = clip, out: str = "film.mp4"):
        return impasto("film", source, style, "-o", out, *options, *more)

    return paint


def manifest(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]


def test_a_film_has_the_clip_s_frames_times_and_sound(film, clip, tmp_path):
    code, out, err = film("--check", "--keep-frames")
    assert code == 0, err
    assert "film.mp4  (6 frames)" in out
    assert "warping error 0." in out
    assert "over seven frames not measured (no shot of so many frames, or no flow)" in out
    assert times_of(tmp_path / "film.mp4") == times_of(clip)
    assert sound_of(tmp_path / "film.mp4") == sound_of(clip) != []
    with Image.open(tmp_path / "film.mp4.work" / "frames" / "000001.png") as frame:
        assert frame.size == (32, 24)
    lines = manifest(tmp_path / "film.mp4.work")
    assert [line["cut"] for line in lines] == [True] + 5 * [False]
    assert [line["steps"] for line in lines] == 6 * [2]
    assert "temporal" in lines[1]["terms"]
    assert "temporal" not in lines[0]["terms"]


def test_a_finished_film_leaves_nothing_else(film, tmp_path):
    assert film("--quiet", "--audio", "drop")[:2] == (0, "")
    assert [path.name for path in tmp_path.iterdir()] == ["film.mp4"]
    assert not sound_of(tmp_path / "film.mp4")


def test_a_span_and_every_other_frame(film, clip, tmp_path):
    code, _, err = film("--start", "0.04", "--end", "0:00.205", "--every", "2", "--keep-frames")
    assert code == 0, err
    assert [line["number"] for line in manifest(tmp_path / "film.mp4.work")] == [2, 4]
    whole = times_of(clip)
    assert times_of(tmp_path / "film.mp4") == [whole[1] - whole[1], whole[3] - whole[1]]


def test_folders_of_frames_in_and_out(film, clip, tmp_path):
    assert film(out="frames/")[0] == 0
    names = sorted(path.name for path in (tmp_path / "frames").iterdir())
    assert names == [f"{k:06d}.png" for k in range(1, 7)]
    code, _, err = film(source=tmp_path / "frames", out="again.mp4")
    assert code == 0, err
    assert times_of(tmp_path / "again.mp4") == [Fraction(k, 25) for k in range(6)]


def test_a_cut_begins_a_new_painting(film, tmp_path):
    shots = [photograph(20, 26), photograph(20, 26, sample_style("glass"))]
    frames = [np.asarray(to_image(shot[:, :, :36, :48])) for shot in shots for _ in range(3)]
    clip = write_clip(tmp_path / "cut.mp4", frames, range(0, 240, 40))
    assert film("--keep-frames", source=clip)[0] == 0
    cuts = [line["cut"] for line in manifest(tmp_path / "film.mp4.work")]
    assert cuts == [True, False, False, True, False, False]


def test_the_same_frame_again_is_not_painted_again(film, made, tmp_path):
    (tmp_path / "clip").mkdir()
    for k, t in enumerate((0, 0, 0, 1)):
        to_image(made.frame(t)).save(tmp_path / "clip" / f"{k}.png")
    assert film("--keep-frames", source=tmp_path / "clip")[0] == 0
    lines = manifest(tmp_path / "film.mp4.work")
    assert [line["steps"] for line in lines] == [2, 0, 0, 2]
    assert lines[0]["sha256"] == lines[2]["sha256"] != lines[3]["sha256"]


@pytest.mark.parametrize(
    "color", ["style", "luminance", pytest.param("content", marks=pytest.mark.slow)]
)
def test_stopped_and_continued_it_has_the_same_bytes(film, ctrl_c, tmp_path, monkeypatch, color):
    more = ("--keep-frames", "--color", color)
    assert film(*more, out="whole.mp4")[0] == 0
    with monkeypatch.context() as patch:
        ctrl_c(7, patch)  # in the fourth frame
        code, _, err = film(*more)
    assert code == 130
    assert "has 3 of 6 frames: the same command goes on" in err
    assert len(times_of(tmp_path / "film.mp4")) == 3  # playable
    assert film(*more)[0] == 0
    whole, film_ = (tmp_path / f"{name}.mp4" for name in ("whole", "film"))
    assert film_.read_bytes() == whole.read_bytes()
    shas = [
        [line["sha256"] for line in manifest(path.with_name(path.name + ".work"))]
        for path in (whole, film_)
    ]
    assert shas[0] == shas[1]


def test_two_passes(film, clip, tmp_path):
    assert film("--keep-frames", out="once.mp4")[0] == 0
    code, out, err = film("--keep-frames", "--passes", "2", "--check", out="twice.mp4")
    assert code == 0, err
    assert "twice.mp4  (6 frames)" in out
    once, twice = tmp_path / "once.mp4.work", tmp_path / "twice.mp4.work"
    first, second = manifest(twice), manifest(twice / "second-pass")
    assert [line["sha256"] for line in first] == [line["sha256"] for line in manifest(once)]
    assert [line["number"] for line in second] == [6, 5, 4, 3, 2, 1]
    assert [line["steps"] for line in second] == [0, 2, 2, 2, 2, 2]
    assert [line["pts"] for line in reversed(second)] == [line["pts"] for line in first]
    assert "temporal" in second[-1]["terms"]
    assert second[0]["sha256"] == first[-1]["sha256"]
    assert second[-1]["sha256"] != first[0]["sha256"]
    assert times_of(tmp_path / "twice.mp4") == times_of(clip)
    assert (tmp_path / "twice.mp4").read_bytes() != (tmp_path / "once.mp4").read_bytes()


@pytest.mark.parametrize(
    "color",
    ["content", *(pytest.param(each, marks=pytest.mark.slow) for each in ("style", "luminance"))],
)
def test_stopped_in_the_second_pass_it_goes_on(film, ctrl_c, clip, tmp_path, monkeypatch, color):
    more = ("--keep-frames", "--passes", "2", "--color", color)
    assert film(*more, out="whole.mp4")[0] == 0
    with monkeypatch.context() as patch:
        ctrl_c(17, patch)  # twelve evaluations are the first pass's
        code, _, err = film(*more)
    assert code == 130
    assert "has 6 of 6 frames, 3 of them painted twice: the same command goes on" in err
    assert times_of(tmp_path / "film.mp4") == times_of(clip)  # playable
    assert film(*more)[0] == 0
    assert (tmp_path / "film.mp4").read_bytes() == (tmp_path / "whole.mp4").read_bytes()


def test_a_second_pass_stays_in_its_shot(film, made, tmp_path):
    other = photograph(36, 48, sample_style("glass"))[:, :, :36, :48]
    clip = tmp_path / "clip"
    clip.mkdir()
    for k, pixels in enumerate([*(made.frame(t) for t in (0, 0, 1)), other, other, other]):
        to_image(pixels).save(clip / f"{k}.png")
    assert film("--keep-frames", "--passes", "2", source=clip, out="out/")[0] == 0
    lines = manifest(tmp_path / "out.work" / "second-pass")
    assert [(line["number"], line["cut"], line["steps"]) for line in lines] == [
        (6, False, 0),
        (5, False, 0),
        (4, True, 0),
        (3, False, 0),
        (2, False, 2),
        (1, True, 0),  # the same picture as the second
    ]
    frames = [(tmp_path / "out" / f"{k:06d}.png").read_bytes() for k in range(1, 7)]
    assert frames[0] == frames[1] != frames[2]


def test_a_damaged_frame_is_painted_again(film, tmp_path):
    assert film("--keep-frames")[0] == 0
    whole = (tmp_path / "film.mp4").read_bytes()
    frame = tmp_path / "film.mp4.work" / "frames" / "000004.png"
    frame.write_bytes(frame.read_bytes()[:100])
    with (tmp_path / "film.mp4.work" / "manifest.jsonl").open("a") as file:
        file.write('{"number": 7, "torn')
    assert film("--keep-frames")[0] == 0
    assert (tmp_path / "film.mp4").read_bytes() == whole


def test_another_film_s_folder_is_refused(film, tmp_path):
    assert film("--keep-frames")[0] == 0
    code, _, err = film("--keep-frames", "--temporal", "2")
    assert code == 2
    assert "begun with another temporal: give another -o" in err


def test_masks_may_move(film, clip, style, made, tmp_path):
    height, width = made.size
    frames = []
    for k in range(6):
        mask = np.zeros((height, width, 3), np.uint8)
        mask[:, 4 * k : 4 * k + 20] = 255
        frames.append(mask)
    write_clip(tmp_path / "mask.mp4", frames, range(0, 240, 40))
    Image.fromarray(frames[0]).save(tmp_path / "mask.png")
    for name in ("mask.mp4", "mask.png"):
        masked = ("--mask", f"{name}={style}", "--protect", name, "--passes", "2")
        # the second of two steps may be no better than the carried start, whatever the masks
        masked += ("--steps", "2,4")
        code, _, err = film(*masked, out=f"{name}.mp4")
        assert code == 0, err
    assert (tmp_path / "mask.mp4.mp4").read_bytes() != (tmp_path / "mask.png.mp4").read_bytes()


def test_a_preview_paints_three_frames(film, tmp_path):
    code, out, err = film("--preview")
    assert code == 0, err
    assert out.strip() == "film-preview.png"
    assert [path.name for path in tmp_path.iterdir()] == ["film-preview.png"]


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--steps", "few"), "--steps is 'few'"),
        (("--steps", "10,0"), "--steps is '10,0'"),
        (("--rate", "0"), "--rate is '0'"),
        (("--start", "2", "--end", "1"), "--end 1 is not after --start 2"),
        (("--start", "9"), "has no frame between --start and --end"),
        (("--start", "noon"), "'noon' is no time"),
        (("--flow", "raft"), "--flow is 'raft'"),
        (("--codec", "vp9"), "--codec vp9 does not go into .mp4"),
        (("--size", "9"), "--size is '9'"),
        (("--mask", "nowhere.mp4=nowhere.jpg"), "no clip at nowhere.mp4"),
    ],
)
def test_bad_options_are_refused(refused, clip, style, options, more, says):
    assert says in refused("film", clip, style, "-o", "film.mp4", *options, *more)


def test_a_picture_is_refused(refused, photo, style, options):
    says = refused("film", photo, style, "-o", "film.mp4", *options)
    assert "is a picture, not a clip: `impasto paint` paints it" in says


def test_no_style_is_refused(refused, clip, options):
    assert "give a CLIP and a STYLE" in refused("film", clip, "-o", "film.mp4", *options)


@pytest.mark.parametrize("missing", ["av", "cv2"])
def test_a_missing_extra_is_one_line(refused, clip, style, options, missing, monkeypatch):
    monkeypatch.setitem(sys.modules, missing, None)
    says = refused("film", clip, style, "-o", "film.mp4", *options)
    assert "pip install 'impasto[video]'" in says


@pytest.mark.slow
@pytest.mark.parametrize("passes", ["1", "2"])
def test_killed_at_random_moments_it_ends_with_the_same_bytes(
    clip, style, options, tmp_path, passes
):
    def command(out):
        words = [sys.executable, "-m", "impasto", "film", clip, style, "-o", out, *options]
        return [str(word) for word in (*words, "--passes", passes)]

    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    began = time.monotonic()
    subprocess.run(command("whole.mp4"), cwd=tmp_path, check=True, env=environment)
    length = time.monotonic() - began
    moments = random.Random(0)
    for _ in range(10):
        process = subprocess.Popen(command("film.mp4"), cwd=tmp_path, env=environment)
        time.sleep(moments.uniform(0.4, 0.95) * length)
        process.send_signal(signal.SIGKILL)
        process.wait()
    subprocess.run(command("film.mp4"), cwd=tmp_path, check=True, env=environment)
    assert (tmp_path / "film.mp4").read_bytes() == (tmp_path / "whole.mp4").read_bytes()
