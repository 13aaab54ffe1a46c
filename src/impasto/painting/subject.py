"""Find a picture's subject, a face or an animal, from the features of VGG-19: `--protect auto`.

A subject is what differs from the picture's upper and lateral borders (boundary prior: Wei, Wen,
Zhu & Sun, "Geodesic saliency using background priors", ECCV 2012), activates the deepest layer
(selective convolutional descriptor aggregation: Wei, Luo, Wu & Zhou, IEEE TIP 2017), and is near
the middle. Its outline is then found in finer features, by ridge regression on that coarse map.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from impasto.backbone.vgg import Backbone, Features
from impasto.backbone.weights import load
from impasto.images.masks import NOTHING
from impasto.images.read import resize
from impasto.painting.problem import Problem

__all__ = ["subject_mask", "with_subject"]

NETWORK = "vgg19"
DEEP, FINE = ("relu5_2", "relu5_4"), ("relu3_4", "relu4_2")
PIXELS = 320 * 240  # at which it is looked for: half a second on two cores
SHORTEST = 48  # pixels of its short side there: three positions of the deepest layer
FLAT = 0.02  # contrast of a picture below which nothing is found in it
ALIKE = 8  # a position is compared with so many of the border that are most like it
RIDGE = 100.0
ABOVE = 0.1  # by so much Otsu's threshold is raised: better the face alone than all around it
SOFT = 0.2  # width of the step from background to subject, of the map's range
CLOSING = 2  # positions: dents up to twice as wide are filled


def with_subject(problem: Problem, network: Backbone) -> Problem:
    """Return a problem with the mask of its content's subject, and a note that says so.

    Args:
        problem: the problem, without a mask of what is protected.
        network: that of the painting. The true VGG-19 computes where it does; its weights are
            taken from it if it has them.

    Raises:
        WeightsError: the weights cannot be had.
    """
    held = [each.weights for each in (network, network.finisher) if each is not None]
    weights = next((each for each in held if each.name == NETWORK), None) or load(NETWORK)
    exact = Backbone(weights, padding="replicate", device=network.device)
    mask = subject_mask(problem.original.pixels, exact)
    note = (
        "protecting nothing: no subject stands out in the content"
        if mask is None
        else f"protecting: the subject, {100 * float(mask.mean()):.0f} % of the picture"
    )
    return problem._replace(protect=mask, notes=[*problem.notes, note])


@torch.no_grad()
def subject_mask(content: torch.Tensor, network: Backbone) -> torch.Tensor | None:
    """Find the subject of a picture.

    Args:
        content: (1, 3, H, W) in [0, 1].
        network: a VGG-19 with all its stages, in float32.

    Returns:
        A soft mask (1, 1, h, w) in [0, 1], at an eighth of the size that the network sees; None:
        the picture is flat.
    """
    if float(content.std()) < FLAT:
        return None
    height, width = content.shape[2:]
    scale = (PIXELS / (height * width)) ** 0.5
    size = [max(SHORTEST, round(side * scale)) for side in (height, width)]
    pixels = resize(content, *size).to(network.device)
    # in double precision, and rounded at the end: products and solutions in float32 differ in their
    # last digits from one process to the next, and the same painting is to have the same bytes
    features = {name: x.cpu().double() for name, x in network(pixels, (*DEEP, *FINE)).items()}
    size = list(features["relu4_2"].shape[2:])
    centered = _centered(*size)
    coarse = _stretched((_standing_out(features, size) + 0.3) * centered)
    fine = coarse
    for _ in range(2):
        fitted = _fitted(_together(features, size), _probable(fine, ABOVE))
        fine = _stretched(_stretched(fitted) * centered.sqrt())
    mask = _closed(_probable(_blurred((coarse + fine) / 2), ABOVE / 2))
    if float(mask.mean()) < NOTHING:
        return None
    return _blurred(mask).mul(255).round().div(255).float()


def _standing_out(features: Features, size: list[int]) -> torch.Tensor:
    """How much each position differs from the border, and how active it is; in [0, 1]."""
    differing = sum(_stretched(_unlike_border(features[name])) for name in DEEP) / len(DEEP)
    active = _stretched(features[DEEP[-1]].sum(1, keepdim=True))
    return _resized(0.6 * differing + 0.4 * active, size)


def _unlike_border(x: torch.Tensor) -> torch.Tensor:
    """One less the cosine similarity to the border: (1, C, h, w) -> (1, 1, h, w).

    The lower border is left out, because portraits begin there.
    """
    unit = F.normalize(x, dim=1)
    border = torch.cat([unit[0, :, 0], unit[0, :, :, 0], unit[0, :, :, -1]], 1)
    similar = torch.einsum("nchw,cb->nbhw", unit, border)
    return 1 - similar.topk(ALIKE, 1).values.mean(1, keepdim=True)


def _centered(height: int, width: int) -> torch.Tensor:
    """A Gaussian about the middle; all below counts as much as the middle row."""
    y, x = (torch.linspace(-1, 1, n, dtype=torch.float64) for n in (height, width))
    return torch.exp(-(y.clamp_max(0)[:, None] ** 2 + x**2) / 1.44)[None, None]


def _together(features: Features, size: list[int]) -> torch.Tensor:
    """The finer features of every position, (h * w, C), those of each layer of unit length."""
    resized = [_resized(F.normalize(features[name], dim=1), size) for name in FINE]
    return torch.cat(resized, 1)[0].flatten(1).T


def _fitted(x: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Ridge regression of a map (1, 1, h, w) on the features x (h * w, C), in its dual form.

    Subject and background weigh the same, however large they are.
    """
    y = target.flatten()
    weights = y / y.sum() + (1 - y) / (1 - y).sum()
    weights /= weights.mean()
    x = x - (x * weights[:, None]).mean(0)
    mean = (y * weights).mean()
    products = x @ x.T
    dual: torch.Tensor = torch.linalg.solve(products + RIDGE * torch.diag(1 / weights), y - mean)
    return (products @ dual + mean).view_as(target)


def _probable(x: torch.Tensor, above: float) -> torch.Tensor:
    """A soft step at Otsu's threshold raised by `above`."""
    return ((x - _otsu(x) - above) / SOFT + 0.5).clamp(0, 1)


def _otsu(x: torch.Tensor, bins: int = 64) -> float:
    """The threshold in [0, 1] that leaves the least variance on both sides (Otsu 1979)."""
    counts = torch.histc(x, bins, 0, 1)
    values = (torch.arange(bins, dtype=torch.float64) + 0.5) / bins
    below, sums = counts.cumsum(0), (counts * values).cumsum(0)
    share = below / below[-1]
    between = (sums[-1] * share - sums) ** 2 / (share * (1 - share)).clamp_min(1e-9)
    return float(values[between.argmax()])


def _stretched(x: torch.Tensor) -> torch.Tensor:
    """Map the values to [0, 1], but for 2 % at either end."""
    low, high = x.quantile(0.02), x.quantile(0.98)
    return ((x - low) / (high - low).clamp_min(1e-9)).clamp(0, 1)


def _resized(x: torch.Tensor, size: list[int]) -> torch.Tensor:
    return F.interpolate(x, size, mode="bilinear", align_corners=False)


def _blurred(x: torch.Tensor) -> torch.Tensor:
    return F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1)


def _closed(x: torch.Tensor) -> torch.Tensor:
    """Fill small holes: the mask, widened and then narrowed."""
    side = 2 * CLOSING + 1
    wide = F.max_pool2d(x, side, 1, CLOSING)
    return -F.max_pool2d(-wide, side, 1, CLOSING)
