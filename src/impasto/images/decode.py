"""What a picture means: PIL images, arrays and tensors to float32 sRGB and alpha."""

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

# What is read: not all that Pillow knows, for some of it (PostScript) is a program that would be
# run.
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
DEFLATE = 1032  # bytes that one byte of zlib's can hold (zlib.net/zlib_tech.html)
# of a pixel, at the least; of other modes one
PNG_BITS = {"RGB": 24, "RGBA": 32, "LA": 16, "I": 16, "I;16": 16}


class _NoWarnings:
    """Silences Python's warnings while any thread is inside: filters belong to the whole process,
    not to a thread.

    `warnings.catch_warnings` alone would let the thread that leaves last bring back the filters of
    the one that came second.
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
    """The most pixels that a file of `size` bytes in the format of `image` can hold; infinite where
    nobody knows.

    Decoders of these formats fill in what is missing, so that a header alone would become a
    picture.
    """
    if image.format == "PNG":
        return size * DEFLATE * 8 / PNG_BITS.get(image.mode, 1)
    if image.format == "TIFF" and image.info.get("compression") == "jpeg":
        return size * JPEG
    return size * PER_BYTE.get(image.format or "", float("inf"))


def _silence_libtiff() -> None:
    """Have libtiff not write its errors to stderr itself: Pillow's error says enough.

    It is found through Pillow's own library, which may bring one along. Where it is linked in, as
    on Windows, it cannot be found, and goes on writing.
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
    """The image in the bytes of a file, not yet decoded. Raises what Pillow raises."""
    Image.init()  # all formats, so that those that are there can be told
    return Image.open(io.BytesIO(data), formats=[kind for kind in READ if kind in Image.OPEN])


def register_heif(kind: type[PictureError] | type[OutputError]) -> None:
    """Have Pillow read and write HEIC. Raises such an error where the extra is missing."""
    try:
        import pillow_heif  # an extra
    except ImportError:
        raise kind("HEIC needs an extra: pip install 'impasto[heif]'") from None
    pillow_heif.register_heif_opener()


def from_image(
    image: Image.Image, enough: int | None = None
) -> tuple[np.ndarray, np.ndarray | None]:
    """(H, W, 3) and alpha (H, W) or None, float32 in [0, 1], of the frame that `image` stands at,
    upright.

    enough: pixels of a side that will be used, as of `files.read_bytes`; None: all.
    """
    factor = _factor(image, enough)
    # JPEG's decoder halves by itself, which is several times as fast; others ignore this
    if factor > 1:
        image.draft(None, (image.width // factor, image.height // factor))
    image.load()  # here, so that only the EXIF itself can fail in `_upright`
    upright, profile = _upright(image), image.info.get("icc_profile")
    factor = _factor(upright, enough)
    if upright.mode.startswith("I") or upright.mode == "F":
        grey = _from_deep(np.asarray(upright))
        if factor > 1:
            grey = np.asarray(Image.fromarray(grey).reduce(factor))
        if not profile:
            return np.repeat(grey[..., None], 3, axis=2), None
        upright, factor = Image.fromarray((grey * 255).round().astype(np.uint8)), 1
    grey_mode = upright.mode in ("1", "L", "LA", "La")
    transparent = upright.has_transparency_data
    if transparent:
        upright = upright.convert("RGBA")
    elif upright.mode != "CMYK":  # to a mode that profiles are made for
        upright = upright.convert("L" if grey_mode else "RGB")
    if factor > 1:
        upright = upright.reduce(factor)
    alpha = None
    if transparent:
        alpha = np.asarray(upright.getchannel("A"), dtype=np.float32) / 255
        upright = upright.convert("L" if grey_mode else "RGB")
    return np.asarray(_to_srgb(upright, profile).convert("RGB"), dtype=np.float32) / 255, alpha


def _factor(image: Image.Image, enough: int | None) -> int:
    """By which whole factor `image` can be scaled down with no side under `enough` pixels."""
    return 1 if enough is None else max(1, min(image.size) // enough)


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    # Pillow's EXIF reader raises whatever it likes; a broken EXIF says nothing about the pixels
    except Exception:
        return image


def _from_deep(grey: np.ndarray) -> np.ndarray:
    """16-bit and float greys (H, W) in [0, 1]: a float's largest value says which of the usual
    ranges it is."""
    top = float(grey.max(initial=0))
    if not np.isfinite(top):
        raise ValueError("it has pixels that are not numbers")
    # 1.01 is an overshoot
    full = 65535.0 if grey.dtype.kind != "f" or top > 255 else 255.0 if top > 2 else 1.0
    scaled: np.ndarray = np.clip(grey.astype(np.float32) / full, 0, 1)
    return scaled


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """`image` taken from its embedded colour profile to sRGB; as it is if it has none, or one that
    does not fit it."""
    if not profile:
        return image
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        target = ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(image, source, target, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError):
        # a broken profile says nothing: the pixels are taken as sRGB, as every viewer does
        return image
    return converted if converted is not None else image


def from_array(array: np.ndarray | torch.Tensor) -> tuple[np.ndarray, np.ndarray | None]:
    """(H, W, 3) and alpha or None from an array (H, W[, 1, 3 or 4]) or a tensor ([1,] 1, 3 or 4, H,
    W)."""
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
    colours = values[..., :3] if values.shape[2] >= 3 else np.repeat(values, 3, axis=2)
    return colours, alpha
