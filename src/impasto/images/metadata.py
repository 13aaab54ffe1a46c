"""The metadata of a painting's file: its settings, and parts of the photograph's metadata: date,
author, copyright, resolution."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal

from PIL import ExifTags, Image, ImageCms, PngImagePlugin

__all__ = [
    "KEY",
    "NOTHING",
    "Kept",
    "Metadata",
    "exif_of",
    "metadata_of",
    "save_options",
    "settings_text",
    "srgb_profile",
]

# of the settings in a PNG's text; other formats have them in EXIF's ImageDescription
KEY = "impasto"
WITH_DPI = {"PNG", "JPEG", "TIFF", "BMP"}
Kept = Literal["basic", "all", "none"]
Base, EXIF, GPS = ExifTags.Base, ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo
DATES = (Base.DateTimeOriginal, Base.DateTimeDigitized)
OFFSETS = (Base.OffsetTime, Base.OffsetTimeOriginal, Base.OffsetTimeDigitized)
DATE = re.compile(r"\d{4}[:-]\d\d[:-]\d\d( \d\d:\d\d:\d\d)?")
LONGEST_TEXT, LONGEST_OFFSET = 1000, 6  # characters; an offset is +02:00
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

    def selected(self, kept: Kept) -> Metadata:
        """What is kept of it in a painting's file.

        kept: "basic": date, author, copyright, resolution and color profile; "all": the whole EXIF,
        also where it was taken; "none": nothing.
        """
        if kept == "none":
            return NOTHING
        if kept == "all" and _fits(self):
            return self
        texts = (Base.Artist, Base.Copyright)
        main = {tag: _text(self.main.get(tag)) for tag in texts}
        main[Base.DateTime] = _date(self.main.get(Base.DateTime))
        inner = {tag: _date(self.exif.get(tag)) for tag in DATES}
        inner |= {tag: _text(self.exif.get(tag))[:LONGEST_OFFSET] for tag in OFFSETS}
        return Metadata(_given(main), _given(inner), {}, self.dpi, self.profile)


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


def srgb_profile() -> bytes:
    """sRGB's color profile, without the time when it was made."""
    made = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return made[:24] + bytes(12) + made[36:]


def save_options(kind: str, settings: dict[str, Any] | None, metadata: Metadata) -> dict[str, Any]:
    """The save options that put `settings` and `metadata` into a file of this kind; BMP can hold
    no settings."""
    options: dict[str, Any] = {}
    if metadata.dpi and kind in WITH_DPI:
        options["dpi"] = metadata.dpi
    if metadata.profile and kind not in ("BMP", "GIF"):
        options["icc_profile"] = srgb_profile()
    if kind == "GIF" and settings:
        options["comment"] = settings_text(settings).encode()
    if kind in ("BMP", "GIF", "PDF"):
        return options
    if kind == "PNG" and settings:
        info = PngImagePlugin.PngInfo()
        info.add_text(KEY, settings_text(settings))
        options["pnginfo"] = info
    exif = exif_of(None if kind == "PNG" else settings, metadata)
    if len(exif):
        options["exif"] = exif
    return options


def settings_text(settings: dict[str, Any]) -> str:
    """The settings as they stand in a file."""
    return json.dumps(settings, sort_keys=True)


def exif_of(settings: dict[str, Any] | None, metadata: Metadata) -> Image.Exif:
    """An EXIF with metadata, and with settings where they are in it."""
    exif = Image.Exif()
    _put_into(exif, metadata)
    if settings:
        exif[Base.ImageDescription] = settings_text(settings)
        exif[Base.Software] = f"impasto {settings.get('version', '')}".strip()
    return exif


def _put_into(exif: Image.Exif, metadata: Metadata) -> None:
    """Put tags into an EXIF."""
    for tag, value in metadata.main.items():
        exif[tag] = _bytes(value)
    for directory, tags in ((EXIF, metadata.exif), (GPS, metadata.gps)):
        if tags:
            exif.get_ifd(directory).update({tag: _bytes(value) for tag, value in tags.items()})


def _fits(metadata: Metadata) -> bool:
    """Whether all of it can be written, and is not too long."""
    trial = Image.Exif()
    # values of wrong types, as a broken EXIF has them; Pillow raises errors of any kind
    with suppress(Exception):
        _put_into(trial, metadata)
        return len(trial.tobytes()) <= MOST_ALL
    return False


def _given(tags: Mapping[Any, str]) -> dict[int, Any]:
    return {tag: text for tag, text in tags.items() if text}


def _bytes(value: object) -> object:
    """A value for Pillow, which would write other letters than ASCII's as question marks."""
    if isinstance(value, str) and not value.isascii():
        return value.encode("latin-1", "replace")
    return value


def _text(value: object) -> str:
    """A text without control characters, of bounded length, as Pillow reads it: in Latin-1,
    though cameras and programs write UTF-8, too."""
    if not isinstance(value, str):
        return ""
    raw = value.encode("latin-1", "replace")
    try:
        text, encoding = raw.decode(), "utf-8"
    except UnicodeDecodeError:
        text, encoding = value, "latin-1"
    kept = "".join(letter for letter in text.strip("\0 ") if letter.isprintable())[:LONGEST_TEXT]
    return kept.encode(encoding, "replace").decode("latin-1")


def _date(value: object) -> str:
    text = _text(value)
    return text if DATE.fullmatch(text) else ""
