"""Files of kinds that programs other than Pillow write, with exact values: packed bits, further
channels, odd headers, cut ends."""

import io
import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import ExifTags, Image

from crafted import noise
from impasto.errors import PictureError
from impasto.images.files import header_size
from impasto.images.ranges import value_range
from impasto.images.read import read_bytes

COLOR = np.asarray(noise())
GRAY = COLOR[..., 0]
ALPHA = COLOR[..., 1]
HEIGHT, WIDTH = GRAY.shape


def saved(image: Image.Image, kind: str, **options) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def tiff(values: np.ndarray, **options) -> bytes:
    out = io.BytesIO()
    tifffile.imwrite(out, values, metadata=None, **options)
    return out.getvalue()


def error(data: bytes, truth: np.ndarray, enough: int | None = None) -> float:
    """The largest distance of what is read from the truth, both 0 to 255."""
    pixels = read_bytes(data, "it", enough=enough).pixels[0].permute(1, 2, 0).numpy()
    truth = truth if truth.ndim == 3 else truth[..., None]
    return float(np.abs(pixels * 255 - truth).max())


# TIFF
# --------------------------------------------------------------------------------------------------


def packed_tiff(values: np.ndarray, bits: int, order: int = 1) -> bytes:
    """A TIFF (H, W, C) of samples of `bits` bits without gaps, with either order of bits."""
    height, width, channels = values.shape
    ones = values.reshape(height, -1, 1) >> np.arange(bits - 1, -1, -1) & 1
    data = np.packbits(ones.reshape(height, -1).astype(np.uint8), axis=1)
    if order == 2:
        data = np.packbits(np.unpackbits(data[..., None], axis=2)[..., ::-1], axis=2)
    body = data.tobytes()
    entries = [
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, 1, bits),
        (259, 3, 1, 1),
        (262, 3, 1, 2 if channels == 3 else 1),
        (266, 3, 1, order),
        (273, 4, 1, 8),
        (277, 3, 1, channels),
        (278, 4, 1, height),
        (279, 4, 1, len(body)),
    ]
    if channels == 3:
        entries[2] = (258, 3, 3, 8 + len(body))  # where the three depths are
        body += struct.pack("<3H", bits, bits, bits)
    directory = struct.pack("<H", len(entries))
    directory += b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0" + struct.pack("<I", 8 + len(body)) + body + directory + bytes(4)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("bits", [10, 12, 14, 15])
def test_packed_samples_of_a_tiff(bits, channels, order):
    top = 2**bits - 1
    values = np.round(COLOR[:, :-3, :channels] / 255 * top).astype(int)  # of odd width
    data = packed_tiff(values, bits, order)
    assert error(data, values / top * 255) < 0.01
    assert read_bytes(data, "it").notes == ()
    cut = bytearray(data)
    at = data.index(struct.pack("<HHI", 279, 4, 1)) + 8  # the number of the strip's bytes
    struct.pack_into("<I", cut, at, struct.unpack_from("<I", data, at)[0] - 40)
    with pytest.raises(PictureError, match="truncated"):
        read_bytes(bytes(cut), "it")


def test_16_bits_may_have_their_last_bit_first():
    values = (COLOR.astype(int) * 257).astype("<u2").view(np.uint8).reshape(HEIGHT, -1, 3)
    words = values.reshape(HEIGHT, -1).view(">u2").reshape(COLOR.shape)
    assert error(packed_tiff(words.astype(int), 16, 2), COLOR) < 0.01


FURTHER = {  # values, options, the truth, its note
    "seven channels": (
        np.dstack([COLOR, *[GRAY] * 4]),
        {"photometric": "rgb", "extrasamples": [0] * 4},
        COLOR,
        "only the first 3 of its 7 channels are used",
    ),
    "gray and another": (
        np.dstack([GRAY, ALPHA]),
        {"photometric": "minisblack", "planarconfig": "contig", "extrasamples": [0]},
        GRAY,
        "only the first of its 2 channels is used",
    ),
}


@pytest.mark.parametrize("kind", FURTHER)
def test_further_channels_of_a_tiff_are_passed_over_with_a_note(kind):
    values, options, truth, note = FURTHER[kind]
    data = tiff(values, **options)
    assert error(data, truth) < 0.01
    assert read_bytes(data, "it").notes == (note,)


