import io
import struct
import threading
import warnings
import zlib
from contextlib import suppress

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image

from crafted import (
    BROKEN,
    black_only_profile,
    linear_profile,
    noise,
    png,
    swapped_profile,
    tiff16,
)
from impasto.errors import PictureError
from impasto.images.files import header_size
from impasto.images.quiet import NO_WARNINGS
from impasto.images.read import Picture, read, read_bytes, read_settings, resize

QUARTERS = np.zeros((32, 48, 3), np.uint8)
QUARTERS[:16, :24], QUARTERS[:16, 24:] = (230, 20, 20), (20, 230, 20)
QUARTERS[16:, :24], QUARTERS[16:, 24:] = (20, 20, 230), (230, 230, 230)
# EXIF orientation: what must be done to the stored pixels to see them upright.
TURNS = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a.swapaxes(0, 1), 2),
    8: np.rot90,
}


def seen(picture: Picture) -> np.ndarray:
    """(H, W, 3) from 0 to 255."""
    return picture.pixels[0].permute(1, 2, 0).numpy() * 255


def saved(image: Image.Image, suffix: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(
        file, {"jpg": "JPEG", "tif": "TIFF", "heic": "HEIF"}.get(suffix, suffix.upper()), **options
    )
    return file.getvalue()


@pytest.fixture
def stored(tmp_path):
    def store(data: bytes, name: str = "picture.png") -> Picture:
        (tmp_path / name).write_bytes(data)
        return read(tmp_path / name)

    return store


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif", "avif", "bmp", "gif", "heic"])
def test_every_format_is_read(stored, suffix):
    picture = stored(saved(Image.fromarray(QUARTERS), suffix), f"picture.{suffix}")
    assert picture.pixels.shape == (1, 3, 32, 48)
    assert picture.pixels.dtype == torch.float32
    assert picture.alpha is None
    # the middle of each quarter: JPEG and its like smear the borders
    assert np.abs(seen(picture)[8::16, 12::24] - QUARTERS[8::16, 12::24]).max() < 6


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif", "avif", "heic"])
@pytest.mark.parametrize("orientation", TURNS)
def test_exif_orientation_is_applied(stored, suffix, orientation):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    # pillow-heif turns these bytes into HEIF's own rotation
    given = exif.tobytes() if suffix == "heic" else exif
    picture = stored(saved(Image.fromarray(QUARTERS), suffix, exif=given), f"turned.{suffix}")
    assert np.abs(seen(picture) - TURNS[orientation](QUARTERS).astype(float)).mean() < 6


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_a_broken_exif_says_nothing(stored, suffix):
    picture = stored(
        saved(Image.fromarray(QUARTERS), suffix, exif=b"Exif\0\0nonsense"), f"picture.{suffix}"
    )
    assert np.abs(seen(picture) - QUARTERS).mean() < 6


def test_a_gif_gives_its_first_frame(stored):
    first, second = (Image.new("RGB", (20, 20), color) for color in ("red", "blue"))
    picture = stored(saved(first, "gif", save_all=True, append_images=[second]), "two.gif")
    assert seen(picture)[10, 10].tolist() == [255, 0, 0]


def test_an_image_gives_the_frame_it_stands_at(tmp_path):
    first, second = (Image.new("RGB", (20, 20), color) for color in ("red", "blue"))
    (tmp_path / "two.gif").write_bytes(saved(first, "gif", save_all=True, append_images=[second]))
    with Image.open(tmp_path / "two.gif") as image:
        image.seek(1)
        assert seen(read(image))[10, 10].tolist() == [0, 0, 255]


@pytest.mark.parametrize("name", ["picture.heic", "picture.HEIF", "from_a_telephone.jpg"])
def test_heic_is_known_by_its_suffix_or_content(stored, monkeypatch, name):
    data = saved(noise(), "heic")
    # as in a fresh process
    monkeypatch.setattr(Image, "ID", [kind for kind in Image.ID if kind != "HEIF"])
    assert stored(data, name).pixels.shape == (1, 3, 40, 48)


def test_heic_without_the_extra_names_it(stored, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pillow_heif", None)
    with pytest.raises(PictureError, match=r"impasto\[heif\]"):
        stored(saved(noise(), "heic"), "picture.heic")


# A linear half is 188 in sRGB: 255 * (1.055 * (128 / 255)^(1 / 2.4) - 0.055).
@pytest.mark.parametrize(
    ("mode", "color", "profile", "expected"),
    [
        ("RGB", (128, 128, 128), linear_profile(), (188, 188, 188)),
        ("RGB", (255, 0, 0), swapped_profile(), (0, 0, 255)),
        ("L", 128, linear_profile(gray=True), (188, 188, 188)),
        ("LA", (128, 255), linear_profile(gray=True), (188, 188, 188)),
        ("RGBA", (255, 0, 0, 255), swapped_profile(), (0, 0, 255)),
        ("I;16", 128 * 257, linear_profile(gray=True), (188, 188, 188)),
        ("P", (255, 0, 0), swapped_profile(), (0, 0, 255)),
    ],
)
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_colors_are_taken_from_the_profile_to_srgb(stored, suffix, mode, color, profile, expected):
    if mode == "P":
        image = Image.new("RGB", (20, 20), color).quantize(2)
    elif mode == "I;16":
        image = Image.fromarray(np.full((20, 20), color, np.uint16))
    else:
        image = Image.new(mode, (20, 20), color)
    picture = stored(saved(image, suffix, icc_profile=profile), f"picture.{suffix}")
    assert np.abs(seen(picture)[10, 10] - expected).max() <= 1


@pytest.mark.parametrize("suffix", ["jpg", "tif"])  # PNG has no CMYK
@pytest.mark.parametrize(("inks", "expected"), [((255, 255, 255, 0), 255), ((0, 0, 0, 255), 0)])
def test_inks_are_taken_from_the_profile_to_srgb(stored, suffix, inks, expected):
    image = Image.new("CMYK", (20, 20), inks)
    picture = stored(saved(image, suffix, icc_profile=black_only_profile()), f"picture.{suffix}")
    assert np.abs(seen(picture)[10, 10] - expected).max() <= 3


@pytest.mark.parametrize("profile", [b"nonsense", linear_profile(gray=True), black_only_profile()])
def test_a_profile_that_does_not_fit_is_passed_over(stored, profile):
    image = Image.new("RGB", (20, 20), (10, 20, 30))
    assert seen(stored(saved(image, "png", icc_profile=profile)))[5, 5] == pytest.approx(
        (10, 20, 30), abs=0.01
    )


@pytest.mark.parametrize(
    ("suffix", "values"),
    [
        *(("png", values) for values in [(0, 65535), (300, 301), (20000, 60000)]),
        *(("tif", values) for values in [(0, 65535), (20000, 60000)]),  # others: test_tiff.py
    ],
)
def test_16_bit_grey_keeps_its_depth(stored, suffix, values):
    gray = np.full((20, 20), values[0], np.uint16)
    gray[:, 10:] = values[1]
    picture = stored(saved(Image.fromarray(gray), suffix), f"picture.{suffix}")
    assert (
        picture.pixels[0, :, 5, ::19].tolist()
        == [[pytest.approx(v / 65535, abs=1e-6) for v in values]] * 3
    )


def test_16_bit_color_is_read_to_8_bits(stored):
    values = np.empty((20, 24, 3), ">u2")
    values[...] = 20000, 40000, 60000
    for data, name in [(png(24, 20, values, depth=16), "deep.png"), (tiff16(values), "deep.tif")]:
        assert seen(stored(data, name))[10, 10] == pytest.approx(
            (20000 / 257, 40000 / 257, 60000 / 257), abs=1
        )


def test_16_bit_alpha_is_kept(stored):
    values = np.empty((20, 24, 4), ">u2")
    values[...] = 20000, 40000, 60000, 32768
    picture = stored(png(24, 20, values, depth=16, color=6))
    assert picture.alpha.mean().item() == pytest.approx(0.5, abs=0.01)


def test_float_pictures_are_read_and_nan_is_told(stored):
    ramp = np.linspace(0, 1, 400, dtype=np.float32).reshape(20, 20)
    assert (
        np.abs(
            seen(stored(saved(Image.fromarray(ramp), "tif"), "f.tif"))[..., 0] / 255 - ramp
        ).max()
        < 1e-6
    )
    ramp[3, 3] = np.nan
    with pytest.raises(PictureError, match="not numbers"):
        stored(saved(Image.fromarray(ramp), "tif"), "f.tif")


@pytest.mark.parametrize("suffix", ["png", "tif", "gif", "bmp"])
@pytest.mark.parametrize("mode", ["1", "L", "P"])
def test_few_colors_are_read_as_pillow_shows_them(stored, suffix, mode):
    image = noise().quantize(16) if mode == "P" else noise().convert(mode)
    picture = stored(saved(image, suffix), f"picture.{suffix}")
    assert np.abs(seen(picture) - np.asarray(image.convert("RGB"))).max() < 0.01


@pytest.mark.parametrize(
    ("suffix", "options"), [("jpg", {"quality": 100}), ("tif", {"compression": "tiff_lzw"})]
)
@pytest.mark.parametrize(
    ("inks", "color"), [((0, 255, 255, 0), (255, 0, 0)), ((0, 0, 0, 255), (0, 0, 0))]
)
def test_cmyk_is_ink_not_light(stored, suffix, options, inks, color):
    picture = stored(
        saved(Image.new("CMYK", (20, 20), inks), suffix, **options), f"picture.{suffix}"
    )
    assert np.abs(seen(picture)[10, 10] - color).max() < 3


def test_a_transparent_palette_entry_becomes_alpha(stored):
    image = Image.fromarray(QUARTERS).quantize(4)
    corner = image.getpixel((0, 0))
    for suffix in ("png", "gif"):
        picture = stored(saved(image, suffix, transparency=corner), f"picture.{suffix}")
        assert picture.alpha.shape == (1, 1, 32, 48)
        assert not picture.alpha[0, 0, :16, :24].any()
        assert picture.alpha.sum().item() == 32 * 48 * 3 / 4


@pytest.mark.parametrize("suffix", ["png", "webp", "tif", "avif", "heic"])
def test_alpha_is_kept(stored, suffix):
    image = Image.fromarray(QUARTERS).convert("RGBA")
    image.putalpha(
        Image.fromarray(np.repeat(np.linspace(0, 255, 48)[None], 32, 0).astype(np.uint8))
    )
    alpha = stored(saved(image, suffix), f"picture.{suffix}").alpha
    assert alpha.shape == (1, 1, 32, 48)
    assert (alpha[0, 0] - torch.linspace(0, 1, 48)).abs().mean() < 0.02


@pytest.mark.parametrize(
    ("mode", "half", "full"),
    [("LA", (100, 128), (100, 255)), ("RGBA", (9, 8, 7, 128), (9, 8, 7, 255))],
)
def test_half_transparent_is_alpha_and_opaque_is_none(stored, mode, half, full):
    assert stored(
        saved(Image.new(mode, (20, 20), half), "png")
    ).alpha.unique().item() == pytest.approx(128 / 255)
    assert stored(saved(Image.new(mode, (20, 20), full), "png")).alpha is None


def test_transparent_pixels_get_the_mean_color_of_the_others():
    values = np.zeros((20, 20, 4), np.uint8)
    values[:10], values[10:] = (200, 100, 50, 255), (255, 255, 255, 0)
    assert np.abs(seen(read(values)) - (200, 100, 50)).max() < 0.01


@pytest.mark.parametrize("name", BROKEN)
def test_a_bad_picture_is_one_clear_line(tmp_path, name):
    make, said = BROKEN[name]
    path = make(tmp_path)
    with pytest.raises(PictureError) as error:
        read(path)
    assert said in str(error.value)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", BROKEN)
def test_a_bad_picture_has_no_settings(tmp_path, name):
    with pytest.raises(PictureError) as error:
        read_settings(BROKEN[name][0](tmp_path))
    assert "\n" not in str(error.value)


def test_a_large_picture_is_no_bomb(stored, monkeypatch):
    # Pillow warns above it and refuses above twice as much
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    assert stored(saved(noise(40, 40), "png")).pixels.shape == (1, 3, 40, 40)


def test_a_file_without_permission_is_told(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("impasto.records.open_regular", refuse)  # root may read everything
    with pytest.raises(PictureError, match=r"photo.jpg cannot be opened: Permission denied"):
        read(tmp_path / "photo.jpg")


def test_a_null_byte_in_a_name_is_told():
    with pytest.raises(PictureError, match="cannot be opened"):
        read("a\0b.png")


def test_the_checksum_is_of_the_file(stored, tmp_path):
    import hashlib

    picture = stored(saved(noise(), "png"))
    assert picture.sha256 == hashlib.sha256((tmp_path / "picture.png").read_bytes()).hexdigest()
    assert picture.name == str(tmp_path / "picture.png")


@pytest.mark.parametrize(
    "compression", ["tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits", "group4"]
)
def test_libtiff_says_nothing_itself(capfd, compression) -> None:
    file = io.BytesIO()
    noise().convert("1" if compression == "group4" else "RGB").save(
        file, "TIFF", compression=compression
    )
    data = bytearray(file.getvalue())
    for cut in (slice(60, 90), slice(len(data) // 2, len(data) - 300)):
        broken = bytearray(data)
        broken[cut] = b"\xff" * len(broken[cut])
        for each in (bytes(broken), bytes(broken[: len(broken) * 2 // 3])):
            with suppress(PictureError):
                read_bytes(each, "broken.tif")
    assert capfd.readouterr() == ("", "")


# Sizes
# --------------------------------------------------------------------------------------------------


def with_size(data: bytes, kind: str, width: int, height: int) -> bytes:
    """A picture's file whose header gives another size."""
    found = bytearray(data)
    if kind == "JPEG":
        at = found.index(b"\xff\xc0") + 5
        found[at : at + 4] = struct.pack(">HH", height, width)
    elif kind == "PNG":
        found[16:24] = struct.pack(">II", width, height)
        found[29:33] = struct.pack(">I", zlib.crc32(bytes(found[12:29])))
    else:
        at = found.index(b"\x2c", 13 + 3 * 256)  # the only frame, after the palette
        found[6:10] = found[at + 5 : at + 9] = struct.pack("<HH", width, height)
    return bytes(found)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF"])
def test_a_header_that_lies_about_the_size_is_refused(kind, tmp_path) -> None:
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)).save(
        out, kind
    )
    data = with_size(out.getvalue(), kind, 8191, 13000)
    with pytest.raises(
        PictureError,
        match=r"liar says that it has 8191 x 13000 pixels, which [\d,]+ bytes cannot hold",
    ):
        read_bytes(data, "liar")
    with pytest.raises(PictureError, match="cannot hold"):
        header_size(data, "liar")


@pytest.mark.parametrize(
    "mode",
    [
        "1",
        "RGB",
        *(pytest.param(m, marks=pytest.mark.slow) for m in ("L", "P", "RGBA", "LA", "I;16")),
    ],
)
@pytest.mark.parametrize("kind", ["PNG", "GIF", "JPEG"])
def test_an_empty_picture_is_no_lie(mode, kind) -> None:
    """What compresses best of all: one color everywhere."""
    out = io.BytesIO()
    if kind == "JPEG" and mode in ("P", "RGBA", "LA", "I;16"):
        pytest.skip("JPEG has no such pixels")
    Image.new(mode, (2000, 3000)).save(out, kind, optimize=True)
    assert read_bytes(out.getvalue(), "empty").pixels.shape == (1, 3, 3000, 2000)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_a_large_picture_is_scaled_down_while_it_is_decoded(kind) -> None:
    across, down = np.meshgrid(np.linspace(0, 255, 1200), np.linspace(0, 255, 800))
    out = io.BytesIO()
    Image.fromarray(np.stack([across, down, 255 - across], 2).round().astype(np.uint8)).save(
        out, kind
    )
    whole, small = (
        read_bytes(out.getvalue(), "it", enough=enough).pixels for enough in (None, 100)
    )
    assert small.shape == (1, 3, 100, 150)
    assert (small - resize(whole, 100, 150)).abs().mean() < 0.01


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "I;16", "F"])
def test_pictures_of_every_mode_are_scaled_down(mode) -> None:
    out = io.BytesIO()
    image = Image.new("L", (300, 200), 100)
    image = Image.fromarray(np.asarray(image, np.float32)) if mode == "F" else image.convert(mode)
    image.save(out, "TIFF" if mode in ("CMYK", "F") else "PNG")
    whole, small = (read_bytes(out.getvalue(), "it", enough=enough).pixels for enough in (None, 90))
    assert small.shape == (1, 3, 100, 150)
    assert (small.mean() - whole.mean()).abs() < 0.01


def test_scaling_down_keeps_what_is_transparent_out_of_the_colors() -> None:
    values = np.zeros((64, 64, 4), np.uint8)
    values[:, ::2] = (200, 100, 0, 255)
    values[:, 1::2] = (0, 0, 255, 0)  # blue, but nobody sees it
    out = io.BytesIO()
    Image.fromarray(values).save(out, "PNG")
    picture = read_bytes(out.getvalue(), "it", enough=32)
    assert picture.alpha is not None
    assert float(picture.alpha.mean()) == pytest.approx(0.5, abs=0.01)
    assert picture.pixels.mean((0, 2, 3)).mul(255).round().tolist() == pytest.approx(
        [200, 100, 0], abs=2
    )


@pytest.mark.parametrize(
    ("size", "enough", "found"), [((900, 90), 100, (900, 90)), ((640, 480), 300, (640, 480))]
)
def test_no_side_is_scaled_below_what_is_enough(size, enough, found) -> None:
    out = io.BytesIO()
    Image.new("RGB", size).save(out, "PNG")
    assert read_bytes(out.getvalue(), "it", enough=enough).pixels.shape[:1:-1] == found


def test_pictures_are_decoded_side_by_side_and_warnings_come_back() -> None:
    """One thread's picture is never waited for by another, whichever leaves first."""
    before = list(warnings.filters)
    first, second = NO_WARNINGS, threading.Event()

    def decode() -> None:
        with NO_WARNINGS:
            warnings.warn("silent", stacklevel=1)
            second.set()

    with first:
        thread = threading.Thread(target=decode)
        thread.start()
        assert second.wait(5)
        thread.join()
        warnings.warn("silent", stacklevel=1)
    assert warnings.filters == before
