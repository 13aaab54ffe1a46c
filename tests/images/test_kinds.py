"""What every viewer shows is read, with the colors that the file states; the rest is named."""

import io
import struct
import sys
import zlib

import numpy as np
import pillow_heif
import pytest
from PIL import Image

from crafted import SRGB, noise, png, swapped_profile
from impasto.errors import PictureError
from impasto.images.color_tags import ColorTags, from_codes, from_gamma, to_srgb
from impasto.images.files import header_size
from impasto.images.jxl import jxl_size
from impasto.images.read import read, read_bytes, read_settings
from impasto.images.write import write

COLOR = np.asarray(noise())


def saved(image: Image.Image, kind: str, **options) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def chunk(kind: bytes, body: bytes, crc: int | None = None) -> bytes:
    crc = zlib.crc32(kind + body) if crc is None else crc
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", crc)


def with_chunks(data: bytes, *chunks: bytes) -> bytes:
    """A PNG with chunks after its header."""
    return data[:33] + b"".join(chunks) + data[33:]


def seen(data: bytes, name: str = "it") -> np.ndarray:
    return read_bytes(data, name).pixels[0].permute(1, 2, 0).numpy() * 255


# PNG
# --------------------------------------------------------------------------------------------------

LONG = zlib.compress(bytes(3 << 20))
HARMLESS = {
    "zTXt": chunk(b"zTXt", b"Comment\0\0" + LONG),
    "iTXt": chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + LONG),
    "plain iTXt": chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + b"x" * (2 << 20)),
    "tEXt": chunk(b"tEXt", b"Comment\0" + b"x" * (2 << 20)),
    "many texts": chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(1 << 20))) * 80,
    "broken zTXt": chunk(b"zTXt", b"Comment\0\0nonsense"),
    "wrong checksum of a text": chunk(b"tEXt", b"Comment\0hello", crc=7),
    "wrong checksum of gAMA": chunk(b"gAMA", struct.pack(">I", 100_000), crc=7),
    "wrong checksum of tRNS": chunk(b"tRNS", bytes(6), crc=7),
    "wrong checksum of its own": chunk(b"prVt", b"abc", crc=7),
    "short pHYs": chunk(b"pHYs", b"\0"),
    "short cHRM": chunk(b"cHRM", b"\0" * 7),
    "short eXIf": chunk(b"eXIf", b"II"),
    "broken iCCP": chunk(b"iCCP", b"name\0\0nonsense"),
}


@pytest.mark.parametrize("what", HARMLESS)
def test_chunks_without_pixels_keep_no_pixels_from_being_read(what):
    data = with_chunks(saved(noise(), "PNG"), HARMLESS[what])
    assert np.abs(seen(data) - COLOR).max() < 0.01
    assert header_size(data, "it") == (48, 40)


def test_settings_are_found_beside_long_texts(tmp_path):
    settings = {
        "program": "impasto",
        "version": "1",
        "config": {},
        "machine": {},
        "inputs": [],
        "steps_done": 1,
    }
    out = write(noise(), tmp_path / "a.png", settings)
    out.write_bytes(with_chunks(out.read_bytes(), HARMLESS["zTXt"], HARMLESS["iTXt"]))
    assert read_settings(out) == settings


def test_a_long_profile_is_used():
    padded = swapped_profile() + np.random.default_rng(0).bytes(2 << 20)
    padded = struct.pack(">I", len(padded)) + padded[4:]
    data = with_chunks(
        saved(Image.new("RGB", (20, 20), "red"), "PNG"),
        chunk(b"iCCP", b"name\0\0" + zlib.compress(padded)),
    )
    assert np.abs(seen(data)[5, 5] - (0, 0, 255)).max() <= 1


def test_wrong_checksums_of_pixels_are_refused():
    data = bytearray(saved(noise(), "PNG"))
    at = data.index(b"IDAT")
    (length,) = struct.unpack_from(">I", data, at - 4)
    data[at + 4 + length] ^= 1
    with pytest.raises(PictureError):
        seen(bytes(data))


