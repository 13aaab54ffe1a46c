"""Read and write pictures: EXIF turn, ICC to sRGB, alpha, 16 bit, HEIC; settings written into the file."""

from __future__ import annotations

import hashlib
import io
import json
import os
import struct
import warnings
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from PIL import ExifTags, Image, ImageCms, ImageOps, PngImagePlugin, features

from impasto.errors import OutputError, PictureError

__all__ = ["Picture", "Source", "check_output", "read", "read_settings", "resize", "to_image", "write"]

Source = str | PathLike[str] | Image.Image | np.ndarray | torch.Tensor

SMALLEST = 16  # pixels on each side: four poolings leave one
# What each suffix is written as, with which options; the options decide the bytes, so they are fixed here.
FORMATS: dict[str, tuple[str, dict[str, Any]]] = {
    ".png": ("PNG", {}),
    ".jpg": ("JPEG", {"quality": 95, "subsampling": 0}),
    ".jpeg": ("JPEG", {"quality": 95, "subsampling": 0}),
    ".webp": ("WEBP", {"quality": 95}),
    ".tif": ("TIFF", {"compression": "tiff_lzw"}),
    ".tiff": ("TIFF", {"compression": "tiff_lzw"}),
    ".avif": ("AVIF", {"quality": 90}),
    ".bmp": ("BMP", {}),
    ".gif": ("GIF", {}),
    ".heic": ("HEIF", {"quality": 95}),
    ".heif": ("HEIF", {"quality": 95}),
}
WITH_ALPHA = {"PNG", "WEBP", "TIFF", "AVIF", "HEIF"}
KEY = "impasto"  # of the settings in a PNG's text; elsewhere they are the EXIF's image description


class Picture(NamedTuple):
    """A picture as the painter wants it.

    pixels: (1, 3, H, W) float32 sRGB in [0, 1]. alpha: (1, 1, H, W) likewise, or None if the picture is opaque.
    name: where it came from. sha256: of the file, or of the array's bytes.
    """

    pixels: torch.Tensor
    alpha: torch.Tensor | None
    name: str
    sha256: str


def read(source: Source) -> Picture:
    """A picture from a path, a PIL image, an array (H, W), (H, W, 3 or 4) or a tensor ((1,) 3, H, W).

    Whole numbers are 0 to 255, or 0 to 65535 in 16 bits; floats are in [0, 1]. Files are turned upright (EXIF), taken
    from their colour profile to sRGB, and transparent pixels get the mean colour of the opaque ones.
    Raises PictureError, in one line, for anything that cannot be read or is smaller than 16 x 16.
    """
    if isinstance(source, (str, PathLike)):
        pixels, alpha, name, digest = _read_file(Path(source))
    elif isinstance(source, Image.Image):
        pixels, alpha = _from_image(source)
        name, digest = "image", hashlib.sha256(pixels.tobytes()).hexdigest()
    else:
        pixels, alpha = _from_array(source)
        name, digest = "array", hashlib.sha256(pixels.tobytes()).hexdigest()
    height, width = pixels.shape[:2]
    if min(height, width) < SMALLEST:
        raise PictureError(f"{name} is {width} x {height} pixels: at least {SMALLEST} x {SMALLEST} are needed", (width, height))
    if alpha is not None and alpha.min() >= 1:
        alpha = None
    if alpha is not None:
        seen = alpha[..., None]
        mean = (pixels * seen).sum((0, 1)) / max(float(seen.sum()), 1e-6)
        pixels = pixels * seen + mean.astype(np.float32) * (1 - seen)
    tensor = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))[None]
    return Picture(tensor, None if alpha is None else torch.from_numpy(alpha.copy())[None, None], name, digest)


def _read_file(path: Path) -> tuple[np.ndarray, np.ndarray | None, str, str]:
    data = _bytes_of(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a large picture is the user's choice; a bomb is still an error
            with Image.open(io.BytesIO(data)) as image:
                pixels, alpha = _from_image(image)
    except Image.DecompressionBombError:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        raise PictureError(f"{path} has more than {limit:,} pixels: scale it down first", str(path)) from None
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, TypeError, struct.error, ImageCms.PyCMSError) as error:
        reason = str(error).replace(repr(error.args[0]) if error.args else "", "") if "BytesIO" in str(error) else str(error)
        what = "is not a picture that can be read" if "BytesIO" in str(error) else f"cannot be read as a picture: {reason}"
        raise PictureError(f"{path} {what}", str(path)) from error
    return pixels, alpha, str(path), hashlib.sha256(data).hexdigest()


