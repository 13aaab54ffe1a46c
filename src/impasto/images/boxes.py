"""Read what the boxes of HEIF and AVIF files (ISO base media, ISO/IEC 14496-12) say of a picture.

Pillow and libheif decode them; the colors that a file states in numbers are read here.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import suppress

__all__ = ["brands", "color_codes"]

MOST_BOXES = 10_000


def brands(data: bytes) -> set[bytes]:
    """The brands of a file, such as heic or avif; none if it has no `ftyp` box."""
    if data[4:8] != b"ftyp":
        return set()
    end = min(struct.unpack(">I", data[:4])[0], 512, len(data))
    return {data[8:12], *(data[at : at + 4] for at in range(16, end - 3, 4))}


def color_codes(data: bytes) -> tuple[int, int] | None:
    """The codes of primaries and transfer (ITU-T H.273) of the main picture in a HEIF or AVIF file.

    None if it states none, or has a color profile, which comes first.
    """
    with suppress(struct.error, IndexError):
        return _color_codes(memoryview(data))
    return None


def _boxes(data: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """Yield the type and the contents of the boxes in `data`."""
    at = 0
    for _ in range(MOST_BOXES):
        if at + 8 > len(data):
            return
        size, kind = struct.unpack_from(">I4s", data, at)
        head = 8
        if size == 1:
            size, head = struct.unpack_from(">Q", data, at + 8)[0], 16
        end = len(data) if size == 0 else at + size
        if end < at + head:
            return
        yield kind, data[at + head : end]
        at = end


def _within(data: memoryview, kind: bytes) -> memoryview:
    """The contents of the first box of a kind; empty if there is none."""
    return next((inside for found, inside in _boxes(data) if found == kind), data[:0])


def _color_codes(data: memoryview) -> tuple[int, int] | None:
    meta = _within(data, b"meta")[4:]  # after version and flags
    properties = _within(meta, b"iprp")
    listed = list(_boxes(_within(properties, b"ipco")))
    ours = _of_main_picture(meta, _within(properties, b"ipma"))
    colors = [
        inside
        for k, (kind, inside) in enumerate(listed, 1)
        if kind == b"colr" and (k in ours or not ours)
    ]
    if any(bytes(inside[:4]) in (b"prof", b"rICC") for inside in colors):
        return None
    for inside in colors:
        if bytes(inside[:4]) == b"nclx":
            primaries, transfer = struct.unpack_from(">HH", inside, 4)
            return primaries, transfer
    return None


def _of_main_picture(meta: memoryview, associations: memoryview) -> set[int]:
    """The numbers of the properties that belong to the main picture."""
    main = _within(meta, b"pitm")
    if not main or not associations:
        return set()
    wanted = struct.unpack_from(">I" if main[0] else ">H", main, 4)[0]
    version, wide = associations[0], associations[3] & 1
    (count,) = struct.unpack_from(">I", associations, 4)
    at = 8
    for _ in range(min(count, MOST_BOXES)):
        item = struct.unpack_from(">I" if version else ">H", associations, at)[0]
        at += 4 if version else 2
        number, at = associations[at], at + 1
        form = f">{number}{'H' if wide else 'B'}"
        if item == wanted:
            mask = 0x7FFF if wide else 0x7F  # the first bit: whether it is essential
            return {index & mask for index in struct.unpack_from(form, associations, at)}
        at += struct.calcsize(form)
    return set()
