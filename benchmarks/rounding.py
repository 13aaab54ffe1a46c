"""What rounding costs: the gradient's error, and where paintings end; needs ../shared.

VGG-19 paints a pair from the content at one size, with each way to convolve. The gradient is that
at the picture which the defaults end with, against the one in float32; objectives are evaluated in
float32, of the best picture after so many steps.
"""

import argparse

import torch
from common import machine, pictures

from impasto import Config, paint
from impasto.backbone.convolution import Method
from impasto.backbone.vgg import Backbone
from impasto.backbone.weights import load
from impasto.images.read import resize
from impasto.objective.objective import Objective
from impasto.painting.problem import regions_at
from impasto.painting.run import Run
from impasto.presets import preset

EXACT = Method("float32")
METHODS = (EXACT, Method("bfloat16"), Method("bfloat16", "int8"))
MARKS = (20, 50, 100)
ONE_SIZE = {"levels": 1, "finish": 0, "backbone": "vgg19", "steps": MARKS[-1]}
CONFIGS = {
    "default": Config(**ONE_SIZE),
    "default, Gram": Config(**ONE_SIZE, style_term="gram"),
    "gatys-lbfgs": preset("gatys-lbfgs").config.changed(**ONE_SIZE),
}


def network(config: Config, method: Method) -> Backbone:
    """VGG-19 as a config and a method have it."""
    return Backbone(
        load("vgg19"),
        pooling=config.pooling,
        padding=config.padding,
        dtype=method.dtype,
        convolution=method.convolution,
    )


def objective_of(run: Run, backbone: Backbone) -> Objective:
    """A run's objective at full size, seen by another network."""
    problem, level = run.problem, run.problem.levels[-1]
    content = resize(problem.content.pixels, level.height, level.width)
    return Objective(run.config, backbone, content, regions_at(problem, level, run.config))


def main() -> None:
    """Paint and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pair", default="tubingen+starry_night")
    parser.add_argument("--size", type=int, default=192)
    args = parser.parse_args()
    content, style = pictures(args.pair)
    print(f"{machine()}, {args.pair}, {args.size} pixels")
    painted = paint(content, style, Config(size=args.size), precision="float32").pixels
    for name, config in CONFIGS.items():
        config = config.changed(size=args.size)
        exact, lowest = None, []
        for method in METHODS:
            run = Run.prepare(content, style, config, backbone=network(config, method))
            _, gradient = objective_of(run, run.backbone).evaluate(painted)
            if exact is None:
                judge, exact = objective_of(run, run.backbone), gradient
            off = float((gradient - exact).norm() / exact.norm())
            lowest.append([])
            for step in run.steps():
                if step.number in MARKS:
                    lowest[-1].append(float(judge.evaluate(step.best.point)[0].total))
            against = [ours / first for ours, first in zip(lowest[-1], lowest[0], strict=True)]
            ends = ", ".join(
                f"{mark}: {ratio:.3f}" for mark, ratio in zip(MARKS, against, strict=True)
            )
            print(f"{name:14} {' '.join(method):16} gradient {off:.3f}  {ends}", flush=True)


if __name__ == "__main__":
    with torch.no_grad():
        main()
