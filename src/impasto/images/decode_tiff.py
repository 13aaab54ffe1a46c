"""Decode pages of TIFF files that Pillow does not read, or reads wrongly, into sRGB and alpha."""

from __future__ import annotations

import numpy as np
from PIL import Image

from impasto.images.decode import Decoded, from_profile, from_unit, shrink_factor, upright
from impasto.images.ranges import Range, unit, value_range
from impasto.images.tiff import CMYK, LAB, WHITE_IS_ZERO, KindError, Samples, TiffPicture

__all__ = ["from_tiff"]

LAB_BYTES = (1, 2)  # of a sample of Lab that is read


def from_tiff(picture: TiffPicture, enough: int | None = None) -> Decoded:
    """Decode a page of a TIFF file that Pillow does not read, or reads wrongly.

    Args:
        picture: the page.
        enough: pixels of a side that will be used, as for `from_image`.

    Raises:
        KindError: it is of a kind that is not read.
    """
    width, height = picture.size
    samples = picture.samples(shrink_factor((height, width), enough))
    notes = [picture.note]
    if samples.unused:
        count = picture.page.samplesperpixel
        used = count - samples.unused
        which = "the first" if used == 1 else f"the first {used}"
        notes.append(f"only {which} of its {count} channels {'is' if used == 1 else 'are'} used")
    _check_missing(samples, picture.missing)
    found = _range_of(samples)
    alpha = _opacity(samples, found.high)
    if samples.photometric == LAB:
        pixels = _from_deep_lab(samples, picture)
    else:
        notes.append(found.note)
        values = unit(samples.values, found)
        if samples.premultiplied and alpha is not None:
            values = (values / np.maximum(alpha, 1e-6)[..., None]).clip(0, 1)
        if samples.photometric == CMYK:
            inks = (values * 255).round().astype(np.uint8)
            pixels = from_profile(_image_of(inks, "CMYK"), picture.profile)
        else:
            values = 1 - values if samples.photometric == WHITE_IS_ZERO else values
            pixels = from_unit(values, picture.profile)
    return upright(pixels, alpha, (height, width), picture.orientation, notes)


def _check_missing(samples: Samples, missing: float | None) -> None:
    """Raise KindError if the least or the largest value stands for none. 8 bits are colors."""
    ends = samples.low, samples.top
    if missing is None or samples.dtype.itemsize == 1 or not np.isclose(missing, ends, 1e-6).any():
        return
    raise KindError(f"a map with missing values ({missing:g}): fill them, and save it as PNG")


def _range_of(samples: Samples) -> Range:
    """The range that the colors of a TIFF page are in."""
    if samples.bits < 8 * samples.dtype.itemsize:
        return Range(0, 2.0**samples.bits - 1)
    mean = float(samples.values.mean(dtype=np.float64))
    return value_range(samples.dtype, samples.low, samples.top, mean, samples.stated)


def _opacity(samples: Samples, high: float) -> np.ndarray | None:
    """The alpha of a TIFF page, (H, W) in [0, 1], or None.

    high: the value of white. Alpha has the range of the colors, unless it has larger values; that
    of floats is in [0, 1], unless it has larger ones.
    """
    if samples.alpha is None:
        return None
    top = float(samples.alpha.max(initial=0))
    floats = samples.dtype.kind == "f"
    full = 1.0 if floats else float(np.iinfo(samples.dtype).max)
    if top > full if floats else top <= high:
        full = high
    scaled: np.ndarray = np.clip(samples.alpha / full, 0, 1).astype(np.float32)
    return scaled


def _from_deep_lab(samples: Samples, picture: TiffPicture) -> np.ndarray:
    """sRGB (H, W, 3) of CIE Lab with 8 or 16 bits: L is unsigned, a and b are signed (TIFF 6.0,
    section 23); of each the high byte is used."""
    if samples.dtype.itemsize not in LAB_BYTES or samples.dtype.kind == "f":
        raise picture.refused()
    high = samples.values.astype(np.int64) >> 8 * (samples.dtype.itemsize - 1)
    return from_profile(_image_of((high & 0xFF).astype(np.uint8), "LAB"), None)


def _image_of(values: np.ndarray, mode: str) -> Image.Image:
    height, width = values.shape[:2]
    return Image.frombytes(mode, (width, height), np.ascontiguousarray(values).tobytes())
