"""Read the kinds of Netpbm files that Pillow does not: PAM, and PFM in color."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from impasto.images.decode import Decoded, shrink_factor
from impasto.images.ranges import Range, unit, value_range

__all__ = ["NetpbmPicture", "is_netpbm", "opened_netpbm"]

# netpbm.sourceforge.net/doc/pfm.html, pam.html
COLOR_PFM = re.compile(rb"PF\s+(\d+)\s+(\d+)\s+(\S+)\s")
PAM = re.compile(rb"P7\s*\n(.*?)ENDHDR\s*?\n", re.DOTALL)
TUPLES = {"BLACKANDWHITE", "GRAYSCALE", "RGB"}
TUPLES |= {f"{kind}_ALPHA" for kind in TUPLES}
LONGEST_HEADER = 4096  # bytes
COLORS = {1: 1, 2: 1, 3: 3, 4: 3}  # of so many channels; one more is alpha


class NetpbmPicture(NamedTuple):
    """The header of a file, and its pixels.

    size: width and height. channels, dtype: of a pixel, and its values. high: the value of white;
    None: of floats, see `value_range`. rows: the pixels' bytes, from the first row on.
    """

    size: tuple[int, int]
    channels: int
    dtype: np.dtype[Any]
    high: int | None
    rows: memoryview

    @property
    def most_pixels(self) -> float:
        """The most pixels that the file's bytes can hold."""
        return len(self.rows) / (self.channels * self.dtype.itemsize)

    def decoded(self, enough: int | None = None) -> Decoded:
        """Decode it, scaled down by a whole factor, as `from_image` does."""
        width, height = self.size
        count = width * height * self.channels
        values = np.frombuffer(self.rows, self.dtype, count).reshape(height, width, self.channels)
        colors = COLORS[self.channels]
        found = Range(0, self.high or 1)
        if self.high is None:
            values = values[::-1]  # PFM begins with the lowest row
            low, top = float(values.min()), float(values.max())
            found = value_range(values.dtype, low, top, float(values.mean(dtype=np.float64)))
        scaled = unit(values, found)
        if (factor := shrink_factor((height, width), enough)) > 1:
            planes = np.moveaxis(scaled, 2, 0)
            reduced = [Image.fromarray(np.ascontiguousarray(p)).reduce(factor) for p in planes]
            scaled = np.stack([np.asarray(plane) for plane in reduced], 2)
        pixels = scaled[..., :colors]
        alpha = scaled[..., colors] if self.channels > colors else None
        pixels = np.repeat(pixels, 3, axis=2) if colors == 1 else pixels
        return Decoded(pixels, alpha, (height, width), (found.note,) if found.note else ())


def is_netpbm(data: bytes) -> bool:
    """Whether these are the bytes of a PAM, or of a PFM in color."""
    return data[:2] in (b"PF", b"P7") and data[2:3].isspace()


def opened_netpbm(data: bytes) -> NetpbmPicture:
    """Read the header. Raises ValueError if it is broken."""
    head = data[:LONGEST_HEADER]
    dtype: np.dtype[Any]
    if found := COLOR_PFM.match(head):
        width, height, scale = int(found[1]), int(found[2]), float(found[3])
        channels, high, dtype = 3, None, np.dtype("<f4" if scale < 0 else ">f4")
    elif found := PAM.match(head):
        fields = dict(line.split()[:2] for line in found[1].splitlines() if len(line.split()) > 1)
        kind = fields.get(b"TUPLTYPE", b"RGB").decode("latin-1")
        if kind not in TUPLES:
            raise ValueError(f"its colors are {kind}: save it as RGB")
        names = (b"WIDTH", b"HEIGHT", b"DEPTH", b"MAXVAL")
        width, height, channels, high = (int(fields.get(name, 0)) for name in names)
        dtype = np.dtype(">u2" if high > 255 else "u1")
    else:
        raise ValueError("its header is broken")
    if channels not in COLORS or width < 1 or height < 1 or high == 0 or (high or 1) > 65535:
        raise ValueError("its header is broken")
    return NetpbmPicture((width, height), channels, dtype, high, memoryview(data)[found.end() :])