def _bytes_of(path: Path) -> bytes:
    """The file's bytes, or a PictureError that says which of the usual things is wrong with the path."""
    if path.is_dir():
        raise PictureError(f"{path} is a folder: give a picture in it", str(path))
    if path.suffix.lower() in (".heic", ".heif"):
        _register_heif(PictureError)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise PictureError(f"no picture at {path}", str(path)) from None
    except OSError as error:
        raise PictureError(f"{path} cannot be opened: {error.strerror or error}", str(path)) from error
    if not data:
        raise PictureError(f"{path} is empty", str(path))
    return data


def _register_heif(kind: type[PictureError] | type[OutputError]) -> None:
    try:
        import pillow_heif  # an extra
    except ImportError:
        raise kind("HEIC needs an extra: pip install 'impasto[heif]'") from None
    pillow_heif.register_heif_opener()


def _from_image(image: Image.Image) -> tuple[np.ndarray, np.ndarray | None]:
    """(H, W, 3) and alpha (H, W) or None, float32 in [0, 1], of the first frame."""
    image.seek(0)
    upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith("I") or upright.mode == "F":
        return _from_deep(np.asarray(upright)), None
    if upright.has_transparency_data and upright.mode != "RGBA":
        upright = upright.convert("RGBA")
    alpha = None
    if upright.mode == "RGBA":
        alpha = np.asarray(upright.getchannel("A"), dtype=np.float32) / 255
        colours = upright.convert("RGB")
    else:
        colours = upright
    colours = _to_srgb(colours, image.info.get("icc_profile"))
    return np.asarray(colours.convert("RGB"), dtype=np.float32) / 255, alpha


def _from_deep(grey: np.ndarray) -> np.ndarray:
    """16-bit and float greys (H, W): the largest value says which of the usual ranges it is."""
    top = float(grey.max(initial=0))
    if grey.dtype.kind == "f":
        full = 1.0 if top <= 1 else 255.0 if top <= 255 else 65535.0
    else:
        full = 65535.0
    scaled = np.clip(grey.astype(np.float32) / full, 0, 1)
    return np.repeat(scaled[..., None], 3, axis=2)


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """`image` taken from its embedded colour profile to sRGB; as it is if it has none, or one that does not fit it."""
    if not profile:
        return image
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        target = ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(image, source, target, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError):
        return image  # a broken profile says nothing: the pixels are taken as sRGB, as every viewer does
    return converted if converted is not None else image


def _from_array(array: np.ndarray | torch.Tensor) -> tuple[np.ndarray, np.ndarray | None]:
    """(H, W, 3) and alpha or None from an array (H, W[, 1, 3 or 4]) or a tensor ([1,] 1, 3 or 4, H, W)."""
    if isinstance(array, torch.Tensor):
        tensor = array.detach().cpu()
        tensor = tensor[0] if tensor.ndim == 4 and tensor.shape[0] == 1 else tensor
        values = tensor.permute(1, 2, 0).numpy() if tensor.ndim == 3 else tensor.numpy()
    else:
        values = np.asarray(array)
    values = values[..., None] if values.ndim == 2 else values
    if values.ndim != 3 or values.shape[2] not in (1, 3, 4):
        raise PictureError(f"an array of shape {tuple(array.shape)} is not a picture: (H, W, 3) or a tensor (3, H, W)", array.shape)
    if values.dtype.kind in "ui":
        full = np.iinfo(values.dtype).max if values.dtype.itemsize <= 2 else 255
        values = values.astype(np.float32) / full
    elif values.dtype.kind == "b":
        values = values.astype(np.float32)
    values = values.astype(np.float32)
    low, high = float(values.min(initial=0)), float(values.max(initial=0))
    if not (np.isfinite(values).all() and low >= -1e-3 and high <= 1 + 1e-3):
        raise PictureError(f"a float picture has values from {low:g} to {high:g}: they must be in [0, 1]", (low, high))
    values = values.clip(0, 1)
    alpha = values[..., 3] if values.shape[2] == 4 else None
    colours = values[..., :3] if values.shape[2] >= 3 else np.repeat(values, 3, axis=2)
    return colours, alpha