def test_a_png_without_its_end_is_read_if_all_pixels_are_there():
    data = saved(noise(), "PNG")
    for cut in (12, 13, 16):  # IEND, and some or all of the checksum before
        assert np.abs(seen(data[:-cut]) - COLOR).max() < 0.01
    with pytest.raises(PictureError, match="truncated"):
        seen(data[:-300])


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_the_transparent_gray_is_that_of_the_files_depth(depth):
    top, height, width = 2**depth - 1, 16, 16
    values = np.arange(height * width).reshape(height, width) % (top + 1)
    values[0, 0] = key = 1
    if depth == 16:
        rows = values.astype(">u2")
    elif depth == 8:
        rows = values.astype(np.uint8)
    else:
        bits = (values[..., None] >> np.arange(depth - 1, -1, -1)) & 1
        rows = np.packbits(bits.reshape(height, -1).astype(np.uint8), axis=1)
    data = with_chunks(
        png(width, height, rows, depth=depth, color=0), chunk(b"tRNS", struct.pack(">H", key))
    )
    picture = read_bytes(data, "it")
    assert np.array_equal(picture.alpha[0, 0].numpy() == 0, values == key)
    opaque = values != key
    shown = picture.pixels[0, 0].numpy()[opaque]
    assert np.abs(shown - (values / top)[opaque]).max() < 1e-3


def test_the_transparent_color_of_16_bits():
    rows = np.full((16, 16, 3), 40000, ">u2")
    rows[:8] = 1000, 2000, 3000
    data = with_chunks(
        png(16, 16, rows, depth=16), chunk(b"tRNS", struct.pack(">3H", 1000, 2000, 3000))
    )
    alpha = read_bytes(data, "it").alpha[0, 0]
    assert not alpha[:8].any()
    assert alpha[8:].all()


# Colors
# --------------------------------------------------------------------------------------------------

# Display P3 to sRGB, computed from the two standards' primaries: (0, 1, 0) is outside of sRGB.
P3 = np.array([[1.2249, -0.2249, 0.0], [-0.0421, 1.0421, 0.0], [-0.0196, -0.0786, 1.0983]])


def srgb_of_p3(values: np.ndarray) -> np.ndarray:
    unit = values / 255
    light = np.where(unit <= 0.04045, unit / 12.92, ((unit + 0.055) / 1.055) ** 2.4) @ P3.T
    light = light.clip(0, 1)
    shown = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return shown * 255


def points(*values: float) -> bytes:
    return struct.pack(">8I", *(round(value * 100_000) for value in values))


P3_POINTS = points(0.3127, 0.3290, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06)
CICP_P3 = chunk(b"cICP", bytes([12, 13, 0, 1]))


@pytest.mark.parametrize(
    "chunks",
    [
        (CICP_P3,),
        (CICP_P3, chunk(b"iCCP", b"x\0\0" + zlib.compress(SRGB))),
        (CICP_P3, chunk(b"sRGB", b"\0")),
        (chunk(b"gAMA", struct.pack(">I", 45455)), chunk(b"cHRM", P3_POINTS)),
    ],
    ids=["cICP", "cICP before iCCP", "cICP before sRGB", "cHRM"],
)
def test_p3_in_a_png(chunks):
    data = with_chunks(saved(noise(), "PNG"), *chunks)
    assert np.abs(seen(data) - srgb_of_p3(COLOR)).max() < 0.2


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P"])
def test_gamma_in_a_png(mode):
    image = Image.new("RGB", (20, 20), (128, 128, 128))
    image = image.quantize(2) if mode == "P" else image.convert(mode)
    linear = chunk(b"gAMA", struct.pack(">I", 100_000))
    assert np.abs(seen(with_chunks(saved(image, "PNG"), linear))[5, 5] - 188).max() < 1
    for other in (chunk(b"sRGB", b"\0"), chunk(b"cICP", bytes([1, 13, 0, 1]))):
        assert np.abs(seen(with_chunks(saved(image, "PNG"), linear, other))[5, 5] - 128).max() < 0.1


def test_gamma_holds_for_an_image_of_pillow(tmp_path):
    image = Image.new("RGB", (20, 20), (128, 128, 128))
    linear = chunk(b"gAMA", struct.pack(">I", 100_000))
    (tmp_path / "a.png").write_bytes(with_chunks(saved(image, "PNG"), linear))
    with Image.open(tmp_path / "a.png") as opened:
        assert float(read(opened).pixels.mean()) * 255 == pytest.approx(188, abs=1)


