"""Keep what a photograph's file says beside its pixels: date, author, copyright, resolution."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal

from PIL import ExifTags, Image

__all__ = ["NOTHING", "Kept", "Metadata", "metadata_of", "put_into"]

Kept = Literal["basic", "all", "none"]
Base, EXIF, GPS = ExifTags.Base, ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo
DATES = (Base.DateTimeOriginal, Base.DateTimeDigitized)
OFFSETS = (Base.OffsetTime, Base.OffsetTimeOriginal, Base.OffsetTimeDigitized)
DATE = re.compile(r"\d{4}[:-]\d\d[:-]\d\d( \d\d:\d\d:\d\d)?")
LONGEST_TEXT = 1000  # characters
MOST_ALL = 32_000  # bytes of the whole EXIF: a JPEG has room for 65,533 with the settings
# what does not hold for the painting: its shape, thumbnails, the camera's own notes; and the tags
# that the settings are in
OURS = {Base.ImageDescription, Base.Software, Base.Orientation, Base.MakerNote}
SHAPE = {
    *range(Base.ImageWidth, Base.PhotometricInterpretation + 1),
    *(Base.StripOffsets, Base.SamplesPerPixel, Base.RowsPerStrip, Base.StripByteCounts),
    *(Base.XResolution, Base.YResolution, Base.ResolutionUnit, Base.PlanarConfiguration),
    *(Base.TileWidth, Base.TileLength, Base.TileOffsets, Base.TileByteCounts),
    *(Base.Predictor, Base.ExtraSamples, Base.SampleFormat, Base.ColorMap, Base.SubIFDs),
    *(Base.JpegIFOffset, Base.JpegIFByteCount, Base.InterColorProfile),
    *(Base.ExifImageWidth, Base.ExifImageHeight, Base.ExifInteroperabilityOffset),
    *(ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo),
}


@dataclass(frozen=True)
class Metadata:
    """What a file says beside its pixels.

    main, exif, gps: tags of the three EXIF directories. dpi: pixels an inch, across and down.
    profile: whether it had a color profile.
    """

    main: dict[int, Any] = field(default_factory=dict)
    exif: dict[int, Any] = field(default_factory=dict)
    gps: dict[int, Any] = field(default_factory=dict)
    dpi: tuple[float, float] | None = None
    profile: bool = False


NOTHING = Metadata()


def metadata_of(exif: Image.Exif, dpi: object = None, profile: bytes | None = None) -> Metadata:
    """Collect what a file's EXIF says; a broken one says nothing.

    dpi: as Pillow gives it; None: the EXIF's.
    """
    main: dict[int, Any] = {}
    inner: dict[int, Any] = {}
    gps: dict[int, Any] = {}
    # Pillow's EXIF reader raises errors of any kind
    with suppress(Exception):
        main = {tag: exif[tag] for tag in exif if tag not in OURS | SHAPE}
        inner = {tag: v for tag, v in exif.get_ifd(EXIF).items() if tag not in OURS | SHAPE}
        gps = dict(exif.get_ifd(GPS))
        dpi = dpi or _exif_dpi(exif)
    return Metadata(main, inner, gps, _dpi(dpi), bool(profile))


def _exif_dpi(exif: Image.Exif) -> tuple[float, float] | None:
    if Base.XResolution not in exif or Base.YResolution not in exif:
        return None
    unit = {2: 1.0, 3: 2.54}.get(exif.get(Base.ResolutionUnit, 2), 0.0)
    return float(exif[Base.XResolution]) * unit, float(exif[Base.YResolution]) * unit


def _dpi(dpi: object) -> tuple[float, float] | None:
    """A resolution that makes sense, or None."""
    with suppress(TypeError, ValueError, ZeroDivisionError, OverflowError):
        across, down = (round(float(value), 4) for value in dpi)  # type: ignore[attr-defined]
        if 1 < across < 100_000 and 1 < down < 100_000:
            return across, down
    return None


def put_into(exif: Image.Exif, metadata: Metadata, kept: Kept) -> None:
    """Put tags of a photograph into the EXIF of its painting.

    Args:
        exif: the painting's.
        metadata: the photograph's.
        kept: "basic": date, author and copyright; "all": everything, also where it was taken;
            "none": nothing.
    """
    if kept == "none":
        return
    if kept == "all" and _fits(metadata):
        _fill(exif, metadata.main, metadata.exif, metadata.gps)
        return
    texts = (Base.Artist, Base.Copyright)
    main = {tag: _text(metadata.main.get(tag)) for tag in texts}
    main[Base.DateTime] = _date(metadata.main.get(Base.DateTime))
    inner = {tag: _date(metadata.exif.get(tag)) for tag in DATES}
    inner |= {tag: _text(metadata.exif.get(tag))[:16] for tag in OFFSETS}
    _fill(
        exif,
        {tag: text for tag, text in main.items() if text},
        {tag: text for tag, text in inner.items() if text},
        {},
    )


def _fill(
    exif: Image.Exif, main: dict[int, Any], inner: dict[int, Any], gps: dict[int, Any]
) -> None:
    for tag, value in main.items():
        exif[tag] = value
    for directory, tags in ((EXIF, inner), (GPS, gps)):
        if tags:
            exif.get_ifd(directory).update(tags)


def _fits(metadata: Metadata) -> bool:
    """Whether all of it can be written, and is not too long."""
    trial = Image.Exif()
    # values of wrong types, as a broken EXIF has them; Pillow raises errors of any kind
    with suppress(Exception):
        _fill(trial, metadata.main, metadata.exif, metadata.gps)
        return len(trial.tobytes()) <= MOST_ALL
    return False


def _text(value: object) -> str:
    if not isinstance(value, str):
        return ""
    return "".join(letter for letter in value.strip("\0 ") if letter.isprintable())[:LONGEST_TEXT]


def _date(value: object) -> str:
    text = _text(value)
    return text if DATE.fullmatch(text) else ""
