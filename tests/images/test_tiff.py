"""TIFF files of every kind, with exact values; tifffile writes them."""

import io
import struct

import numpy as np
import pytest
import tifffile
from PIL import Image, TiffImagePlugin

from crafted import linear_profile, noise
from impasto.errors import PictureError
from impasto.images.files import header_size
from impasto.images.read import read_bytes

GRAY = np.random.default_rng(0).integers(0, 256, (48, 64), np.uint8)
GRAY[0, :2] = 0, 255
COLOR = np.random.default_rng(1).integers(0, 256, (48, 64, 3), np.uint8)
COLOR[0, 0], COLOR[0, 1] = 0, 255


def tiff(values: np.ndarray, **options) -> bytes:
    out = io.BytesIO()
    options = {"photometric": "rgb" if values.ndim == 3 else "minisblack", **options}
    tifffile.imwrite(out, values, metadata=None, **options)
    return out.getvalue()


def seen(data: bytes, enough=None) -> np.ndarray:
    return read_bytes(data, "it", enough=enough).pixels[0].permute(1, 2, 0).numpy() * 255


def error(data: bytes, truth: np.ndarray) -> float:
    truth = truth[..., None] if truth.ndim == 2 else truth
    return float(np.abs(seen(data) - truth).max())


SCALED = {  # how 8 bits become values of a type, and what the note says of it
    "u16": (lambda v: v.astype(np.uint16) * 257, ""),
    "12 in 16": (lambda v: np.round(v / 255 * 4095).astype(np.uint16), "12 bits"),
    "10 in 16": (lambda v: np.round(v / 255 * 1023).astype(np.uint16), "10 bits"),
    "14 in 16": (lambda v: np.round(v / 255 * 16383).astype(np.uint16), "14 bits"),
    "u32": (lambda v: v.astype(np.uint32) * 16843009, ""),
    "16 in 32": (lambda v: v.astype(np.uint32) * 257, "16 bits"),
    "8 in 32": (lambda v: v.astype(np.uint32), "8 bits"),
    "8 in signed 32": (lambda v: v.astype(np.int32), "0 to 255"),
    "positive i16": (lambda v: np.round(v / 255 * 32767).astype(np.int16), "0 to 32,767"),
    "i8": (lambda v: (v.astype(int) - 128).astype(np.int8), "-128 to 127"),
    "i16": (lambda v: (v.astype(int) * 257 - 32768).astype(np.int16), "-32,768 to 32,767"),
    "f16": (lambda v: (v / 255).astype(np.float16), ""),
    "f32": (lambda v: (v / 255).astype(np.float32), ""),
    "f64": (lambda v: v / 255, ""),
    "f32 of 8 bits": (lambda v: v.astype(np.float32), "0 to 255"),
    "f64 of 16 bits": (lambda v: v * 257.0, "0 to 65535"),
    "signed f32": (lambda v: (v / 127.5 - 1).astype(np.float32), "-1 to 1"),
}


@pytest.mark.parametrize("truth", [GRAY, COLOR], ids=["gray", "color"])
@pytest.mark.parametrize("kind", SCALED)
def test_values_of_every_type_are_scaled_by_the_range_they_use(kind, truth):
    make, said = SCALED[kind]
    data = tiff(make(truth))
    assert error(data, truth) < 0.15
    notes = read_bytes(data, "it").notes
    assert len(notes) == bool(said)
    assert said in " ".join(notes)


LAYOUTS = {
    "planar": {"planarconfig": "separate"},
    "tiles": {"tile": (16, 32)},
    "strips": {"rowsperstrip": 7},
    "big endian": {"byteorder": ">"},
    "BigTIFF": {"bigtiff": True},
    "deflate": {"compression": "zlib", "rowsperstrip": 7},
    "deflate, predictor": {"compression": "zlib", "predictor": 2, "rowsperstrip": 7},
    "deflate, planar tiles": {"compression": "zlib", "planarconfig": "separate", "tile": (16, 32)},
}


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_read(layout, dtype):
    options = dict(LAYOUTS[layout])
    if options.get("predictor") and dtype == np.float32:
        options.pop("predictor")  # floats have their own, below
    values = {
        np.uint8: COLOR,
        np.uint16: COLOR * np.uint16(257),
        np.float32: COLOR / np.float32(255),
    }
    shaped = values[dtype]
    if options.get("planarconfig"):
        shaped = shaped.transpose(2, 0, 1)
    assert error(tiff(shaped, **options), COLOR) < 0.01