@pytest.mark.parametrize("kind", ["AVIF", "HEIF"])
def test_p3_in_nclx(kind):
    smooth = noise(4, 3).resize((64, 48), Image.Resampling.BICUBIC)
    data = bytearray(saved(smooth, kind, quality=100))
    plain = seen(bytes(data))
    at = data.index(b"nclx")
    struct.pack_into(">HH", data, at + 4, 12, 13)
    assert np.abs(seen(bytes(data)) - srgb_of_p3(plain)).max() < 0.3


def test_curves_of_hdr_are_compressed_with_a_note():
    # ST 2084: 203 cd/m2, paper white, is encoded as 0.5807; 10,000 as 1 (BT.2408, table 1)
    values = np.array([[[0.0] * 3, [0.3] * 3, [0.5807] * 3, [0.7518] * 3, [1.0] * 3]], np.float32)
    pq = to_srgb(values, from_codes(9, 16))[0, :, 0]
    assert pq[0] == 0
    assert 0.2 < pq[1] < 0.4
    assert 0.93 < pq[2] < pq[3] <= pq[4] <= 1
    hlg = to_srgb(np.full((1, 1, 3), 0.75, np.float32), from_codes(9, 18))  # the same paper white
    assert hlg[0, 0, 0] == pytest.approx(pq[2], abs=0.01)
    data = with_chunks(saved(noise(), "PNG"), chunk(b"cICP", bytes([9, 16, 0, 1])))
    note = "its brightness (HDR, PQ) was compressed to that of a screen"
    assert read_bytes(data, "it").notes == (note,)


def test_white_stays_white_and_srgb_is_nothing_to_do():
    white = np.ones((1, 1, 3), np.float32)
    for code in (1, 4, 5, 6, 7, 8, 9, 11, 12, 22):
        if tags := from_codes(code, 13):
            assert to_srgb(white, tags) == pytest.approx(white, abs=1e-4)
    assert from_codes(1, 13) is from_codes(2, 2) is None
    assert from_gamma(0.45455, (0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06)) is None
    assert from_gamma(None, None) is None


def test_primaries_of_no_colors_are_told():
    with pytest.raises(ValueError, match="states colors that there are not"):
        to_srgb(np.ones((1, 1, 3), np.float32), ColorTags((0.0,) * 8))
    odd = (chunk(b"cHRM", bytes(32)), chunk(b"gAMA", b"\xff" * 4))  # viewers pass over them
    for each in odd:
        assert np.abs(seen(with_chunks(saved(noise(), "PNG"), each)) - COLOR).max() < 0.01


# JPEG, and others
# --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("enough", [None, 100])
def test_a_jpeg_without_its_last_bytes_is_read(progressive, enough):
    image = noise(60, 40).resize((600, 400), Image.Resampling.BICUBIC)
    data = saved(image, "JPEG", progressive=progressive)
    whole = read_bytes(data, "it", enough=enough).pixels
    for cut in (1, 2):
        assert (read_bytes(data[:-cut], "it", enough=enough).pixels == whole).all()


@pytest.mark.parametrize("cut", [40, 200, 1000, 4000])
def test_a_jpeg_without_some_of_its_pixels_is_refused(cut):
    data = saved(noise(300, 200), "JPEG")
    with pytest.raises(PictureError, match="truncated"):
        read_bytes(data[:-cut], "it")


@pytest.mark.parametrize("brand", [b"heic", b"heix", b"mif1"])
@pytest.mark.parametrize("name", ["a.jpg", "a.HIF", "a.heics", "a.heifs", "a"])
def test_heif_is_known_by_its_brands(monkeypatch, brand, name):
    data = bytearray(saved(noise(), "HEIF"))
    data[8:12] = brand
    monkeypatch.setattr(Image, "ID", [kind for kind in Image.ID if kind != "HEIF"])
    monkeypatch.delitem(Image.OPEN, "HEIF")  # as in a fresh process
    assert seen(bytes(data), name).shape == (40, 48, 3)


def test_a_film_of_heif_is_its_first_picture():
    frames = pillow_heif.from_pillow(noise())
    frames.add_from_pillow(noise(48, 40).rotate(180))
    out = io.BytesIO()
    frames.save(out, save_all=True)
    assert read_bytes(out.getvalue(), "it").notes == ("the first of 2 frames is used",)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "AVIF"])
