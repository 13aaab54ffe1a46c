"""Read TIFF files: find the picture among their pages, and decode what Pillow does not.

tifffile says what a page is. Pillow decodes 8 bits, palettes, JPEG and fax rightly; samples of more
bits, signed ones, floats and further channels are put together in tiff_samples.py.
"""

from __future__ import annotations

import io
import logging
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from impasto.images.others import RAW
from impasto.images.tiff_samples import (
    BYTES,
    DIFFERENCES,
    FLOAT_DIFFERENCES,
    NONE,
    assembled,
    is_packed,
)

if TYPE_CHECKING:
    from tifffile import TiffPage

__all__ = [
    "WEBP",
    "KindError",
    "Samples",
    "TiffPicture",
    "is_tiff",
    "opened_tiff",
    "pointing_at",
]

STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
MOST_PAGES = 100  # that are looked at
# codes of the tags and their values: TIFF 6.0; DNG 1.7
DNG_VERSION, ORIENTATION, PHOTOMETRIC = 50706, 274, 262
MISSING = 42113  # GDAL's
YCBCR, PLANES = 6, 2
REDUCED, MASK = 1, 4  # bits of NewSubfileType
CFA, LINEAR_RAW = 32803, 34892
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, CMYK, LAB = 0, 1, 2, 5, 8
COLORS = {WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1, RGB: 3, CMYK: 4, LAB: 3}
# The most bytes of samples that a byte of the file can hold, by compression: LZW, as GIF;
# deflate; PackBits, a byte for a run of 128 (TIFF 6.0, section 9); JPEG, of three samples.
RATIOS = {5: 2731, 8: 1032, 32946: 1032, 32773: 64, 6: 3 * 512, 7: 3 * 512}
PREMULTIPLIED = 1
PACKBITS, WEBP = 32773, 50001
FILL_ORDERS = (1, 2)
ALPHAS = (PREMULTIPLIED, 2)  # kinds of extra samples
MOST_SAMPLES = 16  # of a pixel
SIGNIFICANT_BITS = re.compile(r"<(?:\w+:)?Pixels\b[^>]*\bSignificantBits=[\"'](\d{1,2})[\"']")


class KindError(ValueError):
    """A file is of a kind that is not read; the text says which, after `NAME is`."""


class Samples(NamedTuple):
    """The samples of a page as they are stored.

    values: (H, W, colors), unscaled. alpha: (H, W), unscaled, or None. photometric: what the values
    are. dtype, bits, low, top: their type, how many bits of it the file stores, the least and the
    largest. stated: the range that the file says they have. premultiplied: whether alpha has been
    multiplied into them. unused: how many channels are neither colors nor alpha.
    """

    values: np.ndarray
    alpha: np.ndarray | None
    photometric: int
    dtype: np.dtype[Any]
    bits: int
    low: float
    top: float
    stated: tuple[float, float] | None
    premultiplied: bool
    unused: int


class TiffPicture(NamedTuple):
    """The page of a file that is its picture. note: about the other pages, or ""."""

    page: TiffPage
    data: bytes
    note: str

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, in pixels."""
        return self.page.imagewidth, self.page.imagelength

    @property
    def orientation(self) -> int:
        """EXIF's orientation."""
        tag = self.page.tags.get(ORIENTATION)
        return int(tag.value) if tag is not None and tag.value in range(1, 9) else 1

    @property
    def profile(self) -> bytes | None:
        """The color profile."""
        return self.page.iccprofile if isinstance(self.page.iccprofile, bytes) else None

    @property
    def deep(self) -> bool:
        """Whether `samples` decodes it, and Pillow must not."""
        page = self.page
        return (
            page.photometric in COLORS
            and page.dtype is not None
            and (page.dtype != np.uint8 or self._misread)
            and (page.bitspersample == 8 * page.dtype.itemsize or is_packed(page))
            and page.samplesperpixel >= COLORS[page.photometric]
        )

    @property
    def _misread(self) -> bool:
        """Whether Pillow refuses these 8 bits, or does not decode them as others do.

        libtiff passes over the predictor of two compressions; Pillow knows few layouts of further
        channels.
        """
        page = self.page
        kind, planes = int(page.photometric or 0), page.planarconfig == PLANES
        more = page.samplesperpixel > COLORS.get(kind, MOST_SAMPLES)
        if more and page.compression in (NONE, *BYTES):
            return kind != RGB or planes or page.samplesperpixel > 4
        if (kind == LAB and planes) or (page.parent.is_bigtiff and page.parent.byteorder == ">"):
            return True
        return page.predictor == DIFFERENCES and page.compression in (NONE, PACKBITS)

    def samples(self, factor: int = 1) -> Samples:
        """Decode the samples, scaled down by a whole factor.

        Raises KindError for a compression that is not read.
        """
        page = self.page
        readable = page.compression in (NONE, *BYTES) and page.samplesperpixel <= MOST_SAMPLES
        if not readable or page.imagedepth != 1 or page.fillorder not in FILL_ORDERS:
            raise self.refused()
        assert page.dtype is not None
        if page.dtype.kind not in "uif":
            raise self.refused()
        predictors = (1,) if is_packed(page) else (1, DIFFERENCES, FLOAT_DIFFERENCES)
        if page.predictor not in predictors:
            raise self.refused()
        photometric = int(page.photometric or 0)
        colors = COLORS[photometric]
        kinds = tuple(page.extrasamples or ())
        at = next((k for k, kind in enumerate(kinds) if kind in ALPHAS), None)
        further = 0 if at is None else at + 1
        factor = 1 if photometric == LAB else factor  # its bytes are signed, and have no mean
        values, low, top = assembled(page, self.data, factor, colors, further)
        return Samples(
            values[..., :colors],
            None if at is None else values[..., colors + at],
            photometric,
            page.dtype,
            page.bitspersample,
            low,
            top,
            _stated_range(page),
            at is not None and kinds[at] == PREMULTIPLIED,
            page.samplesperpixel - colors - (at is not None),
        )

    @property
    def missing(self) -> float | None:
        """The value of pixels that have none, as GDAL writes it."""
        tag = self.page.tags.get(MISSING)
        try:
            return None if tag is None else float(str(tag.value).strip(" \0"))
        except ValueError:
            return None

    @property
    def most_pixels(self) -> float:
        """The most pixels that the file's bytes can hold; infinite if there is no known bound."""
        page = self.page
        bits = page.bitspersample if isinstance(page.bitspersample, int) else 1
        ratio = RATIOS.get(int(page.compression), float("inf"))
        return len(self.data) * ratio * 8 / max(1, bits * page.samplesperpixel)

    def refused(self) -> KindError:
        """The error for a page that is not read, which says what it is."""
        return KindError(f"{_kind_of(self.page)}: save it with 8 or 16 bits and LZW")


