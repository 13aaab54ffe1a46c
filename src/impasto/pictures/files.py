"""Read and write picture files, with the settings inside; nothing broken gets in, nothing half-written stays."""

from __future__ import annotations

import hashlib
import json
import os
import threading
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import ExifTags, Image, PngImagePlugin, UnidentifiedImageError, features

from impasto.errors import OutputError, PictureError
from impasto.pictures.decode import from_array, from_image, opened

__all__ = [
    "FORMATS",
    "SMALLEST",
    "Picture",
    "Source",
    "check_output",
    "read",
    "read_bytes",
    "read_settings",
    "resize",
    "settings_in",
    "to_image",
    "whole",
    "write",
]

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
ONE_AT_A_TIME = threading.RLock()  # what is ignored is the process's, and threads would leave it to one another
KEY = "impasto"  # of the settings in a PNG's text; elsewhere they are the EXIF's image description
RECORD = {"program", "version", "config", "inputs", "steps_done"}  # what `Painting.settings` always holds


class Picture(NamedTuple):
    """A picture as the painter wants it.

    pixels: (1, 3, H, W) float32 sRGB in [0, 1]. alpha: (1, 1, H, W) likewise, or None if the picture is opaque.
    name: where it came from. sha256: of the file, or of the array's bytes.
    """

    pixels: torch.Tensor
    alpha: torch.Tensor | None
    name: str
    sha256: str


Source = str | PathLike[str] | Image.Image | np.ndarray | torch.Tensor | Picture


def read(source: Source) -> Picture:
    """A picture from a path, a PIL image, an array (H, W), (H, W, 3 or 4), a tensor ((1,) 3, H, W), or as it is.

    Whole numbers are 0 to 255, or 0 to 65535 in uint16; floats are in [0, 1]. Files are turned upright (EXIF), taken
    from their colour profile to sRGB, and transparent pixels get the mean colour of the opaque ones.
    Raises PictureError, in one line, for anything that cannot be read or is smaller than 16 x 16.
    """
    if isinstance(source, Picture):
        return source
    if isinstance(source, (str, PathLike)):
        return read_bytes(_bytes_of(Path(source)), str(source))
    if isinstance(source, Image.Image):
        with _decoding("image"):
            pixels, alpha = from_image(source)
        name, digest = "image", hashlib.sha256(pixels.tobytes()).hexdigest()
    else:
        pixels, alpha = from_array(source)
        name, digest = "array", hashlib.sha256(pixels.tobytes()).hexdigest()
    return _picture(pixels, alpha, name, digest)


def read_bytes(data: bytes, name: str, most: int | None = None) -> Picture:
    """A picture from the bytes of its file, as `read` has it; errors call it `name`.

    most: pixels; a picture with more is refused before it is decoded. Raises PictureError.
    """
    _check_bytes(data, name)
    with _decoding(name), opened(data) as image:
        if most is not None and image.width * image.height > most:
            size = f"{image.width} x {image.height} pixels"
            raise PictureError(f"{name} has {size}, more than {most:,}: scale it down first", image.size)
        pixels, alpha = from_image(image)
    return _picture(pixels, alpha, name, hashlib.sha256(data).hexdigest())


def _picture(pixels: np.ndarray, alpha: np.ndarray | None, name: str, digest: str) -> Picture:
    """The picture of pixels (H, W, 3) and alpha (H, W)."""
    height, width = pixels.shape[:2]
    if min(height, width) < SMALLEST:
        raise PictureError(
            f"{name} is {width} x {height} pixels: at least {SMALLEST} x {SMALLEST} are needed", (width, height)
        )
    if alpha is not None and alpha.min() >= 1:
        alpha = None
    if alpha is not None:
        seen = alpha[..., None]
        mean = (pixels * seen).sum((0, 1)) / max(float(seen.sum()), 1e-6)
        pixels = pixels * seen + mean.astype(np.float32) * (1 - seen)
    tensor = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))[None]
    return Picture(tensor, None if alpha is None else torch.from_numpy(alpha.copy())[None, None], name, digest)


@contextmanager
def _decoding(name: str) -> Iterator[None]:
    """Turns whatever goes wrong inside with the picture `name` into one PictureError."""
    try:
        with ONE_AT_A_TIME, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a large picture is the user's choice; a bomb is still an error
            yield
    except Image.DecompressionBombError:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        raise PictureError(f"{name} has more than {limit:,} pixels: scale it down first", name) from None
    except UnidentifiedImageError:
        raise PictureError(f"{name} is not a picture that can be read", name) from None
    except (MemoryError, PictureError):
        raise
    except Exception as error:  # every format has its own decoder, which raises whatever it likes on broken bytes
        reason = " ".join(str(error).split()) or "it is broken"
        raise PictureError(f"{name} cannot be read as a picture: {reason}", name) from error


def _bytes_of(path: Path) -> bytes:
    """The file's bytes, or a PictureError that says which of the usual things is wrong with the path."""
    try:
        if path.is_dir():
            raise PictureError(f"{path} is a folder: give a picture in it", str(path))
        return path.read_bytes()
    except FileNotFoundError:
        raise PictureError(f"no picture at {path}", str(path)) from None
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        raise PictureError(f"{path} cannot be opened: {_reason(error)}", str(path)) from error


