"""Whether quick looks and sheets order styles as paintings do, by the measure of docs/defaults.md.

Each photograph is painted in each style, as a quick look, as a sheet's cell, and in full. All are
scored by w2: the squared Wasserstein distance of their features from the style's, as a share of the
style's own, the mean of five layers of VGG-19. For each two styles of a photograph: is the one that
is nearer to its style in the quick look also the nearer one in the painting?

    python benchmarks/style_order.py --size 256
"""

import argparse
from collections.abc import Sequence
from functools import cache
from itertools import combinations
from pathlib import Path

import torch
from common import machine, record

from impasto.backbone.load import load_backbone
from impasto.backbone.vgg import Backbone
from impasto.backbone.weights import load
from impasto.config import Config, Machine
from impasto.images.read import read, resize
from impasto.images.samples import (
    STYLES,
    sample_photograph,
    sample_portrait,
    sample_still_life,
    sample_style,
)
from impasto.objective.style_distances import Moments, wasserstein_distance, with_sqrt
from impasto.painting.levels import scaled_size
from impasto.painting.preview import preview
from impasto.painting.run import paint
from impasto.presets import QUICK, quick

LAYERS = tuple(f"relu{stage}_1" for stage in range(1, 6))
CLOSE = 0.05  # two scores that differ by less, relative to the larger, are hardly an order


@cache
def referee() -> Backbone:
    """The true VGG-19."""
    return Backbone(load("vgg19"), device="cpu", dtype=torch.float32)


def moments(pixels: torch.Tensor) -> dict[str, Moments]:
    """Means and second moments of the referee's features by layer."""
    found = {}
    for layer, features in referee()(pixels, LAYERS).items():
        flat = features.flatten(2).float()
        found[layer] = Moments(flat.mean(2), flat @ flat.mT / flat.shape[2])
    return found


def w2(painted: torch.Tensor, targets: dict[str, Moments]) -> float:
    """The distance of a painting (1, 3, H, W) from its style, the mean of the layers."""
    found = moments(painted)
    shares = []
    for layer, target in targets.items():
        distance, *_ = wasserstein_distance(found[layer], target)
        shares.append(float(distance / target.second.diagonal(dim1=-2, dim2=-1).sum()))
    return sum(shares) / len(shares)


def score(content: Path, style: Path, config: Config, backbone: Backbone) -> dict[str, object]:
    """The scores of the quick look, the sheet's cell and the painting, each at its own size."""
    kinds = {
        "quick look": preview(content, style, config, backbone=backbone),
        "sheet": cell(content, style, config, backbone),
        "painting": paint(content, style, config, backbone=backbone).pixels,
    }
    scores = {kind: w2(pixels, targets_of(style, pixels)) for kind, pixels in kinds.items()}
    return {"photograph": content.stem, "style": style.stem, **scores}


def cell(content: Path, style: Path, config: Config, backbone: Backbone) -> torch.Tensor:
    """A sheet's small painting, (1, 3, h, w)."""
    return paint(content, style, quick(config.changed(**QUICK)), backbone=backbone).pixels


def targets_of(style: Path, painted: torch.Tensor) -> dict[str, Moments]:
    """What a style asks of a painting (1, 3, H, W), whose long side it has."""
    picture = read(style).pixels
    size = scaled_size(*picture.shape[2:], Config(size=max(painted.shape[2:])))
    return {layer: with_sqrt(each) for layer, each in moments(resize(picture, *size)).items()}


def agreement(rows: Sequence[dict], kind: str) -> tuple[list[bool], list[bool]]:
    """For each two styles of a photograph, whether `kind` orders them as the paintings do; and of
    those whose paintings differ clearly."""
    same, clear = [], []
    for one, other in combinations(rows, 2):
        if one["photograph"] != other["photograph"]:
            continue
        looks = one[kind], other[kind]
        paintings = one["painting"], other["painting"]
        agree = (looks[0] < looks[1]) == (paintings[0] < paintings[1])
        same.append(agree)
        if abs(paintings[0] - paintings[1]) > CLOSE * max(paintings):
            clear.append(agree)
    return same, clear


def main() -> None:
    """Paint, score, print and record."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE")
    parser.add_argument("--photographs", type=int, choices=(1, 2, 3), default=3)
    args = parser.parse_args()
    settings = dict(each.split("=", 1) for each in args.set)
    config = Config(size=args.size).changed(**settings)
    backbone = load_backbone(config, Machine())
    contents = (sample_photograph(), sample_portrait(), sample_still_life())[: args.photographs]
    rows = []
    for content in contents:
        for name in STYLES:
            rows.append(row := score(content, sample_style(name), config, backbone))
            scores = " ".join(f"{row[kind]:8.4f}" for kind in ("quick look", "sheet", "painting"))
            print(f"{content.stem:14} {name:12} {scores}", flush=True)
    print(f"{machine()}; {args.size} pixels {settings or ''}")
    for kind in ("quick look", "sheet"):
        same, clear = agreement(rows, kind)
        print(f"{kind}: the same order in {sum(same)} of {len(same)} pairs,", end=" ")
        print(f"in {sum(clear)} of {len(clear)} that are more than {CLOSE:.0%} apart")
    record("style_order", rows, size=args.size, settings=settings)


if __name__ == "__main__":
    main()
