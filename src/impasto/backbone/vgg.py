"""VGG-19's convolutions: one forward pass, a dict from layer name to features."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import torch
import torch.nn.functional as F

from impasto.backbone.weights import Weights
from impasto.config import CONVOLUTIONS, layer_name
from impasto.errors import ConfigError, WeightsError

__all__ = ["Backbone", "Features", "fast_dtype"]

Features = dict[str, torch.Tensor]

POOLED = tuple(name for name in CONVOLUTIONS[1:] if name.endswith("_1"))

# Average pooling loses energy that max pooling keeps, so this much is put back: root mean square after max pooling
# over that after average pooling, geometric mean over 60 photographs and Oxford's VGG-19's first three poolings,
# 1.255, 1.688 and 1.395 (benchmarks/pooling.py).
AVERAGE_GAIN = 1.44


def fast_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where `device` has matrix units for it (AMX, AVX512-BF16, CUDA from Ampere on), else float32."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    if device.type == "cpu":
        found = torch.cpu.get_capabilities()
        return torch.bfloat16 if found.get("amx_bf16") or found.get("avx512_bf16") else torch.float32
    return torch.float32


class Backbone:
    """A frozen network of VGG-19's shape on one device, in one precision.

    weights: from `impasto.backbone.load`. pooling: "average" is scaled so that the features keep their energy.
    padding: of the first convolution; the later ones are padded with zeros, as they were trained.
    """

    def __init__(
        self,
        weights: Weights,
        *,
        pooling: Literal["max", "average"] = "max",
        padding: Literal["zeros", "replicate"] = "zeros",
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ):
        self.weights, self.pooling, self.padding = weights, pooling, padding
        self.device, self.dtype = torch.device(device), dtype
        self._kernels = {
            name: (
                kernel.detach().to(device, dtype, memory_format=torch.channels_last),
                bias.detach().to(device, dtype),
            )
            for name, (kernel, bias) in weights.kernels.items()
        }
        self._mean, self._scale = (
            torch.tensor(values, device=device).view(1, 3, 1, 1) for values in (weights.mean, weights.scale)
        )

    def __call__(self, pixels: torch.Tensor, layers: Iterable[str]) -> Features:
        """Features of `pixels` at `layers`, each (B, C, H / 2^(stage-1), W / 2^(stage-1)), in this backbone's dtype.

        pixels: (B, 3, H, W) float32 sRGB in [0, 1], at least 16 x 16 for stage 5. The pass ends with the last layer
        asked for. Raises ConfigError for an unknown layer, WeightsError for one that these weights do not reach.
        """
        asked = {name: layer_name(name) for name in layers}
        wanted = list(asked.values())
        last = self._last(wanted)
        found: Features = {}
        y = pixels.flip(1) if self.weights.order == "BGR" else pixels
        y = ((y - self._mean) * self._scale).to(self.dtype).contiguous(memory_format=torch.channels_last)
        for name in CONVOLUTIONS[: last + 1]:
            if name in POOLED:
                y = F.max_pool2d(y, 2) if self.pooling == "max" else F.avg_pool2d(y, 2) * AVERAGE_GAIN
            padding = 1
            if name == "conv1_1" and self.padding == "replicate":
                y, padding = F.pad(y, (1, 1, 1, 1), mode="replicate"), 0
            kernel, bias = self._kernels[name]
            y = F.conv2d(y, kernel, bias, padding=padding)
            if name in wanted:
                found[name] = y
            y = F.relu(y, inplace=name not in wanted)
            relu = name.replace("conv", "relu")
            if relu in wanted:
                found[relu] = y
        return {name: found[plain] for name, plain in asked.items()}

    def _last(self, wanted: Iterable[str]) -> int:
        """Index of the deepest convolution that `wanted` needs."""
        names = [name.replace("relu", "conv") for name in wanted]
        if not names:
            raise ConfigError("no layers asked for: name at least one, as conv4_2")
        for name in names:
            if name not in self._kernels:
                have = list(self._kernels)
                raise WeightsError(
                    f"layer {name} is not in {self.weights.name}, which holds {have[0]} to {have[-1]}", name, have
                )
        return max(CONVOLUTIONS.index(name) for name in names)
