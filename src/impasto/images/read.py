"""Read and check picture files, and the settings inside."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

import numpy as np
import torch
from PIL import ExifTags, Image, UnidentifiedImageError

from impasto.errors import PictureError, reason
from impasto.images.decode import (
    NO_WARNINGS,
    from_array,
    from_image,
    most_pixels,
    opened,
    register_heif,
)
from impasto.images.write import KEY
from impasto.records import SETTINGS, parse_json, read_regular, validate

__all__ = [
    "MOST_BYTES",
    "SMALLEST",
    "Picture",
    "Source",
    "bytes_of",
    "header_size",
    "read",
    "read_bytes",
    "read_settings",
    "resize",
    "settings_in",
]

SMALLEST = 16  # pixels on each side: four poolings leave one
MOST_BYTES = 1 << 30  # of a picture's file: no decoder takes more


class Picture(NamedTuple):
    """A decoded picture.

    pixels: (1, 3, H, W) float32 sRGB in [0, 1]. alpha: (1, 1, H, W) float32 in [0, 1], or None if
    the picture is opaque. name: its path, or "image" or "array". sha256: of the file, or of the
    array's bytes.
    """

    pixels: torch.Tensor
    alpha: torch.Tensor | None
    name: str
    sha256: str


Source = str | PathLike[str] | bytes | IO[bytes] | Image.Image | np.ndarray | torch.Tensor | Picture


def read(source: Source) -> Picture:
    """Read a picture from a path, a file's bytes, an open file, a PIL image, an array or a tensor.

    Files are turned upright (EXIF) and converted from their color profile to sRGB; transparent
    pixels get the mean color of the opaque ones.

    Args:
        source: a path, the bytes of a file, a binary file that is read from where it is (as
        io.BytesIO), a PIL image, an array (H, W) or (H, W, 3 or 4), a tensor ((1,) 3, H, W), or
        a Picture, which is returned unchanged. Whole numbers are 0 to 255, or 0 to 65535 in uint16;
        floats are in [0, 1].

    Returns:
        The picture, as float32 sRGB in [0, 1].

    Raises:
        PictureError: it cannot be read, or is smaller than 16 x 16.
    """
    if isinstance(source, Picture):
        return source
    if isinstance(source, (str, PathLike)):
        return read_bytes(bytes_of(Path(source)), str(source))
    if isinstance(source, (bytes, bytearray, memoryview)):
        return read_bytes(bytes(source), "bytes")
    if hasattr(source, "read"):
        return _read_file(cast(IO[bytes], source))
    if isinstance(source, Image.Image):
        with _decoding("image"):
            pixels, alpha = from_image(source)
        name, digest = "image", hashlib.sha256(pixels.tobytes()).hexdigest()
    else:
        pixels, alpha = from_array(source)
        name, digest = "array", hashlib.sha256(pixels.tobytes()).hexdigest()
    return _picture(pixels, alpha, name, digest)


def _read_file(file: IO[bytes]) -> Picture:
    """Read a picture from an open file. Raises PictureError."""
    name = str(getattr(file, "name", "file"))
    try:
        data = file.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: it is closed
        raise PictureError(f"{name} cannot be read: {reason(error)}", name) from error
    if not isinstance(data, bytes):
        raise PictureError(f"{name} gives text: open it with mode 'rb'", name)
    if len(data) > MOST_BYTES:
        raise PictureError(f"{name} has more than {MOST_BYTES:,} bytes", name)
    return read_bytes(data, name)


def read_bytes(
    data: bytes, name: str, most: int | None = None, enough: int | None = None
) -> Picture:
    """Read a picture from the bytes of its file, turned upright and converted to sRGB.

    Args:
        data: the file's bytes.
        name: its name in errors.
        most: pixels; a picture with more is refused before it is decoded.
        enough: pixels of a side that will be used: a picture whose sides are all at least twice
        that is scaled down by a whole factor while it is decoded, with no side under `enough`.

    Raises:
        PictureError: it cannot be read, is too large, or is smaller than 16 x 16.
    """
    _check_bytes(data, name)
    with _decoding(name), opened(data) as image:
        _check_size(image, data, name, most)
        pixels, alpha = from_image(image, enough)
    return _picture(pixels, alpha, name, hashlib.sha256(data).hexdigest())


def header_size(data: bytes, name: str, most: int | None = None) -> tuple[int, int]:
    """(width, height) of a picture's file, from its header alone. Raises PictureError if it cannot
    be read or has more than `most` pixels."""
    _check_bytes(data, name)
    with _decoding(name), opened(data) as image:
        _check_size(image, data, name, most)
        return image.size


def _check_size(image: Image.Image, data: bytes, name: str, most: int | None) -> None:
    """Raise PictureError for more than `most` pixels, or for more than the file's bytes can
    hold."""
    size = f"{image.width} x {image.height} pixels"
    if most is not None and image.width * image.height > most:
        raise PictureError(
            f"{name} has {size}, more than {most:,}: scale it down first", image.size
        )
    if image.width * image.height > most_pixels(image, len(data)):
        raise PictureError(
            f"{name} says that it has {size}, which {len(data):,} bytes cannot hold", image.size
        )


def _picture(pixels: np.ndarray, alpha: np.ndarray | None, name: str, digest: str) -> Picture:
    """Make a Picture of pixels (H, W, 3) and alpha (H, W)."""
    height, width = pixels.shape[:2]
    if min(height, width) < SMALLEST:
        raise PictureError(
            f"{name} is {width} x {height} pixels: at least {SMALLEST} x {SMALLEST} are needed",
            (width, height),
        )
    if alpha is not None and alpha.min() >= 1:
        alpha = None
    if alpha is not None:
        seen = alpha[..., None]
        mean = (pixels * seen).sum((0, 1)) / max(float(seen.sum()), 1e-6)
        pixels = pixels * seen + mean.astype(np.float32) * (1 - seen)
    tensor = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))[None]
    return Picture(
        tensor, None if alpha is None else torch.from_numpy(alpha.copy())[None, None], name, digest
    )


@contextmanager
def _decoding(name: str) -> Iterator[None]:
    """Turn any error of a decoder into one PictureError about `name`."""
    try:
        with NO_WARNINGS:  # a large picture is the user's choice; a bomb is still an error
            yield
    except Image.DecompressionBombError:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        raise PictureError(
            f"{name} has more than {limit:,} pixels: scale it down first", name
        ) from None
    except UnidentifiedImageError:
        raise PictureError(f"{name} is not a picture that can be read", name) from None
    except (MemoryError, PictureError):
        raise
    # every format has its own decoder, which raises errors of any kind on broken bytes
    except Exception as error:
        reason = " ".join(str(error).split()) or "it is broken"
        raise PictureError(f"{name} cannot be read as a picture: {reason}", name) from error


def bytes_of(path: Path) -> bytes:
    """Read the bytes of a picture's file, which must be a regular one. Raises PictureError."""
    try:
        return read_regular(path, MOST_BYTES)
    except FileNotFoundError:
        if address := re.fullmatch(r"([a-z]\w+):/+(.+)", str(path), re.IGNORECASE):
            name = f"{address[1]}://{address[2]}"  # paths have a single slash
            raise PictureError(
                f"{name} is an address: download it first: curl -LO {name}", name
            ) from None
        raise PictureError(f"no picture at {path}", str(path)) from None
    except IsADirectoryError:
        raise PictureError(f"{path} is a folder: give a picture in it", str(path)) from None
    # ValueError: a null character or a lone surrogate in the name
    except (OSError, ValueError) as error:
        raise PictureError(f"{path} cannot be opened: {reason(error)}", str(path)) from error


