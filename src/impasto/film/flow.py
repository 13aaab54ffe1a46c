"""Optical flow between two frames, and where it can be trusted."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from impasto.errors import ConfigError, OutputError, PictureError, reason
from impasto.extras import needs_extra
from impasto.records import read_regular

__all__ = [
    "FLOWS",
    "Flow",
    "FlowMethod",
    "consistency",
    "flow_method",
    "load_cv2",
    "read_flo",
    "sample",
]

# (H, W, 2) float32: how far the pixels of one frame are to the right and down in another, in pixels
Flow = np.ndarray
# the flow from one frame to another, both (H, W, 3) uint8, of these numbers in the clip; None if it
# is not known
FlowMethod = Callable[[np.ndarray, np.ndarray, int, int], "Flow | None"]
FLOWS = ("dis", "farneback")
FLO_MAGIC = 202021.25  # of the Middlebury format, a sanity check of the byte order
MOST_SIDE = 1 << 16  # pixels


def flow_method(name: str) -> FlowMethod:
    """Return a way to compute the flow.

    Args:
        name: "dis" (Kroeger et al. 2016, "Fast optical flow using dense inverse search"),
            "farneback" (Farneback 2003), or a folder with files 00002-00001.flo (the flow from
            frame 2 to frame 1).

    Raises:
        ConfigError: there is no such method, nor a folder of that name.
        OutputError: OpenCV is missing.
    """
    if name not in FLOWS:
        folder = Path(name)
        if not folder.is_dir():
            raise ConfigError(
                f"--flow is {name!r}: it takes {', '.join(FLOWS)}, or a folder of .flo files", name
            )
        return lambda here, there, number, other: _from_folder(folder, here, number, other)
    cv2 = load_cv2()
    if name == "farneback":
        return lambda here, there, *_: np.asarray(
            cv2.calcOpticalFlowFarneback(
                _gray(cv2, here), _gray(cv2, there), None, 0.5, 5, 13, 5, 5, 1.1, 0
            )
        )
    estimator = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    estimator.setFinestScale(0)  # at full size: a film is painted small, and edges matter
    return lambda here, there, *_: np.asarray(
        estimator.calc(_gray(cv2, here), _gray(cv2, there), None)
    )


def _gray(cv2: Any, pixels: np.ndarray) -> np.ndarray:
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY))


def _from_folder(folder: Path, here: np.ndarray, number: int, other: int) -> Flow | None:
    """Read the flow of a pair of frames; None if the folder has none."""
    path = folder / f"{number:05d}-{other:05d}.flo"
    if not path.exists():
        return None
    flow = read_flo(path)
    height, width = here.shape[:2]
    if flow.shape[:2] == (height, width):
        return flow
    scale = np.array([width / flow.shape[1], height / flow.shape[0]], np.float32)
    return np.asarray(load_cv2().resize(flow, (width, height)) * scale, np.float32)


def read_flo(path: Path) -> Flow:
    """Read a file of the Middlebury format .flo. Raises PictureError."""
    try:
        data = read_regular(path, 1 << 30)
        magic, width, height = struct.unpack_from("<fii", data)
        if magic != FLO_MAGIC or not (0 < width < MOST_SIDE and 0 < height < MOST_SIDE):
            raise ValueError("it does not begin as a .flo file")
        if len(data) != 12 + 8 * width * height:
            raise ValueError(f"{len(data):,} bytes are not a flow of {width} x {height} pixels")
        flow = np.frombuffer(data, "<f4", offset=12).reshape(height, width, 2)
        if not np.isfinite(flow).all():
            raise ValueError("it has values that are no numbers")
    except (OSError, ValueError, struct.error) as error:
        raise PictureError(f"{path} cannot be read as a flow: {reason(error)}", str(path)) from None
    return flow.astype(np.float32)


def consistency(back: Flow, forth: Flow) -> np.ndarray:
    """Where the flow from a frame to an earlier one can be trusted; (H, W) bool.

    Ruder, Dosovitskiy & Brox 2018, "Artistic style transfer for videos and spherical images",
    eqs. 5 and 6 (after Sundaram et al. 2010): not where the way back does not return to the same
    pixel (it was hidden), and not at the edges of motion. Nor where the flow leaves the frame.

    Args:
        back: from the frame to the earlier one.
        forth: from the earlier frame to this one.
    """
    height, width = back.shape[:2]
    x, y = _targets(back)
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    returned = sample(forth, back)
    size = np.square(back).sum(2)
    error = np.square(returned + back).sum(2)
    hidden = error > 0.01 * (np.square(returned).sum(2) + size) + 0.5
    rows, columns = np.gradient(back, axis=(0, 1))
    edge = np.square(rows).sum(2) + np.square(columns).sum(2) > 0.01 * size + 0.002
    return np.asarray(inside & ~hidden & ~edge)


def _targets(flow: Flow) -> tuple[np.ndarray, np.ndarray]:
    height, width = flow.shape[:2]
    columns, rows = np.meshgrid(np.arange(width), np.arange(height))
    return columns + flow[..., 0], rows + flow[..., 1]


def sample(values: np.ndarray, flow: Flow) -> np.ndarray:
    """`values` (H, W, C) at the places where a flow leads, bilinear; (H, W, C)."""
    height, width = flow.shape[:2]
    x, y = _targets(flow)
    x, y = x.clip(0, width - 1), y.clip(0, height - 1)
    left, top = np.minimum(x.astype(int), width - 2), np.minimum(y.astype(int), height - 2)
    right, down = (x - left)[..., None], (y - top)[..., None]
    upper = (1 - right) * values[top, left] + right * values[top, left + 1]
    lower = (1 - right) * values[top + 1, left] + right * values[top + 1, left + 1]
    return np.asarray(((1 - down) * upper + down * lower).astype(values.dtype))


def load_cv2() -> Any:
    """Import OpenCV. Raises OutputError if it is missing."""
    try:
        import cv2  # an extra
    except ImportError:
        raise OutputError(needs_extra("a film", "video")) from None
    return cv2