def _check_bytes(data: bytes, name: str) -> None:
    """Whether there is anything to decode, and a decoder for it."""
    if not data:
        raise PictureError(f"{name} is empty", name)
    if name.lower().endswith((".heic", ".heif")) or data[4:10] == b"ftyphe":  # telephones send HEIC as .jpg too
        _register_heif(PictureError)


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _register_heif(kind: type[PictureError] | type[OutputError]) -> None:
    try:
        import pillow_heif  # an extra
    except ImportError:
        raise kind("HEIC needs an extra: pip install 'impasto[heif]'") from None
    pillow_heif.register_heif_opener()


def resize(pixels: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """`pixels` (B, C, H, W) at height x width, kept in [0, 1], on the same device; no gradient flows.

    Lanczos's filter (Pillow's, in float32): it keeps more of a painting's finest grain than bicubic does.
    """
    if pixels.shape[2:] == (height, width):
        return pixels
    planes = pixels.detach().float().cpu().flatten(0, 1).numpy()  # (B C, H, W)
    scaled = [np.asarray(Image.fromarray(each).resize((width, height), Image.Resampling.LANCZOS)) for each in planes]
    return torch.from_numpy(np.stack(scaled)).view(*pixels.shape[:2], height, width).clamp(0, 1).to(pixels)


def to_image(pixels: torch.Tensor, alpha: torch.Tensor | None = None) -> Image.Image:
    """An 8-bit RGB(A) image of `pixels` (1, 3, H, W) in [0, 1] and `alpha` (1, 1, H, W)."""
    both = pixels.detach() if alpha is None else torch.cat([pixels.detach(), alpha.to(pixels)], 1)
    values = both[0].clamp(0, 1).mul(255).round().byte().permute(1, 2, 0).cpu().contiguous()
    return Image.fromarray(values.numpy())


def check_output(path: str | PathLike[str], suffixes: Collection[str] = FORMATS, what: str = "picture") -> Path:
    """`path`, if `what` can be written there, with such a suffix; nothing is left behind. Raises OutputError."""
    out = Path(path)
    suffix = out.suffix.lower()
    try:
        if out.is_dir():
            example = out / f"{what}{next(iter(suffixes))}"
            raise OutputError(f"{out} is a folder: give the {what} a name, as {example}", str(out))
        _check_format(out, suffix, suffixes, what)
        if not out.parent.is_dir():
            raise OutputError(f"no folder {out.parent} to write {out.name} into", str(out.parent))
        part = _part(out)
        part.touch()
        part.unlink()
        if out.exists() and not os.access(out, os.W_OK):
            raise PermissionError(13, "Permission denied")
    except (OSError, ValueError) as error:
        raise OutputError(f"cannot write {out}: {_reason(error)}", str(out)) from error
    return out


def _check_format(out: Path, suffix: str, suffixes: Collection[str], what: str) -> None:
    if suffix not in suffixes:
        raise OutputError(f"{out} has no {what}'s suffix: choose from {', '.join(suffixes)}", suffix, list(suffixes))
    kind = FORMATS.get(suffix, ("",))[0]
    if kind == "HEIF":
        _register_heif(OutputError)
    elif kind == "AVIF" and not features.check("avif"):
        raise OutputError("this Pillow was built without AVIF: choose .png, .jpg or .webp", suffix)


def _part(out: Path) -> Path:
    return out.with_name(f".{out.name}.{os.getpid()}-{threading.get_ident()}.part")


def write(image: Image.Image, path: str | PathLike[str], settings: dict[str, Any] | None = None) -> Path:
    """Write `image` with `settings` inside (formats that can); the file appears whole or not at all.

    Where the format has no alpha the picture is laid on white. Raises OutputError.
    """
    out = check_output(path)
    kind, options = FORMATS[out.suffix.lower()]
    if image.mode == "RGBA" and kind not in WITH_ALPHA:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image).convert("RGB")
    with whole(out) as part, part.open("wb") as file:
        image.save(file, format=kind, **options, **_carrying(kind, settings))
    return out


@contextmanager
def whole(out: Path, durable: bool = False) -> Iterator[Path]:
    """A path beside `out` to write to; what lies there then takes the place of `out`, or of nothing if that failed.

    durable: also after a power cut. Raises OutputError for what goes wrong with the file inside.
    """
    part = _part(out)
    try:
        yield part
        if durable:
            _sync(part)
        os.replace(part, out)
        if durable:
            _sync(out.parent)
    except (OSError, ValueError, RuntimeError) as error:  # encoders raise the latter two, for too large a picture
        raise OutputError(f"cannot write {out}: {_reason(error)}", str(out)) from error
    finally:
        part.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Wait until a file, or a folder's list of names, is on the disk."""
    if os.name == "nt" and path.is_dir():
        return  # a folder cannot be opened there
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


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
    return settings_in(_bytes_of(Path(path)), str(path))


def settings_in(data: bytes, name: str) -> dict[str, Any]:
    """The settings that the bytes of a painting's file carry; errors call it `name`. Raises PictureError."""
    _check_bytes(data, name)
    with _decoding(name), opened(data) as image:
        comment = image.info.get("comment", b"")
        text = image.info.get(KEY) or image.getexif().get(ExifTags.Base.ImageDescription) or comment
    try:
        settings = json.loads(text)
        known = settings["program"] == "impasto" and settings.keys() >= RECORD
        if not (known and isinstance(settings["config"], dict)):
            raise KeyError
        for each in settings["inputs"]:
            _ = each["role"], each["name"] + each["sha256"]  # text, both
    except (TypeError, ValueError, KeyError, AttributeError):
        raise PictureError(
            f"{name} carries no settings: it was not painted by impasto, or was saved anew since", name
        ) from None
    return dict(settings)
