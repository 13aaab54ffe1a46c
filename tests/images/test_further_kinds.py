"""Files of rare kinds that were read wrongly in silence: right now, or refused by name."""

import io
import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from impasto.errors import PictureError
from impasto.images.margins import picture_box
from impasto.images.read import Picture, read
from impasto.images.samples import sample_photograph, sample_style

RNG = np.random.default_rng(5)
COLORS = RNG.integers(0, 256, (48, 64, 3), dtype=np.uint8)


def tiff(values: np.ndarray, **options) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, values, metadata=None, **options)
    return file.getvalue()


def saved(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def eight(picture: Picture) -> np.ndarray:
    """(H, W, 3) of 0 to 255."""
    return (picture.pixels[0].permute(1, 2, 0).numpy() * 255).round().astype(int)


# --- JPEG


@pytest.fixture(scope="module")
def jpeg() -> bytes:
    with Image.open(sample_photograph()) as image:
        return saved(image.convert("RGB").resize((320, 240)), "JPEG", quality=85)


def test_a_lossless_jpeg_is_named(jpeg: bytes) -> None:
    at = jpeg.index(b"\xff\xc0")
    with pytest.raises(PictureError, match="is a lossless JPEG: save it as TIFF or PNG"):
        read(jpeg[:at] + b"\xff\xc3" + jpeg[at + 2 :], enough=16)


@pytest.mark.parametrize("share", [0.4, 0.8, 0.97])
@pytest.mark.parametrize("enough", [None, 60])
@pytest.mark.parametrize("end", ["zeros", "an end"])
def test_missing_pixels_are_told_whatever_follows(
    jpeg: bytes, share: float, enough: int | None, end: str
) -> None:
    cut = int(share * len(jpeg))
    tail = bytes(len(jpeg) - cut) if end == "zeros" else b"\xff\xd9"
    with pytest.raises(PictureError, match="truncated"):
        read(jpeg[:cut] + tail, enough=enough)


def test_a_jpeg_with_fewer_rows_than_it_says(jpeg: bytes) -> None:
    at = jpeg.index(b"\xff\xc0") + 5
    with pytest.raises(PictureError, match="truncated"):
        read(jpeg[:at] + struct.pack(">H", 320) + jpeg[at + 2 :])


@pytest.mark.parametrize("tail", [b"", bytes(3), bytes(500), b"\xff\xd9" + bytes(40)])
@pytest.mark.parametrize("white", [False, True])
def test_a_whole_jpeg_is_read_whatever_follows(jpeg: bytes, tail: bytes, white: bool) -> None:
    if white:  # its last corner has one color, as where pixels are missing
        with Image.open(io.BytesIO(jpeg)) as image:
            image.paste("white", (200, 160, 320, 240))
            jpeg = saved(image, "JPEG", quality=85)
    assert np.array_equal(eight(read(jpeg + tail)), eight(read(jpeg)))


@pytest.mark.parametrize("color", ["white", "black"])
@pytest.mark.parametrize("side", ["top", "left"])
@pytest.mark.parametrize("quality", [80, 95])
def test_a_bar_on_one_side_of_a_jpeg_is_found(color: str, side: str, quality: int) -> None:
    with Image.open(sample_style("glass")) as image:
        style = image.convert("RGB").resize((300, 240))
    at = (0, 30) if side == "top" else (30, 0)
    paper = Image.new("RGB", (300 + at[0], 240 + at[1]), color)
    paper.paste(style, at)
    box = picture_box(read(saved(paper, "JPEG", quality=quality)).pixels)
    assert box is not None
    wanted = (at[1], paper.height, at[0], paper.width)
    assert np.abs(np.subtract(box, wanted)).max() <= 3


# --- TIFF


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_lab_in_planes(compression: str | None) -> None:
    lab = np.zeros((3, 48, 64), np.uint8)
    lab[0] = 128
    lab[1, :, 32:], lab[2, 24:] = 30, 226  # 226 is -30
    data = tiff(lab, photometric="cielab", planarconfig="separate", compression=compression)
    together = tiff(np.ascontiguousarray(lab.transpose(1, 2, 0)), photometric="cielab")
    assert np.abs(eight(read(data)) - eight(read(together))).max() <= 1
    assert np.ptp(eight(read(data))[0, 0]) <= 2  # gray where a and b are 0
    assert (
        np.abs(eight(read(data, enough=16)).mean((0, 1)) - eight(read(data)).mean((0, 1))).max() < 2
    )


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_big_tiff_in_either_order(order: str, compression: str | None) -> None:
    data = tiff(COLORS, photometric="rgb", byteorder=order, bigtiff=True, compression=compression)
    assert np.array_equal(eight(read(data)), COLORS)


@pytest.mark.parametrize("kind", ["unassalpha", "assocalpha"])
def test_eight_bits_with_alpha_in_planes(kind: str) -> None:
    alpha = np.full((48, 64, 1), 128, np.uint8)
    colors = COLORS // 2 if kind == "assocalpha" else COLORS
    planes = np.concatenate([colors, alpha], 2).transpose(2, 0, 1)
    data = tiff(planes, photometric="rgb", planarconfig="separate", extrasamples=[kind])
    picture = read(data)
    assert picture.alpha is not None
    assert float(picture.alpha.mean()) == pytest.approx(128 / 255, abs=1e-3)


def test_alpha_after_another_channel() -> None:
    more = np.concatenate([COLORS, np.full((48, 64, 1), 7, np.uint8), COLORS[..., :1]], 2)
    data = tiff(more, photometric="rgb", extrasamples=["unspecified", "unassalpha"])
    picture = read(data)
    assert picture.alpha is not None
    found = (picture.alpha[0, 0].numpy() * 255).round()
    assert np.array_equal(found, COLORS[..., 0])


@pytest.mark.parametrize("planes", ["contig", "separate"])
def test_plain_ycbcr_is_named(planes: str) -> None:
    values = np.full((48, 64, 3) if planes == "contig" else (3, 48, 64), 128, np.uint8)
    tags = [(530, 3, 2, (1, 1), True)]
    data = tiff(values, photometric="ycbcr", planarconfig=planes, extratags=tags)
    with pytest.raises(
        PictureError, match="is a TIFF of 8-bit YCBCR, compression NONE: save it as"
    ):
        read(data)


@pytest.mark.parametrize(("dtype", "missing"), [("f4", -9999), ("i2", -32768), ("f4", -3.4e38)])
def test_a_map_with_missing_values_is_named(dtype: str, missing: float) -> None:
    heights = np.linspace(200, 900, 48 * 64).reshape(48, 64).astype(dtype)
    tags = [(42113, 2, 0, str(missing), True)]
    whole = tiff(heights, photometric="minisblack", extratags=tags)
    heights[:5, :5] = missing
    data = tiff(heights, photometric="minisblack", extratags=tags)
    with pytest.raises(PictureError, match="is a map with missing values"):
        read(data)
    assert read(whole).pixels.std() > 0.05


def test_a_photograph_of_eight_bits_may_say_what_is_missing() -> None:
    data = tiff(COLORS, photometric="rgb", extratags=[(42113, 2, 0, "0", True)])
    assert np.array_equal(eight(read(data)), COLORS)


def test_a_tiff_that_does_not_say_its_colors_is_named() -> None:
    data = tiff(COLORS[..., 0], photometric="minisblack")
    entry = struct.pack("<HH", 262, 3)
    assert data.count(entry) == 1
    with pytest.raises(PictureError, match="does not say what its values mean"):
        read(data.replace(entry, struct.pack("<HH", 263, 3)))


def test_complex_numbers_are_named() -> None:
    data = tiff(COLORS[..., 0].astype("c8"), photometric="minisblack")
    for enough in (None, 16):
        with pytest.raises(PictureError, match="is a TIFF of 64-bit"):
            read(data, enough=enough)


# --- others


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def test_sixteen_bits_of_gray_and_alpha_have_their_profile() -> None:
    # a profile with which a gray of 50 % is as bright as sRGB's 73 %
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    gray = bytearray(linear_gray())
    rows = np.full((48, 64, 2), 32768, ">u2")
    rows[..., 1] = 65535
    packed = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    header = struct.pack(">IIBBBBB", 64, 48, 16, 4, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    end = chunk(b"IDAT", packed) + chunk(b"IEND", b"")
    with_gray = start + chunk(b"iCCP", b"g\0\0" + zlib.compress(bytes(gray))) + end
    assert abs(eight(read(with_gray)).mean() - 188) < 3
    assert abs(eight(read(start + end)).mean() - 128) < 1
    assert profile  # of colors: it does not fit, and is passed over
    with_colors = start + chunk(b"iCCP", b"c\0\0" + zlib.compress(profile)) + end
    assert abs(eight(read(with_colors)).mean() - 128) < 1


@pytest.mark.parametrize(("rows", "whole"), [(40, False), (47, False), (48, True)])
@pytest.mark.parametrize("black", [False, True])
def test_a_png_whose_pixels_end_early_is_told(rows: int, whole: bool, black: bool) -> None:
    values = COLORS.copy()
    if black:
        values[40:] = 0
    packed = zlib.compress(b"".join(b"\0" + row.tobytes() for row in values[:rows]))
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 64, 48, 8, 2, 0, 0, 0))
    parts = [chunk(b"IDAT", packed[:100]), chunk(b"IDAT", packed[100:]), chunk(b"IEND", b"")]
    data = start + b"".join(parts)
    if whole:
        assert np.array_equal(eight(read(data)), values)
        return
    with pytest.raises(PictureError, match="truncated"):
        read(data)