@pytest.mark.parametrize("planes", [False, True])
@pytest.mark.parametrize(
    "mode", ["gray", "inks", "12 bits in 16", "8 bits in 32", "8 bits as floats"]
)
def test_alpha_has_the_range_of_the_colors(mode, planes):
    colors, photometric = COLOR, "rgb"
    if mode == "gray":
        colors, photometric = GRAY, "minisblack"
    if mode == "inks":
        colors, photometric = np.dstack([255 - COLOR, 0 * GRAY]), "separated"
    values = np.dstack([colors, ALPHA])
    if mode == "12 bits in 16":
        values = np.round(values / 255 * 4095).astype(np.uint16)
    elif mode in ("8 bits in 32", "8 bits as floats"):
        values = values.astype(np.uint32 if "32" in mode else np.float32)
    data = tiff(
        np.moveaxis(values, -1, 0) if planes else values,
        photometric=photometric,
        planarconfig="separate" if planes else "contig",
        extrasamples=["unassalpha"],
    )
    picture = read_bytes(data, "it")
    assert picture.alpha is not None
    assert np.abs(picture.alpha[0, 0].numpy() * 255 - ALPHA).max() < 0.05
    seen = picture.pixels[0].permute(1, 2, 0).numpy()[ALPHA == 255] * 255
    truth = GRAY[..., None] if mode == "gray" else COLOR
    assert np.abs(seen - truth[ALPHA == 255]).max(initial=0) < 1


def test_a_colormap_may_have_8_bits():
    colors = np.random.default_rng(3).integers(0, 256, (3, 256)).astype(np.uint16)
    for scale in (1, 257):
        data = tiff(GRAY, photometric="palette", colormap=colors * np.uint16(scale))
        assert error(data, np.moveaxis(colors[:, GRAY], 0, -1)) < 0.01


def test_webp_in_a_tiff_is_named():
    data = bytearray(tiff(COLOR, photometric="rgb", compression="zlib"))
    at = data.index(struct.pack("<HHI", 259, 3, 1)) + 8
    data[at : at + 2] = struct.pack("<H", 50001)
    with pytest.raises(PictureError, match="it is a TIFF of 8-bit RGB, compression WEBP"):
        read_bytes(bytes(data), "it")


@pytest.mark.parametrize(
    ("dtype", "top", "mean", "high"),
    [
        ("u2", 511, 200, 511),  # all ones: exactly so many bits
        ("u2", 32767, 9000, 32767),
        ("u2", 30000, 9000, 65535),
        ("f4", 1023, 400, 1023),
        ("f4", 4095, 900, 4095),
        ("f4", 16383, 900, 16383),
        ("f4", 60_000, 900, 65535),
        ("f4", 60_000, 0.7, 1),  # light, with the sun
    ],
)
def test_the_range_that_values_plainly_use(dtype, top, mean, high):
    found = value_range(np.dtype(dtype), 0, top, mean)
    assert (found.low, found.high) == (0, high)


# PNG, JPEG XL
# --------------------------------------------------------------------------------------------------


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def test_colors_after_the_pixels_of_a_png_say_nothing():
    linear, data = chunk(b"gAMA", struct.pack(">I", 100_000)), saved(noise(), "PNG")
    assert error(data[:33] + linear + data[33:], COLOR) > 50
    assert error(data[:-12] + linear + data[-12:], COLOR) < 0.01


@pytest.mark.parametrize("gamma", [0, 1, 3, 2**31, 2**32 - 1])
def test_gammas_that_make_no_sense_are_passed_over(gamma):
    data = saved(noise(), "PNG")
    assert error(data[:33] + chunk(b"gAMA", struct.pack(">I", gamma)) + data[33:], COLOR) < 0.01


def test_a_png_may_have_the_range_of_video():
    narrow = np.round(16 + COLOR / 255 * 219).astype(np.uint8)
    data = saved(Image.fromarray(narrow), "PNG")
    data = data[:33] + chunk(b"cICP", bytes([1, 13, 0, 0])) + data[33:]
    assert error(data, COLOR) < 1


def test_jpeg_xl_is_turned_by_its_own_orientation_alone():
    """Its decoder has turned the picture; EXIF says it once more."""
    pytest.importorskip("pillow_jxl")
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    data = saved(noise(), "JXL", lossless=True, exif=exif.tobytes())
    assert error(data, COLOR) < 0.01


# others
# --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["DDS", "SGI", "PCX"])
def test_textures_and_old_formats(kind):
    data = saved(noise(), kind)
    assert error(data, COLOR) < 0.01
    liar = {
        "DDS": data[:12] + struct.pack("<II", 60_000, 60_000) + data[20:],
        "SGI": data[:6] + struct.pack(">HH", 60_000, 60_000) + data[10:],
        "PCX": data[:8] + struct.pack("<HH", 59_999, 59_999) + data[12:],
    }
    with pytest.raises(PictureError, match=r"60000 x 60000 pixels, which .* cannot hold"):
        read_bytes(liar[kind], "it")