@pytest.mark.parametrize("compression", ["tiff_lzw", "packbits", "tiff_adobe_deflate", "raw"])
def test_what_libtiff_unpacks_is_read(compression):
    """Rows of 16-bit colors, compressed by libtiff as if they were rows of gray bytes."""
    words = (COLOR * np.uint16(257)).astype("<u2")
    rows = Image.fromarray(words.reshape(48, -1).view(np.uint8))
    out = io.BytesIO()
    rows.save(out, "TIFF", compression=compression)
    data = bytearray(out.getvalue())
    with Image.open(io.BytesIO(bytes(data))) as image:
        tags = {tag: image.tag_v2[tag] for tag in (259, 273, 278, 279)}
    ifd = TiffImagePlugin.ImageFileDirectory_v2(b"II*\0\0\0\0\0")
    ifd[256], ifd[257], ifd[258], ifd[259] = 64, 48, (16, 16, 16), tags[259]
    ifd[262], ifd[277], ifd[278], ifd[279] = 2, 3, tags[278], tags[279]
    strips = [data[at : at + n] for at, n in zip(tags[273], tags[279], strict=True)]
    ifd[273] = tuple(int(at) for at in np.cumsum([0, *tags[279][:-1]]))
    made = io.BytesIO()
    ifd.save(made)
    assert error(made.getvalue() + b"".join(strips), COLOR) < 0.01


@pytest.mark.parametrize(("dtype", "size"), [(np.float16, 2), (np.float32, 4), (np.float64, 8)])
def test_the_predictor_of_floats_is_undone(dtype, size):
    values = (COLOR / 255).astype(dtype)
    planes = values.astype(np.dtype(dtype).newbyteorder(">")).reshape(48, -1, 1).view(np.uint8)
    planes = planes.reshape(48, 64 * 3, size).transpose(0, 2, 1).reshape(48, -1, 3)
    rows = np.concatenate([planes[:, :1], planes[:, 1:] - planes[:, :-1]], axis=1)
    plain = bytearray(tiff(values))
    with tifffile.TiffFile(io.BytesIO(bytes(plain))) as file:
        page = file.pages[0]
        at, tag = page.dataoffsets[0], page.tags["PlanarConfiguration"]
        plain[at : at + rows.size] = rows.tobytes()
    # the place of one tag is used for the predictor; its value, 1, is what is meant without it
    struct.pack_into("<HHII", plain, tag.offset, 317, 3, 1, 3)
    assert error(bytes(plain), COLOR) < 0.2


def test_white_may_be_zero():
    inverse = (255 - GRAY).astype(np.uint16) * 257
    assert error(tiff(inverse, photometric="miniswhite"), GRAY) < 0.01
    assert error(tiff(255 - GRAY, photometric="miniswhite"), GRAY) < 0.01


@pytest.mark.parametrize("kind", [1, 2])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_alpha_is_read(kind, dtype):
    alpha = np.linspace(64, 255, 64).astype(np.uint8) * np.ones((48, 1), np.uint8)
    color = COLOR // 2
    stored = np.round(color * (alpha[..., None] / 255)) if kind == 1 else color
    both = np.dstack([stored, alpha])
    scale = {np.uint8: 1, np.uint16: 257, np.float32: 1 / 255}[dtype]
    data = tiff((both.astype(float) * scale).astype(dtype), extrasamples=[kind])
    picture = read_bytes(data, "it")
    assert np.abs(picture.alpha[0, 0].numpy() * 255 - alpha).max() < 0.01
    opaque = alpha == 255
    shown = picture.pixels[0].permute(1, 2, 0).numpy() * 255
    assert np.abs(shown - color)[opaque].max() < (0.6 if dtype != np.float32 else 1.1)


