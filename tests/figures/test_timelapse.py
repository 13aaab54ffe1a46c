import os
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from impasto.errors import OutputError
from impasto.figures.timelapse import (
    FILMS,
    FRAMES,
    HOLD,
    LARGEST,
    LONGEST,
    RATE,
    SECONDS,
    SHORTEST,
    Film,
    film_size,
)
from impasto.images.write import to_image

ANIMATIONS, VIDEOS = FILMS[:3], FILMS[3:]
# of 255, in the mean: the others are lossy
FARTHEST = {".gif": 8, ".webp": 8, ".apng": 0, ".mp4": 4, ".webm": 4}


def smooth(seed: int, height: int = 40, width: int = 48) -> torch.Tensor:
    coarse = torch.rand(1, 3, 3, 3, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(coarse, (height, width), mode="bicubic").clamp(0, 1)


def gray(value: float, height: int = 16, width: int = 16) -> torch.Tensor:
    return torch.full((1, 3, height, width), value)


def morph(count: int, height: int = 40, width: int = 48) -> list[torch.Tensor]:
    return [
        torch.lerp(smooth(1, height, width), smooth(2, height, width), k / (count - 1))
        for k in range(count)
    ]


def filmed(path: Path, steps: list[torch.Tensor], alpha: torch.Tensor | None = None) -> list[float]:
    with Film(path, *steps[-1].shape[2:], alpha) as film:
        for step in steps:
            film.add_frame(step)
        assert film.write(steps[-1]) == path
        return film.durations()


def animated(path: Path) -> tuple[list[np.ndarray], list[float]]:
    with Image.open(path) as image:
        frames, seconds = [], []
        for k in range(image.n_frames):
            image.seek(k)
            frames.append(np.asarray(image.convert("RGB")))
            seconds.append(image.info.get("duration", 0) / 1000)
    return frames, seconds


def played(path: Path) -> list[np.ndarray]:
    import av

    with av.open(str(path)) as container:
        assert container.streams.video[0].average_rate == RATE
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def frames_of(path: Path) -> list[np.ndarray]:
    return played(path) if path.suffix in VIDEOS else animated(path)[0]


def apart(frame: np.ndarray, pixels: torch.Tensor) -> float:
    return np.abs(frame.astype(float) - np.asarray(to_image(pixels))).mean()


@pytest.fixture
def temporary(tmp_path, monkeypatch) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


def lying(temporary: Path) -> list[Path]:
    return [path for path in temporary.rglob("*") if path.is_file()]


@pytest.mark.parametrize("suffix", ANIMATIONS)
def test_an_animation_shows_every_step_and_holds_the_last(tmp_path, suffix):
    steps = morph(9)
    filmed(tmp_path / f"out{suffix}", steps)
    frames, seconds = animated(tmp_path / f"out{suffix}")
    assert {frame.shape for frame in frames} == {(40, 48, 3)}
    assert len(frames) == 9
    assert (
        max(apart(frame, step) for frame, step in zip(frames, steps, strict=True))
        <= FARTHEST[suffix]
    )
    assert seconds == [0.25] * 8 + [HOLD]
    with Image.open(tmp_path / f"out{suffix}") as image:
        assert image.info["loop"] == 0


@pytest.mark.parametrize("suffix", VIDEOS)
def test_a_video_shows_every_step_and_holds_the_last(tmp_path, suffix):
    steps = morph(6)
    durations = filmed(tmp_path / f"out{suffix}", steps)
    frames = played(tmp_path / f"out{suffix}")
    ends = [round(RATE * sum(durations[: k + 1])) for k in range(len(durations))]
    assert len(frames) == ends[-1] == round(RATE * (5 * 0.25 + HOLD))
    assert {frame.shape for frame in frames} == {(40, 48, 3)}
    assert (
        max(apart(frames[end - 1], step) for end, step in zip(ends, steps, strict=True))
        <= FARTHEST[suffix]
    )
    assert apart(frames[ends[-2]], steps[-1]) <= FARTHEST[suffix]  # from its first appearance on


@pytest.mark.parametrize("suffix", VIDEOS)
def test_the_sides_of_a_video_are_even(tmp_path, suffix):
    steps = morph(3, 41, 35)
    filmed(tmp_path / f"out{suffix}", steps)
    frames = played(tmp_path / f"out{suffix}")
    assert frames[-1].shape == (40, 34, 3)
    assert apart(frames[-1], F.interpolate(steps[-1], (40, 34), mode="area")) < 2 * FARTHEST[suffix]


@pytest.mark.parametrize("suffix", FILMS)
def test_the_same_frames_are_the_same_bytes(tmp_path, suffix):
    first, second = tmp_path / f"first{suffix}", tmp_path / f"second{suffix}"
    for path in (first, second):
        filmed(path, morph(4))
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("count", [1, 5])
@pytest.mark.parametrize("suffix", FILMS)
def test_where_nothing_changes_the_film_is_the_painting(tmp_path, suffix, count):
    filmed(tmp_path / f"out{suffix}", [smooth(1)] * count)
    frames = frames_of(tmp_path / f"out{suffix}")
    assert len(frames) == (round(RATE * (SHORTEST + HOLD)) if suffix in VIDEOS else 1)
    assert max(apart(frame, smooth(1)) for frame in frames) <= FARTHEST[suffix]


@pytest.mark.parametrize("suffix", FILMS)
def test_a_film_that_saw_no_step_is_its_end(tmp_path, suffix):
    with Film(tmp_path / f"out{suffix}", 40, 48) as film:
        film.write(smooth(1))
    frames = frames_of(tmp_path / f"out{suffix}")
    assert len(frames) == (RATE * HOLD if suffix in VIDEOS else 1)
    assert apart(frames[-1], smooth(1)) <= FARTHEST[suffix]


def test_the_film_ends_with_the_painting_not_with_the_last_step(tmp_path):
    with Film(tmp_path / "out.apng", 16, 16) as film:
        for value in (0.2, 0.4, 0.9):
            film.add_frame(gray(value))
        film.write(gray(0.5))
    assert [frame[0, 0, 0] for frame in animated(tmp_path / "out.apng")[0]] == [51, 102, 230, 128]


def test_an_end_that_looks_like_the_last_step_takes_its_place(tmp_path):
    with Film(tmp_path / "out.apng", 16, 16) as film:
        for value in (0.2, 0.4):
            film.add_frame(gray(value))
        film.write(gray(0.401))
    frames, seconds = animated(tmp_path / "out.apng")
    assert [frame[0, 0, 0] for frame in frames] == [51, 102]
    assert seconds[-1] == HOLD


def test_frames_that_do_not_change_are_not_kept(tmp_path, temporary):
    with Film(tmp_path / "out.apng", 16, 16) as film:
        for value in (0.2, 0.2, 0.2005, 0.6, 0.6, 0.6005, 0.2):
            film.add_frame(gray(value))
        assert len(lying(temporary)) == 3
        film.write(gray(0.2))
    assert [frame[0, 0, 0] for frame in animated(tmp_path / "out.apng")[0]] == [51, 153, 51]


def test_a_slow_change_is_seen_once_it_has_added_up(tmp_path, temporary):
    with Film(tmp_path / "out.gif", 16, 16) as film:
        for k in range(41):
            film.add_frame(gray(0.5 + k * 0.1 / 255))
        assert 8 <= len(lying(temporary)) <= 9  # every half of a 255th


def test_a_run_of_any_length_leaves_as_many_frames(tmp_path, temporary):
    most = 0
    with Film(tmp_path / "out.apng", 16, 16) as film:
        for k in range(2000):
            film.add_frame(gray(k / 1999))
            most = max(most, len(os.listdir(next(temporary.iterdir()))))
        film.write(gray(1.0))
        durations = film.durations()
    assert 1.9 * FRAMES < most <= 2 * FRAMES
    assert list(temporary.iterdir()) == []
    values = [int(frame[0, 0, 0]) for frame in animated(tmp_path / "out.apng")[0]]
    assert FRAMES <= len(values) == len(durations) <= 2 * FRAMES
    assert (values[0], values[-1]) == (0, 255)
    leaps = [b - a for a, b in pairwise(values)]
    assert max(leaps) - min(leaps) <= 2
    assert sum(durations) == pytest.approx(SECONDS + HOLD)


def test_equal_changes_last_equally_long_and_larger_ones_longer(tmp_path):
    equal = filmed(tmp_path / "equal.gif", [gray(value) for value in (0.1, 0.2, 0.3, 0.4, 0.5)])
    assert equal == pytest.approx([0.25] * 4 + [HOLD], rel=1e-3)
    unequal = filmed(tmp_path / "unequal.gif", [gray(value) for value in (0.1, 0.2, 0.4, 0.3, 0.4)])
    assert unequal == pytest.approx([0.2, 0.4, 0.2, 0.2, HOLD], rel=1e-3)


def test_a_leap_is_no_long_wait_and_no_frame_is_too_short_to_be_seen(tmp_path):
    values = [0.1 + 0.02 * k for k in range(8)]
    leap = filmed(tmp_path / "leap.gif", [gray(value) for value in (*values, 1.0)])
    assert leap[-2] == pytest.approx(min(LONGEST, 3 * leap[0]), rel=1e-2)
    still = filmed(
        tmp_path / "still.gif", [gray(value) for value in (0.1, 0.103, 0.106, 0.4, 0.7, 1.0)]
    )
    assert still[0] == pytest.approx(SHORTEST)
    assert all(SHORTEST <= each <= LONGEST for each in (*leap[:-1], *still[:-1]))


@pytest.mark.parametrize("suffix", FILMS)
def test_alpha_is_laid_on_white(tmp_path, suffix):
    alpha = torch.zeros(1, 1, 80, 96)  # of the content, larger than the painting
    alpha[..., 48:] = 1
    filmed(tmp_path / f"out{suffix}", [gray(value, 40, 48) for value in (0.0, 0.5)], alpha)
    frames = frames_of(tmp_path / f"out{suffix}")
    for frame, seen in ((frames[0], 0), (frames[-1], 128)):
        assert frame[:, :20].min() >= 255 - FARTHEST[suffix]
        assert np.abs(frame[:, 28:].astype(int) - seen).max() <= FARTHEST[suffix]


@pytest.mark.parametrize("suffix", ANIMATIONS)
def test_a_large_painting_makes_a_smaller_film_of_its_shape(tmp_path, suffix):
    left = torch.zeros(1, 3, 720, 360)
    left[..., 180:] = 1
    filmed(tmp_path / f"out{suffix}", [1 - left, left])
    frames, _ = animated(tmp_path / f"out{suffix}")
    side = LARGEST[suffix]
    assert {frame.shape for frame in frames} == {(side, side // 2, 3)}
    assert frames[-1][:, : side // 4 - 8].max() < 10
    assert frames[-1][:, side // 4 + 8 :].min() > 245


@pytest.mark.parametrize("suffix", FILMS)
def test_a_film_is_never_larger_than_its_painting(suffix):
    largest, even = LARGEST[suffix], 2 if suffix in VIDEOS else 1
    assert film_size(Path(f"out{suffix}"), 101, 75) == (101 // even * even, 75 // even * even)
    assert film_size(Path(f"OUT{suffix.upper()}"), 4 * largest, 3 * largest) == (
        largest,
        largest * 3 // 4,
    )
    assert film_size(Path(f"out{suffix}"), 16, 65536) == (even, largest)


def test_smaller_levels_are_shown_at_the_films_size(tmp_path):
    filmed(tmp_path / "out.apng", [smooth(1, 20, 24), smooth(2)])
    frames, _ = animated(tmp_path / "out.apng")
    assert {frame.shape for frame in frames} == {(40, 48, 3)}
    assert apart(frames[0], smooth(1)) < 4


def test_pixels_beyond_black_and_white_are_cut(tmp_path):
    filmed(tmp_path / "out.apng", [gray(-0.5), gray(1.5)])
    assert [frame[0, 0, 0] for frame in animated(tmp_path / "out.apng")[0]] == [0, 255]


@pytest.mark.parametrize("suffix", VIDEOS)
def test_without_av_a_video_names_the_extra(tmp_path, monkeypatch, suffix):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(OutputError) as error:
        Film(tmp_path / f"out{suffix}", 16, 16)
    assert str(error.value) == (
        "MP4 or WebM needs an extra: pip install 'impasto[video]' (in a checkout: pip install -e "
        "'.[video]'); or choose .gif, .webp or .apng"
    )
    filmed(tmp_path / "out.gif", [gray(0.1), gray(0.2)])


@pytest.mark.parametrize("name", ["out.avi", "out.png", "out", "gif"])
def test_an_unknown_suffix_is_refused(tmp_path, temporary, name):
    with pytest.raises(
        OutputError,
        match=r"has no film's suffix: choose from \.gif, \.webp, \.apng, \.mp4, \.webm$",
    ):
        Film(tmp_path / name, 16, 16)
    assert list(temporary.iterdir()) == []


# Films that go on
# --------------------------------------------------------------------------------------------------


def going(
    path: Path, frames: Path | None, steps: list[torch.Tensor], first: int, last: int, saved=()
) -> Film:
    """A film that sees the steps `first` to `last`; checkpoints of some are written."""
    film = Film(path, *steps[-1].shape[2:], frames=frames)
    for number in range(first, last + 1):
        film.add_frame(steps[number - 1], number)
        if number in saved:
            film.saved(number)
    return film


def wandering(count: int) -> list[torch.Tensor]:
    """Pictures that change by more and by less, and back again."""
    shares = np.abs(np.sin(np.arange(count) ** 1.3 / 7)) * np.linspace(1, 0.2, count)
    return [torch.lerp(smooth(1), smooth(2), float(share)) for share in shares]


def test_a_film_goes_on_with_the_same_bytes_from_either_checkpoint(tmp_path, monkeypatch):
    gone_on(tmp_path, monkeypatch, [(3, 9, 12), (8, 16, 23), (16, 23, 24), (23, 24, 30)])


@pytest.mark.slow
def test_a_film_goes_on_with_the_same_bytes_from_any_two_checkpoints(tmp_path, monkeypatch):
    moments = range(2, 31, 3)
    gone_on(
        tmp_path,
        monkeypatch,
        [(a, b, c) for a in moments for b in moments for c in moments if a < b < c],
    )


def gone_on(tmp_path, monkeypatch, moments):
    """Films with checkpoints of two steps, cut off at a third, that go on from the first checkpoint
    or the second."""
    monkeypatch.setattr("impasto.figures.timelapse.FRAMES", 3)
    steps, out = wandering(40), tmp_path / "film.gif"
    with going(out, None, steps, 1, 40) as film:
        assert film._visible > 2 / 255, "it has been thinned"
        whole = film.write(steps[-1]).read_bytes()
    for older, newer, killed in moments:
        for at in (older, newer):
            frames = tmp_path / f"{older}-{newer}-{killed}-{at}"
            going(out, frames, steps, 1, killed, (older, newer))
            with (frames / "film.jsonl").open("a") as journal:
                journal.write('{"step": 1, "visi')
            film = going(out, frames, steps, at + 1, 40, (38, 39))
            assert film.write(steps[-1]).read_bytes() == whole, (older, newer, killed, at)
            assert len(list(frames.glob("*.png"))) <= 2 * 3 + 3, (
                "what no checkpoint needs is removed"
            )


def test_without_a_checkpoint_a_film_begins_anew(tmp_path):
    steps, frames = morph(9), tmp_path / "frames"
    going(tmp_path / "film.gif", frames, steps, 1, 5)
    film = going(tmp_path / "film.gif", frames, steps, 1, 9)
    assert (
        film.write(steps[-1]).read_bytes()
        == (filmed(tmp_path / "a.gif", steps), tmp_path / "a.gif")[1].read_bytes()
    )


@pytest.mark.parametrize("breaks", ["00000002.png", "00000002.npy", "film.jsonl"])
@pytest.mark.parametrize("how", ["gone", "cut", "fifo"])
def test_a_film_whose_frames_were_damaged_is_made_of_the_others(tmp_path, breaks, how):
    steps, frames = morph(9), tmp_path / "frames"
    going(tmp_path / "film.apng", frames, steps, 1, 5, (5,))
    path = frames / breaks
    data = path.read_bytes()
    path.unlink()
    if how != "gone":
        path.write_bytes(data[:100]) if how == "cut" else os.mkfifo(path)
    going(tmp_path / "film.apng", frames, steps, 6, 9).write(steps[-1])
    lost = {"film.jsonl": 4 if how == "cut" else 5}.get(breaks, 1)  # of nine frames
    assert len(animated(tmp_path / "film.apng")[0]) == 9 - lost


def test_frames_are_not_written_through_a_link(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "frames").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OutputError, match="is a link to another folder"):
        Film(tmp_path / "out.gif", 16, 16, frames=tmp_path / "frames")


def full(*_, **__):
    raise OSError(28, "No space left on device")


def test_no_room_for_the_frames_is_told(tmp_path, temporary, monkeypatch):
    with Film(tmp_path / "out.gif", 16, 16) as film:
        film.add_frame(gray(0.1))
        monkeypatch.setattr(Image.Image, "save", full)
        for at in (film.add_frame, film.write):
            with pytest.raises(
                OutputError, match=r"^no room for the film's frames in .*No space left on device$"
            ):
                at(gray(0.9))
    assert [path.name for path in tmp_path.iterdir()] == ["temporary"]
    assert list(temporary.iterdir()) == []


def test_no_temporary_folder_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.mkdtemp", full)
    with pytest.raises(OutputError, match="No space left on device"):
        Film(tmp_path / "out.gif", 16, 16)


@pytest.mark.parametrize("suffix", FILMS)
def test_a_folder_that_is_gone_at_the_end_is_told_with_the_films_name(tmp_path, temporary, suffix):
    out = tmp_path / "films" / f"out{suffix}"
    out.parent.mkdir()
    with Film(out, 16, 16) as film:
        film.add_frame(gray(0.1))
        out.parent.rmdir()
        with pytest.raises(OutputError) as error:
            film.write(gray(0.9))
    assert str(error.value) == f"cannot write {out}: No such file or directory"
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("suffix", FILMS)
def test_a_film_that_fails_leaves_no_frame_open(tmp_path, temporary, monkeypatch, suffix):
    monkeypatch.setattr(Path, "open", full)
    monkeypatch.setattr("av.open", full)
    with Film(tmp_path / f"out{suffix}", 16, 16) as film:
        film.add_frame(gray(0.1))
        with pytest.raises(OutputError, match="No space left on device"):
            film.write(gray(0.9))
        assert [
            each.path for each in psutil.Process().open_files() if str(temporary) in each.path
        ] == []


@pytest.mark.parametrize("suffix", FILMS)
def test_a_film_that_fails_leaves_the_older_one(tmp_path, monkeypatch, suffix):
    out = tmp_path / f"out{suffix}"
    out.write_bytes(b"an older film")
    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OutputError, match="No space left on device"):
        filmed(out, [gray(0.1), gray(0.9)])
    assert out.read_bytes() == b"an older film"
    assert [path.name for path in tmp_path.iterdir()] == [out.name]


def test_a_run_that_is_stopped_leaves_no_frames(tmp_path, temporary):
    def run() -> None:
        with Film(tmp_path / "out.gif", 16, 16) as film:
            film.add_frame(gray(0.1))
            assert len(lying(temporary)) == 1
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run()
    assert list(temporary.iterdir()) == []
