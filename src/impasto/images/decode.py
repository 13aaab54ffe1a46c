"""Decode PIL images into float32 sRGB and alpha."""

from __future__ import annotations

import io
from typing import NamedTuple

import numpy as np
from PIL import GifImagePlugin, Image, ImageChops, ImageCms

from impasto.images.color_tags import ColorTags, from_gamma, to_srgb
from impasto.images.ranges import Range, unit, value_range
from impasto.images.tiff_samples import make_room

__all__ = [
    "Decoded",
    "Stated",
    "from_image",
    "from_profile",
    "from_unit",
    "shrink_factor",
    "upright",
]

ORIENTATION = 0x0112  # EXIF's tag
DEEP = Range(0, 65535)
# an MPO's other pictures are the camera's own
ANIMATED = ("GIF", "WEBP", "PNG", "AVIF", "HEIF", "JXL")


class Decoded(NamedTuple):
    """Decoded pixels.

    pixels: (H, W, 3) float32 sRGB in [0, 1]. alpha: (H, W) float32 in [0, 1], or None. size: the
    height and width before it was scaled down. notes: remarks on how it was read.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None
    size: tuple[int, int]
    notes: tuple[str, ...] = ()


class Stated(NamedTuple):
    """What a file says of its pixels, where Pillow does not.

    profile: its color profile, or None. colors: its colors in numbers. transparent: the gray that
    is transparent, in `depth` bits; None: none. gray: whether it is gray, though Pillow opens it in
    colors.
    """

    profile: bytes | None = None
    colors: ColorTags | None = None
    transparent: int | None = None
    depth: int = 8
    gray: bool = False

    @classmethod
    def by_pillow(cls, image: Image.Image) -> Stated:
        """What Pillow says of an opened image."""
        points, profile = image.info.get("chromaticity"), image.info.get("icc_profile")
        colors = None
        if not profile and "srgb" not in image.info:
            colors = from_gamma(image.info.get("gamma"), points)
        return cls(profile, colors)


def from_image(image: Image.Image, stated: Stated, enough: int | None = None) -> Decoded:
    """Decode the current frame of `image`, turned upright and converted to sRGB.

    Args:
        image: an opened image.
        stated: what its file says of its pixels.
        enough: pixels of a side that will be used: a larger picture is scaled down by a whole
            factor while it is decoded, with no side under `enough`. None: full size.
    """
    size = image.height, image.width
    factor = shrink_factor(size, enough)
    # JPEG's decoder scales down itself, which is several times as fast; others ignore this
    if factor > 1:
        image.draft(None, (image.width // factor, image.height // factor))
    make_room(image)
    box = _box_in(image)
    image.load()  # here, so that only the EXIF itself can fail in `_orientation`
    notes = [_frames_note(image)]
    factor = shrink_factor((image.height, image.width), enough)
    if image.mode.startswith("I") or image.mode == "F":
        pixels, alpha, note = _from_deep(image, stated, factor)
        notes.append(note)
    else:
        if box is not None and not image.has_transparency_data:
            image = _framed(image, box)
        pixels, alpha = _from_shallow(image, stated, factor)
    if stated.colors is not None and not stated.profile:
        pixels = to_srgb(pixels, stated.colors)
        notes.append(stated.colors.note)
    return upright(pixels, alpha, size, _orientation(image), notes)


def _box_in(image: Image.Image) -> tuple[int, int, int, int] | None:
    """Where in its canvas a GIF's first frame is; None: everywhere. `image` is not loaded yet."""
    if not isinstance(image, GifImagePlugin.GifImageFile) or not image.tile:
        return None
    box = image.tile[0].extents
    return None if box == (0, 0, *image.size) else box


def _framed(image: Image.Image, box: tuple[int, int, int, int]) -> Image.Image:
    """A GIF's first frame that does not fill its canvas, transparent around, as in browsers."""
    shown = image.convert("RGBA")
    alpha = Image.new("L", image.size)
    alpha.paste(255, box)
    shown.putalpha(alpha)
    return shown


