"""The baseline: the plain loop of the published codes, rewritten.

float32, NCHW, autograd, torch.optim.LBFGS with its defaults, one size, 300 evaluations. Nothing
here uses impasto's own passes: the network is a list of torch's functions, and the objectives are
written as their formulas read: `Baseline` the published one (mean squares; Gram matrices over
C*H*W; weights 1 and 1e6), `DefaultBaseline` that of impasto's defaults (docs/formulas.md).
"""

import statistics
import time
from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F

from impasto.backbone.weight_files import Weights
from impasto.config import Config
from impasto.objective.flatness import opponent
from impasto.objective.losses import differences, layer_factor

CONTENT, STYLE = "conv4_2", ("conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1")
STYLE_WEIGHT = 1e6


def convolutions(weights: Weights, x: torch.Tensor, names: tuple[str, ...]) -> dict:
    """What the convolutions of these names make of x, (1, 3, H, W) in [0, 1], before ReLU."""
    mean, scale = (
        torch.tensor(each).view(1, 3, 1, 1).to(x) for each in (weights.mean, weights.scale)
    )
    y, found = ((x.flip(1) if weights.order == "BGR" else x) - mean) * scale, {}
    for name, (kernel, bias) in weights.kernels.items():
        if name.endswith("_1") and name != "conv1_1":
            y = F.max_pool2d(y, 2)
        y = F.conv2d(y, kernel.float().to(x), bias.to(x), padding=1)
        if name in names:
            found[name] = y
        if len(found) == len(names):
            break
        y = F.relu(y)
    return found


