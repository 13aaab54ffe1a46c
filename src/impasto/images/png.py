"""Read the chunks of PNG files: what they say of colors, and none that keep pixels from being read.

Pillow refuses a file for a long text, or for a wrong checksum in any chunk. PNG says that chunks
without pixels may be passed over (PNG, third edition, section 13.2).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from PIL import UnidentifiedImageError

from impasto.images.color_tags import ColorTags, from_codes, from_gamma

__all__ = ["Chunks", "is_png", "lacks_rows", "read_chunks"]

SIGNATURE = b"\x89PNG\r\n\x1a\n"
PIXELS = (b"IDAT", b"fdAT")
# what Pillow is given: pixels, transparency, animation, EXIF and texts
KEPT = (b"IHDR", b"PLTE", b"tRNS", *PIXELS, b"acTL", b"fcTL", b"eXIf", b"IEND")
COLORS = (b"cICP", b"iCCP", b"sRGB", b"gAMA", b"cHRM")  # hold only before the pixels
TEXTS = (b"tEXt", b"zTXt", b"iTXt")
# chunks that Pillow reads, too, where they have this length; what they say is read here
HARMLESS = {b"pHYs": 9, b"gAMA": 4, b"cHRM": 32, b"sRGB": 1, b"cICP": 4, b"tIME": 7}
LONGEST_TEXT = 1 << 20  # bytes; Pillow refuses longer ones
MOST_TEXT = 1 << 24  # bytes of all texts
LONGEST_PROFILE = 1 << 25  # bytes
AT_ONCE = 1 << 20  # bytes of pixels
GRAY, GRAY_ALPHA = 0, 4  # color types
SAMPLES = {GRAY: 1, 2: 3, 3: 1, GRAY_ALPHA: 2, 6: 4}  # of a pixel, by color type


class Chunks(NamedTuple):
    """What the chunks of a file say. data: the file for Pillow, without what it would refuse.

    transparent: the gray that is transparent, in the file's own depth; None: none. texts: by key.
    gray: whether it has no colors; Pillow opens gray and alpha of 16 bits in colors.
    """

    data: bytes
    depth: int = 8
    transparent: int | None = None
    profile: bytes | None = None
    colors: ColorTags | None = None
    dpi: tuple[float, float] | None = None
    texts: Mapping[bytes, bytes] = MappingProxyType({})
    gray: bool = False


def is_png(data: bytes) -> bool:
    """Whether these are the bytes of a PNG file."""
    return data.startswith(SIGNATURE)


def read_chunks(data: bytes) -> Chunks:
    """Read the chunks of a PNG file. Raises ValueError if it is broken, or Pillow's error."""
    found: dict[bytes, bytes] = {}
    kept: list[tuple[int, int]] = []  # where the chunks that Pillow is given begin and end
    texts: dict[bytes, bytes] = {}
    length_of_texts, at, whole, cut = 0, len(SIGNATURE), True, len(data)
    before_pixels = True
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        begin, end = at, at + 12 + length
        at = end
        if kind in PIXELS:
            before_pixels = False
            if end > len(data):  # cut off: Pillow finds out whether pixels are missing
                cut = begin
                break
            if data[end - 4 : end] != _checksum(data, begin, end):
                raise ValueError("the checksum of its pixels is wrong")
            kept.append((begin, end))
            continue
        body = data[begin + 8 : end - 4]
        right = data[end - 4 : end] == _checksum(data, begin, end)
        use = right and (kind in KEPT or kind in TEXTS)
        if use and kind in TEXTS:
            key, text = _text(kind, body)
            length_of_texts += len(text)
            use = len(text) <= LONGEST_TEXT and length_of_texts <= MOST_TEXT
            if use:
                texts.setdefault(key, text)
        if kind in (b"IHDR", b"PLTE") and not right:
            raise ValueError(f"the checksum of its {kind.decode()} is wrong")
        if use:
            kept.append((begin, end))
        elif right and (before_pixels or kind not in COLORS):
            found.setdefault(kind, body)
        if right and kind in (b"IHDR", b"tRNS"):
            found[kind] = body
        whole = whole and (use or (right and HARMLESS.get(kind) == length))
        if kind == b"IEND":
            break
    header = found.get(b"IHDR", b"")
    if len(header) != 13:
        raise UnidentifiedImageError("it has no header")
    depth, color = header[8], header[9]
    gray = found.get(b"tRNS", b"")
    return Chunks(
        data if whole else _joined(data, kept, cut),
        depth,
        int.from_bytes(gray[:2], "big") if color == GRAY and len(gray) >= 2 else None,
        _profile(found),
        _colors(found),
        _dpi(found),
        texts,
        color in (GRAY, GRAY_ALPHA),
    )


