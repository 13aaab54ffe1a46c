"""Convert pixels from the colors that a file states in numbers to sRGB.

PNG states them in cICP, or gAMA and cHRM, AVIF and HEIF in nclx. Color profiles (ICC) are another
thing: littleCMS converts those.
"""

from __future__ import annotations

from contextlib import suppress
from typing import NamedTuple

import numpy as np

__all__ = ["ColorTags", "from_codes", "from_gamma", "to_srgb"]

Primaries = tuple[float, ...]  # x and y of white, red, green and blue
D65 = (0.3127, 0.3290)
SRGB = (*D65, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
# ITU-T H.273 (07/2024), table 2
PRIMARIES: dict[int, Primaries] = {
    1: SRGB,
    4: (0.310, 0.316, 0.67, 0.33, 0.21, 0.71, 0.14, 0.08),
    5: (*D65, 0.64, 0.33, 0.29, 0.60, 0.15, 0.06),
    6: (*D65, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070),
    7: (*D65, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070),
    8: (0.310, 0.316, 0.681, 0.319, 0.243, 0.692, 0.145, 0.049),
    9: (*D65, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046),
    11: (0.314, 0.351, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
    12: (*D65, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
    22: (*D65, 0.630, 0.340, 0.295, 0.605, 0.155, 0.077),
}
# the same, table 3; the curves of television (1, 6, 14, 15) are shown as sRGB's, as browsers do
GAMMAS = {4: 2.2, 5: 2.8, 8: 1.0, 17: 2.6}
PQ, HLG = 16, 18
NAMES = {PQ: "PQ", HLG: "HLG"}
WHITE = 203.0  # cd/m^2 of paper white in HDR pictures (ITU-R BT.2408, section 2.2)
KNEE = 0.8  # of white: brighter HDR light is compressed
ROWS = 256  # converted at a time
GAMMAS_OF_PNG = 0.05, 20.0  # other exponents are errors
# the black and white of studio video (ITU-R BT.601), of 255
STUDIO_BLACK, STUDIO_WHITE = 16 / 255, 235 / 255
# Bradford's cone responses (ICC.1:2022, annex E)
BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)


class ColorTags(NamedTuple):
    """The colors of a file. gamma: the exponent that makes its values light; None: sRGB's curve.

    hdr: PQ or HLG, in place of a gamma; 0: neither. narrow: whether black and white are those of
    studio video, 16 and 235 of 255.
    """

    primaries: Primaries = SRGB
    gamma: float | None = None
    hdr: int = 0
    narrow: bool = False

    @property
    def note(self) -> str:
        """What a user should know of the conversion, or ""."""
        if not self.hdr:
            return ""
        return f"its brightness (HDR, {NAMES[self.hdr]}) was compressed to that of a screen"


def from_codes(primaries: int, transfer: int, narrow: bool = False) -> ColorTags | None:
    """The colors that two codes of ITU-T H.273 name; None: sRGB, or nothing is said.

    narrow: whether the values have the range of studio video.
    """
    tags = ColorTags(
        PRIMARIES.get(primaries, SRGB),
        GAMMAS.get(transfer),
        transfer if transfer in NAMES else 0,
        narrow,
    )
    return None if tags == ColorTags() else tags


def from_gamma(gamma: float | None, chromaticities: Primaries | None) -> ColorTags | None:
    """The colors of PNG's gAMA (the encoding exponent) and cHRM; None: sRGB, or nothing is said.

    What makes no sense is passed over, as in viewers.
    """
    exponent = None
    least, most = GAMMAS_OF_PNG
    if gamma and least <= gamma <= most and abs(gamma * 2.2 - 1) > 0.05:  # libpng's threshold
        exponent = 1 / gamma
    primaries: Primaries = SRGB
    if chromaticities and max(abs(np.subtract(chromaticities, SRGB))) > 0.005:
        with suppress(ValueError):
            _to_linear_srgb(chromaticities)
            primaries = chromaticities
    tags = ColorTags(primaries, exponent)
    return None if tags == ColorTags() else tags


def to_srgb(pixels: np.ndarray, tags: ColorTags) -> np.ndarray:
    """Convert pixels (H, W, 3), float32 in [0, 1], to sRGB; colors that it lacks are cut.

    Raises ValueError if the primaries are those of no colors.
    """
    matrix = _to_linear_srgb(tags.primaries).astype(np.float32)
    out = np.empty_like(pixels)
    for row in range(0, len(pixels), ROWS):
        values = pixels[row : row + ROWS]
        if tags.narrow:
            values = ((values - STUDIO_BLACK) / (STUDIO_WHITE - STUDIO_BLACK)).clip(0, 1)
        light = _light(values, tags) @ matrix.T
        out[row : row + ROWS] = _encoded(np.clip(light, 0, 1))
    return out


def _light(values: np.ndarray, tags: ColorTags) -> np.ndarray:
    """Linear light of encoded values; 1 is white."""
    if tags.hdr == PQ:
        return _compressed(_pq(values))
    if tags.hdr == HLG:
        return _compressed(_hlg(values))
    if tags.gamma is not None:
        powers: np.ndarray = np.power(values, np.float32(tags.gamma))
        return powers
    dark, bright = values / 12.92, ((values + 0.055) / 1.055) ** 2.4
    light: np.ndarray = np.where(values <= 0.04045, dark, bright)
    return light


def _encoded(light: np.ndarray) -> np.ndarray:
    """sRGB's curve (IEC 61966-2-1)."""
    dark, bright = 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055
    encoded: np.ndarray = np.where(light <= 0.0031308, dark, bright)
    return encoded


def _pq(values: np.ndarray) -> np.ndarray:
    """SMPTE ST 2084's curve (ITU-R BT.2100-2, table 4); 1 is WHITE."""
    root = values ** (32 / 2523)
    c1, c2, c3 = 107 / 128, 2413 / 128, 2392 / 128
    light = (np.maximum(root - c1, 0) / (c2 - c3 * root)) ** (8192 / 1305)
    return light * np.float32(10_000 / WHITE)


def _hlg(values: np.ndarray) -> np.ndarray:
    """Hybrid log-gamma on a display of 1000 cd/m^2 (ITU-R BT.2100-2, table 5); 1 is WHITE."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    scene = np.where(values <= 0.5, values**2 / 3, (np.exp((values - c) / a) + b) / 12)
    luminance = scene @ np.array([0.2627, 0.6780, 0.0593], np.float32)
    return scene * luminance[..., None] ** np.float32(0.2) * np.float32(1000 / WHITE)


def _compressed(light: np.ndarray) -> np.ndarray:
    """Compress what is brighter than KNEE below 1, and keep hues: all channels by one factor."""
    top = np.maximum(light.max(-1, keepdims=True), 1e-6)
    over = (top - KNEE) / (1 - KNEE)
    shown = np.where(over > 0, KNEE + (1 - KNEE) * (1 - np.exp(-np.maximum(over, 0))), top)
    compressed: np.ndarray = light * (shown / top)
    return compressed


def _to_linear_srgb(primaries: Primaries) -> np.ndarray:
    """The matrix from linear light of the primaries to that of sRGB, white to white."""
    source, target = _to_xyz(primaries), _to_xyz(SRGB)
    cones = BRADFORD @ np.stack([source.sum(1), target.sum(1)], 1)  # of both whites
    adapt = np.linalg.inv(BRADFORD) @ np.diag(cones[:, 1] / cones[:, 0]) @ BRADFORD
    matrix: np.ndarray = np.linalg.inv(target) @ adapt @ source
    return matrix


def _to_xyz(primaries: Primaries) -> np.ndarray:
    """The matrix from linear light of the primaries to CIE XYZ; its columns sum to white's."""
    points = np.array(primaries, float).reshape(4, 2)
    if not (points[:, 1] > 0).all():
        raise ValueError("it states colors that there are not")
    xyz = np.stack([points[:, 0], points[:, 1], 1 - points.sum(1)], 1) / points[:, 1:]
    try:
        scale = np.linalg.solve(xyz[1:].T, xyz[0])
    except np.linalg.LinAlgError:
        raise ValueError("it states colors that there are not") from None
    matrix: np.ndarray = xyz[1:].T * scale
    return matrix
