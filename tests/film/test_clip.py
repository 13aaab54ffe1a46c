"""Clips in: times, rotation, colors, folders; and everything that is no clip."""

import struct
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from impasto.errors import PictureError
from impasto.film.clip import Colors, open_clip
from impasto.images.write import to_image
from movies import write_clip

RATE = Fraction(25)


@pytest.fixture(scope="module")
def frames(made):
    return [np.asarray(to_image(made.frame(t))) for t in range(8)]


def alike(one, other):
    """Whether two pictures are the same up to a codec, which has colors at half the size."""
    difference = one.astype(int) - other
    return np.abs(difference).mean() < 8 and (np.abs(difference.mean((0, 1))) < 2).all()


def numbered(clip):
    return [(frame.number, frame.pts * clip.time_base) for frame in clip.frames(print)]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
def test_a_file_with_uneven_times(tmp_path, frames, suffix):
    times = [0, 33, 70, 71, 300, 333, 400, 1000]
    clip = open_clip(str(write_clip(tmp_path / f"clip{suffix}", frames, times)), RATE)
    assert numbered(clip) == [(k + 1, Fraction(t, 1000)) for k, t in enumerate(times)]
    assert clip.length == 8
    first = next(clip.frames(print))
    assert first.pixels.shape == (36, 48, 3)
    assert alike(first.pixels, frames[0])


def test_a_gif(tmp_path, frames):
    images = [Image.fromarray(pixels) for pixels in frames]
    images[0].save(
        tmp_path / "clip.gif", save_all=True, append_images=images[1:], duration=[40, 100] * 4
    )
    clip = open_clip(str(tmp_path / "clip.gif"), RATE)
    times = [time for _, time in numbered(clip)]
    assert times == [Fraction(t, 100) for t in (0, 4, 14, 18, 28, 32, 42, 46)]


def test_a_folder_is_in_the_order_of_its_numbers(tmp_path, frames):
    for number, pixels in ((2, frames[1]), (10, frames[2]), (1, frames[0])):
        Image.fromarray(pixels).save(tmp_path / f"f{number}.png")
    (tmp_path / "notes.txt").write_text("no frame")
    clip = open_clip(str(tmp_path), RATE)
    assert numbered(clip) == [(1, 0), (2, Fraction(1, 25)), (3, Fraction(2, 25))]
    for frame, pixels in zip(clip.frames(print), frames, strict=False):
        np.testing.assert_array_equal(frame.pixels, pixels)


def rotated(path, quarter_turns):
    """Write a matrix that turns the film clockwise into an MP4's track header."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40  # version 0: the matrix comes after 40 bytes
    one = 1 << 16
    a, b, c, d = {1: (0, one, -one, 0), 2: (-one, 0, 0, -one), 3: (0, -one, one, 0)}[quarter_turns]
    data[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_phone_s_film_is_upright(tmp_path, frames, turns):
    path = write_clip(tmp_path / "phone.mp4", frames, range(0, 320, 40))
    rotated(path, turns)
    seen = next(open_clip(str(path), RATE).frames(print)).pixels
    upright = np.rot90(frames[0], -turns)
    assert seen.shape == upright.shape
    assert alike(seen, upright)


def test_colors_are_read_as_they_are_tagged(tmp_path, frames):
    path = write_clip(
        tmp_path / "c.mp4", frames, range(0, 320, 40), color_primaries=1, color_trc=1, colorspace=1
    )
    assert open_clip(str(path), RATE).colors == Colors(1, 1, 1)
    small = write_clip(tmp_path / "d.mp4", frames, range(0, 320, 40))
    assert open_clip(str(small), RATE).colors == Colors(6, 6, 6)  # as players take small ones


def test_broken_frames_are_left_out_with_a_note(tmp_path, frames):
    path = write_clip(tmp_path / "b.mp4", frames * 4, range(0, 1280, 40))
    data = bytearray(path.read_bytes())
    middle = (data.index(b"mdat") + data.index(b"moov")) // 2
    data[middle : middle + 400] = bytes(400)
    path.write_bytes(data)
    notes = []
    seen = list(open_clip(str(path), RATE).frames(notes.append))
    assert 24 <= len(seen) < 32
    assert notes == [f"{32 - len(seen)} broken frames of {path} are left out"]


def sound_only(path):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=48000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4800), np.int16), "s16", "mono")
        frame.sample_rate = 48000
        resampler = av.AudioResampler(stream.codec_context.format, "mono", 48000)
        for part in resampler.resample(frame):
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))


def without_frames(path):
    """A video of which only the header was written."""
    with av.open(str(path), "w", options={"movflags": "empty_moov"}) as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 48, 36, "yuv420p"
        container.start_encoding()


def bad(tmp_path, kind):
    path = tmp_path / "clip.mp4"
    if kind == "picture":
        path = tmp_path / "photo.png"
        Image.new("RGB", (32, 32), "red").save(path)
    elif kind == "sound":
        sound_only(path)
    elif kind == "frameless":
        without_frames(path)
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("This is no video.\n" * 100)
    elif kind == "playlist":
        path.write_text("#EXTM3U\n#EXTINF:1,\n/etc/passwd\n#EXT-X-ENDLIST\n")
    elif kind == "folder":
        path = tmp_path / "nothing"
        path.mkdir()
    return str(path)


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("picture", "is a picture, not a clip: `impasto paint` paints it"),
        ("sound", "has sound, but no picture"),
        ("frameless", "has no frames"),
        ("empty", "cannot be read as a video"),
        ("text", "cannot be read as a video"),
        ("playlist", "cannot be read as a video"),
        ("folder", "has no frames"),
        ("missing", "no clip at"),
    ],
)
def test_what_is_no_clip_is_one_line(tmp_path, kind, says):
    with pytest.raises(PictureError, match=says) as error:
        open_clip(bad(tmp_path, kind), RATE)
    assert "\n" not in str(error.value)