def linear_gray() -> bytes:
    """A color profile of grays in proportion to light (ICC.1:2010, sections 7, 9 and 10)."""
    white = b"XYZ \0\0\0\0" + struct.pack(">3i", 63190, 65536, 54061)
    curve = b"curv\0\0\0\0" + struct.pack(">I", 0)
    name = b"desc\0\0\0\0" + struct.pack(">I", 2) + b"g\0" + bytes(78)
    name += bytes(-len(name) % 4)
    tags, at, body = b"", 128 + 4 + 3 * 12, b""
    for kind, value in ((b"desc", name), (b"wtpt", white), (b"kTRC", curve)):
        tags += struct.pack(">4sII", kind, at + len(body), len(value))
        body += value
    size = at + len(body)
    header = struct.pack(">I4sI4s4s4s", size, b"lcms", 0x02400000, b"mntr", b"GRAY", b"XYZ ")
    header += bytes(12) + b"acsp" + bytes(28) + struct.pack(">3i", 63190, 65536, 54061)
    header += bytes(128 - len(header))
    return header + struct.pack(">I", 3) + tags + body


def psd(channels: int, bits: int, mode: int, body: bytes) -> bytes:
    head = struct.pack(">4sH6xHIIHH", b"8BPS", 1, channels, 48, 64, bits, mode)
    return head + bytes(12) + struct.pack(">H", 0) + body


