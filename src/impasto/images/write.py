"""Write picture files atomically, with the settings inside."""

from __future__ import annotations

import io
import os
from collections.abc import Collection
from os import PathLike
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple

import numpy as np
import torch
from PIL import Image, features

from impasto.errors import OutputError, did_you_mean, reason
from impasto.images.atomic import atomic_write, partial_path, remove_pieces
from impasto.images.deep import DEEP, write_png, write_tiff
from impasto.images.formats import register_heif
from impasto.images.metadata import (
    KEY,
    NOTHING,
    Kept,
    Metadata,
    exif_of,
    save_options,
    settings_text,
    srgb_profile,
)

__all__ = [
    "DEFAULT_OPTIONS",
    "FIGURES",
    "FORMATS",
    "FileOptions",
    "check_depth",
    "check_format",
    "check_output",
    "encode",
    "suffix_of",
    "to_image",
    "write",
]

# The format and options of each suffix; the options decide the bytes, so they are fixed here.
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
PDF: tuple[str, dict[str, Any]] = (
    "PDF",
    {"quality": 95, "resolution": 150, "creationDate": None, "modDate": None},
)
FIGURES = (*FORMATS, ".pdf")
WITH_ALPHA = {"PNG", "WEBP", "TIFF", "AVIF", "HEIF"}
DEPTHS = (8, 16)  # bits of a sample


class FileOptions(NamedTuple):
    """How a painting's file is written: bits a sample, and what is kept of the content's file."""

    depth: Literal[8, 16] = 8
    metadata: Kept = "basic"


DEFAULT_OPTIONS = FileOptions()


def to_image(pixels: torch.Tensor, alpha: torch.Tensor | None = None) -> Image.Image:
    """Convert `pixels` (1, 3, H, W) in [0, 1] and `alpha` (1, 1, H, W) to an 8-bit RGB(A) image."""
    both = pixels.detach() if alpha is None else torch.cat([pixels.detach(), alpha.to(pixels)], 1)
    values = both[0].clamp(0, 1).mul(255).round().byte().permute(1, 2, 0).cpu().contiguous()
    return Image.fromarray(values.numpy())


def check_output(
    path: str | PathLike[str], suffixes: Collection[str] = FORMATS, what: str = "picture"
) -> Path:
    """Check that a file can be written at `path`, without leaving anything behind.

    Args:
        path: of the file.
        suffixes: those that are allowed.
        what: the kind of file, for errors.

    Returns:
        The path.

    Raises:
        OutputError: a folder, another suffix, or no permission.
    """
    out = Path(path)
    try:
        if out.is_dir():
            example = out / f"{what}{next(iter(suffixes))}"
            raise OutputError(f"{out} is a folder: give the {what} a name, as {example}", str(out))
        check_format(out, suffixes, what)
        if not out.parent.is_dir():
            raise OutputError(f"no folder {out.parent} to write {out.name} into", str(out.parent))
        remove_pieces(out)
        part = partial_path(out)
        part.touch()
        part.unlink()
        if out.exists() and not os.access(out, os.W_OK):
            raise PermissionError(13, "Permission denied")
    except (OSError, ValueError) as error:
        raise OutputError(f"cannot write {out}: {reason(error)}", str(out)) from error
    return out


def check_format(out: Path, suffixes: Collection[str] = FORMATS, what: str = "picture") -> None:
    """Check that the suffix of `out` is a format that this installation can write. Raises
    OutputError."""
    suffix = out.suffix.lower()
    if suffix not in suffixes:
        raise OutputError(
            f"{out} has no {what}'s suffix: choose from {', '.join(suffixes)}",
            suffix,
            list(suffixes),
        )
    kind = FORMATS.get(suffix, ("",))[0]
    if kind == "HEIF":
        register_heif(OutputError)
    elif kind == "AVIF" and not features.check("avif"):
        raise OutputError("this Pillow was built without AVIF: choose .png, .jpg or .webp", suffix)


def check_depth(path: str | PathLike[str], depth: int) -> None:
    """Check that a file of this suffix can have `depth` bits a sample. Raises OutputError."""
    suffix = Path(path).suffix.lower()
    if depth not in DEPTHS:
        raise OutputError(f"a depth of {depth} bits is not written: choose 8 or 16", depth, DEPTHS)
    if depth == 16 and suffix not in DEEP:
        raise OutputError(
            f"{path} cannot have 16 bits: choose {', '.join(DEEP)} for --depth 16", suffix, DEEP
        )


def write(
    image: Image.Image | np.ndarray,
    path: str | PathLike[str],
    settings: dict[str, Any] | None = None,
    metadata: Metadata = NOTHING,
    suffixes: Collection[str] = FORMATS,
) -> Path:
    """Write `image` atomically, with `settings` and `metadata` inside if the format can hold them.

    Args:
        image: 8 bits, or uint16 (H, W, 3 or 4) for 16. If the format has no alpha, the background
            is white.
        path: of the file.
        settings, metadata: what is written into the file.
        suffixes: those that are allowed; FIGURES has .pdf too.

    Raises:
        OutputError: the file cannot be written.
    """
    out = check_output(path, suffixes)
    with atomic_write(out) as part, part.open("wb") as file:
        _save(image, file, out.suffix, settings, metadata)
    return out


def suffix_of(format: str) -> str:
    """Return the suffix of a format's name: ".jpg" for "JPEG". Raises OutputError."""
    suffix = f".{format.lower().removeprefix('.')}"
    if suffix not in FORMATS:
        names = [each[1:] for each in FORMATS]
        raise OutputError(f"no format {format!r}: {did_you_mean(format, names)}", format, names)
    return suffix


def encode(
    image: Image.Image | np.ndarray,
    suffix: str,
    settings: dict[str, Any] | None = None,
    metadata: Metadata = NOTHING,
) -> bytes:
    """Encode `image` as a file's bytes, as `write` does. Raises OutputError if the format cannot
    hold it."""
    check_format(Path(f"picture{suffix}"))
    data = io.BytesIO()
    try:
        _save(image, data, suffix, settings, metadata)
    # encoders raise the latter two for pictures that are too large
    except (OSError, ValueError, RuntimeError) as error:
        raise OutputError(
            f"a {suffix} cannot hold this picture: {reason(error)}", suffix
        ) from error
    return data.getvalue()


def _save(
    image: Image.Image | np.ndarray,
    file: IO[bytes],
    suffix: str,
    settings: dict[str, Any] | None,
    metadata: Metadata,
) -> None:
    kind, options = FORMATS.get(suffix.lower(), PDF)
    if isinstance(image, np.ndarray):
        check_depth(f"picture{suffix}", 16)
        _save_deep(image, file, kind, settings, metadata)
        return
    if image.mode == "RGBA" and kind not in WITH_ALPHA:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image).convert("RGB")
    if kind == "TIFF" and (metadata.exif or metadata.gps):
        _save_deep(np.asarray(image), file, kind, settings, metadata)
        return
    image.save(file, format=kind, **options, **save_options(kind, settings, metadata))


def _save_deep(
    samples: np.ndarray,
    file: IO[bytes],
    kind: str,
    settings: dict[str, Any] | None,
    metadata: Metadata,
) -> None:
    profile = srgb_profile() if metadata.profile else None
    if kind == "TIFF":
        write_tiff(file, samples, exif_of(settings, metadata), metadata.dpi, profile)
        return
    text = (KEY.encode(), settings_text(settings).encode()) if settings else None
    exif = exif_of(None, metadata)
    packed = exif.tobytes().removeprefix(b"Exif\0\0") if len(exif) else b""
    write_png(file, samples, text, packed, metadata.dpi, profile)