def resize(pixels: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """`pixels` (B, C, H, W) at height x width: bicubic, antialiased when it shrinks, kept in [0, 1]."""
    if pixels.shape[2:] == (height, width):
        return pixels
    return F.interpolate(pixels, size=(height, width), mode="bicubic", antialias=True).clamp(0, 1)


def to_image(pixels: torch.Tensor, alpha: torch.Tensor | None = None) -> Image.Image:
    """An 8-bit RGB(A) image of `pixels` (1, 3, H, W) in [0, 1] and `alpha` (1, 1, H, W)."""
    both = pixels.detach() if alpha is None else torch.cat([pixels.detach(), alpha.to(pixels)], 1)
    values = both[0].clamp(0, 1).mul(255).round().byte().permute(1, 2, 0).cpu().contiguous()
    return Image.fromarray(values.numpy())


def check_output(path: str | PathLike[str]) -> Path:
    """`path`, if a picture can be written there; nothing is left behind. Raises OutputError."""
    out = Path(path)
    suffix = out.suffix.lower()
    if out.is_dir():
        raise OutputError(f"{out} is a folder: give the picture a name, as {out / 'painting.png'}", str(out))
    if suffix not in FORMATS:
        raise OutputError(f"{out} has no picture's suffix: choose from {', '.join(FORMATS)}", suffix, list(FORMATS))
    if FORMATS[suffix][0] == "HEIF":
        _register_heif(OutputError)
    elif FORMATS[suffix][0] == "AVIF" and not features.check("avif"):
        raise OutputError("this Pillow was built without AVIF: choose .png, .jpg or .webp", suffix)
    if not out.parent.is_dir():
        raise OutputError(f"no folder {out.parent} to write {out.name} into", str(out.parent))
    part = _part(out)
    try:
        part.touch()
        part.unlink()
        if out.exists() and not os.access(out, os.W_OK):
            raise PermissionError(13, "Permission denied")
    except OSError as error:
        raise OutputError(f"cannot write {out}: {error.strerror or error}", str(out)) from error
    return out


def _part(out: Path) -> Path:
    return out.with_name(f".{out.name}.{os.getpid()}.part")


def write(image: Image.Image, path: str | PathLike[str], settings: dict[str, Any] | None = None) -> Path:
    """Write `image` with `settings` inside (formats that can); the file appears whole or not at all.

    Where the format has no alpha the picture is laid on white. Raises OutputError.
    """
    out = check_output(path)
    kind, options = FORMATS[out.suffix.lower()]
    if image.mode == "RGBA" and kind not in WITH_ALPHA:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image).convert("RGB")
    part = _part(out)
    try:
        with part.open("wb") as file:
            image.save(file, format=kind, **options, **_carrying(kind, settings))
        os.replace(part, out)
    except OSError as error:
        raise OutputError(f"cannot write {out}: {error.strerror or error}", str(out)) from error
    finally:
        part.unlink(missing_ok=True)
    return out


def _carrying(kind: str, settings: dict[str, Any] | None) -> dict[str, Any]:
    """The save options that put `settings` into a file of this kind; BMP can carry nothing."""
    if not settings or kind == "BMP":
        return {}
    text = json.dumps(settings, sort_keys=True)
    if kind == "PNG":
        info = PngImagePlugin.PngInfo()
        info.add_text(KEY, text)
        return {"pnginfo": info}
    if kind == "GIF":
        return {"comment": text.encode()}
    exif = Image.Exif()
    exif[ExifTags.Base.ImageDescription] = text
    exif[ExifTags.Base.Software] = f"impasto {settings.get('version', '')}".strip()
    return {"exif": exif}


def read_settings(path: str | PathLike[str]) -> dict[str, Any]:
    """The settings that a painting's file carries. Raises PictureError if it has none."""
    file = Path(path)
    data = _bytes_of(file)
    try:
        with Image.open(io.BytesIO(data)) as image:
            comment = image.info.get("comment", b"")
            text = image.info.get(KEY) or image.getexif().get(ExifTags.Base.ImageDescription) or comment
    except (OSError, SyntaxError, ValueError):
        raise PictureError(f"{file} is not a picture that can be read", str(file)) from None
    try:
        settings = json.loads(text)
        if settings["program"] != "impasto":
            raise KeyError
    except (TypeError, ValueError, KeyError):
        raise PictureError(f"{file} carries no settings: it was not painted by impasto, or was saved anew since", str(file)) from None
    return dict(settings)