NETPBM = {
    "PFM": b"PF\n%d %d\n-1.0\n" + (COLOR[::-1] / 255).astype("<f4").tobytes(),
    "PFM, the high byte first": b"PF %d %d 1\n" + (COLOR[::-1] / 255).astype(">f4").tobytes(),
    "PAM": b"P7\nWIDTH %d\nHEIGHT %d\nDEPTH 3\nMAXVAL 255\nENDHDR\n" + COLOR.tobytes(),
    "PAM of 16 bits": b"P7\n# by hand\nWIDTH %d\nHEIGHT %d\nDEPTH 3\nMAXVAL 65535\nENDHDR\n"
    + (COLOR.astype(int) * 257).astype(">u2").tobytes(),
}


@pytest.mark.parametrize("kind", NETPBM)
def test_netpbm_beyond_pillow(kind):
    head, middle, rest = NETPBM[kind].split(b"%d", 2)
    data = head + str(WIDTH).encode() + middle + str(HEIGHT).encode() + rest
    assert header_size(data, "it") == (WIDTH, HEIGHT)
    assert error(data, COLOR) < 0.01
    means = COLOR.reshape(HEIGHT // 2, 2, WIDTH // 2, 2, 3).mean((1, 3))
    assert error(data, means, enough=20) < 0.01
    with pytest.raises(PictureError, match="cannot hold"):
        read_bytes(data[:-1], "it")


def test_alpha_of_a_pam():
    head = b"P7\nWIDTH %d\nHEIGHT %d\nDEPTH 2\nMAXVAL 255\nENDHDR\n" % (WIDTH, HEIGHT)
    picture = read_bytes(head + np.dstack([GRAY, ALPHA]).tobytes(), "it")
    assert picture.alpha is not None
    assert np.abs(picture.alpha[0, 0].numpy() * 255 - ALPHA).max() < 0.01


@pytest.mark.parametrize("head", [b"PF\n20", b"P7\nWIDTH 20\n", b"PF\n-1 20\n1\n"])
def test_broken_headers_of_netpbm(head):
    with pytest.raises(PictureError, match="its header is broken"):
        read_bytes(head + bytes(9000), "it")


def test_a_tga_whose_32_bits_say_nothing_of_alpha_is_opaque():
    transparent = np.dstack([COLOR, 0 * GRAY])
    data = saved(Image.fromarray(transparent), "TGA")
    assert read_bytes(data, "it").alpha is None
    assert error(data, COLOR) < 0.01


def test_a_gif_is_transparent_around_its_frame():
    out = io.BytesIO()
    Image.fromarray(GRAY % 250).save(out, "GIF")
    data = bytearray(out.getvalue())
    struct.pack_into("<HH", data, 6, WIDTH + 12, HEIGHT + 8)
    at = data.index(b"," + struct.pack("<4H", 0, 0, WIDTH, HEIGHT))
    struct.pack_into("<HH", data, at + 1, 5, 3)
    alpha = read_bytes(bytes(data), "it").alpha
    assert alpha is not None
    assert alpha.shape == (1, 1, HEIGHT + 8, WIDTH + 12)
    assert alpha[..., 3 : HEIGHT + 3, 5 : WIDTH + 5].min() == 1
    assert float(alpha.sum()) == HEIGHT * WIDTH


def test_heif_may_begin_with_a_brand_of_its_camera():
    data = saved(noise(4, 3).resize((64, 48)), "HEIF", quality=90)
    assert read_bytes(data[:8] + b"MiHB" + data[12:], "it").pixels.shape == (1, 3, 48, 64)


@pytest.mark.parametrize("subsampling", [0, 2])
def test_no_jpeg_with_missing_pixels_is_read(subsampling):
    """Most codes of JPEG begin with zeros, as what libjpeg fills in: other bits must tell."""
    whole = noise(9, 7).resize((80, 64), Image.Resampling.BICUBIC)
    for quality in (30, 75, 98):
        data = saved(whole, "JPEG", quality=quality, subsampling=subsampling)
        truth = np.asarray(Image.open(io.BytesIO(data)))
        for cut in range(1, 30):
            try:
                assert error(data[:-cut], truth) < 0.01
            except PictureError:
                assert cut > 2


def photoshop(bits: int = 8, merged: int = 1) -> bytes:
    """A Photoshop file without layers, and whether it says that it has their picture."""
    head = b"8BPS" + struct.pack(">H6xHIIHH", 1, 3, HEIGHT, WIDTH, bits, 3) + bytes(4)
    version = b"8BIM" + struct.pack(">HHIIBB", 1057, 0, 6, 1, merged, 0)
    body = bytes(4) + bytes(2) + np.moveaxis(COLOR, -1, 0).tobytes()
    return head + struct.pack(">I", len(version)) + version + body


def test_photoshop_files_without_a_picture_are_named():
    assert error(photoshop(), COLOR) < 0.01
    with pytest.raises(
        PictureError, match=r"has layers and no picture: .*'Maximize compatibility'"
    ):
        read_bytes(photoshop(merged=0), "it")
    with pytest.raises(PictureError, match="it is a Photoshop file of 16-bit colors"):
        read_bytes(photoshop(16), "it")
