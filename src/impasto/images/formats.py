"""Tell what a file holds by its first bytes, and open it with Pillow without decoding it."""

from __future__ import annotations

import ctypes
import io
import struct
from contextlib import suppress
from importlib import import_module
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from impasto.errors import OutputError, PictureError
from impasto.extras import needs_extra
from impasto.images.boxes import brands
from impasto.images.jxl import is_animated_jxl, is_jxl
from impasto.images.others import RAW, what_else
from impasto.images.tiff import is_tiff

__all__ = ["check_kind", "is_raw_name", "most_pixels", "opened", "readable", "register_heif"]

# The formats that are read: not all that Pillow knows, since some (PostScript) are programs that
# would be run.
JPEG2000 = b"\xff\x4f\xff\x51"  # the start of its codestream
READ = (
    "PNG",
    "JPEG",
    "MPO",
    "WEBP",
    "TIFF",
    "AVIF",
    "HEIF",
    "GIF",
    "BMP",
    "DIB",
    "PPM",
    "ICO",
    "TGA",
    "JPEG2000",
    "PSD",
    "QOI",
    "JXL",
    "DDS",
    "SGI",
    "PCX",
)
HEIF_SUFFIXES = {".heic", ".heif", ".heics", ".heifs", ".hif"}
# ISO/IEC 23008-12, annexes B and C; the first letters are shared by versions for layers and films
HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1"}
HEIF_BRANDS |= {b"mif2", b"msf1"}
AVIF_BRANDS = {b"avif", b"avis"}
# Cameras' raw files; most others are TIFF files that say so (tiff.py), or are known by their names.
RAW_STARTS = (b"FUJIFILMCCD-RAW", b"IIRO", b"IIRS", b"MMOR", b"IIU\0", b"FOVb", b"\0MRM")
RAW_SUFFIXES = {
    *(".3fr", ".ari", ".arw", ".cr2", ".cr3", ".dcr", ".dng", ".erf", ".fff", ".gpr", ".iiq"),
    *(".k25", ".kdc", ".mef", ".mos", ".mrw", ".nef", ".nrw", ".orf", ".pef", ".raf", ".raw"),
    *(".rw2", ".rwl", ".sr2", ".srf", ".srw", ".x3f"),
}
# The most pixels that one byte of a file can hold, by format. JPEG: a bit for each block of 8 x 8
# (Rec. T.81, F.1.2). GIF: 12 bits for a string of up to 4,095 pixels (GIF89a, appendix F). QOI: a
# byte for a run of up to 62. DDS: 8 bytes for 4 x 4. SGI and PCX: 2 bytes for runs of up to 127
# pixels, and of 63 bytes.
JPEG, GIF = 512, 2731
PER_BYTE = {"JPEG": JPEG, "MPO": JPEG, "GIF": GIF, "QOI": 62, "DDS": 2, "SGI": 64, "PCX": 8 * 32}
RUN_LENGTHS, BMP_RUN = (1, 2), 128  # compressions of BMP; pixels of a byte: 2 bytes for up to 255
DEFLATE = 1032  # bytes that one compressed byte can hold (zlib.net/zlib_tech.html)
# bits of a pixel, at least; of other modes one
PNG_BITS = {"RGB": 24, "RGBA": 32, "LA": 16, "I": 16, "I;16": 16}


def _silence_libtiff() -> None:
    """Keep libtiff from writing its errors to stderr: Pillow's error says enough.

    The function is looked up through Pillow's extension module, whose libtiff may be a bundled one.
    Where libtiff is linked statically, as on Windows, it is not found, and libtiff keeps writing.
    """
    with suppress(OSError, AttributeError, ImportError):
        ctypes.CDLL(import_module("PIL._imaging").__file__).TIFFSetErrorHandler(None)


_silence_libtiff()


def readable() -> set[str]:
    """The suffixes of pictures that can be read, with the extras where they are installed."""
    Image.init()
    known = {suffix for suffix, kind in Image.registered_extensions().items() if kind in READ}
    return {*HEIF_SUFFIXES, ".jxl", ".pam", *known}


def is_raw_name(name: str) -> bool:
    """Whether a file's name is that of a camera's raw file."""
    return Path(name).suffix.lower() in RAW_SUFFIXES


