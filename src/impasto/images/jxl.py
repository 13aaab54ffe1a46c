"""Read the size of a JPEG XL file from its header, since its plugin decodes what it opens."""

from __future__ import annotations

import struct

__all__ = ["is_jxl", "jxl_size"]

STARTS = (b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n")
# widths as ratios of the height (ISO/IEC 18181-1, annex D.2)
RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}
BITS = (9, 13, 18, 30)


def is_jxl(data: bytes) -> bool:
    """Whether these are the bytes of a JPEG XL file."""
    return data.startswith(STARTS)


def jxl_size(data: bytes) -> tuple[int, int]:
    """(width, height) of a JPEG XL file. Raises ValueError if its header is broken."""
    head = _codestream(data)[2:18]
    bits, at = int.from_bytes(head, "little"), 0

    def take(count: int) -> int:
        nonlocal at
        at += count
        return bits >> (at - count) & ((1 << count) - 1)

    def length(small: bool) -> int:
        return (take(5) + 1) * 8 if small else take(BITS[take(2)]) + 1

    small = bool(take(1))
    height = length(small)
    ratio = take(3)
    across, down = RATIOS.get(ratio, (0, 1))
    return (height * across // down if ratio else length(small)), height


def _codestream(data: bytes) -> bytes:
    """The codestream, or its first part, out of its boxes."""
    if data.startswith(STARTS[0]):
        return data[:64]
    at = 0
    while at + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        head = 8
        if size == 1 and at + 16 <= len(data):
            size, head = struct.unpack_from(">Q", data, at + 8)[0], 16
        skip = {b"jxlc": 0, b"jxlp": 4}.get(kind)
        if skip is not None:
            return data[at + head + skip : at + head + skip + 64]
        if size < head:
            break
        at += size
    raise ValueError("it has no codestream")
