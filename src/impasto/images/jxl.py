"""Read the header of a JPEG XL file, since its plugin decodes what it opens."""

from __future__ import annotations

import struct

__all__ = ["is_animated_jxl", "is_jxl", "jxl_size"]

STARTS = (b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n")
# widths as ratios of the height (ISO/IEC 18181-1, annex D.2)
RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}
BITS = (9, 13, 18, 30)


def is_jxl(data: bytes) -> bool:
    """Whether these are the bytes of a JPEG XL file."""
    return data.startswith(STARTS)


def jxl_size(data: bytes) -> tuple[int, int]:
    """(width, height) of a JPEG XL file. Raises ValueError if its header is broken."""
    return _Bits(_codestream(data)[2:]).size()


def is_animated_jxl(data: bytes) -> bool:
    """Whether a JPEG XL file says that it has several frames (ISO/IEC 18181-1, annex D.3).

    Its plugin shows the last one. Raises ValueError if its header is broken.
    """
    bits = _Bits(_codestream(data)[2:])
    bits.size()
    if bits.take(1) or not bits.take(1):  # all is as usual; nothing unusual is said
        return False
    bits.take(3)  # the orientation
    if bits.take(1):  # a size to be shown at
        bits.size()
    has_preview = bits.take(1)  # whose own header would have to be read
    return not has_preview and bool(bits.take(1))


class _Bits:
    """Bits of a header, the lowest of a byte first."""

    def __init__(self, data: bytes):
        self._bits, self._at = int.from_bytes(data, "little"), 0

    def take(self, count: int) -> int:
        """The next `count` bits as a number."""
        self._at += count
        return self._bits >> (self._at - count) & ((1 << count) - 1)

    def size(self) -> tuple[int, int]:
        """(width, height)."""
        small = bool(self.take(1))
        height = self._length(small)
        ratio = self.take(3)
        across, down = RATIOS.get(ratio, (0, 1))
        return (height * across // down if ratio else self._length(small)), height

    def _length(self, small: bool) -> int:
        return (self.take(5) + 1) * 8 if small else self.take(BITS[self.take(2)]) + 1


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
