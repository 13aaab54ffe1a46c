"""Decode picture files of every kind, and check first that they can be decoded."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import numpy as np
from PIL import ExifTags, Image, ImagePalette, UnidentifiedImageError

from impasto import cgroups
from impasto.errors import PictureError
from impasto.images.boxes import color_codes
from impasto.images.color_tags import from_codes
from impasto.images.decode import Decoded, Stated, from_image, shrink_factor
from impasto.images.decode_tiff import from_tiff
from impasto.images.formats import check_kind, most_pixels, opened
from impasto.images.jxl import is_jxl, jxl_size
from impasto.images.metadata import KEY, NOTHING, Metadata, metadata_of
from impasto.images.netpbm import is_netpbm, opened_netpbm
from impasto.images.png import is_png, lacks_rows, read_chunks
from impasto.images.quiet import NO_WARNINGS
from impasto.images.tiff import WEBP, KindError, TiffPicture, is_tiff, opened_tiff, pointing_at

__all__ = ["decode_file", "decoding", "header_size", "metadata_in", "record_in"]

# Bytes a pixel while a picture is decoded, and of what is left when it is scaled down; JPEG's
# decoder scales down itself, by up to 8.
DECODED, LEFT, JPEG_SCALE = 4, 36, 8
DECODED_WEBP = 24  # with the canvases of its frames
VERSION_INFO = 1057  # of Photoshop's resources: whether the file has a picture beside its layers
# What may follow a JPEG whose end is missing: it makes no difference if all pixels are there. They
# differ from the first bit on from the zeros that libjpeg fills in itself, and from each other.
JPEG_END = b"\xff\xd9"
FILLERS = (b"", b"\x55" * 256, b"\xaa" * 256)
PADDING = 16  # zeros, at least, that a download leaves where a file's end is to be
BLOCK = 8  # pixels of a side of JPEG's blocks
# the beginnings of errors that do not say what is wrong: of QOI, JPEG XL and WebP
UNSAID = ("not enough values", "Generic Error", "could not create decoder")


@contextmanager
def decoding(name: str) -> Iterator[None]:
    """Turn any error of a decoder into one PictureError about `name`."""
    try:
        with NO_WARNINGS:
            yield
    except UnidentifiedImageError:
        raise PictureError(f"{name} is not a picture that can be read", name) from None
    except KindError as error:
        raise PictureError(f"{name} is {error}", name) from None
    except (MemoryError, PictureError):
        raise
    # every format has its own decoder, which raises errors of any kind on broken bytes
    except Exception as error:
        reason = " ".join(str(error).split()) or "it is broken"
        if reason.startswith("decoder error"):  # Pillow's, with a number
            reason = "its compressed pixels are broken"
        if isinstance(error, (LookupError, struct.error)) or reason.startswith(UNSAID):
            reason = "it is broken"
        raise PictureError(f"{name} cannot be read as a picture: {reason}", name) from error


def header_size(data: bytes, name: str, most: int | None = None) -> tuple[int, int]:
    """(width, height) of a picture's file, from its header alone. Raises PictureError if it cannot
    be read or has more than `most` pixels."""
    with decoding(name):
        check_kind(data, name)
        if is_jxl(data):
            _check_size(size := jxl_size(data), data, name, most)
            return size
        if is_netpbm(data):
            plain = opened_netpbm(data)
            _check_size(plain.size, data, name, most, plain.most_pixels)
            return plain.size
        if is_tiff(data):
            with opened_tiff(data) as picture:
                _check_size(picture.size, data, name, most, picture.most_pixels)
                return picture.size
        with opened(read_chunks(data).data if is_png(data) else data) as image:
            _check_size(image.size, data, name, most, most_pixels(image, len(data)))
            return image.size


def decode_file(
    data: bytes, name: str, most: int | None, enough: int | None
) -> tuple[Decoded, Metadata]:
    """Decode the bytes of a file."""
    check_kind(data, name)
    if is_tiff(data):
        with opened_tiff(data) as picture:
            _check_size(picture.size, data, name, most, picture.most_pixels)
            return _decoded_tiff(picture, data, name, most, enough)
    if is_netpbm(data):
        plain = opened_netpbm(data)
        _check_size(plain.size, data, name, most, plain.most_pixels)
        if most is None:
            _check_memory(plain.size, name, enough)
        return plain.decoded(enough), NOTHING
    if is_jxl(data):
        _check_size(jxl_size(data), data, name, most)
    chunks = read_chunks(data) if is_png(data) else None
    with opened(chunks.data if chunks else data) as image:
        bound = most_pixels(image, len(data))
        _check_size(image.size, data, name, most, bound)
        _check_layers(image, name)
        if most is None:
            _check_memory(image.size, name, enough, image.format)
        if chunks:
            stated = Stated(
                chunks.profile, chunks.colors, chunks.transparent, chunks.depth, chunks.gray
            )
        elif image.format in ("AVIF", "HEIF") and not image.info.get("icc_profile"):
            codes = color_codes(data)
            stated = Stated(None, from_codes(*codes) if codes else None)
        else:
            stated = Stated.by_pillow(image)
        if image.format in ("JPEG", "MPO"):
            decoded = _decoded_jpeg(image, data, stated, enough)
        else:
            decoded = from_image(image, stated, enough)
            # Pillow leaves missing rows black
            if chunks and not _last_row(image).any() and lacks_rows(chunks.data):
                raise OSError("image file is truncated")
        return decoded, metadata_in(image, chunks.dpi if chunks else None)


def _decoded_jpeg(image: Image.Image, data: bytes, stated: Stated, enough: int | None) -> Decoded:
    """Decode an opened JPEG. Raises OSError if pixels are missing."""
    width = image.width
    end = data.rstrip(b"\0")
    if len(data) - len(end) >= PADDING and not end.endswith(JPEG_END):
        return _without_end(end, stated, enough)
    try:
        decoded = from_image(image, stated, enough)
    except OSError:
        return _without_end(data, stated, enough)
    # libjpeg fills in what is missing before the end, too: to the last corner with one color
    side = max(1, BLOCK * image.width // width)
    corner = image.crop((image.width - side, image.height - side, image.width, image.height))
    if len(corner.getcolors() or ()) == 1:
        other = _ended(end.removesuffix(JPEG_END), FILLERS[1], stated, enough)
        if not np.array_equal(other.pixels, decoded.pixels):
            raise OSError("image file is truncated")
    return decoded


def _without_end(data: bytes, stated: Stated, enough: int | None) -> Decoded:
    """Decode a JPEG whose last bytes are missing. Raises OSError if pixels are missing.

    libjpeg fills in missing pixels without a word. But then other bytes in their place make others.
    """
    first, *others = (_ended(data, filler, stated, enough) for filler in FILLERS)
    if not all(np.array_equal(first.pixels, other.pixels) for other in others):
        raise OSError("image file is truncated")
    return first


def _ended(data: bytes, filler: bytes, stated: Stated, enough: int | None) -> Decoded:
    """Decode a JPEG without its end as if these bytes and an end followed."""
    with opened(data.rstrip(b"\xff") + filler + JPEG_END) as image:
        return from_image(image, stated, enough)


def _last_row(image: Image.Image) -> np.ndarray:
    return np.asarray(image.crop((0, image.height - 1, image.width, image.height)))


def _decoded_tiff(
    picture: TiffPicture, data: bytes, name: str, most: int | None, enough: int | None
) -> tuple[Decoded, Metadata]:
    """Decode the picture of a TIFF file, with Pillow if it reads pictures of that kind."""
    if most is None:
        _check_memory(picture.size, name, enough)
    exif = Image.Exif()
    with suppress(Exception):  # a broken directory; Pillow raises errors of any kind
        exif.load(data)
    metadata = metadata_of(exif, profile=picture.profile)
    if picture.deep:
        return from_tiff(picture, enough), metadata
    bits = picture.page.bitspersample
    stated = Stated(picture.profile, depth=bits if isinstance(bits, int) else 8)
    try:
        with opened(pointing_at(data, picture.page.offset)) as image:
            colors = picture.page.colormap
            if image.mode == "P" and colors is not None and colors.max() < 256:
                # of 8 bits, as old programs write them, in place of 16
                image.palette = ImagePalette.raw("RGB;L", colors.astype(np.uint8).tobytes())
            decoded = from_image(image, stated, enough)
    except UnidentifiedImageError:
        raise picture.refused() from None
    except OSError:
        if picture.page.compression == WEBP:  # few builds of libtiff read it
            raise picture.refused() from None
        raise
    notes = tuple(note for note in (picture.note, *decoded.notes) if note)
    return decoded._replace(notes=notes), metadata


def metadata_in(image: Image.Image, dpi: object = None) -> Metadata:
    """What an opened image says beside its pixels."""
    try:
        exif = image.getexif()
    # Pillow's EXIF reader raises errors of any kind
    except Exception:
        exif = Image.Exif()
    return metadata_of(exif, dpi or image.info.get("dpi"), image.info.get("icc_profile"))


def _check_size(
    size: tuple[int, int],
    data: bytes,
    name: str,
    most: int | None,
    bound: float = float("inf"),
) -> None:
    """Raise PictureError for more than `most` pixels, or more than the file's bytes can hold."""
    width, height = size
    shown = f"{width} x {height} pixels"
    if most is not None and width * height > most:
        raise PictureError(f"{name} has {shown}, more than {most:,}: scale it down first", size)
    if width * height > bound:
        raise PictureError(
            f"{name} says that it has {shown}, which {len(data):,} bytes cannot hold", size
        )


