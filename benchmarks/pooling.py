"""Measure AVERAGE_GAIN of impasto.backbone.pooling: what average pooling loses against max pooling.

python benchmarks/pooling.py --weights ../shared/weights/vgg19_oxford_conv1_1-conv3_4.safetensors \
    --pictures ../shared/corpus

The ratio of the root mean square after 2 x 2 max pooling to that after 2 x 2 average pooling, of
the features before VGG-19's first three poolings; the network itself uses max pooling, as in its
training. Geometric mean over photographs, then over the poolings.
"""

import argparse
import datetime
import math
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from common import machine

from impasto.backbone.vgg import Backbone
from impasto.backbone.weights import load
from impasto.images.read import read

LAYERS = ("relu1_2", "relu2_2", "relu3_4")  # the inputs of the first three poolings


def log_ratio(features: torch.Tensor) -> float:
    """Natural logarithm of rms(max pooled) / rms(average pooled) of (1, C, H, W) features."""
    energy_max, energy_average = (
        pool(features, 2).square().mean() for pool in (F.max_pool2d, F.avg_pool2d)
    )
    return 0.5 * math.log(float(energy_max / energy_average))


def main() -> None:
    """Print date, machine and the constant."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--weights", default="vgg19", help="a network by name or path, at least up to conv3_4"
    )
    parser.add_argument(
        "--pictures", type=Path, required=True, help="the folder that holds the photographs"
    )
    parser.add_argument(
        "--pattern", default="photo_*.jpg", help="which files of it [default: %(default)s]"
    )
    parser.add_argument(
        "--count", type=int, default=60, help="how many of them, by name [default: %(default)s]"
    )
    args = parser.parse_args()
    paths = sorted(args.pictures.glob(args.pattern))[: args.count]
    if not paths:
        parser.error(f"no {args.pattern} in {args.pictures}")

    backbone = Backbone(load(args.weights))
    began, sums = time.perf_counter(), dict.fromkeys(LAYERS, 0.0)
    with torch.inference_mode():
        for path in paths:
            for name, features in backbone(read(path).pixels, LAYERS).items():
                sums[name] += log_ratio(features)
    logs = {name: total / len(paths) for name, total in sums.items()}

    print(f"{datetime.date.today()}  {machine()}")
    print(f"{backbone.weights.name}, {len(paths)} photographs, {time.perf_counter() - began:.0f} s")
    for name, value in logs.items():
        print(f"rms after max pooling / rms after average pooling of {name}: {math.exp(value):.3f}")
    print(f"geometric mean, AVERAGE_GAIN: {math.exp(sum(logs.values()) / len(logs)):.2f}")


if __name__ == "__main__":
    main()