def test_a_stated_range_is_used():
    values = (GRAY.astype(np.float32) / 255 * 0.5 + 10).astype(np.float32)
    tags = [(340, "f", 1, 10.0, True), (341, "f", 1, 11.0, True)]
    picture = read_bytes(tiff(values, extratags=tags), "it")
    assert np.abs(picture.pixels[0, 0].numpy() * 255 - GRAY / 2).max() < 0.02
    assert "10 to 11, as it says" in picture.notes[0]
    dark = (GRAY // 64).astype(np.uint16)
    picture = read_bytes(tiff(dark, extratags=[(281, "H", 1, 4095, True)]), "it")
    assert np.abs(picture.pixels[0, 0].numpy() * 4095 - dark).max() < 0.01


def test_inks_and_lab_of_16_bits():
    inks = np.zeros((20, 20, 4), np.uint16)
    inks[..., 1:3] = 65535  # magenta and yellow
    found = seen(tiff(inks, photometric="separated"))
    assert np.abs(found[5, 5] - (255, 0, 0)).max() < 3
    lab = np.zeros((20, 20, 3), np.int16)
    lab[..., 0] = np.uint16(round(53.585 * 655.35)).astype(np.int16)  # sRGB's gray of 128
    assert np.abs(seen(tiff(lab.view(np.uint16), photometric="cielab"))[5, 5] - 128).max() < 3
    eight = np.zeros((20, 20, 3), np.uint8)
    eight[..., 0] = round(53.585 * 2.55)
    assert np.abs(seen(tiff(eight, photometric="cielab"))[5, 5] - 128).max() < 3


def test_a_profile_holds_for_deep_colors():
    half = np.full((20, 20, 3), 32896, np.uint16)
    half[0, 0] = 65535
    found = seen(tiff(half, iccprofile=linear_profile()))
    assert np.abs(found[5, 5] - 188).max() <= 1  # a linear half


@pytest.mark.parametrize("orientation", range(1, 9))
def test_deep_pictures_are_turned_upright(orientation):
    data = tiff(COLOR * np.uint16(257), extratags=[(274, "H", 1, orientation, True)])
    plain = tiff(COLOR, extratags=[(274, "H", 1, orientation, True)])  # Pillow turns this one
    assert np.abs(seen(data) - seen(plain)).max() < 0.01
    assert read_bytes(data, "it").full_size == tuple(read_bytes(data, "it").pixels.shape[2:])


# Pages
# --------------------------------------------------------------------------------------------------


def pages(*given: tuple[np.ndarray, dict]) -> bytes:
    out = io.BytesIO()
    with tifffile.TiffWriter(out) as file:
        for values, options in given:
            file.write(values, metadata=None, **{"photometric": "rgb", **options})
    return out.getvalue()


SMALL = COLOR[:24, :32]


def test_thumbnails_are_not_the_picture():
    first = pages((SMALL, {"subfiletype": 1}), (COLOR, {}))
    assert error(first, COLOR) < 0.01
    assert read_bytes(first, "it").notes == ()
    assert header_size(first, "it") == (64, 48)
    below = pages((SMALL, {"subfiletype": 1, "subifds": 1}), (COLOR, {"subfiletype": 0}))
    assert error(below, COLOR) < 0.01
    deep = pages(
        (SMALL, {"subfiletype": 1, "subifds": 1}), (COLOR * np.uint16(257), {"subfiletype": 0})
    )
    assert error(deep, COLOR) < 0.01


def test_the_largest_page_is_read_and_others_are_noted():
    many = pages((COLOR, {}), (COLOR[::-1], {}), (SMALL, {}))
    assert error(many, COLOR) < 0.01
    assert read_bytes(many, "it").notes == ("the first of 3 pages is used",)
    later = pages((SMALL, {}), (COLOR, {}))
    assert error(later, COLOR) < 0.01
    assert read_bytes(later, "it").notes == ("the largest, page 2 of 2 pages is used",)


@pytest.mark.parametrize("how", ["DNG", "sensor", "name", "CR2", "RAF", "CR3"])
def test_raw_files_of_cameras_are_named(how):
    dng = (50706, "B", 4, b"\1\4\0\0", True)
    data, name = {
        "DNG": (pages((SMALL, {"subfiletype": 1, "extratags": [dng]})), "a.dng"),
        "sensor": (
            pages((SMALL, {"subfiletype": 1, "subifds": 1}), (GRAY, {"photometric": "cfa"})),
            "a.tif",
        ),
        "name": (tiff(SMALL), "a.NEF"),
        "CR2": (b"II*\0\x10\0\0\0CR\2\0" + bytes(100), "a"),
        "RAF": (b"FUJIFILMCCD-RAW 0201" + bytes(100), "a.jpg"),
        "CR3": (b"\0\0\0\x18ftypcrx \0\0\0\1crx isom" + bytes(100), "a"),
    }[how]
    for ask in (read_bytes, header_size):
        with pytest.raises(PictureError, match=f"^{name} is a camera's raw file: develop it first"):
            ask(data, name)


def test_what_is_not_read_says_what_it_is():
    data = bytearray(tiff(COLOR * np.uint16(257)))
    with tifffile.TiffFile(io.BytesIO(bytes(data))) as file:
        at = file.pages[0].tags["Compression"].valueoffset
    struct.pack_into("<H", data, at, 34712)
    with pytest.raises(
        PictureError, match="it is a TIFF of 16-bit RGB, compression JPEG2000: save"
    ):
        read_bytes(bytes(data), "it")


@pytest.mark.parametrize("dtype", [np.uint16, np.float64])
@pytest.mark.parametrize("layout", [{}, {"tile": (16, 32)}, {"rowsperstrip": 7}])
def test_deep_pictures_are_scaled_down_while_they_are_decoded(dtype, layout):
    values = COLOR.repeat(5, 0).repeat(5, 1)[:233, :317]
    scale = 257 if dtype == np.uint16 else 1 / 255
    data = tiff((values.astype(float) * scale).astype(dtype), **layout)
    picture = read_bytes(data, "it", enough=40)
    small = np.asarray(Image.fromarray(values).reduce(5), float)
    assert picture.full_size == (233, 317)
    shown = picture.pixels[0].permute(1, 2, 0).numpy() * 255
    assert np.abs(shown - small).max() < 1


def test_a_liar_takes_no_memory():
    data = bytearray(tiff(GRAY, compression="zlib"))
    with tifffile.TiffFile(io.BytesIO(bytes(data))) as file:
        for tag in ("ImageWidth", "ImageLength"):
            struct.pack_into("<H", data, file.pages[0].tags[tag].valueoffset, 65000)
    for ask in (read_bytes, header_size):
        with pytest.raises(PictureError, match=r"which .* bytes cannot hold"):
            ask(bytes(data), "it")


def test_cut_off_deep_pictures_are_refused():
    for data in (tiff(COLOR * np.uint16(257), compression="zlib"), tiff(COLOR * np.uint16(257))):
        with pytest.raises(PictureError, match="it cannot be read as a picture"):
            read_bytes(data[:-4000] if len(data) < 15000 else data[:12000], "it")


def test_jpeg_and_palette_and_fax_are_pillows():
    for image, options in [
        (noise().quantize(16), {}),
        (noise().convert("1"), {"compression": "group4"}),
        (noise().convert("L"), {"compression": "tiff_lzw"}),
    ]:
        out = io.BytesIO()
        image.save(out, "TIFF", **options)
        assert error(out.getvalue(), np.asarray(image.convert("RGB"))) < 0.01


@pytest.mark.parametrize("bits", [9, 10, 11, 12, 14, 16])
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_the_bits_that_ome_says_are_used_are_the_range(bits: int, byteorder: str) -> None:
    """Dark, so that the values themselves would tell fewer bits."""
    truth = GRAY // 8
    values = np.round(truth / 255 * (2**bits - 1)).astype(np.uint16)
    out = io.BytesIO()
    metadata = {"axes": "YX", "SignificantBits": bits}
    tifffile.imwrite(out, values, ome=True, metadata=metadata, byteorder=byteorder)
    data = out.getvalue()
    assert error(data, values / (2**bits - 1) * 255) < 1e-3
    assert any("as it says" in note for note in read_bytes(data, "it").notes) == (bits < 16)


def test_values_above_the_bits_that_ome_says_are_kept() -> None:
    values = GRAY.astype(np.uint16) * 257
    out = io.BytesIO()
    tifffile.imwrite(out, values, ome=True, metadata={"axes": "YX", "SignificantBits": 12})
    assert error(out.getvalue(), GRAY) < 1e-3
