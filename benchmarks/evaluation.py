"""Table 1: seconds an evaluation and TFLOP/s, against the baseline and the machine's ceilings."""

import argparse
from dataclasses import replace

import torch
from baseline import Baseline
from common import ceilings, median_seconds, record

from impasto.backbone.architecture import layer_stride
from impasto.backbone.convolution import Method
from impasto.backbone.fastest import METHODS
from impasto.backbone.int8 import has_int8
from impasto.backbone.vgg import Backbone
from impasto.backbone.weight_files import Weights
from impasto.backbone.weights import load
from impasto.objective.objective import Objective
from impasto.painting.allocator import keep_big_blocks
from impasto.presets import preset

RECIPE = preset("gatys-lbfgs").config
SIDES = (256, 512, 1024)


def flops(weights: Weights, side: int) -> float:
    """Operations of the convolutions in one forward and one backward pass to the pixels; a
    multiplication and an addition are two."""
    return sum(
        2 * 2 * kernel.shape.numel() * (side // layer_stride(name)) ** 2
        for name, (kernel, _) in weights.kernels.items()
    )


def up_to_conv5_1(weights: Weights) -> Weights:
    """`weights` without the layers beyond the deepest style layer."""
    return replace(
        weights, kernels={name: pair for name, pair in weights.kernels.items() if name <= "conv5_1"}
    )


def baseline_seconds(weights: Weights, side: int, runs: int, device: str) -> float:
    """Seconds of an evaluation of the baseline."""
    content, style = (torch.rand(1, 3, side, side, device=device) for _ in range(2))
    objective, x = Baseline(weights, content, style), content.clone().requires_grad_()
    return median_seconds(lambda: torch.autograd.grad(objective(x), x), runs, device)


def our_seconds(weights: Weights, side: int, method: Method, runs: int, device: str) -> float:
    """Seconds of an evaluation of the same objective by impasto."""
    content, style = (torch.rand(1, 3, side, side, device=device) for _ in range(2))
    backbone = Backbone(
        weights,
        padding=RECIPE.padding,
        device=device,
        dtype=method.dtype,
        convolution=method.convolution,
    )
    objective = Objective(RECIPE, backbone, content, [style])
    return median_seconds(lambda: objective.evaluate(content), runs, device)


def main() -> None:
    """Measure and record. The baseline is measured before the allocator is told to keep its blocks,
    and after."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--runs", type=int, default=5)
    args = parser.parse_args()
    networks = {
        weights.name: weights for weights in map(up_to_conv5_1, (load("vgg19"), load("compact")))
    }
    cases = [(name, side) for name in networks for side in SIDES]
    plain = {
        (name, side): baseline_seconds(networks[name], side, args.runs, args.device)
        for name, side in cases
    }
    keep_big_blocks()
    methods = [method for method in METHODS if method.convolution != "int8" or has_int8()]
    if args.device != "cpu":
        methods = [Method("float32"), Method("bfloat16")]
    limits, rows = ceilings(args.device), []
    for name, side in cases:
        weights = networks[name]
        taken = {
            ("baseline: float32, NCHW, autograd", "float32"): plain[name, side],
            ("baseline, allocator as ours", "float32"): baseline_seconds(
                weights, side, args.runs, args.device
            ),
        }
        for method in methods:
            taken[f"impasto: {' '.join(method)}", method.precision] = our_seconds(
                weights, side, method, args.runs, args.device
            )
        for (variant, precision), seconds in taken.items():
            rate = flops(weights, side) / seconds / 1e12
            rows.append(
                {
                    "network": name,
                    "side": side,
                    "variant": variant,
                    "seconds": seconds,
                    "tflops": rate,
                    "speedup": plain[name, side] / seconds,
                    "of_ceiling": rate / limits[precision],
                }
            )
            print(rows[-1], flush=True)
    record("evaluation", rows, args.device, ceilings=limits, ceilings_after=ceilings(args.device))


if __name__ == "__main__":
    main()
