"""Films out: formats, times, sound, colors, quality; refused before anything is painted."""

from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from impasto.errors import ConfigError, OutputError
from impasto.film.clip import open_clip
from impasto.film.movie import MovieFrame, MovieSettings, check_movie, write_movie
from impasto.images.read import resize
from impasto.images.write import to_image
from movies import packets_of, sound_of, times_of, write_clip

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


SUBTITLED = {
    ".mp4": {"subtitles": "mov_text"},
    ".mkv": {"subtitles": "subrip"},
    ".webm": {"subtitles": "webvtt", "codec": "libvpx-vp9", "sound": "libopus"},
}


@pytest.fixture
def subtitled(tmp_path, frames):
    """Makes a clip with subtitles; returns it opened."""

    def make(suffix):
        pixels = [np.asarray(Image.open(frame.file)) for frame in frames]
        settings = {"sound": "aac", **SUBTITLED[suffix]}
        path = write_clip(tmp_path / f"in{suffix}", pixels, range(0, 240, 40), **settings)
        return open_clip(str(path), RATE)

    return make


@pytest.mark.parametrize("suffix", SUBTITLED)
def test_subtitles_are_copied(tmp_path, frames, subtitled, suffix):
    clip, notes = subtitled(suffix), []
    out = check_movie(str(tmp_path / f"out{suffix}"), clip, MovieSettings(), note=notes.append)
    moved = [f._replace(pts=g.pts) for f, g in zip(frames, clip.frames(print), strict=True)]
    write_movie(out, clip, moved, MovieSettings())
    assert notes == []
    for kind in ("subtitle", "audio"):
        copied, own = packets_of(out, kind), packets_of(clip.path, kind)
        assert [data for _, data in copied] == [data for _, data in own] != []
    assert [
        round(1000 * time) for time, data in packets_of(out, "subtitle") if b"ello" in data
    ] == [40]
    with av.open(str(out)) as container:
        assert container.streams.subtitles[0].metadata["language"] == "fra"


@pytest.mark.parametrize(
    ("source", "suffix", "says"),
    [
        (
            ".mp4",
            ".mkv",
            "subtitles in mov_text, which .mkv cannot hold: they are left out; -o film.mp4",
        ),
        (
            ".mkv",
            ".mp4",
            "subtitles in srt, which .mp4 cannot hold: they are left out; -o film.mkv",
        ),
        (
            ".webm",
            ".mp4",
            "subtitles in webvtt, which .mp4 cannot hold: they are left out; -o film.mkv",
        ),
    ],
)
def test_subtitles_that_do_not_fit_are_left_out_with_a_note(
    tmp_path, frames, subtitled, source, suffix, says
):
    clip, notes = subtitled(source), []
    out = check_movie(str(tmp_path / f"out{suffix}"), clip, MovieSettings(), note=notes.append)
    write_movie(out, clip, frames, MovieSettings())
    assert len(notes) == 1
    assert says in notes[0]
    assert not packets_of(out, "subtitle")
    assert [data for _, data in sound_of(out)] == [data for _, data in sound_of(clip.path)] != []


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


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_h265(tmp_path, made, suffix):
    path, files = tmp_path / "clip.mp4", []
    pixels = [np.asarray(to_image(resize(made.frame(t), 64, 80))) for t in range(4)]
    opened = open_clip(str(write_clip(path, pixels, [0, 40, 90, 120])), RATE)
    for t, (frame, own) in enumerate(zip(opened.frames(print), pixels, strict=True)):
        Image.fromarray(own).save(tmp_path / f"{t}.png")
        files.append(MovieFrame(frame.pts, frame.duration, tmp_path / f"{t}.png"))
    settings = MovieSettings("h265")
    out = check_movie(str(tmp_path / f"out{suffix}"), opened, settings, (64, 80))
    written = []
    for _ in range(2):
        write_movie(out, opened, files, settings)
        written.append(out.read_bytes())
    assert written[0] == written[1]
    assert times_of(out) == [Fraction(t, 1000) for t in (0, 40, 90, 120)]
    with av.open(str(out)) as container:
        assert container.streams.video[0].codec_context.name == "hevc"
    assert suffix == ".mkv" or b"hvc1" in written[0]
    for frame, own in zip(open_clip(str(out), RATE).frames(print), pixels, strict=True):
        assert np.abs(frame.pixels.astype(int) - own).mean() < 6


def test_h265_takes_no_narrow_film(tmp_path, opened):
    with pytest.raises(ConfigError, match="64 pixels and more a side, not 48 x 36"):
        check_movie(str(tmp_path / "out.mp4"), opened, MovieSettings("h265"), (36, 48))


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
        ("out.webm", MovieSettings("h265", audio="drop"), "choose from vp9, or give -o film.mp4"),
        ("out.mp4", MovieSettings("vp9"), "choose from h264, h265, or give -o film.mkv"),
        ("out.mp4", MovieSettings(crf=52), "--crf is 52: h264 takes 0 to 51"),
        ("out.gif", MovieSettings("h264"), "--codec h264 does not go into .gif: choose from gif"),
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