def test_more_frames_are_noted(kind):
    frames = [Image.new("RGB", (20, 20), color) for color in ("red", "green", "blue")]
    data = saved(frames[0], kind, save_all=True, append_images=frames[1:])
    assert read_bytes(data, "it").notes == ("the first of 3 frames is used",)
    assert read_bytes(saved(frames[0], kind), "it").notes == ()


def test_16_bit_gray_of_jpeg_2000():
    gray = np.linspace(0, 65535, 40 * 48).reshape(40, 48).astype(np.uint16)
    data = saved(Image.fromarray(gray), "JPEG2000")
    found = read_bytes(data, "it").pixels[0, 0].numpy() * 65535
    assert np.abs(found - gray).max() < 0.1


def test_colors_of_jpeg_2000_with_more_than_8_bits_are_named():
    """Pillow makes white of 16 bits black."""
    data = bytearray(saved(noise(), "JPEG2000"))
    assert np.abs(seen(bytes(data)) - COLOR).max() < 0.01
    at = data.index(b"\xff\x4f\xff\x51") + 42
    data[at] = data[at + 3] = data[at + 6] = 15
    with pytest.raises(PictureError, match="it is a JPEG 2000 of colors with more than 8 bits"):
        seen(bytes(data))


def test_qoi_and_its_lies():
    data = saved(noise(), "QOI")
    assert np.abs(seen(data) - COLOR).max() < 0.01
    liar = data[:4] + struct.pack(">II", 60_000, 60_000) + data[12:]
    with pytest.raises(PictureError, match="cannot hold"):
        seen(liar)


def test_jpeg_xl_is_read_or_named(monkeypatch):
    pillow_jxl = pytest.importorskip("pillow_jxl")
    assert pillow_jxl
    for width, height in [(48, 40), (40, 40), (256, 192), (300, 200), (1001, 37)]:
        data = saved(noise(width, height), "JXL", lossless=True)
        assert jxl_size(data) == (width, height)
        assert np.abs(seen(data) - np.asarray(noise(width, height))).max() < 0.01
        with pytest.raises(PictureError, match=f"{width} x {height} pixels, more than 1,000"):
            read_bytes(data, "it", most=1000)
    monkeypatch.setitem(sys.modules, "pillow_jxl", None)
    with pytest.raises(PictureError, match=r"it is a JPEG XL, .* pip install 'impasto\[jxl\]'"):
        seen(data)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"%PDF-1.7\n", "is a PDF"),
        (b"<svg xmlns='...'/>", "is a drawing"),
        (b"v/1\x01\2\0\0\0", "is an OpenEXR picture"),
        (b"\0\0\0\x18ftypisom\0\0\2\0isomiso2", "is a film"),
        (b"gimp xcf v011", "is GIMP's own file"),
        (b"\0\0\0\x20ftypisom", "is a film"),
        (b"\xef\xbb\xbf\n <!-- x --><svg/>", "is a drawing"),
        ("\ufeff<svg/>".encode("utf-16-le"), "is a drawing"),
        (b"<!DOCTYPE html><title>404</title>", "is a web page"),
        (b"not found\n", "is not a picture, but a text"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is a pointer of Git LFS"),
        (b"RIFF\0\0\1\0AVI LIST", "is a film"),
        (b"8BPS\0\2", "is a large Photoshop file"),
        (bytes(128) + b"DICM", "is a DICOM picture"),
        (b"II\xbc\x01", "is a JPEG XR"),
        (b"\xff\xd8\xff\xfe\0\4xx\xff\xc1\0\x0b\x0c", "is a JPEG of 12 bits a sample"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\4CgBI", "is a PNG for telephones alone"),
        (b"\x1f\x8b\x08", "is an archive"),
    ],
)
def test_what_is_no_picture_is_named(data, said):
    with pytest.raises(PictureError, match=f"^it {said}"):
        read_bytes(data + bytes(100), "it")


def test_pictures_of_any_size_are_read_where_there_is_memory(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    for kind in ("PNG", "JPEG", "TIFF", "WEBP", "AVIF", "BMP"):
        assert seen(saved(noise(), kind)).shape == (40, 48, 3)
    free = type("Memory", (), {"available": 10_000})
    monkeypatch.setattr("psutil.virtual_memory", lambda: free)
    for kind in ("PNG", "TIFF"):
        with pytest.raises(PictureError, match=r"it has 48 x 40 pixels: reading it takes 0.0 GB"):
            seen(saved(noise(), kind))