class Baseline:
    """The published objective for one content and one style picture, (1, 3, H, W) of one size, in
    [0, 1]."""

    def __init__(self, weights: Weights, content: torch.Tensor, style: torch.Tensor):
        self.weights = weights
        # torchvision's units, as published, whatever units the network's own input is in
        self.units = (1 / 0.225) / (sum(weights.scale) / 3)
        with torch.no_grad():
            self.content = self.features(content)[CONTENT]
            self.style = {name: gram(self.features(style)[name]) for name in STYLE}

    def features(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Features at the published layers, scaled to torchvision's units."""
        found = convolutions(self.weights, x, (CONTENT, *STYLE))
        return {name: y * self.units for name, y in found.items()}

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """The objective at x."""
        found = self.features(x)
        style = sum(F.mse_loss(gram(found[name]), self.style[name]) for name in STYLE)
        return F.mse_loss(found[CONTENT], self.content) + STYLE_WEIGHT * style


def gram(features: torch.Tensor) -> torch.Tensor:
    """Gram matrix over C*H*W."""
    _, channels, height, width = features.shape
    flat = features.view(channels, height * width)
    return flat @ flat.t() / (channels * height * width)


class DefaultBaseline:
    """The objective of impasto's defaults, for one content and one style, (1, 3, H, W) in [0, 1].

    The pictures are continued beyond their border as in a mirror that stands on it, and only the
    positions within them count.
    """

    def __init__(
        self, weights: Weights, content: torch.Tensor, style: torch.Tensor, config: Config
    ):
        self.weights, self.config = weights, config
        with torch.no_grad():
            (layer,) = config.content_layers
            self.content = self.features(content)[layer]
            found = self.features(style)
            self.styles = {name: StyleOf(found[name]) for name in config.style_layers}
            self.grain = GrainOf(style)

    def features(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Features after ReLU by layer, at the positions within the picture."""
        height, width = x.shape[2:]
        below, beside = (8 + -(side + 8) % 16 for side in (height, width))
        rows = torch.cat([x[:, :, :16].flip(2), x, x[:, :, -below:].flip(2)], 2)
        framed = torch.cat([rows[..., :16].flip(3), rows, rows[..., -beside:].flip(3)], 3)
        layers = {*self.config.content_layers, *self.config.style_layers}
        names = tuple(layer.replace("relu", "conv") for layer in layers)
        inner = {}
        for name, y in convolutions(self.weights, framed, names).items():
            stride = 2 ** (int(name[4]) - 1)
            rows, columns = (slice(16 // stride, (16 + side) // stride) for side in (height, width))
            inner[name.replace("conv", "relu")] = F.relu(y[..., rows, columns])
        return inner

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """The objective at x."""
        config, found = self.config, self.features(x)
        ((layer, weight),) = config.content_layers.items()
        square = self.content.square().sum()
        total = (
            config.content_weight * weight * (found[layer] - self.content).square().sum() / square
        )
        for layer, weight in config.style_layers.items():
            _, channels, height, width = found[layer].shape
            weight *= config.strength * config.style_weight * layer_factor(height * width, channels)
            total = total + weight * self.styles[layer].distance(found[layer])
        return total + config.strength * config.grain_weight * self.grain.distance(x)


class StyleOf:
    """A style's features at a layer: their mean and covariance."""

    def __init__(self, features: torch.Tensor):
        self.mean, second = moments(features)
        self.square = second.diagonal().sum()
        self.least = 1e-4 * (second - self.mean.outer(self.mean)).diagonal().mean()
        covariance = self.covariance(self.mean, second)
        values, vectors = torch.linalg.eigh(covariance)
        self.root, self.trace = (vectors * values.sqrt()) @ vectors.T, values.sum()

    def covariance(self, mean: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        """The covariance with a little on its diagonal."""
        ridge = self.least + 2.0**-16 * second.diagonal().sum()
        return second - mean.outer(mean) + ridge * torch.eye(len(mean), dtype=mean.dtype)

    def distance(self, features: torch.Tensor) -> torch.Tensor:
        """The squared Wasserstein distance to features, as a share of the style's mean square."""
        mean, second = moments(features)
        covariance = self.covariance(mean, second)
        roots = torch.linalg.eigvalsh(self.root @ covariance @ self.root).clamp_min(0).sqrt()
        traces = covariance.diagonal().sum() + self.trace - 2 * roots.sum()
        return (((mean - self.mean).square().sum() + traces) / self.square).float()


def moments(features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean (C,) and second moments (C, C) of features (1, C, H, W); the rest is in float64."""
    flat = features[0].flatten(1)
    return flat.mean(1).double(), (flat @ flat.T / flat.shape[1]).double()


class GrainOf:
    """A style's differences of neighboring pixels: how rough, and how many of them are flat."""

    def __init__(self, style: torch.Tensor):
        d = differences(style)[0].flatten(1).double()
        second = d @ d.T / d.shape[1]
        self.floor = (1 / 255**2 + 0.01 * second.diagonal().mean()) * torch.eye(9).double()
        values, vectors = torch.linalg.eigh(second + self.floor)
        self.whitening = (vectors / values.sqrt()) @ vectors.T
        z = opponent(differences(style))
        self.scale = (0.25 * z.square().mean((2, 3), keepdim=True).sqrt()).clamp_min(1.5 / 255)
        self.flat = self.flatness(z).clamp_min(0.01)

    def flatness(self, z: torch.Tensor) -> torch.Tensor:
        """The share of flat differences in each of nine channels."""
        return (1 / (1 + (z / self.scale) ** 2)).mean((2, 3))

    def distance(self, pixels: torch.Tensor) -> torch.Tensor:
        """Grain and flatness."""
        d = differences(pixels)
        flat = d[0].flatten(1)
        second = (flat @ flat.T / flat.shape[1]).double()
        seen = self.whitening @ (second + self.floor) @ self.whitening
        roots = torch.linalg.eigvalsh(seen).clamp_min(0).sqrt()
        share = self.flatness(opponent(d)) / self.flat
        return ((roots - 1).square().sum() / 9).float() + (share - 1).square().mean()


class Run(NamedTuple):
    """The objective of the picture that a run ends with, clamped to [0, 1], and the run's time.

    seconds: the median evaluation, with the solver's work after it, times their number. wall: by
    the clock.
    """

    value: float
    seconds: float
    wall: float
    evaluations: int


Function = Callable[[torch.Tensor], torch.Tensor]


def run(objective: Function, content: torch.Tensor, evaluations: int = 300) -> Run:
    """Minimize with torch.optim.LBFGS and its defaults, from the content, for so many
    evaluations."""
    x = content.clone().requires_grad_()
    solver = torch.optim.LBFGS([x])
    made, value, starts = 0, torch.zeros(()), []

    def closure() -> torch.Tensor:
        nonlocal made, value
        starts.append(time.perf_counter())
        solver.zero_grad()
        value = objective(x)
        value.backward()
        made += 1
        return value

    began = time.perf_counter()
    while made < evaluations:
        before = made
        solver.step(closure)
        if made == before + 1:  # its own stopping rule: it would make no more steps
            break
    wall = time.perf_counter() - began
    each = statistics.median(after - before for before, after in pairwise(starts))
    with torch.no_grad():
        return Run(float(objective(x.clamp(0, 1))), each * made, wall, made)
