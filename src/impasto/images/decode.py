"""Decode PIL images, arrays and tensors into float32 sRGB and alpha."""

from __future__ import annotations

import ctypes
import io
import threading
import warnings
from contextlib import suppress
from importlib import import_module
from types import TracebackType

import numpy as np
import torch
from PIL import Image, ImageCms, ImageOps

from impasto.errors import OutputError, PictureError

__all__ = [
    "NO_WARNINGS",
    "from_array",
    "from_image",
    "most_pixels",
    "opened",
    "readable",
    "register_heif",
]

# The formats that are read: not all that Pillow knows, since some (PostScript) are programs that
# would be run.
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
)
# The most pixels that one byte of a file can hold, by format. JPEG: a bit for each block of 8 x 8
# (Rec. T.81, F.1.2). GIF: 12 bits for a string of up to 4,095 pixels (GIF89a, appendix F).
JPEG, GIF = 512, 2731
PER_BYTE = {"JPEG": JPEG, "MPO": JPEG, "GIF": GIF}
DEFLATE = 1032  # bytes that one compressed byte can hold (zlib.net/zlib_tech.html)
# bits of a pixel, at least; of other modes one
PNG_BITS = {"RGB": 24, "RGBA": 32, "LA": 16, "I": 16, "I;16": 16}


class _NoWarnings:
    """Silences Python's warnings while any thread is inside.

    Filters belong to the whole process: with `warnings.catch_warnings` alone the thread that leaves
    last would restore the filters of the one that entered second.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._filters = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                self._filters = warnings.catch_warnings()
                self._filters.__enter__()
                warnings.simplefilter("ignore")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._filters.__exit__(kind, error, at)


NO_WARNINGS = _NoWarnings()


def most_pixels(image: Image.Image, size: int) -> float:
    """The most pixels that a file of `size` bytes in the format of `image` can hold; infinite if
    there is no known bound.

    Decoders of these formats fill in missing data, so that a header alone would become a picture.
    """
    if image.format == "PNG":
        return size * DEFLATE * 8 / PNG_BITS.get(image.mode, 1)
    if image.format == "TIFF" and image.info.get("compression") == "jpeg":
        return size * JPEG
    return size * PER_BYTE.get(image.format or "", float("inf"))


def _silence_libtiff() -> None:
    """Keep libtiff from writing its errors to stderr: Pillow's error says enough.

    The function is looked up through Pillow's extension module, whose libtiff may be a bundled one.
    Where libtiff is linked statically, as on Windows, it is not found, and libtiff keeps writing.
    """
    with suppress(OSError, AttributeError, ImportError):
        ctypes.CDLL(import_module("PIL._imaging").__file__).TIFFSetErrorHandler(None)


_silence_libtiff()


def readable() -> set[str]:
    """The suffixes of pictures that can be read."""
    Image.init()
    return {
        ".heic",
        ".heif",
        *(suffix for suffix, kind in Image.registered_extensions().items() if kind in READ),
    }


def opened(data: bytes) -> Image.Image:
    """Open the image in the bytes of a file without decoding it. Raises Pillow's errors."""
    Image.init()  # registers all formats, so that those of this build are known
    return Image.open(io.BytesIO(data), formats=[kind for kind in READ if kind in Image.OPEN])


def register_heif(kind: type[PictureError] | type[OutputError]) -> None:
    """Let Pillow read and write HEIC. Raises an error of class `kind` if the extra is missing."""
    try:
        import pillow_heif  # an extra
    except ImportError:
        raise kind("HEIC needs an extra: pip install 'impasto[heif]'") from None
    pillow_heif.register_heif_opener()