def check_kind(data: bytes, name: str) -> None:
    """Check that the bytes of a file are of a kind that is read, and load the plugin for it.

    Raises PictureError, which names the kind and the way out.
    """
    if not data:
        raise PictureError(f"{name} is empty", name)
    if _is_raw(data, name):
        raise PictureError(f"{name} is {RAW}", name)
    if what := what_else(data):
        raise PictureError(f"{name} is {what}", name)
    ours = brands(data)
    if ours & HEIF_BRANDS and not ours & AVIF_BRANDS:
        register_heif(PictureError)
    elif ours and not ours & AVIF_BRANDS and not ours & {b"jp2 ", b"jpx "}:
        raise PictureError(f"{name} is a film, or of a kind that is not read: take a frame", name)
    if is_jxl(data):
        _register_jxl(name)
        with suppress(ValueError):  # a broken header is told when it is read
            if is_animated_jxl(data):
                raise PictureError(f"{name} is an animated JPEG XL: save a frame as PNG", name)
    if _is_deep_jpeg2000(data):
        raise PictureError(
            f"{name} is a JPEG 2000 of colors with more than 8 bits: save it as TIFF or PNG", name
        )


def _is_raw(data: bytes, name: str) -> bool:
    """Whether the bytes are those of a camera's raw file; of TIFF files tiff.py knows more."""
    if data.startswith(RAW_STARTS) or data[4:12] == b"ftypcrx ":
        return True
    return is_tiff(data) and (data[8:10] == b"CR" or is_raw_name(name))


def _is_deep_jpeg2000(data: bytes) -> bool:
    """Whether these are the bytes of a JPEG 2000 of several samples, of more than 8 bits.

    Pillow 12 rounds white up to 256 there, which it then writes as 0.
    """
    if not data.startswith((JPEG2000, b"\0\0\0\x0cjP  ")):
        return False
    at = data.find(JPEG2000)
    if at < 0 or len(data) < at + 42:
        return False
    (count,) = struct.unpack_from(">H", data, at + 40)  # ISO/IEC 15444-1, table A.9
    depths = data[at + 42 : at + 42 + 3 * count : 3]
    return count > 1 and any((depth & 0x7F) + 1 > 8 for depth in depths)


def register_heif(kind: type[PictureError] | type[OutputError]) -> None:
    """Let Pillow read and write HEIC. Raises an error of class `kind` if the extra is missing."""
    try:
        import pillow_heif  # an extra
    except ImportError:
        raise kind(needs_extra("HEIC", "heif")) from None
    pillow_heif.register_heif_opener()


def _register_jxl(name: str) -> None:
    try:
        import pillow_jxl  # noqa: F401 - an extra, which registers itself
    except ImportError:
        raise PictureError(needs_extra(f"{name} is a JPEG XL, which", "jxl"), name) from None


def opened(data: bytes) -> Image.Image:
    """Open the image in the bytes of a file without decoding it.

    As Image.open, but for its bound on pixels: callers have their own.

    Raises Pillow's errors.
    """
    Image.init()  # registers all formats, so that those of this build are known
    data = _with_known_brand(data)
    for kind in READ:
        if kind not in Image.OPEN:
            continue
        make, accept = Image.OPEN[kind]
        with suppress(SyntaxError, IndexError, TypeError, struct.error):  # another one may
            answer = accept(data[:16]) if accept else True
            if not answer or isinstance(answer, str):  # text: why the plugin cannot
                continue
            return make(io.BytesIO(data), "")
    raise UnidentifiedImageError("no format that is known")


def _with_known_brand(data: bytes) -> bytes:
    """The bytes of a HEIF or AVIF file whose first brand is one that Pillow's plugins know."""
    ours = brands(data)
    if not ours & (HEIF_BRANDS | AVIF_BRANDS) or data[8:12] in HEIF_BRANDS | AVIF_BRANDS:
        return data
    return data[:8] + (b"avif" if ours & AVIF_BRANDS else b"mif1") + data[12:]


def most_pixels(image: Image.Image, size: int) -> float:
    """The most pixels that a file of `size` bytes in the format of `image` can hold; infinite if
    there is no known bound.

    Decoders of these formats fill in missing data, so that a header alone would become a picture.
    """
    if image.format == "PNG":
        return size * DEFLATE * 8 / PNG_BITS.get(image.mode, 1)
    if image.format == "TIFF" and image.info.get("compression") == "jpeg":
        return size * JPEG
    if image.format in ("BMP", "DIB") and image.info.get("compression") in RUN_LENGTHS:
        return size * BMP_RUN
    return size * PER_BYTE.get(image.format or "", float("inf"))
