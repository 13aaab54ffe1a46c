"""Paintings in the making by the student itself: the pictures on which it must not be fooled.

A painting is driven to wherever the network's statistics say that it is near the style; where the
teacher sees something else, the student has a blind spot. These pictures show it those spots, while
it can still mend them.
"""

import torch

from data import Crops
from graphs import Graphs
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
    Wasserstein distance.

    All tensors stay where they are in memory, as a CUDA graph needs it.
    """

    def __init__(self, student: Student, crops: Crops, count: int):
        self._student, self._crops, self._count = student, crops, count
        self._contents, self._styles = crops(count), crops(count)
        self.pictures = self._beginnings(self._contents).clone()
        self._first, self._second = torch.zeros_like(self.pictures), torch.zeros_like(self.pictures)
        self._ages = (self._draw() * AGE).floor()  # in steps
        self._targets: dict[str, torch.Tensor] = {}
        self._made = 0  # steps
        self._advance_fast = Graphs(self._advance, self.pictures.device)

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
        begun = self._beginnings(contents)
        held = (self.pictures, begun), (self._contents, contents), (self._styles, styles)
        for kept, new in held:
            kept.copy_(torch.where(old, new, kept))
        for x in (self._first, self._second, self._ages):
            x.masked_fill_(old, 0.0)

    @torch.no_grad()
    def _look(self) -> None:
        """Set the targets: what the student of now sees in contents and styles."""
        found = {"content": self._student(self._contents, CONTENT)[CONTENT].float()}
        styles = self._student(self._styles, LAST)
        half = self._count // 2
        for name in STYLE:
            mean, second = _moments(styles[name])
            mean, wide = mean[half:], second[half:]
            covariance = wide - mean[:, :, None] * mean[:, None, :]
            found |= {
                f"{name} gram": second[:half],
                f"{name} mean": mean,
                f"{name} root": _roots(covariance)[0],
                f"{name} energy": wide.diagonal(dim1=1, dim2=2).sum(1),
            }
        for name, value in found.items():
            if name in self._targets:
                self._targets[name].copy_(value)
            else:
                self._targets[name] = value.clone()

    def _loss(self, features: Features) -> torch.Tensor:
        """Content and style loss of every painting, summed."""
        half, targets = self._count // 2, self._targets
        content = targets["content"]
        energy = content.square().sum((1, 2, 3))
        loss = ((features[CONTENT].float() - content).square().sum((1, 2, 3)) / energy).sum()
        for name in STYLE:
            mean, second = _moments(features[name])
            target = targets[f"{name} gram"]
            difference = (second[:half] - target).square().sum((1, 2)) / target.square().sum((1, 2))
            loss = loss + 0.8 * difference.sum()
            style_mean, root, energy = (targets[f"{name} {x}"] for x in ("mean", "root", "energy"))
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
            self._look()
        self._made += 1
        self._advance_fast()
        self._student.train(training)
        return self.pictures

    def _advance(self) -> None:
        """Move every painting by one step of Adam's."""
        x = self.pictures.detach().requires_grad_(True)
        gradient = torch.autograd.grad(self._loss(self._student(x, LAST)), x)[0]
        # One painting that fails must not end the training: its square has to stay finite, too.
        gradient = gradient.nan_to_num(0, 0, 0).clamp(-LARGEST, LARGEST)
        self._first.lerp_(gradient, 0.1)
        self._second.lerp_(gradient.square(), 0.05)
        self._ages += 1
        direction = self._first / (1 - 0.9**self._ages)
        direction /= (self._second / (1 - 0.95**self._ages)).sqrt() + 1e-8
        self.pictures.sub_(RATE * direction).clamp_(0, 1)
