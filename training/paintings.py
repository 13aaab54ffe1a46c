"""Paintings in the making by the student itself: the pictures on which it must not be fooled.

A painting is driven to wherever the network's statistics say that it is near the style; where the
teacher sees something else, the student has a blind spot. These pictures show it those spots, while
it can still mend them.
"""

import random

import torch

from data import Crops
from networks import Features, Student

STYLE, CONTENT, LAST = ("1_1", "2_1", "3_1", "4_1", "5_1"), "4_2", "5_1"
AGE = 80  # steps after which a painting may make room for a new one
RATE = 0.03  # Adam's, as in crowsonkb/style-transfer-pytorch


def _root(matrix: torch.Tensor, power: float) -> torch.Tensor:
    values, vectors = torch.linalg.eigh(matrix.double())
    floor = values[..., -1:] * 1e-7
    values = values.clamp_min(0) + floor
    return ((vectors * values[..., None, :].pow(power)) @ vectors.mT).float()


def _moments(feature: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean (B, c) and uncentered second moment (B, c, c) over positions."""
    f = feature.flatten(2).float()
    return f.mean(2), f @ f.mT / f.shape[2]


class Paintings:
    """`count` pictures that the student paints, half by Gram matrices and half by the Gaussian
    Wasserstein distance."""

    def __init__(self, student: Student, crops: Crops, count: int, seed: int):
        self._student, self._crops, self._count = student, crops, count
        self._random = random.Random(seed)
        self.pictures = torch.empty_like(crops(count))
        self._contents, self._styles = (
            torch.empty_like(self.pictures),
            torch.empty_like(self.pictures),
        )
        self._first, self._second = torch.zeros_like(self.pictures), torch.zeros_like(self.pictures)
        self._ages = [0] * count
        self._refresh = 0
        for k in range(count):
            self._begin(k)
            self._ages[k] = self._random.randrange(AGE)

    def _begin(self, k: int) -> None:
        pair = self._crops(2)
        self._contents[k], self._styles[k] = pair
        self.pictures[k] = self._crops.noise(1)[0] if self._random.random() < 0.25 else pair[0]
        self._first[k], self._second[k], self._ages[k] = 0, 0, 0

    @torch.no_grad()
    def _targets(self) -> None:
        """What the student of now sees in contents and styles."""
        self._content = self._student(self._contents, CONTENT)[CONTENT].float()
        styles = self._student(self._styles, LAST)
        gram, wasserstein = slice(0, self._count // 2), slice(self._count // 2, None)
        self._grams = {name: _moments(styles[name][gram])[1] for name in STYLE}
        self._gaussians = {}
        for name in STYLE:
            mean, second = _moments(styles[name][wasserstein])
            covariance = second - mean[:, :, None] * mean[:, None, :]
            self._gaussians[name] = (
                mean,
                _root(covariance, 0.5),
                second.diagonal(dim1=1, dim2=2).sum(1),
            )

    def _loss(self, features: Features) -> torch.Tensor:
        """Content and style loss of every painting, summed."""
        half = self._count // 2
        energy = self._content.square().sum((1, 2, 3))
        loss = ((features[CONTENT].float() - self._content).square().sum((1, 2, 3)) / energy).sum()
        for name in STYLE:
            mean, second = _moments(features[name])
            target = self._grams[name]
            difference = (second[:half] - target).square().sum((1, 2)) / target.square().sum((1, 2))
            loss = loss + 0.8 * difference.sum()
            style_mean, root, energy = self._gaussians[name]
            mean, second = mean[half:], second[half:]
            covariance = second - mean[:, :, None] * mean[:, None, :]
            # The gradient of tr (S C S)^(1/2) is S (S C S)^(-1/2) S / 2: no gradient through the
            # eigenvectors.
            slope = root @ _root((root @ covariance @ root).detach(), -0.5) @ root
            cross = (covariance * slope).sum((1, 2))
            spread = covariance.diagonal(dim1=1, dim2=2).sum(1) - cross
            loss = loss + 0.8 * (((mean - style_mean).square().sum(1) + spread) / energy).sum()
        return loss

    def step(self) -> torch.Tensor:
        """Make one step of every painting; returns the pictures."""
        training = self._student.training
        self._student.eval()
        if self._refresh % 8 == 0:
            self._targets()
        self._refresh += 1
        x = self.pictures.detach().requires_grad_(True)
        gradient = torch.autograd.grad(self._loss(self._student(x, LAST)), x)[0]
        self._student.train(training)
        self._first.lerp_(gradient, 0.1)
        self._second.lerp_(gradient.square(), 0.05)
        for k in range(self._count):
            self._ages[k] += 1
        ages = torch.tensor(self._ages, device=x.device, dtype=torch.float32)[:, None, None, None]
        direction = (
            self._first / (1 - 0.9**ages) / ((self._second / (1 - 0.95**ages)).sqrt() + 1e-8)
        )
        self.pictures = (self.pictures - RATE * direction).clamp(0, 1)
        old = [k for k in range(self._count) if self._ages[k] > AGE and self._random.random() < 0.3]
        for k in old:
            self._begin(k)
        if old:
            self._refresh = 0
        return self.pictures
