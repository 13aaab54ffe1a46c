"""Picture files made by hand, byte by byte where Pillow would not write them: odd, broken,
hostile."""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pillow_heif
from PIL import Image, ImageCms

pillow_heif.register_heif_opener()  # so that the tests can write HEIC


def png(width: int, height: int, rows: np.ndarray, *, depth: int = 8, color: int = 2) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


def tiff16(values: np.ndarray) -> bytes:
    """An uncompressed little-endian TIFF of 16-bit RGB, which Pillow can read but not write."""
    height, width, channels = values.shape
    data = values.astype("<u2").tobytes()
    directory = 8 + len(data)
    depths = directory + 2 + 9 * 12 + 4  # of the channels: they stand behind the directory
    entries = [
        (256, 3, 1, width),
        (257, 3, 1, height),
        (258, 3, channels, depths),
        (259, 3, 1, 1),
        (262, 3, 1, 2),
        (273, 4, 1, 8),
        (277, 3, 1, channels),
        (278, 3, 1, height),
        (279, 4, 1, len(data)),
    ]
    packed = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    end = struct.pack("<I", 0) + struct.pack("<3H", 16, 16, 16)
    return (
        b"II*\0"
        + struct.pack("<I", directory)
        + data
        + struct.pack("<H", len(entries))
        + packed
        + end
    )


SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def linear_profile(gray: bool = False) -> bytes:
    """sRGB's profile with its curve replaced by a straight line (and its red curve as a gray's only
    one)."""
    # a parametric curve, type 3, that all three channels share
    curve = SRGB.index(b"para", 128 + 4)
    assert SRGB.count(b"para", 132) == 1
    straight = struct.pack(">4sIHHi", b"para", 0, 0, 0, 1 << 16)  # type 0: Y = X^1
    profile = SRGB[:curve] + straight + SRGB[curve + len(straight) :]
    return profile[:16] + b"GRAY" + profile[20:].replace(b"rTRC", b"kTRC") if gray else profile


def swapped_profile() -> bytes:
    """sRGB's profile with the primaries of red and blue exchanged."""
    return SRGB.replace(b"rXYZ", b"????").replace(b"bXYZ", b"rXYZ").replace(b"????", b"bXYZ")


def black_only_profile() -> bytes:
    """A CMYK profile of a press on which only black ink shows: an 8-bit table from CMYK to CIE
    Lab."""
    # the last ink varies fastest
    corners = [(255 * (1 - black), 128, 128) for _ in range(8) for black in (0, 1)]
    table = struct.pack(
        ">4sIBBBx9i", b"mft1", 0, 4, 3, 2, *(1 << 16 if k % 4 == 0 else 0 for k in range(9))
    )
    table += (
        bytes(range(256)) * 4 + bytes(np.array(corners, np.uint8).ravel()) + bytes(range(256)) * 3
    )
    light = struct.pack(">3i", 0xF6D6, 0x10000, 0xD32D)  # D50, as every profile says
    header = (
        struct.pack(">4xI4s4s4s", 0x02400000, b"prtr", b"CMYK", b"Lab ").ljust(32, b"\0") + b"acsp"
    )
    header = header.ljust(64, b"\0") + light
    tags = struct.pack(">I4sII", 1, b"A2B0", 144, len(table))
    return struct.pack(">I", 144 + len(table)) + header.ljust(124, b"\0") + tags + table


def noise(width: int = 48, height: int = 40) -> Image.Image:
    return Image.fromarray(
        np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)
    )


def _bytes(name: str, data: bytes) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / name).write_bytes(data)
        return folder / name

    return make


def _saved(name: str, image: Image.Image, kept: float = 1.0) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        image.save(folder / name)
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: int(len(data) * kept)])
        return folder / name

    return make


def _folder(folder: Path) -> Path:
    (folder / "pictures.jpg").mkdir()
    return folder / "pictures.jpg"


# What a bad picture is, how it is made, and what the one line about it must say.
BROKEN: dict[str, tuple[Callable[[Path], Path], str]] = {
    "missing": (lambda folder: folder / "nowhere.jpg", "no picture at"),
    "missing folder": (lambda folder: folder / "no" / "where.jpg", "no picture at"),
    "name too long": (
        lambda folder: folder / ("long" * 100 + ".jpg"),
        "cannot be opened: File name too long",
    ),
    "folder": (_folder, "is a folder: give a picture in it"),
    "empty": (_bytes("empty.png", b""), "is empty"),
    "text": (
        _bytes("text.jpg", b"Dear Sir or Madam,\nthis is no picture.\n" * 40),
        "is not a picture",
    ),
    "head only": (_bytes("head.png", b"\x89PNG\r\n\x1a\n"), "is not a picture"),
    "truncated JPEG": (_saved("cut.jpg", noise(), 0.5), "truncated"),
    "truncated PNG": (_saved("cut.png", noise(), 0.5), "truncated"),
    "truncated WebP": (_saved("cut.webp", noise(), 0.5), "cannot be read"),
    "truncated TIFF": (_saved("cut.tif", noise(), 0.5), "truncated"),
    "truncated AVIF": (_saved("cut.avif", noise(), 0.99), "Truncated"),
    "truncated HEIC": (_saved("cut.heic", noise(), 0.9), "cannot be read"),
    "bomb": (
        _bytes("bomb.png", png(50_000, 50_000, np.zeros((1, 9), np.uint8))),
        "50000 x 50000 pixels, which 68 bytes cannot hold",
    ),
    "1 x 1": (_saved("dot.png", noise(1, 1)), "is 1 x 1 pixels: at least 16 x 16 are needed"),
    "too thin": (_saved("thin.png", noise(100, 15)), "is 100 x 15 pixels"),
}