def _check_bytes(data: bytes, name: str) -> None:
    """Raise PictureError if there is nothing to decode, or no decoder for it."""
    if not data:
        raise PictureError(f"{name} is empty", name)
    # phones send HEIC as .jpg too
    if name.lower().endswith((".heic", ".heif")) or data[4:10] == b"ftyphe":
        register_heif(PictureError)


def resize(pixels: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Resize `pixels` (B, C, H, W) to height x width, clamped to [0, 1], on the same device and
    without a gradient.

    Lanczos's filter (Pillow's, in float32) keeps more of a painting's finest grain than bicubic.
    """
    if pixels.shape[2:] == (height, width):
        return pixels
    planes = pixels.detach().float().cpu().flatten(0, 1).numpy()  # (B C, H, W)
    scaled = [
        np.asarray(Image.fromarray(each).resize((width, height), Image.Resampling.LANCZOS))
        for each in planes
    ]
    return (
        torch.from_numpy(np.stack(scaled))
        .view(*pixels.shape[:2], height, width)
        .clamp(0, 1)
        .to(pixels)
    )


def read_settings(path: str | PathLike[str]) -> dict[str, Any]:
    """Read the settings in a painting's file. Raises PictureError if it has none."""
    return settings_in(bytes_of(Path(path)), str(path))


def settings_in(data: bytes, name: str) -> dict[str, Any]:
    """Read the settings in the bytes of a painting's file, called `name` in errors. Raises
    PictureError."""
    _check_bytes(data, name)
    with _decoding(name), opened(data) as image:
        comment = image.info.get("comment", b"")
        text = image.info.get(KEY) or image.getexif().get(ExifTags.Base.ImageDescription) or comment
    try:
        if not isinstance(text, (str, bytes)):
            raise ValueError("no text")
        settings: dict[str, Any] = parse_json(text)
        validate(SETTINGS, settings)
    except ValueError:
        raise PictureError(
            f"{name} carries no settings: it was not painted by impasto, or was saved anew since",
            name,
        ) from None
    return settings
