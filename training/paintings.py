"""Paintings in the making by the student itself: the pictures on which it must not be fooled.

A painting is driven to wherever the network's statistics say that it is near the style; where the
teacher sees something else, the student has a blind spot. These pictures show it those spots, while
it can still mend them.
"""

import torch

from data import Crops
from impasto.objective.style_distances import sqrt_and_inverse
from networks import Features, Student

STYLE, CONTENT, LAST = ("1_1", "2_1", "3_1", "4_1", "5_1"), "4_2", "5_1"
AGE = 80  # steps after which a painting may make room for a new one
RATE = 0.03  # Adam's, as in crowsonkb/style-transfer-pytorch
# Of a covariance's mean variance, added to its diagonal. Rounding of float32 sums has to stay below
# it: Newton and Schulz's iteration runs away from a negative eigenvalue.
RIDGE = 1e-4
LARGEST = 1e3  # of a gradient; usual ones are below 1


def _roots(matrix: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Square roots of covariances (B, c, c), with a ridge, and their inverses, in float64."""
    wide = matrix.double()
    mean = wide.diagonal(dim1=1, dim2=2).mean(1)[:, None, None].clamp_min(1e-30)
    eye = torch.eye(wide.shape[1], dtype=wide.dtype, device=wide.device)
    return sqrt_and_inverse(wide + RIDGE * mean * eye)


def _moments(feature: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean (B, c) and uncentered second moment (B, c, c) over positions."""
    f = feature.flatten(2).float()
    return f.mean(2), f @ f.mT / f.shape[2]


class Paintings:
    """`count` pictures that the student paints, half by Gram matrices and half by the Gaussian
    Wasserstein distance."""

    def __init__(self, student: Student, crops: Crops, count: int):
        self._student, self._crops, self._count = student, crops, count
        self._contents, self._styles = crops(count), crops(count)
        self.pictures = self._beginnings(self._contents)
        self._first, self._second = torch.zeros_like(self.pictures), torch.zeros_like(self.pictures)
        self._ages = (self._draw() * AGE).floor()  # in steps
        self._made = 0  # steps

    def _draw(self) -> torch.Tensor:
        """A random number for each painting, 0 to 1; (count, 1, 1, 1)."""
        return self._crops.noise(self._count)[:, :1, :1, :1]

    def _beginnings(self, contents: torch.Tensor) -> torch.Tensor:
        """The contents, a quarter of them replaced by noise."""
        noise = self._crops.noise(self._count)
        return torch.where(self._draw() < 0.25, noise, contents)

    @torch.no_grad()
    def _replace_old(self) -> None:
        """Begin anew most of the paintings that have had their steps."""
        old = (self._ages > AGE) & (self._draw() < 0.7)
        contents, styles = self._crops(self._count), self._crops(self._count)
        self.pictures = torch.where(old, self._beginnings(contents), self.pictures)
        self._contents = torch.where(old, contents, self._contents)
        self._styles = torch.where(old, styles, self._styles)
        self._first, self._second, self._ages = (
            torch.where(old, 0.0, x) for x in (self._first, self._second, self._ages)
        )

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
            energy = second.diagonal(dim1=1, dim2=2).sum(1)
            self._gaussians[name] = mean, _roots(covariance)[0], energy

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
            # root.
            inverse = _roots(root @ covariance.detach().double() @ root)[1]
            slope = (root @ inverse @ root).float()
            cross = (covariance * slope).sum((1, 2))
            spread = covariance.diagonal(dim1=1, dim2=2).sum(1) - cross
            loss = loss + 0.8 * (((mean - style_mean).square().sum(1) + spread) / energy).sum()
        return loss

    def step(self) -> torch.Tensor:
        """Make one step of every painting; returns the pictures."""
        training = self._student.training
        self._student.eval()
        if self._made % 8 == 0:
            self._replace_old()
            self._targets()
        self._made += 1
        x = self.pictures.detach().requires_grad_(True)
        gradient = torch.autograd.grad(self._loss(self._student(x, LAST)), x)[0]
        self._student.train(training)
        # One painting that fails must not end the training: its square has to stay finite, too.
        gradient = gradient.nan_to_num(0, 0, 0).clamp(-LARGEST, LARGEST)
        self._first.lerp_(gradient, 0.1)
        self._second.lerp_(gradient.square(), 0.05)
        self._ages += 1
        direction = self._first / (1 - 0.9**self._ages)
        direction /= (self._second / (1 - 0.95**self._ages)).sqrt() + 1e-8
        self.pictures = (self.pictures - RATE * direction).clamp(0, 1)
        return self.pictures