def shrink_factor(size: tuple[int, int], enough: int | None) -> int:
    """The whole factor by which a picture can be scaled down with no side under `enough` pixels."""
    return 1 if enough is None else max(1, min(size) // enough)


def _from_shallow(
    image: Image.Image, stated: Stated, factor: int
) -> tuple[np.ndarray, np.ndarray | None]:
    """Decode an image of up to 8 bits a sample to pixels (H, W, 3) and alpha (H, W)."""
    kind, gray_mode = image.format, stated.gray or image.mode in ("1", "L", "LA", "La")
    if kind == "PSD":  # black is 1 there; a fourth channel is a selection
        image = ImageChops.invert(image) if image.mode == "1" else image
        image = image.convert("RGB") if image.mode == "RGBA" else image
    if stated.transparent is not None and image.mode in ("1", "L"):
        # Pillow has scaled the grays to 8 bits, but not the transparent one
        image.info["transparency"] = stated.transparent * 255 // (2**stated.depth - 1)
    key = image.info.get("transparency")
    if stated.depth == 16 and image.mode == "RGB" and isinstance(key, tuple):
        image.info["transparency"] = tuple(value >> 8 for value in key)  # as Pillow the colors
    transparent = image.has_transparency_data
    wanted = "RGBA" if transparent else "L" if gray_mode else "RGB"
    if image.mode != wanted and image.mode not in ("CMYK", "LAB"):  # modes that have profiles
        image = image.convert(wanted)
    if factor > 1:
        image = image.reduce(factor)
    alpha = None
    if transparent:
        alpha = np.asarray(image.getchannel("A"), dtype=np.float32) / 255
        if kind in ("TGA", "ICO") and not alpha.any():  # 32 bits, of which 8 say nothing
            alpha = None
        image = image.convert("L" if gray_mode else "RGB")
    return from_profile(image, stated.profile), alpha


def _from_deep(
    image: Image.Image, stated: Stated, factor: int
) -> tuple[np.ndarray, np.ndarray | None, str]:
    """Decode an image of 16-bit, 32-bit or float grays; the last value is a note on their range."""
    values = np.asarray(image)
    found, alpha = DEEP, None
    if image.mode == "F" or (image.mode == "I" and image.format in (None, "TIFF")):
        low, top = float(values.min(initial=0)), float(values.max(initial=0))
        found = value_range(values.dtype, low, top, float(values.mean(dtype=np.float64)))
    elif stated.depth in (10, 12, 14):
        found = Range(0, 2.0**stated.depth - 1)
    if stated.transparent is not None:
        alpha = (values != stated.transparent).astype(np.float32)
        alpha = np.asarray(Image.fromarray(alpha).reduce(factor)) if factor > 1 else alpha
    gray = unit(values, found)
    if factor > 1:
        gray = np.asarray(Image.fromarray(gray).reduce(factor))
    return from_unit(gray[..., None], stated.profile), alpha, found.note


def from_unit(values: np.ndarray, profile: bytes | None) -> np.ndarray:
    """sRGB (H, W, 3) of grays or colors (H, W, 1 or 3) in [0, 1] with a color profile or none."""
    if profile:  # Pillow's littleCMS takes 8 bits
        eight = (values * 255).round().astype(np.uint8)
        gray = values.shape[2] == 1
        return from_profile(Image.fromarray(eight[..., 0] if gray else eight), profile)
    return np.repeat(values, 3, axis=2) if values.shape[2] == 1 else values


def from_profile(image: Image.Image, profile: bytes | None) -> np.ndarray:
    """sRGB (H, W, 3) in [0, 1] of an image with a color profile, or none that fits."""
    if image.mode == "LAB":  # it states its colors itself
        lab, target = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        image = ImageCms.profileToProfile(image, lab, target, outputMode="RGB") or image
    elif profile:
        image = _converted(image, profile)
    if image.mode != "RGB":
        image = image.convert("RGB")
    return np.asarray(image, dtype=np.float32) / 255


def _converted(image: Image.Image, profile: bytes) -> Image.Image:
    """Convert `image` from its embedded color profile to sRGB; unchanged with one that does not
    fit."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        target = ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(image, source, target, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError):
        # a broken profile: the pixels are taken as sRGB, as viewers do
        return image
    return converted if converted is not None else image


def _frames_note(image: Image.Image) -> str:
    """A note that there are more frames than the one that is read, or ""."""
    try:
        if image.format in ANIMATED and getattr(image, "n_frames", 1) > 1 and image.tell() == 0:
            return f"the first of {getattr(image, 'n_frames', 1)} frames is used"
    # a broken frame that is not used; every format has its own decoder
    except Exception:
        return ""
    return ""


def _orientation(image: Image.Image) -> int:
    """EXIF's orientation, where the decoder has not turned the picture upright already.

    JPEG XL has its own, which its decoder applies (ISO/IEC 18181-2, annex A), unless it gives back
    the JPEG that the file was made from.
    """
    if image.format == "JXL" and not getattr(image, "jpeg", False):
        return 1
    try:
        return int(image.getexif().get(ORIENTATION, 1))
    # Pillow's EXIF reader raises errors of any kind; a broken EXIF says nothing about the pixels
    except Exception:
        return 1


def upright(
    pixels: np.ndarray,
    alpha: np.ndarray | None,
    size: tuple[int, int],
    orientation: int,
    notes: list[str],
) -> Decoded:
    """Turn what was decoded upright."""
    if orientation in (5, 6, 7, 8):
        size = size[1], size[0]
    return Decoded(
        _turned(pixels, orientation),
        None if alpha is None else _turned(alpha, orientation),
        size,
        tuple(note for note in notes if note),
    )


def _turned(values: np.ndarray, orientation: int) -> np.ndarray:
    """Turn values (H, W, ...) upright, by EXIF's orientation."""
    if orientation in (3, 4, 6, 7):
        values = values[::-1]
    if orientation in (2, 3, 7, 8):
        values = values[:, ::-1]
    return values.swapaxes(0, 1) if orientation in (5, 6, 7, 8) else values