def _check_layers(image: Image.Image, name: str) -> None:
    """Raise PictureError for a Photoshop file that has layers alone: its picture is blank."""
    for key, _, inside in getattr(image, "resources", ()):
        if image.format == "PSD" and key == VERSION_INFO and len(inside) > 4 and not inside[4]:
            raise PictureError(
                f"{name} has layers and no picture: save it in Photoshop with 'Maximize "
                "compatibility', or as TIFF or PNG",
                name,
            )


def _check_memory(
    size: tuple[int, int], name: str, enough: int | None, kind: str | None = None
) -> None:
    """Raise PictureError if reading a picture of (width, height) takes more memory than is free."""
    width, height = size
    factor = shrink_factor(size, enough)
    decoded = float(DECODED_WEBP if kind == "WEBP" else DECODED)
    if kind in ("JPEG", "MPO"):
        decoded /= min(factor, JPEG_SCALE) ** 2
    needed = width * height * (decoded + LEFT / factor**2)
    free = cgroups.available_memory()
    if needed > free:
        raise PictureError(
            f"{name} has {width} x {height} pixels: reading it takes {needed / 1e9:,.1f} GB of "
            f"memory, and {free / 1e9:,.1f} GB are free: scale it down first",
            size,
        )


def record_in(data: bytes, name: str) -> object:
    """The text that settings are in, in the bytes of a painting's file; pixels are not decoded.

    Raises PictureError, and Pillow's errors.
    """
    check_kind(data, name)
    if is_jxl(data) or is_netpbm(data):  # impasto writes none
        return None
    if is_tiff(data):
        exif = Image.Exif()
        exif.load(data)
        return exif.get(ExifTags.Base.ImageDescription)
    if is_png(data):
        return read_chunks(data).texts.get(KEY.encode())
    with opened(data) as image:
        comment = image.info.get("comment", b"")
        return image.getexif().get(ExifTags.Base.ImageDescription) or comment
