"""Find which values of deep pictures are black and white: 12 bits in 16, signed, floats."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

__all__ = ["Range", "unit", "value_range"]

DEPTHS = (8, 10, 12, 14, 16, 24, 32, 64)  # bits that cameras, scanners and microscopes have
EXACT = range(9, 16)  # a picture whose largest value is all ones has exactly so many bits
OVERSHOOT = 0.1  # of floats below 0 or above the range: ringing of a filter, which is cut
# of floats, by their largest value: some are 8 to 16 bits that were only converted
FLOAT_RANGES = (1.0, 255.0, 1023.0, 4095.0, 16383.0, 65535.0)
HDR_MEAN = 2.0  # floats above 1 whose mean is below it are light, not 8 or 16 bits


class Range(NamedTuple):
    """The values of black and white. note: how that was found, if it needs saying."""

    low: float
    high: float
    note: str = ""


def value_range(
    dtype: np.dtype[Any],
    low: float,
    top: float,
    mean: float,
    stated: tuple[float, float] | None = None,
) -> Range:
    """Find the range that the values of a picture's colors are in.

    Args:
        dtype: of the values: whole numbers or floats of any size.
        low, top, mean: the least, the largest, and the mean of the values.
        stated: the least and largest value that the file says there can be.

    Raises:
        ValueError: some are not numbers.
    """
    if not (np.isfinite(low) and np.isfinite(top) and np.isfinite(mean)):
        raise ValueError("it has pixels that are not numbers")
    if stated is not None and not stated[0] < stated[1]:
        stated = None
    if dtype.kind == "f":
        return _of_floats(low, top, mean, stated)
    bits = 8 * dtype.itemsize
    if stated is not None:
        top = max(top, stated[1])
        used = float(np.log2(stated[1] + 1))
        if dtype.kind == "u" and top == stated[1] and used.is_integer() and used < bits:
            note = f"its {bits}-bit values are read as {used:.0f} bits, as it says"
            return Range(0, top, note)
    if dtype.kind == "i":
        return _of_signed(low, top, bits)
    depth = _depth(top, bits)
    if depth == bits or top == 0:
        return Range(0, 2.0**bits - 1)
    note = f"its {bits}-bit values go up to {top:,.0f} and are read as {depth} bits"
    return Range(0, 2.0**depth - 1, note)


def _depth(top: float, bits: int) -> int:
    exact = int(top + 1).bit_length() - 1
    if exact in EXACT and exact < bits and top + 1 == 2**exact:
        return exact
    return next((depth for depth in DEPTHS if top < 2**depth and depth < bits), bits)


def _of_signed(low: float, top: float, bits: int) -> Range:
    if low >= 0:
        depth = min(_depth(top, bits), bits - 1)
        return Range(0, 2.0**depth - 1, f"its signed values are read as 0 to {2**depth - 1:,}")
    depth = min(_depth(2 * max(-low - 1, top), bits), bits)
    half = 2.0 ** (depth - 1)
    return Range(-half, half - 1, f"its signed values are read as {-half:,.0f} to {half - 1:,.0f}")


def _of_floats(low: float, top: float, mean: float, stated: tuple[float, float] | None) -> Range:
    if stated is not None and stated[0] <= low and top <= stated[1]:
        return Range(*stated, f"its values are read as {stated[0]:g} to {stated[1]:g}, as it says")
    high = next((high for high in FLOAT_RANGES if top <= (1 + OVERSHOOT) * high), top)
    if low < -OVERSHOOT * high:
        if -low <= (1 + OVERSHOOT) * high and high == 1:
            low, high = -1.0, 1.0
        else:
            high = top if top > low else low + 1
        return Range(low, high, f"its values are read as {low:g} to {high:g}")
    if high > 1 and mean < HDR_MEAN:
        return Range(0, 1, f"its values go up to {top:g}: what is brighter than 1, white, is cut")
    note = "" if high == 1 else f"its values are read as 0 to {high:g}"
    return Range(0, high, note)


def unit(values: np.ndarray, found: Range) -> np.ndarray:
    """Scale values to [0, 1], float32; what is outside the range is cut."""
    small = values.dtype.itemsize <= 2 or values.dtype == np.float32
    dtype = np.float32 if small else np.float64  # 32 bits hold 16 exactly
    scaled: np.ndarray = np.subtract(values, found.low, dtype=dtype)
    np.divide(scaled, found.high - found.low, out=scaled)
    return np.clip(scaled, 0, 1, out=scaled).astype(np.float32, copy=False)
