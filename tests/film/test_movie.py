"""Films out: formats, times, sound, colors, quality; refused before anything is painted."""

from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from impasto.errors import ConfigError, OutputError
from impasto.film.clip import open_clip
from impasto.film.movie import MovieFrame, MovieSettings, check_movie, write_movie
from movies import sound_of, times_of, write_clip

RATE = Fraction(25)


@pytest.fixture(scope="module")
def opened(clip):
    return open_clip(str(clip), RATE)


@pytest.fixture(scope="module")
def frames(opened, tmp_path_factory):
    """The clip's own frames, as if they were painted."""
    folder, made = tmp_path_factory.mktemp("frames"), []
    for frame in opened.frames(print):
        file = folder / f"{frame.number}.png"
        Image.fromarray(frame.pixels).save(file)
        made.append(MovieFrame(frame.pts, frame.duration, file))
    return made


@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_times_and_sound_are_the_clip_s(tmp_path, clip, opened, frames, suffix):
    settings = MovieSettings()
    out = check_movie(str(tmp_path / f"out{suffix}"), opened, settings)
    write_movie(out, opened, frames, settings)
    assert times_of(out) == times_of(clip)
    assert sound_of(out) == sound_of(clip) != []
    once = out.read_bytes()
    write_movie(out, opened, frames, settings)
    assert out.read_bytes() == once


@pytest.mark.parametrize("suffix", [".mkv", ".webm", ".gif"])
def test_other_formats_round_the_times(tmp_path, clip, opened, frames, suffix):
    settings = MovieSettings(audio="drop")
    out = check_movie(str(tmp_path / f"out{suffix}"), opened, settings)
    write_movie(out, opened, frames, settings)
    unit = Fraction(1, 100 if suffix == ".gif" else 1000)
    for time, was in zip(times_of(out), times_of(clip), strict=True):
        assert abs(time - was) < unit
    back = list(open_clip(str(out), RATE).frames(print))
    for one, frame in zip(back, frames, strict=True):
        with Image.open(frame.file) as image:
            assert np.abs(one.pixels.astype(int) - np.asarray(image)).mean() < 6


def test_a_transport_stream_begins_at_0(tmp_path, frames):
    pixels = [np.asarray(Image.open(frame.file)) for frame in frames]
    path = write_clip(tmp_path / "in.ts", pixels, range(1400, 1640, 40), sound="aac")
    assert times_of(path)[0] > 1
    clip, settings = open_clip(str(path), RATE), MovieSettings()
    moved = [f._replace(pts=g.pts) for f, g in zip(frames, clip.frames(print), strict=True)]
    out = check_movie(str(tmp_path / "out.mp4"), clip, settings)
    write_movie(out, clip, moved, settings)
    (begin, _), *_ = sound_of(path)
    shift = times_of(path)[0] - times_of(out)[0]
    assert 0 <= times_of(out)[0] < 0.1
    assert abs(begin - shift - sound_of(out)[0][0]) < 0.001  # picture and sound go together


def test_opus_goes_into_webm(tmp_path, made, frames):
    pixels = [np.asarray(Image.open(frame.file)) for frame in frames]
    path = write_clip(
        tmp_path / "in.webm", pixels, range(0, 240, 40), codec="libvpx-vp9", sound="libopus"
    )
    clip, settings = open_clip(str(path), RATE), MovieSettings()
    out = check_movie(str(tmp_path / "out.webm"), clip, settings)
    moved = [f._replace(pts=40 * k) for k, f in enumerate(frames)]
    write_movie(out, clip, moved, settings)
    assert [bytes_ for _, bytes_ in sound_of(out)] == [bytes_ for _, bytes_ in sound_of(path)]
    assert times_of(out) == times_of(path)


def test_a_part_of_the_clip_has_its_part_of_the_sound(tmp_path, clip, opened, frames):
    settings = MovieSettings(start=0.08, end=0.205)
    part = [f for f in frames if 0.08 <= float(f.pts * opened.time_base) < 0.205]
    out = tmp_path / "part.mp4"
    write_movie(out, opened, part, settings)
    shift = Fraction(8, 100)
    assert times_of(out) == [t - shift for t in times_of(clip)[2:5]]
    sound = sound_of(out)
    whole = {data for _, data in sound_of(clip)}
    assert sound
    assert all(data in whole for _, data in sound)
    assert sound[-1][0] < Fraction(125, 1000)


def test_color_tags_are_kept(tmp_path, made, frames):
    pixels = [np.asarray(Image.open(frame.file)) for frame in frames]
    tags = {"color_primaries": 9, "color_trc": 14, "colorspace": 9}
    clip = open_clip(
        str(write_clip(tmp_path / "wide.mp4", pixels, range(0, 240, 40), **tags)), RATE
    )
    out = tmp_path / "out.mp4"
    write_movie(out, clip, [f._replace(pts=40 * k) for k, f in enumerate(frames)], MovieSettings())
    with av.open(str(out)) as container:
        context = container.streams.video[0].codec_context
        assert {name: getattr(context, name) for name in tags} == tags


def test_crf_decides_the_size(tmp_path, opened, frames):
    sizes = []
    for crf in (10, 40):
        write_movie(tmp_path / "o.mp4", opened, frames, MovieSettings(crf=crf, audio="drop"))
        sizes.append((tmp_path / "o.mp4").stat().st_size)
    assert sizes[0] > 2 * sizes[1]


@pytest.mark.parametrize(
    ("out", "settings", "says"),
    [
        ("out.avi", MovieSettings(), "no film's suffix"),
        ("out.webm", MovieSettings(), "audio in aac, which .webm cannot hold"),
        ("out.webm", MovieSettings("h264", audio="drop"), "--codec h264 does not go into .webm"),
        ("no/where.mp4", MovieSettings(), "no folder"),
    ],
)
def test_what_cannot_be_written_is_refused(tmp_path, opened, out, settings, says):
    with pytest.raises((OutputError, ConfigError), match=says):
        check_movie(str(tmp_path / out), opened, settings)
    assert not list(tmp_path.iterdir())


def test_the_clip_itself_and_full_folders_are_refused(tmp_path, opened):
    with pytest.raises(OutputError, match="is the clip itself"):
        check_movie(str(opened.path), opened, MovieSettings())
    (tmp_path / "frames").mkdir()
    (tmp_path / "frames" / "a.png").touch()
    with pytest.raises(OutputError, match="not an empty folder"):
        check_movie(str(tmp_path / "frames"), opened, MovieSettings())
