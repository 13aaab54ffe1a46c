"""Transfer colors between pictures by their moments, or keep them by painting in luminance alone.

Colors are mixed and compared in Oklab (Ottosson 2020, "A perceptual color space for image
processing"): a change of its lightness leaves hue and chroma as people see them, which those of YIQ
(Gatys et al. 2017) and CIELAB do not.
"""

from __future__ import annotations

from typing import Literal

import torch

from impasto.images.read import resize

__all__ = [
    "from_oklab",
    "gray",
    "match_lightness",
    "match_mean",
    "match_moments",
    "to_oklab",
    "with_chroma_of",
]

# Ottosson 2020: linear sRGB to cone responses, and their cube roots to L, a, b.
CONES = torch.tensor(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ],
    dtype=torch.float64,
)
OPPONENTS = torch.tensor(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ],
    dtype=torch.float64,
)
# of the interval in which the chroma of a color outside sRGB is searched: within 1/256 of the most
# that can be shown
HALVINGS = 8


def to_oklab(pixels: torch.Tensor) -> torch.Tensor:
    """sRGB (B, 3, H, W) in [0, 1] to Oklab: L in [0, 1], a and b about [-0.4, 0.4]."""
    linear = torch.where(
        pixels <= 0.04045, pixels / 12.92, ((pixels.clamp_min(0) + 0.055) / 1.055) ** 2.4
    )
    cones = _mix(CONES, linear)
    return _mix(OPPONENTS, cones.sign() * cones.abs() ** (1 / 3))


def from_oklab(lab: torch.Tensor) -> torch.Tensor:
    """Oklab (B, 3, H, W) to sRGB in [0, 1]; colors outside sRGB lose chroma, not lightness or
    hue."""
    rgb = _unbounded(lab)
    outside = ((rgb < -1e-4) | (rgb > 1 + 1e-4)).any(1, keepdim=True)
    if outside.any():
        colors = lab.movedim(1, -1)[outside[:, 0]].T[None, :, :, None]  # (1, 3, n, 1): those alone
        light, chroma = colors[:, :1].clamp(0, 1), colors[:, 1:]
        least, most = torch.zeros_like(light), torch.ones_like(light)
        for _ in range(HALVINGS):
            middle = (least + most) / 2
            shown = _unbounded(torch.cat([light, middle * chroma], 1))
            inside = ((shown >= -1e-4) & (shown <= 1 + 1e-4)).all(1, keepdim=True)
            least, most = torch.where(inside, middle, least), torch.where(inside, most, middle)
        rgb = rgb.movedim(1, -1)
        rgb[outside[:, 0]] = _unbounded(torch.cat([light, least * chroma], 1))[0, :, :, 0].T
        rgb = rgb.movedim(-1, 1)
    return rgb.clamp(0, 1).contiguous()


def match_moments(
    pixels: torch.Tensor,
    target: torch.Tensor,
    form: Literal["root", "cholesky"] = "root",
    weights: torch.Tensor | None = None,
    target_weights: torch.Tensor | None = None,
) -> torch.Tensor:
    """Give `pixels` the mean and covariance of the colors of `target`.

    x -> A (x - mean(x)) + mean(t) with A S_x A^T = S_t: Gatys et al. 2017, "Controlling perceptual
    factors in neural style transfer", section 5.1; here in Oklab.

    Args:
        pixels, target: (1, 3, H, W) and (1, 3, h, w) sRGB in [0, 1].
        form: "root": A is S_t^1/2 S_x^-1/2, their "image analogies" form; "cholesky": A is
        L_t L_x^-1.
        weights, target_weights: how much each of their pixels counts, (1, 1, H, W) and
        (1, 1, h, w) of any size, not 0 everywhere; None: all alike.

    Returns:
        (1, 3, H, W) sRGB in [0, 1].
    """
    x, t = (to_oklab(each).double().flatten(2)[0] for each in (pixels, target))  # (3, n)
    mean_x, cov_x = _moments(x, _shares(pixels, weights))
    mean_t, cov_t = _moments(t, _shares(target, target_weights))
    if form == "root":
        a = _power(cov_t, 0.5) @ _power(cov_x, -0.5)
    else:
        a = torch.linalg.cholesky(cov_t) @ torch.linalg.inv(torch.linalg.cholesky(cov_x))
    moved = a @ (x - mean_x) + mean_t
    return from_oklab(moved.view(1, 3, *pixels.shape[2:])).to(pixels)