def lacks_rows(data: bytes) -> bool:
    """Whether the pixels of a PNG end before its last row; Pillow leaves the rest black.

    Only of files that are not interlaced.
    """
    width, height, depth, color, _, _, interlaced = struct.unpack_from(">IIBBBBB", data, 16)
    wanted = height * (1 + -(-width * depth * SAMPLES[color] // 8))
    unpack, found, at = zlib.decompressobj(), 0, len(SIGNATURE)
    while at + 12 <= len(data) and not interlaced:
        length, kind = struct.unpack_from(">I4s", data, at)
        rest = data[at + 8 : at + 8 + length] if kind == b"IDAT" else b""
        while rest and found < wanted and not unpack.eof:
            found += len(unpack.decompress(rest, AT_ONCE))
            rest = unpack.unconsumed_tail
        at += 12 + length
    return not interlaced and found < wanted


def _checksum(data: bytes, begin: int, end: int) -> bytes:
    """The checksum that a chunk should have."""
    return struct.pack(">I", zlib.crc32(memoryview(data)[begin + 4 : end - 4]))


def _joined(data: bytes, kept: list[tuple[int, int]], cut: int) -> bytes:
    """The file of some of its chunks, with the one from `cut` on that is cut off."""
    view = memoryview(data)
    return b"".join([SIGNATURE, *(view[begin:end] for begin, end in kept), view[cut:]])


def _inflated(data: bytes, most: int) -> bytes:
    """Decompress at most `most` bytes; what is broken gives none."""
    try:
        return zlib.decompressobj().decompress(data, most)
    except zlib.error:
        return b""


def _text(kind: bytes, body: bytes) -> tuple[bytes, bytes]:
    """The key and the value of a text, cut off where it is longer than LONGEST_TEXT."""
    key, _, rest = body.partition(b"\0")
    if kind == b"tEXt":
        return key, rest
    if kind == b"zTXt":
        return key, _inflated(rest[1:], LONGEST_TEXT + 1)
    value = rest[2:].split(b"\0", 2)[-1]
    return key, _inflated(value, LONGEST_TEXT + 1) if rest[:1] == b"\1" else value


def _profile(found: dict[bytes, bytes]) -> bytes | None:
    """The color profile, unless cICP replaces it (PNG, third edition, section 4.3)."""
    if b"iCCP" not in found or b"cICP" in found:
        return None
    _, _, rest = found[b"iCCP"].partition(b"\0")
    return _inflated(rest[1:], LONGEST_PROFILE) or None


def _colors(found: dict[bytes, bytes]) -> ColorTags | None:
    if len(codes := found.get(b"cICP", b"")) == 4:
        return from_codes(codes[0], codes[1], narrow=codes[3] == 0)
    if b"iCCP" in found or b"sRGB" in found:
        return None
    gamma, points = found.get(b"gAMA", b""), found.get(b"cHRM", b"")
    return from_gamma(
        struct.unpack(">I", gamma)[0] / 100_000 if len(gamma) == 4 else None,
        tuple(value / 100_000 for value in struct.unpack(">8I", points))
        if len(points) == 32
        else None,
    )


def _dpi(found: dict[bytes, bytes]) -> tuple[float, float] | None:
    if len(size := found.get(b"pHYs", b"")) != 9 or size[8] != 1:
        return None
    across, down = struct.unpack(">II", size[:8])
    return across * 0.0254, down * 0.0254
