"""What of a photograph's file is kept in its painting, and 16 bits."""

import io

import numpy as np
import pytest
import tifffile
import torch
from PIL import ExifTags, Image

from crafted import SRGB, noise
from impasto.errors import OutputError
from impasto.images.deep import to_words
from impasto.images.metadata import NOTHING, metadata_of
from impasto.images.read import read, read_bytes, read_settings
from impasto.images.write import encode, write

SETTINGS = {
    "program": "impasto",
    "version": "0.1.0",
    "config": {},
    "machine": {},
    "inputs": [],
    "steps_done": 3,
}
Base, IFD = ExifTags.Base, ExifTags.IFD
TAKEN = "2026:10:03 12:34:56"
WITH_EXIF = [".jpg", ".png", ".webp", ".tif", ".avif", ".heic"]


def photograph_exif() -> Image.Exif:
    exif = Image.Exif()
    exif[Base.Artist] = "Ærø Jensen".encode()
    exif[Base.Copyright] = "© 2026 Ærø Jensen".encode("latin-1")
    exif[Base.Make], exif[Base.ImageDescription] = "Camera", "On the beach"
    exif[Base.Orientation] = 6
    exif.get_ifd(IFD.Exif).update({Base.DateTimeOriginal: TAKEN, Base.OffsetTimeOriginal: "+02:00"})
    exif.get_ifd(IFD.GPSInfo).update({1: "N", 2: (52.0, 30.0, 0.0)})
    return exif


def photograph() -> bytes:
    out = io.BytesIO()
    noise().save(out, "JPEG", exif=photograph_exif(), dpi=(300, 300), icc_profile=SRGB)
    return out.getvalue()


@pytest.fixture
def content():
    return read_bytes(photograph(), "photo.jpg")


def opened(path) -> Image.Image:
    with Image.open(path) as image:
        image.load()
        return image


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("suffix", WITH_EXIF)
def test_date_author_and_copyright_are_kept(tmp_path, content, suffix, depth):
    if depth == 16 and suffix not in (".png", ".tif"):
        pytest.skip("eight bits only")
    picture = noise() if depth == 8 else to_words(content.pixels, None)
    out = write(picture, tmp_path / f"out{suffix}", SETTINGS, content.metadata.selected("basic"))
    image = opened(out)
    exif = image.getexif()
    assert exif[Base.Artist].encode("latin-1").decode() == "Ærø Jensen"
    assert exif[Base.Copyright] == "© 2026 Ærø Jensen"
    inner = exif.get_ifd(IFD.Exif)
    assert inner[Base.DateTimeOriginal] == TAKEN
    assert inner[Base.OffsetTimeOriginal] == "+02:00"
    assert not exif.get_ifd(IFD.GPSInfo)
    assert Base.Make not in exif
    assert exif.get(Base.Orientation, 1) == 1
    assert image.info["icc_profile"][36:40] == b"acsp"
    assert read_settings(out) == SETTINGS
    if suffix in (".jpg", ".png", ".tif"):
        assert image.info["dpi"] == pytest.approx((300, 300), abs=0.01)


@pytest.mark.parametrize("suffix", WITH_EXIF)
def test_where_it_was_taken_is_kept_only_when_asked_for(tmp_path, content, suffix):
    out = write(noise(), tmp_path / f"out{suffix}", SETTINGS, content.metadata.selected("all"))
    exif = opened(out).getexif()
    assert exif.get_ifd(IFD.GPSInfo)[2] == (52.0, 30.0, 0.0)
    assert exif[Base.Make] == "Camera"
    assert exif.get(Base.Orientation, 1) == 1
    assert read_settings(out) == SETTINGS


@pytest.mark.parametrize("suffix", [*WITH_EXIF, ".gif", ".bmp"])
def test_none_leaves_no_trace(tmp_path, content, suffix):
    picture = noise()
    with_none = write(picture, tmp_path / f"a{suffix}", SETTINGS, content.metadata.selected("none"))
    plain = write(picture, tmp_path / f"b{suffix}", SETTINGS)
    assert with_none.read_bytes() == plain.read_bytes()


@pytest.mark.parametrize("suffix", WITH_EXIF)
def test_the_same_painting_is_the_same_bytes(content, suffix):
    kept = content.metadata.selected("basic")
    assert encode(noise(), suffix, SETTINGS, kept) == encode(noise(), suffix, SETTINGS, kept)


def test_a_hostile_exif_keeps_nothing_that_is_no_text():
    exif = Image.Exif()
    exif[Base.Artist], exif[Base.Copyright] = "a\nb\x1b[31m" + "x" * 5000, 7
    exif[Base.DateTime] = "yesterday"
    exif.get_ifd(IFD.Exif)[Base.DateTimeOriginal] = b"\xff\xfe"
    found = metadata_of(exif, dpi=(float("nan"), 1e300)).selected("basic")
    assert found.main == {Base.Artist: ("ab[31m" + "x" * 5000)[:1000]}
    assert found.exif == {}
    assert found.dpi is None
    assert metadata_of(Image.Exif(), dpi=0) == NOTHING


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bits_are_exact(tmp_path, suffix, alpha):
    pixels = torch.rand(1, 3, 150, 70, generator=torch.Generator().manual_seed(0))
    mask = torch.rand(1, 1, 150, 70, generator=torch.Generator().manual_seed(1)) if alpha else None
    words = to_words(pixels, mask)
    assert words.shape == (150, 70, 4 if alpha else 3)
    out = write(words, tmp_path / f"out{suffix}", SETTINGS)
    if suffix == ".tif":
        with tifffile.TiffFile(out) as file:
            assert file.pages[0].bitspersample == 16
        back = read(out)
        if not alpha:
            assert (back.pixels * 65535 - pixels * 65535).abs().max() <= 0.51
        else:
            assert (back.alpha - mask).abs().max() < 1 / 65535
    assert np.abs(np.asarray(opened(out)).astype(int) - (words >> 8)).max() <= 1  # Pillow: 8 bits
    assert opened(out).mode == ("RGBA" if alpha else "RGB")
    assert read_settings(out) == SETTINGS


def test_a_depth_that_a_format_lacks_is_told(tmp_path):
    words = np.zeros((20, 20, 3), np.uint16)
    with pytest.raises(OutputError, match=r"cannot have 16 bits: choose .png, .tif, .tiff"):
        write(words, tmp_path / "out.jpg")
    assert list(tmp_path.iterdir()) == []
