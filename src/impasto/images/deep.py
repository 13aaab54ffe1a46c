"""Write what Pillow does not: PNG and TIFF with 16 bits a sample, and TIFF with all of EXIF."""

from __future__ import annotations

import struct
import zlib
from typing import IO

import numpy as np
import torch
from PIL import Image, TiffImagePlugin
from PIL.ExifTags import Base

__all__ = ["DEEP", "to_words", "write_png", "write_tiff"]

DEEP = (".png", ".tif", ".tiff")
ROWS = 64  # of a strip
UP = b"\2"  # PNG's filter: each row as differences to the row above
DEFLATE, DIFFERENCES, RGB, UNASSOCIATED, INCHES = 8, 2, 2, 2, 2


def to_words(pixels: torch.Tensor, alpha: torch.Tensor | None) -> np.ndarray:
    """Convert `pixels` (1, 3, H, W) and `alpha` (1, 1, H, W), in [0, 1], to uint16 (H, W, 3 or
    4)."""
    both = pixels.detach() if alpha is None else torch.cat([pixels.detach(), alpha.to(pixels)], 1)
    values = both[0].double().clamp(0, 1).mul(65535).round().permute(1, 2, 0).cpu().numpy()
    return values.astype(np.uint16)


def write_png(
    file: IO[bytes],
    words: np.ndarray,
    text: tuple[bytes, bytes] | None = None,
    exif: bytes = b"",
    dpi: tuple[float, float] | None = None,
    profile: bytes | None = None,
) -> None:
    """Write a PNG.

    Args:
        file: opened for writing.
        words: uint16 (H, W, 3 or 4).
        text: a key and its value, both Latin-1.
        exif: without the bytes that JPEG puts before it.
        dpi: pixels an inch, across and down.
        profile: a color profile.
    """
    height, width, samples = words.shape
    color = 6 if samples == 4 else 2
    file.write(b"\x89PNG\r\n\x1a\n")
    _chunk(file, b"IHDR", struct.pack(">IIBBBBB", width, height, 16, color, 0, 0, 0))
    if profile:
        _chunk(file, b"iCCP", b"ICC profile\0\0" + zlib.compress(profile))
    if dpi:
        across, down = (round(value / 0.0254) for value in dpi)
        _chunk(file, b"pHYs", struct.pack(">IIB", across, down, 1))
    if text:
        _chunk(file, b"tEXt", b"\0".join(text))
    if exif:
        _chunk(file, b"eXIf", exif)
    packer = zlib.compressobj()
    above = np.zeros((1, width * samples * 2), np.uint8)
    for row in range(0, height, ROWS):
        rows = words[row : row + ROWS].astype(">u2").reshape(-1, width * samples)
        rows = np.ascontiguousarray(rows).view(np.uint8)
        changes = rows - np.concatenate([above, rows[:-1]])
        above = rows[-1:]
        packed = packer.compress(b"".join(UP + change.tobytes() for change in changes))
        if packed:
            _chunk(file, b"IDAT", packed)
    _chunk(file, b"IDAT", packer.flush())
    _chunk(file, b"IEND", b"")


def _chunk(file: IO[bytes], kind: bytes, body: bytes) -> None:
    file.write(struct.pack(">I", len(body)) + kind + body)
    file.write(struct.pack(">I", zlib.crc32(kind + body)))


def write_tiff(
    file: IO[bytes],
    words: np.ndarray,
    exif: Image.Exif,
    dpi: tuple[float, float] | None = None,
    profile: bytes | None = None,
) -> None:
    """Write a TIFF, compressed by deflate.

    Args:
        file: opened for writing, at its beginning.
        words: uint16 or uint8 (H, W, 3 or 4).
        exif: tags for the file.
        dpi: pixels an inch, across and down.
        profile: a color profile.
    """
    height, width, samples = words.shape
    strips = []
    for row in range(0, height, ROWS):
        rows = words[row : row + ROWS]
        changes = np.concatenate([rows[:, :1], rows[:, 1:] - rows[:, :-1]], axis=1)
        strips.append(zlib.compress(changes.astype(words.dtype.newbyteorder("<")).tobytes()))
    counts = [len(strip) for strip in strips]
    tags = TiffImagePlugin.ImageFileDirectory_v2(b"II*\0\0\0\0\0")
    for tag, value in exif.items():
        if tag not in (Base.ExifOffset, Base.GPSInfo):
            tags[tag] = value
    for directory in (Base.ExifOffset, Base.GPSInfo):
        if inner := exif.get_ifd(directory):
            tags[directory] = dict(inner)
    tags[Base.ImageWidth], tags[Base.ImageLength] = width, height
    tags[Base.BitsPerSample] = (8 * words.itemsize,) * samples
    tags[Base.Compression], tags[Base.Predictor] = DEFLATE, DIFFERENCES
    tags[Base.PhotometricInterpretation], tags[Base.SamplesPerPixel] = RGB, samples
    tags[Base.RowsPerStrip] = ROWS
    # Pillow adds the length of what comes before the first strip
    tags[Base.StripOffsets] = tuple(int(at) for at in np.cumsum([0, *counts[:-1]]))
    tags[Base.StripByteCounts] = tuple(counts)
    if samples == 4:
        tags[Base.ExtraSamples] = UNASSOCIATED
    if dpi:
        tags[Base.XResolution], tags[Base.YResolution] = dpi
        tags[Base.ResolutionUnit] = INCHES
    if profile:
        tags.tagtype[Base.InterColorProfile] = 7  # bytes
        tags[Base.InterColorProfile] = profile
    tags.save(file)
    for strip in strips:
        file.write(strip)