def is_tiff(data: bytes) -> bool:
    """Whether these are the bytes of a TIFF file."""
    return data[:4] in STARTS


@contextmanager
def opened_tiff(data: bytes) -> Iterator[TiffPicture]:
    """Open a TIFF file at its picture: the largest page that is no reduced picture or mask.

    Raises:
        KindError: it is a camera's raw file.
        Exception: tifffile's errors for a broken file, of any kind.
    """
    import tifffile  # a sixth of a second

    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # errors say enough
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        pages: list[TiffPage] = []
        for k in range(MOST_PAGES):
            try:
                pages.append(cast("TiffPage", file.pages[k]))  # frames are made on demand only
            except IndexError:
                break
        every = [*pages, *(sub for page in pages for sub in _below(page))]
        if not every:
            raise ValueError("it has no page")
        if any(_is_raw(page) for page in every):
            raise KindError(RAW)
        whole = [page for page in every if not _is_reduced(page)]
        page = max(whole or every, key=lambda page: page.imagewidth * page.imagelength)
        if PHOTOMETRIC not in page.tags:
            raise KindError("a TIFF that does not say what its values mean: save it anew")
        if page.photometric == YCBCR and page.compression == NONE:
            raise KindError(f"{_kind_of(page)}: save it as RGB with LZW")
        yield TiffPicture(page, data, _page_note(page, [p for p in pages if not _is_reduced(p)]))


def _below(page: TiffPage) -> list[TiffPage]:
    """The pages of a page's SubIFDs."""
    below = page.pages if page.subifds else None
    return cast("list[TiffPage]", list(islice(below, MOST_PAGES))) if below else []


def _is_raw(page: TiffPage) -> bool:
    return DNG_VERSION in page.tags or page.photometric in (CFA, LINEAR_RAW)


def _is_reduced(page: TiffPage) -> bool:
    """Whether a page is a thumbnail, or a mask of another page."""
    return bool(page.subfiletype & (REDUCED | MASK))


def _page_note(page: TiffPage, pages: list[TiffPage]) -> str:
    if len(pages) < 2:
        return ""
    more = "more than " if len(pages) == MOST_PAGES else ""
    number = next((k for k, other in enumerate(pages, 1) if other is page), 0)
    which = "the first" if number == 1 else f"the largest, page {number}" if number else "one"
    return f"{which} of {more}{len(pages)} pages is used"


def _stated_range(page: TiffPage) -> tuple[float, float] | None:
    """The least and largest value that a page says its samples can have.

    OME-TIFF says how many bits of a sample are used (schema 2016-06, Pixels: SignificantBits); of
    several pictures in a file the largest number counts.
    """
    if page.dtype is not None and page.dtype.kind == "u":
        bits = [int(n) for n in SIGNIFICANT_BITS.findall(page.parent.ome_metadata or "")]
        if bits and 1 <= max(bits) <= 8 * page.dtype.itemsize:
            return 0.0, 2.0 ** max(bits) - 1
    for low, high in (("SMinSampleValue", "SMaxSampleValue"), ("MinSampleValue", "MaxSampleValue")):
        if (tag := page.tags.get(high)) is not None:
            least = page.tags.get(low)
            lowest = 0.0 if least is None else float(np.min(least.value))
            return lowest, float(np.max(tag.value))
    return None


def _kind_of(page: TiffPage) -> str:
    """Describe a page for an error: "a TIFF of 16-bit RGB, JPEG2000"."""
    bits = page.bitspersample
    bits = bits if isinstance(bits, int) else max(bits)
    name = getattr(page.photometric, "name", str(page.photometric))
    name = "gray" if page.photometric in (WHITE_IS_ZERO, BLACK_IS_ZERO) else name
    squeezed = getattr(page.compression, "name", str(page.compression))
    of = {1: "", 2: "signed ", 3: "float "}.get(page.sampleformat, "")
    return f"a TIFF of {bits}-bit {of}{name}, compression {squeezed}"


def pointing_at(data: bytes, offset: int) -> bytes:
    """The bytes of a TIFF file whose first page is the one at `offset`: Pillow reads that one."""
    order = "<" if data[:1] == b"I" else ">"
    big = data[2:4] in (b"+\0", b"\0+")
    at, form = (8, "Q") if big else (4, "I")
    place = struct.pack(order + form, offset)
    return (
        data if data[at : at + len(place)] == place else data[:at] + place + data[at + len(place) :]
    )
