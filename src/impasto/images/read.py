"""Read and check picture files, and the settings inside."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from os import PathLike
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

import numpy as np
import torch
from PIL import Image

from impasto.errors import PictureError, reason
from impasto.images.arrays import from_array
from impasto.images.decode import Decoded, Stated, from_image
from impasto.images.files import decode_file, decoding, metadata_in, record_in
from impasto.images.metadata import NOTHING, Metadata
from impasto.records import SETTINGS, parse_json, read_regular, validate

__all__ = [
    "MOST_BYTES",
    "SMALLEST",
    "Picture",
    "Source",
    "bytes_of",
    "read",
    "read_bytes",
    "read_settings",
    "reading_notes",
    "resize",
    "settings_in",
]

SMALLEST = 16  # pixels on each side: four poolings leave one
MOST_BYTES = 1 << 30  # of a picture's file: no decoder takes more
LARGE = 1 << 20  # pixels from which on threads resize the channels of a picture


class Picture(NamedTuple):
    """A decoded picture.

    pixels: (1, 3, H, W) float32 sRGB in [0, 1]. alpha: (1, 1, H, W) float32 in [0, 1], or None if
    the picture is opaque. name: its path, or "image" or "array". sha256: of the file, or of the
    array's bytes. size: its height and width before it was scaled down, or None if it was not.
    notes: remarks on how it was read. metadata: what its file says beside the pixels.
    """

    pixels: torch.Tensor
    alpha: torch.Tensor | None
    name: str
    sha256: str
    size: tuple[int, int] | None = None
    notes: tuple[str, ...] = ()
    metadata: Metadata = NOTHING

    @property
    def full_size(self) -> tuple[int, int]:
        """Height and width as its file has them, upright."""
        height, width = self.pixels.shape[2:]
        return self.size or (height, width)


Source = str | PathLike[str] | bytes | IO[bytes] | Image.Image | np.ndarray | torch.Tensor | Picture


def read(source: Source, enough: int | None = None) -> Picture:
    """Read a picture from a path, a file's bytes, an open file, a PIL image, an array or a tensor.

    Files are turned upright (EXIF) and converted from the colors that they state to sRGB;
    transparent pixels get the mean color of the opaque ones.

    Args:
        source: a path, the bytes of a file, a binary file that is read from where it is, or if that
        is its end from its beginning (as io.BytesIO), a PIL image, an array (H, W) or (H, W, 3 or
        4), a tensor ((1,) 3, H, W), or a Picture, which is returned unchanged. Whole numbers are 0
        to 255, or 0 to 65535 in uint16; floats are in [0, 1].
        enough: pixels of a side that will be used of a file, as for `read_bytes`.

    Returns:
        The picture, as float32 sRGB in [0, 1].

    Raises:
        PictureError: it cannot be read, or is smaller than 16 x 16.
    """
    if isinstance(source, Picture):
        return source
    if isinstance(source, (str, PathLike)):
        return read_bytes(bytes_of(Path(source)), str(source), enough=enough)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return read_bytes(bytes(source), "bytes", enough=enough)
    if hasattr(source, "read"):
        return _read_file(cast(IO[bytes], source), enough)
    metadata = NOTHING
    if isinstance(source, Image.Image):
        with decoding("image"):
            decoded = from_image(source, Stated.by_pillow(source))
            metadata = metadata_in(source)
        name = "image"
    else:
        pixels, alpha = from_array(source)
        name, decoded = "array", Decoded(pixels, alpha, pixels.shape[:2])
    digest = hashlib.sha256(decoded.pixels.tobytes()).hexdigest()
    return _picture(decoded, name, digest, metadata)


def _read_file(file: IO[bytes], enough: int | None) -> Picture:
    """Read a picture from an open file. Raises PictureError."""
    name = str(getattr(file, "name", "file"))
    try:
        data = file.read(MOST_BYTES + 1)
        if not data:
            with suppress(AttributeError, io.UnsupportedOperation):  # a pipe has only one end
                file.seek(0)  # it was written, or read, before
                data = file.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: it is closed
        raise PictureError(f"{name} cannot be read: {reason(error)}", name) from error
    if not isinstance(data, bytes):
        raise PictureError(f"{name} gives text: open it with mode 'rb'", name)
    if len(data) > MOST_BYTES:
        raise PictureError(f"{name} has more than {MOST_BYTES:,} bytes", name)
    return read_bytes(data, name, enough=enough)


def read_bytes(
    data: bytes, name: str, most: int | None = None, enough: int | None = None
) -> Picture:
    """Read a picture from the bytes of its file, turned upright and converted to sRGB.

    Args:
        data: the file's bytes.
        name: its name in errors.
        most: pixels; a picture with more is refused before it is decoded. None: as many as there
        is memory for.
        enough: pixels of a side that will be used: a picture whose sides are all at least twice
        that is scaled down by a whole factor while it is decoded, with no side under `enough`.

    Raises:
        PictureError: it cannot be read, is too large, or is smaller than 16 x 16.
    """
    with decoding(name):
        decoded, metadata = decode_file(data, name, most, enough)
    return _picture(decoded, name, hashlib.sha256(data).hexdigest(), metadata)


def _picture(decoded: Decoded, name: str, digest: str, metadata: Metadata) -> Picture:
    """Make a Picture of decoded pixels."""
    pixels, alpha = decoded.pixels, decoded.alpha
    height, width = pixels.shape[:2]
    if min(height, width) < SMALLEST:
        raise PictureError(
            f"{name} is {width} x {height} pixels: at least {SMALLEST} x {SMALLEST} are needed",
            (width, height),
        )
    if alpha is not None and alpha.min() >= 1:
        alpha = None
    if alpha is not None and alpha.any():
        seen = alpha[..., None]
        mean = (pixels * seen).sum((0, 1)) / max(float(seen.sum()), 1e-6)
        pixels = pixels * seen + mean.astype(np.float32) * (1 - seen)
    tensor = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))[None]
    return Picture(
        tensor,
        None if alpha is None else torch.from_numpy(alpha.copy())[None, None],
        name,
        digest,
        None if decoded.size == (height, width) else decoded.size,
        decoded.notes,
        metadata,
    )


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


def reading_notes(pictures: Sequence[Picture]) -> list[str]:
    """The remarks on how pictures were read, each once."""
    return list(
        dict.fromkeys(f"{picture.name}: {note}" for picture in pictures for note in picture.notes)
    )


def resize(pixels: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Resize `pixels` (B, C, H, W) to height x width, clamped to [0, 1], on the same device and
    without a gradient.

    Lanczos's filter (Pillow's, in float32) keeps more of a painting's finest grain than bicubic.
    """
    if pixels.shape[2:] == (height, width):
        return pixels
    planes = pixels.detach().float().cpu().flatten(0, 1).numpy()  # (B C, H, W)

    def scale(plane: np.ndarray) -> np.ndarray:
        image = Image.fromarray(plane)
        return np.asarray(image.resize((width, height), Image.Resampling.LANCZOS))

    if max(planes[0].size, height * width) < LARGE:
        scaled = [scale(plane) for plane in planes]
    else:
        with ThreadPoolExecutor(len(planes)) as pool:  # Pillow computes without Python's lock
            scaled = list(pool.map(scale, planes))
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
    with decoding(name):
        text = record_in(data, name)
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