def test_photoshop_s_bitmaps_are_black_where_a_bit_is_set() -> None:
    bits = np.zeros((48, 64), np.uint8)
    bits[:24] = 1
    found = eight(read(psd(1, 1, 0, np.packbits(bits, axis=1).tobytes())))
    assert (found[:24] == 0).all()
    assert (found[24:] == 255).all()


def test_a_selection_in_a_photoshop_file_is_no_transparency() -> None:
    planes = [*COLORS.transpose(2, 0, 1), np.zeros((48, 64), np.uint8)]
    picture = read(psd(4, 8, 3, b"".join(plane.tobytes() for plane in planes)))
    assert picture.alpha is None
    assert np.array_equal(eight(picture), COLORS)


def test_run_lengths_of_bmp_cannot_hold_everything() -> None:
    image = Image.fromarray(COLORS[..., 0] // 64 * 64).convert("P")
    data = bytearray(saved(image, "BMP"))
    struct.pack_into("<i", data, 22, 10_000_000)
    struct.pack_into("<I", data, 30, 1)  # RLE8
    with pytest.raises(PictureError, match=r"bytes cannot hold"):
        read(bytes(data))


def test_pam_in_inks_is_named() -> None:
    head = b"P7\nWIDTH 64\nHEIGHT 48\nDEPTH 4\nMAXVAL 255\nTUPLTYPE CMYK\nENDHDR\n"
    with pytest.raises(PictureError, match="its colors are CMYK: save it as RGB"):
        read(head + bytes(64 * 48 * 4))
    with pytest.raises(PictureError, match="its header is broken"):
        read(head.replace(b"DEPTH 4\n", b"").replace(b"TUPLTYPE CMYK\n", b"") + bytes(64 * 48 * 4))


def test_a_cut_qoi_is_broken() -> None:
    head = b"qoif" + struct.pack(">IIBB", 64, 48, 3, 0)
    with pytest.raises(PictureError, match=r"it is broken|truncated|cannot hold"):
        read(head + b"\xfe\x01" * 30)


def bits_of(*parts: tuple[int, int]) -> bytes:
    """Numbers of so many bits each, the lowest bit first."""
    value = at = 0
    for number, count in parts:
        value |= number << at
        at += count
    return value.to_bytes(40, "little")


@pytest.mark.parametrize(
    ("metadata", "animated"),
    [
        ([(1, 1)], False),
        ([(0, 1), (0, 1)], False),
        ([(0, 1), (1, 1), (0, 3), (0, 1), (0, 1), (1, 1)], True),
        ([(0, 1), (1, 1), (5, 3), (0, 1), (0, 1), (0, 1)], False),
        ([(0, 1), (1, 1), (0, 3), (1, 1), (1, 1), (3, 5), (1, 3), (0, 1), (1, 1)], True),
    ],
)
def test_an_animated_jpeg_xl_is_known_by_its_header(metadata, animated: bool) -> None:
    from impasto.images.jxl import is_animated_jxl, jxl_size

    data = b"\xff\x0a" + bits_of((1, 1), (5, 5), (0, 3), (7, 5), *metadata)
    assert jxl_size(data) == (64, 48)
    assert is_animated_jxl(data) is animated
