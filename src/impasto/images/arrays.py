"""Decode arrays and tensors into float32 sRGB and alpha."""

from __future__ import annotations

import numpy as np
import torch

from impasto.errors import PictureError

__all__ = ["from_array"]


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
        what = type(array).__name__
        if isinstance(array, (np.ndarray, torch.Tensor)):
            what += f" of {values.dtype}"
        raise PictureError(
            f"{what} is not a picture: give a path, bytes, an open file, a picture of Pillow's, or "
            "an array or tensor of whole or floating numbers",
            array,
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
