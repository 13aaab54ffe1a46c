"""The baseline: the published code of the preset gatys-lbfgs, rewritten.

float32, NCHW, autograd, torch.optim.LBFGS. Nothing here uses impasto's own passes: the network is a
list of torch's functions, the losses are the published ones (mean squares; Gram matrices over
C*H*W; weights 1 and 1e6), the solver is torch's with its defaults, one size, 300 evaluations.
"""

import statistics
import time
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F

from impasto.backbone.weight_files import Weights

CONTENT, STYLE = "conv4_2", ("conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1")
STYLE_WEIGHT = 1e6


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
        mean, scale = (
            torch.tensor(each).view(1, 3, 1, 1).to(x)
            for each in (self.weights.mean, self.weights.scale)
        )
        y, found = ((x.flip(1) if self.weights.order == "BGR" else x) - mean) * scale, {}
        for name, (kernel, bias) in self.weights.kernels.items():
            if name.endswith("_1") and name != "conv1_1":
                y = F.max_pool2d(y, 2)
            y = F.conv2d(y, kernel.to(x), bias.to(x), padding=1)
            if name == CONTENT or name in STYLE:
                found[name] = y * self.units
            y = F.relu(y)
        return found

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


class Run(NamedTuple):
    """The final objective of a run, and its time.

    seconds: the median evaluation, with the solver's work after it, times their number. wall: by
    the clock.
    """

    value: float
    seconds: float
    wall: float
    evaluations: int


def run(objective: Baseline, content: torch.Tensor, evaluations: int = 300) -> Run:
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
        return Run(float(objective(x)), each * made, wall, made)