def from_image(
    image: Image.Image, enough: int | None = None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Decode the current frame of `image`, turned upright and converted to sRGB.

    Args:
        image: an opened image.
        enough: pixels of a side that will be used: a larger picture is scaled down by a whole
        factor while it is decoded, with no side under `enough`. None: full size.

    Returns:
        Pixels (H, W, 3) and alpha (H, W) or None, float32 in [0, 1].
    """
    factor = _factor(image, enough)
    # JPEG's decoder scales down itself, which is several times as fast; others ignore this
    if factor > 1:
        image.draft(None, (image.width // factor, image.height // factor))
    image.load()  # here, so that only the EXIF itself can fail in `_upright`
    upright, profile = _upright(image), image.info.get("icc_profile")
    factor = _factor(upright, enough)
    if upright.mode.startswith("I") or upright.mode == "F":
        gray = _from_deep(np.asarray(upright))
        if factor > 1:
            gray = np.asarray(Image.fromarray(gray).reduce(factor))
        if not profile:
            return np.repeat(gray[..., None], 3, axis=2), None
        upright, factor = Image.fromarray((gray * 255).round().astype(np.uint8)), 1
    gray_mode = upright.mode in ("1", "L", "LA", "La")
    transparent = upright.has_transparency_data
    if transparent:
        upright = upright.convert("RGBA")
    elif upright.mode != "CMYK":  # to a mode that profiles are made for
        upright = upright.convert("L" if gray_mode else "RGB")
    if factor > 1:
        upright = upright.reduce(factor)
    alpha = None
    if transparent:
        alpha = np.asarray(upright.getchannel("A"), dtype=np.float32) / 255
        upright = upright.convert("L" if gray_mode else "RGB")
    return np.asarray(_to_srgb(upright, profile).convert("RGB"), dtype=np.float32) / 255, alpha


def _factor(image: Image.Image, enough: int | None) -> int:
    """The whole factor by which `image` can be scaled down with no side under `enough` pixels."""
    return 1 if enough is None else max(1, min(image.size) // enough)


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    # Pillow's EXIF reader raises errors of any kind; a broken EXIF says nothing about the pixels
    except Exception:
        return image


def _from_deep(gray: np.ndarray) -> np.ndarray:
    """Scale 16-bit or float grays (H, W) to [0, 1]; the largest value of floats tells which of the
    usual ranges they are in."""
    top = float(gray.max(initial=0))
    if not np.isfinite(top):
        raise ValueError("it has pixels that are not numbers")
    # 1.01 is an overshoot
    full = 65535.0 if gray.dtype.kind != "f" or top > 255 else 255.0 if top > 2 else 1.0
    scaled: np.ndarray = np.clip(gray.astype(np.float32) / full, 0, 1)
    return scaled


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Convert `image` from its embedded color profile to sRGB; unchanged without a profile, or with
    one that does not fit."""
    if not profile:
        return image
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        target = ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(image, source, target, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError):
        # a broken profile: the pixels are taken as sRGB, as viewers do
        return image
    return converted if converted is not None else image


def from_array(array: np.ndarray | torch.Tensor) -> tuple[np.ndarray, np.ndarray | None]:
    """Decode an array (H, W[, 1, 3 or 4]) or a tensor ([1,] 1, 3 or 4, H, W).

    Args:
        array: floats and booleans in [0, 1], uint16 in [0, 65535], other whole numbers in [0, 255].

    Returns:
        Pixels (H, W, 3) and alpha (H, W) or None, float32 in [0, 1].

    Raises:
        PictureError: for another shape, other kinds of values, or values out of range.
    """
    if isinstance(array, torch.Tensor):
        tensor = array.detach().cpu()
        tensor = tensor.float() if tensor.is_floating_point() else tensor  # NumPy has no bfloat16
        tensor = tensor[0] if tensor.ndim == 4 and tensor.shape[0] == 1 else tensor
        values = tensor.permute(1, 2, 0).numpy() if tensor.ndim == 3 else tensor.numpy()
    else:
        values = np.asarray(array)
    kind = values.dtype.kind
    if kind not in "buif":
        raise PictureError(
            f"a {type(array).__name__} of {values.dtype} is not a picture: give numbers", array
        )
    values = values[..., None] if values.ndim == 2 else values
    if values.ndim != 3 or values.shape[2] not in (1, 3, 4):
        shape = tuple(np.shape(array))
        raise PictureError(
            f"an array of shape {shape} is not a picture: (H, W, 3) or a tensor (3, H, W)", shape
        )
    full = 1 if kind in "bf" else 65535 if kind == "u" and values.dtype.itemsize == 2 else 255
    low, high = float(values.min(initial=0)), float(values.max(initial=0))
    if not (low >= -1e-3 * full and high <= (1 + 1e-3) * full):  # nor is NaN
        raise PictureError(
            f"an array of {values.dtype} has values from {low:g} to {high:g}: they must be in "
            f"[0, {full}]",
            (low, high),
        )
    values = (values.astype(np.float32) / full).clip(0, 1)
    alpha = values[..., 3] if values.shape[2] == 4 else None
    colors = values[..., :3] if values.shape[2] >= 3 else np.repeat(values, 3, axis=2)
    return colors, alpha
