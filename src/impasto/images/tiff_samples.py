"""Put together the samples of a TIFF page that Pillow does not read, or reads wrongly.

libtiff, through Pillow, undoes their compression within the bounds of a strip or tile.
"""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, TiffImagePlugin

if TYPE_CHECKING:
    from tifffile import TiffPage

__all__ = [
    "BYTES",
    "DIFFERENCES",
    "FLOAT_DIFFERENCES",
    "NONE",
    "assembled",
    "is_packed",
    "make_room",
]

NONE, DIFFERENCES, FLOAT_DIFFERENCES = 1, 2, 3  # compression; predictors
# compressions of bytes, which libtiff undoes: LZW, deflate, the same, PackBits, LZMA, Zstandard
BYTES = (5, 8, 32946, 32773, 34925, 50000)
LAST_BIT_FIRST = 2  # the order of bits in a byte (TIFF 6.0, FillOrder)
REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def assembled(
    page: TiffPage, data: bytes, factor: int, colors: int, further: int
) -> tuple[np.ndarray, float, float]:
    """The samples of a page from its strips or tiles, and the least and largest value of a color.

    Returns (H, W, colors and `further` samples), scaled down by a whole factor; each block alone,
    so that the whole picture is never in memory.
    """
    assert page.dtype is not None
    height, width, samples = page.imagelength, page.imagewidth, page.samplesperpixel
    dtype = page.dtype.newbyteorder(page.parent.byteorder)
    planes = samples if page.planarconfig == 2 else 1
    rows, columns = (
        (page.tilelength, page.tilewidth)
        if page.is_tiled
        else (min(page.rowsperstrip or height, height), width)
    )
    down, across = -(-height // rows), -(-width // columns)
    if len(page.dataoffsets) < planes * down * across:
        raise ValueError("image file is truncated")
    kept = colors + further
    shape = -(-height // factor), -(-width // factor), kept
    out = np.zeros(shape, np.float64) if factor > 1 else np.empty(shape, page.dtype)
    low, top = np.inf, -np.inf
    for k in range(planes * down * across):
        plane, place = divmod(k, down * across)
        if plane >= kept:
            break
        y, x = place // across * rows, place % across * columns
        tall = rows if page.is_tiled else min(rows, height - y)
        block = _block(page, data, k, (tall, columns, samples // planes), dtype)
        block = block[: height - y, : width - x, :kept]
        if plane < colors:
            low = min(low, block[..., :colors].min())
            top = max(top, block[..., :colors].max())
        channels = slice(plane, plane + 1) if planes > 1 else slice(None)
        if factor > 1:
            block = _sums(block, y, x, factor)
            y, x = y // factor, x // factor
            out[y : y + block.shape[0], x : x + block.shape[1], channels] += block
        else:
            out[y : y + block.shape[0], x : x + block.shape[1], channels] = block
    if factor > 1:
        out /= _counts(height, factor)[:, None, None] * _counts(width, factor)[None, :, None]
    return out, float(low), float(top)


def is_packed(page: TiffPage) -> bool:
    """Whether samples are whole numbers of more than 8 bits that begin within bytes."""
    bits = page.bitspersample
    return isinstance(bits, int) and bits > 8 and bits % 8 > 0 and page.sampleformat in (None, 1)


def _sums(block: np.ndarray, y: int, x: int, factor: int) -> np.ndarray:
    """Sums of squares of factor x factor pixels, counted from the picture's corner, not (y, x)."""
    for axis, begin in enumerate((y, x)):
        first = -begin % factor
        cuts = np.arange(first, block.shape[axis], factor)
        cuts = np.concatenate([[0], cuts]) if first else cuts
        block = np.add.reduceat(block, cuts, axis=axis, dtype=np.float64)
    return block


def _counts(length: int, factor: int) -> np.ndarray:
    """How many of `length` pixels each of the squares has along a side."""
    begins = np.arange(0, length, factor)
    return np.minimum(factor, length - begins)


def _block(
    page: TiffPage, data: bytes, k: int, shape: tuple[int, int, int], dtype: np.dtype
) -> np.ndarray:
    """The samples of strip or tile number k, (rows, columns, samples)."""
    tall, columns, samples = shape
    row = columns * samples * dtype.itemsize
    if is_packed(page):
        row = -(-columns * samples * page.bitspersample // 8)
    packed = data[page.dataoffsets[k] : page.dataoffsets[k] + page.databytecounts[k]]
    if page.fillorder == LAST_BIT_FIRST:
        packed = packed.translate(REVERSED)
    raw = packed if page.compression == NONE else _unpacked(packed, page.compression, row, tall)
    if len(raw) < row * tall:
        raise ValueError("image file is truncated")
    if page.predictor == FLOAT_DIFFERENCES:
        return _undo_float_differences(raw[: row * tall], shape, dtype)
    if is_packed(page):
        return _unpacked_bits(raw[: row * tall], shape, page.bitspersample)
    block = np.frombuffer(raw, dtype, tall * columns * samples).reshape(shape)
    if page.predictor == DIFFERENCES:
        whole = dtype.newbyteorder("=").str.replace("f", "u").replace("i", "u")
        bits = block.astype(dtype.newbyteorder("=")).view(whole)
        return np.cumsum(bits, axis=1, dtype=bits.dtype).view(dtype.newbyteorder("="))
    return block


def _unpacked_bits(raw: bytes, shape: tuple[int, int, int], bits: int) -> np.ndarray:
    """Samples of `bits` bits that follow each other without gaps; rows begin at whole bytes."""
    tall, columns, samples = shape
    values = np.empty(shape, np.uint16 if bits < 16 else np.uint32)
    weights = 1 << np.arange(bits - 1, -1, -1, dtype=values.dtype)
    for k, row in enumerate(np.frombuffer(raw, np.uint8).reshape(tall, -1)):
        ones = np.unpackbits(row, count=columns * samples * bits).reshape(-1, bits)
        values[k] = (ones @ weights).reshape(columns, samples)
    return values


def _undo_float_differences(raw: bytes, shape: tuple[int, int, int], dtype: np.dtype) -> np.ndarray:
    """Undo the predictor of floats (Adobe Photoshop TIFF Technical Note 3).

    A row has the first bytes of all its samples, then the second ones ..., as differences.
    """
    tall, columns, samples = shape
    size = dtype.itemsize
    rows = np.frombuffer(raw, np.uint8).reshape(tall, columns * size, samples)
    rows = np.cumsum(rows, axis=1, dtype=np.uint8).reshape(tall, size, columns * samples)
    big = np.ascontiguousarray(rows.transpose(0, 2, 1)).view(dtype.newbyteorder(">"))
    return big.reshape(shape)


def _unpacked(packed: bytes, compression: int, row: int, tall: int) -> bytes:
    """Undo a compression of bytes: libtiff, through Pillow, reads them as rows of gray pixels."""
    entries = [
        (256, 4, 1, row),
        (257, 4, 1, tall),
        (258, 3, 1, 8),
        (259, 3, 1, compression),
        (262, 3, 1, 1),
        (273, 4, 1, 8 + 2 + 9 * 12 + 4),
        (277, 3, 1, 1),
        (278, 4, 1, tall),
        (279, 4, 1, len(packed)),
    ]
    directory = struct.pack("<H", len(entries))
    directory += b"".join(struct.pack("<HHII", *entry) for entry in entries)
    head = b"II*\0" + struct.pack("<I", 8) + directory + struct.pack("<I", 0)
    with TiffImagePlugin.TiffImageFile(io.BytesIO(head + packed)) as image:
        make_room(image)
        return image.tobytes()


def make_room(image: Image.Image) -> None:
    """Allocate the pixels of an opened TIFF: Pillow does so only up to its own bound."""
    if isinstance(image, TiffImagePlugin.TiffImageFile) and image._im is None:
        image.im = Image.core.new(image.mode, image._tile_size)  # type: ignore[attr-defined]