def match_mean(
    pixels: torch.Tensor,
    target: torch.Tensor,
    weights: torch.Tensor | None = None,
    target_weights: torch.Tensor | None = None,
) -> torch.Tensor:
    """Give `pixels` the mean of the colors of `target`, in Oklab, and keep its contrasts; arguments
    and result are those of `match_moments`."""
    x, t = (to_oklab(each).double().flatten(2)[0] for each in (pixels, target))
    mean_x, mean_t = (
        _moments(x, _shares(pixels, weights))[0],
        _moments(t, _shares(target, target_weights))[0],
    )
    return from_oklab((x - mean_x + mean_t).view(1, 3, *pixels.shape[2:])).to(pixels)


def gray(pixels: torch.Tensor) -> torch.Tensor:
    """Remove the chroma of `pixels` (B, 3, H, W): every channel is the gray of the same Oklab
    lightness."""
    light = to_oklab(pixels)[:, :1]
    return from_oklab(torch.cat([light, torch.zeros_like(light).expand(-1, 2, -1, -1)], 1))


def match_lightness(
    pixels: torch.Tensor,
    target: torch.Tensor,
    weights: torch.Tensor | None = None,
    target_weights: torch.Tensor | None = None,
) -> torch.Tensor:
    """`pixels` in gray, with the mean and deviation of the lightness of `target`; both (1, 3, h, w)
    sRGB in [0, 1] (Gatys et al. 2017, section 5.2). The weights are those of `match_moments`."""
    light = to_oklab(pixels)[:, :1]
    mean, deviation = _lightness(pixels, weights)
    wanted_mean, wanted_deviation = _lightness(target, target_weights)
    scale = wanted_deviation / deviation.clamp_min(1e-6)
    moved = ((light - mean) * scale + wanted_mean).clamp(0, 1)
    return from_oklab(torch.cat([moved, torch.zeros_like(moved).expand(-1, 2, -1, -1)], 1))


def with_chroma_of(painting: torch.Tensor, content: torch.Tensor) -> torch.Tensor:
    """Combine the lightness of `painting` with the chroma of `content`; both (1, 3, H, W) sRGB in
    [0, 1]."""
    return from_oklab(
        torch.cat([to_oklab(painting.clamp(0, 1))[:, :1], to_oklab(content)[:, 1:]], 1)
    )


def _mix(matrix: torch.Tensor, channels: torch.Tensor) -> torch.Tensor:
    return torch.einsum("oc,bchw->bohw", matrix.to(channels), channels)


def _unbounded(lab: torch.Tensor) -> torch.Tensor:
    """Oklab to sRGB without clipping: outside [0, 1] for colors that sRGB does not have."""
    linear = _mix(torch.linalg.inv(CONES), _mix(torch.linalg.inv(OPPONENTS), lab) ** 3)
    return torch.where(
        linear <= 0.0031308,
        12.92 * linear,
        1.055 * linear.clamp_min(0.0031308) ** (1 / 2.4) - 0.055,
    )


def _moments(x: torch.Tensor, shares: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean (3, 1) and covariance (3, 3) of colors (3, n), whose shares (n,) add to 1; 1e-7 on the
    diagonal keeps gray pictures from being singular."""
    ridge = 1e-7 * torch.eye(3).to(x)
    if shares is None:
        mean = x.mean(1, keepdim=True)
        centered = x - mean
        return mean, centered @ centered.T / x.shape[1] + ridge
    mean = (x * shares).sum(1, keepdim=True)
    centered = x - mean
    return mean, (centered * shares) @ centered.T + ridge


def _shares(pixels: torch.Tensor, weights: torch.Tensor | None) -> torch.Tensor | None:
    """Weights (1, 1, h, w) of any size as shares (H * W,) of the pixels (1, 3, H, W)."""
    if weights is None:
        return None
    flat = resize(weights, *pixels.shape[2:]).double().flatten()
    return flat / flat.sum()


def _lightness(
    pixels: torch.Tensor, weights: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and deviation of the Oklab lightness of pixels (1, 3, H, W); () both."""
    light, shares = to_oklab(pixels)[:, :1], _shares(pixels, weights)
    if shares is None:
        return light.mean(), light.std()
    values = light.flatten()
    mean = (values * shares.to(values)).sum()
    return mean, ((values - mean).square() * shares.to(values)).sum().sqrt()


def _power(matrix: torch.Tensor, power: float) -> torch.Tensor:
    values, vectors = torch.linalg.eigh(matrix)
    found: torch.Tensor = (vectors * values**power) @ vectors.T
    return found
