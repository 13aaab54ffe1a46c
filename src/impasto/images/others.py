"""Name what a file is that is no picture, or of a kind that is not read, by its first bytes."""

from __future__ import annotations

import struct

__all__ = ["what_else"]

TIFF_OR_PNG = "save it as TIFF or PNG"
EXPORT = "export it as PNG"
FILM = "a film: take a frame of it"
ARCHIVE = "an archive: unpack it first"
RAW = "a camera's raw file: develop it first, and save it as TIFF, PNG or JPEG"
# where they are in a file, the bytes that are there, and what it is
KINDS = (
    (0, b"%PDF", "a PDF: export its page as PNG"),
    (0, b"%!PS", f"a PostScript file: {EXPORT}"),
    (0, b"\xc5\xd0\xd3\xc6", f"a PostScript file: {EXPORT}"),
    (0, b"#?RADIANCE", f"a Radiance HDR picture: {TIFF_OR_PNG}"),
    (0, b"#?RGBE", f"a Radiance HDR picture: {TIFF_OR_PNG}"),
    (0, b"v/1\x01", f"an OpenEXR picture: {TIFF_OR_PNG}"),
    (0, b"SIMPLE  =", f"a FITS file: {TIFF_OR_PNG}"),
    (0, b"II\xbc\x01", f"a JPEG XR: {TIFF_OR_PNG}"),
    (0, b"\xff\xd8\xff\xf7", f"a JPEG-LS: {TIFF_OR_PNG}"),
    (0, b"BPG\xfb", f"a BPG picture: {TIFF_OR_PNG}"),
    (0, b"FLIF", f"a FLIF picture: {TIFF_OR_PNG}"),
    (0, b"AT&TFORM", "a DjVu document: export its page as PNG"),
    (0, b"\x93NUMPY", "an array of NumPy: save it as TIFF or PNG, or give the array itself"),
    (128, b"DICM", f"a DICOM picture: {TIFF_OR_PNG}"),
    (0, b"8BPS\0\x02", f"a large Photoshop file (PSB): {TIFF_OR_PNG}"),
    (0, b"gimp xcf", f"GIMP's own file: {EXPORT}"),
    (0, b"CSFCHUNK", f"Clip Studio's own file: {EXPORT}"),
    (0, b"\0\xffKA", f"Affinity's own file: {EXPORT}"),
    (0, b"PK\x03\x04", "an archive (ZIP, or a painting program's own file): export a PNG"),
    (0, b"\xd7\xcd\xc6\x9a", f"a drawing (WMF): {EXPORT}"),
    (40, b" EMF", f"a drawing (EMF): {EXPORT}"),
    (12, b"CgBI", "a PNG for telephones alone (Apple's CgBI): save it anew as PNG"),
    (0, b"\x1aE\xdf\xa3", FILM),
    (8, b"AVI ", FILM),
    (0, b"\0\0\x01\xba", FILM),
    (0, b"\0\0\x01\xb3", FILM),
    (0, b"FLV\x01", FILM),
    (0, b"\x30\x26\xb2\x75", FILM),
    (0, b"\x1f\x8b", ARCHIVE),
    (0, b"7z\xbc\xaf", ARCHIVE),
    (0, b"Rar!", ARCHIVE),
    (6, b"HEAPCCDR", RAW),
)
SEEN = 4096  # bytes of a text
CONTROLS = {chr(code) for code in range(32)} - set("\t\r\n\f")
TEXTS_WITH_PIXELS = ("P1", "P2", "P3", "P5", "P6", "P7", "PF", "Pf")
JPEG = b"\xff\xd8"
# the markers of a JPEG's frame (Rec. T.81, table B.1)
FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
LOSSLESS = {0xC3, 0xC7, 0xCB, 0xCF}  # libjpeg-turbo's scaling of them writes past its memory
PHOTOSHOP = b"8BPS\0\x01"


def what_else(data: bytes) -> str:
    """What a file is, if it is known to be no picture that is read, and what to do; or ""."""
    for at, start, what in KINDS:
        if data[at : at + len(start)] == start:
            return what
    if data.startswith(PHOTOSHOP):
        bits = int.from_bytes(data[22:24], "big")
        return f"a Photoshop file of {bits}-bit colors: {TIFF_OR_PNG}" if bits > 8 else ""
    if data.startswith(JPEG):
        frame, bits = _frame_of_jpeg(data)
        if frame in LOSSLESS:
            return f"a lossless JPEG: {TIFF_OR_PNG}"
        return f"a JPEG of {bits} bits a sample: save it with 8 bits" if bits != 8 else ""
    return _text(data[:SEEN])


def _frame_of_jpeg(data: bytes) -> tuple[int, int]:
    """The marker of the frame, and the bits of a sample; 0 and 8 where the file does not say."""
    at = len(JPEG)
    while at + 5 <= len(data) and data[at] == 0xFF:
        if data[at + 1] in FRAMES:
            return data[at + 1], data[at + 4]
        (length,) = struct.unpack_from(">H", data, at + 2)
        at += 1 if data[at + 1] == 0xFF else 2 + length
    return 0, 8


def _text(data: bytes) -> str:
    """What a text is, or "" if the bytes are none."""
    encoding = "utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    cut = len(data) == SEEN  # perhaps within a letter
    try:
        text = data.decode(encoding, "ignore" if cut else "strict")
    except UnicodeDecodeError:
        return ""
    text = text.rstrip("\0").lstrip()
    if not text or CONTROLS & set(text) or text.startswith(TEXTS_WITH_PIXELS):
        return ""
    if text.startswith("<"):
        return _markup(text.lower())
    if text.startswith("version https://git-lfs"):
        return "a pointer of Git LFS: fetch the picture with git lfs pull"
    return "not a picture, but a text"


def _markup(text: str) -> str:
    """What HTML or XML is, in small letters."""
    if "<svg" in text:
        return f"a drawing (SVG): {EXPORT}"
    if "<html" in text or "<!doctype html" in text:
        return "a web page: download the picture that is on it"
    return f"a drawing (SVG) or other XML: {EXPORT}"
